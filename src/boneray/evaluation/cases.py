"""The scores of one case: every bone, and means that say what they rest on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from boneray.core.bones import bone_name
from boneray.core.errors import DataError
from boneray.core.registry import Entry
from boneray.core.volume import LabelMap, require_same_grid
from boneray.geometry.resample import nearest_labels
from boneray.metrics.facts import case_facts
from boneray.metrics.labelling import LabelShift, label_shifts
from boneray.metrics.registry import METRICS, Metric
from boneray.metrics.surface import TOLERANCE_MM, surface_dice_metric, voxel_tolerance_mm


@dataclass(frozen=True)
class BoneScores:
    """One bone of a case: its metrics by name (inf and NaN as the empty rules say) and its status."""

    bone: str
    status: str
    values: dict[str, float]


@dataclass(frozen=True)
class CaseScores:
    """All bones of one case.

    Attributes:
        case_id: the case.
        bones: every bone in the reference or the prediction, by label id.
        diagonal_mm: outer diagonal of the reference grid, the penalty for a missed distance.
        directions: higher, lower or none for every metric in the bones' values.
        voxel_mm: largest voxel edge of the reference grid.
        shifts: vertebrae or ribs whose labels are right but moved along the row, by sequence.
    """

    case_id: str
    bones: tuple[BoneScores, ...]
    diagonal_mm: float
    directions: dict[str, str]
    voxel_mm: float = math.nan
    shifts: dict[str, LabelShift] = field(default_factory=dict)

    def count(self, status: str) -> int:
        """Bones that are present, missed or spurious."""
        return sum(bone.status == status for bone in self.bones)

    def mean(self) -> dict[str, float | int]:
        """Means over the bones of this case, and the counts behind them.

        A score (higher is better) is averaged over the bones of the reference, missed ones as 0;
        `_union` adds spurious ones as 0. A distance comes as `_present` (bones found; also under
        its plain name) and as `_penalised` (missed bones count the grid's diagonal). Present
        means of a case without a found bone are NaN.
        """
        out: dict[str, float | int] = {}
        for name, direction in self.directions.items():
            if direction == "higher":
                out[name] = self._mean(name, ("present", "missed"))
                out[f"{name}_union"] = self._mean(name, ("present", "missed", "spurious"))
            elif direction == "lower":
                out[name] = out[f"{name}_present"] = self._mean(name, ("present",))
                out[f"{name}_penalised"] = self._mean(name, ("present", "missed"))
        n_present, n_missed = self.count("present"), self.count("missed")
        counts = {"n_reference": n_present + n_missed, "n_present": n_present, "n_missed": n_missed}
        return {**out, **counts, "n_spurious": self.count("spurious")}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; inf and NaN become null, and the status says why."""
        bones = {
            bone.bone: {**{name: finite(v) for name, v in bone.values.items()}, "status": bone.status}
            for bone in self.bones
        }
        out: dict[str, Any] = {
            "case": self.case_id,
            "bones": bones,
            "mean": {name: finite(value) for name, value in self.mean().items()},
        }
        if self.shifts:
            out["label_shifts"] = {name: asdict(shift) for name, shift in self.shifts.items()}
        return out

    @classmethod
    def from_dict(
        cls, values: Mapping[str, Any], *, diagonal_mm: float, voxel_mm: float, directions: Mapping[str, str]
    ) -> CaseScores:
        """The scores that `to_dict` turned into plain values; a null is inf or NaN again as the empty rules say."""
        bones = []
        for name, stored in values["bones"].items():
            numbers = dict(stored)
            status = numbers.pop("status")
            empty = {
                metric: math.inf if direction == "lower" and status != "present" else math.nan
                for metric, direction in directions.items()
            }
            bones.append(BoneScores(name, status, {k: empty[k] if v is None else float(v) for k, v in numbers.items()}))
        shifts = {name: LabelShift(**shift) for name, shift in values.get("label_shifts", {}).items()}
        return cls(values["case"], tuple(bones), diagonal_mm, dict(directions), voxel_mm, shifts)

    def _mean(self, name: str, statuses: tuple[str, ...]) -> float:
        values = [bone.values[name] for bone in self.bones if bone.status in statuses]
        values = [self.diagonal_mm if math.isinf(v) else v for v in values]
        return sum(values) / len(values) if values else math.nan


def evaluate_case(
    case_id: str,
    reference: LabelMap,
    prediction: LabelMap,
    *,
    resample: bool = True,
    metrics: Sequence[str] | None = None,
    further: Sequence[str] = (),
    tolerance_mm: float = TOLERANCE_MM,
    name_of: Callable[[int], str] | None = None,
) -> CaseScores:
    """The metrics of every bone of one case, on the grid of the reference.

    Args:
        case_id: name in the result.
        reference: true bones; at least one.
        prediction: may be empty, then every bone is missed.
        resample: put a prediction on another grid onto the reference's by nearest voxel;
            otherwise another grid is an error.
        metrics: names in the table of metrics; without it all that are reported by default, with
            the surface Dice at `tolerance_mm` and, where a voxel exceeds that, also at one voxel.
        further: names of metrics beside those.
        name_of: bone name of a label id where a file uses ids of its own; without it they are
            those of the table of bones, and labels that are off by one are looked for.
    Raises:
        DataError: the reference holds no bone.
        GeometryError: the grids differ and `resample` is off.
    """
    if not reference.data.any():
        raise DataError(f"case {case_id}: the reference holds no bone; check the label map")
    if resample and not reference.grid.matches(prediction.grid):
        prediction = nearest_labels(prediction, reference.grid)
    require_same_grid(reference.grid, prediction.grid, f"reference of case {case_id}", "prediction")
    spacing_mm = reference.grid.spacing_mm
    entries = chosen_metrics(metrics, further, tolerance_mm, spacing_mm)
    facts = case_facts(reference, prediction)
    bone_of = name_of or bone_name
    bones = []
    for bone_id, of_bone in facts.items():
        values = {name: float(entry.value(of_bone)) for name, entry in entries.items()}
        bones.append(BoneScores(bone_of(bone_id), of_bone.status, values))
    shifts = {name: shift for name, shift in label_shifts(facts).items() if shift.shift} if name_of is None else {}
    directions = {name: str(entry.facts["direction"]) for name, entry in entries.items()}
    diagonal_mm = float(np.linalg.norm(reference.grid.size_mm))
    return CaseScores(case_id, tuple(bones), diagonal_mm, directions, max(spacing_mm), shifts)


def chosen_metrics(
    metrics: Sequence[str] | None,
    further: Sequence[str] = (),
    tolerance_mm: float = TOLERANCE_MM,
    spacing_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> dict[str, Entry[Metric]]:
    """The metrics that `evaluate_case` computes on a grid, by name; arguments as there.

    Raises:
        ConfigError: an unknown name, or a tolerance that is not positive.
    """
    if metrics is not None:
        entries = [METRICS.get(name) for name in (*metrics, *further)]
        return {entry.name: entry for entry in entries}
    at_tolerance = surface_dice_metric(tolerance_mm)
    entries = [
        at_tolerance if entry.name == f"nsd_{TOLERANCE_MM:.1f}mm" else entry
        for entry in METRICS
        if entry.facts["reported"]
    ]
    if below_a_voxel(tolerance_mm, max(spacing_mm)):
        entries.append(surface_dice_metric(voxel_tolerance_mm(spacing_mm)))
    entries += [METRICS.get(name) for name in further]
    return {entry.name: entry for entry in entries}


def below_a_voxel(tolerance_mm: float, voxel_mm: float) -> bool:
    """Whether a tolerance is finer than the grid, by more than the rounding of a header."""
    return tolerance_mm < voxel_mm - 1e-3


def finite(value: float) -> float | None:
    """The value, or None for inf and NaN, which JSON does not know."""
    return value if math.isfinite(value) else None
