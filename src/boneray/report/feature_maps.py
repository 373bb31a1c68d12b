"""What networks show of their inside for one case, as figures: feature maps, attention, and what a module changes.

One sheet for all maps of one name, a row per level and a column per network, beside the radiographs, the reference and
the predictions. Where two networks differ in one switch alone, a sheet has the prediction with it minus the one
without: for EAR's `frequency` that is the paper's figure 10, and the sheet of its edge attention is figure 9.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from boneray.core.bones import bone
from boneray.core.case import Case
from boneray.core.errors import ConfigError, InputError
from boneray.core.grid import Grid
from boneray.geometry.resample import nearest_labels
from boneray.io.case_folder import read_case
from boneray.io.files import prepare_output, require_free
from boneray.models.inner_maps import Kind
from boneray.report.drawing import Drawing
from boneray.report.inside import Inside, look_inside, name_of
from boneray.report.map_sheet import MapRow, Scale, Triple, map_sheet, row_ends
from boneray.report.ranking_pictures import file_stem, write_drawing

MEANS = {"attention": "mean", "difference": "mean size"}
ROUNDING = 1e-5  # a mean below this share of the greatest value says nothing


def map_figures(case: Case, insides: Sequence[Inside], *, channel: int | None = None) -> Iterator[tuple[str, Drawing]]:
    """(name, sheet) of every kind of map that one of the networks has.

    Args:
        case: what they were shown.
        channel: of features and differences, counted from 0; the mean over channels where None.
    Raises:
        ConfigError: the networks' grids differ in size, or no map has that channel.
    """
    _require_one_grid(insides)
    names = list(dict.fromkeys(found.name for inside in insides for found in inside.maps))
    widest = max((len(m.values) for inside in insides for m in inside.maps), default=0)
    if channel is not None and not 0 <= channel < widest:
        raise ConfigError(f"no map has channel {channel}; the widest has {widest}, counted from 0")
    bone_there = _bone(case, insides[0].grid)
    for name in names:
        levels = sorted({m.level for inside in insides for m in inside.maps if m.name == name})
        rows = [_level_row(insides, name, level, channel, bone_there) for level in levels]
        kinds = {m.kind for inside in insides for m in inside.maps if m.name == name}
        if kinds == {"attention"}:
            rows = _on_one_scale(rows, _crossing(bone_there))
        units = tuple(dict.fromkeys(inside.unit for inside in insides))
        predictions = MapRow("prediction", tuple(inside.prediction for inside in insides), notes=units)
        yield name, _sheet(case, f"{case.case_id}: {name}", insides, [predictions, *rows], bone_there)


def switch_figures(case: Case, insides: Sequence[Inside]) -> Iterator[tuple[str, Drawing]]:
    """(name, sheet) of the prediction with a module minus that without it, for all of `switched_pairs`."""
    for without, whole, switch in switched_pairs(insides):
        _require_one_grid((without, whole))
        bone_there = _bone(case, whole.grid)
        unit = whole.unit
        both = [
            MapRow(word, (inside.prediction,), notes=(inside.method, unit))
            for word, inside in (("without", without), ("with", whole))
        ]
        change = MapRow("with minus without", (whole.prediction - without.prediction,), "signed", (unit,))
        rows = [*_on_one_scale(both, _crossing(bone_there)), _with_caption(change, "difference", bone_there)]
        words = switch.replace("_", " ")
        title = f"{case.case_id}: {whole.method} with and without its {words}"
        column = (replace(whole, method="prediction"),)
        yield f"{words} of {whole.method}", _sheet(case, title, column, rows, bone_there)


def switched_pairs(insides: Sequence[Inside]) -> list[tuple[Inside, Inside, str]]:
    """(without, with, switch) for all networks of one model and recipe whose settings differ in one switch alone."""
    out = []
    for without in insides:
        for whole in insides:
            if (without.model, without.recipe) != (whole.model, whole.recipe):
                continue
            keys = without.settings.keys() | whole.settings.keys()
            differ = [key for key in keys if without.settings.get(key) != whole.settings.get(key)]
            if len(differ) == 1 and without.settings.get(differ[0]) is False and whole.settings.get(differ[0]) is True:
                out.append((without, whole, differ[0]))
    return out


def write_map_figures(
    checkpoints: Sequence[str | Path], folder: Path, out: Path, *, channel: int | None = None, force: bool = False
) -> dict[str, Any]:
    """Write every figure of a case folder as SVG and PNG; gives files and maps.

    Raises:
        ConfigError: a checkpoint whose network shows no maps, or that does not fit the case or the others.
        InputError: no case or checkpoint there, or `out` holds figures and `force` is not given.
    """
    held = tuple(path.name for path in out.glob("*.svg"))
    require_free(out, force=force, holds=held)
    case = read_case(folder, with_ct=False)
    if not case.radiographs:
        raise InputError(f"case {folder} holds no radiograph")
    names = _apart([name_of(checkpoint) for checkpoint in checkpoints])
    insides = [look_inside(c, case, method=name) for c, name in zip(checkpoints, names, strict=True)]
    drawn = [*map_figures(case, insides, channel=channel), *switch_figures(case, insides)]
    prepare_output(out, force=force, holds=held)
    figures = [path for name, drawing in drawn for path in write_drawing(drawing, out / file_stem(name))]
    maps = [
        {"method": inside.method, "map": m.name, "level": m.level, "kind": m.kind, "shape": list(m.values.shape)}
        | {"least": float(m.values.min()), "greatest": float(m.values.max())}
        for inside in insides
        for m in inside.maps
    ]
    return {"case": case.case_id, "figures": [str(path) for path in figures], "maps": maps}


def _level_row(
    insides: Sequence[Inside], name: str, level: int, channel: int | None, bone_there: NDArray[np.bool_]
) -> MapRow:
    found = [next((m for m in i.maps if (m.name, m.level) == (name, level)), None) for i in insides]
    first = next(m for m in found if m is not None)
    shown = ["not in this network" if m is None else one_channel(m.values, channel) for m in found]
    which = {s[1]: None for s in shown if not isinstance(s, str)}
    notes = ["x".join(map(str, first.values.shape[1:])) + " voxels", *(which if len(which) == 1 else ())]
    captions = tuple("" if isinstance(s, str) else s[1] for s in shown) if len(which) > 1 else ()
    volumes = tuple(s if isinstance(s, str) else s[0] for s in shown)
    scale: Scale = "signed" if first.kind == "difference" else "sequential"
    row = MapRow(f"level {level}", volumes, scale, tuple(filter(None, notes)), captions)
    return _with_caption(row, first.kind, bone_there)


def one_channel(values: NDArray, channel: int | None) -> tuple[NDArray, str] | str:
    """(i, j, k) of (C, i, j, k), and in words which; a string alone if there is no such channel.

    Channels that a layer norm has centred have a mean of rounding errors; then it is the one that varies most.
    """
    count = len(values)
    if count == 1:
        return values[0], ""
    if channel is not None:
        return (values[channel], f"channel {channel} of {count}") if channel < count else f"it has {count} channels"
    mean = values.mean(axis=0)
    if np.abs(mean).max() > ROUNDING * np.abs(values).max():
        return mean, f"mean of {count} channels"
    most = int(values.reshape(count, -1).std(axis=1).argmax())
    return values[most], f"channel {most} of {count}, varies most"


def _with_caption(row: MapRow, kind: Kind, bone_there: NDArray[np.bool_]) -> MapRow:
    """The row with its means about the bone below it, where there is a reference."""
    if kind not in MEANS or not bone_there.any():
        return row
    captions = ("" if isinstance(v, str) else f"{MEANS[kind]} {means_about(v, bone_there)}" for v in row.volumes)
    return replace(row, captions=tuple(captions))


def means_about(volume: NDArray, bone_there: NDArray[np.bool_]) -> str:
    """In words the mean size of the values at the bone's surface, inside and outside of it; without empty parts."""
    size, edge = np.abs(enlarged(volume, bone_there.shape)), surface_shell(bone_there)
    parts = {"at the surface": edge, "inside": bone_there & ~edge, "outside": ~bone_there & ~edge}
    return ", ".join(f"{size[part].mean():.3g} {where}" for where, part in parts.items() if part.any())


