"""The table of operators for the documentation, made from the registry and from small programs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

import onnx
import onnx.defs
from op_problems import FUNCTIONS, OPERATORS, at_operator_set, operator_sets, problems

from ipuc.backend import IpucBackend
from ipuc.codelets.define import Codelet
from ipuc.ops.define import Op

_HEAD = """\
# Operators

Written by `make golden` from the op files and the programs that the contract tests compile, with
onnx {onnx}; edit those, not this page.

{count} operators have a file in `ipuc/ops`. An operator that has none, but that ONNX defines by
others, is replaced by its body. Constants are folded, so shape arithmetic (Shape, Range,
ConstantOfShape...) on known shapes costs nothing on the chip.

## Element types

| in ONNX | on tiles | |
|---|---|---|
| float32, float16 | the same | float16 is computed in float32 and rounded when it is stored |
| bool, int8, uint8, int16, uint16, int32, uint32 | the same | |
| int64, uint64 | int32, uint32 | a value that does not fit is an error |
| float64 | float32 | only inside a model, between casts: its precision and its range are those of \
float32, so results differ from other engines' in the seventh digit, and what exceeds 3.4e38 is \
infinite (a constant that does is an error); a float64 input or output is refused |
| others | none | refused |

## Table

*Lowered*: every operator here becomes vertices, copies or views, in the forms that are tested. \
ONNX defined the operator anew in these operator sets; a model means the newest form up to its \
own set. A form in brackets differs too much from the newest for these tests. *Vertex types*: \
the codelets of the tests' programs; "none" means that the operator is a view, or copies. \
*Differentiable*: gradients pass ("yes"), or are 0 wherever they exist ("flat"), as of rounding \
and comparing; whole numbers and booleans have none. A form whose gradient is not known is \
refused by name when a model is compiled for training. *Fixed*: positions of the inputs whose \
value must be known at compile time, because it decides a shape, an axis, or which elements go \
where.

| operator | lowered | vertex types | differentiable | fixed | meaning |
|---|---|---|---|---|---|
"""

_OWN = """
## Operators of training graphs

Functions of the domain `ai.ipuc`, with bodies of standard ONNX: gradients, losses and updates \
that have vertices of their own. `ipuc export --training-graph` writes the bodies into the file, \
so that any engine runs it. No gradient passes through them.

| operator | lowered | meaning |
|---|---|---|
"""


@cache
def text() -> str:
    """Write the whole page."""
    return (
        _HEAD.format(count=len(OPERATORS), onnx=onnx.__version__)
        + "".join(_rows())
        + _OWN
        + "".join(_own())
    )


def version(page: str) -> str:
    """The version of onnx that a page was written with."""
    found = re.search(r"^onnx (\S+);", page, re.MULTILINE)
    assert found
    return found[1]


def lasting(page: str) -> str:
    """What of a page does not depend on the version of onnx: without forms and vertex types."""
    page = page.replace(f"onnx {version(page)};", "onnx;")
    return re.sub(r"^(\| [\w.]+ \|)[^|]*\|[^|]*(\|)", r"\1\2", page, flags=re.MULTILINE)


def _rows() -> Iterator[str]:
    for label, op in OPERATORS.items():
        fixed = ", ".join(map(str, op.shape_inputs))
        cells = (
            label,
            _forms(label, op),
            _vertex_types(label, op),
            op.differentiable(),
            fixed,
            _meaning(op),
        )
        yield "| " + " | ".join(cells) + " |\n"


def _own() -> Iterator[str]:
    for name, op in FUNCTIONS.items():
        yield f"| {name} | yes | {_meaning(op)} |\n"


def _forms(label: str, op: Op) -> str:
    *older, newest = operator_sets(op)
    words = []
    for version in older:
        since = str(onnx.defs.get_schema(op.name, version, op.domain).since_version)
        said = [at_operator_set(case, version) for case in problems(label, op)]
        words.append(since if any(said) else f"({since})")
    words.append(str(onnx.defs.get_schema(op.name, newest, op.domain).since_version))
    return ", ".join(words)


def _vertex_types(label: str, op: Op) -> str:
    found = set()
    for case in problems(label, op):
        rep = IpucBackend.prepare(case.model, target="tiny")
        rep.run(case.data_sets[0][0])
        assert rep.program is not None
        found |= {_called(family.codelet) for family in rep.program.families()}
    return ", ".join(sorted(found)) or "none"


def _called(codelet: Codelet) -> str:
    """A codelet's name, with its operation where one codelet stands for many."""
    parameters = codelet.parameters()
    kind = parameters.get("op", parameters.get("kind"))
    return f"{codelet.name} {kind}" if kind else codelet.name


def _meaning(op: Op) -> str:
    """What the class says before it names its source."""
    words = (type(op).__doc__ or "").partition("Source:")[0].split()
    return " ".join(words).replace("|", "\\|")
