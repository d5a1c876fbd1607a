"""Files of the render steps: arrays with a JSON header."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.errors import ContainerError
from ipuc.files import whole

#: Version of the saved scenes and layouts.
FORMAT = 2


def save_arrays(path: Path, header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
    """Write named arrays and a JSON header into one `.npz` without pickle.

    Raises:
        ContainerError: the file cannot be written.
    """
    text = np.frombuffer(json.dumps(header, sort_keys=True).encode(), np.uint8)
    with whole(path, "the file") as stream:
        np.savez(stream, allow_pickle=False, header=text, **arrays)


def load_arrays(
    path: Path, names: tuple[str, ...]
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read the header and the named arrays of an `.npz` that `save_arrays` wrote.

    Raises:
        ContainerError: the file is none of ours, of another version, or damaged.
    """
    try:
        # Opened here, because NumPy leaks the handle of a damaged file.
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            header = json.loads(bytes(file["header"]))
            arrays = {name: np.asarray(file[name]) for name in names}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ContainerError(
            "the file is no saved scene or layout, or it is damaged",
            where=str(path),
            fix="save it again with this version",
        ) from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ContainerError(
            "the file was saved by another version", where=str(path), fix="save it again"
        )
    return header, arrays
