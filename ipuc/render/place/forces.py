"""How strongly every node repels, is tied, and shines.

Source: rules measured on the true 2017 graphs, in the reference notes' section 9.3. Our own
additions are the leaves (a region that one vertex alone touches has nothing to lie between, so it
gets a charge and a spring that spread it round its vertex) and the part that work has: cells, and
vertices in them, take room and shine by their cycles too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.render.cells import sea_limit
from ipuc.render.place.springs import RangeSprings, Springs
from ipuc.render.scene import Scene

Floats = NDArray[np.float32]
Int32s = NDArray[np.int32]

#: Bytes of a region that its springs' strength still tells apart.
_MOST_BYTES = 8192

#: Cycles of a node, in units of its cell's mean, that its charge and light still tell apart.
_MOST_WORK = 100


@dataclass(frozen=True, slots=True)
class Parameters:
    """The numbers of the layout; the defaults suit the graphs of real networks.

    Attributes:
        area_exponent: a cell's area grows with its size to this power.
        area_work: what size is: nodes to the power 1 - this, times cycles to the power of this.
        vertex_work: a vertex's share of its cell's charge grows with its cycles to this power.
        light_work: share of a cell's light that goes by cycles; the rest is the same for all nodes.
        region_share: share of a cell's charge that its shared regions hold together.
        leaf_share: charge of a cell's leaf regions together, per charge of its vertices.
        spring: strength of an edge.
        leaf_spring: strength of a leaf's edge per charge of the leaf.
        data_exponent: a spring grows with the bytes it carries to this power.
        data_limit: at most this many times.
        cell_spring: pull towards the centroid of a cell of median arithmetic intensity.
        between_cells: strength of an edge between two cells, relative to one inside.
    """

    area_exponent: float = 0.6
    area_work: float = 0.6
    vertex_work: float = 0.7
    light_work: float = 0.5
    region_share: float = 0.25
    leaf_share: float = 3.0
    spring: float = 0.55
    leaf_spring: float = 0.4
    data_exponent: float = 0.8
    data_limit: float = 4.0
    cell_spring: float = 0.03
    between_cells: float = 0.03


@dataclass(frozen=True, slots=True)
class Forces:
    """Charges and springs of n nodes in b bound cells; the mean charge is 1.

    Attributes:
        group: [n] bound cell from 0 in program order; b for the sea.
        charge: [n] charge of every node.
        light: [n] light of every node, on the average of a cell its mean charge, so that cells
            look equally bright.
        region_spring: [r] spring of each of a region's edges.
        pull: [b + 1] pull of every cell's nodes towards its centroid, per charge; 0 for the sea.
        share: [b + 1] share of the whole charge; the sea is last.
        count: [b + 1] nodes.
        cells: [b] cell id of every bound cell.
    """

    group: NDArray[np.int32]
    charge: Floats
    light: Floats
    region_spring: Floats
    pull: Floats
    share: NDArray[np.float64]
    count: NDArray[np.int64]
    cells: NDArray[np.int32]

    @property
    def bound(self) -> int:
        """Number of bound cells."""
        return int(self.cells.size)


def parameters_for(nodes: int) -> Parameters:
    """Choose the numbers of a layout by size.

    Massless regions and stiff springs make fibres and moats of a large graph; a small one is read
    node by node, so there every node pushes and springs are soft. Between 300 and 20,000 nodes
    the numbers go over from one to the other.
    """
    large = float(np.clip((np.log10(max(nodes, 1)) - 2.5) / 1.8, 0, 1))
    full = Parameters()

    def between(small: float, value: float) -> float:
        return float(small * (value / small) ** large)

    return Parameters(
        region_share=between(0.9, full.region_share),
        leaf_share=between(20, full.leaf_share),
        spring=between(0.2, full.spring),
        leaf_spring=between(0.35, full.leaf_spring),
        data_exponent=full.data_exponent * large,
        vertex_work=full.vertex_work * large,
    )


def forces_of(scene: Scene, parameters: Parameters) -> Forces:
    """Work out charges, spring strengths and light from what the scene says."""
    p = parameters
    vertices = scene.vertices
    # Of a sample, every node counts for those that it stands for.
    size = np.bincount(scene.cell, scene.stands)
    nodes = float(size.sum())
    stands = 1 if scene.stands is None else scene.stands[vertices:]
    cells = np.flatnonzero(size >= max(sea_limit(int(nodes)), 1)).astype(np.int32)
    bound = int(cells.size)
    group_of_cell = np.full(size.size, bound, np.int32)
    group_of_cell[cells] = np.arange(bound)
    group = group_of_cell[scene.cell]
    count = np.bincount(group, minlength=bound + 1)
    work = _sums(scene.activity[:vertices], group[:vertices], bound + 1)
    first = np.zeros(size.size, np.int64)
    first[scene.cell[::-1]] = np.arange(scene.nodes)[::-1]
    whole = np.bincount(group, scene.stands, bound + 1)
    share = _areas(whole, work, scene.layer[first[cells]], p)
    mean: Floats = (share * nodes / np.maximum(whole, 1)).astype(np.float32)

    degree = scene.touches.region_degree()
    is_leaf = degree <= 1
    charge = _charges(scene, group, is_leaf, share * nodes, p)
    of_region = group[vertices:]
    softness: Floats = mean * _softness(whole, _sums(degree * stands, of_region, bound + 1))
    spring = softness[of_region]
    spring *= _data_factor(scene, of_region, p)
    spring *= np.float32(p.spring)
    spring[is_leaf] = np.float32(p.leaf_spring) * charge[vertices:][is_leaf]
    traffic = _sums(degree * _bytes(scene) * stands, of_region, bound + 1)
    light = _light(scene, group, mean, p.light_work)
    if scene.stands is not None:
        charge *= scene.stands
        spring *= stands
        light *= scene.stands * np.float32(scene.nodes / nodes)
    return Forces(
        group=group,
        charge=charge,
        light=light,
        region_spring=spring,
        pull=_pulls(work, traffic, p.cell_spring),
        share=share,
        count=count,
        cells=cells,
    )


def _charges(
    scene: Scene,
    group: Int32s,
    is_leaf: NDArray[np.bool_],
    whole: NDArray[np.float64],
    p: Parameters,
) -> Floats:
    """Share each cell's charge among vertices, by their cycles, regions, and leaves: [n]."""
    cells, vertices = whole.size, scene.vertices
    role = np.zeros(scene.nodes, np.int8)
    role[vertices:] = 1 + is_leaf
    roles = np.bincount(group * np.int32(3) + role, scene.stands, 3 * cells)
    members = roles.reshape(cells, 3)
    each = np.ones((cells, 3))
    number = np.maximum(members[:, 0], 1)
    regions = p.region_share / (1 - p.region_share) * number / np.maximum(members[:, 1], 1)
    each[:, 1] = np.minimum(regions, 1)
    each[:, 2] = np.minimum(p.leaf_share * number / np.maximum(members[:, 2], 1), 1)
    total = (members * each).sum(axis=1)
    each *= (whole / np.maximum(total, 1e-30))[:, None]
    charge = each.astype(np.float32)[group, role]
    of_vertex = group[:vertices]
    busy = _relative(scene.activity[:vertices], of_vertex, cells) ** np.float32(p.vertex_work)
    busy[of_vertex == cells - 1] = 1  # the sea is even
    charge[:vertices] *= busy / _means(busy, of_vertex, cells)[of_vertex]
    return charge


