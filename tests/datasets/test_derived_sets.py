"""The sets of the papers: their regions, grids, cameras and numbers, against closed forms."""

import nibabel as nib
import numpy as np
import pytest

from boneray.core.bones import bone
from boneray.datasets.choice import chosen
from boneray.datasets.collection import prepare_collection
from boneray.datasets.miniature import phantom_scan
from boneray.datasets.registry import DATASETS
from boneray.io.case_folder import read_case, read_description
from boneray.projection.joseph import line_integrals
from boneray.projection.render import WATER_PER_MM


def made(name, raw, out, *, only=None, **given):
    entry, options = chosen(name, given=given)
    pairs = [p for p in entry.value.cases(raw, None) if only is None or only in p.case_id]
    return prepare_collection(pairs, options, name=name, out=out, rules=entry.value.rules, root=raw, single=False)


@pytest.fixture(scope="module")
def totalsegmentator(tmp_path_factory):
    root = tmp_path_factory.mktemp("totalsegmentator")
    DATASETS.get("totalsegmentator").value.write_miniature(root)
    return root


@pytest.fixture(scope="module")
def verse(tmp_path_factory):
    root = tmp_path_factory.mktemp("verse")
    DATASETS.get("verse19").value.write_miniature(root)
    return root


def test_every_set_of_the_papers_is_there():
    names = {entry.name for entry in DATASETS}
    assert {f"xrayto3d-{a}" for a in ("femur", "hip", "rib", "vertebra")} <= names
    total = {f"totalsegmentator-{a}" for a in ("femur", "pelvic", "spine", "rib", "all")}
    nine = {f"swin-x2s-{n}" for n in total | {"ctpelvic1k", "ctspine1k", "verse19", "ribseg"}}
    assert len(nine) == 9 and nine <= names and "ear-vertebra" in names


def test_xrayto3d_femur_is_its_proximal_128_mm(totalsegmentator, tmp_path):
    assert made("xrayto3d-femur", totalsegmentator, tmp_path, only="s0002")["made"] == 2
    case = read_case(tmp_path / "s0002-femur_left")
    assert case.labels.grid.shape == (128,) * 3 and case.labels.grid.spacing_mm == (1.0, 1.0, 1.0)
    # the source: centroid in x and y, and 3 source voxels of head room, since the bone is longer than 128 mm
    labels = phantom_scan("femur")[1]
    inside = labels.grid.to_world(np.argwhere(labels.data == bone("femur_left").bone_id))
    assert np.ptp(inside[:, 2]) > 128
    centre = [*inside[:, :2].mean(0), inside[:, 2].max() + 3 * labels.grid.spacing_mm[2] - 64]
    np.testing.assert_allclose(case.labels.grid.centre_mm, centre, atol=1e-3)
    for name, angle in (("ap", (0, 1000, 0)), ("lat", (1000, 0, 0))):
        camera = case.radiographs[name].camera
        assert camera.detector_shape == (128, 128) and camera.pixel_mm == pytest.approx((1.0, 1.0))
        assert camera.source_detector_mm == pytest.approx(1000.0)
        source = np.array(camera.to_dict()["world_from_camera"])[:3, 3]
        np.testing.assert_allclose(
            source - case.labels.grid.centre_mm, angle, atol=1e-4
        )  # NIfTI keeps an affine in float32


def test_xrayto3d_rib_and_hip_lie_about_their_centroid(totalsegmentator, tmp_path):
    for name, scan, size, ids in (("rib", "s0003", 320.0, range(26, 50)), ("hip", "s0001", 288.0, range(50, 53))):
        assert made(f"xrayto3d-{name}", totalsegmentator, tmp_path / name, only=scan)["made"] == 1
        grid = read_case(tmp_path / name / scan).labels.grid
        np.testing.assert_allclose(grid.size_mm, size)
        labels = phantom_scan("ribs" if name == "rib" else "pelvis")[1]
        inside = np.argwhere(np.isin(labels.data, list(ids)))
        np.testing.assert_allclose(grid.centre_mm, labels.grid.to_world(inside.mean(0)), atol=1e-3)


def test_xrayto3d_vertebra_lies_about_the_annotated_centre(verse, tmp_path):
    assert made("xrayto3d-vertebra", verse, tmp_path, only="verse004", targets=("L1",))["made"] == 1
    case = read_case(tmp_path / "sub-verse004-L1")
    assert case.labels.grid.shape == (64,) * 3 and case.labels.grid.spacing_mm == (1.5,) * 3
    assert case.labels.ids == (bone("L1").bone_id,)
    labels = phantom_scan("spine")[1]
    centre = labels.grid.to_world(np.argwhere(labels.data == bone("L1").bone_id).mean(0))
    np.testing.assert_allclose(case.labels.grid.centre_mm, centre, atol=0.01)  # the file rounds to 0.001 voxel
    assert case.groups == {
        "owner_part": "train", "level": "lumbar", "shape": "wedge", "grade": "moderate", "fracture": True,
    }  # fmt: skip
    assert case.labels_from == "semi-automatic" and case.licence == "CC-BY-SA-4.0"


