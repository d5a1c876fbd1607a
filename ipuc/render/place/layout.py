"""Where every node of a scene lies: cells in a disc, by charges and springs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.errors import ContainerError
from ipuc.render.place import stress
from ipuc.render.place.coarsen import Coarse, coarsen
from ipuc.render.place.forces import Forces, Parameters, forces_of, parameters_for, springs_of
from ipuc.render.place.poisson import CENTRE, RADIUS
from ipuc.render.place.relax import Body, Phase, centroids, into_disc, relax
from ipuc.render.place.springs import Springs
from ipuc.render.place.tangle import spectral
from ipuc.render.saving import FORMAT, load_arrays, save_arrays
from ipuc.render.scene import Scene

Complexes = NDArray[np.complex64]

#: Radius of the disc in a finished layout, whose box has side 1 and centre (0.5, 0.5).
DISC = 0.46

#: From this many nodes on, clusters are placed first.
COARSE_FROM = 4000

#: How much weaker repulsion is at first, and for how long. Source: measured on the 43 column
#: blocks of a fully connected layer; 5 and 20 do as well, none leaves a tenth of them entangled.
_CONTRACTION, _CONTRACTING = 10, Phase(256, 100, 4, 1)

#: Radius, in the disc's, from which a component of the sea is looked after by itself, and places
#: that it may choose from.
_VISIBLE, _PLACES = 0.015, 16

#: Radius of the disc over which a cluster's nodes are spread at first, and in a preview, where they
#: stay, relative to that of the cluster's area.
_SPREAD, _PREVIEW_SPREAD = 0.4, 0.8

#: Of a preview: contraction, and the two coarse phases.
_PREVIEW = Phase(256, 40, 4, 1), Phase(256, 70, 4, 0.3), Phase(512, 24, 5, 0.3)

#: Up to this many nodes, cells start unfolded by their Laplacian.
SPECTRAL_NODES = 1500

ARRAYS = ("xy", "light", "cell_id", "cell_nodes", "cell_share", "cell_xy", "cell_radius")


@dataclass(frozen=True, slots=True)
class Layout:
    """Positions of n nodes and a table of b bound cells.

    Attributes:
        xy: [n, 2] positions in the unit square, y downwards; the disc has radius `DISC`.
        light: [n] light of every node; its mean is 1.
        cell_id: [b] the scene's number of every bound cell; all other cells are sea.
        cell_nodes: [b] nodes.
        cell_share: [b] share of the disc's area.
        cell_xy: [b, 2] centroid.
        cell_radius: [b] root mean square distance from the centroid.
        seed: seed of the layout.
        grid: cells per side of the finest mesh.
        parameters: the numbers it was made with.
    """

    xy: NDArray[np.float32]
    light: NDArray[np.float32]
    cell_id: NDArray[np.int32]
    cell_nodes: NDArray[np.int64]
    cell_share: NDArray[np.float64]
    cell_xy: NDArray[np.float32]
    cell_radius: NDArray[np.float32]
    seed: int
    grid: int
    parameters: Parameters


def place(
    scene: Scene,
    *,
    seed: int = 0,
    grid: int | None = None,
    parameters: Parameters | None = None,
    preview: bool = False,
    progress: Callable[[float], None] | None = None,
) -> Layout:
    """Lay out a scene.

    Args:
        scene: what to lay out.
        seed: equal scenes and seeds give equal bytes.
        grid: cells per side of the finest mesh; by default from the number of nodes.
        parameters: the numbers of the layout.
        preview: of many nodes, only clusters find their place; a cluster's nodes lie round it.
        progress: told the finished fraction, 0 to 1.
    """
    parameters = parameters or parameters_for(scene.nodes)
    grid = grid or grid_for(scene.nodes)
    rng = np.random.default_rng(seed)
    if not scene.nodes:
        return _finish(np.zeros(0, np.complex64), None, seed, grid, parameters)
    progress = progress or (lambda _: None)
    forces = forces_of(scene, parameters)
    clusters = coarsen(scene, forces, parameters) if scene.nodes > COARSE_FROM else None
    phases = _schedule(scene.nodes, grid, clusters)
    contracting = _CONTRACTING
    if clusters is not None and preview:
        contracting, *phases = _PREVIEW
    early = [contracting] if clusters is not None else []
    tick = _Ticker(early + phases, scene.nodes, coarse=clusters is not None, progress=progress)
    tick.other(4)
    if scene.nodes <= stress.NODES and scene.edges <= stress.EDGES:
        drawn = stress.draw_by_stress(scene.nodes, *_edges(scene), rng)
        tick.finish()
        return _finish(np.complex64(CENTRE) + RADIUS * drawn, forces, seed, grid, parameters)

    if clusters is not None:
        coarse = _body(clusters.group, clusters.charge, forces, (clusters.springs,))
        z = _start(coarse, forces, rng)
        # With hardly any repulsion what is tied together gathers in one point, and unfolds from
        # there in one piece; else lobes of one cell stay entangled.
        bare = replace(coarse, charge=coarse.charge / np.float32(_CONTRACTION))
        z = relax(z, bare, contracting, rng, tick.step)
        z = relax(z, coarse, phases[0], rng, tick.step)
        z = _rescatter(z, coarse, rng)
        z = relax(z, coarse, phases[1], rng, tick.step)
        z = _children(z, clusters, rng, _PREVIEW_SPREAD if preview else _SPREAD)
        phases = phases[2:]
        if preview:
            tick.finish()
            return _finish(z, forces, seed, grid, parameters)
    springs = springs_of(scene, forces, parameters)
    body = _body(forces.group, forces.charge, forces, springs)
    tick.other(3)
    if clusters is None:
        unfolded = None
        if scene.nodes <= SPECTRAL_NODES:
            unfolded = spectral(scene.nodes, *_edges(scene), forces.group)
        z = _start(body, forces, rng, unfolded, noise=0.05)
    z = _relax_all(z, body, phases, rng, tick)
    tick.finish()
    return _finish(z, forces, seed, grid, parameters)


def grid_for(nodes: int) -> int:
    """Cells per side of the finest mesh.

    Nodes closer than about two cells hardly feel each other, and a leaf would fall onto its
    vertex; so the mean distance is two cells or more up to 600,000 nodes. A finer grid for more
    was tried: in the few steps one can afford there, large graphs do not come to rest.
    """
    limits = ((2_000, 128), (9_000, 256), (36_000, 512), (144_000, 1024), (4_000_000, 2048))
    return next((grid for limit, grid in limits if nodes <= limit), 4096)


def save_layout(layout: Layout, path: Path) -> None:
    """Write a layout as `.npz` without pickle, whole or not at all."""
    save_arrays(path, header_of(layout), {name: getattr(layout, name) for name in ARRAYS})


def load_layout(path: Path) -> Layout:
    """Read a layout that `save_layout` wrote.

    Raises:
        ContainerError: the file is no saved layout, or it is damaged.
    """
    header, arrays = load_arrays(path, ARRAYS)
    try:
        return layout_of_arrays(header, arrays)
    except ContainerError as error:
        error.where = str(path)
        raise


def header_of(layout: Layout) -> dict[str, Any]:
    """What a saved layout says beside its arrays."""
    return {
        "format": FORMAT,
        "seed": layout.seed,
        "grid": layout.grid,
        "parameters": asdict(layout.parameters),
    }


def layout_of_arrays(header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Layout:
    """Put a layout together again from what was saved of it.

    Raises:
        ContainerError: it is damaged.
    """
    try:
        return Layout(
            **arrays,
            seed=int(header["seed"]),
            grid=int(header["grid"]),
            parameters=Parameters(**header["parameters"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ContainerError("the layout is damaged", fix="save the layout again") from error


def _schedule(nodes: int, grid: int, clusters: Coarse | None) -> list[Phase]:
    """Choose grids and iterations: many cheap steps on few nodes, few on many."""
    if clusters is None:
        return [Phase(grid // 2, 300, 6, 0.6), Phase(grid, 300, 3, 0.03)]
    long = nodes <= 300_000
    return [
        Phase(256, 250, 4, 0.3),
        Phase(min(512, grid), 80, 5, 0.3),
        Phase(max(grid // 2, 256), 80 if long else 30, 9, 1),
        Phase(grid, 50 if long else 17, 4, 0.3),
    ]


def _body(
    group: NDArray[np.int32],
    charge: NDArray[np.float32],
    forces: Forces,
    springs: tuple[Springs, ...],
) -> Body:
    """Gather what moves; the sea feels no centroid."""
    stiffness = springs[0].stiffness if springs else np.zeros(group.size, np.float32)
    for more in springs[1:]:
        stiffness = stiffness + more.stiffness
    return Body(charge, group, forces.bound, forces.pull, springs, stiffness)


def _start(
    body: Body,
    forces: Forces,
    rng: np.random.Generator,
    unfolded: NDArray[np.complex128] | None = None,
    noise: float = 0.0,
) -> Complexes:
    """Put cells down as blobs and the sea anywhere.

    A cell with over 12 % of the charge goes inside and the others on a ring, in program order;
    without such a giant all go on a sunflower spiral (a ring would leave an empty centre).

    Args:
        body: what moves.
        forces: shares of the cells.
        rng: drawn from in a fixed order.
        unfolded: [n] a drawing of each bound cell in the unit disc, instead of a random blob.
        noise: how far `unfolded` is loosened.
    """
    share = forces.share[:-1]
    centre = np.zeros(forces.bound + 1, np.complex128)
    giant = share > 0.12
    if forces.bound == 1:
        giant = np.ones(1, bool)
    if giant.any():
        inside, ring = np.flatnonzero(giant), np.flatnonzero(~giant)
        if inside.size > 1:
            turn = (np.arange(inside.size) + 0.5) / inside.size
            centre[inside] = 0.35 * np.exp(2j * np.pi * turn)
        along = np.cumsum(np.sqrt(share[ring])) - 0.5 * np.sqrt(share[ring])
        centre[ring] = 0.75 * np.exp(2j * np.pi * along / max(np.sqrt(share[ring]).sum(), 1e-30))
    else:
        order = np.arange(forces.bound)
        golden = np.pi * (3 - np.sqrt(5))
        radius = 0.9 * np.sqrt((order + 0.5) / max(forces.bound, 1))
        centre[:-1] = radius * np.exp(1j * golden * order)
    blob = np.append(0.3 * np.sqrt(share), 0.99)
    place = _in_unit_disc(body.group.size, rng)
    if unfolded is not None:
        blob[:-1] = 0.6 * np.sqrt(share)
        place = np.where(body.group < forces.bound, unfolded + noise * place, place)
    z = CENTRE + RADIUS * (centre[body.group] + blob[body.group] * place)
    return into_disc(z.astype(np.complex64), rng)


def _relax_all(
    z: Complexes, body: Body, phases: list[Phase], rng: np.random.Generator, tick: _Ticker
) -> Complexes:
    """Relax on one grid after the other.

    What a grid could not tell apart lies on one spot when it is done, and the next, finer grid
    could never separate it; so nodes are shaken by half a cell in between.
    """
    before: Phase | None = None
    for phase in phases:
        if before is not None:
            shaken = z + 0.5 / before.grid * _in_unit_disc(z.size, rng)
            z = into_disc(shaken.astype(np.complex64), rng)
        z = relax(z, body, phase, rng, tick.step)
        before = phase
    return z


def _edges(scene: Scene) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The edges of a small scene, all in one block."""
    none = np.zeros(0, np.int32)
    return next(scene.edge_blocks(), (none, none))


