"""Pictures of a ranking: the values, the blob plot, the significance map, ranks by scheme and by task."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from boneray.evaluation.ranking import SCHEMES, Superiority
from boneray.evaluation.ranking_stability import Stability
from boneray.evaluation.ranking_study import MetricRanking, RankingStudy, TaskRanking
from boneray.io.files import write_atomic, write_text
from boneray.report.drawing import (
    ALARM,
    INK,
    QUIET,
    RULE,
    SOFT,
    WHITE,
    Colour,
    Drawing,
    colour_of,
    round_steps,
    text_width,
    tint,
)
from boneray.report.tables import metric_title

Place = Callable[[float], float]

MARGIN = 16.0
TOP = 66.0
BLOB = 14.0


def write_ranking_pictures(study: RankingStudy, folder: Path) -> list[Path]:
    """Draw every metric and task as SVG and PNG into `folder`; the files' paths."""
    written = []
    for metric in study.metrics:
        drawings = {}
        for task in metric.tasks:
            stem = file_stem(metric.rule.metric, task.scores.task if study.by else "")
            drawings[f"{stem}-values"] = value_plot(task)
            drawings[f"{stem}-blobs"] = blob_plot(task)
            drawings[f"{stem}-significance"] = significance_map(task, study.settings.rule)
            if len(task.stability) > 1:
                drawings[f"{stem}-schemes"] = scheme_plot(task)
        if metric.consensus:
            drawings[f"{file_stem(metric.rule.metric, '')}-by-task"] = task_plot(metric)
        for name, drawing in drawings.items():
            written += write_drawing(drawing, folder / name)
    return written


def write_drawing(drawing: Drawing, stem: Path) -> list[Path]:
    """Write `<stem>.svg` and `<stem>.png`."""
    png = drawing.png()
    svg_path, png_path = (stem.with_name(f"{stem.name}.{kind}") for kind in ("svg", "png"))
    return [write_text(svg_path, drawing.svg()), write_atomic(png_path, lambda file: file.write_bytes(png))]


def file_stem(*parts: str) -> str:
    """Words as a file name: `NSD@1.5 mm`, `left femur` become `nsd-1.5-mm-left-femur`."""
    return "-".join(filter(None, (re.sub(r"[^\w.+]+", "-", part.lower()).strip("-.") for part in parts))) or "all"


def value_plot(task: TaskRanking) -> Drawing:
    """Every value of every method as a dot, with box, median and the interval of the mean, best on top.

    Box: quartiles; whiskers: the last value within 1.5 boxes; diamond and bar: mean and its
    bootstrap interval. Missing values are counted at the right edge.
    """
    scores, order = task.scores, _order(task.main)
    finite = scores.values[np.isfinite(scores.values)]
    steps = round_steps(float(finite.min()), float(finite.max()))
    left, right, row = MARGIN + _widest(scores.methods) + 12, 90.0, 34.0
    sheet = _sheet(task, "values of all cases", left + 520 + right, TOP + row * len(order) + 48)
    low, high = steps[0], steps[-1]

    def x(value: float) -> float:
        return left + 520 * (value - low) / (high - low)

    bottom = TOP + row * len(order)
    for step in steps:
        sheet.line([(x(step), TOP), (x(step), bottom)], RULE)
        sheet.text((x(step), bottom + 12), f"{step:g}", size=11, colour=QUIET, anchor="middle")
    better = "more is better" if scores.rule.direction == "higher" else "less is better"
    sheet.text((left + 260, bottom + 32), f"{metric_title(scores.rule.metric)}, {better}", anchor="middle")
    for place, at in enumerate(order):
        y, colour = TOP + row * (place + 0.5), colour_of(at)
        values = scores.values[at][np.isfinite(scores.values[at])]
        _row_label(sheet, left, y, scores.methods[at], int(task.main.ranking.ranks[at]))
        if len(values):
            _values(sheet, values, x, y, colour)
            mean = task.summaries[at].mean
            if np.isfinite([mean.low, mean.high]).all():
                sheet.line([(x(mean.low), y), (x(mean.high), y)], INK, 2.5)
            if np.isfinite(mean.value):
                _diamond(sheet, x(mean.value), y, 5.0)
        missing = task.summaries[at].n_missing
        if missing:
            sheet.text((left + 532, y), f"{missing} missing", size=11, colour=ALARM)
    return sheet


