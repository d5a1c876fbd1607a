"""A single ONNX tensor in a file of its own (`.pb`), as ONNX's test data are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from ipuc.errors import ImportFailure
from ipuc.importer.limits import DEFAULT_MAX_BYTES, Budget
from ipuc.importer.tensors import to_array


def read_tensor(path: Path, max_bytes: int = DEFAULT_MAX_BYTES) -> NDArray[Any]:
    """Read a serialized `TensorProto`.

    Args:
        path: the file.
        max_bytes: the most that file and array may take.

    Raises:
        ImportFailure: the file cannot be read, or is no sound tensor.
        TooLarge: it asks for more than `max_bytes`.
    """
    budget = Budget(max_bytes)
    try:
        budget.hold(path.stat().st_size, str(path))
        tensor = onnx.TensorProto.FromString(path.read_bytes())
    except OSError as error:
        raise ImportFailure(
            f"the file cannot be read: {error.strerror or error}",
            where=str(path),
            fix="check the path and its permissions",
        ) from error
    except DecodeError as error:
        raise ImportFailure(
            "this is no ONNX tensor, or it is damaged",
            where=str(path),
            fix="write it with onnx.save_tensor, or give a .npy or .npz file",
        ) from error
    return to_array(tensor, path.parent, budget)
