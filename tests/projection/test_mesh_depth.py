"""Depth of surfaces cast along true rays, against closed forms; points, surfaces and volumes made of it."""

import numpy as np
import pytest
import trimesh
from scipy import ndimage

from boneray.core.bones import BONES
from boneray.core.camera import orbit_camera
from boneray.core.errors import DataError, GeometryError
from boneray.core.grid import Grid
from boneray.core.mesh import Mesh
from boneray.core.volume import LabelMap
from boneray.geometry.depth_surface import pixel_rays, surface_of_depth, volume_of_depth_mm3
from boneray.geometry.mesh_distance import mesh_assd_mm
from boneray.geometry.surface import bone_mesh
from boneray.geometry.triangle_tree import TriangleTree, open_edges
from boneray.phantom.patient import make_patient
from boneray.projection.depth import depth_maps
from boneray.projection.mesh_depth import hidden_share, mesh_depth_maps

CENTRE = np.array([5.0, -8.0, 3.0])
BALL_MM, RING_MM, TUBE_MM = 60.0, 50.0, 18.0
CAMERA = orbit_camera(20.0, cranial_deg=10.0, detector_shape=(256, 256), detector_mm=(300.0, 300.0))


def as_mesh(body, shift=CENTRE):
    return Mesh(np.asarray(body.vertices, float) + shift, np.asarray(body.faces, np.int64))


def ball_depths(camera, radius=BALL_MM):
    start, along = pixel_rays(camera)
    middle = ((CENTRE - start) * along).sum(-1)
    half2 = radius**2 - (((CENTRE - start) ** 2).sum(-1) - middle**2)
    half = np.sqrt(np.where(half2 > 0, half2, np.nan))
    return middle - half, middle + half


def torus_depths(camera):
    """Smallest and largest real root of the quartic of a ray and a torus about the world's z."""
    start, along = pixel_rays(camera)
    offset, d = (start - CENTRE).reshape(-1, 3), along.reshape(-1, 3)
    near = -(offset * d).sum(1)
    p = offset + near[:, None] * d  # counted from the point nearest to the centre: well conditioned
    b, a = (p * d).sum(1), (p**2).sum(1) + RING_MM**2 - TUBE_MM**2
    four = 4 * RING_MM**2
    rows = np.stack(
        [
            np.ones_like(b),
            4 * b,
            2 * a + 4 * b * b - four * (d[:, 0] ** 2 + d[:, 1] ** 2),
            4 * a * b - 2 * four * (p[:, 0] * d[:, 0] + p[:, 1] * d[:, 1]),
            a * a - four * (p[:, 0] ** 2 + p[:, 1] ** 2),
        ],
        axis=1,
    )
    out = np.full((2, len(b)), np.nan)
    for n in np.flatnonzero((p**2).sum(1) < (RING_MM + TUBE_MM) ** 2):
        roots = np.roots(rows[n])
        real = roots[np.abs(roots.imag) < 1e-6].real
        if len(real):
            out[:, n] = near[n] + real.min(), near[n] + real.max()
    return out.reshape(2, *camera.detector_shape)


def inside_rim(front, back, *, pixels):
    """Pixels at least so far from the outline and from every jump of either true depth."""
    ok = np.isfinite(front)
    for depth in (front, back):
        step = np.maximum(
            ndimage.maximum_filter(np.nan_to_num(depth, nan=-1e9), 3) - depth,
            depth + ndimage.maximum_filter(-np.nan_to_num(depth, nan=1e9), 3),
        )
        ok &= ~(step > 10.0)
    return ndimage.binary_erosion(ok, iterations=pixels)


def rmse(maps, front, back, kept):
    errors = np.concatenate([(maps.front_mm[0] - front)[kept], (maps.back_mm[0] - back)[kept]])
    assert np.isfinite(errors).all() and kept.sum() > 4000
    return float(np.sqrt(np.mean(errors**2)))


