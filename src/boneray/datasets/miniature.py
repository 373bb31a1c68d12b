"""Tiny scans of phantoms, and every fault a scan can have, from which data sets write miniatures in their layout."""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from boneray.core.bones import BONES, VERTEBRAE, bone
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap, Volume
from boneray.io.files import write_atomic
from boneray.io.nifti import write_labels, write_volume
from boneray.phantom.patient import make_patient
from boneray.phantom.primitive import Primitive
from boneray.phantom.raster import rasterise
from boneray.phantom.scene import Material, Outline, Scene, Solid

MINIATURE_VOXELS = {"pelvis": 48, "femur": 40, "spine": 48, "ribs": 64, "vertebra": 32}
Pairing = tuple[Volume, LabelMap]


@cache
def phantom_scan(anatomy: str, number: int = 0, voxels: int | None = None) -> Pairing:
    """CT (int16 HU) and bones (ids of the table) of a phantom patient on the CT's grid.

    Shared between calls; do not change it. The femur phantom is one side; its mirror image comes as the other.
    """
    case = make_patient(anatomy, seed=7, number=number, voxels=voxels or MINIATURE_VOXELS[anatomy])
    assert case.ct is not None and case.labels is not None
    labels = np.zeros(case.ct.grid.shape, np.uint8)
    start = np.round(case.ct.grid.to_index(case.labels.grid.origin_mm)).astype(int)
    labels[tuple(slice(s, s + n) for s, n in zip(start, case.labels.grid.shape, strict=True))] = case.labels.data
    if anatomy == "femur":
        return _both_sides(case.ct, labels, case.target)
    return case.ct, LabelMap(labels, case.ct.grid)


def _both_sides(ct: Volume, labels: NDArray[np.uint8], target: str) -> Pairing:
    hu, masks = [ct.data, ct.data[::-1]], [labels > 0, labels[::-1] > 0]
    if target == "femur_right":
        hu, masks = hu[::-1], masks[::-1]
    ids = [bone("femur_left").bone_id, bone("femur_right").bone_id]
    both = np.concatenate([np.where(m, i, 0) for m, i in zip(masks, ids, strict=True)]).astype(np.uint8)
    n = ct.grid.shape[0]
    origin = (ct.grid.origin_mm[0] - ct.grid.spacing_mm[0] * n / 2, *ct.grid.origin_mm[1:])
    grid = Grid((2 * n, *ct.grid.shape[1:]), ct.grid.spacing_mm, origin)
    return Volume(np.concatenate(hu), grid), LabelMap(both, grid)


def numbered(labels: LabelMap, names: dict[int, str]) -> LabelMap:
    """The label map in a data set's own numbering (bone by id); bones it does not number are left out."""
    table = np.zeros(256, np.uint16)
    for number, name in names.items():
        table[bone(name).bone_id] = number
    data = table[labels.data]
    return LabelMap(data.astype(np.uint8) if data.max(initial=0) < 256 else data, labels.grid)


def turned(data: NDArray, grid: Grid, codes: str) -> tuple[NDArray, Grid]:
    """The same voxels stored with axes towards e.g. `LPS` or `PIR`."""
    into = nib.orientations.axcodes2ornt(tuple(codes))
    have = nib.orientations.io_orientation(grid.world_from_voxel)
    change = nib.orientations.ornt_transform(have, into)
    affine = grid.world_from_voxel @ nib.orientations.inv_ornt_aff(change, data.shape)
    out = np.ascontiguousarray(nib.orientations.apply_orientation(data, change))
    return out, Grid.from_affine(out.shape, affine)


def write_ct(path: Path, ct: Volume, codes: str = "RAS") -> Path:
    """Write a CT with its axes stored as `codes`."""
    return write_volume(path, Volume(*turned(ct.data.astype(np.int16), ct.grid, codes)))


def write_bones(path: Path, labels: LabelMap, codes: str = "RAS") -> Path:
    """Write a label map with its axes stored as `codes`."""
    return write_labels(path, LabelMap(*turned(labels.data, labels.grid, codes)))


