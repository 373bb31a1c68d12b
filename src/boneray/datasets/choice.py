"""Which data set, with which options: what a name, a preset and an anatomy mean together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from boneray.core.errors import ConfigError
from boneray.core.registry import Entry, unknown_name
from boneray.datasets.prepare import PrepareOptions
from boneray.datasets.registry import DATASETS, DatasetSpec
from boneray.projection.presets import PRESETS


def chosen(
    name: str, *, preset: str = "", anatomy: str = "", given: dict[str, Any] | None = None
) -> tuple[Entry[DatasetSpec], PrepareOptions]:
    """The data set and how it is prepared.

    Args:
        name: of a data set or of a derived one.
        preset: of a paper: the derived set it makes of this data set and anatomy, or, where it
            made none, only its radiographs.
        anatomy: what to cut out; default: the first of the data set's.
        given: options the user states; None and empty values leave what is fixed or default.
    Raises:
        ConfigError: no such data set, preset or anatomy, or they do not go together.
    """
    entry = DATASETS.get(name)
    if preset:
        derived = _derived(entry, preset, anatomy)
        if derived is not None:
            entry, anatomy = derived, ""
    spec = entry.value
    if not anatomy and not spec.anatomies:
        raise ConfigError(f"data set '{name}' can hold anything; say what to cut out with --anatomy")
    anatomy = anatomy or spec.anatomies[0]
    if spec.anatomies and anatomy not in spec.anatomies:
        raise ConfigError(unknown_name(f"anatomy of data set '{entry.name}'", anatomy, list(spec.anatomies)))
    stated = {key: value for key, value in (given or {}).items() if _is_stated(value)}
    if spec.options is not None:
        return entry, replace(spec.options, **{"licence": spec.licence} | stated)
    if preset:
        stated["preset"] = PRESETS.get(preset).name
    return entry, PrepareOptions(anatomy, **{"licence": spec.licence} | stated)


def _is_stated(value: Any) -> bool:
    return value is not None and value is not False and value not in ("", ())  # 0.0 is a value


def _derived(entry: Entry[DatasetSpec], preset: str, anatomy: str) -> Entry[DatasetSpec] | None:
    """The set a paper made of this data set and anatomy; None if it made none."""
    if entry.facts.get("preset") == preset:
        return entry
    found = [other for other in DATASETS if other.facts.get("preset") == preset]
    if not found:
        PRESETS.get(preset)
        return None
    bases = {str(entry.name), str(entry.name).removesuffix("-v1"), f"{entry.name}-v1"}
    fits = [other for other in found if other.facts.get("base") in bases]
    wanted = anatomy or (entry.value.anatomies[0] if len(fits) != 1 else "")
    fits = [other for other in fits if not wanted or _same(str(other.facts.get("anatomy")), wanted)]
    if not fits and preset not in [known.name for known in PRESETS]:
        names = ", ".join(other.name for other in found)
        raise ConfigError(f"preset '{preset}' makes {names}; '{entry.name}' is none of their sources")
    return fits[0] if fits else None


def _same(derived: str, wanted: str) -> bool:
    return derived == wanted or {derived, wanted} == {"femora", "femur"}
