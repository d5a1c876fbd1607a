"""Work in place: the same values at every layer as onnx.reference has, and only where it may be."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from ipuc.check.verify import verify_model
from ipuc.codelets.unary import UnaryOp
from ipuc.emulator import run, strict
from ipuc.graph.ir import Graph, Node
from ipuc.pipeline import compile_model, random_inputs
from ipuc.planner.context import Context, Granularity
from ipuc.planner.elementwise import elementwise
from ipuc.profile.exchange import reads, writes
from ipuc.program.builder import Builder
from ipuc.program.family import separable
from ipuc.program.program import Program
from ipuc.target import parse_target
from ipuc.types import TensorType

Array = NDArray[Any]
DRAW = np.random.default_rng(0)
WEIGHTS = {
    "w": DRAW.standard_normal((6, 3, 3, 3)).astype(np.float32),
    "b": DRAW.standard_normal((6, 1, 1)).astype(np.float32),
    "c": DRAW.standard_normal((1, 6, 5, 4)).astype(np.float32),
    "flat": np.array([1, 120]),
    "full": np.array([1, 6, 5, 4]),
}
#: Both make values of shape [1, 6, 5, 4].
MADE = helper.make_node("Mul", ["y", "c"], ["v0"], name="first")
CONV = helper.make_node("Conv", ["x", "w"], ["v1"], name="conv", pads=[1, 1, 1, 1])


@pytest.fixture(autouse=True)
def short_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small values lie in short runs; here they are written over all the same."""
    monkeypatch.setattr("ipuc.program.mapping.RUN_BYTES", 0)


def model(nodes: list[onnx.NodeProto], outputs: list[str]) -> onnx.ModelProto:
    named = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "net",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in (("x", [1, 3, 5, 4]), ("y", [1, 6, 5, 4]))
            if name in named
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(a, name) for name, a in WEIGHTS.items() if name in named],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    return onnx.shape_inference.infer_shapes(made)


def node(op: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), [output], name=f"make {output}", **attributes)


def compiled(net: onnx.ModelProto, granularity: Granularity = "tile", tiles: int = 7) -> Program:
    return compile_model(net, target=parse_target(f"tiny,tiles={tiles}"), granularity=granularity)


def variable(program: Program, value: str) -> int:
    view = program.values[value].view()
    assert view is not None
    return view.variable


def codelets(program: Program) -> set[str]:
    return {family.codelet.name for family in program.families()}


@pytest.mark.parametrize("granularity", ["tile", "worker"])
def test_a_chain_takes_no_memory_of_its_own(granularity: Granularity) -> None:
    nodes = [MADE, node("Add", "v0 b", "v1"), node("Relu", "v1", "v2"), node("Mul", "c v2", "v3")]
    net = model(nodes, ["v3"])
    program = compiled(net, granularity)
    assert len({variable(program, f"v{n}") for n in range(4)}) == 1
    assert codelets(program) == {"BinaryOp", "BinaryOpInPlace", "UnaryOpInPlace"}
    assert verify_model(net, program, random_inputs(program, 0)).ok
    # the vertices stand where the elements are: of a layer with one operand nothing moves
    (relu,) = [s for s in program.compute_sets() if s.families[0].layer == "make v2"]
    assert not reads(program, relu.families).received.any()
    assert not writes(program, relu.families).received.any()


