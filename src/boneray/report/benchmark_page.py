"""The figures of a benchmark and one page of all of it, from what `boneray benchmark` left in its folder."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from boneray.core.errors import BonerayError, InputError
from boneray.evaluation.association import associate
from boneray.evaluation.common_cases import metric_rule
from boneray.evaluation.metric_table import ScoreRow, ScoreTable
from boneray.evaluation.ranking_study import RankingSettings, rank_table
from boneray.io.case_folder import read_case
from boneray.io.files import read_json, write_text
from boneray.models.inner_maps import shows_inside
from boneray.report.association_picture import scatter_plot
from boneray.report.benchmark_figures import Bar, Place, cost_front, curves, grouped_bars
from boneray.report.benchmark_panels import case_panel, worst_cases
from boneray.report.drawing import Drawing
from boneray.report.feature_maps import map_figures, switch_figures
from boneray.report.inside import look_inside
from boneray.report.ranking_pictures import blob_plot, file_stem, write_drawing

Row = dict[str, Any]
PANELS = 4
SIDE_BY_SIDE = 4
STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;color:#1b1f24;max-width:1100px;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;margin:1rem 0;display:block;overflow-x:auto}"
    "td,th{padding:.25rem .7rem;border-bottom:1px solid #d9dde2;text-align:left;font-variant-numeric:tabular-nums}"
    "figure{margin:1.5rem 0;overflow-x:auto}figcaption{color:#59626d}svg{max-width:100%;height:auto}"
)
RESAMPLES = 200


def write_benchmark_page(folder: Path) -> Path:
    """Write figures/*.svg, *.png and report.html into the folder of a study; the page's path.

    A figure that these results do not allow (one model alone cannot be ranked) is a line on the
    page with its reason.

    Raises:
        InputError: the folder holds no finished benchmark.
    """
    if not (folder / "benchmark.json").is_file():
        raise InputError(f"{folder} holds no benchmark.json; run `boneray benchmark` first")
    values = read_json(folder / "benchmark.json", "benchmark")
    name = values["study"]["name"]
    parts = [f"<h1>{html.escape(name)}</h1>", _markdown((folder / "models.md").read_text("utf-8"))]
    missing: list[str] = []
    for stem, caption, drawing in _figures(folder, values, missing):
        write_drawing(drawing, folder / "figures" / file_stem(stem))
        parts.append(f"<figure>{drawing.svg()}<figcaption>{html.escape(caption)}</figcaption></figure>")
    if missing:
        parts.append("<h2>Not drawn</h2><ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in missing) + "</ul>")
    page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(name)}</title>'
    return write_text(folder / "report.html", f"{page}<style>{STYLE}</style><body>{''.join(parts)}</body></html>\n")


def _figures(folder: Path, values: Row, missing: list[str]) -> Iterator[tuple[str, str, Drawing]]:
    models = [row for row in values["models"] if row["dice"] is not None]
    if not models:
        missing.append("every figure: no model has a result")
        return
    bars = {
        data: [_bar(row) for row in models if row["data"] == data] for data in dict.fromkeys(r["data"] for r in models)
    }
    yield "dice", "Dice by data set; whiskers are 95 % intervals over patients.", grouped_bars("Dice", bars, "Dice")
    for data in bars:
        cost = {r["model"]: (r["parameters"], r["dice"]) for r in models if r["data"] == data and r["parameters"]}
        if len(cost) > 1:
            drawn = cost_front(f"Accuracy against size: {data}", cost, "parameters", "Dice")
            yield f"cost-{data}", "The line joins models that no smaller one surpasses.", drawn
        else:
            missing.append(f"accuracy against size on {data}: fewer than two models with parameters")
        yield from _ranking(data, values["cases"], missing)
        yield from _scatter(data, values["cases"])
    yield from _conditions(values["conditions"])
    yield from _groups(values["groups"])
    yield from _panels(folder, values["cases"], missing)
    yield from _insides(folder, values["cases"], missing)


def _bar(row: Row) -> Bar:
    return Bar(row["model"], row["dice"], row["patients_low"], row["patients_high"])


def _ranking(data: str, cases: Sequence[Row], missing: list[str]) -> Iterator[tuple[str, str, Drawing]]:
    try:
        study = rank_table(_table(data, cases), [metric_rule("dice")], settings=RankingSettings(resamples=RESAMPLES))
        task = study.metrics[0].tasks[0]
    except (BonerayError, IndexError) as error:
        missing.append(f"ranking on {data}: {error}")
        return
    yield f"ranks-{data}", f"{data}: how often each model had each rank among resampled patients.", blob_plot(task)


def _scatter(data: str, cases: Sequence[Row]) -> Iterator[tuple[str, str, Drawing]]:
    columns = list(dict.fromkeys(name for row in cases for name in row if name.startswith("error_")))
    table = _table(data, cases)
    for column in columns:
        try:
            found = associate(table, table, "dice", column)
        except BonerayError:
            continue  # a measurement that too few predictions allow; measured.csv counts them
        yield f"{column}-{data}", f"{data}: {column} against Dice, with the line of all models.", scatter_plot(found)


def _table(data: str, cases: Sequence[Row]) -> ScoreTable:
    """One row per model and case, means over seeds and folds, on the plain test."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in cases:
        if row["data"] == row["tested_on"] == data and not row["condition"]:
            found.setdefault((row["model"], row["case"]), []).append(row)
    names = ["dice", *dict.fromkeys(name for row in cases for name in row if name.startswith("error_"))]
    rows = []
    for (model, case), these in found.items():
        means = {name: [row[name] for row in these if row.get(name) is not None] for name in names}
        cells = {name: repr(fmean(numbers)) if numbers else "" for name, numbers in means.items()}
        rows.append(ScoreRow(model, case, "", cells, f"case {case} of {model}"))
    return ScoreTable("benchmark.json", tuple(rows), tuple(names))


def _conditions(rows: Sequence[Row]) -> Iterator[tuple[str, str, Drawing]]:
    for data in dict.fromkeys(row["data"] for row in rows):
        mine = [row for row in rows if row["data"] == data and row["dice"] is not None]
        found: dict[str, list[Bar]] = {}
        for row in mine:
            label = row["condition"] or (row["tested_on"] if row["tested_on"] != data else "as stored")
            found.setdefault(label, []).append(Bar(row["model"], row["dice"], row["dice_low"], row["dice_high"]))
        if found:
            drawn = grouped_bars(f"Trained on {data}", found, "Dice")
            yield f"conditions-{data}", f"Trained on {data}: Dice under every condition.", drawn
        for told in ("told", "not told"):
            lines: dict[str, list[Place]] = {}
            for row in mine:
                match = re.fullmatch(rf"(\d+(?:\.\d+)?) degrees, {told}", row["condition"])
                stored = not row["condition"] and row["tested_on"] == data
                if match or stored:
                    angle = float(match[1]) if match else 0.0
                    place = Place(angle, row["dice"], row["dice_low"], row["dice_high"])
                    lines.setdefault(row["model"], []).append(place)
            if any(len(line) > 1 for line in lines.values()):
                title = f"Turned lateral view, camera {told}: {data}"
                yield f"angles-{told}-{data}", title, curves(title, lines, "degrees", "Dice")


def _groups(rows: Sequence[Row]) -> Iterator[tuple[str, str, Drawing]]:
    for data, by in dict.fromkeys((row["data"], row["by"]) for row in rows):
        found: dict[str, list[Bar]] = {}
        for row in rows:
            if (row["data"], row["by"]) == (data, by) and row["dice"] is not None:
                bar = Bar(row["model"], row["dice"], row["dice_low"], row["dice_high"])
                found.setdefault(row["group"], []).append(bar)
        yield f"groups-{by}-{data}", f"{data}: Dice of bones by {by}.", grouped_bars(f"{data} by {by}", found, "Dice")


def _panels(folder: Path, cases: Sequence[Row], missing: list[str]) -> Iterator[tuple[str, str, Drawing]]:
    """The worst case of every model, each case once, with all models on it."""
    for data in dict.fromkeys(row["data"] for row in cases):
        mine = [row for row in cases if row["data"] == row["tested_on"] == data and not row["condition"]]
        shown: list[str] = []
        for model, case_id in worst_cases(mine):
            if case_id in shown or len(shown) >= PANELS:
                continue
            shown.append(case_id)
            files, dice = {}, {}
            for row in mine:
                if row["case"] == case_id and row["model"] not in files:
                    file = _cell(folder, row) / "predictions" / f"{case_id}.nii.gz"
                    if file.is_file():
                        files[row["model"]], dice[row["model"]] = file, row["dice"]
            try:
                order = read_json(next(iter(folder.glob(f"cells/{data}-*/order.json"))), "order of a cell")
                case = read_case(Path(order["data"]) / case_id, with_ct=False)
            except (BonerayError, OSError, StopIteration) as error:
                missing.append(f"pictures of {case_id}: {error}")
                continue
            note = f"{data}, the worst case of {model}; red lies inside the reference, blue outside"
            yield f"panel-{data}-{case_id}", note, case_panel(case, files, dice, note=note)


