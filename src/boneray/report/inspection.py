"""What a folder of cases holds: counts, bones, grids, views, groups, splits, curation, and pictures of some cases.

Everything but the pictures comes from case.json, dataset.json and the split files; no label map is opened, except for
outlines on the pictures where they are asked for.
"""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import boneray
from boneray.core.bones import NAMES, bone_colour, bone_name
from boneray.core.camera import Camera
from boneray.core.errors import BonerayError
from boneray.core.radiograph import Radiograph
from boneray.core.volume import LabelMap
from boneray.datasets.curation import counted
from boneray.datasets.splits import PARTS, read_splits
from boneray.io.case_folder import case_folders, read_dataset, read_description
from boneray.io.files import inside, write_text
from boneray.io.images import read_picture
from boneray.io.nifti import read_labels
from boneray.projection.outline import projected_outline
from boneray.report.figures import data_uri
from boneray.report.page import TEMPLATES
from boneray.report.pictures import grey_picture, radiograph_picture
from boneray.report.tables import Cell, Table, number_text, readable

MOST_THUMBNAILS = 48
THUMBNAIL_PX = 128
OUTLINED_PX = 320
BINS = 12
MOST_VALUES = 12  # of a group that are told one by one
UNSTATED = "unstated"


@dataclass(frozen=True)
class CaseFacts:
    """The little that is kept of one case.json."""

    folder: Path
    patient_id: str
    anatomy: str
    grid: tuple[tuple[int, ...], tuple[float, ...]] | None
    bones: dict[str, int | None]
    views: tuple[tuple[str, str, tuple[int, int], float], ...]
    groups: dict[str, Any]
    licence: str
    labels_from: str
    flags: tuple[str, ...]
    has_ct: bool

    @property
    def is_copy(self) -> bool:
        """True for a changed copy of another case."""
        return "copy_of" in self.groups


