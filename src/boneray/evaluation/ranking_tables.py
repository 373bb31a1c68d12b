"""What `boneray rank` writes: the study as JSON, and its tables as rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

import numpy as np

from boneray.evaluation.common_cases import Dropped
from boneray.evaluation.ranking import SCHEMES, Ranking
from boneray.evaluation.ranking_stability import Stability
from boneray.evaluation.ranking_study import MetricRanking, RankingStudy, TaskRanking
from boneray.evaluation.statistics import Interval

Row = dict[str, Any]
OVER_TASKS = "mean of the tasks"


def ranking_json(study: RankingStudy) -> dict[str, Any]:
    """The stable shape of ranking.json and `boneray rank --json`; what has no value is null."""
    settings = study.settings
    return {
        "table": study.table.name,
        "notes": list(study.table.notes),
        "by": study.by,
        "settings": {
            "schemes": {name: SCHEMES[name].summary for name in settings.schemes},
            "alpha": settings.rule.alpha,
            "adjust": settings.rule.adjust,
            "resamples": settings.resamples,
            "level": settings.level,
            "seed": settings.seed,
            "min_coverage": settings.min_coverage,
            "ties": "equal methods share the smallest of their ranks; equal values of one case share their mean rank",
        },
        "metrics": [_metric(metric, settings.level) for metric in study.metrics],
    }


def ranking_rows(study: RankingStudy) -> list[Row]:
    """One row per metric, task, scheme and method, best first: rank, score, bootstrap rank, mean and counts."""
    return [
        {"metric": metric.rule.metric, "task": task.scores.task, "scheme": scheme, **row}
        for metric in study.metrics
        for task in metric.tasks
        for scheme, stability in task.stability.items()
        for row in _ranked(task, stability, study.settings.level)
    ]


def pair_rows(study: RankingStudy) -> list[Row]:
    """One row per metric, task and pair of methods."""
    return [
        {"metric": metric.rule.metric, "task": task.scores.task, "n_cases": len(task.scores.cases), **_pair(pair)}
        for metric in study.metrics
        for task in metric.tasks
        for pair in task.pairs
    ]


def mean_rows(study: RankingStudy) -> list[Row]:
    """The table of a paper: one row per task and method, one column per metric.

    With several tasks the last rows are the mean of the tasks' means, each task counting the same.
    """
    means: dict[tuple[str, str], Row] = {}
    for metric in study.metrics:
        for task in metric.tasks:
            for summary in task.summaries:
                row = means.setdefault((task.scores.task, summary.method), {"n_cases": summary.n})
                row[metric.rule.metric] = summary.mean.value
    tasks = list(dict.fromkeys(task for task, _ in means))
    names = [metric.rule.metric for metric in study.metrics]
    rows = [{"task": task, "method": method, **means[task, method]} for task in tasks for method in _methods(study)
            if (task, method) in means]  # fmt: skip
    if len(tasks) < 2:
        return rows
    for method in _methods(study):
        of_method = [means[task, method] for task in tasks if (task, method) in means]
        if len(of_method) == len(tasks):
            over = {name: fmean(row[name] for row in of_method) for name in names if all(name in r for r in of_method)}
            rows.append({"task": OVER_TASKS, "method": method, "n_cases": sum(r["n_cases"] for r in of_method), **over})
    return rows


def mean_markdown(study: RankingStudy, digits: int = 3) -> str:
    """`mean_rows` as a Markdown table; the best of every task and metric is bold."""
    rows = mean_rows(study)
    rules = {metric.rule.metric: metric.rule for metric in study.metrics}
    lines = [
        "| task | method | cases | " + " | ".join(rules) + " |",
        "| --- | --- | ---: |" + " ---: |" * len(rules),
    ]
    for row in rows:
        cells = []
        for name, rule in rules.items():
            text = _number(row.get(name), digits)
            others = [r[name] for r in rows if r["task"] == row["task"] and name in r]
            best = (max if rule.direction == "higher" else min)(others) if others else None
            shown = best is not None and np.isfinite(best) and text == _number(best, digits)
            cells.append(f"**{text}**" if shown else text)
        lines.append(f"| {row['task']} | {row['method']} | {row['n_cases']} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _methods(study: RankingStudy) -> list[str]:
    return list(dict.fromkeys(m for metric in study.metrics for task in metric.tasks for m in task.scores.methods))


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None or not np.isfinite(value) else f"{value:.{digits}f}"


def _metric(metric: MetricRanking, level: float) -> dict[str, Any]:
    rule = metric.rule
    worst = "worse than every number" if np.isinf(rule.missing_counts_as) else rule.missing_counts_as
    out: dict[str, Any] = {
        "metric": rule.metric,
        "direction": rule.direction,
        "missing_counts_as": worst,
        "tasks": [_task(task, level) for task in metric.tasks],
        "tasks_not_ranked": _dropped(metric.failed),
    }
    if metric.consensus:
        out["consensus"] = {name: _consensus(ranking, metric.cuts[name]) for name, ranking in metric.consensus.items()}
    return out


def _task(task: TaskRanking, level: float) -> dict[str, Any]:
    scores = task.scores
    return {
        "task": scores.task,
        "n_cases": len(scores.cases),
        "dropped_cases": _dropped(scores.dropped_cases),
        "dropped_methods": _dropped(scores.dropped_methods),
        "rankings": {
            name: {
                "methods": _ranked(task, stability, level),
                "bootstrap_tau": _taus(stability),
                "rank_shares": {
                    method: [round(float(v), 4) for v in shares]
                    for method, shares in zip(scores.methods, stability.shares(), strict=True)
                },
            }
            for name, stability in task.stability.items()
        },
        "tau_to_first_scheme": task.scheme_agreement(),
        "significantly_better": {
            method: [other for other, yes in zip(scores.methods, row, strict=True) if yes]
            for method, row in zip(scores.methods, task.better, strict=True)
        },
        "pairs": [_pair(pair) for pair in task.pairs],
    }


def _ranked(task: TaskRanking, stability: Stability, level: float) -> list[Row]:
    ranking = stability.ranking
    low, high = stability.interval(level)
    median = stability.median()
    sign = SCHEMES[ranking.scheme].score_sign
    if SCHEMES[ranking.scheme].score in ("mean", "median") and task.scores.rule.direction == "lower":
        sign = -1
    summaries = {s.method: s for s in task.summaries}
    out = []
    for method in ranking.order:
        at = ranking.methods.index(method)
        summary = summaries[method]
        out.append(
            {
                "rank": int(ranking.ranks[at]),
                "method": method,
                "score": float(sign * ranking.merit[at]),
                "score_is": SCHEMES[ranking.scheme].score,
                "rank_median": float(median[at]),
                "rank_low": float(low[at]),
                "rank_high": float(high[at]),
                **_interval("mean", summary.mean),
                "mean_found": summary.mean_found,
                "sd": summary.sd,
                "median": summary.median,
                "n": summary.n,
                "n_missing": summary.n_missing,
            }
        )
    return out


def _consensus(ranking: Ranking, cuts: tuple[float, ...]) -> dict[str, Any]:
    at = {method: i for i, method in enumerate(ranking.methods)}
    return {
        "methods": [
            {"rank": int(ranking.ranks[at[m]]), "method": m, "mean_rank": float(-ranking.merit[at[m]])}
            for m in ranking.order
        ],
        "first_k_stay_ahead": [{"k": k, "share": share} for k, share in enumerate(cuts, 1)],
    }


def _pair(pair: Any) -> Row:
    out: Row = {}
    for key, value in asdict(pair).items():
        if key == "mean_difference":
            out |= _interval(key, Interval(**value))
        else:
            out[key] = value
    return out


def _taus(stability: Stability) -> dict[str, float | int]:
    taus = stability.taus()
    found = taus[np.isfinite(taus)]
    if not len(found):
        return {"mean": float("nan"), "median": float("nan"), "low": float("nan"), "high": float("nan"), "n": 0}
    low, high = np.quantile(found, [0.025, 0.975])
    middle = {"mean": float(found.mean()), "median": float(np.median(found))}
    return {**middle, "low": float(low), "high": float(high), "n": len(found)}


def _interval(name: str, interval: Interval) -> Row:
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}


def _dropped(dropped: Sequence[Dropped]) -> list[dict[str, str]]:
    return [{"name": one.name, "reason": one.reason} for one in dropped]
