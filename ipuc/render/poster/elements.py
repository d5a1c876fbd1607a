"""What a poster is made of: one description that becomes pixels, or SVG."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal

from PIL import Image, ImageFont

from ipuc.render.palettes import Rgb

Point = tuple[float, float]

#: Which point of a line of text is given: left end, middle or right end of its baseline.
Anchor = Literal["left", "middle", "right"]

_FONTS = Path(__file__).parent / "fonts"

#: Height of the letters over the baseline, as a share of the font's size.
ASCENT = 0.76


@dataclass(frozen=True, slots=True)
class Text:
    """A line of text."""

    at: Point
    text: str
    size: float
    colour: Rgb
    bold: bool = False
    anchor: Anchor = "left"

    def __post_init__(self) -> None:
        """Names come from files of strangers, and titles from shells: no font has a line break."""
        object.__setattr__(self, "text", one_line(self.text))


@dataclass(frozen=True, slots=True)
class Line:
    """A line through points."""

    points: tuple[Point, ...]
    width: float
    colour: Rgb


@dataclass(frozen=True, slots=True)
class Dot:
    """A filled disc."""

    at: Point
    radius: float
    colour: Rgb


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle: its outline, or filled if `width` is 0."""

    corner: Point
    size: Point
    colour: Rgb
    width: float = 0.0


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar filled with colours from left to right."""

    corner: Point
    size: Point
    colours: tuple[Rgb, ...]


@dataclass(frozen=True, slots=True)
class Raster:
    """A picture of pixels; `at` is its upper left corner."""

    at: tuple[int, int]
    image: Image.Image


Element = Text | Line | Dot | Box | Bar | Raster


@dataclass(slots=True)
class Poster:
    """A page: size in pixels, ground (None: transparent), and elements from back to front."""

    width: int
    height: int
    ground: Rgb | None
    elements: list[Element] = field(default_factory=list)


@lru_cache(maxsize=64)
def font(size: float, bold: bool) -> ImageFont.FreeTypeFont:
    """The font of all posters, DejaVu Sans, which comes with the package."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(_FONTS / name), max(size, 1.0), ImageFont.Layout.BASIC)


def text_width(text: str, size: float, bold: bool = False) -> float:
    """Pixels that a line of text takes across."""
    return float(font(size, bold).getlength(one_line(text)))


def one_line(text: str) -> str:
    """Text as it can be drawn: white space becomes a space, what cannot be printed a mark."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)
