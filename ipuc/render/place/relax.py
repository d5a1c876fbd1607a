"""Let charges and springs find their rest: preconditioned descent with momentum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ipuc.render.place.poisson import CENTRE, RADIUS, Mesh
from ipuc.render.place.springs import Springs

Complexes = NDArray[np.complex64]
Floats = NDArray[np.float32]

#: Momentum and rate. Source: measured, the reference notes' section 3.4.
MOMENTUM, RATE = 0.7, 0.36


@dataclass(frozen=True, slots=True)
class Body:
    """What moves: n nodes, coarse or fine.

    Attributes:
        charge: [n] charges.
        group: [n] bound cell; `bound` for the sea.
        bound: number of bound cells.
        pull: [n] strength of the pull towards the cell's centroid; 0 for the sea.
        springs: springs between the nodes, to be added.
    """

    charge: Floats
    group: NDArray[np.int32]
    bound: int
    pull: Floats
    springs: tuple[Springs, ...]


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
    stiffness = sum((springs.stiffness for springs in body.springs), np.zeros(z.size, np.float32))
    velocity = np.zeros(z.size, np.complex64)
    ratio = (phase.last / phase.first) ** (1 / max(phase.iterations - 1, 1))
    for step in range(phase.iterations):
        shift = complex(*rng.random(2))
        field, density = mesh.field(z, body.charge, shift)
        force = field * body.charge
        for springs in body.springs:
            force += springs.pull(z)
        force -= stiffness * z
        hold = body.charge * (0.5 + 0.5 * density) + stiffness
        if body.bound:
            towards, stiff = _to_centroid(z, body)
            force += towards
            hold += stiff
        velocity *= np.float32(MOMENTUM)
        velocity += force * (np.float32(RATE) / hold)
        limit = np.float32(phase.first * ratio**step / phase.grid)
        length = np.abs(velocity)
        velocity *= np.minimum(limit / np.maximum(length, np.float32(1e-20)), 1)
        z = into_disc(z + velocity, rng)
        progress()
    return z


def _to_centroid(z: Complexes, body: Body) -> tuple[Complexes, Floats]:
    """Pull bound nodes to their cell's centroid with a nearly constant force.

    Returns:
        [n] force and [n] its stiffness.
    """
    groups = body.bound + 1
    charge = np.bincount(body.group, weights=body.charge, minlength=groups)
    safe = np.maximum(charge, 1e-30)
    x = np.bincount(body.group, weights=body.charge * z.real, minlength=groups) / safe
    y = np.bincount(body.group, weights=body.charge * z.imag, minlength=groups) / safe
    centroid = (x + 1j * y).astype(np.complex64)
    radius = (RADIUS * np.sqrt(charge / safe.sum())).astype(np.float32)
    away = centroid[body.group] - z
    reach = radius[body.group]
    stiff = body.pull * reach / (np.abs(away) + np.float32(0.15) * reach + np.float32(1e-9))
    return away * stiff, stiff


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
