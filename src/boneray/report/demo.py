"""`boneray demo`: new phantom patients, their two radiographs, the bones reconstructed from them, and the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from boneray.benchmark.held_out import HeldOutRow, held_out_study
from boneray.datasets.phantom import phantom_case
from boneray.io.case_folder import read_case, write_case
from boneray.io.files import prepare_output, write_json
from boneray.models.checkpoint import packaged_checkpoints
from boneray.reconstruction.reconstruct import Reconstructor, write_reconstruction
from boneray.report.content import ReportCase, ReportTable
from boneray.report.folder import report_case
from boneray.report.page import write_report

ANATOMIES = ("femur", "vertebra")
SHOWN_SEED = 77
HELD_OUT_SEED = 2026
MODEL = "raylift_tiny"

Say = Callable[[str], None]
Progress = Callable[[Iterator[int]], Iterator[int]]


def run_demo(
    out: Path, *, patients: int = 20, force: bool = False, say: Say = lambda _: None, progress: Progress = iter
) -> dict[str, Any]:
    """Write report.html, metrics.json, measurements.json, labels.nii.gz and meshes/ to `out`.

    One femur (in `out`) and one vertebra (in `out`/vertebra) are shown; `patients` more of each,
    from a seed that training never used, give the table of errors beside the mean shape's.
    """
    prepare_output(out, force=force)
    shown: list[ReportCase] = []
    rows: list[HeldOutRow] = []
    for anatomy in ANATOMIES:
        reconstructor = Reconstructor.load(f"{MODEL}-{anatomy}")
        shown.append(_show(reconstructor, anatomy, out if anatomy == ANATOMIES[0] else out / anatomy, out, say))
        name = f"mean_shape-{anatomy}"
        baseline = Reconstructor.load(name) if name in packaged_checkpoints() else None
        say(f"{anatomy}: measuring the error on {patients} patients never trained on")
        rows += held_out_study(reconstructor, baseline, seed=HELD_OUT_SEED, patients=patients, progress=progress)
    metrics = {"cases": [case.scores for case in shown], "held_out": [row.to_dict() for row in rows]}
    write_json(out / "metrics.json", metrics)
    write_json(out / "measurements.json", {"measurements": [m.to_dict() for case in shown for m in case.measurements]})
    write_report(out / "report.html", title="boneray demo", cases=shown, tables=[held_out_table(rows)], notes=NOTES)
    return metrics


NOTES = (
    "These patients are phantoms: bones built from formulas, so the truth is known exactly. "
    "They show that the path works from radiograph to measurement; they do not say how well it works on people.",
)


def _show(reconstructor: Reconstructor, anatomy: str, out: Path, demo: Path, say: Say) -> ReportCase:
    """Make a patient, reconstruct it from its radiographs alone, and compare with its truth."""
    case = phantom_case(anatomy, seed=SHOWN_SEED, number=0, voxels=reconstructor.card.grid_shape[0])
    reference = demo / "reference" / anatomy
    write_case(reference, case)
    say(f"{anatomy}: reconstructing {case.target} from {' and '.join(case.radiographs)}")
    result = reconstructor(case.radiographs, target=case.target)
    write_reconstruction(
        out,
        result,
        reconstructor.card,
        case_id=case.case_id,
        radiographs=case.radiographs,
        target=case.target,
        formats=("stl", "glb"),
        force=True,
    )
    return report_case(out, read_case(reference, with_ct=False))


def held_out_table(rows: list[HeldOutRow]) -> ReportTable:
    """The held-out study as a table of the report."""
    return ReportTable(
        title="Error on patients never trained on",
        columns=("anatomy", "cameras", "patients", "Dice", "worst Dice", "HD95 (mm)", "ASSD (mm)", "NSD at 2 mm"),
        rows=[(r.anatomy, r.condition, r.patients, r.dice, r.dice_worst, r.hd95_mm, r.assd_mm, r.nsd) for r in rows],
        note="Means over patients; distances are symmetric and in mm. The mean shape is what is known before looking.",
    )


def rows_of(metrics: dict[str, Any]) -> list[HeldOutRow]:
    """The held-out rows in what `run_demo` returned."""
    return [HeldOutRow(**{k.replace("nsd_2.0mm", "nsd"): v for k, v in row.items()}) for row in metrics["held_out"]]