def _rescatter(z: Complexes, body: Body, rng: np.random.Generator) -> Complexes:
    """Throw half of the sea over the whole disc, and what is trapped to where there is room.

    Cells expel it in every direction, and it dams up as walls between them. A component of some
    size that a cell's charge reaches over would be squeezed to a bright pill there: it goes to the
    roomiest of some places.
    """
    sea = np.flatnonzero(body.group == body.bound)
    half = sea[rng.random(sea.size) < 0.5]
    z = z.copy()
    z[half] = CENTRE + 0.99 * RADIUS * _in_unit_disc(half.size, rng)
    reach = RADIUS * np.sqrt(body.charge[sea] / body.charge.sum(dtype=np.float64))
    large = sea[reach > _VISIBLE * RADIUS]
    trapped = large[_room(z[large], z, body) < 0]
    places = CENTRE + 0.99 * RADIUS * _in_unit_disc(trapped.size * _PLACES, rng)
    room = _room(places, z, body).reshape(-1, _PLACES)
    z[trapped] = places.reshape(-1, _PLACES)[np.arange(trapped.size), room.argmax(axis=1)]
    return z


def _room(at: NDArray[np.complexfloating], z: Complexes, body: Body) -> NDArray[np.float64]:
    """How far some places lie outside the nearest cell's circle, negative inside it."""
    centroid, radius = centroids(z, body)
    room = np.full(at.size, np.inf)
    for centre, around in zip(centroid[:-1].tolist(), radius[:-1].tolist(), strict=True):
        np.minimum(room, np.abs(at - centre) - around, out=room)
    return room


