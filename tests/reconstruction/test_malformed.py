"""What is no radiograph is refused in one line: no traceback, no hang, no flood of memory, no confident answer."""

import resource
import time
from pathlib import Path

import pytest

from tests.reconstruction import films
from tests.reconstruction.malformed import malformed

AT_MOST_S, AT_MOST_KB = 20.0, 2_000_000
FAST_EVERY = 9
# What a fuzzer leaves whole: a header torn in places that do not matter is answered, and rightly so.
MAY_BE_WHOLE = ("dicom-torn", "dicom-without-PhotometricInterpretation")


def ask(boneray, folder: Path, *, every: int) -> tuple[int, list[str]]:
    """How many inputs were asked, and what was wrong with the answers."""
    wrong = []
    count = 0
    for n, (name, arguments) in enumerate(malformed(folder)):
        if n % every:
            continue
        count += 1
        out = folder / "out" / name
        start = time.perf_counter()
        done = boneray("reconstruct", *arguments, "--bone", films.femur(0).target, "--checkpoint", films.FEMUR,
                       "--no-confidence", "--out", out)  # fmt: skip
        seconds = time.perf_counter() - start
        said = done.err.strip().splitlines()
        if "Traceback" in done.err or "Traceback" in done.out:
            wrong.append(f"{name}: traceback")
        elif seconds > AT_MOST_S:
            wrong.append(f"{name}: {seconds:.0f} s")
        elif done.code == 0 and not name.startswith(MAY_BE_WHOLE):
            flags = [line for line in said if line.startswith("warning: ")]
            if not any("look" in line or "agree" in line or "unusual" in line for line in flags):
                wrong.append(f"{name}: answered with {flags}")
        elif done.code not in (0, 2) or (done.code == 2 and not said[-1].startswith("boneray: ")):
            # typer's own complaints about arguments also end in 2, in several lines
            if not (done.code == 2 and "Usage" in done.err):
                wrong.append(f"{name}: exit {done.code}, {said[-1:]}")
    return count, wrong


def peak_kb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def test_some_malformed_inputs(tmp_path, boneray):
    count, wrong = ask(boneray, tmp_path, every=FAST_EVERY)
    assert not wrong, "\n".join(wrong)
    assert count >= 22


@pytest.mark.slow
def test_two_hundred_malformed_inputs(tmp_path, boneray):
    before = peak_kb()
    count, wrong = ask(boneray, tmp_path, every=1)
    assert not wrong, "\n".join(wrong)
    assert count >= 200
    assert peak_kb() < AT_MOST_KB, f"{peak_kb()} kB, {before} before"
