"""The page in a real browser: the 3D views are drawn, or the page says why not."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from boneray.core.bones import bone_colour
from boneray.report.page import ReportCase, write_report
from boneray.report.viewer import viewer

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SOFTWARE_GL = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
QUIET = ("--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install --no-install-recommends chromium"),
    pytest.mark.skipif(viewer() is None, reason="the 3D viewer was not fetched: python viewer/fetch.py"),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, compared_case: ReportCase) -> Path:
    case = replace(compared_case, radiographs={}, notes=())
    return write_report(tmp_path_factory.mktemp("page") / "index.html", title="In the browser", cases=[case])


def browse(page: Path, *arguments: str) -> str:
    """Open the page from its file in headless chromium; returns its document once the page says READY.

    Decoding in the background does not count against chromium's virtual clock, so on a busy machine
    the clock may run out first: then the page gets more of it.
    """
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--hide-scrollbars", "--disable-sync", *QUIET, "--dump-dom"]
    command += [f"--user-data-dir={page.parent / 'profile'}", "--window-size=1100,1000", *arguments]
    for budget_ms in (20_000, 100_000, 500_000, 2_500_000):
        clock = f"--virtual-time-budget={budget_ms}"
        done = subprocess.run([*command, clock, page.as_uri()], capture_output=True, text=True, timeout=180)
        assert done.returncode == 0, done.stderr[-2000:]
        if "<title>READY</title>" in done.stdout:
            break
    return done.stdout


def box_of(picture: NDArray[np.uint8], colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    """The part of the picture between the outermost pixels of one ground colour."""
    rows, columns = np.nonzero((picture == colour).all(axis=-1))
    return picture[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


def test_slices_and_surfaces_are_drawn(page: Path):
    shot = page.parent / "shot.png"
    html = browse(page, *SOFTWARE_GL, f"--screenshot={shot}")
    assert "<title>READY</title>" in html
    picture = np.asarray(Image.open(shot).convert("RGB"))
    slices, surfaces = box_of(picture, (0, 0, 0)), box_of(picture, (236, 239, 242))
    assert min(slices.shape[:2]) > 300 and min(surfaces.shape[:2]) > 300
    for name in ("femur_left", "hip_left"):
        assert (np.abs(slices.astype(int) - bone_colour(name)).max(axis=-1) <= 3).sum() > 500
    bone = (surfaces != (236, 239, 242)).any(axis=-1)
    assert 0.05 < bone.mean() < 0.6
    assert surfaces[bone].std(axis=0).min() > 10


def test_readiness_is_announced_after_the_views_are_open(page: Path):
    html = browse(page, *SOFTWARE_GL)
    assert "<title>READY</title>" in html and 'class="slot live"' in html


def test_without_webgl_the_page_keeps_its_pictures_and_says_so(page: Path):
    html = browse(page, "--disable-gpu", "--disable-3d-apis")
    assert "This browser offers no WebGL2; these are static pictures." in html
    assert 'class="slot live"' not in html and "<title>READY</title>" in html
