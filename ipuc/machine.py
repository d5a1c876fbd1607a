"""What this machine has left."""

from __future__ import annotations

from pathlib import Path


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
