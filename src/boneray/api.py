"""The Python API: films in, bones and measurements out. Research use only, not a medical device."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from boneray.anatomy.registry import ANATOMIES
from boneray.core.bones import bone_name
from boneray.core.errors import ConfigError
from boneray.core.measurement import Measurement
from boneray.core.radiograph import Radiograph
from boneray.core.volume import LabelMap
from boneray.reconstruction.answer import Answer, Wishes, answered
from boneray.reconstruction.calibration import calibration_of
from boneray.reconstruction.radiographs import LoadedRadiographs, LoadedView, load_radiographs
from boneray.reconstruction.reconstruct import Reconstruction, Reconstructor, write_reconstruction

__all__ = ["load_radiographs", "measure", "reconstruct"]


def reconstruct(
    films: LoadedRadiographs | Mapping[str, Radiograph | str | Path],
    *,
    checkpoint: str | Path,
    bone: str = "",
    wishes: Wishes | None = None,
    runtime: str = "auto",
    out: str | Path | None = None,
    force: bool = False,
) -> Answer:
    """The bones in a patient's films: `answer.result` has labels, meshes (RAS mm) and warnings.

    Args:
        films: what `load_radiographs` gave; or radiographs, or files that need no further geometry, by view.
        checkpoint: a name such as raylift_tiny-femur, a file, or a run folder; it stays loaded.
        bone: which bone a one-bone checkpoint shows, for example femur_left.
        wishes: where the bone is, refinement, confidence (see `Wishes`).
        runtime: auto, onnx, torch or torch-bf16.
        out: folder to write labels.nii.gz, meshes and run.json to.
    Raises:
        BonerayError: in one line what is wrong: the films, their geometry, a check that refuses.
    """
    loaded = _loaded(films)
    reconstructor = _reconstructor(str(checkpoint), runtime)
    answer = answered(
        reconstructor, loaded, target=bone, calibration=calibration_of(checkpoint), wishes=wishes or Wishes()
    )
    if out is not None:
        write_reconstruction(
            Path(out),
            answer.result,
            reconstructor.card,
            case_id=Path(out).resolve().name,
            radiographs=loaded.radiographs,
            target=bone,
            force=force,
            inputs={"views": loaded.to_dict()},
            more={**answer.to_dict(), **reconstructor.about()},
        )
    return answer


def measure(bones: Answer | Reconstruction | LabelMap, anatomy: str = "") -> list[Measurement]:
    """Clinical numbers with unit, status and landmarks; without `anatomy` the smallest that has all the bones."""
    from boneray.morphometry.measure import measure as measured

    if isinstance(bones, Answer):
        bones = bones.result
    labels = bones.labels if isinstance(bones, Reconstruction) else bones
    return measured(labels, anatomy or _anatomy_of(labels))


@lru_cache(maxsize=2)
def _reconstructor(checkpoint: str, runtime: str) -> Reconstructor:
    return Reconstructor.load(checkpoint, runtime=runtime)


def _loaded(films: LoadedRadiographs | Mapping[str, Radiograph | str | Path]) -> LoadedRadiographs:
    if isinstance(films, LoadedRadiographs):
        return films
    given = {view: film for view, film in films.items() if isinstance(film, Radiograph)}
    if not given:
        return load_radiographs({view: film for view, film in films.items() if not isinstance(film, Radiograph)})
    if len(given) != len(films):
        raise ConfigError("give all films as files or all as radiographs")
    kinds = {view: "line integrals" if film.scaled else "display" for view, film in given.items()}
    return LoadedRadiographs({view: LoadedView(film, view, "array", kinds[view]) for view, film in given.items()})


def _anatomy_of(labels: LabelMap) -> str:
    names = {bone_name(bone_id) for bone_id in labels.ids}
    fitting = [entry.value for entry in ANATOMIES if names <= set(entry.value.bones)]
    if not names or not fitting:
        raise ConfigError(f"no anatomy has the bones {', '.join(sorted(names)) or '(none)'}; name it with anatomy=")
    return min(fitting, key=lambda kind: len(kind.bones)).name
