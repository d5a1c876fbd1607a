"""The stages as functions: what a compiled program says of itself, and what inputs it is given."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import ipuc
from ipuc import zoo
from ipuc.backend import IpucBackend
from ipuc.errors import OptionError, ShapeError, UnsupportedOp
from ipuc.graph.infer import UndecidedShape
from ipuc.ops.define import operators
from ipuc.pipeline import compile_model, random_input, random_inputs, run_program
from ipuc.program.save import save
from ipuc.target import parse_target
from ipuc.types import TensorType

TARGET = parse_target("gc200,tiles=24")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return zoo.write("digits", tmp_path_factory.mktemp("models") / "digits.onnx")


def test_metadata_say_what_was_compiled_and_how(path: Path) -> None:
    told = compile_model(path, target=TARGET, granularity="worker").metadata
    assert told["model"] == "digits"
    assert told["file"] == "digits.onnx"
    assert told["path"] == str(path.resolve())
    assert told["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert told["ipuc"] == ipuc.__version__
    assert (told["granularity"], told["precision"]) == ("worker", "float32")
    assert told["training"] is False
    assert set(told["seconds"]) == {"load", "passes", "lower"}
    assert all(seconds >= 0 for seconds in told["seconds"].values())
    assert told["model_metadata"]["ipuc.image"] == "digits"
    json.dumps(told, allow_nan=False)


def test_two_compilations_give_the_same_bytes(path: Path, tmp_path: Path) -> None:
    files = [tmp_path / "a.ipu", tmp_path / "b.ipu"]
    for file in files:
        program = compile_model(path, target=TARGET)
        assert program.metadata["seconds"]  # what differs is known, and not saved
        save(program, file)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_model_in_memory_has_no_file(path: Path) -> None:
    told = compile_model(onnx.load(path), target=TARGET).metadata
    assert (told["file"], told["path"], told["sha256"]) == (None, None, None)


def test_graph_text_is_the_op_graph_without_its_weights(path: Path) -> None:
    program = compile_model(path, target=TARGET)
    graph = json.loads(program.graph_text)
    model = onnx.load(path)
    assert [node["op"] for node in graph["nodes"]] == [node.op_type for node in model.graph.node]
    assert [node["name"] for node in graph["nodes"]] == [layer.name for layer in program.layers]
    assert graph["values"]["conv1.weight"] == ["float32", [16, 1, 3, 3]]
    assert graph["nodes"][0]["attributes"]["pads"] == [1, 1, 1, 1]
    assert len(program.graph_text) < path.stat().st_size / 4


def test_weights_exist_once_beside_the_program(tmp_path: Path) -> None:
    """After a compile, Python holds one copy of the weights and little else."""
    weights = np.ones((1024, 2048), np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "large",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1024])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    onnx.save_model(model, tmp_path / "large.onnx")
    compile_model(tmp_path / "large.onnx", target=TARGET)  # whatever is imported once
    tracemalloc.start()
    try:
        program = compile_model(tmp_path / "large.onnx", target=TARGET)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(array.nbytes for array in program.constants.values()) >= weights.nbytes
    assert held < 1.25 * weights.nbytes


def test_batch_and_shapes_settle_open_dimensions() -> None:
    model = zoo.build("digits", batch=None)
    with pytest.raises(ShapeError, match="open"):
        compile_model(model, target=TARGET)
    by_batch = compile_model(model, target=TARGET, batch=3)
    by_shape = compile_model(model, target=TARGET, shapes={"input": (3, 1, 8, 8)})
    assert by_batch.inputs == by_shape.inputs == {"input": TensorType("float32", (3, 1, 8, 8))}
    inputs = random_inputs(by_batch, 0)
    one, other = run_program(by_batch, inputs), run_program(by_shape, inputs)
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_progress_tells_every_stage_from_begin_to_end(path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    compile_model(path, target=TARGET, progress=lambda *args: seen.append(args))
    assert list(dict.fromkeys(stage for stage, _, _ in seen)) == ["load", "passes", "lower"]
    for stage in ("load", "passes", "lower"):
        done = [at / of for name, at, of in seen if name == stage]
        assert done[0] == 0.0
        assert done[-1] == 1.0


def test_unknown_granularity_is_refused(path: Path) -> None:
    with pytest.raises(OptionError, match="no granularity"):
        compile_model(path, target=TARGET, granularity="atom")  # type: ignore[arg-type]


def shaped_by(op: str, first: list[int]) -> onnx.ModelProto:
    """A model with one node whose second input decides the shape of the output."""
    graph = helper.make_graph(
        [helper.make_node(op, ["x", "n"], ["y"], name="node")],
        "shaped",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, first),
            helper.make_tensor_value_info("n", TensorProto.INT64, [1]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


@pytest.mark.parametrize("op", ["Reshape", "Expand", "Unsqueeze"])
def test_an_input_that_decides_a_shape_is_named(op: str) -> None:
    with pytest.raises(UndecidedShape) as caught:
        compile_model(shaped_by(op, [4]), target=TARGET)
    assert caught.value.values == ("n",)
    assert "--const n=" in caught.value.fix


def test_what_only_an_op_file_wants_to_know_is_traced_to_the_input(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """ONNX lets the second operand of Add vary; an op file may ask for more than ONNX does."""
    graph = helper.make_graph(
        [
            helper.make_node("Neg", ["b"], ["c"], name="neg"),
            helper.make_node("Add", ["a", "c"], ["y"], name="add"),
        ],
        "chain",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [3]) for name in "ab"],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    monkeypatch.setattr(type(operators()["", "Add"]), "shape_inputs", (1,))
    with pytest.raises(UndecidedShape) as caught:
        compile_model(model, target=TARGET)
    assert caught.value.values == ("b",)
    assert '"add"' in caught.value.where
    values = [np.ones(3, np.float32), np.arange(3, dtype=np.float32)]
    rep = IpucBackend.prepare(model)
    np.testing.assert_array_equal(rep.run(values)[0], [1, 0, -1])
    assert rep.specialised == ("b",)


def test_every_operator_that_cannot_be_compiled_is_named_at_once() -> None:
    nodes = [
        helper.make_node("Det", ["x"], ["a"], name="first"),
        helper.make_node("Relu", ["x"], ["b"], name="good"),
        helper.make_node("Inverse", ["x"], ["c"], name="second"),
    ]
    graph = helper.make_graph(
        nodes,
        "bad",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 2])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in "abc"],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    with pytest.raises(UnsupportedOp) as caught:
        compile_model(model, target=TARGET)
    assert '"first"' in caught.value.what
    assert '"second"' in caught.value.what
    assert '"good"' not in caught.value.what


@given(
    st.sampled_from(["float32", "float16", "bool", "int8", "int32", "int64"]),
    st.lists(st.integers(0, 5), max_size=4),
    st.integers(0, 2**40),
)
def test_random_inputs_have_the_type_asked_for_and_repeat(
    dtype: str, shape: list[int], seed: int
) -> None:
    kind = TensorType(dtype, tuple(shape))
    made = random_input(kind, seed, "x")
    assert (made.dtype.name, made.shape) == (dtype, kind.shape)
    np.testing.assert_array_equal(made, random_input(kind, seed, "x"))
    if dtype.startswith("int"):
        assert bool(((made >= 0) & (made < 10)).all())
    assert bool(np.isfinite(made.astype(np.float64)).all())


def test_random_inputs_depend_on_seed_and_name() -> None:
    kind = TensorType("float32", (100,))
    made = [random_input(kind, 0, "a"), random_input(kind, 1, "a"), random_input(kind, 0, "b")]
    assert len({array.tobytes() for array in made}) == 3
    assert abs(float(made[0].mean())) < 0.5  # four deviations of the mean of 100 would be 0.4
    with pytest.raises(OptionError, match="seed"):
        random_input(kind, -1)
