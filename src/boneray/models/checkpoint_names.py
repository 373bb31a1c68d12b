"""Checkpoints by name: MODEL-ANATOMY, such as raylift_tiny-femur. Needs no torch.

A registry is a JSON file {"schema": "boneray/checkpoints/1", "checkpoints": {NAME: ENTRY}}. Ours is
`weights/checkpoints.json`; the environment variable BONERAY_CHECKPOINTS names more of them, parted as PATH is, and they
go before ours. An ENTRY has

    file           a .safetensors file, relative to the registry; its JSON lies beside it
    url            or where that file is to be had (https, or hf://OWNER/REPOSITORY/FILE); its JSON at the same
                   place with the suffix .json
    sha256         of the file behind `url`
    card_sha256    of its JSON
    aliases        other names
    demonstration  true for what has only seen phantoms

What is fetched is kept below BONERAY_CACHE (default: ~/.cache/boneray) and checked before every use. With
BONERAY_OFFLINE=1 nothing is fetched.
"""

from __future__ import annotations

import hashlib
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boneray.core.errors import ConfigError, InputError
from boneray.core.registry import unknown_name
from boneray.io.files import read_json, write_atomic

PACKAGED = Path(__file__).parent / "weights"
OURS = PACKAGED / "checkpoints.json"
SCHEMA = "boneray/checkpoints/1"
MOST_BYTES = 4 << 30
BLOCK = 1 << 20
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class NamedCheckpoint:
    """One entry of a registry; see the head of this file."""

    name: str
    folder: Path
    file: str = ""
    url: str = ""
    sha256: str = ""
    card_sha256: str = ""
    aliases: tuple[str, ...] = ()
    demonstration: bool = False


def named_checkpoint(name: str) -> Path:
    """The .safetensors file behind a name or alias, fetched if it is not here yet.

    Raises:
        ConfigError: no such name, or it must be fetched and BONERAY_OFFLINE forbids it.
        InputError: what was fetched is not what the registry says.
    """
    entries = list(_entries())
    for entry in entries:
        if name == entry.name or name in entry.aliases:
            return entry.folder / entry.file if entry.file else _fetched(entry)
    raise ConfigError(unknown_name("checkpoint", name, sorted(entry.name for entry in entries)))


def packaged_checkpoints() -> list[str]:
    """Names of the checkpoints that come with boneray."""
    return sorted(entry.name for entry in _read(OURS))


def is_demonstration(file: Path) -> bool:
    """Whether the registry calls this checkpoint (or its ONNX file) one that has only seen phantoms."""
    return any(entry.demonstration and _place(entry).stem == file.stem for entry in _entries())


def _entries() -> Iterator[NamedCheckpoint]:
    more = [Path(part) for part in os.environ.get("BONERAY_CHECKPOINTS", "").split(os.pathsep) if part]
    for file in (*more, OURS):
        yield from _read(file)


def _read(file: Path) -> list[NamedCheckpoint]:
    values = read_json(file, "registry of checkpoints")
    found = values.get("checkpoints")
    if values.get("schema") != SCHEMA or not isinstance(found, dict):
        raise InputError(f"registry of checkpoints {file} has schema {values.get('schema')!r}; {SCHEMA!r} is needed")
    return [_entry(name, entry, file) for name, entry in found.items()]


def _entry(name: str, values: Any, file: Path) -> NamedCheckpoint:
    try:
        entry = NamedCheckpoint(name, file.parent, **{**values, "aliases": tuple(values.get("aliases", ()))})
    except (TypeError, AttributeError) as error:
        raise InputError(f"registry of checkpoints {file}: entry {name} is wrong ({error})") from None
    if bool(entry.file) == bool(entry.url):
        raise InputError(f"registry of checkpoints {file}: entry {name} needs either a file or a url")
    if entry.url and not all(SHA256.fullmatch(digest) for digest in (entry.sha256, entry.card_sha256)):
        raise InputError(f"registry of checkpoints {file}: entry {name} has a url and so needs sha256 and card_sha256")
    return entry


def _place(entry: NamedCheckpoint) -> Path:
    if entry.file:
        return entry.folder / entry.file
    cache = Path(os.environ.get("BONERAY_CACHE") or Path.home() / ".cache" / "boneray")
    return cache / "checkpoints" / entry.sha256[:16] / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', entry.name)}.safetensors"


def _fetched(entry: NamedCheckpoint) -> Path:
    place = _place(entry)
    url = entry.url
    if url.startswith("hf://"):
        owner, repository, rest = url.removeprefix("hf://").split("/", 2)
        url = f"https://huggingface.co/{owner}/{repository}/resolve/main/{rest}"
    parts = ((place, url, entry.sha256), (place.with_suffix(".json"), _beside(url), entry.card_sha256))
    for file, where, digest in parts:
        if file.is_file() and _digest(file) == digest:
            continue
        if os.environ.get("BONERAY_OFFLINE", "") not in ("", "0"):
            raise ConfigError(
                f"checkpoint {entry.name} is not here and BONERAY_OFFLINE forbids fetching it; fetch {where} yourself "
                f"and put it at {file}"
            )
        _fetch(where, file, digest, entry.name)
    return place


def _beside(url: str) -> str:
    return re.sub(r"\.safetensors$", ".json", url)


def _fetch(url: str, file: Path, digest: str, name: str) -> None:
    if not url.startswith(("https://", "http://127.0.0.1")):
        raise ConfigError(f"checkpoint {name} lies at {url}; only https is fetched")

    def fill(temporary: Path) -> None:
        found, size = hashlib.sha256(), 0
        with urllib.request.urlopen(url, timeout=60) as answer, temporary.open("wb") as out:
            while block := answer.read(BLOCK):
                size += len(block)
                if size > MOST_BYTES:
                    raise InputError(f"checkpoint {name} at {url} is larger than {MOST_BYTES >> 30} GB; it is refused")
                found.update(block)
                out.write(block)
        if found.hexdigest() != digest:
            raise InputError(f"checkpoint {name} at {url} is not what its registry says: its SHA-256 differs")

    try:
        write_atomic(file, fill)
    except InputError as error:
        if isinstance(error.__context__, urllib.error.URLError):
            raise InputError(f"checkpoint {name} cannot be fetched from {url}: {error.__context__.reason}") from None
        raise


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
