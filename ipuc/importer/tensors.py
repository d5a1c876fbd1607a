"""Tensors of a model file as arrays: checked first, allocated after."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from ipuc.errors import ImportFailure, ShapeError
from ipuc.importer.limits import Budget

_T = onnx.TensorProto

#: Bits of the element types that are packed several to a byte.
_PACKED = {"FLOAT4E2M1": 4, "INT4": 4, "UINT4": 4, "INT2": 2, "UINT2": 2}

_DAMAGED = "the file is damaged or was written by a faulty exporter; export it again"


def _where(tensor: onnx.TensorProto) -> str:
    return f'tensor "{tensor.name}"' if tensor.name else "a tensor inside a node"


def _bits(tensor: onnx.TensorProto) -> int:
    name = _T.DataType.Name(tensor.data_type)
    if name in _PACKED:
        return _PACKED[name]
    return int(helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize) * 8


def _check_head(tensor: onnx.TensorProto) -> int:
    """Check what the tensor says about itself; count its elements."""
    where = _where(tensor)
    if tensor.data_type == _T.STRING:
        raise ShapeError("strings have no meaning on an IPU", where=where)
    if tensor.data_type == _T.UNDEFINED or tensor.data_type not in _T.DataType.values():
        raise ImportFailure(f"unknown element type {tensor.data_type}", where=where, fix=_DAMAGED)
    if any(dim < 0 for dim in tensor.dims):
        shape = list(tensor.dims)
        raise ImportFailure(f"negative dimension in {shape}", where=where, fix=_DAMAGED)
    if tensor.HasField("segment"):
        raise ImportFailure("tensors in segments are not supported", where=where, fix=_DAMAGED)
    return math.prod(tensor.dims)


def _stored_bytes(tensor: onnx.TensorProto, count: int) -> int:
    return -(-count * _bits(tensor) // 8)


def _check_inline(tensor: onnx.TensorProto, count: int) -> None:
    """Hold the data in the message against the declared shape."""
    if tensor.HasField("raw_data"):
        found, expected, unit = len(tensor.raw_data), _stored_bytes(tensor, count), "bytes"
    else:
        field = helper.tensor_dtype_to_field(tensor.data_type)
        found, expected, unit = len(getattr(tensor, field)), count, "values"
        if tensor.data_type in (_T.COMPLEX64, _T.COMPLEX128):
            expected *= 2
        packed = _PACKED.get(_T.DataType.Name(tensor.data_type))
        if packed:
            expected = -(-count * packed // 8)
    if found != expected:
        shape = "x".join(map(str, tensor.dims)) or "a scalar"
        raise ImportFailure(
            f"shape {shape} needs {expected} {unit}, the file holds {found}",
            where=_where(tensor),
            fix=_DAMAGED,
        )


def _external_path(tensor: onnx.TensorProto, location: str, folder: Path | None) -> Path:
    """Find an external data file, which must lie in the model's own folder.

    Absolute paths, "..", links and devices are refused: a model from the net could otherwise
    read any file of the machine.
    """
    where = f'{_where(tensor)}, external data "{location}"'
    if folder is None:
        raise ImportFailure(
            "the model keeps data in another file, and no folder is known to look in",
            where=where,
            fix="give the path of the .onnx file, or call onnx.load with external data first",
        )
    parts = Path(location.replace("\\", "/")).parts
    drive = len(location) > 1 and location[1] == ":"
    if not parts or drive or location.startswith(("/", "\\")) or ".." in parts:
        raise ImportFailure(
            "external data points outside the model's folder",
            where=where,
            fix="save the model with its data beside it, under a relative name",
        )
    base = folder.resolve()
    path = base.joinpath(*parts)
    if path.resolve() != path:
        raise ImportFailure(
            "external data is a link, which may point outside the model's folder",
            where=where,
            fix="replace the link by the file itself",
        )
    if not path.is_file():
        raise ImportFailure(
            "the external data file is missing",
            where=where,
            fix=f"put it beside the model, at {path}",
        )
    return path


def _external_number(tensor: onnx.TensorProto, entries: dict[str, str], key: str) -> int | None:
    text = entries.get(key)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise ImportFailure(f'external data {key} is "{text}"', where=_where(tensor), fix=_DAMAGED)
    return int(text)


def _read_external(tensor: onnx.TensorProto, count: int, folder: Path | None) -> NDArray[Any]:
    """Read the bytes of a tensor from its external file as uint8[n]."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    path = _external_path(tensor, entries.get("location", ""), folder)
    offset = _external_number(tensor, entries, "offset") or 0
    length = _external_number(tensor, entries, "length")
    needed = _stored_bytes(tensor, count)
    size = path.stat().st_size
    if length is not None and length != needed:
        raise ImportFailure(
            f"the shape needs {needed} bytes, the external data entry gives {length}",
            where=_where(tensor),
            fix=_DAMAGED,
        )
    if offset + needed > size:
        raise ImportFailure(
            f"bytes {offset} to {offset + needed} are beyond the end of a file of {size} bytes",
            where=f'{_where(tensor)}, external data "{path.name}"',
            fix="the data file is cut short or belongs to another model; fetch it again",
        )
    return np.fromfile(path, np.uint8, count=needed, offset=offset)


