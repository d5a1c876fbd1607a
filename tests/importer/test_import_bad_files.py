"""Every bad file gets one clear error; nothing crashes, nothing large is allocated."""

from __future__ import annotations

import random
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from ipuc.errors import ImportFailure, IpucError, TooLarge, UnsupportedOp
from ipuc.importer.inspect import inspect_model
from ipuc.importer.load import load

SMALL = """<ir_version: 8, opset_import: ["" : 17]> g (float[2,3] x) => (float[2,3] y)
<float[3] w = {1, 2, 3}> { a = Add(x, w) y = Relu(a) }"""


def _one_node(op: str, constants: dict[str, np.ndarray], inputs: list[str]) -> onnx.ModelProto:
    """One node that reads the graph input x or constants; its output y has an unknown shape."""
    graph = helper.make_graph(
        [helper.make_node(op, inputs, ["y"], name="big")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])],
        [onnx.ValueInfoProto(name="y", type=helper.make_tensor_type_proto(1, None))],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


def _huge(n: int) -> np.ndarray:
    return np.array([n], np.int64)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "empty"),
        (b"hello, this is a text file\n" * 20, "text file"),
        (b"<!DOCTYPE html><html><body>404</body></html>" * 3, "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "Git LFS"),
        (b"\x89HDF\r\n\x1a\n" + bytes(64), "Keras"),
        (b"\x1c\x00\x00\x00TFL3" + bytes(64), "TensorFlow Lite"),
        (b"PK\x03\x04" + bytes(64), "PyTorch"),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00" + b'{"a":{"dtype":"F32"}}', "safetensors"),
        (bytes(range(256)), "not an ONNX model"),
    ],
)
def test_foreign_content_is_named(tmp_path: Path, content: bytes, word: str) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ImportFailure, match=word) as caught:
        load(path)
    assert str(path) in caught.value.where
    assert caught.value.fix


@pytest.mark.parametrize(
    ("suffix", "line"),
    [
        (".pt", "torch.onnx.export("),
        (".pth", "torch.onnx.export("),
        (".safetensors", "load_file("),
        (".h5", "tf2onnx.convert --saved-model"),
        (".keras", "tf2onnx.convert --saved-model"),
        (".tflite", "tf2onnx.convert --tflite net.tflite"),
        (".pb", "tf2onnx.convert --graphdef net.pb"),
    ],
)
def test_other_frameworks_get_the_lines_that_export(tmp_path: Path, suffix: str, line: str) -> None:
    path = tmp_path / f"net{suffix}"
    path.write_bytes(b"\x01" * 100)
    with pytest.raises(ImportFailure) as caught:
        load(path)
    assert line in caught.value.fix
    assert "net.onnx" in caught.value.fix


def test_a_file_of_another_name_is_not_told_to_overwrite_itself(tmp_path: Path) -> None:
    path = tmp_path / "q.onnx"
    path.write_bytes(b"\x1c\0\0\0TFL3" + bytes(50))
    with pytest.raises(ImportFailure, match="TensorFlow Lite") as caught:
        load(path)
    assert "--tflite q.onnx --output q-converted.onnx" in caught.value.fix


def test_a_missing_file_names_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "alexnet.onnx").write_bytes(b"x")
    with pytest.raises(ImportFailure, match="no such file") as caught:
        load(tmp_path / "alexnt.onnx")
    assert "alexnet.onnx" in caught.value.fix
    with pytest.raises(ImportFailure, match="folder"):
        load(tmp_path)


def test_every_truncation_is_one_clear_error(tmp_path: Path) -> None:
    whole = parser.parse_model(SMALL).SerializeToString()
    path = tmp_path / "cut.onnx"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ImportFailure):
            load(path)


def test_flipped_bytes_never_crash(tmp_path: Path) -> None:
    """Fuzz: whatever the bytes, the outcome is a graph or one of our errors."""
    whole = parser.parse_model(SMALL).SerializeToString()
    path = tmp_path / "m.onnx"
    dice = random.Random(5)
    refused = 0
    for _ in range(300):
        data = bytearray(whole)
        data[dice.randrange(len(data))] = dice.randrange(256)
        path.write_bytes(data)
        for read in (load, inspect_model):
            try:
                read(path)
            except IpucError as error:
                refused += 1
                assert error.what  # noqa: PT017 - some flips are harmless and raise nothing
    assert refused > 100