@pytest.mark.parametrize("body", ["ball", "torus"])
def test_depth_of_a_ball_and_a_torus_is_that_of_the_closed_form(body):
    if body == "ball":
        front, back = ball_depths(CAMERA)
        mesh = as_mesh(trimesh.creation.icosphere(6, BALL_MM))
    else:
        front, back = torus_depths(CAMERA)
        mesh = as_mesh(trimesh.creation.torus(RING_MM, TUBE_MM, major_sections=320, minor_sections=128))
    maps = mesh_depth_maps({1: mesh}, CAMERA)
    assert (maps.valid[0] != np.isfinite(front)).sum() <= 3  # only rays that graze
    assert rmse(maps, front, back, inside_rim(front, back, pixels=1)) <= 0.02  # asked: 0.05

    grid = Grid.cube(160, 160.0)
    w = grid.to_world(np.moveaxis(np.mgrid[:160, :160, :160], 0, -1)) - CENTRE
    if body == "ball":
        filled = (w**2).sum(-1) <= BALL_MM**2
    else:
        filled = (np.hypot(w[..., 0], w[..., 1]) - RING_MM) ** 2 + w[..., 2] ** 2 <= TUBE_MM**2
    labels = LabelMap(filled.astype(np.uint8), grid)
    cut = mesh_depth_maps({1: bone_mesh(labels, 1)}, CAMERA)
    assert rmse(cut, front, back, inside_rim(front, back, pixels=1)) <= 0.25  # asked of 1 mm labels: 0.4
    walked = rmse(depth_maps(labels, CAMERA), front, back, inside_rim(front, back, pixels=2))
    assert walked < 0.5  # without a surface in between: half a voxel


def test_a_box_in_a_parallel_beam_by_hand():
    """10 x 20 x 30 mm seen from the front: depth 990 to 1010 from the camera's plane, 10 x 30 pixels of 1 mm."""
    box = as_mesh(trimesh.creation.box((10.0, 20.0, 30.0)), 0.0)
    camera = orbit_camera(0.0, kind="parallel", detector_shape=(40, 40), detector_mm=(40.0, 40.0))
    maps = mesh_depth_maps({7: box}, camera)
    assert maps.valid.sum() == 300
    np.testing.assert_allclose(maps.front_mm[maps.valid], 990.0, atol=1e-4)
    np.testing.assert_allclose(maps.thickness_mm[maps.valid], 20.0, atol=1e-4)
    assert maps.volumes_mm3(camera)[0] == pytest.approx(6000.0, rel=1e-6)
    assert np.isnan(maps.thickness_mm[~maps.valid]).all()
    surface = maps.surfaces(camera)[0]
    assert open_edges(surface) == 0
    assert surface.volume_mm3 == pytest.approx(9 * 20 * 29, rel=1e-5)  # between the pixel centres


def test_volume_of_a_ball_from_its_thickness():
    front, back = ball_depths(CAMERA)
    assert volume_of_depth_mm3(front, back, CAMERA) == pytest.approx(4 / 3 * np.pi * BALL_MM**3, rel=2e-3)


def test_a_surface_of_depth_is_closed_also_where_squares_touch_at_a_corner():
    valid = np.zeros((12, 12), bool)
    valid[1:5, 1:5] = valid[4:8, 4:8] = True  # share the pixel (4, 4) only
    valid[1:4, 7:11] = True
    camera = orbit_camera(0.0, detector_shape=(12, 12), detector_mm=(120.0, 120.0))
    front = np.where(valid, 950.0, np.nan)
    surface = surface_of_depth(front, front + 30.0, camera)
    assert open_edges(surface) == 0 and surface.volume_mm3 > 0
    assert len(surface.vertices_mm) == 2 * (16 + 16 + 12)  # the shared pixel counts twice
    # 24 squares of 10 mm at the detector; 30 mm thick; nearer by 965/1500: 24 * (10 * 965 / 1500)^2 * 30
    assert surface.volume_mm3 == pytest.approx(24 * (10 * 965 / 1500) ** 2 * 30, rel=3e-3)
    with pytest.raises(DataError, match="no square of four pixels"):
        surface_of_depth(np.full((12, 12), np.nan), front, camera)


