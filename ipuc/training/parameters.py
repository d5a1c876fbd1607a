"""Which values of a model are trained."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from ipuc.errors import OptionError, nearest
from ipuc.graph.ir import Graph
from ipuc.training.options import Training

#: Operator -> positions of the inputs that are weights, biases, scales or embeddings. Means and
#: variances of BatchNormalization are statistics of the data and no weights.
OPERANDS: dict[str, tuple[int, ...]] = {
    "Add": (0, 1),
    "BatchNormalization": (1, 2),
    "Conv": (1, 2),
    "Gather": (0,),
    "Gemm": (0, 1, 2),
    "GroupNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "MatMul": (0, 1),
    "Mul": (0, 1),
    "PRelu": (1,),
    "RMSNormalization": (1,),
}

#: Operators that also scale or shift the data before the model: an operand of theirs counts only
#: if what it is combined with has been computed.
_ALSO_FOR_DATA = frozenset({"Add", "Mul"})


def parameters(graph: Graph) -> list[str]:
    """Constants that may be trained, in the order in which nodes read them.

    They are float, of rank 1 and more, and an operand that `OPERANDS` names: never scalars,
    never statistics.
    """
    made = set(graph.values())
    found: dict[str, None] = {}
    for node in graph.nodes:
        for position in () if node.domain else OPERANDS.get(node.op, ()):
            name = node.inputs[position] if position < len(node.inputs) else ""
            if name not in graph.constants:
                continue
            kind = graph.types[name]
            combined = made.isdisjoint(node.inputs) and node.op in _ALSO_FOR_DATA
            if kind.is_float and kind.shape and not combined:
                found[name] = None
    return list(found)


def trained(graph: Graph, options: Training) -> list[str]:
    """Constants that are trained by the options' patterns.

    Raises:
        OptionError: a pattern fits no weight, or none is left.
    """
    known = parameters(graph)
    for flag, patterns in (("--freeze", options.freeze), ("--train-only", options.train_only)):
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in known):
                raise OptionError(
                    f'no weight is called "{pattern}"', where=flag, fix=nearest(pattern, known)
                )
    kept = [
        name
        for name in known
        if (not options.train_only or _fits(name, options.train_only))
        and not _fits(name, options.freeze)
    ]
    if not kept:
        raise OptionError(
            f"nothing is trainable: {len(known)} weights, all frozen"
            if known
            else "nothing is trainable: the model has no weights (float initializers of rank 1 "
            "and more that Conv, Gemm, MatMul, normalisations, Gather, Add or Mul read)",
            where="--train",
            fix="freeze fewer weights" if known else "train a model that has weights",
        )
    return kept


def _fits(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
