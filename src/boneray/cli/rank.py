"""Commands that compare methods: rank, associate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from boneray.cli.data import Force, Json, Out
from boneray.cli.output import say, show_json, show_table

Columns = Annotated[list[str] | None, typer.Option("--metric", "-m", help="Column(s) to rank by; default: dice.")]
CaseColumn = Annotated[str | None, typer.Option(help="Column that names the case; default: case or subject.")]
MethodColumn = Annotated[
    str | None, typer.Option(help="Column that names the method; default: method or model; else the file's name.")
]
Seed = Annotated[int, typer.Option(help="Same seed, same numbers.")]
Resamples = Annotated[int, typer.Option(min=1, help="Bootstrap samples.")]

RANKING_FILES = ("ranking.json",)
ASSOCIATION_FILES = ("association.json",)


def add_commands(app: typer.Typer) -> None:
    """Add this file's commands."""
    for command in (rank, associate):
        app.command()(command)


def rank(
    tables: Annotated[list[Path], typer.Argument(help="CSV or JSON, one row per case and method; or one per method.")],
    out: Out,
    metric: Columns = None,
    method: Annotated[
        list[str] | None,
        typer.Option(help="mean-then-rank, median-then-rank, rank-then-mean, rank-then-median, test-then-rank."),
    ] = None,
    by: Annotated[str | None, typer.Option(help="Column that tells tasks apart, each ranked on its own.")] = None,
    higher_is_better: Annotated[str, typer.Option(help="Columns where more is better, separated by commas.")] = "",
    lower_is_better: Annotated[str, typer.Option(help="Columns where less is better, separated by commas.")] = "",
    missing_value: Annotated[
        float | None,
        typer.Option(help="What a missing value counts as; default: 0 for Dice and NSD, else worst of all."),
    ] = None,
    alpha: Annotated[float, typer.Option(help="Level of the tests.")] = 0.05,
    adjust: Annotated[str, typer.Option(help="Correction over the pairs of a task: holm or none.")] = "holm",
    min_coverage: Annotated[float, typer.Option(help="Share of the cases that a method must have rows for.")] = 0.5,
    in_voxels: Annotated[str, typer.Option(help="Columns in voxels; each is also given in mm as NAME_mm.")] = "",
    voxel_mm: Annotated[str, typer.Option(help="Voxel edge in mm: 1.5, or by task: femur=1.0,hip=2.25.")] = "",
    digits: Annotated[int, typer.Option(min=0, max=12, help="Digits after the point in means.md.")] = 3,
    case_column: CaseColumn = None,
    method_column: MethodColumn = None,
    resamples: Resamples = 1000,
    seed: Seed = 0,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Rank methods on the cases they share, with tests, effect sizes and stability; tables and pictures.

    Example: boneray rank unet.csv raylift.csv --metric dice --out ranking
    """
    from boneray.evaluation.common_cases import metric_rule
    from boneray.evaluation.metric_table import read_score_table
    from boneray.evaluation.ranking import SCHEMES, Superiority
    from boneray.evaluation.ranking_study import RankingSettings, rank_table
    from boneray.evaluation.ranking_tables import mean_markdown, mean_rows, pair_rows, ranking_json, ranking_rows
    from boneray.evaluation.tables import write_csv
    from boneray.io.files import prepare_output, require_free, write_json, write_text
    from boneray.report.ranking_pictures import write_ranking_pictures

    require_free(out, force=force, holds=RANKING_FILES)
    settings = RankingSettings(
        schemes=tuple(dict.fromkeys(method or SCHEMES)),
        rule=Superiority(alpha, adjust),  # type: ignore[arg-type]
        resamples=resamples,
        seed=seed,
        min_coverage=min_coverage,
    )
    table = read_score_table(tables, case_column=case_column, method_column=method_column)
    if in_voxels or voxel_mm:
        table = table.with_mm(_names(in_voxels), _voxel_sizes(voxel_mm), by)
    names = list(dict.fromkeys(metric or ["dice"]))
    for name in names:
        table.require_column(name)
    higher, lower = _names(higher_is_better), _names(lower_is_better)
    rules = [metric_rule(name, higher=higher, lower=lower, missing_counts_as=missing_value) for name in names]
    study = rank_table(table, rules, by=by, settings=settings)
    values = ranking_json(study)
    prepare_output(out, force=force, holds=RANKING_FILES)
    write_csv(out / "ranking.csv", ranking_rows(study))
    write_csv(out / "pairs.csv", pair_rows(study))
    write_csv(out / "means.csv", mean_rows(study))
    write_text(out / "means.md", mean_markdown(study, digits))
    pictures = write_ranking_pictures(study, out / "pictures")
    write_json(out / "ranking.json", values)
    if as_json:
        show_json(values)
        return
    for note in table.notes:
        say(f"note: {note}")
    for found in values["metrics"]:
        for task in found["tasks"]:
            _say_dropped(f"{found['metric']}, {task['task']}", task["dropped_methods"], task["dropped_cases"])
            typer.echo(f"{found['metric']}, task {task['task']}, {task['n_cases']} common cases")
            first = task["rankings"][settings.schemes[0]]
            keys = ("rank", "method", "score", "mean", "mean_low", "mean_high", "rank_low", "rank_high", "n_missing")
            show_table(keys, [[row[key] for key in keys] for row in first["methods"]])
            typer.echo("")
        for task in found["tasks_not_ranked"]:
            say(f"not ranked: {task['reason']}")
        if "consensus" in found:
            typer.echo(f"{found['metric']}, all tasks: mean rank")
            rows = found["consensus"][settings.schemes[0]]["methods"]
            show_table(("rank", "method", "mean_rank"), [list(row.values()) for row in rows])
            typer.echo("")
    say(f"ranking.json, ranking.csv, pairs.csv, means.csv, means.md and {len(pictures)} pictures in {out}")


def associate(
    scores: Annotated[list[Path], typer.Argument(help="CSV or JSON with the score, one row per case and method.")],
    out: Out,
    x: Annotated[str, typer.Option("--x", help="Column of the score.")] = "dice",
    y: Annotated[list[str] | None, typer.Option("--y", help="Column(s) of the error; as often as needed.")] = None,
    errors: Annotated[
        list[Path] | None, typer.Option("--errors", help="Table(s) with the errors; default: the same tables.")
    ] = None,
    case_column: CaseColumn = None,
    method_column: MethodColumn = None,
    resamples: Resamples = 1000,
    seed: Seed = 0,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Does a better score mean a smaller error? Scatter, linear fit, R^2 and Spearman's rho on common subjects.

    Example: boneray associate metrics.csv --errors measurements.csv --x dice --y nsa --out study
    """
    from boneray.core.errors import ConfigError
    from boneray.evaluation.association import associate as associated
    from boneray.evaluation.association import association_rows
    from boneray.evaluation.metric_table import read_score_table
    from boneray.evaluation.tables import write_csv
    from boneray.io.files import prepare_output, require_free, write_json
    from boneray.report.association_picture import scatter_plot
    from boneray.report.ranking_pictures import file_stem, write_drawing

    require_free(out, force=force, holds=ASSOCIATION_FILES)
    if not y:
        raise ConfigError("no error is named; give --y COLUMN, as often as there are errors")
    first = read_score_table(scores, case_column=case_column, method_column=method_column)
    second = read_score_table(errors, case_column=case_column, method_column=method_column) if errors else first
    found = [associated(first, second, x, name, seed=seed, resamples=resamples) for name in dict.fromkeys(y)]
    values = {"associations": [one.to_dict() for one in found]}
    rows = association_rows(found)
    prepare_output(out, force=force, holds=ASSOCIATION_FILES)
    for one in found:
        write_drawing(scatter_plot(one), out / "pictures" / file_stem(one.y, "against", one.x))
    write_csv(out / "association.csv", rows)
    write_json(out / "association.json", values)
    if as_json:
        show_json(values)
        return
    keys = ("x", "y", "n", "n_cases", "slope", "intercept", "r_squared", "rho", "rho_low", "rho_high")
    show_table(keys, [[row[key] for key in keys] for row in rows if row["method"] == "all"])
    for one in found:
        if one.dropped:
            say(f"{one.y}: {len(one.dropped)} cases dropped; association.json says which and why")
    say(f"association.json, association.csv and {2 * len(found)} pictures in {out}")


def _say_dropped(where: str, methods: list[dict[str, str]], cases: list[dict[str, str]]) -> None:
    for one in methods:
        say(f"{where}: {one['name']} is dropped: {one['reason']}")
    if cases:
        say(f"{where}: {len(cases)} cases dropped, the first is {cases[0]['name']} ({cases[0]['reason']})")


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _voxel_sizes(text: str) -> dict[str, float]:
    """`1.5` or `femur=1.0,hip=2.25` as sizes by task; a bare number serves all tasks."""
    from boneray.core.errors import ConfigError

    out = {}
    for part in _names(text):
        task, _, size = part.rpartition("=")
        try:
            out[task.strip() or "all"] = float(size)
        except ValueError:
            raise ConfigError(f"--voxel-mm '{part}' is not a size in mm; write 1.5 or femur=1.0,hip=2.25") from None
        if not 0 < float(size) < float("inf"):
            raise ConfigError(f"--voxel-mm '{part}' must be a positive size in mm")
    if not out:
        raise ConfigError("--in-voxels needs --voxel-mm; write 1.5 or femur=1.0,hip=2.25")
    return out
