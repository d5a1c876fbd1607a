"""What every operator must keep to. An operator is tested from the moment its file exists.

Problems come from ONNX's own node tests, or from the op file where ONNX has none. What is right
is said by the outputs that ONNX ships, by onnx.reference on other data, and by onnxruntime on
older operator sets; the strict mode shows that the tiles hold and exchange what they need.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.defs
import op_table
import pytest
from onnx.backend.test.runner import Runner
from onnx_cases import Array, Case
from op_problems import (
    EVERY,
    OPERATORS,
    at_operator_set,
    in_general_position,
    operator_sets,
    problems,
    reference,
    runtime,
)

import ipuc.ops
from ipuc.backend import IpucBackend, IpucRep
from ipuc.codelets.conv_rows import ConvRows
from ipuc.codelets.conv_vertex import ConvVertex
from ipuc.codelets.define import Codelet
from ipuc.codelets.reduce import Reduce
from ipuc.emulator import strict
from ipuc.ops.define import Op
from ipuc.planner.context import Granularity

TABLE = Path(__file__).parents[2] / "docs" / "operators.md"
#: Vertices that add many numbers. The fast mode joins vertices into larger sums, which NumPy and
#: the matrix library cut into parts of their own: the order of the additions differs. All other
#: vertices treat an element the same whatever lies beside it.
ADDING = {
    "FullyConnectedBwd",
    "FullyConnectedBwdReduce",
    "FullyConnectedPartial",
    "FullyConnectedReduce",
    "MatMulPartial",
    "ReduceAdd",
}
#: Forms of an operator in which no problem of ours can be said; tests of the operator have them.
UNSAID = {
    ("BitShift", 27),  # unsigned integers only
    ("DepthToSpace", 10),  # no choice of mode
    ("GroupNormalization", 20),  # scale and bias by group
    ("Pad", 10),  # the padding value has another name
    ("Slice", 9),  # no steps
}
MODULES = [
    importlib.import_module(f"ipuc.ops.{one.name}")
    for one in pkgutil.iter_modules(ipuc.ops.__path__)
]

by_operator = pytest.mark.parametrize("label", OPERATORS)
by_target = pytest.mark.parametrize("target", ["tiny", "gc200,tiles=64"])


def _close(found: Sequence[Array], wanted: Sequence[Array], unit: float) -> None:
    """Floats agree to `unit` of the largest value, halves to a few of their roundings."""
    assert len(found) == len(wanted)
    for ours, theirs in zip(found, wanted, strict=True):
        if theirs.dtype.kind != "f":
            np.testing.assert_array_equal(ours, theirs, strict=True)
            continue
        scale = float(np.abs(theirs[np.isfinite(theirs)]).max(initial=0))
        unit = max(unit, 4e-3) if theirs.dtype == np.float16 else unit
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=unit * scale, strict=True)


def _adds(codelet: Codelet) -> bool:
    """Whether the order in which a vertex combines numbers shows in the last bit."""
    if isinstance(codelet, Reduce):
        return codelet.op in {"sum", "prod"}
    return isinstance(codelet, ConvVertex | ConvRows) or codelet.name in ADDING


def _private(rep: IpucRep, found: Sequence[Array], given: Sequence[Array]) -> None:
    """The strict mode gives the same bits; 1e-6 of the largest value where numbers are added."""
    assert rep.program is not None
    named = zip(rep.inputs, given, strict=True)
    data = {name: array for name, array in named if name not in rep.specialised}
    private = list(strict.run(rep.program, data).values())
    if any(_adds(family.codelet) for family in rep.program.families()):
        # a half is rounded once more, so one of its roundings apart
        half = any(array.dtype == np.float16 for array in found)
        _close(private, found, 2.0**-10 if half else 1e-6)
        return
    for ours, theirs in zip(private, found, strict=True):
        np.testing.assert_array_equal(ours, theirs, strict=True)


def _check(case: Case, target: str, granularity: Granularity) -> None:
    """Both modes on the case's own data and on other data."""
    rep = IpucBackend.prepare(case.model, target=target, granularity=granularity)
    for given, wanted in case.data_sets:
        found = list(rep.run(given))
        Runner.assert_similar_outputs(wanted, found, case.rtol, case.atol)
        _private(rep, found, given)
    given, _ = case.data_sets[0]
    other = in_general_position(given)
    found = list(rep.run(other))
    wanted = reference(case.model, other) or runtime(case.model, other) or []
    _close(found, wanted, 1e-5)  # sums of a few hundred terms, each rounded to 2 ** -24 of it
    _private(rep, found, other)


