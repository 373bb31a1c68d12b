"""Verdicts on scans, and what is kept of them: a table, a summary, and pictures of what was rejected."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from boneray.anatomy.registry import Anatomy
from boneray.core.bones import bone_colour, bone_name
from boneray.core.errors import BonerayError, DataError, GeometryError
from boneray.datasets.registry import Pair, Rule
from boneray.datasets.scan import Scan, label_files
from boneray.io.files import write_atomic, write_json, write_text

COLUMNS = ("case_id", "patient_id", "status", "rule", "reason", "flags")
THUMBNAIL_PX = 160


@dataclass(frozen=True)
class Verdict:
    """What the rules say of a scan or of one of its bones.

    Attributes:
        rule, reason: of the first rule that rejects; empty if accepted.
        flags: `rule: sentence` of every finding that does not reject.
    """

    rule: str = ""
    reason: str = ""
    flags: tuple[str, ...] = ()

    @property
    def accepted(self) -> bool:
        """True if no rule rejects."""
        return not self.rule


def judge(scan: Scan, bones: tuple[str, ...], rules: Iterable[Rule], kind: Anatomy, *, each: bool) -> Verdict:
    """Ask every rule for the anatomy `kind` that is meant for scans (or, with `each`, for single bones)."""
    flags: list[str] = []
    for rule in rules:
        if (rule.each and kind.one_bone) != each or (rule.anatomies and kind.name not in rule.anatomies):
            continue
        found = rule.check(scan, bones)
        if found and rule.verdict == "reject":
            return Verdict(rule.name, found, tuple(flags))
        if found:
            flags.append(f"{rule.name}: {found}")
    return Verdict(flags=tuple(flags))


def rejected_row(pair: Pair, rule: str, reason: str, flags: Iterable[str] = (), case_id: str = "") -> dict[str, Any]:
    """The row of a case that was not made."""
    return {
        "case_id": case_id or pair.case_id,
        "patient_id": pair.patient_id,
        "status": "rejected",
        "rule": rule,
        "reason": f"{rule}: {reason}",
        "flags": list(flags),
    }


def rule_of(error: BaseException, pair: Pair) -> str:
    """The name under which an error is counted: missing and unreadable files, headers, grids, contents, the system."""
    if not pair.ct.exists():
        return "missing_ct"
    if not all(file.exists() for file in label_files(pair)):
        return "missing_labels"
    if isinstance(error, GeometryError):
        return "ct_label_mismatch" if "different grids" in str(error) else "bad_header"
    if isinstance(error, DataError):
        return "bad_content"
    if not isinstance(error, BonerayError) or "cannot be written" in str(error):
        return "system"
    return "unreadable"


def write_curation(out: Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Write curation.csv (one row per case) and curation.json (its counts, as papers state them).

    Returns:
        scans and cases: total, accepted, of them flagged, rejected; and the counts by rule.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for row in originals(rows):
        status = "rejected" if row["status"] == "rejected" else "flagged" if row.get("flags") else "accepted"
        flags = "; ".join(row.get("flags", []))
        table.writerow([row["case_id"], row["patient_id"], status, row.get("rule", ""), row.get("reason", ""), flags])
    write_text(out / "curation.csv", text.getvalue())
    counts = counted(rows)
    write_json(out / "curation.json", counts)
    return counts


def originals(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows without those of changed copies."""
    return [row for row in rows if not row.get("copy_of")]


def counted(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts of a curation table; copies are no cases of their own."""
    rows = originals(rows)
    rejected = [row for row in rows if row["status"] == "rejected"]
    return {
        "cases": len(rows),
        "accepted": len(rows) - len(rejected),
        "flagged": sum(bool(row.get("flags")) for row in rows if row["status"] != "rejected"),
        "rejected": len(rejected),
        "patients": len({row["patient_id"] for row in rows if row["status"] != "rejected"}),
        "rejected_by_rule": dict(sorted(Counter(row.get("rule", "") for row in rejected).items())),
        "flagged_by_rule": dict(sorted(Counter(name for row in rows for name in _flagged(row)).items())),
    }


def _flagged(row: dict[str, Any]) -> set[str]:
    """The rules a row is flagged by, each once."""
    return {flag.partition(":")[0] for flag in row.get("flags", [])}


def summary_lines(counts: dict[str, Any]) -> list[str]:
    """The counts in two or three lines for a person."""
    lines = [
        f"{counts['cases']} cases: {counts['accepted']} accepted ({counts['flagged']} flagged, "
        f"{counts['patients']} patients), {counts['rejected']} rejected"
    ]
    for key, what in (("rejected_by_rule", "rejected"), ("flagged_by_rule", "flagged")):
        if counts[key]:
            lines.append(f"{what}: " + ", ".join(f"{rule} {n}" for rule, n in counts[key].items()))
    return lines


def write_thumbnail(path: Path, scan: Scan, reason: str) -> Path:
    """A small picture of a scan from the front and the left, labelled bones in colour, the reason in its metadata."""
    pictures = [_shadow(scan, axis) for axis in (1, 0)]
    sheet = Image.new("RGB", (2 * THUMBNAIL_PX + 8, THUMBNAIL_PX + 8))
    for n, picture in enumerate(pictures):
        image = Image.fromarray(picture)
        image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
        sheet.paste(image, (4 + n * THUMBNAIL_PX, 4))
    words = PngInfo()
    words.add_text("Comment", reason)
    return write_atomic(path, partial(sheet.save, format="PNG", pnginfo=words))


def _shadow(scan: Scan, axis: int) -> NDArray[np.uint8]:
    """Mean density along an axis in grey, bones in their colours; head up, left or front at the right, RGB."""
    spacing = [s for a, s in enumerate(scan.labels.grid.spacing_mm) if a != axis]
    mean = np.clip(scan.ct.data, -1000, 1500).mean(axis=axis, dtype=np.float32)
    grey = (mean - mean.min()) / max(float(np.ptp(mean)), 1.0)
    picture = np.repeat((200 * grey).astype(np.uint8)[..., None], 3, axis=2)
    top = scan.labels.data.max(axis=axis)
    for bone_id in np.unique(top[top > 0]):
        here = top == bone_id
        picture[here] = (0.5 * picture[here] + 0.5 * np.array(bone_colour(bone_name(int(bone_id))))).astype(np.uint8)
    if axis == 1:
        picture = picture[::-1]
    upright = np.ascontiguousarray(picture.transpose(1, 0, 2)[::-1])
    size = [max(1, round(n * s / min(spacing))) for n, s in zip(picture.shape[:2], spacing, strict=True)]
    scale = THUMBNAIL_PX / max(size)
    image = Image.fromarray(upright).resize((max(1, round(size[0] * scale)), max(1, round(size[1] * scale))))
    return np.asarray(image)
