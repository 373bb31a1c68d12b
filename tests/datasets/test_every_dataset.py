"""What every registered data set must do: say what it is, survive its miniature both ways, and name every fault."""

import nibabel as nib
import numpy as np
import pytest

from boneray.anatomy.registry import anatomy
from boneray.core.bones import bone, bone_name
from boneray.datasets.choice import chosen
from boneray.datasets.collection import prepare_collection
from boneray.datasets.miniature import phantom_scan, turned
from boneray.datasets.prepare import PrepareOptions
from boneray.datasets.registry import DATASETS, Rule
from boneray.datasets.source_frame import labels_in_source
from boneray.io.case_folder import read_case, read_description

SETS = {entry.name: entry.value for entry in DATASETS}
# versions of one data set share their files
OWN = [name for name, spec in SETS.items() if spec.options is None and name not in ("verse20", "totalsegmentator-v1")]
GENERIC = {"nnunet": "pelvis", "datalist": "pelvis", "ct-label-pairs": "pelvis", "dicom-labels": "pelvis"}


VOXELS = {"ribs": 80, "spine": 48}
NO_RULE = Rule("nothing", "asks nothing", lambda scan, bones: "")


def first_anatomy(name):
    return GENERIC.get(name) or SETS[name].anatomies[0]


@pytest.mark.parametrize("name", SETS)
def test_it_says_what_it_is(name):
    spec, entry = SETS[name], DATASETS.get(name)
    assert spec.licence and entry.facts["source"] and entry.facts["licence"] == spec.licence
    assert spec.citation or entry.facts["source"] == "own data"
    assert [anatomy(a).name for a in spec.anatomies] == list(spec.anatomies)
    assert spec.rules and all(rule.name and rule.why and " " not in rule.name for rule in spec.rules)


@pytest.mark.parametrize("name", OWN)
def test_labels_come_back_to_the_source_voxel_for_voxel(name, tmp_path):
    """raw -> prepare --native -> case folders -> the file's own voxels and axes, compared with nibabel's reading."""
    SETS[name].write_miniature(tmp_path / "raw")
    pairs = list(SETS[name].cases(tmp_path / "raw", None))
    assert len(pairs) == len({pair.case_id for pair in pairs}) >= 1
    compared = 0
    for kind in SETS[name].anatomies or ("pelvis", "femur"):
        options = PrepareOptions(kind, region="native", views=("ap",), pixels=16)
        made = prepare_collection(
            pairs, options, name=name, out=tmp_path / kind, root=tmp_path / "raw", rules=(NO_RULE,), single=False
        )
        assert made["faults"] == 0
        for pair in pairs:
            folders = [f for f in (tmp_path / kind).glob("*") if _belongs(f, pair, kind)]
            for folder in folders:
                compared += _compare(folder, pair, kind)
    assert compared >= len(pairs)


def _belongs(folder, pair, kind):
    if not (folder / "case.json").is_file():
        return False
    own = folder.name.rpartition("-")[0] if anatomy(kind).one_bone else folder.name
    return own == pair.case_id


def _compare(folder, pair, kind):
    """The case's labels in the source frame against the raw file, read with nibabel alone."""
    back = labels_in_source(folder)
    target = read_description(folder)["target"]
    bones = (target,) if target else anatomy(kind).bones
    expected = np.zeros(back.data.shape, np.uint8)
    if pair.parts:
        for name in bones:
            for file in pair.parts.get(name, ()):
                expected[(raw(file) > 0) & (expected == 0)] = bone(name).bone_id
    elif pair.naming is None or pair.labels.name.endswith("mask_4label.nii.gz"):
        stored = raw(pair.labels)
        for number, name in pair.bones.items():
            if name in bones:
                expected[stored == number] = bone(name).bone_id
    else:  # names come from the place of each region: the union is the file's, sides and order have their own test
        expected = raw(pair.labels) > 0
        found = back.data > 0
        return int(target != "" or np.array_equal(found, expected))
    assert np.array_equal(back.data, expected)
    return 1


def raw(file):
    return np.asanyarray(nib.load(file).dataobj)


