"""What each command does when all is well."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from cli_models import Run, only, save_model
from onnx import helper, numpy_helper
from PIL import Image

from ipuc.errors import TooLarge
from ipuc.importer.limits import Budget
from ipuc.npz import read_arrays, write_arrays
from ipuc.target import CATALOGUE
from ipuc.target.define import SOURCES


def last_line(text: str) -> str:
    return text.rstrip().splitlines()[-1]


def test_the_three_commands_work_one_after_another(ipuc: Run, classes: Path, folder: Path) -> None:
    done = ipuc("compile", classes, "--target", "tiny")
    assert done.code == 0, done.err
    assert last_line(done.err).startswith("next: ipuc run classes.ipu")
    done = ipuc("run")
    assert done.code == 0, done.err
    assert "using classes.ipu (0 seconds old)" in done.err
    assert "no --input: random:0 for x" in done.err
    assert last_line(done.err).startswith("next: ipuc verify classes.ipu")
    done = ipuc("render", "--out", "graph.png", "--size", "128")
    assert done.code == 0, done.err
    assert last_line(done.err) == "next: ipuc info graph.png"
    only(folder, "classes.ipu", "classes.onnx", "graph.png")


def test_outputs_equal_onnxruntime(ipuc: Run, classes: Path) -> None:
    """float32 sums of four terms: in another order they differ by a few units of 2^-24."""
    x = np.random.default_rng(0).standard_normal((1, 4)).astype(np.float32)
    write_arrays(Path("in.npz"), {"x": x})
    done = ipuc("run", classes, "--target", "tiny", "--input", "in.npz", "-o", "out.npz")
    assert done.code == 0, done.err
    (wanted,) = onnxruntime.InferenceSession(str(classes)).run(None, {"x": x})
    np.testing.assert_allclose(read_arrays(Path("out.npz"))["y"], wanted, rtol=1e-6)
    top = int(np.argmax(wanted))
    assert done.out.splitlines()[2].split()[0] == str(top)
    assert "class numbers mean nothing" in done.out


@pytest.mark.parametrize("form", ["x.npy", "x=x.npy", "x=x.npz", "x.npz", "x.pb", "x=random:5"])
def test_every_form_of_an_input(ipuc: Run, program: Path, form: str) -> None:
    x = np.arange(-3, 3, dtype=np.float32).reshape(2, 3)
    np.save("x.npy", x)
    write_arrays(Path("x.npz"), {"x": x})
    onnx.save_tensor(numpy_helper.from_array(x), "x.pb")
    done = ipuc("run", program, "--input", form, "--out", "y.npz")
    assert done.code == 0, done.err
    y = read_arrays(Path("y.npz"))["y"]
    if "random" in form:
        again = ipuc("run", program, "--input", "random:5", "--output", "z.npz")
        assert again.code == 0
        np.testing.assert_array_equal(y, read_arrays(Path("z.npz"))["y"])
        assert 0 < np.count_nonzero(y) < y.size
    else:
        np.testing.assert_array_equal(y, np.maximum(x, 0))


def test_an_image_is_an_input(ipuc: Run, folder: Path) -> None:
    node = helper.make_node("Relu", ["image"], ["y"], name="relu")
    model = save_model(folder / "i.onnx", [node], {"image": [1, 3, 8, 8]}, {"y": [1, 3, 8, 8]})
    Image.new("RGB", (20, 12), (255, 0, 0)).save("red.png")
    done = ipuc("run", model, "--target", "tiny", "--input", "red.png", "-o", "y.npz")
    assert done.code == 0, done.err
    y = read_arrays(Path("y.npz"))["y"]
    # Red 1 and green 0, normalised with ImageNet's mean and deviation, then Relu.
    np.testing.assert_allclose(y[0, :2, 0, 0], [(1 - 0.485) / 0.229, 0], rtol=1e-6)


def test_any_tensor_name_works(ipuc: Run, folder: Path) -> None:
    names = ["file", "allow_pickle", "a=b", "a/b"]
    nodes = [helper.make_node("Relu", [name], [f"{name}.y"], name=name) for name in names]
    model = save_model(
        folder / "names.onnx",
        nodes,
        {name: [2] for name in names},
        {f"{name}.y": [2] for name in names},
    )
    assert ipuc("compile", model, "--target", "tiny").code == 0
    write_arrays(Path("in.npz"), {name: np.full(2, -1, np.float32) for name in names[2:]})
    done = ipuc(
        "run", "--input", "in.npz", "--input", "file=random:1", "--input", "allow_pickle=random:2",
        "-o", "out.npz",
    )  # fmt: skip
    assert done.code == 0, done.err
    found = read_arrays(Path("out.npz"))
    assert list(found) == [f"{name}.y" for name in names]
    np.testing.assert_array_equal(found["a=b.y"], 0)


def test_wrong_inputs_are_named(ipuc: Run, program: Path) -> None:
    cases = {
        "y=random:0": 'no input "y"',
        "random:x": "has no seed",
        "random:" + "9" * 5000: "has no seed",
        "none.npy": "there is no such file",
    }
    for text, words in cases.items():
        done = ipuc("run", program, "--input", text)
        assert done.code == 1
        assert words in done.err
    done = ipuc("run", program, "--input", "x=random:0", "--input", "random:1")
    assert done.code == 1
    assert "given twice" in done.err


def test_the_newest_program_is_taken_and_a_changed_model_warned_of(
    ipuc: Run, program: Path, classes: Path, relu: Path
) -> None:
    assert ipuc("compile", classes, "--target", "tiny").code == 0
    hours_ago = time.time() - 3 * 3600 - 5
    os.utime("classes.ipu", (hours_ago - 60, hours_ago - 60))
    os.utime(program, (hours_ago, hours_ago))
    done = ipuc("run")
    assert "using relu.ipu (3 hours old)" in done.err
    assert "warning" not in done.err
    model = onnx.load(relu)
    model.doc_string = "changed"
    onnx.save(model, relu)
    done = ipuc("run")
    assert done.code == 0
    assert "has changed since relu.ipu was compiled" in done.err
    relu.write_bytes(b"damaged")
    assert "has changed" in ipuc("run").err
    relu.unlink()
    assert "warning" not in ipuc("run").err


def test_without_a_program_the_next_step_is_named(ipuc: Run, relu: Path) -> None:
    done = ipuc("run")
    assert done.code == 1
    assert f"ipuc compile {relu.name}" in done.err


def test_options_of_the_compiler_do_not_apply_to_a_program(ipuc: Run, program: Path) -> None:
    done = ipuc("run", program, "--target", "gc2")
    assert done.code == 1
    assert "compiled already" in done.err


@pytest.mark.parametrize("flags", [["--shape", "x=2x3"], ["--shape", "x=2,3"], ["--batch", "2"]])
def test_open_dimensions(ipuc: Run, open_batch: Path, flags: list[str]) -> None:
    done = ipuc("run", open_batch, *flags, "--target", "tiny", "--json")
    assert done.code == 0, done.err
    assert done.json()["outputs"]["y"]["shape"] == [2, 3]


def test_a_value_that_decides_a_shape(ipuc: Run, folder: Path) -> None:
    node = helper.make_node("Reshape", ["x", "shape"], ["r"], name="reshape")
    nodes = [node, helper.make_node("Relu", ["r"], ["y"], name="relu")]
    path = save_model(folder / "m.onnx", nodes, {"x": [2, 3], "shape": [1]}, {"y": None})
    model = onnx.load(path)
    model.graph.input[1].type.tensor_type.elem_type = onnx.TensorProto.INT64
    onnx.save(model, path)
    done = ipuc("compile", path)
    assert done.code == 1
    assert "--const shape=" in done.err
    np.save("six.npy", np.array([6]))
    words = (path, "--const", "shape=six.npy", "--target", "tiny")
    assert ipuc("run", *words, "--json").json()["outputs"]["y"]["shape"] == [6]
    assert ipuc("compile", *words).code == 0
    # The reference needs the value again.
    assert ipuc("verify", "m.ipu").code == 1
    assert ipuc("verify", "m.ipu", "--const", "shape=six.npy").code == 0


def test_compile_json_has_the_agreed_keys(ipuc: Run, classes: Path) -> None:
    done = ipuc("compile", classes, "-o", "c.ipu", "--json", "--target", "gc200,tiles=8")
    assert done.code == 0, done.err
    found = done.json()
    wanted = {
        *("model", "target", "ipus", "tiles", "tiles_used", "precision", "granularity"),
        *("training", "vertices", "edges", "messages", "variables", "compute_sets", "graph"),
        *("cycles", "seconds", "compile_seconds", "memory"),
    }
    assert wanted <= set(found)
    assert found["target"] == "gc200,tiles=8"
    assert found["tiles"] == 8
    assert 1 <= found["tiles_used"] <= 8
    assert set(found["graph"]) == {"nodes", "vertices", "regions", "edges"}
    assert found["graph"]["nodes"] == found["graph"]["vertices"] + found["graph"]["regions"]
    assert found["graph"]["vertices"] == found["vertices"]
    assert set(found["memory"]) == {"max_tile_bytes", "total_bytes", "limit_bytes", "fits"}
    assert found["memory"]["limit_bytes"] == CATALOGUE["gc200"].tile_memory_bytes
    assert found["compile_seconds"] > 0


def test_a_large_graph_is_counted_only_if_asked(
    ipuc: Run, classes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ipuc.cli.facts.COUNTED_EDGES", 3)
    words = ("compile", classes, "--target", "tiny", "--json")
    assert set(ipuc(*words).json()["graph"].values()) == {None}
    assert ipuc(*words, "--count").json()["graph"]["edges"] > 3
    assert "--count" in ipuc(*words[:-1]).out


def test_verify_prints_every_layer(ipuc: Run, classes: Path, program: Path) -> None:
    done = ipuc("verify", classes, "--target", "tiny", "--granularity", "worker")
    assert done.code == 0, done.err
    assert done.out.splitlines()[1].split()[:2] == ["product", "MatMul"]
    assert "1 layer agrees with onnxruntime" in done.out
    found = ipuc("verify", program, "--json", "--reference", "onnx").json()
    assert set(found) >= {"ok", "tolerance", "reference", "layers", "first_mismatch"}
    assert found["reference"].startswith("onnx.reference")
    keys = {"name", "op", "max_abs", "max_rel", "ok", "tolerance", "precision", "overflows"}
    assert set(found["layers"][0]) == keys
    assert found["first_mismatch"] is None


def test_verify_says_why_it_asks_another_reference(
    ipuc: Run, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    done = ipuc("verify", program)
    assert done.code == 0, done.err
    assert "the reference is onnx.reference; onnxruntime: it is not installed" in done.err
    assert "it is not installed" not in ipuc("verify", program, "--reference", "onnx").err


def test_a_mismatch_is_exit_code_1_and_named(ipuc: Run, classes: Path) -> None:
    """The program is of other weights; the digest that would tell is taken out of it."""
    from ipuc.program.save import load, save  # noqa: PLC0415 - only this test looks inside

    assert ipuc("compile", classes, "--target", "tiny").code == 0
    program = load("classes.ipu")
    ids = {variable.name: variable.id for variable in program.variables}
    program.constants[ids["w"]] = program.constants[ids["w"]].copy()
    program.constants[ids["w"]][9] += 1
    save(program, "classes.ipu")
    done = ipuc("verify", "classes.ipu")
    assert done.code == 1
    assert "WRONG" in done.out
    assert "first mismatch" in done.out
    assert "compute set  " in done.out
    done = ipuc("verify", "classes.ipu", "--json")
    assert done.code == 1
    found = done.json()
    assert not found["ok"]
    assert found["first_mismatch"]["layer"] == "product"
    assert {"compute_set", "tile", "vertex"} <= set(found["first_mismatch"])


def test_verify_refuses_a_model_that_is_gone_or_changed(
    ipuc: Run, program: Path, relu: Path
) -> None:
    model = onnx.load(relu)
    model.doc_string = "changed"
    onnx.save(model, relu)
    assert "changed since" in ipuc("verify", program).err
    relu.unlink()
    done = ipuc("verify", program)
    assert done.code == 1
    assert "is not there" in done.err


def test_render_json_and_what_the_picture_says(ipuc: Run, program: Path) -> None:
    done = ipuc("render", program, "--out", "g.png", "--size", "128", "--seed", "3", "--json")
    assert done.code == 0, done.err
    found = done.json()
    assert {"nodes", "edges", "drawn_points", "drawn_edges", "seed", "size"} <= set(found)
    assert (found["seed"], found["size"]) == (3, 128)
    told = ipuc("info", "g.png", "--json").json()
    assert told["kind"] == "picture"
    assert (told["width"], told["height"]) == (128, 128)
    assert told["provenance"]["nodes"] == str(found["nodes"])
    assert told["provenance"]["model"] == "relu"
    assert "drawn by ipuc" in ipuc("info", "g.png").out
    assert Path("g.png").stat().st_mode & 0o044, "others may look at it"
    again = ipuc("render", program, "--out", "h.png", "--size", "128", "--seed", "3")
    assert again.code == 0
    assert Path("g.png").read_bytes() == Path("h.png").read_bytes()


def test_render_the_operators(ipuc: Run, program: Path) -> None:
    found = ipuc("render", program, "--view", "ops", "--json").json()
    assert found["nodes"] == 1
    assert found["out"] == "relu-ops.png"
    with Image.open("relu-ops.png") as image:
        assert list(image.size) == found["pixels"]


def test_info_of_a_picture_of_somebody_else(ipuc: Run) -> None:
    Image.new("RGB", (3, 2)).save("other.png")
    assert "not drawn by ipuc" in ipuc("info", "other.png").out
    whole = Path("other.png").read_bytes()
    Path("other.png").write_bytes(whole[:20])
    done = ipuc("info", "other.png")
    assert done.code == 1
    assert "cannot be read" in done.err


def test_info_of_a_model_names_the_flags_that_work(ipuc: Run, open_batch: Path) -> None:
    found = ipuc("info", open_batch, "--json").json()
    assert found["kind"] == "model"
    assert found["inputs"][0]["flag"] == "--shape x=1x3"
    done = ipuc("info", open_batch)
    assert "--shape x=1x3" in done.out
    command = last_line(done.err).removeprefix("next: ipuc ").split()
    assert ipuc(*command).code == 0


def test_info_of_a_model_names_every_unsupported_node(ipuc: Run, folder: Path) -> None:
    nodes = [
        helper.make_node("Frobnicate", ["x"], ["a"], name="one"),
        helper.make_node("Twiddle", ["a"], ["y"], name="two", domain="com.example"),
    ]
    path = save_model(folder / "odd.onnx", nodes, {"x": [2]}, {"y": [2]})
    done = ipuc("info", path)
    assert done.code == 0
    assert 'Frobnicate node "one"' in done.out
    assert 'Twiddle node "two"' in done.out
    assert len(ipuc("info", path, "--json").json()["unsupported"]) == 2


def test_info_of_a_program(ipuc: Run, classes: Path) -> None:
    assert ipuc("compile", classes, "--target", "gc200,tiles=16").code == 0
    done = ipuc("info", "classes.ipu")
    assert "float32[1x12]" in done.out
    assert "vertex graph" in done.out
    plans = ipuc("info", "classes.ipu", "--plans")
    assert "product (MatMul)" in plans.out
    assert "chosen" in plans.out
    text = ipuc("info", "classes.ipu", "--text")
    assert "compute" in text.out
    found = ipuc("info", "classes.ipu", "--json").json()
    assert found["kind"] == "program"
    assert found["layers"][0]["plan"]["chosen"]
    assert ipuc("info", classes, "--plans").code == 1


def test_every_plan_of_a_table_differs_from_the_others(ipuc: Run, classes: Path) -> None:
    assert ipuc("compile", classes, "--target", "gc200,tiles=16").code == 0
    lines = ipuc("info", "classes.ipu", "--plans").out.splitlines()
    assert "method" in lines[1]
    rows = [line.removeprefix("  next").removeprefix("  chosen").strip() for line in lines[2:]]
    rows = [row for row in rows if row and "wide and even" not in row]
    assert len(rows) > 2
    assert len(set(rows)) == len(rows)


def test_plans_by_the_rules_of_2017_are_shown_too(ipuc: Run, classes: Path) -> None:
    assert ipuc("compile", classes, "--target", "tiny", "--granularity", "worker").code == 0
    done = ipuc("info", "classes.ipu", "--plans")
    assert done.code == 0, done.err
    assert "tiles per row" in done.out


def test_an_input_of_data_is_not_offered_as_a_constant_without_a_word(
    ipuc: Run, folder: Path
) -> None:
    node = helper.make_node("NonZero", ["x"], ["y"])
    path = save_model(folder / "found.onnx", [node], {"x": [2, 3]}, {"y": None})
    done = ipuc("info", path)
    assert "its values decide a shape" in done.out
    assert "--const" not in done.err


def test_doubles_are_told_how_to_become_floats(ipuc: Run, program: Path) -> None:
    np.save("wide.npy", np.zeros((2, 3)))
    done = ipuc("run", program, "--input", "wide.npy")
    assert done.code == 1
    assert 'x.astype("float32")' in done.err
    np.save("other.npy", np.zeros((3, 3)))
    assert "astype" not in ipuc("run", program, "--input", "other.npy").err


def test_one_form_of_the_limit(ipuc: Run) -> None:
    """Help and errors write it alike."""
    assert "[default: 4 GB]" in " ".join(ipuc("compile", "--help").out.split())
    with pytest.raises(TooLarge, match="the limit is 4 GB"):
        Budget().hold(10**10, "x")


def test_targets_and_their_sources(ipuc: Run) -> None:
    found = ipuc("targets", "--json").json()
    assert set(found["targets"]) == set(CATALOGUE)
    assert found["sources"] == SOURCES
    numbers = {key for key in found["targets"]["gc200"] if key not in ("name", "about")}
    assert numbers == set(SOURCES), "every number has a source"
    done = ipuc("targets")
    for name in CATALOGUE:
        assert name in done.out
    assert "1,472" in done.out


def test_models_are_listed_and_written(ipuc: Run, folder: Path) -> None:
    listed = {one["name"] for one in ipuc("model", "--json").json()["models"]}
    assert {"alexnet", "resnet34", "astro", "digits", "alexnet2017"} <= listed
    assert "alexnet" in ipuc("model").out
    done = ipuc("model", "digits", "--seed", "4")
    assert done.code == 0
    assert last_line(done.err) == "next: ipuc compile digits.onnx"
    (folder / "sub").mkdir()
    found = ipuc("model", "digits", "-o", "sub", "--json").json()
    assert found["written"][0]["path"] == "sub/digits.onnx"
    assert Path("digits.onnx").read_bytes() != Path("sub/digits.onnx").read_bytes()
    done = ipuc("model", "dogits")
    assert done.code == 1
    assert "did you mean digits" in done.err


def test_json_is_all_that_stdout_has(ipuc: Run, program: Path) -> None:
    assert program.exists()
    for words in (
        ["compile", "relu.onnx", "--target", "tiny"],
        ["run"],
        ["verify"],
        ["render", "--size", "64", "--out", "g.png"],
        ["info", "relu.onnx"],
        ["info", "relu.ipu"],
        ["info", "g.png"],
        ["targets"],
        ["model"],
    ):
        done = ipuc(*words, "--json")
        assert done.code == 0, done.err
        json.loads(done.out)
        assert "next:" not in done.err
