"""Programs on several IPUs: the same numbers as on one, and every byte that crosses is charged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper, parser

from ipuc import zoo
from ipuc.emulator.strict import StrictEmulator
from ipuc.pipeline import compile_model, random_inputs, run_program
from ipuc.planner.context import Granularity
from ipuc.profile.ipus import by_ipu, links, transfers
from ipuc.profile.record import profile
from ipuc.profile.tables import to_json
from ipuc.profile.trace import trace
from ipuc.program.program import Program
from ipuc.program.save import load, save
from ipuc.target import CATALOGUE, several

TINY = CATALOGUE["tiny"]

#: Two skip connections, a weight that two layers share, a transpose that no view can hide, a
#: constant that several layers need, and a value that two later layers read.
_NET = """
<ir_version: 8, opset_import: ["" : 17]>
skips (float[1, 4, 6, 6] x) => (float[1, 3] y, float[6, 4, 1, 6] also) {
    a = Conv <pads = [1, 1, 1, 1], kernel_shape = [3, 3]> (x, w1)
    b = Relu (a)
    c = Conv <pads = [1, 1, 1, 1], kernel_shape = [3, 3]> (b, w2)
    d = Add (c, x)
    e = Clip (d, low, high)
    f = Conv <pads = [1, 1, 1, 1], kernel_shape = [3, 3]> (e, w1)
    g = Add (f, b)
    h = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (g)
    i = Flatten (h)
    j = Gemm (i, w3)
    k = Clip (j, low, high)
    y = Softmax (k)
    also = Transpose <perm = [2, 1, 0, 3]> (e)
}
"""
_LAYERS = 12  # a flatten is a view, and yet a layer


@pytest.fixture(scope="module")
def net() -> onnx.ModelProto:
    model = parser.parse_model(_NET)
    draw = np.random.default_rng(7)
    shapes = {"w1": (4, 4, 3, 3), "w2": (4, 4, 3, 3), "w3": (36, 3)}
    arrays: dict[str, NDArray[np.float32]] = {
        name: draw.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()
    }
    arrays |= {"low": np.array(-0.5, np.float32), "high": np.array(6, np.float32)}
    for name, values in arrays.items():
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    for index, node in enumerate(model.graph.node):
        node.name = f"l{index}"
    onnx.checker.check_model(model)
    return model


def outputs_of(program: Program) -> tuple[list[NDArray[np.float32]], StrictEmulator]:
    """What the fast mode gives, after the strict mode gave the same to the last rounding."""
    inputs = random_inputs(program, 3)
    fast = run_program(program, inputs)
    emulator = StrictEmulator(program)
    for name, values in emulator.run(inputs).items():
        # the fast mode multiplies larger matrices, which add in another order
        np.testing.assert_allclose(values, fast[name], rtol=1e-5, atol=1e-5)
    return list(fast.values()), emulator


def charged_as_moved(program: Program, emulator: StrictEmulator) -> None:
    """Hold the traffic of every superstep to what went between private memories."""
    claimed = []
    for step in profile(program).steps:
        claimed += [step.before] if step.kind == "copy" else [step.before, step.after]
    real = [exchange for exchange in emulator.exchanges if exchange.phase != "host"]
    for traffic, moved in zip(claimed, real, strict=True):
        np.testing.assert_array_equal(traffic.received, moved.received, moved.step)
        np.testing.assert_array_equal(traffic.sent, moved.sent, moved.step)
        np.testing.assert_array_equal(traffic.links, moved.links, moved.step)


@pytest.mark.parametrize("granularity", ["tile", "worker"])
def test_cut_anywhere_the_numbers_are_those_of_one_ipu(
    net: onnx.ModelProto, granularity: Granularity
) -> None:
    program = compile_model(net, target=TINY, granularity=granularity)
    wanted, _ = outputs_of(program)
    session = onnxruntime.InferenceSession(net.SerializeToString())
    for values, oracle in zip(wanted, session.run(None, random_inputs(program, 3)), strict=True):
        # sums of some hundred float32 terms, in another order
        np.testing.assert_allclose(values, oracle, rtol=1e-4, atol=1e-5)
    names = [layer.name for layer in program.layers]
    cuts: list[Sequence[int]] = [(first,) for first in range(1, _LAYERS)]
    if granularity == "tile":
        cuts += [(2, 4, 7), (1, 2, 3), (4, 5, 10), (3, 7, 11)]
    for firsts in cuts:
        shard = ",".join(names[first] for first in firsts)
        parted = compile_model(
            net, target=TINY, granularity=granularity, ipus=len(firsts) + 1, shard=shard
        )
        made, emulator = outputs_of(parted)
        for values, same in zip(made, wanted, strict=True):
            np.testing.assert_array_equal(values, same, shard)
        charged_as_moved(parted, emulator)
        # Every layer is where it was put, and values go forwards only.
        where = {name: sum(first <= at for first in firsts) for at, name in enumerate(names)}
        for family in parted.families():
            assert set(family.tile.dense().reshape(-1) // TINY.tiles) == {where[family.layer]}
        total = links(profile(parted))
        assert total.any()
        assert not np.tril(total).any()


@pytest.mark.parametrize("ipus", [2, 3, 4])
@pytest.mark.parametrize("shard", ["auto", "cycles", "memory"])
def test_a_network_by_every_rule(tmp_path: Path, ipus: int, shard: str) -> None:
    model = zoo.build("digits")
    alone = compile_model(model, target=TINY)
    (wanted,), _ = outputs_of(alone)
    program = compile_model(model, target=TINY, ipus=ipus, shard=shard)
    (made,), emulator = outputs_of(program)
    np.testing.assert_array_equal(made, wanted)
    charged_as_moved(program, emulator)
    found = profile(program)
    rows, whole = by_ipu(found), to_json(found)
    assert sum(row["cycles"] for row in rows) == found.cycles["total"]
    assert sum(row["vertices"] for row in rows) == whole["vertices"]
    assert sum(row["supersteps"] for row in rows) == whole["supersteps"]
    assert sum(row["total_bytes"] for row in rows) == found.memory.total_bytes
    assert max(row["max_tile_bytes"] for row in rows) == found.memory.max_tile_bytes
    assert [row["vertices"] > 0 for row in rows] == [True] * ipus
    crossed = sum(one["bytes"] for one in transfers(found))
    assert crossed == whole["link_bytes"] > 0
    assert sum(row["bytes_in"] for row in rows) == crossed
    assert sum(row["bytes_out"] for row in rows) == crossed
    for part in ("cycles", "compute", "exchange", "sync"):
        total = found.cycles["total" if part == "cycles" else part]
        assert sum(row[part] for row in whole["layers"]) == total
    # Layers run one after another, about as fast as on one IPU (work in place, which fewer can do
    # here, has vertices of its own); what crosses takes longer.
    one = profile(alone)
    assert found.cycles["compute"] == pytest.approx(one.cycles["compute"], rel=0.03)
    assert found.cycles["exchange"] > one.cycles["exchange"]
    assert found.cycles["sync"] > one.cycles["sync"]
    path = tmp_path / "p.ipu"
    save(program, path)
    again = load(path)
    assert again.target == several(TINY, ipus)
    assert profile(again).cycles == found.cycles


def test_the_trace_has_a_process_for_each_ipu() -> None:
    found = profile(compile_model(zoo.build("digits"), target=TINY, ipus=2, shard="pool1"))
    made = trace(found, range(8))
    events = made["traceEvents"]
    names = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    assert [names[ipu].split(",")[0] for ipu in (0, 1)] == ["IPU 0", "IPU 1"]
    tracks = [e for e in events if e["name"] == "thread_name"]
    tiles = {
        e["args"]["name"].split()[1]: e["pid"]
        for e in tracks
        if e["args"]["name"].startswith("tile")
    }
    assert [tiles[str(tile)] for tile in range(8)] == [0] * 4 + [1] * 4
    steps = [e for e in events if e["ph"] == "X" and e["tid"] == 0]
    assert [e["pid"] for e in steps] == [step.ipu for step in found.steps]
    phases = [e for e in events if e["ph"] == "X" and e["tid"] == 1]
    crossing = [e["pid"] for e in phases if e["name"] == "global exchange"]
    assert crossing == [0, 1]
    # Each phase is on the IPU that has it, and those between IPUs are on both.
    spent = {(e["ts"], e["name"]): e["dur"] for e in phases}
    twice = sum(e["dur"] for e in phases) - sum(spent.values())
    micro = 1e6 / TINY.clock_hz
    assert sum(spent.values()) == pytest.approx(found.cycles["total"] * micro)
    between = sum(step.global_exchange for step in found.steps) + TINY.external_sync_cycles
    assert twice == pytest.approx(between * micro)


def test_a_value_crosses_once_however_many_layers_read_it(net: onnx.ModelProto) -> None:
    """Cut before the third convolution: its operand, which two layers read; its weights, which the
    first has too; and the operand of a skip connection.
    """
    program = compile_model(net, target=TINY, ipus=2, shard="l5")
    total = links(profile(program))
    operand, weights, skipped = 4 * 36, 4 * 4 * 9, 4 * 36
    assert total.tolist() == [[0, 4 * (operand + weights + skipped)], [0, 0]]


@pytest.mark.parametrize("ipus", [2, 3, 4])
def test_formats_change_where_ipus_do(ipus: int) -> None:
    precision = "mixed,conv2=float32,fc3=float16"
    model = zoo.build("digits")
    program = compile_model(model, target=TINY, precision=precision)
    inputs = random_inputs(program, 0)
    wanted = run_program(program, inputs)["output"]
    for shard in ("memory", ",".join(["conv2", "relu2", "relu3"][: ipus - 1])):
        parted = compile_model(model, target=TINY, precision=precision, ipus=ipus, shard=shard)
        np.testing.assert_array_equal(run_program(parted, inputs)["output"], wanted)
        emulator = StrictEmulator(parted)
        # some units of 2 ** -11: sums are rounded to halves in another order
        np.testing.assert_allclose(emulator.run(inputs)["output"], wanted, rtol=0, atol=2e-2)
        charged_as_moved(parted, emulator)
