"""What the cost model's measured error says about one program's totals.

The errors are known by kind of layer; a program is a mixture, so a total carries the error of
every kind that its cycles consist of, and says how much of it is of kinds nobody compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ipuc.profile import calibration
from ipuc.profile.cycles import Superstep
from ipuc.program.program import Layer, Program
from ipuc.target import Target

#: Layers whose cycles belong to one kind as a whole, copies and reductions included, because the
#: rows they were compared with include them too: the beginning of the operator's name, and kind.
_KINDS = (
    ("Conv", "conv"),
    ("Gemm", "fc"),
    ("MaxPool", "pooling"),
    ("AveragePool", "pooling"),
    ("LpPool", "pooling"),
)
#: Vertex types of a reduction, wherever it stands.
_REDUCING = frozenset({"Reduce", "ReduceAdd"})
OTHER = "other"
#: Kinds with a smaller share of the cycles are not worth a word in a line of text.
_WORTH_A_WORD = 0.05


def error_of(program: Program, steps: Sequence[Superstep]) -> dict[str, Any]:
    """The measured error of a program's totals, as JSON values.

    Args:
        program: it has passed the verifier.
        steps: its supersteps.

    Returns:
        `against`: what was compared with. `kinds`: for every kind of layer, largest share first,
        its share of the cycles, and median and 90th percentile of the absolute relative error
        of `cycles` and `memory` (all tiles together) with the number of `rows` compared; None
        where nothing was compared. `not_compared`: the share of such cycles. `text`: the same of
        the cycles in one line, `memory_text` of the bytes.
    """
    spent: dict[str, int] = {}
    kinds = _kinds_of_layers(program)
    for step in steps:
        kind = kinds.get(step.layer) or _kind_of_step(step)
        spent[kind] = spent.get(kind, 0) + step.cycles * step.times
    total = sum(spent.values())
    generation = generation_of(program.target)
    cycles = calibration.CYCLES.get(generation, {})
    memory = calibration.MEMORY.get(generation, {})
    found = [
        {
            "kind": kind,
            "share": share / total,
            "cycles": _spread(cycles.get(kind)),
            "memory": _spread(memory.get(kind)),
        }
        for kind, share in sorted(spent.items(), key=lambda item: -item[1])
        if share
    ]
    left = sum(share for kind, share in spent.items() if kind not in cycles) / max(total, 1)
    return {
        "against": calibration.AGAINST,
        "kinds": found,
        "not_compared": left,
        "text": _text(found, "cycles", left),
        "memory_text": _text(found, "memory"),
    }


def generation_of(target: Target) -> str:
    """The generation of the chip as which a target is compared: a Bow is a GC200 by its cycles."""
    return "Mk1" if target.name.partition(",")[0] == "gc2" else "Mk2"


def _text(found: list[dict[str, Any]], figure: str, left: float = 0.0) -> str:
    """Say in one line what the errors of a figure are."""
    said = "; ".join(
        f"{one['kind']} median {_percent(one[figure]['median'])}, "
        f"p90 {_percent(one[figure]['p90'])}"
        for one in found
        if one[figure] and one["share"] >= _WORTH_A_WORD
    )
    if not said:
        return "error not known: none of its layers is of a kind that was compared"
    rest = ""
    if left >= _WORTH_A_WORD:
        rest = f"; {_percent(round(left, 2))} of cycles not compared"
    return f"{said} against {calibration.AGAINST}{rest}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}".removesuffix(".0") + " %"


def _spread(spread: calibration.Spread | None) -> dict[str, Any] | None:
    if spread is None:
        return None
    return {"rows": spread.rows, "median": spread.median, "p90": spread.p90}


def _kinds_of_layers(program: Program) -> dict[str, str]:
    weighted = _weighted(program)
    return {layer.name: kind for layer in program.layers if (kind := _kind(layer, weighted))}


def _kind(layer: Layer, weighted: set[str]) -> str:
    """The kind of a whole layer; empty if its steps decide one by one."""
    if layer.op == "MatMul":
        return "fc" if layer.name in weighted else "gemm"
    return next((kind for word, kind in _KINDS if layer.op.startswith(word)), "")


def _kind_of_step(step: Superstep) -> str:
    return "reduction" if step.vertices and set(step.vertices) <= _REDUCING else OTHER


def _weighted(program: Program) -> set[str]:
    """Layers that use a constant: a product with weights is a fully connected layer."""
    constants = program.constants
    found: set[str] = set()
    for family in program.families():
        if any(access.variable in constants for access in family.fields.values()):
            found.update(origin.layer for origin in family.origins)
    for copy in program.copies():
        # Weights whose order the plan changes come to its vertices by a copy.
        sources = (move.source for move in copy.moves if move.source is not None)
        if any(source.variable in constants for source in sources):
            found.add(copy.layer)
    return found
