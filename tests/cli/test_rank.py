"""`boneray rank` and `boneray associate`: what they write, and bad input in one line."""

import csv
import json

import pytest


@pytest.fixture
def scores(tmp_path):
    """A over B over C on twelve cases of two sites; hd in voxels."""
    rows = []
    for i in range(12):
        for method, gain in (("A", 0.2), ("B", 0.1), ("C", 0.0)):
            dice = 0.5 + gain + 0.01 * (i % 5)
            rows.append(f"s{i},{'hip' if i < 6 else 'rib'},{method},{dice:.2f},{4 - 10 * gain:.1f},{9 - 10 * dice:.2f}")
    path = tmp_path / "scores.csv"
    path.write_text("case,site,model,dice,hd,nsa\n" + "\n".join(rows) + "\n")
    return path


@pytest.fixture
def refused(boneray, tmp_path):
    def check(says, *arguments, out=tmp_path / "refused"):
        done = boneray(*arguments, "--out", out)
        assert done.code == 2, (done.out, done.err)
        assert len(done.err.splitlines()) == 1 and done.err.startswith("boneray: ") and says in done.err, done.err
        assert not done.out and not (tmp_path / "refused").exists()

    return check


def test_rank_writes_tables_and_pictures(boneray, scores, tmp_path):
    out = tmp_path / "out"
    done = boneray("rank", scores, "--out", out, "--by", "site", "--resamples", 100, "--json")
    assert done.code == 0, done.err
    values = json.loads(done.out)
    assert values == json.loads((out / "ranking.json").read_text())
    hip = values["metrics"][0]["tasks"][0]
    assert (hip["task"], hip["n_cases"]) == ("hip", 6)
    assert [m["method"] for m in hip["rankings"]["mean-then-rank"]["methods"]] == ["A", "B", "C"]
    with (out / "ranking.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 5 * 3 and {row["scheme"] for row in rows} == set(values["settings"]["schemes"])
    with (out / "pairs.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 2 * 3
    assert (out / "pictures" / "dice-hip-blobs.svg").is_file() and (out / "pictures" / "dice-by-task.png").is_file()
    # the last digits of hip are 0 1 2 3 4 0, of rib 1 2 3 4 0 1
    text = (out / "means.md").read_text()
    assert "| hip | A | 6 | **0.717** |" in text and "| rib | A | 6 | **0.718** |" in text
    assert "| mean of the tasks | A | 12 |" in text


def test_rank_speaks_in_tables(boneray, scores, tmp_path):
    done = boneray("rank", scores, "--out", tmp_path / "o", "--method", "test-then-rank", "--resamples", 20)
    assert done.code == 0 and "dice, task all, 12 common cases" in done.out
    assert done.out.splitlines()[2].split()[:3] == ["1", "A", "2.000"]
    assert not list((tmp_path / "o" / "pictures").glob("*schemes*"))


def test_rank_says_what_it_dropped(boneray, scores, tmp_path):
    scores.write_text(
        "\n".join(line for line in scores.read_text().splitlines() if not line.startswith("s3,hip,B")) + "\n"
    )
    done = boneray("rank", scores, "--out", tmp_path / "o", "--resamples", 20)
    assert "1 cases dropped, the first is s3 (no row for B)" in done.err and "11 common cases" in done.out


def test_rank_in_mm(boneray, scores, tmp_path):
    done = boneray(
        "rank", scores, "--out", tmp_path / "o", "--by", "site", "--metric", "hd_mm", "--in-voxels", "hd",
        "--voxel-mm", "hip=2.25,rib=2.5", "--resamples", 20, "--digits", 2,
    )  # fmt: skip
    assert done.code == 0, done.err
    text = (tmp_path / "o" / "means.md").read_text()
    assert "| hip | A | 6 | **4.50** |" in text and "| rib | C | 6 | 10.00 |" in text


def test_rank_bad_input(refused, boneray, scores, tmp_path):
    refused("does not exist", "rank", tmp_path / "none.csv")
    refused("is a folder", "rank", tmp_path)
    refused("unknown column 'dce'; did you mean dice?", "rank", scores, "--metric", "dce")
    refused("unknown column 'sites'; did you mean site?", "rank", scores, "--by", "sites")
    refused("--higher-is-better nsa", "rank", scores, "--metric", "nsa")
    refused("did you mean mean-then-rank", "rank", scores, "--method", "mean-then-rnk")
    refused("alpha 2", "rank", scores, "--alpha", 2)
    refused("unknown adjustment", "rank", scores, "--adjust", "hochberg")
    refused("min_coverage", "rank", scores, "--min-coverage", 3)
    refused("subject_id", "rank", scores, "--case-column", "subject_id")
    refused("unknown column 'modl'", "rank", scores, "--method-column", "modl")
    refused("--voxel-mm", "rank", scores, "--in-voxels", "hd")
    refused("is not a size", "rank", scores, "--in-voxels", "hd", "--voxel-mm", "hip=big")
    refused("positive", "rank", scores, "--in-voxels", "hd", "--voxel-mm", "-1")

    def bad(says, text):
        (tmp_path / "bad.csv").write_text(text)
        refused(says, "rank", tmp_path / "bad.csv")

    bad("holds no row", "")
    bad("one method only ('A')", "case,model,dice\ns1,A,0.5\ns2,A,0.6\n")
    bad("no case has a row for all of A, B", "case,model,dice\ns1,A,0.5\ns2,B,0.6\n")
    bad("line 3, column dice: 'high' is not a number", "case,model,dice\ns1,A,0.5\ns1,B,high\n")
    bad("was there before", "case,model,dice\ns1,A,0.5\ns1,A,0.6\n")
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00case")
    refused("not a CSV", "rank", tmp_path / "bytes.csv")


def test_nothing_is_overwritten(refused, boneray, scores, tmp_path):
    out = tmp_path / "out"
    assert boneray("rank", scores, "--out", out, "--resamples", 10).code == 0
    before = (out / "ranking.json").read_bytes()
    refused("--force", "rank", scores, "--metric", "dice", out=out)
    assert (out / "ranking.json").read_bytes() == before
    assert boneray("rank", scores, "--out", out, "--resamples", 11, "--force").code == 0
    assert (out / "ranking.json").read_bytes() != before


def test_associate(boneray, refused, scores, tmp_path):
    out = tmp_path / "out"
    done = boneray("associate", scores, "--y", "nsa", "--out", out, "--resamples", 20, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)["associations"][0]["all"]
    assert (found["n"], found["n_cases"]) == (36, 12)
    assert found["slope"] == pytest.approx(-10) and found["r_squared"] == pytest.approx(1)
    assert (out / "pictures" / "nsa-against-dice.svg").is_file() and (out / "association.csv").is_file()
    refused("give --y", "associate", scores)
    refused("unknown column 'fhr'", "associate", scores, "--y", "fhr")
    refused("does not exist", "associate", scores, "--y", "nsa", "--errors", tmp_path / "none.csv")
    refused("--force", "associate", scores, "--y", "nsa", out=out)
