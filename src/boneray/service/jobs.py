"""Jobs as folders: what is accepted is on disk before it is answered, and so outlives the process.

ROOT/ID/job.json   state, stage, times, what was asked for; never a name or id of the patient
ROOT/ID/input/     the films under names of our own; removed when the job has ended
ROOT/ID/result/    the case folder that `reconstruct` writes, with measurements.json and report.html
"""

from __future__ import annotations

import re
import secrets
import shutil
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from boneray.core.errors import InputError
from boneray.io.files import read_json, write_atomic, write_json

State = Literal["queued", "running", "done", "failed"]
SCHEMA = "boneray/job/1"
ID = re.compile(r"[0-9a-f]{32}")
MOST_ATTEMPTS = 3


@dataclass(frozen=True)
class Job:
    """One request.

    Attributes:
        job_id: 32 hexadecimal digits that nobody can guess.
        state: queued, running, done or failed.
        stage: what is being done, or was done last.
        asked: checkpoint, bone, geometry; plain values.
        files: names in input/ by view, and `camera`.
        created_s, ended_s: seconds since 1970; 0 where it has not ended.
        attempts: how often it was begun; more than one after a restart.
        reason: why it failed, in one line.
    """

    job_id: str
    asked: dict[str, Any]
    files: dict[str, str]
    created_s: float
    state: State = "queued"
    stage: str = "waiting"
    ended_s: float = 0.0
    attempts: int = 0
    reason: str = ""
    warnings: tuple[str, ...] = field(default_factory=tuple)

    @property
    def is_over(self) -> bool:
        """Whether it has ended, well or not."""
        return self.state in ("done", "failed")


