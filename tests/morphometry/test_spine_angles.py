"""Angles of the spine on columns stacked with known tilts, and on the phantom's spines."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from boneray.core.bones import BONES, VERTEBRAE
from boneray.core.mesh import Mesh
from boneray.geometry.surface import bone_mesh
from boneray.morphometry.measure import measure, measure_meshes
from boneray.phantom.patient import make_patient
from tests.morphometry.patients import by_name, turned
from tests.morphometry.vertebra_bodies import VertebraBody

BODY = VertebraBody(rise_deg=2.0, fall_deg=1.0)


@pytest.fixture(scope="module")
def one():
    """One vertebra about the origin, as a mesh."""
    tilt = Rotation.from_euler("xyz", [5.0, 4.0, 3.0], degrees=True).as_matrix()
    labels = BODY.labels(1.5, rotation=tilt)
    mesh = bone_mesh(labels, BONES["L3"].bone_id)
    return Mesh(mesh.vertices_mm @ tilt, mesh.faces)


def column(mesh, names, *, forward_deg=None, side_deg=None, gap_mm=36.0):
    """Vertebrae from above, `gap_mm` apart, each tilted forwards and to the right about its own middle."""
    forward = forward_deg or [0.0] * len(names)
    side = side_deg or [0.0] * len(names)
    stack = {}
    for n, name in enumerate(names):
        # A turn about +x lifts what lies in front; a turn about +y lowers what lies on the right.
        motion = Rotation.from_euler("xy", [forward[n], -side[n]], degrees=True).as_matrix()
        stack[name] = turned(mesh, motion, (0.0, 0.0, -gap_mm * n))
    return stack


def values(stack):
    return {(m.bone, m.name): m for m in measure_meshes(stack, "spine")}


LUMBAR = ("L1", "L2", "L3", "L4", "L5")


def test_lordosis_and_segments_of_a_bent_column(one):
    tilts = [20.0, 10.0, 0.0, -10.0, -22.0]
    found = values(column(one, LUMBAR, forward_deg=tilts))
    wedge = BODY.rise_deg + BODY.fall_deg
    assert found["spine", "lumbar_lordosis_deg"].value == pytest.approx(42.0 + wedge, abs=1.0)
    for upper, first, second in zip(LUMBAR, tilts, tilts[1:], strict=False):
        assert found[upper, "segmental_angle_deg"].value == pytest.approx(first - second + wedge, abs=1.0)
    assert found["L5", "segmental_angle_deg"].status == "not_measurable"
    assert found["spine", "cobb_angle_deg"].value < 1.0


def test_kyphosis_is_positive_where_the_column_bends_forwards(one):
    names = VERTEBRAE[VERTEBRAE.index("T4") : VERTEBRAE.index("T12") + 1]
    tilts = [-16.0 + 4.0 * n for n in range(9)]
    found = values(column(one, names, forward_deg=tilts))
    assert found["spine", "thoracic_kyphosis_deg"].value == pytest.approx(32.0 - BODY.rise_deg - BODY.fall_deg, abs=1.0)
    assert "lumbar_lordosis_deg" not in {name for _, name in found}


def test_cobb_names_the_vertebrae_at_the_ends_of_the_bend(one):
    found = values(column(one, LUMBAR, side_deg=[2.0, 12.0, 0.0, -11.0, -4.0]))["spine", "cobb_angle_deg"]
    assert found.value == pytest.approx(23.0, abs=1.0)
    assert found.reason == "between L2 and L4"
    assert found.status == "ok"
    mirrored = column(one, LUMBAR, side_deg=[-2.0, -12.0, 0.0, 11.0, 4.0])
    assert values(mirrored)["spine", "cobb_angle_deg"].value == pytest.approx(found.value, abs=0.1)


@pytest.mark.parametrize("turn", [(0.3, 0.2, -0.4), (3.0, 0.4, 0.1)])
def test_angles_stay_when_the_patient_turns(one, turn):
    stack = column(one, LUMBAR, forward_deg=[20, 10, 0, -10, -22], side_deg=[3, 9, 0, -8, -2])
    motion = Rotation.from_rotvec(turn).as_matrix()
    wanted, found = values(stack), values({name: turned(mesh, motion, (9, 8, 7)) for name, mesh in stack.items()})
    for name in ("lumbar_lordosis_deg", "cobb_angle_deg"):
        assert found["spine", name].value == pytest.approx(wanted["spine", name].value, abs=1e-3)
    upside_down = "frame_implausible" in found["spine", "lumbar_lordosis_deg"].reason
    assert upside_down == (np.linalg.norm(turn) > 1)


def test_swapped_labels_are_reported(one):
    stack = column(one, ("L1", "L3", "L2", "L4", "L5"))
    told = values(stack)["spine", "lumbar_lordosis_deg"]
    assert told.status == "low_confidence"
    assert "the vertebra below L2 does not lie below it" in told.reason


def test_a_column_of_one_or_two_has_no_cobb_angle(one):
    found = values(column(one, LUMBAR[:2]))
    assert found["spine", "cobb_angle_deg"].status == "not_measurable"
    assert found["spine", "cobb_angle_deg"].reason == "2 whole vertebrae, 3 needed"
    assert found["L1", "segmental_angle_deg"].status == "ok"
    alone = values(column(one, LUMBAR[:1]))
    assert alone["L1", "segmental_angle_deg"].reason == "L2 not there"
    assert alone["spine", "lumbar_lordosis_deg"].reason == "L5 not there"


def test_an_anatomy_of_one_vertebra_has_no_angles_between(one):
    names = {m.name for m in measure_meshes({"L3": one}, "vertebra")}
    assert "wedge_angle_deg" in names
    assert not names & {"segmental_angle_deg", "cobb_angle_deg", "lumbar_lordosis_deg"}


def plate_slope_deg(case, bone, plate, frame):
    """Slope forwards of a true endplate, from the corners of the phantom's truth, in a spine's frame (up, forward)."""
    marks = {mark.name: np.array(mark.point_mm) for m in case.truth if m.bone == bone for mark in m.landmarks}
    along = marks[f"{plate}_anterior_corner"] - marks[f"{plate}_posterior_corner"]
    return np.degrees(np.arctan2(along @ frame[0], along @ frame[1]))


def true_frame(case):
    """Up and forward of the phantom's column from its true corners."""
    centres, rights = [], []
    for bone in dict.fromkeys(m.bone for m in case.truth):
        marks = {mark.name: np.array(mark.point_mm) for m in case.truth if m.bone == bone for mark in m.landmarks}
        centres.append(np.mean(list(marks.values()), axis=0))
        forward = marks["superior_anterior_corner"] - marks["superior_posterior_corner"]
        up = marks["superior_posterior_corner"] - marks["inferior_posterior_corner"]
        rights.append(np.cross(forward, up) / np.linalg.norm(np.cross(forward, up)))
    up = centres[-1] - centres[0]  # the phantom names vertebrae from below
    up /= np.linalg.norm(up)
    right = np.mean(rights, axis=0)
    right -= up * (right @ up)
    right /= np.linalg.norm(right)
    slopes = [float(np.degrees(np.arctan2(r @ up, r @ right))) for r in rights]
    return (up, np.cross(up, right)), slopes


