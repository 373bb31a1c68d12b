"""What a report is made of: cases and tables, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from boneray.core.bones import bone_name
from boneray.core.measurement import Measurement
from boneray.core.mesh import Mesh
from boneray.core.radiograph import Radiograph
from boneray.core.volume import LabelMap

RECONSTRUCTION_COLOUR = (255, 170, 51)
REFERENCE_COLOUR = (77, 184, 255)


@dataclass(frozen=True)
class ReportCase:
    """One case of a report.

    Attributes:
        title: heading of the case.
        prediction: the reconstructed label map.
        meshes: reconstructed surfaces by bone name.
        radiographs: the input pictures by view name.
        reference: the true label map, where there is one; its grid may differ.
        scores: the entry of this case in the result of `evaluate`:
            {"case", "bones": {bone: {metric: number or None, "status": text}}, "mean": {metric: number}}.
        measurements: of the reconstruction.
        reference_measurements: of the reference; paired with the others by bone and name.
        notes: sentences shown on top of the case.
        run: facts of the run (versions, seed, settings), folded away at the end of the case.
    """

    title: str
    prediction: LabelMap
    meshes: dict[str, Mesh]
    radiographs: dict[str, Radiograph]
    reference: LabelMap | None = None
    scores: dict[str, Any] | None = None
    measurements: tuple[Measurement, ...] = ()
    reference_measurements: tuple[Measurement, ...] = ()
    notes: tuple[str, ...] = ()
    run: dict[str, Any] | None = None

    @property
    def missed(self) -> tuple[str, ...]:
        """Bones of the reference that the reconstruction does not contain."""
        if self.reference is None:
            return ()
        return tuple(bone_name(i) for i in self.reference.ids if i not in self.prediction.ids)

    @property
    def unexpected(self) -> tuple[str, ...]:
        """Bones of the reconstruction that the reference does not contain."""
        if self.reference is None:
            return ()
        return tuple(bone_name(i) for i in self.prediction.ids if i not in self.reference.ids)


@dataclass(frozen=True)
class ReportTable:
    """A summary table; numbers are set with two to three digits, None as a dash, text as it is."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]] = field(default_factory=tuple)
    note: str = ""