def _insides(folder: Path, cases: Sequence[Row], missing: list[str]) -> Iterator[tuple[str, str, Drawing]]:
    """What the networks that show anything of their inside do with the case that one of them is worst on."""
    for data in dict.fromkeys(row["data"] for row in cases):
        plain = [row for row in cases if row["data"] == row["tested_on"] == data and not row["condition"]]
        mine = [row for row in plain if row["dice"] is not None]
        files = {row["model"]: _cell(folder, row) / "order.json" for row in mine}
        try:
            orders = {method: read_json(file, "order of a cell") for method, file in files.items() if file.is_file()}
            showing = {method: order for method, order in orders.items() if shows_inside(order["model"])}
        except BonerayError as error:
            missing.append(f"maps inside the networks on {data}: {error}")
            continue
        for model in dict.fromkeys(order["model"] for order in showing.values()):
            methods = [method for method, order in showing.items() if order["model"] == model]
            if len(methods) > SIDE_BY_SIDE:
                missing.append(f"maps inside {', '.join(methods[SIDE_BY_SIDE:])} on {data}: no room beside the others")
            rows = [row for row in mine if row["model"] in methods[:SIDE_BY_SIDE]]
            try:
                yield from _insides_of(folder, data, rows, orders)
            except (BonerayError, OSError) as error:
                missing.append(f"maps inside {', '.join(methods)} on {data}: {error}")
        if showing and len(showing) < len(orders):
            silent = ", ".join(method for method in orders if method not in showing)
            missing.append(f"maps inside {silent} on {data}: a model that shows none of its inside")


