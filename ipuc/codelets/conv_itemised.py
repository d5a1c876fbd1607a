"""Convolution vertices whose cycle formula is one sum of terms: computed, and written out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ipuc.codelets.amp import as_cycles
from ipuc.codelets.conv_vertex import ConvVertex
from ipuc.codelets.cycles.amp import Terms
from ipuc.codelets.define import Number
from ipuc.target import Target
from ipuc.types import Shape


@dataclass(frozen=True)
class ItemisedConvVertex(ConvVertex):
    """A convolution vertex with `terms` for a formula; see `ConvVertex` for the rest."""

    #: What the terms of the written formula stand for.
    words: ClassVar[str]

    @abstractmethod
    def terms(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Terms:
        """The terms of the cycle formula; arguments are those of `cycles`."""

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        return as_cycles(self.terms(target, windows, itemsize).total)

    def formula(self, target: Target, windows: Mapping[str, Shape], itemsize: int) -> str:
        """The formula of `cycles` with its numbers."""
        return f"{self.terms(target, windows, itemsize).text()}; {self.words}"
