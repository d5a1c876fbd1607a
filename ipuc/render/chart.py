"""A frame for charts: title, axes with units, ticks, legend, and a plot of pixels."""

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
INK: Colour = (226, 220, 210)
FAINT: Colour = (120, 114, 108)
LIMIT: Colour = (255, 92, 92)

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
_WIDTH, _HEIGHT = 1600, 900
_LEFT, _RIGHT, _TOP, _BOTTOM = 120, 330, 96, 80


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis: what it shows, in which unit, and its range."""

    title: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Frame:
    """A chart without its plot.

    Attributes:
        width: of the picture, in pixels; its height is 9/16 of that.
        title: what is shown.
        subtitle: of what, and on what grounds.
        x: the horizontal axis.
        y: the vertical axis; its low end is at the bottom.
        legend: (name, colour), from top to bottom.
    """

    width: int
    title: str
    subtitle: str
    x: Axis
    y: Axis
    legend: Sequence[tuple[str, Colour]]

    @property
    def scale(self) -> float:
        """Pixels of this picture for one of the standard width."""
        return self.width / _WIDTH

    @property
    def plot_size(self) -> tuple[int, int]:
        """Width and height of the plot in pixels."""
        across = round((_WIDTH - _LEFT - _RIGHT) * self.scale)
        return max(across, 1), max(round((_HEIGHT - _TOP - _BOTTOM) * self.scale), 1)

    def draw(self, plot: Pixels, line: float | None = None) -> Image.Image:
        """Put a plot into the frame.

        Args:
            plot: uint8[height, width, 3] of `plot_size`, its first row on top.
            line: a level of the vertical axis to mark, if it is within the axis.
        """
        size = (self.width, round(_HEIGHT * self.scale))
        image = Image.new("RGB", size, BACKGROUND)
        left, top = round(_LEFT * self.scale), round(_TOP * self.scale)
        image.paste(Image.fromarray(np.ascontiguousarray(plot)), (left, top))
        pen = ImageDraw.Draw(image)
        across, down = self.plot_size
        pen.rectangle((left - 1, top - 1, left + across, top + down), outline=FAINT)
        self._text(pen, (left, top * 0.36), self.title, 26, INK, "lm")
        self._text(pen, (left, top * 0.74), self.subtitle, 16, FAINT, "lm")
        for value, label in ticks(self.x):
            x = left + (value - self.x.low) / (self.x.high - self.x.low) * across
            pen.line((x, top + down, x, top + down + 6 * self.scale), FAINT)
            at = (x, top + down + 20 * self.scale)
            self._text(pen, at, label, 16, INK, "mm")
        for value, label in ticks(self.y):
            y = top + down - (value - self.y.low) / (self.y.high - self.y.low) * down
            pen.line((left - 6 * self.scale, y, left - 2, y), FAINT)
            self._text(pen, (left - 10 * self.scale, y), label, 16, INK, "rm")
        below = (left + across / 2, top + down + 52 * self.scale)
        self._text(pen, below, self.x.title, 18, INK, "mm")
        self._upright(image, self.y.title, (round(24 * self.scale), top + down // 2))
        if line is not None and self.y.low <= line <= self.y.high:
            y = top + down - (line - self.y.low) / (self.y.high - self.y.low) * down
            pen.line((left, y, left + across, y), LIMIT, max(1, round(2 * self.scale)))
        x, y = left + across + 24 * self.scale, top + 10 * self.scale
        for name, colour in self.legend:
            box = 14 * self.scale
            pen.rectangle((x, y - box / 2, x + box, y + box / 2), fill=colour)
            self._text(pen, (x + 24 * self.scale, y), name, 16, INK, "lm")
            y += 28 * self.scale
        return image

    def _text(
        self, pen: Any, at: tuple[float, float], text: str, size: int, colour: Colour, anchor: str
    ) -> None:
        font = ImageFont.load_default(max(size * self.scale, 4))
        pen.text(at, text, colour, font, anchor=anchor)

    def _upright(self, image: Image.Image, text: str, centre: tuple[int, int]) -> None:
        """Write a word along the vertical axis."""
        font = ImageFont.load_default(max(18 * self.scale, 4))
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
