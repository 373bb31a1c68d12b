"""Where a reconstructed surface errs: its distance from the reference as a colour on the mesh.

Red lies inside the reference, blue outside, white on it, as in EAR's figures 7, 8 and 11.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from boneray.core.errors import ConfigError
from boneray.core.mesh import Mesh
from boneray.evaluation.inputs import MatchedCases, read_named_labels
from boneray.geometry.mesh_distance import vertex_normals
from boneray.geometry.surface import bone_mesh
from boneray.geometry.triangle_tree import TriangleTree
from boneray.io.files import prepare_output, write_atomic
from boneray.report.pictures import INK, mesh_picture

INSIDE, ON, OUTSIDE = (178, 24, 43), (247, 247, 247), (33, 102, 172)
STEPS = 33
BAR_HEIGHT, BAR_WIDTH, BAR_MARGIN = 46, 240, 12


def signed_distances_mm(reference: Mesh, prediction: Mesh) -> NDArray[np.float64]:
    """(n,) distance of each vertex of the prediction from the reference's surface, negative inside it."""
    nearest = TriangleTree.of(reference).nearest(prediction.vertices_mm)
    normals = np.einsum("nk,nkc->nc", nearest.weights, vertex_normals(reference)[reference.faces[nearest.faces]])
    side = np.einsum("nc,nc->n", prediction.vertices_mm - nearest.points_mm, normals)
    return np.where(side < 0, -nearest.distance_mm, nearest.distance_mm)


def error_colours(distances_mm: NDArray[np.float64], limit_mm: float) -> NDArray[np.uint8]:
    """(n, 3) colours: full red at -limit and below, white at 0, full blue at limit and above.

    Raises:
        ConfigError: the limit is not positive.
    """
    if not limit_mm > 0:
        raise ConfigError(f"limit of the colours {limit_mm} mm must be positive")
    share = np.clip(distances_mm / limit_mm, -1, 1)[:, None]
    ends = np.where(share < 0, np.array(INSIDE, float), np.array(OUTSIDE, float))
    return np.round(np.array(ON) + np.abs(share) * (ends - np.array(ON))).astype(np.uint8)


def error_picture(
    reference: Mesh,
    prediction: Mesh,
    *,
    limit_mm: float = 3.0,
    directions: Sequence[str] = ("anterior", "right"),
    height_px: int = 480,
) -> bytes:
    """The prediction seen from several sides, coloured by its error, with the scale of the colours; PNG."""
    distance = signed_distances_mm(reference, prediction)[prediction.faces].mean(axis=1)
    step = np.round((np.clip(distance / limit_mm, -1, 1) + 1) / 2 * (STEPS - 1)).astype(int)
    levels = np.linspace(-limit_mm, limit_mm, STEPS)
    shades = error_colours(levels, limit_mm)
    parts = {
        f"{levels[n]:.3f}": Mesh(prediction.vertices_mm, prediction.faces[step == n]) for n in np.unique(step).tolist()
    }
    colours = {f"{levels[n]:.3f}": tuple(int(c) for c in shades[n]) for n in range(STEPS)}
    picture = mesh_picture(parts, colours, height_px=height_px, directions=directions)  # type: ignore[arg-type]
    return _with_scale(picture, limit_mm)


def write_error_mesh(path: Path, reference: Mesh, prediction: Mesh, *, limit_mm: float = 3.0) -> Path:
    """The prediction as a .ply with one colour per vertex, to be turned about in a viewer.

    Raises:
        ConfigError: another suffix.
    """
    import trimesh

    if path.suffix != ".ply":
        raise ConfigError(f"{path} must end in .ply, which keeps a colour for every vertex")
    colours = error_colours(signed_distances_mm(reference, prediction), limit_mm)
    surface = trimesh.Trimesh(prediction.vertices_mm, prediction.faces, vertex_colors=colours, process=False)
    _write_bytes(path, surface.export(file_type="ply"))
    return path


def write_error_pictures(
    out: Path, matched: MatchedCases, names: dict[int, str] | None = None, *, limit_mm: float = 3.0, force: bool = False
) -> int:
    """`CASE_BONE.png` and `.ply` for every bone that reference and prediction both have; gives their number.

    Args:
        names: bone by id for label files without a case.json.
    Raises:
        InputError: the folder holds files and `force` is not given, or a label map cannot be read.
    """
    prepare_output(out, force=force, holds=tuple(path.name for path in out.glob("*.png")))
    count = 0
    for pair in matched.pairs:
        if pair.prediction is None:
            continue
        reference = read_named_labels(pair.reference, names, "reference")
        prediction = read_named_labels(pair.prediction, names, "prediction")
        for number in sorted(set(reference.labels.ids) & set(prediction.labels.ids)):
            surfaces = [bone_mesh(labels.labels, number) for labels in (reference, prediction)]
            stem = f"{pair.case_id}_{reference.name_of(number)}"
            picture = error_picture(*surfaces, limit_mm=limit_mm)
            _write_bytes(out / f"{stem}.png", picture)
            write_error_mesh(out / f"{stem}.ply", *surfaces, limit_mm=limit_mm)
            count += 1
    return count


def _write_bytes(path: Path, raw: bytes) -> None:
    write_atomic(path, lambda file: file.write_bytes(raw))


def _with_scale(picture: bytes, limit_mm: float) -> bytes:
    """The picture with a bar of the colours below it."""
    above = Image.open(io.BytesIO(picture))
    sheet = Image.new("RGBA", (max(above.width, BAR_WIDTH + 2 * BAR_MARGIN), above.height + BAR_HEIGHT))
    sheet.paste(above, (0, 0))
    ramp = error_colours(np.linspace(-limit_mm, limit_mm, BAR_WIDTH), limit_mm)
    bar = Image.fromarray(np.repeat(ramp[None], 12, axis=0)).convert("RGBA")
    sheet.paste(bar, (BAR_MARGIN, above.height + 6))
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for share, words in ((0.0, f"-{limit_mm:g} mm inside"), (1.0, f"+{limit_mm:g} mm outside")):
        left = BAR_MARGIN + share * (BAR_WIDTH - pen.textlength(words, font=font))
        pen.text((left, above.height + 22), words, fill=INK, font=font)
    out = io.BytesIO()
    sheet.save(out, "PNG")
    return out.getvalue()
