"""Fifty at once with eight places, a power cut in the middle: nobody who was accepted is lost."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from boneray.service.jobs import Jobs
from tests.service.servers import start

httpx = pytest.importorskip("httpx", reason="the extra `dev` is not installed")

PNG = b"\x89PNG\r\n\x1a\n" + bytes(2000)


def post(url: str, number: int):
    form = {"ap": ("a.png", PNG + bytes(number), "image/png"), "lat": ("b.png", PNG, "image/png")}
    return httpx.post(f"{url}/jobs", files=form, timeout=60)


def test_fifty_uploads_and_a_power_cut(tmp_path: Path, stand_in):
    pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
    server = start(tmp_path / "jobs", tmp_path / "log", *stand_in)
    try:
        with ThreadPoolExecutor(50) as crowd:
            answers = list(crowd.map(lambda number: post(server.url, number), range(50)))
        codes = [answer.status_code for answer in answers]
        assert set(codes) == {202, 429} and 8 <= codes.count(202) < 50
        assert all(int(answer.headers["retry-after"]) > 0 for answer in answers if answer.status_code == 429)
        accepted = {answer.json()["job"]: n for n, answer in enumerate(answers) if answer.status_code == 202}
        assert len(accepted) == codes.count(202)
        server.kill()
        server = start(tmp_path / "jobs", tmp_path / "log", *stand_in)
        until = time.monotonic() + 60
        while time.monotonic() < until:
            states = {job: server.get(f"/jobs/{job}")["state"] for job in accepted}
            if set(states.values()) == {"done"}:
                break
            time.sleep(0.3)
        assert set(states.values()) == {"done"}
        for job, number in accepted.items():
            with httpx.Client(base_url=server.url) as client:
                seen = client.get(f"/jobs/{job}/files/seen.json").json()
            assert sorted(seen) == sorted([len(PNG) + number, len(PNG)])  # every job did the films it was sent
            assert not (tmp_path / "jobs" / job / "input").exists()
    finally:
        server.kill()


def accept(jobs: Jobs) -> str:
    assert jobs.reserve()
    return jobs.accept({"checkpoint": "x"}, {"ap": ("view0.png", PNG), "lat": ("view1.png", PNG)}).job_id


def test_places_are_counted_with_uploads_under_way(tmp_path):
    jobs = Jobs(tmp_path, most_waiting=3)
    accept(jobs)
    assert jobs.reserve() and jobs.reserve() and not jobs.reserve()
    jobs.release()
    assert jobs.reserve() and not jobs.reserve()


def test_the_oldest_comes_first_also_after_a_restart(tmp_path):
    jobs = Jobs(tmp_path)
    first, second, third = (accept(jobs) for _ in range(3))
    assert jobs.take(0).job_id == first  # runs when the power goes
    again = Jobs(tmp_path)
    assert [again.take(0).job_id for _ in range(3)] == [first, second, third]
    assert again.take(0) is None and again.get(first).attempts == 2


def test_a_job_that_ends_the_service_each_time_is_given_up(tmp_path):
    job = accept(Jobs(tmp_path))
    for _ in range(3):
        assert Jobs(tmp_path).take(0).job_id == job
    last = Jobs(tmp_path)
    assert last.take(0) is None and last.get(job).state == "failed" and "3 attempts" in last.get(job).reason


def test_results_expire_and_what_waits_does_not(tmp_path, monkeypatch):
    jobs = Jobs(tmp_path, keep_s=100.0)
    old, waiting = accept(jobs), accept(jobs)
    jobs.take(0)
    jobs.failed(old, "for a test")
    assert jobs.expire() == [] and not (tmp_path / old / "input").exists()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 101)
    assert jobs.expire() == [old] and jobs.get(old) is None and not (tmp_path / old).exists()
    assert jobs.get(waiting).state == "queued"


def test_half_an_upload_is_removed_at_the_start(tmp_path):
    folder = tmp_path / ("a" * 32)
    (folder / "input").mkdir(parents=True)
    (folder / "input" / "view0.png").write_bytes(PNG)
    other = tmp_path / "notes"
    other.mkdir()
    Jobs(tmp_path)
    assert not folder.exists() and other.exists()


@pytest.mark.parametrize("job_id", ["..", "../x", "A" * 32, "", "a" * 31])
def test_an_id_is_no_path(tmp_path, job_id):
    assert Jobs(tmp_path).get(job_id) is None
