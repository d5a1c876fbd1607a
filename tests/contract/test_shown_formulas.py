"""What a codelet says of its cycles: the expression it shows comes to the cycles it charges."""

from __future__ import annotations

import math
import re

import pytest

from ipuc.codelets.define import Codelet, Example, registered, source_of
from ipuc.target import CATALOGUE

OURS = {name: kind for name, kind in registered().items() if kind.__module__.startswith("ipuc.")}
#: Codelets that write their formula out; the others name what they ask it for.
WRITTEN = {
    "BinaryOp",
    "BinaryOpInPlace",
    "ConvPartial1x1Out",
    "ConvPartialHorizontalMac",
    "ConvPartialnx1",
    "Pooling",
    "ReduceAdd",
    "UnaryOp",
    "UnaryOpInPlace",
}


def shown(example: Example, *, grown: bool) -> tuple[str, int]:
    codelet, target = example.codelet, CATALOGUE["gc200"]
    windows = example.grown() if grown else dict(example.windows)
    sizes = {
        spec.name: 2 if example.dtype(spec.name) == "float16" else 4 for spec in codelet.fields
    }
    itemsize = codelet.itemsize(sizes)
    cycles = int(codelet.cycles(target, windows, itemsize))
    return codelet.formula(target, windows, itemsize), cycles


@pytest.mark.parametrize("kind", OURS.values(), ids=OURS.keys())
@pytest.mark.parametrize("grown", [False, True])
def test_a_formula_comes_to_the_cycles(kind: type[Codelet], grown: bool) -> None:
    """Python does the sum."""
    for example in kind.examples():
        text, cycles = shown(example, grown=grown)
        expression, equals, rest = text.partition(" = ")
        assert equals
        assert int(rest.partition(";")[0].replace(",", "")) == cycles
        if kind.name in WRITTEN:
            assert re.fullmatch(r"(?:[0-9.]+|ceil|[ ()+/x])+", expression), expression
            names = {"__builtins__": {}, "ceil": math.ceil}
            assert eval(expression.replace("x", "*"), names) == cycles  # checked just above
        else:
            assert expression.startswith("cycles(")
            assert all(name in expression for name in example.windows)


@pytest.mark.parametrize("kind", OURS.values(), ids=OURS.keys())
def test_every_formula_has_a_source(kind: type[Codelet]) -> None:
    assert len(source_of(kind)) > 10
