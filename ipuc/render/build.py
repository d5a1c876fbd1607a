"""From a program to a scene: its own vertices, elementary regions and edges, and no other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ipuc.errors import OptionError
from ipuc.program.enumerate import VertexGraph
from ipuc.program.family import VertexFamily
from ipuc.program.program import Program
from ipuc.render.cells import cells_of
from ipuc.render.scene import REGION, VERTEX, LayerInfo, Scene
from ipuc.target import Target

#: Nodes and edges that a scene may have: all of it is held, at about 20 bytes each.
DEFAULT_MAX_NODES, DEFAULT_MAX_EDGES = 4_000_000, 64_000_000


@dataclass(slots=True)
class _Rows:
    """Per-node arrays being filled, and the edges found so far."""

    tile: NDArray[np.int32]
    layer: NDArray[np.int32]
    codelet: NDArray[np.int16]
    cycles: NDArray[np.float64]
    vertex: list[NDArray[np.int32]]
    region: list[NDArray[np.int32]]


def scene_of(
    program: Program,
    *,
    max_nodes: int = DEFAULT_MAX_NODES,
    max_edges: int = DEFAULT_MAX_EDGES,
) -> Scene:
    """Make the scene of a program's vertex graph.

    Compute vertices come first, in program order, then elementary regions in device order. A
    vertex's activity is its cycles, once for each layer that runs it; a region's is the sum over
    its edges of the vertex's cycles divided by the vertex's edges. A region belongs to the layer
    pass of its first reader or writer in program order; what layers share, to the first of them.

    Args:
        program: what to draw.
        max_nodes: more nodes are refused.
        max_edges: more edges are refused.

    Raises:
        OptionError: the graph is larger than allowed, or there is nothing to draw.
    """
    graph = VertexGraph(program)
    _hold_to_limits(graph, max_nodes, max_edges)
    layers: dict[tuple[str, str], int] = {}
    codelets: dict[str, int] = {}
    vertices = graph.vertices
    rows = _Rows(
        np.zeros(graph.nodes, np.int32),
        np.zeros(graph.nodes, np.int32),
        np.full(graph.nodes, -1, np.int16),
        np.zeros(graph.nodes),
        [],
        [],
    )
    for block in graph.blocks():
        family = graph.families[block.family]
        layer = layers.setdefault((block.layer, block.layer_pass), len(layers))
        codelet = codelets.setdefault(block.codelet.name, len(codelets))
        count = len(block.tile)
        place = slice(block.first_vertex, block.first_vertex + count)
        rows.tile[place], rows.layer[place], rows.codelet[place] = block.tile, layer, codelet
        runs = max(1, len(family.origins))
        rows.cycles[place] = vertex_cycles(program, family) * runs
        degree = np.diff(block.edge_offsets)
        ids = np.arange(block.first_vertex, block.first_vertex + count, dtype=np.int32)
        rows.vertex.append(np.repeat(ids, degree))
        rows.region.append((block.regions + vertices).astype(np.int32))
    vertex, region = np.concatenate(rows.vertex), np.concatenate(rows.region)
    rows.tile[vertices:] = graph.region_tile
    _share_with_regions(rows, vertex, region, vertices)
    elements = np.ones(graph.nodes, np.int64)
    elements[vertices:] = graph.region_elements
    kind = np.full(graph.nodes, REGION, np.uint8)
    kind[:vertices] = VERTEX
    infos = tuple(LayerInfo(name, name, pass_) for name, pass_ in layers)
    return Scene(
        kind=kind,
        tile=rows.tile,
        layer=rows.layer,
        elements=elements,
        activity=rows.cycles.astype(np.float32),
        codelet=rows.codelet,
        cell=cells_of(rows.layer, [info.name for info in infos], vertex, region),
        vertex=vertex,
        region=region,
        layers=infos,
        codelets=tuple(codelets),
        title=str(program.metadata.get("model", "")),
        provenance=provenance(program, graph),
    )


def _hold_to_limits(graph: VertexGraph, max_nodes: int, max_edges: int) -> None:
    finer = "compile at --granularity tile, or for a smaller model"
    if not graph.vertices:
        raise OptionError("the program has no vertices to draw", fix="draw it with --view ops")
    if graph.nodes > max_nodes:
        raise OptionError(
            f"the vertex graph has {graph.nodes:,} nodes, {max_nodes:,} can be drawn", fix=finer
        )
    if graph.edges() > max_edges:
        raise OptionError(
            f"the vertex graph has {graph.edges():,} edges, {max_edges:,} can be drawn", fix=finer
        )


def _share_with_regions(
    rows: _Rows, vertex: NDArray[np.int32], region: NDArray[np.int32], vertices: int
) -> None:
    """Give every region its activity and its layer pass."""
    nodes = len(rows.tile)
    degree = np.bincount(vertex, minlength=nodes)
    share = rows.cycles / np.maximum(degree, 1)
    rows.cycles[vertices:] = np.bincount(region, share[vertex], minlength=nodes)[vertices:]
    # written backwards, so that the first user in program order stays
    rows.layer[region[::-1]] = rows.layer[vertex[::-1]]


def vertex_cycles(program: Program, family: VertexFamily) -> float:
    """Cycles of one vertex of a family, by its codelet's formula."""
    sizes = {n: program.variables[a.variable].itemsize for n, a in family.fields.items()}
    itemsize = family.codelet.itemsize(sizes)
    target: Target = program.target
    return float(family.codelet.cycles(target, family.windows(), itemsize))


def provenance(program: Program, graph: VertexGraph) -> dict[str, str]:
    """What a picture's text chunks say about the program."""
    known = {
        "ipuc.model": program.metadata.get("model"),
        "ipuc.sha256": program.metadata.get("sha256"),
        "ipuc.version": program.metadata.get("ipuc"),
        "ipuc.target": program.target.name,
        "ipuc.granularity": program.metadata.get("granularity"),
        "ipuc.nodes": graph.nodes,
        "ipuc.vertices": graph.vertices,
        "ipuc.regions": graph.regions,
        "ipuc.edges": graph.edges(),
    }
    return {key: str(value) for key, value in known.items() if value is not None}
