"""Which nodes belong together: connected components, cut into cells where layers share data.

Source: reference notes on the 2017 pictures; every layer pass whose operands are copied in is one
connected component of the vertex graph, so most cells need no label at all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

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

    Source: the published pictures' graphs look right with max(1500, 0.0004 n); small graphs, which
    the 1500 would swallow whole, take a fiftieth of their nodes.
    """
    return int(min(max(1500.0, 4e-4 * nodes), nodes / 50))


def cells_of(layer: Int32s, layer_names: Sequence[str], vertex: Int32s, region: Int32s) -> Int32s:
    """Find the cell of every node.

    A cell is a connected component, cut by layer name where layers share variables. A region goes
    to the layer with most of its edges; in a tie to the earlier one, which wrote it. Pieces that
    the cut leaves smaller than `sea_limit` go back to the neighbour they share most edges with.

    Args:
        layer: [n] layer pass of every node; only that of compute vertices matters.
        layer_names: layer name of every layer pass; passes of one layer share a name.
        vertex: [m] compute vertex of every edge.
        region: [m] elementary region of every edge.

    Returns:
        [n] cells numbered from 0 by their lowest node.
    """
    nodes = layer.size
    component = components(nodes, vertex, region)
    known = {name: index for index, name in enumerate(dict.fromkeys(layer_names))}
    names = np.array([known[name] for name in layer_names] or [0], np.int32)
    owner = _owners(names[layer], vertex, region)
    inner = owner[vertex] == owner[region]
    if bool(inner.all()):
        return component
    piece = components(nodes, vertex[inner], region[inner])
    return _reattach(component, owner, piece, vertex[~inner], region[~inner])


def _owners(owner: Int32s, vertex: Int32s, region: Int32s) -> Int32s:
    """Give every region the layer name that has most of its edges: [n] names."""
    owner = owner.copy()
    named = owner[vertex]
    owner[region] = named
    mixed = np.zeros(owner.size, bool)
    mixed[region[owner[region] != named]] = True
    several = mixed[region]
    if not several.any():
        return owner
    # Only regions whose readers and writers differ in layer need a count.
    pair = (region[several].astype(np.int64) << 32) | named[several]
    pair, count = np.unique(pair, return_counts=True)
    at, name = pair >> 32, (pair & 0xFFFFFFFF).astype(np.int32)
    order = np.lexsort((name, -count, at))
    at, first = np.unique(at[order], return_index=True)
    owner[at] = name[order][first]
    return owner


def _reattach(
    component: Int32s, owner: Int32s, piece: Int32s, left: Int32s, right: Int32s
) -> Int32s:
    """Join small pieces to their closest neighbour: [n] cells."""
    size = np.bincount(piece)
    pieces = size.size
    big = size >= max(sea_limit(component.size), 1)
    ends = np.concatenate([piece[left], piece[right]]).astype(np.int64)
    other = np.concatenate([piece[right], piece[left]])
    small = ~big[ends]
    pair, count = np.unique((ends[small] << 32) | other[small], return_counts=True)
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
    _, node = np.unique(piece, return_index=True)
    key = (component[node].astype(np.int64) << 32) | owner[node]
    key = np.where(big, key, -1 - np.arange(pieces))
    _, label = np.unique(key[head[union]], return_inverse=True)
    label_of_node = label.astype(np.int32)[piece]
    _, first = np.unique(label_of_node, return_index=True)
    return _dense(first.astype(np.int32)[label_of_node])


def _dense(root: Int32s) -> Int32s:
    """Number the labels from 0; a label is the id of its lowest node."""
    is_root = root == np.arange(root.size)
    return (np.cumsum(is_root) - 1).astype(np.int32)[root]