def _relative(activity: Floats, group: Int32s, groups: int, weight: Floats | None = None) -> Floats:
    """Activity in units of its group's mean, held to a hundredth and a hundredfold: [n]."""
    found: Floats = activity / _means(activity, group, groups, weight)[group]
    return np.clip(found, np.float32(0.01), np.float32(_MOST_WORK), out=found)


def _sums(value: NDArray[Any], group: Int32s, groups: int) -> NDArray[np.float64]:
    """Sum of every group: [groups]."""
    return np.bincount(group, value, groups).astype(np.float64, copy=False)


def _means(value: Floats, group: Int32s, groups: int, weight: Floats | None = None) -> Floats:
    """Mean of every group; 1 where there is nothing: [groups]."""
    weighed = value if weight is None else value * weight
    mean = _sums(weighed, group, groups) / np.maximum(np.bincount(group, weight, groups), 1)
    mean[mean == 0] = 1
    return mean.astype(np.float32)


def _light(scene: Scene, group: Int32s, mean: Floats, part: float) -> Floats:
    """Light of every node: part of its cell's goes by cycles, so that bright means work: [n]."""
    busy = _relative(scene.activity, group, mean.size, scene.stands)
    busy *= np.float32(part) / _means(busy, group, mean.size, scene.stands)[group]
    busy += np.float32(1 - part)
    busy *= mean[group]
    return busy


