"""Arrays by tensor name in one `.npz` file, whatever the names are.

`numpy.savez` takes names as keywords, so a tensor called "file" or "allow_pickle" cannot be saved
with it. Here the members of the zip are written one by one; `numpy.load` reads the file as usual.
"""

from __future__ import annotations

import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ipuc.errors import ContainerError, OptionError, TooLarge
from ipuc.files import whole

Array = NDArray[Any]

_SUFFIX = ".npy"

#: A zip member's name is counted by 16 bits.
_LONGEST_NAME = 0xFFFF - len(_SUFFIX)

#: What reading a damaged zip or a damaged array header can raise. (NumPy parses headers of
#: Python 2 with the tokenizer.)
_DAMAGE = (
    ValueError,
    EOFError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    OverflowError,
    tokenize.TokenError,
)

#: The largest array header that is read; NumPy's own bound is 10 000.
_HEADER_BYTES = 10_000


def write_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays by name; the file appears whole or not at all.

    Equal arrays give equal bytes: members carry no time.

    Args:
        path: the file; an older one is replaced.
        arrays: by tensor name; any name, the empty one too.

    Raises:
        OptionError: a name is too long for a zip member.
        ContainerError: the file cannot be written there.
    """
    for name in arrays:
        if len(name.encode()) > _LONGEST_NAME:
            raise OptionError(
                "this name is too long for an .npz file", where=f'tensor "{name[:40]}..."'
            )
    with whole(path, "the array file") as stream, zipfile.ZipFile(stream, "w") as file:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(name + _SUFFIX)
            # ZipInfo would cut the name at a zero byte.
            member.filename = name + _SUFFIX
            with file.open(member, "w", force_zip64=True) as into:
                # Order C, not ascontiguousarray, which turns a scalar into a vector.
                npy.write_array(into, np.asarray(array, order="C"), allow_pickle=False)


def read_arrays(path: Path, max_bytes: int = 4 << 30) -> dict[str, Array]:
    """Read arrays by name, such as `write_arrays` or `numpy.savez` wrote them.

    Args:
        path: the file.
        max_bytes: the most that all arrays together may take.

    Returns:
        Arrays in the order of the file.

    Raises:
        ContainerError: the file cannot be read, is damaged, or holds Python objects.
        TooLarge: the arrays are larger than `max_bytes`.
    """
    try:
        with zipfile.ZipFile(path) as file:
            members = file.infolist()
            _bound(sum(member.file_size for member in members), max_bytes, path)
            found: dict[str, Array] = {}
            for member in members:
                with file.open(member) as stream:
                    found[_name(member)] = _array(stream, member.file_size)
            return found
    except OSError as error:
        raise _unreadable(path, error) from error
    except _DAMAGE as error:
        raise ContainerError(
            f"this is no .npz file of plain arrays, or it is damaged: {_first_line(error)}",
            where=str(path),
            fix="write it again, with numpy.savez or ipuc run -o",
        ) from error


def read_array(path: Path, max_bytes: int = 4 << 30) -> Array:
    """Read one array from a `.npy` file.

    Raises:
        ContainerError: the file cannot be read, is damaged, or holds Python objects.
        TooLarge: it is larger than `max_bytes`.
    """
    try:
        with path.open("rb") as stream:
            size = path.stat().st_size
            _bound(size, max_bytes, path)
            return _array(stream, size)
    except OSError as error:
        raise _unreadable(path, error) from error
    except _DAMAGE as error:
        raise ContainerError(
            f"this is no .npy file of a plain array, or it is damaged: {_first_line(error)}",
            where=str(path),
            fix="write it again with numpy.save",
        ) from error


def _array(stream: IO[bytes], size: int) -> Array:
    """Read an array of a `.npy` stream of `size` bytes; its header is held to that first."""
    version = npy.read_magic(stream)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"format version {version} is for structured arrays")
    shape, fortran, dtype = read(stream, max_header_size=_HEADER_BYTES)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    asked, rest = math.prod(shape) * dtype.itemsize, size - stream.tell()
    if asked != rest:
        raise ValueError(f"its header announces {asked} bytes, {rest} follow")
    data = bytearray(stream.read())
    if len(data) != asked:
        raise EOFError(f"{asked} bytes are announced, {len(data)} could be read")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def _bound(asked: int, max_bytes: int, path: Path) -> None:
    if asked > max_bytes:
        raise TooLarge(
            f"the arrays of this file take {asked} bytes, the limit is {max_bytes}",
            where=str(path),
            fix=f"if that is meant, raise the limit: --max-bytes {asked}",
        )


def _name(member: zipfile.ZipInfo) -> str:
    # `filename` ends at a zero byte, `orig_filename` does not.
    return member.orig_filename.removesuffix(_SUFFIX)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _unreadable(path: Path, error: OSError) -> ContainerError:
    return ContainerError(
        f"the file cannot be read: {error.strerror or error}",
        where=str(path),
        fix="check the path and its permissions",
    )
