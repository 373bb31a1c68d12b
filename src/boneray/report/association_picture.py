"""The scatter of a score against an error with its fitted line."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from boneray.evaluation.association import Association, line_band
from boneray.report.drawing import INK, QUIET, RULE, WHITE, Drawing, Point, colour_of, round_steps, text_width, tint
from boneray.report.tables import metric_title

LEFT, TOP, WIDTH, HEIGHT = 78.0, 84.0, 560.0, 380.0


def scatter_plot(found: Association) -> Drawing:
    """Points by method, the line through all of them with its 95% band, and a large dot at each method's mean."""
    x_steps, y_steps = (round_steps(float(v.min()), float(v.max())) for v in found.points.T)
    names = list(found.method_means)
    legend = max(text_width(name) for name in names) + 46
    title = f"{metric_title(found.y)} against {metric_title(found.x)}"
    sheet = Drawing(LEFT + WIDTH + legend + 16, TOP + HEIGHT + 56, title)
    fit = found.fit
    sheet.text((16, 22), title, size=16, bold=True)
    interval = f" [{fit.rho_low:.2f}, {fit.rho_high:.2f}]" if np.isfinite(fit.rho_low) else ""
    under = f"{fit.n} points of {fit.n_cases} common cases; R\N{SUPERSCRIPT TWO} {fit.r_squared:.3f}, "
    sheet.text((16, 44), f"{under}Spearman's rho {fit.rho:.3f}{interval}", size=12, colour=QUIET)
    sheet.text((16, 64), metric_title(found.y), size=12)

    def at(point: Point) -> Point:
        x = LEFT + WIDTH * (point[0] - x_steps[0]) / (x_steps[-1] - x_steps[0])
        return x, TOP + HEIGHT * (1 - (point[1] - y_steps[0]) / (y_steps[-1] - y_steps[0]))

    for step in x_steps:
        sheet.line([at((step, y_steps[0])), at((step, y_steps[-1]))], RULE)
        sheet.text((at((step, 0))[0], TOP + HEIGHT + 12), f"{step:g}", size=11, colour=QUIET, anchor="middle")
    for step in y_steps:
        sheet.line([at((x_steps[0], step)), at((x_steps[-1], step))], RULE)
        sheet.text((LEFT - 8, at((0, step))[1]), f"{step:g}", size=11, colour=QUIET, anchor="end")
    sheet.text((LEFT + WIDTH / 2, TOP + HEIGHT + 36), metric_title(found.x), anchor="middle")
    if np.isfinite(fit.slope):
        _line(sheet, found, at)
    for point, method in zip(found.points, found.methods, strict=True):
        sheet.disc(at((point[0], point[1])), 2.0, tint(colour_of(names.index(method)), 0.6))
    if np.isfinite(fit.slope):
        _line(sheet, found, at, band=False)
    for index, (name, mean) in enumerate(found.method_means.items()):
        sheet.disc(at(mean), 7, colour_of(index), WHITE)
        y = TOP + 12 + 22 * index
        sheet.disc((LEFT + WIDTH + 20, y), 6, colour_of(index))
        sheet.text((LEFT + WIDTH + 32, y), name)
    return sheet


def _line(sheet: Drawing, found: Association, at: Callable[[Point], Point], *, band: bool = True) -> None:
    """The fit over the range of x: its band, or the line itself."""
    x = np.linspace(found.points[:, 0].min(), found.points[:, 0].max(), 60)
    line, low, high = line_band(found.points, x)
    if band:
        edges = [*zip(x, low, strict=True), *zip(x[::-1], high[::-1], strict=True)]
        sheet.area([at(point) for point in edges], tint(QUIET, 0.3))
    else:
        sheet.line([at(point) for point in zip(x, line, strict=True)], INK, 2.0)
