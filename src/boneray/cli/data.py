"""Commands that make case folders: phantom, prepare."""

from __future__ import annotations

from copy import copy
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from boneray.cli.output import progress, say, show_json

Out = Annotated[Path, typer.Option("--out", "-o", help="Folder to write to.")]
Force = Annotated[bool, typer.Option("--force", help="Write into a folder that already holds a result.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
AnatomyName = Annotated[str, typer.Option("--anatomy", "-a", help="One of `boneray list anatomies`.")]
Targets = Annotated[
    list[str] | None, typer.Option("--target", help="Bone(s) to make a case of; default: all there are.")
]
Voxels = Annotated[int | None, typer.Option(help="Voxels along each edge of the working grid.")]
SizeMm = Annotated[float | None, typer.Option(help="Edge of the working grid in mm.")]
Views = Annotated[str, typer.Option(help="Views to render: ap, lat or angles in degrees, separated by commas.")]
Pixels = Annotated[int, typer.Option(help="Pixels along each edge of a radiograph.")]
Orientation = Annotated[str, typer.Option(help="auto: repair a mirrored header by anatomy; header: trust it; flip-j.")]
Zero = Annotated[float | None, typer.Option(help="Grey value of air, for a CT that is not in HU.")]
Resample = Annotated[bool, typer.Option("--resample", help="Accept labels on another grid than the CT's.")]
Licence = Annotated[str, typer.Option(help="Licence of the source data, stored with every case.")]
LabelsMade = Annotated[
    str, typer.Option("--labels-from", help="How the labels were made: manual, semi-automatic, model.")
]
LabelMapName = Annotated[
    str | None, typer.Option("--label-map", help="How ids name bones: a known data set's name, or 1=sacrum,2=hip_left.")
]


class DataSets(TyperGroup):
    """`prepare` has a command for every registered data set, made from the one for nnU-Net's layout."""

    def list_commands(self, ctx: Any) -> list[str]:
        from boneray.datasets.registry import DATASETS

        return ["pairs", *(entry.name for entry in DATASETS)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name == "pairs":
            return super().get_command(ctx, cmd_name)
        from boneray.datasets.registry import DATASETS

        summaries = {entry.name: entry.summary for entry in DATASETS}
        if cmd_name not in summaries:
            return None
        command = copy(super().get_command(ctx, "nnunet"))
        command.name, command.short_help = cmd_name, summaries[cmd_name]  # type: ignore[union-attr]
        return command


prepare_app = typer.Typer(help="Turn CT and labels into case folders.", no_args_is_help=True, cls=DataSets)


def add_commands(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(phantom)
    app.add_typer(prepare_app, name="prepare")


def phantom(
    anatomy: Annotated[str, typer.Argument(help="femur, pelvis, vertebra, spine or ribs.")],
    out: Out,
    cases: Annotated[int, typer.Option(help="Number of patients.")] = 10,
    seed: Annotated[int, typer.Option(help="Same seed, same patients.")] = 0,
    voxels: Voxels = None,
    pixels: Pixels = 256,
    views: Views = "",
    deformity: Annotated[
        str, typer.Option(help="none, or what the anatomy offers (`boneray list phantoms`).")
    ] = "none",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Write phantom patients whose bones and measurements are known exactly.

    Example: boneray phantom femur --cases 20 --seed 1 --out data/femur
    """
    from boneray.datasets.phantom import write_phantoms

    made = write_phantoms(
        anatomy,
        cases=cases,
        seed=seed,
        out=out,
        voxels=voxels,
        pixels=pixels,
        views=_names(views),
        deformity=deformity,
        force=force,
        progress=progress("phantoms", cases),
    )
    show_json(made) if as_json else say(f"{made['cases']} {anatomy} phantoms in {out}")


@prepare_app.command("pairs")
def prepare_pairs(
    ct: Annotated[Path, typer.Option("--ct", help="CT volume, NIfTI.")],
    labels: Annotated[Path, typer.Option("--labels", help="Label map, NIfTI, on the same grid.")],
    anatomy: AnatomyName,
    out: Out,
    label_map: LabelMapName = "boneray",
    case_id: Annotated[str, typer.Option("--case", help="Name of the case; default: the CT's file name.")] = "",
    patient: Annotated[str, typer.Option(help="Name of the patient; default: the case's.")] = "",
    target: Targets = None,
    voxels: Voxels = None,
    size_mm: SizeMm = None,
    views: Views = "",
    pixels: Pixels = 256,
    orientation: Orientation = "auto",
    intensity_zero: Zero = None,
    resample: Resample = False,
    licence: Licence = "unstated",
    labels_from: LabelsMade = "unstated",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Turn one CT and its labels into case folders: check the frame, crop, resample, render.

    Example: boneray prepare pairs --ct ct.nii.gz --labels bones.nii.gz --label-map totalsegmentator
    --anatomy pelvis --out data/pelvis
    """
    from boneray.datasets.label_maps import label_map as known_map
    from boneray.datasets.registry import Pair, how_labels_were_made
    from boneray.evaluation.inputs import case_name

    name = case_id or case_name(ct)
    pair = Pair(
        name,
        patient or name,
        ct,
        labels,
        known_map(label_map or "boneray"),
        labels_from=how_labels_were_made(labels_from),
    )
    options = _options(anatomy, target, voxels, size_mm, views, pixels, orientation, intensity_zero, resample, licence)
    _prepare([pair], options, name, out, force, as_json)


@prepare_app.command("nnunet")
def prepare_dataset(
    context: typer.Context,
    source: Annotated[Path, typer.Option("--source", help="The data set's folder, as its owners publish it.")],
    out: Out,
    anatomy: Annotated[
        str, typer.Option("--anatomy", "-a", help="What to cut out; default: what it is known for.")
    ] = "",
    preset: Annotated[str, typer.Option(help="By a paper's rules: xrayto3d, swin-x2s or ear.")] = "",
    label_map: LabelMapName = None,
    target: Targets = None,
    voxels: Voxels = None,
    size_mm: SizeMm = None,
    views: Views = "",
    pixels: Annotated[int | None, typer.Option(help="Pixels along each edge of a radiograph.")] = None,
    orientation: Orientation = "auto",
    intensity_zero: Zero = None,
    resample: Resample = False,
    licence: Annotated[str, typer.Option(help="Licence of the source data; default: what its owners state.")] = "",
    native: Annotated[bool, typer.Option("--native", help="Keep the source's own voxels, nothing resampled.")] = False,
    exclude: Annotated[Path | None, typer.Option(help="JSON list of case ids that are not to be used.")] = None,
    split: Annotated[
        str,
        typer.Option(help="patient, folds, owner, or a published split by name (`--split-file` then holds its ids)."),
    ] = "",
    split_file: Annotated[
        Path | None, typer.Option("--split-file", help="File of a published split, or the folder it lies in.")
    ] = None,
    validation_share: Annotated[float, typer.Option(help="Share of patients for --split patient.")] = 0.15,
    test_share: Annotated[float, typer.Option(help="Share of patients for --split patient.")] = 0.15,
    folds: Annotated[int, typer.Option(help="Number of folds for --split folds.")] = 5,
    seed: Annotated[int, typer.Option(help="Same seed, same split.")] = 0,
    copies: Annotated[int, typer.Option(help="Changed copies of every case, from --seed; for training only.")] = 0,
    workers: Annotated[int, typer.Option(help="Processes, one thread each (with ray: 0 for all there are).")] = 1,
    engine: Annotated[str, typer.Option(help="local, or ray for a cluster.")] = "local",
    part: Annotated[str, typer.Option(help="i/n: only the i-th of n shares, for arrays of jobs.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Judge every scan, write nothing.")] = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Turn a data set into case folders; every rejected scan is in curation.csv with its reason.

    Exit code 1 if a scan could not be read or written. Example: boneray prepare totalsegmentator --source RAW
    --anatomy pelvis --split patient --out data/pelvis
    """
    from boneray.core.errors import ConfigError
    from boneray.datasets.choice import chosen
    from boneray.datasets.collection import prepare_collection, read_excluded, require_cases
    from boneray.datasets.curation import summary_lines
    from boneray.datasets.splitting import SplitOptions, write_split
    from boneray.datasets.workers import parse_part

    if part and split:
        raise ConfigError("a split needs all cases; prepare the parts first, then run once with --split and no --part")
    given: dict[str, Any] = {
        "targets": tuple(target or ()),
        "voxels": voxels,
        "size_mm": size_mm,
        "views": _names(views),
    }
    given |= {"pixels": pixels, "orientation": _orientation(orientation), "intensity_zero": intensity_zero}
    given |= {"resample": resample, "licence": licence, "region": "native" if native else None}
    given |= {"copies": copies or None, "copy_seed": seed if copies else None}
    entry, options = chosen(str(context.info_name), preset=preset, anatomy=anatomy, given=given)
    splitting = SplitOptions(split, split_file, validation_share, test_share, folds, seed) if split else None
    pairs = list(entry.value.cases(source, label_map))
    made = prepare_collection(
        pairs, options, name=entry.name, out=out, rules=entry.value.rules, root=source, single=False,
        excluded=read_excluded(exclude), dry=dry_run, force=force, progress=progress("cases", len(pairs)),
        workers=workers, engine=engine, part=parse_part(part) if part else None,
    )  # fmt: skip
    if not (part and pairs):
        require_cases(made)
    notes = write_split(out, splitting, entry.value, source, force=force) if splitting and not dry_run else []
    if as_json:
        show_json(made | {"split": notes})
    else:
        _say_rows(made["cases"])
        for line in [*summary_lines(made["counts"]), *notes]:
            say(line)
        say(f"{made['made']} case(s) {'would be made' if dry_run else f'in {out}'}, {made['rejected']} rejected")
    raise typer.Exit(1 if made["faults"] else 0)


def _options(
    anatomy: str,
    target: list[str] | None,
    voxels: int | None,
    size_mm: float | None,
    views: str,
    pixels: int,
    orientation: str,
    zero: float | None,
    resample: bool,
    licence: str,
) -> Any:
    from boneray.datasets.prepare import PrepareOptions

    return PrepareOptions(
        anatomy=anatomy,
        targets=tuple(target or ()),
        voxels=voxels,
        size_mm=size_mm,
        views=_names(views),
        pixels=pixels,
        orientation=_orientation(orientation),
        intensity_zero=zero,
        resample=resample,
        licence=licence,
    )


def _orientation(name: str) -> Any:
    from boneray.core.errors import ConfigError
    from boneray.core.registry import unknown_name

    known = ["auto", "header", "flip-j"]
    if name not in known:
        raise ConfigError(unknown_name("orientation", name, known))
    return name


def _prepare(pairs: list[Any], options: Any, name: str, out: Path, force: bool, as_json: bool) -> None:
    from boneray.datasets.collection import prepare_collection

    made = prepare_collection(pairs, options, name=name, out=out, force=force, progress=progress("cases", len(pairs)))
    if as_json:
        show_json(made)
        return
    _say_rows(made["cases"])
    say(f"{made['made']} case(s) in {out}, {made['rejected']} rejected")


def _say_rows(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        for note in [*row.get("notes", [row.get("reason")]), *row.get("flags", [])]:
            say(f"{row['case_id']}: {note}")


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