@dataclass(frozen=True)
class Inspection:
    """A folder of cases, looked through; `to_dict` for machines, `tables` for people."""

    root: Path
    cases: tuple[CaseFacts, ...]
    splits: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    curation: dict[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "folder": str(self.root),
            "cases": len(self.cases),
            "patients": len({case.patient_id for case in self.cases}),
            "copies": sum(case.is_copy for case in self.cases),
            "with_ct": sum(case.has_ct for case in self.cases),
            "anatomies": counts(case.anatomy for case in self.cases),
            "licences": counts(case.licence or UNSTATED for case in self.cases),
            "labels_from": counts(case.labels_from or UNSTATED for case in self.cases),
            "bones": self.bones(),
            "grids": self.grids(),
            "views": self.views(),
            "groups": self.groups(),
            "flags": counts(flag.partition(":")[0] for case in self.cases for flag in set(case.flags)),
            "splits": self.parts(),
            "curation": self.curation,
            "problems": list(self.problems),
        }

    def bones(self) -> dict[str, dict[str, Any]]:
        """Cases and volumes (cm3) by bone, in the order of the table of bones; counts per bin of the histogram."""
        found: dict[str, list[float | None]] = {}
        for case in self.cases:
            voxel_cm3 = float(np.prod(case.grid[1])) / 1000 if case.grid else 0.0
            for name, voxels in case.bones.items():
                found.setdefault(name, []).append(None if voxels is None else voxels * voxel_cm3)
        out = {}
        for name in sorted(found, key=lambda n: (NAMES.index(n) if n in NAMES else len(NAMES), n)):
            volumes = np.array([v for v in found[name] if v is not None])
            values: dict[str, Any] = {"cases": len(found[name])}
            if len(volumes):
                heights, edges = np.histogram(volumes, bins=BINS)
                values |= {
                    "volume_cm3": [float(v) for v in np.percentile(volumes, (0, 50, 100))],
                    "histogram": heights.tolist(),
                    "histogram_edges_cm3": edges.tolist(),
                }
            out[name] = values
        return out

    def grids(self) -> list[dict[str, Any]]:
        """Shape, spacing and number of cases of every grid, the commonest first."""
        found = Counter(case.grid for case in self.cases if case.grid)
        return [{"shape": list(g[0]), "spacing_mm": list(g[1]), "cases": n} for g, n in found.most_common()]

    def views(self) -> list[dict[str, Any]]:
        """Name, beam, pixels, source-detector distance and number of cases of every view."""
        found = Counter(view for case in self.cases for view in case.views)
        return [
            {"view": v[0], "beam": v[1], "pixels": list(v[2]), "source_detector_mm": v[3], "cases": n}
            for v, n in found.most_common()
        ]

    def groups(self) -> dict[str, dict[str, Any]]:
        """By group: how many cases state it, and the commonest values or, for numbers, least, median and most."""
        names = sorted({name for case in self.cases for name in case.groups} - {"copy_of"})
        out = {}
        for name in names:
            values = [case.groups[name] for case in self.cases if case.groups.get(name) is not None]
            numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
            told: dict[str, Any] = {"cases": len(values), "unstated": len(self.cases) - len(values)}
            if numbers and len(numbers) == len(values) and len(set(numbers)) > MOST_VALUES:
                told["range"] = [float(v) for v in np.percentile(numbers, (0, 50, 100))]
            else:
                told["values"] = dict(Counter(map(str, values)).most_common(MOST_VALUES))
                told["more_values"] = max(0, len(set(map(str, values))) - MOST_VALUES)
            out[name] = told
        return out

    def parts(self) -> dict[str, dict[str, Any]]:
        """By split: cases and patients per part, cases in no part, ids without a case, patients in several parts."""
        patients = {case.folder.name: case.patient_id for case in self.cases}
        out = {}
        for name, split in self.splits.items():
            told: dict[str, Any] = {}
            people: Counter[str] = Counter()
            for part in PARTS:
                known = {patients[c] for c in split[part] if c in patients}
                people.update(known)
                told[part] = {"cases": len(split[part]), "patients": len(known)}
            listed = {c for part in PARTS for c in split[part]}
            told["in_no_part"] = len(set(patients) - listed)
            told["without_case"] = len(listed - set(patients))
            told["patients_in_several_parts"] = sum(n > 1 for n in people.values())
            out[name] = told
        return out


def inspect_folder(root: Path) -> Inspection:
    """Look through the case folders below `root`.

    A case.json that cannot be read is one of the problems; so is a split file.

    Raises:
        InputError: there is no case; DataError: dataset.json lists one that is not there.
    """
    cases, problems = [], []
    for folder in case_folders(root):
        try:
            cases.append(facts_of(folder, read_description(folder)))
        except BonerayError as error:
            problems.append(str(error))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            problems.append(f"{folder}/case.json lacks or misuses {error}; see docs/case-folder.md")
    splits = {}
    for file in [root / "splits.json", *sorted((root / "folds").glob("*.json"))]:
        if file.is_file():
            try:
                splits[str(file.relative_to(root))] = read_splits(file)
            except BonerayError as error:
                problems.append(str(error))
    listed = (root / "dataset.json").is_file()
    curation = counted([{"patient_id": "", **row} for row in read_dataset(root)]) if listed else {}
    return Inspection(root, tuple(cases), splits, curation, tuple(problems))


def facts_of(folder: Path, values: dict[str, Any]) -> CaseFacts:
    """What is kept of a case.json."""
    grid, voxels = values["grid"], values.get("label_voxels") or {}
    flags = values["provenance"].get("flags")
    return CaseFacts(
        folder,
        str(values["patient_id"]),
        values["anatomy"],
        (tuple(grid["shape"]), tuple(round(float(s), 4) for s in grid["spacing_mm"])) if grid else None,
        {name: voxels.get(name) for name in values["bones"].values()},
        tuple(
            (
                str(view["name"]),
                str(view["camera"]["kind"]),
                tuple(view["camera"]["detector_shape"]),
                round(float(view["camera"]["source_detector_mm"]), 1),
            )
            for view in values["views"]
        ),
        dict(values.get("groups") or {}),
        str(values["licence"]),
        str(values.get("labels_from") or ""),
        tuple(map(str, flags)) if isinstance(flags, list) else (),
        bool(values["has_ct"]),
    )


