"""From a CT and its labels to case folders: read, judge, cut out, resample, render, write.

One pair is one unit of work: it depends on its files and the options alone, writes every case folder under a temporary
name and renames it, and leaves a record beside them, by which a rerun knows what is done already.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from boneray.anatomy.registry import Anatomy
from boneray.anatomy.registry import anatomy as find_anatomy
from boneray.core.bones import bone
from boneray.core.case import Case
from boneray.core.errors import DataError, InputError
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap, Volume
from boneray.datasets.augmentation import Limits, copies, wider
from boneray.datasets.curation import Verdict, judge, rejected_row, write_thumbnail
from boneray.datasets.output_folder import UNFINISHED
from boneray.datasets.paired import NotRegistered, registered_case
from boneray.datasets.regions import REGIONS, Region, as_fine, largest_parts, surroundings, working_grid
from boneray.datasets.registry import Pair, Rule
from boneray.datasets.scan import (
    AIR_HU,
    Scan,
    annotated_centres_mm,
    grouping,
    hounsfield,
    label_files,
    load_scan,
    restricted,
)
from boneray.datasets.views import check_rendering, preset_radiographs, standard_radiographs
from boneray.geometry.resample import resample_labels, resample_volume
from boneray.io.case_folder import write_case
from boneray.io.files import json_text, read_json, safe_name, write_json

__all__ = ["PrepareOptions", "content_key", "hounsfield", "prepare_pair"]

Orientation = Literal["auto", "header", "flip-j"]
RECORDS = "records"
REJECTED = "rejected"
FORMAT = 2  # of what is written; part of the content key, so that a change makes cases anew


@dataclass(frozen=True)
class PrepareOptions:
    """How pairs become cases; stored in every case.json.

    Attributes:
        anatomy: what to cut out.
        targets: bones to make one case each of (one-bone anatomies); empty for all there are.
        voxels, size_mm: working grid; None for the anatomy's.
        views, pixels: radiographs to render.
        orientation: `auto` repairs a mirrored second axis when the anatomy says so, `header`
            trusts the file, `flip-j` flips the second axis whatever the anatomy says.
        intensity_zero: grey value of air for a volume that is not in HU; None for HU.
        resample: put labels of another grid onto the CT's instead of refusing them.
        licence: of the source data.
        region: which part of the scan, see `regions.working_grid`.
        shape: of the grid where the region is the field of view.
        preset: a published geometry and weight of the radiographs; `pixels` is then its own.
        beam: a named beam for polychromatic radiographs with a million photons per pixel.
        isolate: everything but the bones becomes air before the radiographs are taken.
        largest: of every bone only its largest piece is kept.
        z_score: mean and SD of the case's CT on the working grid are stored.
        copies: changed copies of every case, made as `augmentation` says from `copy_seed`.
    """

    anatomy: str
    targets: tuple[str, ...] = ()
    voxels: int | None = None
    size_mm: float | None = None
    views: tuple[str, ...] = ()
    pixels: int = 256
    orientation: Orientation = "auto"
    intensity_zero: float | None = None
    resample: bool = False
    licence: str = "unstated"
    region: Region = "bones"
    shape: tuple[int, int, int] | None = None
    preset: str = ""
    beam: str = ""
    isolate: bool = False
    largest: bool = False
    z_score: bool = False
    copies: int = 0
    copy_seed: int = 0

    def __post_init__(self) -> None:
        find_anatomy(self.anatomy)
        check_rendering(self.views, pixels=self.pixels, voxels=self.voxels)
        if self.size_mm is not None and not 10.0 <= self.size_mm <= 2000.0:
            raise InputError(f"size {self.size_mm} mm of the working grid must lie in 10..2000 mm")
        if self.intensity_zero is not None and not np.isfinite(self.intensity_zero):
            raise InputError(f"intensity zero {self.intensity_zero} must be a finite grey value")
        if self.region not in REGIONS:
            raise InputError(f"region '{self.region}' is unknown; choose one of {', '.join(REGIONS)}")
        if (self.region == "field") != (self.shape is not None):
            raise InputError("a shape is needed for the region 'field', and only there")
        if self.preset and self.beam:
            raise InputError(f"preset '{self.preset}' knows no beam; leave out one of them")
        if self.copies < 0 or (self.copies and self.preset):
            raise InputError(
                f"{self.copies} copies cannot be made"
                + (f": preset '{self.preset}' has none" if self.preset else "; give 0 or more")
            )


def prepare_pair(
    pair: Pair, options: PrepareOptions, out: Path, *, rules: Iterable[Rule] = (), dry: bool = False
) -> list[dict[str, Any]]:
    """Write the case folder(s) of one pair; what was made from the same input is kept.

    Args:
        rules: what is asked of the scan and of each bone; a rejected one is a row and a thumbnail.
        dry: judge only, write nothing.
    Returns:
        One row per case: case_id, patient_id, status (ok or rejected), notes, flags, and for a
        rejected one rule and reason.
    Raises:
        GeometryError: CT and labels on different grids.
        DataError: empty labels, no bone of the anatomy, or intensities that are not HU.
    """
    rules = tuple(rules)
    kind = find_anatomy(options.anatomy)
    safe_name(pair.case_id, "case")
    key = content_key(pair, options, rules)
    done = None if dry else _done_before(out, pair, key)
    if done is not None:
        return done
    scan = load_scan(
        pair,
        anatomy=kind.name,
        wanted=kind.bones,
        orientation=options.orientation,
        intensity_zero=options.intensity_zero,
        resample=options.resample,
    )
    present = tuple(scan.present(kind.bones))
    if not present and not rules:
        raise _no_bone_of(kind, scan)
    verdict = judge(scan, present, rules, kind, each=False) if present else _absent(kind)
    if verdict.accepted:
        notes = [*scan.notes, *_frame_notes(scan, options)]
        common = (notes, list(verdict.flags), key)
        rows = [
            row
            for target, bones in _targets(scan, kind, present, options)
            for row in _one_case(scan, target, bones, kind, options, rules, common, out, dry)
        ]
    else:
        rows = [rejected_row(pair, verdict.rule, verdict.reason, verdict.flags)]
        if not dry:
            write_thumbnail(out / REJECTED / f"{pair.case_id}.png", scan, rows[0]["reason"])
    if not dry:
        write_json(out / RECORDS / f"{pair.case_id}.json", {"key": key, "rows": rows})
    return rows


def content_key(pair: Pair, options: PrepareOptions, rules: Iterable[Rule] = ()) -> str:
    """SHA-256 of everything the cases of a pair depend on: files, numbering, groups, options, rules."""
    settings = {
        "format": FORMAT,
        "options": vars(options),
        "bones": pair.bones,
        "case": [pair.case_id, pair.patient_id, pair.licence, pair.labels_from],
        "groups": [pair.groups, pair.bone_groups],
        "naming": _signature(pair.naming),
        "centres": pair.centres() if pair.centres is not None else None,
        "rules": [[r.name, r.verdict, r.each, list(r.anatomies), _signature(r.check)] for r in rules],
    }
    digest = hashlib.sha256(json_text(settings).encode())
    ct = sorted(p for p in pair.ct.rglob("*") if p.is_file()) if pair.ct.is_dir() else [pair.ct]
    taken = sorted(pair.radiographs.iterdir()) if pair.radiographs and pair.radiographs.is_dir() else []
    for file in (*ct, *label_files(pair), *taken):
        if file.is_file():
            digest.update(file.name.encode())
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()


def _signature(function: Any) -> list[Any] | None:
    """A function's name and the arguments bound to it, the same in every process."""
    if function is None:
        return None
    if isinstance(function, partial):
        return [function.func.__qualname__, list(function.args), dict(function.keywords)]
    return [function.__qualname__]


