"""Parts of a disc that are magnified beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ipuc.errors import OptionError, nearest
from ipuc.render.place import Layout
from ipuc.render.poster.naming import map_cells
from ipuc.render.scene import LayerInfo, Scene

#: An inset shows this many times its cell's root mean square radius across.
_WINDOW = 1.1

#: The most that a part is magnified: more would show parts of one node.
_MOST_TIMES = 1000


@dataclass(frozen=True, slots=True)
class Window:
    """A part of the disc to magnify: its middle and width in the unit square, and its name."""

    x: float
    y: float
    width: float
    title: str


def read_inset(layers: Sequence[LayerInfo], text: str) -> tuple[list[int], float | None]:
    """Read LAYER, by either of its names, or LAYER@TIMES for another magnification.

    Args:
        layers: of the scene.
        text: what was asked for.

    Returns:
        The layer's passes, as indices into the layers, and the magnification.

    Raises:
        OptionError: there is no such layer, or no such magnification.
    """
    name, at, times = text.rpartition("@")
    if not at or not _of(layers, name):
        # A layer's own name may hold the sign.
        whole = _of(layers, text)
        if whole or not at:
            name, at, times = text, "", ""
    wanted = _of(layers, name)
    if not wanted:
        known = [word for one in layers for word in (one.title, one.name)]
        raise OptionError(
            f'there is no layer "{name}" for an inset', where="--inset", fix=nearest(name, known)
        )
    if not at:
        return wanted, None
    number = float(times) if times.replace(".", "", 1).isdecimal() else 0.0
    if not 1 < number <= _MOST_TIMES:
        raise OptionError(
            f'"{times}" is no magnification from 1 to {_MOST_TIMES}',
            where="--inset",
            fix=f"write {name}@8",
        )
    return wanted, number


def _of(layers: Sequence[LayerInfo], name: str) -> list[int]:
    """Passes of the layer of a name."""
    word = name.lower()
    return [at for at, one in enumerate(layers) if word in (one.name.lower(), one.title.lower())]


def window_of(scene: Scene, layout: Layout, text: str) -> Window:
    """Find what an inset shows: the fullest place of the largest cell of a layer.

    Args:
        scene: knows the layers.
        layout: where its cells are.
        text: LAYER, by either of its names, or LAYER@TIMES for another magnification.

    Raises:
        OptionError: there is no such layer, or it has no cell of its own.
    """
    wanted, times = read_inset(scene.layers, text)
    member = np.isin(scene.layer, np.array(wanted))
    count = np.bincount(scene.cell[member], minlength=int(scene.cell.max()) + 1)
    of_bound = count[layout.cell_id]
    if not of_bound.any():
        raise OptionError(
            f'"{text}" has no cell of its own in this picture: its nodes are sea',
            where="--inset",
            fix="choose a larger layer",
        )
    best = int(of_bound.argmax())
    known_map = map_cells(scene, layout)
    cell = int(layout.cell_id[best])
    at = known_map.cells.index(cell) if cell in known_map.cells else -1
    x, y = known_map.places[at][0] if at >= 0 else layout.cell_xy[best]
    width = _WINDOW * float(layout.cell_radius[best])
    if times is not None:
        # The column of insets is about as wide as the disc's part is.
        width = 0.66 / times
    title = scene.layers[wanted[0]].title
    return Window(float(x), float(y), width, title)