def blob_plot(task: TaskRanking) -> Drawing:
    """How often each method had each rank in the bootstrap: the area of a blob is that share."""
    order, stability = _order(task.main), task.main
    count, cell, row = len(order), 46.0, 36.0
    left = MARGIN + _widest(stability.ranking.methods) + 12
    sheet = _sheet(task, f"ranks in {len(stability.samples):,} bootstrap samples", left + cell * count + 150,
                   TOP + row * count + 48)  # fmt: skip
    bottom = TOP + row * count
    for place in range(count):
        x = left + cell * (place + 0.5)
        sheet.line([(x, TOP), (x, bottom)], RULE)
        sheet.text((x, bottom + 12), str(place + 1), size=11, colour=QUIET, anchor="middle")
    sheet.text((left + cell * count / 2, bottom + 32), f"rank by: {SCHEMES[stability.ranking.scheme].summary}",
               anchor="middle")  # fmt: skip
    shares, median, (low, high) = stability.shares(), stability.median(), stability.interval()
    across = _places(left, cell)
    for place, at in enumerate(order):
        y = TOP + row * (place + 0.5)
        _row_label(sheet, left, y, stability.ranking.methods[at], int(stability.ranking.ranks[at]))
        _blobs(sheet, shares[at], across, y, at, BLOB)
        _rank_marks(sheet, (low[at], median[at], high[at]), across, y)
    _blob_legend(sheet, left + cell * count + 24, TOP + 12)
    return sheet


def significance_map(task: TaskRanking, rule: Superiority) -> Drawing:
    """Which method is significantly better than which: row over column, by the one-sided signed rank test."""
    order, methods = _order(task.main), task.scores.methods
    count, cell = len(order), 46.0
    left = MARGIN + _widest(methods) + 40
    corrected = "Holm-corrected" if rule.adjust == "holm" else "not corrected"
    width, height = left + cell * count + 40, TOP + 20 + cell * count + 60
    sheet = _sheet(task, f"row better than column, p {corrected}", width, height)
    top = TOP + 20
    for place, at in enumerate(order):
        middle = cell * (place + 0.5)
        label = str(place + 1)
        sheet.text((left + middle, top - 12), label, size=11, colour=QUIET, anchor="middle")
        sheet.text((left - 10, top + middle), label, size=11, colour=QUIET, anchor="end")
        sheet.text((left - 30, top + middle), methods[at], anchor="end")
        for other_place, other in enumerate(order):
            a, b = left + cell * other_place, top + cell * place
            if at == other:
                sheet.box(a + 1, b + 1, a + cell - 1, b + cell - 1, RULE)
                continue
            wins = bool(task.better[at, other])
            sheet.box(a + 1, b + 1, a + cell - 1, b + cell - 1, tint((0, 114, 178), 0.85) if wins else SOFT)
            text = _p_text(float(task.p_values[at, other]))
            colour = WHITE if wins else QUIET
            sheet.text((a + cell / 2, b + cell / 2), text, size=10, colour=colour, anchor="middle")
    y = top + cell * count + 24
    sheet.box(left, y - 7, left + 14, y + 7, tint((0, 114, 178), 0.85))
    sheet.text((left + 22, y), f"p at most {rule.alpha:g}", size=11, colour=QUIET)
    return sheet


def scheme_plot(task: TaskRanking) -> Drawing:
    """The rank of every method by every scheme: lines that cross are rankings that depend on the scheme."""
    names = list(task.stability)
    order, count, row, step = _order(task.main), len(task.scores.methods), 36.0, 132.0
    left = MARGIN + _widest(task.scores.methods) + 34
    width = step * (len(names) - 1)
    sheet = _sheet(task, "ranks by scheme", left + width + _widest(task.scores.methods) + 60, TOP + row * count + 66)
    drawn = {name: _spread(task.stability[name].ranking.ranks, order) for name in names}
    bottom = TOP + row * count
    agreement = task.scheme_agreement()
    for column, name in enumerate(names):
        x = left + step * column
        sheet.line([(x, TOP), (x, bottom)], RULE)
        sheet.text((x, bottom + 14), name, size=11, anchor="middle")
        tau = agreement[name]
        words = "" if column == 0 else f"tau {tau:.2f}" if math.isfinite(tau) else "all equal"
        sheet.text((x, bottom + 32), words, size=11, colour=QUIET, anchor="middle")
    sheet.text((left, bottom + 52), f"tau: Kendall's, to {names[0]}", size=11, colour=QUIET)
    for at in reversed(order):
        points = [(left + step * i, TOP + row * (drawn[name][at] - 0.5)) for i, name in enumerate(names)]
        sheet.line(points, colour_of(at), 2.5)
        for name, point in zip(names, points, strict=True):
            sheet.disc(point, 10, colour_of(at))
            rank = int(task.stability[name].ranking.ranks[at])
            sheet.text(point, str(rank), size=11, colour=WHITE, anchor="middle", bold=True)
        sheet.text((points[0][0] - 18, points[0][1]), task.scores.methods[at], anchor="end")
        sheet.text((points[-1][0] + 18, points[-1][1]), task.scores.methods[at])
    return sheet


