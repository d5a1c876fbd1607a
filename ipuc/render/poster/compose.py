"""A poster of a scene: the painted disc, and the words and windows that go with it."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ipuc.render.colouring import Colouring
from ipuc.render.fields import REGION_TONE, VERTEX_TONE
from ipuc.render.paint import Painting, finest, hold_to_memory, is_dotted, on_ground, paint
from ipuc.render.palettes import Rgb, palette_named, ramp, readable_on, rgb_of, to_bytes
from ipuc.render.place import DISC, Layout
from ipuc.render.poster.elements import (
    ASCENT,
    Bar,
    Box,
    Dot,
    Element,
    Line,
    Point,
    Poster,
    Raster,
    Text,
    text_width,
)
from ipuc.render.poster.leaders import (
    Placed,
    Request,
    Room,
    Territory,
    crosses,
    lay_out,
    room_for,
    wishes_of,
)
from ipuc.render.poster.naming import CellMap, Named, map_cells
from ipuc.render.poster.page import CROWDED, RADII, Page, make_page
from ipuc.render.poster.windows import window_of
from ipuc.render.raster import View
from ipuc.render.scene import Scene
from ipuc.render.words import Words

#: From one line of a label to the next, in sizes of its letters.
_LEADING = 1.28

#: Tones of a ramp that a legend shows.
_TONES = 48


@dataclass(frozen=True, slots=True)
class Look:
    """How a poster is to look.

    Attributes:
        size: width of the page, or width and height.
        palette: name of the colours.
        colouring: what colour means; None for a density picture.
        ground: colour of the page; None for the palette's own, "transparent" for none.
        title: above the picture; empty for none.
        labels: cells to label, the most important first; None for none.
        insets: layers of which a part is magnified; LAYER or LAYER@TIMES each.
        words: caption.
        dither: scatter only the palette's eight tones.
        legend: say what colours mean.
    """

    size: int | tuple[int, int]
    palette: str
    colouring: Colouring | None
    words: Words
    ground: str | None = None
    title: str = ""
    labels: Sequence[Named] | None = None
    insets: Sequence[str] = ()
    dither: bool = False
    legend: bool = True


@dataclass(frozen=True, slots=True)
class Composed:
    """A poster and what is on it.

    Attributes:
        poster: ready to be drawn or written.
        painting: of the disc.
        named: cells that have a label.
        unnamed: cells that have none.
    """

    poster: Poster
    painting: Painting
    named: int
    unnamed: int


def compose(
    scene: Scene, layout: Layout, look: Look, told: Callable[[float], None] = lambda _: None
) -> Composed:
    """Make a poster.

    Args:
        scene: what is shown.
        layout: where its nodes are.
        look: how.
        told: is told the finished fraction, 0 to 1.

    Raises:
        OptionError: an inset's layer or a colour is unknown, or memory does not suffice.
    """
    maker = _Maker(scene, layout, look)
    return maker.make(told)


class _Maker:
    """What the parts of a poster share while it is made."""

    def __init__(self, scene: Scene, layout: Layout, look: Look) -> None:
        self.scene, self.layout, self.look = scene, layout, look
        self.palette = palette_named(look.palette)
        own = rgb_of(self.palette.ramp[0])
        clear = look.ground == "transparent"
        self.ground: Rgb | None = None if clear else rgb_of(look.ground) if look.ground else own
        self.cut_out = self.ground != own
        # Letters on a transparent page: nobody knows what will be behind, so they suit white.
        self.under = self.ground or (254, 254, 253)
        self.ink = readable_on("#8a8a88", self.under)
        self.strong = readable_on("#c9c6bd" if sum(self.under) < 380 else "#1c1c1c", self.under)
        self.elements: list[Element] = []
        self.dotted = False
        self.wanted: list[Named] = []
        self.outlines: list[tuple[Point, ...]] = []
        self.curve: NDArray[np.float32] | None = None
        self.windows = [window_of(scene, layout, text) for text in look.insets]
        titles = dict.fromkeys(one.title for one in scene.layers)
        self.colour_of = {
            title: self.palette.classes[at % len(self.palette.classes)]
            for at, title in enumerate(titles)
        }

    def make(self, told: Callable[[float], None]) -> Composed:
        """Put everything together, from back to front."""
        look = self.look
        labelled = bool(look.labels)
        framed = labelled or bool(self.windows) or isinstance(look.size, tuple)
        lines = look.words.lines()
        foot = max(len(lines), self._legend_lines()) if framed else 0
        page, placed = self._page(foot + labelled)
        # In the order of the places that they show, so that the lines to them do not cross.
        below = bool(page.insets) and page.insets[0][1] > page.centre[1] + page.radius
        self.windows.sort(key=lambda window: window.x if below else window.y)
        view = self._disc_view(page, whole=not framed)
        self.dotted = is_dotted(self.scene, view)
        self._hold([view, *(self._inset_view(page, at) for at in range(len(self.windows)))])
        share = 1 / (1 + len(self.windows))
        painting = self._picture(view, lambda part: told(share * part))
        self.curve = painting.curve
        corner = (
            round(page.centre[0] - (0.5 - view.left) * view.scale),
            round(page.centre[1] - (0.5 - view.top) * view.scale),
        )
        self.elements.append(Raster(corner, self._finished(painting, view)))
        left_out = self._labels(page, placed) if labelled else 0
        for at in range(len(self.windows)):
            self._inset(page, at, lambda part, at=at: told(share * (1 + at + part)))  # type: ignore[misc]
        self._title(page)
        words = list(lines)
        if labelled:
            words.append((_unnamed(len(placed), left_out), False))
        self._caption(page, words, corners=not framed)
        if look.legend:
            self._legend(page, corners=not framed)
        told(1.0)
        poster = Poster(page.width, page.height, self.ground, self.elements)
        return Composed(poster, painting, len(placed), left_out)

    def _page(self, foot_lines: int) -> tuple[Page, list[Placed]]:
        """Share out the page, with the largest disc that leaves room for as many labels."""
        known = map_cells(self.scene, self.layout)
        # Words lead to a cell, or nowhere; and an edited list may have rows without words.
        labels = [one for one in self.look.labels or () if one.cell in known.cells and _lines(one)]
        self.wanted = labels
        page = functools.partial(
            make_page,
            self.look.size,
            insets=len(self.windows),
            title=bool(self.look.title),
            foot_lines=foot_lines,
        )
        if not labels:
            return page(), []
        tallest = max(len(_lines(label)) for label in labels) * _LEADING
        territory = Territory(known.owner, DISC)

        def tried(share: float) -> tuple[Page, list[Request]]:
            made = page(tallest=tallest, share=share)
            return made, [self._request(label, known, made) for label in labels]

        wishes = wishes_of(tried(CROWDED)[1], territory)
        fitting = (
            share
            for share in RADII
            if room_for(tried(share)[1], wishes, _room(tried(share)[0])) == len(labels)
        )
        made, requests = tried(next(fitting, CROWDED))
        return made, lay_out(requests, territory, _room(made), wishes)

    def _disc_view(self, page: Page, *, whole: bool) -> View:
        scale = page.radius / DISC
        if whole:
            return View(0.0, 0.0, float(page.width), page.width, page.width)
        side = 2 * int(np.ceil(1.04 * page.radius))
        corner = 0.5 - side / 2 / scale
        return View(corner, corner, scale, side, side)

    def _inset_view(self, page: Page, at: int) -> View:
        _, _, width, height = page.insets[at]
        window = self.windows[at]
        scale = width / window.width
        left, top = window.x - window.width / 2, window.y - height / scale / 2
        return View(left, top, scale, width, height)

    def _hold(self, views: Sequence[View]) -> None:
        """Find out before any painting whether memory suffices."""
        channels = self.look.colouring.channels if self.look.colouring else 0
        for view in views:
            hold_to_memory(finest(self.scene.nodes, view), channels)

    def _picture(self, view: View, told: Callable[[float], None]) -> Painting:
        look = self.look
        return paint(
            self.scene,
            self.layout,
            view=view,
            palette=look.palette,
            colouring=look.colouring,
            told=told,
            curve=self.curve,
        )

    def _finished(self, painting: Painting, view: View, *, disc: bool = True):  # type: ignore[no-untyped-def]  # noqa: ANN202
        """Scatter few tones if asked for, and lay the disc on the page's ground."""
        image = dithered(painting.image, self.palette.eight) if self.look.dither else painting.image
        if disc and self.cut_out:
            rim = rgb_of("#a8aa9f")
            image = on_ground(image, view, self.ground, rim)
        return image

    def _labels(self, page: Page, placed: Sequence[Placed]) -> int:
        """Draw labels and their leaders; how many cells have none."""
        labels = self.wanted
        cx, cy = page.centre
        thin = max(page.radius / 240, 1.0)
        colour = readable_on(
            self.palette.eight[1] if sum(self.under) > 380 else "#9a927c", self.under
        )
        for one in placed:
            points = tuple((cx + x * page.radius, cy + y * page.radius) for x, y in one.leader)
            self.elements.append(Line(points, thin, colour))
            self.elements.append(Dot(points[-1], max(page.radius / 75, 2.0), colour))
        for one in placed:
            self._label(labels[one.request], one, page)
        named = sum(labels[one.request].alike for one in placed)
        return max(len(self.layout.cell_id) - named, 0)

    def _request(self, label: Named, known: CellMap, page: Page) -> Request:
        lines = _lines(label)
        width = max(text_width(text, page.letter, bold) for text, bold in lines)
        size = (width / page.radius, (len(lines) * _LEADING * page.letter) / page.radius)
        at = known.cells.index(label.cell)
        return Request((known.places[at].astype(np.float64) - 0.5) / DISC, size, at)

    def _label(self, label: Named, placed: Placed, page: Page) -> None:
        """Write the lines of a label, centred."""
        lines = _lines(label)
        x = page.centre[0] + placed.centre[0] * page.radius
        y = page.centre[1] + placed.centre[1] * page.radius
        y += (ASCENT - len(lines) * _LEADING / 2 + 0.1) * page.letter
        wide = max(text_width(text, page.letter, bold) for text, bold in lines) / 2
        high = len(lines) * _LEADING * page.letter
        ends = ((-wide, 0.0), (wide, 0.0), (wide, high), (-wide, high), (-wide, 0.0))
        top = y - ASCENT * page.letter
        self.outlines.append(tuple((x + across, top + down) for across, down in ends))
        own = readable_on(self.colour_of.get(self._title_of(label), "#888888"), self.under)
        for number, (text, bold) in enumerate(lines):
            at = (x, y + number * _LEADING * page.letter)
            colour = own if bold else self.strong
            self.elements.append(Text(at, text, page.letter, colour, bold, "middle"))

    def _title_of(self, label: Named) -> str:
        return next((one.title for one in self.scene.layers if one.name == label.layer), "")

    def _inset(self, page: Page, at: int, told: Callable[[float], None]) -> None:
        """Paint a window anew at its own fineness, frame it, and say where it comes from."""
        left, top, width, height = page.insets[at]
        view, window = self._inset_view(page, at), self.windows[at]
        painting = self._picture(view, told)
        self.elements.append(Raster((left, top), self._finished(painting, view, disc=False)))
        accent = rgb_of(self.palette.accent)
        thin = max(page.width / 900, 1.0)
        self.elements.append(Box((left, top), (width, height), (168, 170, 159), thin))
        zoom = page.radius / DISC
        x = page.centre[0] + (window.x - 0.5) * zoom
        y = page.centre[1] + (window.y - 0.5) * zoom
        across = window.width * zoom
        down = across * height / width
        self.elements.append(
            Box((x - across / 2, y - down / 2), (across, down), accent, 1.5 * thin)
        )
        if top > page.centre[1] + page.radius:
            starts = [(left + part * width / 8, float(top)) for part in (4, 3, 5, 2, 6, 1, 7)]
        else:
            starts = [
                (float(left + width), top + part * height / 8) for part in (4, 3, 5, 2, 6, 1, 7)
            ]
        sides = ((-0.5, 0), (0, -0.5), (0, 0.5), (0.5, 0))
        ends = [(x + right * across, y + low * down) for right, low in sides]
        self.elements.append(Line(self._past_words(starts, ends), 1.5 * thin, accent))
        text = f"{window.title}  x{view.scale / zoom:.0f}"
        below = top + height + 1.3 * page.letter
        self.elements.append(Text((left, below), text, page.letter, self.ink))

    def _past_words(self, starts: Sequence[Point], ends: Sequence[Point]) -> tuple[Point, Point]:
        """The line from one of the starts to one of the ends that crosses fewest labels."""

        def cost(line: tuple[Point, Point]) -> tuple[int, float]:
            crossed = sum(crosses(line, outline) for outline in self.outlines)
            return crossed, math.dist(*line)

        return min(itertools.product(starts, ends), key=cost)

    def _title(self, page: Page) -> None:
        if not self.look.title:
            return
        size = 2.0 * page.letter
        width = text_width(self.look.title, size, bold=True)
        size *= min(1.0, 0.94 * page.width / max(width, 1.0))
        at = (page.width / 2, page.head or 2.4 * page.letter)
        self.elements.append(Text(at, self.look.title, size, self.strong, True, "middle"))

    def _caption(self, page: Page, words: list[tuple[str, bool]], *, corners: bool) -> None:
        """Model, counts and machine: lower left."""
        size = 0.95 * page.letter if not corners else max(page.width / 95, 7.0)
        margin = 1.8 * page.letter
        last = page.height - margin - (len(words) - 1) * 1.55 * size
        for number, (text, bold) in enumerate(words):
            colour = self.strong if bold else self.ink
            at = (margin, last + number * 1.55 * size)
            self.elements.append(Text(at, text, size, colour, bold))

    def _legend_lines(self) -> int:
        colouring = self.look.colouring
        if not self.look.legend:
            return 0
        return 2 if colouring is None or not colouring.entries else -(-len(colouring.entries) // 2)

    def _legend(self, page: Page, *, corners: bool) -> None:
        """What colours mean: lower right."""
        size = 0.95 * page.letter if not corners else max(page.width / 95, 7.0)
        margin = 1.8 * page.letter
        right, base = page.width - margin, page.height - margin
        colouring = self.look.colouring
        listed = self._listed()
        if listed:
            self._classes(listed, right, base, size, columns=1 if corners else 2)
            return
        table = ramp(self.look.palette)
        low = 0 if colouring is None else int(0.18 * (len(table) - 1))
        chosen = to_bytes(table[np.linspace(low, len(table) - 1, _TONES).astype(int)])
        colours = tuple((int(r), int(g), int(b)) for r, g, b in chosen)
        what = "density of nodes" if colouring is None else f"{colouring.title}, by rank"
        ends = ("sea", "nuclei") if colouring is None else ("few", "many")
        y = base - 1.5 * size
        small = 0.9 * size
        # The middle one must not meet the longer of the other two.
        longer = max(text_width(end, small) for end in ends)
        width = max(16 * size, text_width(what, small) + 2 * longer + 2 * size)
        self.elements.append(Bar((right - width, base - 0.8 * size), (width, 0.8 * size), colours))
        self.elements.append(Text((right - width, y), ends[0], small, self.ink))
        self.elements.append(Text((right - width / 2, y), what, small, self.ink, False, "middle"))
        self.elements.append(Text((right, y), ends[1], small, self.ink, False, "right"))

    def _listed(self) -> list[tuple[str, Rgb]]:
        """Names and colours of classes, or of two kinds of dots; none where there is a ramp."""
        colouring, table = self.look.colouring, ramp(self.look.palette)
        if colouring is None:
            if not self.dotted:
                return []
            kinds = (("compute vertex", VERTEX_TONE), ("region of memory", REGION_TONE))
            chosen = [(name, table[int(tone * (len(table) - 1))]) for name, tone in kinds]
        elif colouring.table is not None:
            chosen = [(name, colouring.table[index]) for name, index in colouring.entries]
        else:
            return []
        made = []
        for name, light in chosen:
            red, green, blue = (int(part) for part in to_bytes(light))
            made.append((name, (red, green, blue)))
        return made

    def _classes(
        self, listed: list[tuple[str, Rgb]], right: float, base: float, size: float, columns: int
    ) -> None:
        """Dots and names, in columns."""
        rows = -(-len(listed) // columns)
        wide = max(text_width(name, size) for name, _ in listed) + 3 * size
        for number, (name, colour) in enumerate(listed):
            column, row = divmod(number, rows)
            x = right - (columns - column) * wide
            y = base - (rows - 1 - row) * 1.55 * size
            self.elements.append(Dot((x + 0.5 * size, y - 0.36 * size), 0.42 * size, colour))
            self.elements.append(Text((x + 1.4 * size, y), name, size, self.ink))


def dithered(image, tones: tuple[str, ...]):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Scatter a few tones by error diffusion, as the published pictures do; RGB in, RGB out."""
    from PIL import Image  # noqa: PLC0415

    few = Image.new("P", (1, 1))
    few.putpalette([part for tone in tones for part in rgb_of(tone)])
    return image.quantize(palette=few, dither=Image.Dither.FLOYDSTEINBERG).convert("RGB")


def _lines(label: Named) -> list[tuple[str, bool]]:
    """The lines of a label, and which are bold."""
    sizes = label.sizes if label.alike == 1 else f"{label.sizes} x{label.alike}".strip()
    lines = ((label.name, True), (label.passes, True), (sizes, False))
    return [(text, bold) for text, bold in lines if text]


def _room(page: Page) -> Room:
    """Left, top, right and bottom of the part for labels, in radii from the disc's centre."""
    (cx, cy), (left, top, right, bottom) = page.centre, page.room
    return (
        (left - cx) / page.radius,
        (top - cy) / page.radius,
        (right - cx) / page.radius,
        (bottom - cy) / page.radius,
    )


def _unnamed(named: int, left_out: int) -> str:
    """Say how many cells have no label."""
    if not named:
        return "no cell is named"
    if not left_out:
        return "every cell is named"
    return f"{left_out:,} smaller cell{'s are' if left_out > 1 else ' is'} not named"
