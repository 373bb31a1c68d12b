"""The service by its answers: a phantom from films to viewer, tricks that must fail, and no word about the patient."""

from __future__ import annotations

import logging
import time

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
pytest.importorskip("multipart", reason="the extra `serve` is not installed")
pytest.importorskip("httpx", reason="the extra `dev` is not installed")

from fastapi.testclient import TestClient

from boneray.core.purpose import RESEARCH_USE
from boneray.io.meshes import read_mesh
from boneray.io.nifti import read_labels
from boneray.reconstruction.sources import reconstruct_files
from boneray.service.app import ServiceSettings, create_app
from boneray.service.work import without_patient
from tests.service.servers import NAME, NUMBER

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
PAIR = {"ap": ("a.png", PNG, "image/png"), "lat": ("b.png", PNG, "image/png")}


@pytest.fixture
def client(tmp_path, stand_in):
    """A service whose work is stood in for."""
    settings = ServiceSettings(tmp_path / "jobs", most_bytes=100_000, command=stand_in)
    with TestClient(create_app(settings), base_url="http://localhost") as found:
        yield found


def ended(client, job: str, limit_s: float = 90.0) -> dict:
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        state = client.get(f"/jobs/{job}").json()
        if state["state"] in ("done", "failed"):
            return state
        time.sleep(0.1)
    raise AssertionError(f"job {job} did not end")


def test_a_phantom_from_films_to_viewer_without_a_word_about_the_patient(tmp_path, films, caplog):
    caplog.set_level(logging.DEBUG)
    with TestClient(create_app(ServiceSettings(tmp_path / "jobs")), base_url="http://localhost") as client:
        sent = {view: (f"{NAME}.dcm", films[view], "application/dicom") for view in ("ap", "lat")}
        answer = client.post("/jobs", files=sent, data={"bone": films["bone"].decode()})
        assert answer.status_code == 202 and answer.json()["purpose"] == RESEARCH_USE
        job = answer.json()["job"]
        state = ended(client, job)
        assert state["state"] == "done", state
        assert any("phantoms" in line for line in state["warnings"])
        result = client.get(f"/jobs/{job}/result").json()
        page = client.get(f"/jobs/{job}/view")
        got = {name: client.get(f"/jobs/{job}/files/{name}").content for name in result["files"]}
    assert result["run"]["purpose"] == RESEARCH_USE and result["run"]["checkpoint"]["demonstration"] is True
    assert any(row["name"] == "femoral_head_radius_mm" and row["value"] for row in result["measurements"])
    assert (
        "text/html" in page.headers["content-type"] and "default-src 'none'" in page.headers["content-security-policy"]
    )
    assert RESEARCH_USE.rstrip(".").lower() in page.text.lower()
    # the same bones as without the service
    for view in ("ap", "lat"):
        (tmp_path / f"{view}.dcm").write_bytes(films[view])
    paths = {view: tmp_path / f"{view}.dcm" for view in ("ap", "lat")}
    bone = films["bone"].decode()
    reconstruct_files(paths, checkpoint="raylift_tiny-femur", out=tmp_path / "direct", bone=bone)
    (tmp_path / "served.nii.gz").write_bytes(got["labels.nii.gz"])
    served, direct = read_labels(tmp_path / "served.nii.gz"), read_labels(tmp_path / "direct" / "labels.nii.gz")
    assert np.array_equal(served.data, direct.data) and served.data.any()
    (tmp_path / "bone.stl").write_bytes(got[f"meshes/{bone}.stl"])
    voxels = (served.data > 0).sum() * served.grid.voxel_volume_mm3
    assert read_mesh(tmp_path / "bone.stl").volume_mm3 == pytest.approx(voxels, rel=0.01)
    # nothing of the patient in files, answers, logs, or what lies on disk
    everything = [*got.values(), str(result).encode(), str(state).encode(), page.content, caplog.text.encode()]
    everything += [path.read_bytes() for path in (tmp_path / "jobs").rglob("*") if path.is_file()]
    for word in (*NAME.split("^"), NUMBER):
        assert not [1 for content in everything if word.lower().encode() in content.lower()], word


