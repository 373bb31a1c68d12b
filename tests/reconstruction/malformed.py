"""Two hundred things that are no radiograph, or say nonsense: what a service on the internet is given.

Each is the arguments of `boneray reconstruct` behind the checkpoint: a bad file beside a good one. Everything is made
from one phantom's films and a seed.
"""

import io
import json
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from boneray.core.radiograph import Radiograph
from boneray.core.seeds import generator
from boneray.io.files import write_json
from tests.reconstruction import films

Arguments = list[object]
PLACED = ["--sdd-mm", 1500, "--sod-mm", 1000, "--pixel-mm", 1.86]


def malformed(folder: Path) -> Iterator[tuple[str, Arguments]]:
    """(name, arguments) of every bad input; files are written into `folder`."""
    radiographs = films.exposed(films.femur(0))
    dicom = films.dicom_films(folder, radiographs)
    pngs, cameras = films.png_films(folder, radiographs)
    yield from _dicom(folder, dicom)
    yield from _pictures(folder, pngs, cameras, radiographs)
    yield from _cameras(folder, pngs, cameras)
    yield from _numbers(pngs)
    yield from _tables(folder)


# ---- DICOM ---------------------------------------------------------------------------------------------------


def _foreign(path: Path) -> pydicom.Dataset:
    dataset = pydicom.dcmread(path)
    dataset.remove_private_tags()
    del dataset.RealWorldValueMappingSequence
    return dataset


