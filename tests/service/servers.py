"""A service in a process of its own, with the real work or with a stand-in."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

NAME, NUMBER = "Quennelgrave^Wilhelmina", "PAT-7731-QX"

SERVER = """
import sys, uvicorn
from pathlib import Path
from boneray.service.app import ServiceSettings, create_app
settings = ServiceSettings(Path(sys.argv[1]), command=tuple(sys.argv[3:]) or ServiceSettings(Path()).command)
uvicorn.run(create_app(settings), host="127.0.0.1", port=int(sys.argv[2]), access_log=False, log_level="info")
"""

# stands in for the work itself where only the queue is looked at: half a second per job, one file as a result
STAND_IN = """
import json, sys, time
from pathlib import Path
for line in sys.stdin:
    task = json.loads(line)
    time.sleep(0.5)
    out = Path(task["out"])
    out.mkdir()
    films = sorted((Path(task["input"])).iterdir())
    (out / "seen.json").write_text(json.dumps([film.stat().st_size for film in films]))
    print(json.dumps({"end": "done", "warnings": []}), flush=True)
"""


@dataclass
class Server:
    """A running service."""

    process: subprocess.Popen[str]
    url: str
    log: Path

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=10)

    def get(self, path: str) -> dict:
        """The JSON at a path."""
        with urllib.request.urlopen(self.url + path, timeout=20) as answer:
            return json.load(answer)


def start(folder: Path, log: Path, *command: str) -> Server:
    """A service on a free port, answering."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with log.open("a") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(folder), str(port), *command],
            stdout=out,
            stderr=out,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    server = Server(process, f"http://127.0.0.1:{port}", log)
    for _ in range(300):
        assert process.poll() is None, log.read_text()
        try:
            server.get("/health")
            return server
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
    raise AssertionError(f"the service did not start: {log.read_text()}")
