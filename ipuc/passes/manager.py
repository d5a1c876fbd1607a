"""Run passes in order, hold the graph to its rules in between, and keep a record."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from ipuc.errors import InternalError
from ipuc.graph.ir import Graph
from ipuc.passes.define import GraphPass

#: Rounds after which passes that still change something are taken to undo each other.
_ROUNDS = 32


@dataclass(frozen=True, slots=True)
class PassRecord:
    """One run of one pass.

    Attributes:
        name: of the pass.
        seconds: it took.
        nodes_before: nodes it was given.
        nodes_after: nodes it left.
        modified: whether it changed anything.
    """

    name: str
    seconds: float
    nodes_before: int
    nodes_after: int
    modified: bool


def _check(graph: Graph, original: Graph, culprit: str) -> None:
    try:
        graph.check()
    except InternalError as error:
        raise InternalError(f"after pass {culprit}: {error.what}", where=error.where) from error
    same = graph.inputs == original.inputs and graph.outputs == original.outputs
    if not same or any(graph.types[n] != original.types[n] for n in original.outputs):
        raise InternalError(f"pass {culprit} changed the graph's inputs or outputs")


def run_passes(graph: Graph, passes: Sequence[GraphPass]) -> tuple[Graph, list[PassRecord]]:
    """Run passes, again and again until none of them changes anything.

    Args:
        graph: stays as it is.
        passes: in the order of each round.

    Returns:
        The new graph, and a record of every run.

    Raises:
        InternalError: a pass broke the graph's rules, or the passes never come to rest.
    """
    graph.check()
    original, records = graph, []
    for _ in range(_ROUNDS):
        changed = False
        for one in passes:
            start, before = time.perf_counter(), len(graph.nodes)
            result = one.run(graph)
            seconds = time.perf_counter() - start
            records.append(
                PassRecord(one.name, seconds, before, len(result.graph.nodes), result.modified)
            )
            if result.modified:
                _check(result.graph, original, one.name)
                graph, changed = result.graph, True
        if not changed:
            return graph, records
    names = ", ".join(one.name for one in passes)
    raise InternalError(f"passes still change the graph after {_ROUNDS} rounds: {names}")
