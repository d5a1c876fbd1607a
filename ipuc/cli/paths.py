"""Where results are written."""

from __future__ import annotations

import os
from pathlib import Path

from ipuc.errors import OptionError


def settle_output(out: Path | None, default: str, source: Path | None = None) -> Path:
    """Decide where a result goes, before any work is done for it.

    Args:
        out: what the user gave: a file, a folder, or nothing.
        default: file name for the current folder, or for the folder given.
        source: the file that the result is made from, which must not be overwritten.

    Raises:
        OptionError: nothing can be written there.
    """
    path = Path(default) if out is None else out / default if out.is_dir() else out
    if not path.parent.is_dir():
        raise OptionError(
            "there is no such folder", where=str(path.parent), fix="make it, or choose another -o"
        )
    if path.is_dir() or not path.name:
        raise OptionError("this is a folder", where=str(path), fix="give a file name with -o")
    if path.exists() and not path.is_file():
        # The result takes the place of what is there, and would do so to a device like /dev/null.
        raise OptionError(
            "this is a device or a pipe, no file", where=str(path), fix="give a file name with -o"
        )
    if not os.access(path.parent, os.W_OK):
        raise OptionError(
            "nothing can be written into this folder",
            where=str(path.parent.resolve()),
            fix="choose another place with -o",
        )
    if source is not None and path.exists() and source.exists() and path.samefile(source):
        raise OptionError(
            "the result would overwrite what it is made from",
            where=str(path),
            fix="choose another name with -o",
        )
    return path