def counts(values: Any) -> dict[str, int]:
    """How often each value occurs, the commonest first."""
    return dict(Counter(values).most_common())


def tables(facts: dict[str, Any]) -> list[Table]:
    """The facts of `Inspection.to_dict` as tables for a page or a terminal."""
    made = [_counts_table(facts), _bones_table(facts), _grids_table(facts), _views_table(facts)]
    made += [_groups_table(facts), _splits_table(facts), _curation_table(facts)]
    return [table for table in made if table.rows]


def write_inspection(
    path: Path, inspection: Inspection, *, thumbnails: int = MOST_THUMBNAILS, outlined: bool = False
) -> Path:
    """Write the page to `path`, all or nothing; pictures of at most 48 cases, with projected outlines if wanted."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    page = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    facts = inspection.to_dict()
    html = page.get_template("inspection.html.j2").render(
        title=f"Cases in {inspection.root.name}",
        version=boneray.__version__,
        problems=inspection.problems,
        tables=tables(facts),
        histograms=[(readable(name), *_bars(bone)) for name, bone in facts["bones"].items() if "histogram" in bone],
        thumbnails=_thumbnails(inspection.cases, min(thumbnails, MOST_THUMBNAILS), outlined),
        outlined=outlined,
        style=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
    )
    return write_text(path, html)


def chosen(cases: tuple[CaseFacts, ...], count: int) -> list[CaseFacts]:
    """At most `count` of the cases, spread evenly over all."""
    if len(cases) <= count:
        return list(cases)
    return [cases[round(n * (len(cases) - 1) / max(1, count - 1))] for n in range(count)]


def _thumbnails(cases: tuple[CaseFacts, ...], count: int, outlined: bool) -> list[tuple[str, list[tuple[str, str]]]]:
    """(case id, (view, picture as data URI) of its first two views)."""
    out = []
    for case in chosen(cases, count):
        try:
            views = read_description(case.folder)["views"][:2]
            labels = read_labels(case.folder / "labels.nii.gz") if outlined and case.bones else None
            pictures = [(str(v["name"]), _small(case.folder, v, labels)) for v in views]
            out.append((case.folder.name, pictures))
        except (BonerayError, KeyError, TypeError):
            out.append((case.folder.name, []))
    return out


def _small(folder: Path, view: dict[str, Any], labels: LabelMap | None) -> str:
    grey = read_picture(inside(folder, view["file"]))
    radiograph = Radiograph(grey, Camera.from_dict(view["camera"]), scaled=False)
    if labels is not None:
        names = {bone_name(bone_id): bone_id for bone_id in labels.ids}
        outlines = {name: projected_outline(labels, i, radiograph.camera) for name, i in names.items()}
        colours = {name: bone_colour(name) for name in names}
        return data_uri(radiograph_picture(radiograph, outlines, colours, height_px=OUTLINED_PX))
    image = Image.fromarray(grey_picture(radiograph))
    row_mm, column_mm = radiograph.camera.pixel_mm
    height, width = grey.shape[0] * row_mm, grey.shape[1] * column_mm
    share = THUMBNAIL_PX / max(height, width)
    image = image.resize((max(1, round(width * share)), max(1, round(height * share))), Image.Resampling.BOX)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return data_uri(buffer.getvalue())


def _bars(bone: dict[str, Any]) -> tuple[list[tuple[int, float]], str, str]:
    """(position, share of the highest) of every bar, and the labels of both ends."""
    heights, edges = bone["histogram"], bone["histogram_edges_cm3"]
    top = max(heights)
    return [(n, h / top) for n, h in enumerate(heights)], number_text(edges[0], 1), number_text(edges[-1], 1)


def _cells(*values: object) -> tuple[Cell, ...]:
    def cell(value: object) -> Cell:
        if isinstance(value, str):
            return Cell(value)
        return Cell(number_text(value, 0 if isinstance(value, int) else 1), "number")

    return tuple(map(cell, values))


def _counts_table(facts: dict[str, Any]) -> Table:
    rows = [_cells("cases", facts["cases"]), _cells("patients", facts["patients"])]
    if facts["copies"]:
        rows.append(_cells("of the cases, changed copies", facts["copies"]))
    rows.append(_cells("with CT", facts["with_ct"]))
    for what, name in (("anatomies", "anatomy"), ("licences", "licence"), ("labels_from", "labels")):
        rows += [_cells(f"{name} {value}", n) for value, n in facts[what].items()]
    return Table("What is there", ("", "number"), tuple(rows))


def _bones_table(facts: dict[str, Any]) -> Table:
    rows = [
        _cells(readable(name), bone["cases"], *bone.get("volume_cm3", (None, None, None)))
        for name, bone in facts["bones"].items()
    ]
    columns = ("bone", "cases", "least cm³", "median cm³", "most cm³")
    return Table("Bones", columns, tuple(rows), note="Volumes of labelled voxels, within the working grid.")


def _grids_table(facts: dict[str, Any]) -> Table:
    rows = [
        _cells(" × ".join(map(str, grid["shape"])), " × ".join(f"{s:.3g}" for s in grid["spacing_mm"]), grid["cases"])
        for grid in facts["grids"]
    ]
    return Table("Grids", ("voxels", "spacing mm", "cases"), tuple(rows))


def _views_table(facts: dict[str, Any]) -> Table:
    rows = [
        _cells(v["view"], v["beam"], " × ".join(map(str, v["pixels"])), v["source_detector_mm"], v["cases"])
        for v in facts["views"]
    ]
    return Table("Radiographs", ("view", "beam", "pixels", "source to detector mm", "cases"), tuple(rows))


def _groups_table(facts: dict[str, Any]) -> Table:
    rows = []
    for name, group in facts["groups"].items():
        if "range" in group:
            low, middle, high = (number_text(v, 1) for v in group["range"])
            told = f"{low} to {high}, median {middle}"
        else:
            told = ", ".join(f"{value}: {n}" for value, n in group["values"].items())
            told += f" and {group['more_values']} more" if group["more_values"] else ""
        rows.append(_cells(readable(name), group["cases"], group["unstated"], told))
    return Table("Groups", ("group", "stated", "unstated", "values"), tuple(rows))


def _splits_table(facts: dict[str, Any]) -> Table:
    rows = []
    for name, split in facts["splits"].items():
        parts = [f"{split[part]['cases']} ({split[part]['patients']})" for part in PARTS]
        shared = split["patients_in_several_parts"]
        leak = Cell(number_text(shared, 0), "problem" if shared else "number")
        rows.append((*_cells(name, *parts, split["in_no_part"], split["without_case"]), leak))
    columns = ("file", *PARTS, "in no part", "ids without case", "patients in several parts")
    return Table("Splits", columns, tuple(rows), note="Cases, and patients in brackets.")


def _curation_table(facts: dict[str, Any]) -> Table:
    found = facts["curation"]
    if not found:
        return Table("Curation", ("",), ())
    rows = [_cells("accepted", found["accepted"]), _cells("rejected", found["rejected"])]
    rows += [_cells(f"rejected by {rule or UNSTATED}", n) for rule, n in found["rejected_by_rule"].items()]
    rows += [_cells(f"marked by {rule}", n) for rule, n in found["flagged_by_rule"].items()]
    return Table("Curation", ("", "scans or bones"), tuple(rows), note="Every reason is in curation.csv.")
