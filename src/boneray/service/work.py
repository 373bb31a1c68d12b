"""The process that does the work: one job per line on stdin, stages and the outcome as lines on stdout, all JSON.

A process of its own, so that a job that takes too long, or whose file brings a decoder down, can be ended without the
service. It ends itself when its stdin closes.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from boneray.core.errors import BonerayError

HIDDEN_GROUP = 0x0010  # of DICOM: all about the patient
Tell = Callable[[dict[str, Any]], None]


def main() -> None:
    """Work until stdin closes; nothing but our own lines reaches stdout."""
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def tell(values: dict[str, Any]) -> None:
        lines.write(json.dumps(values) + "\n")
        lines.flush()

    loaded: dict[str, Any] = {}
    for line in sys.stdin:
        tell(outcome(json.loads(line), tell, loaded))


def outcome(task: dict[str, Any], tell: Tell, loaded: dict[str, Any]) -> dict[str, Any]:
    """How a task ended: {"end": "done", "warnings"} or {"end": "failed", "reason"}."""
    folder = Path(task["input"])
    try:
        return {"end": "done", "warnings": work(task, tell, loaded)}
    except BonerayError as error:
        reason = str(error)
    except MemoryError:
        reason = "this needs more memory than there is"
    except OSError as error:
        reason = f"the system refused: {error.strerror}"
    except Exception as error:  # whatever it is, the service goes on and says no more than its kind
        reason = f"this cannot be reconstructed ({type(error).__name__})"
    return {"end": "failed", "reason": without_patient(" ".join(reason.split()), folder)}


def work(task: dict[str, Any], tell: Tell, loaded: dict[str, Any]) -> list[str]:
    """Reconstruct, measure, report; returns the warnings."""
    from boneray.reconstruction.answer import Wishes
    from boneray.reconstruction.reconstruct import Reconstructor
    from boneray.reconstruction.sources import reconstruct_files

    folder, out, asked = Path(task["input"]), Path(task["out"]), dict(task["asked"])
    checkpoint = asked.pop("checkpoint")
    tell({"stage": "loading"})
    if checkpoint not in loaded:
        loaded[checkpoint] = Reconstructor.load(checkpoint)
    files = {view: folder / name for view, name in task["files"].items() if view != "camera"}
    cameras = [folder / task["files"]["camera"]] if "camera" in task["files"] else []
    tell({"stage": "reconstructing"})
    run = reconstruct_files(
        files,
        cameras,
        checkpoint=checkpoint,
        out=out,
        bone=asked.pop("bone"),
        wishes=Wishes(anyway=bool(asked.pop("anyway"))),
        formats=("stl", "glb"),
        reconstructor=loaded[checkpoint],
        case_id=task["case_id"],
        **asked,
    )
    tell({"stage": "measuring"})
    from boneray.report.additions import add_measurements, add_preview
    from boneray.report.folder import report_folder

    add_measurements(out)
    tell({"stage": "report"})
    add_preview(out)
    report_folder(out, force=True)
    return [str(line) for line in run["warnings"]]


def without_patient(reason: str, folder: Path) -> str:
    """The reason without the folder's name and without anything that a DICOM file says of its patient."""
    reason = reason.replace(f"{folder}/", "").replace(str(folder), "")
    for file in sorted(folder.glob("*.dcm")):
        try:
            words = _patient_words(file)
        except Exception:  # a file this damaged may still be quoted in the reason
            return "a radiograph is a damaged DICOM file"
        if any(word.lower() in reason.lower() for word in words):
            return "a radiograph cannot be read; what is wrong with it would tell who the patient is"
    return reason


def _patient_words(file: Path) -> set[str]:
    import pydicom

    found = set()
    for element in pydicom.dcmread(file, stop_before_pixels=True, force=True):
        named = element.tag.group == HIDDEN_GROUP or element.VR == "PN" or "ID" in (element.keyword or "")
        if named and element.VR not in ("SQ", "OB", "UI"):
            for part in str(element.value).replace("^", " ").replace("\\", " ").split():
                if len(part) >= 3:
                    found.add(part)
    return found


if __name__ == "__main__":
    main()
