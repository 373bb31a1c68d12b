"""Shape models: principal components, quality, the real femur model, fits to part of a surface."""

import numpy as np
import pytest
import trimesh

from boneray.core.camera import orbit_camera
from boneray.core.errors import BonerayError, DataError, InputError
from boneray.core.mesh import Mesh
from boneray.core.seeds import generator
from boneray.geometry.mesh_distance import mesh_assd_mm, vertex_areas_mm2
from boneray.io.meshes import read_mesh
from boneray.projection.mesh_depth import mesh_depth_maps
from boneray.shape.correspondence import (
    CorrespondenceSettings,
    aligned,
    corresponded,
    correspondence_error_mm,
    model_of_surfaces,
)
from boneray.shape.files import gias2_members, read_shape_model, write_shape_model
from boneray.shape.fit import FitSettings, fit_shape
from boneray.shape.model import ShapeModel, shape_model
from boneray.shape.quality import compactness, generalisation_mm, specificity_mm
from boneray.shape.registration import coherent_point_drift, moved_by, rigid_fit, rigid_start, rotation_of
from tests.shape.phantom_femora import femora, surface

BODY = trimesh.creation.icosphere(2, 1.0)
DIRECTIONS, FACES = np.asarray(BODY.vertices, float), np.asarray(BODY.faces, np.int64)


def ellipsoid(x, y, z):
    return DIRECTIONS * (x, y, z)


@pytest.fixture(scope="module")
def thirty():
    return femora(30, voxel_mm=6.0)


@pytest.fixture(scope="module")
def real(test_data):
    folder = test_data / "ssm_femur_gias2"
    model = read_shape_model(folder / "femur.pc.npz", surface=folder / "femur_mean.ply")
    return folder, model, gias2_members(folder / "femur.pc.npz")


def test_two_ellipsoids_by_hand():
    """Axes 20 and 30 along x: mean 25, one mode, variance of the 3n numbers 5^2 * sum of x^2."""
    model = shape_model([ellipsoid(20, 10, 10), ellipsoid(30, 10, 10)], FACES)
    np.testing.assert_allclose(model.mean_mm, ellipsoid(25, 10, 10), atol=1e-12)
    assert model.mode_count == 1
    assert model.variances_mm2[0] == pytest.approx(25 * (DIRECTIONS[:, 0] ** 2).sum())
    np.testing.assert_allclose(np.abs(model.weights(ellipsoid(30, 10, 10))), 1.0)
    np.testing.assert_allclose(model.reconstructed(ellipsoid(40, 10, 10)), ellipsoid(40, 10, 10), atol=1e-10)
    np.testing.assert_allclose(model.reconstructed(ellipsoid(25, 17, 10)), ellipsoid(25, 10, 10), atol=1e-10)


def test_a_population_of_two_axes_has_two_modes_and_they_are_orthonormal():
    rng = generator(0, "ellipsoids")
    members = [ellipsoid(*axes) for axes in rng.normal((30, 20, 10), (3, 1, 0), (40, 3))]
    model = shape_model(members, FACES)
    assert model.mode_count == 2
    flat = model.modes.reshape(2, -1)
    np.testing.assert_allclose(flat @ flat.T, np.eye(2), atol=1e-12)
    total = np.var(np.array(members), axis=0).sum()
    assert model.variances_mm2.sum() == pytest.approx(total)
    assert compactness(model)[-1] == 1.0 and compactness(model)[0] == pytest.approx(model.variances_mm2[0] / total)
    curve = generalisation_mm(members, FACES)
    assert curve[0] > curve[1] > curve[2] and curve[2] <= 1e-10
    spread = specificity_mm(model, members, samples=50)
    assert spread[0] < spread[1] < 1.5
    drawn = np.array([model.weights(model.sampled(rng)) for _ in range(2000)])
    np.testing.assert_allclose(drawn.std(axis=0), 0.9866, atol=0.06)  # a normal cut at 3 SD
    assert np.abs(drawn).max() <= 3.0 and len({model.sampled(generator(1, "a")).tobytes() for _ in range(2)}) == 1


