"""What every cell of a picture is called, and where in it a leader may end."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.errors import OptionError, nearest
from ipuc.files import whole
from ipuc.render.fields import blocks
from ipuc.render.place import Layout
from ipuc.render.scene import VERTEX, Scene

Floats = NDArray[np.float32]
Int32s = NDArray[np.int32]

#: Bins per side of the map that says which cell is where.
GRID = 128

#: Cells that can be told apart on the map; the others, smaller, only stand in the way.
_MAPPED = 96

#: A pass is named if it has this share of its layer's vertices in the cell.
_NAMED = 0.08

#: A bin belongs to a cell from this share of the disc's mean density on.
_THIN = 0.25

#: Places in a cell, from the fullest on, where a leader may end.
_PLACES = 24

#: What a row of a list of labels has, and which of it are words.
_COLUMNS = ("cell", "name", "passes", "sizes", "layer", "nodes", "alike")
_WORDS = ("name", "passes", "sizes")

_ORDER = ("forward", "backward", "weight update", "loss")


@dataclass(frozen=True, slots=True)
class Named:
    """A cell that can be labelled.

    Attributes:
        cell: the scene's number of the cell.
        name: of the layer, for people.
        passes: "Forward / Backward"; may be empty.
        sizes: "[192 in, 384 out]"; may be empty.
        layer: the layer's unique name, which decides the colour.
        nodes: in the cell.
        alike: cells that have the same words; one label stands for them all.
    """

    cell: int
    name: str
    passes: str
    sizes: str
    layer: str
    nodes: int
    alike: int = 1


@dataclass(frozen=True, slots=True)
class CellMap:
    """Which cell lies where, on a grid over the unit square.

    Attributes:
        owner: [GRID, GRID] index into `cells`; -1 where nothing is, -2 for a small cell.
        cells: the cells' numbers, the largest first.
        places: [cells] where leaders may end, the fullest place first: each [k, 2].
    """

    owner: Int32s
    cells: tuple[int, ...]
    places: tuple[Floats, ...]


#: Channels in and out: a backward pass has them the other way round.
_TURNED = re.compile(r"^\[(\d+) in, (\d+) out\]$")


def name_cells(scene: Scene, layout: Layout) -> list[Named]:
    """Name every bound cell after the layer with most of its nodes, the largest cell first."""
    layers = scene.layers
    bound = layout.cell_id.size
    if not bound or not layers:
        return []
    titles = {title: at for at, title in enumerate(dict.fromkeys(one.name for one in layers))}
    title_of = np.array([titles[one.name] for one in layers])
    count = np.zeros(bound * len(layers), np.int64)
    working = np.zeros_like(count)
    index = _index_of_cells(scene, layout.cell_id)
    for nodes in blocks(scene.nodes):
        at = index[scene.cell[nodes]]
        inside = at >= 0
        key = at[inside].astype(np.int64) * len(layers) + scene.layer[nodes][inside]
        count += np.bincount(key, minlength=count.size)
        busy = scene.kind[nodes][inside] == VERTEX
        working += np.bincount(key[busy], minlength=count.size)
    table, works = (one.reshape(bound, len(layers)) for one in (count, working))
    made = []
    for row, busy, cell in zip(table, works, layout.cell_id.tolist(), strict=True):
        if not row.any():
            continue
        winner = int(np.bincount(title_of, row, len(titles)).argmax())
        own = np.flatnonzero((title_of == winner) & (row > 0))
        # Passes share regions, so it is the vertices that tell which passes work here.
        least = _NAMED * int(busy[own].sum())
        working_here = [layers[number] for number in own.tolist() if busy[number] >= least]
        passes = [one.pass_ for one in working_here]
        passes += [one for layer in working_here for one in layer.shared.split(", ") if one]
        passes = sorted(
            dict.fromkeys(passes), key=lambda one: _ORDER.index(one) if one in _ORDER else 9
        )
        first = layers[int(own[row[own].argmax()])]
        words = " / ".join(one.title() for one in passes)
        if len(passes) > 2:
            words = words.replace("Weight Update", "Update")
        name = first.title.replace(" - ", " – ")  # noqa: RUF001 - an en dash is meant
        sizes = "" if first.sizes == "[]" else first.sizes
        if passes == ["backward"]:
            sizes = _TURNED.sub(r"[\2 in, \1 out]", sizes)
        made.append(Named(cell, name, words, sizes, first.name, int(row.sum())))
    return sorted(made, key=lambda one: (-one.nodes, one.cell))


def once_each(named: Sequence[Named]) -> list[Named]:
    """Keep the largest of the cells that have the same words, and count the others."""
    kept: dict[tuple[str, str, str], Named] = {}
    for one in named:
        key = (one.name, one.passes, one.sizes)
        known = kept.get(key)
        kept[key] = replace(known, alike=known.alike + 1) if known else one
    return list(kept.values())


def map_cells(scene: Scene, layout: Layout) -> CellMap:
    """See which cell is where: the one with most nodes in a bin, if they are not mere dust."""
    order = np.argsort(-layout.cell_share, kind="stable")[:_MAPPED]
    mapped = layout.cell_id[order]
    index = _index_of_cells(scene, layout.cell_id, order)
    kinds = mapped.size + 1
    light = np.zeros(kinds * GRID * GRID, np.float32)
    for nodes in blocks(scene.nodes):
        at = index[scene.cell[nodes]]
        bin_ = np.clip((layout.xy[nodes] * GRID).astype(np.int32), 0, GRID - 1)
        key = at.astype(np.int64) * GRID * GRID + bin_[:, 1] * GRID + bin_[:, 0]
        bound = at >= 0
        np.add.at(light, key[bound], layout.light[nodes][bound])
    field = light.reshape(kinds, GRID, GRID)
    owner = field.argmax(axis=0).astype(np.int32)
    mean = scene.nodes / (np.pi * (0.46 * GRID) ** 2)
    owner[owner == mapped.size] = -2
    owner[field.max(axis=0) < _THIN * mean] = -1
    places = []
    for number in range(mapped.size):
        mine = np.where(owner == number, field[number], 0).reshape(-1)
        if not mine.any():
            mine = field[number].reshape(-1)
        best = np.argsort(-mine, kind="stable")[:_PLACES]
        best = best[mine[best] > 0]
        spots = np.stack([best % GRID, best // GRID], axis=1)
        places.append(((spots + 0.5) / GRID).astype(np.float32))
    return CellMap(owner, tuple(mapped.tolist()), tuple(places))


def write_labels(labels: Sequence[Named], path: Path) -> None:
    """Write labels as JSON, for `--labels` to read when they have been edited.

    Raises:
        ContainerError: the file cannot be written.
    """
    rows = [asdict(label) for label in labels]
    with whole(path, "the labels") as stream:
        stream.write((json.dumps(rows, indent=2, ensure_ascii=False) + "\n").encode())


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read a list of labels that `write_labels` wrote and somebody edited.

    Raises:
        OptionError: the file is no such list.
    """
    try:
        rows: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _unread(path, error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise _unread(path, "this is no text") from error
    except (ValueError, RecursionError) as error:
        raise _unread(path, f"this is no JSON: {error}") from error
    if not isinstance(rows, list):
        raise _unread(path, "this is no list")
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict) or type(row.get("cell")) is not int:
            raise _unread(path, f"row {number} of the labels names no cell")
        for key, value in row.items():
            if key not in _COLUMNS:
                raise _unread(path, f'row {number} has "{key}"', nearest(key, _COLUMNS))
            if key in _WORDS and not isinstance(value, str):
                raise _unread(path, f'row {number}: "{key}" is no text')
    cells = [row["cell"] for row in rows]
    twice = next((cell for cell in cells if cells.count(cell) > 1), None)
    if twice is not None:
        raise _unread(path, f"cell {twice} has two rows")
    return rows


