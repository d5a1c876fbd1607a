"""Bring a tensor to the IPU that is built for: one copy over the links, which all readers share."""

from __future__ import annotations

from dataclasses import replace

from ipuc.program.builder import Builder
from ipuc.program.tensor import Tensor, View, of_variable


def bring(builder: Builder, tensor: Tensor, name: str) -> Tensor:
    """Copy a tensor of another IPU; it lies on the builder's IPU where it is read first.

    A view of a whole variable keeps its layout, so that readers find elements in the order in
    which they were made, and the copy moves whole runs. Any other view becomes row-major.
    Source: PopART's and the TensorFlow port's sharding, which copy a tensor between IPUs once for
    all its consumers there.

    Args:
        builder: the program being built.
        tensor: where the value lies.
        name: of the copy.
    """
    sources = [piece.source for piece in tensor.pieces]
    views = [source for source in sources if isinstance(source, View)]
    first = len(builder.variables)
    view = tensor.view()
    if view is None or not _is_whole(view, builder.variables[view.variable].size):
        made = builder.copy(tensor, name)
    else:
        copied = builder.copy(of_variable(builder.variables[view.variable]), name)
        here = replace(view, variable=builder.one_view(copied).variable)
        made = replace(tensor, pieces=(replace(tensor.pieces[0], source=here),))
    narrowed = any(builder.variables[view.variable].narrowed for view in views)
    for variable in builder.variables[first:]:
        variable.narrowed = narrowed
    return made


def _is_whole(view: View, size: int) -> bool:
    """Whether a view shows every element of its variable once."""
    factors = sorted((stride, n) for axis in view.axes for n, stride in axis if n > 1)
    covered = 1
    for stride, extent in factors:
        if stride != covered:
            return False
        covered *= extent
    return covered == size and not view.offset