@by_operator
@by_target
@pytest.mark.parametrize("granularity", ["tile", "worker"])
def test_results(label: str, target: str, granularity: Granularity) -> None:
    for case in problems(label, OPERATORS[label]):
        _check(case, target, granularity)


@by_operator
def test_older_operator_sets(label: str) -> None:
    op = OPERATORS[label]
    for version in operator_sets(op)[:-1]:
        said = 0
        for case in problems(label, op):
            old = at_operator_set(case, version)
            if old is None:
                continue
            given, _ = old.data_sets[0]
            found = IpucBackend.prepare(old.model, target="tiny").run(given)
            # onnx.reference gives some old forms their new meaning, onnxruntime does not
            wanted = runtime(old.model, given) or reference(old.model, given) or []
            _close(found, wanted, 1e-5)
            said += 1
        assert bool(said) != ((op.name, version) in UNSAID), f"operator set {version}"


@pytest.mark.parametrize("label", EVERY)
def test_an_operator_names_its_source(label: str) -> None:
    op = EVERY[label]
    text = type(op).__doc__ or ""
    assert "Source: " in text, f'write "Source: ONNX {op.name}-N." into the class docstring'
    if op.domain:
        return
    cited = re.findall(rf"\b{op.name}-(\d+)", text.partition("Source: ONNX ")[2])
    assert cited, f'write "Source: ONNX {op.name}-N."'
    for version in map(int, cited):
        schema = onnx.defs.get_schema(op.name, version, op.domain)
        assert schema.since_version == version, f"there is no {op.name}-{version}"


@by_operator
def test_deciding_inputs_exist(label: str) -> None:
    op = OPERATORS[label]
    positions = op.shape_inputs
    assert len(set(positions)) == len(positions)
    if positions and not op.domain:
        schema = onnx.defs.get_schema(op.name, op.domain)
        assert 0 <= min(positions) <= max(positions) < schema.max_input


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.split(".")[-1])
def test_a_file_holds_one_operator_or_what_several_share(module: Any) -> None:
    here = [op.name for op in EVERY.values() if type(op).__module__ == module.__name__]
    short = module.__name__.split(".")[-1]
    if here:
        assert [name.lower() for name in here] == [short.replace("_", "")]
        return
    assert (module.__doc__ or "").startswith("What "), "say what its operators have in common"
    pattern = re.compile(rf"^from {re.escape(module.__name__)} import", re.MULTILINE)
    readers = [one for one in MODULES if pattern.search(Path(one.__file__ or "").read_text())]
    assert len(readers) > 1, "one operator alone keeps what it needs in its own file"


class _Unheard:
    """Stands for an operator without a test."""

    @classmethod
    def examples(cls) -> tuple[Any, ...]:
        return ()


def test_an_operator_without_a_problem_is_noticed() -> None:
    stranger: Any = _Unheard()
    with pytest.raises(AssertionError, match=r"no small test of Unheard: let examples\(\)"):
        problems("Unheard", stranger)


@pytest.mark.parametrize("label", ["Add", "MatMul", "Softmax"])
def test_a_wrong_element_is_noticed(label: str) -> None:
    case = problems(label, OPERATORS[label])[-1]
    rep = IpucBackend.prepare(case.model, target="tiny")
    given = in_general_position(case.data_sets[0][0])
    found = [np.array(array) for array in rep.run(given)]
    _private(rep, found, given)
    found[0].flat[0] *= np.float32(1 + 1e-5)
    found[0].flat[0] += np.float32(1e-5)
    with pytest.raises(AssertionError):
        _private(rep, found, given)


def test_the_table_of_operators(request: pytest.FixtureRequest) -> None:
    text = op_table.text()
    if request.config.getoption("--update-goldens"):
        TABLE.write_text(text, encoding="utf-8")
    written = TABLE.read_text(encoding="utf-8")
    if op_table.version(written) != onnx.__version__:
        # other operator sets and other node tests
        text, written = op_table.lasting(text), op_table.lasting(written)
    assert text == written, "if this is meant: make golden"


def test_a_table_of_another_onnx_is_still_compared() -> None:
    text = op_table.text()
    short = op_table.lasting(text)
    assert "\n| Softmax ||" in short
    assert "UnaryOp" not in short
    assert op_table.lasting(text.replace("| Softmax |", "| Softmix |")) != short
    assert op_table.version(text) == onnx.__version__


def test_every_operator_is_an_instance() -> None:
    assert OPERATORS
    assert all(isinstance(op, Op) for op in OPERATORS.values())
