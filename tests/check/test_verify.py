"""Verification names what is wrong; mutations of a sound program are the test.

onnxruntime (or onnx.reference) gives the values; a loop over single vertices and elements is the
oracle for where an element is made.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from ipuc import zoo
from ipuc.check import verify_model
from ipuc.check.locate import locate
from ipuc.codelets.binary import BinaryOp
from ipuc.emulator.machine import tensor_values
from ipuc.errors import OptionError, ProgramError
from ipuc.pipeline import compile_model, random_inputs
from ipuc.program.builder import Builder
from ipuc.program.family import Access, IndexMap, VertexFamily
from ipuc.program.program import Program
from ipuc.program.steps import ComputeSet, Execute, Sequence, Sweep
from ipuc.target import parse_target

TARGET = parse_target("gc200,tiles=24")


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return zoo.build("digits")


@pytest.fixture
def program(model: onnx.ModelProto) -> Program:
    return compile_model(model, target=TARGET)


def elements(access: Access, vertex: int) -> set[int]:
    """Elements that one vertex touches, one at a time."""
    begin = int(access.offset.dense().ravel()[vertex])
    found = set()
    for index in np.ndindex(*access.shape):
        found.add(begin + sum(i * s for i, s in zip(index, access.strides, strict=True)))
    return found


def makers(program: Program, variable: int, element: int) -> list[tuple[str, int, int]]:
    """Compute set, tile and vertex of everything that writes an element, in program order."""
    found = []
    for compute_set in program.compute_sets():
        first = 0
        for family in compute_set.families:
            for spec in family.codelet.fields:
                access = family.fields[spec.name]
                if spec.writes and access.variable == variable:
                    found += [
                        (compute_set.name, int(family.tile.dense().ravel()[v]), first + v)
                        for v in range(family.count)
                        if element in elements(access, v)
                    ]
            first += family.count
    return found


def replace_set(program: Program, old: ComputeSet, new: ComputeSet) -> None:
    def swap(step: Any) -> Any:
        hit = isinstance(step, Execute | Sweep) and step.compute_set is old
        return type(step)(new) if hit else step

    program.main = Sequence(tuple(swap(step) for step in program.main.steps))


def set_of(program: Program, layer: str) -> ComputeSet:
    """The last compute set of a layer."""
    return [one for one in program.compute_sets() if any(f.layer == layer for f in one.families)][
        -1
    ]


def test_a_sound_program_agrees_at_every_layer(model: onnx.ModelProto, program: Program) -> None:
    report = verify_model(model, program, random_inputs(program, 0))
    assert report.ok
    assert report.first_mismatch is None
    assert report.reference.startswith("onnxruntime")
    assert [(layer.name, layer.op) for layer in report.layers] == [
        (node.name, node.op_type) for node in model.graph.node
    ]
    assert all(layer.max_rel < 1e-6 for layer in report.layers)


def test_the_reference_evaluator_can_be_asked_instead(
    model: onnx.ModelProto, program: Program
) -> None:
    report = verify_model(model, program, random_inputs(program, 0), "onnx")
    assert report.ok
    assert report.reference.startswith("onnx.reference")
    assert len(report.layers) == len(model.graph.node)


def test_one_wrong_weight_is_traced_to_layer_set_tile_and_vertex(
    model: onnx.ModelProto, program: Program
) -> None:
    """A weight of output channel 3 changes that channel first, in its own layer."""
    (number,) = [v.id for v in program.variables if v.name == "conv2.weight"]
    weights = program.constants[number].copy()
    channel = program.values["conv2.weight"].slice(0, 3, 4)
    numbers = tensor_values(channel, lambda _: np.arange(weights.size))
    weights[numbers.astype(np.int64)] += 1.0
    program.constants[number] = weights
    report = verify_model(model, program, random_inputs(program, 0))
    first = report.first_mismatch
    assert first is not None
    assert not report.ok
    assert (first.layer, first.value, first.element // 16) == ("conv2", "conv2", 3)
    view = program.values["conv2"].view()
    assert view is not None
    mine = {s.name for s in program.compute_sets() if s.families[0].layer == "conv2"}
    made = [one for one in makers(program, view.variable, first.element) if one[0] in mine]
    assert made[-1] == (first.compute_set, first.tile, first.vertex)
    assert [layer.ok for layer in report.layers[:3]] == [True, True, True]


@pytest.mark.parametrize("layer", ["pool1", "pool2"])
@pytest.mark.parametrize("which", [0, 5, -1])
def test_one_shifted_field_is_traced_to_its_vertex(
    model: onnx.ModelProto, program: Program, layer: str, which: int
) -> None:
    compute_set = set_of(program, layer)
    family = compute_set.families[0]
    vertex = which % family.count
    field = next(spec.name for spec in family.codelet.fields if not spec.writes)
    access = family.fields[field]
    offsets = access.offset.dense().copy()
    offsets.flat[vertex] += 1 if vertex == 0 else -1
    moved = dataclasses.replace(access, offset=IndexMap(0, explicit=offsets))
    mutant = VertexFamily(
        family.codelet, family.grid, family.tile, {**family.fields, field: moved}, family.origins
    )
    families = (mutant, *compute_set.families[1:])
    replace_set(program, compute_set, ComputeSet(compute_set.name, families))
    first = verify_model(model, program, random_inputs(program, 0)).first_mismatch
    assert first is not None
    assert (first.layer, first.compute_set, first.vertex) == (layer, compute_set.name, vertex)
    assert first.tile == int(family.tile.dense().ravel()[vertex])
    assert first.codelet == family.codelet.name


def test_a_program_that_breaks_a_rule_is_not_run(model: onnx.ModelProto, program: Program) -> None:
    program.variables[0].mapping = None
    with pytest.raises(ProgramError, match="not mapped"):
        verify_model(model, program, random_inputs(program, 0))


def test_places_agree_with_a_loop_over_all_vertices(program: Program) -> None:
    for value in ("conv1", "pool1", "output"):
        tensor = program.values[value]
        view = tensor.view()
        assert view is not None
        for element in range(0, tensor.size, max(1, tensor.size // 7)):
            place = locate(program, tensor, element)
            made = makers(program, view.variable, view.offset + element)
            assert made[-1] == (place.compute_set, place.tile, place.vertex), (value, element)


def test_the_last_superstep_of_a_sweep_made_an_element_that_all_write() -> None:
    graph = Builder(TARGET)
    x, y = graph.input("x", "float32", (3, 2)), graph.variable("y", "float32", (2,))
    with graph.compute_set("sum", sweep=True) as work:
        total = graph.field(y, [[0] * 3], (2,))
        rows = graph.field(x, [[0, 2, 4]], (2,))
        work.add(BinaryOp("add"), [5, 6, 7], a=rows, b=total, out=total)
    graph.map_rest()
    place = locate(graph.build(), y, 1)
    assert (place.compute_set, place.tile, place.vertex) == ("sum", 7, 2)


def moving_model() -> onnx.ModelProto:
    """Relu, then padding and slicing: y[0] and y[5] are filled, the rest is copied."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [6])
    pads = helper.make_tensor("pads", TensorProto.INT64, [2], [1, 1])
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], name="relu"),
        helper.make_node("Pad", ["r", "pads"], ["y"], name="pad"),
    ]
    graph = helper.make_graph(nodes, "moving", [x], [y], [pads])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def test_an_element_is_followed_through_views_and_copies_to_its_vertex() -> None:
    program = compile_model(moving_model(), target=TARGET)
    tensor = program.values["y"]
    places = [locate(program, tensor, element) for element in range(6)]
    assert [place.vertex is None for place in places] == [True, *[False] * 4, True]
    assert {place.compute_set for place in places[1:5]} == {set_of(program, "relu").name}


