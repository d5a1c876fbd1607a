"""Repulsion and gravity of all nodes at once: one Poisson solve on a periodic grid.

The nodes are charges in two dimensions (force 1/d), the disc is a uniform background of the
opposite sign. Its field is the gravity that holds the disc together, and because it cancels the
total charge, the periodic images hardly matter and the grid needs no padding.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Complexes = NDArray[np.complex64]
Floats = NDArray[np.float32]
Int32s = NDArray[np.int32]

#: Radius of the disc in the layout's box of side 1, and its centre.
RADIUS = 0.43
CENTRE = 0.5 + 0.5j

#: Gaussian smoothing of the field in grid cells. Source: measured, the reference notes' 0.7.
SMOOTHING = 0.7


class Mesh:
    """A grid x grid mesh over the box, ready to turn charges into a field.

    Attributes:
        grid: mesh cells per side.
    """

    def __init__(self, grid: int) -> None:
        self.grid = grid
        ky = (2 * np.pi * np.fft.fftfreq(grid)).astype(np.float32)[:, None]
        kx = (2 * np.pi * np.fft.rfftfreq(grid)).astype(np.float32)[None, :]
        k2 = kx * kx + ky * ky
        k2[0, 0] = 1
        green = -np.exp(-0.5 * SMOOTHING**2 * k2) / k2
        green[0, 0] = 0
        self._green: Floats = green.astype(np.float32)
        # The mesh is shifted by half a cell on average, so the disc is drawn half a cell off.
        centre = 0.5 * grid + 0.5
        axis = np.arange(grid, dtype=np.float32) + 0.5 - centre
        distance = np.hypot(axis[:, None], axis[None, :])
        self._disc: Floats = np.clip(RADIUS * grid + 0.5 - distance, 0, 1).astype(np.float32)

    def field(
        self, z: Complexes, charge: Floats, shift: complex
    ) -> tuple[Complexes, Floats, Int32s]:
        """Evaluate force per charge, and density, on the mesh.

        Nearest-cell deposit on a mesh whose origin is moved by `shift`: over several calls with
        random shifts it averages to a linear deposit at a fraction of the cost, and nodes closer
        than a cell do not feel one common field for ever.

        Args:
            z: [n] positions in the box, x + iy in (0, 1).
            charge: [n] charges; their sum spread over the disc is density 1.
            shift: mesh shift in cells, both parts in [0, 1).

        Returns:
            [grid * grid] force per charge in the box's units (divergence = density - 1),
            [grid * grid] density in units of the disc's mean, and [n] the cell of every node.
        """
        grid = self.grid
        at = np.empty(z.size, np.int32)
        for block in blocks(z.size):
            part = (z.imag[block] * grid + np.float32(shift.imag)).astype(np.int32) % grid
            part *= grid
            part += (z.real[block] * grid + np.float32(shift.real)).astype(np.int32) % grid
            at[block] = part
        rho = np.bincount(at, weights=charge, minlength=grid * grid).astype(np.float32)
        rho = rho.reshape(grid, grid)
        rho *= np.float32(float(self._disc.sum()) / float(charge.sum(dtype=np.float64)))
        spectrum = np.fft.rfft2(rho - self._disc)
        spectrum *= self._green
        phi = np.fft.irfft2(spectrum, s=(grid, grid)).astype(np.float32, copy=False)
        del spectrum
        gradient = _gradient(phi)
        # The background stayed half a cell off while the charges moved by `shift`; inside the disc
        # its field is linear, so the difference is one constant.
        gradient += np.complex64(0.5 * (shift - (0.5 + 0.5j)))
        gradient /= np.float32(grid)
        return gradient, rho.reshape(-1), at


def blocks(count: int, size: int = 1 << 18) -> Iterator[slice]:
    """Cut a list into slices that fit a processor's cache."""
    for first in range(0, count, size):
        yield slice(first, min(first + size, count))


def _gradient(phi: Floats) -> Complexes:
    """Central differences of a periodic field, flat: d/dx + i d/dy."""
    out = np.empty(phi.shape, np.complex64)
    x, y = out.real, out.imag
    np.subtract(phi[:, 2:], phi[:, :-2], out=x[:, 1:-1])
    np.subtract(phi[:, 1], phi[:, -1], out=x[:, 0])
    np.subtract(phi[:, 0], phi[:, -2], out=x[:, -1])
    np.subtract(phi[2:], phi[:-2], out=y[1:-1])
    np.subtract(phi[1], phi[-1], out=y[0])
    np.subtract(phi[0], phi[-2], out=y[-1])
    out *= np.float32(0.5)
    return out.reshape(-1)
