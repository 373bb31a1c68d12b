"""Typed settings from YAML and `--set a.b=c`; an unknown key is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from boneray.core.errors import ConfigError
from boneray.core.registry import unknown_name


class Settings(BaseModel):
    """Base of every group of settings: frozen, and closed against unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


S = TypeVar("S", bound=Settings)


def load_settings(
    kind: type[S], *, file: Path | None = None, overrides: tuple[str, ...] = (), base: dict[str, Any] | None = None
) -> S:
    """Settings of `kind` from `base`, then a YAML file, then `a.b=c` overrides (last one wins)."""
    values: dict[str, Any] = dict(base or {})
    if file is not None:
        values = _merged(values, _read_yaml(file))
    for override in overrides:
        values = _merged(values, _parse_override(override))
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_first_problem(kind, error)) from None


def _read_yaml(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise ConfigError(f"config file {file} does not exist")
    try:
        values = yaml.safe_load(file.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"config file {file} is not YAML: {str(error).splitlines()[0]}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"config file {file} holds a {type(values).__name__}; a mapping of settings is needed")
    return values


def _parse_override(override: str) -> dict[str, Any]:
    key, found, text = override.partition("=")
    if not found or not key:
        raise ConfigError(f"--set '{override}' is not of the form a.b=value")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"--set '{override}': the value is not YAML") from None
    if isinstance(value, str):
        try:
            value = float(value)  # YAML 1.1 reads 3e-3 as text
        except ValueError:
            pass
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def _merged(base: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    out = dict(base)
    for key, value in extra.items():
        if isinstance(value, dict) and isinstance(out.get(key), dict):
            out[key] = _merged(out[key], value)
        else:
            out[key] = value
    return out


def _first_problem(kind: type[Settings], error: ValidationError) -> str:
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        fields: Any = kind
        for part in problem["loc"][:-1]:
            if isinstance(part, int) or str(part) not in fields.model_fields:
                continue  # a place in a list or a key of a mapping
            inner = fields.model_fields[str(part)].annotation
            inner = next((arg for arg in getattr(inner, "__args__", ()) if hasattr(arg, "model_fields")), inner)
            fields = inner if isinstance(inner, type) and issubclass(inner, BaseModel) else fields
        last = str(problem["loc"][-1])
        return unknown_name("setting", last, [*fields.model_fields]).replace(f"'{last}'", f"'{where}'", 1)
    return f"setting {where}: {problem['msg'].removeprefix('Value error, ')}, got {problem.get('input')!r}"
