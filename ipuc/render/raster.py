"""Light on a canvas: points, discs, lines and blur, as array operations block by block."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

#: Points, stamp pixels or line samples handled at once: bounds memory.
BLOCK = 1 << 22

#: Numbers of samples that a line may have.
_SAMPLES = np.array([1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256, 512, 1024, 2048])

#: Rows that are blurred at once.
_ROWS = 512


@dataclass(frozen=True, slots=True)
class View:
    """A window on the unit square of a layout, and its pixels.

    Attributes:
        left: horizontal position of the window's left edge in the unit square.
        top: vertical position of its upper edge.
        scale: pixels for one unit.
        width: pixels across.
        height: pixels down.
    """

    left: float
    top: float
    scale: float
    width: int
    height: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a canvas."""
        return self.height, self.width

    def pixels(self, xy: Floats) -> Floats:
        """Turn positions in the unit square into pixels of the window: [n, 2]."""
        corner = np.array([self.left, self.top], np.float32)
        return np.asarray((xy - corner) * np.float32(self.scale), np.float32)

    def finer(self, factor: int) -> View:
        """The same window with `factor` times as many pixels per side."""
        return View(
            self.left, self.top, self.scale * factor, self.width * factor, self.height * factor
        )


def whole_view(size: int) -> View:
    """The whole unit square on `size` pixels per side."""
    return View(0.0, 0.0, float(size), size, size)


def deposit(planes: Floats, at: Floats, light: Floats) -> None:
    """Add every point's light to the pixel that holds it; points outside are dropped.

    Args:
        planes: [k, rows, columns], added to in place.
        at: [n, 2] positions in pixels.
        light: [k, n] light of every point, for each plane.
    """
    _, rows, columns = planes.shape
    for first in range(0, len(at), BLOCK):
        place = np.floor(at[first : first + BLOCK]).astype(np.int64)
        x, y = place[:, 0], place[:, 1]
        inside = (x >= 0) & (x < columns) & (y >= 0) & (y < rows)
        flat = y * columns + x
        every = bool(inside.all())
        for plane, part in zip(planes, light[:, first : first + BLOCK], strict=True):
            _add(plane, flat if every else flat[inside], part if every else part[inside])


