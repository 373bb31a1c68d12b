"""Drawings of rankings: what is drawn is what was counted."""

import io
import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from boneray.evaluation.association import associate
from boneray.evaluation.common_cases import metric_rule
from boneray.evaluation.metric_table import read_score_table
from boneray.evaluation.ranking_study import RankingSettings, rank_table
from boneray.report.association_picture import scatter_plot
from boneray.report.drawing import Drawing, round_steps, text_width, tint
from boneray.report.ranking_pictures import (
    BLOB,
    blob_plot,
    file_stem,
    significance_map,
    value_plot,
    write_ranking_pictures,
)

SVG = "{http://www.w3.org/2000/svg}"


def parsed(drawing):
    return ET.fromstring(drawing.svg())


def texts(drawing):
    return [element.text for element in parsed(drawing).iter(f"{SVG}text")]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A beats B on 3 of 4 cases and loses the fourth; C, with a name full of markup, is worst and misses one."""
    path = tmp_path_factory.mktemp("scores") / "scores.csv"
    values = {"A": (0.9, 0.9, 0.9, 0.5), "B": (0.8, 0.8, 0.8, 0.8), "<C> & co": (0.4, 0.3, 0.35, "")}
    rows = [f"s{i},{site},{m},{v}" for site in "xy" for m, vs in values.items() for i, v in enumerate(vs)]
    path.write_text("case,site,model,dice\n" + "\n".join(rows) + "\n")
    return read_score_table([path])


@pytest.fixture(scope="module")
def study(table):
    return rank_table(table, [metric_rule("dice")], by="site", settings=RankingSettings(resamples=200))


def test_the_area_of_a_blob_is_its_share(study):
    task = study.metrics[0].tasks[0]
    shares = task.main.shares()
    wanted = sorted(max(0.8, BLOB * math.sqrt(v)) for v in [*shares[shares > 0], 1.0, 0.5, 0.1])
    drawn = sorted(float(c.get("r")) for c in parsed(blob_plot(task)).iter(f"{SVG}circle"))
    assert drawn == pytest.approx(wanted, abs=0.006)
    assert shares[0, 0] + shares[0, 1] == pytest.approx(1) and 0 < shares[0, 1] < 1


def test_every_value_is_a_dot_and_the_missing_one_is_named(study):
    drawing = value_plot(study.metrics[0].tasks[0])
    assert len(list(parsed(drawing).iter(f"{SVG}circle"))) == 3 * 4  # a missing Dice counts, and is drawn, as 0
    assert "1 missing" in texts(drawing)
    assert any(text.endswith("<C> & co") for text in texts(drawing))


def test_the_map_shows_the_p_values(study):
    drawing = significance_map(study.metrics[0].tasks[0], study.settings.rule)
    found = texts(drawing)
    # four cases: A or B over C in all of them has p = 1/16, times six, then times five
    assert found.count(".38") + found.count(".31") == 2
    assert "p at most 0.05" in found


def test_all_files_are_written_and_open(study, tmp_path):
    written = write_ranking_pictures(study, tmp_path)
    names = {path.name for path in written}
    kinds = ("values", "blobs", "significance", "schemes")
    stems = {f"dice-{site}-{kind}" for site in "xy" for kind in kinds} | {"dice-by-task"}
    assert names == {f"{stem}.{suffix}" for stem in stems for suffix in ("svg", "png")}
    for path in written:
        if path.suffix == ".svg":
            root = ET.fromstring(path.read_text("utf-8"))
            size = (float(root.get("width")), float(root.get("height")))
            with Image.open(path.with_suffix(".png")) as image:
                assert image.size == pytest.approx((2 * size[0], 2 * size[1]), abs=1)
                assert np.asarray(image).min() < 100
            for element in root.iter(f"{SVG}circle"):
                assert 0 <= float(element.get("cx")) <= size[0] and 0 <= float(element.get("cy")) <= size[1]


def test_endless_distances_can_be_drawn(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("case,model,hd95_mm\ns1,A,1\ns1,B,\ns2,A,2\ns2,B,\n")
    study = rank_table(read_score_table([path]), [metric_rule("hd95_mm")], settings=RankingSettings(resamples=20))
    assert "2 missing" in texts(value_plot(study.metrics[0].tasks[0]))
    assert len(write_ranking_pictures(study, tmp_path / "pictures")) == 8


def test_scatter_has_every_point_and_the_mean_of_every_method(tmp_path):
    path = tmp_path / "d.csv"
    rows = [f"s{i},{m},{0.5 + i / 10},{9 - i}" for m in "AB" for i in range(4)]
    path.write_text("case,model,dice,nsa\n" + "\n".join(rows) + "\n")
    table = read_score_table([path])
    drawing = scatter_plot(associate(table, table, "dice", "nsa", resamples=10))
    assert len(list(parsed(drawing).iter(f"{SVG}circle"))) == 8 + 2 + 2
    assert any("R² 1.000, Spearman's rho -1.000" in text for text in texts(drawing))


def test_a_drawing_by_hand():
    sheet = Drawing(40, 20, "a < b")
    sheet.box(0, 0, 10, 20, (255, 0, 0))
    sheet.disc((30, 10), 5, (0, 0, 255))
    assert parsed(sheet).find(f"{SVG}title").text == "a < b"
    pixels = np.asarray(Image.open(io.BytesIO(sheet.png())))
    assert pixels.shape == (40, 80, 3)
    assert tuple(pixels[20, 10]) == (255, 0, 0) and tuple(pixels[20, 60]) == (0, 0, 255)
    assert tuple(pixels[2, 40]) == (255, 255, 255)
    blue = (pixels == (0, 0, 255)).all(axis=-1).sum()
    assert blue == pytest.approx(math.pi * 10**2, rel=0.1)


def test_small_things_by_hand():
    assert round_steps(0.03, 0.69) == [0.0, 0.2, 0.4, 0.6, 0.8]
    assert round_steps(-3, 12) == [-5.0, 0.0, 5.0, 10.0, 15.0]
    assert round_steps(7, 7)[0] <= 6.5 and round_steps(7, 7)[-1] >= 7.5
    assert tint((0, 100, 255), 1) == (0, 100, 255) and tint((0, 100, 255), 0) == (255, 255, 255)
    assert tint((0, 0, 0), 0.5) == (128, 128, 128)
    assert text_width("ww") == pytest.approx(2 * text_width("w"), rel=0.05)
    assert file_stem("NSD@1.5 mm", "left femur") == "nsd-1.5-mm-left-femur"
    assert file_stem("../..") == "all"
