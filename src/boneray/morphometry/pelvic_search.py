"""The pelvis as a whole: its frame and landmarks with every reason to doubt them.

The patient's axes are tried first. If the bones do not look like a pelvis from there, every pose is
tried, and then every pose of the mirror image: a pelvis that fits only mirrored has a mirrored
header or swapped names, and says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from boneray.core.measurement import Landmark
from boneray.geometry.bending import bending_per_mm
from boneray.morphometry.facts import TRUSTED_SHARE, BoneFacts, touched_borders_near
from boneray.morphometry.pelvic_frame import SIDES, PelvicBones, PelvicFrame, Point, Surface, unknown_pose_axes
from boneray.morphometry.pelvic_landmarks import deviations, find_landmarks, full_name, key, oddness

LEAST_DEPTH_MM = 1.0
SEARCH_POINTS = 3000
SURE_ODDNESS, MOST_ODDNESS = 1.5, 2.0
ODD_LANDMARK, UNEQUAL_SIDES = 4.0, 0.06
BORDER_VOXELS = 2.0
SMOOTH_PER_MM = 0.355
PLAUSIBLE_WIDTH_MM = (175.0, 310.0)
MOST_TURN_DEG = 45.0


@dataclass(frozen=True, eq=False)
class Pelvis:
    """Frame and landmarks of a pelvis as far as they were found.

    Attributes:
        frame: of the APP; None after a failure.
        points: landmarks by short name (`ASIS_left`), RAS mm.
        failure: why there are no landmarks; empty if there are.
        cut: why nothing can be measured although landmarks were found; empty if it can.
        doubts: reasons for low confidence that touch every number.
        frame_doubts: the same for numbers that depend on how the patient lies in the frame.
        lost: landmarks that the grid cuts off.
        odd: doubts about single landmarks by short name.
        worst: the largest deviation of each landmark.
        kept_share: share of the hip bones that their largest parts hold.
        mirrored: True if the bones fit only as their mirror image.
    """

    frame: PelvicFrame | None = None
    points: dict[str, Point] = field(default_factory=dict)
    failure: str = ""
    cut: str = ""
    doubts: tuple[str, ...] = ()
    frame_doubts: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    odd: dict[str, str] = field(default_factory=dict)
    worst: dict[str, float] = field(default_factory=dict)
    kept_share: float = 1.0
    mirrored: bool = False

    def landmarks(self, *shorts: str) -> tuple[Landmark, ...]:
        """The named points that were found, RAS mm."""
        return tuple(Landmark(full_name(s), tuple(self.points[s])) for s in shorts if s in self.points)


@dataclass(frozen=True, eq=False)
class _Pose:
    frame: PelvicFrame
    points: dict[str, Point]
    oddness: float


def find_pelvis(facts: BoneFacts) -> Pelvis:
    """The pelvis of which `facts` is one bone; the other ones are its siblings."""
    missing = [f"hip_{side}" for side in SIDES if f"hip_{side}" not in facts.siblings]
    if missing:
        return Pelvis(failure=f"{' and '.join(missing)} missing; the pelvic frame needs both hip bones")
    bones = _bones(facts)
    pose, mirrored = _search(bones), False
    if pose is None or pose.oddness > MOST_ODDNESS:
        reflected = _any_pose(bones.mirrored())
        if reflected is not None and reflected.oddness <= MOST_ODDNESS:
            pose, mirrored = _unmirrored(reflected), True
    if pose is None:
        return Pelvis(failure="the bones span no pelvic frame")
    if pose.oddness > MOST_ODDNESS:
        return Pelvis(
            failure=f"not like a pelvis from any side: landmarks {pose.oddness:.1f} spreads from where adults have "
            f"them, {MOST_ODDNESS:g} at most expected"
        )
    return _judged(facts, pose, mirrored)


def _bones(facts: BoneFacts) -> PelvicBones:
    hips = {side: facts.siblings[f"hip_{side}"] for side in SIDES}
    sacrum = facts.siblings.get("sacrum")
    grid = hips["left"].grid
    voxel = 0.0 if grid is None else grid.voxel_volume_mm3 ** (1 / 3)
    return PelvicBones(
        {side: Surface.of(hip.mesh) for side, hip in hips.items()},
        None if sacrum is None else Surface.of(sacrum.mesh),
        max(LEAST_DEPTH_MM, voxel),
    )


def _search(bones: PelvicBones) -> _Pose | None:
    upright = _pose(bones, np.eye(3))
    if upright is not None and upright.oddness <= SURE_ODDNESS:
        return upright
    turned = _any_pose(bones)
    if upright is None or (turned is not None and turned.oddness < upright.oddness):
        return turned
    return upright


def _any_pose(bones: PelvicBones) -> _Pose | None:
    """The least odd of every pose: found with few points, then refined with all."""
    few = bones.thinned(SEARCH_POINTS)
    poses = [_pose(few, axes) for axes in unknown_pose_axes(few)]
    best = min((pose for pose in poses if pose is not None), key=lambda pose: pose.oddness, default=None)
    return None if best is None else _pose(bones, best.frame.axes)


def _pose(bones: PelvicBones, axes: Point) -> _Pose | None:
    found = find_landmarks(bones, axes)
    return None if found is None else _Pose(*found, oddness(*found))


def _unmirrored(pose: _Pose) -> _Pose:
    """What was found in the mirror image, back in the world; the axes stay those of the mirror image reflected."""
    flip = np.array([-1.0, 1.0, 1.0])
    frame = pose.frame
    back = PelvicFrame(frame.origin_mm * flip, frame.axes * flip, frame.width_mm, frame.height_mm)
    return _Pose(back, {name: point * flip for name, point in pose.points.items()}, pose.oddness)


def _judged(facts: BoneFacts, pose: _Pose, mirrored: bool) -> Pelvis:
    doubts, frame_doubts = [], []
    if mirrored:
        doubts.append(
            "frame_implausible: the bones fit a pelvis only as its mirror image; the header is mirrored or left and "
            "right are swapped"
        )
    low, high = PLAUSIBLE_WIDTH_MM
    if not low <= pose.frame.width_mm <= high:
        doubts.append(
            f"scale_implausible: anterior superior iliac spines {pose.frame.width_mm:.0f} mm apart, "
            f"{low:.0f}-{high:.0f} mm expected; check the voxel spacing"
        )
    hips = [facts.siblings[f"hip_{side}"] for side in SIDES]
    kept = min(hip.kept_share for hip in hips)
    if kept < TRUSTED_SHARE:
        doubts.append(f"the largest part holds only {kept:.0%} of a hip bone")
    bending = max(bending_per_mm(hip.mesh) for hip in hips)
    if bending > SMOOTH_PER_MM:
        doubts.append(f"rough surface: a hip bone bends by {bending:.2f} per mm, {SMOOTH_PER_MM:g} at most expected")
    turned = np.degrees(np.arccos(np.clip((np.trace(pose.frame.axes) - 1) / 2, -1, 1)))
    if not mirrored and turned > MOST_TURN_DEG:
        frame_doubts.append(
            f"frame_implausible: the pelvis is turned by {turned:.0f} degrees from the patient's axes; check the header"
        )
    lost = tuple(short for short, point in pose.points.items() if _at_border(facts, short, point))
    spanning = [short for short in lost if short.partition("_")[0] in ("ASIS", "PT", "PS")]
    cut = f"the grid cuts the pelvis at {', '.join(spanning)}, which span its frame" if spanning else ""
    worst = {short: float(d.max()) for short, d in deviations(pose.frame, pose.points).items()}
    odd = {
        short: f"{short} lies {value:.1f} spreads from where adults have it ({ODD_LANDMARK:g} at most expected)"
        for short, value in worst.items()
        if value > ODD_LANDMARK
    }
    doubts += [f"frame in doubt: {text}" for short, text in odd.items() if short.startswith("ASIS")]
    odd |= _unequal_sides(pose)
    return Pelvis(
        pose.frame,
        pose.points,
        cut=cut,
        doubts=tuple(doubts),
        frame_doubts=tuple(frame_doubts),
        lost=lost,
        odd=odd,
        worst=worst,
        kept_share=kept,
        mirrored=mirrored,
    )


def _unequal_sides(pose: _Pose) -> dict[str, str]:
    """A doubt about both landmarks of a pair of which one is not about the mirror image of the other.

    The anterior spines are not judged: they span the frame.
    """
    found: dict[str, str] = {}
    for pair in map(both, ("PT", "IS", "PSIS")):
        if not set(pair) <= set(pose.points):
            continue
        left, right = (pose.frame.local(pose.points[short]) for short in pair)
        apart = float(np.linalg.norm(left * (-1.0, 1.0, 1.0) - right))
        if apart > UNEQUAL_SIDES * pose.frame.width_mm:
            name = pair[0].partition("_")[0]
            found |= dict.fromkeys(pair, f"{name} of left and right are {apart:.0f} mm from being mirror images")
    return found


def _at_border(facts: BoneFacts, short: str, point: Point) -> bool:
    """True if the grid cuts the bone of a landmark less than two voxels from it."""
    side = short.partition("_")[2]
    names = ["sacrum"] if short == "SP" else [f"hip_{side}"] if side else [f"hip_{s}" for s in SIDES]
    bones = [facts.siblings[name] for name in names]
    return any(b.grid is not None and touched_borders_near(point, b.border, b.grid, BORDER_VOXELS).any() for b in bones)


def both(name: str) -> tuple[str, str]:
    """Left and right short name of a paired landmark."""
    left, right = (key(name, side) for side in SIDES)
    return left, right
