"""boneray: radiographs with known geometry in, labelled 3D bones with measurements out.

`load_radiographs`, `reconstruct` and `measure` are the command line's own functions for Python; they are loaded when
first used.
"""

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from boneray.api import load_radiographs, measure, reconstruct

try:
    __version__ = version("boneray")
except PackageNotFoundError:  # running from a source tree that was never installed
    __version__ = "0.0.0"

__all__ = ["__version__", "load_radiographs", "measure", "reconstruct"]


def __getattr__(name: str) -> Any:
    if name in ("load_radiographs", "measure", "reconstruct"):
        from boneray import api

        return getattr(api, name)
    raise AttributeError(f"module 'boneray' has no attribute '{name}'")
