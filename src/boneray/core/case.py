"""One patient's data: what a case folder holds, in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from boneray.core.measurement import Landmark, Measurement
from boneray.core.radiograph import Radiograph
from boneray.core.volume import LabelMap, Volume


@dataclass(frozen=True)
class Case:
    """A labelled bone with its radiographs.

    Attributes:
        case_id: unique in its data set; also the folder name.
        patient_id: cases of one patient share it; splits are by patient.
        anatomy: femur, pelvis, vertebra, spine, ribs or all.
        target: the bone of a one-bone anatomy (`femur_left`, `L3`); empty for several bones.
        labels: reference bones, ids of the table of bones; None for a case without reference.
        ct: HU, on its own (usually larger) grid; optional.
        radiographs: by view name, in order.
        provenance: where it came from and what was done to it.
        licence: of the source data.
        truth: measurements known by construction (phantoms); empty for real data.
        landmarks: points known by construction; empty for real data.
        groups: what the patient or bone is counted under (level, deformity, fracture, site, age, sex), plain values.
        labels_from: manual, semi-automatic, model or phantom; how the reference was made.
    """

    case_id: str
    patient_id: str
    anatomy: str
    target: str
    labels: LabelMap | None
    ct: Volume | None
    radiographs: dict[str, Radiograph]
    provenance: dict[str, Any] = field(default_factory=dict)
    licence: str = ""
    truth: tuple[Measurement, ...] = ()
    landmarks: tuple[Landmark, ...] = ()
    groups: dict[str, Any] = field(default_factory=dict)
    labels_from: str = ""
