"""Fetching public data sets from their owners: licence first, checksums, resumed where a connection broke.

Where the owners demand a login, or give their data out by a program of their own, nothing is fetched; the answer says
what to get, where from, and where to put it. Nothing here is ever called without being asked for.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import stat
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from boneray.core.errors import ConfigError, DataError, InputError
from boneray.core.registry import Entry
from boneray.datasets.registry import DATASETS, DatasetSpec
from boneray.io.files import inside, read_json, write_json

ZENODO = "https://zenodo.org/api/records"
VERSE = "https://s3.bonescreen.de/public/VerSe-complete"
RECORD = "download.json"
BLOCK = 1 << 20
PARTIAL = ".part"

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class Remote:
    """One file to fetch; `checksum` is `md5:...` or `sha256:...`, empty where its owners state none."""

    name: str
    url: str
    checksum: str = ""
    size: int | None = None


@dataclass(frozen=True)
class Source:
    """Where a data set is to be had.

    Attributes:
        record: number of a Zenodo record, all of whose files are fetched with the checksums it states.
        files: single files.
        by_hand: what to do by hand, beside or instead of that; {out} is the folder.
    """

    record: str = ""
    files: tuple[Remote, ...] = ()
    by_hand: str = ""


def _verse(year: str) -> tuple[Remote, ...]:
    names = [f"dataset-verse{year}{part}.zip" for part in ("training", "validation", "test")]
    return tuple(Remote(name, f"{VERSE}/{name}") for name in names)


SOURCES: dict[str, Source] = {
    "totalsegmentator-v1": Source(record="6802613"),
    "totalsegmentator": Source(record="10047292"),
    "ctpelvic1k": Source(
        record="4588403",
        by_hand="The record holds all masks and the clinical CTs (data sets 6 and 7). The other CTs belong to others: "
        "CT COLONOGRAPHY at The Cancer Imaging Archive, KiTS19, Medical Segmentation Decathlon task 10, and the "
        "abdomen and cervix CTs of the 'Beyond the Cranial Vault' challenge (Synapse, with a login). Put the CTs of "
        "each into {out} beside its masks.",
    ),
    "verse19": Source(files=_verse("19")),
    "verse20": Source(files=_verse("20")),
    "ctspine1k": Source(
        by_hand="Open https://github.com/MIRACLE-Center/CTSpine1K, follow its link to the data, fetch the folders with "
        "CTs and labels and data_split.txt, and put them into {out}."
    ),
    "ribseg": Source(
        by_hand="Fetch the CTs of RibFrac from https://ribfrac.grand-challenge.org (a login is needed) and the rib "
        "labels from https://github.com/M3DV/RibSeg, and put both into {out}."
    ),
    "rsna-cervical": Source(
        by_hand="With a Kaggle account accept the rules of "
        "https://www.kaggle.com/competitions/rsna-2022-cervical-spine-fracture-detection, fetch train_images, "
        "segmentations and train.csv, and unpack them into {out}."
    ),
    "lidc": Source(
        by_hand="Fetch LIDC-IDRI from The Cancer Imaging Archive (https://doi.org/10.7937/K9/TCIA.2015.LO9QL9SX) with "
        "its retriever program and put the DICOM folders into {out}, the vertebra masks that were given to you beside."
    ),
}


@dataclass(frozen=True)
class Plan:
    """What a download is going to do, and under which licence.

    Attributes:
        name: of the data set whose files are fetched (the base of a derived one).
    """

    name: str
    licence: str
    citation: str
    url: str
    source: Source
    notes: tuple[str, ...] = ()


def planned(name: str) -> Plan:
    """How to get a data set.

    Raises:
        ConfigError: no such data set, or one that nobody publishes (a layout for own data).
    """
    entry: Entry[DatasetSpec] = DATASETS.get(name)
    base = str(entry.facts.get("base") or entry.name)
    if base not in SOURCES:
        known = ", ".join(sorted(SOURCES))
        raise ConfigError(f"'{name}' is a layout for data of your own; there is nothing to fetch. There is for {known}")
    spec = DATASETS.get(base).value
    notes = (f"{name} is made of {base}",) if base != name else ()
    return Plan(base, spec.licence, spec.citation, spec.url, SOURCES[base], notes)


def download(
    plan: Plan,
    out: Path,
    *,
    accept_licence: bool,
    unpack: bool = True,
    zenodo: str = ZENODO,
    progress: Progress = lambda name, done, total: None,
) -> dict[str, Any]:
    """Fetch what can be fetched into `out` and say what is left to do by hand.

    What is there and whole is kept; a file that is there in part goes on where it stopped. The
    SHA-256 of every file is written to download.json, and a later run checks against it.

    Args:
        unpack: archives are unpacked into `out`, once; their members must stay inside.
        zenodo: address of Zenodo's records.
        progress: told name, bytes there and bytes in all of the file that is coming.
    Returns:
        files (name, url, bytes, sha256, checksum: stated, earlier or none), unpacked, by_hand.
    Raises:
        InputError: the licence is not accepted, a file cannot be had or written, or its checksum
            differs; DataError: an archive is damaged or reaches outside of the folder.
    """
    if not accept_licence:
        raise InputError(
            f"{plan.name} is under the licence {plan.licence} ({plan.url}); read it, and give --accept-licence to fetch"
        )
    files: list[dict[str, Any]] = []
    unpacked: list[str] = []
    remotes = [*(_of_record(plan.source.record, zenodo) if plan.source.record else ()), *plan.source.files]
    try:
        out.mkdir(parents=True, exist_ok=True)
        known = _known(out)
        for remote in remotes:
            earlier = known.get(remote.name, {})
            path, basis = _fetched(remote, out, earlier, progress)
            row = {"name": remote.name, "url": remote.url, "bytes": path.stat().st_size, "sha256": _hash(path)}
            files.append(row | {"checksum": basis})
            done = bool(earlier.get("unpacked")) and earlier["sha256"] == row["sha256"]
            if unpack and not done:
                unpacked += _unpacked(path, out)
            known[remote.name] = row | {"unpacked": unpack or done}
            write_json(out / RECORD, {"data_set": plan.name, "licence": plan.licence, "files": list(known.values())})
    except OSError as error:
        raise InputError(f"{out} cannot be written: {error.strerror or error}") from None
    return {"files": files, "unpacked": unpacked, "by_hand": plan.source.by_hand.format(out=out)}


def _known(out: Path) -> dict[str, dict[str, Any]]:
    if not (out / RECORD).is_file():
        return {}
    return {str(row["name"]): row for row in read_json(out / RECORD, "record of a download").get("files", [])}


def _of_record(record: str, zenodo: str) -> Iterator[Remote]:
    """The files of a Zenodo record with the checksums it states."""
    url = f"{zenodo}/{record}"
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            values = json.load(answer)
        files = [(str(f["key"]), str(f["links"]["self"]), str(f["checksum"]), int(f["size"])) for f in values["files"]]
    except (urllib.error.URLError, OSError) as error:
        raise InputError(f"{url} cannot be reached: {getattr(error, 'reason', error)}") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{url} does not answer with the files of a record") from None
    return (Remote(name, link, checksum, size) for name, link, checksum, size in files)


def _fetched(remote: Remote, out: Path, earlier: dict[str, Any], progress: Progress) -> tuple[Path, str]:
    """The whole file, and what its content was checked against."""
    pooch = _pooch()
    path = inside(out, remote.name)
    partial = path.with_name(path.name + PARTIAL)
    wanted, basis = remote.checksum, "stated"
    if not wanted:
        wanted, basis = (f"sha256:{earlier['sha256']}", "earlier") if earlier else ("", "none")

    def come(url: str, file: str, _: object) -> None:
        _resumed(url, partial, remote, progress)
        shutil.move(partial, file)

    try:
        pooch.retrieve(remote.url, wanted or None, fname=path.name, path=path.parent, downloader=come)
    except ValueError as error:
        if "hash" not in str(error).lower():
            raise
        path.unlink(missing_ok=True)
        raise InputError(
            f"{remote.name} is not what its owners put there: its checksum is not {wanted}. It was removed; fetch again"
        ) from None
    return path, basis


def _resumed(url: str, partial: Path, remote: Remote, progress: Progress) -> None:
    """Append to `partial` what is missing of it."""
    have = partial.stat().st_size if partial.is_file() else 0
    if remote.size is not None and have > remote.size:
        have = 0  # another file of that name
    if have and have == remote.size:
        return
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            goes_on = have > 0 and getattr(answer, "status", None) == 206
            length = answer.headers.get("Content-Length")
            if have and url.startswith("file:"):
                answer.read(have)
                goes_on, length = True, None
            have = have if goes_on else 0
            total = remote.size if remote.size is not None else have + int(length) if length else None
            _copied(answer, partial, remote.name, have, total, progress)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing is left to send
            return
        raise InputError(f"{url} cannot be fetched: {error.code} {error.reason}") from None
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise InputError(f"{url} cannot be fetched: {reason}; run again to go on where it stopped") from None


def _copied(answer: IO[bytes], partial: Path, name: str, done: int, total: int | None, progress: Progress) -> None:
    with partial.open("ab" if done else "wb") as file:
        while block := answer.read(BLOCK):
            file.write(block)
            done += len(block)
            progress(name, done, total)
    if total is not None and done < total:
        raise InputError(f"{name} ended after {done} of {total} bytes; run again to go on where it stopped")


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unpacked(archive: Path, out: Path) -> list[str]:
    """Unpack a zip or tar into `out`; gives the names of its members. Other files are left as they are.

    Links, devices and members that would leave the folder are refused before anything is written.
    """
    try:
        if zipfile.is_zipfile(archive):
            return _unzipped(archive, out)
        if tarfile.is_tarfile(archive):
            return _untarred(archive, out)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise DataError(f"archive {archive} is damaged: {error}; remove it and fetch it again") from None
    return []


def _unzipped(archive: Path, out: Path) -> list[str]:
    with zipfile.ZipFile(archive) as file:
        members = file.infolist()
        for member in members:
            _require_plain(archive, out, member.filename, link=stat.S_ISLNK(member.external_attr >> 16))
        file.extractall(out)
        return [member.filename for member in members if not member.is_dir()]


def _untarred(archive: Path, out: Path) -> list[str]:
    with tarfile.open(archive) as file:
        members = file.getmembers()
        for member in members:
            _require_plain(archive, out, member.name, link=not (member.isfile() or member.isdir()))
        file.extractall(out, filter="data")
        return [member.name for member in members if member.isfile()]


def _require_plain(archive: Path, out: Path, name: str, *, link: bool) -> None:
    if link:
        raise DataError(f"archive {archive} holds {name}, a link or device; it was not unpacked")
    try:
        inside(out, name)
    except InputError as error:
        raise DataError(f"archive {archive}: {error}; it was not unpacked") from None


def _pooch() -> Any:
    try:
        import pooch
    except ModuleNotFoundError:
        raise ConfigError("fetching needs pooch; install it with: pip install 'boneray[download]'") from None
    pooch.get_logger().setLevel("ERROR")
    return pooch
