"""paired: real radiographs of patients who also have a CT with labels, in one or several poses.

    patients.csv                 patient_id, and whatever else cases are to be counted under (grade, age, sex ...)
    P001/ct.nii.gz               HU
    P001/labels.nii.gz           boneray's ids, or those of --label-map
    P001/standing/cameras.json   calibrated views: name, file, camera (docs/case-folder.md)
    P001/standing/ap.png ...     pictures of one moment

Every pose becomes a case: the real pictures, and as reference the bones of the CT where each was found in them
(`bone_poses`). A pose with a bone that was not found is rejected with the reason. Beside "views", cameras.json may say
"world_from_ct" (4x4, RAS mm, a first guess of how the body lies in the cameras' frame), and a view "polarity":
"bone_dark" for pictures that are not yet inverted. Source: none, a form to bring one's own data.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from boneray.anatomy.registry import Anatomy
from boneray.core.case import Case
from boneray.core.errors import DataError, InputError
from boneray.core.grid import Grid
from boneray.core.radiograph import Radiograph
from boneray.core.seeds import generator
from boneray.core.volume import LabelMap, Volume
from boneray.datasets.bone_poses import BonePose, box_grid, moved_labels, register_bones
from boneray.datasets.label_maps import label_map
from boneray.datasets.miniature import write_bones, write_ct
from boneray.datasets.regions import working_grid
from boneray.datasets.registry import DATASETS, DatasetSpec, Pair
from boneray.datasets.rules import COMMON, only_flagged
from boneray.datasets.scan import Scan
from boneray.datasets.views import standard_cameras
from boneray.io.cameras import read_cameras, write_cameras
from boneray.io.files import inside, read_json, require_folder, write_text
from boneray.io.images import read_picture, write_picture
from boneray.io.spreadsheet import read_table
from boneray.phantom.pose import Pose
from boneray.phantom.raster import rasterise
from boneray.phantom.registry import PHANTOMS
from boneray.phantom.scene import Scene
from boneray.projection.render import render

if TYPE_CHECKING:
    from boneray.datasets.prepare import PrepareOptions


class NotRegistered(DataError):
    """A bone was not found in its radiographs."""


def cases(root: Path, names: str | None = None) -> Iterator[Pair]:
    """Every pose of every patient below `root`, sorted; groups come from patients.csv where it is there."""
    require_folder(root, "folder of paired data")
    bones = label_map(names or "boneray")
    groups = patients(root)
    poses = sorted(path.parent for path in root.glob("*/*/cameras.json"))
    if not poses:
        raise InputError(f"{root} holds no <patient>/<pose>/cameras.json")
    for pose in poses:
        patient = pose.parent
        row = {key: value for key, value in groups.get(patient.name, {}).items() if key != "labels_from"}
        yield Pair(
            f"{patient.name}-{pose.name}",
            patient.name,
            patient / "ct.nii.gz",
            patient / "labels.nii.gz",
            bones,
            groups={**row, "pose": pose.name},
            labels_from=groups.get(patient.name, {}).get("labels_from") or "unstated",
            radiographs=pose,
        )


def patients(root: Path) -> dict[str, dict[str, Any]]:
    """What patients.csv says of every patient; empty cells are None, ages numbers."""
    file = root / "patients.csv"
    if not file.is_file():
        return {}
    rows = read_table(file, "table of patients")
    if rows and "patient_id" not in rows[0]:
        raise InputError(f"table of patients {file} has no column patient_id; it has {', '.join(rows[0])}")
    return {row["patient_id"]: {k: _value(k, v) for k, v in row.items() if k != "patient_id"} for row in rows}


def _value(column: str, text: str) -> float | str | None:
    """A number where the column's name ends with a unit that is counted in, otherwise the text."""
    if not text:
        return None
    return float(text) if column.endswith("_years") and text.replace(".", "", 1).isdecimal() else text


