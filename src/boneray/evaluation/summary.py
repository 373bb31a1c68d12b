"""An evaluation as one JSON object: every number with the cases and bones behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from boneray.evaluation.comparison import Evaluation
from boneray.evaluation.groups import BY_BONE
from boneray.evaluation.tables import Row, bone_summary_rows, group_rows, volume_rows

SCHEMA = "boneray/evaluation/1"
POOLED = "id_rate"


def evaluation_json(evaluation: Evaluation) -> dict[str, Any]:
    """The stable shape of `boneray evaluate --json`: `cases` that were scored, `failed` ones, and the summary."""
    return {
        "cases": [result.to_dict() for result in evaluation.results if result.scores is not None],
        "failed": [{"case": result.case_id, "reason": result.reason} for result in evaluation.failed],
        "summary": summary_json(evaluation),
    }


def summary_json(evaluation: Evaluation) -> dict[str, Any]:
    """The shape of summary.json.

    `metrics` are summarised over cases (a case is the mean over its bones), `bones` each over the
    cases, `pooled` rates over all reference bones of all cases together, `groups` by name.
    """
    scores, failed = evaluation.scores, evaluation.failed
    rows = group_rows(evaluation)
    everything = [row for row in rows if row["by"] == "all"]
    out: dict[str, Any] = {
        "schema": SCHEMA,
        "method": evaluation.method,
        "cases": {
            "n": len(evaluation.results),
            "n_scored": len(scores),
            "n_failed": len(failed),
            "n_without_prediction": len(evaluation.without_prediction),
            "failed": {result.case_id: result.reason for result in failed},
            "without_prediction": [result.case_id for result in evaluation.without_prediction],
            "predictions_without_reference": list(evaluation.without_reference),
        },
        "counts": {f"n_{name}": sum(case.count(name) for case in scores) for name in ("present", "missed", "spurious")},
        "metrics": _metrics(everything),
        "pooled": _pooled(evaluation),
        "bones": _bones(evaluation),
    }
    if evaluation.groups.column:
        names = list(dict.fromkeys(row["group"] for row in rows if row["by"] != "all"))
        out["groups"] = {
            "by": evaluation.groups.column,
            **{name: _metrics([row for row in rows if row["by"] != "all" and row["group"] == name]) for name in names},
        }
    if evaluation.settings.mode:
        out["paper"] = {"mode": evaluation.settings.paper, "notes": evaluation.paper_notes}
    return {**out, "warnings": evaluation.warnings()}


def _metrics(rows: Sequence[Row]) -> dict[str, Row]:
    """Rows by metric, with the coverage n/m of its bones."""
    out = {}
    for row in rows:
        entry = {key: value for key, value in row.items() if key not in ("by", "group", "bone", "metric")}
        if "n_reference" in row:
            entry["coverage"] = f"{row['n_present']}/{row['n_reference']}"
        out[str(row["metric"])] = entry
    return out


def _pooled(evaluation: Evaluation) -> dict[str, Row]:
    """Identification rates over the reference bones of all cases together, as VerSe pools them."""
    bones = [bone for case in evaluation.scores for bone in case.bones if bone.status != "spurious"]
    names = dict.fromkeys(name for bone in bones for name in bone.values if name.startswith(POOLED))
    found = {name: [bone.values[name] for bone in bones if name in bone.values] for name in names}
    return {name: {"mean": sum(values) / len(values), "n_bones": len(values)} for name, values in found.items()}


def _bones(evaluation: Evaluation) -> dict[str, Row]:
    if not evaluation.scores:
        return {}
    rows = bone_summary_rows(evaluation.scores)
    volumes = {row["bone"]: {k: v for k, v in row.items() if k != "bone"} for row in volume_rows(evaluation.scores)}
    return {
        bone: {"volume": volumes[bone], "metrics": _metrics([row for row in rows if row["bone"] == bone])}
        for bone in BY_BONE.split(evaluation.scores)
    }
