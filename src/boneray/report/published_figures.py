"""Figures of the papers from the logs that they ship: misalignment curves and clinical scatters.

python -m boneray.report.published_figures LOGS OUT
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from boneray.benchmark.published_logs import METRICS, UNITS, angle_curves
from boneray.core.errors import InputError
from boneray.evaluation.association import associate
from boneray.evaluation.metric_table import read_score_table
from boneray.report.association_picture import scatter_plot
from boneray.report.benchmark_figures import Place, curves
from boneray.report.drawing import Drawing
from boneray.report.ranking_pictures import file_stem, write_drawing

ANGLES = "tables_xrayto3D_benchmark/{}_angle_perturbation.json"
ANATOMIES = ("femur", "hip")
CLINICAL = "clinical_metrics_SwinX2S/{}_{}.json"
METHODS = ("swinx2sbase", "unet")
ERRORS = {
    "femur": ("nsa", "fhr", "fo", "fhc", "fda", "fna"),
    "pelvic": ("ASIS_L", "ASIS_R", "PT_L", "PT_R", "IS_L", "IS_R", "PSIS_L", "PSIS_R"),
    "spine": ("spl", "spa", "avbh", "pvbh", "svbl", "ivbl", "vcl"),
    "rib": ("nlDice", "LSCDError"),
}


def published_figures(logs: Path) -> Iterator[tuple[str, Drawing]]:
    """(name, drawing) of every panel whose log is in the folder.

    Raises:
        InputError: none of them is there.
    """
    count = 0
    for anatomy in ANATOMIES:
        file = logs / ANGLES.format(anatomy)
        if file.is_file():
            for metric in METRICS:
                count += 1
                yield f"angles {anatomy} {metric}", angle_figure(file, anatomy, metric)
    for anatomy, names in ERRORS.items():
        files = [logs / CLINICAL.format(anatomy, method) for method in METHODS]
        if all(file.is_file() for file in files):
            both = read_score_table(files)
            for name in names:
                count += 1
                yield f"clinical {anatomy} {name}", scatter_plot(associate(both, both, "Dice", name, resamples=200))
    if not count:
        raise InputError(f"{logs} holds none of the published logs ({ANGLES.format('femur')} ...)")


def angle_figure(file: Path, anatomy: str, metric: str) -> Drawing:
    """XrayTo3D's Figure 7 for one anatomy and metric: a curve per model."""
    lines = {
        curve.model: [Place(x, y) for x, y in zip(curve.angles_deg, curve.means, strict=True)]
        for curve in angle_curves(file)
        if curve.metric == metric
    }
    title = f"XrayTo3D: lateral view of the {anatomy} turned"
    return curves(title, lines, "degrees, the network is not told", f"{metric} ({UNITS[metric]})")


def main(logs: Path, out: Path) -> int:
    """Write all of them as SVG and PNG; gives their number."""
    count = 0
    for name, drawing in published_figures(logs):
        write_drawing(drawing, out / file_stem(name))
        count += 1
    return count


if __name__ == "__main__":
    sys.stdout.write(f"{main(Path(sys.argv[1]), Path(sys.argv[2]))} figures\n")
