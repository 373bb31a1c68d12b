"""`boneray measure`: what it writes, what it compares, what it refuses."""

import csv
import json

import numpy as np
import pytest

from boneray.core.bones import BONES
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap
from boneray.io.nifti import write_labels

NAMES = "1=L1,2=L2"
REFERENCE_MM3, HEIGHTS = 8 * 8 * 8, {"a": 8, "b": 9, "c": 10, "d": 12}


def block(path, height):
    """Bone 1 of 8 x 8 x height voxels of 1 mm."""
    data = np.zeros((20,) * 3, np.uint8)
    data[4:12, 4:12, 4 : 4 + height] = 1
    write_labels(path, LabelMap(data, Grid(data.shape, (1.0,) * 3, (0.0,) * 3)))


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def folders(tmp_path):
    """Cases a-d: the reference is 8 mm high, the prediction 8, 9, 10 and 12."""
    for case, height in HEIGHTS.items():
        block(tmp_path / "reference" / f"{case}.nii.gz", 8)
        block(tmp_path / "unet" / f"{case}.nii.gz", height)
    return tmp_path


@pytest.fixture
def measure(boneray, folders):
    def run(path, *arguments):
        return boneray("measure", folders / path, "--anatomy", "vertebra", "--labels", NAMES, *arguments)

    return run


def test_a_folder_with_its_errors_goes_on_to_associate(measure, boneray, folders):
    out = folders / "out"
    done = measure("unet", "--compare", folders / "reference", "--out", out, "--no-pictures", "--workers", 1)
    assert done.code == 0, done.err
    assert {path.name for path in out.iterdir()} == {
        "measurements.json",
        "measurements.csv",
        "errors.json",
        "errors.csv",
        "case_errors.csv",
        "comparison.csv",
        "error_summary.csv",
    }
    volumes = {row["case"]: row for row in table(out / "measurements.csv") if row["measurement"] == "bone_volume_mm3"}
    assert {case: float(row["value"]) for case, row in volumes.items()} == {c: 64 * h for c, h in HEIGHTS.items()}
    assert volumes["a"]["bone"] == "L1" and volumes["a"]["method"] == "unet" and volumes["a"]["status"] == "ok"
    (summary,) = (row for row in table(out / "error_summary.csv") if row["name"] == "bone_volume_mm3")
    assert (float(summary["mean"]), float(summary["median_abs"]), summary["n"]) == (64 * 1.75, 64 * 1.5, "4")
    values = json.loads((out / "errors.json").read_text())
    assert values["without_prediction"] == [] and len(values["differences"]) == len(table(out / "comparison.csv"))

    scored = boneray(
        "evaluate",
        *("--reference", folders / "reference", "--prediction", folders / "unet", "--labels", NAMES),
        *("--out", folders / "scores"),
    )
    assert scored.code == 0, scored.err
    for scores, errors in (("metrics.csv", "errors.csv"), ("cases.csv", "case_errors.csv")):
        study = folders / f"study-{errors}"
        column = "bone_volume_mm3_abs_error"
        done = boneray(
            "associate",
            *(folders / "scores" / scores, "--errors", out / errors, "--y", column),
            *("--out", study, "--resamples", 20),
        )
        assert done.code == 0, done.err
        (found,) = json.loads((study / "association.json").read_text())["associations"]
        assert found["all"]["n"] == 4 and found["all"]["rho"] == pytest.approx(-1.0)  # more Dice, less error


def test_one_case_that_cannot_be_read_fails_alone(measure, folders):
    (folders / "unet" / "d.nii.gz").write_text("no NIfTI")
    done = measure("unet", "--compare", folders / "reference", "--json")
    assert done.code == 1 and "failed: d: " in done.err
    values = json.loads(done.out)
    assert [(case["case"], case["status"]) for case in values["cases"]] == [
        ("a", "ok"),
        ("b", "ok"),
        ("c", "ok"),
        ("d", "failed"),
    ]
    (summary,) = (
        row for row in values["errors"]["summary"] if row["name"] == "bone_volume_mm3" and row["bone"] == "all"
    )
    assert (summary["n"], summary["prediction_failed"], summary["reference_ok"]) == (3, 1, 4)
    assert summary["mean"] == pytest.approx(64 * 1.0)