def surface_shell(bone_there: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Voxels that touch a voxel of the other side by a face."""
    return ndimage.binary_dilation(bone_there) & ~ndimage.binary_erosion(bone_there, border_value=1)


def enlarged(volume: NDArray, shape: Sequence[int]) -> NDArray:
    """The value of a coarser volume at every voxel of a finer grid that covers the same."""
    places = (np.floor((np.arange(n) + 0.5) * m / n).astype(int) for n, m in zip(shape, volume.shape, strict=True))
    return volume[np.ix_(*places)]


def _on_one_scale(rows: list[MapRow], at: Triple) -> list[MapRow]:
    """The rows with the ends of all of them."""
    ends = [row_ends(row, at) for row in rows]
    return [replace(row, ends=(min(low for low, _ in ends), max(high for _, high in ends))) for row in rows]


def _sheet(
    case: Case, title: str, insides: Sequence[Inside], rows: list[MapRow], bone_there: NDArray[np.bool_]
) -> Drawing:
    size = insides[0].grid.size_mm
    if bone_there.any():
        reference = MapRow("reference", (bone_there.astype(float), *("" for _ in insides[1:])), "grey", ends=(0.0, 1.0))
        rows = [reference, *rows]
    return map_sheet(
        title,
        [inside.method for inside in insides],
        rows,
        size_mm=(float(size[0]), float(size[1]), float(size[2])),
        at=_crossing(bone_there),
        radiographs=case.radiographs,
        note="Planes through the middle of the bone; every row has one scale, for all its columns.",
    )


def _crossing(bone_there: NDArray[np.bool_]) -> Triple:
    """Where the planes cross: the middle of the bone, or of the grid."""
    if not bone_there.any():
        return 0.5, 0.5, 0.5
    i, j, k = ((c + 0.5) / n for c, n in zip(ndimage.center_of_mass(bone_there), bone_there.shape, strict=True))
    return float(i), float(j), float(k)


def _bone(case: Case, grid: Grid) -> NDArray[np.bool_]:
    """Where the reference has the bone in question, on the working grid; nowhere if there is no reference."""
    if case.labels is None:
        return np.zeros(grid.shape, bool)
    found = nearest_labels(case.labels, grid).data
    return np.asarray(found == bone(case.target).bone_id if case.target else found > 0)


def _require_one_grid(insides: Sequence[Inside]) -> None:
    if not insides:
        raise ConfigError("no network to look into; give at least one checkpoint")
    first = insides[0].grid
    for other in insides[1:]:
        if not np.allclose(other.grid.size_mm, first.size_mm) or not np.allclose(other.grid.centre_mm, first.centre_mm):
            raise ConfigError(
                f"{insides[0].method} works on {np.round(first.size_mm, 1).tolist()} mm and {other.method} on "
                f"{np.round(other.grid.size_mm, 1).tolist()} mm; draw them apart"
            )


def _apart(names: list[str]) -> list[str]:
    """The names, those that occur before with their number."""
    return [name if name not in names[:n] else f"{name} ({n + 1})" for n, name in enumerate(names)]