def test_a_phantom_hip_from_its_depth_maps():
    case = make_patient("pelvis", seed=1, number=0, voxels=160)
    bone = BONES["hip_right"].bone_id
    mesh = bone_mesh(case.labels, bone)
    camera = orbit_camera(0.0, detector_shape=(256, 256), detector_mm=(420.0, 420.0))
    tree = TriangleTree.of(mesh)
    maps = mesh_depth_maps({bone: mesh}, camera)
    assert tree.nearest(maps.points(camera)[0]).distance_mm.mean() <= 0.001
    assert tree.nearest(depth_maps(case.labels, camera, (bone,)).points(camera)[0]).distance_mm.mean() <= 0.3
    front = maps.points(camera, faces="front")[0]
    assert len(front) == maps.valid.sum() and 2 * len(front) == len(maps.points(camera)[0])
    surface = maps.surfaces(camera)[0]
    assert open_edges(surface) == 0
    assert 0.05 < hidden_share(mesh, camera) < 0.25
    assert mesh_assd_mm(mesh, surface) < 1.0
    assert 1.0 < maps.volumes_mm3(camera)[0] / mesh.volume_mm3 < 1.2  # gaps between the faces count as bone


@pytest.mark.parametrize("camera", [CAMERA, orbit_camera(33.0, kind="parallel")])
def test_nothing_of_a_ball_is_hidden_and_the_inside_of_a_hollow_one_is(camera):
    outer = as_mesh(trimesh.creation.icosphere(4, 60.0))
    inner = as_mesh(trimesh.creation.icosphere(4, 40.0))
    assert hidden_share(outer, camera) == 0.0
    count = len(outer.vertices_mm)
    both = np.concatenate([outer.vertices_mm, inner.vertices_mm])
    shell = Mesh(both, np.concatenate([outer.faces, inner.faces[:, ::-1] + count]))
    assert hidden_share(shell, camera) == pytest.approx(40**2 / (40**2 + 60**2), rel=1e-6)


def test_maps_are_moved_to_a_common_depth():
    front = np.array([[[100.0, np.nan]], [[200.0, 300.0]]], np.float32)
    from boneray.projection.depth import DepthMaps

    moved = DepthMaps((1, 2), front, front + 20).centred(1000.0)
    np.testing.assert_allclose(moved.front_mm[1] - front[1], 1000.0 - 210.0)
    np.testing.assert_allclose(moved.thickness_mm[1], 20.0)
    with pytest.raises(DataError, match="no pixel"):
        DepthMaps((1,), front[:1] * np.nan, front[:1] * np.nan).centred(1.0)


def test_nearest_points_and_rays_agree_with_trimesh():
    body = trimesh.creation.torus(RING_MM, TUBE_MM, major_sections=24, minor_sections=12)
    mesh = as_mesh(body, 0.0)
    points = np.random.default_rng(0).uniform(-90, 90, (200, 3))
    near = TriangleTree.of(mesh).nearest(points)
    corners = mesh.vertices_mm[mesh.faces]
    want = [
        np.linalg.norm(
            trimesh.triangles.closest_point(corners, np.broadcast_to(p, (len(corners), 3))) - p, axis=1
        ).min()
        for p in points
    ]
    np.testing.assert_allclose(near.distance_mm, want, atol=1e-9)
    np.testing.assert_allclose(near.weights.sum(1), 1.0)
    far = mesh.vertices_mm * 2 + 3
    np.testing.assert_array_equal(
        TriangleTree.of(mesh).moved(far).nearest(points).distance_mm,
        TriangleTree.of(Mesh(far, mesh.faces)).nearest(points).distance_mm,
    )


def test_bad_input_is_one_line():
    ball = as_mesh(trimesh.creation.icosphere(2, BALL_MM))
    with pytest.raises(DataError, match="not closed \\(3 open edges\\)"):
        mesh_depth_maps({53: Mesh(ball.vertices_mm, ball.faces[1:])}, CAMERA)
    short = orbit_camera(0.0, source_object_mm=1000.0, source_detector_mm=900.0)
    with pytest.raises(GeometryError, match="beyond the detector at 900 mm"):
        mesh_depth_maps({53: ball}, short)
    with pytest.raises(GeometryError, match="behind the source"):
        mesh_depth_maps({53: ball}, orbit_camera(0.0, source_object_mm=30.0))
    with pytest.raises(DataError, match="at least one bone"):
        mesh_depth_maps({}, CAMERA)
    with pytest.raises(GeometryError, match="does not fit its camera"):
        surface_of_depth(np.ones((3, 3)), np.ones((3, 3)), CAMERA)
    with pytest.raises(DataError, match="without triangles"):
        TriangleTree.of(Mesh(ball.vertices_mm, ball.faces[:0]))
