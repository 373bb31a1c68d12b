"""From a table to a ranking: reading, common cases, missing values, the written tables."""

import json

import numpy as np
import pytest

from boneray.core.errors import BonerayError, ConfigError, DataError, InputError
from boneray.evaluation.common_cases import common_scores, metric_rule
from boneray.evaluation.metric_table import read_score_table
from boneray.evaluation.paired_tests import signed_rank_test
from boneray.evaluation.ranking_study import RankingSettings, rank_table
from boneray.evaluation.ranking_tables import (
    OVER_TASKS,
    mean_markdown,
    mean_rows,
    pair_rows,
    ranking_json,
    ranking_rows,
)
from boneray.io.files import json_text

QUICK = RankingSettings(resamples=50)
DICE = metric_rule("dice")


@pytest.fixture
def table(tmp_path):
    def write(text, name="scores.csv"):
        path = tmp_path / name
        path.write_text(text)
        return read_score_table([path])

    return write


BOTH = "case,model,dice\ns1,A,0.9\ns1,B,0.8\ns2,A,0.7\ns2,B,0.6\n"


def test_reading_a_table(table):
    found = table(BOTH)
    assert found.methods == ("A", "B") and found.columns == ("dice",)
    assert [row.number("dice") for row in found.rows] == [0.9, 0.8, 0.7, 0.6]


def test_a_file_per_method(tmp_path):
    (tmp_path / "unet.csv").write_text("case,bone,status,dice\ns1,L1,present,0.5\ns1,L2,spurious,0\n")
    (tmp_path / "raylift.v2.csv").write_text("case,bone,status,dice\ns1,L1,missed,0\n")
    found = read_score_table([tmp_path / "unet.csv", tmp_path / "raylift.v2.csv"])
    assert found.methods == ("unet", "raylift")
    assert len(found.rows) == 2 and "1 rows" in found.notes[0]


def test_json_of_evaluate_and_of_others(tmp_path):
    ours = {"cases": [{"case": "s1", "bones": {"L1": {"dice": 0.5, "hd95_mm": None, "status": "missed"}}, "mean": {}}]}
    theirs = {"s1": {"L1": {"dice": 0.25}}, "s2": {}}
    flat = {"s1": {"dice": 1.0}}
    for name, values in (("ours", ours), ("theirs", theirs), ("flat", flat)):
        (tmp_path / f"{name}.json").write_text(json.dumps(values))
    found = read_score_table([tmp_path / f"{name}.json" for name in ("ours", "theirs", "flat")])
    assert [(r.method, r.case, r.bone, r.number("dice")) for r in found.rows if r.case == "s1"] == [
        ("ours", "s1", "L1", 0.5),
        ("theirs", "s1", "L1", 0.25),
        ("flat", "s1", "", 1.0),
    ]
    assert np.isnan(found.rows[0].number("hd95_mm"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no row"),
        ("case,model,dice\n", "holds no row"),
        ("name,model,dice\ns1,A,1\n", "--case-column"),
        ("case,model,dice\ns1,A\n", "line 2"),
        ("case,model,dice\ns1,A,1,2\n", "line 2"),
        ("case,case,dice\ns1,A,1\n", "two columns"),
        ("case,model,dice\n,A,1\n", "column case is empty"),
        ("case,model,dice\ns1,,1\n", "column model is empty"),
        ('case,model,dice\n"s1,A,1\n', "not a CSV"),
    ],
)
def test_tables_that_cannot_be_read(table, text, says):
    with pytest.raises(BonerayError, match=says):
        table(text)


@pytest.mark.parametrize("text", ["[1]", "{", '{"s1": 3}', '{"s1": {"L1": {"dice": 1}, "dice": 2}}'])
def test_json_that_cannot_be_read(table, text):
    with pytest.raises(InputError):
        table(text, "bad.json")


def test_a_cell_that_is_no_number_names_its_line(table):
    with pytest.raises(DataError, match=r"scores.csv line 3, column dice: 'good'"):
        rank_table(table("case,model,dice\ns1,A,1\ns1,B,good\n"), [DICE], settings=QUICK)


def test_directions():
    assert metric_rule("dice").direction == "higher" and metric_rule("dice").missing_counts_as == 0
    assert metric_rule("hd95_mm").direction == "lower" and metric_rule("hd95_mm").missing_counts_as == np.inf
    assert metric_rule("HD95_mm_penalised").direction == "lower"
    assert metric_rule("nsd_3.7mm").missing_counts_as == 0
    assert metric_rule("DSC", higher=["DSC"]).missing_counts_as == -np.inf
    assert metric_rule("dice", lower=["dice"]).direction == "lower"
    assert metric_rule("hd95_mm", missing_counts_as=300).missing_counts_as == 300
    with pytest.raises(ConfigError, match="--higher-is-better DSC"):
        metric_rule("DSC")
    with pytest.raises(ConfigError, match="both ways"):
        metric_rule("DSC", higher=["DSC"], lower=["DSC"])
    with pytest.raises(ConfigError, match="plain quantity"):
        metric_rule("volume_reference_mm3")