def _done_before(out: Path, pair: Pair, key: str) -> list[dict[str, Any]] | None:
    """The rows of an earlier run from the same input, if all it made is there."""
    file = out / RECORDS / f"{pair.case_id}.json"
    if not file.is_file():
        return None
    record = read_json(file, "record")
    rows = record.get("rows", [])
    if record.get("key") != key:
        return None
    made = [row["case_id"] for row in rows if row["status"] == "ok"]
    return rows if all(_key_of(out / case_id) == key for case_id in made) else None


def _key_of(folder: Path) -> str:
    file = folder / "case.json"
    return str(read_json(file, "case file").get("provenance", {}).get("key")) if file.is_file() else ""


def _one_case(
    scan: Scan,
    target: str,
    bones: tuple[str, ...],
    kind: Anatomy,
    options: PrepareOptions,
    rules: tuple[Rule, ...],
    common: tuple[list[str], list[str], str],
    out: Path,
    dry: bool,
) -> list[dict[str, Any]]:
    """Judge one bone (or take all), write its folder and those of its copies, and give their rows."""
    notes, flags, key = common
    pair = scan.pair
    case_id = f"{pair.case_id}-{target}" if kind.one_bone else pair.case_id
    if kind.one_bone:
        verdict = judge(scan, bones, rules, kind, each=True)
        flags = [*flags, *verdict.flags]
        if not verdict.accepted:
            row = rejected_row(pair, verdict.rule, verdict.reason, flags, case_id)
            if not dry:
                write_thumbnail(out / REJECTED / f"{case_id}.png", scan, row["reason"])
            return [row]
    copied: list[dict[str, Any]] = []
    if not dry:
        try:
            case = _case_of(scan, target, bones, kind, options, case_id)
        except NotRegistered as error:
            return [rejected_row(pair, "registration", str(error), flags, case_id)]
        lost = _lost(case, bones)
        if len(lost) == len(bones):
            return [rejected_row(pair, "lost", f"no bone is left on {_grid_words(case)}", flags, case_id)]
        flags = [*flags, *([f"lost: {', '.join(lost)} on {_grid_words(case)}"] if lost else [])]
        provenance = {
            "source": {"ct": pair.ct.name, "labels": pair.labels.name, "grid": scan.source_grid.to_dict()},
            "prepared": {k: v for k, v in vars(options).items() if k != "licence"},
            "second_axis_flipped": scan.repaired,
            "frame_evidence": list(scan.findings.evidence),
            "notes": notes,
            "flags": flags,
            "key": key,
        }
        case = replace(
            case,
            case_id=case_id,
            patient_id=pair.patient_id,
            target=target,
            provenance=provenance | case.provenance,
            licence=pair.licence or options.licence,
            groups=grouping(scan, target),
            labels_from=pair.labels_from,
        )
        _write_folder(out, case)
        copied = _write_copies(out, case, scan, bones, options)
    row = {"case_id": case_id, "patient_id": pair.patient_id, "status": "ok", "notes": notes, "flags": flags}
    return [row, *copied]