def test_a_refused_film_is_a_reason_and_not_an_answer(tmp_path, films):
    with TestClient(create_app(ServiceSettings(tmp_path / "jobs")), base_url="http://localhost") as client:
        broken = films["ap"][:3000] + NAME.encode()
        sent = {"ap": ("x", broken, ""), "lat": ("y", films["lat"], "application/dicom")}
        job = client.post("/jobs", files=sent, data={"bone": "femur_left"}).json()["job"]
        state = ended(client, job)
        assert state["state"] == "failed" and state["reason"]
        assert client.get(f"/jobs/{job}/result").status_code == 409
        assert client.get(f"/jobs/{job}/view").status_code == 409
    assert str(tmp_path) not in state["reason"] and NAME.split("^")[0] not in state["reason"]


def test_a_reason_that_would_tell_the_patient_is_replaced(tmp_path, films):
    (tmp_path / "view0.dcm").write_bytes(films["ap"])
    assert without_patient(f"radiograph {tmp_path}/view0.dcm lacks SID", tmp_path) == "radiograph view0.dcm lacks SID"
    for word in (*NAME.split("^"), NUMBER):
        assert word not in without_patient(f"value {word} is no number", tmp_path)


@pytest.mark.parametrize(
    ("files", "data", "code"),
    [
        ({"ap": PAIR["ap"]}, {}, 422),
        ({**PAIR, "ap": ("a.dcm", b"MZ" + bytes(500), "application/dicom")}, {}, 415),
        ({**PAIR, "ap": ("a.html", b"<script>alert(1)</script>", "image/png")}, {}, 415),
        ({**PAIR, "ap": ("a.png", PNG, "text/html")}, {}, 415),
        ({**PAIR, "ap": ("a.png", PNG, "application/dicom")}, {}, 415),
        ({**PAIR, "../../etc/passwd": ("p", PNG, "image/png")}, {}, 422),
        ({**PAIR, "camera": ("c.json", b"[1]", "application/json")}, {}, 422),
        ({**PAIR, "camera": ("c.json", b"[" * 100_000, "application/json")}, {}, 413),
        ({**PAIR, "camera": ("c.json", b"[" * 50_000, "application/json")}, {}, 422),
        ({**PAIR, "camera": ("c.py", b"{}", "text/x-python")}, {}, 415),
        (PAIR, {"checkpoint": "../../weights"}, 422),
        (PAIR, {"checkpoint": "/etc/passwd"}, 422),
        (PAIR, {"bone": "femur<script>"}, 422),
        (PAIR, {"sdd_mm": "-3"}, 422),
        (PAIR, {"sdd_mm": "nan"}, 422),
        (PAIR, {"pixel_mm": "1e400"}, 422),
        (PAIR, {"values": "eval"}, 422),
        (PAIR, {"out": "/tmp/x"}, 422),
        (PAIR, {"bone": "x" * 5000}, 400),
    ],
)
def test_what_is_wrong_is_a_4xx_and_takes_no_place(client, files, data, code):
    answer = client.post("/jobs", files=files, data=data)
    assert answer.status_code == code, answer.text
    assert "<script>" not in answer.text
    assert client.get("/health").json()["jobs"] == {"queued": 0, "running": 0, "done": 0, "failed": 0}
    jobs = client.app.state.jobs
    assert list(jobs.root.iterdir()) == [] and jobs._reserved == 0


def test_oversize_is_refused_whether_it_is_stated_or_not(client):
    big = {**PAIR, "ap": ("a.png", PNG + bytes(200_000), "image/png")}
    assert client.post("/jobs", files=big).status_code == 413

    def unstated():
        yield b'--x\r\nContent-Disposition: form-data; name="ap"; filename="a"\r\n\r\n'
        for _ in range(50):
            yield bytes(10_000)

    kind = {"content-type": "multipart/form-data; boundary=x"}
    assert client.post("/jobs", content=unstated(), headers=kind).status_code == 413
    assert client.app.state.jobs._reserved == 0


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        ("application/json", b"{}", 415),
        ("text/plain", b"x", 415),
        ("application/x-www-form-urlencoded", b"ap=1", 415),
        ("", b"x", 415),
        ("multipart/form-data", b"x", 400),
        ("multipart/form-data; boundary=x", b"\r\n\r\nnothing", 422),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--\r\n", 400),
    ],
)
def test_other_content_is_refused(client, kind, body, code):
    assert client.post("/jobs", content=body, headers={"content-type": kind}).status_code == code


