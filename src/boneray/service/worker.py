"""The thread that takes jobs one after the other and has them done by a process of its own, within a time limit."""

from __future__ import annotations

import json
import logging
import secrets
import selectors
import shutil
import subprocess
import sys
import threading
import time
from typing import Any

from boneray.service.jobs import Job, Jobs

log = logging.getLogger("boneray.service")
COMMAND = (sys.executable, "-m", "boneray.service.work")
PATIENCE_S = 0.5


class Worker:
    """Started with the service and stopped with it; a job that was running then begins again with the next start."""

    def __init__(self, jobs: Jobs, *, limit_s: float = 120.0, command: tuple[str, ...] = COMMAND) -> None:
        self.jobs = jobs
        self.limit_s = limit_s
        self.command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="boneray-worker", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and its process."""
        self._stopping.set()
        self._kill()
        self._thread.join(timeout=10)
        self._kill()

    def _run(self) -> None:
        while not self._stopping.is_set():
            for job_id in self.jobs.expire():
                log.info("job %s has expired", job_id)
            job = self.jobs.take(PATIENCE_S)
            if job is None:
                continue
            try:
                self._do(job)
            except Exception as error:  # the thread must go on whatever one job does
                log.error("job %s: %s", job.job_id, type(error).__name__)
                self.jobs.failed(job.job_id, "the service could not do this job")

    def _do(self, job: Job) -> None:
        folder = self.jobs.folder(job.job_id).resolve()
        case_id = f"job-{job.job_id[:8]}"
        attempt = folder / f"attempt-{secrets.token_hex(4)}"
        attempt.mkdir()
        out = attempt / case_id
        task = {
            "input": str(folder / "input"),
            "out": str(out),
            "files": job.files,
            "asked": job.asked,
            "case_id": case_id,
        }
        started = time.monotonic()
        end = self._ask(task, job.job_id, started + self.limit_s)
        if self._stopping.is_set() and end is None:
            return  # it stays running on disk and begins again with the next start
        took = time.monotonic() - started
        if end is not None and end.get("end") == "done":
            self.jobs.done(job.job_id, out, tuple(end.get("warnings", ())))
            shutil.rmtree(attempt, ignore_errors=True)
            log.info("job %s done in %.1f s", job.job_id, took)
            return
        shutil.rmtree(attempt, ignore_errors=True)
        if end is not None:
            reason = str(end.get("reason", ""))
        elif took >= self.limit_s:
            reason = f"it took longer than {self.limit_s:g} s"
        else:
            reason = "the process that worked on it ended"
        self.jobs.failed(job.job_id, reason)
        log.info("job %s failed after %.1f s", job.job_id, took)

    def _ask(self, task: dict[str, Any], job_id: str, until: float) -> dict[str, Any] | None:
        """The last line of the process about this task; None if it ended or was ended."""
        process = self._alive()
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps(task).encode() + b"\n")
            process.stdin.flush()
        except OSError:
            self._kill()
            return None
        with selectors.DefaultSelector() as waiting:
            waiting.register(process.stdout, selectors.EVENT_READ)
            while time.monotonic() < until and not self._stopping.is_set():
                if not waiting.select(timeout=min(PATIENCE_S, max(0.0, until - time.monotonic()))):
                    continue
                line = process.stdout.readline()
                if not line:
                    break
                values = json.loads(line)
                if "end" in values:
                    return dict(values)
                self.jobs.stage(job_id, str(values.get("stage", "")))
        self._kill()
        return None

    def _alive(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
            )
        return self._process

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(timeout=10)
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    try:
                        pipe.close()
                    except OSError:
                        pass  # what was not written is of no use any more
