"""The light of a scene: fields of density for many nodes, dots and lines for few.

Source: the reference notes' sections 3.6 and 9.3 for the many; the few are our own.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ipuc.render import raster
from ipuc.render.palettes import colour
from ipuc.render.place import DISC, Layout
from ipuc.render.scene import REGION, VERTEX, Scene

Floats = NDArray[np.float32]
Mode = Literal["density", "activity"]


def density_light(
    scene: Scene,
    layout: Layout,
    chosen: tuple[NDArray[np.int32], NDArray[np.int32]],
    stride: int,
    size: int,
    table: Floats,
    mode: Mode,
) -> Floats:
    """Paint many nodes as fields of density, activity and edges.

    Brightness is anchored to the disc's mean density, never to the brightest pixel, so that
    pictures of different graphs compare.

    Args:
        scene: nodes, edges and activity.
        layout: positions and light.
        chosen: ends of the edges to draw, one in `stride`.
        stride: how many edges each drawn one stands for.
        size: pixels per side.
        table: [steps, 3] ramp in linear light.
        mode: what the colour means.

    Returns:
        [size, size, 3] linear light.
    """
    xy = layout.xy * np.float32(size)
    mean = max(scene.nodes, 1) / (np.pi * (DISC * size) ** 2)
    # A picture finer than its nodes needs a wider blur, or the sea turns into loose grains.
    sigma = float(np.clip(0.45 / np.sqrt(mean), 0.8, 4))
    per_mean = np.float32(1 / mean)
    density = raster.blur(raster.points(xy, layout.light, size), sigma) * per_mean
    edge = np.zeros_like(density)
    vertex, region = chosen
    if vertex.size:
        light = layout.light[vertex] * np.float32(stride)
        edge = raster.lines(xy, vertex, region, light, size, samples=0.7, longest=60)
        edge = raster.blur(edge, 0.8)
        edge /= _quantile(edge, 0.8)
    if mode == "density":
        value = np.float32(0.40) * np.log2(1 + density) + np.float32(0.10) * np.log1p(edge)
        return colour(table, _shoulder(value))
    rank = ranks(scene.activity)
    busy = raster.blur(raster.points(xy, layout.light * rank, size), sigma) * per_mean
    hue = busy / np.maximum(density, np.float32(1e-6))
    hue += np.float32(0.04) * np.log1p(np.maximum(density - 3, 0))
    presence = 1 - np.exp(np.float32(-0.8) * density - np.float32(0.1) * edge)
    linear = colour(table, np.clip(hue, 0.12, 1)) * (presence ** np.float32(1.3))[..., None]
    linear += table[0] * (1 - presence)[..., None]
    return linear


def dots_light(
    scene: Scene,
    layout: Layout,
    chosen: tuple[NDArray[np.int32], NDArray[np.int32]],
    size: int,
    spacing: float,
    table: Floats,
    mode: Mode,
) -> Floats:
    """Paint few nodes as dots joined by lines, regions under vertices.

    Args:
        scene: nodes, edges and activity.
        layout: positions.
        chosen: ends of the edges to draw.
        size: pixels per side.
        spacing: mean distance of nodes in pixels.
        table: [steps, 3] ramp in linear light.
        mode: what the colour means.

    Returns:
        [size, size, 3] linear light.
    """
    xy = layout.xy * np.float32(size)
    radius = dot_radii(scene, xy, spacing, size)
    rank = ranks(scene.activity)
    linear = np.broadcast_to(table[0], (size, size, 3)).astype(np.float32)
    if chosen[0].size:
        width = float(np.clip(0.03 * spacing, 0.6, 2.5e-3 * size))
        light = np.ones(chosen[0].size, np.float32)
        edge = raster.lines(xy, *chosen, light, size, samples=2, longest=4e4, smooth=True)
        # Times sigma sqrt(2 pi): the middle of one lonely line becomes 1.
        edge = raster.blur(edge, width) * np.float32(width * np.sqrt(2 * np.pi))
        # Where thousands cross, each must be fainter, or they fill the cell with one flat tone.
        crowd = max(float(_quantile(edge, 0.9)), 1.0)
        edge *= np.float32(1 / crowd**0.6)
        alpha = np.float32(0.85) * np.clip(1.6 * edge, 0, 1)
        _over(linear, colour(table, 0.26 + 0.13 * np.log1p(edge)), alpha)
    for kind, tone in ((REGION, 0.60), (VERTEX, 0.92)):
        members = np.flatnonzero(scene.kind == kind)
        value = np.full(members.size, tone, np.float32)
        if mode == "activity":
            value = (0.2 + 0.8 * rank[members]).astype(np.float32)
        cover, total = raster.discs(xy[members], radius[members], value, size)
        _over(linear, colour(table, total / np.maximum(cover, 1e-6)), np.minimum(cover, 1))
    return linear


def dot_radii(scene: Scene, xy: Floats, spacing: float, size: int) -> Floats:
    """Size dots by the room round them: [n] radii in pixels, vertices larger than regions."""
    # Density on a grid of about four nodes a cell, smoothed, says how much room there is.
    grid = int(np.clip(np.sqrt(scene.nodes / 4), 1, 256))
    scaled = xy * np.float32(grid / size)
    count = raster.points(scaled, np.ones(scene.nodes, np.float32), grid)
    if grid >= 8:
        count = raster.blur(count, 0.7)
    at = np.clip(scaled.astype(np.int32), 0, grid - 1)
    local = size / grid / np.sqrt(np.maximum(count[at[:, 1], at[:, 0]], 0.5))
    room = np.minimum(local, 1.2 * spacing)
    part = np.where(scene.kind == VERTEX, 0.30, 0.19)
    largest = np.where(scene.kind == VERTEX, size / 70, size / 100)
    return np.asarray(np.clip(part * room, 0.7, largest), np.float32)


def ranks(values: Floats) -> Floats:
    """Rank of every value from 0 to 1; equal values share their mean rank."""
    if values.size < 2:
        return np.full(values.size, 0.5, np.float32)
    _, inverse, count = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(count) - 0.5 * (count + 1)
    return np.asarray((middle / (values.size - 1))[inverse], np.float32)


def _shoulder(value: Floats) -> Floats:
    """Bend values over 0.75 towards 1, so that nuclei of any density keep their grain."""
    over = np.maximum(value - np.float32(0.75), 0)
    bent = 0.25 * (1 - np.exp(-over / np.float32(0.4)))
    return np.asarray(np.minimum(value, 0.75) + bent, np.float32)


def _quantile(field: Floats, part: float) -> np.float32:
    """A quantile of the lit pixels, on a quarter of them; 1 if all is dark."""
    lit = field[::2, ::2]
    lit = lit[lit > 1e-6 * max(float(lit.max(initial=0)), 1e-30)]
    return np.float32(max(float(np.quantile(lit, part)), 1e-12)) if lit.size else np.float32(1)


def _over(linear: Floats, light: Floats, alpha: Floats) -> None:
    """Lay a layer over the picture in place."""
    cover = alpha[..., None].astype(np.float32)
    linear *= 1 - cover
    linear += light * cover