def _write_copies(
    out: Path, case: Case, scan: Scan, bones: tuple[str, ...], options: PrepareOptions
) -> list[dict[str, Any]]:
    """Write changed copies of a case, what enters its grid taken from the whole scan; gives their rows."""
    if not options.copies or case.labels is None:
        return []
    around = resample_labels(_kept(scan, bones, options), wider(case.labels.grid, Limits()))
    rows: list[dict[str, Any]] = []
    for made in copies(case, options.copies, seed=options.copy_seed, around=around):
        _write_folder(out, made)
        row = {"case_id": made.case_id, "patient_id": made.patient_id, "status": "ok", "copy_of": case.case_id}
        rows.append(row | {"notes": [], "flags": []})
    return rows


def _lost(case: Case, bones: tuple[str, ...]) -> list[str]:
    """Bones that the working grid does not show: too thin for its voxels, or outside."""
    assert case.labels is not None
    return [name for name in bones if bone(name).bone_id not in case.labels.ids]


def _grid_words(case: Case) -> str:
    assert case.labels is not None
    grid = case.labels.grid
    size = " x ".join(map(str, grid.shape))
    return f"a grid of {size} voxels of {max(grid.spacing_mm):.3g} mm; use more or smaller ones"


def _write_folder(out: Path, case: Case) -> None:
    """Write a case folder under a temporary name and rename it: it is there whole or not at all."""
    folder, temporary = out / case.case_id, out / f"{UNFINISHED}{case.case_id}-{os.getpid()}"
    earlier = temporary.with_name(f"{temporary.name}-earlier")
    for place in (folder, temporary):
        if place.is_symlink():
            raise InputError(f"case folder {place} is a link; it cannot be written through, remove it")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        write_case(temporary, case)
        if folder.exists():
            os.replace(folder, earlier)
        os.replace(temporary, folder)
    except OSError as error:
        raise InputError(f"case folder {folder} cannot be written: {error.strerror or error}") from None
    finally:
        for place in (temporary, earlier):
            shutil.rmtree(place, ignore_errors=True)


def _frame_notes(scan: Scan, options: PrepareOptions) -> list[str]:
    findings, notes = scan.findings, []
    if scan.repaired and options.orientation == "auto":
        notes.append("frame_implausible: mirrored header (the bones are back to front); second axis flipped")
    elif scan.repaired:
        notes.append("second axis flipped as asked (--orientation flip-j)")
    if findings.mirrored:
        notes.append("frame_implausible: the bones are back to front; use --orientation auto to repair it")
    if findings.forward_mm is None:
        notes.append("no bone here tells front from back; the header is trusted")
    return notes + list(findings.problems)


