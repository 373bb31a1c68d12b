"""The house: imports point down only, rooms of one floor do not know each other, torch begins at models."""

import ast
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

FLOORS = {
    "core": 0,
    "anatomy": 1,
    "geometry": 1,
    "io": 1,
    "projection": 2,
    "phantom": 2,
    "metrics": 2,
    "morphometry": 2,
    "shape": 2,
    "datasets": 3,
    "models": 4,
    "losses": 5,
    "training": 6,
    "reconstruction": 6,
    "evaluation": 7,
    "benchmark": 8,
    "report": 9,
    "service": 10,
    "cli": 11,
}
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "temp"}
TORCH_FROM = 4
# the projection's differentiable and GPU path is the one place below that computes with tensors
TENSORS_IN_PROJECTION = {"differentiable", "registration", "torch_joseph"}
TENSOR_PACKAGES = {"torch", "lightning", "pytorch_lightning", "monai", "torchmetrics"}
PACKAGE = Path(__file__).parents[1] / "src" / "boneray"


def violations(tree: dict[str, str]) -> list[str]:
    """Every broken rule of a package given as {path below src: source}, one line each."""
    found = []
    for name, source in sorted(tree.items()):
        path = PurePosixPath(name)
        for part in (*path.parts[1:-1], path.stem):
            if part in BANNED_NAMES or part.endswith("_v2"):
                found.append(f"{name}: '{part}' is no noun of the trade")
        room = room_of(path)
        if room is None:
            continue
        if room not in FLOORS:
            found.append(f"{name}: room '{room}' has no floor; add it to FLOORS and docs/architecture.md")
            continue
        for line, module in imports(path, source):
            problem = broken_rule(path, room, module)
            if problem:
                found.append(f"{name}:{line}: {problem}")
    return found


def room_of(path: PurePosixPath) -> str | None:
    """The room a file is in; None for the files of the package itself, which belong to no floor."""
    return path.parts[1] if len(path.parts) > 2 else None


def broken_rule(path: PurePosixPath, room: str, module: str) -> str | None:
    """What is wrong with `module` being imported in `room`, if anything."""
    parts = module.split(".")
    if parts[0] in TENSOR_PACKAGES and FLOORS[room] < TORCH_FROM:
        may = room == "projection" and path.stem in TENSORS_IN_PROJECTION and parts[0] == "torch"
        return None if may else f"{parts[0]} on floor {FLOORS[room]}; tensors begin in models"
    if parts[0] != "boneray" or len(parts) < 2 or parts[1] == room or parts[1] not in FLOORS:
        return None
    if FLOORS[parts[1]] > FLOORS[room]:
        return f"{room} (floor {FLOORS[room]}) imports upwards from {parts[1]} (floor {FLOORS[parts[1]]})"
    if FLOORS[parts[1]] == FLOORS[room]:
        return f"{room} imports its neighbour {parts[1]} on floor {FLOORS[room]}"
    return None


def imports(path: PurePosixPath, source: str) -> Iterator[tuple[int, str]]:
    """(line, absolute module) of every import anywhere in a file, also those inside functions."""
    package = path.parts[:-1]
    for node in ast.walk(ast.parse(source, filename=str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            start = ".".join((*base, *filter(None, [node.module])))
            yield from ((node.lineno, f"{start}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.lineno, node.args[0].value


def test_package_keeps_the_floors() -> None:
    tree = {path.relative_to(PACKAGE.parent).as_posix(): path.read_text("utf-8") for path in PACKAGE.rglob("*.py")}
    assert len(tree) > 10
    assert violations(tree) == []


@pytest.mark.parametrize(
    ("path", "source", "complaint"),
    [
        ("boneray/core/grid.py", "from boneray.models.unet import UNet", "upwards from models"),
        ("boneray/core/grid.py", "def late():\n    import boneray.io.nifti", "upwards from io"),
        ("boneray/core/grid.py", "from boneray import datasets", "upwards from datasets"),
        ("boneray/core/grid.py", "from .. import report", "upwards from report"),
        ("boneray/io/nifti.py", "from ..geometry import surface", "neighbour geometry"),
        ("boneray/io/dicom/tags.py", "from ...anatomy import femur", "neighbour anatomy"),
        ("boneray/metrics/overlap.py", "import importlib\nimportlib.import_module('boneray.cli')", "from cli"),
        ("boneray/training/loop.py", "if True:\n    from boneray.reconstruction import run", "neighbour recon"),
        ("boneray/datasets/crop.py", "def late():\n    import torch.nn", "torch on floor 3"),
        ("boneray/projection/joseph.py", "import torch", "torch on floor 2"),
        ("boneray/projection/torch_joseph.py", "import monai", "monai on floor 2"),
        ("boneray/geometry/utils.py", "", "'utils' is no noun"),
        ("boneray/models/common/blocks.py", "", "'common' is no noun"),
        ("boneray/models/unet_v2.py", "", "'unet_v2' is no noun"),
        ("boneray/attic/old.py", "", "'attic' has no floor"),
    ],
)
def test_a_broken_rule_is_found(path: str, source: str, complaint: str) -> None:
    found = violations({path: source})
    assert len(found) == 1
    assert complaint in found[0]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (
            "boneray/models/unet.py",
            "import torch\nfrom boneray.core.grid import Grid\nfrom boneray.models import batch",
        ),
        ("boneray/projection/torch_joseph.py", "import torch"),
        ("boneray/cli/app.py", "def late():\n    from boneray.report import page"),
        ("boneray/__init__.py", "from boneray.cli import app"),
    ],
)
def test_a_kept_rule_is_silent(path: str, source: str) -> None:
    assert violations({path: source}) == []