OUTSIDE = (
    "../job.json",
    "..%2fjob.json",
    "%2e%2e/job.json",
    "....//job.json",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "meshes/../../job.json",
    "seen.json%00.png",
    "link",
    "..\\job.json",
)


def test_no_file_leaves_its_job(client, tmp_path):
    job = client.post("/jobs", files=PAIR).json()["job"]
    assert ended(client, job)["state"] == "done"
    result = tmp_path / "jobs" / job / "result"
    (result / "link").symlink_to("/etc/passwd")
    assert client.get(f"/jobs/{job}/files/seen.json").status_code == 200
    for name in OUTSIDE:
        answer = client.get(f"/jobs/{job}/files/{name}")
        assert answer.status_code in (404, 400), name
        assert b"root:" not in answer.content and b"schema" not in answer.content


def test_strangers_get_nothing(client):
    assert client.get("/jobs/" + "a" * 32).status_code == 404
    assert client.get("/jobs").status_code == 405
    assert client.get("/health", headers={"host": "evil.example"}).status_code == 400
    assert client.post("/jobs", files=PAIR, headers={"origin": "https://evil.example"}).status_code == 403
    assert client.delete("/jobs/" + "a" * 32).status_code == 404


def test_a_full_queue_says_when_to_come_back(tmp_path, stand_in):
    settings = ServiceSettings(tmp_path, most_waiting=1, command=stand_in)
    with TestClient(create_app(settings), base_url="http://localhost") as client:
        job = client.post("/jobs", files=PAIR).json()["job"]
        full = client.post("/jobs", files=PAIR)
        assert full.status_code == 429 and int(full.headers["retry-after"]) > 0
        ended(client, job)
        assert client.post("/jobs", files=PAIR).status_code == 202


def test_a_job_that_takes_too_long_is_ended_and_the_next_one_is_not(tmp_path):
    import sys

    slow = tmp_path / "slow.py"
    slow.write_text(
        "import json, sys, time\nfrom pathlib import Path\n"
        "for line in sys.stdin:\n    task = json.loads(line)\n    Path(task['out']).mkdir()\n"
        "    time.sleep(30 if task['asked']['sdd_mm'] else 0)\n"
        "    print(json.dumps({'end': 'done'}), flush=True)\n"
    )
    settings = ServiceSettings(tmp_path / "jobs", limit_s=1.5, command=(sys.executable, str(slow)))
    with TestClient(create_app(settings), base_url="http://localhost") as client:
        long = client.post("/jobs", files=PAIR, data={"sdd_mm": "1000"}).json()["job"]
        short = client.post("/jobs", files=PAIR).json()["job"]
        state = ended(client, long)
        assert state["state"] == "failed" and "longer than 1.5 s" in state["reason"]
        assert ended(client, short)["state"] == "done"
        assert not list((tmp_path / "jobs" / long).glob("attempt-*"))


def test_the_schema_says_what_can_be_asked(client):
    schema = client.get("/openapi.json").json()
    assert RESEARCH_USE in schema["info"]["description"]
    assert {"/health", "/jobs", "/jobs/{job_id}", "/jobs/{job_id}/result", "/checkpoints"} <= set(schema["paths"])
    fields = schema["paths"]["/jobs"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert {"ap", "lat", "bone", "checkpoint", "sdd_mm"} <= set(fields)
    rows = client.get("/checkpoints").json()["checkpoints"]
    assert rows[0]["name"] == "raylift_tiny-femur" and rows[0]["demonstration"] and "phantoms" in rows[0]["note"]


def test_the_form_is_served_with_its_purpose(client):
    page = client.get("/")
    assert page.status_code == 200 and RESEARCH_USE in page.text and "raylift_tiny-femur" in page.text
    assert page.headers["x-content-type-options"] == "nosniff"


def test_the_command_refuses_what_it_does_not_have(boneray, tmp_path):
    got = boneray("serve", "--out", tmp_path, "--checkpoint", "raylift_tiny-femu")
    assert got.code == 2 and "raylift_tiny-femur" in got.err
