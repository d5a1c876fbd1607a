"""Identical layers share one program function: the same numbers, and every call is charged.

The oracle of the values is onnxruntime. A program without outlining adds in the same order, so its
results are the same bits. The strict emulator, which knows nothing of the profile, is the witness
of the bytes that calls move.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper, parser

from ipuc.check import verify_model
from ipuc.check.locate import locate
from ipuc.codelets.rounding import Arithmetic
from ipuc.emulator.run import Emulator
from ipuc.emulator.strict import StrictEmulator
from ipuc.importer.load import load as load_graph
from ipuc.pipeline import compile_model, random_inputs, run_program
from ipuc.planner.choices import parse_memory
from ipuc.planner.context import Granularity
from ipuc.planner.precision import parse_precision
from ipuc.profile.cycles import step_costs, supersteps
from ipuc.profile.record import Profile, profile
from ipuc.profile.resident import resident
from ipuc.profile.tables import by_codelet, by_compute_set, by_layer, by_step
from ipuc.profile.trace import trace
from ipuc.program.count import count_graph
from ipuc.program.family import Origin
from ipuc.program.program import Program
from ipuc.program.save import load, save
from ipuc.program.steps import Call, Execute, Sweep
from ipuc.program.text import to_text
from ipuc.render.build import scene_of
from ipuc.target import parse_target
from ipuc.training.build import training_graph
from ipuc.training.export import as_model
from ipuc.training.options import Training, parse_optimizer

TARGET = parse_target("tiny,tiles=16")

#: c1, c2 and c3 are alike, though c3 says its padding in other words; c4 has no bias, c5 another
#: stride. c2 reads what c1 and the input made, so that both outlive calls; c3 reads w1 again.
_NET = """
<ir_version: 8, opset_import: ["" : 17]>
alike (float[1, 8, 6, 6] x) => (float[1, 8, 3, 3] y, float[1, 8, 6, 6] also) {
    a = Conv <pads = [1, 1, 1, 1], kernel_shape = [3, 3]> (x, w1, b1)
    b = Relu (a)
    c = Conv <pads = [1, 1, 1, 1], kernel_shape = [3, 3]> (b, w2, b2)
    d = Add (c, a)
    e = Conv <auto_pad = "SAME_UPPER", group = 1> (d, w1, b3)
    also = Relu (e)
    f = Conv <pads = [1, 1, 1, 1], kernel_shape = [3, 3]> (also, w4)
    g = Add (f, x)
    y = Conv <pads = [1, 1, 1, 1], kernel_shape = [3, 3], strides = [2, 2]> (g, w2, b1)
}
"""
_ALIKE = ("c1", "c2", "c3")


@pytest.fixture(scope="module")
def net() -> onnx.ModelProto:
    model = parser.parse_model(_NET)
    draw = np.random.default_rng(3)
    for name, shape in [(f"w{n}", (8, 8, 3, 3)) for n in (1, 2, 4)] + [
        (f"b{n}", (8,)) for n in (1, 2, 3)
    ]:
        array = draw.standard_normal(shape).astype(np.float32) / 5
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    for number, node in enumerate([n for n in model.graph.node if n.op_type == "Conv"], 1):
        node.name = f"c{number}"
    onnx.checker.check_model(model)
    return model


def both(model: onnx.ModelProto, granularity: Granularity = "tile") -> tuple[Program, Program]:
    """The program without and with functions."""
    plain, outlined = (
        compile_model(model, target=TARGET, granularity=granularity, outline=outline)
        for outline in (False, True)
    )
    return plain, outlined


@pytest.fixture(scope="module")
def programs(net: onnx.ModelProto) -> tuple[Program, Program]:
    return both(net)


def wanted(model: onnx.ModelProto, inputs: dict[str, NDArray[np.float32]]) -> list[NDArray[Any]]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    made: list[NDArray[Any]] = session.run(None, inputs)
    return made


@pytest.mark.parametrize("granularity", ["tile", "worker", "fine"])
def test_values_are_those_of_the_model(net: onnx.ModelProto, granularity: Granularity) -> None:
    plain, outlined = both(net, granularity)
    inputs = random_inputs(outlined, 0)
    found, before = run_program(outlined, inputs), run_program(plain, inputs)
    for name, values in zip(outlined.outputs, wanted(net, inputs), strict=True):
        # Five layers of 72 products each, in float32 and another order.
        scale = 1e-6 * float(np.abs(values).max())
        np.testing.assert_allclose(found[name], values, rtol=0, atol=scale)
        np.testing.assert_array_equal(found[name], before[name])


def test_alike_layers_are_one_function(programs: tuple[Program, Program]) -> None:
    plain, outlined = programs
    assert outlined.calls() == ["c1"] * 3
    assert [*outlined.functions] == ["c1"]
    calls = [step for step in outlined.main.steps if isinstance(step, Call)]
    assert [(step.layer, step.layer_pass) for step in calls] == [(n, "forward") for n in _ALIKE]
    origins = tuple(Origin(name) for name in _ALIKE)
    shared = [family for family in outlined.families() if family.origins == origins]
    first = [family for family in plain.families() if family.layer == "c1"]
    assert sum(f.count for f in shared) == sum(f.count for f in first) > 0
    others = [f for f in outlined.families() if f.origins != origins]
    assert not {family.layer for family in others} & {*_ALIKE}
    # What three layers had is there once; regions of arguments and results come to it.
    assert count_graph(plain).vertices - count_graph(outlined).vertices == 2 * sum(
        family.count for family in first
    )


def test_a_layer_alone_is_a_function_at_granularity_worker(net: onnx.ModelProto) -> None:
    _, outlined = both(net, "worker")
    assert outlined.calls() == ["c1", "c1", "c1", "c4", "c5"]


def compute(found: Profile) -> Counter[tuple[str, str]]:
    """Compute cycles of all tiles by layer, without copies."""
    spent: Counter[tuple[str, str]] = Counter()
    for step in found.steps:
        if step.kind == "compute":
            spent[step.layer, step.layer_pass] += int(step.compute.sum()) * step.times
    return spent


def test_a_call_costs_what_its_body_costs(programs: tuple[Program, Program]) -> None:
    plain, outlined = (profile(program) for program in programs)
    assert compute(outlined) == compute(plain)
    body = [s for s in supersteps(programs[1]) if s.layer in _ALIKE and s.kind == "compute"]
    names = [step.name for step in body]
    assert names == names[: len(names) // 3] * 3
    assert [step.again for step in body] == [False] * (len(names) // 3) + [True] * (
        2 * len(names) // 3
    )
    rows = {row["name"]: row for row in by_layer(outlined)}
    assert [*rows] == [layer.name for layer in programs[1].layers]
    assert sum(row["cycles"] for row in rows.values()) == outlined.cycles["total"]
    assert {row["layer"] for row in by_compute_set(outlined)} == {*rows}
    codelets = {row["name"]: row["vertex_cycles"] for row in by_codelet(outlined)}
    assert codelets == {row["name"]: row["vertex_cycles"] for row in by_codelet(plain)}


def test_copies_of_calls_are_charged_to_the_layer_that_calls(
    programs: tuple[Program, Program],
) -> None:
    copies = Counter(
        (step.layer, step.name) for step in supersteps(programs[1]) if step.kind == "copy"
    )
    for layer, value in zip(_ALIKE, ("a", "c", "e"), strict=True):
        assert copies[layer, f"{value} arguments"] == copies[layer, value] == 1
    weights = 8 * 8 * 9 * 4
    for step in supersteps(programs[1]):
        if step.name.endswith("arguments"):
            # Weights, nine tenths of what is copied, lie like the argument and stay on their tile.
            assert step.before.received.sum() < weights
            assert step.compute.sum() > 0


@pytest.mark.parametrize("granularity", ["tile", "worker"])
def test_private_memories_agree_and_move_what_is_charged(
    net: onnx.ModelProto, granularity: Granularity
) -> None:
    _, program = both(net, granularity)
    inputs = random_inputs(program, 1)
    emulator = StrictEmulator(program)
    private = emulator.run(inputs)
    for name, values in run_program(program, inputs).items():
        scale = 1e-6 * float(np.abs(values).max())  # larger products add in another order
        np.testing.assert_allclose(private[name], values, rtol=0, atol=scale)
    phases = ("read", "write", "copy")
    real = [
        (e.step, e.phase, e.received.tolist(), e.sent.tolist())
        for e in emulator.exchanges
        if e.phase in phases
    ]
    charged = []
    for step in supersteps(program):
        ways = [("copy", step.before)] if step.kind == "copy" else []
        for phase, traffic in ways or [("read", step.before), ("write", step.after)]:
            charged.append((step.name, phase, traffic.received.tolist(), traffic.sent.tolist()))
    assert real == charged


def test_locals_live_during_calls_only(programs: tuple[Program, Program]) -> None:
    program = programs[1]
    found = profile(program).memory
    (body,) = program.functions.values()
    inside = {
        access.variable
        for step in body.steps
        if isinstance(step, Execute | Sweep)
        for family in step.compute_set.families
        for access in family.fields.values()
    }
    inside -= {*program.constants}
    rows = np.array([step.layer in _ALIKE for step in found.lives.steps])
    assert len(inside) >= 4  # data, weights, bias, sums
    lives = found.lives.live[:, sorted(inside)]
    assert lives[rows].any(axis=0).all()
    assert not lives[~rows].any()
    assert not found.lives.always[sorted(inside)].any()


def test_code_and_state_exist_once(programs: tuple[Program, Program]) -> None:
    plain, outlined = (resident(program, step_costs(program)) for program in programs)
    for name in ("Vertex Instances", "Vertex Field Data", "Internal Exchange Code"):
        assert outlined[name].sum() < plain[name].sum()
    # Control code of 16 bytes a step: supersteps that exist, and calls.
    steps = [
        sum(not step.again for step in supersteps(program)) + len(program.calls())
        for program in programs
    ]
    more = np.unique(outlined["Control Code"] - plain["Control Code"])
    assert more.tolist() == [16 * (steps[1] - steps[0])]
    found = profile(programs[1])
    layers = {row["name"]: row for row in by_layer(found)}
    # What is no layer's own: stacks, code of vertex types, of steps and for the host.
    nobodys = {"Stack", "Vertex Code", "Control Code"}
    own = sum(
        int(column.sum())
        for name, column in found.memory.always.items()
        if name not in nobodys and not name.startswith("Host")
    )
    assert sum(row["always_live_bytes"] for row in layers.values()) == own
    # The vertices of the function count for its first layer.
    brought = {name: layers[name]["always_live_bytes"] for name in _ALIKE}
    assert brought["c1"] > brought["c2"] > brought["c3"]


def test_readers_of_programs_follow_calls(
    programs: tuple[Program, Program], tmp_path: Path
) -> None:
    program = programs[1]
    found = profile(program)
    assert len(by_step(found)) == len(found.memory.lives.steps)
    names = [step.layer for step in found.memory.lives.steps if step.name == "a sums"]
    assert names == [*_ALIKE]
    events = [e for e in trace(found)["traceEvents"] if e["ph"] == "X" and e["tid"] == 0]
    assert [(e["name"], e["args"]["layer"]) for e in events] == [
        (step.name, step.layer) for step in found.steps
    ]
    save(program, tmp_path / "p.ipu")
    again = load(tmp_path / "p.ipu")
    assert to_text(again) == to_text(program)
    assert [s for s in again.main.steps if isinstance(s, Call)] == [
        s for s in program.main.steps if isinstance(s, Call)
    ]
    assert [f.origins for f in again.families()] == [f.origins for f in program.families()]
    inputs = random_inputs(program, 2)
    for name, values in run_program(again, inputs).items():
        np.testing.assert_array_equal(values, run_program(program, inputs)[name])
    counts = count_graph(program)
    scene = scene_of(program)
    assert (scene.vertices, scene.regions, scene.edges) == (
        counts.vertices,
        counts.regions,
        counts.edges,
    )
    # Three layers run the vertices of the function: they are three times as busy.
    busy = scene.activity[: scene.vertices]
    alone = scene_of(programs[0])
    first = next(n for n, info in enumerate(scene.layers) if info.name == "c1")
    once = next(n for n, info in enumerate(alone.layers) if info.name == "c1")
    np.testing.assert_allclose(
        busy[scene.layer[: scene.vertices] == first],
        3 * alone.activity[: alone.vertices][alone.layer[: alone.vertices] == once],
    )


def test_a_vertex_of_a_call_is_found(programs: tuple[Program, Program]) -> None:
    plain, outlined = programs
    for value, layer in zip(("a", "c", "e"), _ALIKE, strict=True):
        here, there = (locate(p, p.values[value], 100, layer) for p in (outlined, plain))
        assert here.codelet == there.codelet == "BinaryOp"
        assert here.compute_set == "a"
        assert there.compute_set == value
        assert (here.tile, here.vertex) == (there.tile, there.vertex)


def test_every_layer_is_verified(net: onnx.ModelProto, tmp_path: Path) -> None:
    onnx.save(net, tmp_path / "net.onnx")
    path = tmp_path / "net.onnx"
    program = compile_model(path, target=TARGET, outline=True)
    report = verify_model(path, program, random_inputs(program, 0))
    assert report.ok
    assert [one.name for one in report.layers if one.op == "Conv"] == [f"c{n}" for n in range(1, 6)]


def test_memory_is_used_again_after_every_call(programs: tuple[Program, Program]) -> None:
    for program in programs:
        inputs = random_inputs(program, 3)
        kept, sparing = Emulator(program), Emulator(program, keep=False)
        most = Counter[str]()

        def seen(step: object, memory: object, most: Counter[str] = most) -> None:
            del step
            arrays = memory.arrays  # type: ignore[attr-defined]
            most["bytes"] = max(most["bytes"], sum(a.nbytes for a in arrays.values()))

        watched = Emulator(program, seen, keep=False)
        first = kept.run(inputs)
        for _ in range(2):
            for name, values in sparing.run(inputs).items():
                np.testing.assert_array_equal(values, first[name])
        watched.run(inputs)
        held = sum(array.nbytes for array in program.constants.values())
        everything = sum(v.size * v.itemsize for v in program.variables)
        assert most["bytes"] - held < (everything - held) / 2


def test_random_bits_are_those_of_the_layer_that_calls(net: onnx.ModelProto) -> None:
    plain, outlined = (
        compile_model(
            net,
            target=TARGET,
            precision="float16",
            arithmetic=Arithmetic(seed=5),
            outline=outline,
        )
        for outline in (False, True)
    )
    inputs = random_inputs(plain, 0)
    found, before = run_program(outlined, inputs), run_program(plain, inputs)
    for name in before:
        np.testing.assert_array_equal(found[name], before[name])
    other = run_program(outlined, inputs, arithmetic=Arithmetic(seed=6))
    assert any((other[name] != found[name]).any() for name in found)


def test_values_too_large_are_counted_by_the_layer_that_calls(net: onnx.ModelProto) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(net)
    for at, array in enumerate(model.graph.initializer):
        if array.name == "b3":
            large = np.full(8, 65_000, np.float32)
            model.graph.initializer[at].CopyFrom(numpy_helper.from_array(large, "b3"))
    counts: list[dict[str, int]] = []
    for outline in (False, True):
        program = compile_model(model, target=TARGET, precision="float16", outline=outline)
        inputs = {"x": 200 * random_inputs(program, 0)["x"]}
        counts.append({})
        run_program(program, inputs, overflows=counts[-1])
    assert counts[0] == counts[1]
    assert [*counts[1]] == ["c3"]


@pytest.mark.parametrize(
    ("options", "functions"),
    [
        ({}, ["c1"]),
        ({"precision": parse_precision("float32,c2=mixed")}, ["c1"]),
        ({"precision": parse_precision("float32,c[12]=mixed")}, ["c1"]),
        ({"choices": parse_memory("0.6,c[23]=0.3")}, ["c2"]),
        ({"ipus": 2, "shard": "c2"}, ["c2"]),
        ({"precision": parse_precision("float32,c1=mixed,c2=float16")}, []),
    ],
)
def test_what_decides_a_layer_keeps_it_apart(
    net: onnx.ModelProto, options: dict[str, Any], functions: list[str]
) -> None:
    plain, outlined = (
        compile_model(net, target=TARGET, outline=outline, **options) for outline in (False, True)
    )
    assert [*outlined.functions] == functions
    assert len(outlined.calls()) == (0 if not functions else 3 if not options else 2)
    inputs = random_inputs(plain, 0)
    found, before = run_program(outlined, inputs), run_program(plain, inputs)
    for name in before:
        np.testing.assert_array_equal(found[name], before[name])


def test_a_plan_is_recorded_for_every_layer(programs: tuple[Program, Program]) -> None:
    plans = [
        {layer.name: layer.plan["chosen"] for layer in program.layers if layer.op == "Conv"}
        for program in programs
    ]
    assert plans[1]["c1"] == plans[1]["c2"] == plans[1]["c3"]
    apart = {name: {**plan, "costs": 0, "cycles": 0} for name, plan in plans[0].items()}
    assert apart == {name: {**plan, "costs": 0, "cycles": 0} for name, plan in plans[1].items()}


#: Three convolutions of as many channels in as out: their data gradients are such ones too.
_TRAINED = """
<ir_version: 8, opset_import: ["" : 17]>
trained (float[2, 8, 6, 6] x) => (float[2, 5] y) {
    a = Conv <pads = [1, 1, 1, 1], kernel_shape = [3, 3]> (x, w1, b1)
    b = Relu (a)
    c = Conv <pads = [1, 1, 1, 1], kernel_shape = [3, 3]> (b, w2, b2)
    d = Relu (c)
    e = Conv <pads = [1, 1, 1, 1], kernel_shape = [3, 3]> (d, w3, b3)
    f = Relu (e)
    g = Flatten (f)
    y = Gemm (g, w4)
}
"""


@pytest.fixture(scope="module")
def trained() -> onnx.ModelProto:
    model = parser.parse_model(_TRAINED)
    draw = np.random.default_rng(5)
    shapes: dict[str, tuple[int, ...]] = {"w4": (288, 5)}
    for number in (1, 2, 3):
        shapes |= {f"w{number}": (8, 8, 3, 3), f"b{number}": (8,)}
    for name, shape in shapes.items():
        array = draw.standard_normal(shape).astype(np.float32) / 6
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    model.graph.node[0].name = "c1"
    return model


@pytest.mark.parametrize("granularity", ["tile", "worker"])
@pytest.mark.parametrize("optimizer", ["sgd:lr=0.5", "none"])
def test_a_training_step_with_functions(
    trained: onnx.ModelProto, granularity: Granularity, optimizer: str
) -> None:
    training = Training(optimizer=parse_optimizer(optimizer))
    plain, program = (
        compile_model(
            trained, target=TARGET, granularity=granularity, outline=outline, training=training
        )
        for outline in (False, True)
    )
    draw = np.random.default_rng(6)
    inputs = {
        "x": draw.standard_normal((2, 8, 6, 6)).astype(np.float32),
        "labels": np.array([1, 4]),
    }
    found = run_program(program, inputs)
    graph = training_graph(load_graph(trained), training).graph
    session = onnxruntime.InferenceSession(
        as_model(graph).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    made = session.run(None, inputs)
    names = [value.name for value in session.get_outputs()]
    states = {state.output: name for name, state in graph.state.items()}
    assert {states.get(name, name) for name in names} == {*found}
    for name, values in zip(names, made, strict=True):
        # Some hundred float32 products in another order, in three layers and back.
        scale = 2e-5 * float(np.abs(values).max())
        np.testing.assert_allclose(found[states.get(name, name)], values, rtol=0, atol=scale)
    for name in states.values():
        first = numpy_helper.to_array(
            next(one for one in trained.graph.initializer if one.name == name)
        )
        assert np.abs(found[name] - first).max() > 1e-3
    # Updates, and convolutions: three forward, two backward (the input needs no gradient).
    calls = Counter(program.calls())
    assert [count for name, count in calls.items() if "weight" in name.lower()] == [3]
    assert calls.total() == 8
    # At worker, where all have a bias, a backward one may be one that runs forward.
    assert (calls["c1"] > 3) == (granularity == "worker")
    passes = [profile(one).passes() for one in (plain, program)]
    assert passes[0].keys() == passes[1].keys() >= {"forward", "weight update", "loss"}
    spent = [compute(profile(one)) for one in (plain, program)]
    if granularity == "tile":
        assert spent[0] == spent[1]
    private = StrictEmulator(program).run(inputs)
    for name, values in private.items():
        scale = 2e-5 * float(np.abs(found[name]).max())
        np.testing.assert_allclose(values, found[name], rtol=0, atol=scale)
