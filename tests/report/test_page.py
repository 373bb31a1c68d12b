"""The page as a text: complete, safe, self-contained, written whole."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from boneray.core.mesh import Mesh
from boneray.report.page import ReportCase, ReportTable, inline_json, inline_script, report_html, write_report
from boneray.report.serve import open_in_browser
from boneray.report.viewer import Viewer, viewer

FAKE = Viewer("0.0.0", "var niivue = '</script><!-- <script>';", "licence <of> the viewer")


@pytest.fixture(scope="module")
def compared_page(compared_case: ReportCase) -> str:
    table = ReportTable("Held-out accuracy", ("method", "Dice"), [("unet", 0.912), ("mean shape", None)], "40 cases")
    return report_html("Two <views>", [compared_case], [table], ["Phantom & data"], FAKE)


def test_the_page_says_what_it_is_and_what_went_wrong(compared_page: str):
    assert "Not a medical device" in compared_page
    assert "Phantom &amp; data" in compared_page
    assert "Missed: sacrum is in the reference but not in the reconstruction." in compared_page
    assert "The lateral view was taken at 90 degrees." in compared_page
    for text in ("Held-out accuracy", "mean shape", "40 cases", "HD95 (mm)", "not measurable: no shaft axis", "2.13.0"):
        assert text in compared_page


def test_both_radiographs_carry_both_outlines(compared_page: str):
    assert len(re.findall(r'<path class="outline reconstruction" d="M\d', compared_page)) == 2
    assert len(re.findall(r'<path class="outline reference" d="M\d', compared_page)) == 2
    assert "outline of the reference" in compared_page


def test_nothing_is_loaded_from_outside(compared_page: str):
    links = re.findall(r'(?:src|href)="([^"]*)"', compared_page)
    assert links and all(link.startswith(("data:", "#")) for link in links)


def test_names_are_escaped_and_scripts_cannot_end_early(plain_case: ReportCase):
    case = replace(plain_case, title="<script>alert(1)</script>", notes=("<b>bold</b>",))
    html = report_html("<i>t</i>", [case], [], [], FAKE)
    assert "<script>alert" not in html and "&lt;script&gt;alert(1)" in html
    assert "<b>bold" not in html and "<i>t" not in html
    assert r"<\/script><\!-- <script>" in html
    assert html.count("<script") - html.count("'<\\/script><\\!-- <script>") == html.count("</script>") == 3


def test_inlined_text_keeps_its_meaning():
    values = {"name": "</script><!-- & \u2028"}
    assert "<" not in inline_json(values) and json.loads(inline_json(values)) == values
    assert inline_script("a</re/.test('</SCRIPT>')") == r"a</re/.test('<\/SCRIPT>')"


def test_without_the_viewer_the_page_has_pictures_and_says_how_to_get_it(plain_case: ReportCase):
    html = report_html("t", [plain_case], [], [], None)
    assert "These are static pictures" in html and "<code>make</code>" in html
    assert 'class="scene"' not in html
    assert html.count('alt="shaded views') == 1
    assert "outline of the reference" not in html


def test_an_empty_reconstruction_is_said(plain_case: ReportCase):
    labels = replace(plain_case.prediction, data=np.zeros_like(plain_case.prediction.data))
    empty = Mesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))
    html = report_html("t", [replace(plain_case, prediction=labels, meshes={"femur_left": empty})], [], [], FAKE)
    assert "The reconstruction is empty" in html and "The surface of femur left is empty." in html


def test_the_file_is_written_whole_and_small(tmp_path: Path, compared_case: ReportCase):
    path = write_report(tmp_path / "report" / "index.html", title="t", cases=[compared_case])
    assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")
    assert path.stat().st_size < 8e6
    assert [file.name for file in path.parent.iterdir()] == ["index.html"]


def test_a_viewer_counts_only_when_complete(tmp_path: Path):
    assert viewer(tmp_path) is None
    for part, text in (("version", "1.2.3\n"), ("umd.js", "code"), ("LICENSE", "terms")):
        assert viewer(tmp_path) is None
        (tmp_path / f"niivue.{part}").write_text(text)
    assert viewer(tmp_path) == Viewer("1.2.3", "code", "terms")


def test_opening_names_the_path_when_no_browser_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    page = tmp_path / "index.html"
    page.write_text("<p>")
    monkeypatch.setattr("webbrowser.open", lambda uri: uri.startswith("file://") and False)
    assert str(page) in open_in_browser(page) and "no browser" in open_in_browser(page)
