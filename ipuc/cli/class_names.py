"""The answer of a classifier in the words of its classes, where the model knows them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.graph.record import from_json
from ipuc.program.program import Program
from ipuc.training.loss import over_classes

#: Rows of a batch for which the answer is printed, and classes that come next.
_ROWS, _NEXT = 16, 2


def class_lines(program: Program, array: NDArray[Any]) -> list[str]:
    """One line for each row: the class, its probability, and the next ones.

    Args:
        program: its model's metadata may list names in `ipuc.classes`, as JSON.
        array: an output.

    Returns:
        Nothing where the output has no such classes.
    """
    names = _names(program)
    if array.dtype.kind != "f" or array.ndim != 2 or not names or array.shape[1] != len(names):
        return []
    lines = []
    chances = _probabilities(program, array.astype(np.float64))
    for row, chance in enumerate(chances[:_ROWS]):
        order = np.argsort(-np.nan_to_num(chance, nan=-1.0), kind="stable")
        first, *rest = (f"{names[at]} ({chance[at]:.1%})" for at in order[: 1 + _NEXT])
        head = f"row {row}: " if len(array) > 1 else ""
        lines.append(
            f"{head}{first}".replace("%", " %") + f"; next {', '.join(rest)}".replace("%", " %")
        )
    if len(array) > _ROWS:
        lines.append(f"and {len(array) - _ROWS} more rows")
    return lines


def _names(program: Program) -> list[str]:
    text = program.metadata.get("model_metadata", {}).get("ipuc.classes", "")
    try:
        found = json.loads(text) if text else []
    except ValueError:  # somebody else's words: no names
        return []
    return [str(name) for name in found] if isinstance(found, list) else []


def _probabilities(program: Program, array: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores as probabilities; what a Softmax has made already stays as it is."""
    graph = from_json(program.graph_text)
    last = graph.producer(graph.outputs[0])
    if last is not None and over_classes(last, graph):
        return np.exp(array) if last.op == "LogSoftmax" else array
    powers = np.exp(array - array.max(axis=1, keepdims=True))
    made: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return made
