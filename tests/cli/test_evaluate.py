"""`boneray evaluate`: what it writes, what it refuses, and that it can be stopped and taken up again."""

import csv
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest

from boneray.core.bones import BONES
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap
from boneray.io.nifti import write_labels

NAMES = "1=L1,2=L2,3=L3"
EDGE = 20


def labels(boxes, *, spacing_mm=1.0, origin_mm=0.0):
    """Label map of 20^3 voxels with 4^3 cubes {id: first corner}."""
    grid = Grid((EDGE,) * 3, (spacing_mm,) * 3, (origin_mm,) * 3)
    data = np.zeros(grid.shape, np.uint8)
    for label, (i, j, k) in boxes.items():
        data[i : i + 4, j : j + 4, k : k + 4] = label
    return LabelMap(data, grid)


REFERENCE = {1: (2, 2, 2), 2: (2, 10, 2)}


@pytest.fixture
def folders(tmp_path):
    """a: perfect; b: bone 1 one voxel off (Dice .75), bone 2 missed, bone 3 spurious; c: both one voxel off."""
    predictions = {
        "a": REFERENCE,
        "b": {1: (3, 2, 2), 3: (14, 14, 14)},
        "c": {1: (3, 2, 2), 2: (2, 11, 2)},
    }
    for case, boxes in predictions.items():
        write_labels(tmp_path / "reference" / f"{case}.nii.gz", labels(REFERENCE))
        write_labels(tmp_path / "unet" / f"{case}.nii.gz", labels(boxes))
    return tmp_path


@pytest.fixture
def evaluate(boneray, folders):
    def run(*arguments, reference="reference", prediction="unet"):
        return boneray("evaluate", "--reference", folders / reference, "--prediction", folders / prediction, *arguments)

    return run


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_tables_follow_the_rules(evaluate, folders):
    out = folders / "out"
    done = evaluate("--labels", NAMES, "--out", out)
    assert done.code == 0, done.err
    assert {path.name for path in out.iterdir()} >= {
        "settings.json",
        "cases",
        "cases.csv",
        "groups.csv",
        "summary.json",
    }
    rows = {(row["case"], row["bone"]): row for row in table(out / "metrics.csv")}
    assert len(rows) == 7 and {row["method"] for row in rows.values()} == {"unet"}
    assert [rows["b", bone]["status"] for bone in ("L1", "L2", "L3")] == ["present", "missed", "spurious"]
    assert float(rows["b", "L1"]["dice"]) == 0.75 and float(rows["b", "L2"]["dice"]) == 0.0
    assert rows["b", "L2"]["hd95_mm"] == ""
    diagonal = EDGE * np.sqrt(3)
    of_b = {row["case"]: row for row in table(out / "cases.csv")}["b"]
    assert float(of_b["dice"]) == 0.375 and float(of_b["dice_union"]) == 0.25
    assert float(of_b["hd95_mm_present"]) == 1.0
    assert float(of_b["hd95_mm_penalised"]) == pytest.approx((1 + diagonal) / 2)
    assert (of_b["status"], of_b["n_missed"], of_b["n_spurious"]) == ("ok", "1", "1")
    summary = json.loads((out / "summary.json").read_text())
    dice, hd95 = summary["metrics"]["dice"], summary["metrics"]["hd95_mm_present"]
    assert dice["mean"] == pytest.approx((1 + 0.375 + 0.75) / 3) and (dice["n"], dice["worst_case"]) == (3, "b")
    assert hd95["coverage"] == "5/6" and hd95["mean"] == pytest.approx(2 / 3)
    assert summary["metrics"]["hd95_mm_penalised"]["mean"] == pytest.approx((0 + (1 + diagonal) / 2 + 1) / 3)
    assert summary["counts"] == {"n_present": 5, "n_missed": 1, "n_spurious": 1}
    assert summary["pooled"]["id_rate_verse"] == {"mean": pytest.approx(5 / 6), "n_bones": 6}
    of_l2 = summary["bones"]["L2"]["metrics"]
    assert of_l2["dice"]["mean"] == pytest.approx((1 + 0 + 0.75) / 3) and of_l2["hd95_mm"]["coverage"] == "2/3"
    assert of_l2["hd95_mm_penalised"]["mean"] == pytest.approx((0 + diagonal + 1) / 3)
    assert summary["bones"]["L3"]["metrics"]["dice"]["n"] == 0  # in no reference, so behind no mean
    assert summary["bones"]["L3"]["metrics"]["dice_union"]["mean"] == 0.0
    volume = summary["bones"]["L2"]["volume"]
    assert (volume["reference_mm3"], volume["n_cases"]) == (64, 3)
    assert volume["prediction_mm3"] == pytest.approx(128 / 3)