@pytest.mark.parametrize(
    "name", [n for n in SETS if SETS[n].write_faulty and n not in ("verse20", "totalsegmentator-v1")]
)
def test_every_fault_is_named(name, tmp_path):
    spec = SETS[name]
    wanted = spec.write_faulty(tmp_path / "raw")
    anatomies = ("pelvis", "ribs", "spine") if "ribs" in spec.anatomies and len(spec.anatomies) > 3 else ()
    anatomies = anatomies or tuple(spec.anatomies) or (first_anatomy(name),)
    rows = {}
    for kind in anatomies:
        entry, options = chosen(
            name, anatomy=kind, given={"voxels": VOXELS.get(kind, 16), "pixels": 16, "views": ("ap",)}
        )
        pairs = list(spec.cases(tmp_path / "raw", None))
        out = tmp_path / kind
        made = prepare_collection(
            pairs, options, name=name, out=out, rules=entry.value.rules, root=tmp_path / "raw", single=False
        )
        for row in made["cases"]:
            rows.setdefault(row["case_id"], []).append(row)
            if row["status"] == "rejected":
                assert row["reason"].startswith(f"{row['rule']}: ") and len(row["reason"].splitlines()) == 1
            else:
                assert read_case(out / row["case_id"]).labels.ids
        told = (out / "curation.csv").read_text().splitlines()
        assert len(told) == 1 + len(made["cases"]) and told[0].startswith("case_id,patient_id,status,rule,reason")
    for case_id, want in wanted.items():
        kind, _, where = want.removeprefix("flag ").partition(" ")
        mine = [row for key, found in rows.items() if _is_case(key, case_id) for row in found]
        assert mine, case_id
        if where:
            mine = [row for row in mine if row["case_id"].endswith(f"-{where}")]
        if want == "absent":
            assert all(row.get("rule") == "absent" for row in mine)
            continue
        mine = [row for row in mine if row.get("rule") != "absent"]
        if not want:
            assert mine and all(row["status"] == "ok" and not row["flags"] for row in mine), (case_id, mine)
        elif want.startswith("flag "):
            assert any(row["status"] == "ok" and _names(row["flags"]) == {kind} for row in mine), (case_id, mine)
            assert all(row["status"] == "ok" for row in mine)
        else:
            assert mine and all(row.get("rule") == kind for row in mine), (case_id, mine)


def _names(flags):
    return {flag.partition(":")[0] for flag in flags}


def _is_case(key, case_id):
    return key == case_id or (key.startswith(f"{case_id}-") and key.count("-") == case_id.count("-") + 1)


def test_ribs_get_their_side_and_number_from_where_they_are(tmp_path):
    """A binary mask of the rib-cage phantom: every region must get the name the phantom gave it."""
    from boneray.datasets.ribseg import write_miniature

    write_miniature(tmp_path)
    for pair in SETS["ribseg"].cases(tmp_path, None):
        number = int(pair.case_id.removeprefix("RibFrac"))
        truth = phantom_scan("ribs", number % 3, 96)[1]
        from boneray.io.nifti import read_labels

        named, remarks = pair.naming(read_labels(pair.labels))
        assert remarks == []
        stored, grid = turned(truth.data, truth.grid, "RAS")
        assert np.array_equal(named.data, stored) and named.grid.matches(grid)
        assert {bone_name(i) for i in named.ids} == {f"rib_{s}_{n}" for s in ("left", "right") for n in range(1, 13)}


def test_two_tibiae_get_their_sides_from_the_frame(tmp_path):
    SETS["tibia"].write_miniature(tmp_path / "raw")
    pairs = list(SETS["tibia"].cases(tmp_path / "raw", None))
    prepare_collection(pairs, PrepareOptions("tibia", voxels=16, pixels=16), name="t", out=tmp_path / "o", single=False)
    left, right = (read_case(tmp_path / "o" / f"knees-tibia_{side}") for side in ("left", "right"))
    assert left.labels.grid.centre_mm[0] < 0 < right.labels.grid.centre_mm[0]
    assert (left.labels.ids, right.labels.ids) == ((60,), (61,))