def task_plot(metric: MetricRanking) -> Drawing:
    """Blobs of every task side by side, methods in the order of the consensus.

    One column of ranks per task; where the blobs of two neighbours share no rank in any task,
    their order is stable over the tasks. The share by which the first k stay ahead of the others
    stands between the rows.
    """
    scheme, consensus = next(iter(metric.consensus.items()))
    order = [int(i) for i in np.argsort(-consensus.merit, kind="stable")]
    count, row, cell, gap = len(order), 40.0, 22.0, 26.0
    left = MARGIN + _widest(consensus.methods) + 12
    panel = cell * count + gap
    title = f"{metric_title(metric.rule.metric)}: ranks by task"
    sheet = Drawing(left + panel * len(metric.tasks) + 110, TOP + 24 + row * count + 64, title)
    _titles(sheet, title, f"{SCHEMES[scheme].summary}; order: mean rank over the tasks")
    top, bottom = TOP + 24, TOP + 24 + row * count
    for place, at in enumerate(order):
        y = top + row * (place + 0.5)
        _row_label(sheet, left, y, consensus.methods[at], None)
        sheet.text((left + panel * len(metric.tasks) + 6, y), f"mean rank {-consensus.merit[at]:.2f}", size=11)
        if place:
            words = f"{metric.cuts[scheme][place - 1]:.3f}"
            sheet.text((left + panel * len(metric.tasks) + 6, y - row / 2), words, size=9, colour=QUIET)
    for index, task in enumerate(metric.tasks):
        start = left + panel * index
        sheet.text((start + cell * count / 2, top - 14), f"{task.scores.task} (n = {len(task.scores.cases)})", size=11,
                   anchor="middle", bold=True)  # fmt: skip
        _rank_columns(sheet, start, cell, top, bottom, count)
        stability = task.stability[scheme]
        shares, median, (low, high) = stability.shares(), stability.median(), stability.interval()
        across = _places(start, cell)
        for place, at in enumerate(order):
            i, y = stability.ranking.methods.index(consensus.methods[at]), top + row * (place + 0.5)
            _blobs(sheet, shares[i], across, y, at, 9.5)
            _rank_marks(sheet, (low[i], median[i], high[i]), across, y, 3.0)
    sheet.text((left, bottom + 38), "small numbers between rows: share of samples and pairs in which the methods above "
               "stay ahead of those below", size=11, colour=QUIET)  # fmt: skip
    return sheet


def _sheet(task: TaskRanking, what: str, width: float, height: float) -> Drawing:
    scores = task.scores
    name = "" if scores.task == "all" else f"{scores.task}, "
    title = f"{metric_title(scores.rule.metric)}: {what}"
    under = f"{name}{len(scores.cases)} common cases"
    if scores.dropped_cases:
        under += f" ({len(scores.dropped_cases)} dropped)"
    width = max(width, MARGIN * 2 + text_width(title, 16) * 1.06, MARGIN * 2 + text_width(under, 12))
    sheet = Drawing(width, height, title)
    _titles(sheet, title, under)
    return sheet


def _titles(sheet: Drawing, title: str, under: str) -> None:
    sheet.text((MARGIN, 22), title, size=16, bold=True)
    sheet.text((MARGIN, 44), under, size=12, colour=QUIET)


def _order(stability: Stability) -> list[int]:
    return [int(i) for i in np.argsort(stability.ranking.ranks, kind="stable")]


def _widest(names: Sequence[str]) -> float:
    return max(text_width(name) for name in names) * 1.12 + 22


