"""The figures of a benchmark: grouped bars, curves over a condition, and accuracy against cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from boneray.report.drawing import (
    INK,
    QUIET,
    RULE,
    WHITE,
    Drawing,
    Point,
    colour_of,
    round_steps,
    text_width,
    tint,
)

LEFT, TOP, HEIGHT = 70.0, 66.0, 260.0
CURVE_WIDTH = 420.0


@dataclass(frozen=True)
class Bar:
    """A value with its interval; low and high are None where there is none."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Place:
    """One point of a curve with its interval."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


def grouped_bars(title: str, groups: Mapping[str, Sequence[Bar]], what: str) -> Drawing:
    """One group of bars per key, one colour per label; whiskers are the intervals."""
    labels = list(dict.fromkeys(bar.label for bars in groups.values() for bar in bars))
    ends = [v for bars in groups.values() for bar in bars for v in (bar.value, bar.low, bar.high) if v is not None]
    steps = round_steps(min(0.0, *ends), max(ends))
    width, gap = max(10.0, min(26.0, 600 / max(1, len(groups) * len(labels)))), 26.0
    across = sum(max(len(bars) * width, text_width(name, 11)) + gap for name, bars in groups.items())
    sheet = _sheet(title, what, across, labels)
    y_of = _height(steps)
    _levels(sheet, steps, across)
    x = LEFT + gap / 2
    for name, bars in groups.items():
        room = max(len(bars) * width, text_width(name, 11))
        start = x + (room - len(bars) * width) / 2
        for place, bar in enumerate(bars):
            left = start + place * width
            top, bottom = sorted((y_of(bar.value), y_of(0.0)))
            sheet.box(left + 1, top, left + width - 1, bottom, colour_of(labels.index(bar.label)))
            _whisker(sheet, left + width / 2, bar.low, bar.high, y_of)
        sheet.text((x + room / 2, TOP + HEIGHT + 14), name, size=11, colour=QUIET, anchor="middle")
        x += room + gap
    return sheet


def curves(title: str, lines: Mapping[str, Sequence[Place]], x_title: str, y_title: str) -> Drawing:
    """One line per label with its intervals: a score over an angle, a number of views, a thickness."""
    labels = list(lines)
    places = [place for line in lines.values() for place in line]
    ends = [v for place in places for v in (place.y, place.low, place.high) if v is not None]
    x_steps, steps = round_steps(min(p.x for p in places), max(p.x for p in places)), round_steps(min(ends), max(ends))
    sheet = _sheet(title, y_title, CURVE_WIDTH, labels)
    y_of = _height(steps)
    _levels(sheet, steps, CURVE_WIDTH)

    def x_of(value: float) -> float:
        return LEFT + CURVE_WIDTH * (value - x_steps[0]) / (x_steps[-1] - x_steps[0])

    for step in x_steps:
        sheet.text((x_of(step), TOP + HEIGHT + 14), f"{step:g}", size=11, colour=QUIET, anchor="middle")
    sheet.text((LEFT + CURVE_WIDTH / 2, TOP + HEIGHT + 34), x_title, anchor="middle")
    for index, line in enumerate(lines.values()):
        ordered = sorted(line, key=lambda place: place.x)
        for place in ordered:
            _whisker(sheet, x_of(place.x), place.low, place.high, y_of, colour=tint(colour_of(index), 0.6))
        sheet.line([(x_of(place.x), y_of(place.y)) for place in ordered], colour_of(index), 2.0)
        for place in ordered:
            sheet.disc((x_of(place.x), y_of(place.y)), 4, colour_of(index), WHITE)
    return sheet


def cost_front(title: str, points: Mapping[str, tuple[float, float]], x_title: str, y_title: str) -> Drawing:
    """Accuracy against cost on a logarithmic axis; the line joins what nothing cheaper surpasses."""
    costs = [math.log10(cost) for cost, _ in points.values()]
    first, last = math.floor(min(costs)), max(math.ceil(max(costs)), math.floor(min(costs)) + 1)
    steps = round_steps(min(y for _, y in points.values()), max(y for _, y in points.values()))
    sheet = _sheet(title, y_title, CURVE_WIDTH, list(points))
    y_of = _height(steps)
    _levels(sheet, steps, CURVE_WIDTH)

    def at(cost: float, value: float) -> Point:
        return LEFT + CURVE_WIDTH * (math.log10(cost) - first) / (last - first), y_of(value)

    for power in range(first, last + 1):
        x = at(10.0**power, steps[0])[0]
        sheet.line([(x, TOP), (x, TOP + HEIGHT)], RULE)
        sheet.text((x, TOP + HEIGHT + 14), f"{10.0**power:,g}", size=11, colour=QUIET, anchor="middle")
    sheet.text((LEFT + CURVE_WIDTH / 2, TOP + HEIGHT + 34), x_title, anchor="middle")
    front = [points[name] for name in on_the_front(points)]
    sheet.line([at(*point) for point in front], INK, 1.5)
    for index, point in enumerate(points.values()):
        sheet.disc(at(*point), 6, colour_of(index), WHITE)
    return sheet


def on_the_front(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Names in the order of their cost whose value no cheaper or equally cheap one reaches."""
    out: list[str] = []
    for name, (_, value) in sorted(points.items(), key=lambda item: (item[1][0], -item[1][1])):
        if not out or value > points[out[-1]][1]:
            out.append(name)
    return out


def _sheet(title: str, y_title: str, across: float, labels: Sequence[str]) -> Drawing:
    legend = max((text_width(label) for label in labels), default=0.0) + 50
    width = max(LEFT + across + legend, text_width(title, 16) + 40)
    sheet = Drawing(width, max(TOP + HEIGHT + 52, TOP + 22 * len(labels) + 20), title)
    sheet.text((16, 22), title, size=16, bold=True)
    sheet.text((16, 46), y_title, size=12, colour=QUIET)
    for index, label in enumerate(labels):
        y = TOP + 8 + 22 * index
        sheet.disc((LEFT + across + 18, y), 6, colour_of(index))
        sheet.text((LEFT + across + 30, y), label)
    return sheet


def _height(steps: Sequence[float]) -> Callable[[float], float]:
    return lambda value: TOP + HEIGHT * (1 - (value - steps[0]) / (steps[-1] - steps[0]))


def _levels(sheet: Drawing, steps: Sequence[float], across: float) -> None:
    y_of = _height(steps)
    for step in steps:
        sheet.line([(LEFT, y_of(step)), (LEFT + across, y_of(step))], RULE)
        sheet.text((LEFT - 8, y_of(step)), f"{step:g}", size=11, colour=QUIET, anchor="end")


def _whisker(
    sheet: Drawing,
    x: float,
    low: float | None,
    high: float | None,
    y_of: Callable[[float], float],
    colour: tuple[int, int, int] = INK,
) -> None:
    if low is None or high is None:
        return
    sheet.line([(x, y_of(low)), (x, y_of(high))], colour, 1.5)
    for end in (low, high):
        sheet.line([(x - 4, y_of(end)), (x + 4, y_of(end))], colour, 1.5)
