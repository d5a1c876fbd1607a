"""Curves of learning: the loss of every step, and what evaluation found, in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ipuc.render.chart import BACKGROUND, SERIES, Axis, Frame

#: Steps over which a loss is averaged: this share of all, so that the trend shows.
_SMOOTH = 0.02


@dataclass(frozen=True, slots=True)
class Curve:
    """One line.

    Attributes:
        name: for the legend.
        steps: where the values stand.
        values: losses.
        figure: for the legend: what came out at the end.
        smooth: show the running mean, and the values themselves faintly behind it.
    """

    name: str
    steps: NDArray[np.float64]
    values: NDArray[np.float64]
    figure: str = ""
    smooth: bool = False


def draw_curves(
    curves: Sequence[Curve], title: str, subtitle: Sequence[str], width: int = 1600
) -> Image.Image:
    """Draw curves over steps; values that are no numbers leave gaps.

    Args:
        curves: at least one, with at least one finite value.
        title: what is shown.
        subtitle: lines below it.
        width: of the picture in pixels.
    """
    known = [one for one in curves if np.isfinite(one.values).any()]
    last = max((float(one.steps.max()) for one in known), default=1.0)
    shown = [_shown(one, last) for one in known]
    high = max(
        (float(np.nanpercentile(values[np.isfinite(values)], 99.5)) for values in shown),
        default=1.0,
    )
    high = high * 1.05 if high > 0 else 1.0
    colours = SERIES[: len(curves)]
    frame = Frame(
        width,
        title,
        subtitle,
        Axis("step", 0, max(last, 1.0)),
        Axis("loss", 0, high),
        [(one.name, colour, one.figure) for one, colour in zip(curves, colours, strict=True)],
    )
    across, down = frame.plot_size
    plot = Image.new("RGB", (across, down), BACKGROUND)
    pen = ImageDraw.Draw(plot)
    thick = max(1, round(3 * frame.scale))
    places = dict(zip((one.name for one in curves), colours, strict=True))
    for one, values in zip(known, shown, strict=True):
        colour = places[one.name]
        if one.smooth:
            faint = tuple((c + 2 * b) // 3 for c, b in zip(colour, BACKGROUND, strict=True))
            _line(pen, one.steps, one.values, (last, high), (across, down), faint, 1)
        _line(pen, one.steps, values, (last, high), (across, down), colour, thick)
    return frame.draw(np.asarray(plot))


def _shown(curve: Curve, last: float) -> NDArray[np.float64]:
    """The values, or their mean over the steps before."""
    count = int(min(len(curve.values), max(1, last * _SMOOTH))) if curve.smooth else 1
    if count < 2:
        return curve.values
    sums = np.cumsum(np.concatenate([[0.0], curve.values]))
    end = np.arange(1, len(curve.values) + 1)
    begin = np.maximum(end - count, 0)
    mean: NDArray[np.float64] = (sums[end] - sums[begin]) / (end - begin)
    return mean


def _line(
    pen: ImageDraw.ImageDraw,
    steps: NDArray[np.float64],
    values: NDArray[np.float64],
    limits: tuple[float, float],
    size: tuple[int, int],
    colour: tuple[int, ...],
    thick: int,
) -> None:
    last, high = limits
    across, down = size
    x = steps / max(last, 1.0) * (across - 1)
    y = (1 - np.clip(values, 0, high * 2) / high) * (down - 1)
    good = np.isfinite(values)
    for run in np.split(np.arange(len(values)), np.flatnonzero(~good)):
        kept = run[good[run]]
        if len(kept) > 1:
            pen.line(np.column_stack([x[kept], y[kept]]).ravel().tolist(), colour, thick)
        elif len(kept):
            pen.point((float(x[kept[0]]), float(y[kept[0]])), colour)
