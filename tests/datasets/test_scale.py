"""Preparing with several processes, in parts, with kills in between: always the same bytes."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from boneray.core.errors import InputError
from boneray.datasets.collection import prepare_collection
from boneray.datasets.miniature import phantom_scan, write_bones, write_ct
from boneray.datasets.output_folder import alone_in, working_in
from boneray.datasets.prepare import PrepareOptions
from boneray.datasets.registry import DATASETS, Pair
from boneray.io.case_folder import case_folders, read_case, read_dataset
from boneray.io.files import read_json

OPTIONS = PrepareOptions("pelvis", voxels=32, pixels=32)


def write_source(root: Path, count: int = 6) -> list[Pair]:
    """Pelvis phantoms; one of them is damaged."""
    from boneray.datasets.label_maps import label_map

    root.mkdir(parents=True, exist_ok=True)
    pairs = []
    for number in range(count):
        ct, labels = phantom_scan("pelvis", number % 3)
        name = f"p{number:02d}"
        write_ct(root / f"{name}_ct.nii.gz", ct)
        write_bones(root / f"{name}_bones.nii.gz", labels)
        pairs.append(Pair(name, name, root / f"{name}_ct.nii.gz", root / f"{name}_bones.nii.gz", label_map("boneray")))
    pairs[1].ct.write_bytes(pairs[1].ct.read_bytes()[:1000])
    return pairs


def digest(folder: Path) -> dict[str, str]:
    """SHA-256 of every file by its path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_source(tmp_path_factory.mktemp("raw"))


@pytest.fixture(scope="module")
def undisturbed(source, tmp_path_factory):
    out = tmp_path_factory.mktemp("once")
    made = prepare_collection(source, OPTIONS, name="x", out=out)
    assert (made["made"], made["rejected"], made["faults"]) == (5, 1, 1)
    return digest(out)


def test_two_workers_write_what_one_writes(source, undisturbed, tmp_path):
    made = prepare_collection(source, OPTIONS, name="x", out=tmp_path / "out", workers=2)
    assert [row["case_id"] for row in made["cases"]] == [f"p{n:02d}" for n in range(6)]
    assert digest(tmp_path / "out") == undisturbed


