"""The package as a stranger meets it: quick to ask for help, complete in its wheel."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "boneray"
HELP_LIMIT_S = 0.5
MAIN = "import sys; sys.argv[0] = 'boneray'; from boneray.cli.app import main; sys.exit(main())"


def python(*arguments: str, cwd: Path | None = None, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run this interpreter; a failure shows what it said."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    done = subprocess.run([sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_help_is_quick() -> None:
    resource = pytest.importorskip("resource")

    def processor_s() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    took_s = []
    for _ in range(3):  # processor time, so that a busy machine does not fail the test
        before = processor_s()
        assert "reconstruct" in python("-c", MAIN, "--help").stdout
        took_s.append(processor_s() - before)
    assert min(took_s) <= HELP_LIMIT_S, took_s


def test_command_line_imports_nothing_heavy() -> None:
    heavy = ["torch", "monai", "lightning", "numba", "scipy", "skimage", "matplotlib", "trimesh"]
    script = f"import sys, boneray.cli.app; print([name for name in {heavy} if name in sys.modules])"
    assert python("-c", script).stdout.strip() == "[]"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    python("-m", "pip", "-q", "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(ROOT))
    return next(folder.glob("boneray-*.whl"))


def test_wheel_works_without_the_repository(wheel: Path, tmp_path: Path) -> None:
    installed, elsewhere = tmp_path / "installed", tmp_path / "elsewhere"
    elsewhere.mkdir()
    python("-m", "pip", "-q", "install", "--no-deps", "--no-index", "--target", str(installed), str(wheel))
    where = python("-c", "import boneray; print(boneray.__file__)", cwd=elsewhere, path=installed).stdout
    assert Path(where.strip()).is_relative_to(installed)
    assert "reconstruct" in python("-c", MAIN, "--help", cwd=elsewhere, path=installed).stdout
    listed = json.loads(python("-c", MAIN, "list", "anatomies", "--json", cwd=elsewhere, path=installed).stdout)
    assert {"femur", "pelvis", "vertebra", "spine", "ribs", "all"} <= {row["name"] for row in listed}
    python(
        "-c", MAIN, "phantom", "vertebra", "--cases", "1", "--seed", "4", "--out", "data", cwd=elsewhere, path=installed
    )
    use = ["reconstruct", "data/vertebra-4-0000", "--checkpoint", "raylift_tiny_vertebra", "--out", "out"]
    python("-c", MAIN, *use, cwd=elsewhere, path=installed)
    assert (elsewhere / "out" / "labels.nii.gz").is_file()


@pytest.mark.parametrize(
    ("pattern", "what"),
    [
        ("models/weights/*.safetensors", "no weights in the source tree yet"),
        ("models/weights/*.json", "no weights in the source tree yet"),
        ("report/viewer/niivue.*", "the 3D viewer was not fetched"),
        ("report/templates/*", "no templates in the source tree yet"),
    ],
)
def test_wheel_holds_what_is_not_code(wheel: Path, pattern: str, what: str) -> None:
    expected = {f"boneray/{file.relative_to(SOURCE).as_posix()}" for file in SOURCE.glob(pattern)}
    if not expected:
        pytest.skip(what)
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert expected <= names


def test_wheel_holds_the_licence_and_no_rubbish(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if "__pycache__" in name or not name.startswith("boneray")]
