"""Files that appear whole or not at all."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ipuc.errors import ContainerError


@contextmanager
def whole(path: Path, what: str) -> Iterator[BinaryIO]:
    """Open a neighbour of a file for writing, which takes the file's place if all goes well.

    Whoever looks finds the old file or the new one, and a failure leaves nothing behind.

    Args:
        path: the file; an older one is replaced.
        what: is written, for the error: "the program".

    Raises:
        ContainerError: the file cannot be written (no such folder, a full disk, ...).
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        try:
            with part.open("xb") as stream:
                yield stream
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise ContainerError(
            f"{what} cannot be written: {error.strerror or error}",
            where=str(path),
            fix="make room on the disk, or name another place with --out",
        ) from error