def _children(z: Complexes, clusters: Coarse, rng: np.random.Generator, spread: float) -> Complexes:
    """Spread each cluster's nodes over a small disc round it."""
    share = clusters.charge / clusters.charge.sum(dtype=np.float64)
    radius = (spread * RADIUS * np.sqrt(share)).astype(np.float32)
    offset = radius[clusters.cluster] * _in_unit_disc(clusters.cluster.size, rng)
    return into_disc((z[clusters.cluster] + offset).astype(np.complex64), rng)


def _in_unit_disc(count: int, rng: np.random.Generator) -> NDArray[np.complex128]:
    """Draw points evenly from the unit disc."""
    radius, turn = np.sqrt(rng.random(count)), rng.random(count)
    return np.asarray(radius * np.exp(2j * np.pi * turn), np.complex128)


def _finish(
    z: Complexes,
    forces: Forces | None,
    seed: int,
    grid: int,
    parameters: Parameters,
) -> Layout:
    """Scale to the picture's disc and sum up the cells."""
    scaled = 0.5 + (z - np.complex64(CENTRE)).view(np.float32).reshape(-1, 2) * (DISC / RADIUS)
    xy = scaled.astype(np.float32)
    if forces is None:
        none = np.zeros(0)
        return Layout(
            xy,
            none.astype(np.float32),
            none.astype(np.int32),
            none.astype(np.int64),
            none,
            np.zeros((0, 2), np.float32),
            none.astype(np.float32),
            seed,
            grid,
            parameters,
        )
    bound = forces.bound
    count = np.maximum(forces.count[:-1], 1)
    centre = np.stack(
        [np.bincount(forces.group, xy[:, axis], bound + 1)[:-1] / count for axis in (0, 1)], axis=1
    )
    padded = np.vstack([centre, [[0.5, 0.5]]])
    square = ((xy - padded[forces.group]) ** 2).sum(axis=1)
    radius = np.sqrt(np.bincount(forces.group, square, bound + 1)[:-1] / count)
    return Layout(
        xy=xy,
        light=forces.light,
        cell_id=forces.cells,
        cell_nodes=forces.count[:-1],
        cell_share=forces.share[:-1],
        cell_xy=centre.astype(np.float32),
        cell_radius=radius.astype(np.float32),
        seed=seed,
        grid=grid,
        parameters=parameters,
    )


class _Ticker:
    """Turns finished work into a fraction; a step costs its nodes and its grid.

    Source of the weights: measured at 20 million nodes; a coarse step takes a hundredth of a fine
    one, coarsening four and springs three.
    """

    def __init__(
        self, phases: list[Phase], nodes: int, *, coarse: bool, progress: Callable[[float], None]
    ) -> None:
        sizes = [nodes / 100] * 3 if coarse else []
        sizes += [nodes] * (len(phases) - len(sizes))
        self._costs = [
            size + phase.grid**2 / 8
            for size, phase in zip(sizes, phases, strict=True)
            for _ in range(phase.iterations)
        ]
        self._nodes = nodes
        self._total = sum(self._costs) + 7 * nodes
        self._costs.reverse()
        self._done = 0.0
        self._progress = progress

    def finish(self) -> None:
        """Count all steps that were not needed."""
        self._progress(1.0)

    def other(self, steps: float) -> None:
        """Count work that takes as long as some steps of all nodes."""
        self._tell(steps * self._nodes)

    def step(self) -> None:
        """Count one step."""
        self._tell(self._costs.pop())

    def _tell(self, cost: float) -> None:
        self._done += cost
        self._progress(min(self._done / self._total, 1.0))