@pytest.mark.parametrize(
    "model",
    [
        _one_node("ConstantOfShape", {"s": np.array([10**9, 10**4], np.int64)}, ["s"]),
        _one_node("ConstantOfShape", {"s": np.array([1 << 40, 1 << 40], np.int64)}, ["s"]),
        _one_node("Expand", {"c": np.ones(1, np.float32), "s": _huge(10**13)}, ["c", "s"]),
        _one_node("Tile", {"c": np.ones(4, np.float32), "s": _huge(1 << 62)}, ["c", "s"]),
        _one_node("Pad", {"c": np.ones(4, np.float32), "s": _huge(10**13).repeat(2)}, ["c", "s"]),
        _one_node(
            "Range",
            {k: np.array(v, np.float32) for k, v in (("a", 0), ("b", 1e30), ("c", 1))},
            ["a", "b", "c"],
        ),
        _one_node("Expand", {"s": np.array([10**13, 1], np.int64)}, ["x", "s"]),
    ],
    ids=["shape", "shape-overflow", "expand", "tile-overflow", "pad", "range", "data-expand"],
)
def test_a_small_file_that_asks_for_terabytes(tmp_path: Path, model: onnx.ModelProto) -> None:
    path = tmp_path / "bomb.onnx"
    onnx.save(model, path)
    assert path.stat().st_size < 4096
    tracemalloc.start()
    with pytest.raises(TooLarge) as caught:
        load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6
    assert "--max-bytes" in caught.value.fix


def test_many_constants_count_together() -> None:
    nodes = "".join(f"c{k} = ConstantOfShape(s)\n" for k in range(5))
    model = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[1] x) => (float[250000] y) '
        f"<int64[1] s = {{250000}}> {{ {nodes} y = Sum(x, c0, c1, c2, c3, c4) }}"
    )
    assert len(load(model, max_bytes=5_100_000).constants) == 5
    with pytest.raises(TooLarge, match="constants of this model"):
        load(model, max_bytes=4_900_000)


def _initializer(**fields: object) -> onnx.ModelProto:
    model = parser.parse_model(SMALL)
    tensor = model.graph.initializer[0]
    for name, value in fields.items():
        tensor.ClearField(name)
        if isinstance(value, list):
            getattr(tensor, name).extend(value)
        else:
            setattr(tensor, name, value)
    return model


@pytest.mark.parametrize(
    ("model", "error", "word"),
    [
        (_initializer(dims=[10**12]), TooLarge, "alone takes 4 TB"),
        (_initializer(dims=[4]), ImportFailure, "needs 4 values, the file holds 3"),
        (_initializer(dims=[-3]), ImportFailure, "negative dimension"),
        (
            _initializer(float_data=[], raw_data=b"123"),
            ImportFailure,
            "needs 12 bytes, the file holds 3",
        ),
        (_initializer(data_type=0), ImportFailure, "unknown element type"),
        (_initializer(data_type=99), ImportFailure, "unknown element type"),
    ],
)
def test_damaged_initializers(model: onnx.ModelProto, error: type[IpucError], word: str) -> None:
    with pytest.raises(error, match=re.escape(word)) as caught:
        load(model)
    assert 'tensor "w"' in caught.value.where


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (SMALL.replace("17", "99"), "operator set 99"),
        (SMALL.replace("Relu(a)", "Relu(b)"), "not output of any previous"),
        (SMALL.replace("a = Add(x, w)", "a = Add(x)"), "breaks a rule of ONNX"),
        (SMALL.replace("a = Add(x, w)", "a = Add(x, w) a = Relu(x)"), "breaks a rule of ONNX"),
    ],
)
def test_models_that_break_rules(text: str, word: str) -> None:
    with pytest.raises(ImportFailure, match=word) as caught:
        load(parser.parse_model(text))
    assert caught.value.fix
    assert len(caught.value.what.splitlines()) == 1


