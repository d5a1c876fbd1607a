"""What a picture shows, as arrays: nodes, edges and their names, without any geometry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ipuc.errors import ContainerError, InternalError
from ipuc.render.saving import FORMAT, load_arrays, save_arrays
from ipuc.render.touches import Touches

#: Values of `Scene.kind`.
VERTEX, REGION = 0, 1

_ARRAYS: dict[str, type[np.generic]] = {
    "kind": np.uint8,
    "tile": np.int32,
    "layer": np.int32,
    "elements": np.int32,
    "itemsize": np.uint8,
    "activity": np.float32,
    "codelet": np.int16,
    "cell": np.int32,
}
_TOUCHES = ("first", "low", "count")


@dataclass(frozen=True, slots=True)
class LayerInfo:
    """One layer pass.

    Attributes:
        name: the forward layer.
        title: its name for people: "Conv 2 - 5x5".
        pass_: "forward", "backward", "weight update" or "loss".
        sizes: what goes in and out: "[64 in, 192 out]"; empty if there is nothing to say.
        shared: other passes that the same functions are called for, ", " between them.
    """

    name: str
    title: str
    pass_: str
    sizes: str = ""
    shared: str = ""


@dataclass(frozen=True, slots=True)
class Scene:
    """The bipartite vertex graph of a program: n nodes, m edges, arrays only.

    Compute vertices come first, in program order, then elementary regions in device order: node
    v + i is region i of `touches`, which holds the edges.

    Attributes:
        kind: [n] `VERTEX` (a compute vertex) or `REGION` (an elementary region).
        tile: [n] the tile that holds the node.
        layer: [n] index into `layers`.
        elements: [n] elements of a region; 1 for a vertex.
        itemsize: [n] bytes of an element of a region; 1 for a vertex.
        activity: [n] how busy the node is, in any unit; only its rank is drawn.
        codelet: [n] index into `codelets`; -1 for a region.
        cell: [n] the cell that holds the node, numbered from 0 (see `ipuc.render.cells`).
        touches: the regions of every compute vertex.
        layers: the layer passes, in program order.
        codelets: the vertex types.
        title: what the caption calls the picture.
        provenance: where the scene comes from; written into the picture file.
        stands: of a sample, nodes of the program for each of its own: float32[n]; None if it is
            the whole graph. Samples are not saved.
    """

    kind: NDArray[np.uint8]
    tile: NDArray[np.int32]
    layer: NDArray[np.int32]
    elements: NDArray[np.int32]
    itemsize: NDArray[np.uint8]
    activity: NDArray[np.float32]
    codelet: NDArray[np.int16]
    cell: NDArray[np.int32]
    touches: Touches
    layers: tuple[LayerInfo, ...]
    codelets: tuple[str, ...]
    title: str = ""
    provenance: dict[str, str] = field(default_factory=dict)
    stands: NDArray[np.float32] | None = None

    @property
    def nodes(self) -> int:
        """Number of nodes: compute vertices and elementary regions."""
        return int(self.kind.size)

    @property
    def edges(self) -> int:
        """Number of distinct (vertex, region) pairs."""
        return self.touches.edges

    @property
    def vertices(self) -> int:
        """Number of compute vertices."""
        return self.touches.vertices

    @property
    def regions(self) -> int:
        """Number of elementary regions."""
        return self.touches.regions

    def edge_blocks(self) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32]]]:
        """All edges in program order, a block at a time: node ids of vertices and of regions."""
        for vertex, region in self.touches.edges_in_blocks():
            yield vertex, region + np.int32(self.vertices)


def check_scene(scene: Scene) -> None:
    """Hold a scene to its own rules.

    Raises:
        InternalError: lengths, types or index ranges disagree, or an edge does not join a compute
            vertex to an elementary region.
    """

    def demand(holds: bool, what: str) -> None:
        if not holds:
            raise InternalError(what, where=f'scene "{scene.title}"')

    for name, dtype in _ARRAYS.items():
        array = getattr(scene, name)
        demand(array.dtype == dtype, f"{name} is {array.dtype}, not {np.dtype(dtype)}")
        demand(array.shape == (scene.nodes,), f"{name} has shape {array.shape}")
    touches = scene.touches
    demand(scene.nodes == touches.vertices + touches.regions, "edges of another scene")
    demand(int(touches.first[-1]) == touches.low.size == touches.count.size, "ranges are lost")
    if touches.low.size:
        demand(int(touches.low.min()) >= 0, "an edge leads to no region")
        demand(int(touches.high.max()) <= touches.regions, "an edge leads past the last region")
        demand(int(touches.count.min()) > 0, "a range is empty")
    if not scene.nodes:
        demand(not scene.edges, "edges without nodes")
        return
    demand(int(scene.kind.max()) <= REGION, "a kind is neither vertex nor region")
    for name, low, high in (
        ("tile", 0, None),
        ("layer", 0, len(scene.layers)),
        ("codelet", -1, len(scene.codelets)),
        ("cell", 0, None),
        ("elements", 1, None),
        ("itemsize", 1, None),
    ):
        array = getattr(scene, name)
        if array.size:
            demand(int(array.min()) >= low, f"{name} {array.min()} is under {low}")
            demand(high is None or int(array.max()) < high, f"{name} {array.max()} is too large")
    demand(bool(np.isfinite(scene.activity).all()), "an activity is not finite")
    first = scene.vertices
    demand(bool((scene.kind[:first] == VERTEX).all()), "a compute vertex is called a region")
    demand(bool((scene.kind[first:] == REGION).all()), "a region is called a compute vertex")
    demand(bool((scene.codelet[first:] == -1).all()), "a region has a codelet")
    demand(bool((scene.codelet[:first] >= 0).all()), "a vertex has no codelet")


def save_scene(scene: Scene, path: Path) -> None:
    """Write a scene as `.npz` without pickle, whole or not at all."""
    header = {
        "format": FORMAT,
        "layers": [list(astuple(layer)) for layer in scene.layers],
        "codelets": list(scene.codelets),
        "title": scene.title,
        "provenance": scene.provenance,
    }
    arrays = {name: getattr(scene, name) for name in _ARRAYS}
    arrays |= {name: getattr(scene.touches, name) for name in _TOUCHES}
    save_arrays(path, header, arrays)


def load_scene(path: Path) -> Scene:
    """Read a scene that `save_scene` wrote.

    Raises:
        ContainerError: the file is no saved scene, or it is damaged.
    """
    header, arrays = load_arrays(path, (*_ARRAYS, *_TOUCHES))
    try:
        first, low, count = (arrays.pop(name) for name in _TOUCHES)
        touches = Touches(first, low, count, arrays["kind"].size + 1 - first.size)
        scene = Scene(
            **arrays,
            touches=touches,
            layers=tuple(LayerInfo(*map(str, row)) for row in header["layers"]),
            codelets=tuple(map(str, header["codelets"])),
            title=str(header["title"]),
            provenance={str(key): str(value) for key, value in header["provenance"].items()},
        )
        check_scene(scene)
    except (KeyError, TypeError, AttributeError, InternalError) as error:
        raise ContainerError(
            f"the scene is damaged: {error}", where=str(path), fix="save the scene again"
        ) from error
    return scene
