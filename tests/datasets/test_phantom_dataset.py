"""Phantom data sets: same seed same bytes, nothing overwritten by surprise."""

import pytest

from boneray.core.errors import ConfigError, InputError
from boneray.datasets.phantom import write_phantoms
from boneray.io.case_folder import read_case


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_phantoms("vertebra", cases=2, seed=5, out=tmp_path / name, voxels=16, pixels=16)
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert len(files) == 11
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)


def test_more_cases_are_added_and_other_settings_are_refused(tmp_path):
    write_phantoms("vertebra", cases=1, seed=5, out=tmp_path, voxels=16, pixels=16)
    write_phantoms("vertebra", cases=2, seed=5, out=tmp_path, voxels=16, pixels=16)
    assert read_case(tmp_path / "vertebra-5-0001").anatomy == "vertebra"
    with pytest.raises(InputError, match="--force"):
        write_phantoms("vertebra", cases=2, seed=6, out=tmp_path, voxels=16, pixels=16)


def test_bad_arguments_are_said(tmp_path):
    with pytest.raises(ConfigError, match="femur"):
        write_phantoms("femurs", cases=1, seed=0, out=tmp_path / "x")
    with pytest.raises(InputError, match="0"):
        write_phantoms("femur", cases=0, seed=0, out=tmp_path / "x")
    assert not (tmp_path / "x").exists()
