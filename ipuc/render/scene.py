"""What a picture shows, as arrays: nodes, edges and their names, without any geometry."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ipuc.errors import ContainerError, InternalError
from ipuc.render.saving import FORMAT, load_arrays, save_arrays

#: Values of `Scene.kind`.
VERTEX, REGION = 0, 1

_ARRAYS: dict[str, type[np.generic]] = {
    "kind": np.uint8,
    "tile": np.int32,
    "layer": np.int32,
    "elements": np.int64,
    "activity": np.float32,
    "codelet": np.int16,
    "cell": np.int32,
    "vertex": np.int32,
    "region": np.int32,
}
_EDGE_ARRAYS = ("vertex", "region")


@dataclass(frozen=True, slots=True)
class LayerInfo:
    """One layer pass: the layer's name, a title for labels, and the pass ("forward", ...)."""

    name: str
    title: str
    pass_: str


@dataclass(frozen=True, slots=True)
class Scene:
    """The bipartite vertex graph of a program: n nodes, m edges, arrays only.

    Attributes:
        kind: [n] `VERTEX` (a compute vertex) or `REGION` (an elementary region).
        tile: [n] the tile that holds the node.
        layer: [n] index into `layers`.
        elements: [n] elements of a region; 1 for a vertex.
        activity: [n] how busy the node is, in any unit; only its rank is drawn.
        codelet: [n] index into `codelets`; -1 for a region.
        cell: [n] the cell that holds the node, numbered from 0 (see `ipuc.render.cells`).
        vertex: [m] node id of the edge's compute vertex.
        region: [m] node id of the edge's elementary region.
        layers: the layer passes, in program order.
        codelets: the vertex types.
        title: what the caption calls the picture.
        provenance: where the scene comes from; written into the picture file.
    """

    kind: NDArray[np.uint8]
    tile: NDArray[np.int32]
    layer: NDArray[np.int32]
    elements: NDArray[np.int64]
    activity: NDArray[np.float32]
    codelet: NDArray[np.int16]
    cell: NDArray[np.int32]
    vertex: NDArray[np.int32]
    region: NDArray[np.int32]
    layers: tuple[LayerInfo, ...]
    codelets: tuple[str, ...]
    title: str = ""
    provenance: dict[str, str] = field(default_factory=dict)

    @property
    def nodes(self) -> int:
        """Number of nodes: compute vertices and elementary regions."""
        return int(self.kind.size)

    @property
    def edges(self) -> int:
        """Number of distinct (vertex, region) pairs."""
        return int(self.vertex.size)

    @property
    def vertices(self) -> int:
        """Number of compute vertices."""
        return self.nodes - self.regions

    @property
    def regions(self) -> int:
        """Number of elementary regions."""
        return int(np.count_nonzero(self.kind))


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
        length = scene.vertex.size if name in _EDGE_ARRAYS else scene.kind.size
        demand(array.dtype == dtype, f"{name} is {array.dtype}, not {np.dtype(dtype)}")
        demand(array.shape == (length,), f"{name} has shape {array.shape}, not ({length},)")
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
        ("vertex", 0, scene.nodes),
        ("region", 0, scene.nodes),
    ):
        array = getattr(scene, name)
        if array.size:
            demand(int(array.min()) >= low, f"{name} {array.min()} is under {low}")
            demand(high is None or int(array.max()) < high, f"{name} {array.max()} is too large")
    demand(bool(np.isfinite(scene.activity).all()), "an activity is not finite")
    demand(bool((scene.codelet[scene.kind == REGION] == -1).all()), "a region has a codelet")
    demand(bool((scene.codelet[scene.kind == VERTEX] >= 0).all()), "a vertex has no codelet")
    demand(bool((scene.kind[scene.vertex] == VERTEX).all()), "an edge starts at no vertex")
    demand(bool((scene.kind[scene.region] == REGION).all()), "an edge ends at no region")


def save_scene(scene: Scene, path: Path) -> None:
    """Write a scene as `.npz` without pickle, whole or not at all."""
    header = {
        "format": FORMAT,
        "layers": [[layer.name, layer.title, layer.pass_] for layer in scene.layers],
        "codelets": list(scene.codelets),
        "title": scene.title,
        "provenance": scene.provenance,
    }
    arrays = {name: getattr(scene, name) for name in _ARRAYS}
    save_arrays(path, header, arrays)


def load_scene(path: Path) -> Scene:
    """Read a scene that `save_scene` wrote.

    Raises:
        ContainerError: the file is no saved scene, or it is damaged.
    """
    header, arrays = load_arrays(path, tuple(_ARRAYS))
    try:
        scene = Scene(
            **arrays,
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
