"""One page with a picture in every palette."""

from __future__ import annotations

from collections.abc import Callable

from ipuc.render.colouring import colouring_of
from ipuc.render.paint import paint_each
from ipuc.render.palettes import PALETTES, readable_on, rgb_of
from ipuc.render.place import Layout
from ipuc.render.poster.elements import Poster, Raster, Text
from ipuc.render.raster import whole_view
from ipuc.render.scene import Scene
from ipuc.render.words import Words

#: Pictures side by side.
_COLUMNS = 3

_GROUND = "#0b0a0b"


def sheet(
    scene: Scene,
    layout: Layout,
    size: int,
    words: Words,
    told: Callable[[float], None] = lambda _: None,
) -> Poster:
    """Draw a scene in every palette, in what the palette shows best; `size` pixels wide.

    All pictures come from one walk over nodes and edges.
    """
    side = size // _COLUMNS
    letter = max(side / 38, 7.0)
    busy = colouring_of(scene, "cycles", "amber", layout.light)
    looks: list[tuple[str, str]] = [(name, one.mode) for name, one in PALETTES.items()]
    other = {"density": "activity", "activity": "density"}
    # The safe palette shows both, which also fills the last row.
    looks.append(("cividis", other[PALETTES["cividis"].mode]))
    chosen = [(name, None if mode == "density" else busy) for name, mode in looks]
    paintings = paint_each(scene, layout, view=whole_view(side), looks=chosen, told=told)
    rows = -(-len(looks) // _COLUMNS)
    step = side + round(2.4 * letter)
    lines = words.lines()
    height = rows * step + round((1.6 * len(lines) + 1.2) * letter)
    poster = Poster(side * _COLUMNS, height, rgb_of(_GROUND))
    ink = readable_on("#b8b0a4", rgb_of(_GROUND))
    for at, ((name, mode), painting) in enumerate(zip(looks, paintings, strict=True)):
        row, column = divmod(at, _COLUMNS)
        corner = column * side, row * step
        poster.elements.append(Raster(corner, painting.image))
        middle = corner[0] + side / 2, corner[1] + side + 1.5 * letter
        poster.elements.append(Text(middle, f"{name} – {mode}", letter, ink, True, "middle"))  # noqa: RUF001
    for at, (text, bold) in enumerate(lines):
        place = letter, rows * step + (1.6 * at + 1.2) * letter
        poster.elements.append(Text(place, text, letter, ink, bold))
    return poster
