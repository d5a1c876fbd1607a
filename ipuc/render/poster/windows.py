"""Parts of a disc that are magnified beside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ipuc.errors import OptionError, nearest
from ipuc.render.place import Layout
from ipuc.render.poster.naming import map_cells
from ipuc.render.scene import Scene

#: An inset shows this many times its cell's root mean square radius across.
_WINDOW = 1.1


@dataclass(frozen=True, slots=True)
class Window:
    """A part of the disc to magnify: its middle and width in the unit square, and its name."""

    x: float
    y: float
    width: float
    title: str


def window_of(scene: Scene, layout: Layout, text: str) -> Window:
    """Find what an inset shows: the fullest place of the largest cell of a layer.

    Args:
        scene: knows the layers.
        layout: where its cells are.
        text: LAYER, by either of its names, or LAYER@TIMES for another magnification.

    Raises:
        OptionError: there is no such layer, or it has no cell of its own.
    """
    name, _, times = text.partition("@")
    layers = scene.layers
    wanted = {
        at for at, one in enumerate(layers) if name.lower() in (one.name.lower(), one.title.lower())
    }
    known = [word for one in layers for word in (one.title, one.name)]
    if not wanted:
        raise OptionError(
            f'there is no layer "{name}" for an inset', where="--inset", fix=nearest(name, known)
        )
    member = np.isin(scene.layer, np.array(sorted(wanted)))
    count = np.bincount(scene.cell[member], minlength=int(scene.cell.max()) + 1)
    of_bound = count[layout.cell_id]
    if not of_bound.any():
        raise OptionError(
            f'"{name}" has no cell of its own in this picture: its nodes are sea',
            where="--inset",
            fix="choose a larger layer",
        )
    best = int(of_bound.argmax())
    known_map = map_cells(scene, layout)
    cell = int(layout.cell_id[best])
    at = known_map.cells.index(cell) if cell in known_map.cells else -1
    x, y = known_map.places[at][0] if at >= 0 else layout.cell_xy[best]
    width = _WINDOW * float(layout.cell_radius[best])
    if times:
        if not times.replace(".", "", 1).isdigit() or not float(times) > 1:
            raise OptionError(
                f'"{times}" is no magnification', where="--inset", fix=f"write {name}@8"
            )
        # The column of insets is about as wide as the disc's part is.
        width = 0.66 / float(times)
    title = next(one.title for one in layers if layers.index(one) in wanted)
    return Window(float(x), float(y), width, title)
