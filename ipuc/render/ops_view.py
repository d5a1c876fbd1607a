"""The op graph as a picture: boxes from top to bottom, in columns like a newspaper's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ipuc.errors import OptionError
from ipuc.graph.ir import Graph
from ipuc.render.ops_graph import BOX, Key, Label, Ranked, rank_ops, width_of

Point = tuple[float, float]

#: Height of a box, from one rank to the next, and the margin, in pixels at scale 1.
HEIGHT, PITCH, MARGIN = 58.0, 88.0, 56.0

#: Room between columns, and the distance of wires that run there side by side.
GUTTER, WIRE = 64.0, 14.0

#: From one line of the legend to the next.
LINE = 22.0

#: Widest picture worth having, as width over height.
RATIO = 1.5

_GROUND = (11, 9, 10)
_WIRE_COLOUR = (138, 122, 108)
_SKIP_COLOUR = (242, 177, 13)
_COLOURS = {
    "conv": (219, 126, 13),
    "matrix": (253, 229, 13),
    "pool": (63, 183, 196),
    "norm": (178, 132, 214),
    "join": (113, 187, 103),
    "map": (157, 59, 11),
    "shape": (136, 145, 172),
    "data": (240, 236, 228),
}
_TITLES = {
    "conv": "convolution",
    "matrix": "matrix product",
    "pool": "pooling",
    "norm": "normalisation",
    "join": "join",
    "map": "elementwise",
    "shape": "shape",
    "data": "input, output",
}


@dataclass(frozen=True, slots=True)
class OpsLayout:
    """Geometry of the op view, in pixels at scale 1.

    Attributes:
        boxes: centre of every box and what it says.
        wires: every edge as points from the upper box to the lower one, and whether it skips a
            rank; corners are rounded when drawn.
        size: width and height.
    """

    boxes: tuple[tuple[Point, Label], ...]
    wires: tuple[tuple[tuple[Point, ...], bool], ...]
    size: Point


def draw_ops(graph: Graph, *, max_side: int = 4096) -> Image.Image:
    """Draw an op graph.

    Args:
        graph: what to draw.
        max_side: pixels at most per side; text is readable at full size as long as the graph's
            natural size (about 90 pixels an op) is not above this.

    Raises:
        OptionError: `max_side` is too small for any picture.
    """
    if max_side < 256:
        raise OptionError(f"a picture of {max_side} pixels", fix="choose 256 or more")
    layout = lay_out_ops(graph)
    scale = min(1.0, max_side / max(layout.size))
    return _Pen(layout, scale).draw(graph.name or "graph")


def lay_out_ops(graph: Graph) -> OpsLayout:
    """Place boxes and wires, wrapped into as many columns as make a well-shaped picture."""
    ranked = rank_ops(graph)
    best: OpsLayout | None = None
    for columns in range(1, len(ranked.ranks) + 2):
        layout = _wrap(ranked, columns)
        if best is None or _unshapely(layout.size) < _unshapely(best.size):
            best = layout
        if layout.size[0] > RATIO * layout.size[1]:
            break
    assert best is not None
    return best


def _unshapely(size: Point) -> float:
    """How far from a slightly wide picture."""
    return abs(float(np.log(size[0] / size[1] / 1.2)))


def _wrap(ranked: Ranked, columns: int) -> OpsLayout:
    """Cut the ranks into columns and connect them."""
    starts = _cuts(ranked, columns)
    bounds = [*starts[1:], len(ranked.ranks)]
    column_of: dict[Key, int] = {}
    at: dict[Key, Point] = {}
    crossing = _links_per_column(ranked, starts)
    left = MARGIN
    top = MARGIN + 40 + WIRE * max([len(links) for links in crossing], default=0)
    tallest = max((end - start for start, end in zip(starts, bounds, strict=True)), default=0)
    floor = top + max(tallest - 1, 0) * PITCH + HEIGHT
    gutters: list[float] = []
    for index, (start, end) in enumerate(zip(starts, bounds, strict=True)):
        keys = [key for rank in ranked.ranks[start:end] for key in rank]
        low = min((ranked.x[k] - width_of(k, ranked.labels) / 2 for k in keys), default=0.0)
        high = max((ranked.x[k] + width_of(k, ranked.labels) / 2 for k in keys), default=BOX)
        for row, rank in enumerate(ranked.ranks[start:end]):
            for key in rank:
                at[key] = left + ranked.x[key] - low, top + row * PITCH + HEIGHT / 2
                column_of[key] = index
        left += high - low + GUTTER / 2
        gutters.append(left)
        left += GUTTER / 2 + (WIRE * len(crossing[index]) if index < len(crossing) else 0)
    width = gutters[-1] - GUTTER / 2 + MARGIN if gutters else 2 * MARGIN + BOX
    below = WIRE * max([len(links) for links in crossing], default=0)
    wires = _wires(ranked, at, column_of, crossing, gutters, top, floor)
    boxes = tuple((at[key], label) for key, label in ranked.labels.items())
    return OpsLayout(boxes, wires, (width, floor + below + MARGIN + 40))


def _cuts(ranked: Ranked, columns: int) -> list[int]:
    """First rank of every column: near equal heights, where few edges pass."""
    total = len(ranked.ranks)
    columns = max(min(columns, total), 1)
    passing = [0] * (total + 1)
    index = {key: row for row, rank in enumerate(ranked.ranks) for key in rank}
    for _, target in ranked.links:
        passing[index[target]] += 1
    starts = [0]
    for column in range(1, columns):
        ideal = column * total / columns
        slack = max(0.2 * total / columns, 1.0)
        near = [row for row in range(starts[-1] + 1, total) if abs(row - ideal) <= slack]
        if near:
            starts.append(min(near, key=lambda row: (passing[row], abs(row - ideal))))
    return starts


def _links_per_column(ranked: Ranked, starts: Sequence[int]) -> list[list[tuple[Key, Key]]]:
    """Links that leave each column for the next, from left to right."""
    last = {key: n for n, start in enumerate(starts[1:]) for key in ranked.ranks[start - 1]}
    crossing: list[list[tuple[Key, Key]]] = [[] for _ in starts[1:]]
    for link in ranked.links:
        if link[0] in last:
            crossing[last[link[0]]].append(link)
    for links in crossing:
        links.sort(key=lambda link: (ranked.x[link[0]], ranked.x[link[1]]))
    return crossing


def _wires(
    ranked: Ranked,
    at: dict[Key, Point],
    column_of: dict[Key, int],
    crossing: Sequence[Sequence[tuple[Key, Key]]],
    gutters: Sequence[float],
    top: float,
    floor: float,
) -> tuple[tuple[tuple[Point, ...], bool], ...]:
    """Chain the links of every edge into one wire."""
    lane = {link: number for links in crossing for number, link in enumerate(links)}
    after = {source: target for source, target in ranked.links if source not in ranked.labels}
    wires = []
    for source, target in ranked.links:
        if source not in ranked.labels:
            continue
        chain = [source, target]
        while chain[-1] not in ranked.labels:
            chain.append(after[chain[-1]])
        x, y = at[source]
        points = [(x, y + HEIGHT / 2)]
        for here, there in pairwise(chain):
            to_x, to_y = at[there]
            if column_of[here] != column_of[there]:
                number = lane[here, there]
                # Inner lanes nest: the leftmost wire goes lowest, farthest right and highest.
                count = len(crossing[column_of[here]])
                base = floor + 16 + WIRE * (count - 1 - number)
                side = gutters[column_of[here]] + WIRE * (count - 1 - number)
                roof = top - 20 - WIRE * (count - 1 - number)
                points += [(at[here][0], base), (side, base), (side, roof), (to_x, roof)]
            if there in ranked.labels:
                points.append((to_x, to_y - HEIGHT / 2))
            else:
                points += [(to_x, to_y - HEIGHT / 2), (to_x, to_y + HEIGHT / 2)]
        wires.append((tuple(points), len(chain) > 2))
    return tuple(wires)


class _Pen:
    """Draws a layout at twice its size and averages down, for smooth edges."""

    def __init__(self, layout: OpsLayout, scale: float) -> None:
        self._layout = layout
        width, height = layout.size
        self._size = max(round(width * scale), 1), max(round(height * scale), 1)
        self._scale = 2 * scale
        canvas = (2 * self._size[0], 2 * self._size[1])
        self._image = Image.new("RGB", canvas, _GROUND)
        self._draw = ImageDraw.Draw(self._image)

    def draw(self, title: str) -> Image.Image:
        """Draw wires, then boxes, then title and legend."""
        for points, skips in sorted(self._layout.wires, key=lambda wire: wire[1]):
            self._wire(points, _SKIP_COLOUR if skips else _WIRE_COLOUR)
        for centre, label in self._layout.boxes:
            self._box(centre, label)
        self._margin_text(title)
        return self._image.resize(self._size, Image.Resampling.LANCZOS)

    def _wire(self, points: Sequence[Point], colour: tuple[int, int, int]) -> None:
        """Draw a wire with an arrow head."""
        scale = self._scale
        path = [(x * scale, y * scale) for x, y in smooth(points)]
        self._draw.line(path, colour, max(round(2.0 * scale), 1), joint="curve")
        x, y = path[-1]
        reach, half = 8 * scale, 4.5 * scale
        self._draw.polygon([(x, y), (x - half, y - reach), (x + half, y - reach)], colour)

    def _box(self, centre: Point, label: Label) -> None:
        """Draw a box: heading, name, and shape at the right."""
        scale = self._scale
        colour = _COLOURS[label.kind]
        x, y = centre[0] * scale, centre[1] * scale
        w, h = BOX / 2 * scale, HEIGHT / 2 * scale
        fill = tuple(
            round(0.20 * part + 0.8 * ground) for part, ground in zip(colour, _GROUND, strict=True)
        )
        radius = h if label.kind == "data" else 10 * scale
        self._draw.rounded_rectangle(
            (x - w, y - h, x + w, y + h), radius, fill, colour, max(round(1.6 * scale), 1)
        )
        inner = 2 * w - 24 * scale
        bright = tuple(round(0.35 * part + 0.65 * 255) for part in colour)
        self._text((x, y - 0.25 * HEIGHT * scale), label.heading, 17, bright, inner)
        self._text((x, y + 0.05 * HEIGHT * scale), label.name, 12, (186, 178, 170), inner)
        self._text((x, y + 0.30 * HEIGHT * scale), label.shape, 13, (232, 226, 216), inner)

    def _text(
        self, at: Point, text: str, height: float, colour: Sequence[int], room: float
    ) -> None:
        """Write one centred line, its middle cut out where it is too long."""
        font = ImageFont.load_default(max(height * self._scale, 4))
        shown = text
        while len(shown) > 4 and self._draw.textlength(shown, font) > room:
            keep = (len(shown) - 2) // 2
            shown = text[: keep - keep // 3] + "…" + text[len(text) - keep - keep // 3 + 1 :]
            if len(shown) >= len(text):
                break
        self._draw.text(at, shown, tuple(colour), font, anchor="mm")

    def _margin_text(self, title: str) -> None:
        """Write the title above and the colours' meaning below."""
        scale = self._scale
        font = ImageFont.load_default(max(22 * scale, 4))
        self._draw.text((MARGIN * scale, 30 * scale), title, _COLOURS["data"], font, anchor="lm")
        font = ImageFont.load_default(max(13 * scale, 4))
        present = {label.kind for _, label in self._layout.boxes}
        kinds = [kind for kind in _COLOURS if kind in present]
        lengths = [self._draw.textlength(_TITLES[kind], font) / scale for kind in kinds]
        places = legend_places(lengths, self._layout.size[0])
        lowest = max((line for _, line in places), default=0)
        for kind, (at, line) in zip(kinds, places, strict=True):
            words, colour = _TITLES[kind], _COLOURS[kind]
            x = at * scale
            y = self._image.height - (30 + LINE * (lowest - line)) * scale
            radius = 5 * scale
            self._draw.ellipse((x, y - radius, x + 2 * radius, y + radius), colour)
            self._draw.text((x + 16 * scale, y), words, (186, 178, 170), font, anchor="lm")


