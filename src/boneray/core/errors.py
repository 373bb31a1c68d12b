"""The one family of errors a user can meet: what is wrong, the value, what to do."""

from __future__ import annotations


class BonerayError(Exception):
    """Base of every error boneray raises on purpose; its text is one line."""


class InputError(BonerayError):
    """A file or argument the user gave cannot be used."""


class GeometryError(BonerayError):
    """Grids, cameras or frames do not fit together."""


class DataError(BonerayError):
    """The content of a data set or case contradicts itself."""


class ConfigError(BonerayError):
    """A setting or a registered name is unknown or out of range."""
