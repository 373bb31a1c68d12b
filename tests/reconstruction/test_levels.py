"""One spine from whole films, vertebra by vertebra."""

import json

import numpy as np
import pytest

from boneray.core.bones import bone
from boneray.core.camera import orbit_camera
from boneray.core.errors import DataError, InputError
from boneray.core.grid import Grid
from boneray.core.seeds import generator
from boneray.core.volume import LabelMap
from boneray.datasets.phantom import phantom_case
from boneray.geometry.resample import resample_labels
from boneray.io.case_folder import read_case
from boneray.reconstruction.levels import composed, meeting, read_regions, spine_from_levels
from tests.reconstruction import films

LEVELS = ("L4", "L3", "L2")


def test_rays_through_centroids_meet_at_the_bone():
    cameras = {"ap": orbit_camera(0.0), "lat": orbit_camera(80.0, cranial_deg=10.0)}
    point = np.array([12.0, -7.0, 40.0])
    pixels = {view: tuple(camera.project(point)) for view, camera in cameras.items()}
    found, apart = meeting(cameras, pixels)
    np.testing.assert_allclose(found, point, atol=1e-6)
    assert apart < 1e-6
    column, row = pixels["lat"]
    _, apart = meeting(cameras, {**pixels, "lat": (column, row + 20.0)})
    assert 5.0 < apart < 15.0  # 20 pixels of 1.5 mm, magnified 1.5, shared by two rays: 10 mm
    with pytest.raises(DataError, match="from different sides"):
        meeting({"ap": cameras["ap"]}, {"ap": pixels["ap"]})


def test_overlapping_levels_are_shared_at_the_nearer_centre():
    grids = [Grid.cube(10, 20.0, (0.0, 0.0, z)) for z in (0.0, 12.3)]
    parts = [
        LabelMap(np.full((10, 10, 10), bone(n).bone_id, np.uint8), g) for n, g in zip(("L3", "L2"), grids, strict=True)
    ]
    spine = composed(parts, [g.centre_mm for g in grids])
    assert spine.grid.shape == (10, 10, 16)  # 12.3 mm are 6 voxels of 2 mm
    column = spine.data[5, 5]
    # centres at 0 and 12.3: the border lies at 6.15 mm, voxels start at -9 mm every 2 mm: 8 below it
    np.testing.assert_array_equal(column, [bone("L3").bone_id] * 8 + [bone("L2").bone_id] * 8)


def test_regions_are_read_or_refused(tmp_path):
    file = tmp_path / "roi.json"
    file.write_text(json.dumps({"levels": {"L3": {"ap": [10, 20], "lat": {"box": [0, 10, 20, 50]}}}}))
    assert read_regions(file, ["ap", "lat"]) == {"L3": {"ap": (10.0, 20.0), "lat": (10.0, 30.0)}}
    for text, says in (
        ("{}", "no .levels."),
        ('{"levels": {"L9": {"ap": [1, 2]}}}', "L9"),
        ('{"levels": {"L3": {"lat": [1, 2]}}}', "each view"),
        ('{"levels": {"L3": {"ap": [1, 2, 3]}}}', "neither a centroid nor a box"),
        ('{"levels": {"L3": {"ap": [1, NaN]}}}', "neither a centroid nor a box"),
    ):
        file.write_text(text)
        with pytest.raises(InputError, match=says):
            read_regions(file, ["ap"])


def test_a_phantom_spine_is_composed_in_the_world(tmp_path, boneray):
    """Whole films of a spine; each level must lie where it lies in the patient."""
    case = phantom_case("spine", seed=31, number=0, voxels=128, pixels=512)
    files = films.dicom_films(tmp_path, case.radiographs)
    places, centres = {}, {}
    for level in LEVELS:
        index = np.argwhere(case.labels.data == bone(level).bone_id)
        centres[level] = case.labels.grid.to_world(index.mean(0))
        places[level] = {v: list(r.camera.project(centres[level])) for v, r in case.radiographs.items()}
    (tmp_path / "roi.json").write_text(json.dumps({"levels": places}))
    done = boneray("reconstruct", "--ap", files["ap"], "--lat", files["lat"], "--roi", tmp_path / "roi.json",
                   "--checkpoint", "raylift_tiny_vertebra", "--out", tmp_path / "out", "--json")  # fmt: skip
    assert done.code == 0, done.err
    spine = read_case(tmp_path / "out")
    assert spine.anatomy == "spine" and spine.labels is not None
    assert set(json.loads(done.out)["bones"]) == set(LEVELS)
    for level in LEVELS:
        index = np.argwhere(spine.labels.data == bone(level).bone_id)
        found = spine.labels.grid.to_world(index)
        assert np.linalg.norm(found.mean(0) - centres[level]) < 6.0
        at = np.round(case.labels.grid.to_index(found)).astype(int)
        inside = ((at >= 0) & (at < case.labels.grid.shape)).all(1)
        right = case.labels.data[tuple(at[inside].T)] == bone(level).bone_id
        volume = spine.labels.grid.voxel_volume_mm3 * len(index)
        true = case.labels.grid.voxel_volume_mm3 * (case.labels.data == bone(level).bone_id).sum()
        overlap = 2 * spine.labels.grid.voxel_volume_mm3 * right.sum() / (volume + true)
        assert overlap > 0.8, (level, overlap)


@pytest.mark.slow
def test_levels_of_many_phantom_spines():
    """L4, L3 and L2 of eight spines, their centres 6 mm off at random: the mean Dice of the composed spines."""
    found = []
    for number in range(8):
        case = phantom_case("spine", seed=31, number=number, voxels=128, pixels=512)
        rng = generator(31, "centres", number)
        places = {}
        for level in LEVELS:
            centre = case.labels.grid.to_world(np.argwhere(case.labels.data == bone(level).bone_id).mean(0))
            centre = centre + rng.uniform(-3.5, 3.5, 3)
            places[level] = {v: tuple(r.camera.project(centre)) for v, r in case.radiographs.items()}
        spine, _ = spine_from_levels(films.reconstructor("raylift_tiny_vertebra"), case.radiographs, places)
        on_it = resample_labels(spine, case.labels.grid)
        for level in LEVELS:
            a, b = (m.data == bone(level).bone_id for m in (case.labels, on_it))
            found.append(2.0 * (a & b).sum() / (a.sum() + b.sum()))
    assert np.mean(found) > 0.85, np.round(found, 2)
