"""A program at work: one picture for every superstep, cells lighting up as they compute."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ipuc.program.enumerate import VertexGraph
from ipuc.program.program import Program
from ipuc.program.steps import Execute, Sweep
from ipuc.render import raster
from ipuc.render.fields import blocks, mean_density
from ipuc.render.palettes import Rgb, colour, ramp, readable_on, rgb_of, to_bytes
from ipuc.render.place import Layout
from ipuc.render.poster.elements import Poster, Raster, Text
from ipuc.render.poster.pixels import draw
from ipuc.render.raster import whole_view
from ipuc.render.scene import Scene

Floats = NDArray[np.float32]

#: What is left of the light of a superstep after the next one.
_FADE = 0.55

#: How bright the whole graph stands behind what computes.
_REST = 0.42


def supersteps(
    program: Program, graph: VertexGraph
) -> list[tuple[str, tuple[tuple[int, int], ...]]]:
    """The supersteps that compute, in the order in which they run.

    Args:
        program: what runs; loop bodies count once, functions at every call.
        graph: numbers its vertices.

    Returns:
        The compute set's name, and the ranges of vertices (first, end) that it runs, for each.
    """
    place = {id(family): at for at, family in enumerate(graph.families)}
    made = []
    for step, _ in program.executed():
        if isinstance(step, Execute | Sweep):
            members = [place[id(family)] for family in step.compute_set.families]
            ranges = tuple(
                (int(graph.first_vertex[at]), int(graph.first_vertex[at + 1])) for at in members
            )
            made.append((step.compute_set.name, ranges))
    return made


def frames(
    program: Program, scene: Scene, layout: Layout, *, size: int, palette: str
) -> Iterator[Image.Image]:
    """Draw every superstep over the layout.

    A vertex lights up when it computes, and the regions it touches with it; light fades over the
    next supersteps.

    Args:
        program: whose scene it is.
        scene: nodes and edges; vertices are numbered in program order.
        layout: where they are.
        size: pixels per side.
        palette: name of the colours.
    """
    graph = VertexGraph(program)
    steps = supersteps(program, graph)
    view = whole_view(size)
    per_mean = np.float32(1 / mean_density(scene, view))
    sigma = float(np.clip(0.45 * np.sqrt(per_mean), 0.7, 3))
    flat = _pixels(layout.xy, size)
    rest = np.zeros(size * size, np.float32)
    np.add.at(rest, flat, layout.light)
    rest = raster.blur(rest.reshape(size, size), sigma) * per_mean
    base = _REST * np.minimum(0.40 * np.log2(1 + np.maximum(rest, 0)), 1)
    heat = np.zeros((size, size), np.float32)
    table = ramp(palette)
    ink = readable_on("#b8b0a4", rgb_of("#000000"))
    for number, (name, ranges) in enumerate(steps):
        lit = np.zeros(size * size, np.float32)
        for first, end in ranges:
            nodes = np.arange(first, end)
            np.add.at(lit, flat[nodes], layout.light[nodes])
            regions = _touched(scene, first, end)
            np.add.at(lit, flat[regions], layout.light[regions])
        now = np.maximum(raster.blur(lit.reshape(size, size), sigma) * per_mean, 0)
        heat = np.maximum(np.float32(_FADE) * heat, np.minimum(0.45 * np.log2(1 + 2 * now), 1))
        tone = np.maximum(base, base + (1 - base) * heat)
        image = Image.fromarray(to_bytes(colour(table, tone)), "RGB")
        yield _titled(image, f"{number + 1} of {len(steps)}", name, ink)


def _touched(scene: Scene, first: int, end: int) -> NDArray[np.int64]:
    """Node ids of the regions that vertices first to end touch, each once."""
    touches = scene.touches
    ranges = slice(int(touches.first[first]), int(touches.first[end]))
    change = np.zeros(scene.regions + 1, np.int32)
    np.add.at(change, touches.low[ranges], 1)
    np.add.at(change, touches.low[ranges] + touches.count[ranges], -1)
    return np.flatnonzero(np.cumsum(change[:-1]) > 0) + scene.vertices


def _pixels(xy: Floats, size: int) -> NDArray[np.int32]:
    """The pixel of every node: flat indices."""
    made = np.empty(len(xy), np.int32)
    for nodes in blocks(len(xy)):
        at = np.clip((xy[nodes] * size).astype(np.int32), 0, size - 1)
        made[nodes] = at[:, 1] * size + at[:, 0]
    return made


def _titled(image: Image.Image, left: str, right: str, ink: Rgb) -> Image.Image:
    """Write the number of the superstep and its compute set into the lower corners."""
    size = image.width
    letter = max(size / 64, 7.0)
    poster = Poster(size, size, (0, 0, 0), [Raster((0, 0), image)])
    base = size - letter
    poster.elements.append(Text((letter, base), left, letter, ink))
    shown = right if len(right) <= 48 else "..." + right[-45:]
    poster.elements.append(Text((size - letter, base), shown, letter, ink, False, "right"))
    return draw(poster)
