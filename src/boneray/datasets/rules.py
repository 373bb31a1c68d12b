"""Curation as code: what a scan is asked before it becomes a case. Each function says what is wrong, or nothing.

A data set lists the rules it needs, with thresholds and reasons. Where a paper states a voxel count, the volume it
meant is used, so that the rule holds at any spacing. Distances and intensities are of the CT in RAS order.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from boneray.core.bones import FEMORA, HIPS, RIBS, VERTEBRAE
from boneray.datasets.registry import Rule
from boneray.datasets.scan import Scan

METAL_HU = 2500.0
METAL_MM3 = 50.0
CONTRAST_HU = 30.0
SPINE = VERTEBRAE
PAIRED = (HIPS[::-1], FEMORA, *((f"rib_left_{i}", f"rib_right_{i}") for i in range(1, 13)))


def volume_below(scan: Scan, bones: tuple[str, ...], *, names: tuple[str, ...] = (), at_least_mm3: float) -> str:
    """Too few voxels: a bone of `names` (default: those asked about) has less than `at_least_mm3`."""
    small = [(n, scan.volume_mm3(n)) for n in names or bones if scan.volume_mm3(n) < at_least_mm3]
    if not small:
        return ""
    said = ", ".join(f"{name} {volume / 1000:.1f} cm3" for name, volume in small[:4])
    return f"{said}; {at_least_mm3 / 1000:.1f} cm3 needed"


def union_below(scan: Scan, bones: tuple[str, ...], *, at_least_mm3: float) -> str:
    """Too few voxels of all bones asked about together."""
    volume = sum(scan.volume_mm3(name) for name in bones)
    return f"{volume / 1000:.1f} cm3 of bone; {at_least_mm3 / 1000:.1f} cm3 needed" if volume < at_least_mm3 else ""


def fewer_than(scan: Scan, bones: tuple[str, ...], *, names: tuple[str, ...], count: int) -> str:
    """Incomplete: less than `count` of `names` are labelled at all."""
    found = scan.present(names)
    if len(found) >= count:
        return ""
    missing = [name for name in names if name not in found]
    return f"{len(found)} of {len(names)} bones are labelled, {count} needed; missing {', '.join(missing[:4])}" + (
        " ..." if len(missing) > 4 else ""
    )


def gap_in_sequence(scan: Scan, bones: tuple[str, ...]) -> str:
    """A vertebra is missing between two that are labelled (L6 and a missing T12 are variants, not gaps)."""
    places = [SPINE.index(name) for name in scan.present(SPINE)]
    gaps = [
        f"{', '.join(SPINE[a + 1 : b])} missing between {SPINE[a]} and {SPINE[b]}"
        for a, b in pairwise(places)
        if b > a + 1 and SPINE[a + 1 : b] != ("T12",)
    ]
    return "; ".join(gaps)


def has_bone(scan: Scan, bones: tuple[str, ...], *, name: str) -> str:
    """A bone the task has no class for is labelled."""
    return f"{name} is labelled" if name in scan.boxes else ""


def other_level(scan: Scan, bones: tuple[str, ...], *, levels: tuple[str, ...]) -> str:
    """The bone is none of `levels`."""
    return "" if set(bones) <= set(levels) else f"{', '.join(bones)} lies outside of {levels[0]}..{levels[-1]}"


def cut_by_field(
    scan: Scan, bones: tuple[str, ...], *, faces: str = "LRPAIS", names: tuple[str, ...] = (), share: float = 0.0
) -> str:
    """A bone reaches a face of the CT (named by direction) with more than `share` of its largest section."""
    cut = []
    for name in scan.present(names or bones):
        mask = scan.mask(name)
        for axis, (low, high) in enumerate((("L", "R"), ("P", "A"), ("I", "S"))):
            box, size = scan.boxes[name][axis], scan.labels.grid.shape[axis]
            areas = mask.sum(axis=tuple(a for a in range(3) if a != axis))
            for face, touches, area in ((low, box.start == 0, areas[0]), (high, box.stop == size, areas[-1])):
                if face in faces and touches and area > share * areas.max():
                    cut.append(f"{name} by the {_FACES[face]} face")
    return f"cut by the field of view: {', '.join(cut[:4])}" + (" ..." if len(cut) > 4 else "") if cut else ""


_FACES = {"L": "left", "R": "right", "P": "back", "A": "front", "I": "lower", "S": "upper"}


def uneven_voxels(scan: Scan, bones: tuple[str, ...], *, ratio: float) -> str:
    """Anisotropic: the longest edge of a voxel is more than `ratio` times the shortest."""
    spacing = scan.source_grid.spacing_mm
    if max(spacing) <= ratio * min(spacing):
        return ""
    return f"voxels of {' x '.join(f'{s:.3g}' for s in spacing)} mm; edges may differ {ratio:g} times"


def metal(scan: Scan, bones: tuple[str, ...], *, reach_mm: float = 5.0) -> str:
    """Foreign material: more than 50 mm3 above 2500 HU in the bones asked about or within `reach_mm` of them."""
    grid = scan.labels.grid
    margin = int(np.ceil(reach_mm / min(grid.spacing_mm)))
    found = {}
    for name in scan.present(bones):
        box = scan.box(name, margin)
        dense = scan.ct.data[box] > METAL_HU
        if np.count_nonzero(dense) * grid.voxel_volume_mm3 <= METAL_MM3:
            continue
        away = ndimage.distance_transform_edt(~scan.mask(name, margin), grid.spacing_mm)
        volume = np.count_nonzero(dense & (away <= reach_mm)) * grid.voxel_volume_mm3
        if volume > METAL_MM3:
            found[name] = volume
    return ", ".join(f"{volume / 1000:.2f} cm3 above {METAL_HU:.0f} HU at {name}" for name, volume in found.items())


def graded_foreign(scan: Scan, bones: tuple[str, ...]) -> str:
    """Foreign material by the data set's own grading."""
    marked = [name for name in bones if scan.pair.bone_groups.get(name, {}).get("shape") == "foreign"]
    return f"{', '.join(marked)} graded as holding foreign material" if marked else ""