def test_parts_at_the_same_time_write_what_one_run_writes(source, undisturbed, tmp_path):
    out = tmp_path / "out"
    runs = [
        threading.Thread(
            target=prepare_collection, args=(source, OPTIONS), kwargs={"name": "x", "out": out, "part": (i, 3)}
        )
        for i in (2, 1, 3)
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert digest(out) == undisturbed
    assert [row["status"] for row in read_dataset(out)] == ["ok", "rejected", "ok", "ok", "ok", "ok"]


@pytest.mark.slow
def test_ray_writes_what_one_process_writes(source, undisturbed, tmp_path):
    pytest.importorskip("ray", reason="the extra `scale` (ray) is not installed")
    prepare_collection(source, OPTIONS, name="x", out=tmp_path / "out", workers=2, engine="ray")
    assert digest(tmp_path / "out") == undisturbed


def test_what_a_killed_run_left_is_removed_unless_others_work_there(source, undisturbed, tmp_path):
    out = tmp_path / "out"
    for left in (out / ".writing-p00-77", out / "records" / ".writing-abc"):
        left.mkdir(parents=True)
        (left / "case.json").write_text("{")
    with working_in(out) as removed:
        assert removed == 2
        (out / ".writing-of-the-first").mkdir()
        with working_in(out) as also:
            assert also == 0  # the first run is still writing
    prepare_collection(source, OPTIONS, name="x", out=out)
    assert digest(out) == undisturbed


def test_tables_are_joined_one_run_at_a_time(tmp_path):
    log = []

    def join(name):
        with alone_in(tmp_path):
            log.append(f"{name} in")
            time.sleep(0.05)
            log.append(f"{name} out")

    runs = [threading.Thread(target=join, args=(str(n),)) for n in range(4)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert all(log[n].replace("in", "out") == log[n + 1] for n in range(0, 8, 2))


def test_copies_are_made_with_every_case_and_kept(source, tmp_path):
    out = tmp_path / "out"
    options = PrepareOptions("pelvis", voxels=32, pixels=32, copies=2, copy_seed=3)
    made = prepare_collection(source[:1], options, name="x", out=out)
    names = ["p00", "p00-copy1", "p00-copy2"]
    assert [row["case_id"] for row in made["cases"]] == names and made["counts"]["cases"] == 1
    assert [folder.name for folder in case_folders(out)] == names
    original, first, second = (read_case(out / name) for name in names)
    assert {case.patient_id for case in (original, first, second)} == {"p00"}
    assert not np.array_equal(first.labels.data, second.labels.data)
    assert set(first.labels.ids) == set(original.labels.ids)
    before = digest(out)
    prepare_collection(source[:1], options, name="x", out=out)
    assert digest(out) == before
    with pytest.raises(InputError, match="-1 copies"):
        PrepareOptions("pelvis", copies=-1)
    with pytest.raises(InputError, match="preset 'xrayto3d' has none"):
        PrepareOptions("pelvis", copies=1, preset="xrayto3d")


def test_a_split_puts_copies_beside_their_originals_in_training_only(source, tmp_path):
    from boneray.datasets.splits import read_splits
    from boneray.datasets.splitting import SplitOptions, write_split

    options = PrepareOptions("pelvis", voxels=32, pixels=32, copies=1)
    prepare_collection(source, options, name="x", out=tmp_path)
    write_split(tmp_path, SplitOptions("patient", validation=0.2, test=0.2), DATASETS.get("nnunet").value, tmp_path)
    parts = read_splits(tmp_path / "splits.json")
    assert len(parts["validation"]) == len(parts["test"]) == 1
    assert not any("copy" in c for c in parts["validation"] + parts["test"])
    assert len(parts["train"]) == 6 and sum("copy" in c for c in parts["train"]) == 3
    assert {c.removesuffix("-copy1") for c in parts["train"]}.isdisjoint(parts["validation"] + parts["test"])


RUN = """
import sys
from pathlib import Path
from boneray.datasets.collection import prepare_collection
from boneray.datasets.nnunet import cases
from boneray.datasets.prepare import PrepareOptions
if __name__ == "__main__":
    made = prepare_collection(
        cases(Path(sys.argv[1]), None), PrepareOptions("pelvis", voxels=64, pixels=64, copies=1), name="x",
        out=Path(sys.argv[2]), workers=int(sys.argv[3]),
    )
    assert made["made"] == 24, made
"""


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_killed_at_ten_random_moments_and_run_again_the_bytes_are_the_same(tmp_path, workers):
    """kill -9 the whole group, ten times, then one run to the end: no difference, nothing left over."""
    from boneray.datasets.miniature import numbered
    from boneray.io.files import write_json

    raw, once, killed = tmp_path / "raw", tmp_path / "once", tmp_path / "killed"
    names = {1: "sacrum", 2: "hip_left", 3: "hip_right"}
    for number in range(12):
        ct, labels = phantom_scan("pelvis", number, 96)
        write_ct(raw / "imagesTr" / f"p{number:02d}_0000.nii.gz", ct)
        write_bones(raw / "labelsTr" / f"p{number:02d}.nii.gz", numbered(labels, names))
    write_json(raw / "dataset.json", {"labels": {name: i for i, name in names.items()}, "file_ending": ".nii.gz"})
    script = tmp_path / "run.py"
    script.write_text(RUN)

    def start(out, count):
        return subprocess.Popen([sys.executable, str(script), str(raw), str(out), str(count)], start_new_session=True)

    began = time.monotonic()
    whole = start(once, workers)
    while not list(once.glob("records/*.json")) and whole.poll() is None:
        time.sleep(0.02)
    first = time.monotonic() - began
    assert whole.wait() == 0
    takes = time.monotonic() - began
    moments = random.Random(workers)
    hits = 0
    for _ in range(10):
        run = start(killed, workers)
        time.sleep(0.7 * first + moments.uniform(0.0, 0.15) * takes)
        if run.poll() is None:
            hits += 1
            os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        for folder in killed.glob("p*/"):  # whoever looks meanwhile finds whole cases only
            assert read_json(folder / "case.json", "case")["case_id"] == folder.name
            assert {"labels.nii.gz", "ct.nii.gz", "ap.png", "lat.png"} <= {f.name for f in folder.iterdir()}
            read_case(folder)
    assert start(killed, workers).wait() == 0
    assert digest(killed) == digest(once)
    assert not list(killed.rglob(".writing-*"))
    assert hits >= 8  # of the ten; the others came after the end
