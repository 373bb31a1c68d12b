"""Fetches the 3D viewer (NiiVue) with npm into the package; needs only the standard library.

The report works without it, with static pictures, so every failure here is one printed line and
exit status 0.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
TARGET = HERE.parent / "src" / "boneray" / "report" / "viewer"
PACKAGES = HERE / "node_modules"
NIIVUE = PACKAGES / "@niivue" / "niivue"
NPM_ARGUMENTS = ("ci", "--no-audit", "--no-fund", "--ignore-scripts", "--omit=optional", "--loglevel=error")
TIME_LIMIT_S = 300


def wanted_version() -> str:
    """The NiiVue version that package.json asks for."""
    return json.loads((HERE / "package.json").read_text(encoding="utf-8"))["dependencies"]["@niivue/niivue"]


def fetched_version() -> str | None:
    """The version that lies in the package already, or None."""
    stamp = TARGET / "niivue.version"
    complete = all((TARGET / f"niivue.{part}").is_file() for part in ("umd.js", "LICENSE", "version"))
    return stamp.read_text(encoding="utf-8").strip() if complete else None


def licences() -> str:
    """The licences of NiiVue and of the packages that its bundle contains, as one text."""
    own = (HERE / "niivue-LICENSE.txt").read_text(encoding="utf-8")
    parts = [f"@niivue/niivue {wanted_version()}\n\n{own.strip()}"]
    for description in sorted([*PACKAGES.glob("*/package.json"), *PACKAGES.glob("@*/*/package.json")]):
        texts = [file for file in description.parent.iterdir() if file.name.lower().startswith("licen")]
        facts = json.loads(description.read_text(encoding="utf-8"))
        if texts:
            parts.append(f"{facts['name']} {facts['version']}\n\n{texts[0].read_text(encoding='utf-8').strip()}")
    return f"\n\n{'-' * 80}\n\n".join(parts) + "\n"


def put(name: str, content: bytes) -> None:
    """Write a file of the viewer, all or nothing."""
    temporary = TARGET / f"niivue.tmp-{os.getpid()}"
    temporary.write_bytes(content)
    os.replace(temporary, TARGET / name)


def fetch() -> str:
    """Install with npm, copy into the package; returns the line to print."""
    version = wanted_version()
    if fetched_version() == version:
        return f"3D viewer: NiiVue {version} is there"
    npm = shutil.which("npm")
    if npm is None:
        return without("npm is not installed")
    done = subprocess.run([npm, *NPM_ARGUMENTS], cwd=HERE, capture_output=True, text=True, timeout=TIME_LIMIT_S)
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        return without(f"npm ci failed: {lines[0][:160] if lines else f'status {done.returncode}'}")
    put("niivue.umd.js", (NIIVUE / "dist" / "niivue.umd.js").read_bytes())
    put("niivue.LICENSE", licences().encode())
    put("niivue.version", f"{version}\n".encode())
    return f"3D viewer: NiiVue {version} fetched"


def without(reason: str) -> str:
    """The line for a set-up that ends without the viewer."""
    return f"3D viewer: not fetched ({reason}); reports will hold static pictures. Try again: python viewer/fetch.py"


if __name__ == "__main__":
    try:
        print(fetch())
    except (OSError, subprocess.TimeoutExpired, KeyError, ValueError) as error:
        print(without(f"{type(error).__name__}: {error}".splitlines()[0]))
    sys.exit(0)
