"""The README's commands exist as they stand there."""

import re
import shlex
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
BLOCKS = README.split("```")[1::2]
TOUR = [line.split("#")[0].strip() for block in BLOCKS for line in block.splitlines() if line.startswith("boneray ")]


@pytest.mark.parametrize("line", TOUR, ids=lambda line: " ".join(line.split()[:3]))
def test_command_and_options_exist(boneray, line):
    words = shlex.split(line)[1:]
    command = words[:2] if words[0] == "prepare" else words[:1]
    shown = boneray(*command, "--help")
    assert shown.code == 0
    missing = [word for word in words if word.startswith("--") and not re.search(rf"{word}\b", shown.out)]
    assert not missing


def test_the_tour_is_not_empty():
    assert len(TOUR) >= 10