def test_all_unknown_operators_are_listed_at_once() -> None:
    model = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17, "com.acme" : 1]> g (float[2] x) => (float[2] y)
        { a = Relo(x) b = com.acme.Magic(x) c = Relu(b) d = LSTM_(c) y = Add(a, d) }"""
    )
    with pytest.raises(UnsupportedOp) as caught:
        load(model)
    for word in ("3 nodes", "Relo", "did you mean Relu", "com.acme", "LSTM_"):
        assert word in caught.value.what


def _external(tmp_path: Path, **entries: str) -> Path:
    """Save a model whose weight lies in w.data, then overwrite entries of its location."""
    model = parser.parse_model(SMALL)
    tensor = model.graph.initializer[0]
    tensor.CopyFrom(numpy_helper.from_array(np.array([1, 2, 3], np.float32), "w"))
    (tmp_path / "w.data").write_bytes(bytes(8) + tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "w.data", "offset": "8", "length": "12", **entries}.items():
        tensor.external_data.add(key=key, value=value)
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_external_data_is_read(tmp_path: Path) -> None:
    graph = load(_external(tmp_path))
    np.testing.assert_array_equal(graph.constants["w"], np.array([1, 2, 3], np.float32))


def _remove(folder: Path) -> None:
    (folder / "w.data").unlink()


def _link(folder: Path) -> None:
    outside = folder.parent / "outside.data"
    (folder / "w.data").rename(outside)
    (folder / "w.data").symlink_to(outside)


@pytest.mark.parametrize(
    ("entries", "prepare", "word"),
    [
        ({}, _remove, "missing"),
        ({}, _link, "link"),
        ({"location": "../w.data"}, None, "points outside the model's folder"),
        ({"location": "a/../../w.data"}, None, "points outside the model's folder"),
        ({"location": "/etc/hostname"}, None, "points outside the model's folder"),
        ({"location": "C:\\w.data"}, None, "points outside the model's folder"),
        ({"location": ""}, None, "points outside the model's folder"),
        ({"offset": "12"}, None, "beyond the end"),
        ({"offset": "-1"}, None, 'offset is "-1"'),
        ({"length": "9" * 30}, None, "length is"),
        ({"length": "13"}, None, "needs 12 bytes"),
    ],
)
def test_external_data_that_cannot_be_trusted(
    tmp_path: Path,
    entries: dict[str, str],
    prepare: Callable[[Path], None] | None,
    word: str,
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    path = _external(folder, **entries)
    if prepare is not None:
        prepare(folder)
    with pytest.raises(ImportFailure, match=re.escape(word)) as caught:
        load(path)
    assert 'tensor "w"' in caught.value.where


def test_external_data_inside_a_node_is_held_to_the_same_rules(tmp_path: Path) -> None:
    model = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (float[2] y) { y = Add(x, c) }'
    )
    tensor = TensorProto(name="t", data_type=1, dims=[2], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="/etc/hostname")
    model.graph.node.insert(0, helper.make_node("Constant", [], ["c"], value=tensor))
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ImportFailure, match="outside the model's folder"):
        load(path)


def test_external_data_without_a_folder(tmp_path: Path) -> None:
    model = onnx.load(_external(tmp_path), load_external_data=False)
    with pytest.raises(ImportFailure, match="no folder is known"):
        load(model)


def test_a_file_over_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(parser.parse_model(SMALL), path)
    with pytest.raises(TooLarge):
        load(path, max_bytes=50)


def _functions(count: int) -> onnx.ModelProto:
    """Functions that each call the one before twice; the first is Relu."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("my", 1)]
    functions = []
    for at in range(count):
        op, domain = (f"F{at - 1}", "my") if at else ("Relu", "")
        nodes = [
            helper.make_node(op, ["a"], ["t"], domain=domain),
            helper.make_node(op, ["t"], ["b"], domain=domain),
        ]
        functions.append(helper.make_function("my", f"F{at}", ["a"], ["b"], nodes, opsets))
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy"]
    node = helper.make_node(f"F{count - 1}", ["x"], ["y"], domain="my")
    graph = helper.make_graph([node], "g", info[:1], info[1:])
    return helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=8)


def test_functions_that_would_make_too_many_nodes() -> None:
    """Opening them would take hours and all memory."""
    for count, words in ((30, "1.074e.09 nodes"), (90, "1.238e.27 nodes")):
        with pytest.raises(TooLarge, match=words):
            load(_functions(count))


def test_functions_within_the_limit_are_opened() -> None:
    assert len(load(_functions(8)).nodes) == 256
