"""Dropout: elements set to 0 at random, the others scaled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ipuc.codelets.define import (
    Array,
    Batch,
    Codelet,
    Example,
    FieldSpec,
    FreeAxis,
    In,
    Number,
    Out,
    ceil_div,
    elements,
    pointwise,
)
from ipuc.codelets.rounding import Arithmetic, random_bits
from ipuc.target import Target
from ipuc.types import Shape


@dataclass(frozen=True)
class Dropout(Codelet):
    """mask = random; out = x / (1 - ratio) where the mask is set, else 0. One shape for all.

    Whether an element is dropped is a hash of seed, training step, tensor name and its position
    in the mask's variable: the same wherever it lies. PopLibs draws from each tile's own stream.

    Attributes:
        ratio: chance of an element to be dropped, 0 to 1.
        seed: of the hash.
        tensor: name that goes into the hash.

    Source: PopLibs poprandCycleEstimators.cpp, dropout: 6 + 24 a worker, two cycles for each
    vector of the window. The mask is our own estimate: a store of four flags every four elements.
    """

    ratio: float
    seed: int = 0
    tensor: str = ""

    name: ClassVar[str] = "Dropout"
    fields: ClassVar[tuple[FieldSpec, ...]] = (In("x"), Out("mask"), Out("out"))

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Draw and scale."""
        x = operands["x"]
        draw = Arithmetic(seed=self.seed, step=batch.step)
        bits = random_bits(draw, self.tensor, batch.places("mask"))
        # 53 bits make every double between 0 and 1 that is a multiple of 2 ** -53
        mask = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53 >= self.ratio
        scale = np.asarray(self.scale, x.dtype)
        return {"mask": mask, "out": np.where(mask, x * scale, np.zeros((), x.dtype))}

    @property
    def scale(self) -> float:
        """What kept elements are multiplied by, so that the mean stays."""
        return 1 / (1 - self.ratio) if self.ratio < 1 else 0.0

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        size = elements(windows["out"])
        vectors = ceil_div(size, target.vector_width(itemsize))
        return 6 + 24 * target.worker_contexts + 2 * vectors + ceil_div(size, 4)

    def free_axes(self, windows: Mapping[str, Shape]) -> tuple[FreeAxis, ...]:
        """Elements do not know each other."""
        return pointwise(windows, ("x", "mask", "out"))

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Half of a vector, a little of a block."""
        flags = {"mask": "bool"}
        return (
            Example(cls(0.5, 1, "a"), dict.fromkeys(("x", "mask", "out"), (40,)), flags),
            Example(cls(0.1, 2, "b"), dict.fromkeys(("x", "mask", "out"), (6, 7)), flags),
        )