def test_rigid_fits_find_the_motion():
    rng = np.random.default_rng(0)
    points = ellipsoid(40, 20, 10) + (3 * DIRECTIONS[:, :1] ** 2) * (0, 1, 2)
    motion = np.eye(4)
    motion[:3, :3], motion[:3, 3] = rotation_of(np.array([0.4, -1.1, 2.0])), (100.0, -50.0, 7.0)
    np.testing.assert_allclose(rigid_fit(points, moved_by(motion, points)), motion, atol=1e-10)
    there = moved_by(motion, points)[rng.permutation(len(points))]
    np.testing.assert_allclose(rigid_start(points, there), motion, atol=1e-6)
    with pytest.raises(DataError, match="three pairs"):
        rigid_fit(points[:2], points[:2])


def test_coherent_point_drift_recovers_a_smooth_deformation():
    points = ellipsoid(40, 20, 15)
    bent = points + np.stack([np.zeros(len(points)), 4 * np.sin(points[:, 0] / 20), 0.002 * points[:, 0] ** 2], 1)
    drift = coherent_point_drift(points, bent[::-1], width_mm=20.0, stiffness=0.1, outliers=0.01)
    before = np.linalg.norm(bent - points, axis=1)
    after = np.linalg.norm(bent - drift(points), axis=1)
    assert before.mean() > 2.0 and after.mean() < 0.1 * before.mean()
    between = (points[FACES[:, 0]] + points[FACES[:, 1]]) / 2  # points that were not moved themselves
    true = (bent[FACES[:, 0]] + bent[FACES[:, 1]]) / 2
    assert np.linalg.norm(drift(between) - true, axis=1).mean() < 0.3
    with pytest.raises(DataError, match="four points"):
        coherent_point_drift(points[:3], bent)


def test_thirty_phantom_femora_give_a_compact_model(thirty):
    meshes, _ = thirty
    members = aligned(np.stack([mesh.vertices_mm for mesh in meshes]))
    faces = meshes[0].faces
    model = shape_model(members, faces)
    share = compactness(model)
    assert (np.diff(share) > 0).all() and share[4] > 0.85 and share[-1] == pytest.approx(1.0)
    curve = generalisation_mm(members, faces)
    assert (np.diff(curve) < 0).all() and curve[0] > 2.0 and curve[8] < 0.35 * curve[0]
    assert specificity_mm(model.truncated(8), members, samples=40)[-1] < curve[0] * 1.5


