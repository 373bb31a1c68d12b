"""An output folder that several runs fill at once, and that a killed run leaves untidy.

Every file and case folder is written under a name that starts with `.writing-` and renamed when it is whole. Runs that
work in a folder hold a shared lock on it; the one that finds itself alone removes what killed ones left half-written.
Tables of the whole folder are read, joined and written under a second lock, one run at a time.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

fcntl: Any
try:
    import fcntl
except ImportError:  # not a POSIX system: one run at a time
    fcntl = None

UNFINISHED = ".writing-"
WORK_LOCK, TABLE_LOCK = ".work-lock", ".table-lock"


@contextmanager
def working_in(folder: Path) -> Iterator[int]:
    """Work in `folder`, perhaps beside other runs; gives how many leftovers of killed runs were removed."""
    with (folder / WORK_LOCK).open("a") as file:
        removed = 0
        if _locked(file, alone=True):
            removed = _tidied(folder)
        _lock(file, shared=True)
        yield removed


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Wait until no other run joins the tables of `folder`, then keep them out."""
    with (folder / TABLE_LOCK).open("a") as file:
        _lock(file, shared=False)
        yield


def _tidied(folder: Path) -> int:
    left = [*folder.glob(f"{UNFINISHED}*"), *folder.glob(f"*/{UNFINISHED}*")]
    for path in left:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return len(left)


def _locked(file: IO[str], *, alone: bool) -> bool:
    """True if the lock could be had at once."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _lock(file: IO[str], *, shared: bool) -> None:
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
