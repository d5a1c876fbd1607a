"""Which nodes belong together: connected components, cut into cells where layers share data.

Source: reference notes on the 2017 pictures; every layer pass whose operands are copied in is one
connected component of the vertex graph, so most cells need no label at all.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.render.touches import Touches

Int32s = NDArray[np.int32]


def components(nodes: int, left: Int32s, right: Int32s) -> Int32s:
    """Label the connected components of an undirected graph.

    Hooks every root to the lowest one that an edge leads to, then halves all
    paths, until no edge joins two roots.

    Args:
        nodes: number of nodes.
        left: [m] one end of every edge.
        right: [m] the other end.

    Returns:
        [nodes] labels from 0, in order of each component's lowest node.
    """
    root: Int32s = np.arange(nodes, dtype=np.int32)
    while left.size:
        a, b = root[left], root[right]
        open_ = a != b
        if not open_.any():
            break
        a, b = a[open_], b[open_]
        left, right = left[open_], right[open_]
        # The lowest, not any: a hub of d neighbours would else take d rounds.
        np.minimum.at(root, np.maximum(a, b), np.minimum(a, b))
        while True:
            above = root[root]
            if np.array_equal(above, root):
                break
            root = above
    return _dense(root)


def sea_limit(nodes: int) -> int:
    """Nodes that a cell must have; smaller ones are sea, or part of a neighbour.

    Source: measured on the graphs of 2017. The reference notes' 0.0004 n, with their smaller
    components of rectifiers and pools, gave the sea of the published pictures; ours are larger, and
    0.001 n gives the same. Small graphs, which 1500 would swallow whole, take a fiftieth.
    """
    return int(min(max(1500.0, 1e-3 * nodes), nodes / 50))


def cells_of(name: Int32s, touches: Touches, stands: NDArray[np.float32] | None = None) -> Int32s:
    """Find the cell of every node.

    A cell is a connected component, cut by layer name where layers share variables. A region goes
    to the layer with most of its edges; in a tie to the earlier one, which wrote it. Pieces that
    the cut leaves smaller than `sea_limit` go back to the neighbour they share most edges with.

    Args:
        name: layer name of every compute vertex, as numbers in program order: [v].
        touches: the edges.
        stands: of a sample, nodes of the whole for each of its own: [v + r].

    Returns:
        [v + r] cells numbered from 0 by their lowest node.
    """
    component = _joined(touches)
    owner = _owners(name, touches)
    touches = touches.split(_changes(owner))
    vertex = touches.vertex()
    inner = name[vertex] == owner[touches.low]
    if bool(inner.all()):
        return component
    piece = _joined(touches.chosen(inner))
    outer = touches.chosen(~inner).split(_changes(piece[touches.vertices :]))
    names = np.concatenate([name, owner])
    return _reattach(component, names, np.bincount(piece, stands), piece, outer)


def _joined(touches: Touches) -> Int32s:
    """Connected components: [v + r].

    Regions of one range are joined whatever else they are, so successive ones are one node.
    """
    long = touches.count > 1
    low, high = touches.low[long] + 1, touches.high[long]
    change = np.bincount(low, minlength=touches.regions + 1)
    change -= np.bincount(high, minlength=touches.regions + 1)
    new = np.cumsum(change)[:-1] == 0
    segment = np.cumsum(new, dtype=np.int32) - np.int32(1)
    vertices = touches.vertices
    segments = int(segment[-1]) + 1 if segment.size else 0
    ends = touches.vertex(), segment[touches.low] + np.int32(vertices)
    label = components(vertices + segments, *ends)
    return np.concatenate([label[:vertices], label[vertices:][segment]])


def _changes(label: Int32s) -> NDArray[np.bool_]:
    """Where a label differs from the one before it."""
    found = np.ones(label.size, bool)
    found[1:] = label[1:] != label[:-1]
    return found


def _owners(name: Int32s, touches: Touches) -> Int32s:
    """Give every region the layer name that has most of its edges: [r] names."""
    value = name.astype(np.float64)
    degree = np.maximum(touches.region_degree(), 1)
    total = touches.spread(value)
    owner = np.rint(total / degree).astype(np.int32)
    # All names of a region are one where their variance is 0; whole numbers make this exact.
    mixed = touches.spread(value * value) * degree != total * total
    if not mixed.any():
        return owner
    rank = np.zeros(touches.regions + 1, np.int32)
    np.cumsum(mixed, out=rank[1:])
    low, high = rank[touches.low], rank[touches.high]
    kept = high > low
    names = name[touches.vertex()[kept]]
    order = np.argsort(names, kind="stable")
    names, low, high = names[order], low[kept][order], high[kept][order]
    best = np.zeros(rank[-1], np.int64)
    chosen = np.zeros(rank[-1], np.int32)
    starts = np.flatnonzero(np.diff(names, prepend=-1)).tolist()
    for begin, end in zip(starts, [*starts[1:], names.size], strict=True):
        change = np.bincount(low[begin:end], minlength=best.size + 1)
        change -= np.bincount(high[begin:end], minlength=best.size + 1)
        count = np.cumsum(change)[:-1]
        more = count > best
        best[more], chosen[more] = count[more], names[begin]
    owner[mixed] = chosen
    return owner


def _reattach(
    component: Int32s, name: Int32s, size: NDArray[Any], piece: Int32s, outer: Touches
) -> Int32s:
    """Join small pieces, of these sizes, to their closest neighbour: [n] cells."""
    pieces = size.size
    big = size >= max(sea_limit(int(size.sum())), 1)
    left, right = piece[outer.vertex()], piece[outer.vertices :][outer.low]
    ends = np.concatenate([left, right]).astype(np.int64)
    other = np.concatenate([right, left])
    small = ~big[ends]
    weight = np.concatenate([outer.count, outer.count])[small]
    pair, inverse = np.unique((ends[small] << 32) | other[small], return_inverse=True)
    count = np.bincount(inverse, weight, pair.size)
    source, target = pair >> 32, pair & 0xFFFFFFFF
    order = np.lexsort((target, -size[target], -count, source))
    source, first = np.unique(source[order], return_index=True)
    target = target[order][first]
    # Every small piece points to one other piece and big ones to none, so a union of pieces holds
    # at most one big piece and its name is well defined.
    union = components(pieces, source.astype(np.int32), target.astype(np.int32))
    lowest = np.full(pieces, -1, np.int64)
    lowest[union[::-1]] = np.arange(pieces)[::-1]
    head = lowest
    head[union[big]] = np.flatnonzero(big)
    # Big pieces of one layer and component are one cell, joined or not.
    node = _lowest(piece, pieces)
    key = (component[node].astype(np.int64) << 32) | name[node]
    key = np.where(big, key, -1 - np.arange(pieces))
    _, label = np.unique(key[head[union]], return_inverse=True)
    label_of_node = label.astype(np.int32)[piece]
    first = _lowest(label_of_node, int(label.max()) + 1)
    return _dense(first.astype(np.int32)[label_of_node])


def _lowest(label: Int32s, labels: int) -> NDArray[np.int64]:
    """Lowest node of every label: [labels]."""
    found = np.zeros(labels, np.int64)
    found[label[::-1]] = np.arange(label.size)[::-1]
    return found


def _dense(root: Int32s) -> Int32s:
    """Number the labels from 0; a label is the id of its lowest node."""
    is_root = root == np.arange(root.size)
    return (np.cumsum(is_root) - 1).astype(np.int32)[root]
