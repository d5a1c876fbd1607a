"""`ipuc export --graph`: files that networkx and NumPy read back."""

import json
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from cli_models import Run, save_model
from onnx import helper

from ipuc.program.enumerate import VertexGraph
from ipuc.program.save import load


@pytest.fixture(name="net")
def net_fixture(ipuc: Run, folder: Path) -> Path:
    weights = {"a": np.ones((8, 12), np.float32), "b": np.ones((12, 6), np.float32)}
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["h"], name="first"),
        helper.make_node("Relu", ["h"], ["r"], name='the "relu"'),
        helper.make_node("MatMul", ["r", "b"], ["s"], name="second"),
        helper.make_node("Add", ["s", "s"], ["y"], name="twice"),
    ]
    model = save_model(folder / "net.onnx", nodes, {"x": [1, 8]}, {"y": [1, 6]}, weights)
    assert ipuc("compile", model, "--target", "tiny").code == 0
    return folder / "net.ipu"


def test_graphml_is_read_by_networkx(ipuc: Run, net: Path, folder: Path) -> None:
    facts = ipuc("export", net, "--graph", "g.graphml", "--json").json()
    graph = nx.read_graphml(folder / "g.graphml")
    assert list(graph.edges) == [
        ("x", "first"),
        ("first", 'the "relu"'),
        ('the "relu"', "second"),
        ("second", "twice"),
    ]
    assert (facts["nodes"], facts["edges"]) == (5, 4)
    assert graph.nodes["first"]["op"] == "MatMul"
    assert graph.nodes["first"]["vertices"] > 0
    assert graph.edges["first", 'the "relu"']["bytes"] == 12 * 4
    program = load(net)
    total = sum(family.count for family in program.families())
    assert sum(count for _, count in graph.nodes(data="vertices")) == total


def test_dot_has_every_node_and_edge(ipuc: Run, net: Path, folder: Path) -> None:
    assert ipuc("export", net, "--graph", "g.dot").code == 0
    text = (folder / "g.dot").read_text(encoding="utf-8")
    assert text.startswith("digraph")
    assert text.count(" -> ") == 4
    assert '"the \\"relu\\""' in text


def test_columns_are_the_programs_graph(ipuc: Run, net: Path, folder: Path) -> None:
    assert ipuc("export", net, "--graph", "g.npz").code == 0
    graph = VertexGraph(load(net))
    with np.load(folder / "g.npz", allow_pickle=False) as file:
        header = json.loads(bytes(file["header"]))
        blocks = sorted(name for name in file.files if name.startswith("edges/"))
        vertex = np.concatenate([file[name] for name in blocks if name.endswith("vertex")])
        region = np.concatenate([file[name] for name in blocks if name.endswith("region")])
        x, y, kind = (file[f"nodes/{name}"] for name in ("x", "y", "kind"))
        elements = file["nodes/elements"]
    assert (header["nodes"], header["edges"]) == (graph.nodes, graph.edges())
    assert x.size == y.size == kind.size == graph.nodes
    assert np.hypot(x - 0.5, y - 0.5).max() < 0.5
    assert int(kind.sum()) == graph.regions
    np.testing.assert_array_equal(elements[graph.vertices :], graph.region_elements)
    pairs = set(zip(vertex.tolist(), region.tolist(), strict=True))
    wanted = {
        (block.first_vertex + row, graph.vertices + int(one))
        for block in graph.blocks()
        for row in range(len(block.tile))
        for one in block.regions[block.edge_offsets[row] : block.edge_offsets[row + 1]]
    }
    assert pairs == wanted
    assert len(vertex) == len(wanted)


def test_what_cannot_be_exported_is_said(ipuc: Run, net: Path) -> None:
    assert "nothing says what" in ipuc("export", net).err
    assert "g.graphml or g.dot" in ipuc("export", net, "--graph", "g.gexf").err
    both = ipuc("export", net, "--graph", "g.dot", "--training-graph", "t.onnx")
    assert "one file at a time" in both.err
    assert "no such folder" in ipuc("export", net, "--graph", "none/g.dot").err