@pytest.mark.parametrize(("deformity", "number"), [("none", 1), ("scoliosis", 0), ("scoliosis", 2)])
def test_phantom_spines(deformity, number):
    case = make_patient("spine", seed=2, number=number, voxels=160, deformity=deformity)
    found = {(m.bone, m.name): m for m in measure(case.labels, "spine")}
    frame, tilts = true_frame(case)
    lordosis = plate_slope_deg(case, "L1", "superior", frame) - plate_slope_deg(case, "L5", "inferior", frame)
    assert found["spine", "lumbar_lordosis_deg"].value == pytest.approx(lordosis, abs=5.0)
    assert found["spine", "cobb_angle_deg"].value == pytest.approx(max(tilts) - min(tilts), abs=3.0)
    bones = list(dict.fromkeys(m.bone for m in case.truth))
    for lower, upper in pairwise(bones):
        truth = plate_slope_deg(case, upper, "superior", frame) - plate_slope_deg(case, lower, "inferior", frame)
        assert found[upper, "segmental_angle_deg"].value == pytest.approx(truth, abs=5.0)
    heights = [found[bone, "anterior_body_height_mm"] for bone in bones]
    truths = {m.bone: m.value for m in case.truth if m.name == "anterior_body_height_mm"}
    for measured in heights:
        assert measured.value == pytest.approx(truths[measured.bone], abs=2.0)


@pytest.mark.slow
def test_twenty_phantom_spines():
    errors = []
    for deformity in ("none", "wedge", "scoliosis", "crush"):
        for number in range(5):
            case = make_patient("spine", seed=3, number=number, voxels=160, deformity=deformity)
            found = by_name(measure(case.labels, "spine"), "spine")
            frame, tilts = true_frame(case)
            lordosis = plate_slope_deg(case, "L1", "superior", frame) - plate_slope_deg(case, "L5", "inferior", frame)
            cobb = max(tilts) - min(tilts)
            errors.append((found["lumbar_lordosis_deg"].value - lordosis, found["cobb_angle_deg"].value - cobb))
    off = np.abs(errors)
    assert np.median(off, axis=0).max() < 1.5
    assert off.max() < 6.0