def discs(planes: Floats, xy: Floats, radius: Floats, value: Floats) -> None:
    """Stamp soft-edged discs, placed to a fraction of a pixel.

    Args:
        planes: [1 + k, rows, columns]: the first gets the coverage (over 1 where discs overlap),
            the others the sum of coverage times value.
        xy: [n, 2] centres in pixels.
        radius: [n] radii in pixels.
        value: [k, n] what is averaged where discs overlap.
    """
    _, rows, columns = planes.shape
    reach = np.ceil(radius + 1).astype(np.int64)
    for half in np.unique(reach).tolist():
        axis = np.arange(-half, half + 1, dtype=np.float32)
        members = np.flatnonzero(reach == half)
        step = max(BLOCK // (axis.size**2), 1)
        for start in range(0, members.size, step):
            at = members[start : start + step]
            corner = np.floor(xy[at])
            dx = axis[None, :] + 0.5 - (xy[at, 0] - corner[:, 0])[:, None]
            dy = axis[None, :] + 0.5 - (xy[at, 1] - corner[:, 1])[:, None]
            distance = np.hypot(dy[:, :, None], dx[:, None, :])
            alpha = np.clip(radius[at, None, None] + 0.5 - distance, 0, 1)
            x = (corner[:, 0, None] + axis[None, :]).astype(np.int64)
            y = (corner[:, 1, None] + axis[None, :]).astype(np.int64)
            inside = ((x >= 0) & (x < columns))[:, None, :] & ((y >= 0) & (y < rows))[:, :, None]
            flat = (y[:, :, None] * columns + x[:, None, :])[inside]
            _add(planes[0], flat, alpha[inside])
            for plane, one in zip(planes[1:], value, strict=True):
                _add(plane, flat, (alpha * one[at, None, None])[inside])


def lines(
    planes: Floats,
    low: Floats,
    high: Floats,
    light: Floats,
    *,
    samples: float,
    longest: float,
    smooth: bool = False,
) -> None:
    """Add lines as rows of points, about `light` per pixel of length.

    Args:
        planes: [k, rows, columns], added to in place.
        low: [m, 2] one end of every line, in pixels.
        high: [m, 2] the other end.
        light: [k, m] light per pixel of length, for each plane.
        samples: points per pixel of length; their position is jittered by a fixed hash.
        longest: a line longer than this many pixels gets only as much light as this length, so a
            hub with thousands of long lines glows instead of fogging.
        smooth: spread each point over the four nearest pixels.
    """
    near, far = _clip(low, high, planes.shape[2], planes.shape[1])
    seen = np.flatnonzero(far >= near)
    near, part = near[seen], (far - near)[seen]
    step = (high[seen] - low[seen]).astype(np.float32)
    length = np.maximum(np.hypot(step[:, 0], step[:, 1]), np.float32(1e-6))
    start = low[seen] + near[:, None] * step
    step *= part[:, None]
    lit = np.minimum(length, np.float32(longest)) * part
    which = np.searchsorted(_SAMPLES, lit * np.float32(samples), side="left")
    which = np.minimum(which, _SAMPLES.size - 1)
    jitter = (seen * 0.7548776662 % 1.0).astype(np.float32)
    for index in np.unique(which).tolist():
        count = int(_SAMPLES[index])
        members = np.flatnonzero(which == index)
        nth = np.arange(count, dtype=np.float32)
        room = max(BLOCK // (4 * count), 1)
        for cut in (members[first : first + room] for first in range(0, members.size, room)):
            if smooth:
                t = np.broadcast_to((nth + np.float32(0.5)) / count, (cut.size, count))
            else:
                shift = (nth * np.float32(0.6180339887) + jitter[cut, None]) % np.float32(1)
                t = (nth + shift) / np.float32(count)
            at = np.empty((cut.size * count, 2), np.float32)
            for axis in (0, 1):
                line = start[cut, axis, None] + t * step[cut, axis, None]
                at[:, axis] = line.reshape(-1)
            share = light[:, seen[cut]] * (lit[cut] / np.float32(count))
            (_bilinear if smooth else deposit)(planes, at, np.repeat(share, count, axis=1))


def blur(image: Floats, sigma: float) -> Floats:
    """Gaussian blur of [rows, columns] with black outside; wide ones on a reduced image."""
    if sigma > 8:
        factor = int(sigma // 4)
        small = blur(shrink(image, factor), sigma / factor)
        return enlarge(small, factor, image.shape, slice(0, image.shape[0]))
    half = max(int(np.ceil(3 * sigma)), 1)
    at = np.arange(-half, half + 1)
    kernel = np.exp(-0.5 * (at / sigma) ** 2)
    kernel = (kernel / kernel.sum()).astype(np.float32)
    out = np.empty_like(image)
    rows = image.shape[0]
    # In bands with a margin: the canvas is large, and what a band needs fits into the cache.
    for first in range(0, rows, _ROWS):
        last = min(first + _ROWS, rows)
        above, below = max(first - half, 0), min(last + half, rows)
        band = _along_rows(image[above:below], kernel, half)
        out[first:last] = _along_rows(band.T, kernel, half).T[first - above : last - above]
    return out


def halve(image: Floats) -> Floats:
    """Average every two by two pixels, any trailing axes kept."""
    top = image[0::2, 0::2] + image[0::2, 1::2]
    return ((top + image[1::2, 0::2] + image[1::2, 1::2]) * np.float32(0.25)).astype(np.float32)


def shrink(image: Floats, factor: int) -> Floats:
    """Average blocks of factor by factor pixels; the last ones may be padded with black."""
    rows, cols = (-(-side // factor) * factor for side in image.shape)
    padded = np.pad(image, ((0, rows - image.shape[0]), (0, cols - image.shape[1])))
    blocks = padded.reshape(rows // factor, factor, cols // factor, factor)
    small: Floats = blocks.mean(axis=(1, 3), dtype=np.float32)
    return small


def enlarge(image: Floats, factor: int, shape: tuple[int, ...], rows: slice) -> Floats:
    """Enlarge linearly by a whole factor to `shape`, and keep only some of its rows."""
    for axis, wanted in ((0, np.arange(rows.start, rows.stop)), (1, np.arange(shape[1]))):
        at = (wanted + 0.5) / factor - 0.5
        at = np.clip(at, 0, image.shape[axis] - 1)
        low = np.minimum(at.astype(np.int64), max(image.shape[axis] - 2, 0))
        high = np.minimum(low + 1, image.shape[axis] - 1)
        part = (at - low).astype(np.float32)
        part = part[:, None] if axis == 0 else part[None, :]
        image = image.take(low, axis=axis) * (1 - part) + image.take(high, axis=axis) * part
    return image.astype(np.float32)


def _add(plane: Floats, flat: NDArray[np.int64], light: Floats) -> None:
    """Sum light per flat pixel index into one plane."""
    np.add.at(plane.reshape(-1), flat, light.astype(np.float32, copy=False))


def _clip(low: Floats, high: Floats, width: int, height: int) -> tuple[Floats, Floats]:
    """The part t0..t1 of every line that is in the window; t1 < t0 where none is.

    Source: Liang and Barsky, "A new concept and method for line clipping" (1984).
    """
    near = np.zeros(len(low), np.float32)
    far = np.ones(len(low), np.float32)
    for axis, side in ((0, width), (1, height)):
        begin, step = low[:, axis], high[:, axis] - low[:, axis]
        still = np.abs(step) < 1e-9
        safe = np.where(still, 1, step)
        one, two = -begin / safe, (side - begin) / safe
        near = np.maximum(near, np.where(still, 0, np.minimum(one, two)))
        far = np.minimum(far, np.where(still, 1, np.maximum(one, two)))
        far[still & ((begin < 0) | (begin >= side))] = -1
    return near, far


def _bilinear(planes: Floats, at: Floats, light: Floats) -> None:
    """Share each point's light among the four pixels whose centres surround it."""
    at = at - np.float32(0.5)
    corner = np.floor(at)
    part = at - corner
    for dy in (0, 1):
        wy = part[:, 1] if dy else 1 - part[:, 1]
        for dx in (0, 1):
            wx = part[:, 0] if dx else 1 - part[:, 0]
            deposit(planes, corner + np.array([dx, dy], np.float32), light * (wy * wx))


def _along_rows(image: Floats, kernel: Floats, half: int) -> Floats:
    """Convolve along the first axis."""
    out = image * kernel[half]
    for offset in range(1, half + 1):
        weight = kernel[half + offset]
        out[offset:] += weight * image[:-offset]
        out[:-offset] += weight * image[offset:]
    return np.asarray(out, np.float32)