@pytest.mark.parametrize(
    ("why", "nodes", "outputs"),
    [
        ("read later", [MADE, node("Relu", "v0", "v1"), node("Add", "v1 v0", "v2")], "v2"),
        ("an output", [MADE, node("Relu", "v0", "v1")], "v0 v1"),
        (
            "a view is read later",
            [
                MADE,
                node("Reshape", "v0 flat", "v1"),
                node("Relu", "v0", "v2"),
                node("Reshape", "v1 full", "v3"),
                node("Add", "v2 v3", "v4"),
            ],
            "v4",
        ),
        ("an input", [node("Relu", "x", "v1")], "v1"),
        ("both operands are one", [MADE, node("Mul", "v0 v0", "v1")], "v1"),
        ("the smaller operand", [MADE, node("Sub", "b v0", "v1")], "v1"),
        (
            "not a whole variable",
            [MADE, node("Slice", "v0 one two three", "v1"), node("Relu", "v1", "v2")],
            "v2",
        ),
    ],
)
def test_what_must_not_be_written_over(
    why: str, nodes: list[onnx.NodeProto], outputs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bounds = {name: np.array([n]) for name, n in (("one", 1), ("two", 3), ("three", 2))}
    monkeypatch.setattr(f"{__name__}.WEIGHTS", WEIGHTS | bounds)
    net = model(nodes, outputs.split())
    program = compiled(net)
    first = next(n for n in nodes if n.op_type in ("Relu", "Mul", "Sub") and n.name != "first")
    (made,) = [s for s in program.compute_sets() if s.families[0].layer == first.name]
    assert {f.codelet.name for f in made.families} <= {"UnaryOp", "BinaryOp"}, why
    assert verify_model(net, program, random_inputs(program, 0)).ok


def test_a_view_that_nobody_reads_again_does_not_keep_a_value() -> None:
    nodes = [
        MADE,
        node("Transpose", "v0", "v1", perm=[0, 2, 3, 1]),
        node("Relu", "v1", "v2"),
        node("Reshape", "v2 flat", "v3"),
        node("Neg", "v3", "v4"),
    ]
    net = model(nodes, ["v4"])
    program = compiled(net)
    assert variable(program, "v0") == variable(program, "v2")
    assert verify_model(net, program, random_inputs(program, 0)).ok


def test_without_the_layer_before_its_place_is_not_found() -> None:
    """The vertex that is named for a wrong value is the one that made it, not one after it."""
    net = model([MADE, node("Relu", "v0", "v1")], ["v1"])
    program = compiled(net)
    other = model([MADE, node("Relu", "v0", "v1")], ["v1"])
    weights = next(t for t in other.graph.initializer if t.name == "c")
    weights.CopyFrom(numpy_helper.from_array(-WEIGHTS["c"], "c"))
    del program.metadata["sha256"]
    first = verify_model(other, program, random_inputs(program, 0)).first_mismatch
    assert first is not None
    assert (first.layer, first.codelet) == ("first", "BinaryOp")


@pytest.mark.parametrize(("run_bytes", "in_place"), [(8, True), (9, False)])
def test_a_scattered_value_is_put_in_order(
    run_bytes: int, in_place: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four vertices share out the columns of an 8 x 8 matrix: each row of each is two floats."""
    monkeypatch.setattr("ipuc.program.mapping.RUN_BYTES", run_bytes)
    kind = TensorType("float32", (8, 8))
    relu = Node("relu", "Relu", ("v",), ("w",))
    ctx = Context(
        Builder(parse_target("tiny")),
        Graph("net", [], ["w"], {"v": kind, "w": kind}, {}, [relu], 17),
    )
    x, made = (
        ctx.builder.input("x", "float32", (8, 8)),
        ctx.builder.variable("v", "float32", (8, 8)),
    )
    with ctx.builder.compute_set("columns") as columns:
        fields = {"x": ctx.builder.blocks(x, [1, 4]), "out": ctx.builder.blocks(made, [1, 4])}
        columns.add(UnaryOp("neg"), separable(0, [0], range(4)), **fields)
    ctx.builder.values["v"] = made
    found = elementwise(ctx, UnaryOp("relu"), {"x": made}, "float32", "w", ("x",))
    assert (found is made) == in_place


UNARY = ("Relu", "Neg", "Sigmoid", "Tanh")
BINARY = ("Add", "Sub", "Mul", "Max")
VIEWS = ("Identity", "Transpose", "Reshape")


@st.composite
def nets(draw: st.DrawFn) -> onnx.ModelProto:
    """Elementwise layers and views in any order on values made before; some of them outputs."""
    nodes, known = [MADE, CONV], ["v0", "v1"]
    for number in range(2, draw(st.integers(4, 9))):
        op = draw(st.sampled_from((*UNARY, *BINARY, *VIEWS)))
        old, new = draw(st.sampled_from(known)), f"v{number}"
        if op in UNARY or op == "Identity":
            nodes.append(node(op, old, new))
        elif op in BINARY:
            other = draw(st.sampled_from([*known, "b", "c"]))
            nodes.append(node(op, " ".join(draw(st.permutations([old, other]))), new))
        elif op == "Transpose":
            nodes.append(node(op, old, f"{new}t", perm=[0, 1, 3, 2]))
            nodes.append(node("Relu", f"{new}t", f"{new}r"))
            nodes.append(node(op, f"{new}r", new, perm=[0, 1, 3, 2]))
        else:
            nodes.append(node(op, f"{old} flat", f"{new}f"))
            nodes.append(node(op, f"{new}f full", new))
        known.append(new)
    more = draw(st.lists(st.sampled_from(known), max_size=2))
    return model(nodes, sorted({known[-1], *more}))


@settings(max_examples=40, deadline=None)
@given(net=nets(), granularity=st.sampled_from(["tile", "worker", "fine"]), tiles=st.integers(1, 9))
def test_every_value_of_every_net(
    net: onnx.ModelProto, granularity: Granularity, tiles: int
) -> None:
    """Float32, few operations: onnx.reference's values within a few units of 2**-24."""
    program = compiled(net, granularity, tiles)
    inputs = random_inputs(program, 0)
    seen = model(list(net.graph.node), [o for n in net.graph.node for o in n.output])
    names = [one.name for one in seen.graph.output]
    wanted = dict(zip(names, ReferenceEvaluator(seen).run(names, inputs), strict=True))
    for mode in (run, strict):
        outputs, values = mode.run_values(program, inputs)
        for name, found in {**values, **outputs}.items():
            if name in wanted:
                np.testing.assert_allclose(found, wanted[name], rtol=2e-5, atol=2e-5)
