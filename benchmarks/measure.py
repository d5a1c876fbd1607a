"""What the benchmarks share: timing, subprocesses with their peak memory, and results."""

from __future__ import annotations

import json
import os
import platform
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent


def seconds_of(action: Callable[[], Any], times: int = 5) -> float:
    """Time an action: one warm-up, then the least of some runs, in seconds.

    The least, because whatever else the machine does only adds to it.
    """
    action()
    found = []
    for _ in range(times):
        start = time.perf_counter()
        action()
        found.append(time.perf_counter() - start)
    return min(found)


def in_process(code: str, *words: object) -> dict[str, Any]:
    """Run Python code in a process of its own.

    Args:
        code: prints a JSON object as its last line; `words` are its `sys.argv[1:]`.
        words: arguments.

    Returns:
        That object, with `wall_seconds` and `peak_bytes` (largest resident set) of the process.
    """
    measured = f"{code}\nfrom measure import peak_bytes\nprint(peak_bytes())\n"
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", measured, *map(str, words)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, HERE)))},
        capture_output=True,
        text=True,
        check=False,
    )
    wall = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"a measured process failed:\n{done.stderr}")
    *_, result, peak = done.stdout.splitlines()
    return {**json.loads(result), "wall_seconds": wall, "peak_bytes": int(peak)}


def peak_bytes() -> int:
    """Largest resident set of this process so far.

    On Linux from /proc: `getrusage` would also count the parent's memory, which a new process has
    for the moment between fork and exec.
    """
    status = Path("/proc/self/status")
    if status.exists():
        found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text("ascii"))
        if found is not None:
            return int(found[1]) * 1024
    # macOS counts bytes here, others kilobytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    names = ("numpy", "onnx", "onnxruntime")
    return {
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "system": platform.platform(),
        **{name: version(name) for name in names},
    }


def finish(results: dict[str, Any], target: Path | None) -> None:
    """Write results as JSON, if a file is given."""
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"machine": machine(), **results}, indent=2)
        target.write_text(text + "\n", "utf-8")
        print(f"written: {target}")
