"""What the repository says of itself is true."""

import importlib.util
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
DEPENDENCY_ROW = re.compile(r"^\| `([^`]+)` \| (.+) \| (.+) \|$", re.MULTILINE)
PINNED = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)$", re.MULTILINE)
COPYLEFT_PACKAGES = {
    "connected-components-3d",
    "edt",
    "fill-voids",
    "kimimaro",
    "medpy",
    "miseval",
    "pingouin",
    "pymeshfix",
    "pymeshlab",
    "skeletor",
}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared() -> set[str]:
    """Every package pyproject.toml asks for, extras included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    groups = [project["dependencies"], *project.get("optional-dependencies", {}).values()]
    return {canonical(re.match(r"[A-Za-z0-9._-]+", wish)[0]) for group in groups for wish in group}


def pinned() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text("utf-8")
    return {canonical(name): version for name, version in PINNED.findall(lines)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_to_files_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text("utf-8"))
    missing = [link for link in targets if "://" not in link and not (page.parent / link).exists()]
    assert missing == []


def test_every_dependency_has_a_line() -> None:
    rows = DEPENDENCY_ROW.findall((ROOT / "docs" / "dependencies.md").read_text("utf-8"))
    assert {canonical(name) for name, _, _ in rows} == declared()
    assert not [name for name, _, licence in rows if "GPL" in licence]


def test_lock_pins_exactly_what_is_declared_and_more() -> None:
    lines = [line for line in (ROOT / "requirements.lock").read_text("utf-8").splitlines() if not line.startswith("#")]
    assert [line for line in lines if not PINNED.fullmatch(line)] == []
    lock = pinned()
    # they make one file again, or serve a cluster; the environment does without
    left_out = {"spekpy", "xraylib", "ray"}
    assert declared() - set(lock) == left_out
    assert lock["torch"] == "2.13.0"
    assert "torchvision" not in lock
    assert "boneray" not in lock


def test_no_package_is_copyleft() -> None:
    lock = pinned()
    assert COPYLEFT_PACKAGES.isdisjoint(set(lock) | declared())
    for name in lock:
        try:
            about = metadata(name)
        except PackageNotFoundError:
            continue
        stated = [about.get("License-Expression") or "", *(about.get_all("Classifier") or [])]
        assert not [line for line in stated if "GPL" in line or "GNU" in line], name


def test_reference_page_is_what_the_registries_say() -> None:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    written = (ROOT / "docs" / "reference.md").read_text("utf-8")
    assert written == generate.page(), "docs/reference.md is old; run `make docs`"


def test_skeletons_in_contributing_register_themselves() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.DOTALL)
    assert [block.splitlines()[0].split("/")[2] for block in blocks] == ["models", "datasets", "metrics", "morphometry"]
    # in a process of their own, so that they stay out of this one's registries
    check = f"for block in {blocks!r}: exec(compile(block, 'CONTRIBUTING.md', 'exec'), {{'__name__': 'skeleton'}})"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
