"""The scores of one case: every bone, and means that say what they rest on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from boneray.core.bones import bone_name
from boneray.core.errors import DataError
from boneray.core.registry import Entry
from boneray.core.volume import LabelMap, require_same_grid
from boneray.geometry.resample import nearest_labels
from boneray.metrics.facts import case_facts
from boneray.metrics.registry import METRICS, Metric
from boneray.metrics.surface import TOLERANCE_MM, surface_dice, voxel_tolerance_mm


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
    """

    case_id: str
    bones: tuple[BoneScores, ...]
    diagonal_mm: float
    directions: dict[str, str]

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
        return {"case": self.case_id, "bones": bones, "mean": {k: finite(v) for k, v in self.mean().items()}}

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
    name_of: Callable[[int], str] = bone_name,
) -> CaseScores:
    """The metrics of every bone of one case, on the grid of the reference.

    Args:
        case_id: name in the result.
        reference: true bones; at least one.
        prediction: may be empty, then every bone is missed.
        resample: put a prediction on another grid onto the reference's by nearest voxel;
            otherwise another grid is an error.
        metrics: names in the table of metrics; without it all that are reported by default, and
            the surface Dice at one voxel where a voxel exceeds 2 mm.
        name_of: bone name of a label id; the table of bones unless the file uses its own ids.
    Raises:
        DataError: the reference holds no bone.
        GeometryError: the grids differ and `resample` is off.
    """
    if not reference.data.any():
        raise DataError(f"case {case_id}: the reference holds no bone; check the label map")
    if resample and not reference.grid.matches(prediction.grid):
        prediction = nearest_labels(prediction, reference.grid)
    require_same_grid(reference.grid, prediction.grid, f"reference of case {case_id}", "prediction")
    entries = _chosen(metrics)
    directions = {entry.name: str(entry.facts["direction"]) for entry in entries}
    tolerance_mm = voxel_tolerance_mm(reference.grid.spacing_mm)
    at_voxel = f"nsd_{tolerance_mm:.1f}mm" if metrics is None and tolerance_mm > TOLERANCE_MM else ""
    if at_voxel:
        directions[at_voxel] = "higher"
    bones = []
    for bone_id, facts in case_facts(reference, prediction).items():
        values = {entry.name: float(entry.value(facts)) for entry in entries}
        if at_voxel:
            values[at_voxel] = surface_dice(facts, tolerance_mm=tolerance_mm)
        bones.append(BoneScores(name_of(bone_id), facts.status, values))
    return CaseScores(case_id, tuple(bones), float(np.linalg.norm(reference.grid.size_mm)), directions)


def finite(value: float) -> float | None:
    """The value, or None for inf and NaN, which JSON does not know."""
    return value if math.isfinite(value) else None


def _chosen(names: Sequence[str] | None) -> list[Entry[Metric]]:
    if names is not None:
        return [METRICS.get(name) for name in names]
    return [entry for entry in METRICS if entry.facts["reported"]]
