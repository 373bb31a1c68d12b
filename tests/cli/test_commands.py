"""Commands do what they say, and their JSON has the promised shape."""

import json

import pytest

METRICS = {"dice", "hd95_mm", "assd_mm", "nsd_2.0mm"}


@pytest.mark.parametrize("kind", ["models", "datasets", "metrics", "measurements", "anatomies", "losses", "phantoms"])
def test_list_is_a_list_of_objects_with_names(boneray, kind):
    done = boneray("list", kind, "--json")
    assert done.code == 0
    rows = json.loads(done.out)
    assert rows and all(row["name"] and row["summary"] for row in rows)


COMMANDS = "phantom,prepare pairs,prepare nnunet,train,reconstruct,evaluate,measure,report,view,demo,list,doctor,pack"


@pytest.mark.parametrize("command", COMMANDS.split(","))
def test_every_command_helps_with_an_example(boneray, command):
    done = boneray(*command.split(), "--help")
    assert done.code == 0 and "Example: boneray" in done.out


def test_the_whole_walk(boneray, small_world, tmp_path):
    case = small_world / "data" / "femur-0-0000"
    made = boneray(
        "reconstruct",
        case,
        "--checkpoint",
        small_world / "run",
        "--out",
        tmp_path / "out",
        "--mesh",
        "stl,ply",
        "--json",
    )
    assert made.code == 0, made.err
    run = json.loads(made.out)
    (bone,) = run["bones"]
    assert bone in ("femur_left", "femur_right")
    for name in ("labels.nii.gz", "run.json", "case.json", f"meshes/{bone}.stl", f"meshes/{bone}.ply"):
        assert (tmp_path / "out" / name).is_file()

    scored = boneray(
        "evaluate", "--reference", case, "--prediction", tmp_path / "out", "--csv", tmp_path / "t.csv", "--json"
    )
    (entry,) = json.loads(scored.out)["cases"]
    assert (
        set(entry) == {"case", "bones", "mean"}
        and set(entry["bones"][bone]) >= METRICS
        and set(entry["mean"]) >= METRICS
    )
    assert 0 < entry["mean"]["dice"] <= 1 and (tmp_path / "t.csv").is_file()

    measured = boneray("measure", tmp_path / "out" / "labels.nii.gz", "--anatomy", "femur", "--json")
    rows = json.loads(measured.out)["measurements"]
    keys = {"name", "bone", "side", "value", "unit", "status", "reason", "confidence", "landmarks"}
    assert all(set(row) == keys for row in rows)
    assert {"femoral_head_radius_mm", "neck_shaft_angle_deg"} <= {row["name"] for row in rows}
    assert {row["bone"] for row in rows} == {bone}

    assert boneray("report", tmp_path / "out", "--reference", case).code == 0
    assert "<html" in (tmp_path / "out" / "report.html").read_text()[:300]
    again = boneray("report", tmp_path / "out")
    assert again.code == 2 and "--force" in again.err


def test_pictures_with_a_camera_file_give_the_same_bone_as_the_case(boneray, small_world, tmp_path):
    case = small_world / "data" / "femur-0-0001"
    target = json.loads((case / "case.json").read_text())["target"]
    common = ("--checkpoint", small_world / "run")
    assert boneray("reconstruct", case, *common, "--out", tmp_path / "a").code == 0
    files = ("--ap", case / "ap.png", "--lat", case / "lat.png", "--camera", case / "case.json", "--bone", target)
    done = boneray("reconstruct", *files, *common, "--out", tmp_path / "b")
    assert done.code == 0, done.err
    scored = boneray("evaluate", "--reference", tmp_path / "a", "--prediction", tmp_path / "b", "--json")
    assert json.loads(scored.out)["cases"][0]["mean"]["dice"] > 0.99


def test_bare_label_files_have_nameless_bones(boneray, small_world, tmp_path):
    source = small_world / "data" / "femur-0-0000" / "labels.nii.gz"
    bare = tmp_path / "bare.nii.gz"
    bare.write_bytes(source.read_bytes())
    (name,) = json.loads(boneray("evaluate", "--reference", bare, "--prediction", bare, "--json").out)["cases"][0][
        "bones"
    ]
    assert name in ("label_53", "label_54")
    named = boneray("evaluate", "--reference", bare, "--prediction", bare, "--label-map", "boneray", "--json")
    assert set(json.loads(named.out)["cases"][0]["bones"]) <= {"femur_left", "femur_right"}


def test_a_case_without_a_prediction_counts_as_missed(boneray, small_world, tmp_path):
    data = small_world / "data"
    (tmp_path / "p").mkdir()
    source = data / "femur-0-0000" / "labels.nii.gz"
    (tmp_path / "p" / "femur-0-0000.nii.gz").write_bytes(source.read_bytes())
    done = boneray("evaluate", "--reference", data, "--prediction", tmp_path / "p", "--json")
    entries = {c["case"]: c for c in json.loads(done.out)["cases"]}
    assert len(entries) == 6
    assert entries["femur-0-0000"]["mean"]["dice"] == 1.0
    assert entries["femur-0-0001"]["mean"]["dice"] == 0.0 and entries["femur-0-0001"]["mean"]["n_missed"] == 1
    assert entries["femur-0-0001"]["mean"]["hd95_mm"] is None


def test_doctor_speaks_json(boneray):
    done = boneray("doctor", "--json")
    rows = {row["check"]: row for row in json.loads(done.out)}
    assert {"python", "torch", "torchvision", "gpu", "npm", "3D viewer"} <= set(rows)
    assert done.code == int(any(row["status"] == "broken" for row in rows.values()))
