"""Costs of the inner loops of elementwise vertices.

A loop handles `elements` elements in `cycles` cycles: (cycles, elements), one pair for 4-byte
elements and one for 2-byte elements.

Source: PopLibs popopsCycleEstimators.cpp. `fused` is our own estimate for map
expressions: the sum of the operations' loops without the loads and stores between them.
"""

from __future__ import annotations

Loop = tuple[tuple[int, int], tuple[int, int]]

UNARY: dict[str, Loop] = {
    "abs": ((5, 1), (5, 1)),
    "erf": ((41, 1), (13, 1)),
    "exp": ((6, 2), (4, 4)),
    "floor": ((6, 2), (6, 4)),
    "gelu_erf": ((22, 1), (16, 1)),
    "inverse": ((6, 2), (15, 4)),
    "inv_std": ((12, 2), (24, 4)),
    "is_finite": ((9, 2), (9, 4)),
    "is_nan": ((7, 2), (7, 4)),
    "log": ((12, 2), (4, 4)),
    "logical": ((5, 4), (5, 4)),
    "neg": ((2, 2), (2, 4)),
    "relu": ((3, 2), (3, 4)),
    "sigmoid": ((12, 2), (6, 4)),
    "sin": ((2300, 1), (25, 1)),
    "sqrt": ((10, 2), (23, 4)),
    "square": ((2, 2), (2, 4)),
    "tanh": ((12, 2), (4, 4)),
}

#: Where a vertex that writes over its operand has another loop; by the operation of UnaryOp.
UNARY_IN_PLACE: dict[str, Loop] = {
    "abs": ((5, 2), (5, 4)),
    "at_least": ((2, 2), (2, 4)),
    "at_most": ((2, 2), (2, 4)),
    "log": ((14, 2), (6, 4)),
    "neg": ((3, 2), (3, 4)),
    "relu": ((2, 2), (2, 4)),
    "sigmoid": ((10, 2), (4, 4)),
    "tanh": ((10, 2), (2, 4)),
}

BINARY: dict[str, Loop] = {
    "add": ((3, 2), (3, 4)),
    "bits": ((7, 1), (7, 1)),
    "compare": ((14, 4), (9, 4)),
    "div": ((10, 2), (21, 4)),
    "logical": ((5, 4), (5, 4)),
    "max": ((3, 2), (4, 4)),
    "pow": ((312, 1), (325, 1)),
    "remainder": ((133, 2), (300, 4)),
}

#: Loops over 4-byte whole numbers.
INTEGER = (7, 1)
INTEGER_DIVIDE = (277, 1)

#: Load and store of one vector, which a fused expression saves for every step but one.
_MOVE = 2


def fused(*steps: str) -> Loop:
    """Cost of an expression in one loop, from the loops of its steps."""
    loops = [UNARY[step] if step in UNARY else BINARY[step] for step in steps]
    widths = (2, 4)  # elements of a vector: 4-byte, 2-byte
    saved = _MOVE * (len(loops) - 1)
    totals = [
        sum(-(-loop[kind][0] * width // loop[kind][1]) for loop in loops) - saved
        for kind, width in enumerate(widths)
    ]
    return (totals[0], widths[0]), (totals[1], widths[1])