def test_json_holds_cases_and_the_summary(evaluate):
    values = json.loads(evaluate("--labels", NAMES, "--json", "--metric", "precision").out)
    assert [entry["case"] for entry in values["cases"]] == ["a", "b", "c"] and values["failed"] == []
    assert set(values["cases"][0]) == {"case", "bones", "mean"}
    assert values["cases"][1]["bones"]["L1"]["precision"] == 0.75
    assert values["summary"]["metrics"]["precision"]["mean"] == pytest.approx((1 + 0.375 + 0.75) / 3)


def test_rank_and_associate_read_what_evaluate_writes(evaluate, boneray, folders):
    """Method worse is one voxel further off in every bone, so unet wins on every case."""
    for case in "abc":
        write_labels(folders / "worse" / f"{case}.nii.gz", labels({1: (4, 2, 2), 2: (2, 12, 2)}))
    for method in ("unet", "worse"):
        done = evaluate("--labels", NAMES, "--out", folders / "scores" / method, prediction=method)
        assert done.code == 0, done.err
    tables = [folders / "scores" / method / "metrics.csv" for method in ("unet", "worse")]
    done = boneray("rank", *tables, "--out", folders / "rank", "--metric", "nsd_2.0mm", "-m", "dice", "--resamples", 20)
    assert done.code == 0 and "task all, 3 common cases" in done.out, done.err
    ranking = json.loads((folders / "rank" / "ranking.json").read_text())["metrics"][1]["tasks"][0]
    best = ranking["rankings"]["mean-then-rank"]["methods"][0]
    assert best["method"] == "unet" and best["score"] == pytest.approx((1 + 0.375 + 0.75) / 3)
    cases = [path.with_name("cases.csv") for path in tables]
    done = boneray("rank", *cases, "--out", folders / "rank2", "-m", "hd95_mm_penalised", "--resamples", 20)
    assert done.code == 0, done.err
    columns = ("--x", "dice", "--y", "assd_mm_penalised", "--resamples", 20)
    done = boneray("associate", cases[0], cases[1], *columns, "--out", folders / "fit")
    assert done.code == 0, done.err


