"""What happens when a result is stored: rounding to half, and counting what is too large."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.codelets.rounding import Arithmetic, Bits, random_bits, to_half
from ipuc.errors import ValueRangeError
from ipuc.program.family import Access, VertexFamily
from ipuc.program.operand import gather_grid
from ipuc.program.program import Program
from ipuc.program.steps import Call, belongs
from ipuc.program.variables import Variable
from ipuc.types import Ints

Array = NDArray[Any]


class Stores:
    """Rounds everything that is stored in half.

    Args:
        program: whose variables are written.
        arithmetic: how to round; as the program was compiled, if None.

    Attributes:
        arithmetic: how to round.
        overflows: finite values that were too large for a half, by the layer that made them (an
            input counts by its name).
        step: name of the compute set that is running, which is that of the value it makes.
        call: the call of a function that says for which layer it runs, if one does.
    """

    def __init__(self, program: Program, arithmetic: Arithmetic | None = None) -> None:
        self.arithmetic = arithmetic or Arithmetic.of(program.metadata)
        self.overflows: dict[str, int] = {}
        self.step = ""
        self.call: Call | None = None
        self._variables = program.variables
        self._numbers: dict[int, Ints] = {}
        # Parts of a family store at the same time.
        self._counting = threading.Lock()

    @contextmanager
    def called(self, call: Call) -> Iterator[None]:
        """What is stored in the `with` block belongs to the layer that calls."""
        outer, self.call = self.call, belongs(call, self.call)
        yield
        self.call = outer

    def narrowed(self, access: Access) -> bool:
        """Whether a field lies in a variable that carries long integers."""
        return self._variables[access.variable].narrowed

    def flat(self, variable: int, values: Array) -> Array:
        """What a variable holds once the host has written all of it."""
        return self._rounded(variable, values, lambda: self._numbering(values.size), 0)

    def field(self, family: VertexFamily, name: str, values: Array, number: int = 0) -> Array:
        """What memory holds once a field has been written.

        Args:
            family: the vertices that write it.
            name: of the field.
            values: broadcastable to [*grid, *window].
            number: of the rounding, where the hardware accumulates into halves; 0 for a store.
        """
        access = family.fields[name]
        again = family.codelet.spec(name).reads
        return self._rounded(
            access.variable,
            values,
            lambda: self.elements(access),
            number,
            family.layer,
            # What takes the place of another value is rounded as if it had a place of its own.
            self.step if again else "",
        )

    def accumulated(self, family: VertexFamily, name: str, values: Array, number: int) -> Array:
        """A hardware accumulation into a field of halves: rounded, in float32."""
        return self.field(family, name, values, number).astype(np.float32)

    def _rounded(
        self,
        variable: int,
        values: Array,
        elements: Callable[[], Ints],
        number: int,
        layer: str = "",
        name: str = "",
    ) -> Array:
        into = self._variables[variable]
        if into.narrowed:
            return _fitting(values, into)
        if into.dtype != "float16" or values.dtype == np.float16:
            return values
        bits: Bits | None = None
        if self.arithmetic.seed is not None:
            places = elements()
            values = np.broadcast_to(values, places.shape)
            bits = random_bits(self.arithmetic, self._called(name or into.name), places, number)
        made, lost = to_half(values, saturate=self.arithmetic.saturate, bits=bits)
        if lost:
            layer = (self.call.layer if self.call else layer) or into.origin or into.name
            with self._counting:
                self.overflows[layer] = self.overflows.get(layer, 0) + lost
        return made

    def _called(self, name: str) -> str:
        """What a value of a function is called where it is called: layers share no random bits."""
        for inside, outside in self.call.names if self.call else ():
            if name == inside or name.startswith(f"{inside} "):
                return outside + name[len(inside) :]
        return name

    def elements(self, access: Access) -> Ints:
        """Position in its variable of every element of a field: [*grid, *window]."""
        return gather_grid(access, self._numbering(self._variables[access.variable].size))

    def _numbering(self, size: int) -> Ints:
        if size not in self._numbers:
            self._numbers[size] = np.arange(size, dtype=np.int64)
        return self._numbers[size]


def _fitting(values: Array, into: Variable) -> Array:
    """What a variable that carries long integers holds.

    Raises:
        ValueRangeError: a value needs more than 32 bits.
    """
    if values.dtype.name == into.dtype or not values.size:
        return values
    limits = np.iinfo(into.dtype)
    low, high = values.min(), values.max()
    if not (low >= limits.min and high <= limits.max):
        worst = low if not low >= limits.min else high
        raise ValueRangeError(
            f"{worst} does not fit the 32-bit integers in which tiles carry 64-bit ones",
            where=into.origin or into.name,
            fix=f"keep the values of this layer between {limits.min} and {limits.max}",
        )
    return values.astype(into.dtype)
