"""Checkpoints by name: ours, a registry of one's own, and files fetched once and checked always."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from boneray.core.errors import ConfigError, InputError
from boneray.models.card import find_checkpoint, read_card
from boneray.models.checkpoint_names import PACKAGED, is_demonstration, packaged_checkpoints


def digest(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """Write a registry of one's own and have it looked at."""

    def write(**entries):
        file = tmp_path / "registry.json"
        file.write_text(json.dumps({"schema": "boneray/checkpoints/1", "checkpoints": entries}))
        monkeypatch.setenv("BONERAY_CHECKPOINTS", str(file))
        monkeypatch.setenv("BONERAY_CACHE", str(tmp_path / "cache"))
        return file

    return write


class Quiet(SimpleHTTPRequestHandler):
    asked: ClassVar[list[str]] = []

    def log_message(self, *_):
        self.asked.append(self.path)


@pytest.fixture
def served(tmp_path):
    """A folder with a checkpoint, and the address at which it is served."""
    folder = tmp_path / "served"
    folder.mkdir()
    for suffix in (".safetensors", ".json"):
        shutil.copy(PACKAGED / f"mean_shape_femur{suffix}", folder / f"m{suffix}")
    Quiet.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}/m.safetensors"
    server.shutdown()
    server.server_close()


def test_ours_by_model_and_anatomy_and_by_their_old_names():
    assert "raylift_tiny-femur" in packaged_checkpoints()
    for name in packaged_checkpoints():
        old = name.replace("-", "_")
        assert find_checkpoint(name) == find_checkpoint(old) == PACKAGED / f"{old}.safetensors"
        assert name == f"{read_card(name).model}-{read_card(name).anatomy}"
        assert is_demonstration(find_checkpoint(name))
    with pytest.raises(ConfigError, match="raylift_tiny-femur"):
        find_checkpoint("raylift_tiny-femu")


def test_a_registry_of_ones_own_goes_first(registry, tmp_path):
    for suffix in (".safetensors", ".json"):
        shutil.copy(PACKAGED / f"mean_shape_femur{suffix}", tmp_path / f"own{suffix}")
    registry(**{"raylift_tiny-femur": {"file": "own.safetensors", "aliases": ["mine"]}})
    assert find_checkpoint("mine") == find_checkpoint("raylift_tiny-femur") == tmp_path / "own.safetensors"
    assert read_card("mine").model == "mean_shape" and not is_demonstration(find_checkpoint("mine"))


def test_what_lies_elsewhere_is_fetched_once(registry, served, monkeypatch):
    folder, url = served
    facts = {"url": url, "sha256": digest(folder / "m.safetensors"), "card_sha256": digest(folder / "m.json")}
    registry(**{"far-femur": facts})
    monkeypatch.setenv("BONERAY_OFFLINE", "1")
    with pytest.raises(ConfigError, match="BONERAY_OFFLINE"):
        find_checkpoint("far-femur")
    monkeypatch.setenv("BONERAY_OFFLINE", "0")
    first = find_checkpoint("far-femur")
    assert digest(first) == facts["sha256"] and read_card("far-femur").model == "mean_shape"
    assert sorted(Quiet.asked) == ["/m.json", "/m.safetensors"]
    monkeypatch.setenv("BONERAY_OFFLINE", "1")
    assert find_checkpoint("far-femur") == first and len(Quiet.asked) == 2
    first.write_bytes(b"damaged")
    with pytest.raises(ConfigError, match="BONERAY_OFFLINE"):
        find_checkpoint("far-femur")


def test_what_is_not_what_it_should_be_is_not_kept(registry, served, tmp_path):
    folder, url = served
    registry(**{"far-femur": {"url": url, "sha256": "0" * 64, "card_sha256": digest(folder / "m.json")}})
    with pytest.raises(InputError, match="SHA-256 differs"):
        find_checkpoint("far-femur")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    registry(**{"far-femur": {"url": f"{url}.gone", "sha256": "0" * 64, "card_sha256": "0" * 64}})
    with pytest.raises(InputError, match="cannot be fetched"):
        find_checkpoint("far-femur")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"file": "a", "url": "https://x/y.safetensors"}, "either a file or a url"),
        ({}, "either a file or a url"),
        ({"url": "https://x/y.safetensors"}, "sha256"),
        ({"url": "https://x/y.safetensors", "sha256": "xyz", "card_sha256": "0" * 64}, "sha256"),
        ({"path": "a"}, "is wrong"),
        (3, "is wrong"),
    ],
)
def test_a_wrong_entry_is_one_line(registry, entry, said):
    registry(**{"own-femur": entry})
    with pytest.raises(InputError, match=said):
        find_checkpoint("own-femur")


def test_only_https_is_fetched(registry):
    for url in ("file:///etc/passwd", "ftp://x/y.safetensors", "http://example.com/y.safetensors"):
        registry(**{"own-femur": {"url": url, "sha256": "0" * 64, "card_sha256": "0" * 64}})
        with pytest.raises(ConfigError, match="only https"):
            find_checkpoint("own-femur")


def test_a_registry_that_is_none_is_one_line(registry, tmp_path, monkeypatch):
    registry().write_text("{}")
    with pytest.raises(InputError, match="schema"):
        find_checkpoint("raylift_tiny-femur")
    monkeypatch.setenv("BONERAY_CHECKPOINTS", os.pathsep.join([str(tmp_path / "none.json")]))
    with pytest.raises(InputError, match="does not exist"):
        find_checkpoint("raylift_tiny-femur")
