"""Is this environment fit? Each check says what it found and what to do."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

PACKAGES = (
    "numpy",
    "scipy",
    "numba",
    "nibabel",
    "scikit-image",
    "trimesh",
    "torch",
    "monai",
    "lightning",
    "safetensors",
)


@dataclass(frozen=True)
class Check:
    """One finding. `broken` needs repair, `missing` only takes a feature away."""

    check: str
    status: Literal["ok", "missing", "broken"]
    detail: str


def checks(viewer_file: Path) -> list[Check]:
    """All checks; `viewer_file` is where the 3D viewer lies when it was fetched."""
    return [_python(), *map(_package, PACKAGES), _torchvision(), _gpu(), _npm(), _viewer(viewer_file), _browser()]


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Check("python", "ok", found)
    return Check("python", "broken", f"{found}; boneray needs 3.11 to 3.13")


def _package(name: str) -> Check:
    try:
        return Check(name, "ok", version(name))
    except PackageNotFoundError:
        return Check(name, "broken", f"not installed; run `pip install {name}`")


def _torchvision() -> Check:
    """A torchvision built for another torch breaks Lightning's import; boneray does not need it."""
    if importlib.util.find_spec("torchvision") is None:
        return Check("torchvision", "ok", "absent, as it should be")
    tried = subprocess.run([sys.executable, "-c", "import torchvision"], capture_output=True, text=True, check=False)
    if tried.returncode == 0:
        return Check("torchvision", "ok", "present and it loads; boneray does not use it")
    reason = (tried.stderr.strip().splitlines() or ["no message"])[-1]
    return Check("torchvision", "broken", f"it does not load ({reason}); run `pip uninstall torchvision`")


def _gpu() -> Check:
    if importlib.util.find_spec("torch") is None:
        return Check("gpu", "missing", "torch is not installed")
    import torch

    if torch.cuda.is_available():
        return Check("gpu", "ok", torch.cuda.get_device_name(0))
    if torch.backends.mps.is_available():
        return Check("gpu", "ok", "Apple MPS")
    return Check("gpu", "missing", "none found; everything runs on the CPU, large models train slowly")


def _npm() -> Check:
    found = shutil.which("npm")
    return Check("npm", "ok", found) if found else Check("npm", "missing", "needed once to fetch the 3D viewer")


def _viewer(file: Path) -> Check:
    if file.is_file():
        return Check("3D viewer", "ok", f"{file.stat().st_size // 1024} kB")
    return Check(
        "3D viewer", "missing", "reports show static pictures; install npm and run `make demo`, or a built wheel"
    )


def _browser() -> Check:
    names = ("chromium", "chromium-browser", "google-chrome", "firefox")
    found = next((path for name in names if (path := shutil.which(name))), None)
    return (
        Check("browser", "ok", found)
        if found
        else Check("browser", "missing", "reports are files; open them elsewhere")
    )
