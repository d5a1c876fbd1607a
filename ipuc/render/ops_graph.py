"""The op graph as boxes in ranks: a layered drawing before it is cut into columns.

Ranks by longest path, lanes through the ranks that a long edge passes, order by barycentres,
positions by weighted isotonic regression. Source: Sugiyama, Tagawa and Toda, "Methods for visual
understanding of hierarchical system structures" (1981).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import networkx as nx

from ipuc.graph.ir import Graph, Node
from ipuc.types import TensorType

Key = tuple[Hashable, ...]

#: Widths and the gap between neighbours, in pixels at scale 1.
BOX, LANE, GAP = 216.0, 10.0, 20.0

#: Pull of the main chain to its line, of a lane's own piece, and of any other edge.
_TRUNK, _STRAIGHT, _PLAIN = 1e6, 8.0, 1.0

_KINDS = {
    "conv": ("Conv", "ConvTranspose"),
    "matrix": ("Gemm", "MatMul", "MatMulInteger", "Einsum"),
    "pool": (
        "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool", "GlobalLpPool",
    ),
    "norm": (
        "BatchNormalization", "LRN", "LayerNormalization", "InstanceNormalization",
        "GroupNormalization", "LpNormalization", "Softmax", "LogSoftmax",
    ),
    "join": ("Add", "Sum", "Concat", "Mul", "Sub", "Div", "Mean", "Max", "Min", "Where"),
    "shape": (
        "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Expand", "Slice", "Split",
        "Pad", "Gather", "Cast", "Identity", "Shape", "Constant",
    ),
}  # fmt: skip

KIND_OF_OP = {op: kind for kind, ops in _KINDS.items() for op in ops}


@dataclass(frozen=True, slots=True)
class Label:
    """What a box says: kind of op (its colour), a heading, a name and a shape."""

    kind: str
    heading: str
    name: str
    shape: str


@dataclass(frozen=True, slots=True)
class Ranked:
    """A layered drawing.

    Attributes:
        labels: what every box says, by key; keys without a label are points of a lane.
        ranks: keys of every rank, from left to right.
        x: centre of every key.
        links: pairs of keys in neighbouring ranks.
    """

    labels: dict[Key, Label]
    ranks: tuple[tuple[Key, ...], ...]
    x: dict[Key, float]
    links: tuple[tuple[Key, Key], ...]


def rank_ops(graph: Graph) -> Ranked:
    """Lay out an op graph in ranks from top to bottom."""
    dag, labels = op_dag(graph)
    rank = _longest_path_ranks(dag)
    order, links = _with_lanes(dag, rank)
    trunk = _trunk(dag)
    ranks = _uncross(order, links, trunk)
    weight = {link: _pull(link, labels) for link in links}
    return Ranked(labels, ranks, _positions(ranks, weight, labels, trunk), tuple(links))


def op_dag(graph: Graph) -> tuple[nx.DiGraph, dict[Key, Label]]:
    """Turn an op graph into a networkx graph of boxes: inputs, nodes, outputs."""
    dag = nx.DiGraph()
    labels: dict[Key, Label] = {}
    maker: dict[str, Key] = {}

    def box(key: Key, label: Label) -> None:
        dag.add_node(key)
        labels[key] = label

    for name in graph.inputs:
        maker[name] = ("input", name)
        box(maker[name], Label("data", "Input", name, _shape(graph.types.get(name))))
    for index, node in enumerate(graph.nodes):
        key: Key = ("op", index)
        kind = KIND_OF_OP.get(node.op, "map")
        if kind == "join" and len({name for name in node.inputs if name in maker}) < 2:
            kind = "map"  # the other operand is a constant: nothing joins here
        outputs = [name for name in node.outputs if name]
        shape = _shape(graph.types.get(outputs[0])) if outputs else ""
        box(key, Label(kind, _heading(node), node.name, shape))
        dag.add_edges_from((maker[name], key) for name in node.inputs if name in maker)
        maker.update(dict.fromkeys(outputs, key))
    for name in graph.outputs:
        key = ("output", name)
        box(key, Label("data", "Output", name, _shape(graph.types.get(name))))
        if name in maker:
            dag.add_edge(maker[name], key)
    return dag, labels


def _heading(node: Node) -> str:
    """Name the operator with what tells it from others: kernel, stride, groups."""
    parts = [node.op]
    if kernel := node.attributes.get("kernel_shape"):
        parts.append("x".join(map(str, kernel)))
    strides = node.attributes.get("strides") or []
    if any(stride > 1 for stride in strides):
        same = len(set(strides)) == 1
        parts.append("/" + (str(strides[0]) if same else "x".join(map(str, strides))))
    if node.attributes.get("group", 1) > 1:
        parts.append(f"groups {node.attributes['group']}")
    return " ".join(parts)


def _shape(kind: TensorType | None) -> str:
    """Write a shape as 64x112x112, without a leading batch of one."""
    if kind is None:
        return ""
    shape = kind.shape[1:] if len(kind.shape) > 1 and kind.shape[0] == 1 else kind.shape
    return "x".join(map(str, shape)) if shape else "scalar"


def _longest_path_ranks(dag: nx.DiGraph) -> dict[Key, int]:
    """Rank of every box: below all it reads; boxes that read nothing come just in time."""
    rank: dict[Key, int] = {}
    for index, generation in enumerate(nx.topological_generations(dag)):
        rank.update(dict.fromkeys(generation, index))
    for key in dag:
        if not dag.in_degree(key) and dag.out_degree(key):
            rank[key] = min(rank[reader] for reader in dag.successors(key)) - 1
    return rank


def _with_lanes(
    dag: nx.DiGraph, rank: dict[Key, int]
) -> tuple[list[list[Key]], list[tuple[Key, Key]]]:
    """Add a point in every rank that a long edge passes; return ranks and links."""
    ranks: list[list[Key]] = [[] for _ in range(max(rank.values(), default=-1) + 1)]
    for key in dag:
        ranks[rank[key]].append(key)
    links: list[tuple[Key, Key]] = []
    for source, target in dag.edges:
        last = source
        for between in range(rank[source] + 1, rank[target]):
            point = ("lane", source, target, between)
            ranks[between].append(point)
            links.append((last, point))
            last = point
        links.append((last, target))
    return ranks, links


def _trunk(dag: nx.DiGraph) -> set[Key]:
    """The boxes on the longest chain."""
    return set(nx.dag_longest_path(dag)) if dag else set()


def _pull(link: tuple[Key, Key], labels: dict[Key, Label]) -> float:
    """How strongly a link wants to be vertical."""
    return _PLAIN if link[0] in labels or link[1] in labels else _STRAIGHT


def _uncross(
    ranks: list[list[Key]], links: Sequence[tuple[Key, Key]], trunk: set[Key]
) -> tuple[tuple[Key, ...], ...]:
    """Order every rank by the mean place of its neighbours, and keep the best order found."""
    above: dict[Key, list[Key]] = {key: [] for rank in ranks for key in rank}
    below: dict[Key, list[Key]] = {key: [] for rank in ranks for key in rank}
    for source, target in links:
        above[target].append(source)
        below[source].append(target)
    current = [sorted(rank, key=lambda key: key not in trunk) for rank in ranks]
    best, fewest = [list(rank) for rank in current], _crossings(current, below)
    for sweep in range(12):
        down = sweep % 2 == 0
        neighbours = above if down else below
        steps = range(1, len(current)) if down else range(len(current) - 2, -1, -1)
        for index in steps:
            known = current[index - 1 if down else index + 1]
            place = {key: at / max(len(known) - 1, 1) for at, key in enumerate(known)}
            own = {key: at / max(len(current[index]), 1) for at, key in enumerate(current[index])}
            current[index].sort(key=lambda key: _mean(neighbours[key], place, own[key]))
        count = _crossings(current, below)
        if count < fewest:
            best, fewest = [list(rank) for rank in current], count
    return tuple(tuple(rank) for rank in best)


def _mean(keys: Sequence[Key], place: dict[Key, float], default: float) -> float:
    """Mean place of the keys; `default` without any."""
    return sum(place[key] for key in keys) / len(keys) if keys else default


def _crossings(ranks: Sequence[Sequence[Key]], below: dict[Key, list[Key]]) -> int:
    """Count the pairs of links that cross between neighbouring ranks."""
    total = 0
    for upper, lower in pairwise(ranks):
        place = {key: at for at, key in enumerate(lower)}
        ends = [at for key in upper for at in sorted(place[target] for target in below[key])]
        total += sum(a > b for i, a in enumerate(ends) for b in ends[i + 1 :])
    return total


def width_of(key: Key, labels: dict[Key, Label]) -> float:
    """Width of a box or of a lane."""
    return BOX if key in labels else LANE


def _positions(
    ranks: Sequence[Sequence[Key]],
    weight: dict[tuple[Key, Key], float],
    labels: dict[Key, Label],
    trunk: set[Key],
) -> dict[Key, float]:
    """Place keys so that the main chain is one line, heavy links are vertical, and none overlap."""
    pulls: dict[Key, list[tuple[Key, float]]] = {key: [] for rank in ranks for key in rank}
    for (source, target), pull in weight.items():
        pulls[source].append((target, pull))
        pulls[target].append((source, pull))
    offset: dict[Key, float] = {}
    for rank in ranks:
        at = 0.0
        for key in rank:
            half = width_of(key, labels) / 2
            offset[key] = at + half
            at += 2 * half + GAP
    x = {key: offset[key] - offset[rank[-1]] / 2 for rank in ranks for key in rank}
    for sweep in range(60):
        for rank in ranks if sweep % 2 == 0 else reversed(ranks):
            wanted, force = [], []
            for key in rank:
                total = sum(pull for _, pull in pulls[key])
                mean = sum(x[other] * pull for other, pull in pulls[key]) / total if total else 0.0
                if key in trunk:
                    mean, total = 0.0, _TRUNK
                wanted.append(mean - offset[key])
                force.append(total or 0.01)
            for key, value in zip(rank, isotonic(wanted, force), strict=True):
                x[key] = value + offset[key]
    return x


def isotonic(values: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Closest non-decreasing sequence in weighted least squares (pool adjacent violators)."""
    blocks: list[tuple[float, float, int]] = []
    for value, weight in zip(values, weights, strict=True):
        mean, total, count = value, weight, 1
        while blocks and blocks[-1][0] > mean:
            other, heavy, many = blocks.pop()
            mean = (mean * total + other * heavy) / (total + heavy)
            total, count = total + heavy, count + many
        blocks.append((mean, total, count))
    return [mean for mean, _, count in blocks for _ in range(count)]
