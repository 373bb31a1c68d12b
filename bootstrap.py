"""Sets up the environment and runs one task in it: `python bootstrap.py demo` is what `make demo` calls.

Standard library only, and syntax that an old Python 3 can read, so that it can always say what is missing.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PEERS_VENV = ROOT / ".venv-peers"
REQUIREMENTS = {VENV: ("requirements.lock",), PEERS_VENV: ("requirements.lock", "benchmarks/peers.txt")}
VERSIONS = ((3, 11), (3, 12), (3, 13))

TASKS = {
    "setup": "make the environment in .venv (the other targets do this by themselves)",
    "demo": "reconstruct bones from two radiographs and write demo/report.html",
    "test": "run the tests, without those marked slow",
    "check": "linter, formatting and types",
    "bench": "measure the speed of the parts that matter",
    "bench-peers": "measure the projection against ITK-RTK and nanodrr, in .venv-peers (3.5 GB, ten minutes)",
    "docs": "regenerate docs/reference.md from the registries",
    "weights": "train the demo's checkpoints again (about an hour) and put them into the package",
    "clean": "remove demo/, build output and caches; .venv, .venv-peers and runs/ stay",
}
COMMANDS = {
    "demo": ["boneray demo --out demo --force"],
    "test": ["python -m pytest -q -m 'not slow' --durations=10 --numprocesses auto --dist loadfile"],
    "check": ["python -m ruff check .", "python -m ruff format --check .", "python -m mypy"],
    "bench": ["python -m benchmarks"],
    "bench-peers": ["python -m benchmarks.projection_peers --markdown --json runs/projection_peers.json"],
    "docs": ["python docs/generate.py"],
    "weights": [
        command.format(anatomy=anatomy)
        for anatomy in ("femur", "vertebra")
        for command in (
            "boneray phantom {anatomy} --cases 1000 --seed 1 --pixels 128 --out runs/weights/data/{anatomy}",
            "boneray train raylift_tiny --data runs/weights/data/{anatomy} --recipe configs/demo.yaml"
            " --out runs/weights/{anatomy} --force",
            "boneray train mean_shape --data runs/weights/data/{anatomy} --recipe configs/demo.yaml"
            " --out runs/weights/mean_{anatomy} --force",
            "boneray pack runs/weights/{anatomy} --out src/boneray/models/weights/raylift_tiny_{anatomy}.safetensors"
            " --force",
            "boneray pack runs/weights/mean_{anatomy} --out src/boneray/models/weights/mean_shape_{anatomy}.safetensors"
            " --force",
        )
    ],
}
REMOVED_BY_CLEAN = ("demo", "build", "dist", "site", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".coverage")


def main(arguments: list[str]) -> int:
    """Run the one task that is named; without one, list them all."""
    if not arguments or arguments[0] in ("help", "-h", "--help"):
        for name, meaning in TASKS.items():
            if name != "setup":
                print(f"make {name:11} {meaning}")
        return 0
    task = arguments[0]
    if task not in TASKS or len(arguments) > 1:
        print(f"unknown task '{' '.join(arguments)}'; choose one of {', '.join(TASKS)}", file=sys.stderr)
        return 2
    if task == "clean":
        clean()
        return 0
    venv = PEERS_VENV if task == "bench-peers" else VENV
    try:
        set_up(venv)
        if venv == VENV:
            set_up_viewer()
    except SetUpFailed as failure:
        print(failure, file=sys.stderr)
        return 1
    for command in COMMANDS.get(task, []):
        program, *rest = shlex.split(command)
        code = subprocess.call([str(bin_of(venv) / program), *rest], cwd=str(ROOT), env=environment(venv))
        if code:
            return code
    return 0


class SetUpFailed(Exception):
    """The environment cannot be made; the text says what to do."""


def set_up(venv: Path) -> None:
    """Make an environment fit its requirements and pyproject.toml; costs nothing when it already does."""
    if version_of([python_of(venv)]) not in VERSIONS:
        make_environment(venv)
    stamp = venv / f".stamp-{digest(*REQUIREMENTS[venv], 'pyproject.toml', 'viewer/package-lock.json')}"
    if not stamp.is_file():
        install_packages(venv)
        for old in venv.glob(".stamp-*"):
            old.unlink()
        stamp.touch()


def set_up_viewer() -> None:
    """Fetch the 3D viewer: one try per version of its files, and another once npm has been installed."""
    viewer_files = digest("viewer/package.json", "viewer/package-lock.json", "viewer/fetch.py")
    tried = VENV / f".viewer-{viewer_files}-{'npm' if shutil.which('npm') else 'none'}"
    if not tried.is_file():
        fetch_viewer()
        tried.touch()


def bin_of(venv: Path) -> Path:
    return venv / ("Scripts" if os.name == "nt" else "bin")


def python_of(venv: Path) -> str:
    return str(bin_of(venv) / ("python.exe" if os.name == "nt" else "python"))


def make_environment(venv: Path) -> None:
    """Create the environment with the first usable interpreter."""
    interpreter = find_interpreter()
    say(f"making {venv.name} with {' '.join(interpreter)}")
    done = subprocess.run(
        [*interpreter, "-m", "venv", "--clear", str(venv)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode or version_of([python_of(venv)]) not in VERSIONS or not has_pip(venv):
        version = ".".join(map(str, version_of(interpreter) or ()))
        shutil.rmtree(str(venv), ignore_errors=True)
        raise SetUpFailed(
            f"{done.stdout.decode(errors='replace').strip()}\n"
            f"Python {version} cannot make a virtual environment. On Debian and Ubuntu:\n"
            f"  sudo apt-get install python{version}-venv"
        )


def find_interpreter() -> list[str]:
    """The command of the first Python 3.11, 3.12 or 3.13 that really runs (a shim may exist and fail)."""
    for wanted in VERSIONS:
        name = ".".join(map(str, wanted))
        for command in ([f"python{name}"], ["py", f"-{name}"], ["python3"], ["python"], [sys.executable]):
            if version_of(command) == wanted:
                return command
    raise SetUpFailed(
        "no Python 3.11, 3.12 or 3.13 was found. On Debian and Ubuntu:\n"
        "  sudo apt-get install python3.11 python3.11-venv\n"
        "elsewhere install one from https://www.python.org/downloads/"
    )


def version_of(command: list[str]) -> tuple[int, int] | None:
    """(major, minor) of an interpreter, None if it does not run."""
    try:
        done = subprocess.run(
            [*command, "-c", "import sys; print(*sys.version_info[:2])"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=60,
        )
        major, minor = done.stdout.split()
        return (int(major), int(minor)) if done.returncode == 0 else None
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


def has_pip(venv: Path) -> bool:
    return subprocess.call([python_of(venv), "-c", "import pip"], stderr=subprocess.DEVNULL) == 0


def install_packages(venv: Path) -> None:
    """The locked packages, then boneray itself in editable form."""
    files = REQUIREMENTS[venv]
    count = sum("==" in line for name in files for line in (ROOT / name).read_text().splitlines())
    started = time.monotonic()
    say(f"installing {count} packages (one to three minutes the first time)")
    pip(venv, "install", *(part for name in files for part in ("-r", name)))
    say(f"installing boneray ({time.monotonic() - started:.0f} s so far)")
    pip(venv, "install", "--no-deps", "--no-build-isolation", "-e", ".")


def pip(venv: Path, *arguments: str) -> None:
    command = [python_of(venv), "-m", "pip", "-qq", *arguments]
    if subprocess.call(command, cwd=str(ROOT), env=environment(venv)):
        raise SetUpFailed(f"pip {' '.join(arguments)} failed; its message is above. Running the same again continues")


def fetch_viewer() -> None:
    """Fetch the 3D viewer from npm; it prints one line and, if it fails, reports have static pictures."""
    say("fetching the 3D viewer")
    try:
        subprocess.call([python_of(VENV), "viewer/fetch.py"], cwd=str(ROOT), env=environment(VENV), timeout=330)
    except subprocess.TimeoutExpired:
        say("npm did not answer; reports will have static pictures. Try again: python viewer/fetch.py")


def clean() -> None:
    """Remove what the tasks left behind, except the environments and runs/."""
    for name in REMOVED_BY_CLEAN:
        path = ROOT / name
        if path.is_dir():
            shutil.rmtree(str(path))
        elif path.exists():
            path.unlink()
    for folder in ("src", "tests", "docs", "benchmarks"):
        for cache in list((ROOT / folder).rglob("__pycache__")):
            shutil.rmtree(str(cache))


def digest(*names: str) -> str:
    """A short hash of the named files; a missing file counts as empty."""
    state = hashlib.sha256()
    for name in names:
        path = ROOT / name
        state.update(name.encode() + b"\0" + (path.read_bytes() if path.is_file() else b"") + b"\0")
    return state.hexdigest()[:16]


def environment(venv: Path) -> dict[str, str]:
    """The caller's environment without what would leak other packages in, and a pip that only installs."""
    leaking = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "CONDA_PREFIX")
    kept = {name: value for name, value in os.environ.items() if name not in leaking}
    return {
        **kept,
        "PATH": str(bin_of(venv)) + os.pathsep + kept.get("PATH", ""),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
    }


def say(text: str) -> None:
    print(f"boneray set-up: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
