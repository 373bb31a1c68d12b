"""The parts of a vertebra that its measurements rest on, each with the reasons to doubt it.

Up follows the bone where it tells: the arch hangs below the pedicles. Where it does not, the
patient's frame decides. Where bone and frame disagree, that is reported.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from boneray.geometry.lines import unit
from boneray.geometry.outlines import Polygon, centroid_mm, nearest_pair, principal_axes, resampled
from boneray.morphometry.facts import TRUSTED_SHARE, BoneFacts
from boneray.morphometry.vertebral_body import Body, find_body
from boneray.morphometry.vertebral_section import MidSection, find_mid_section

HANGS_MM = 2.0
AGAINST = -0.2
SMOOTH_MM, STEP_MM = 1.0, 0.25
ASYMMETRIC_MM = 0.8
ROUND = 1.15


@dataclass(frozen=True)
class Canal:
    """The spinal canal in the section: its least length and the points on body and arch that have it, (2,) each."""

    length_mm: float
    front: NDArray[np.float64]
    back: NDArray[np.float64]


@dataclass(frozen=True)
class Process:
    """Arch and spinous process in the section: ends of their main axis, front first, (2,) each.

    Attributes:
        elongation: ratio of the standard deviations along and across the axis; near 1 the axis is not defined.
    """

    front: NDArray[np.float64]
    tip: NDArray[np.float64]
    elongation: float


@dataclass(frozen=True)
class Vertebra:
    """What was found of a vertebra, in the (forward, up) mm of its section.

    Attributes:
        section: None if no body was found; then `failure` says why.
        body: None if walls are missing.
        doubts: reasons to trust every number of this bone less.
    """

    section: MidSection | None
    body: Body | None = None
    canal: Canal | None = None
    process: Process | None = None
    failure: str = ""
    doubts: tuple[str, ...] = ()


def find_vertebra(facts: BoneFacts) -> Vertebra:
    """Section, body, canal and process of a vertebra, oriented."""
    section = find_mid_section(facts.mesh)
    if section is None:
        return Vertebra(None, failure="no outline of a body in the plane of symmetry")
    doubts = [f"the largest part holds only {facts.kept_share:.0%} of the bone"] if _fragmented(facts) else []
    if section.plane.residual_mm > ASYMMETRIC_MM:
        doubts.append(f"not symmetric: the halves differ by {section.plane.residual_mm:.1f} mm")
    if section.merged:
        return Vertebra(section, failure="body and arch are one outline: the canal is closed", doubts=tuple(doubts))
    if section.cut_mm:
        doubts.append(f"measured {abs(section.cut_mm):.0f} mm beside the plane of symmetry, where the canal is open")
    rough = find_body(section.body, section.beside)
    forward = np.array([1.0, 0.0]) if rough is None else rough.forward
    section = section.turned(forward, np.array([-forward[1], forward[0]]))
    section, problems = _upright(section)
    doubts += problems
    body = None if rough is None else find_body(section.body, section.beside)
    return Vertebra(
        section,
        body,
        None if section.arch is None else find_canal(section.body, section.arch),
        None if section.arch is None else find_process(section.arch),
        doubts=tuple(doubts),
    )


def find_canal(body: Polygon, arch: Polygon) -> Canal:
    """The shortest way from the body to the arch; outlines are smoothed over 1 mm, so that voxel steps do not count."""
    length, (front, back) = nearest_pair(_smoothed(body), _smoothed(arch))
    return Canal(length, front, back)


def find_process(arch: Polygon) -> Process:
    """The main axis of the area of arch and spinous process, from its front to its tip."""
    variances, axes = principal_axes(arch)
    axis = axes[0] if axes[0][0] < 0 else -axes[0]
    middle = centroid_mm(arch)
    along = (arch - middle) @ axis
    elongation = float(np.sqrt(variances[0] / max(variances[1], 1e-9)))
    return Process(middle + along.min() * axis, middle + along.max() * axis, elongation)


def lateral(section: MidSection) -> NDArray[np.float64]:
    """Unit vector to the patient's right by the vertebra's own forward and up, (3,)."""
    return unit(np.cross(section.forward, section.up))


def _upright(section: MidSection) -> tuple[MidSection, list[str]]:
    problems = []
    if section.forward[1] < AGAINST:
        problems.append("frame_implausible: the body lies behind the arch by the header; check the header")
    hangs = 0.0
    if section.arch is not None and section.pedicles is not None:
        hangs = float(section.pedicles[1] - centroid_mm(section.arch)[1])
    by_frame = float(section.up[2])
    sign = np.sign(hangs) if abs(hangs) >= HANGS_MM else np.sign(by_frame) or 1.0
    if sign * by_frame < AGAINST:
        problems.append("frame_implausible: the arch lies above the pedicles by the header; check the header")
    return section.turned(np.array([1.0, 0.0]), np.array([0.0, sign])), problems


def _fragmented(facts: BoneFacts) -> bool:
    return facts.kept_share < TRUSTED_SHARE


def _smoothed(outline: Polygon) -> Polygon:
    return gaussian_filter1d(resampled(outline, STEP_MM), SMOOTH_MM / STEP_MM, axis=0, mode="wrap")
