"""A drawing of lines, boxes, discs, text and pictures, written as SVG and as PNG from the same list of strokes."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal
from xml.sax.saxutils import escape

from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
Point = tuple[float, float]
Anchor = Literal["start", "middle", "end"]

INK: Colour = (27, 31, 36)
QUIET: Colour = (89, 98, 109)
RULE: Colour = (217, 221, 226)
SOFT: Colour = (243, 245, 247)
ALARM: Colour = (163, 38, 15)
WHITE: Colour = (255, 255, 255)
# distinguishable with any colour vision; Wong 2011, doi:10.1038/nmeth.1618, and four darker ones behind
PALETTE: tuple[Colour, ...] = (
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (230, 159, 0),
    (86, 180, 233),
    (106, 81, 163),
    (120, 94, 60),
    (60, 110, 60),
    (140, 30, 60),
)
FONT_FAMILY = "system-ui, 'Helvetica Neue', Arial, sans-serif"
PNG_SCALE = 2
OVERSAMPLING = 2


@dataclass(frozen=True)
class Stroke:
    """One thing to draw; what `points` mean depends on `kind`: line, area, disc, text, picture."""

    kind: Literal["line", "area", "disc", "text", "picture"]
    points: tuple[Point, ...]
    colour: Colour
    size: float = 1.0
    text: str = ""
    anchor: Anchor = "start"
    bold: bool = False
    edge: Colour | None = None
    png: bytes = b""


@dataclass
class Drawing:
    """A white sheet of `width` x `height` units, y downwards."""

    width: float
    height: float
    title: str
    strokes: list[Stroke] = field(default_factory=list)

    def line(self, points: Sequence[Point], colour: Colour = INK, width: float = 1.0) -> None:
        """A polyline."""
        self.strokes.append(Stroke("line", tuple(points), colour, width))

    def area(self, points: Sequence[Point], colour: Colour) -> None:
        """A filled polygon."""
        self.strokes.append(Stroke("area", tuple(points), colour))

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """A filled rectangle."""
        self.area([(left, top), (right, top), (right, bottom), (left, bottom)], colour)

    def disc(self, centre: Point, radius: float, colour: Colour, edge: Colour | None = None) -> None:
        """A filled circle, with an edge of one unit if asked for."""
        self.strokes.append(Stroke("disc", (centre,), colour, radius, edge=edge))

    def text(
        self,
        at: Point,
        text: str,
        *,
        size: float = 12.0,
        colour: Colour = INK,
        anchor: Anchor = "start",
        bold: bool = False,
    ) -> None:
        """One line of text; `at` is on its left, middle or right, halfway up its small letters."""
        self.strokes.append(Stroke("text", (at,), colour, size, text, anchor, bold))

    def picture(self, left: float, top: float, right: float, bottom: float, png: bytes) -> None:
        """A PNG stretched over a rectangle; where it is transparent, what is below it shows."""
        self.strokes.append(Stroke("picture", ((left, top), (right, bottom)), WHITE, png=png))

    def svg(self) -> str:
        """The drawing as an SVG document."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_n(self.width)} {_n(self.height)}" '
            f'width="{_n(self.width)}" height="{_n(self.height)}" role="img" font-family="{FONT_FAMILY}">'
        )
        ground = f'<rect width="{_n(self.width)}" height="{_n(self.height)}" fill="#ffffff"/>'
        parts = [head, f"<title>{escape(self.title)}</title>", ground, *map(_svg, self.strokes), "</svg>"]
        return "\n".join(parts) + "\n"

    def png(self) -> bytes:
        """The drawing as PNG, two pixels per unit."""
        scale = PNG_SCALE * OVERSAMPLING
        image = Image.new("RGB", (round(self.width * scale), round(self.height * scale)), WHITE)
        pen = ImageDraw.Draw(image)
        for stroke in self.strokes:
            if stroke.kind == "picture":
                _paste(image, stroke, scale)
            else:
                _paint(pen, stroke, scale)
        buffer = io.BytesIO()
        image.reduce(OVERSAMPLING).save(buffer, format="PNG")
        return buffer.getvalue()


