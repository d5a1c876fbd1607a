"""The light of a scene: fields of density for many nodes, dots and lines for few.

Source: the reference notes' sections 3.6 and 9.3 for the many; the few are our own. Nodes and edges
are taken block by block, so that memory is that of the canvases.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ipuc.render import raster
from ipuc.render.colouring import Colouring, bytes_of
from ipuc.render.palettes import colour
from ipuc.render.place import DISC, Layout
from ipuc.render.raster import View
from ipuc.render.scene import REGION, VERTEX, Scene

Floats = NDArray[np.float32]
Int32s = NDArray[np.int32]
Told = Callable[[float], None]

#: Nodes, or rows of pixels times a thousand, handled at once.
_BLOCK = 1 << 21

#: Pixels to which a line shines fully; of a longer one, every pixel gets less.
_LONGEST = 60.0

#: Place on the ramp of what does least: below it, tissue would not stand out from its ground.
_QUIET = np.float32(0.18)

#: Places on the ramp of dots that are coloured by kind.
REGION_TONE, VERTEX_TONE = 0.60, 0.92

#: Share of a pixel's colour that its rank among pixels decides; the rest is its value.
_SPREAD = 0.75

#: Blur of the colour, in mean distances of nodes.
_TISSUE = 1.8

#: Samples for a pixel of length.
_SAMPLES = 0.7


@dataclass(frozen=True, slots=True)
class Exposure:
    """What many nodes and edges leave on the pixels of a view.

    Attributes:
        density: [h, w] light of nodes in units of the disc's mean.
        edge: [h, w] light of edges; 1 is what a fifth of the lit pixels reach.
        hue: [k, h, w] colour of nodes and edges, times the light of `weight`.
        weight: [h, w] light that `hue` is an average over.
        curve: [2, q] place on the ramp (second row) of a mean value (first row); None for classes.
        drawn_edges: edges that fell into the view and were drawn.
    """

    density: Floats
    edge: Floats
    hue: Floats
    weight: Floats
    curve: Floats | None
    drawn_edges: int


def expose(
    scene: Scene,
    layout: Layout,
    view: View,
    colouring: Colouring | None,
    stride: int,
    told: Told = lambda _: None,
    curve: Floats | None = None,
) -> Exposure:
    """Put the light of all nodes, and of one edge in `stride`, on a canvas.

    Density is in units of the disc's mean, never of the brightest pixel, so that pictures of
    different graphs compare. An edge's light grows with the bytes that it carries.

    Args:
        scene: nodes and edges.
        layout: positions and light.
        view: which part, and how large.
        colouring: colours of nodes; None if only density is wanted.
        stride: one edge in this many is drawn, chosen by a hash of its number.
        told: is told the finished fraction.
        curve: places on the ramp, from the picture of which this one is a part.
    """
    channels = colouring.channels if colouring else 0
    mean = mean_density(scene, view)
    # A picture finer than its nodes needs a wider blur, or the sea turns into loose grains.
    sigma = float(np.clip(0.6 / np.sqrt(mean), 0.8, 4))
    points = np.zeros((1 + channels, *view.shape), np.float32)
    for nodes in blocks(scene.nodes):
        at = view.pixels(layout.xy[nodes])
        raster.deposit(points, at, _light_of(layout.light[nodes], colouring, nodes))
    told(0.1)
    lines = np.zeros_like(points)
    drawn = 0
    seen = 0
    for vertex, region in chosen_edges(scene, stride):
        low, high = view.pixels(layout.xy[vertex]), view.pixels(layout.xy[region])
        inside = _near(low, high, view)
        light = layout.light[vertex] * _burden(scene, region)
        raster.lines(
            lines,
            low[inside],
            high[inside],
            _light_of(light[inside], colouring, vertex[inside]),
            samples=_SAMPLES,
            longest=_LONGEST,
        )
        drawn += int(np.count_nonzero(inside))
        seen += vertex.size * stride
        told(0.1 + 0.6 * min(seen / max(scene.edges, 1), 1.0))
    for plane in points:
        plane[:] = raster.blur(plane, sigma) * np.float32(1 / mean)
    for plane in lines:
        plane[:] = raster.blur(plane, 0.8)
    lines /= _quantile(lines[0], 0.8)
    told(0.8)
    # Filaments take the colour of what they join, but a cell's nodes outweigh them.
    share = np.float32(0.12)
    hue = points[1:] + share * lines[1:]
    weight = points[0] + share * lines[0]
    if channels == 1:
        # A tissue has one colour: nodes' own would mix to grey when the picture is seen from afar.
        # Grain is a matter of light.
        wide = float(np.clip(_TISSUE / np.sqrt(mean), sigma, max(view.scale / 250, sigma)))
        for plane in (hue[0], weight):
            plane[:] = np.maximum(raster.blur(plane, wide), 0)
        if curve is None:
            curve = _spread(hue[0], weight, points[0])
    return Exposure(points[0], lines[0], hue, weight, curve, drawn)


def mean_density(scene: Scene, view: View) -> float:
    """Nodes for a pixel, on the average of the disc."""
    return max(scene.nodes, 1) / (np.pi * (DISC * view.scale) ** 2)


def blocks(count: int) -> Iterator[slice]:
    """Cut a range of nodes."""
    for first in range(0, count, _BLOCK):
        yield slice(first, min(first + _BLOCK, count))


def chosen_edges(scene: Scene, stride: int) -> Iterator[tuple[Int32s, Int32s]]:
    """One edge in `stride`, by a hash of its number: a step would follow the graph's order."""
    first = 0
    for vertex, region in scene.edge_blocks():
        if stride > 1:
            number = np.arange(first, first + vertex.size, dtype=np.uint64)
            mixed = (number * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)
            keep = mixed * np.uint64(stride) < np.uint64(1 << 24)
            yield vertex[keep], region[keep]
        else:
            yield vertex, region
        first += vertex.size


