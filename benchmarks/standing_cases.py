"""The real cases of the standing benchmark from the test data: `python -m benchmarks.standing_cases [OUT]`.

Reads the folder BONERAY_TEST_DATA and writes one folder per scan and anatomy, by default below data/standing. Parts of
the scans are non-commercial; nothing of them belongs into the repository.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NamedTuple

from boneray.cli.app import app


class Scan(NamedTuple):
    """One CT with its labels, and for what it is taken; `hu` false for 8-bit grey values with air at 0."""

    folder: str
    ct: str
    labels: str
    label_map: str
    anatomies: tuple[str, ...]
    labels_from: str = "semi-automatic"
    hu: bool = False


SCANS = {
    "0243": Scan("pelvis_CTPelvic1K_0243", "pelvis0243_ct", "pelvis0243_label", "ctpelvic1k", ("pelvis",)),
    "s0308": Scan(
        "allbones_TotalSegmentator_s0308", "s0308_all_ct", "s0308_all_label", "boneray",
        ("femur", "pelvis", "vertebra", "ribs"),
    ),
    "0532": Scan("spine_CTSpine1K_0532", "spine0532_ct", "spine0532_label", "verse", ("vertebra",)),
    "verse230": Scan("spine_VerSe19_verse230", "verse230_ct", "verse230_label", "verse", ("vertebra",)),
    "example": Scan(
        "ct_raw_HU_TotalSegmentator_example", "example_ct", "example_seg_totalsegmentator_v2_ids", "totalsegmentator",
        ("femur", "pelvis", "vertebra"), "model", hu=True,
    ),
}  # fmt: skip


def main(out: str = "data/standing") -> None:
    """Prepare every scan for each of its anatomies on the grid of the phantoms beside it: 64 voxels, 128 pixels."""
    data = Path(os.environ["BONERAY_TEST_DATA"])
    for name, scan in SCANS.items():
        for anatomy in scan.anatomies:
            options = {
                "--ct": data / scan.folder / f"{scan.ct}.nii.gz",
                "--labels": data / scan.folder / f"{scan.labels}.nii.gz",
                "--label-map": scan.label_map,
                "--labels-from": scan.labels_from,
                "--case": name,
                "--anatomy": anatomy,
                "--out": Path(out) / f"{anatomy}-{name}",
                "--voxels": 64,
                "--pixels": 128,
            } | ({} if scan.hu else {"--intensity-zero": 0})
            line = [str(part) for option in options.items() for part in option]
            app(["prepare", "pairs", *line], standalone_mode=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
