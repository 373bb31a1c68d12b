"""Writing without loss: atomic files, JSON, and output folders that are never overwritten by surprise."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from boneray.core.errors import InputError


def require_file(path: Path, what: str) -> Path:
    """The path, if a file is there; otherwise an InputError that says what was looked for."""
    if path.is_dir():
        raise InputError(f"{what} {path} is a folder; a file is needed")
    if not path.is_file():
        raise InputError(f"{what} {path} does not exist")
    return path


def require_folder(path: Path, what: str) -> Path:
    """The path, if a folder is there; otherwise an InputError that says what was looked for."""
    if not path.is_dir():
        raise InputError(f"{what} {path} does not exist or is not a folder")
    return path


RESULTS = ("run.json", "case.json", "dataset.json")


def require_free(path: Path, *, force: bool, holds: tuple[str, ...] = RESULTS) -> Path:
    """The path, if a result may be written there.

    Raises:
        InputError: it already holds a result (a file named in `holds`) and `force` is not given,
            or it is a file.
    """
    if path.is_file():
        raise InputError(f"output {path} is a file; give a folder")
    found = [name for name in holds if (path / name).exists()]
    if found and not force:
        raise InputError(f"output folder {path} already holds {found[0]}; choose another folder or give --force")
    return path


def prepare_output(path: Path, *, force: bool, holds: tuple[str, ...] = RESULTS) -> Path:
    """Make `path` a usable output folder; errors as `require_free`, and if it cannot be written."""
    require_free(path, force=force, holds=holds)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise InputError(f"output folder {path} cannot be written: {error.strerror}") from None
    return path


def require_new_file(path: Path, *, force: bool) -> Path:
    """The path, if a file may be written there; one that exists is kept unless `force`."""
    if path.is_dir():
        raise InputError(f"output {path} is a folder; give a file")
    if path.exists() and not force:
        raise InputError(f"{path} exists already; choose another name or give --force")
    return path


def safe_name(name: str, what: str) -> str:
    """The name, if it can be a folder's: no separators, no leading dot, not empty."""
    if not re.fullmatch(r"[^\W_][\w.+-]*", name):
        raise InputError(f"{what} '{name}' cannot name a folder; use letters, digits and . _ + -")
    return name


def write_atomic(path: Path, write: Callable[[Path], Any]) -> Path:
    """Let `write` fill a temporary file beside `path`, then rename it: readers see all or nothing.

    The temporary name keeps the suffixes of `path`, since many writers choose the format by them.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=".writing-"))
    except OSError as error:
        raise InputError(f"{path.parent} cannot be written: {error.strerror}") from None
    try:
        temporary = folder / path.name
        write(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return path


def write_text(path: Path, text: str) -> Path:
    """Write UTF-8 text atomically."""
    return write_atomic(path, lambda file: file.write_text(text, encoding="utf-8"))


def json_text(values: Any) -> str:
    """JSON with stable layout; infinities and NaN become null, since JSON has no word for them."""
    return json.dumps(_finite(values), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(path: Path, values: Any) -> Path:
    """Write `json_text(values)` atomically."""
    return write_text(path, json_text(values))


def read_json(path: Path, what: str) -> dict[str, Any]:
    """The JSON object in `path`; anything else is an InputError of one line."""
    require_file(path, what)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{what} {path} is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise InputError(f"{what} {path} holds a {type(values).__name__}; an object is needed")
    return values


def inside(folder: Path, name: str) -> Path:
    """`folder / name`, refused if it would leave the folder."""
    if "\0" in name:
        raise InputError(f"file name {name!r} is no file name")
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise InputError(f"file name '{name}' leaves the folder {folder}; use a name inside it")
    return path


def _finite(values: Any) -> Any:
    if isinstance(values, dict):
        return {str(key): _finite(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [_finite(value) for value in values]
    if hasattr(values, "item") and getattr(values, "ndim", 0) == 0:
        values = values.item()
    if hasattr(values, "tolist"):
        return _finite(values.tolist())
    if isinstance(values, float) and not math.isfinite(values):
        return None
    if isinstance(values, Path):
        return str(values)
    return values