def _absent(kind: Anatomy) -> Verdict:
    return Verdict("absent", f"no bone of anatomy {kind.name} is labelled")


def _no_bone_of(kind: Anatomy, scan: Scan) -> DataError:
    pair = scan.pair
    if pair.parts:
        return DataError(f"the masks in {pair.labels} hold no bone of anatomy {kind.name}")
    known = ", ".join(f"{i}={pair.bones[i]}" for i in scan.ids if i in pair.bones) or "no known id"
    return DataError(
        f"label map {pair.labels} holds no bone of anatomy {kind.name} (ids {_few(scan.ids)}: {known}); "
        "check --label-map"
    )


def _targets(
    scan: Scan, kind: Anatomy, present: tuple[str, ...], options: PrepareOptions
) -> list[tuple[str, tuple[str, ...]]]:
    if not kind.one_bone:
        return [("", present)]
    wanted = [bone(name).name for name in options.targets] or list(present)
    missing = [name for name in wanted if name not in present]
    if missing:
        raise DataError(f"target {', '.join(missing)} is not in the labels; there are {', '.join(present)}")
    return [(name, (name,)) for name in wanted]


def _case_of(
    scan: Scan, target: str, bones: tuple[str, ...], kind: Anatomy, options: PrepareOptions, case_id: str
) -> Case:
    """Rendered from the CT, or with the patient's real radiographs."""
    if scan.pair.radiographs is not None:
        return registered_case(scan, bones, kind, options)
    return _cut_out(scan, target, bones, kind, options, case_id)


def _cut_out(
    scan: Scan, target: str, bones: tuple[str, ...], kind: Anatomy, options: PrepareOptions, case_id: str
) -> Case:
    """Working grid about the bones, labels on it, the CT around it, radiographs of that CT."""
    keep = _kept(scan, bones, options)
    grid = working_grid(
        options.region,
        keep,
        kind,
        voxels=options.voxels or kind.grid_voxels,
        size_mm=kind.grid_size_mm if options.size_mm is None else options.size_mm,
        shape=options.shape,
        annotated_mm=annotated_centres_mm(scan).get(target) if options.region == "annotated" else None,
    )
    labels = resample_labels(keep, grid)
    field = _ct_grid(scan.ct.grid, grid, options)
    scene = resample_volume(scan.ct, field, fill=AIR_HU)
    scene = Volume(np.clip(np.round(scene.data), -1024, 32767).astype(np.int16), field)
    if options.isolate:
        scene = _isolated(scene, labels)
    provenance: dict[str, Any] = {}
    if options.z_score:
        values = scene.data.astype(np.float64)
        provenance["z_score"] = {"mean_hu": float(values.mean()), "sd_hu": float(values.std())}
    views = options.views or kind.views
    if options.preset or options.beam:
        radiographs, provenance["rendering"] = preset_radiographs(
            scene, grid, views, pixels=options.pixels, preset=options.preset, beam=options.beam, seed_name=case_id
        )
    else:
        radiographs = standard_radiographs(scene, grid, views, pixels=options.pixels)
    return Case(
        case_id="",
        patient_id="",
        anatomy=kind.name,
        target="",
        labels=labels,
        ct=scene,
        radiographs=radiographs,
        provenance=provenance,
    )


def _kept(scan: Scan, bones: tuple[str, ...], options: PrepareOptions) -> LabelMap:
    """The bones that are cut out, on the scan's grid."""
    keep = restricted(scan, bones)
    return largest_parts(keep) if options.largest else keep


def _ct_grid(ct: Grid, grid: Grid, options: PrepareOptions) -> Grid:
    """Where the CT of a case is kept."""
    if options.region in ("native", "field") or options.isolate:
        return grid
    return as_fine(ct, grid) if options.preset else surroundings(ct, grid)


def _isolated(ct: Volume, labels: LabelMap) -> Volume:
    """The CT with air in every voxel that is no bone; both on one grid."""
    return Volume(np.where(labels.data > 0, ct.data, np.int16(AIR_HU)).astype(np.int16), ct.grid)


def _few(ids: tuple[int, ...]) -> str:
    return ", ".join(map(str, ids[:8])) + (" ..." if len(ids) > 8 else "")
