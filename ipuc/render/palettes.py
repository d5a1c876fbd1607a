"""Colour ramps, dark to bright.

Source: the colours of the pictures published in 2017, ordered by luminance or use.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ipuc.errors import OptionError, nearest

Floats = NDArray[np.float32]

#: sRGB colours of every ramp. The luminance of "coral" is not monotonic: it suits activity.
RAMPS: dict[str, tuple[str, ...]] = {
    "amber": (
        "#060404", "#2a0a07", "#47120b", "#75240b", "#9d3b0b",
        "#bd590c", "#db7e0d", "#f2b10d", "#fde50d", "#fff6a0",
    ),
    "alex": (
        "#151c21", "#2a2f33", "#204780", "#2f7fa2", "#3fb7c4", "#71bb67", "#ede03c", "#fefefd",
    ),
    "coral": (
        "#060505", "#383629", "#624c3d", "#b99165", "#608a53", "#658d97", "#9abacb", "#3bdab9",
    ),
}  # fmt: skip

_GAMMA = 2.2


def ramp(name: str, steps: int = 1024) -> Floats:
    """Tabulate a palette in linear light: [steps, 3], dark to bright.

    Raises:
        OptionError: there is no such palette.
    """
    if name not in RAMPS:
        raise OptionError(f'there is no palette "{name}"', fix=nearest(name, RAMPS))
    stops = to_linear(np.array([_rgb(colour) for colour in RAMPS[name]], np.float32))
    at = np.linspace(0, len(stops) - 1, steps)
    channels = [np.interp(at, np.arange(len(stops)), stops[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=1).astype(np.float32)


def to_linear(encoded: Floats) -> Floats:
    """Turn display values 0..1 into linear light."""
    return (encoded**_GAMMA).astype(np.float32)


def to_display(linear: Floats) -> Floats:
    """Turn linear light into display values 0..1."""
    return (np.clip(linear, 0, 1) ** (1 / _GAMMA)).astype(np.float32)


def colour(table: Floats, value: NDArray[np.floating]) -> Floats:
    """Look values 0..1 up in a tabulated ramp: [..., 3]; values outside are clipped."""
    index = np.clip(value * (len(table) - 1) + 0.5, 0, len(table) - 1).astype(np.int32)
    return np.asarray(table[index], np.float32)


def luminance(linear: Floats) -> Floats:
    """Relative luminance of linear colours [..., 3]. Source: ITU-R BT.709 weights."""
    return (linear @ np.array([0.2126, 0.7152, 0.0722], np.float32)).astype(np.float32)


def _rgb(colour: str) -> tuple[float, float, float]:
    """Read "#rrggbb" as three numbers 0..1."""
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue
