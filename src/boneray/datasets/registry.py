"""Registered data sets: how to read one as its owners publish it, and what is asked of its scans."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from boneray.core.errors import ConfigError
from boneray.core.registry import Registry, unknown_name
from boneray.core.volume import LabelMap

if TYPE_CHECKING:
    from boneray.datasets.prepare import PrepareOptions
    from boneray.datasets.scan import Scan

LabelsFrom = Literal["manual", "semi-automatic", "model", "unstated"]


def how_labels_were_made(name: str) -> LabelsFrom:
    """The name, if it is one of those that a case folder knows for real labels.

    Raises:
        ConfigError: it is not.
    """
    if name not in get_args(LabelsFrom):
        raise ConfigError(unknown_name("way labels were made", name, list(get_args(LabelsFrom))))
    return cast("LabelsFrom", name)


@dataclass(frozen=True)
class Pair:
    """One CT with its labels, as found on disk.

    Attributes:
        case_id, patient_id: unique names; cases of one patient share the second.
        ct: a NIfTI file, or a folder with one DICOM series.
        labels: the label map; where there is one mask per bone, their folder.
        bones: bone name by label id in the file; other ids are ignored.
        parts: mask files by bone name, instead of one label map; bones without a mask file are absent.
        naming: turns what the file holds into ids of the table of bones, with remarks, where ids alone do not say which
            bone is which (it gets the label map in RAS order); `bones` then lists what may come out.
        groups: what the patient is counted under (age, sex, site, fracture ...), plain values.
        bone_groups: the same for single bones, by bone name.
        centres: gives annotated bone centres in RAS mm by bone name.
        labels_from: how the labels were made.
        licence: of this case, where it differs from the data set's.
        problem: what listing has found wrong, as `rule: sentence`; the case is rejected with it.
        radiographs: folder of real pictures with cameras.json, to which the bones are registered (see `paired`);
            without it radiographs are rendered.
    """

    case_id: str
    patient_id: str
    ct: Path
    labels: Path
    bones: dict[int, str]
    parts: dict[str, tuple[Path, ...]] = field(default_factory=dict)
    naming: Callable[[LabelMap], tuple[LabelMap, list[str]]] | None = None
    groups: dict[str, Any] = field(default_factory=dict)
    bone_groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    centres: Callable[[], dict[str, tuple[float, float, float]]] | None = None
    labels_from: LabelsFrom = "unstated"
    licence: str = ""
    problem: str = ""
    radiographs: Path | None = None


@dataclass(frozen=True)
class Rule:
    """One question asked of a scan before it is taken.

    Attributes:
        name: the word a reason starts with.
        why: the reason for the rule and where it comes from.
        check: (scan, names of the bones asked about) -> what is wrong, or an empty text.
        verdict: whether a finding rejects the case or only marks it.
        each: asked of every bone alone where a case is one bone; otherwise of the scan.
        anatomies: asked only for these; empty for all.
    """

    name: str
    why: str
    check: Callable[[Scan, tuple[str, ...]], str]
    verdict: Literal["reject", "flag"] = "reject"
    each: bool = False
    anatomies: tuple[str, ...] = ()


@dataclass(frozen=True)
class DatasetSpec:
    """One data set.

    Attributes:
        cases: finds its CT-label pairs below a folder, given an optional label map by name or text.
        write_miniature: writes a tiny fake in the same layout, for tests and examples.
        licence: of CT and labels, as the owners state it.
        citation, url: what to cite and where it is published.
        anatomies: what can be cut out of it; the first is the default. Empty for any.
        rules: what is asked of every scan.
        write_faulty: writes a miniature in which every fault is on purpose; gives the rule that
            must reject or mark each case, by case id ("" for sound ones).
        options: fixed for a derived set (grid, views, preset); None leaves them to the caller.
        published: names of published splits of this set.
        owner_split: the owners' own parts of the cases below a folder; None where they give none.
    """

    cases: Callable[[Path, str | None], Iterator[Pair]]
    write_miniature: Callable[[Path], None]
    licence: str
    citation: str = ""
    url: str = ""
    anatomies: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    write_faulty: Callable[[Path], dict[str, str]] | None = None
    options: PrepareOptions | None = None
    published: tuple[str, ...] = ()
    owner_split: Callable[[Path], dict[str, list[str]]] | None = None


DATASETS: Registry[DatasetSpec] = Registry("data set", "boneray.datasets", "boneray.datasets")
