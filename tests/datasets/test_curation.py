"""Rules by closed forms, verdicts as tables, and what bad input leaves behind."""

import csv
import errno
import json
import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from boneray.anatomy.registry import anatomy
from boneray.core.bones import bone
from boneray.core.errors import InputError
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap, Volume
from boneray.datasets import prepare as prepare_module
from boneray.datasets import rules
from boneray.datasets.collection import prepare_collection
from boneray.datasets.curation import counted, judge, summary_lines
from boneray.datasets.frame_checks import check_frame
from boneray.datasets.miniature import phantom_scan, write_bones, write_ct
from boneray.datasets.prepare import PrepareOptions
from boneray.datasets.registry import DATASETS, Pair, Rule
from boneray.datasets.scan import Scan

OPTIONS = PrepareOptions("pelvis", voxels=16, pixels=16, views=("ap",))


def scan(boxes, *, hu=None, shape=(20, 20, 40), spacing=(2.0, 2.0, 2.0), groups=None, notes=()):
    """A scan whose bones are boxes of voxels: {name: (slices)}."""
    grid = Grid(shape, spacing, (0, 0, 0))
    labels = np.zeros(shape, np.uint8)
    for name, box in boxes.items():
        labels[box] = bone(name).bone_id
    ct = np.where(labels > 0, 500, 40).astype(np.int16) if hu is None else hu
    pair = Pair("c", "p", None, None, {}, groups=groups or {})
    found = LabelMap(labels, grid)
    names = {bone(name).bone_id: name for name in boxes}
    return Scan(pair, Volume(ct, grid), found, (), check_frame(found, names), False, tuple(notes), grid)


def box(x, y, z, size=4):
    return tuple(slice(v, v + size) for v in (x, y, z))


def test_volumes_are_in_cubic_millimetres():
    one = scan({"L1": box(2, 2, 2)})  # 64 voxels of 8 mm3
    assert rules.volume_below(one, ("L1",), at_least_mm3=512.0) == ""
    assert rules.volume_below(one, ("L1",), at_least_mm3=512.1) == "L1 0.5 cm3; 0.5 cm3 needed"
    assert "femur_left 0.0 cm3" in rules.volume_below(one, ("L1",), names=("femur_left",), at_least_mm3=1.0)
    assert rules.union_below(scan({"L1": box(2, 2, 2), "L2": box(2, 2, 8)}), ("L1", "L2"), at_least_mm3=1024.0) == ""
    assert rules.fewer_than(one, (), names=("L1", "L2"), count=2).startswith("1 of 2 bones are labelled, 2 needed")


def test_gaps_are_between_labelled_vertebrae_only():
    def column(*names):
        return scan({name: box(2, 2, 30 - 6 * n) for n, name in enumerate(names)})

    assert rules.gap_in_sequence(column("T10", "T11", "L1", "L2"), ()) == ""  # a missing T12 is a variant
    assert rules.gap_in_sequence(column("C7", "T1", "T3"), ()) == "T2 missing between T1 and T3"
    assert rules.gap_in_sequence(column("L1"), ()) == ""


def test_a_bone_is_cut_where_it_touches_a_face():
    assert rules.cut_by_field(scan({"L1": box(2, 2, 2)}), ("L1",)) == ""
    assert rules.cut_by_field(scan({"L1": box(0, 2, 2)}), ("L1",)) == "cut by the field of view: L1 by the left face"
    assert rules.cut_by_field(scan({"L1": box(2, 16, 36)}), ("L1",)).endswith(
        "L1 by the front face, L1 by the upper face"
    )
    assert rules.cut_by_field(scan({"L1": box(2, 2, 0)}), ("L1",), faces="LRPAS") == ""


def test_metal_counts_near_the_bone_only():
    hu = np.full((20, 20, 40), 40, np.int16)
    hu[2:4, 2:4, 2:4] = 3000  # 8 voxels = 64 mm3, in the bone
    assert rules.metal(scan({"L1": box(2, 2, 2)}, hu=hu), ("L1",)) == "0.06 cm3 above 2500 HU at L1"
    assert rules.metal(scan({"L1": box(12, 12, 30)}, hu=hu), ("L1",)) == ""
    hu[2:4, 2:4, 2:4] = 2500  # not above
    assert rules.metal(scan({"L1": box(2, 2, 2)}, hu=hu), ("L1",)) == ""


