"""The memory of the fast mode: one array for each variable, used again as soon as it may be."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.program.program import Program

Array = NDArray[Any]


class Memory:
    """Contents of all variables, allocated when first written; constants are read in place.

    Args:
        program: whose variables it holds.

    Attributes:
        arrays: contents by variable, flat. What is not ours is never written: constants, and
            variables that are just what a constant is.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.arrays: dict[int, Array] = dict(program.constants)
        self._owned: dict[int, Array] = {}
        self._free: dict[int, list[Array]] = {}

    def reset(self) -> None:
        """Go back to the initial contents."""
        for variable in list(self._owned):
            self.release(variable)
        self.arrays = dict(self.program.constants)

    def release(self, variable: int) -> None:
        """Let the memory of a variable be used by another one."""
        self.arrays.pop(variable, None)
        block = self._owned.pop(variable, None)
        if block is not None:
            self._free.setdefault(block.size, []).append(block)

    def fill(self, variable: int) -> None:
        """Give memory to a variable of which every element is about to be written."""
        if variable not in self._owned:
            self.arrays[variable] = self._new(variable)

    def share(self, variable: int, other: int | None) -> bool:
        """Let a variable be what another one is, without a copy, if that one cannot change.

        The first write to the variable copies it, as it does a constant.
        """
        if other is None or other in self._owned or other not in self.arrays:
            return False
        self.release(variable)
        self.arrays[variable] = self.arrays[other]
        return True

    def read(self, variable: int) -> Array:
        """Contents of a variable, flat."""
        known = self.arrays.get(variable)
        return self.write(variable) if known is None else known

    def write(self, variable: int) -> Array:
        """Contents of a variable that is about to change; a constant is copied first."""
        if variable in self._owned:
            return self.arrays[variable]
        before = self.arrays.get(variable)
        array = self._new(variable)
        array[...] = 0 if before is None else before
        self.arrays[variable] = array
        return array

    def _new(self, variable: int) -> Array:
        """Memory for a variable, with anything in it."""
        declared = self.program.variables[variable]
        wanted = declared.size * declared.itemsize
        # Blocks of a few sizes, so that one is soon found again; pages nobody touches cost nothing.
        size = 1 << max(wanted - 1, 0).bit_length()
        free = self._free.get(size)
        block = free.pop() if free else np.empty(size, np.uint8)
        self._owned[variable] = block
        array: Array = block[:wanted].view(declared.dtype)
        return array
