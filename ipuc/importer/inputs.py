"""Data inputs of a model: their types, and numbers for their symbolic dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import onnx
from numpy.typing import NDArray

from ipuc.errors import OptionError, ShapeError, nearest
from ipuc.graph.proto import dtype_name
from ipuc.types import TensorType

Dim = int | str


@dataclass(frozen=True, slots=True)
class InputInfo:
    """What the file says about a graph input or output.

    Attributes:
        name: its name.
        dtype: NumPy name of the element type; "" if it is no plain tensor.
        dims: numbers, or names of symbolic dimensions ("" for one without a name); None if not
            even the rank is known.
    """

    name: str
    dtype: str
    dims: tuple[Dim, ...] | None

    @property
    def symbolic(self) -> bool:
        """Whether something about the shape is left open."""
        return self.dims is None or any(isinstance(dim, str) for dim in self.dims)

    @property
    def only_batch(self) -> bool:
        """Whether the leading dimension, and only that, is left open."""
        return bool(self.dims) and [isinstance(dim, str) for dim in self.dims or ()] == [
            True,
            *[False] * (len(self.dims or ()) - 1),
        ]

    def with_open_batch(self) -> InputInfo:
        """The same, with a leading dimension that is fixed at 1 left open."""
        if not self.dims or self.dims[0] != 1 or len(self.dims) < 2:
            return self
        return replace(self, dims=("", *self.dims[1:]))

    @property
    def flag(self) -> str:
        """The option that gives this input a shape; "" if it has one.

        The leading dimension is filled with 1; names of others stay for the user to replace.
        """
        if not self.symbolic:
            return ""
        if self.dims is None:
            return f"--shape {self.name}=N,C,H,W"
        shown = [
            str(dim) if isinstance(dim, int) else "1" if at == 0 else _symbol(dim, at)
            for at, dim in enumerate(self.dims)
        ]
        numeric = all(item.isdigit() for item in shown)
        return f"--shape {self.name}={('x' if numeric else ',').join(shown)}"

    def __str__(self) -> str:
        if self.dims is None:
            return f"{self.dtype}[unknown rank]"
        shown = [str(d) if isinstance(d, int) else _symbol(d, k) for k, d in enumerate(self.dims)]
        return f"{self.dtype}[{', '.join(shown)}]"


def _symbol(dim: str, axis: int) -> str:
    word = "".join(c if c.isalnum() or c == "_" else "_" for c in dim)
    return word.upper() if word else f"D{axis}"


def describe(info: onnx.ValueInfoProto) -> InputInfo:
    """Read what the file says about a graph input or output."""
    tensor = info.type.tensor_type
    if not info.type.HasField("tensor_type") or not tensor.elem_type:
        return InputInfo(info.name, "", None)
    if not tensor.HasField("shape"):
        return InputInfo(info.name, dtype_name(tensor.elem_type), None)
    # Some exporters write -1 for "any".
    dims: tuple[Dim, ...] = tuple(
        int(d.dim_value) if d.HasField("dim_value") and d.dim_value >= 0 else d.dim_param
        for d in tensor.shape.dim
    )
    return InputInfo(info.name, dtype_name(tensor.elem_type), dims)


def _check_names(given: Mapping[str, Any], infos: Mapping[str, InputInfo], flag: str) -> None:
    for name in given:
        if name not in infos:
            raise OptionError(
                f'{flag} {name}=...: the model has no input "{name}"', fix=nearest(name, infos)
            )


def _bind(info: InputInfo, shape: tuple[int, ...], bound: dict[str, int], flag: str) -> None:
    """Hold a given shape against the declared one, and note what its symbols stand for."""
    where = f'input "{info.name}", declared as {info}'
    given = "x".join(map(str, shape)) or "a scalar"
    if any(dim < 0 for dim in shape):
        raise OptionError(f"{flag} {info.name}={given}: negative dimension", where=where)
    if info.dims is None:
        return
    if len(shape) != len(info.dims):
        raise ShapeError(
            f"{flag} {info.name}={given} has rank {len(shape)}, the model wants {len(info.dims)}",
            where=where,
            fix=f"use {info.flag}" if info.flag else "leave the option out",
        )
    for axis, (dim, size) in enumerate(zip(info.dims, shape, strict=True)):
        if isinstance(dim, int) and dim != size:
            raise ShapeError(
                f"{flag} {info.name}={given}: the model fixes dimension {axis} at {dim}",
                where=where,
                fix="only symbolic dimensions can be chosen; export the model with dynamic axes",
            )
        if isinstance(dim, str) and dim and bound.setdefault(dim, size) != size:
            raise ShapeError(
                f"{flag} {info.name}={given}: dimension {axis} is called {dim}, which already "
                f"stands for {bound[dim]}",
                where=where,
                fix=f"give all inputs the same {dim}",
            )


def _bind_batch(infos: Mapping[str, InputInfo], batch: int, bound: dict[str, int]) -> set[str]:
    """Give the leading dimensions their number; returns the inputs it concerns."""
    if batch < 1:
        raise OptionError(f"--batch {batch}: a batch has at least one element")
    leading = {one.name: one.dims[0] for one in infos.values() if one.dims}
    chosen = {name for name, dim in leading.items() if isinstance(dim, str)}
    if not chosen and batch not in leading.values():
        listed = "; ".join(f"{one.name}: {one}" for one in infos.values())
        raise OptionError(
            f"--batch {batch}: no input has a symbolic leading dimension ({listed})",
            fix="export the model with a dynamic batch axis, or leave the option out",
        )
    for name in chosen:
        symbol = leading[name]
        if isinstance(symbol, str) and symbol:
            # A shape given for one input wins; the same symbol cannot be two numbers.
            if bound.get(symbol, batch) != batch:
                raise OptionError(
                    f"--batch {batch}: {symbol} is already {bound[symbol]} by --shape",
                    where=f'input "{name}"',
                    fix="give one of the two options",
                )
            bound[symbol] = batch
    return chosen


def resolve(
    infos: Mapping[str, InputInfo],
    *,
    shapes: Mapping[str, tuple[int, ...]],
    batch: int | None,
    constants: Mapping[str, NDArray[Any]],
) -> dict[str, TensorType]:
    """Give every input a static type.

    Args:
        infos: what the file says, by input name, in order.
        shapes: shapes chosen by the user; they may only fill what the file leaves open.
        batch: number for the symbolic leading dimensions.
        constants: values given for inputs; their shapes count too.

    Raises:
        OptionError: an option names no input, or has nothing to set.
        ShapeError: an option contradicts the file, or dimensions stay open; all of them are listed.
    """
    _check_names(shapes, infos, "--shape")
    _check_names(constants, infos, "--const")
    bound: dict[str, int] = {}
    for name, shape in shapes.items():
        _bind(infos[name], tuple(shape), bound, "--shape")
    for name, array in constants.items():
        _bind(infos[name], array.shape, bound, "--const")
        wanted = infos[name].dtype
        if wanted and array.dtype.name != wanted:
            raise ShapeError(
                f"--const {name} has {array.dtype.name} elements, the model wants {wanted}",
                where=f'input "{name}"',
                fix=f"save the array as {wanted}",
            )
    batched = _bind_batch(infos, batch, bound) if batch is not None else set()
    types: dict[str, TensorType] = {}
    for name, info in infos.items():
        settled = _settle(info, bound, batch if name in batched else None)
        if name in constants:
            settled = constants[name].shape
        elif name in shapes:
            settled = tuple(shapes[name])
        if settled is not None:
            types[name] = TensorType(info.dtype, settled)
    _report_open([info for name, info in infos.items() if name not in types], bound)
    return types


def _settle(info: InputInfo, bound: Mapping[str, int], batch: int | None) -> tuple[int, ...] | None:
    if info.dims is None:
        return None
    dims = [bound.get(dim, dim) if isinstance(dim, str) else dim for dim in info.dims]
    if batch is not None and dims:
        dims[0] = batch
    numbers = tuple(dim for dim in dims if isinstance(dim, int))
    return numbers if len(numbers) == len(dims) else None


def _report_open(left: list[InputInfo], bound: Mapping[str, int]) -> None:
    if not left:
        return
    lines = "".join(f'\n    "{one.name}" is {one}: {one.flag}' for one in left)
    flags = " ".join(one.flag for one in left)
    if not bound and all(one.only_batch for one in left):
        flags = f"--batch 1, or {flags}"
    letters = any(not flag.isdigit() for one in left for flag in one.flag.split("=")[-1].split("x"))
    note = " (with numbers in place of names)" if letters else ""
    raise ShapeError(
        f"the model leaves dimensions of its inputs open:{lines}", fix=f"add {flags}{note}"
    )
