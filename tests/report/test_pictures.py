"""Pictures: pixels where geometry says they are."""

from __future__ import annotations

import io

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray
from PIL import Image

from boneray.core.camera import orbit_camera
from boneray.core.errors import ConfigError
from boneray.core.mesh import Mesh
from boneray.core.radiograph import Radiograph
from boneray.report.figures import edge_letters, path_data, view_words
from boneray.report.pictures import grey_picture, mesh_picture, radiograph_picture, scale_bar_mm
from boneray.report.shading import Viewpoint, blank, draw

FRONT = ((-1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, 1.0, 0.0))


def pixels(png: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(png)))


def ball(radius_mm: float, centre_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Mesh:
    body = trimesh.creation.icosphere(subdivisions=4, radius=radius_mm)
    return Mesh(np.array(body.vertices) + np.array(centre_mm), np.array(body.faces))


def test_a_ball_covers_the_area_of_its_disc():
    view = Viewpoint(FRONT, (0.0, 0.0, 0.0), 0.5, (200, 220))
    picture, depth = blank(view)
    draw(picture, depth, ball(20.0), (255, 255, 255), view)
    assert (picture[..., 3] > 0).sum() * 0.25 == pytest.approx(np.pi * 400, rel=0.02)
    assert depth.max() * 0.5 == pytest.approx(20.0, abs=0.1)


def test_the_nearer_ball_hides_the_farther_one_in_either_order():
    view = Viewpoint(FRONT, (0.0, 0.0, 0.0), 1.0, (41, 41))
    near, far = (ball(8.0, (0, 20, 0)), (255, 0, 0)), (ball(8.0, (0, -20, 0)), (0, 255, 0))
    for order in ((near, far), (far, near)):
        picture, depth = blank(view)
        for mesh, colour in order:
            draw(picture, depth, mesh, colour, view)
        assert picture[20, 20, 0] > 100 and picture[20, 20, 1] == 0


def test_the_front_view_shows_the_patients_left_on_the_right():
    picture, depth = blank(view := Viewpoint(FRONT, (0.0, 0.0, 0.0), 1.0, (61, 61)))
    draw(picture, depth, ball(5.0, (-20, 0, 0)), (255, 255, 255), view)
    assert picture[30, 50, 3] == 255 and picture[30, 10, 3] == 0


def test_mesh_picture_is_transparent_around_the_bones_and_empty_without_any():
    picture = pixels(mesh_picture({"hip_left": ball(20.0)}, {"hip_left": (200, 100, 50)}, height_px=120))
    assert picture.shape == (120, 240, 4)
    assert picture[60, 60, 3] == 255 and picture[2, 2, 3] == 0
    assert pixels(mesh_picture({}, {}, height_px=120)).shape == (120, 240, 4)


def test_a_colour_that_is_not_given_is_an_error_that_names_it():
    with pytest.raises(ConfigError, match="hip_left"):
        mesh_picture({"hip_left": ball(20.0)}, {}, height_px=60)


def test_radiograph_picture_keeps_the_detectors_proportions_and_draws_the_outline_where_it_is():
    camera = orbit_camera(0.0, detector_shape=(40, 40), detector_mm=(200.0, 100.0))
    square = np.array([[9.5, 9.5], [29.5, 9.5], [29.5, 29.5], [9.5, 29.5], [9.5, 9.5]])
    film = Radiograph(np.zeros((40, 40), dtype=np.float32), camera)
    picture = pixels(radiograph_picture(film, {"outline": [square]}, {"outline": (255, 0, 0)}, height_px=400))
    assert picture.shape == (400, 200, 3)
    assert picture[100, 100, 0] > 200 and picture[200, 50, 0] > 200
    assert picture[200, 100].max() == 0


def test_grey_levels_use_the_whole_range_also_with_nan_and_flat_pictures():
    camera = orbit_camera(0.0, detector_shape=(10, 10))
    ramp = np.linspace(0, 5, 100, dtype=np.float32).reshape(10, 10)
    ramp[0, 0] = np.nan
    grey = grey_picture(Radiograph(ramp, camera))
    assert grey.min() == 0 and grey.max() == 255
    assert grey_picture(Radiograph(np.full((10, 10), 3.0, dtype=np.float32), camera)).max() == 0


def test_edges_carry_the_letters_of_an_ap_and_a_lateral_film():
    assert edge_letters(orbit_camera(0.0)) == ("R", "L")
    assert edge_letters(orbit_camera(90.0)) == ("P", "A")


def test_words_bars_and_paths():
    assert [view_words(v) for v in ("ap", "lat", "75", "left_oblique")] == [
        "AP",
        "lateral",
        "75 degrees",
        "left oblique",
    ]
    assert scale_bar_mm(160.0) == 50 and scale_bar_mm(2.0) == 1
    line = np.array([[0.0, 0.0], [5.0, 0.0], [10.0, 0.0], [10.0, 10.0]])
    assert path_data([line]) == "M0.0 0.0L10.0 0.0L10.0 10.0"
