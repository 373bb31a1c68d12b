"""Draws the pictures of docs/projection.md into docs/images.

python docs/projection_pictures.py [peers.json]: with the file that `make bench-peers` writes, also the bars of speed.
"""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from boneray.core.camera import orbit_camera
from boneray.core.seeds import generator
from boneray.core.volume import LabelMap, Volume
from boneray.io.files import write_text
from boneray.phantom.patient import make_patient
from boneray.projection.attenuation import tables
from boneray.projection.depth import depth_maps
from boneray.projection.detector import Scatter, signal
from boneray.projection.maximum import ray_maxima
from boneray.projection.render import Exposure, expose, render
from boneray.projection.spectrum import Beam
from boneray.report.drawing import PALETTE, QUIET, RULE, Drawing

IMAGES = Path(__file__).with_name("images")


def main(arguments: list[str]) -> None:
    write_text(IMAGES / "half-value-layers.svg", half_value_layers().svg())
    write_text(IMAGES / "energies.svg", energies().svg())
    projections().save(IMAGES / "projections.png", optimize=True)
    if arguments:
        write_text(IMAGES / "projection-speed.svg", speed(json.loads(Path(arguments[0]).read_text())).svg())


def half_value_layers() -> Drawing:
    """Curves of ours, dots of spekpy."""
    sheet, x, y = axes("Half-value layer of the beam, mm Al", "tube voltage, kVp", (60, 140, 20), (0, 8, 2))
    for index, filtration in enumerate((1.0, 2.5, 3.5, 5.0)):
        kvp = np.linspace(60, 140, 33)
        layers = [Beam(v, filtration).half_value_layer_mm() for v in kvp]
        sheet.line([(x(v), y(layer)) for v, layer in zip(kvp, layers, strict=True)], PALETTE[index], 2)
        sheet.text((x(140) + 8, y(layers[-1])), f"{filtration:g} mm Al", size=11, colour=PALETTE[index])
    for made in tables()["checks"]["spectra"]:
        if made["half_value_layer_al_mm"] <= 8:
            sheet.disc((x(made["kvp"]), y(made["half_value_layer_al_mm"])), 3.5, (255, 255, 255), edge=(27, 31, 36))
    sheet.text((x(62), y(7.6)), "lines: boneray, circles: spekpy (1 to 10 mm Al)", size=11, colour=QUIET)
    return sheet


def energies() -> Drawing:
    """Error of a reduced spectrum against all its energies, on a logarithmic scale."""
    counts = (1, 2, 3, 4, 6, 8, 12, 16)
    sheet, x, y = axes(
        "Largest error of -ln I, 0-30 cm water, 0-5 cm bone", "energies", (0, 16, 4), (-5, 1, 1), "1e{:g}"
    )
    water, bone = np.meshgrid(np.linspace(0, 30, 31), np.linspace(0, 5, 26), indexing="ij")
    thickness = np.stack([water, 1.92 * bone])
    for index, kvp in enumerate((60, 100, 140)):
        full = np.log(signal(thickness, ["water", "bone"], Beam(kvp, 2.5, 1000)))
        errors = [np.abs(np.log(signal(thickness, ["water", "bone"], Beam(kvp, 2.5, n))) - full).max() for n in counts]
        points = [(x(n), y(np.log10(max(error, 1e-5)))) for n, error in zip(counts, errors, strict=True)]
        sheet.line(points, PALETTE[index], 2)
        for point in points:
            sheet.disc(point, 3, PALETTE[index])
        sheet.text((x(13), y(0.6 - 0.5 * index)), f"{kvp} kVp", size=11, colour=PALETTE[index])
    sheet.line([(x(0), y(-2)), (x(16), y(-2))], (163, 38, 15), 1)
    sheet.text((x(16) + 6, y(-2)), "bar .01", size=11, colour=(163, 38, 15))
    return sheet


