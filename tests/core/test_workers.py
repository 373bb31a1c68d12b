"""Work in several processes: all results, one thread each, and the death of one process costs one item."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from boneray.core.workers import results, worker_count


def squared(number: int) -> int:
    return number * number


def threads(_: int) -> tuple[str, int, int]:
    import numba

    return os.environ["OMP_NUM_THREADS"], numba.config.NUMBA_NUM_THREADS, os.getpid()


def deadly(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def refusing(number: int) -> int:
    raise ValueError(f"not {number}")


def minus(number: int) -> int:
    return -number


@pytest.mark.parametrize("workers", [1, 2])
def test_every_item_is_done_once(workers):
    found = list(results(squared, [3, 1, 2, 5], workers=workers, died=minus))
    assert sorted(found) == [(0, 9), (1, 1), (2, 4), (3, 25)]


def test_every_process_uses_one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    found = [value for _, value in results(threads, [0, 0, 0, 0], workers=2, died=minus)]
    assert {value[:2] for value in found} == {("1", 1)}
    assert os.getpid() not in {process for _, _, process in found}


def test_an_item_that_kills_its_process_is_named_and_the_others_are_done():
    found = dict(results(deadly, list(range(8)), workers=2, died=minus))
    assert found == {n: -3 if n == 3 else n for n in range(8)}


def test_an_error_of_the_work_is_passed_on():
    with pytest.raises(ValueError, match="not 1"):
        list(results(refusing, [1], workers=2, died=minus))


def test_number_of_workers():
    assert worker_count(1000, 3) == 3 and worker_count(2, 3) == 2 and worker_count(0, 3) == 1
    assert worker_count(3) == 1  # a process would cost more than it brings
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert worker_count(10**6) == cores


CHILD = """
import time
from boneray.core.workers import results
if __name__ == "__main__":
    for _ in results(time.sleep, [0.0, 0.0, 600.0, 600.0], workers=2, died=abs):
        print("one", flush=True)
"""


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="looks for processes in /proc")
def test_processes_end_when_their_parent_is_killed(tmp_path):
    (tmp_path / "main.py").write_text(CHILD)
    parent = subprocess.Popen([sys.executable, tmp_path / "main.py"], stdout=subprocess.PIPE, text=True)
    assert parent.stdout.readline() == "one\n"
    children = children_of(parent.pid)
    assert len(children) >= 2
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 30
    while any(is_alive(child) for child in children) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [child for child in children if is_alive(child)] == []


def children_of(process: int) -> list[int]:
    numbers = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [number for number in numbers if parent_and_state(number)[0] == process]


def is_alive(process: int) -> bool:
    return parent_and_state(process)[1] not in ("", "Z", "X")


def parent_and_state(process: int) -> tuple[int, str]:
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0, ""
    return int(fields[1]), fields[0]
