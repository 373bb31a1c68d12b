"""Commands that make case folders: phantom, prepare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from boneray.cli.output import progress, say, show_json

Out = Annotated[Path, typer.Option("--out", "-o", help="Folder to write to.")]
Force = Annotated[bool, typer.Option("--force", help="Write into a folder that already holds a result.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
AnatomyName = Annotated[str, typer.Option("--anatomy", "-a", help="femur, pelvis, vertebra, spine, ribs or all.")]
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
LabelMapName = Annotated[
    str | None, typer.Option("--label-map", help="How ids name bones: a known data set's name, or 1=sacrum,2=hip_left.")
]


class DataSets(TyperGroup):
    """`prepare` has a command for every registered data set, made from the one for nnU-Net's layout."""

    def list_commands(self, ctx: Any) -> list[str]:
        from boneray.datasets.registry import DATASETS

        return ["pairs", *(entry.name for entry in DATASETS)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in self.list_commands(ctx):
            return None
        return super().get_command(ctx, cmd_name if cmd_name == "pairs" else "nnunet")


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
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Turn one CT and its labels into case folders: check the frame, crop, resample, render.

    Example: boneray prepare pairs --ct ct.nii.gz --labels bones.nii.gz --label-map totalsegmentator
    --anatomy pelvis --out data/pelvis
    """
    from boneray.datasets.label_maps import label_map as known_map
    from boneray.datasets.registry import Pair
    from boneray.evaluation.inputs import case_name

    name = case_id or case_name(ct)
    pair = Pair(name, patient or name, ct, labels, known_map(label_map or "boneray"))
    options = _options(anatomy, target, voxels, size_mm, views, pixels, orientation, intensity_zero, resample, licence)
    _prepare([pair], options, name, out, force, as_json)


@prepare_app.command("nnunet")
def prepare_dataset(
    context: typer.Context,
    source: Annotated[Path, typer.Option("--source", help="The data set's folder, as its owners publish it.")],
    anatomy: AnatomyName,
    out: Out,
    label_map: LabelMapName = None,
    target: Targets = None,
    voxels: Voxels = None,
    size_mm: SizeMm = None,
    views: Views = "",
    pixels: Pixels = 256,
    orientation: Orientation = "auto",
    intensity_zero: Zero = None,
    resample: Resample = False,
    licence: Licence = "unstated",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Turn a data set into case folders; rejected scans are listed with their reason.

    Example: boneray prepare nnunet --source Dataset010_Pelvis --anatomy pelvis --out data/pelvis
    """
    from boneray.datasets.registry import DATASETS

    pairs = list(DATASETS.get(str(context.info_name)).value.pairs(source, label_map))
    options = _options(anatomy, target, voxels, size_mm, views, pixels, orientation, intensity_zero, resample, licence)
    _prepare(pairs, options, source.name, out, force, as_json)


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
    from boneray.core.errors import ConfigError
    from boneray.core.registry import unknown_name
    from boneray.datasets.prepare import PrepareOptions

    known = ["auto", "header", "flip-j"]
    if orientation not in known:
        raise ConfigError(unknown_name("orientation", orientation, known))
    return PrepareOptions(
        anatomy=anatomy,
        targets=tuple(target or ()),
        voxels=voxels,
        size_mm=size_mm,
        views=_names(views),
        pixels=pixels,
        orientation=orientation,  # type: ignore[arg-type]
        intensity_zero=zero,
        resample=resample,
        licence=licence,
    )


def _prepare(pairs: list[Any], options: Any, name: str, out: Path, force: bool, as_json: bool) -> None:
    from boneray.datasets.collection import prepare_collection

    made = prepare_collection(pairs, options, name=name, out=out, force=force, progress=progress("cases", len(pairs)))
    if as_json:
        show_json(made)
        return
    for row in made["cases"]:
        for note in row.get("notes", [row.get("reason")]):
            say(f"{row['case_id']}: {note}")
    say(f"{made['made']} case(s) in {out}, {made['rejected']} rejected")


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