def projections() -> Image.Image:
    """A phantom pelvis six ways: AP, lateral, with noise and scatter, maximum, front and back depth."""
    case = make_patient("pelvis", seed=1, number=0, voxels=160)
    ct, labels = case.ct, case.labels
    assert isinstance(ct, Volume) and isinstance(labels, LabelMap)
    size = {"detector_shape": (300, 300), "detector_mm": (480.0, 480.0), "centre_mm": ct.grid.centre_mm}
    ap, lat = orbit_camera(0.0, **size), orbit_camera(90.0, **size)
    exposure = Exposure(Beam(80.0), photons=3000, blur_px=0.7, scatter=Scatter(1.0))
    depth = depth_maps(labels, ap)
    front, back = np.fmin.reduce(depth.front_mm), np.fmax.reduce(depth.back_mm)
    panels = {
        "line integrals, AP": render(ct, ap).line_integrals,
        "lateral": render(ct, lat).line_integrals,
        "80 kVp, noise, scatter": expose(ct, [ap], exposure, generator(0, "docs"))[0].line_integrals,
        "maximum": ray_maxima(ct.data + 1000.0, ct.grid, ap),
        "front depth": np.nan_to_num(np.nanmax(back) - front, nan=0.0),
        "thickness": np.nan_to_num(back - front, nan=0.0),
    }
    sheet = Image.new("L", (3 * 308 - 8, 2 * 308 - 8), 255)
    for number, (name, values) in enumerate(panels.items()):
        low, high = np.percentile(values, (0.5, 99.7))
        tile = Image.fromarray(np.round(255 * np.clip((values - low) / (high - low), 0, 1)).astype(np.uint8))
        ImageDraw.Draw(tile).text((8, 6), name, 255, ImageFont.load_default(16), stroke_width=2, stroke_fill=0)
        sheet.paste(tile, (308 * (number % 3), 308 * (number // 3)))
    return sheet


def speed(peers: dict) -> Drawing:
    """CPU time of each projector as a bar, by volume and view."""
    rows = peers["warm"]
    names = list(rows[0]["cpu_ms"])
    height = 40 + len(rows) * (22 * len(names) + 30)
    sheet = Drawing(760, height, "CPU time of one projection")
    sheet.text((16, 22), "CPU time of one 256 x 256 radiograph, ms (logarithmic)", size=15, bold=True)
    most = np.log10(max(ms for row in rows for ms in row["cpu_ms"].values()))
    top = 44.0
    for row in rows:
        sheet.text((16, top + 8), f"{row['voxels']}³ voxels, {row['view']}", bold=True)
        top += 22
        for index, name in enumerate(names):
            ms = row["cpu_ms"][name]
            end = 140 + 430 * max(np.log10(ms), 0.05) / most
            sheet.box(140, top + 2, end, top + 18, PALETTE[index])
            sheet.text((132, top + 10), name, size=11, anchor="end", colour=QUIET)
            sheet.text((end + 6, top + 10), f"{ms:.0f} ms = {ms / row['cpu_ms']['boneray']:.1f} x", size=11)
            top += 22
        top += 8
    return sheet


def axes(title: str, below: str, across: tuple, up: tuple, form: str = "{:g}"):
    """A sheet with two axes from (first, last, step), and the functions from values to places."""
    sheet = Drawing(560, 340, title)
    sheet.text((16, 22), title, size=15, bold=True)

    def x(value: float) -> float:
        return 60 + 400 * (value - across[0]) / (across[1] - across[0])

    def y(value: float) -> float:
        return 290 - 240 * (value - up[0]) / (up[1] - up[0])

    for value in np.arange(across[0], across[1] + 1e-9, across[2]):
        sheet.line([(x(value), y(up[0])), (x(value), y(up[1]))], RULE)
        sheet.text((x(value), 304), f"{value:g}", size=11, colour=QUIET, anchor="middle")
    for value in np.arange(up[0], up[1] + 1e-9, up[2]):
        sheet.line([(x(across[0]), y(value)), (x(across[1]), y(value))], RULE)
        sheet.text((52, y(value)), form.format(value), size=11, colour=QUIET, anchor="end")
    sheet.text((260, 326), below, size=12, anchor="middle")
    return sheet, x, y


if __name__ == "__main__":
    main(sys.argv[1:])
