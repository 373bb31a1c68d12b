"""boneray: radiographs with known geometry in, labelled 3D bones with measurements out."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("boneray")
except PackageNotFoundError:  # running from a source tree that was never installed
    __version__ = "0.0.0"