def test_sides_order_pieces_and_holes():
    right_first = {"hip_left": box(12, 2, 2), "hip_right": box(2, 2, 2)}
    assert rules.sides_swapped(scan(right_first), ()) == "hip_left on the patient's right by the frame"
    spine = {"L1": box(2, 2, 20), "L2": box(2, 2, 30), "L3": box(2, 2, 10), "L4": box(2, 2, 4)}
    assert rules.order_broken(scan(spine), ()) == "L2 above L1"
    both = np.zeros((20, 20, 40), bool)
    both[2:6, 2:6, 2:6] = both[2:4, 12:14, 2:4] = True  # 64 and 8 voxels: 11 % outside of the largest
    pieces = scan({"L1": np.nonzero(both)})
    assert rules.in_pieces(pieces, ("L1",), share=0.05) == "L1 in 2 pieces, 11 % outside of the largest"
    assert rules.in_pieces(pieces, ("L1",), share=0.12) == ""
    shell = np.zeros((20, 20, 40), bool)
    shell[2:8, 2:8, 2:8] = True
    shell[4:6, 4:6, 4:6] = False  # 8 of 216
    assert rules.holes(scan({"L1": np.nonzero(shell)}), ("L1",), share=0.03) == "L1 4 % hollow"
    assert rules.holes(scan({"L1": np.nonzero(shell)}), ("L1",), share=0.04) == ""


def test_labels_off_the_bone_are_found_by_contrast():
    hu = np.full((20, 20, 40), 40, np.int16)
    hu[box(2, 2, 2)] = 500
    assert rules.not_on_bone(scan({"L1": box(2, 2, 2)}, hu=hu), ("L1",)) == ""
    assert rules.not_on_bone(scan({"L1": box(12, 12, 30)}, hu=hu), ("L1",)).startswith("labelled bone is 0 HU denser")


def test_angiographies_are_told_by_their_study_type():
    for study, found in (("ct angiography neck", True), ("CTA thorax", True), ("ct abdomen", False), (None, False)):
        assert bool(rules.angiography(scan({"L1": box(2, 2, 2)}, groups={"study_type": study}), ())) == found


def test_rejections_stop_and_flags_gather():
    asked = []

    def ask(name, answer, scan, bones):
        asked.append((name, bones))
        return answer

    made = (
        Rule("a", "why", partial(ask, "a", "odd"), "flag"),
        Rule("b", "why", partial(ask, "b", ""), each=True),
        Rule("c", "why", partial(ask, "c", "bad"), anatomies=("pelvis",)),
        Rule("d", "why", partial(ask, "d", "worse")),
    )
    one = scan({"L1": box(2, 2, 2)})
    whole = judge(one, ("L1",), made, anatomy("vertebra"), each=False)
    assert (whole.rule, whole.reason, whole.flags) == ("d", "worse", ("a: odd",))
    assert judge(one, ("L1",), made, anatomy("vertebra"), each=True).accepted
    assert judge(one, ("L1",), made, anatomy("pelvis"), each=False).rule == "c"
    assert [name for name, _ in asked] == ["a", "d", "b", "a", "b", "c"]


def test_counts_are_those_of_the_rows():
    rows = [
        {"case_id": "a", "patient_id": "p", "status": "ok", "flags": ["x: 1", "x: 2"]},
        {"case_id": "b", "patient_id": "p", "status": "ok", "flags": []},
        {"case_id": "c", "patient_id": "q", "status": "rejected", "rule": "gap", "flags": ["y: 1"]},
    ]
    counts = counted(rows)
    assert counts == {
        "cases": 3, "accepted": 2, "flagged": 1, "rejected": 1, "patients": 1,
        "rejected_by_rule": {"gap": 1}, "flagged_by_rule": {"x": 1, "y": 1},
    }  # fmt: skip
    assert summary_lines(counts)[0] == "3 cases: 2 accepted (1 flagged, 1 patients), 1 rejected"


@pytest.fixture
def pelves(tmp_path):
    """Three sound pelves as pairs of files."""
    for n in range(3):
        ct, labels = phantom_scan("pelvis", n, 24)
        write_ct(tmp_path / "raw" / f"p{n}_ct.nii.gz", ct)
        write_bones(tmp_path / "raw" / f"p{n}_labels.nii.gz", labels)
    return tmp_path / "raw"


def pairs(root):
    return list(DATASETS.get("ct-label-pairs").value.cases(root, None))


