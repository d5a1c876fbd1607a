"""Colours: ramps from dark to bright, eight tones for dithering, and colours of classes.

Source: the eight exact colours of each of the four pictures published in 2017, ordered by
luminance or use; "cividis", for eyes that do not tell red from green, is after Nunez, Anderton and
Renslow, "Optimizing colormaps with consideration for color vision deficiency" (2018), and its
classes are those of Okabe and Ito, "Color Universal Design" (2008).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ipuc.errors import OptionError, nearest

Floats = NDArray[np.float32]
Rgb = tuple[int, int, int]
Mode = Literal["density", "activity"]


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours of a picture.

    Attributes:
        ramp: sRGB colours from ground to nucleus.
        eight: the tones that `--dither 8` scatters.
        classes: colours for things that have no order, such as layers.
        mode: what the ramp shows if nobody asks for something else. A ramp whose luminance is not
            monotonic suits activity only.
        accent: frames of insets and what leads to them.
    """

    ramp: tuple[str, ...]
    eight: tuple[str, ...]
    classes: tuple[str, ...]
    mode: Mode
    accent: str


_RESNET = (
    "#110e0f", "#47120b", "#75240b", "#9d3b0b", "#bd590c", "#db7e0d", "#f2b10d", "#fde50d",
)  # fmt: skip
_ALEXNET = (
    "#151c21", "#655e49", "#204780", "#3fb7c4", "#71bb67", "#ede03c", "#a8aa9f", "#fefefd",
)  # fmt: skip
_UNLABELLED = (
    "#060505", "#383629", "#624c3d", "#b99165", "#608a53", "#658d97", "#9abacb", "#3bdab9",
)  # fmt: skip
_ASTROPHYSICS = (
    "#202627", "#397879", "#b7694a", "#29a12e", "#8891ac", "#e5953f", "#13c6e1", "#fdfdfd",
)  # fmt: skip

PALETTES: dict[str, Palette] = {
    "amber": Palette(
        ramp=("#060404", "#2a0a07", *_RESNET[1:], "#fff6a0"),
        eight=_RESNET,
        classes=("#fde50d", "#db7e0d", "#9d3b0b", "#f7c873", "#bd590c", "#c9a227", "#8c5a3c"),
        mode="density",
        accent="#f2b10d",
    ),
    "alex": Palette(
        ramp=(
            "#151c21", "#2a2f33", "#204780", "#2f7fa2", "#3fb7c4", "#71bb67", "#ede03c", "#fefefd",
        ),
        eight=_ALEXNET,
        classes=("#3fb7c4", "#ede03c", "#2f66b5", "#71bb67", "#a39871", "#e8e6da", "#7fd3dc"),
        mode="activity",
        accent="#ede03c",
    ),
    "coral": Palette(
        ramp=_UNLABELLED,
        eight=_UNLABELLED,
        classes=("#3bdab9", "#b99165", "#9abacb", "#608a53", "#e0c9a0", "#658d97", "#8a6a52"),
        mode="activity",
        accent="#3bdab9",
    ),
    "astro": Palette(
        ramp=(*(_ASTROPHYSICS[at] for at in (0, 1, 3, 2, 5)), "#13c6e1", "#8fe6f2"),
        eight=_ASTROPHYSICS,
        classes=("#e5953f", "#13c6e1", "#29a12e", "#b7694a", "#8891ac", "#397879", "#f2d3a8"),
        mode="activity",
        accent="#e5953f",
    ),
    "cividis": Palette(
        ramp=(
            "#05060c", "#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74",
            "#c3b369", "#e1cc55", "#fee838", "#fffbd0",
        ),
        eight=(
            "#05060c", "#00224e", "#123570", "#4b566d", "#7c7b78", "#b0a473", "#dfc857", "#fee838",
        ),
        classes=("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7"),
        mode="density",
        accent="#e69f00",
    ),
}  # fmt: skip

_GAMMA = 2.2

#: Least contrast of letters with their ground. Source: WCAG 2.1, level AA.
_CONTRAST = 4.5


def palette_named(name: str) -> Palette:
    """Find a palette.

    Raises:
        OptionError: there is no such palette.
    """
    if name not in PALETTES:
        raise OptionError(f'there is no palette "{name}"', fix=nearest(name, PALETTES))
    return PALETTES[name]


def ramp(name: str, steps: int = 1024) -> Floats:
    """Tabulate a palette's ramp in linear light: [steps, 3].

    Raises:
        OptionError: there is no such palette.
    """
    stops = linear_of(palette_named(name).ramp)
    at = np.linspace(0, len(stops) - 1, steps)
    channels = [np.interp(at, np.arange(len(stops)), stops[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=1).astype(np.float32)


def linear_of(colours: tuple[str, ...]) -> Floats:
    """Colours like "#rrggbb" in linear light: [n, 3]."""
    return to_linear(np.array([rgb_of(colour) for colour in colours], np.float32) / np.float32(255))


def to_linear(encoded: Floats) -> Floats:
    """Turn display values 0..1 into linear light."""
    return (encoded**_GAMMA).astype(np.float32)


def to_display(linear: Floats) -> Floats:
    """Turn linear light into display values 0..1."""
    return (np.clip(linear, 0, 1) ** (1 / _GAMMA)).astype(np.float32)


def to_bytes(linear: Floats) -> NDArray[np.uint8]:
    """Encode linear light as 8-bit display values."""
    return (to_display(linear) * 255 + 0.5).astype(np.uint8)


def colour(table: Floats, value: NDArray[np.floating]) -> Floats:
    """Look values 0..1 up in a tabulated ramp: [..., 3]; values outside are clipped."""
    index = np.clip(value * (len(table) - 1) + 0.5, 0, len(table) - 1).astype(np.int32)
    return np.asarray(table[index], np.float32)


def luminance(linear: Floats) -> Floats:
    """Relative luminance of linear colours [..., 3]. Source: ITU-R BT.709 weights."""
    return (linear @ np.array([0.2126, 0.7152, 0.0722], np.float32)).astype(np.float32)


def rgb_of(text: str) -> Rgb:
    """Read "#rrggbb" or "#rgb", or the words "black" and "white".

    Raises:
        OptionError: it is none of these.
    """
    words = {"black": "#000000", "white": "#fefefd"}
    digits = words.get(text.lower(), text).removeprefix("#")
    if len(digits) == 3:
        digits = "".join(2 * digit for digit in digits)
    if len(digits) != 6 or not all(digit in "0123456789abcdefABCDEF" for digit in digits):
        raise OptionError(
            f'"{text}" is no colour', fix='write "#rrggbb", black, white or transparent'
        )
    red, green, blue = (int(digits[i : i + 2], 16) for i in (0, 2, 4))
    return red, green, blue


def hex_of(rgb: Rgb) -> str:
    """Write a colour as "#rrggbb"."""
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def readable_on(ink: str, ground: Rgb) -> Rgb:
    """Darken or lighten a colour until letters in it can be read on a ground.

    The hue stays; yellow on white becomes ochre. Source of the measure: WCAG 2.1.
    """
    back = float(luminance(linear_of((hex_of(ground),)))[0])
    dark_ground = back < 0.18
    linear = linear_of((ink,))[0].astype(np.float64)
    for _ in range(60):
        front = float(luminance(linear.astype(np.float32)))
        low, high = sorted((front, back))
        if (high + 0.05) / (low + 0.05) >= _CONTRAST:
            break
        linear = linear + 0.06 * (1 - linear) if dark_ground else linear * 0.93
    red, green, blue = (int(value) for value in to_bytes(linear.astype(np.float32)))
    return red, green, blue