def test_swin_x2s_shows_the_whole_field_of_view(totalsegmentator, tmp_path):
    assert made("swin-x2s-totalsegmentator-femur", totalsegmentator, tmp_path, only="s0002")["made"] == 1
    case = read_case(tmp_path / "s0002")
    assert case.labels.grid.shape == (128, 128, 160) and case.labels.ids == (53, 54)
    field = phantom_scan("femur")[0].grid
    spacing = max(field.size_mm / (128, 128, 160))
    np.testing.assert_allclose(case.labels.grid.spacing_mm, spacing)
    np.testing.assert_allclose(case.labels.grid.centre_mm, field.centre_mm, atol=1e-3)
    ap = case.radiographs["ap"]
    assert ap.camera.kind == "parallel" and ap.camera.detector_shape == (160, 128)
    assert ap.camera.pixel_mm == pytest.approx((spacing, spacing))
    # parallel rays through lines of voxels: the picture is the sum of HU above 0 along y, on the scale of attenuation
    sums = np.maximum(case.ct.data, 0).sum(axis=1) * spacing * WATER_PER_MM / 1000
    np.testing.assert_allclose(ap.line_integrals, sums[::-1].T[::-1], atol=2e-3 * sums.max())


def test_ear_isolates_without_stretching_and_stores_the_z_score(verse, tmp_path):
    result = made("ear-verse19", verse, tmp_path, only="verse004", targets=("L2",))
    assert result["made"] == 1
    folder = tmp_path / "sub-verse004-L2"
    case = read_case(folder)
    assert case.labels.grid.shape == (128,) * 3 and case.labels.grid.spacing_mm == (1.0,) * 3
    hu = np.asanyarray(nib.load(folder / "ct.nii.gz").dataobj).astype(float)
    labels = np.asanyarray(nib.load(folder / "labels.nii.gz").dataobj)
    assert np.all(hu[labels == 0] == -1000) and hu[labels > 0].min() > -1000
    stated = read_description(folder)["provenance"]
    assert stated["z_score"] == pytest.approx({"mean_hu": hu.mean(), "sd_hu": hu.std()})
    z = (hu - stated["z_score"]["mean_hu"]) / stated["z_score"]["sd_hu"]
    assert (z.mean(), z.std()) == pytest.approx((0.0, 1.0), abs=1e-9)
    truth = phantom_scan("spine")[1]
    inside = truth.grid.to_world(np.argwhere(truth.data == bone("L2").bone_id))
    here = case.labels.grid.to_world(np.argwhere(labels > 0))
    # never stretched: its edges lie where they lay, up to a voxel of the source
    for edge in (np.min, np.max):
        assert np.abs(edge(here, axis=0) - edge(inside, axis=0)).max() < truth.grid.spacing_mm[0]
    assert np.ptp(here[:, 0]) < 110 < 128
    assert stated["rendering"] == {"beam": "60KV_AL35", "photons_per_pixel": 1e6}
    # nothing but the vertebra is in the picture: rays beside it see air
    ap = case.radiographs["ap"]
    through = line_integrals((labels > 0).astype(np.float32), case.labels.grid, ap.camera)
    assert ap.line_integrals.shape == (128, 128) and np.abs(ap.line_integrals[through == 0]).max() < 0.01
    assert ap.line_integrals[through > 20].min() > 20 * WATER_PER_MM * 0.8  # 20 mm of at least soft tissue


def test_a_preset_and_a_data_set_name_the_derived_set():
    assert chosen("totalsegmentator", preset="xrayto3d", anatomy="femur")[0].name == "xrayto3d-femur"
    assert chosen("totalsegmentator-v1", preset="xrayto3d", anatomy="pelvis")[0].name == "xrayto3d-hip"
    assert chosen("verse19", preset="xrayto3d", anatomy="vertebra")[0].name == "xrayto3d-vertebra"
    assert chosen("totalsegmentator", preset="swin-x2s", anatomy="femur")[0].name == "swin-x2s-totalsegmentator-femur"
    assert chosen("ribseg", preset="swin-x2s")[0].name == "swin-x2s-ribseg"
    assert chosen("verse20", preset="ear")[0].name == "ear-verse20"
    entry, options = chosen("lidc", preset="xrayto3d", anatomy="vertebra")  # no paper made one: only the radiographs
    assert entry.name == "lidc" and options.preset == "xrayto3d" and options.voxels is None
    stated = chosen("lidc", given={"intensity_zero": 0.0, "resample": False, "views": ()})[1]
    assert stated.intensity_zero == 0.0 and stated.views == () and stated.licence == "CC-BY-3.0"