def test_what_was_rejected_is_in_the_table_the_summary_and_a_picture(pelves, tmp_path):
    never = Rule("never", "a test", lambda scan, bones: "no pelvis, please" if scan.pair.case_id == "p1" else "")
    made = prepare_collection(pairs(pelves), OPTIONS, name="x", out=tmp_path / "o", rules=(never,), root=pelves)
    assert (made["made"], made["rejected"], made["faults"]) == (2, 1, 0)
    rows = list(csv.DictReader((tmp_path / "o" / "curation.csv").open()))
    assert [(r["case_id"], r["status"], r["reason"]) for r in rows] == [
        ("p0", "accepted", ""), ("p1", "rejected", "never: no pelvis, please"), ("p2", "accepted", ""),
    ]  # fmt: skip
    assert json.loads((tmp_path / "o" / "curation.json").read_text())["rejected_by_rule"] == {"never": 1}
    with Image.open(tmp_path / "o" / "rejected" / "p1.png") as picture:
        assert picture.size == (328, 168) and picture.text["Comment"] == "never: no pelvis, please"
        colours = np.asarray(picture)
        assert np.ptp(colours, axis=2).max() > 20  # bones are in colour
    assert sorted(p.name for p in (tmp_path / "o" / "rejected").iterdir()) == ["p1.png"]


@pytest.mark.parametrize(("number", "says"), [(errno.ENOSPC, "No space left"), (errno.EACCES, "Permission denied")])
def test_a_case_that_cannot_be_written_is_a_row_and_the_run_goes_on(pelves, tmp_path, monkeypatch, number, says):
    real = prepare_module.write_case

    def failing(folder, case):
        if case.case_id == "p1":
            (folder / "ct.nii.gz").parent.mkdir(parents=True, exist_ok=True)
            (folder / "ct.nii.gz").write_bytes(b"half")
            raise OSError(number, os.strerror(number))
        return real(folder, case)

    monkeypatch.setattr(prepare_module, "write_case", failing)
    made = prepare_collection(pairs(pelves), OPTIONS, name="x", out=tmp_path / "o", root=pelves)
    assert (made["made"], made["rejected"], made["faults"]) == (2, 1, 1)
    row = next(row for row in made["cases"] if row["case_id"] == "p1")
    assert row["rule"] == "system" and says in row["reason"]
    assert not (tmp_path / "o" / "p1").exists() and not list((tmp_path / "o").glob(".writing-*"))