def test_the_front_half_of_a_bone_is_completed_closer_from_both_faces(thirty):
    meshes, _ = thirty
    members = aligned(np.stack([mesh.vertices_mm for mesh in meshes]))
    faces = meshes[0].faces
    camera = orbit_camera(0.0, centre_mm=members.mean((0, 1)), detector_shape=(96, 96), detector_mm=(340.0, 340.0))
    errors = []
    for out in (0, 9, 18):
        model = shape_model(np.delete(members, out, axis=0), faces)
        bone = Mesh(members[out], faces)
        cloud = mesh_depth_maps({54: bone}, camera).points(camera)[0]
        noise = 2.0 * generator(0, "noise", out).standard_normal((len(cloud), 1))  # a predicted depth is never exact
        cloud = cloud + noise * camera.central_ray
        halves = ((cloud, "both"), (cloud[: len(cloud) // 2], "front"))
        fits = [fit_shape(model, points, FitSettings(faces=faces_seen, rounds=3)) for points, faces_seen in halves]
        errors.append([mesh_assd_mm(bone, fit.mesh) for fit in fits])
    dual, single = np.array(errors).T
    assert (dual < 0.5 * single).all() and dual.max() < 0.4


def test_surfaces_without_correspondence_become_a_model(thirty):
    meshes, shapes = thirty
    target = surface(shapes[1], 4.0)
    found = corresponded(meshes[0], target, CorrespondenceSettings(points=250))
    known = correspondence_error_mm(meshes[1].vertices_mm, found)
    best = rigid_fit(meshes[0].vertices_mm, meshes[1].vertices_mm)
    unmoved = correspondence_error_mm(meshes[1].vertices_mm, moved_by(best, meshes[0].vertices_mm))
    assert mesh_assd_mm(target, Mesh(found, meshes[0].faces)) < 0.5
    assert known.mean() < unmoved.mean()
    small = [Mesh(ellipsoid(*axes), FACES) for axes in ((20, 12, 8), (24, 12, 8), (22, 13, 8))]
    model, members = model_of_surfaces(small, CorrespondenceSettings(points=120), name="ellipsoid")
    assert members.shape == (3, *DIRECTIONS.shape) and model.mode_count == 2
    laid = corresponded(small[0], small[1], CorrespondenceSettings(points=120))
    assert mesh_assd_mm(small[1], Mesh(laid, FACES)) < 0.2  # edges of 6 mm on a radius of 20: sagitta 0.2


def test_a_fit_finds_weights_and_pose_and_its_gradient_is_exact():
    from boneray.shape.fit import _Cost

    rng = generator(0, "ellipsoids")
    members = [ellipsoid(*axes) for axes in rng.normal((60, 40, 25), (6, 4, 3), (20, 3))]
    model = shape_model(members, FACES, name="ellipsoid")
    motion = np.eye(4)
    motion[:3, :3], motion[:3, 3] = rotation_of(np.array([0.05, -0.1, 0.08])), (4.0, -3.0, 2.0)
    weights = np.array([1.2, -0.8, 0.5])
    target = moved_by(motion, model.shape_mm(weights))
    fit = fit_shape(model, target, FitSettings(prior=0.0, rounds=6, steps=100))
    np.testing.assert_allclose(fit.weights, weights, atol=0.02)
    np.testing.assert_allclose(fit.world_from_model, motion, atol=0.05)
    assert fit.target_to_shape_mm < 0.05
    for faces in ("both", "front"):
        cost = _Cost(model, target[::7], FitSettings(faces=faces), motion)
        x = np.array([3.0, -2.0, 4.0, 1.0, 0.5, -1.0, 0.3, -0.2, 0.6])
        cost.freeze(x)
        slope = [(cost(x + 1e-5 * e)[0] - cost(x - 1e-5 * e)[0]) / 2e-5 for e in np.eye(len(x))]
        np.testing.assert_allclose(cost(x)[1], slope, atol=1e-5)


def test_a_strong_prior_gives_the_mean_and_a_fixed_pose_stays():
    model = shape_model([ellipsoid(20, 10, 10), ellipsoid(30, 10, 10), ellipsoid(25, 12, 10)], FACES)
    fit = fit_shape(model, ellipsoid(30, 10, 10) + 1.0, FitSettings(prior=1e6, pose=False))
    np.testing.assert_allclose(fit.weights, 0.0, atol=1e-3)
    np.testing.assert_array_equal(fit.world_from_model, np.eye(4))


def test_models_are_written_and_read_without_a_pickle(tmp_path):
    model = shape_model([ellipsoid(20, 10, 10), ellipsoid(30, 10, 10)], FACES, name="egg")
    again = read_shape_model(write_shape_model(tmp_path / "egg.npz", model))
    assert again.name == "egg"
    for key in ("mean_mm", "faces", "modes", "variances_mm2"):
        np.testing.assert_array_equal(getattr(again, key), getattr(model, key))
    np.savez(tmp_path / "evil.npz", schema=np.array([object()]))
    with pytest.raises(InputError, match="cannot be read"):
        read_shape_model(tmp_path / "evil.npz")
    np.savez(tmp_path / "other.npz", mean=np.zeros(3))
    with pytest.raises(InputError, match="neither boneray's nor gias2's"):
        read_shape_model(tmp_path / "other.npz")
    (tmp_path / "text.npz").write_text("no")
    with pytest.raises(InputError, match="cannot be read"):
        read_shape_model(tmp_path / "text.npz")


def test_bad_input_is_one_line():
    model = shape_model([ellipsoid(20, 10, 10), ellipsoid(30, 10, 10), ellipsoid(25, 12, 10)], FACES)
    cases = {
        "1 target points cannot determine 2 modes": lambda: fit_shape(model, DIRECTIONS[:1]),
        "not numbers": lambda: fit_shape(model, DIRECTIONS * np.nan),
        "has no faces": lambda: fit_shape(
            ShapeModel(model.mean_mm, FACES[:0], model.modes, model.variances_mm2), DIRECTIONS
        ),
        "ask for 1 to that many": lambda: model.truncated(3),
        "at least two": lambda: shape_model([DIRECTIONS], FACES),
        "all shapes are the same": lambda: shape_model([DIRECTIONS, DIRECTIONS], FACES),
        "correspond them first": lambda: shape_model([DIRECTIONS, DIRECTIONS[1:]], FACES),
        "not in correspondence": lambda: model.weights(DIRECTIONS[1:]),
        "not closed": lambda: corresponded(Mesh(DIRECTIONS, FACES), Mesh(DIRECTIONS, FACES[1:])),
        "leaving one out": lambda: generalisation_mm([DIRECTIONS, 2 * DIRECTIONS], FACES),
    }
    for words, call in cases.items():
        with pytest.raises(BonerayError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)


@pytest.mark.data
def test_the_real_femur_model_reconstructs_its_member_exactly(real):
    folder, model, members = real
    member = read_mesh(folder / "2008_0010_l_corresponded.ply")
    assert model.mode_count == 9 and len(model.mean_mm) == 11649 and len(model.faces) == 23294
    error = np.linalg.norm(model.reconstructed(member.vertices_mm) - member.vertices_mm, axis=1)
    assert error.max() < 1e-9
    np.testing.assert_allclose(members[2], member.vertices_mm, atol=1e-9)
    # the members give the modes back: their variance is divided by their number
    again = shape_model(members, model.faces)
    np.testing.assert_allclose(again.variances_mm2, model.variances_mm2, rtol=1e-6)


def left_out(real, number):
    _, model, members = real
    return shape_model(np.delete(members, number, axis=0), model.faces), Mesh(members[number], model.faces)


def proximal(mesh, share=0.1):
    """Vertices of the uppermost part of the surface, by area; the femur's head is up."""
    order = np.argsort(-mesh.vertices_mm[:, 2])
    area = vertex_areas_mm2(mesh)[order]
    return mesh.vertices_mm[order[np.cumsum(area) <= share * area.sum()]]


def scattered(mesh, number, share=0.1):
    count = len(mesh.vertices_mm)
    chosen = generator(0, "scattered", number).choice(count, int(share * count), replace=False)
    return mesh.vertices_mm[chosen]


@pytest.mark.data
@pytest.mark.slow
def test_ten_left_out_femora_from_a_tenth_of_their_surface(real):
    from_scattered, from_proximal = [], []
    for number in range(10):
        model, bone = left_out(real, number)
        from_scattered.append(mesh_assd_mm(bone, fit_shape(model, scattered(bone, number)).mesh))
        settings = FitSettings(pose=False)
        from_proximal.append(mesh_assd_mm(bone, fit_shape(model, proximal(bone), settings).mesh))
    assert np.median(from_scattered) <= 2.0 and max(from_scattered) < 3.0
    assert np.median(from_proximal) <= 2.3 and max(from_proximal) < 6.0


@pytest.mark.data
def test_one_left_out_femur_is_closer_than_the_mean(real):
    model, bone = left_out(real, 4)
    mean = mesh_assd_mm(bone, model.mesh())
    assert mesh_assd_mm(bone, fit_shape(model, scattered(bone, 4), FitSettings(faces="front")).mesh) < 0.4 * mean
    settings = FitSettings(pose=False, faces="front")
    assert mesh_assd_mm(bone, fit_shape(model, proximal(bone), settings).mesh) < 0.6 * mean
