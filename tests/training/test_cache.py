"""The training cache: the same samples as from the folders, made once, never believed when it does not fit."""

import pickle
import shutil
import time

import numpy as np
import pytest
import torch

from boneray.core.errors import DataError, InputError
from boneray.datasets.augmentation import copies
from boneray.datasets.phantom import write_phantoms
from boneray.io.case_folder import case_folders, read_case, write_case
from boneray.models.registry import Recipe
from boneray.training.cache import ARRAYS, INDEX, cached_cases
from boneray.training.plan import TrainSettings, plan
from boneray.training.samples import Samples, load_training_case

NAMES, VIEWS = ("sacrum", "hip_left", "hip_right"), ("ap", "lat")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("phantoms") / "pelvis"
    write_phantoms("pelvis", cases=4, seed=0, out=root, voxels=16, pixels=32)
    return root


def opened(data, cache, case_ids=None):
    folders = {folder.name: folder for folder in case_folders(data)}
    return cached_cases(folders, case_ids or list(folders), classes=NAMES, views=VIEWS, cache=cache)


def same(a, b):
    return (
        a.case_id == b.case_id
        and a.grid == b.grid
        and a.ct.grid == b.ct.grid
        and a.ct.data.dtype == b.ct.data.dtype
        and np.array_equal(a.classes, b.classes)
        and np.array_equal(a.ct.data, b.ct.data)
        and all(
            np.array_equal(x.line_integrals, y.line_integrals) and x.camera == y.camera and x.scaled == y.scaled
            for x, y in zip(a.radiographs, b.radiographs, strict=True)
        )
    )


def test_cached_cases_are_those_of_the_folders(data, tmp_path):
    cases = opened(data, tmp_path)
    folders = case_folders(data)
    assert len(cases) == len(folders) == 4
    for case, folder in zip(cases, folders, strict=True):
        assert same(case, load_training_case(folder, NAMES, VIEWS))
    assert [c.case_id for c in cases[1:3]] == [f.name for f in folders[1:3]] and cases[-1].case_id == folders[-1].name


def test_samples_are_the_same_from_the_cache(data, tmp_path):
    loaded = [load_training_case(folder, NAMES, VIEWS) for folder in case_folders(data)]
    both = [
        Samples(cases, count=8, image_shape=(32, 32), class_names=NAMES, recipe=Recipe(), seed=3, augment=True)
        for cases in (loaded, opened(data, tmp_path))
    ]
    for n in (0, 5, 7):
        a, b = (samples[n] for samples in both)
        assert torch.equal(a.images, b.images) and torch.equal(a.classes, b.classes)


def test_it_is_made_once_and_made_anew_for_what_has_changed(data, tmp_path):
    root, cache = tmp_path / "cases", tmp_path / "cache"
    shutil.copytree(data, root)
    opened(root, cache)
    first = {path: path.stat().st_mtime_ns for path in cache.rglob("*") if path.is_file()}
    opened(root, cache)
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*") if path.is_file()} == first
    folder = case_folders(root)[2]
    case = read_case(folder)
    write_case(folder, next(copies(case, 1, seed=0)))
    changed = opened(root, cache)[2]
    assert not np.array_equal(changed.classes, load_training_case(case_folders(data)[2], NAMES, VIEWS).classes)
    assert len(list(cache.iterdir())) == 2 and not list(cache.glob(".writing*"))
    opened(root, cache, [folder.name])
    assert len(list(cache.iterdir())) == 3


def test_damaged_bytes_are_noticed_when_they_are_read(data, tmp_path):
    file = opened(data, tmp_path).folder / ARRAYS
    content = bytearray(file.read_bytes())
    content[-100] ^= 1
    file.write_bytes(content)
    cases = opened(data, tmp_path)
    assert cases[0].classes.any()
    with pytest.raises(DataError, match="is damaged; delete the cache"):
        cases[3]