def test_bad_cases_fail_with_their_reason_and_the_rest_goes_on(evaluate, folders):
    reference, unet = folders / "reference", folders / "unet"

    def bad(case, prediction=None):
        write_labels(reference / f"{case}.nii.gz", labels(REFERENCE))
        if prediction is not None:
            write_labels(unet / f"{case}.nii.gz", prediction)

    def raw(case, data, dtype):
        nibabel.save(nibabel.Nifti1Image(data.astype(dtype), np.eye(4)), unet / f"{case}.nii.gz")

    bad("affine", labels(REFERENCE, origin_mm=3.0))
    bad("shape", LabelMap(np.ones((EDGE, EDGE, 18), np.uint8), Grid((EDGE, EDGE, 18), (1, 1, 1), (0, 0, 0))))
    bad("unnamed", labels({**REFERENCE, 9: (10, 10, 10)}))
    for case in ("fractions", "negative", "unreadable", "cut"):
        bad(case)
    raw("fractions", labels(REFERENCE).data * 0.5, np.float32)
    raw("negative", -labels(REFERENCE).data.astype(np.int16), np.int16)
    (unet / "unreadable.nii.gz").write_text("no NIfTI")
    (unet / "cut.nii.gz").write_bytes((unet / "a.nii.gz").read_bytes()[:-20])
    write_labels(reference / "empty.nii.gz", labels({}))
    write_labels(unet / "empty.nii.gz", labels(REFERENCE))
    out = folders / "out"
    done = evaluate("--labels", NAMES, "--out", out, "--json")
    assert done.code == 1
    values = json.loads(done.out)
    reasons = {entry["case"]: entry["reason"] for entry in values["failed"]}
    says = {
        "affine": "up to 3 mm apart; --resample",
        "shape": "20x20x18 voxels of 1x1x1 mm against 20x20x20",
        "unnamed": "prediction holds id 9, which the label map",
        "fractions": "holds fractions",
        "negative": "holds values -2..0",
        "unreadable": "not a readable NIfTI",
        "cut": "not a readable NIfTI",
        "empty": "the reference holds no bone",
    }
    assert reasons.keys() == says.keys()
    for case, text in says.items():
        assert text in reasons[case], reasons[case]
    counted = values["summary"]["cases"]
    assert (counted["n"], counted["n_scored"], counted["n_failed"]) == (11, 3, 8)
    assert values["summary"]["metrics"]["dice"]["mean"] == pytest.approx((1 + 0.375 + 0.75) / 3)
    assert "8 of 11 cases failed" in done.err
    rows = {row["case"]: row for row in table(out / "cases.csv")}
    assert rows["negative"]["status"] == "failed" and rows["negative"]["reason"] == reasons["negative"]
    assert rows["negative"]["dice"] == "" and len(table(out / "metrics.csv")) == 7

    assert evaluate("--labels", NAMES, "--drop-unnamed", "--resample", "--json").code == 1
    write_labels(unet / "unnamed.nii.gz", labels(REFERENCE))  # mended: only the failed ones are tried again
    stamps = {path.name: path.stat().st_mtime_ns for path in (out / "cases").glob("?.json")}
    again = json.loads(evaluate("--labels", NAMES, "--out", out, "--json").out)
    assert "unnamed" in [entry["case"] for entry in again["cases"]] and len(again["failed"]) == 7
    assert stamps == {path.name: path.stat().st_mtime_ns for path in (out / "cases").glob("?.json")}


def test_ids_and_grids_are_mended_on_request(evaluate, folders):
    write_labels(folders / "unet" / "a.nii.gz", labels({**REFERENCE, 9: (10, 10, 10)}))
    moved = labels({1: (1, 2, 2), 2: (1, 10, 2)}).data[:19]  # the same places on a grid that begins one voxel later
    write_labels(folders / "unet" / "c.nii.gz", LabelMap(moved, Grid((19, EDGE, EDGE), (1, 1, 1), (1, 0, 0))))
    done = evaluate("--labels", NAMES, "--drop-unnamed", "--resample", "--json")
    assert done.code == 0, done.err
    found = {entry["case"]: entry for entry in json.loads(done.out)["cases"]}
    assert found["a"]["mean"]["dice"] == 1.0 and found["a"]["mean"]["n_spurious"] == 0
    assert found["c"]["mean"]["dice"] == 1.0 and "resampled by nearest voxel" in found["c"]["notes"][0]
    assert "resampled" in done.err


def test_a_pair_that_cannot_be_scored_is_one_line(evaluate, folders):
    write_labels(folders / "far.nii.gz", labels(REFERENCE, origin_mm=3.0))
    done = evaluate(reference="reference/a.nii.gz", prediction="far.nii.gz")
    assert done.code == 2 and len(done.err.splitlines()) == 1 and "another grid" in done.err and not done.out


