"""Pairs of files side by side: <case>_ct.nii.gz and <case>_labels.nii.gz, in boneray's own ids or those of --label-map.

Also read: `_label`, `_seg` and `_msk` instead of `_labels`. For a single pair there is `boneray prepare pairs`.
Source: none, a form to bring one's own data.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from boneray.core.errors import InputError
from boneray.datasets.label_maps import label_map
from boneray.datasets.miniature import other_grid, phantom_scan, write_bones, write_ct
from boneray.datasets.registry import DATASETS, DatasetSpec, Pair
from boneray.datasets.rules import COMMON, only_flagged
from boneray.io.files import require_folder

ENDINGS = ("_labels", "_label", "_seg", "_msk")


def cases(root: Path, names: str | None = None) -> Iterator[Pair]:
    """Every CT and every label map below `root`, sorted by name; one without the other is a problem of its case."""
    require_folder(root, "folder of pairs")
    bones = label_map(names or "boneray")
    cts = {p.name.removesuffix("_ct.nii.gz"): p for p in sorted(root.rglob("*_ct.nii.gz"))}
    labels = {
        p.name.removesuffix(f"{end}.nii.gz"): p for end in reversed(ENDINGS) for p in root.rglob(f"*{end}.nii.gz")
    }
    if not cts and not labels:
        raise InputError(f"{root} holds no <case>_ct.nii.gz with <case>_labels.nii.gz")
    for name in sorted({*cts, *labels}):
        other = labels[name].parent if name in labels else cts[name].parent
        ct = cts.get(name, other / f"{name}_ct.nii.gz")
        yield Pair(name, name, ct, labels.get(name, other / f"{name}_labels.nii.gz"), bones)


def write_miniature(root: Path) -> None:
    """A pelvis and a pair of femora."""
    for name in ("pelvis", "femur"):
        ct, labels = phantom_scan(name, 0, 32)
        write_ct(root / f"{name}_ct.nii.gz", ct, "LPS")
        write_bones(root / f"{name}_labels.nii.gz", labels, "LPS")


def write_faulty(root: Path) -> dict[str, str]:
    """A label map of another grid, a CT alone, and labels alone."""
    pelvis = phantom_scan("pelvis", 0, 32)
    write_ct(root / "a_ct.nii.gz", pelvis[0])
    write_bones(root / "a_labels.nii.gz", pelvis[1])
    write_ct(root / "b_ct.nii.gz", pelvis[0])
    write_bones(root / "b_seg.nii.gz", other_grid(pelvis)[1])
    write_ct(root / "c_ct.nii.gz", pelvis[0])
    write_bones(root / "d_labels.nii.gz", pelvis[1])
    return {"a": "", "b": "ct_label_mismatch", "c": "missing_labels", "d": "missing_ct"}


DATASETS.register("ct-label-pairs", "<case>_ct.nii.gz beside <case>_labels.nii.gz", source="own data",
                  licence="unstated")(
    DatasetSpec(cases, write_miniature, licence="unstated", rules=only_flagged(COMMON), write_faulty=write_faulty)
)  # fmt: skip
