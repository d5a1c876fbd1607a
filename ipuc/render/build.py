"""From a program to a scene: its own vertices, elementary regions and edges, and no other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.errors import OptionError
from ipuc.program.enumerate import VertexGraph
from ipuc.program.family import Origin, VertexFamily
from ipuc.program.program import Layer, Program
from ipuc.render.cells import cells_of
from ipuc.render.sample import Sample
from ipuc.render.scene import LayerInfo, Scene
from ipuc.render.touches import BLOCK, Touches, cuts, expand, touches_of_graph
from ipuc.target import Target


def scene_of(program: Program) -> Scene:
    """Make the scene of a program's vertex graph; see `scene_of_graph`."""
    return scene_of_graph(program, VertexGraph(program))


def scene_of_graph(
    program: Program,
    graph: VertexGraph,
    *,
    cell: NDArray[np.int32] | None = None,
    sample: Sample | None = None,
    progress: Callable[[float], None] = lambda _: None,
) -> Scene:
    """Make the scene of a program's vertex graph.

    Compute vertices come first, in program order, then elementary regions in device order. A
    vertex's activity is its cycles, once for each layer that runs it; a region's is the sum over
    its edges of the vertex's cycles divided by the vertex's edges. A region belongs to the layer
    pass of its first reader or writer in program order; what layers share, to the first of them.

    Args:
        program: what to draw.
        graph: its vertex graph.
        cell: the cell of every node, if it is known already.
        sample: the regions that the scene has, with all their edges; None for all regions.
        progress: told the finished fraction, 0 to 1.

    Raises:
        OptionError: there is nothing to draw.
    """
    if not graph.vertices:
        raise OptionError("the program has no vertices to draw", fix="draw it with --view ops")
    progress(0.1)
    touches, degree = touches_of_graph(graph, sample.keep if sample else None)
    regions: Any = sample.keep if sample else slice(None)
    progress(0.2)
    vertices, nodes = graph.vertices, graph.vertices + touches.regions
    known = {layer.name: layer for layer in program.layers}
    layers: dict[tuple[str, str], LayerInfo] = {}
    names: dict[str, int] = {}
    codelets: dict[str, int] = {}
    tile, layer = np.zeros(nodes, np.int32), np.zeros(nodes, np.int32)
    codelet = np.full(nodes, -1, np.int16)
    cycles, name = np.zeros(vertices), np.zeros(vertices, np.int32)
    for index, family in enumerate(graph.families):
        if not family.count:
            continue
        key = _add_layer(layers, family, known)
        place = slice(int(graph.first_vertex[index]), int(graph.first_vertex[index + 1]))
        tile[place] = family.tile.dense().reshape(-1)
        layer[place] = list(layers).index(key)
        name[place] = names.setdefault(key[0], len(names))
        codelet[place] = codelets.setdefault(family.codelet.name, len(codelets))
        cycles[place] = vertex_cycles(program, family) * max(1, len(family.origins))
    tile[vertices:] = graph.region_tile[regions]
    layer[vertices:] = _first_layer(layer[:vertices], touches)
    progress(0.3)
    elements, itemsize = np.ones(nodes, np.int32), np.ones(nodes, np.uint8)
    elements[vertices:] = graph.region_elements[regions]
    sizes = np.array([variable.itemsize for variable in program.variables], np.uint8)
    itemsize[vertices:] = sizes[graph.region_variable[regions]]
    activity = np.empty(nodes, np.float32)
    activity[:vertices] = cycles
    activity[vertices:] = touches.spread(cycles / np.maximum(degree, 1))
    progress(0.35)
    stands = None
    if sample is not None:
        stands = np.concatenate([np.ones(vertices, np.float32), sample.stands])
    if cell is None:
        cell = cells_of(name, touches, stands)
    progress(1.0)
    return Scene(
        kind=(np.arange(nodes) >= vertices).astype(np.uint8),
        tile=tile,
        layer=layer,
        elements=elements,
        itemsize=itemsize,
        activity=activity,
        codelet=codelet,
        cell=cell,
        touches=touches,
        layers=tuple(layers.values()),
        codelets=tuple(codelets),
        title=str(program.metadata.get("model", "")),
        provenance=provenance(program, graph, int(degree.sum())),
        stands=stands,
    )


def layers_of(program: Program) -> list[LayerInfo]:
    """The passes of layers that its scene will have."""
    known = {layer.name: layer for layer in program.layers}
    found: dict[tuple[str, str], LayerInfo] = {}
    for family in program.families():
        if family.count:
            _add_layer(found, family, known)
    return list(found.values())


def _add_layer(
    layers: dict[tuple[str, str], LayerInfo], family: VertexFamily, known: Mapping[str, Layer]
) -> tuple[str, str]:
    """Add the layer pass that a family is drawn as, its first, unless it is there: its key."""
    origin, *others = family.origins or (Origin("", ""),)
    about = known.get(origin.layer, Layer(origin.layer, "", (), ()))
    forward = about.layer or about.name
    key = (forward, origin.layer_pass)
    info = layers.get(key, LayerInfo(forward, about.label or forward, key[1], about.sizes))
    passes = [*info.shared.split(", "), *(other.layer_pass for other in others)]
    shared = dict.fromkeys(one for one in passes if one and one != info.pass_)
    layers[key] = replace(info, shared=", ".join(shared))
    return key


def _first_layer(layer: NDArray[np.int32], touches: Touches) -> NDArray[np.int32]:
    """Layer pass of every region: that of its first user in program order."""
    vertex, long = touches.vertex(), touches.count > 1
    # The last write stays, so all is walked backwards.
    user = np.full(touches.regions, layer.size, np.int32)
    user[touches.low[~long][::-1]] = vertex[~long][::-1]
    # Thousands of vertices share a long range: each distinct one is written once.
    low, count = touches.low[long], touches.count[long]
    _, first = np.unique((low.astype(np.int64) << 32) | count, return_index=True)
    first = np.sort(first)[::-1]
    low, count, vertex = low[first], count[first], vertex[long][first]
    other = np.full(touches.regions, layer.size, np.int32)
    for cut in cuts(count, BLOCK):
        other[expand(low[cut], count[cut])] = np.repeat(vertex[cut], count[cut])
    return layer[np.minimum(user, other)]


def vertex_cycles(program: Program, family: VertexFamily) -> float:
    """Cycles of one vertex of a family, by its codelet's formula."""
    sizes = {n: program.variables[a.variable].itemsize for n, a in family.fields.items()}
    itemsize = family.codelet.itemsize(sizes)
    target: Target = program.target
    return float(family.codelet.cycles(target, family.windows(), itemsize))


def provenance(program: Program, graph: VertexGraph, edges: int) -> dict[str, str]:
    """What a picture's text chunks say about the program, whose graph has so many edges."""
    known = {
        "ipuc.model": program.metadata.get("model"),
        "ipuc.sha256": program.metadata.get("sha256"),
        "ipuc.version": program.metadata.get("ipuc"),
        "ipuc.target": program.target.name,
        "ipuc.granularity": program.metadata.get("granularity"),
        "ipuc.nodes": graph.nodes,
        "ipuc.vertices": graph.vertices,
        "ipuc.regions": graph.regions,
        "ipuc.edges": edges,
    }
    return {key: str(value) for key, value in known.items() if value is not None}
