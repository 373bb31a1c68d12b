"""What a folder of cases holds: counted by hand, told from case.json alone, at 10,000 cases too."""

import base64
import io
import json
import os
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from boneray.datasets.collection import prepare_collection
from boneray.datasets.phantom import phantom_case
from boneray.datasets.prepare import PrepareOptions
from boneray.datasets.registry import DATASETS
from boneray.datasets.splits import split_by_patient, write_splits
from boneray.io.case_folder import case_folders, read_case, read_description, write_case, write_dataset
from boneray.projection.outline import projected_outline
from boneray.report.inspection import chosen, inspect_folder, tables, write_inspection
from boneray.training.plan import TrainSettings, plan

LOTS = 10_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four cases of three patients, one a copy; one scan rejected."""
    root = tmp_path_factory.mktemp("cases")
    base = phantom_case("pelvis", seed=0, number=0, voxels=16, pixels=24)
    facts = [("a", "p1", "female", 61.0), ("b", "p1", "female", 61.0), ("c", "p2", "male", 44.0)]
    for case_id, patient, sex, age in facts:
        flags = ["metal: some"] if case_id == "c" else []
        case = replace(
            base, case_id=case_id, patient_id=patient, labels_from="manual",
            groups={"sex": sex, "age_years": age}, provenance={"flags": flags},
        )  # fmt: skip
        write_case(root / case_id, case)
    write_case(
        root / "c-copy1", replace(base, case_id="c-copy1", patient_id="p2", groups={"copy_of": "c"}, labels_from="")
    )
    rows = [{"case_id": c, "patient_id": p, "status": "ok"} for c, p, _, _ in facts]
    rows += [{"case_id": "c-copy1", "patient_id": "p2", "status": "ok", "copy_of": "c"}]
    rows += [{"case_id": "x", "patient_id": "p3", "status": "rejected", "rule": "gap", "reason": "gap: L2 missing"}]
    write_dataset(root, name="four", anatomy="pelvis", licence="CC0-1.0", source={}, cases=rows)
    write_splits(root / "splits.json", {"train": ["a", "c"], "validation": ["b"], "test": ["gone"]}, seed=0)
    return root


def test_everything_is_counted(folder):
    found = inspect_folder(folder)
    facts = found.to_dict()
    assert (facts["cases"], facts["patients"], facts["copies"], facts["with_ct"]) == (4, 2, 1, 4)
    assert facts["anatomies"] == {"pelvis": 4} and facts["flags"] == {"metal": 1}
    assert facts["labels_from"] == {"manual": 3, "unstated": 1}
    assert facts["groups"]["sex"] == {
        "cases": 3, "unstated": 1, "values": {"female": 2, "male": 1}, "more_values": 0,
    }  # fmt: skip
    assert facts["grids"] == [{"shape": [16, 16, 16], "spacing_mm": [20.0] * 3, "cases": 4}]
    assert {(v["view"], v["beam"], tuple(v["pixels"]), v["cases"]) for v in facts["views"]} == {
        ("ap", "perspective", (24, 24), 4), ("lat", "perspective", (24, 24), 4),
    }  # fmt: skip
    assert facts["curation"]["rejected_by_rule"] == {"gap": 1} and facts["curation"]["cases"] == 4
    assert facts["problems"] == []


def test_volumes_are_those_of_the_label_maps(folder):
    facts = inspect_folder(folder).to_dict()
    labels = read_case(folder / "a").labels
    for name, bone in facts["bones"].items():
        from boneray.core.bones import bone as known

        cm3 = (labels.data == known(name).bone_id).sum() * 8.0  # voxels of 20 mm hold 8 cm3
        assert bone["cases"] == 4 and bone["volume_cm3"] == [cm3] * 3
        assert sum(bone["histogram"]) == 4
    assert set(facts["bones"]) == {"sacrum", "hip_left", "hip_right"}


def test_splits_tell_leaks_and_what_is_missing(folder):
    split = inspect_folder(folder).to_dict()["splits"]["splits.json"]
    assert split["train"] == {"cases": 2, "patients": 2} and split["validation"] == {"cases": 1, "patients": 1}
    assert split["patients_in_several_parts"] == 1  # p1 in train and validation
    assert (split["in_no_part"], split["without_case"]) == (1, 1)  # the copy; `gone`


def test_label_maps_are_not_opened(folder, tmp_path):
    for path in folder.rglob("*"):
        if path.suffix == ".json":
            (tmp_path / path.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path.relative_to(folder)).write_bytes(path.read_bytes())
    facts = inspect_folder(tmp_path).to_dict()
    assert facts["bones"] == inspect_folder(folder).to_dict()["bones"]


def test_cases_of_an_earlier_schema_have_no_volumes(folder, tmp_path):
    values = json.loads((folder / "a" / "case.json").read_text())
    for key in ("label_voxels", "groups", "labels_from"):
        del values[key]
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "case.json").write_text(json.dumps(values))
    facts = inspect_folder(tmp_path).to_dict()
    assert facts["bones"]["sacrum"] == {"cases": 1} and facts["labels_from"] == {"unstated": 1}


def test_a_damaged_case_is_a_problem_and_the_others_are_told(folder, tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "case.json").write_bytes((folder / name / "case.json").read_bytes())
    (tmp_path / "b" / "case.json").write_text("{")
    values = json.loads((tmp_path / "c" / "case.json").read_text())
    del values["views"][0]["camera"]
    (tmp_path / "c" / "case.json").write_text(json.dumps(values))
    found = inspect_folder(tmp_path)
    assert len(found.cases) == 1 and len(found.problems) == 2
    assert "is not JSON" in found.problems[0] and "lacks or misuses 'camera'" in found.problems[1]


def test_the_page_shows_pictures_and_needs_nothing_else(folder, tmp_path):
    page = write_inspection(tmp_path / "page.html", inspect_folder(folder)).read_text()
    assert page.count("data:image/png;base64,") == 8  # four cases, two views
    for words in ("Bones", "hip left", "Splits", "rejected by gap", "c-copy1", "Volumes"):
        assert words in page
    assert "http://" not in page.replace("http://www.w3.org", "") and "<script" not in page
    few = write_inspection(tmp_path / "few.html", inspect_folder(folder), thumbnails=2).read_text()
    assert few.count("data:image/png;base64,") == 4
    assert [t.title for t in tables(inspect_folder(folder).to_dict())][:3] == ["What is there", "Bones", "Grids"]


def test_outlines_are_drawn_in_the_bones_colours_where_they_project(folder, tmp_path):
    page = write_inspection(tmp_path / "page.html", inspect_folder(folder), outlined=True).read_text()
    pictures = re.findall(r'data:image/png;base64,([^"]+)"', page)
    assert len(pictures) == 8
    case = read_case(folder / "a")
    for view, picture in zip(case.radiographs, pictures[:2], strict=True):
        colours = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB"), dtype=int)
        camera = case.radiographs[view].camera
        scale = colours.shape[0] / camera.detector_shape[0]
        for bone_id in case.labels.ids:
            for line in projected_outline(case.labels, bone_id, camera):
                column, row = ((line[len(line) // 2] + 0.5) * scale).astype(int)
                near = colours[max(row - 3, 0) : row + 4, max(column - 3, 0) : column + 4]
                assert np.ptp(near, axis=2).max() > 40  # no longer grey


def test_bones_that_an_anatomy_adds_are_counted(tmp_path):
    DATASETS.get("tibia").value.write_miniature(tmp_path / "raw")
    pairs = list(DATASETS.get("tibia").value.cases(tmp_path / "raw", None))
    options = PrepareOptions("tibia", voxels=16, pixels=16)
    prepare_collection(pairs, options, name="t", out=tmp_path / "out", single=False)
    assert list(inspect_folder(tmp_path / "out").to_dict()["bones"]) == ["tibia_left", "tibia_right"]


def test_at_most_48_pictures_spread_over_all():
    assert chosen(tuple(range(100)), 5) == [0, 25, 50, 74, 99]
    assert chosen((1, 2), 48) == [1, 2] and chosen(tuple(range(9)), 1) == [0]


@pytest.fixture(scope="module")
def lots(tmp_path_factory):
    """10,000 case folders; their pictures and volumes are one file each on disk, linked."""
    root = tmp_path_factory.mktemp("lots")
    write_case(root / "c00000", phantom_case("pelvis", seed=0, number=0, voxels=16, pixels=32))
    template = json.loads((root / "c00000" / "case.json").read_text())
    files = [path for path in (root / "c00000").iterdir() if path.name != "case.json"]
    rows = []
    for number in range(LOTS):
        name, patient = f"c{number:05d}", f"p{number // 2:05d}"
        values = template | {"case_id": name, "patient_id": patient, "groups": {"site": "ABC"[number % 3]}}
        (root / name).mkdir(exist_ok=True)
        (root / name / "case.json").write_text(json.dumps(values, indent=2))
        for file in files if number else ():
            os.link(file, root / name / file.name)
        rows.append({"case_id": name, "patient_id": patient, "status": "ok", "notes": [], "flags": []})
    write_dataset(root, name="lots", anatomy="pelvis", licence="CC0-1.0", source={}, cases=rows)
    return root


def timed(work):
    """(seconds, result); other work on the machine is not counted."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