def test_report_is_json_even_where_numbers_are_infinite(
    model: onnx.ModelProto, program: Program
) -> None:
    inputs = random_inputs(program, 0)
    (number,) = [v.id for v in program.variables if v.name == "conv1.bias"]
    program.constants[number] = np.full_like(program.constants[number], np.nan)
    report = verify_model(model, program, inputs)
    told = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert told["ok"] is False
    assert told["layers"][0]["max_abs"] is None
    assert told["first_mismatch"]["layer"] == "conv1"
    assert {"layer", "compute_set", "tile", "vertex"} <= told["first_mismatch"].keys()


def test_a_missing_or_changed_model_file_is_said_clearly(tmp_path: Path) -> None:
    path = zoo.write("digits", tmp_path / "digits.onnx")
    program = compile_model(path, target=TARGET)
    inputs = random_inputs(program, 0)
    assert verify_model(path, program, inputs).ok
    zoo.write("digits", path, seed=1)
    with pytest.raises(OptionError, match="has changed"):
        verify_model(path, program, inputs)
    path.unlink()
    with pytest.raises(OptionError, match="not there"):
        verify_model(path, program, inputs)


def test_external_data_are_found_and_belong_to_the_model(tmp_path: Path) -> None:
    path = tmp_path / "apart.onnx"
    onnx.save_model(
        zoo.build("digits"), path, save_as_external_data=True, location="w.bin", size_threshold=0
    )
    program = compile_model(path, target=TARGET)
    inputs = random_inputs(program, 0)
    for engine in ("onnxruntime", "onnx"):
        assert verify_model(path, program, inputs, engine).ok
    data = bytearray((tmp_path / "w.bin").read_bytes())
    data[7] ^= 1
    (tmp_path / "w.bin").write_bytes(data)
    with pytest.raises(OptionError, match="has changed"):
        verify_model(path, program, inputs)


def test_an_unknown_reference_is_refused(model: onnx.ModelProto, program: Program) -> None:
    with pytest.raises(OptionError, match="no reference is called"):
        verify_model(model, program, random_inputs(program, 0), "torch")  # type: ignore[arg-type]


def test_a_specialised_value_must_be_given_again() -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])
    shape = helper.make_tensor_value_info("shape", TensorProto.INT64, [1])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    node = helper.make_node("Reshape", ["x", "shape"], ["y"], name="reshape")
    graph = helper.make_graph([node], "shaping", [x, shape], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    values: dict[str, NDArray[Any]] = {"shape": np.array([6], np.int64)}
    program = compile_model(model, target=TARGET, constants=values)
    inputs = random_inputs(program, 0)
    assert list(inputs) == ["x"]
    assert verify_model(model, program, inputs, constants=values).ok
    with pytest.raises(OptionError, match="value of shape"):
        verify_model(model, program, inputs)
