"""How numbers become float16: to the nearest, or up and down at random; over the top or held.

The one place where halves are made. All arithmetic is in float32; a value is rounded when it is
stored in half, and where the hardware itself accumulates into halves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.types import Ints

Array = NDArray[Any]
Bits = NDArray[np.uint64]

#: The largest finite half.
LARGEST = 65504.0
#: Bit patterns: infinity as a half; the least float32 whose half is normal (2^-14), infinity, sign.
_HALF_INFINITY, _NORMAL, _INFINITY, _SIGN = 0x7C00, 0x38800000, 0x7F800000, 0x80000000
#: The bits of a float32 that a normal half does not have.
_DROPPED = 0x1FFF
#: Halves below 2^-14 are multiples of 2^-24.
_TINY = 2.0**-24


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Settings of the floating point unit that decide how halves are made.

    The chip holds them in control bits: ESR switches stochastic rounding on. Its NANOO bit
    chooses between NaN and saturation where a half overflows; ONNX has infinity there, which is
    what we give unless saturation is asked for.

    Attributes:
        seed: of stochastic rounding; None rounds to the nearest, ties to even.
        saturate: a finite value too large for a half becomes the largest one, not infinity.
        step: training step, so that every step draws other random bits.
    """

    seed: int | None = None
    saturate: bool = False
    step: int = 0

    @classmethod
    def of(cls, metadata: Mapping[str, Any]) -> Arithmetic:
        """Read the settings that a program was compiled with."""
        seed = metadata.get("stochastic_rounding")
        return cls(None if seed is None else int(seed), bool(metadata.get("saturate", False)))

    def to_metadata(self) -> dict[str, Any]:
        """What a program's metadata says of the settings."""
        return {"stochastic_rounding": self.seed, "saturate": self.saturate}


def to_half(
    values: Array, *, saturate: bool = False, bits: Bits | None = None
) -> tuple[NDArray[np.float16], int]:
    """Round to float16.

    Args:
        values: numbers of any type; with `bits` they are taken as float32.
        saturate: finite values that are too large become the largest half, not infinity.
        bits: random, one for each value, for stochastic rounding; None rounds to the nearest,
            ties to even.

    Returns:
        The halves, and how many finite values were too large.
    """
    exact = values if bits is None else _stochastic(values.astype(np.float32, order="C"), bits)
    with np.errstate(over="ignore"):
        halves: NDArray[np.float16] = np.asarray(exact).astype(np.float16)
    magnitude = np.atleast_1d(halves).view(np.uint16) & 0x7FFF
    if magnitude.max(initial=0) < _HALF_INFINITY:
        return halves, 0
    over = np.isinf(halves) & np.isfinite(values)
    if saturate and over.any():
        halves = np.where(over, np.copysign(np.float16(LARGEST), halves), halves)
    return halves, int(over.sum())


def _stochastic(values: NDArray[np.float32], bits: Bits) -> NDArray[np.float32]:
    """Move each float32 to one of the two halves beside it, so that the mean is the value.

    Beyond the largest half the next one is 65536, which stands for infinity.
    """
    word = np.atleast_1d(values).view(np.uint32)
    magnitude = word & ~np.uint32(_SIGN)
    random = np.atleast_1d(bits)
    # A carry out of the dropped bits is the step to the next half, across powers of two as well.
    moved = magnitude + (random & np.uint64(_DROPPED)).astype(np.uint32)
    moved &= ~np.uint32(_DROPPED)
    moved = np.where(magnitude < _INFINITY, moved, magnitude)
    made = (moved | (word & np.uint32(_SIGN))).view(np.float32)
    tiny = magnitude < _NORMAL
    if tiny.any():
        steps = np.abs(np.atleast_1d(values)[tiny].astype(np.float64)) / _TINY
        chance = (random[tiny] >> np.uint64(32)).astype(np.float64) / 2.0**32
        least = np.floor(steps + chance) * _TINY
        made[tiny] = np.copysign(least, np.atleast_1d(values)[tiny])
    return made.reshape(values.shape)


def random_bits(arithmetic: Arithmetic, name: str, elements: Ints, number: int = 0) -> Bits:
    """Make 64 random bits for each element, the same whenever and wherever it is stored.

    They are a hash of seed, training step, tensor name, `number` and element: a key from the
    first four, then a finaliser over the elements.

    Args:
        arithmetic: seed and step.
        name: of the variable that is stored.
        elements: positions in the variable.
        number: tells apart several roundings of one element in one step: hardware accumulations.

    Source: SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
    """
    text = f"{arithmetic.seed}/{arithmetic.step}/{number}/{name}".encode()
    key = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")
    state = elements.astype(np.uint64)
    state *= np.uint64(0x9E3779B97F4A7C15)
    state += np.uint64(key)
    state ^= state >> np.uint64(30)
    state *= np.uint64(0xBF58476D1CE4E5B9)
    state ^= state >> np.uint64(27)
    state *= np.uint64(0x94D049BB133111EB)
    state ^= state >> np.uint64(31)
    return state


def fitted(values: Array, dtype: str, *, saturate: bool = False) -> Array:
    """Convert constants: to halves by rounding to the nearest, to anything else as NumPy does."""
    if dtype != "float16" or values.dtype == np.float16:
        return values.astype(dtype, copy=False)
    return to_half(values, saturate=saturate)[0]


def nearest(name: str, values: Array, number: int) -> Array:
    """Round a hardware accumulation into halves to the nearest; see `codelets.define.Batch`."""
    del name, number
    return to_half(values)[0].astype(np.float32)
