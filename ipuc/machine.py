"""What this machine has left."""

from __future__ import annotations

import ctypes
from pathlib import Path

#: Names of glibc's `mallopt`, and what they are set to. Source: <malloc.h>, mallopt(3).
_MALLOPT = {"M_MMAP_MAX": (-4, 0), "M_TRIM_THRESHOLD": (-1, 2**31 - 1), "M_TOP_PAD": (-2, 1 << 26)}


def free_memory() -> int | None:
    """Bytes of memory that a program may still take; None where the system does not say.

    Source: MemAvailable of /proc/meminfo, which counts what caches would give back.
    """
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(found[0]) * 1024 if found else None


def keep_freed_memory() -> None:
    """Ask the C library to use freed memory again instead of giving it back at once.

    The system clears every page that it hands out. A layout makes and frees arrays of a hundred
    megabytes all the time, and spent a third of its time on that. Nothing happens where the C
    library is not glibc.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    for name, value in _MALLOPT.values():
        mallopt(name, value)