def shade(exposure: Exposure, table: Floats, colouring: Colouring | None, rows: slice) -> Floats:
    """Turn some rows of an exposure into light: [rows, w, 3], linear."""
    density = np.maximum(exposure.density[rows], 0)
    edge = np.maximum(exposure.edge[rows], 0)
    # Lone strands, in moats and sea, must show beside nodes: their light is compressed most.
    strands = np.log1p(3 * edge)
    tone = np.float32(0.60) * np.log2(1 + density) + np.float32(0.09) * strands
    if colouring is None:
        return colour(table, _shoulder(tone))
    presence = (1 - np.exp(-density - np.float32(0.14) * strands)) ** np.float32(1.25)
    hue = np.maximum(exposure.hue[:, rows], 0) / np.maximum(exposure.weight[rows], 1e-6)
    if colouring.channels == 1:
        value = _QUIET + (1 - _QUIET) * along(exposure.curve, hue[0])
        value += np.float32(0.04) * np.log1p(np.maximum(density - 3, 0))
        linear = colour(table, np.clip(value, 0, 1)) * presence[..., None]
    else:
        # Classes have one brightness each, so density must show in theirs: dim sea, full tissue,
        # and nuclei on their way to white.
        linear = np.moveaxis(hue, 0, -1) * np.clip(1.25 * tone, 0, 1)[..., None]
        linear += (1 - linear) * (0.55 * np.clip(tone - 0.9, 0, 1))[..., None]
    linear += table[0] * (1 - presence)[..., None]
    return np.asarray(linear, np.float32)


def dots(
    scene: Scene,
    layout: Layout,
    view: View,
    table: Floats,
    colouring: Colouring | None,
    curve: Floats | None = None,
) -> tuple[Floats, int]:
    """Paint few nodes as dots joined by lines, regions under vertices.

    Args:
        scene: nodes and edges.
        layout: positions.
        view: which part, and how large.
        table: [steps, 3] ramp in linear light.
        colouring: colours of nodes; None to colour by kind.
        curve: places on the ramp, from the picture of which this one is a part.

    Returns:
        [h, w, 3] linear light, and how many edges were drawn.
    """
    spacing = float(1 / np.sqrt(mean_density(scene, view)))
    radius = dot_radii(scene, layout.xy, spacing / view.scale) * np.float32(view.scale)
    linear = np.broadcast_to(table[0], (*view.shape, 3)).astype(np.float32)
    width = float(np.clip(0.03 * spacing, 0.6, 2.5e-3 * view.scale))
    strands = np.zeros((1, *view.shape), np.float32)
    drawn = 0
    for vertex, region in scene.edge_blocks():
        low, high = view.pixels(layout.xy[vertex]), view.pixels(layout.xy[region])
        inside = _near(low, high, view)
        light = np.ones((1, int(np.count_nonzero(inside))), np.float32)
        ends = low[inside], high[inside]
        raster.lines(strands, *ends, light, samples=2, longest=4e4, smooth=True)
        drawn += light.size
    if drawn:
        # Times sigma sqrt(2 pi): the middle of one lonely line becomes 1.
        edge = raster.blur(strands[0], width) * np.float32(width * np.sqrt(2 * np.pi))
        # Where thousands cross, each must be fainter, or they fill the cell with one flat tone.
        crowd = max(float(_quantile(edge, 0.9)), 1.0)
        edge *= np.float32(1 / crowd**0.6)
        # Strands have the ramp's colours; beside dots that mean something they stand back.
        strong = np.float32(0.85 if colouring is None else 0.6)
        alpha = strong * np.clip(1.6 * edge, 0, 1)
        _over(linear, colour(table, 0.26 + 0.13 * np.log1p(edge)), alpha)
    at = view.pixels(layout.xy)
    reach = np.asarray([view.width, view.height], np.float32)
    shown = ((at > -radius[:, None] - 2) & (at < reach + radius[:, None] + 2)).all(axis=1)
    for kind, tone in ((REGION, REGION_TONE), (VERTEX, VERTEX_TONE)):
        members = np.flatnonzero((scene.kind == kind) & shown)
        light = np.full((1, members.size), tone, np.float32)
        if colouring is not None:
            light = colouring.of(members)
            if colouring.channels == 1:
                light = _QUIET + (1 - _QUIET) * along(curve, light)
        planes = np.zeros((1 + light.shape[0], *view.shape), np.float32)
        raster.discs(planes, at[members], radius[members], np.asarray(light, np.float32))
        mean = planes[1:] / np.maximum(planes[0], 1e-6)
        shining = colour(table, mean[0]) if len(mean) == 1 else np.moveaxis(mean, 0, -1)
        _over(linear, shining, np.minimum(planes[0], 1))
    return linear, drawn