def write_mask(path: Path, labels: LabelMap, name: str, codes: str = "RAS") -> Path:
    """Write the mask of one bone, 0 and 1."""
    return write_bones(path, LabelMap((labels.data == BONES[name].bone_id).astype(np.uint8), labels.grid), codes)


# ---- faults: each takes a sound scan and gives a faulty one ------------------------------------------------


def without(scan: Pairing, *names: str) -> Pairing:
    """Some bones are not labelled."""
    gone = [bone(name).bone_id for name in names]
    return scan[0], LabelMap(np.where(np.isin(scan[1].data, gone), 0, scan[1].data).astype(np.uint8), scan[1].grid)


def swapped(scan: Pairing, first: str, second: str) -> Pairing:
    """Two bones have each other's id."""
    a, b = bone(first).bone_id, bone(second).bone_id
    table = np.arange(256, dtype=np.uint8)
    table[[a, b]] = b, a
    return scan[0], LabelMap(table[scan[1].data], scan[1].grid)


def renamed(scan: Pairing, names: dict[str, str]) -> Pairing:
    """Bones under other names; those not named keep theirs, or are lost where another takes it."""
    table = np.arange(256, dtype=np.uint8)
    table[[bone(new).bone_id for new in names.values()]] = 0
    for old, new in names.items():
        table[bone(old).bone_id] = bone(new).bone_id
    return scan[0], LabelMap(table[scan[1].data], scan[1].grid)


def shrunk(scan: Pairing, name: str, keep: float) -> Pairing:
    """Only the topmost `keep` of a bone's voxels are labelled."""
    data = scan[1].data.copy()
    where = np.argwhere(data == bone(name).bone_id)
    order = np.argsort(-where[:, 2], kind="stable")[int(keep * len(where)) :]
    data[tuple(where[order].T)] = 0
    return scan[0], LabelMap(data, scan[1].grid)


def cropped_right(scan: Pairing, name: str) -> Pairing:
    """The scan ends in the middle of a bone, on the patient's right."""
    end = int(np.argwhere(scan[1].data == bone(name).bone_id)[:, 0].mean())
    return _cut(scan, slice(0, end))


def _cut(scan: Pairing, part: slice) -> Pairing:
    hu, ids = scan[0].data[part].copy(), scan[1].data[part].copy()
    grid = Grid(hu.shape, scan[0].grid.spacing_mm, scan[0].grid.origin_mm)
    return Volume(hu, grid), LabelMap(ids, grid)


def thick_slices(scan: Pairing) -> Pairing:
    """Every second slice, its voxels split in 4 x 4: slices eight times as thick as their voxels are wide."""
    grid = scan[0].grid
    hu, ids = (np.repeat(np.repeat(v[:, :, ::2], 4, 0), 4, 1) for v in (scan[0].data, scan[1].data))
    fine = (grid.spacing_mm[0] / 4, grid.spacing_mm[1] / 4, 2 * grid.spacing_mm[2])
    shift = np.array([-1.5 * fine[0], -1.5 * fine[1], 0.0])
    flat = Grid(hu.shape, fine, tuple(np.array(grid.origin_mm) + shift))
    return Volume(hu, flat), LabelMap(ids, flat)


def with_metal(scan: Pairing, name: str) -> Pairing:
    """A steel cube sits in the middle of a bone."""
    hu = scan[0].data.copy()
    i, j, k = np.argwhere(scan[1].data == bone(name).bone_id).mean(0).astype(int)
    hu[i - 1 : i + 2, j - 1 : j + 2, k - 1 : k + 2] = 3071
    return Volume(hu, scan[0].grid), scan[1]


def hollow(scan: Pairing, name: str) -> Pairing:
    """A bone labelled as its outer voxels alone, as thresholding the cortex gives it."""
    inside = ndimage.binary_erosion(scan[1].data == bone(name).bone_id, np.ones((3, 3, 3)))
    return scan[0], LabelMap(np.where(inside, 0, scan[1].data).astype(np.uint8), scan[1].grid)


