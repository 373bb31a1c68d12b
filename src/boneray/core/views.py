"""Views by name: ap, lat, lao30cra20 or an angle in degrees, and series of them.

A view is two angles of the orbit of `boneray.core.camera.orbit_camera`: the longitude of the
source (0 in front of the patient, 90 at the patient's right) and how far the beam is tilted
towards the head.

DICOM counts the other end of the beam. PS3.3 C.8.7.5.1.2 defines the positioner's angles by where
the detector stands: at 0 and 0 "the patient faces the image intensifier or digital detector",
the primary angle grows to +90 at the patient's left hand (LAO) and falls to -90 at the right (RAO),
like a longitude, and the secondary angle grows to +90 towards the head (CRA), like a latitude. So
0, 0 has the detector in front and the source behind, which is PA. With the primary angle p the
detector stands at (front, left) = (cos p, sin p), the source opposite at (front, right) =
(-cos p, sin p) = (cos(180 - p), sin(180 - p)): the orbit's angle is 180 - p. The detector's
latitude is the tilt of the beam towards the head, so the secondary angle is taken as it is.
"""

from __future__ import annotations

import re

import numpy as np

from boneray.core.errors import GeometryError

VIEW_ANGLES_DEG = {"ap": 0.0, "pa": 180.0, "lat": 90.0, "llat": 90.0, "rlat": 270.0}

_NUMBER = r"\d+(?:\.\d+)?"
_VIEW = re.compile(
    rf"(?:(?P<name>{'|'.join(sorted(VIEW_ANGLES_DEG, key=len, reverse=True))})(?P<turn>[+-]{_NUMBER})?"
    rf"|(?P<side>lao|rao)(?P<primary>{_NUMBER})"
    rf"|(?P<angle>[+-]?{_NUMBER}))?"
    rf"(?:(?P<tilt>cra|cau)(?P<secondary>{_NUMBER}))?"
)


def view_angles(view: str) -> tuple[float, float]:
    """(angle_deg, cranial_deg) of a named view, for `orbit_camera`.

    Names are ap, pa, lat or llat (left lateral), rlat; a name turned further on the orbit (`lat+5`,
    `ap-10`); the positions of a C-arm as DICOM counts them (`lao30`, `rao15cau10`, `cra20`); or the
    orbit's angle in degrees (`75`, `-12.5`). Each may end in cra or cau with degrees (`apcau30`).

    Raises:
        GeometryError: the name is none of these.
    """
    match = _VIEW.fullmatch(view.lower())
    if not view or match is None:
        raise GeometryError(
            f"view '{view}' is neither ap, lat, pa, rlat, nor a name with degrees (lat+5, lao30cra20), "
            "nor an angle in degrees (75)"
        )
    secondary = float(match["secondary"] or 0.0)
    primary = float(match["primary"] or 0.0)
    if secondary > 90 or primary > 180:
        raise GeometryError(f"view '{view}' goes too far: LAO and RAO end at 180 degrees, CRA and CAU at 90")
    cranial = -secondary if match["tilt"] == "cau" else secondary
    if match["name"]:
        return VIEW_ANGLES_DEG[match["name"]] + float(match["turn"] or 0.0), cranial
    if match["angle"]:
        return float(match["angle"]), cranial
    return orbit_from_positioner(-primary if match["side"] == "rao" else primary, cranial)


def orbit_from_positioner(primary_deg: float, secondary_deg: float) -> tuple[float, float]:
    """(angle_deg, cranial_deg) of the orbit from DICOM's positioner angles (0018,1510) and (0018,1511)."""
    return 180.0 - primary_deg, secondary_deg


def positioner_from_orbit(angle_deg: float, cranial_deg: float) -> tuple[float, float]:
    """DICOM's positioner angles, the primary one in -180..180 (exclusive, inclusive), from the orbit's."""
    return 180.0 - float(np.mod(angle_deg, 360.0)), cranial_deg


def spread_angles(count: int, span_deg: float = 180.0, start_deg: float = 0.0) -> tuple[float, ...]:
    """`count` orbit angles that part `span_deg` evenly, from `start_deg` on; the far end is left out.

    Swin-X2S takes N views from the coronal and N from the sagittal one, 90/N degrees apart:
    `spread_angles(n, 90)` and `spread_angles(n, 90, 90)`, together `spread_angles(2 * n, 180)`.
    """
    if count < 1:
        raise GeometryError(f"number of views {count} must be at least 1")
    if not 0 < span_deg <= 360:
        raise GeometryError(f"span {span_deg} degrees must lie in 0..360")
    return tuple(start_deg + i * span_deg / count for i in range(count))


def pair_angles(between_deg: float, start_deg: float = 0.0) -> tuple[float, float]:
    """Two orbit angles `between_deg` apart, the first at `start_deg` (EAR compares 60 to 140 degrees)."""
    if not 0 < between_deg < 360:
        raise GeometryError(f"angle between two views {between_deg} degrees must lie in 0..360")
    return start_deg, start_deg + between_deg


def same_view(first: tuple[float, float], second: tuple[float, float], tolerance_deg: float = 1e-6) -> bool:
    """True if two (angle_deg, cranial_deg) are one place on the orbit, full turns aside."""
    turn = abs((first[0] - second[0] + 180.0) % 360.0 - 180.0)
    return turn <= tolerance_deg and abs(first[1] - second[1]) <= tolerance_deg