def read_labels(path: Path, known: Sequence[Named]) -> list[Named]:
    """Read labels that `write_labels` wrote and somebody edited.

    Rows may be left out, put in another order, and given other words; `cell` says which cell is
    meant.

    Raises:
        OptionError: the file is no such list, or names a cell that the picture has not.
    """
    cells = {label.cell: label for label in known}
    made = []
    for number, row in enumerate(read_rows(path), 1):
        old = cells.get(row["cell"])
        if old is None:
            raise _unread(path, f"row {number} of the labels names no cell of this picture")
        words = {key: row[key] for key in _WORDS if key in row}
        alike = row.get("alike")
        made.append(replace(old, alike=alike if type(alike) is int else old.alike, **words))
    return made


def _unread(path: Path, why: str, fix: str = "") -> OptionError:
    advice = "write a list with --write-labels FILE, and change only its words"
    return OptionError(f"the labels cannot be read: {why}", where=str(path), fix=fix or advice)


def _index_of_cells(scene: Scene, cells: Int32s, order: NDArray[np.int64] | None = None) -> Int32s:
    """For every cell number: its place in `cells`, or in `cells[order]`; -1 for sea.

    With an order, cells that it leaves out get the number after the last.
    """
    most = int(scene.cell.max(initial=0)) + 1
    index = np.full(most, -1, np.int32)
    if order is None:
        index[cells] = np.arange(cells.size)
        return index
    index[cells] = order.size
    index[cells[order]] = np.arange(order.size)
    return index