def read_pose(folder: Path) -> tuple[dict[str, Radiograph], NDArray[np.float64] | None]:
    """The radiographs of a pose by view, and the first guess of the body's motion if one is stated.

    Raises:
        InputError, GeometryError: what is missing or does not fit.
    """
    file = folder / "cameras.json"
    values, cameras = read_json(file, "camera file"), read_cameras(file)
    radiographs = {}
    for view in values["views"]:
        name, scale = str(view["name"]), view.get("line_integral_per_grey")
        grey = read_picture(inside(folder, str(view.get("file", f"{name}.png"))), f"{name} radiograph")
        if view.get("polarity", "bone_bright") == "bone_dark":
            grey = grey.max() - grey
        radiographs[name] = Radiograph(grey * np.float32(scale or 1.0), cameras[name], scaled=scale is not None)
    start = values.get("world_from_ct")
    if start is None:
        return radiographs, None
    matrix = np.asarray(start, dtype=float)
    if matrix.shape != (4, 4) or not np.allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-3):
        raise InputError(f"camera file {file}: world_from_ct must be a rigid 4x4 matrix")
    return radiographs, matrix


def registered_case(scan: Scan, bones: tuple[str, ...], kind: Anatomy, options: PrepareOptions) -> Case:
    """The case of one pose: its real radiographs, and the bones where they were then.

    The frame is that of the cameras. With the region `native` it is the CT's as the first of the bones lies in it: that
    bone keeps its own voxels, and cameras and other bones move.

    Raises:
        NotRegistered: one of the bones was not found; the reason says why.
    """
    assert scan.pair.radiographs is not None
    radiographs, start = read_pose(scan.pair.radiographs)
    body, poses = register_bones(scan.ct, scan.labels, radiographs, start=start, seed_name=scan.pair.case_id)
    wrong = [f"{name}: {poses[name].reason}" for name in bones if poses[name].reason]
    if wrong:
        raise NotRegistered("; ".join(wrong[:3]) + (" ..." if len(wrong) > 3 else ""))
    motions = {name: poses[name].world_from_ct for name in bones}
    if options.region == "native":
        frame_from_world = np.linalg.inv(motions[bones[0]])
        grid = scan.labels.grid
    else:
        frame_from_world = np.eye(4)
        about = moved_labels(scan.labels, motions, box_grid(scan.labels, motions))[0]
        grid = _grid(about, kind, options)
    motions = {name: frame_from_world @ motion for name, motion in motions.items()}
    labels, overlap_mm3 = moved_labels(scan.labels, motions, grid)
    if options.views:
        missing = [view for view in options.views if view not in radiographs]
        if missing:
            raise InputError(
                f"{scan.pair.radiographs} has no view {', '.join(missing)}; it has {', '.join(radiographs)}"
            )
        radiographs = {view: radiographs[view] for view in options.views}
    return Case(
        case_id="",
        patient_id="",
        anatomy=kind.name,
        target="",
        labels=labels,
        ct=None,
        radiographs={view: replace(r, camera=r.camera.moved(frame_from_world)) for view, r in radiographs.items()},
        provenance={"registration": _told(body, poses, overlap_mm3)},
    )


def _grid(about: LabelMap, kind: Anatomy, options: PrepareOptions) -> Grid:
    return working_grid(
        options.region,
        about,
        kind,
        voxels=options.voxels or kind.grid_voxels,
        size_mm=kind.grid_size_mm if options.size_mm is None else options.size_mm,
        shape=options.shape,
    )


def _told(body: NDArray, poses: dict[str, BonePose], overlap_mm3: float) -> dict[str, Any]:
    return {
        "world_from_ct": body.tolist(),
        "bones": {name: pose.to_dict() for name, pose in poses.items()},
        "overlap_mm3": overlap_mm3,
    }


# ---- articulated phantoms -----------------------------------------------------------------------------------


def articulated_patient(number: int) -> Scene:
    """A right femur and its hip bone, both labelled; patient `number` of a population of phantoms."""
    seed = 0
    while True:
        scene = PHANTOMS.get("femur").value(generator(seed, "paired", number), "none")
        if not scene.mirrored:
            return replace(scene, solids=(replace(scene.solids[0], bone="hip_right"), *scene.solids[1:]))
        seed += 1


