"""The registry: found by being registered, near names, nothing swallowed."""

import sys
from pathlib import Path

import pytest

from boneray.core.errors import ConfigError
from boneray.core.registry import Registry, unknown_name


def made_package(folder: Path, name: str, modules: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """A package on disk whose modules register themselves in REGISTRY."""
    package = folder / name
    package.mkdir()
    (package / "__init__.py").write_text("")
    for module, source in modules.items():
        (package / f"{module}.py").write_text(source)
    monkeypatch.syspath_prepend(str(folder))
    return name


def test_modules_of_the_package_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modules = {
        "registry": "from boneray.core.registry import Registry\nTHINGS = Registry('thing', 'shelf', 'none.things')\n",
        "lamp": "from shelf.registry import THINGS\nTHINGS.register('lamp', 'gives light', watts=40)(object())\n",
        "book": "from shelf.registry import THINGS\n@THINGS.register('book', 'is read')\ndef book(): return 7\n",
    }
    made_package(tmp_path, "shelf", modules, monkeypatch)
    from shelf.registry import THINGS

    assert [entry.name for entry in THINGS] == ["book", "lamp"]
    assert THINGS.get("book").value() == 7
    assert THINGS.get("lamp").facts == {"watts": 40}


def test_import_errors_come_through_every_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_package(tmp_path, "broken_shelf", {"cup": "import a_package_that_is_not_there"}, monkeypatch)
    things: Registry[object] = Registry("thing", "broken_shelf", "none.things")
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError, match="a_package_that_is_not_there"):
            list(things)


def test_entry_points_of_other_packages_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_package(tmp_path, "empty_shelf", {}, monkeypatch)
    (tmp_path / "guest.py").write_text("import host_things\nhost_things.THINGS.register('guest', 'from outside')(1)\n")
    (tmp_path / "host_things.py").write_text(
        "from boneray.core.registry import Registry\nTHINGS = Registry('thing', 'empty_shelf', 'boneray_test.things')\n"
    )
    info = tmp_path / "guest-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: guest\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[boneray_test.things]\nguest = guest\n")
    import host_things

    assert [entry.name for entry in host_things.THINGS] == ["guest"]
    for module in ("guest", "host_things", "empty_shelf"):
        sys.modules.pop(module, None)


def test_a_name_is_registered_once(tmp_path: Path) -> None:
    things: Registry[int] = Registry("thing", "boneray.core", "none.things")
    things.register("cup", "holds tea")(1)
    with pytest.raises(ConfigError, match="thing 'cup' is registered twice"):
        things.register("cup", "holds coffee")(2)


def test_unknown_names_answer_with_near_ones() -> None:
    things: Registry[int] = Registry("thing", "boneray.core", "none.things")
    things.register("femur", "a bone")(1)
    things.register("pelvis", "another")(2)
    with pytest.raises(ConfigError, match=r"unknown thing 'femor'; did you mean femur\?"):
        things.get("femor")
    assert unknown_name("thing", "xyz", ["b", "a"]) == "unknown thing 'xyz'; choose one of a, b"
