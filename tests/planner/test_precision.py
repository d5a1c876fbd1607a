"""Number formats by layer: patterns, what lies where in which type, and the casts in between."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ipuc.codelets.cast import Cast
from ipuc.codelets.conv_partial import ConvPartial
from ipuc.codelets.matmul_partial import MatMulPartial
from ipuc.codelets.reduce_add import ReduceAdd
from ipuc.errors import OptionError
from ipuc.pipeline import compile_model
from ipuc.planner.precision import FORMATS, Precision, parse_precision
from ipuc.profile.cycles import compute_cycles
from ipuc.program.program import Program
from ipuc.target import parse_target


def net(size: int = 200) -> onnx.ModelProto:
    """relu, two products that share their weights, and their sum."""
    weights = np.linspace(-1, 1, size * size).astype(np.float32).reshape(size, size)
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], name="first"),
        helper.make_node("MatMul", ["r", "w"], ["a"], name="left"),
        helper.make_node("MatMul", ["r", "w"], ["b"], name="right"),
        helper.make_node("Add", ["a", "b"], ["y"], name="last"),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, size])],
        [numpy_helper.from_array(weights, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def compiled(precision: str) -> Program:
    return compile_model(net(), target=parse_target("gc200"), precision=precision)


def types(program: Program) -> dict[str, str]:
    return {name: tensor.dtype for name, tensor in program.values.items()}


def test_the_last_rule_that_fits_holds() -> None:
    found = parse_precision("mixed, conv*=float32 ,conv1=float16")
    formats = {layer: found.of(layer).name for layer in ("fc", "conv1", "conv2")}
    assert formats == {"fc": "mixed", "conv1": "float16", "conv2": "float32"}
    assert str(found) == "mixed,conv*=float32,conv1=float16"
    assert parse_precision(str(found)) == found
    assert Precision().of("anything") is FORMATS["float32"]


def test_a_name_may_hold_an_equals_sign() -> None:
    assert parse_precision("mixed,a=b=float32").of("a=b").name == "float32"


@pytest.mark.parametrize(
    "text", ["", "half", "mixed,", "mixed,conv", "mixed,=float32", "float32,a="]
)
def test_bad_texts(text: str) -> None:
    with pytest.raises(OptionError):
        parse_precision(text)


def test_a_rule_must_fit_a_layer() -> None:
    with pytest.raises(OptionError, match='no layer fits "lfet"') as caught:
        compiled("mixed,lfet=float32")
    assert "left" in caught.value.fix


def test_float32_is_the_default_and_adds_no_vertices() -> None:
    program = compile_model(net(), target=parse_target("gc200"))
    assert {v.dtype for v in program.variables} == {"float32"}
    assert not [f for f in program.families() if isinstance(f.codelet, Cast)]
    assert program.metadata["precision"] == "float32"


def test_halves_everywhere_but_for_the_host() -> None:
    program = compiled("mixed")
    assert set(types(program).values()) == {"float16"}
    assert {kind.dtype for kind in (*program.inputs.values(), *program.outputs.values())} == {
        "float32"
    }
    assert not [f for f in program.families() if isinstance(f.codelet, Cast)]


def test_layers_of_another_format_get_casts_and_constants_of_their_own() -> None:
    program = compiled("mixed,right=float32")
    found = types(program)
    assert (found["r"], found["a"], found["b"], found["y"]) == (
        "float16",
        "float16",
        "float32",
        "float16",
    )
    casts = {
        (f.codelet.source, f.codelet.to, f.origins[0].layer)
        for f in program.families()
        if isinstance(f.codelet, Cast)
    }
    assert casts == {("float16", "float32", "right"), ("float32", "float16", "last")}
    weights = {
        program.variables[id_].name: values.dtype.name
        for id_, values in program.constants.items()
        if values.size == 200 * 200
    }
    assert weights == {"w": "float16", "w as float32": "float32"}


def test_an_input_arrives_in_the_widest_format_that_is_wanted() -> None:
    assert types(compiled("mixed,first=float32"))["x"] == "float32"
    assert types(compiled("float32,first=mixed"))["x"] == "float16"


@pytest.mark.parametrize(("precision", "sums"), [("mixed", "float32"), ("float16", "float16")])
def test_partial_sums_have_the_formats_type(precision: str, sums: str) -> None:
    deep = net(1000)  # worth splitting along its depth
    program = compile_model(deep, target=parse_target("gc200"), precision=precision)
    partials = [v for v in program.variables if v.name.endswith("partials")]
    assert partials
    assert {v.dtype for v in partials} == {sums}
    for family in program.families():
        if isinstance(family.codelet, ConvPartial | MatMulPartial | ReduceAdd):
            assert family.codelet.partials == sums


def test_halves_cost_fewer_planned_cycles() -> None:
    def planned(precision: str) -> int:
        return sum(
            layer.plan["chosen"]["cycles"] for layer in compiled(precision).layers if layer.plan
        )

    assert max(planned("float16"), planned("mixed")) < planned("float32")


@pytest.mark.parametrize("precision", ["mixed", "float16", "float32"])
def test_planned_compute_is_what_the_profile_finds(precision: str) -> None:
    """Sums wider than the operands do not make a vertex dear."""
    program = compiled(precision)
    plans = {layer.name: layer.plan["chosen"]["costs"] for layer in program.layers if layer.plan}
    for compute_set in program.compute_sets():
        codelet = compute_set.families[0].codelet
        layer = compute_set.families[0].origins[0].layer
        found = int(compute_cycles(program, compute_set).max())
        if isinstance(codelet, MatMulPartial):
            assert plans[layer]["compute"] == found
        elif isinstance(codelet, ReduceAdd):
            assert plans[layer]["reduce"] == found
