"""What the colour of a node means: a measure, or the layer or pass that it belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ipuc.render.palettes import linear_of, palette_named
from ipuc.render.scene import REGION, Scene

Floats = NDArray[np.float32]
Nodes = slice | NDArray[np.integer]

#: What `--colour-by` takes.
By = Literal["cycles", "memory", "exchange", "layer", "pass"]
BY: tuple[By, ...] = ("cycles", "memory", "exchange", "layer", "pass")

_PASSES = ("forward", "backward", "weight update", "loss")

#: Light of a region, where classes are coloured; a vertex has 1.
_REGION_LIGHT = 0.45

#: Layers that a legend lists; the others share colours with them anyway.
_LEGEND = 12


@dataclass(frozen=True, slots=True)
class Colouring:
    """The colour of every node.

    Attributes:
        title: what the colour shows, for the legend.
        value: [n] place on the ramp, 0 to 1; None if colours are those of classes.
        member: [n] class of every node, an index into `table`; None if there is a value.
        table: [classes, 3] colours in linear light.
        entries: (name, index into `table`) of the classes that a legend lists.
    """

    title: str
    value: Floats | None = None
    member: NDArray[np.int32] | None = None
    table: Floats | None = None
    entries: tuple[tuple[str, int], ...] = ()

    @property
    def channels(self) -> int:
        """Numbers for a node: 1 for a place on the ramp, 3 for a colour."""
        return 1 if self.table is None else 3

    def of(self, nodes: Nodes) -> Floats:
        """Colours of some nodes: [channels, b]."""
        if self.value is not None:
            return self.value[nodes][None]
        assert self.table is not None
        assert self.member is not None
        return self.table.T[:, self.member[nodes]]


def colouring_of(scene: Scene, by: By, palette: str, weight: Floats) -> Colouring:
    """Colour the nodes of a scene.

    Measures are turned into ranks, so that every part of the ramp covers as much of the picture.

    Args:
        scene: what to colour.
        by: "cycles": the profile's cycles of a vertex, and a region's share of its users' cycles.
            "memory": bytes of a region, and of the mean region that a vertex reaches. "exchange":
            bytes that come to a node, or leave it, because the other end of an edge lies on
            another tile. "layer", "pass": the layer pass that the node belongs to.
        palette: whose colours.
        weight: [n] light of every node, by which ranks are weighted.
    """
    if by in ("layer", "pass"):
        return _classes(scene, by, palette)
    if by == "cycles":
        return Colouring("cycles", value=ranks(scene.activity, weight))
    if by == "memory":
        return Colouring("bytes of memory", value=ranks(_memory(scene), weight))
    return Colouring("bytes exchanged", value=ranks(_exchange(scene), weight))


def bytes_of(scene: Scene, regions: Nodes) -> Floats:
    """Bytes of some nodes, as float32."""
    return scene.elements[regions].astype(np.float32) * scene.itemsize[regions]


def ranks(values: Floats, weight: Floats | None = None) -> Floats:
    """Rank of every value from 0 to 1; equal values share their mean rank.

    Args:
        values: [n].
        weight: [n] how much each counts; all the same if None.
    """
    if values.size < 2:
        return np.full(values.size, 0.5, np.float32)
    known = np.unique(values)
    place = np.searchsorted(known, values).astype(np.int32)
    count = np.bincount(place, weight, known.size)
    middle = np.cumsum(count) - 0.5 * count
    # The least value is 0 and the greatest 1, however often they occur.
    low, high = middle[0], middle[-1]
    scaled = (middle - low) / max(high - low, 1e-30) if known.size > 1 else np.full(1, 0.5)
    return scaled.astype(np.float32)[place]


def _classes(scene: Scene, by: By, palette: str) -> Colouring:
    """Layers, or passes, in colours that neighbours in program order do not share."""
    colours = palette_named(palette).classes
    keys = [info.pass_ if by == "pass" else info.title for info in scene.layers]
    names = list(dict.fromkeys(keys))
    if by == "pass":
        names.sort(key=lambda name: _PASSES.index(name) if name in _PASSES else len(_PASSES))
    index = {name: at for at, name in enumerate(names)}
    bright = linear_of(tuple(colours[at % len(colours)] for at in range(max(len(names), 1))))
    # Regions are darker than vertices, or a cell of one class would be one flat tone.
    table = np.stack([bright, _REGION_LIGHT * bright], axis=1).reshape(-1, 3)
    member = np.array([index[key] for key in keys] or [0], np.int32)[scene.layer]
    listed = _most(names, member)
    member = 2 * member + scene.kind
    entries = tuple((names[at], 2 * at) for at in listed)
    return Colouring(by, member=member, table=table.astype(np.float32), entries=entries)


def _most(names: Sequence[str], member: NDArray[np.int32]) -> list[int]:
    """The classes with most nodes, as many as a legend lists, in program order."""
    size = np.bincount(member, minlength=len(names))
    return sorted(np.argsort(-size, kind="stable")[:_LEGEND].tolist()) if names else []


def _memory(scene: Scene) -> Floats:
    """Bytes of every region, and of the mean region that a vertex reaches: [n]."""
    found = np.zeros(scene.nodes, np.float32)
    degree = np.zeros(scene.nodes, np.int32)
    for vertex, region in scene.edge_blocks():
        np.add.at(found, vertex, bytes_of(scene, region))
        np.add.at(degree, vertex, 1)
    found /= np.maximum(degree, 1)
    regions = np.flatnonzero(scene.kind == REGION)
    found[regions] = bytes_of(scene, regions)
    return found


def _exchange(scene: Scene) -> Floats:
    """Bytes over edges that join two tiles, for both of their ends: [n]."""
    found = np.zeros(scene.nodes, np.float32)
    for vertex, region in scene.edge_blocks():
        apart = scene.tile[vertex] != scene.tile[region]
        moved = bytes_of(scene, region[apart])
        np.add.at(found, vertex[apart], moved)
        np.add.at(found, region[apart], moved)
    return found
