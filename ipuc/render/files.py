"""Graphs as files for other tools: operators for graph tools, vertices and regions as columns."""

from __future__ import annotations

import io
import json
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ipuc.errors import ContainerError, OptionError
from ipuc.files import whole
from ipuc.graph.ir import Graph
from ipuc.graph.record import from_json
from ipuc.program.program import Program
from ipuc.render.place import Layout
from ipuc.render.scene import Scene

#: Version of the columns of `write_columns`, and what each of them is.
FORMAT = 1

#: Suffixes of files of the op graph.
SUFFIXES = (".graphml", ".dot")


def op_graph(program: Program) -> nx.DiGraph:
    """The operators of a program as a networkx graph: an edge for every value that is handed on.

    A node has its operator, its layer for people, the layer pass, and the number of its compute
    vertices; inputs of the model are nodes too. An edge has the values' names, type, shape and
    bytes (all added up, where several values go from one operator to another).

    Raises:
        ContainerError: the program carries no op graph.
    """
    if not program.graph_text:
        raise ContainerError(
            "the program carries no op graph: it was built by hand", fix="compile a model"
        )
    graph = from_json(program.graph_text)
    vertices: Counter[str] = Counter()
    for family in program.families():
        if family.origins:
            vertices[family.origins[0].layer] += family.count
    labels = {layer.name: (layer.label, layer.sizes) for layer in program.layers}
    made = nx.DiGraph(name=graph.name or "")
    for name in graph.inputs:
        made.add_node(name, op="input", label=name, sizes="", layer_pass="", vertices=0)
    source = {name: name for name in graph.inputs}
    for node in graph.nodes:
        label, sizes = labels.get(node.name, ("", ""))
        made.add_node(
            node.name,
            op=node.op,
            label=label or node.name,
            sizes=sizes,
            layer_pass=node.layer_pass,
            vertices=vertices[node.name],
        )
        source |= {name: node.name for name in node.outputs if name}
    for node in graph.nodes:
        for name in dict.fromkeys(node.inputs):
            if name in source:
                _join(made, source[name], node.name, name, graph)
    return made


def write_op_graph(program: Program, path: Path) -> nx.DiGraph:
    """Write the op graph as GraphML or DOT, as the file's name says.

    Raises:
        OptionError: the name ends in neither.
        ContainerError: the file cannot be written, or the program has no op graph.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise OptionError(
            f"no graph is written as {suffix or 'a file without a suffix'}",
            where=str(path),
            fix=f"name it {path.stem}.graphml or {path.stem}.dot; vertices go into .npz",
        )
    graph = op_graph(program)
    text = _dot(graph) if suffix == ".dot" else "\n".join(nx.generate_graphml(graph)) + "\n"
    with whole(path, "the graph") as stream:
        stream.write(text.encode())
    return graph


def write_columns(scene: Scene, layout: Layout, path: Path) -> None:
    """Write the vertex graph as columns of an `.npz`, edges block by block.

    `docs/pictures.md` says what the columns are. Memory is that of one block.

    Raises:
        ContainerError: the file cannot be written.
    """
    header = {
        "format": FORMAT,
        "nodes": scene.nodes,
        "vertices": scene.vertices,
        "regions": scene.regions,
        "edges": scene.edges,
        "layers": [
            {"name": one.name, "title": one.title, "pass": one.pass_, "sizes": one.sizes}
            for one in scene.layers
        ],
        "vertex_types": list(scene.codelets),
        "seed": layout.seed,
        "provenance": scene.provenance,
    }
    columns: dict[str, NDArray[Any]] = {
        "header": np.frombuffer(json.dumps(header, sort_keys=True).encode(), np.uint8),
        "nodes/x": layout.xy[:, 0],
        "nodes/y": layout.xy[:, 1],
        "nodes/kind": scene.kind,
        "nodes/tile": scene.tile,
        "nodes/layer": scene.layer,
        "nodes/vertex_type": scene.codelet,
        "nodes/elements": scene.elements,
        "nodes/itemsize": scene.itemsize,
        "nodes/cycles": scene.activity,
        "nodes/cell": scene.cell,
    }
    with whole(path, "the graph") as stream, zipfile.ZipFile(stream, "w") as file:
        for name, column in columns.items():
            _member(file, name, column)
        for number, (vertex, region) in enumerate(scene.edge_blocks()):
            _member(file, f"edges/{number:05d}/vertex", vertex)
            _member(file, f"edges/{number:05d}/region", region)


def _join(made: nx.DiGraph, source: str, target: str, name: str, graph: Graph) -> None:
    """Add one value to the edge between two operators."""
    kind = graph.types[name]
    shape = "x".join(map(str, kind.shape))
    size = kind.size * np.dtype(kind.dtype).itemsize
    known = made.get_edge_data(source, target)
    if known:
        known["value"] += f", {name}"
        known["shape"] += f", {shape}"
        known["bytes"] += size
        return
    made.add_edge(source, target, value=name, dtype=kind.dtype, shape=shape, bytes=size)


def _dot(graph: nx.DiGraph) -> str:
    """Write a graph for Graphviz. Source: the DOT language's grammar of quoted identifiers."""
    lines = [f"digraph {_quoted(str(graph.name))} {{", "  node [shape=box];"]
    for name, about in graph.nodes(data=True):
        words = [about["label"], about["op"], about["layer_pass"], about["sizes"]]
        label = "\n".join(dict.fromkeys(word for word in words if word))
        lines.append(f"  {_quoted(name)} [label={_quoted(label)}, vertices={about['vertices']}];")
    for source, target, about in graph.edges(data=True):
        lines.append(
            f"  {_quoted(source)} -> {_quoted(target)} "
            f"[label={_quoted(about['shape'])}, bytes={about['bytes']}];"
        )
    return "\n".join([*lines, "}", ""])


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _member(file: zipfile.ZipFile, name: str, column: NDArray[Any]) -> None:
    """Write one array; equal arrays give equal bytes, so no time of day is kept."""
    data = io.BytesIO()
    npy.write_array(data, np.ascontiguousarray(column), allow_pickle=False)
    file.writestr(zipfile.ZipInfo(f"{name}.npy"), data.getbuffer())
