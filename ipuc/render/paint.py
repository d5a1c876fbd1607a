"""Pixels: points and edges of a laid-out scene as light on a ground."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ipuc.errors import OptionError
from ipuc.machine import free_memory
from ipuc.render import raster
from ipuc.render.colouring import Colouring
from ipuc.render.fields import Exposure, dots, expose, mean_density, shade
from ipuc.render.palettes import Rgb, ramp, to_bytes
from ipuc.render.place import DISC, Layout
from ipuc.render.raster import View, whole_view
from ipuc.render.scene import Scene

Floats = NDArray[np.float32]

#: Pixels per side that a picture may have.
SIZES = 64, 16384

#: Mean spacing of nodes, in pixels, from which they are drawn as dots.
DOT_SPACING = 6.0

#: Under this many nodes a density picture is painted at twice its size and averaged down, as long
#: as it is not finer than this many pixels per side.
SUPERSAMPLE_BELOW, FINEST = 2_000_000, 8192

#: Edges drawn at most, about; of more, one in k is drawn, and brighter.
EDGE_BUDGET = 10_000_000

#: Edges for a pixel that still show, about.
EDGES_PER_PIXEL = 2.5

#: Rows that are shaded at once.
_ROWS = 256


@dataclass(frozen=True, slots=True)
class Painting:
    """A picture and what was drawn in it.

    Attributes:
        image: RGB, on the ramp's own ground.
        drawn_points: nodes drawn.
        drawn_edges: edges drawn; fewer than the scene's if only one in `edge_stride` was.
        edge_stride: one in this many edges was drawn.
        curve: places on the ramp, for pictures of parts of it; None if there is none.
    """

    image: Image.Image
    drawn_points: int
    drawn_edges: int
    edge_stride: int
    curve: Floats | None = None


def paint(
    scene: Scene,
    layout: Layout,
    *,
    view: View,
    palette: str = "amber",
    colouring: Colouring | None = None,
    told: Callable[[float], None] = lambda _: None,
    curve: Floats | None = None,
) -> Painting:
    """Paint a scene, or a window on it.

    Args:
        scene: nodes, edges and activity.
        layout: positions of the scene's nodes.
        view: which part of the layout's unit square, and how large; `whole_view` shows all.
        palette: name of the colours.
        colouring: what colour means; None for a density picture.
        told: is told the finished fraction, 0 to 1.
        curve: places on the ramp, from the picture of which this one is a part.

    Raises:
        OptionError: the palette is unknown, the layout belongs to another scene, or the picture is
            too large for this machine's memory.
    """
    return paint_each(
        scene, layout, view=view, looks=[(palette, colouring)], told=told, curve=curve
    )[0]


def paint_each(
    scene: Scene,
    layout: Layout,
    *,
    view: View,
    looks: Sequence[tuple[str, Colouring | None]],
    told: Callable[[float], None] = lambda _: None,
    curve: Floats | None = None,
) -> list[Painting]:
    """Paint a scene in several palettes, with one walk over nodes and edges.

    Args:
        scene: nodes, edges and activity.
        layout: positions of the scene's nodes.
        view: which part, and how large.
        looks: palette and colouring of each; colourings are one and the same, or None.
        told: is told the finished fraction, 0 to 1.
        curve: as `paint`.

    Raises:
        OptionError: as `paint`.
    """
    if layout.xy.shape != (scene.nodes, 2):
        raise OptionError(
            f"the layout has {len(layout.xy)} nodes, the scene {scene.nodes}",
            fix="lay out this scene again",
        )
    tables = [ramp(palette) for palette, _ in looks]
    made = []
    if is_dotted(scene, view):
        hold_to_memory(view, 3)
        for (_, colouring), table in zip(looks, tables, strict=True):
            linear, drawn = dots(scene, layout, view, table, colouring, curve)
            image = Image.fromarray(_glowing(linear, view), "RGB")
            made.append(Painting(image, scene.nodes, drawn, 1))
        told(1.0)
        return made
    fine = finest(scene.nodes, view)
    shared = next((colouring for _, colouring in looks if colouring), None)
    hold_to_memory(fine, shared.channels if shared else 0)
    # A window holds only its share of the edges.
    share = min(view.width * view.height / (np.pi * (DISC * view.scale) ** 2), 1.0)
    budget = min(EDGE_BUDGET, int(EDGES_PER_PIXEL * fine.width * fine.height))
    stride = max(-(-int(scene.edges * share) // budget), 1)
    exposure = expose(scene, layout, fine, shared, stride, told, curve)
    for (_, colouring), table in zip(looks, tables, strict=True):
        image = _develop(exposure, view, fine.width // view.width, table, colouring)
        made.append(Painting(image, scene.nodes, exposure.drawn_edges, stride, exposure.curve))
    told(1.0)
    return made


def is_dotted(scene: Scene, view: View) -> bool:
    """Whether nodes are so far apart that each is drawn as a dot."""
    return bool(1 / np.sqrt(mean_density(scene, view)) >= DOT_SPACING)


def finest(nodes: int, view: View) -> View:
    """The view as it is painted: twice as fine where that is affordable."""
    twice = nodes < SUPERSAMPLE_BELOW and 2 * max(view.shape) <= FINEST
    return view.finer(2) if twice else view


def _develop(
    exposure: Exposure, view: View, times: int, table: Floats, colouring: Colouring | None
) -> Image.Image:
    """Shade an exposure that is `times` as fine as the view, in bands of rows."""
    linear = np.empty((*view.shape, 3), np.float16)
    for first in range(0, view.height, _ROWS):
        last = min(first + _ROWS, view.height)
        band = shade(exposure, table, colouring, slice(times * first, times * last))
        linear[first:last] = raster.halve(band) if times == 2 else band
    return Image.fromarray(_glowing(linear, view), "RGB")


def paint_whole(
    scene: Scene, layout: Layout, size: int, palette: str = "amber", **options: object
) -> Painting:
    """Paint the whole disc on `size` pixels per side; options as those of `paint`.

    Raises:
        OptionError: size out of range, and what `paint` raises.
    """
    check_size(size)
    return paint(scene, layout, view=whole_view(size), palette=palette, **options)  # type: ignore[arg-type]


def check_size(size: int) -> None:
    """Hold a picture to the sizes that exist.

    Raises:
        OptionError: it is too small or too large.
    """
    if not SIZES[0] <= size <= SIZES[1]:
        raise OptionError(
            f"a picture of {size} pixels", fix=f"choose a size from {SIZES[0]} to {SIZES[1]}"
        )


def bytes_needed(view: View, channels: int) -> int:
    """Memory that painting a view takes, about: canvases, what they are shaded into, and bytes.

    Args:
        view: at the fineness in which it is painted.
        channels: of the colouring; 0 for a density picture.
    """
    planes = 2 * (1 + channels) + channels + 2
    return view.width * view.height * (4 * planes + 6 + 3 + 3)


def hold_to_memory(view: View, channels: int) -> None:
    """Refuse a picture that this machine cannot hold, before any work is done for it.

    Raises:
        OptionError: it needs more memory than is free.
    """
    needed, free = bytes_needed(view, channels), free_memory()
    if free is not None and needed > free:
        raise OptionError(
            f"a picture of {view.width} x {view.height} pixels takes about {needed / 1e9:.1f} GB "
            f"of memory, {free / 1e9:.1f} GB are free",
            where="--size",
            fix=f"--size {_affordable(view, needed, free)}, or close other programs",
        )


def on_ground(image: Image.Image, view: View, ground: Rgb | None, rim: Rgb | None) -> Image.Image:
    """Cut the disc out and lay it on another ground, with a soft rim.

    Args:
        image: a painting of `view`.
        view: where the disc is.
        ground: colour outside the disc; None for transparent.
        rim: colour of the line round the disc, which fades over a hundredth of the radius.

    Returns:
        RGB, or RGBA without a ground.
    """
    made = Image.new("RGBA", image.size, (*(ground or (0, 0, 0)), 255 if ground else 0))
    radius = DISC * view.scale
    x = (np.arange(view.width) + 0.5 - (0.5 - view.left) * view.scale).astype(np.float32)
    y = (np.arange(view.height) + 0.5 - (0.5 - view.top) * view.scale).astype(np.float32)
    soft = max(0.012 * radius, 1.0)
    inside = np.empty(view.shape, np.uint8)
    edge = np.empty(view.shape, np.uint8)
    for first in range(0, view.height, _ROWS):
        rows = slice(first, first + _ROWS)
        away = np.hypot(y[rows, None], x[None, :]) - 1.008 * radius
        inside[rows] = (255 * np.clip(0.5 - away, 0, 1)).astype(np.uint8)
        edge[rows] = (255 * np.clip(1 - np.abs(away) / soft, 0, 1) ** 1.5).astype(np.uint8)
    made.paste(image, (0, 0), Image.fromarray(inside))
    if rim is not None:
        shine = Image.new("RGBA", image.size, (*rim, 255))
        shine.putalpha(Image.fromarray(edge))
        made = Image.alpha_composite(made, shine)
    return made.convert("RGB") if ground else made


def _affordable(view: View, needed: int, free: int) -> int:
    """The largest power of two that fits."""
    size = max(view.shape) * (free / max(needed, 1)) ** 0.5
    return max(1 << int(np.log2(max(size, SIZES[0]))), SIZES[0])


def _glowing(linear: NDArray[np.floating], view: View) -> NDArray[np.uint8]:
    """Let bright places shine on their surroundings, and encode: [h, w, 3] bytes."""
    height, width = view.shape
    sigma = max(view.scale / 200, 0.5)
    # Light from afar is smooth: it is worked out on a picture reduced as far as sigma allows.
    factor = max(int(sigma // 2), 1)
    rows = max(_ROWS // factor, 1) * factor
    halo = np.empty((3, -(-height // factor), -(-width // factor)), np.float32)
    for first in range(0, height, rows):
        bright = np.maximum(linear[first : first + rows].astype(np.float32) - 0.25, 0)
        for channel in range(3):
            part = raster.shrink(bright[..., channel], factor)
            halo[channel, first // factor : first // factor + len(part)] = part
    for plane in halo:
        plane[:] = np.maximum(raster.blur(plane, sigma / factor), 0)
    made = np.empty((height, width, 3), np.uint8)
    for first in range(0, height, rows):
        band = linear[first : first + rows].astype(np.float32)
        cut = slice(first, first + len(band))
        for channel in range(3):
            band[..., channel] += np.float32(0.11) * raster.enlarge(
                halo[channel], factor, view.shape, cut
            )
        made[cut] = to_bytes(band)
    return made