def test_wrong_arguments_are_one_line_and_nothing_is_written(evaluate, folders):
    out = folders / "out"

    def refused(says, *arguments, **paths):
        done = evaluate("--out", out, *arguments, **paths)
        assert done.code == 2 and len(done.err.splitlines()) == 1, done.err
        assert done.err.startswith("boneray: ") and says in done.err, done.err
        assert not done.out and not out.exists()

    refused("unknown label map", "--labels", "totl")
    refused("did you mean precision?", "--metric", "precison")
    refused("paper:swin-x2s", "--mode", "swin-x2s")
    refused("did you mean swin-x2s?", "--mode", "paper:swin-x2")
    refused("must be above 0", "--tolerance-mm", -1)
    refused("must be above 0", "--tolerance-mm", "nan")
    refused("--by", "--metadata", folders / "m.csv")
    refused("does not exist", "--by", "site", "--metadata", folders / "none.csv")
    refused("--metadata", "--by", "site")
    refused("column of the results", "--by", "status")
    refused("does not exist", reference="nowhere")
    refused("does not exist", prediction="nowhere")
    refused("is not; give a folder", prediction="unet/a.nii.gz")
    (folders / "m.csv").write_text("case,site\na,x\na,y\n")
    refused("a is x and y", "--by", "site", "--metadata", folders / "m.csv")
    refused("did you mean site?", "--by", "sites", "--metadata", folders / "m.csv")
    (folders / "m.csv").write_text("who,site\na,x\n")
    refused("has no column case", "--by", "site", "--metadata", folders / "m.csv")
    (folders / "other").mkdir()
    refused("holds neither", prediction="other")
    write_labels(folders / "other" / "z.nii.gz", labels(REFERENCE))
    refused("called like a case", prediction="other")
    write_labels(folders / "other" / "a.nii.gz", labels(REFERENCE))
    (folders / "other" / "a.nii").write_bytes(b"")
    refused("both case a", prediction="other")


def test_groups_of_cases(evaluate, boneray, folders):
    (folders / "m.csv").write_text("case,site\na,north\nb,south\nc,north\n")
    out = folders / "out"
    done = evaluate("--labels", NAMES, "--by", "site", "--metadata", folders / "m.csv", "--out", out)
    assert done.code == 0, done.err
    rows = {(row["group"], row["metric"]): row for row in table(out / "groups.csv")}
    assert float(rows["all", "dice"]["mean"]) == pytest.approx((1 + 0.375 + 0.75) / 3)
    assert float(rows["north", "dice"]["mean"]) == 0.875 and rows["north", "dice"]["n_cases"] == "2"
    south = rows["south", "hd95_mm_present"]
    assert (float(south["mean"]), south["n_present"], south["n_reference"], south["n_spurious"]) == (1.0, "1", "2", "1")
    assert {row["site"] for row in table(out / "metrics.csv") if row["case"] == "b"} == {"south"}
    assert [row["site"] for row in table(out / "cases.csv")] == ["north", "south", "north"]
    (folders / "unet" / "b.nii.gz").write_text("no NIfTI")
    again = evaluate("--labels", NAMES, "--by", "site", "--metadata", folders / "m.csv", "--json")
    south = json.loads(again.out)["summary"]["groups"]["south"]["dice"]
    assert again.code == 1 and (south["mean"], south["n"], south["n_failed"]) == (None, 0, 1)
    write_labels(folders / "unet" / "b.nii.gz", labels({1: (3, 2, 2), 3: (14, 14, 14)}))
    (folders / "m.csv").write_text("case,site\na,north\nb,\n")
    again = evaluate("--labels", NAMES, "--by", "site", "--metadata", folders / "m.csv", "--json")
    groups = json.loads(again.out)["summary"]["groups"]
    assert groups["by"] == "site" and list(groups)[1:] == ["north", "unknown"]
    assert groups["unknown"]["dice"]["n_cases"] == 2 and "site of bones of 2 cases is unknown" in again.err