def sides_swapped(scan: Scan, bones: tuple[str, ...], *, pairs: tuple[tuple[str, ...], ...] = PAIRED) -> str:
    """Label mix-up: a left bone lies right of its partner in the frame."""
    wrong = [
        left
        for left, right in pairs
        if left in scan.boxes and right in scan.boxes and scan.centre_mm(left)[0] >= scan.centre_mm(right)[0]
    ]
    return f"{', '.join(wrong[:4])} on the patient's right by the frame" if wrong else ""


def order_broken(scan: Scan, bones: tuple[str, ...]) -> str:
    """Label mix-up: a vertebra, or the head of a rib, is above the one before it (all of them: `upside_down`).

    Ribs that the field of view cuts end at one height and say nothing.
    """
    said = []
    for row in (SPINE, RIBS[:12], RIBS[12:]):
        names = scan.present(row)
        heights = [scan.centre_mm(name)[2] if row is SPINE else scan.top_mm(name) for name in names]
        above = [f"{b} above {a}" for (a, x), (b, y) in pairwise(zip(names, heights, strict=True)) if y > x]
        if len(above) < len(names) - 1 or len(names) == 2:
            said += above
    return "; ".join(said[:3])


def in_pieces(scan: Scan, bones: tuple[str, ...], *, share: float) -> str:
    """Label mix-up: parts of a bone that lie apart from its largest hold more than `share` of it.

    A bone that the field of view cuts may fall into pieces and is not asked.
    """
    said = []
    for name in scan.present(bones):
        if cut_by_field(scan, (name,)):
            continue
        parts, count = ndimage.label(scan.mask(name), np.ones((3, 3, 3)))
        if count < 2:
            continue
        sizes = np.bincount(parts.ravel())[1:]
        rest = 1 - sizes.max() / sizes.sum()
        if rest > share:
            said.append(f"{name} in {count} pieces, {100 * rest:.0f} % outside of the largest")
    return "; ".join(said[:3])