def _pulls(work: NDArray[np.float64], traffic: NDArray[np.float64], cell_spring: float) -> Floats:
    """Pull to the centroid of every cell, by its arithmetic intensity; none for the sea: [b + 1].

    Intensity is cycles per byte that its vertices read or write, relative to the median cell's; the
    pull grows with its root, to twice or half at most.
    """
    intensity = work / np.maximum(traffic, 1)
    middle = float(np.median(intensity[:-1])) if intensity.size > 1 else 1.0
    pull = cell_spring * np.sqrt(np.clip(intensity / max(middle, 1e-30), 0.25, 4))
    pull[-1] = 0
    return pull.astype(np.float32)


def springs_of(scene: Scene, forces: Forces, parameters: Parameters) -> tuple[Springs, ...]:
    """Tie every edge of the scene: edges inside cells, then the weaker ones between them."""
    of_region = forces.group[scene.vertices :]
    change = np.ones(of_region.size, bool)
    change[1:] = of_region[1:] != of_region[:-1]
    touches = scene.touches.split(change)
    inner = forces.group[touches.vertex()] == of_region[touches.low]
    if bool(inner.all()):
        return (RangeSprings(touches, forces.region_spring),)
    weaker = forces.region_spring * np.float32(parameters.between_cells)
    return (
        RangeSprings(touches.chosen(inner), forces.region_spring),
        RangeSprings(touches.chosen(~inner), weaker),
    )


def _areas(
    count: NDArray[Any], work: NDArray[np.float64], layer: Int32s, p: Parameters
) -> NDArray[np.float64]:
    """Share the disc among the bound cells and the sea (last): [b + 1], sums to 1.

    Cells of one layer pass have the area of one, or the many components of a rectifier, each of
    some thousand nodes, would take more of the disc than all convolutions.
    """
    nodes = count / max(int(count.sum()), 1)
    sea = nodes[-1] ** p.area_exponent
    if count.size == 1:
        return np.ones(1)
    cycles = work[:-1] / max(float(work[:-1].sum()), 1e-30)
    size = nodes[:-1] ** (1 - p.area_work) * np.maximum(cycles, 1e-9) ** p.area_work
    together = np.bincount(layer, size)[layer]
    bound = size * together ** (p.area_exponent - 1)
    return np.append(bound / bound.sum() * (1 - sea), sea)


def _softness(count: NDArray[Any], edges: NDArray[np.float64]) -> Floats:
    """Factor of every cell's springs: its nodes hold together by three edges each: [b + 1].

    The root only, so that a cell of many edges is still the tighter one.
    """
    return np.sqrt(3 * count / np.maximum(edges, 1)).astype(np.float32)


def _bytes(scene: Scene) -> NDArray[np.int32]:
    """Bytes of every region: [r]."""
    first = scene.vertices
    return scene.elements[first:] * scene.itemsize[first:].astype(np.int32)


def _data_factor(scene: Scene, group: Int32s, p: Parameters) -> Floats:
    """Spring factor of every region: bytes over its cell's median, to a power, at least 1."""
    cells = int(group.max(initial=0)) + 1
    size = np.minimum(_bytes(scene), _MOST_BYTES)
    sizes = _MOST_BYTES + 1
    table = np.bincount(group.astype(np.int64) * sizes + size, minlength=cells * sizes)
    running = np.cumsum(table.reshape(cells, sizes), axis=1)
    median = np.maximum((running <= running[:, -1:] // 2).sum(axis=1), 1).astype(np.float32)
    ratio: Floats = size / median[group]
    np.maximum(ratio, 1, out=ratio)
    np.power(ratio, np.float32(p.data_exponent), out=ratio)
    return np.minimum(ratio, np.float32(p.data_limit)).astype(np.float32)