def test_groups_of_bones(evaluate, folders):
    (folders / "m.csv").write_text(
        "case,bone,severity\na,L1,mild\na,L2,severe\nb,L1,severe\nb,L2,mild\nb,L3,mild\nc,L1,mild\nc,L2,mild\n"
    )
    done = evaluate("--labels", NAMES, "--by", "severity", "--metadata", folders / "m.csv", "--json")
    groups = json.loads(done.out)["summary"]["groups"]
    # mild: a L1 = 1; b L2 missed = 0 (and L3 spurious); c both .75. severe: a L2 = 1; b L1 = .75
    assert groups["mild"]["dice"]["mean"] == pytest.approx((1 + 0 + 0.75) / 3)
    assert groups["mild"]["dice_union"]["mean"] == pytest.approx((1 + 0 / 2 + 0.75) / 3)
    assert groups["severe"]["dice"]["mean"] == pytest.approx(0.875)
    by_bone = json.loads(evaluate("--labels", NAMES, "--by", "bone", "--json").out)["summary"]
    assert by_bone["groups"]["L2"]["dice"]["mean"] == by_bone["bones"]["L2"]["metrics"]["dice"]["mean"]


def test_groups_of_a_data_set_come_from_its_case_folders(boneray, tmp_path):
    for number, side in enumerate(("left", "right")):
        folder = tmp_path / "data" / f"p{number}"
        write_labels(folder / "labels.nii.gz", labels({BONES[f"femur_{side}"].bone_id: (2, 2, 2)}))
        (folder / "case.json").write_text(json.dumps(description(f"p{number}", side)))
    write_labels(tmp_path / "runs" / "p0.nii.gz", labels({BONES["femur_left"].bone_id: (2, 2, 2)}))
    shutil.copytree(tmp_path / "data" / "p1", tmp_path / "runs2" / "p1")
    rows = [{"case_id": f"p{n}", "patient_id": f"p{n}", "status": "ok"} for n in (0, 1)]
    dataset = {"schema": "boneray/dataset/1", "cases": rows}
    (tmp_path / "data" / "dataset.json").write_text(json.dumps(dataset))

    def scored(prediction, *arguments):
        return boneray(
            "evaluate", "--reference", tmp_path / "data", "--prediction", tmp_path / prediction, "--json", *arguments
        )

    done = scored("runs", "--by", "side_of_patient")
    assert done.code == 0, done.err
    summary = json.loads(done.out)["summary"]
    assert summary["groups"]["left"]["dice"]["mean"] == 1.0 and summary["groups"]["right"]["dice"]["mean"] == 0.0
    assert summary["cases"]["without_prediction"] == ["p1"] and "without a prediction" in done.err
    summary = json.loads(scored("runs2", "--by", "side").out)["summary"]
    assert list(summary["groups"])[1:] == ["left", "right"]
    (tmp_path / "data" / "p1" / "labels.nii.gz").unlink()
    done = scored("runs")
    assert done.code == 1 and "holds no labels.nii.gz" in done.err
    (tmp_path / "data" / "p1" / "case.json").unlink()
    assert "which is not there" in scored("runs").err


def description(case_id, side):
    """A case.json without radiographs."""
    return {
        "schema": "boneray/case/1", "case_id": case_id, "patient_id": case_id, "anatomy": "femur",
        "target": f"femur_{side}", "licence": "CC0", "provenance": {"parameters": {"side_of_patient": side}},
        "views": [], "bones": {}, "has_labels": True, "has_ct": False, "grid": {},
    }  # fmt: skip


def test_tolerance_is_in_the_name_and_warned_about_below_a_voxel(evaluate, boneray, tmp_path):
    fine = evaluate("--labels", NAMES, "--tolerance-mm", 1.5, "--json")
    assert "nsd_1.5mm" in json.loads(fine.out)["summary"]["metrics"] and "below one voxel" not in fine.err
    for name, boxes in (("r", REFERENCE), ("p", {1: (3, 2, 2), 2: (2, 11, 2)})):
        write_labels(tmp_path / f"{name}.nii.gz", labels(boxes, spacing_mm=2.5))
    pair = ("--reference", tmp_path / "r.nii.gz", "--prediction", tmp_path / "p.nii.gz")
    coarse = boneray("evaluate", *pair, "--json")
    assert "nsd_2.0mm: the tolerance is below one voxel (up to 2.5 mm) in 1 of 1 cases" in coarse.err
    mean = json.loads(coarse.out)["cases"][0]["mean"]
    assert mean["nsd_2.5mm"] == 1.0 > mean["nsd_2.0mm"]
    assert "below one voxel" not in boneray("evaluate", *pair, "--tolerance-mm", 2.5).err


