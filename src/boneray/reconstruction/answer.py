"""One patient from films to an answer: where the bone is, checks, the network, how well it fits, how sure it is."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from boneray.core.bones import bone_name
from boneray.core.grid import Grid
from boneray.core.radiograph import Radiograph
from boneray.core.volume import LabelMap
from boneray.geometry.surface import faithful_meshes
from boneray.reconstruction.agreement import Agreement, agreements
from boneray.reconstruction.calibration import Calibration
from boneray.reconstruction.checks import (
    Finding,
    checks_of_films,
    checks_of_geometry,
    checks_of_pictures,
    checks_of_result,
    require,
)
from boneray.reconstruction.confidence import overlaps
from boneray.reconstruction.localisation import located
from boneray.reconstruction.radiographs import LoadedRadiographs
from boneray.reconstruction.reconstruct import Reconstruction, Reconstructor
from boneray.reconstruction.refinement import Refinement, refined

NO_CALIBRATION = (
    "this checkpoint has no calibration: unusual radiographs are not recognised and no Dice is expected; make one with "
    "boneray calibrate"
)


@dataclass(frozen=True)
class Wishes:
    """What is asked for besides the bones.

    Attributes:
        centre_mm: middle of the working grid; None where the central rays pass closest, "auto" where the pictures look
            most like those the network knows.
        refine: move and scale each bone until its outlines agree better.
        confidence: answer again from changed pictures and say how much the answers overlap.
        anyway: answer also where a check refuses; the reason is then a warning.
    """

    centre_mm: ArrayLike | Literal["auto"] | None = None
    refine: bool = False
    confidence: bool = True
    anyway: bool = False


PLAIN = Wishes()


@dataclass(frozen=True)
class Answer:
    """What one patient gives.

    Attributes:
        result: labels, meshes, warnings (of the checks as well), seconds.
        findings: of all checks.
        agreement: by view, how well the bones explain it.
        confidence: by bone, `overlap` of repeated answers and, where no check objects, `expected_dice`.
        centre: "given", "rays" or "auto".
        refinement: by bone what was changed; empty unless asked for.
        assumed: what had to be assumed of the geometry.
    """

    result: Reconstruction
    findings: tuple[Finding, ...] = ()
    agreement: dict[str, Agreement] = field(default_factory=dict)
    confidence: dict[str, dict[str, float]] = field(default_factory=dict)
    centre: str = "rays"
    refinement: dict[str, Refinement] = field(default_factory=dict)
    assumed: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """What goes into run.json."""
        return {
            "assumed": list(self.assumed),
            "centre": {"from": self.centre, "mm": self.result.labels.grid.centre_mm.tolist()},
            "checks": [vars(finding) for finding in self.findings],
            "reprojection": {view: vars(one) for view, one in self.agreement.items()},
            "confidence": self.confidence,
            "refinement": {name: one.to_dict() for name, one in self.refinement.items()},
        }


def answered(
    reconstructor: Reconstructor,
    loaded: LoadedRadiographs,
    *,
    target: str = "",
    calibration: Calibration | None = None,
    wishes: Wishes = PLAIN,
) -> Answer:
    """The bones in a patient's films, checked before and after.

    Raises:
        DataError: a check refuses (unless `wishes.anyway`), or a picture is blank.
        ConfigError, GeometryError: as `Reconstructor.prediction`.
    """
    card, radiographs = reconstructor.card, loaded.radiographs
    reconstructor.bone_ids(target)
    findings = checks_of_films(loaded, card, target)
    require(findings, anyway=wishes.anyway)
    centre, where = _centre(reconstructor, radiographs, target, calibration, wishes)
    grid: Grid = card.grid_at(centre)
    findings += checks_of_geometry(radiographs, grid)
    require(findings, anyway=wishes.anyway)
    findings += checks_of_pictures(radiographs, grid, target, calibration)
    require(findings, anyway=wishes.anyway)
    result = reconstructor(radiographs, target=target, centre_mm=centre)
    changes: dict[str, Refinement] = {}
    if wishes.refine:
        labels, changes = refined(result.labels, radiographs)
        result = replace(result, labels=labels, meshes=faithful_meshes(labels))
    agreement = agreements(result.labels, radiographs) if result.labels.ids else {}
    strange = any(finding.check in ("familiarity", "orientation") for finding in findings)
    findings += checks_of_result(result.labels, agreement, calibration, strange=strange)
    require(findings, anyway=wishes.anyway)
    # what phantoms tell of the Dice holds for pictures like theirs alone
    usual = None if findings else calibration
    sure = _confidence(reconstructor, result.labels, radiographs, target, usual) if wishes.confidence else {}
    warnings = (*result.warnings, *require(findings, anyway=True), *(() if calibration else (NO_CALIBRATION,)))
    if where == "auto":
        warnings += (f"the bone's centre was located automatically at {np.round(centre, 1).tolist()} mm",)
    return Answer(replace(result, warnings=warnings), tuple(findings), agreement, sure, where, changes, loaded.notes)


def _centre(
    reconstructor: Reconstructor,
    radiographs: dict[str, Radiograph],
    target: str,
    calibration: Calibration | None,
    wishes: Wishes,
) -> tuple[np.ndarray, str]:
    if isinstance(wishes.centre_mm, str):
        start = reconstructor.centre_mm(radiographs)
        return located(radiographs, reconstructor.card, target, calibration, start), "auto"
    return reconstructor.centre_mm(radiographs, wishes.centre_mm), "rays" if wishes.centre_mm is None else "given"


def _confidence(
    reconstructor: Reconstructor,
    labels: LabelMap,
    radiographs: dict[str, Radiograph],
    target: str,
    calibration: Calibration | None,
) -> dict[str, dict[str, float]]:
    """By bone the overlap of repeated answers and the Dice to expect."""
    centre = labels.grid.centre_mm

    def ask(pictures: dict[str, Radiograph], bone: str) -> LabelMap:
        return reconstructor.labels(pictures, target=bone, centre_mm=centre)

    found = overlaps(labels, ask, radiographs, target) if labels.ids else {}
    return {
        bone_name(i): {"overlap": round(value, 4)}
        | ({"expected_dice": round(calibration.expected_dice(value), 3)} if calibration else {})
        for i, value in found.items()
    }
