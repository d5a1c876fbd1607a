"""A frame for charts: title, axes with units, ticks, bands, legend, and a plot of pixels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Pixels = NDArray[np.uint8]
Colour = tuple[int, int, int]

BACKGROUND: Colour = (16, 16, 20)
INK: Colour = (232, 227, 218)
FAINT: Colour = (150, 143, 136)
RULE: Colour = (84, 80, 84)
LIMIT: Colour = (255, 92, 92)
#: Bands along the horizontal axis take turns.
BANDS: tuple[Colour, Colour] = ((58, 56, 68), (40, 39, 48))

#: Colours of categories, told apart by brightness as well as by hue.
SERIES: tuple[Colour, ...] = (
    (70, 130, 190),
    (240, 170, 60),
    (120, 190, 120),
    (200, 110, 160),
    (235, 225, 150),
    (110, 200, 210),
    (170, 120, 80),
    (150, 140, 220),
    (220, 120, 90),
    (160, 160, 160),
    (90, 160, 110),
    (190, 190, 110),
    (100, 100, 150),
)

#: Width and height of a picture for which fonts and margins are given; others are scaled.
WIDTH, HEIGHT = 1600, 900
LEFT, RIGHT, TOP, BOTTOM = 130, 350, 158, 92
#: Sizes of letters.
_TITLE, _SUBTITLE, _AXIS, _LABEL, _BAND = 36, 20, 22, 20, 16
#: Letters shrink to this share of their size before words are cut.
_SMALLEST = 0.65
#: Height of the bands, which end just above the plot.
_BAND_HEIGHT = 26


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis: what it shows, in which unit, and its range."""

    title: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of the horizontal axis that has a name."""

    name: str
    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class Mark:
    """A level of the vertical axis that is drawn as a line, with words."""

    level: float
    text: str


@dataclass(frozen=True, slots=True)
class Frame:
    """A chart without its plot.

    Attributes:
        width: of the picture, in pixels; its height is 9/16 of that.
        title: what is shown.
        subtitle: lines that say of what, and on what grounds.
        x: the horizontal axis.
        y: the vertical axis; its low end is at the bottom.
        legend: (name, colour, figure), from top to bottom; the figure may be empty.
        bands: named stretches along the horizontal axis, drawn above the plot.
    """

    width: int
    title: str
    subtitle: Sequence[str]
    x: Axis
    y: Axis
    legend: Sequence[tuple[str, Colour, str]]
    bands: Sequence[Band] = ()

    @property
    def scale(self) -> float:
        """Pixels of this picture for one of the standard width."""
        return self.width / WIDTH

    @property
    def plot_size(self) -> tuple[int, int]:
        """Width and height of the plot in pixels."""
        across = round((WIDTH - LEFT - RIGHT) * self.scale)
        return max(across, 1), max(round((HEIGHT - TOP - BOTTOM) * self.scale), 1)

    @property
    def corner(self) -> tuple[int, int]:
        """Where the plot's upper left pixel is."""
        return round(LEFT * self.scale), round(TOP * self.scale)

    def draw(self, plot: Pixels, mark: Mark | None = None) -> Image.Image:
        """Put a plot into the frame.

        Args:
            plot: uint8[height, width, 3] of `plot_size`, its first row on top.
            mark: a level of the vertical axis to draw, if it is within the axis.
        """
        image = Image.new("RGB", (self.width, round(HEIGHT * self.scale)), BACKGROUND)
        left, top = self.corner
        image.paste(Image.fromarray(np.ascontiguousarray(plot)), (left, top))
        pen = ImageDraw.Draw(image)
        across, down = self.plot_size
        pen.rectangle((left - 1, top - 1, left + across, top + down), outline=RULE)
        room = self.width - left - 16 * self.scale
        self._text(pen, (left, 38 * self.scale), self.title, _TITLE, INK, "lm", room)
        for number, line in enumerate(self.subtitle):
            at = (left, (76 + 27 * number) * self.scale)
            self._text(pen, at, line, _SUBTITLE, FAINT, "lm", room)
        self._bands(pen)
        for value, label in ticks(self.x):
            x = left + (value - self.x.low) / (self.x.high - self.x.low) * across
            pen.line((x, top + down, x, top + down + 6 * self.scale), FAINT)
            self._text(pen, (x, top + down + 22 * self.scale), label, _LABEL, INK, "mm")
        for value, label in ticks(self.y):
            y = top + down - (value - self.y.low) / (self.y.high - self.y.low) * down
            pen.line((left - 6 * self.scale, y, left - 2, y), FAINT)
            self._text(pen, (left - 12 * self.scale, y), label, _LABEL, INK, "rm")
        below = (left + across / 2, top + down + 60 * self.scale)
        self._text(pen, below, self.x.title, _AXIS, INK, "mm")
        self._upright(image, self.y.title, (round(30 * self.scale), top + down // 2))
        if mark is not None and self.y.low <= mark.level <= self.y.high:
            self._mark(pen, mark)
        self._legend(pen)
        return image

    def _bands(self, pen: Any) -> None:
        """Draw named stretches above the plot; a name that has no room is left out."""
        left, top = self.corner
        across, _ = self.plot_size
        bottom = top - 4 * self.scale
        if self.bands:
            beside = (left - 12 * self.scale, bottom - _BAND_HEIGHT / 2 * self.scale)
            self._text(pen, beside, "layer", _LABEL, FAINT, "rm")
        for number, band in enumerate(self.bands):
            begin, end = (
                left + (value - self.x.low) / (self.x.high - self.x.low) * across
                for value in (band.begin, band.end)
            )
            box = (begin, bottom - _BAND_HEIGHT * self.scale, max(end - 1, begin), bottom)
            pen.rectangle(box, fill=BANDS[number % 2])
            font = self._font(_BAND)
            if font.getlength(band.name) <= end - begin - 4 * self.scale:
                middle = ((begin + end) / 2, (box[1] + box[3]) / 2)
                pen.text(middle, band.name, INK, font, anchor="mm")

    def _mark(self, pen: Any, mark: Mark) -> None:
        left, top = self.corner
        across, down = self.plot_size
        y = top + down - (mark.level - self.y.low) / (self.y.high - self.y.low) * down
        pen.line((left, y, left + across - 1, y), LIMIT, max(1, round(2 * self.scale)))
        # Within the plot, on a ground of its own: columns may reach that high.
        at = (left + 10 * self.scale, y - 15 * self.scale)
        font = self._font(_LABEL)
        pen.rectangle(pen.textbbox(at, mark.text, font, anchor="lm"), fill=BACKGROUND)
        pen.text(at, mark.text, LIMIT, font, anchor="lm")

    def _legend(self, pen: Any) -> None:
        left, top = self.corner
        across, _ = self.plot_size
        x, edge = left + across + 24 * self.scale, self.width - 20 * self.scale
        y = top + 12 * self.scale
        for name, colour, figure in self.legend:
            box = 16 * self.scale
            pen.rectangle((x, y - box / 2, x + box, y + box / 2), fill=colour)
            taken = self._font(_LABEL).getlength(figure) + 12 * self.scale if figure else 0.0
            words = x + 28 * self.scale
            self._text(pen, (words, y), name, _LABEL, INK, "lm", edge - taken - words)
            if figure:
                self._text(pen, (edge, y), figure, _LABEL, FAINT, "rm")
            y += 32 * self.scale

    def _font(self, size: float) -> Any:
        return ImageFont.load_default(max(size * self.scale, 4))

    def _text(
        self,
        pen: Any,
        at: tuple[float, float],
        text: str,
        size: int,
        colour: Colour,
        anchor: str,
        room: float = math.inf,
    ) -> None:
        """Write a line, smaller if it is too long for its room, and cut if that is too small."""
        font = self._font(size)
        length = font.getlength(text)
        if length > room:
            font = self._font(size * max(room / length, _SMALLEST))
            fits = max(int(len(text) * room / max(font.getlength(text), 1)), 0)
            # An estimate by the mean letter; narrow the rest letter by letter.
            while text and font.getlength(text) > room:
                text = f"{text[: min(fits, len(text)) - 4]}..." if fits > 4 else ""
                fits -= 1
        pen.text(at, text, colour, font, anchor=anchor)

    def _upright(self, image: Image.Image, text: str, centre: tuple[int, int]) -> None:
        """Write a word along the vertical axis."""
        font = self._font(_AXIS)
        left, top, right, bottom = (math.ceil(v) for v in font.getbbox(text))
        label = Image.new("RGB", (max(right - left, 1) + 4, max(bottom - top, 1) + 4), BACKGROUND)
        ImageDraw.Draw(label).text((2 - left, 2 - top), text, INK, font)
        turned = label.rotate(90, expand=True)
        image.paste(turned, (centre[0] - turned.width // 2, centre[1] - turned.height // 2))


def ticks(axis: Axis) -> list[tuple[float, str]]:
    """Four to ten round values of an axis, with their labels."""
    span = axis.high - axis.low
    step = 10.0 ** math.floor(math.log10(span / 4))
    for factor in (5, 2):
        if span / (step * factor) >= 4:
            step *= factor
            break
    first = math.ceil(axis.low / step)
    values = [n * step for n in range(first, math.floor(axis.high / step + 1e-9) + 1)]
    return [(value, f"{value:,.10g}") for value in values]


def stacked(
    layers: NDArray[np.float64], colours: Sequence[Colour], high: float, down: int
) -> Pixels:
    """Draw columns of stacked values.

    Args:
        layers: float[layers, columns], the lowest layer first.
        colours: of the layers.
        high: the value at the upper edge.
        down: height of the plot.

    Returns:
        uint8[down, columns, 3].
    """
    tops = np.cumsum(layers, axis=0) / high * down
    # The value in the middle of each pixel, from the top of the plot to its bottom.
    middle = down - np.arange(down) - 0.5
    under = (middle[:, None, None] < tops.T[None]).sum(axis=2)
    table = np.array([*reversed(colours), BACKGROUND], np.uint8)
    # A pixel is under `under` tops: all of them in the lowest layer, none above the columns.
    found: Pixels = table[np.where(under > 0, under - 1, len(colours))]
    return found


def columns(values: NDArray[Any], count: int) -> NDArray[np.int64]:
    """Which of the values each of `count` pixel columns shows: the largest of those it covers."""
    edges = np.arange(count + 1) * len(values) // count
    picked = [
        int(begin + np.argmax(values[begin : max(end, begin + 1)]))
        for begin, end in itertools.pairwise(edges.tolist())
    ]
    return np.array(picked, np.int64)


def runs(names: Sequence[str], lengths: Sequence[float]) -> list[Band]:
    """Bands of stretches of given lengths, one after another; neighbours of one name are one."""
    bands: list[Band] = []
    at = 0.0
    for name, length in zip(names, lengths, strict=True):
        begin = at
        at += length
        if bands and bands[-1].name == name:
            begin = bands.pop().begin
        bands.append(Band(name, begin, at))
    return bands
