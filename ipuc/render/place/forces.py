"""How strongly every node repels, is tied, and shines.

Source: rules measured on the true 2017 graphs, in the reference notes' section 9.3. Our own
addition is the leaves: a region that one vertex alone touches has nothing to lie between, so it
gets a charge and a spring that spread it round its vertex.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ipuc.render.cells import sea_limit
from ipuc.render.place.springs import RangeSprings, Springs
from ipuc.render.scene import Scene

Floats = NDArray[np.float32]

#: Elements of a region that its springs' strength still tells apart.
_MOST_ELEMENTS = 4096


@dataclass(frozen=True, slots=True)
class Parameters:
    """The numbers of the layout; the defaults suit the graphs of real networks.

    Attributes:
        area_exponent: a cell's area grows with its node count to this power.
        region_share: share of a cell's charge that its shared regions hold together.
        leaf_share: charge of a cell's leaf regions together, per charge of its vertices.
        spring: strength of an edge.
        leaf_spring: strength of a leaf's edge per charge of the leaf.
        data_exponent: a spring grows with the elements it carries to this power.
        data_limit: at most this many times.
        cell_spring: pull towards the cell's centroid.
        between_cells: strength of an edge between two cells, relative to one inside.
    """

    area_exponent: float = 0.55
    region_share: float = 0.25
    leaf_share: float = 3.0
    spring: float = 0.6
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
        light: [n] light of every node: the mean charge in its cell, so cells look equally bright.
        region_spring: [r] spring of each of a region's edges.
        share: [b + 1] share of the whole charge; the sea is last.
        count: [b + 1] nodes.
        cells: [b] cell id of every bound cell.
    """

    group: NDArray[np.int32]
    charge: Floats
    light: Floats
    region_spring: Floats
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
    )


def forces_of(scene: Scene, parameters: Parameters) -> Forces:
    """Work out charges, spring strengths and light from what the scene says."""
    p = parameters
    size = np.bincount(scene.cell)
    cells = np.flatnonzero(size >= max(sea_limit(scene.nodes), 1)).astype(np.int32)
    bound = int(cells.size)
    group_of_cell = np.full(size.size, bound, np.int32)
    group_of_cell[cells] = np.arange(bound)
    group = group_of_cell[scene.cell]
    count = np.bincount(group, minlength=bound + 1)
    first = np.zeros(size.size, np.int64)
    first[scene.cell[::-1]] = np.arange(scene.nodes)[::-1]
    share = _areas(count, scene.layer[first[cells]], p.area_exponent)
    light = (share * scene.nodes / np.maximum(count, 1)).astype(np.float32)

    is_leaf = scene.touches.region_degree() <= 1
    role = np.zeros(scene.nodes, np.int8)
    role[scene.vertices :] = 1 + is_leaf
    members = np.bincount(group * np.int32(3) + role, minlength=3 * (bound + 1)).reshape(
        bound + 1, 3
    )
    each = np.ones((bound + 1, 3))
    vertices = np.maximum(members[:, 0], 1)
    regions = p.region_share / (1 - p.region_share) * vertices / np.maximum(members[:, 1], 1)
    each[:, 1] = np.minimum(regions, 1)
    each[:, 2] = np.minimum(p.leaf_share * vertices / np.maximum(members[:, 2], 1), 1)
    total = (members * each).sum(axis=1)
    each *= (share * scene.nodes / np.maximum(total, 1e-30))[:, None]
    charge = each.astype(np.float32)[group, role]

    of_region = group[scene.vertices :]
    spring = light[of_region]
    spring *= _data_factor(scene, of_region, p)
    spring *= np.float32(p.spring)
    spring[is_leaf] = np.float32(p.leaf_spring) * charge[scene.vertices :][is_leaf]
    return Forces(
        group=group,
        charge=charge,
        light=light[group],
        region_spring=spring,
        share=share,
        count=count,
        cells=cells,
    )


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
    count: NDArray[np.int64], layer: NDArray[np.int32], exponent: float
) -> NDArray[np.float64]:
    """Share the disc among the bound cells and the sea (last): [b + 1], sums to 1.

    Cells of one layer pass have the area of one, or the many components of a rectifier, each of
    some thousand nodes, would take more of the disc than all convolutions.
    """
    sea = (count[-1] / max(int(count.sum()), 1)) ** exponent if count[-1] else 0.0
    if count.size == 1:
        return np.ones(1)
    together = np.bincount(layer, count[:-1])[layer]
    bound = count[:-1] * together ** (exponent - 1)
    return np.append(bound / bound.sum() * (1 - sea), sea)


def _data_factor(scene: Scene, group: NDArray[np.int32], p: Parameters) -> Floats:
    """Spring factor of every region: elements over its cell's median, to a power, at least 1."""
    cells = int(group.max(initial=0)) + 1
    elements = np.minimum(scene.elements[scene.vertices :], _MOST_ELEMENTS)
    size = _MOST_ELEMENTS + 1
    table = np.bincount(group.astype(np.int64) * size + elements, minlength=cells * size)
    running = np.cumsum(table.reshape(cells, size), axis=1)
    median = np.maximum((running <= running[:, -1:] // 2).sum(axis=1), 1).astype(np.float32)
    ratio = elements / median[group]
    np.maximum(ratio, 1, out=ratio)
    np.power(ratio, np.float32(p.data_exponent), out=ratio)
    factor: Floats = np.minimum(ratio, np.float32(p.data_limit)).astype(np.float32)
    return factor
