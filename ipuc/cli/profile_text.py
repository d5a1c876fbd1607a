"""How `ipuc profile` prints: the summary in PopVision's words, tables, and comparisons."""

from __future__ import annotations

from typing import Any

from ipuc.cli.compared import MOST_CHANGED
from ipuc.cli.modelled import memory_line
from ipuc.cli.output import counted, duration, say, table
from ipuc.importer.limits import readable
from ipuc.profile.record import MODELLED
from ipuc.profile.tables import Row

#: Columns of each table that a terminal shows; --csv and --json have all.
_SHOWN: dict[str, tuple[str, ...]] = {
    "layer": (
        *("name", "op", "cycles", "share", "bound", "flops", "peak_share", "tiles", "balance"),
        *("bytes_exchanged", "peak_tile_bytes"),
    ),
    "compute-set": (
        *("name", "kind", "times", "cycles", "compute", "exchange", "sync", "vertices", "tiles"),
        *("balance", "bytes_exchanged"),
    ),
    "codelet": ("name", "vertices", "edges", "vertex_cycles", "share", "tiles", "code_bytes"),
    "tile": (
        *("tile", "compute", "busy", "bytes_received", "bytes_sent", "always_live_bytes"),
        *("not_always_live_bytes", "gap_bytes", "memory_bytes"),
    ),
    "step": (
        *("step", "name", "kind", "not_always_live_bytes", "message_bytes", "max_tile_bytes"),
        "fullest_tile",
    ),
    "ipu": (
        *("ipu", "layers", "supersteps", "vertices", "cycles", "share", "bytes_in", "bytes_out"),
        *("max_tile_bytes", "total_bytes"),
    ),
}
_PERCENT = ("share", "peak_share", "busy")
_WORDS = ("name", "op", "kind", "bound")
_NAME_WIDTH = 44


def print_summary(found: dict[str, Any], path: str) -> None:
    """Print the totals of what `to_json` made, in the words of PopVision's summary."""
    cycles, average, error = found["cycles"], found["tile_average"], found["error"]
    total = max(cycles["total"], 1)
    parts = ("compute", "exchange", "sync")
    steps = ", ".join(f"{part} {cycles[part] / total:.0%}" for part in parts)
    tiles = ", ".join(f"{part} {average[part] / total:.0%}" for part in parts)
    say(f"{path}: {cycles['total']:,} cycles, {duration(found['seconds'])} ({MODELLED})")
    _line("", f"error: {error['text']}")
    several = f"{found['ipus']} IPUs, " if found["ipus"] > 1 else ""
    _line(
        "Target",
        f"{found['target']}: {several}{counted(found['tile_count'], 'tile')} of "
        f"{found['memory']['limit_bytes']:,} bytes, {found['clock_hz'] / 1e9:g} GHz; "
        f"granularity {found['granularity']}, {found['precision']}",
    )
    _line(
        "Graph",
        f"{found['vertices']:,} vertices, {found['edges']:,} edges, "
        f"{found['variables']:,} variables, {counted(found['compute_set_count'], 'compute set')}"
        f", {found['copy_count']:,} copies",
    )
    _line("Execution", f"{counted(found['supersteps'], 'superstep')}: {steps}")
    if len(found["passes"]) > 1:
        each = ", ".join(f"{name} {spent:,}" for name, spent in found["passes"].items())
        _line("", f"cycles by pass: {each}")
    _line("", f"tile average: {tiles}; the rest is waiting for slower tiles")
    _line(
        "FLOPs",
        f"{found['flops'] / 1e9:.2f} GFLOP at {found['tflops']:.2f} TFLOP/s, "
        f"{found['peak_share']:.1%} of the {found['peak_tflops']:.1f} TFLOP/s of "
        f"{'one IPU' if several else 'all matrix units'}",
    )
    _line("Exchange", f"{readable(found['bytes_exchanged'])} received by all tiles together")
    if found["ipus"] > 1:
        ways = ", ".join(f"{t['from']} to {t['to']} {readable(t['bytes'])}" for t in found["links"])
        over = f"{readable(found['link_bytes'])} over IPU-Links"
        _line("", f"{over}: {ways}" if ways else over)
    _line("Memory", memory_line(found["memory"]))
    _line("", f"error of the bytes in all: {error['memory_text']}")


def _line(label: str, text: str) -> None:
    say(f"  {label:<11}{text}")


def print_rows(rows: list[Row], by: str, top: int, found: dict[str, Any]) -> None:
    """Print the first rows of a table, and the total with its error."""
    shown = _SHOWN[by]
    cells = [[name.replace("_", " ") for name in shown]]
    cells += [[_cell(row, name) for name in shown] for row in rows[:top]]
    table(cells, right=[at for at, name in enumerate(shown) if name not in _WORDS])
    if len(rows) > top:
        left = counted(len(rows) - top, "row")
        say(f"  and {left} more: --top {len(rows)} prints, --csv FILE writes them")
    if by == "step":
        whole = found["memory"]["total_bytes"]
        say(f"  total {whole:,} bytes on all tiles; {found['error']['memory_text']}")
    else:
        say(f"  total {found['cycles']['total']:,} cycles; {found['error']['text']}")


def _cell(row: Row, name: str) -> str:
    value = row[name]
    if name == "name":
        folded = [node for node in row.get("nodes", ()) if node != value]
        return _short(str(value or "(no layer)") + "".join(f" + {node}" for node in folded))
    if value is None:
        return "-"
    if name in _PERCENT:
        return f"{value:.1%}"
    if name == "flops":
        return _counted_in_thousands(value)
    if isinstance(value, float):
        return f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _short(name: str) -> str:
    return name if len(name) <= _NAME_WIDTH else f"{name[: _NAME_WIDTH - 3]}..."


def _counted_in_thousands(value: int) -> str:
    """Write a large number with a letter: 140.6 M."""
    for letter, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if value >= size:
            return f"{value / size:,.1f} {letter}"
    return str(value)


def print_changes(
    changes: dict[str, dict[str, Any]], layers: list[dict[str, Any]], other: str
) -> None:
    """Print both figures of every total, the change, and the layers that changed most."""
    say()
    rows = [["", "this", other, "change", ""]]
    units = {"cycles": "cycles", "memory": "fullest tile"}
    for name, change in changes.items():
        this, that = change["this"], change["other"]
        figures = [f"{this:,}", f"{that:,}"]
        if name == "memory":
            figures = [readable(this), readable(that)]
        mark = "over the limit" * change["over"]
        rows.append([units[name], *figures, f"{change['change']:+.1%}", mark])
    if layers:
        rows.append(["layers that changed most, cycles", "", "", "", ""])
    for row in layers[:MOST_CHANGED]:
        both = ["-" if row[key] is None else f"{row[key]:,}" for key in ("this", "other")]
        rows.append([f"  {_short(row['name'])}", *both, f"{row['change']:+,}", ""])
    table(rows, right=(1, 2, 3))
    if len(layers) > MOST_CHANGED:
        say(f"  and {counted(len(layers) - MOST_CHANGED, 'layer')} more: --json has all")