def mirrored(scan: Pairing, axis: int = 1) -> Pairing:
    """Voxels reversed along an axis under an unchanged header."""
    hu, ids = np.flip(scan[0].data, axis), np.flip(scan[1].data, axis)
    return (
        Volume(np.ascontiguousarray(hu), scan[0].grid),
        LabelMap(np.ascontiguousarray(ids), scan[1].grid),
    )


def scaled(scan: Pairing, factor: float) -> Pairing:
    """The header states a spacing that is wrong by `factor`."""
    grid = scan[0].grid
    x, y, z = (factor * s for s in grid.spacing_mm)
    wrong = Grid(grid.shape, (x, y, z), grid.origin_mm)
    return Volume(scan[0].data, wrong), LabelMap(scan[1].data, wrong)


def shifted(scan: Pairing, voxels: int = 9) -> Pairing:
    """Labels that lie beside the bones of this CT."""
    return scan[0], LabelMap(np.roll(scan[1].data, voxels, axis=(0, 1, 2)), scan[1].grid)


def other_grid(scan: Pairing) -> Pairing:
    """Labels with a slice less than the CT."""
    grid = scan[1].grid
    data = scan[1].data[:, :, :-1].copy()
    return scan[0], LabelMap(data, Grid(data.shape, grid.spacing_mm, grid.origin_mm))


def broken_files(good_ct: Path) -> dict[str, bytes]:
    """What can lie where a CT should: the bytes of a bad file by the name of its fault."""
    raw = gzip.decompress(good_ct.read_bytes())
    image = nib.Nifti1Image.from_bytes(raw)
    shape = image.shape

    def packed(data: NDArray, **header: object) -> bytes:
        made = nib.Nifti1Image(data, image.affine)
        for key, value in header.items():
            made.header[key] = value
        return gzip.compress(made.to_bytes(), mtime=0)

    singular = bytearray(raw)
    # srow_y repeats srow_x: the two first axes of the volume run in one direction
    singular[296:312] = singular[280:296]
    zero = bytearray(raw)
    zero[280:328] = bytes(48)  # no sform ...
    zero[76:92] = np.array([1, 0, 0, 0], "<f4").tobytes()  # ... and a pixdim of 0
    zero[252:256] = bytes(4)  # neither qform nor sform is stated
    colour = np.zeros(shape, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    return {
        "truncated": good_ct.read_bytes()[: good_ct.stat().st_size // 2],
        "wrong_magic": gzip.compress(raw[:344] + b"nope" + raw[348:], mtime=0),
        "four_dimensional": packed(np.zeros((*shape[:2], 4, 3), np.int16)),
        "rgb": packed(colour),
        "zero_spacing": gzip.compress(bytes(zero), mtime=0),
        "singular_affine": gzip.compress(bytes(singular), mtime=0),
        "empty_file": b"",
    }


def put(path: Path, content: bytes) -> Path:
    """Write bytes."""
    return write_atomic(path, lambda file: file.write_bytes(content))


def spine_levels(labels: LabelMap) -> list[str]:
    """The labelled vertebrae from the head down."""
    present = set(labels.ids)
    return [name for name in VERTEBRAE if bone(name).bone_id in present]


def shaped_scan(
    shapes: dict[str, list[Primitive]], *, hu: float = 700.0, half_mm: float = 120.0, voxels: int = 40
) -> Pairing:
    """CT and labels of a body that holds these shapes, for structures without a phantom of their own."""
    material = Material(hu, hu * 0.6, 3.0, hu * 0.6, 3.0)
    scene = Scene(
        target="",
        solids=tuple(Solid(name, tuple(parts), material) for name, parts in shapes.items()),
        outline=Outline((0.0, 0.0), (0.9 * half_mm, 0.7 * half_mm), 10.0, 40.0, 5.0, 11),
        blobs=(),
        truth=(),
        landmarks=(),
    )
    grid = Grid.cube(voxels, 2 * half_mm)
    ct, ids = rasterise(scene, grid)
    return Volume(ct, grid), LabelMap(ids, grid)
