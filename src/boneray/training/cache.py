"""A training cache: the arrays of many cases in one file that is mapped into memory.

Made once from the case folders and used for as long as they stay as they are; opening it takes the time to look at
every folder, not to read it. A case's arrays are read when it is first asked for, and compared with the hash they were
written with. Processes that load for one graphics card share the pages.

index.json    key, and for every case its grids, cameras and where its arrays lie, with their SHA-256
arrays.bin    class maps (uint8), CTs (int16), pictures (float32), each at a multiple of 64 bytes
"""

from __future__ import annotations

import hashlib
import mmap
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, overload

import numpy as np
from numpy.typing import NDArray

from boneray.core.camera import Camera
from boneray.core.errors import DataError, InputError
from boneray.core.grid import Grid
from boneray.core.radiograph import Radiograph
from boneray.core.volume import Volume
from boneray.io.files import json_text, read_json, write_json
from boneray.training.samples import TrainingCase, load_training_case

SCHEMA = "boneray/training-cache/1"
INDEX, ARRAYS = "index.json", "arrays.bin"
ALIGNMENT = 64


class CachedCases(Sequence[TrainingCase]):
    """The training cases of a cache in a given order; each is made of mapped arrays when it is asked for.

    Arrays can be written to without changing the file. A case whose bytes are not those that were
    cached is a DataError.
    """

    def __init__(self, folder: Path, case_ids: Sequence[str]) -> None:
        self.folder = folder
        rows = read_json(folder / INDEX, "training cache")["cases"]
        self.rows = [rows[case_id] for case_id in case_ids]
        self._map: mmap.mmap | None = None
        self._checked: set[int] = set()

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, place: int) -> TrainingCase: ...
    @overload
    def __getitem__(self, place: slice) -> list[TrainingCase]: ...
    def __getitem__(self, place: int | slice) -> TrainingCase | list[TrainingCase]:
        if isinstance(place, slice):
            return [self[n] for n in range(*place.indices(len(self)))]
        place = range(len(self))[place]
        row = self.rows[place]
        if place not in self._checked:
            self._check(row)
            self._checked.add(place)
        ct = row["ct"]
        return TrainingCase(
            row["case_id"],
            Grid.from_dict(row["grid"]),
            self._array(row["classes"]),
            Volume(self._array(ct["array"]), Grid.from_dict(ct["grid"])) if ct else None,
            tuple(
                Radiograph(self._array(r["array"]), Camera.from_dict(r["camera"]), scaled=r["scaled"])
                for r in row["radiographs"]
            ),
        )

    def grids(self) -> Iterator[tuple[str, Grid]]:
        """(case id, working grid) of every case, without touching its arrays."""
        return ((row["case_id"], Grid.from_dict(row["grid"])) for row in self.rows)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_map": None}

    def _mapped(self) -> mmap.mmap:
        if self._map is None:
            with (self.folder / ARRAYS).open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        return self._map

    def _array(self, where: dict[str, Any]) -> NDArray:
        count = int(np.prod(where["shape"]))
        flat = np.frombuffer(self._mapped(), np.dtype(where["type"]), count, where["start"])
        return flat.reshape(where["shape"])

    def _check(self, row: dict[str, Any]) -> None:
        start, stop = row["bytes"]
        if hashlib.sha256(memoryview(self._mapped())[start:stop]).hexdigest() != row["sha256"]:
            raise DataError(f"case {row['case_id']} in the training cache {self.folder} is damaged; delete the cache")


def cached_cases(
    folders: dict[str, Path], case_ids: Sequence[str], *, classes: tuple[str, ...], views: tuple[str, ...], cache: Path
) -> CachedCases:
    """The training cases of `case_ids` from a cache below `cache`, which is made if there is none that fits.

    Args:
        folders: case folders by id.
        classes, views: as for `load_training_case`; part of what a cache is made for.
    Raises:
        InputError: the cache cannot be written; and what reading a case raises.
    """
    key = cache_key({case_id: folders[case_id] for case_id in case_ids}, classes, views)
    folder = cache / key[:32]
    if not _fits(folder, key):
        _make(folder, key, folders, case_ids, classes, views)
    return CachedCases(folder, case_ids)


def cache_key(folders: dict[str, Path], classes: tuple[str, ...], views: tuple[str, ...]) -> str:
    """SHA-256 of what a cache depends on: every case.json, and name, size and time of the files beside it."""
    digest = hashlib.sha256(json_text([SCHEMA, classes, views]).encode())
    for case_id in sorted(folders):
        with os.scandir(folders[case_id]) as entries:
            files = sorted((e.name, e.stat().st_size, e.stat().st_mtime_ns) for e in entries)
        digest.update(json_text([case_id, [f for f in files if f[0] != "case.json"]]).encode())
        digest.update((folders[case_id] / "case.json").read_bytes())
    return digest.hexdigest()


def _fits(folder: Path, key: str) -> bool:
    """True if a whole cache with this key is there; its size is checked here, its cases when they are read."""
    if not (folder / INDEX).is_file():
        return False
    index = read_json(folder / INDEX, "training cache")
    return index.get("key") == key and (folder / ARRAYS).stat().st_size == index["size"]


def _make(
    folder: Path,
    key: str,
    folders: dict[str, Path],
    case_ids: Sequence[str],
    classes: tuple[str, ...],
    views: tuple[str, ...],
) -> None:
    """Write the cache under another name and rename it; of several processes that do so, one is kept."""
    temporary = folder.with_name(f".writing-{folder.name}-{os.getpid()}")
    try:
        temporary.mkdir(parents=True)
        with (temporary / ARRAYS).open("wb") as file:
            rows = {c: _written(file, load_training_case(folders[c], classes, views)) for c in dict.fromkeys(case_ids)}
            size = file.tell()
        write_json(temporary / INDEX, {"schema": SCHEMA, "key": key, "size": size, "cases": rows})
        if folder.exists() and not _fits(folder, key):
            shutil.rmtree(folder)
        if not folder.exists():
            os.replace(temporary, folder)
    except OSError as error:
        if not _fits(folder, key):  # another process may have been first
            raise InputError(f"training cache {folder} cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _written(file: BinaryIO, case: TrainingCase) -> dict[str, Any]:
    """Append a case's arrays; gives its row of the index."""
    digest, start = hashlib.sha256(), file.tell()

    def put(data: bytes) -> None:
        file.write(data)
        digest.update(data)

    def array(values: NDArray, kind: type) -> dict[str, Any]:
        data: NDArray = np.ascontiguousarray(values, kind)
        put(bytes(-file.tell() % ALIGNMENT))
        where = {"start": file.tell(), "shape": list(data.shape), "type": data.dtype.str}
        put(data.tobytes())
        return where

    row = {
        "case_id": case.case_id,
        "grid": case.grid.to_dict(),
        "classes": array(case.classes, np.uint8),
        "ct": {"array": array(case.ct.data, np.int16), "grid": case.ct.grid.to_dict()} if case.ct else None,
        "radiographs": [
            {"array": array(r.line_integrals, np.float32), "camera": r.camera.to_dict(), "scaled": r.scaled}
            for r in case.radiographs
        ],
    }
    return row | {"bytes": [start, file.tell()], "sha256": digest.hexdigest()}
