"""How sure an answer is: the same patient answered again from pictures that were changed a little.

Test-time augmentation: the patient's mirror image, and pictures with other curves of grey and some noise, as in
training. The mean Dice of those answers with the first one is the overlap; what Dice with the truth phantoms of such an
overlap had is the expected Dice (`Calibration.expected_dice`, with a reliability table by `boneray calibrate`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from boneray.core.radiograph import Radiograph
from boneray.core.seeds import generator
from boneray.core.volume import LabelMap
from boneray.reconstruction.sides import mirrored_labels, mirrored_radiograph, other_side

GAMMAS = (0.85, 1.18)
NOISE = 0.08  # of the picture's spread

# (radiographs, target) -> labels about the centre that was chosen
Ask = Callable[[dict[str, Radiograph], str], LabelMap]


def overlaps(first: LabelMap, ask: Ask, radiographs: Mapping[str, Radiograph], target: str) -> dict[int, float]:
    """Mean Dice of the changed answers with the first, by bone id."""
    others = list(_answers(first, ask, radiographs, target))
    return {bone_id: float(np.mean([_dice(first, other, bone_id) for other in others])) for bone_id in first.ids}


def _answers(first: LabelMap, ask: Ask, radiographs: Mapping[str, Radiograph], target: str) -> Iterator[LabelMap]:
    x_mm = float(first.grid.centre_mm[0])
    mirrored = {view: mirrored_radiograph(r, x_mm) for view, r in radiographs.items()}
    yield mirrored_labels(ask(mirrored, other_side(target) if target else ""), x_mm)
    for number, gamma in enumerate(GAMMAS):
        rng = generator(number, "confidence")
        yield ask({view: _changed(r, gamma, rng) for view, r in radiographs.items()}, target)


def _changed(radiograph: Radiograph, gamma: float, rng: np.random.Generator) -> Radiograph:
    """Another curve of grey and noise of the pixels, as the training changes pictures."""
    values = radiograph.line_integrals - radiograph.line_integrals.min()
    top = float(values.max())
    curved = top * (values / max(top, 1e-9)) ** gamma
    noise = rng.normal(0.0, NOISE * float(curved.std()), curved.shape)
    return Radiograph((curved + noise).astype(np.float32), radiograph.camera, scaled=False)


def _dice(first: LabelMap, second: LabelMap, bone_id: int) -> float:
    a, b = first.data == bone_id, second.data == bone_id
    total = int(a.sum()) + int(b.sum())
    return 2.0 * int((a & b).sum()) / total if total else 1.0
