"""The 3D viewer that goes into the page: NiiVue as fetched at set-up, and our script that drives it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Viewer:
    """NiiVue's browser bundle with its version and the licences it must travel with."""

    version: str
    script: str
    licence: str


def viewer(folder: Path = FOLDER) -> Viewer | None:
    """The viewer that `viewer/fetch.py` put beside this file; None when it was never fetched."""
    texts = [folder / f"niivue.{part}" for part in ("version", "umd.js", "LICENSE")]
    if not all(file.is_file() for file in texts):
        return None
    version, script, licence = (file.read_text(encoding="utf-8") for file in texts)
    return Viewer(version.strip(), script, licence)


def scene_script() -> str:
    """Our script that draws the scenes of a page with NiiVue."""
    return (FOLDER / "scene.js").read_text(encoding="utf-8")
