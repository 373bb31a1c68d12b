"""The normal range of a measurement as numbers, read from the words that the table of measurements gives."""

from __future__ import annotations

import math
import re

from boneray.core.bones import VERTEBRAE

NUMBER = r"(-?\d+(?:\.\d+)?)"
UNIT = r"(?:mm|degrees)"
SPREAD = re.compile(rf"^{NUMBER} \+- {NUMBER} {UNIT}[^()]*\({NUMBER}(?:-| to ){NUMBER}\)")
BETWEEN = re.compile(rf"^(?:about )?{NUMBER}(?:-| to ){NUMBER} {UNIT}\b")
BELOW = re.compile(rf"^below {NUMBER}(?: {UNIT}\b|$)")
REGIONS = {"cervical": "C", "thoracic": "T", "lumbar": "L"}


def normal_range(words: str, bone: str) -> tuple[float, float] | None:
    """(low, high) that the words state for a bone; None where they state none.

    Understood are `20-27 mm`, `about 35-50 mm`, `below 10 degrees`, `235 +- 18 mm (205-265)`, a bare
    number, and lists of these by `lumbar`, `thoracic`, `L5` or `others`. Whatever else is said
    (a mean, quartiles, what is pathological) is no range.
    """
    if re.fullmatch(NUMBER, words):
        return float(words), float(words)
    spread = SPREAD.match(words)
    if spread:
        return float(spread[3]), float(spread[4])
    for place, clause in enumerate(part.strip() for part in re.split("[;,]", words)):
        subject, _, rest = clause.partition(" ")
        if subject in REGIONS:
            mine = bone in VERTEBRAE and bone[0] == REGIONS[subject]
        elif subject in VERTEBRAE:
            mine = bone == subject
        else:
            mine, rest = subject == "others" or place == 0, rest if subject == "others" else clause
        found = _stated(rest) if mine else None
        if found is not None:
            return found
    return None


def normal_flag(value: float | None, words: str, bone: str) -> str:
    """`below`, `within` or `above` the normal range; empty without a value or a range."""
    limits = normal_range(words, bone)
    if value is None or limits is None:
        return ""
    return "below" if value < limits[0] else "above" if value > limits[1] else "within"


def _stated(text: str) -> tuple[float, float] | None:
    between, below = BETWEEN.match(text), BELOW.match(text)
    if between:
        return float(between[1]), float(between[2])
    return (-math.inf, float(below[1])) if below else None