class Jobs:
    """All jobs below a folder, and the order in which they wait. Safe for use from several threads."""

    def __init__(self, root: Path, *, most_waiting: int = 8, keep_s: float = 3600.0) -> None:
        self.root = root
        self.most_waiting = most_waiting
        self.keep_s = keep_s
        self._lock = threading.Condition()
        self._jobs: dict[str, Job] = {}
        self._waiting: deque[str] = deque()
        self._reserved = 0
        root.mkdir(parents=True, exist_ok=True)
        root.chmod(0o700)
        self._read_back()

    # ---- accepting ---------------------------------------------------------------------------------------------

    def reserve(self) -> bool:
        """Keep a place for a job whose upload begins; False where all are taken. `accept` or `release` ends it."""
        with self._lock:
            if self._busy() + self._reserved >= self.most_waiting:
                return False
            self._reserved += 1
            return True

    def release(self) -> None:
        """Give a reserved place back."""
        with self._lock:
            self._reserved -= 1

    def accept(self, asked: Mapping[str, Any], files: Mapping[str, tuple[str, bytes]]) -> Job:
        """Write a job down and let it wait; `files` are (name, content) by view. Uses up a reserved place."""
        job = Job(secrets.token_hex(16), dict(asked), {view: name for view, (name, _) in files.items()}, time.time())
        folder = self.folder(job.job_id)
        try:
            for name, content in files.values():
                _write(folder / "input" / name, content)
            self._write(job)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        with self._lock:
            self._reserved -= 1
            self._jobs[job.job_id] = job
            self._waiting.append(job.job_id)
            self._lock.notify()
        return job

    # ---- working -----------------------------------------------------------------------------------------------

    def take(self, patience_s: float) -> Job | None:
        """The job that waits longest, now running; None if there is none within `patience_s`."""
        with self._lock:
            if not self._waiting:
                self._lock.wait(patience_s)
            if not self._waiting:
                return None
            job = self._jobs[self._waiting.popleft()]
            return self._put(replace(job, state="running", stage="starting", attempts=job.attempts + 1))

    def stage(self, job_id: str, stage: str) -> None:
        """Say what is being done."""
        with self._lock:
            if job_id in self._jobs:
                self._jobs[job_id] = replace(self._jobs[job_id], stage=stage)

    def done(self, job_id: str, result: Path, warnings: tuple[str, ...]) -> None:
        """The result of a job that went well is in `result`, which is moved to its place."""
        with self._lock:
            job = self._jobs.get(job_id)
            if job is None:
                shutil.rmtree(result, ignore_errors=True)
                return
            shutil.rmtree(self.folder(job_id) / "result", ignore_errors=True)
            result.rename(self.folder(job_id) / "result")
            self._end(replace(job, state="done", stage="done", warnings=warnings))

    def failed(self, job_id: str, reason: str) -> None:
        """A job came to nothing."""
        with self._lock:
            if job_id in self._jobs:
                self._end(replace(self._jobs[job_id], state="failed", stage="failed", reason=reason))

    def expire(self) -> list[str]:
        """Remove what ended more than `keep_s` ago; the ids removed."""
        now = time.time()
        with self._lock:
            old = [job.job_id for job in self._jobs.values() if job.is_over and now - job.ended_s > self.keep_s]
            for job_id in old:
                self._remove(job_id)
        return old

    def remove(self, job_id: str) -> bool:
        """Forget a job that waits or has ended; False for one that runs."""
        with self._lock:
            if self._jobs[job_id].state == "running":
                return False
            if job_id in self._waiting:
                self._waiting.remove(job_id)
            self._remove(job_id)
            return True

    # ---- looking -----------------------------------------------------------------------------------------------

    def get(self, job_id: str) -> Job | None:
        """The job; None if there is none of that id."""
        with self._lock:
            return self._jobs.get(job_id) if ID.fullmatch(job_id) else None

    def place(self, job_id: str) -> int:
        """How many jobs are before a waiting one."""
        with self._lock:
            return self._waiting.index(job_id) if job_id in self._waiting else 0

    def count(self) -> dict[str, int]:
        """Jobs by state."""
        with self._lock:
            states = [job.state for job in self._jobs.values()]
        return {state: states.count(state) for state in ("queued", "running", "done", "failed")}

    def results(self, job_id: str) -> dict[str, Path]:
        """Files of a result by their name below result/; only what lies in the folder itself."""
        top = (self.folder(job_id) / "result").resolve()
        found = sorted(path for path in top.rglob("*") if path.is_file() and not path.is_symlink())
        return {path.relative_to(top).as_posix(): path for path in found if path.resolve().is_relative_to(top)}

    def folder(self, job_id: str) -> Path:
        """Of one job."""
        if not ID.fullmatch(job_id):
            raise InputError("a job's id has 32 hexadecimal digits")
        return self.root / job_id

    # ---- inside; the lock is held ------------------------------------------------------------------------------

    def _busy(self) -> int:
        return sum(not job.is_over for job in self._jobs.values())

    def _put(self, job: Job) -> Job:
        self._jobs[job.job_id] = job
        self._write(job)
        return job

    def _end(self, job: Job) -> None:
        self._put(replace(job, ended_s=time.time()))
        shutil.rmtree(self.folder(job.job_id) / "input", ignore_errors=True)

    def _remove(self, job_id: str) -> None:
        del self._jobs[job_id]
        shutil.rmtree(self.folder(job_id), ignore_errors=True)

    def _write(self, job: Job) -> None:
        write_json(self.folder(job.job_id) / "job.json", {"schema": SCHEMA, **asdict(job)})

    def _read_back(self) -> None:
        """Take up what an earlier process left: what had begun begins again, what was half uploaded is removed."""
        found = []
        for folder in self.root.iterdir():
            if not ID.fullmatch(folder.name) or not folder.is_dir() or folder.is_symlink():
                continue
            try:
                values = read_json(folder / "job.json", "job")
                if values.pop("schema") != SCHEMA:
                    raise InputError("another schema")
                job = Job(**{**values, "warnings": tuple(values["warnings"])})
            except (InputError, KeyError, TypeError):
                shutil.rmtree(folder, ignore_errors=True)
                continue
            for part in folder.glob("attempt-*"):
                shutil.rmtree(part, ignore_errors=True)
            if not job.is_over and job.attempts >= MOST_ATTEMPTS:
                reason = f"given up after {job.attempts} attempts"
                job = replace(job, state="failed", stage="failed", reason=reason, ended_s=time.time())
            elif not job.is_over:
                job = replace(job, state="queued", stage="waiting")
            found.append(job)
        for job in sorted(found, key=lambda job: job.created_s):
            self._put(job)
            if not job.is_over:
                self._waiting.append(job.job_id)


def _write(path: Path, content: bytes) -> None:
    write_atomic(path, lambda file: file.write_bytes(content))
