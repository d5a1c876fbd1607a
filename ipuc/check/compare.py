"""How far two arrays are apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Difference:
    """What a comparison found.

    Attributes:
        max_abs: largest absolute difference; infinite if NaN or infinities differ.
        max_rel: the same over the largest finite absolute value of the reference.
        first_wrong: row-major position of the first element beyond the tolerance; None if all
            are within.
    """

    max_abs: float
    max_rel: float
    first_wrong: int | None

    @property
    def ok(self) -> bool:
        """Whether every element is within the tolerance."""
        return self.first_wrong is None


def compare(found: Array, wanted: Array, tolerance: float) -> Difference:
    """Compare an array with a reference of the same shape.

    NaN agrees with NaN and an infinity with the same infinity. The tolerance is relative to the
    largest value of the whole reference, not to each element: a sum that cancels to almost
    nothing has the rounding error of its terms.

    Args:
        found: what we computed.
        wanted: the reference.
        tolerance: on `max_rel`.
    """
    if found.shape != wanted.shape:
        return Difference(np.inf, np.inf, 0)
    if not wanted.size:
        return Difference(0.0, 0.0, None)
    ours, theirs = found.astype(np.float64).ravel(), wanted.astype(np.float64).ravel()
    finite = np.isfinite(ours) & np.isfinite(theirs)
    with np.errstate(invalid="ignore"):
        apart = np.abs(ours - theirs)
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    apart[~finite] = np.where(same[~finite], 0.0, np.inf)
    scale = float(np.abs(theirs[np.isfinite(theirs)]).max(initial=0.0))
    largest = float(apart.max())
    wrong = apart > tolerance * scale
    relative = largest / scale if scale else (0.0 if largest == 0.0 else np.inf)
    return Difference(largest, relative, int(np.argmax(wrong)) if wrong.any() else None)
