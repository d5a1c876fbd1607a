"""Element types and tensor types, shared by every stage."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ipuc.errors import ShapeError, ValueRangeError

Shape = tuple[int, ...]
Ints = NDArray[np.int64]

#: ONNX element types and the types that tiles carry. 64-bit integers are carried as 32-bit,
#: because an IPU tile has no 64-bit integer arithmetic. There is no float64 here: inputs and
#: outputs of that type are refused; values inside a model become float32
#: (ipuc.passes.narrow_float64).
DEVICE_DTYPES: dict[str, str] = {
    "bool": "bool",
    "int8": "int8",
    "uint8": "uint8",
    "int16": "int16",
    "uint16": "uint16",
    "int32": "int32",
    "uint32": "uint32",
    "int64": "int32",
    "uint64": "uint32",
    "float16": "float16",
    "float32": "float32",
}


@dataclass(frozen=True, slots=True)
class TensorType:
    """Element type (a NumPy dtype name, as ONNX means it) and static shape of a value."""

    dtype: str
    shape: Shape

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def itemsize(self) -> int:
        """Bytes of one element in ONNX's own type."""
        return np.dtype(self.dtype).itemsize

    @property
    def is_float(self) -> bool:
        """Whether the elements are floating point numbers."""
        return self.dtype.startswith("float")

    def __str__(self) -> str:
        return f"{self.dtype}[{'x'.join(map(str, self.shape))}]"


def device_dtype(dtype: str, where: str = "") -> str:
    """Name the type in which tiles carry an ONNX element type.

    Raises:
        ShapeError: the IPU has no such type (float64, bfloat16, complex, string, ...).
    """
    try:
        return DEVICE_DTYPES[dtype]
    except KeyError:
        raise ShapeError(
            f"tiles carry no {dtype} elements",
            where=where,
            fix="cast the tensor to float32, float16, int32 or bool before this node",
        ) from None


def to_device(array: NDArray[np.generic], where: str = "") -> NDArray[np.generic]:
    """Convert an array to the type tiles carry, refusing integers that do not fit.

    Raises:
        ValueRangeError: a 64-bit integer is outside the 32-bit range.
        ShapeError: the IPU has no such element type.
    """
    target = np.dtype(device_dtype(array.dtype.name, where))
    if target == array.dtype:
        return array
    if array.size:
        limits = np.iinfo(target)
        low, high = int(array.min()), int(array.max())
        if low < limits.min or high > limits.max:
            bad = low if low < limits.min else high
            raise ValueRangeError(
                f"{bad} does not fit the 32-bit integers that tiles carry",
                where=where,
                fix=f"keep {array.dtype.name} values between {limits.min} and {limits.max}",
            )
    return array.astype(target)
