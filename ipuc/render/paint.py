"""Pixels: points and edges of a laid-out scene as light on a dark ground."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from ipuc.errors import OptionError, nearest
from ipuc.files import whole
from ipuc.render import raster
from ipuc.render.fields import Mode, density_light, dots_light
from ipuc.render.palettes import luminance, ramp, to_display
from ipuc.render.place import DISC, Layout
from ipuc.render.scene import Scene

Floats = NDArray[np.float32]

#: Mean spacing of nodes, in pixels, from which they are drawn as dots.
DOT_SPACING = 6.0

#: Under this many nodes a density picture is painted at twice its size and averaged down.
SUPERSAMPLE_BELOW = 2_000_000

#: Edges drawn at most; of more, one in k is drawn, and brighter.
EDGE_BUDGET = 3_000_000


@dataclass(frozen=True, slots=True)
class Painting:
    """A picture and what was drawn in it.

    Attributes:
        image: RGB, square.
        drawn_points: nodes drawn.
        drawn_edges: edges drawn; fewer than the scene's if only one in `edge_stride` was.
        edge_stride: one in this many edges was drawn.
    """

    image: Image.Image
    drawn_points: int
    drawn_edges: int
    edge_stride: int


def paint(
    scene: Scene,
    layout: Layout,
    *,
    size: int = 2048,
    palette: str = "amber",
    mode: Mode = "density",
    caption: bool = True,
) -> Painting:
    """Paint a scene.

    Args:
        scene: nodes, edges and activity.
        layout: positions of the scene's nodes.
        size: pixels per side.
        palette: name of a ramp.
        mode: "density" (brightness and colour by density) or "activity" (colour by the rank of the
            node's activity, brightness by density).
        caption: name the picture and its counts in the lower corners.

    Raises:
        OptionError: size, palette or mode is unknown, or the layout belongs to another scene.
    """
    if not 64 <= size <= 16384:
        raise OptionError(f"a picture of {size} pixels", fix="choose a size from 64 to 16384")
    if mode not in ("density", "activity"):
        raise OptionError(f'there is no mode "{mode}"', fix=nearest(mode, ("density", "activity")))
    if layout.xy.shape != (scene.nodes, 2):
        raise OptionError(
            f"the layout has {len(layout.xy)} nodes, the scene {scene.nodes}",
            fix="lay out this scene again",
        )
    table = ramp(palette)
    chosen, stride = _choose_edges(scene)
    spacing = DISC * size * np.sqrt(np.pi / max(scene.nodes, 1))
    if spacing >= DOT_SPACING:
        linear = dots_light(scene, layout, chosen, size, float(spacing), table, mode)
    else:
        twice = scene.nodes < SUPERSAMPLE_BELOW
        canvas = 2 * size if twice else size
        linear = density_light(scene, layout, chosen, stride, canvas, table, mode)
        linear = raster.halve(linear) if twice else linear
    _glow(linear, size)
    image = Image.fromarray(_to_bytes(linear), "RGB")
    if caption:
        _caption(image, scene, table)
    return Painting(image, scene.nodes, int(chosen[0].size), stride)


def save_png(image: Image.Image, path: Path, provenance: dict[str, str]) -> None:
    """Write a PNG with text chunks, whole or not at all; equal pixels give equal bytes.

    Raises:
        ContainerError: the file cannot be written.
    """
    info = PngImagePlugin.PngInfo()
    for key, value in sorted(provenance.items()):
        info.add_itxt(key, value)
    data = io.BytesIO()
    image.save(data, "PNG", pnginfo=info, compress_level=6)
    with whole(path, "the picture") as stream:
        stream.write(data.getbuffer())


def _choose_edges(scene: Scene) -> tuple[tuple[NDArray[np.int32], NDArray[np.int32]], int]:
    """Pick one edge in k, by a hash of its number: a stride would follow the graph's order."""
    stride = max(-(-scene.edges // EDGE_BUDGET), 1)
    kept = [(np.zeros(0, np.int32), np.zeros(0, np.int32))]
    first = 0
    for vertex, region in scene.edge_blocks():
        every = np.arange(first, first + vertex.size, dtype=np.uint64)
        mixed = (every * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)
        keep = mixed * np.uint64(stride) < np.uint64(1 << 24)
        kept.append((vertex[keep], region[keep]))
        first += vertex.size
    ends = np.concatenate([a for a, _ in kept]), np.concatenate([b for _, b in kept])
    return ends, stride


def _glow(linear: Floats, size: int) -> None:
    """Let bright places shine on their surroundings, in place."""
    for channel in range(3):
        bright = np.maximum(linear[..., channel] - 0.25, 0)
        halo = np.maximum(raster.blur(bright, max(size / 200, 0.5)), 0)
        linear[..., channel] += np.float32(0.16) * halo


def _to_bytes(linear: Floats) -> NDArray[np.uint8]:
    """Encode linear light as 8-bit display values."""
    return (to_display(linear) * 255 + 0.5).astype(np.uint8)


def caption_of(scene: Scene) -> str:
    """What a picture shows: the model, and below it the machine and how finely it was cut."""
    names = ("ipuc.target", "ipuc.granularity")
    target, granularity = (scene.provenance.get(name, "") for name in names)
    cut = f"granularity {granularity}" if granularity else ""
    below = ", ".join(word for word in (target, cut) if word)
    return "\n".join(line for line in (scene.title, below) if line)


def _caption(image: Image.Image, scene: Scene, table: Floats) -> None:
    """Write title and counts into the lower corners, which a disc leaves empty."""
    size = image.width
    height = max(size // 90, 8)
    font = ImageFont.load_default(height)
    draw = ImageDraw.Draw(image)
    ground = float(luminance(table[0]))
    tone = table[int(0.55 * (len(table) - 1))] * 0.8 + table[-1] * 0.1 + ground
    rgb = tuple(int(value) for value in _to_bytes(tone[None, None, :].astype(np.float32))[0, 0])
    margin = size // 50
    count = (
        f"{scene.nodes:,} nodes\n({scene.vertices:,} vertices + {scene.regions:,} regions)\n"
        f"{scene.edges:,} edges"
    )
    corner = (margin, size - margin)
    title = caption_of(scene)
    if title:
        gap = height // 3
        lines = draw.multiline_textbbox((0, 0), title, font, spacing=gap)
        place = (corner[0], corner[1] - lines[3])
        draw.multiline_text(place, title, rgb, font, spacing=gap)
    box = draw.multiline_textbbox((0, 0), count, font, spacing=height // 3)
    left, top = size - margin - box[2], size - margin - box[3]
    draw.multiline_text((left, top), count, rgb, font, spacing=height // 3, align="right")