def everything(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_a_run_that_is_killed_anywhere_and_run_again_leaves_the_same_bytes(pelves, tmp_path):
    """A process is killed at its n-th rename, for n over the whole run; what it left is finished by a second run."""
    prepare_collection(pairs(pelves), OPTIONS, name="x", out=tmp_path / "whole", root=pelves)
    expected = everything(tmp_path / "whole")
    for after in range(1, 40, 3):
        out = tmp_path / f"killed{after}"
        child = os.fork()
        if child == 0:
            run_until(after, lambda out=out: prepare_collection(pairs(pelves), OPTIONS, name="x", out=out, root=pelves))
        killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
        for folder in out.glob("p*"):  # whatever is under its name is whole
            assert everything(folder) == everything(tmp_path / "whole" / folder.name)
        prepare_collection(pairs(pelves), OPTIONS, name="x", out=out, root=pelves)
        assert everything(out) == expected
        assert not list(out.rglob(".writing-*"))
        if not killed:
            break
    assert not killed and after > 10


def run_until(after, work):
    """Do the work; the process ends without any clean-up in the middle of its n-th rename."""
    real, renames = os.replace, iter(range(1, 1000))

    def replace(source, target):
        if next(renames) == after:
            os._exit(9)
        return real(source, target)

    os.replace = replace
    try:
        work()
    finally:
        os._exit(0)


def test_a_rerun_reads_no_scan_again(pelves, tmp_path, monkeypatch):
    first = prepare_collection(pairs(pelves), OPTIONS, name="x", out=tmp_path / "o", root=pelves)
    monkeypatch.setattr(prepare_module, "load_scan", None)  # would fail if it were called
    again = prepare_collection(pairs(pelves), OPTIONS, name="x", out=tmp_path / "o", root=pelves)
    assert again["cases"] == first["cases"]


def test_changed_files_and_changed_rules_make_the_case_again(pelves, tmp_path):
    prepare_collection(pairs(pelves), OPTIONS, name="x", out=tmp_path / "o", root=pelves)
    before = (tmp_path / "o" / "p0" / "labels.nii.gz").read_bytes()
    ct, labels = phantom_scan("pelvis", 3, 24)
    write_ct(pelves / "p0_ct.nii.gz", ct)
    write_bones(pelves / "p0_labels.nii.gz", labels)
    prepare_collection(pairs(pelves), OPTIONS, name="x", out=tmp_path / "o", root=pelves)
    assert (tmp_path / "o" / "p0" / "labels.nii.gz").read_bytes() != before
    strict = (Rule("strict", "a test", partial(rules.union_below, at_least_mm3=1e9)),)
    made = prepare_collection(pairs(pelves), OPTIONS, name="x", out=tmp_path / "o", root=pelves, rules=strict)
    assert made["made"] == 0 and made["counts"]["rejected_by_rule"] == {"strict": 3}


def test_a_case_folder_that_is_a_link_is_not_written_through(pelves, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "p1").symlink_to(tmp_path / "elsewhere")
    made = prepare_collection(pairs(pelves), OPTIONS, name="x", out=tmp_path / "o", root=pelves)
    assert made["made"] == 2 and "is a link" in made["cases"][1]["reason"]
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("name", ["p1_ct.nii.gz", "p1_labels.nii.gz"])
def test_a_link_to_a_place_outside_of_the_source_is_refused(pelves, tmp_path, name):
    file = pelves / name
    file.rename(tmp_path / name)
    file.symlink_to(tmp_path / name)
    made = prepare_collection(pairs(pelves), OPTIONS, name="x", out=tmp_path / "o", root=pelves)
    rows = {row["case_id"]: row for row in made["cases"]}
    assert rows["p1"]["rule"] == "outside" and f"leads to {tmp_path / name}" in rows["p1"]["reason"]
    assert (made["made"], made["rejected"], made["faults"]) == (2, 1, 1) and not (tmp_path / "o" / "p1").exists()
    (tmp_path / name).rename(pelves / f"again_{name}")  # inside of it a link is as good as a file
    file.unlink()
    file.symlink_to(pelves / f"again_{name}")
    again = prepare_collection(pairs(pelves), OPTIONS, name="x", out=tmp_path / "again", root=pelves)
    assert {row["case_id"]: row["status"] for row in again["cases"]}["p1"] == "ok"


def test_links_in_a_series_and_to_radiographs_are_refused_too(tmp_path):
    raw, away = tmp_path / "raw", tmp_path / "away"
    (raw / "series").mkdir(parents=True)
    away.mkdir()
    (away / "1.dcm").write_bytes(b"")
    (raw / "series" / "1.dcm").symlink_to(away / "1.dcm")
    (raw / "pose").symlink_to(away)
    series = Pair("a", "a", raw / "series", raw / "a.nii.gz", {})
    posed = Pair("b", "b", raw / "b.nii.gz", raw / "b.nii.gz", {}, radiographs=raw / "pose")
    made = prepare_collection([series, posed], OPTIONS, name="x", out=tmp_path / "o", root=raw)
    assert [row["rule"] for row in made["cases"]] == ["outside", "outside"]


def test_a_scan_that_may_not_be_read_is_a_row(pelves, tmp_path, monkeypatch):
    real = Path.open

    def guarded(path, *arguments, **options):
        if path.name == "p1_ct.nii.gz":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", guarded)
    made = prepare_collection(pairs(pelves), OPTIONS, name="x", out=tmp_path / "o", root=pelves)
    rows = {row["case_id"]: row for row in made["cases"]}
    assert rows["p1"]["rule"] == "system" and "Permission denied" in rows["p1"]["reason"]
    assert (made["made"], made["faults"]) == (2, 1)


def test_excluded_and_doubled_ids(pelves, tmp_path):
    found = pairs(pelves)
    made = prepare_collection(
        [*found, found[0]], OPTIONS, name="x", out=tmp_path / "o", root=pelves, excluded={"p2": "seen by eye"}
    )
    by_id = {row["case_id"]: row for row in made["cases"]}
    assert by_id["p2"]["reason"] == "excluded: seen by eye" and by_id["p0#2"]["rule"] == "duplicate_id"
    assert made["made"] == 2 and made["faults"] == 1  # excluding is no fault, a doubled id is


def test_a_dry_run_judges_and_writes_nothing(pelves, tmp_path):
    made = prepare_collection(pairs(pelves), OPTIONS, name="x", out=tmp_path / "o", root=pelves, dry=True)
    assert made["made"] == 3 and not (tmp_path / "o").exists()


def test_a_single_pair_that_fails_raises(pelves, tmp_path):
    (pelves / "p0_ct.nii.gz").write_bytes(b"no")
    with pytest.raises(InputError, match="not a readable"):
        prepare_collection(pairs(pelves)[:1], OPTIONS, name="x", out=tmp_path / "o")