def _from_bytes(tensor: onnx.TensorProto, raw: NDArray[Any]) -> NDArray[Any]:
    if _T.DataType.Name(tensor.data_type) in _PACKED:
        inline = _T(data_type=tensor.data_type, dims=tensor.dims, raw_data=raw.tobytes())
        return np.asarray(numpy_helper.to_array(inline))
    dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type).newbyteorder("<")
    return raw.view(dtype).astype(dtype.newbyteorder("="), copy=False).reshape(tuple(tensor.dims))


def to_array(tensor: onnx.TensorProto, folder: Path | None, budget: Budget) -> NDArray[Any]:
    """Turn a tensor of a model into an array, checking it before anything is allocated.

    Args:
        tensor: with its data inside or in an external file.
        folder: the model's folder, where external data must lie; None if there is none.
        budget: counts the array's bytes.

    Returns:
        The array; it may be read-only.

    Raises:
        ImportFailure: data missing, outside the folder, or not of the declared length.
        TooLarge: more bytes than the limit.
        ShapeError: strings.
    """
    count = _check_head(tensor)
    itemsize = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    external = tensor.data_location == _T.EXTERNAL
    budget.hold(count * itemsize, _where(tensor))
    if not external:
        _check_inline(tensor, count)
    budget.take(count * itemsize, _where(tensor))
    if external:
        return _from_bytes(tensor, _read_external(tensor, count, folder))
    return np.asarray(numpy_helper.to_array(tensor))


def settle(tensor: onnx.TensorProto, folder: Path | None, budget: Budget) -> None:
    """Check a tensor that stays in the message, and bring external data inside.

    Afterwards it can be read without a look at any file.

    Raises:
        ImportFailure: as `to_array`.
        TooLarge: as `to_array`.
    """
    if tensor.data_type == _T.STRING and tensor.data_location != _T.EXTERNAL:
        return
    count = _check_head(tensor)
    if tensor.data_location != _T.EXTERNAL:
        _check_inline(tensor, count)
        return
    budget.take(_stored_bytes(tensor, count), _where(tensor))
    tensor.raw_data = _read_external(tensor, count, folder).tobytes()
    tensor.ClearField("external_data")
    tensor.ClearField("data_location")


def dense(sparse: onnx.SparseTensorProto, folder: Path | None, budget: Budget) -> NDArray[Any]:
    """Turn a sparse tensor into a dense array.

    Raises:
        ImportFailure: indices outside the shape; else as `to_array`.
        TooLarge: the dense array exceeds the limit.
    """
    values = to_array(sparse.values, folder, budget)
    indices = to_array(sparse.indices, folder, budget)
    where = _where(sparse.values)
    shape = tuple(sparse.dims)
    count = math.prod(shape)
    budget.take(max(count, 0) * values.itemsize, where)
    if indices.ndim == 2:
        if indices.shape[1] != len(shape) or (indices < 0).any() or (indices >= shape).any():
            raise ImportFailure("sparse indices outside the shape", where=where, fix=_DAMAGED)
        indices = np.ravel_multi_index(tuple(indices.T), shape)
    if any(dim < 0 for dim in shape) or ((indices < 0) | (indices >= count)).any():
        raise ImportFailure("sparse indices outside the shape", where=where, fix=_DAMAGED)
    flat = np.zeros(count, values.dtype)
    flat[indices] = values
    return flat.reshape(shape)
