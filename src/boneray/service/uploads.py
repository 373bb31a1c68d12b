"""What may be uploaded: films told by their first bytes, a camera file, and a few words and numbers. All else is a 4xx.

Names that the sender gives to files are not looked at.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import HTTPException
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from boneray.core.bones import BONES
from boneray.core.errors import BonerayError
from boneray.core.views import view_angles

MOST_VIEWS = 6
MOST_TEXT = 200
MOST_CAMERA = 1 << 20
VALUES = ("auto", "bright", "dark", "counts")
NUMBERS = {"sdd_mm": (50.0, 10000.0), "sod_mm": (10.0, 10000.0), "pixel_mm": (0.001, 50.0)}
WORDS = ("checkpoint", "bone", "values", "anyway")
# what a file may be called by its sender, by what its first bytes say; "" and octet-stream say nothing
TYPES = {
    "dcm": ("application/dicom",),
    "png": ("image/png",),
    "jpg": ("image/jpeg", "image/jpg"),
    "tif": ("image/tiff",),
}
ANY_TYPE = ("", "application/octet-stream")


@dataclass(frozen=True)
class Upload:
    """What was asked for, and the files by view (`camera` is the camera file): (name of our own, content)."""

    asked: dict[str, Any]
    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)


async def read_upload(request: Request, checkpoints: Sequence[str], most_bytes: int) -> Upload:
    """The upload in a multipart request.

    Raises:
        HTTPException: 400 for a broken request, 411, 413 too large, 415 another type, 422 wrong values.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise HTTPException(415, "send the films as multipart/form-data")
    parser = MultiPartParser(
        request.headers, limited(request, most_bytes), max_files=MOST_VIEWS + 1, max_fields=20, max_part_size=4096
    )
    parser.spool_max_size = most_bytes + 1  # parts stay in memory: nothing is written outside the job's folder
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError, UnicodeDecodeError):
        raise HTTPException(400, "this is not well-formed multipart/form-data") from None
    try:
        return Upload(asked_for(form, checkpoints), await films(form))
    finally:
        await form.close()


async def limited(request: Request, most_bytes: int) -> Any:
    """The body, until it is larger than allowed."""
    stated = request.headers.get("content-length", "")
    if stated and (not stated.isdigit() or int(stated) > most_bytes):
        raise too_large(most_bytes)
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most_bytes:
            raise too_large(most_bytes)
        yield chunk


def too_large(most_bytes: int) -> HTTPException:
    """413 with the limit in it."""
    return HTTPException(413, f"the upload is larger than {most_bytes / 1e6:.0f} MB")


def asked_for(form: FormData, checkpoints: Sequence[str]) -> dict[str, Any]:
    """Words and numbers of the form."""
    known = {*WORDS, *NUMBERS}
    text = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            continue
        if name not in known or name in text:
            raise HTTPException(422, f"field '{shown(name)}' is unknown or given twice")
        if len(value) > MOST_TEXT:
            raise HTTPException(422, f"field {name} is longer than {MOST_TEXT} characters")
        text[name] = value.strip()
    checkpoint = text.get("checkpoint") or checkpoints[0]
    if checkpoint not in checkpoints:
        raise HTTPException(422, f"checkpoint '{shown(checkpoint)}' is unknown; there are {', '.join(checkpoints)}")
    bone = text.get("bone", "")
    if bone and bone not in BONES:
        raise HTTPException(422, f"bone '{shown(bone)}' is unknown, for example femur_left")
    values = text.get("values") or "auto"
    if values not in VALUES:
        raise HTTPException(422, f"values '{shown(values)}' must be one of {', '.join(VALUES)}")
    numbers = {name: number(name, text.get(name, ""), *limits) for name, limits in NUMBERS.items()}
    anyway = text.get("anyway", "").lower() in ("1", "true", "on", "yes")
    return {"checkpoint": checkpoint, "bone": bone, "values": values, "anyway": anyway, **numbers}


def number(name: str, text: str, least: float, most: float) -> float | None:
    """A number of the form; None where nothing is given."""
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise HTTPException(422, f"{name} '{shown(text)}' must be a number from {least:g} to {most:g}")
    return value


async def films(form: FormData) -> dict[str, tuple[str, bytes]]:
    """The files of the form by view."""
    found: dict[str, tuple[str, bytes]] = {}
    for view, value in form.multi_items():
        if not isinstance(value, UploadFile):
            continue
        content = await value.read()
        if not content and not value.filename:
            continue  # a file field that was left empty
        if view in found:
            raise HTTPException(422, f"file '{shown(view)}' is given twice")
        stated = (value.content_type or "").partition(";")[0].strip().lower()
        if view == "camera":
            found[view] = ("cameras.json", camera_file(content, stated))
            continue
        require_view(view)
        kind = kind_of(content)
        if kind is None:
            raise HTTPException(415, f"the {view} film is neither DICOM nor PNG, JPEG or TIFF")
        if stated not in (*TYPES[kind], *ANY_TYPE):
            raise HTTPException(415, f"the {view} film is sent as {shown(stated)} and is not")
        found[view] = (f"view{len(found)}.{kind}", content)
    if len([view for view in found if view != "camera"]) < 2:
        raise HTTPException(422, "send two films at least, as the files ap and lat")
    return found


def require_view(view: str) -> None:
    """Raise 422 unless a field of a film is named by its view."""
    try:
        if len(view) > 20:
            raise ValueError
        view_angles(view)
    except (BonerayError, ValueError):
        raise HTTPException(422, f"file '{shown(view)}' must be ap, lat, an angle, or camera") from None


def camera_file(content: bytes, stated: str) -> bytes:
    """A camera file, if it is a JSON object of sensible size."""
    if stated not in ("application/json", *ANY_TYPE):
        raise HTTPException(415, f"the camera file is sent as {shown(stated)}; it must be JSON")
    if len(content) > MOST_CAMERA:
        raise HTTPException(413, "the camera file is larger than 1 MB")
    try:
        if not isinstance(json.loads(content), dict):
            raise ValueError
    except (ValueError, RecursionError):
        raise HTTPException(422, "the camera file is not a JSON object") from None
    return content


def kind_of(content: bytes) -> str | None:
    """dcm, png, jpg or tif by the first bytes; None for anything else."""
    if content[128:132] == b"DICM":
        return "dcm"
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if content.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if content[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tif"
    return None


def shown(text: str) -> str:
    """What a stranger sent, safe to be said back."""
    return "".join(letter if letter.isalnum() or letter in " ._+-/" else "?" for letter in text[:40])
