"""How far measurements and landmarks of predictions are from those of references, and what is missing on each side."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from boneray.core.errors import InputError
from boneray.core.measurement import Measurement
from boneray.evaluation.measuring import FAILED, MeasuredCase
from boneray.evaluation.tables import Row

STATUSES = ("ok", "low_confidence", "not_measurable", "failed", "absent")
ALL = "all"
ABSENT = "absent"


@dataclass(frozen=True)
class Difference:
    """One measurement of one bone on both sides.

    Attributes:
        reference, prediction: None where that side has no such measurement at all.
        reference_status, prediction_status: of the measurement; `absent` where the bone or the case
            is not there, `failed` where the case could not be measured.
        reason: what is to be known of either side.
    """

    case_id: str
    bone: str
    name: str
    unit: str
    reference: float | None
    prediction: float | None
    reference_status: str
    prediction_status: str
    reason: str = ""

    @property
    def error(self) -> float | None:
        """Prediction minus reference, angles the shorter way round; None unless both have a value."""
        if self.reference is None or self.prediction is None:
            return None
        difference = self.prediction - self.reference
        return 180.0 - (180.0 - difference) % 360.0 if self.unit == "deg" else difference

    @property
    def sure(self) -> bool:
        """Whether both sides are ok."""
        return self.reference_status == self.prediction_status == "ok"


@dataclass(frozen=True)
class LandmarkDistance:
    """One landmark of one bone on both sides; no distance where one of them lacks it."""

    case_id: str
    bone: str
    name: str
    distance_mm: float | None
    missing_in: str = ""


@dataclass(frozen=True)
class Comparison:
    """All differences, and the cases that only one side has."""

    differences: tuple[Difference, ...]
    landmarks: tuple[LandmarkDistance, ...]
    without_reference: tuple[str, ...] = ()
    without_prediction: tuple[str, ...] = ()


def compare_measurements(
    predictions: Sequence[MeasuredCase], references: Sequence[MeasuredCase], *, by_name: bool = True
) -> Comparison:
    """Predictions against references.

    Args:
        by_name: match cases by their id; otherwise there is one on each side, and they belong together.
    Raises:
        InputError: no case has a reference.
    """
    if by_name:
        found = {case.case_id: case for case in predictions}
        truth = {case.case_id: case for case in references}
        if not set(found) & set(truth):
            raise InputError(
                f"no case has a reference of its name ({', '.join([*found][:4])} against {', '.join([*truth][:4])})"
            )
    else:
        found, truth = ({predictions[0].case_id: case} for case in (predictions[0], references[0]))
    differences: list[Difference] = []
    landmarks: list[LandmarkDistance] = []
    for case_id in sorted({*found, *truth}):
        differences += _differences(case_id, truth.get(case_id), found.get(case_id))
        landmarks += _landmarks(case_id, truth.get(case_id), found.get(case_id))
    return Comparison(
        tuple(differences),
        tuple(landmarks),
        tuple(sorted(set(found) - set(truth))),
        tuple(sorted(set(truth) - set(found))),
    )


def summary_rows(comparison: Comparison) -> list[Row]:
    """Every measurement over all bones and cases, then bone by bone, then every landmark.

    `n` pairs have a value on both sides, low confidence included; `n_ok` of them are ok on both, and
    `mean_abs_ok`, `p95_abs_ok` are theirs. The counts by status add up to `n_rows` on each side.
    """
    rows = []
    for name in dict.fromkeys(d.name for d in comparison.differences):
        mine = [d for d in comparison.differences if d.name == name]
        bones = list(dict.fromkeys(d.bone for d in mine))
        rows.append(_measurement_row(name, ALL, mine))
        if len(bones) > 1:
            rows += [_measurement_row(name, bone, [d for d in mine if d.bone == bone]) for bone in bones]
    for name in dict.fromkeys(mark.name for mark in comparison.landmarks):
        of_name = [mark for mark in comparison.landmarks if mark.name == name]
        distances = np.array([m.distance_mm for m in of_name if m.distance_mm is not None])
        missing = Counter(mark.missing_in for mark in of_name)
        rows.append(
            {
                "kind": "landmark",
                "name": name,
                "bone": ALL,
                "unit": "mm",
                "n_rows": len(of_name),
                "n": len(distances),
                **_absolute(distances),
                **{f"{side}_{ABSENT}": missing[side] for side in ("reference", "prediction")},
            }
        )
    return rows


def _differences(case_id: str, truth: MeasuredCase | None, found: MeasuredCase | None) -> list[Difference]:
    of_truth, of_found = _by_key(truth), _by_key(found)
    out = []
    for key in dict.fromkeys([*of_truth, *of_found]):
        reference, prediction = of_truth.get(key), of_found.get(key)
        some = reference or prediction
        assert some is not None
        reference_status, reference_reason = _state(truth, reference)
        prediction_status, prediction_reason = _state(found, prediction)
        said = (("reference", reference_reason), ("prediction", prediction_reason))
        out.append(
            Difference(
                case_id,
                *key,
                some.unit,
                reference.value if reference else None,
                prediction.value if prediction else None,
                reference_status,
                prediction_status,
                "; ".join(f"{side}: {reason}" for side, reason in said if reason),
            )
        )
    return out


def _state(case: MeasuredCase | None, measurement: Measurement | None) -> tuple[str, str]:
    if measurement is not None:
        return measurement.status, measurement.reason
    if case is None:
        return ABSENT, "no such case"
    return (FAILED, case.reason) if case.status == FAILED else (ABSENT, "no such measurement")


def _landmarks(case_id: str, truth: MeasuredCase | None, found: MeasuredCase | None) -> list[LandmarkDistance]:
    points = [
        {
            (m.bone, mark.name): np.array(mark.point_mm)
            for m in (case.measurements if case else ())
            for mark in m.landmarks
        }
        for case in (truth, found)
    ]
    out = []
    for key in dict.fromkeys([*points[0], *points[1]]):
        missing = next(
            (side for side, has in zip(("reference", "prediction"), points, strict=True) if key not in has), ""
        )
        distance = None if missing else float(np.linalg.norm(points[0][key] - points[1][key]))
        out.append(LandmarkDistance(case_id, *key, distance, missing))
    return out


def _by_key(case: MeasuredCase | None) -> dict[tuple[str, str], Measurement]:
    return {(m.bone, m.name): m for m in (case.measurements if case else ())}


def _measurement_row(name: str, bone: str, found: Sequence[Difference]) -> Row:
    pairs = [(d, d.error) for d in found if d.error is not None]
    errors = np.array([error for _, error in pairs])
    sure = np.array([error for d, error in pairs if d.sure])
    counts = {
        f"{side}_{status}": sum(getattr(d, f"{side}_status") == status for d in found)
        for side in ("reference", "prediction")
        for status in STATUSES
    }
    return {
        "kind": "measurement",
        "name": name,
        "bone": bone,
        "unit": found[0].unit,
        "n_rows": len(found),
        "n": len(errors),
        "mean": float(errors.mean()) if len(errors) else math.nan,
        "sd": float(errors.std(ddof=1)) if len(errors) > 1 else math.nan,
        **_absolute(np.abs(errors)),
        "n_ok": len(sure),
        "mean_abs_ok": float(np.abs(sure).mean()) if len(sure) else math.nan,
        "p95_abs_ok": float(np.percentile(np.abs(sure), 95)) if len(sure) else math.nan,
        **counts,
    }


def _absolute(sizes: np.ndarray) -> dict[str, float]:
    """Mean, median, sd, 95th percentile (linear between ranks) and largest of absolute errors or distances."""
    if not len(sizes):
        return dict.fromkeys(("mean_abs", "median_abs", "sd_abs", "p95_abs", "max_abs"), math.nan)
    return {
        "mean_abs": float(sizes.mean()),
        "median_abs": float(np.median(sizes)),
        "sd_abs": float(sizes.std(ddof=1)) if len(sizes) > 1 else math.nan,
        "p95_abs": float(np.percentile(sizes, 95)),
        "max_abs": float(sizes.max()),
    }
