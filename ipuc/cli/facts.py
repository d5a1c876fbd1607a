"""What a program is, in numbers: the keys that `compile --json` and `info --json` share."""

from __future__ import annotations

from typing import Any

import numpy as np

from ipuc.cli.modelled import cost_of, noted_memory
from ipuc.cli.output import counted, duration, say, table
from ipuc.codelets.rounding import Arithmetic
from ipuc.importer.limits import readable
from ipuc.profile.record import MODELLED
from ipuc.program.count import count_program
from ipuc.program.enumerate import VertexGraph
from ipuc.program.program import Program

#: Vertex graphs of more edges are only counted if that is asked for.
COUNTED_EDGES = 5_000_000


def program_facts(program: Program, *, count: bool = False) -> dict[str, Any]:
    """Everything known of a program by a stable name; what is not known is None.

    Args:
        program: it has passed the verifier.
        count: count the vertex graph even if it has over `COUNTED_EDGES` edges.
    """
    counts = count_program(program)
    about, memory = program.metadata, noted_memory(program)
    return {
        "model": about.get("model"),
        "target": program.target.name,
        "ipus": program.target.ipus,
        # Over all IPUs, as everything that is counted here.
        "tiles": program.target.all_tiles,
        "tiles_used": tiles_used(program),
        "precision": about.get("precision"),
        **Arithmetic.of(about).to_metadata(),
        "granularity": about.get("granularity"),
        "outline": bool(about.get("outline", False)),
        "functions": len(program.functions),
        "calls": len(program.calls()),
        "training": bool(about.get("training", False)),
        "vertices": counts.vertices,
        "edges": counts.edges,
        "messages": counts.messages,
        "variables": counts.variables,
        "compute_sets": counts.compute_sets,
        "graph": graph_facts(program, count=count),
        # Modelled when it was compiled; unknown of a program that was built by hand.
        "cycles": cost_of(program).get("cycles"),
        "seconds": cost_of(program).get("seconds"),
        "error": cost_of(program).get("error"),
        "link_bytes": cost_of(program).get("link_bytes"),
        "first_layers": about.get("first_layers"),
        "memory": {
            "max_tile_bytes": memory.get("max_tile_bytes"),
            "total_bytes": memory.get("total_bytes"),
            "limit_bytes": program.target.tile_memory_bytes,
            "fits": memory.get("fits"),
        },
    }


def tiles_used(program: Program) -> int:
    """Number of tiles on which at least one vertex runs."""
    used = np.zeros(program.target.all_tiles, bool)
    for family in program.families():
        used[family.tile.dense().reshape(-1)] = True
    return int(used.sum())


def graph_facts(program: Program, *, count: bool) -> dict[str, int | None]:
    """Count the vertex graph, unless that takes long and was not asked for."""
    unknown: dict[str, int | None] = dict.fromkeys(("nodes", "vertices", "regions", "edges"))
    if not count and _least_edges(program) > COUNTED_EDGES:
        return unknown
    graph = VertexGraph(program)
    if not count and graph.edges() > COUNTED_EDGES:
        return unknown
    return {
        "nodes": graph.nodes,
        "vertices": graph.vertices,
        "regions": graph.regions,
        "edges": graph.edges(),
    }


def _least_edges(program: Program) -> int:
    """A number of edges that the vertex graph cannot fall short of by much, at once.

    Each contiguous run of a field is at least one region; only runs of one vertex that overlap
    are counted twice here.
    """
    return sum(
        family.count * len(access.runs())
        for family in program.families()
        for access in family.fields.values()
    )


def print_facts(facts: dict[str, Any]) -> None:
    """Print what `program_facts` found."""
    say(
        f"  target {facts['target']}, {facts['tiles_used']:,} of {facts['tiles']:,} tiles used; "
        f"granularity {facts['granularity']}, {facts['precision']}"
    )
    if facts["ipus"] > 1:
        _print_ipus(facts)
    if facts["outline"]:
        say(
            f"  {counted(facts['functions'], 'function')} for {counted(facts['calls'], 'layer')}: "
            "vertices and code of identical layers exist once"
        )
    names = ("vertices", "edges", "messages", "variables", "compute_sets")
    graph = facts["graph"]
    rows = [
        ["program (Poplar's count)", *(name.replace("_", " ") for name in names)],
        ["", *(f"{facts[name]:,}" for name in names)],
    ]
    table(rows, right=range(1, 6))
    if graph["nodes"] is None:
        say(f"  vertex graph: over {COUNTED_EDGES:,} edges; --count counts it")
    else:
        _print_graph(graph)
    if isinstance(facts["cycles"], int):
        _print_cost(facts)


def _print_ipus(facts: dict[str, Any]) -> None:
    """Say where layers change the IPU; the notes in the file may be of a stranger's making."""
    firsts, moved = facts["first_layers"], facts["link_bytes"]
    text = f"  {facts['ipus']} IPUs, one after another"
    if isinstance(firsts, list) and firsts:
        text += f": the next one begins at {', '.join(str(name) for name in firsts)}"
    if isinstance(moved, int):
        text += f"; {readable(moved)} over IPU-Links"
    say(text)


def _print_graph(graph: dict[str, Any]) -> None:
    say(
        f"  vertex graph: {graph['nodes']:,} nodes ({graph['vertices']:,} vertices + "
        f"{graph['regions']:,} regions), {graph['edges']:,} edges"
    )


def _print_cost(facts: dict[str, Any]) -> None:
    memory, error = facts["memory"], facts["error"]
    fits = "fits" if memory["fits"] else "does not fit"
    say(f"  {facts['cycles']:,} cycles, {duration(facts['seconds'])} ({MODELLED})")
    # The note in the file is of a stranger's making, or of an older version's.
    if isinstance(error, dict) and isinstance(error.get("text"), str):
        say(f"    error: {error['text']}")
    say(
        f"  memory: {memory['max_tile_bytes']:,} of {memory['limit_bytes']:,} bytes on the "
        f"fullest tile, {readable(memory['total_bytes'])} in all: {fits}"
    )
