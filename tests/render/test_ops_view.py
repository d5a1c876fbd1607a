"""The op view. Oracles: networkx for ranks, scikit-learn for isotonic regression."""

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import isotonic_regression

from ipuc.errors import OptionError
from ipuc.graph.ir import Graph, Node
from ipuc.render.ops_graph import BOX, isotonic, op_dag, rank_ops
from ipuc.render.ops_view import HEIGHT, OpsLayout, draw_ops, lay_out_ops, legend_places, smooth
from ipuc.types import TensorType


def residual(blocks: int, branches: int = 1) -> Graph:
    """Blocks of `branches` paths of two convolutions, added to the block's input."""
    nodes: list[Node] = []
    value = "x"
    for block in range(blocks):
        ends = [value]
        for branch in range(branches):
            first, second = f"a{block}.{branch}", f"b{block}.{branch}"
            kernel = {"kernel_shape": [3, 3], "strides": [2, 2]}
            nodes.append(Node(f"conv{first}", "Conv", (value, "w"), (first,), kernel))
            nodes.append(Node(f"conv{second}", "Conv", (first, "w"), (second,), {"group": 4}))
            ends.append(second)
        value = f"sum{block}"
        nodes.append(Node(value, "Sum", tuple(ends), (value,)))
    types = {name: TensorType("float32", (1, 8, 4, 4)) for n in nodes for name in n.outputs}
    types |= {"x": TensorType("float32", (1, 8, 4, 4)), "w": TensorType("float32", ())}
    constants = {"w": np.zeros((), np.float32)}
    return Graph("net", ["x"], [value], types, constants, nodes, 21)


@pytest.fixture(name="layout", params=[(1, 1), (30, 1), (12, 4), (3, 9)])
def layout_fixture(request: pytest.FixtureRequest) -> tuple[Graph, OpsLayout]:
    graph = residual(*request.param)
    return graph, lay_out_ops(graph)


def test_every_op_input_and_output_is_one_box(layout: tuple[Graph, OpsLayout]) -> None:
    graph, laid = layout
    names = sorted(label.name for _, label in laid.boxes)
    assert names == sorted(["x", graph.outputs[0], *(node.name for node in graph.nodes)])


def test_boxes_lie_inside_and_apart(layout: tuple[Graph, OpsLayout]) -> None:
    _, laid = layout
    at = np.array([centre for centre, _ in laid.boxes])
    assert (at > [BOX / 2, HEIGHT / 2]).all()
    assert (at < np.array(laid.size) - [BOX / 2, HEIGHT / 2]).all()
    apart = np.abs(at[:, None] - at[None, :])
    clash = (apart[..., 0] < BOX - 1e-6) & (apart[..., 1] < HEIGHT) & ~np.eye(len(at), dtype=bool)
    assert not clash.any()


def test_every_edge_is_one_wire_from_box_to_box(layout: tuple[Graph, OpsLayout]) -> None:
    graph, laid = layout
    at = {label.name if label.heading != "Output" else "out": c for c, label in laid.boxes}
    dag, labels = op_dag(graph)

    def name(key: tuple[object, ...]) -> str:
        return "out" if key[0] == "output" else labels[key].name

    expected = sorted(
        (
            (at[name(a)][0], at[name(a)][1] + HEIGHT / 2),
            (at[name(b)][0], at[name(b)][1] - HEIGHT / 2),
        )
        for a, b in dag.edges
    )
    assert sorted((points[0], points[-1]) for points, _ in laid.wires) == expected


def test_a_long_network_is_well_shaped(layout: tuple[Graph, OpsLayout]) -> None:
    width, height = layout[1].size
    assert 0.5 <= width / height <= 2


def test_ranks_are_longest_paths_and_the_main_chain_is_straight() -> None:
    graph = residual(4)
    ranked = rank_ops(graph)
    dag, labels = op_dag(graph)
    row = {key: index for index, rank in enumerate(ranked.ranks) for key in rank}
    assert all(row[a] < row[b] for a, b in dag.edges)
    assert len(ranked.ranks) == nx.dag_longest_path_length(dag) + 1
    chain = [ranked.x[key] for key in nx.dag_longest_path(dag)]
    assert np.ptp(chain) < 1
    lanes = [ranked.x[key] for rank in ranked.ranks for key in rank if key not in labels]
    assert len(lanes) == 8
    assert min(abs(x - chain[0]) for x in lanes) > BOX / 2


def test_headings_tell_kernel_stride_and_groups() -> None:
    _, labels = op_dag(residual(1))
    assert {label.heading for label in labels.values()} >= {"Conv 3x3 /2", "Conv groups 4", "Sum"}
    assert {label.shape for label in labels.values()} == {"8x4x4"}


def test_adding_a_constant_joins_nothing() -> None:
    node = Node("bias", "Add", ("x", "w"), ("y",))
    kind = TensorType("float32", (2,))
    graph = Graph("n", ["x"], ["y"], {"x": kind, "y": kind}, {}, [node], 21)
    assert {label.kind for label in op_dag(graph)[1].values()} == {"data", "map"}


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(0.1, 9)), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_isotonic_equals_scikit_learn(pairs: list[tuple[float, float]]) -> None:
    values, weights = ([pair[side] for pair in pairs] for side in (0, 1))
    oracle = isotonic_regression(np.array(values), sample_weight=np.array(weights))
    # Both in float64; sums of at most twelve terms.
    np.testing.assert_allclose(isotonic(values, weights), oracle, atol=1e-9)


def test_wires_keep_their_ends() -> None:
    points = [(0.0, 0.0), (0.0, 50.0), (80.0, 50.0), (80.0, 10.0), (120.0, 90.0)]
    path = smooth(points)
    assert (path[0], path[-1]) == (points[0], points[-1])
    assert all(-1e-9 <= x <= 120 and -1e-9 <= y <= 90 for x, y in path)


@pytest.mark.parametrize("max_side", [256, 700])
def test_the_picture_fits_and_shows_the_boxes(max_side: int) -> None:
    image = draw_ops(residual(6), max_side=max_side)
    assert max(image.size) <= max_side
    colours = {colour for _, colour in image.getcolors(1 << 24) or []}
    assert len(colours) > 50
    assert image.tobytes() == draw_ops(residual(6), max_side=max_side).tobytes()


def test_the_legend_names_every_kind_however_narrow_the_picture_is() -> None:
    lengths = [80.0, 110.0, 60.0, 90.0, 40.0]
    assert {line for _, line in legend_places(lengths, 2000)} == {0}
    narrow = legend_places(lengths, 328)
    assert [line for _, line in narrow] == [0, 0, 1, 1, 2]
    assert all(x + n + 24 <= 328 for (x, _), n in zip(narrow, lengths, strict=True))
    assert len(legend_places(lengths, 10)) == len(lengths)


def test_an_empty_graph_and_a_tiny_picture() -> None:
    image = draw_ops(Graph("none", [], [], {}, {}, [], 21))
    assert min(image.size) > 50
    with pytest.raises(OptionError):
        draw_ops(residual(1), max_side=10)