def size_jump(scan: Scan, bones: tuple[str, ...], *, factor: float) -> str:
    """Label mix-up: an inner vertebra is `factor` times larger or smaller than both of its neighbours.

    Those cut by the field of view are not asked.
    """
    names = [name for name in scan.present(SPINE) if not cut_by_field(scan, (name,))]
    said = []
    for before, name, after in zip(names, names[1:], names[2:], strict=False):
        around = [scan.volume_mm3(before), scan.volume_mm3(after)]
        here = scan.volume_mm3(name)
        if here > factor * max(around) or here * factor < min(around):
            said.append(f"{name} {here / 1000:.1f} cm3 between {around[0] / 1000:.1f} and {around[1] / 1000:.1f} cm3")
    return "; ".join(said[:3])


def rib_cut(scan: Scan, bones: tuple[str, ...], *, share: float) -> str:
    """A rib holds less than `share` of its partner's volume, or misses a piece between two of its own."""
    said = []
    for left, right in PAIRED[2:]:
        if left not in scan.boxes or right not in scan.boxes:
            continue
        small, large = sorted((left, right), key=scan.volume_mm3)
        if scan.volume_mm3(small) < share * scan.volume_mm3(large):
            said.append(f"{small} {100 * scan.volume_mm3(small) / scan.volume_mm3(large):.0f} % of {large}")
    pieces = in_pieces(scan, tuple(scan.present(RIBS)), share=0.1)
    return "; ".join([*said[:3], *([pieces] if pieces else [])])


def angiography(scan: Scan, bones: tuple[str, ...]) -> str:
    """The study is an angiography: contrast-filled vessels, often a narrow field of view."""
    study = str(scan.pair.groups.get("study_type") or "")
    return f"study type '{study}'" if "angio" in study.lower() or "cta" in study.lower().split() else ""


def in_subset(scan: Scan, bones: tuple[str, ...], *, names: tuple[str, ...], what: str) -> str:
    """The scan belongs to a part of the data set that cannot be used."""
    subset = str(scan.pair.groups.get("subset") or "")
    return f"subset {subset}: {what}" if subset in names else ""


def holes(scan: Scan, bones: tuple[str, ...], *, share: float) -> str:
    """Closed cavities make up more than `share` of a filled bone."""
    said = []
    for name in scan.present(bones):
        mask = np.pad(scan.mask(name), 1)
        apart = ndimage.label(~mask)[0]  # 1 is the outside, which begins at the first voxel
        hollow = 1 - np.count_nonzero(mask) / np.count_nonzero(apart != 1)
        if hollow > share:
            said.append(f"{name} {100 * hollow:.0f} % hollow")
    return ", ".join(said[:4])


def mirrored(scan: Scan, bones: tuple[str, ...]) -> str:
    """The bones are back to front in the header's frame, or were until the second axis was flipped."""
    if scan.repaired:
        return "the bones were back to front; second axis flipped"
    return "the bones are back to front by the header" if scan.findings.mirrored else ""


def still_mirrored(scan: Scan, bones: tuple[str, ...]) -> str:
    """The bones are back to front in the frame that would be used."""
    return "the bones are back to front by the header" if scan.findings.mirrored else ""


def upside_down(scan: Scan, bones: tuple[str, ...]) -> str:
    """Lower vertebrae lie above upper ones: the third axis is flipped."""
    return next((p.partition(": ")[2] for p in scan.findings.problems if "third axis" in p), "")


