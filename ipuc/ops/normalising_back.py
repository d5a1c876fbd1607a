"""What the gradients of the normalising operators have in common."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

from ipuc.ops.writer import GraphWriter
from ipuc.types import Shape


class Level:
    """What was normalised, written again for the backward pass when it is first asked for.

    Args:
        write: takes the nodes.
        x: what is normalised; the rest is float32 where it is in halves.
        axes: along which statistics are taken, not negative.
        epsilon: added to the variance.
        shape: under which x is seen; its own if None.
        centre: whether the mean is taken away.
    """

    def __init__(
        self,
        write: GraphWriter,
        x: str,
        axes: Sequence[int],
        epsilon: float,
        shape: Shape | None = None,
        *,
        centre: bool = True,
    ) -> None:
        self.write = write
        self.x = x
        self.axes = axes
        self.shape = write.shape(x) if shape is None else shape
        self._epsilon = epsilon
        self._centre = centre

    @property
    def count(self) -> int:
        """Elements that have their statistics together."""
        return math.prod(self.shape[axis] for axis in self.axes)

    @cached_property
    def rest(self) -> str:
        """X, without its mean if that is taken away."""
        x = self.write.wide(self.write.reshaped(self.x, self.shape))
        return self.write.op("Sub", x, mean(self.write, x, self.axes)) if self._centre else x

    @cached_property
    def inverse(self) -> str:
        """1 / sqrt(variance + epsilon); extent 1 on the axes."""
        variance = mean(self.write, self.write.mul(self.rest, self.rest), self.axes)
        return inverse_root(self.write, variance, self._epsilon)

    @cached_property
    def normal(self) -> str:
        """What is left of x, times the inverse."""
        return self.write.mul(self.rest, self.inverse)

    def back(self, gradient: str) -> str:
        """The gradient of x, from that of what is normal; as wide as that.

        inverse * (g - mean of g - normal * mean of (g * normal)); without the mean of g where x
        is not centred. Source: Ioffe and Szegedy 2015, section 3.
        """
        write = self.write
        slope = mean(write, write.mul(gradient, self.normal), self.axes)
        rest = write.op("Sub", gradient, write.mul(self.normal, slope))
        if self._centre:
            rest = write.op("Sub", rest, mean(write, gradient, self.axes))
        return write.mul(rest, self.inverse)

    def back_of_mean(self, gradient: str) -> str:
        """The gradient of x, from that of the mean; both are wide."""
        return self.write.expanded(self.write.scaled(gradient, 1 / self.count), self.shape)

    def back_of_inverse(self, gradient: str) -> str:
        """The gradient of x, from that of the inverse: - normal * inverse ** 2 / n for each."""
        write = self.write
        square = write.mul(self.inverse, self.inverse)
        return write.mul(self.normal, write.scaled(write.mul(gradient, square), -1 / self.count))


def mean(write: GraphWriter, x: str, axes: Sequence[int]) -> str:
    """Write the mean along axes, which keep extent 1."""
    return write.op("ReduceMean", x, write.integers(axes), keepdims=1) if axes else x


def inverse_root(write: GraphWriter, variance: str, epsilon: float) -> str:
    """Write 1 / sqrt(variance + epsilon)."""
    moved = write.op("Add", variance, write.scalar(epsilon, variance))
    return write.op("Reciprocal", write.op("Sqrt", moved))


def affine(
    level: Level,
    upstream: str,
    parameters: Sequence[str],
    wanted: Sequence[bool],
    broadcast: Shape | None = None,
) -> list[str]:
    """Write the gradients of y = normal * scale + shift.

    Args:
        level: what is normal.
        upstream: gradient of y, of the level's shape.
        parameters: scale and, if there is one, shift.
        wanted: whether gradients of x, scale and shift are.
        broadcast: shape under which the parameters meet y; their own if None.

    Returns:
        The gradients of x, scale and shift, as far as these exist; "" where not wanted.
    """
    write = level.write
    arrived = write.wide(upstream)
    found: list[str] = []
    for place, (name, needed) in enumerate(zip(parameters, wanted[1:], strict=True)):
        if not (name and needed):
            found.append("")
            continue
        each = arrived if place else write.mul(arrived, level.normal)
        shape = write.shape(name)
        total = write.sum_to(each, shape if broadcast is None else broadcast)
        found.append(write.like(write.reshaped(total, shape), name))
    if not wanted[0]:
        return ["", *found]
    scale = write.wide(parameters[0])
    factor = scale if broadcast is None else write.reshaped(scale, broadcast)
    return [write.like(level.back(write.mul(arrived, factor)), level.x), *found]
