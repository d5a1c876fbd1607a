"""Let charges and springs find their rest: preconditioned descent with momentum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ipuc.render.place.poisson import CENTRE, RADIUS, Mesh, blocks
from ipuc.render.place.springs import Springs

Complexes = NDArray[np.complex64]
Floats = NDArray[np.float32]

#: Momentum and rate. Source: measured, the reference notes' section 3.4.
MOMENTUM, RATE = 0.7, 0.36

#: From this many nodes on, some of them are enough to find a cell's centroid.
_MANY = 1_000_000


@dataclass(frozen=True, slots=True)
class Body:
    """What moves: n nodes, coarse or fine.

    Attributes:
        charge: [n] charges.
        group: [n] bound cell; `bound` for the sea.
        bound: number of bound cells.
        pull: [bound + 1] pull towards the cell's centroid per charge; 0 for the sea.
        springs: springs between the nodes, to be added.
        stiffness: [n] sum of the weights of every node's springs.
    """

    charge: Floats
    group: NDArray[np.int32]
    bound: int
    pull: Floats
    springs: tuple[Springs, ...]
    stiffness: Floats


@dataclass(frozen=True, slots=True)
class Phase:
    """One stretch of iterations on one grid; steps are clipped, `first` to `last` mesh cells."""

    grid: int
    iterations: int
    first: float
    last: float


def relax(
    z: Complexes,
    body: Body,
    phase: Phase,
    rng: np.random.Generator,
    progress: Callable[[], None],
) -> Complexes:
    """Move nodes towards rest.

    The step divides the force by the local stiffness (springs plus the mesh's own), so hubs of
    any degree are stable.

    Args:
        z: [n] positions in the box, x + iy.
        body: charges and springs.
        phase: grid and number of steps.
        rng: drawn from in a fixed order.
        progress: called after every step.

    Returns:
        [n] new positions, all inside the disc.
    """
    mesh = Mesh(phase.grid)
    velocity = np.zeros(z.size, np.complex64)
    ratio = (phase.last / phase.first) ** (1 / max(phase.iterations - 1, 1))
    pull = np.empty(z.size, np.complex64)
    z = z.copy()
    for step in range(phase.iterations):
        shift = complex(*rng.random(2))
        pull[:] = 0
        for springs in body.springs:
            springs.pull(z, pull)
        field, density, at = mesh.field(z, body.charge, shift)
        limit = np.float32(phase.first * ratio**step / phase.grid)
        centroid, reach = centroids(z, body)
        for block in blocks(z.size):
            here, charge, group = z[block], body.charge[block], body.group[block]
            stiffness = body.stiffness[block]
            force = field[at[block]]
            force *= charge
            force += pull[block]
            hold = density[at[block]]
            hold *= np.float32(0.5)
            hold += np.float32(0.5)
            hold *= charge
            if body.bound:
                # A nearly constant force towards the cell's centroid, linear near it.
                away = centroid[group] - here
                radius = reach[group]
                stiff = body.pull[group] * charge * radius
                stiff /= np.abs(away) + np.float32(0.15) * radius + np.float32(1e-9)
                away *= stiff
                force += away
                hold += stiff
            force -= stiffness * here
            hold += stiffness
            force *= np.float32(RATE) / hold
            moved = velocity[block]
            moved *= np.float32(MOMENTUM)
            moved += force
            length = np.abs(moved)
            moved *= np.minimum(limit / np.maximum(length, np.float32(1e-20)), 1)
            here += moved
            into_disc(here, rng)
        progress()
    return z


def centroids(z: Complexes, body: Body) -> tuple[Complexes, Floats]:
    """Where each cell's charge is centred, and the radius it fills: [bound + 1] each.

    Every few nodes are enough of large cells, and the pull is weak.
    """
    groups, every = body.bound + 1, slice(None, None, 8 if z.size > _MANY else 1)
    group, charge, at = body.group[every], body.charge[every], z[every]
    total = np.maximum(np.bincount(group, weights=charge, minlength=groups), 1e-30)
    x = np.bincount(group, weights=charge * at.real, minlength=groups) / total
    y = np.bincount(group, weights=charge * at.imag, minlength=groups) / total
    radius = (RADIUS * np.sqrt(total / total.sum())).astype(np.float32)
    return (x + 1j * y).astype(np.complex64), radius


def into_disc(z: Complexes, rng: np.random.Generator) -> Complexes:
    """Put nodes that left the disc back, up to 1 % of the radius inside its rim.

    One common depth would squeeze small components into bright dashes on the rim.
    """
    away = z - np.complex64(CENTRE)
    distance = np.abs(away)
    out = np.flatnonzero(distance > RADIUS)
    if out.size:
        depth = RADIUS * (1 - 0.01 * rng.random(out.size))
        z[out] = CENTRE + away[out] * (depth / distance[out])
    return z