def test_common_cases_and_what_was_dropped(table):
    rows = "case,model,dice\n" + "".join(f"s{i},{m},0.{i}\n" for m in "AB" for i in range(1, 6))
    rows += "s6,A,0.5\ns1,C,0.1\ns2,C,0.2\n"
    found = common_scores(table(rows).rows, DICE, expected=("A", "B", "C", "D"))
    assert found.methods == ("A", "B") and found.cases == ("s1", "s2", "s3", "s4", "s5")
    assert [(d.name, d.reason) for d in found.dropped_cases] == [("s6", "no row for B")]
    assert [(d.name, d.reason) for d in found.dropped_methods] == [
        ("C", "rows for 2 of 6 cases, fewer than 50%"),
        ("D", "no row for this task"),
    ]
    kept = common_scores(table(rows).rows, DICE, min_coverage=0.3)
    assert kept.methods == ("A", "B", "C") and kept.cases == ("s1", "s2")
    assert [d.reason for d in kept.dropped_cases] == ["no row for C"] * 3 + ["no row for B, C"]


def test_a_missing_value_counts_as_worst_and_stays(table):
    text = "case,model,hd95_mm\ns1,A,1\ns1,B,2\ns1,C,3\ns2,A,\ns2,B,inf\ns2,C,3\n"
    found = common_scores(table(text).rows, metric_rule("hd95_mm"))
    assert found.cases == ("s1", "s2") and found.missing.tolist() == [[0, 1], [0, 1], [0, 0]]
    assert found.goodness.tolist() == [[-1, -np.inf], [-2, -np.inf], [-3, -3]]
    study = rank_table(table(text), [metric_rule("hd95_mm")], settings=QUICK)
    ranks = {r["method"]: (r["rank"], r["n_missing"]) for r in ranking_rows(study) if r["scheme"] == "mean-then-rank"}
    assert ranks == {"C": (1, 0), "A": (2, 1), "B": (2, 1)}
    rows = {r["method"]: r for r in ranking_rows(study) if r["scheme"] == "rank-then-mean"}
    # case s1: ranks 1 2 3; case s2: the two missing share 2 and 3
    assert {m: row["score"] for m, row in rows.items()} == {"A": 1.75, "B": 2.25, "C": 2.0}
    assert rows["A"]["mean"] == np.inf and rows["A"]["mean_found"] == 1 and np.isnan(rows["A"]["mean_high"])
    penalty = rank_table(table(text), [metric_rule("hd95_mm", missing_counts_as=9)], settings=QUICK)
    assert [r["mean"] for r in ranking_rows(penalty)[:3]] == [3.0, 5.0, 5.5]


def test_a_method_that_failed_everywhere_is_ranked_last_not_dropped(table):
    study = rank_table(table("case,model,dice\ns1,A,0.9\ns1,B,\ns2,A,0.8\ns2,B,nan\n"), [DICE], settings=QUICK)
    assert [(r["method"], r["rank"], r["n_missing"]) for r in ranking_rows(study)[:2]] == [("A", 1, 0), ("B", 2, 2)]


def test_bones_of_a_case_become_one_value(table):
    text = "case,bone,model,dice\n" + "".join(
        f"s1,{bone},{m},{v}\n" for m, values in (("A", (0.9, 0.5)), ("B", (0.6, 0.6))) for bone, v in zip(
            ("L1", "L2"), values, strict=True)
    ) + "s1,L3,A,0.1\n"  # fmt: skip
    found = common_scores(table(text).rows, DICE)
    assert found.cases == ("s1",) and found.values == pytest.approx(np.array([[0.7], [0.6]]))
    assert [d.name for d in found.dropped_cases] == ["s1 L3"]
    by_bone = rank_table(table(text), [DICE], by="bone", settings=QUICK)
    assert [task.scores.task for task in by_bone.metrics[0].tasks] == ["L1", "L2"]
    assert [(f.name, "one method only" in f.reason) for f in by_bone.metrics[0].failed] == [("L3", True)]
    with pytest.raises(DataError, match="'x' is not a number"):
        rank_table(table(text.replace("L3,A,0.1", "L3,A,x")), [DICE], by="bone", settings=QUICK)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("case,model,dice\ns1,A,1\ns2,A,1\n", "one method only"),
        ("case,model,dice\ns1,A,1\ns2,B,1\n", "no case has a row for all of A, B"),
        ("case,model,dice\ns1,A,1\ns1,A,0\ns1,B,1\n", r"line 3: s1 of A was there before \(scores.csv line 2\)"),
        ("case,model,dice\ns1,A,inf\ns1,B,1\n", "better than every number"),
    ],
)
def test_what_cannot_be_ranked(table, text, says):
    with pytest.raises(DataError, match=says):
        rank_table(table(text), [DICE], settings=QUICK)
    with pytest.raises(InputError, match="unknown column 'dce'; did you mean dice"):
        table(text).require_column("dce")