def test_labels_that_are_off_by_one_are_reported(boneray, tmp_path):
    column = {BONES[f"T{n}"].bone_id: (8, 8, 4 * (n - 9)) for n in (9, 10, 11)}
    write_labels(tmp_path / "r.nii.gz", labels(column))
    write_labels(tmp_path / "p.nii.gz", labels({bone + 1: corner for bone, corner in column.items()}))
    pair = ("--reference", tmp_path / "r.nii.gz", "--prediction", tmp_path / "p.nii.gz")
    done = boneray("evaluate", *pair, "--labels", "boneray", "--json")
    (entry,) = json.loads(done.out)["cases"]
    assert entry["label_shifts"]["vertebrae"]["shift"] == 1 and entry["label_shifts"]["vertebrae"]["dice_after"] == 1.0
    assert "labels of the vertebrae are off by +1: mean Dice 0.000, 1.000 once they are moved back" in done.err
    assert "label_shifts" not in json.loads(boneray("evaluate", *pair, "--json").out)["cases"][0]


def test_paper_mode_stands_beside_ours_with_what_is_wrong_with_it(evaluate, folders):
    out = folders / "out"
    done = evaluate("--labels", NAMES, "--mode", "paper:xrayto3d", "--out", out)
    assert done.code == 0, done.err
    assert "xrayto3d:hd95_voxels: Printed as HD95 (mm). It is in voxels" in done.out
    rows = {row["case"]: row for row in table(out / "cases.csv")}
    assert rows["a"]["xrayto3d:dsc"] == "1.0" and float(rows["c"]["xrayto3d:dsc"]) == 0.75
    summary = json.loads((out / "summary.json").read_text())
    assert summary["paper"]["notes"].keys() == {"dsc", "hd95_voxels", "asd_voxels", "nsd_reference_1.5mm"}
    # b: 48 of 64 + 128 voxels = the first cube but one layer, without the second, and with a third
    of_b = round(2 * 48 / (128 + 128), 2)
    assert summary["metrics"]["xrayto3d:dsc"]["mean"] == pytest.approx((1 + of_b + 0.75) / 3)
    assert summary["metrics"]["dice"]["mean"] == pytest.approx((1 + 0.375 + 0.75) / 3)


def test_another_question_needs_another_folder(evaluate, folders):
    out = folders / "out"
    assert evaluate("--labels", NAMES, "--out", out, "--csv", folders / "t.csv").code == 0
    assert (folders / "t.csv").read_bytes() == (out / "metrics.csv").read_bytes()
    before = tree(out)
    assert evaluate("--labels", NAMES, "--out", out).code == 0 and tree(out) == before
    done = evaluate("--labels", NAMES, "--out", out, "--tolerance-mm", 3)
    assert done.code == 2 and "another evaluation" in done.err and tree(out) == before
    assert "exists already" in evaluate("--labels", NAMES, "--csv", folders / "t.csv").err
    assert evaluate("--labels", NAMES, "--out", out, "--tolerance-mm", 3, "--force").code == 0
    assert "nsd_3.0mm" in table(out / "metrics.csv")[0]
    (folders / "run").mkdir()
    (folders / "run" / "case.json").write_text("{}")
    assert "already holds case.json" in evaluate("--out", folders / "run").err