def dot_radii(scene: Scene, xy: Floats, spacing: float) -> Floats:
    """Size dots by the room round them: [n] radii in units of the square, vertices the larger.

    Args:
        scene: nodes.
        xy: [n, 2] positions in the unit square.
        spacing: mean distance of nodes, in the same unit.
    """
    # Density on a grid of about four nodes a cell, smoothed, says how much room there is.
    grid = int(np.clip(np.sqrt(scene.nodes / 4), 1, 256))
    scaled = xy * np.float32(grid)
    count = np.zeros((1, grid, grid), np.float32)
    raster.deposit(count, np.clip(scaled, 0, grid - 1), np.ones((1, scene.nodes), np.float32))
    crowd = raster.blur(count[0], 0.7) if grid >= 8 else count[0]
    at = np.clip(scaled.astype(np.int32), 0, grid - 1)
    local = 1 / grid / np.sqrt(np.maximum(crowd[at[:, 1], at[:, 0]], 0.5))
    room = np.minimum(local, 1.2 * spacing)
    part = np.where(scene.kind == VERTEX, 0.30, 0.19)
    largest = np.where(scene.kind == VERTEX, 1 / 70, 1 / 100)
    return np.asarray(np.clip(part * room, 0.0005, largest), np.float32)


def along(curve: Floats | None, value: Floats) -> Floats:
    """Places on the ramp of some values: on a curve, or the values themselves."""
    if curve is None:
        return value
    return np.asarray(np.interp(value, curve[0], curve[1]), np.float32)


def _spread(hue: Floats, weight: Floats, density: Floats) -> Floats:
    """Spread the values of pixels over the ramp: [2, q], values and places.

    A pixel shows the mean of its nodes, and means crowd round the middle, where the ramp has one
    colour: most of the rank among the lit pixels of the picture brings the others back.
    """
    part = (slice(None, None, 4), slice(None, None, 4))
    lit = density[part] > 0.3
    if not lit.any():
        return np.array([[0, 1], [0, 1]], np.float32)
    place = np.linspace(0, 1, 65)
    value = np.quantile(hue[part][lit] / weight[part][lit], place)
    # Many pixels of one value are a step, which np.interp climbs within a hair's breadth.
    value += 1e-6 * np.arange(value.size)
    return np.stack([value, _SPREAD * place + (1 - _SPREAD) * value]).astype(np.float32)


def _light_of(light: Floats, colouring: Colouring | None, nodes: slice | Int32s) -> Floats:
    """Light, and light times colour: [1 + k, b]."""
    if colouring is None:
        return np.asarray(light[None], np.float32)
    return np.concatenate([light[None], light * colouring.of(nodes)]).astype(np.float32)


def _burden(scene: Scene, region: Int32s) -> Floats:
    """Light of edges for the bytes that they carry: the square root, so that small ones show.

    Eight bytes, a word of the chip's memory, are 1; from 512 bytes on it is 8.
    """
    carried = np.clip(bytes_of(scene, region), 1, 512) / np.float32(8)
    return np.asarray(np.sqrt(carried), np.float32)


def _near(low: Floats, high: Floats, view: View) -> NDArray[np.bool_]:
    """Which lines have a bounding box that meets the view."""
    side = np.array([view.width, view.height], np.float32)
    return np.asarray(
        ((np.minimum(low, high) < side) & (np.maximum(low, high) >= 0)).all(axis=1), np.bool_
    )


def _shoulder(value: Floats) -> Floats:
    """Bend values over 0.6 towards 1, so that nuclei of any density keep their grain."""
    over = np.maximum(value - np.float32(0.6), 0)
    bent = 0.4 * (1 - np.exp(-over / np.float32(0.5)))
    return np.asarray(np.minimum(value, 0.6) + bent, np.float32)


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