def with_bone_moved(
    scene: Scene, bone: str, rotation_deg: tuple[float, float, float]
) -> tuple[Scene, NDArray[np.float64]]:
    """The patient with one bone turned about the head of the femur, and its motion (4, 4)."""
    joint = np.array(next(mark.point_mm for mark in scene.landmarks if "head" in mark.name))
    turn = Rotation.from_rotvec(np.deg2rad(rotation_deg)).as_matrix()
    pose = Pose(turn, 1.0, joint - turn @ joint)
    solids = tuple(solid.placed(pose) if solid.bone == bone else solid for solid in scene.solids)
    motion = np.eye(4)
    motion[:3, :3], motion[:3, 3] = turn, pose.shift_mm
    return replace(scene, solids=solids), motion


def write_pose(
    folder: Path, scene: Scene, *, pixels: int, voxels: int, world_from_body: NDArray | None = None, size: float = 1.0
) -> None:
    """Radiographs of a phantom that stands as `world_from_body` says, as pictures of unknown scale.

    Args:
        size: of the detector, relative to one that shows everything.
    """
    grid = Grid.cube(voxels, 180.0)
    hu = rasterise(scene, grid)[0]
    motion = np.eye(4) if world_from_body is None else np.asarray(world_from_body, dtype=float)
    cameras = {}
    for name, camera in standard_cameras(grid, ("ap", "lat"), pixels=pixels).items():
        near = replace(camera, pixel_mm=(camera.pixel_mm[0] * size, camera.pixel_mm[1] * size))
        picture = render(Volume(hu, grid), near).line_integrals
        write_picture(folder / f"{name}.png", np.maximum(picture, 0.0) ** 0.9)  # no true line integrals
        cameras[name] = near.moved(motion)
    write_cameras(folder / "cameras.json", cameras)


def write_patient(folder: Path, scene: Scene, *, voxels: int) -> None:
    """CT and labels of a phantom."""
    grid = Grid.cube(voxels, 180.0)
    hu, ids = rasterise(scene, grid)
    write_ct(folder / "ct.nii.gz", Volume(hu, grid), "LPS")
    write_bones(folder / "labels.nii.gz", LabelMap(ids, grid), "LPS")


def write_miniature(root: Path) -> None:
    """Two patients with a femur that is turned in its socket; one of them in two poses."""
    stand = np.eye(4)
    stand[:3, :3] = Rotation.from_euler("xyz", (2, -3, 4), degrees=True).as_matrix()
    stand[:3, 3] = (3, -4, 5)
    for number, name in enumerate(("P001", "P002")):
        scene = articulated_patient(number)
        write_patient(root / name, scene, voxels=48)
        flexed = with_bone_moved(scene, "femur_right", (6.0, 0.0, 3.0))[0]
        write_pose(root / name / "standing", flexed, pixels=64, voxels=64, world_from_body=stand)
        if number == 0:
            write_pose(root / name / "lying", scene, pixels=64, voxels=64)
    write_text(root / "patients.csv", "patient_id,grade,age_years\nP001,2,61\nP002,0,44\n")


def write_faulty(root: Path) -> dict[str, str]:
    """Radiographs of another patient, and radiographs that show a corner of the bone only."""
    for name, shown, size in (("P011", 2, 1.0), ("P012", 0, 0.25)):
        write_patient(root / name, articulated_patient(0), voxels=48)
        write_pose(root / name / "lying", articulated_patient(shown), pixels=64, voxels=64, size=size)
    return {"P011-lying": "registration", "P012-lying": "registration"}


DATASETS.register("paired", "real radiographs with CT and labels of the same patient, bones registered one by one",
                  source="own data", licence="unstated")(
    DatasetSpec(cases, write_miniature, licence="unstated", anatomies=("femur", "pelvis"), rules=only_flagged(COMMON),
                write_faulty=write_faulty)
)  # fmt: skip