def test_a_cache_cut_short_is_made_anew(data, tmp_path):
    folder = opened(data, tmp_path).folder
    (folder / ARRAYS).write_bytes((folder / ARRAYS).read_bytes()[:1000])
    assert same(opened(data, tmp_path)[3], load_training_case(case_folders(data)[3], NAMES, VIEWS))
    assert (folder / INDEX).is_file()


def test_writing_to_a_case_does_not_reach_the_file(data, tmp_path):
    cases = opened(data, tmp_path)
    before = (cases.folder / ARRAYS).read_bytes()
    cases[0].classes[:] = 77
    cases[1].ct.data[:] = 0
    del cases
    assert (next(tmp_path.iterdir()) / ARRAYS).read_bytes() == before


def test_it_travels_to_a_loading_process(data, tmp_path):
    cases = opened(data, tmp_path)
    first = cases[0]
    packed = pickle.dumps(cases)
    assert len(packed) < 50_000  # the arrays stay where they are
    assert same(pickle.loads(packed)[0], first)


def test_a_place_that_cannot_be_written_is_said(data, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"training cache .* cannot be written"):
        opened(data, tmp_path / "file")


def test_training_takes_its_cases_from_the_cache(data, tmp_path, boneray):
    common = ("--set", "recipe.steps=2", "--set", "recipe.batch_size=2", "--set", "validation_share=0.25")
    plain = boneray("train", "mean_shape", "--data", data, "--out", tmp_path / "a", *common)
    cached = boneray(
        "train", "mean_shape", "--data", data, "--out", tmp_path / "b", *common, "--set", f"cache={tmp_path / 'cache'}"
    )
    assert plain.code == cached.code == 0, plain.err + cached.err
    a, b = ((tmp_path / name / "best.safetensors").read_bytes() for name in "ab")
    assert a == b and len(list((tmp_path / "cache").iterdir())) == 2  # training and validation


def test_copies_stay_out_of_validation(data, tmp_path):
    root = tmp_path / "cases"
    shutil.copytree(data, root)
    (root / "dataset.json").unlink()
    for folder in case_folders(root):
        made = next(copies(read_case(folder), 1, seed=0))
        write_case(root / made.case_id, made)
    parts = plan("unet", root, TrainSettings(validation_share=0.25)).parts
    assert len(parts["validation"]) == 1 and "copy" not in parts["validation"][0]
    assert sorted(parts["train"]) == sorted(
        name for f in case_folders(root) if (name := f.name).removesuffix("-copy1") != parts["validation"][0]
    )


@pytest.mark.slow
def test_opening_takes_no_time_however_many_cases_there_are(tmp_path):
    """10,000 cases whose arrays are linked: start-up of training under 10 s once the cache is there."""
    import json
    import os

    from boneray.datasets.phantom import phantom_case

    root = tmp_path / "lots"
    write_case(root / "c00000", phantom_case("pelvis", seed=0, number=0, voxels=16, pixels=32))
    template = json.loads((root / "c00000" / "case.json").read_text())
    files = [path for path in (root / "c00000").iterdir() if path.name != "case.json"]
    for number in range(10_000):
        name = f"c{number:05d}"
        (root / name).mkdir(exist_ok=True)
        text = json.dumps(template | {"case_id": name, "patient_id": f"p{number:05d}"}, indent=2)
        (root / name / "case.json").write_text(text)
        for file in files if number else ():
            os.link(file, root / name / file.name)
    settings = TrainSettings(cache=tmp_path / "cache")

    def start_up():
        start = time.process_time()
        made = plan("unet", root, settings)
        cases = {part: made.load(part) for part in ("train", "validation")}
        samples = Samples(
            cases["train"], count=100, image_shape=(32, 32), class_names=made.card.classes, recipe=Recipe(), seed=0,
            augment=True,
        )  # fmt: skip
        assert len(cases["train"]) + len(cases["validation"]) == 10_000
        samples[0]
        return time.process_time() - start

    start_up()
    assert start_up() < 10
