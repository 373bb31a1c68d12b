"""The set-up step that fetches the viewer: quiet success, one line on failure, never a broken set-up."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

VIEWER = Path(__file__).parents[2] / "viewer"


@pytest.fixture
def fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """viewer/fetch.py with an empty target folder."""
    description = importlib.util.spec_from_file_location("viewer_fetch", VIEWER / "fetch.py")
    assert description is not None and description.loader is not None
    module = importlib.util.module_from_spec(description)
    description.loader.exec_module(module)
    monkeypatch.setattr(module, "TARGET", tmp_path)
    return module


def test_without_npm_it_says_so_in_one_line(fetch: ModuleType, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fetch.shutil, "which", lambda name: None)
    line = fetch.fetch()
    assert "npm is not installed" in line and "static pictures" in line and "\n" not in line


def test_a_failing_npm_is_one_line_too(fetch: ModuleType, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fetch.shutil, "which", lambda name: "false")
    assert "npm ci failed: status 1" in fetch.fetch()


def test_what_is_there_in_the_wanted_version_is_not_fetched_again(fetch: ModuleType, monkeypatch: pytest.MonkeyPatch):
    for part, text in (("umd.js", "code"), ("LICENSE", "terms"), ("version", f"{fetch.wanted_version()}\n")):
        fetch.put(f"niivue.{part}", text.encode())
    monkeypatch.setattr(fetch.shutil, "which", lambda name: pytest.fail("npm was looked for"))
    assert fetch.fetch().endswith("is there")


def test_the_lock_names_the_wanted_version_and_no_host(fetch: ModuleType):
    lock = (VIEWER / "package-lock.json").read_text(encoding="utf-8")
    assert "resolved" not in lock and "http" not in lock.replace("https://github.com", "").replace("funding", "")
    assert json.loads(lock)["packages"]["node_modules/@niivue/niivue"]["version"] == fetch.wanted_version()