def _row_label(sheet: Drawing, left: float, y: float, name: str, rank: int | None) -> None:
    sheet.text((left - 10, y), name if rank is None else f"{rank}  {name}", anchor="end")


def _values(sheet: Drawing, values: NDArray[np.float64], x: Place, y: float, colour: Colour) -> None:
    first, middle, third = np.quantile(values, [0.25, 0.5, 0.75])
    reach = 1.5 * (third - first)
    low, high = values[values >= first - reach].min(), values[values <= third + reach].max()
    # golden-ratio steps spread dots evenly without a random number
    for index, value in enumerate(np.sort(values)):
        sheet.disc((x(value), y + 20 * ((index * 0.618034) % 1.0 - 0.5)), 1.6, tint(colour, 0.45))
    for end in (low, high):
        sheet.line([(x(end), y - 4), (x(end), y + 4)], colour, 1.5)
    sheet.line([(x(low), y), (x(first), y)], colour, 1.5)
    sheet.line([(x(third), y), (x(high), y)], colour, 1.5)
    corners = [(x(first), y - 9), (x(third), y - 9), (x(third), y + 9), (x(first), y + 9), (x(first), y - 9)]
    sheet.line(corners, colour, 1.5)
    sheet.line([(x(middle), y - 9), (x(middle), y + 9)], colour, 3.0)


def _diamond(sheet: Drawing, x: float, y: float, size: float) -> None:
    sheet.area([(x - size, y), (x, y - size), (x + size, y), (x, y + size)], WHITE)
    inner = size - 1.5
    sheet.area([(x - inner, y), (x, y - inner), (x + inner, y), (x, y + inner)], INK)


def _blobs(sheet: Drawing, shares: NDArray[np.float64], x: Place, y: float, at: int, largest: float) -> None:
    for place, share in enumerate(shares, 1):
        if share > 0:
            sheet.disc((x(place), y), max(0.8, largest * math.sqrt(share)), tint(colour_of(at), 0.75))


def _rank_marks(sheet: Drawing, marks: tuple[float, float, float], x: Place, y: float, size: float = 4.0) -> None:
    low, median, high = marks
    sheet.line([(x(low), y), (x(high), y)], INK, 1.5)
    sheet.line([(x(median) - size, y - size), (x(median) + size, y + size)], INK, 1.5)
    sheet.line([(x(median) - size, y + size), (x(median) + size, y - size)], INK, 1.5)


def _blob_legend(sheet: Drawing, left: float, top: float) -> None:
    for index, share in enumerate((1.0, 0.5, 0.1)):
        y = top + 34 * index
        sheet.disc((left + BLOB, y), BLOB * math.sqrt(share), tint(QUIET, 0.5))
        sheet.text((left + 2 * BLOB + 10, y), f"{share:.0%}", size=11, colour=QUIET)
    y = top + 34 * 3
    _rank_marks(sheet, (0.0, 0.5, 1.0), lambda v: left + 2 * BLOB * v, y)
    sheet.text((left + 2 * BLOB + 10, y - 7), "median,", size=11, colour=QUIET)
    sheet.text((left + 2 * BLOB + 10, y + 7), "95% interval", size=11, colour=QUIET)


def _places(left: float, cell: float) -> Place:
    """Where a rank lies across the sheet; medians may lie between two."""
    return lambda rank: left + cell * (rank - 0.5)


def _rank_columns(sheet: Drawing, left: float, cell: float, top: float, bottom: float, count: int) -> None:
    for place in range(count):
        x = left + cell * (place + 0.5)
        sheet.line([(x, top), (x, bottom)], RULE)
        sheet.text((x, bottom + 12), str(place + 1), size=10, colour=QUIET, anchor="middle")


def _spread(ranks: NDArray[np.float64], order: Sequence[int]) -> dict[int, float]:
    """Rows 1, 2, 3 ... for methods in the order of their ranks, so that equal ones do not lie on each other."""
    by_rank = sorted(order, key=lambda at: float(ranks[at]))
    return {at: float(row) for row, at in enumerate(by_rank, 1)}


def _p_text(p: float) -> str:
    if p >= 0.995:
        return "1"
    return "<.001" if p < 0.001 else f"{p:.3f}".lstrip("0") if p < 0.1 else f"{p:.2f}".lstrip("0")
