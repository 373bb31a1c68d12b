"""One case as a unit of work: its record can be read back, and is made anew when anything it rests on changes."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from boneray.core.bones import BONES
from boneray.core.errors import ConfigError
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap
from boneray.evaluation.case_scoring import (
    CaseResult,
    CaseTask,
    ScoringSettings,
    content_key,
    died,
    score_pair,
    scored_case,
)
from boneray.evaluation.comparison import evaluate_paths
from boneray.evaluation.inputs import CasePair
from boneray.io.files import json_text
from boneray.io.nifti import write_labels

GRID = Grid.cube(16, 32.0)
T9, T10, L1 = (BONES[name].bone_id for name in ("T9", "T10", "L1"))


def labels(*boxes):
    data = np.zeros(GRID.shape, np.uint8)
    for label, first in boxes:
        data[first : first + 4, 2:6, 2:6] = label
    return LabelMap(data, GRID)


@pytest.fixture
def pair(tmp_path):
    """T9 and T10 are there, called T10 and T11; L1 is missed."""
    write_labels(tmp_path / "r.nii.gz", labels((T9, 0), (T10, 4), (L1, 12)))
    write_labels(tmp_path / "p.nii.gz", labels((T9 + 1, 0), (T10 + 1, 4)))
    return CasePair("one", tmp_path / "r.nii.gz", tmp_path / "p.nii.gz")


SETTINGS = ScoringSettings(dict(enumerate(BONES, start=1)), mode="paper:swin-x2s")


def test_a_record_gives_the_result_back(pair):
    result = score_pair(pair, SETTINGS)
    assert result.scores.count("missed") == 2 and result.scores.shifts["vertebrae"].shift == 1
    assert math.isinf(next(bone for bone in result.scores.bones if bone.bone == "L1").values["hd_mm"])
    again = CaseResult.from_record(json.loads(json_text(result.to_record("key"))))
    assert again.scores == result.scores and again.notes == result.notes and len(again.notes) == 1
    assert again.paper == pytest.approx(result.paper, abs=0, nan_ok=True) and again.paper_notes == result.paper_notes


def test_a_record_is_used_again_until_something_changes(pair, tmp_path):
    task = CaseTask(pair, SETTINGS, tmp_path / "cases")
    first = scored_case(task)
    stored = json.loads(task.file.read_text())
    assert stored == json.loads(json_text(first)) and stored["status"] == "ok"
    task.file.write_text(json.dumps({**stored, "notes": ["from the file"]}))
    assert scored_case(task)["notes"] == ["from the file"]
    for other in (replace(SETTINGS, tolerance_mm=3.0), replace(SETTINGS, mode=""), replace(SETTINGS, names=None)):
        assert content_key(pair, other) != stored["key"]
    assert scored_case(CaseTask(pair, replace(SETTINGS, tolerance_mm=3.0), None))["notes"] != ["from the file"]
    (tmp_path / "case.json").write_text("{}")  # now the ids are those of the table of bones
    assert content_key(pair, SETTINGS) != stored["key"]
    (tmp_path / "case.json").unlink()
    assert content_key(pair, SETTINGS) == stored["key"]
    write_labels(pair.prediction, labels((T9, 0), (T10, 4), (L1, 12)))
    changed = CaseResult.from_record(scored_case(task))
    assert changed.scores.mean()["dice"] == 1.0 and not changed.notes


def test_a_failed_case_is_tried_again(pair, tmp_path):
    task = CaseTask(pair, SETTINGS, tmp_path / "cases")
    record = died(task)
    assert record == json.loads(task.file.read_text()) and "killed" in record["reason"]
    assert CaseResult.from_record(record).scores is None
    assert scored_case(task)["status"] == "ok"
    pair.prediction.unlink()
    assert "does not exist" in scored_case(task)["reason"]
    task.file.write_text("{ half")
    write_labels(pair.prediction, labels((T9, 0)))
    assert scored_case(task)["status"] == "ok"


def test_an_unexpected_error_fails_the_case_alone(pair, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("boneray.evaluation.case_scoring.evaluate_case", broken)
    assert scored_case(CaseTask(pair, SETTINGS))["reason"] == "unexpected ZeroDivisionError: a bug"


def test_settings_are_checked_before_any_case():
    with pytest.raises(ConfigError, match="did you mean dice"):
        ScoringSettings(metrics=("dicee",))
    with pytest.raises(ConfigError, match="above 0"):
        ScoringSettings(tolerance_mm=0)
    with pytest.raises(ConfigError, match="paper:xrayto3d"):
        ScoringSettings(mode="xrayto3d")


def test_two_paths_from_python(pair):
    evaluation = evaluate_paths(pair.reference, pair.prediction, SETTINGS)
    assert evaluation.method == "p" and evaluation.scores[0].case_id == "r" and not evaluation.failed
    assert any("off by +1" in line for line in evaluation.warnings())
