"""Figures are drawn to scale, and what is picked out is what should be."""

import numpy as np
import pytest
import torch

from boneray.benchmark.printed_rows import printed_rows
from boneray.benchmark.study import Study
from boneray.models.batch import Batch
from boneray.models.nearest_case import NearestCase, NearestCaseSettings
from boneray.models.registry import Task
from boneray.report.benchmark_figures import Bar, Place, cost_front, curves, grouped_bars, on_the_front
from boneray.report.benchmark_panels import worst_cases


def test_bars_are_as_high_as_their_values():
    sheet = grouped_bars("t", {"femur": [Bar("a", 0.8, 0.7, 0.9), Bar("b", 0.4)], "ribs": [Bar("a", 0.2)]}, "Dice")
    boxes = [s.points for s in sheet.strokes if s.kind == "area"]
    heights = [max(y for _, y in box) - min(y for _, y in box) for box in boxes]
    assert heights == pytest.approx([heights[0], heights[0] / 2, heights[0] / 4])
    upright = [s.points for s in sheet.strokes if s.kind == "line" and s.points[0][0] == s.points[1][0]]
    assert len(upright) == 1  # one interval, as long as a quarter of the first bar
    assert abs(upright[0][0][1] - upright[0][1][1]) == pytest.approx(heights[0] / 4)


def test_the_front_leaves_out_what_a_cheaper_one_reaches():
    points = {"dear": (100.0, 0.9), "cheap": (1.0, 0.5), "worse": (10.0, 0.5), "middle": (10.0, 0.7)}
    assert on_the_front(points) == ["cheap", "middle", "dear"]
    sheet = cost_front("t", points, "parameters", "Dice")
    front = next(s for s in sheet.strokes if s.kind == "line" and len(s.points) == 3)
    x = [point[0] for point in front.points]
    assert x[1] - x[0] == pytest.approx(x[2] - x[1])  # a decade each


def test_curves_keep_the_order_of_x():
    sheet = curves("t", {"a": [Place(10.0, 0.1), Place(0.0, 0.3), Place(5.0, 0.2)]}, "degrees", "Dice")
    line = next(s for s in sheet.strokes if s.kind == "line" and len(s.points) == 3)
    assert np.diff([x for x, _ in line.points]) == pytest.approx([210.0, 210.0])
    assert np.diff([y for _, y in line.points])[0] > 0  # downwards


def test_the_worst_case_of_every_model_is_picked():
    rows = [
        {"model": "a", "case": "x", "dice": 0.9, "condition": ""},
        {"model": "a", "case": "y", "dice": 0.3, "condition": ""},
        {"model": "a", "case": "z", "dice": 0.0, "condition": "turned"},
        {"model": "b", "case": "x", "dice": 0.2, "condition": ""},
        {"model": "b", "case": "y", "dice": 0.4, "condition": ""},
    ]
    assert worst_cases(rows) == [("b", "x"), ("a", "y")]


def test_published_rows_stand_beside_ours_with_the_reason():
    """Table 4: our run with N = 2 stands beside that row alone; the others are not run here."""
    study = Study.model_validate(
        {
            "name": "t",
            "data": [
                {
                    "name": "n2",
                    "folder": "nowhere",
                    "anatomy": "spine",
                    "printed_as": "swin-x2s-ctspine1k",
                    "printed_condition": "views per group N = 2",
                }
            ],
            "models": ["swin_x2s_base"],
            "printed": [{"paper": "swin-x2s", "table": "Table 4", "why": "other splits"}],
        }
    )
    rows = {
        row["condition"]: row for row in printed_rows(study, [{"data": "n2", "model": "swin_x2s_base", "dice": 0.5}])
    }
    assert len(rows) == 5
    row = rows["views per group N = 2"]
    assert (row["printed"], row["ours"], row["comparable"]) == (0.8323, 0.5, "no")
    assert row["why"].startswith("other splits; ") and "background" in row["why"]
    assert rows["views per group N = 1"]["ours"] is None and "not run here" in rows["views per group N = 1"]["why"]


def test_the_nearest_case_is_the_one_whose_picture_correlates():
    """A brighter copy of a picture with more contrast is still the nearest; a checkpoint keeps all cases."""
    task = Task((2, 2, 2), (8, 8), 2, 1)
    network = NearestCase(NearestCaseSettings(raster=4), task)
    random = torch.Generator().manual_seed(0)
    pictures = torch.randn(3, 1, 1, 8, 8, generator=random)
    maps = torch.stack([torch.full((2, 2, 2), n) for n in range(3)])
    network.fit_cases(zip(pictures, maps, strict=True))
    shown = 3.0 * pictures[[2, 1]] + 5.0 + 0.1 * torch.randn(2, 1, 1, 8, 8, generator=random)
    batch = Batch(shown, torch.zeros(2, 1, 3, 4), torch.zeros(2, 1, 4))
    assert network(batch).class_map()[:, 0, 0, 0].tolist() == [2, 1]
    again = NearestCase(NearestCaseSettings(raster=4), task)
    again.load_state_dict(network.state_dict())
    assert torch.equal(again(batch).logits, network(batch).logits) and len(again.maps) == 3
