"""Commands of depth and shape: `boneray depth`, `boneray depth-predict`, `boneray pretrain`, `boneray shape ...`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from boneray.cli.data import Force, Json, Out
from boneray.cli.output import say, show_json, show_table

Model = Annotated[Path, typer.Argument(help="Shape model: .npz of boneray, or .pc.npz of gias2.")]
Surface = Annotated[Path | None, typer.Option(help="Mesh with the model's triangles, for a .pc.npz.")]
Mm = float | None


def add_commands(app: typer.Typer) -> None:
    """Add this file's commands."""
    shapes = typer.Typer(name="shape", help="Statistical shape models: build, inspect, fit.", no_args_is_help=True)
    for command in (build, inspect, fit):
        shapes.command()(command)
    app.add_typer(shapes)
    app.command()(depth)
    app.command("depth-predict")(depth_predict)
    app.command()(pretrain)


def build(
    meshes: Annotated[list[Path], typer.Argument(help="Closed surfaces of one bone of many patients.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the model goes, .npz.")],
    template: Annotated[Path | None, typer.Option(help="Surface whose triangles the model gets [the first].")] = None,
    points: Annotated[int, typer.Option(min=50, help="Points of each surface that drift.")] = 700,
    corresponding: Annotated[
        bool, typer.Option("--corresponding", help="Vertices correspond already: no registration.")
    ] = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Build a shape model: register the surfaces, then principal components.

    Example: boneray shape build femora/*.ply -o femur.npz
    """
    import numpy as np

    from boneray.io.files import require_new_file
    from boneray.io.meshes import read_mesh
    from boneray.shape.correspondence import CorrespondenceSettings, aligned, model_of_surfaces
    from boneray.shape.files import write_shape_model
    from boneray.shape.model import shape_model
    from boneray.shape.quality import compactness, generalisation_mm

    require_new_file(out, force=force)
    surfaces = [read_mesh(path) for path in meshes]
    if corresponding:
        _require_equal(meshes, [len(s.vertices_mm) for s in surfaces])
        members = aligned(np.stack([surface.vertices_mm for surface in surfaces]))
        model = shape_model(members, surfaces[0].faces, name=out.stem)
    else:
        pattern = read_mesh(template) if template else None
        settings = CorrespondenceSettings(points=points)
        model, members = model_of_surfaces(surfaces, settings, template=pattern, name=out.stem)
    write_shape_model(out, model)
    left_out = generalisation_mm(members, model.faces).tolist() if len(members) > 2 else []
    facts = {
        "model": str(out),
        "members": len(members),
        "vertices": len(model.mean_mm),
        "modes": model.mode_count,
        "compactness": compactness(model).tolist(),
        "generalisation_mm": left_out,
    }
    if as_json:
        show_json(facts)
        return
    say(f"{out}: {len(members)} members, {model.mode_count} modes, {len(model.mean_mm)} vertices")
    _curves(facts["compactness"], left_out)  # type: ignore[arg-type]


def inspect(model: Model, surface: Surface = None, as_json: Json = False) -> None:
    """Show what a shape model holds: modes with their spread, and share of the variance.

    Example: boneray shape inspect femur.pc.npz --surface femur_mean.ply
    """
    from boneray.shape.files import read_shape_model
    from boneray.shape.quality import compactness

    found = read_shape_model(model, surface=surface)
    share = compactness(found)
    root = len(found.mean_mm) ** 0.5
    rows = [(n + 1, float(sd / root), float(share[n])) for n, sd in enumerate(found.deviations_mm)]
    if as_json:
        keys = ("mode", "rms_mm", "share")
        modes = [dict(zip(keys, row, strict=True)) for row in rows]
        show_json({"name": found.name, "vertices": len(found.mean_mm), "faces": len(found.faces), "modes": modes})
        return
    say(f"{found.name}: {len(found.mean_mm)} vertices, {len(found.faces)} faces, {found.mode_count} modes")
    show_table(("mode", "RMS at 1 SD, mm", "share of variance so far"), rows)


def fit(
    model: Model,
    target: Annotated[
        Path, typer.Argument(help="Part of a surface: mesh (its vertices), or .npy of points in RAS mm.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Completed surface: .stl, .ply, .obj or .glb.")],
    surface: Surface = None,
    faces: Annotated[
        str, typer.Option(help="What the target shows: both faces of the bone, or the front only.")
    ] = "both",
    prior: Annotated[float, typer.Option(min=0, help="Weight of the mean squared mode weights, mm^2.")] = 0.01,
    modes: Annotated[int, typer.Option(min=0, help="Modes to fit, 0 for all.")] = 0,
    fixed_pose: Annotated[bool, typer.Option("--fixed-pose", help="The target lies in the model's frame.")] = False,
    search_pose: Annotated[bool, typer.Option("--search-pose", help="Find a pose first; for whole bones.")] = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Complete a bone: the member of the model that lies best on part of a surface.

    Example: boneray shape fit femur.npz front.ply --faces front -o femur.stl
    """
    import numpy as np

    from boneray.core.errors import ConfigError
    from boneray.io.files import require_new_file
    from boneray.io.meshes import write_mesh
    from boneray.shape.files import read_shape_model
    from boneray.shape.fit import FitSettings, fit_shape
    from boneray.shape.registration import rigid_start

    if faces not in ("both", "front"):
        raise ConfigError(f"--faces '{faces}' is unknown; use both or front")
    require_new_file(out, force=force)
    found = read_shape_model(model, surface=surface)
    points = _points(target)
    settings = FitSettings(faces=faces, prior=prior, modes=modes, pose=not fixed_pose)  # type: ignore[arg-type]
    start = None
    if search_pose:
        every = max(1, len(found.mean_mm) // 2000)
        start = rigid_start(found.mean_mm[::every], points)
    got = fit_shape(found, points, settings, world_from_model=start)
    write_mesh(out, got.mesh)
    if as_json:
        show_json(
            {
                "mesh": str(out),
                "target_to_shape_mm": got.target_to_shape_mm,
                "weights_sd": got.weights.tolist(),
                "world_from_model": np.asarray(got.world_from_model).tolist(),
            }
        )
        return
    far = float(np.abs(got.weights).max())
    say(f"{out}: the target lies {got.target_to_shape_mm:.2f} mm from the surface; largest weight {far:.1f} SD")
    if far > 3:
        say("warning: a weight beyond 3 SD; the bone is unlike the model's members, or its pose is wrong")


def depth(
    target: Annotated[Path, typer.Argument(help="Labels (.nii.gz), a case folder, or a closed mesh.")],
    camera: Annotated[Path, typer.Option(help="cameras.json, case.json, or a MayaCam file.")],
    out: Out,
    view: Annotated[str, typer.Option(help="Which camera of the file [the first].")] = "",
    size: Annotated[int | None, typer.Option(min=2, help="Pixels along the longer edge [the detector's].")] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Front and back depth of each bone along a camera's rays: depth.npz, a cloud and a surface per bone.

    Example: boneray depth labels.nii.gz --camera cameras.json --size 256 --out depth
    """
    import numpy as np

    from boneray.core.bones import bone_name
    from boneray.io.files import prepare_output
    from boneray.io.meshes import read_mesh, write_mesh
    from boneray.projection.mesh_depth import hidden_share, mesh_depth_maps

    seen = _camera(camera, view, size)
    meshes = {1: read_mesh(target)} if target.suffix.lower() in (".stl", ".ply", ".obj", ".glb") else _meshes(target)
    maps = mesh_depth_maps(meshes, seen)
    prepare_output(out, force=force)
    np.savez_compressed(
        out / "depth.npz", bone_ids=np.array(maps.bone_ids), front_mm=maps.front_mm, back_mm=maps.back_mm
    )
    rows = []
    clouds, surfaces, volumes = maps.points(seen), maps.surfaces(seen), maps.volumes_mm3(seen)
    for number, (bone_id, mesh) in enumerate(meshes.items()):
        name = target.stem if len(meshes) == 1 and bone_id == 1 else bone_name(bone_id)
        np.save(out / f"{name}_points.npy", clouds[number])
        made = surfaces[number]
        if made is not None:
            write_mesh(out / f"{name}.ply", made)
        rows.append((name, len(clouds[number]), volumes[number] / 1000.0, hidden_share(mesh, seen)))
    if as_json:
        keys = ("bone", "points", "volume_ml", "hidden_share")
        show_json({"folder": str(out), "bones": [dict(zip(keys, row, strict=True)) for row in rows]})
        return
    show_table(("bone", "points", "volume between the faces, ml", "hidden share of the surface"), rows)


def depth_predict(
    radiograph: Annotated[Path, typer.Argument(help="DICOM, or a picture (bone bright) with --camera.")],
    checkpoint: Annotated[Path, typer.Option(help="Checkpoint of a depth network (depth_3ddx).")],
    out: Out,
    masks: Annotated[Path | None, typer.Option(help="Checkpoint of a mask network; without, all pixels count.")] = None,
    camera: Annotated[Path | None, typer.Option(help="cameras.json or MayaCam file of a picture.")] = None,
    view: Annotated[str, typer.Option(help="View of a DICOM or camera file that does not say so: ap, lat ...")] = "",
    sdd_mm: Annotated[Mm, typer.Option(help="Source-detector distance, where the DICOM lacks it.")] = None,
    sod_mm: Annotated[Mm, typer.Option(help="Source-object distance, where the DICOM lacks it.")] = None,
    centre_depth_mm: Annotated[
        Mm, typer.Option(help="Move all depths to this mean (a CASI network leaves it open).")
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Predict front and back depth from one radiograph: depth.npz, a cloud and a surface per bone in RAS mm.

    Example: boneray depth-predict hip.dcm --checkpoint run --sdd-mm 1150 --view ap --out d
    """
    import numpy as np

    from boneray.core.errors import GeometryError, InputError
    from boneray.io.files import prepare_output
    from boneray.io.meshes import write_mesh
    from boneray.reconstruction.depth import predict_depth, read_radiograph

    try:
        picture, notes = read_radiograph(radiograph, camera=camera, view=view, sdd_mm=sdd_mm, sod_mm=sod_mm)
    except (InputError, GeometryError) as error:  # the library names its arguments, a person types options
        said = str(error).replace("source_detector_mm", "--sdd-mm").replace("source_object_mm", "--sod-mm")
        raise type(error)(said) from None
    found = predict_depth(picture, checkpoint, masks=masks, centre_depth_mm=centre_depth_mm)
    prepare_output(out, force=force)
    maps = found.maps
    np.savez_compressed(
        out / "depth.npz", bone_ids=np.array(maps.bone_ids), front_mm=maps.front_mm, back_mm=maps.back_mm
    )
    clouds, surfaces = maps.points(found.camera), maps.surfaces(found.camera)
    rows = []
    for name, cloud, made, volume in zip(found.names, clouds, surfaces, maps.volumes_mm3(found.camera), strict=True):
        np.save(out / f"{name}_points.npy", cloud)
        if made is not None:
            write_mesh(out / f"{name}.ply", made)
        rows.append((name, len(cloud), volume / 1000.0))
    if as_json:
        keys = ("bone", "points", "volume_ml")
        bones = [dict(zip(keys, row, strict=True)) for row in rows]
        show_json({"folder": str(out), "warnings": list(notes), "camera": found.camera.to_dict(), "bones": bones})
        return
    for note in notes:
        say(f"warning: {note}")
    show_table(("bone", "points", "volume between the faces, ml"), rows)


def pretrain(
    data: Annotated[Path, typer.Argument(help="Folder with PNG or TIFF radiographs, also in sub-folders.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Encoder, .safetensors.")],
    pixels: Annotated[int, typer.Option(min=64, help="Edge of the pictures, a multiple of 32.")] = 256,
    steps: Annotated[int, typer.Option(min=1)] = 2000,
    batch_size: Annotated[int, typer.Option(min=1)] = 16,
    ratio: Annotated[float, typer.Option(help="Share of hidden squares.")] = 0.75,
    seed: Annotated[int, typer.Option()] = 0,
    narrow: Annotated[bool, typer.Option("--narrow", help="The narrow encoder, for trials.")] = False,
    force: Force = False,
) -> None:
    """Pre-train the encoder of depth_3ddx on radiographs without labels.

    Example: boneray pretrain xrays -o encoder.safetensors; then --set model.pretrained=encoder.safetensors
    """
    import torch

    from boneray.core.errors import DataError
    from boneray.core.seeds import derived_seed
    from boneray.io.files import require_new_file
    from boneray.io.images import read_picture
    from boneray.models.batch import standardised
    from boneray.models.depth_3ddx import NARROW
    from boneray.models.masked_pretraining import PretrainSettings, write_encoder
    from boneray.models.masked_pretraining import pretrain as learn
    from boneray.models.nfnet import NFNet, NFNetSettings

    require_new_file(out, force=force)
    files = sorted(path for path in data.rglob("*") if path.suffix.lower() in (".png", ".tif", ".tiff"))
    if not files:
        raise DataError(f"folder {data} holds no PNG or TIFF; give one with radiographs")
    stacked = []
    for path in files:
        one = torch.from_numpy(standardised(read_picture(path)))[None, None]
        stacked.append(torch.nn.functional.interpolate(one, size=(pixels, pixels), mode="area")[0])
    pictures = torch.stack(stacked)
    torch.manual_seed(derived_seed(seed, "weights"))
    encoder = NFNet(1, NARROW.encoder if narrow else NFNetSettings())
    learn(encoder, pictures, PretrainSettings(ratio=ratio, steps=steps, batch_size=batch_size), seed=seed, say=say)
    write_encoder(out, encoder)
    say(f"{out}: encoder of {sum(p.numel() for p in encoder.parameters()):,} weights from {len(files)} pictures")


def _require_equal(names: list[Path], counts: list[int]) -> None:
    from boneray.core.errors import DataError

    for name, count in zip(names, counts, strict=True):
        if count != counts[0]:
            raise DataError(f"mesh {name} has {count} vertices, {names[0]} {counts[0]}; leave --corresponding away")


def _curves(compact: list[float], left_out: list[float]) -> None:
    rows = [(n + 1, share, left_out[n + 1] if n + 1 < len(left_out) else None) for n, share in enumerate(compact[:20])]
    show_table(("modes", "share of variance", "error of a member left out, mm"), rows)


def _points(path: Path):  # type: ignore[no-untyped-def]  # numpy is imported late
    import numpy as np

    from boneray.core.errors import InputError
    from boneray.io.files import require_file
    from boneray.io.meshes import read_mesh

    if path.suffix == ".npy":
        try:
            return np.load(require_file(path, "points"), allow_pickle=False)
        except ValueError as error:
            raise InputError(f"points {path} cannot be read: {str(error).splitlines()[0]}") from None
    return read_mesh(path).vertices_mm


def _camera(path: Path, view: str, size: int | None):  # type: ignore[no-untyped-def]
    from boneray.core.errors import InputError
    from boneray.projection.ct_radiographs import read_any_cameras

    cameras = read_any_cameras(path)
    if view and view not in cameras:
        raise InputError(f"camera file {path} has no view {view}; it has {', '.join(cameras)}")
    seen = cameras[view] if view else next(iter(cameras.values()))
    if size is None:
        return seen
    rows, columns = seen.detector_shape
    share = size / max(rows, columns)
    return seen.resized((max(1, round(rows * share)), max(1, round(columns * share))))


def _meshes(path: Path):  # type: ignore[no-untyped-def]
    from boneray.core.errors import DataError
    from boneray.geometry.surface import bone_mesh
    from boneray.io.case_folder import read_case
    from boneray.io.nifti import read_labels

    labels = read_case(path).labels if path.is_dir() else read_labels(path)
    if labels is None or not labels.ids:
        raise DataError(f"{path} holds no labelled bone; depth needs one at least")
    return {bone_id: bone_mesh(labels, bone_id) for bone_id in labels.ids}