def _insides_of(
    folder: Path, data: str, rows: Sequence[Row], orders: dict[str, Row]
) -> Iterator[tuple[str, str, Drawing]]:
    """The sheets of methods of one model; each by its first cell that was tested on the case."""
    worst = min(rows, key=lambda row: row["dice"])
    shown = {row["model"]: row for row in reversed(rows) if row["case"] == worst["case"]}
    case = read_case(Path(orders[worst["model"]]["data"]) / worst["case"], with_ct=False)
    insides = []
    for method, row in sorted(shown.items(), key=lambda item: list(orders).index(item[0])):
        checkpoint = orders[method]["checkpoint"] or _cell(folder, row) / "run"
        insides.append(look_inside(checkpoint, case, method=method))
    model = insides[0].model
    note = f"{data}, {model}, the worst case of {worst['model']}"
    for name, drawing in map_figures(case, insides):
        yield f"maps-{data}-{model}-{name}", f"{note}: {name} by level.", drawing
    for name, drawing in switch_figures(case, insides):
        yield f"switch-{data}-{name}", f"{note}: what {name} changes in the prediction.", drawing


def _cell(folder: Path, row: Row) -> Path:
    """The folder of the cell that a row of cases comes from."""
    fold = "" if row["fold"] is None else f"-fold{row['fold']}"
    return folder / "cells" / f"{row['data']}-{row['model']}{fold}-seed{row['seed']}"


def _markdown(text: str) -> str:
    """Paragraphs, headings and tables of models.md as HTML; that is all it has."""
    out: list[str] = []
    rows: list[list[str]] = []

    def flush() -> None:
        if rows:
            head, *body = rows
            cells = "".join(f"<th>{html.escape(c)}</th>" for c in head)
            lines = "".join("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in row) + "</tr>" for row in body)
            out.append(f"<table><tr>{cells}</tr>{lines}</table>")
            rows.clear()

    for line in text.splitlines():
        if line.startswith("|"):
            if not line.startswith("| ---"):
                rows.append([cell.strip() for cell in line.strip("|").split("|")])
            continue
        flush()
        if line.startswith("# "):
            continue
        if line.startswith("## "):
            out.append(f"<h2>{html.escape(line[3:])}</h2>")
        elif line:
            out.append(f"<p>{html.escape(line)}</p>")
    flush()
    return "".join(out)
