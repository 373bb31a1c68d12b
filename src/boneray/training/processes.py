"""Several processes that train one network: who this one is, and how they are started on one machine.

They are told by the variables that torchrun sets (RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE), so a
run on many machines is started by torchrun, and `run_together` sets the same ones for a few on this machine.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Process:
    """One of `count` processes, of which `count_on_node` are on this machine; the first one has rank 0."""

    rank: int = 0
    count: int = 1
    count_on_node: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.rank == 0


def this_process() -> Process:
    """Read from the environment; one alone where nothing is said."""
    count = int(os.environ.get("WORLD_SIZE", 1))
    if count == 1 or "RANK" not in os.environ:
        return Process()
    return Process(int(os.environ["RANK"]), count, int(os.environ.get("LOCAL_WORLD_SIZE", count)))


def run_together(command: Sequence[str], count: int) -> int:
    """Run `command` with this Python in `count` processes that know of each other; gives the exit code.

    Only the first one is heard. When one fails the others are ended.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NODE_RANK": "0"}
    shared |= {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    children = []
    for rank in range(count):
        own = {**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        quiet = subprocess.DEVNULL if rank else None
        children.append(subprocess.Popen([sys.executable, *command], env=own, stdout=quiet, stderr=quiet))
    try:
        while True:
            codes = [child.poll() for child in children]
            failed = [code for code in codes if code]
            if failed or None not in codes:
                return codes[0] or failed[0] if failed else 0
            time.sleep(0.1)
    finally:
        time.sleep(0.5 if any(child.poll() for child in children) else 0)  # what the first one has to say
        for child in children:
            if child.poll() is None:
                child.terminate()
        for child in children:
            child.wait()
