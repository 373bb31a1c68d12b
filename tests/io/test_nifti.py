"""NIfTI in and out: axis orders, labels that are no labels, damaged files."""

import gzip
import itertools

import nibabel as nib
import numpy as np
import pytest

from boneray.core.errors import DataError, InputError
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap, Volume
from boneray.io.nifti import read_hounsfield, read_labels, read_volume, write_labels, write_volume

GRID = Grid((4, 5, 6), (1.0, 2.0, 3.0), (-3.0, 7.0, 11.0))


def test_any_of_the_48_axis_orders_reads_as_the_same_volume(tmp_path):
    data = np.arange(120, dtype=np.float32).reshape(GRID.shape)
    count = 0
    for order in itertools.permutations(range(3)):
        for flips in itertools.product((False, True), repeat=3):
            affine = GRID.world_from_voxel[:, [*order, 3]]
            stored = np.transpose(data, order)
            for axis in range(3):
                if flips[axis]:
                    affine[:3, 3] += affine[:3, axis] * (stored.shape[axis] - 1)
                    affine[:3, axis] *= -1
                    stored = np.flip(stored, axis)
            nib.save(nib.Nifti1Image(stored, affine), tmp_path / "v.nii.gz")
            got = read_volume(tmp_path / "v.nii.gz")
            assert np.array_equal(got.data, data) and got.grid.matches(GRID)
            count += 1
    assert count == 48


def test_labels_come_back_with_their_grid_and_the_same_bytes(tmp_path):
    labels = LabelMap(np.random.default_rng(0).integers(0, 55, GRID.shape).astype(np.uint8), GRID)
    first = write_labels(tmp_path / "a.nii.gz", labels).read_bytes()
    assert write_labels(tmp_path / "b.nii.gz", labels).read_bytes() == first
    back = read_labels(tmp_path / "a.nii.gz")
    assert np.array_equal(back.data, labels.data) and back.grid.matches(GRID) and back.data.dtype == np.uint8


def test_labels_stored_as_floats_are_labels_and_fractions_are_not(tmp_path):
    whole = np.zeros(GRID.shape, np.float32)
    whole[0, 0, 0] = 3
    write_volume(tmp_path / "whole.nii.gz", Volume(whole, GRID))
    assert read_labels(tmp_path / "whole.nii.gz").ids == (3,)
    write_volume(tmp_path / "part.nii.gz", Volume(whole + 0.5, GRID))
    with pytest.raises(DataError, match="fractions"):
        read_labels(tmp_path / "part.nii.gz")
    write_volume(tmp_path / "ct.nii.gz", Volume((whole - 1000).astype(np.int16), GRID))
    with pytest.raises(DataError, match="-1000"):
        read_labels(tmp_path / "ct.nii.gz")


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x1f\x8b\x08\x00broken"])
def test_what_is_no_nifti_is_one_clear_line(tmp_path, content):
    file = tmp_path / "bad.nii.gz"
    file.write_bytes(content)
    with pytest.raises(InputError, match="not a readable NIfTI") as caught:
        read_volume(file)
    assert "\n" not in str(caught.value)


def test_a_cut_off_file_is_refused(tmp_path):
    file = write_volume(tmp_path / "v.nii.gz", Volume(np.random.default_rng(0).random(GRID.shape, np.float32), GRID))
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(InputError):
        read_volume(file)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.nii"):
        read_volume(tmp_path / "nothing.nii")


def test_a_ct_keeps_whole_numbers_and_scaled_ones_become_floats(tmp_path):
    data = np.arange(-60, 60, dtype=np.int16).reshape(GRID.shape)
    write_volume(tmp_path / "ct.nii.gz", Volume(data, GRID))
    ct = read_hounsfield(tmp_path / "ct.nii.gz")
    assert ct.data.dtype == np.int16 and np.array_equal(ct.data, data)
    scaled = nib.Nifti1Image(data, GRID.world_from_voxel)
    scaled.header.set_slope_inter(2.0, -1024.0)
    nib.save(scaled, tmp_path / "scaled.nii.gz")
    ct = read_hounsfield(tmp_path / "scaled.nii.gz")
    assert ct.data.dtype == np.float32
    assert np.array_equal(ct.data, read_volume(tmp_path / "scaled.nii.gz").data)


@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<u1", "<f4", ">f8"])
@pytest.mark.parametrize("slope", [None, 0.5])
def test_packed_files_read_as_nibabel_reads_them(tmp_path, dtype, slope):
    image = nib.Nifti1Image(np.arange(120).reshape(GRID.shape).astype(dtype), GRID.world_from_voxel)
    image.header.set_data_dtype(dtype)
    if slope:
        image.header.set_slope_inter(slope, -3.0)
    nib.save(image, tmp_path / "v.nii.gz")
    expected = np.asanyarray(nib.load(tmp_path / "v.nii.gz").dataobj)
    assert np.array_equal(read_volume(tmp_path / "v.nii.gz").data, expected)
    assert np.array_equal(read_hounsfield(tmp_path / "v.nii.gz").data, expected)


def test_a_packed_file_may_have_members_and_something_behind_but_no_damage(tmp_path):
    data = np.random.default_rng(0).integers(-1000, 1000, (40, 50, 60)).astype(np.int16)
    raw = nib.Nifti1Image(data, np.eye(4)).to_bytes()
    file = tmp_path / "v.nii.gz"
    whole = gzip.compress(raw)
    for content in (
        gzip.compress(raw[:70_001]) + gzip.compress(raw[70_001:]),
        whole + bytes(512),
        whole + b"junk",
        gzip.compress(raw + bytes(9_000_000)),
    ):
        file.write_bytes(content)
        assert np.array_equal(read_hounsfield(file).data, data)
    flipped = bytearray(whole)
    flipped[-6] ^= 1  # in the checksum
    for content in (bytes(flipped), whole[:-3], gzip.compress(raw[:-1]), whole[: len(whole) // 2]):
        file.write_bytes(content)
        with pytest.raises(InputError, match="not a readable NIfTI file"):
            read_hounsfield(file)