def text_width(text: str, size: float = 12.0) -> float:
    """Width of a line of text in units, as the PNG sets it; other fonts differ by a few per cent."""
    return float(_font(64).getlength(text)) * size / 64


def tint(colour: Colour, share: float) -> Colour:
    """The colour mixed with white; 1 is the colour itself."""
    mixed = [round(255 - share * (255 - channel)) for channel in colour]
    return mixed[0], mixed[1], mixed[2]


def colour_of(index: int) -> Colour:
    """The colour of the index-th thing; they repeat after ten."""
    return PALETTE[index % len(PALETTE)]


def round_steps(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers from `low` or less to `high` or more; 1, 2 or 5 times a power of ten apart."""
    if not high > low:
        low, high = low - 0.5, high + 0.5
    rough = (high - low) / count
    power = 10.0 ** int(f"{rough:e}".split("e")[1])
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.999)
    first, last = int(low // step), -int(-high // step)
    return [round(i * step, 12) for i in range(first, last + 1)]


def _svg(stroke: Stroke) -> str:
    fill = "#{:02x}{:02x}{:02x}".format(*stroke.colour)
    if stroke.kind == "text":
        (x, y) = stroke.points[0]
        weight = ' font-weight="600"' if stroke.bold else ""
        return (
            f'<text x="{_n(x)}" y="{_n(y + 0.35 * stroke.size)}" font-size="{_n(stroke.size)}" fill="{fill}" '
            f'text-anchor="{stroke.anchor}"{weight}>{escape(stroke.text)}</text>'
        )
    if stroke.kind == "disc":
        (x, y) = stroke.points[0]
        edge = ' stroke="#{:02x}{:02x}{:02x}"'.format(*stroke.edge) if stroke.edge else ""
        return f'<circle cx="{_n(x)}" cy="{_n(y)}" r="{_n(stroke.size)}" fill="{fill}"{edge}/>'
    if stroke.kind == "picture":
        (left, top), (right, bottom) = stroke.points
        data = base64.b64encode(stroke.png).decode()
        box = f'x="{_n(left)}" y="{_n(top)}" width="{_n(right - left)}" height="{_n(bottom - top)}"'
        return f'<image {box} preserveAspectRatio="none" href="data:image/png;base64,{data}"/>'
    path = "M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in stroke.points)
    if stroke.kind == "area":
        return f'<path d="{path}Z" fill="{fill}"/>'
    return f'<path d="{path}" fill="none" stroke="{fill}" stroke-width="{_n(stroke.size)}" stroke-linejoin="round"/>'


def _paint(pen: ImageDraw.ImageDraw, stroke: Stroke, scale: int) -> None:
    points = [(x * scale, y * scale) for x, y in stroke.points]
    if stroke.kind == "line":
        pen.line(points, fill=stroke.colour, width=max(1, round(stroke.size * scale)), joint="curve")
    elif stroke.kind == "area":
        pen.polygon(points, fill=stroke.colour)
    elif stroke.kind == "disc":
        (x, y), r = points[0], stroke.size * scale
        pen.ellipse((x - r, y - r, x + r, y + r), fill=stroke.colour, outline=stroke.edge, width=scale)
    else:
        anchor = {"start": "l", "middle": "m", "end": "r"}[stroke.anchor]
        (x, y), thick = points[0], round(0.02 * stroke.size * scale) if stroke.bold else 0
        y += 0.35 * stroke.size * scale
        font = _font(round(stroke.size * scale))
        pen.text((x, y), stroke.text, fill=stroke.colour, font=font, anchor=f"{anchor}s", stroke_width=thick)


def _paste(image: Image.Image, stroke: Stroke, scale: int) -> None:
    (left, top), (right, bottom) = ((round(x * scale), round(y * scale)) for x, y in stroke.points)
    shown = Image.open(io.BytesIO(stroke.png)).convert("RGBA").resize((right - left, bottom - top))
    image.paste(shown, (left, top), shown)


@lru_cache(maxsize=32)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _n(value: float) -> str:
    """A coordinate with two digits at most."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