def wrong_scale(scan: Scan, bones: tuple[str, ...]) -> str:
    """Bones are wider or narrower than a person's: the spacing in the header is wrong. Cut ones are not asked."""
    cut = {"both hip bones": HIPS, "rib cage": RIBS}
    said = []
    for problem in scan.findings.problems:
        if problem.startswith("scale_implausible: "):
            text = problem.removeprefix("scale_implausible: ")
            names = next((names for what, names in cut.items() if text.startswith(what)), ())
            if not (names and cut_by_field(scan, (), names=names, faces="LR")):
                said.append(text)
    return "; ".join(said)


def not_on_bone(scan: Scan, bones: tuple[str, ...], *, contrast_hu: float = CONTRAST_HU) -> str:
    """CT and labels do not belong together: the bones are less than `contrast_hu` denser than what surrounds them."""
    inside = outside = 0.0
    n_inside = n_outside = 0
    for name in scan.present(bones):
        box = scan.box(name, 3)
        mask = scan.mask(name, 3)
        shell = _grown(mask, 3) & (scan.labels.data[box] == 0)
        hu = np.clip(scan.ct.data[box].astype(np.float32), -200.0, METAL_HU)
        inside, n_inside = inside + float(hu[mask].sum()), n_inside + int(mask.sum())
        outside, n_outside = outside + float(hu[shell].sum()), n_outside + int(shell.sum())
    if not n_inside or not n_outside:
        return ""
    contrast = inside / n_inside - outside / n_outside
    if contrast >= contrast_hu:
        return ""
    return f"labelled bone is {contrast:.0f} HU denser than what surrounds it, at least {contrast_hu:.0f} expected"


def _grown(mask: NDArray[np.bool_], steps: int) -> NDArray[np.bool_]:
    """The mask grown by its six neighbours, `steps` times; what `binary_dilation` gives, several times faster."""
    for _ in range(steps):
        wider = mask.copy()
        for axis in range(3):
            ahead, behind = np.moveaxis(wider, axis, 0), np.moveaxis(mask, axis, 0)
            ahead[1:] |= behind[:-1]
            ahead[:-1] |= behind[1:]
        mask = wider
    return mask


FRAME = (
    Rule("mirrored_header", "a bone in a mirrored frame is the other side's; repaired where told so", mirrored, "flag"),
    Rule("mirrored_header_kept", "a mirrored patient must not be learnt from", still_mirrored),
    Rule("upside_down_header", "the third axis contradicts the order of the vertebrae", upside_down),
    Rule("wrong_scale", "a wrong spacing makes every millimetre wrong", wrong_scale),
)
CONTENT = (Rule("ct_label_mismatch", "labels of another CT, or shifted against it, do not lie on bone", not_on_bone),)
MIXED_UP = (
    Rule("label_mixup", "sides must agree with the frame", sides_swapped),
    Rule("label_mixup", "vertebrae and ribs are numbered from the head down", order_broken),
)
DOUBTS = (
    Rule("label_in_pieces", "a bone is one piece; what lies apart was labelled by mistake",
         partial(in_pieces, share=0.05), "flag", each=True),
    Rule("label_size", "neighbouring vertebrae are alike in size", partial(size_jump, factor=2.0), "flag"),
    Rule("holes", "bones are labelled solid", partial(holes, share=0.02), "flag", each=True),
    Rule("anisotropic", "thick slices make steps in bone and picture", partial(uneven_voxels, ratio=6.0), "flag"),
    Rule("foreign_material", "metal and cement outshine bone", metal, "flag", each=True),
)  # fmt: skip
COMMON = (*FRAME, *CONTENT, *MIXED_UP, *DOUBTS)
WHOLE_BONE = Rule(
    "partial", "half a vertebra is no vertebra to learn", cut_by_field, each=True, anatomies=("vertebra",)
)


def only_flagged(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """The same questions, whose findings mark a case but do not reject it."""
    return tuple(replace(rule, verdict="flag") for rule in rules)
