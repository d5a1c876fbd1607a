"""`ipuc show`: one tile's part of one superstep, its bytes, vertices and values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_models import Run, save_model
from onnx import helper

from ipuc.codelets.binary_in_place import BinaryOpInPlace
from ipuc.emulator.strict import StrictEmulator
from ipuc.pipeline import random_inputs
from ipuc.program.family import Access, VertexFamily, separable
from ipuc.program.program import Program
from ipuc.program.save import load, save
from ipuc.program.steps import ComputeSet, Execute, If, Sequence, Sweep
from ipuc.program.variables import TileMapping, Variable
from ipuc.target import parse_target

TARGET = ("--target", "gc200,tiles=8")
TILES = 8


@pytest.fixture
def net(folder: Path) -> Path:
    """A convolution, a maximum of windows, a Relu, a view, a product and a shift."""
    rng = np.random.default_rng(0)
    weights = {
        "k": rng.standard_normal((8, 4, 3, 3)).astype(np.float32),
        "w": rng.standard_normal((128, 12)).astype(np.float32),
        "s": rng.standard_normal(12).astype(np.float32),
    }
    pool = helper.make_node(
        "MaxPool", ["a"], ["b"], name="pool1", kernel_shape=[2, 2], strides=[2, 2]
    )
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["a"], name="conv1", pads=[1, 1, 1, 1]),
        pool,
        helper.make_node("Relu", ["b"], ["r"], name="relu1"),
        helper.make_node("Flatten", ["r"], ["c"], name="flat"),
        helper.make_node("MatMul", ["c", "w"], ["d"], name="fc1"),
        helper.make_node("Mul", ["d", "s"], ["y"], name="scale"),
    ]
    path = folder / "net.onnx"
    return save_model(path, nodes, {"x": [1, 4, 8, 8]}, {"y": [1, 12]}, weights)


@pytest.fixture
def compiled(ipuc: Run, net: Path, folder: Path) -> Path:
    done = ipuc("compile", net, *TARGET)
    assert done.code == 0, done.err
    return folder / "net.ipu"


def shown(ipuc: Run, *words: object) -> dict[str, Any]:
    done = ipuc("show", *words, "--json")
    assert done.code == 0, done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


def steps_of(ipuc: Run, path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ipuc("profile", path, "--json").json()["steps"]
    return found


def test_steps_and_tiles_are_those_of_the_profile(ipuc: Run, compiled: Path) -> None:
    """Bytes are those that the strict emulator moves between private memories."""
    strict = StrictEmulator(load(compiled))
    strict.run(random_inputs(strict.program, 0))
    moved = {(one.step, one.phase): one for one in strict.exchanges}
    computes = {row["name"]: row for row in ipuc("profile", "--json").json()["compute_sets"]}
    told = 0
    for row in steps_of(ipuc, compiled):
        parts = [
            shown(ipuc, compiled, "--step", row["step"], "--tile", tile, "--vertices", 0)
            for tile in range(TILES)
        ]
        assert {part["name"] for part in parts} == {row["name"]}
        assert {part["kind"] for part in parts} == {row["kind"]}
        if "host" in parts[0]:
            arrived = [part["host"]["bytes"] for part in parts]
            if row["kind"] == "StreamIn":
                assert arrived == moved[row["name"], "host"].received.tolist()
            continue
        told += 1
        phase = "copy" if row["kind"] == "Copy" else "read"
        for part in parts:
            tile = part["tile"]
            assert part["received"] == moved[row["name"], phase].received[tile]
            assert part["sent"] == moved[row["name"], phase].sent[tile]
            assert part["received"] == sum(piece["bytes"] for piece in part["senders"])
            assert tile not in {piece["tile"] for piece in part["senders"]}
            if phase == "read":
                assert part["results_received"] == moved[row["name"], "write"].received[tile]
                assert part["results_sent"] == moved[row["name"], "write"].sent[tile]
                assert part["results_sent"] == sum(one["bytes"] for one in part["receivers"])
        compute = max(part["cycles"] for part in parts)
        assert compute == computes[row["name"]]["compute"] == parts[0]["slowest_cycles"]
        assert sum(part["vertex_count"] for part in parts) == computes[row["name"]]["vertices"]
    assert told >= 4


def test_values_are_those_of_a_run(ipuc: Run, compiled: Path) -> None:
    """NumPy multiplies what the vertex has read by what the model multiplies by."""
    np.save("x.npy", np.random.default_rng(1).standard_normal((1, 4, 8, 8)).astype(np.float32))
    words = (compiled, "--step", "scale", "--input", "x.npy")
    met = 0
    for tile in range(TILES):
        for vertex in shown(ipuc, *words, "--tile", tile)["vertices"]:
            fields = {field["name"]: field for field in vertex["fields"]}
            out = fields["out"] if "out" in fields else fields["a"]
            product = np.float32(fields["a"]["before"]) * np.float32(fields["b"]["before"])
            np.testing.assert_array_equal(np.float32(out["after"]), product)
            met += 1
    assert met
    ipuc("run", compiled, "--input", "x.npy", "-o", "out.npz")
    result = np.load("out.npz")["y"].ravel()
    assert np.isin(np.asarray(out["after"], np.float32), result).all()
    other = shown(ipuc, compiled, "--step", "scale", "--tile", 0)["vertices"]
    first = shown(ipuc, *words, "--tile", 0)["vertices"]
    assert other[0]["fields"][0]["before"] != first[0]["fields"][0]["before"]


def test_the_text(ipuc: Run, compiled: Path) -> None:
    done = ipuc("show", compiled, "--step", "scale", "--tile", "0")
    assert done.code == 0, done.err
    assert "no --input: random:0 for x" in done.err
    number = next(row["step"] for row in steps_of(ipuc, compiled) if row["layer"] == "scale")
    assert f"step {number} of " in done.out
    assert "layer scale" in done.out
    part = shown(ipuc, compiled, "--step", number, "--tile", 0)
    vertex = part["vertices"][0]
    assert f"vertex {vertex['number']}: BinaryOp" in done.out
    assert "op mul" in done.out
    assert f"cycles: {vertex['formula']}" in done.out
    assert vertex["formula"].endswith(f"= {vertex['cycles']:,}")
    assert "source: PopLibs BinaryOp1D" in done.out
    assert f"receives {part['received']:,} bytes" in done.out
    assert f"{vertex['fields'][0]['before'][0]:.4g}" in done.out
    assert (
        "no --input"
        not in ipuc("show", compiled, "--step", "scale", "--tile", "0", "--input", "random:3").err
    )


def test_a_limit_of_vertices(ipuc: Run, net: Path) -> None:
    words = ("show", net, *TARGET, "--granularity", "worker", "--step", "pool1", "--tile", "0")
    done = ipuc(*words, "--vertices", "1")
    assert done.code == 0, done.err
    found = json.loads(ipuc(*words, "--vertices", "1", "--json").out)
    assert len(found["vertices"]) == 1
    more = found["vertex_count"] - 1
    assert more >= 1
    assert f"and {more} more {'vertex' if more == 1 else 'vertices'}: --vertices" in done.out
    full = json.loads(ipuc(*words, "--vertices", "1000", "--json").out)
    assert len(full["vertices"]) == found["vertex_count"]
    assert "more vert" not in ipuc(*words, "--vertices", "1000").out


def test_a_layer_stands_for_its_first_step(ipuc: Run, compiled: Path) -> None:
    for row in reversed(steps_of(ipuc, compiled)):
        if row["layer"] is not None:
            first = row
            names = {step["layer"]: step["step"] for step in reversed(steps_of(ipuc, compiled))}
            found = shown(ipuc, compiled, "--step", first["layer"], "--tile", 0, "--vertices", 0)
            assert found["step"] == names[first["layer"]]
    assert shown(ipuc, compiled, "--step", "poo", "--tile", 0)["layer"] == "pool1"


def test_steps_of_the_host(ipuc: Run, compiled: Path) -> None:
    found = [
        shown(ipuc, compiled, "--step", 0, "--tile", tile)["host"]["bytes"] for tile in range(TILES)
    ]
    assert sum(found) == 4 * 4 * 8 * 8
    assert "the array comes from the host" in ipuc("show", "--step", "0", "--tile", "0").out
    last = steps_of(ipuc, compiled)[-1]["step"]
    assert "goes to the host" in ipuc("show", "--step", last, "--tile", "0").out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--step", "99", "--tile", "0"), "steps are numbered from 0 to "),
        (("--step", "0[1]", "--tile", "0"), "numbered from 0 to 0"),
        (("--step", "cnov1", "--tile", "0"), "did you mean conv1"),
        (("--step", "flat", "--tile", "0"), 'nothing runs for layer "flat"'),
        (("--step", "0", "--tile", "8"), "numbered from 0 to 7"),
        (("--step", "0", "--tile", "-1"), "numbered from 0 to 7"),
        (("--step", "scale", "--tile", "0", "--input", "z=random:0"), 'no input "z"'),
    ],
)
def test_bad_words(ipuc: Run, compiled: Path, words: tuple[str, ...], says: str) -> None:
    done = ipuc("show", compiled, *words)
    assert (done.code, done.out) == (1, "")
    assert says in done.err
    assert done.err.count("error: ") == 1


def test_step_and_tile_are_asked_for(ipuc: Run, compiled: Path) -> None:
    assert ipuc("show", compiled, "--tile", "0").code == 2
    assert ipuc("show", compiled, "--step", "0").code == 2
    assert ipuc("show", compiled, "--step", "0", "--tile", "x").code == 2


def test_supersteps_of_a_sweep_and_branches(ipuc: Run, folder: Path) -> None:
    """sum += 1 four times, then once more in the branch that is taken."""
    one = TileMapping(np.zeros(1, np.int64), np.ones(1, np.int64))
    kinds = {"sum": "float32", "one": "float32", "choice": "bool"}
    variables = [
        Variable(number, name, kind, (1,), one) for number, (name, kind) in enumerate(kinds.items())
    ]
    constants = {0: np.zeros(1, np.float32), 1: np.ones(1, np.float32), 2: np.array([True])}

    def adding(name: str, times: int) -> ComputeSet:
        zeros, ones = separable(0, [0] * times), separable(1, [0] * times)
        fields = {"a": Access(0, zeros, (1,), (1,)), "b": Access(1, zeros, (1,), (1,))}
        return ComputeSet(name, (VertexFamily(BinaryOpInPlace("add"), (times,), ones, fields),))

    branch = If(2, Execute(adding("taken", 1)), Execute(adding("left", 1)))
    main = Sequence((Sweep(adding("chain", 4)), branch))
    save(Program(parse_target("tiny"), variables, constants, main), folder / "chain.ipu")
    for step, before in (("0", 0), ("0[3]", 3), ("chain", 0), ("taken", 4)):
        found = shown(ipuc, "chain.ipu", "--step", step, "--tile", 1)
        field = found["vertices"][0]["fields"][0]
        assert (field["before"], field["after"]) == ([before], [before + 1])
    assert "superstep 2 of its 4" in ipuc("show", "--step", "0[2]", "--tile", "1").out
    assert "numbered from 0 to 3" in ipuc("show", "--step", "0[4]", "--tile", "1").err
    assert "a branch is chosen" in ipuc("show", "--step", "1", "--tile", "1").out
    done = ipuc("show", "--step", "left", "--tile", "1")
    assert done.code == 0, done.err
    assert "the run does not come to this step" in done.err
    idle = ipuc("show", "--step", "0", "--tile", "0")
    assert "no vertex runs on this tile" in idle.out
    assert idle.err.splitlines()[-1].endswith("--step 0 --tile 1")
