"""Light on a canvas: points, discs, lines and blur, as array operations."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Int32s = NDArray[np.int32]

#: Stamp pixels or line samples handled at once: bounds memory.
BLOCK = 1 << 22


def points(xy: Floats, light: Floats, size: int) -> Floats:
    """Add every point's light to the pixel that holds it: [size, size].

    Args:
        xy: [n, 2] positions in pixels.
        light: [n] light of every point.
        size: pixels per side.
    """
    at = xy.astype(np.int32)
    np.clip(at, 0, size - 1, out=at)
    flat = at[:, 1] * np.int32(size) + at[:, 0]
    return _accumulate(flat, light, size)


def discs(xy: Floats, radius: Floats, value: Floats, size: int) -> tuple[Floats, Floats]:
    """Stamp soft-edged discs, placed to a fraction of a pixel.

    Args:
        xy: [n, 2] centres in pixels.
        radius: [n] radii in pixels.
        value: [n] what is averaged where discs overlap.
        size: pixels per side.

    Returns:
        [size, size] coverage (over 1 where discs overlap) and [size, size] sum of coverage times
        value.
    """
    cover = np.zeros((size, size), np.float32)
    total = np.zeros((size, size), np.float32)
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
            x = (corner[:, 0, None] + axis[None, :]).astype(np.int32)
            y = (corner[:, 1, None] + axis[None, :]).astype(np.int32)
            inside = ((x >= 0) & (x < size))[:, None, :] & ((y >= 0) & (y < size))[:, :, None]
            flat = (y[:, :, None] * size + x[:, None, :])[inside]
            cover += _accumulate(flat, alpha[inside], size)
            total += _accumulate(flat, (alpha * value[at, None, None])[inside], size)
    return cover, total


def lines(
    xy: Floats,
    start: Int32s,
    end: Int32s,
    light: Floats,
    size: int,
    *,
    samples: float,
    longest: float,
    smooth: bool = False,
) -> Floats:
    """Add lines as rows of points: [size, size], about `light` per pixel of length.

    Args:
        xy: [n, 2] node positions in pixels.
        start: [m] node at one end of every line.
        end: [m] node at the other end.
        light: [m] light per pixel of length.
        size: pixels per side.
        samples: points per pixel of length; their position is jittered by a fixed hash.
        longest: a line longer than this many pixels gets only as much light as this length, so a
            hub with thousands of long lines glows instead of fogging.
        smooth: spread each point over the four nearest pixels.
    """
    canvas = np.zeros((size, size), np.float32)
    block = BLOCK // 16
    for first in range(0, start.size, block):
        low = xy[start[first : first + block]]
        step = xy[end[first : first + block]] - low
        length = np.hypot(step[:, 0], step[:, 1])
        count = np.maximum(np.ceil(np.minimum(length, longest) * samples), 1).astype(np.int64)
        share = light[first : first + block] * np.minimum(length, longest) / count
        for cut in _cuts(count):
            number = count[cut]
            line = np.repeat(np.arange(number.size), number)
            nth = np.arange(line.size) - np.repeat(np.cumsum(number) - number, number)
            if smooth:
                t = (nth + 0.5) / number[line]
            else:
                jitter = (nth * 0.6180339887 + line * 0.7548776662) % 1.0
                t = (nth + jitter) / number[line]
            at = low[cut][line] + t[:, None].astype(np.float32) * step[cut][line]
            if smooth:
                _bilinear(canvas, at, share[cut][line], size)
            else:
                canvas += points(at, share[cut][line], size)
    return canvas


def blur(image: Floats, sigma: float) -> Floats:
    """Gaussian blur with black outside; wide ones on a reduced image."""
    if sigma > 8:
        factor = int(sigma // 4)
        small = blur(_shrink(image, factor), sigma / factor)
        return _enlarge(small, factor, image.shape)
    half = max(int(np.ceil(3 * sigma)), 1)
    at = np.arange(-half, half + 1)
    kernel = np.exp(-0.5 * (at / sigma) ** 2)
    kernel = (kernel / kernel.sum()).astype(np.float32)
    for axis in (0, 1):
        out = image * kernel[half]
        for offset in range(1, half + 1):
            weight = kernel[half + offset]
            if axis == 0:
                out[offset:] += weight * image[:-offset]
                out[:-offset] += weight * image[offset:]
            else:
                out[:, offset:] += weight * image[:, :-offset]
                out[:, :-offset] += weight * image[:, offset:]
        image = out
    return image


def halve(image: Floats) -> Floats:
    """Average every two by two pixels, any trailing axes kept."""
    top = image[0::2, 0::2] + image[0::2, 1::2]
    return ((top + image[1::2, 0::2] + image[1::2, 1::2]) * np.float32(0.25)).astype(np.float32)


def _accumulate(flat: NDArray[np.integer], light: Floats, size: int) -> Floats:
    """Sum light per flat pixel index: [size, size]."""
    total = np.bincount(flat, weights=light, minlength=size * size)
    return total.astype(np.float32).reshape(size, size)


def _cuts(count: NDArray[np.int64]) -> list[slice]:
    """Cut lines into runs of about BLOCK samples."""
    ends = np.cumsum(count)
    edges = np.searchsorted(ends, np.arange(BLOCK, int(ends[-1]), BLOCK)).tolist()
    bounds = sorted({0, *edges, count.size})
    return [slice(a, b) for a, b in pairwise(bounds)]


def _bilinear(canvas: Floats, at: Floats, light: Floats, size: int) -> None:
    """Share each point's light among the four pixels whose centres surround it."""
    at = np.clip(at - 0.5, 0, size - 1.001)
    corner = at.astype(np.int32)
    part = at - corner
    flat = corner[:, 1] * size + corner[:, 0]
    for dy in (0, 1):
        wy = part[:, 1] if dy else 1 - part[:, 1]
        for dx in (0, 1):
            wx = part[:, 0] if dx else 1 - part[:, 0]
            canvas += _accumulate(flat + (dy * size + dx), light * wy * wx, size)


def _shrink(image: Floats, factor: int) -> Floats:
    """Average blocks of factor by factor pixels; the last ones may be padded with black."""
    rows, cols = (-(-side // factor) * factor for side in image.shape)
    padded = np.pad(image, ((0, rows - image.shape[0]), (0, cols - image.shape[1])))
    blocks = padded.reshape(rows // factor, factor, cols // factor, factor)
    small: Floats = blocks.mean(axis=(1, 3), dtype=np.float32)
    return small


def _enlarge(image: Floats, factor: int, shape: tuple[int, ...]) -> Floats:
    """Enlarge linearly by a whole factor and cut to `shape`."""
    for axis in (0, 1):
        at = (np.arange(shape[axis]) + 0.5) / factor - 0.5
        at = np.clip(at, 0, image.shape[axis] - 1)
        low = np.minimum(at.astype(np.int64), max(image.shape[axis] - 2, 0))
        high = np.minimum(low + 1, image.shape[axis] - 1)
        part = (at - low).astype(np.float32)
        part = part[:, None] if axis == 0 else part[None, :]
        image = image.take(low, axis=axis) * (1 - part) + image.take(high, axis=axis) * part
    return image.astype(np.float32)
