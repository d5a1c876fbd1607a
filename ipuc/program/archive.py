"""A zip file of JSON and arrays: written whole or not at all, read without trusting it."""

from __future__ import annotations

import io
import os
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from ipuc.errors import ContainerError, TooLarge
from ipuc.files import whole

Array = NDArray[Any]
#: Called with (bytes done, bytes in all).
Progress = Callable[[int, int], Any]

#: The member that says what the file is; always the first.
MANIFEST = "manifest.json"

_CHUNK = 1 << 22

#: The header of a one-dimensional array takes 128 bytes.
_HEADER = 1024

#: Deflate packs no byte tighter than 1032 to 1 (zlib's technical notes); the rest is for headers.
_MOST_DEFLATED, _SLACK = 1032, 64

#: What `zipfile`, `zlib` and `numpy.lib.format` raise when the bytes they read make no sense.
_NONSENSE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    tokenize.TokenError,
    EOFError,
    NotImplementedError,
    OverflowError,
    RecursionError,
    RuntimeError,
    SyntaxError,
    TypeError,
    UserWarning,
    ValueError,
)


@dataclass(frozen=True, slots=True)
class Member:
    """One file of the archive.

    Attributes:
        name: its name; letters of ASCII.
        content: a JSON document in UTF-8, or an array.
        packed: deflate it; the bytes of weights gain nothing from that.
    """

    name: str
    content: bytes | Array
    packed: bool

    @property
    def size(self) -> int:
        """Bytes of the content."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.nbytes

    def parts(self) -> tuple[bytes, memoryview]:
        """What is written: a header, and the bytes after it, not copied."""
        if isinstance(self.content, bytes):
            return b"", memoryview(self.content)
        array = np.ascontiguousarray(self.content)
        header = io.BytesIO()
        fields = np.lib.format.header_data_from_array_1_0(array)
        np.lib.format.write_array_header_1_0(header, fields)
        return header.getvalue(), array.reshape(-1).view(np.uint8).data


def write(path: Path, members: Sequence[Member], progress: Progress | None = None) -> None:
    """Write an archive: the same members give the same bytes.

    Raises:
        ContainerError: the file cannot be written (no such folder, a full disk, ...).
    """
    total = sum(member.size for member in members)
    with whole(path, "the program") as file, zipfile.ZipFile(file, "w") as archive:
        done = 0
        for member in members:
            done = _write_member(archive, member, progress, done, total)


def _write_member(
    archive: zipfile.ZipFile, member: Member, progress: Progress | None, done: int, total: int
) -> int:
    info = zipfile.ZipInfo(member.name, (1980, 1, 1, 0, 0, 0))
    info.external_attr = 0o644 << 16
    header, body = member.parts()
    if member.packed:
        archive.writestr(info, header + bytes(body), zipfile.ZIP_DEFLATED, compresslevel=1)
        done += len(body)
    else:
        with archive.open(info, "w", force_zip64=len(body) >= 1 << 31) as out:
            out.write(header)
            for first in range(0, len(body), _CHUNK):
                chunk = body[first : first + _CHUNK]
                out.write(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, total)
    if progress is not None:
        progress(done, total)
    return done


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    """Say in one clear error what is wrong with the file."""
    try:
        yield
    except FileNotFoundError:
        raise ContainerError(
            "there is no such file", where=str(path), fix="compile a model first: ipuc compile"
        ) from None
    except OSError as error:
        raise ContainerError(
            f"the file cannot be read: {error.strerror or error}",
            where=str(path),
            fix="give a .ipu file that you may read, or compile the model again",
        ) from error
    except _NONSENSE as error:
        raise damaged(path, str(error) or type(error).__name__) from error


def damaged(path: Path, what: str) -> ContainerError:
    """Say that a program file is not as it was written."""
    return ContainerError(
        f"the program file is damaged: {what}",
        where=str(path),
        fix="compile the model again, or copy the file again",
    )


def foreign(path: Path) -> ContainerError:
    """Say that a file is something else than a program."""
    model = path.suffix.lower() == ".onnx"
    return ContainerError(
        "the file is no ipuc program",
        where=str(path),
        fix=f"compile the model first: ipuc compile {path.name}"
        if model
        else "give a .ipu file that `ipuc compile` wrote",
    )


class Archive:
    """An archive opened for reading; every size is checked before memory is taken for it.

    Args:
        path: the file.
        max_bytes: the most that all members may expand to.

    Attributes:
        names: the members, in order.

    Raises:
        ContainerError: the file cannot be read, is something else, or is damaged.
        TooLarge: the members expand to more than `max_bytes`.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.path = path
        with _telling(path), ExitStack() as opened:
            self._file: BinaryIO = opened.enter_context(path.open("rb"))
            self._zip = self._open()
            self._sizes = self._checked(max_bytes)
            opened.pop_all()  # it stays open from here on
        self.names = list(self._sizes)

    def _open(self) -> zipfile.ZipFile:
        head = self._file.read(4)
        if head != b"PK\x03\x04":
            raise foreign(self.path)
        archive = zipfile.ZipFile(self._file)
        names = archive.namelist()
        if MANIFEST not in names:
            raise foreign(self.path)
        if names[0] != MANIFEST or len(set(names)) < len(names):
            raise damaged(self.path, "its list of members is out of order")
        return archive

    def _checked(self, max_bytes: int) -> dict[str, zipfile.ZipInfo]:
        length = os.fstat(self._file.fileno()).st_size
        infos = {info.filename: info for info in self._zip.infolist()}
        for info in infos.values():
            stored = info.compress_type == zipfile.ZIP_STORED
            if (
                info.flag_bits
                or not (stored or info.compress_type == zipfile.ZIP_DEFLATED)
                or not 0 <= info.compress_size <= length
                or (stored and info.file_size != info.compress_size)
                or not 0 <= info.file_size <= _MOST_DEFLATED * info.compress_size + _SLACK
            ):
                raise damaged(self.path, f"the entry of {info.filename!r} makes no sense")
        too_large(self.path, sum(info.file_size for info in infos.values()), max_bytes)
        return infos

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._zip.close()
        self._file.close()

    def content(self, name: str) -> NDArray[np.uint8]:
        """Read a member into new memory of just its size; `zipfile` holds it to its checksum.

        Raises:
            ContainerError: there is no such member, or it is damaged.
        """
        if name not in self._sizes:
            raise damaged(self.path, f"{name!r} is missing")
        info = self._sizes[name]
        buffer = np.empty(info.file_size, np.uint8)
        with _telling(self.path), self._zip.open(info) as member:
            at = 0
            while chunk := member.read(_CHUNK):
                buffer.data[at : at + len(chunk)] = chunk
                at += len(chunk)
            if at < len(buffer):
                raise damaged(self.path, f"{name!r} is cut short")
        return buffer

    def text(self, name: str) -> str:
        """Read a member as text.

        Raises:
            ContainerError: there is no such member, or it is damaged.
        """
        with _telling(self.path):
            return str(self.content(name).data, "utf-8")

    def array(self, name: str) -> Array:
        """Read a one-dimensional array; its memory is that of the member.

        Raises:
            ContainerError: there is no such member, or it is no such array.
        """
        content = self.content(name)
        with _telling(self.path), warnings.catch_warnings():
            warnings.simplefilter("error")
            head = io.BytesIO(content[:_HEADER].tobytes())
            if np.lib.format.read_magic(head) != (1, 0):
                raise damaged(self.path, f"{name!r} is an array of an unknown version")
            shape, _, dtype = np.lib.format.read_array_header_1_0(head)
        body = content[head.tell() :]
        if dtype.kind not in "biuf" or not dtype.isnative:
            raise damaged(self.path, f"{name!r} holds {dtype}")
        if len(shape) != 1 or shape[0] * dtype.itemsize != body.size:
            raise damaged(self.path, f"{name!r} does not hold {shape} elements")
        return body.view(dtype)


def too_large(path: Path, size: int, max_bytes: int) -> None:
    """Refuse to take more memory than is allowed.

    Raises:
        TooLarge: it is more.
    """
    if size > max_bytes:
        raise TooLarge(
            f"the program expands to {size:,} bytes, {max_bytes:,} are allowed",
            where=str(path),
            fix=f"if you trust the file, allow more: --max-bytes {size}",
        )
