"""`boneray project`: what it writes, and what it says to bad input."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from boneray.core.camera import orbit_camera
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap, Volume
from boneray.io.cameras import read_cameras, write_cameras
from boneray.io.dicom import read_dicom
from boneray.io.nifti import write_labels, write_volume
from boneray.projection.joseph import line_integrals
from boneray.projection.presets import PRESETS
from boneray.projection.render import attenuation_per_mm


@pytest.fixture(scope="module")
def body(tmp_path_factory):
    """A CT of a ball of tissue with a block of bone, in a file, and as a volume."""
    grid = Grid((40, 44, 48), (3.0, 3.0, 3.0), (-60.0, -66.0, -72.0))
    world = grid.to_world(np.moveaxis(np.mgrid[:40, :44, :48], 0, -1))
    hu = np.where((world**2).sum(-1) < 45.0**2, 40.0, -1000.0).astype(np.float32)
    hu[24:30, 20:26, 20:34] = 900.0
    labels = np.zeros(grid.shape, np.uint8)
    labels[24:30, 20:26, 20:34] = 5
    folder = tmp_path_factory.mktemp("body")
    write_volume(folder / "ct.nii.gz", Volume(hu, grid))
    write_labels(folder / "labels.nii.gz", LabelMap(labels, grid))
    return folder / "ct.nii.gz", Volume(hu, grid)


def pictures(folder) -> dict[str, np.ndarray]:
    """Line integrals by view as cameras.json says."""
    views = json.loads((folder / "cameras.json").read_text())["views"]
    return {v["name"]: np.asarray(Image.open(folder / v["file"]), float) * v["line_integral_per_grey"] for v in views}


def test_pictures_times_scale_are_the_line_integrals(boneray, body, tmp_path):
    path, ct = body
    done = boneray("project", path, "--views", "ap,lao30cra20", "--size", "96,80", "--out", tmp_path / "x")
    assert done.code == 0, done.err
    cameras = read_cameras(tmp_path / "x" / "cameras.json")
    for view, values in pictures(tmp_path / "x").items():
        want = line_integrals(attenuation_per_mm(ct.data), ct.grid, cameras[view])
        np.testing.assert_allclose(values, want, atol=want.max() / 65535)
        assert want.shape == (96, 80) and want[0].max() == want[-1].max() == 0.0  # all of it is in the picture
    assert Image.open(tmp_path / "x" / "preview.png").size[1] == 480


def test_named_distances_and_pixels_are_used(boneray, body, tmp_path):
    args = ("--sdd-mm", 1200, "--sod-mm", 800, "--pixel-mm", 2.5, "--size", 100, "--angles", "-12.5,90")
    assert boneray("project", body[0], *args, "--out", tmp_path / "x").code == 0
    cameras = read_cameras(tmp_path / "x" / "cameras.json")
    assert set(cameras) == {"-12.5", "90"} and (tmp_path / "x" / "minus12.5.png").exists()
    for camera in cameras.values():
        assert camera.pixel_mm == (2.5, 2.5) and abs(camera.source_detector_mm - 1200) < 1e-9
        assert abs(np.linalg.norm(camera.source_mm - body[1].grid.centre_mm) - 800) < 1e-9


def test_a_preset_sums_hu_and_writes_a_grey_copy(boneray, body, tmp_path):
    args = ("--preset", "swin-x2s", "--grey", "xrayto3d", "--intensity-zero", "10", "--json")
    done = boneray("project", body[0], *args, "--out", tmp_path / "x")
    written = json.loads(done.out)
    assert written["unit"] == "HU mm" and written["settings"]["preset"] == "swin-x2s"
    ap = pictures(tmp_path / "x")["ap"]
    want = 3.0 * np.maximum(body[1].data - 10.0, 0.0).sum(axis=1)
    assert abs(ap.max() - want.max()) < 1e-3 * want.max() and abs(ap.sum() - want.sum()) < 1e-3 * want.sum()
    grey = np.asarray(Image.open(tmp_path / "x" / "ap_xrayto3d.png"))
    assert grey.dtype == np.uint8 and grey.max() == 255
    assert set(PRESETS.get("swin-x2s").value.cameras(body[1].grid)) == {"ap", "lat"}


def test_bone_only_by_hu_and_by_label(boneray, body, tmp_path):
    labels = body[0].with_name("labels.nii.gz")
    for name, extra in (("hu", ()), ("label", ("--labels", labels))):
        assert boneray("project", body[0], "--bone-only", *extra, "--views", "ap", "--out", tmp_path / name).code == 0
    by_hu, by_label = (pictures(tmp_path / name)["ap"] for name in ("hu", "label"))
    np.testing.assert_array_equal(by_hu, by_label)
    assert 0 < (by_hu > 0).mean() < 0.1


def test_a_beam_hardens_and_noise_is_replayed_from_the_seed(boneray, body, tmp_path):
    quiet = ("--kvp", 80, "--views", "ap", "--size", 64)
    noisy = (*quiet, "--noise-photons", 1000, "--blur-px", 0.8, "--scatter-ratio", 0.5)
    for name, args in (("q", quiet), ("a", noisy), ("b", noisy), ("c", (*noisy, "--seed", 1))):
        assert boneray("project", body[0], *args, "--out", tmp_path / name).code == 0
    q, a, b, c = (pictures(tmp_path / name)["ap"] for name in "qabc")
    np.testing.assert_array_equal(a, b)
    assert np.abs(a - c).max() > 0.01
    with_scatter = q.max() - np.log1p(0.5 * q.max() / 4.0)  # scatter brightens what is behind the body
    assert abs(a.max() - with_scatter) < 0.2 < q.max() - with_scatter
    one_energy = line_integrals(
        attenuation_per_mm(body[1].data), body[1].grid, read_cameras(tmp_path / "q" / "cameras.json")["ap"]
    )
    through = one_energy > 0.5 * one_energy.max()
    assert np.all(q[through] > one_energy[through])  # 80 kVp is softer than 60 keV


def test_jitter_moves_cameras_the_same_way_for_one_seed(boneray, body, tmp_path):
    args = ("--jitter-deg", 5, "--jitter-mm", 3, "--size", 32, "--seed")
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert boneray("project", body[0], *args, seed, "--out", tmp_path / name).code == 0
    a, b, c = (read_cameras(tmp_path / name / "cameras.json") for name in "abc")
    assert a == b and a != c and a["ap"] != orbit_camera(0.0)


def test_dicom_comes_back_with_its_camera_and_scale(boneray, body, tmp_path):
    assert boneray("project", body[0], "--dicom", "--views", "ap", "--size", 64, "--out", tmp_path / "x").code == 0
    read = read_dicom(tmp_path / "x" / "ap.dcm").radiograph
    want = line_integrals(attenuation_per_mm(body[1].data), body[1].grid, read.camera)
    np.testing.assert_allclose(read.line_integrals, want, atol=want.max() / 65535)


def test_cameras_from_a_file_and_views_spread_evenly(boneray, body, tmp_path):
    assert boneray("project", body[0], "--spread", 3, "--size", 32, "--out", tmp_path / "a").code == 0
    assert list(read_cameras(tmp_path / "a" / "cameras.json")) == ["0", "60", "120"]
    file = tmp_path / "a" / "cameras.json"
    assert boneray("project", body[0], "--camera", file, "--out", tmp_path / "b").code == 0
    for view, values in pictures(tmp_path / "a").items():
        np.testing.assert_array_equal(values, pictures(tmp_path / "b")[view])


def test_a_cut_body_is_a_warning_that_names_the_side(boneray, body, tmp_path):
    done = boneray("project", body[0], "--views", "ap", "--size", 64, "--pixel-mm", 1.0, "--out", tmp_path / "a")
    assert done.code == 0 and "cut the body off at its left" in done.err
    ct = body[1]
    above = ct.grid.to_world([0, 0, 20])
    cut = Volume(ct.data[:, :, 20:], Grid((40, 44, 28), ct.grid.spacing_mm, tuple(above)))
    write_volume(tmp_path / "cut.nii.gz", cut)
    done = boneray("project", tmp_path / "cut.nii.gz", "--out", tmp_path / "b")
    assert done.code == 0 and "ends within the body on its inferior side" in done.err
    assert "warning:" not in boneray("project", body[0], "--out", tmp_path / "c").err


BAD = {
    ("--views", "apx"): "view 'apx' is",
    ("--views", "ap,ap"): "named twice",
    ("--views", "ap", "--angles", "0"): "only one of",
    ("--sod-mm", "1600"): "must be less than",
    ("--sod-mm", "20"): "within or beside the volume",
    ("--sod-mm", "20", "--pixel-mm", "1"): "lies inside the volume",
    ("--sdd-mm", "-1"): "positive number",
    ("--pixel-mm", "0"): "positive number",
    ("--size", "4"): "8..8192",
    ("--size", "a"): "whole number",
    ("--centre-mm", "0,3000,0"): "lies behind the detector",
    ("--centre-mm", "900,0,0", "--pixel-mm", "1"): "misses the volume",
    ("--preset", "xrayto4d"): "xrayto3d",
    ("--preset", "x2ct", "--sdd-mm", "900"): "leave out --sdd-mm",
    ("--preset", "x2ct", "--kvp", "80"): "knows no beam",
    ("--kvp", "20"): "60 to 140",
    ("--noise-photons", "100"): "need a beam",
    ("--kvp", "80", "--noise-photons", "-1"): "photons",
    ("--beam", "60KV_AL35", "--kvp", "80"): "leave out kvp",
    ("--method", "sidon"): "joseph or siddon",
    ("--grey", "xray"): "xrayto3d",
    ("--jitter-deg", "-1"): "must not be negative",
    ("--labels", "none.nii.gz"): "does not exist",
    ("--camera", "none.json"): "does not exist",
}


@pytest.mark.parametrize("arguments", BAD, ids=" ".join)
def test_bad_input_is_one_line_and_leaves_nothing(boneray, body, tmp_path, arguments):
    done = boneray("project", body[0], *arguments, "--out", tmp_path / "x")
    assert done.code == 2 and len(done.err.strip().splitlines()) == 1
    assert re.search(BAD[arguments], done.err), done.err
    assert not (tmp_path / "x").exists()


def test_bad_volumes_are_one_line(boneray, body, tmp_path):
    ct = body[1]
    bad = ct.data.copy()
    bad[3, 4, 5] = np.nan
    write_volume(tmp_path / "nan.nii.gz", Volume(bad, ct.grid))
    write_volume(tmp_path / "soft.nii.gz", Volume(np.minimum(ct.data, 100), ct.grid))
    for file, extra, words in (
        ("nan.nii.gz", (), "1 voxels that are not numbers, the first at [3, 4, 5]"),
        ("soft.nii.gz", ("--bone-only",), "no voxel is above 350 HU"),
        ("missing.nii.gz", (), "does not exist"),
    ):
        done = boneray("project", tmp_path / file, *extra, "--out", tmp_path / "x")
        assert done.code == 2 and words in done.err and len(done.err.strip().splitlines()) == 1, done.err


def test_a_result_is_not_overwritten(boneray, body, tmp_path):
    assert boneray("project", body[0], "--size", 32, "--out", tmp_path / "x").code == 0
    before = (tmp_path / "x" / "ap.png").read_bytes()
    done = boneray("project", body[0], "--size", 48, "--out", tmp_path / "x")
    assert done.code == 2 and "--force" in done.err and (tmp_path / "x" / "ap.png").read_bytes() == before
    assert boneray("project", body[0], "--size", 48, "--out", tmp_path / "x", "--force").code == 0


def test_write_cameras_keeps_what_it_is_told(tmp_path):
    write_cameras(tmp_path / "c.json", {"ap": orbit_camera(0.0)}, extra={"unit": "1"})
    assert json.loads((tmp_path / "c.json").read_text())["unit"] == "1"