@pytest.mark.slow
def test_ten_thousand_cases_are_looked_through_split_and_planned_in_ten_seconds_each(lots, tmp_path):
    inspect_s, found = timed(lambda: inspect_folder(lots))
    page_s, page = timed(lambda: write_inspection(tmp_path / "page.html", found))
    assert found.to_dict()["cases"] == LOTS
    assert page.read_text().count("data:image/png;base64,") == 2 * 48
    assert inspect_s + page_s < 10

    def split():
        patients = {f.name: str(read_description(f)["patient_id"]) for f in case_folders(lots)}
        write_splits(lots / "splits.json", split_by_patient(patients, seed=0, test=0.15), seed=0)

    assert timed(split)[0] < 10
    plan_s, made = timed(lambda: plan("unet", lots, TrainSettings()))
    assert sum(map(len, made.parts.values())) == LOTS
    assert plan_s < 10
    assert np.isclose(len(made.parts["test"]) / LOTS, 0.15, atol=0.01)


def test_the_command_prints_writes_the_page_and_keeps_what_is_there(folder, tmp_path, boneray):
    page = tmp_path / "page.html"
    done = boneray("inspect", folder, "--html", page)
    assert done.code == 0 and "median cm³" in done.out and page.is_file()
    assert json.loads(boneray("inspect", folder, "--json").out)["cases"] == 4
    again = boneray("inspect", folder, "--html", page)
    assert again.code == 2 and "exists already" in again.err
    missing = boneray("inspect", Path(tmp_path / "nothing"))
    assert missing.code == 2 and "does not exist" in missing.err
