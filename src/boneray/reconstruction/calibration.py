"""What a checkpoint is used to: measured on phantoms it never saw, stored beside it, read before every answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from boneray.core.errors import InputError
from boneray.io.files import read_json
from boneray.models.card import find_checkpoint
from boneray.models.checkpoint_names import PACKAGED
from boneray.reconstruction.familiarity import Description

SCHEMA = "boneray/calibration/1"
OURS = Path(__file__).parent / "calibrations"


@dataclass(frozen=True)
class Calibration:
    """Limits and tables of one checkpoint.

    Attributes:
        checkpoint: name, only to be told.
        descriptions: of pictures by kind (see `familiarity`).
        flag, refuse: strangeness from which pictures are flagged and refused.
        height_lag_mm: views that disagree in height by more are flagged.
        height_alike: the least usual correlation of what two level views show by height.
        agreement_low: the least usual agreement of a result with its pictures.
        volume_cm3: least and most usual volume of a bone.
        confidence: points (mean overlap of repeated answers, expected Dice), both ascending; straight lines between.
        tables: what was measured on the way, for people.
        made: patients, seed.
    """

    checkpoint: str
    descriptions: dict[str, Description]
    flag: float
    refuse: float
    height_lag_mm: float
    height_alike: float
    agreement_low: float
    volume_cm3: tuple[float, float]
    confidence: tuple[tuple[float, float], ...]
    tables: dict[str, Any] = field(default_factory=dict)
    made: dict[str, Any] = field(default_factory=dict)

    def expected_dice(self, overlap: float) -> float:
        """The Dice that phantoms with such an overlap of repeated answers had, 0 to 1."""
        return float(np.interp(overlap, *np.array(self.confidence).T))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "schema": SCHEMA,
            **{name: value for name, value in vars(self).items() if name != "descriptions"},
            "descriptions": {kind: known.to_dict() for kind, known in self.descriptions.items()},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], file: Path) -> Calibration:
        """What `to_dict` wrote; InputError for anything else."""
        if values.get("schema") != SCHEMA:
            raise InputError(f"calibration {file} has schema {values.get('schema')!r}; {SCHEMA!r} is needed")
        try:
            return cls(
                str(values["checkpoint"]),
                {kind: Description.from_dict(known) for kind, known in values["descriptions"].items()},
                float(values["flag"]),
                float(values["refuse"]),
                float(values["height_lag_mm"]),
                float(values["height_alike"]),
                float(values["agreement_low"]),
                (float(values["volume_cm3"][0]), float(values["volume_cm3"][1])),
                tuple((float(overlap), float(dice)) for overlap, dice in values["confidence"]),
                dict(values.get("tables", {})),
                dict(values.get("made", {})),
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise InputError(
                f"calibration {file} lacks or misuses {error}; make it again with boneray calibrate"
            ) from None


def calibration_of(checkpoint: str | Path) -> Calibration | None:
    """The calibration of a checkpoint: `NAME.calibration.json` beside its file, or the one that comes with boneray."""
    file = find_checkpoint(checkpoint)
    beside = file.with_name(f"{file.stem}.calibration.json")
    ours = OURS / f"{file.stem}.json"
    found = beside if beside.is_file() else ours if file.parent == PACKAGED and ours.is_file() else None
    return None if found is None else Calibration.from_dict(read_json(found, "calibration"), found)