TAGS: list[dict[str, object]] = [
    {"ImagerPixelSpacing": ["-1.86", "-1.86"]},
    {"ImagerPixelSpacing": ["0", "0"]},
    {"ImagerPixelSpacing": ["0.000001", "0.000001"]},
    {"ImagerPixelSpacing": ["900", "900"]},
    {"ImagerPixelSpacing": "1.86"},
    {"ImagerPixelSpacing": ["1.86", "1.86", "1.86"]},
    {"DistanceSourceToDetector": "-1500"},
    {"DistanceSourceToDetector": "0"},
    {"DistanceSourceToDetector": "1e12"},
    {"DistanceSourceToDetector": "900"},
    {"DistanceSourceToPatient": "1500"},
    {"DistanceSourceToPatient": "-3"},
    {"DistanceSourceToPatient": "1e-6"},
    {"PositionerPrimaryAngle": "90"},
    {"PositionerPrimaryAngle": "-90"},
    {"PositionerSecondaryAngle": "89.99", "DistanceSourceToPatient": "1400"},
    {"DetectorPrimaryAngle": "90"},
    {"DetectorPrimaryAngle": "1e6"},
    {"NumberOfFrames": "7"},
    {"NumberOfFrames": "-2"},
    {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"},
    {"SamplesPerPixel": 65535},
    {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0},
    {"BitsAllocated": 13},
    {"BitsAllocated": 64, "BitsStored": 64},
    {"BitsStored": 0, "BitsAllocated": 8},
    {"PixelRepresentation": 9},
    {"Rows": 0},
    {"Rows": 65535, "Columns": 65535},
    {"Rows": 4000},
    {"Columns": 3},
    {"Rows": 7, "Columns": 7},
    {"Modality": "CT"},
    {"Modality": "MR"},
    {"Modality": ""},
    {"Modality": "OT"},
    {"BodyPartExamined": "CHEST"},
    {"BodyPartExamined": "SKULL"},
    {"PatientID": "someone else"},
    {"PixelData": b""},
    {"PixelData": b"\0\0"},
    {"PixelData": b"\xff" * 1_000_001},
    {"PixelData": b"\x11\x11" * 128 * 128},
]
MISSING = ("PixelData", "Rows", "Columns", "BitsAllocated", "Modality", "DistanceSourceToDetector",
           "ImagerPixelSpacing", "SamplesPerPixel", "PhotometricInterpretation", "PixelRepresentation")  # fmt: skip
SYNTAXES = {
    "jpeg": "1.2.840.10008.1.2.4.50",
    "jpeg-extended": "1.2.840.10008.1.2.4.51",
    "jpeg-lossless": "1.2.840.10008.1.2.4.70",
    "jpeg-ls": "1.2.840.10008.1.2.4.80",
    "jpeg-2000": "1.2.840.10008.1.2.4.90",
    "htj2k": "1.2.840.10008.1.2.4.201",
    "rle": "1.2.840.10008.1.2.5",
    "mpeg": "1.2.840.10008.1.2.4.100",
    "deflated": "1.2.840.10008.1.2.1.99",
    "unknown": "1.2.3.4.5",
}


def _dicom(folder: Path, good: dict[str, Path]) -> Iterator[tuple[str, Arguments]]:
    def case(name: str, write: Callable[[Path], object]) -> tuple[str, Arguments]:
        path = folder / f"{name}.dcm"
        write(path)
        return name, ["--ap", path, "--lat", good["lat"]]

    raw = good["ap"].read_bytes()
    plain = folder / "plain.dcm"
    _foreign(good["ap"]).save_as(plain)
    rng = generator(1, "malformed dicom")
    for n, share in enumerate(np.linspace(0.0, 0.98, 24)):
        start = raw[: int(share * len(raw))]
        yield case(f"dicom-truncated-{n}", lambda p, start=start: p.write_bytes(start))
    for n in range(12):
        noise = rng.bytes(int(rng.integers(1, 60_000)))
        yield case(f"dicom-noise-{n}", lambda p, noise=noise: p.write_bytes(b"\0" * 128 + b"DICM" + noise))
    for n in range(10):  # the header in shreds, the pixels whole
        torn = bytearray(plain.read_bytes())
        for at in rng.integers(132, 700, 60):
            torn[at] = int(rng.integers(0, 256))
        yield case(f"dicom-torn-{n}", lambda p, torn=torn: p.write_bytes(bytes(torn)))
    for n, changes in enumerate(TAGS):

        def write(path: Path, changes: dict[str, object] = changes) -> None:
            dataset = _foreign(good["ap"])
            for keyword, value in changes.items():
                setattr(dataset, keyword, value)
            dataset.save_as(path)

        yield case(f"dicom-tag-{n}-{'-'.join(changes)}", write)
    for keyword in MISSING:

        def without(path: Path, keyword: str = keyword) -> None:
            dataset = _foreign(good["ap"])
            delattr(dataset, keyword)
            dataset.save_as(path)

        yield case(f"dicom-without-{keyword}", without)
    for name, uid in SYNTAXES.items():

        def packed(path: Path, uid: str = uid, name: str = name) -> None:
            dataset = _foreign(good["ap"])
            if name not in ("deflated", "unknown"):
                dataset.PixelData = encapsulate([rng.bytes(3000)])
                dataset["PixelData"].is_undefined_length = True
            dataset.save_as(path)
            data = path.read_bytes()
            old, new = b"1.2.840.10008.1.2.1\0", uid.encode() + b"\0" * (len(uid) % 2)
            at = data.index(old)
            length = struct.pack("<H", len(new))
            path.write_bytes(data[: at - 2] + length + new + data[at + len(old) :])
            assert UID(uid).is_valid

        yield case(f"dicom-syntax-{name}", packed)


# ---- PNG, JPEG, TIFF -----------------------------------------------------------------------------------------


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, body: bytes, colour: int = 0, bits: int = 8, extra: bytes = b"") -> bytes:
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + extra + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def _pictures(
    folder: Path, good: dict[str, Path], cameras: Path, radiographs: dict[str, Radiograph]
) -> Iterator[tuple[str, Arguments]]:
    grey = np.asarray(Image.open(good["ap"]))
    rng = generator(2, "malformed pictures")

    def case(name: str, write: Callable[[Path], object], kind: str = "png") -> tuple[str, Arguments]:
        path = folder / f"{name}.{kind}"
        write(path)
        return name, ["--ap", path, "--lat", good["lat"], "--camera", cameras]

    def stored(array: np.ndarray, **options: object) -> Callable[[Path], object]:
        return lambda path: Image.fromarray(array).save(path, **options)

    def data(content: bytes) -> Callable[[Path], object]:
        return lambda path: path.write_bytes(content)

    whole = {}
    for kind, array in (("png", grey), ("tif", grey), ("jpg", np.uint8(grey >> 8))):
        file = io.BytesIO()
        Image.fromarray(array).save(file, format={"jpg": "JPEG", "tif": "TIFF"}.get(kind, "PNG"))
        whole[kind] = file.getvalue()
        for n, share in enumerate((0.001, 0.02, 0.2, 0.5, 0.8)):
            yield case(f"cut-{kind}-{n}", data(whole[kind][: int(share * len(whole[kind]))]), kind)
        yield case(f"noise-{kind}", data(whole[kind][:8] + rng.bytes(5000)), kind)
    for n in range(6):
        yield case(f"bytes-{n}", data(rng.bytes(int(rng.integers(0, 9000)))), ("png", "tif", "jpg")[n % 3])
    for name, content in {
        "empty": b"",
        "text": b"this is no picture\n" * 50,
        "html": b"<html><img src=x onerror=alert(1)></html>",
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "pdf": b"%PDF-1.7\n%%EOF",
        "zip": b"PK\x03\x04" + b"\0" * 200,
        "script": b"#!/bin/sh\ntouch owned\n",
        "pickle": b"\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
    }.items():
        yield case(f"other-{name}", data(content))
    bomb = zlib.compress(b"\0" * 60_001 * 100, 9)
    yield case("bomb-60000x60000", data(_png(60_000, 60_000, bomb)))
    yield case("bomb-30000x30000x16", data(_png(30_000, 30_000, bomb, bits=16)))
    yield case("bomb-huge-side", data(_png(2**31 - 1, 1, bomb)))
    yield case("bomb-text", data(_png(64, 64, zlib.compress(b"\0" * 65 * 64), extra=_bomb_text())))
    yield case("bomb-short-data", data(_png(7000, 7000, zlib.compress(b"\0" * 500))))
    ppm = b"P5\n60000 60000\n255\n" + b"\0" * 100
    yield case("bomb-ppm", data(ppm), "ppm")
    yield case("tiff-nan", stored(np.where(grey > 3e4, np.nan, grey).astype(np.float32)), "tif")
    yield case("tiff-inf", stored(np.where(grey > 3e4, np.inf, grey).astype(np.float32)), "tif")
    yield case("tiff-huge", data(_tiff_of(90_000, 90_000)), "tif")
    yield case("tiff-loop", data(whole["tif"][:4] + struct.pack("<I", 4) + whole["tif"][8:]), "tif")
    pages = [Image.fromarray(grey) for _ in range(3)]
    yield case("tiff-pages", lambda p: pages[0].save(p, save_all=True, append_images=pages[1:]), "tif")
    frames = [Image.fromarray(np.uint8(np.roll(grey, 20 * n, 0) >> 8)) for n in range(3)]
    yield case("gif-moving", lambda p: frames[0].save(p, save_all=True, append_images=frames[1:]), "gif")
    yield case("one-bit", lambda p: Image.fromarray(grey > 3e4).save(p))
    yield case("mask", stored(np.uint8(grey > 3e4) * 255))
    yield case("four-greys", stored(np.uint8(grey // 16384) * 60))
    yield case("constant", stored(np.full((128, 128), 77, np.uint8)))
    yield case("black", stored(np.zeros((128, 128), np.uint16)))
    yield case("one-pixel", stored(np.full((1, 1), 7, np.uint8)))
    yield case("one-row", stored(np.uint8(rng.integers(0, 256, (1, 5000)))))
    yield case("strip", stored(np.uint8(rng.integers(0, 256, (12, 3000)))))
    colour = np.stack([np.roll(grey >> 8, 30 * n, 1) for n in range(3)], axis=2).astype(np.uint8)
    yield case("photo-rgb", stored(colour))
    yield case("photo-jpeg", stored(colour), "jpg")
    yield case("photo-rgba", stored(np.dstack([colour, np.full(grey.shape, 90, np.uint8)])))
    yield case("photo-cmyk", lambda p: Image.fromarray(colour).convert("CMYK").save(p), "jpg")
    yield case("photo-palette", lambda p: Image.fromarray(colour).quantize(64).save(p))
    for n in range(4):  # structure of other kinds, in grey: not a hip
        yield case(f"noise-picture-{n}", stored(np.uint8(rng.integers(0, 256, grey.shape))))
    rows, columns = np.indices(grey.shape)
    for name, array in {
        "checkers": 200.0 * ((rows // 16 + columns // 16) % 2) + rows / 3,
        "rings": 100 + 90 * np.sin(np.hypot(rows - 64, columns - 64) / 4),
        "ramp": columns * 1.9,
        "letters": 230.0 - 200 * (((rows // 8) % 2) * ((columns // 5) % 3 > 0)) + rows / 9,
        "stripes": 120 + 100 * np.sin(rows / 2.0),
    }.items():
        yield case(f"drawing-{name}", stored(np.uint8(np.clip(array, 0, 255))))
    yield case("same-picture-twice", lambda p: p.write_bytes(good["lat"].read_bytes()))
    yield case("negative", stored(np.uint16(65535 - grey)))
    yield case("upside-down-and-negative", stored(np.uint16(65535 - grey[::-1])))
    yield case("other-shape", stored(np.ascontiguousarray(grey[:64])))
    for name, make in {
        "dangling": lambda p: p.symlink_to(folder / "nowhere.png"),
        "loop": lambda p: p.symlink_to(p.name),
        "folder": lambda p: p.symlink_to(folder),
        "endless": lambda p: p.symlink_to("/dev/zero"),
        "random": lambda p: p.symlink_to("/dev/urandom"),
        "terminal": lambda p: p.symlink_to("/dev/null"),
        "passwords": lambda p: p.symlink_to("/etc/passwd"),
        "pipe": os.mkfifo,
        "directory": lambda p: p.mkdir(),
        "absent": lambda p: None,
    }.items():
        yield case(f"link-{name}", make)


def _bomb_text() -> bytes:
    """A text chunk of 300 MB that is 300 kB in the file."""
    pack = zlib.compressobj(9)
    packed = b"".join(pack.compress(bytes(1_000_000)) for _ in range(300)) + pack.flush()
    return _chunk(b"zTXt", b"Comment\0\0" + packed)


def _tiff_of(width: int, height: int) -> bytes:
    """A TIFF that says to be so large and has 8 bytes of data."""
    entries = [(256, 4, width), (257, 4, height), (258, 3, 16), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1),
               (278, 4, height), (279, 4, 8)]  # fmt: skip
    table = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return b"II*\0" + struct.pack("<I", 16) + b"\0" * 8 + struct.pack("<H", len(entries)) + table + b"\0" * 4


# ---- cameras, numbers, tables --------------------------------------------------------------------------------


def _cameras(folder: Path, good: dict[str, Path], cameras: Path) -> Iterator[tuple[str, Arguments]]:
    def case(name: str, text: str) -> tuple[str, Arguments]:
        path = folder / f"camera-{name}.json"
        path.write_text(text)
        return f"camera-{name}", ["--ap", good["ap"], "--lat", good["lat"], "--camera", path]

    values = json.loads(cameras.read_text())

    def changed(**changes: object) -> str:
        copy = json.loads(json.dumps(values))
        copy["views"][0]["camera"].update(changes)
        return json.dumps(copy)

    pose = values["views"][0]["camera"]["world_from_camera"]
    mirrored = [[-v if n == 0 else v for n, v in enumerate(row)] for row in pose]
    scaled = [[2 * v for v in row] for row in pose]
    away = [[*row[:3], row[3] + (5000.0 if n == 0 else 0.0)] for n, row in enumerate(pose)]
    turned = [[-row[0], row[1], -row[2], row[3]] for row in pose]
    for name, text in {
        "empty": "",
        "array": "[1, 2]",
        "no-views": "{}",
        "views-number": '{"views": 3}',
        "views-empty": '{"views": []}',
        "views-null": '{"views": [null, null]}',
        "nested": '{"views": ' + "[" * 100_000 + "]" * 100_000 + "}",
        "half": cameras.read_text()[:300],
        "negative-pitch": changed(pixel_mm=[-1.0, 1.0]),
        "zero-pitch": changed(pixel_mm=[0.0, 0.0]),
        "huge-pitch": changed(pixel_mm=[1e6, 1e6]),
        "nan-pitch": changed(pixel_mm=[float("nan"), 1.0]),
        "text-pitch": changed(pixel_mm="wide"),
        "negative-distance": changed(source_detector_mm=-1500.0),
        "tiny-distance": changed(source_detector_mm=1e-9),
        "huge-distance": changed(source_detector_mm=1e300),
        "mirrored": changed(world_from_camera=mirrored),
        "scaled": changed(world_from_camera=scaled),
        "flat": changed(world_from_camera=[[0] * 4] * 4),
        "short": changed(world_from_camera=[1, 0, 0]),
        "elsewhere": changed(world_from_camera=away),
        "looks-away": changed(world_from_camera=turned),
        "other-detector": changed(detector_shape=[10, 900]),
        "no-detector": changed(detector_shape=[0, 0]),
        "kind": changed(kind="fisheye"),
        "principal": changed(principal_point_px=[1e9, 1e9]),
    }.items():
        yield case(name, text)
    for n, text in enumerate(("image size\n1,2\n", "image size\nx", "camera matrix\n" + "1," * 50_000, "\0\0\0")):
        path = folder / f"maya-{n}.txt"
        path.write_text(text)
        yield f"maya-{n}", ["--ap", good["ap"], "--lat", good["lat"], "--camera", path, "--camera", path]


def _numbers(good: dict[str, Path]) -> Iterator[tuple[str, Arguments]]:
    pair: Arguments = ["--ap", good["ap"], "--lat", good["lat"]]
    for name, more in {
        "no-geometry": [],
        "negative": ["--sdd-mm", -1500, "--pixel-mm", 1.8],
        "nan": ["--sdd-mm", "nan", "--pixel-mm", 1.8],
        "inf": ["--sdd-mm", "inf", "--pixel-mm", 1.8],
        "zero-pixel": ["--sdd-mm", 1500, "--pixel-mm", 0],
        "tiny-pixel": ["--sdd-mm", 1500, "--pixel-mm", 1e-7],
        "huge-pixel": ["--sdd-mm", 1500, "--pixel-mm", 1e7],
        "behind": ["--sdd-mm", 1000, "--sod-mm", 2000, "--pixel-mm", 1.8],
        "far-centre": [*PLACED, "--centre-mm", "9e9,0,0"],
        "nan-centre": [*PLACED, "--centre-mm", "nan,0,0"],
        "swapped": [*PLACED, "--view", f"{good['ap']}:fortytwo"],
        "view-without-angle": [*PLACED, "--view", f"{good['ap']}"],
        "values": [*PLACED, "--values", "upside"],
    }.items():
        yield f"given-{name}", [*pair, *more]


def _tables(folder: Path) -> Iterator[tuple[str, Arguments]]:
    for name, content in {
        "empty": b"",
        "binary": bytes(range(256)) * 20,
        "no-id": b"ap,lat\na.png,b.png\n",
        "unknown-column": b"case_id,ap,colour\nx,a.png,red\n",
        "escape": b"case_id,ap\n../../x,a.png\n",
        "twice": b"case_id,ap\nx,a.png\nx,b.png\n",
        "no-rows": b"case_id,ap\n",
    }.items():
        path = folder / f"table-{name}.csv"
        path.write_bytes(content)
        yield f"table-{name}", [path]
    broken = folder / "broken-case"
    broken.mkdir(exist_ok=True)
    write_json(
        broken / "case.json", {"schema": "boneray/case/1", "views": [{"name": "ap", "file": "../../etc/passwd"}]}
    )
    yield "case-escape", [broken]
    nothing = folder / "no-patients"
    nothing.mkdir(exist_ok=True)
    yield "folder-empty", [nothing]
