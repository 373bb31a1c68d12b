"""Nothing is lost: atomic writes, guarded output folders, JSON without infinities."""

import json
import math

import numpy as np
import pytest

from boneray.core.errors import InputError
from boneray.io.files import inside, json_text, prepare_output, read_json, write_atomic, write_json, write_text


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path):
    file = write_text(tmp_path / "a.txt", "old")

    def broken(path):
        path.write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_atomic(file, broken)
    assert file.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_infinities_become_null():
    values = {"inf": math.inf, "nan": np.float32("nan"), "list": [np.int64(3), (1.5, -math.inf)], "array": np.arange(2)}
    assert json.loads(json_text(values)) == {"inf": None, "nan": None, "list": [3, [1.5, None]], "array": [0, 1]}


def test_a_folder_with_a_run_is_not_overwritten_without_force(tmp_path):
    write_json(tmp_path / "run.json", {})
    with pytest.raises(InputError, match="--force"):
        prepare_output(tmp_path, force=False)
    assert prepare_output(tmp_path, force=True) == tmp_path


def test_an_output_that_is_a_file_or_lies_below_one_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is a file"):
        prepare_output(tmp_path / "file", force=True)
    with pytest.raises(InputError, match="cannot be written"):
        prepare_output(tmp_path / "file" / "deeper", force=True)


@pytest.mark.parametrize("name", ["../out.png", "/etc/passwd", "a/../../b"])
def test_names_that_leave_their_folder_are_refused(tmp_path, name):
    with pytest.raises(InputError, match="leaves the folder"):
        inside(tmp_path, name)


def test_json_that_is_no_object_is_refused(tmp_path):
    (tmp_path / "a.json").write_text("[1]")
    with pytest.raises(InputError, match="list"):
        read_json(tmp_path / "a.json", "thing")
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        read_json(tmp_path / "b.json", "thing")
