"""Number formats on the command line: what is written down, reported and refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from cli_models import Run
from onnx import TensorProto, helper, numpy_helper

from ipuc.npz import read_arrays

#: y = 3e4 * x + 25000; the largest half is 65504.
SCALE, SHIFT = 3e4, 25e3


@pytest.fixture
def large(folder: Path) -> Path:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])
    weights = [
        numpy_helper.from_array(np.array([value], np.float32), name)
        for name, value in (("scale", SCALE), ("shift", SHIFT))
    ]
    nodes = [
        helper.make_node("Mul", ["x", "scale"], ["m"], name="grow"),
        helper.make_node("Add", ["m", "shift"], ["y"], name="move"),
    ]
    graph = helper.make_graph(nodes, "large", [x], [y], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 10
    path = folder / "large.onnx"
    onnx.save(model, path)
    np.save("x.npy", np.array([[0, 1, 2], [3, -3, 0.5]], np.float32))
    return path


def test_compile_records_the_formats_and_run_keeps_them(ipuc: Run, large: Path) -> None:
    done = ipuc("compile", large, "--target", "tiny", "--precision", "mixed,move=float32")
    assert done.code == 0, done.err
    assert "mixed,move=float32" in done.out
    facts = ipuc("info", "large.ipu", "--json").json()
    assert facts["precision"] == "mixed,move=float32"
    assert (facts["stochastic_rounding"], facts["saturate"]) == (None, False)
    found = ipuc("run", "large.ipu", "--input", "x.npy", "--json").json()
    assert found["precision"] == "mixed,move=float32"
    assert found["outputs"]["y"]["dtype"] == "float32"


def test_overflow_is_counted_by_layer_and_said(ipuc: Run, large: Path) -> None:
    words = ("run", large, "--target", "tiny", "--precision", "mixed", "--input", "x.npy")
    found = ipuc(*words, "--json").json()
    # 3 * 3e4 and its negative in `grow`; of the finite rest, 2 * 3e4 + 25000 in `move`.
    assert found["overflows"] == {"grow": 2, "move": 1}
    told = ipuc(*words).err
    assert "3 values were too large for float16 and became infinite: grow 2, move 1" in told
    exact = ipuc(*words[:4], "--input", "x.npy", "--json").json()
    assert exact["overflows"] == {}


def test_saturation_can_be_asked_of_a_compiled_program(ipuc: Run, large: Path) -> None:
    assert ipuc("compile", large, "--target", "tiny", "--precision", "mixed").code == 0
    words = ("run", "large.ipu", "--input", "x.npy", "-o", "y.npz")
    assert ipuc(*words).code == 0
    assert np.isinf(read_arrays(Path("y.npz"))["y"]).sum() == 3
    done = ipuc(*words, "--saturate")
    assert "held at 65504" in done.err
    assert read_arrays(Path("y.npz"))["y"].max() == 65504


def test_a_seed_makes_results_differ_and_repeats_them(ipuc: Run, classes: Path) -> None:
    words = ("run", classes, "--target", "tiny", "--precision", "mixed", "-o", "y.npz")
    found = []
    for seed in ("1", "2", "1"):
        assert ipuc(*words, "--stochastic-rounding", seed).code == 0
        found.append(read_arrays(Path("y.npz"))["y"])
    np.testing.assert_array_equal(found[0], found[2])
    assert (found[0] != found[1]).any()


def test_verify_allows_what_halves_add_up_to_and_says_so(ipuc: Run, classes: Path) -> None:
    done = ipuc("verify", classes, "--target", "tiny", "--precision", "float16")
    assert done.code == 0, done.err
    assert "float16" in done.out
    assert "as float16 rounds" in done.out
    plain = ipuc("verify", classes, "--target", "tiny").out
    assert "tolerance 0.0001)" in plain


def test_verify_fails_where_values_overflow(ipuc: Run, large: Path) -> None:
    words = ("verify", large, "--target", "tiny", "--precision", "mixed", "--input", "x.npy")
    done = ipuc(*words)
    assert done.code == 1
    assert "WRONG, 2 too large for float16" in done.out


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("half", 'no number format is called "half"'),
        ("mixed,grow", '"grow" is no rule'),
        ("mixed,gorw=float32", 'no layer fits "gorw"'),
        ("mixed,grow=f32", 'no number format is called "f32"'),
        ("", 'no number format is called ""'),
    ],
)
def test_bad_formats_are_refused(ipuc: Run, large: Path, text: str, says: str) -> None:
    done = ipuc("compile", large, "--target", "tiny", "--precision", text)
    assert done.code == 1
    assert says in done.err
    assert "--precision" in done.err
    assert not Path("large.ipu").exists()


@pytest.mark.parametrize("seed", ["-1", "x", str(1 << 64)])
def test_bad_seeds_are_refused(ipuc: Run, large: Path, seed: str) -> None:
    assert ipuc("run", large, f"--stochastic-rounding={seed}").code == 2


def test_a_compiled_program_keeps_its_formats(ipuc: Run, large: Path) -> None:
    assert ipuc("compile", large, "--target", "tiny").code == 0
    done = ipuc("run", "large.ipu", "--precision", "mixed")
    assert done.code == 1
    assert "--precision: this program is compiled already" in done.err