def test_one_case_has_tables_and_pictures(measure, folders):
    out = folders / "out"
    done = measure("unet/c.nii.gz", "--out", out)
    assert done.code == 0, done.err
    assert {path.name for path in (out / "pictures").iterdir()} == {"c_L1.png", "c_L1.svg"}
    assert ">bone volume<" in (out / "pictures" / "c_L1.svg").read_text()
    values = json.loads((out / "measurements.json").read_text())
    assert set(values) == {"measurements"}
    assert {row["bone"] for row in values["measurements"]} == {"L1"}
    again = measure("unet/c.nii.gz", "--out", out)
    assert again.code == 2 and "--force" in again.err


def test_the_reference_may_be_measured_already(measure, folders):
    first = measure("reference", "--out", folders / "truth", "--no-pictures")
    assert first.code == 0, first.err
    fresh = measure("unet", "--compare", folders / "reference", "--json")
    stored = measure("unet", "--compare", folders / "truth" / "measurements.json", "--json")
    assert json.loads(fresh.out)["errors"] == json.loads(stored.out)["errors"]
    alone = ("--out", folders / "truth", "--no-pictures", "--force")
    assert measure("unet", "--compare", folders / "reference", *alone).code == 0
    assert (folders / "truth" / "errors.csv").is_file()
    assert measure("unet", *alone).code == 0
    assert not list((folders / "truth").glob("*error*"))  # those of an earlier run would be old
    one = measure("unet/b.nii.gz", "--compare", folders / "reference" / "c.nii.gz", "--json")
    (difference,) = (
        row for row in json.loads(one.out)["errors"]["differences"] if row["measurement"] == "bone_volume_mm3"
    )
    assert (difference["reference"], difference["prediction"], difference["error"]) == (REFERENCE_MM3, 576, 64)


def test_a_json_file_is_still_one_file(measure, folders):
    done = measure("unet/a.nii.gz", "--out", folders / "a.json")
    assert done.code == 0 and set(json.loads((folders / "a.json").read_text())) == {"measurements"}
    assert measure("unet/a.nii.gz", "--out", folders / "a.json").code == 2


def test_a_wrong_header_is_replaced(measure, folders):
    def volume(*arguments):
        done = measure("unet/a.nii.gz", "--json", *arguments)
        assert done.code == 0, done.err
        return {row["name"]: row["value"] for row in json.loads(done.out)["measurements"]}["bone_volume_mm3"]

    assert volume("--spacing-mm", "2") == 8 * REFERENCE_MM3
    assert volume("--spacing-mm", "1,2,3") == 6 * REFERENCE_MM3
    (folders / "affine.txt").write_text("3 0 0 0\n0 1 0 0\n0 0 1 5\n0 0 0 1\n")
    assert volume("--affine", folders / "affine.txt") == 3 * REFERENCE_MM3
    assert volume("--affine", "1,0,0,0,0,4,0,0,0,0,1,0,0,0,0,1") == 4 * REFERENCE_MM3


@pytest.mark.parametrize(
    ("path", "arguments", "says"),
    [
        ("unet", ("--spacing-mm", "1", "--affine", "1,0,0,0,0,1,0,0,0,0,1,0,0,0,0,1"), "give one of them"),
        ("unet", ("--spacing-mm", "1,2"), "--spacing-mm '1,2' must be 3 numbers"),
        ("unet", ("--affine", "1,2,3"), "must be 16 numbers"),
        ("unet", ("--affine", "nowhere.txt"), "affine nowhere.txt does not exist"),
        ("unet", ("--bone", "femur_left"), "does not belong to anatomy vertebra"),
        ("nowhere", (), "does not exist"),
        (".", (), "neither case folders"),
        ("unet", ("--compare", "nowhere.json"), "does not exist"),
        ("unet/a.nii.gz", ("--labels", "7=L1"), "none of the ids"),
    ],
)
def test_wrong_arguments_are_one_line(measure, path, arguments, says):
    done = measure(path, *arguments)
    assert done.code == 2 and says in done.err and len(done.err.splitlines()) == 1, done.err


def test_cases_without_a_common_name_are_refused(measure, folders):
    block(folders / "others" / "z.nii.gz", 8)
    done = measure("unet", "--compare", folders / "others")
    assert done.code == 2 and "no case has a reference of its name" in done.err


def test_ids_of_the_table_of_bones_need_no_map(boneray, folders):
    data = np.zeros((20,) * 3, np.uint8)
    data[4:12, 4:12, 4:12] = BONES["L2"].bone_id
    write_labels(folders / "own.nii.gz", LabelMap(data, Grid(data.shape, (1.0,) * 3, (0.0,) * 3)))
    done = boneray("measure", folders / "own.nii.gz", "-a", "vertebra", "--label-map", "boneray", "--json")
    assert {row["bone"] for row in json.loads(done.out)["measurements"]} == {"L2"}