def legend_places(lengths: Sequence[float], width: float) -> list[tuple[float, int]]:
    """Where each entry of the legend begins and on which line, in pixels at scale 1.

    Args:
        lengths: of the entries' words.
        width: of the picture.
    """
    places: list[tuple[float, int]] = []
    x, line = MARGIN, 0
    for length in lengths:
        if places and x + length + 24 > width:
            x, line = MARGIN, line + 1
        places.append((x, line))
        x += length + 36
    return places


def smooth(points: Sequence[Point]) -> list[Point]:
    """Round a wire: S-curves where it changes lane, arcs where it turns a corner."""
    path: list[Point] = [points[0]]
    for before, here, after in zip(
        [points[0], *points[:-1]], points, [*points[1:], points[-1]], strict=True
    ):
        if _is_corner(before, here, after):
            radius = min(10.0, _distance(before, here) / 2, _distance(here, after) / 2)
            enter, leave = _towards(here, before, radius), _towards(here, after, radius)
            t = np.linspace(0, 1, 7)[:, None]
            bend = (1 - t) ** 2 * enter + 2 * t * (1 - t) * np.array(here) + t**2 * leave
            path += [(float(x), float(y)) for x, y in bend]
        else:
            path += _s_curve(path[-1], here)
    return path


def _s_curve(start: Point, end: Point) -> list[Point]:
    """Join two points by a cubic that leaves and arrives vertically; straight if it can be."""
    if abs(start[0] - end[0]) < 0.5 or abs(start[1] - end[1]) < 0.5:
        return [end]
    t = np.linspace(0, 1, 17)[1:]
    ease = t * t * (3 - 2 * t)
    y = start[1] + (end[1] - start[1]) * (1.5 * t * (1 - t) ** 2 + 1.5 * t**2 * (1 - t) + t**3)
    x = start[0] + (end[0] - start[0]) * ease
    return [(float(a), float(b)) for a, b in zip(x, y, strict=True)]


def _is_corner(before: Point, here: Point, after: Point) -> bool:
    """Whether a horizontal and a vertical piece meet."""
    flat_in, flat_out = abs(before[1] - here[1]) < 0.5, abs(here[1] - after[1]) < 0.5
    moves = _distance(before, here) > 0.5 and _distance(here, after) > 0.5
    return moves and flat_in != flat_out


def _distance(a: Point, b: Point) -> float:
    return float(np.hypot(a[0] - b[0], a[1] - b[1]))


def _towards(start: Point, end: Point, length: float) -> np.ndarray:
    """The point `length` away from start on the way to end."""
    step = np.array(end) - np.array(start)
    return np.asarray(np.array(start) + step * (length / max(_distance(start, end), 1e-9)))