def test_processes_give_the_same_bytes(evaluate, folders):
    assert evaluate("--labels", NAMES, "--out", folders / "one", "--workers", 1).code == 0
    assert evaluate("--labels", NAMES, "--out", folders / "two", "--workers", 2).code == 0
    assert tree(folders / "one") == tree(folders / "two")


def test_parquet_holds_the_same_as_the_csv(evaluate, folders):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed; pip install 'boneray[parquet]'")
    out = folders / "out"
    assert evaluate("--labels", NAMES, "--out", out).code == 0
    found = parquet.read_table(out / "metrics.parquet").to_pylist()
    rows = table(out / "metrics.csv")
    assert [row["bone"] for row in found] == [row["bone"] for row in rows]
    assert [row["hd95_mm"] for row in found] == [float(row["hd95_mm"]) if row["hd95_mm"] else None for row in rows]


def test_without_pyarrow_no_old_parquet_is_left(evaluate, folders, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    out = folders / "out"
    out.mkdir()
    (out / "metrics.parquet").write_bytes(b"of another run")
    assert evaluate("--labels", NAMES, "--out", out).code == 0
    assert not (out / "metrics.parquet").exists() and (out / "metrics.csv").is_file()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_run_is_taken_up_and_gives_the_same_bytes(evaluate, folders, workers):
    for number in range(100):
        for side, shift in (("reference", 0), ("unet", number % 3)):
            write_labels(folders / side / f"more-{number:03d}.nii.gz", labels({1: (2 + shift, 2, 2), 2: (2, 10, 2)}))
    out = folders / "killed"
    paths = ["--reference", folders / "reference", "--prediction", folders / "unet"]
    command = ["-m", "boneray.cli.app", "evaluate", *paths, "--labels", NAMES, "--out", out, "--workers", workers]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([sys.executable, *map(str, command)], **quiet)
    deadline = time.monotonic() + 60
    while len(list((out / "cases").glob("*.json"))) < 5 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    process.kill()
    process.wait()
    done_before = {path.name: path.stat().st_mtime_ns for path in (out / "cases").glob("*.json")}
    assert 5 <= len(done_before) < 103 and not (out / "summary.json").exists()
    time.sleep(0.5)  # processes of the killed run see that it is gone
    (out / "cases" / ".writing-left").mkdir()
    assert evaluate("--labels", NAMES, "--out", out, "--workers", workers).code == 0
    kept = {path.name: path.stat().st_mtime_ns for path in (out / "cases").glob("*.json")}
    assert {name: kept[name] for name in done_before} == done_before  # not done twice
    assert evaluate("--labels", NAMES, "--out", folders / "whole", "--workers", 1).code == 0
    assert tree(out) == tree(folders / "whole")


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every file below a folder, hidden ones too, with its bytes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")
    }


def test_a_whole_disk_ends_the_run_in_one_line(evaluate, folders, monkeypatch):
    def full(self, *_, **__):
        raise OSError(28, "No space left on device", str(self))

    out = folders / "out"
    assert evaluate("--labels", NAMES, "--out", out).code == 0
    (out / "cases" / "a.json").unlink()
    monkeypatch.setattr(Path, "write_text", full)
    done = evaluate("--labels", NAMES, "--out", out)
    assert done.code == 2 and "No space left" in done.err and len(done.err.splitlines()) == 1


def test_error_pictures_show_every_bone_that_both_have(evaluate, tmp_path):
    done = evaluate("--labels", NAMES, "--error-pictures", tmp_path / "errors")
    assert done.code == 0
    names = sorted(path.name for path in (tmp_path / "errors").iterdir())
    bones = ("a_L1", "a_L2", "b_L1", "c_L1", "c_L2")  # b misses L2
    assert names == sorted(f"{bone}.{kind}" for bone in bones for kind in ("png", "ply"))
    again = evaluate("--labels", NAMES, "--error-pictures", tmp_path / "errors")
    assert again.code == 2 and "--force" in again.err


def test_intensities_need_cases_with_a_ct(evaluate):
    done = evaluate("--intensities")
    assert done.code == 2 and "holds no case" in done.err