def many(seed=0, cases=30):
    rng = np.random.Generator(np.random.PCG64(seed))
    ease = rng.uniform(0.6, 0.8, cases)
    values = {m: ease + gain + rng.normal(0, 0.05, cases) for m, gain in (("A", 0.1), ("B", 0.0), ("C", 0.0))}
    return values, "case,model,dice\n" + "".join(
        f"s{i},{m},{v[i]!r}\n" for m, v in values.items() for i in range(cases)
    )


def test_pairs_hold_the_tests_and_effects_of_those_cases(table):
    values, text = many()
    text = text.replace("np.float64(", "").replace(")", "")
    study = rank_table(table(text), [DICE], settings=QUICK)
    pairs = {(p["better"], p["worse"]): p for p in pair_rows(study)}
    assert len(pairs) == 3 and {key for key in pairs if "A" in key} == {("A", "B"), ("A", "C")}
    gained = values["A"] - values["B"]
    row = pairs["A", "B"]
    assert row["mean_difference"] == pytest.approx(gained.mean())
    assert row["mean_difference_low"] < gained.mean() < row["mean_difference_high"]
    assert row["p_signed_rank"] == pytest.approx(float(signed_rank_test(gained)[0]))
    assert row["p_holm"] >= row["p_signed_rank"]
    assert row["cohens_d_paired"] == pytest.approx(gained.mean() / gained.std(ddof=1))
    found = study.metrics[0].tasks[0]
    assert found.better[0].tolist() == [False, True, True]


def test_the_same_seed_gives_the_same_json(table):
    text = many()[1].replace("np.float64(", "").replace(")", "")
    one, two = (json_text(ranking_json(rank_table(table(text), [DICE], settings=QUICK))) for _ in range(2))
    assert one == two
    assert json.loads(one)["metrics"][0]["tasks"][0]["n_cases"] == 30


def test_several_tasks_and_their_mean(table):
    text = "case,site,model,dice,hd95_mm\n" + "".join(
        f"s{i}{site},{site},{m},{d},{10 * (1 - d)}\n"
        for site, cases in (("x", 1), ("y", 3))
        for i in range(cases)
        for m, d in (("A", 0.9), ("B", 0.7 if site == "x" else 0.5))
    )
    rules = [DICE, metric_rule("hd95_mm")]
    study = rank_table(table(text), rules, by="site", settings=QUICK)
    rows = mean_rows(study)
    assert [(r["task"], r["method"], r["n_cases"]) for r in rows] == [
        ("x", "A", 1), ("x", "B", 1), ("y", "A", 3), ("y", "B", 3), (OVER_TASKS, "A", 4), (OVER_TASKS, "B", 4),
    ]  # fmt: skip
    assert rows[-1]["dice"] == pytest.approx(0.6)  # the mean of .7 and .5, however many cases stand behind each
    assert "| y | A | 3 | **0.90** | **1.00** |" in mean_markdown(study, 2)
    values = ranking_json(study)["metrics"][0]
    assert values["consensus"]["mean-then-rank"]["methods"][0] == {"rank": 1, "method": "A", "mean_rank": 1.0}
    assert values["consensus"]["mean-then-rank"]["first_k_stay_ahead"] == [{"k": 1, "share": 1.0}]
    assert values["direction"] == "higher" and values["missing_counts_as"] == 0
    with pytest.raises(DataError, match="column site is empty"):
        rank_table(table(text.replace(",x,", ",,")), rules, by="site", settings=QUICK)


def test_voxels_become_mm(table):
    found = table("case,model,part,hd\ns1,A,hip,2\ns1,B,hip,4\ns2,A,rib,1\ns2,B,rib,\n")
    mm = found.with_mm(["hd"], {"hip": 2.25, "rib": 2.5}, "part")
    values = [row.number("hd_mm") for row in mm.rows]
    assert values[:3] == [4.5, 9.0, 2.5] and np.isnan(values[3]) and mm.columns[-1] == "hd_mm"
    assert [row.number("hd_mm") for row in found.with_mm(["hd"], {"all": 2.0}, None).rows][:2] == [4, 8]
    with pytest.raises(ConfigError, match="rib=SIZE"):
        found.with_mm(["hd"], {"hip": 2.25}, "part")


def test_settings_that_make_no_sense():
    with pytest.raises(ConfigError):
        RankingSettings(resamples=0)
    with pytest.raises(ConfigError):
        RankingSettings(schemes=("mean",))
    with pytest.raises(ConfigError):
        RankingSettings(schemes=())
