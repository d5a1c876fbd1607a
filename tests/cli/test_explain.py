"""`ipuc explain`: plans beside each other, and beside the profile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_models import Run, save_model
from onnx import helper

from ipuc.cli.plan_words import plan_rows, planned_parts, split_word, transforms
from ipuc.program.save import load, save

TARGET = ("--target", "gc200,tiles=16")


@pytest.fixture
def net(folder: Path) -> Path:
    """A convolution with its normalisation, a maximum of windows, a view and two products."""
    rng = np.random.default_rng(0)
    weights = {
        "k": rng.standard_normal((8, 4, 3, 3)).astype(np.float32),
        "w": rng.standard_normal((128, 12)).astype(np.float32),
        "v": rng.standard_normal((12, 12)).astype(np.float32),
        **{name: rng.random(8).astype(np.float32) for name in ("scale", "bias", "mean", "var")},
    }
    normal = ("a", "scale", "bias", "mean", "var")
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["a"], name="conv1", pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", normal, ["n"], name="norm1"),
        helper.make_node(
            "MaxPool", ["n"], ["b"], name="pool1", kernel_shape=[2, 2], strides=[2, 2]
        ),
        helper.make_node("Relu", ["b"], ["r"], name="relu1"),
        helper.make_node("Flatten", ["r"], ["c"], name="flat"),
        helper.make_node("MatMul", ["c", "w"], ["d"], name="fc1"),
        helper.make_node("MatMul", ["d", "v"], ["y"], name="fc2"),
    ]
    path = folder / "net.onnx"
    return save_model(path, nodes, {"x": [1, 4, 8, 8]}, {"y": [1, 12]}, weights)


@pytest.fixture
def compiled(ipuc: Run, net: Path, folder: Path) -> Path:
    done = ipuc("compile", net, *TARGET)
    assert done.code == 0, done.err
    return folder / "net.ipu"


def explained(ipuc: Run, *words: object) -> dict[str, Any]:
    done = ipuc("explain", *words, "--json")
    assert done.code == 0, done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


def test_planned_and_profiled_stand_side_by_side(ipuc: Run, compiled: Path) -> None:
    profiled = {row["name"]: row for row in ipuc("profile", compiled, "--json").json()["layers"]}
    for name in ("conv1", "pool1", "fc1"):
        found = explained(ipuc, compiled, name)
        assert found["layer"]["name"] == name
        for key in ("cycles", "compute", "exchange", "sync", "tiles", "peak_tile_bytes"):
            assert found["profiled"][key] == profiled[name][key]
        steps = found["supersteps"]
        assert sum(step["cycles"] for step in steps) == profiled[name]["cycles"]
        chosen = found["plan"]["chosen"]
        assert found["planned"]["cycles"] == chosen["cycles"]
    pool = explained(ipuc, compiled, "pool1")
    # One vertex type and no copies: what is planned is what is charged.
    assert pool["planned"]["compute"] == pool["profiled"]["compute"]


def test_the_text_has_every_plan_and_item(ipuc: Run, compiled: Path) -> None:
    done = ipuc("explain", compiled, "conv1")
    assert done.code == 0, done.err
    plan = load(compiled).layers[0].plan
    assert "conv1 (Conv), layer 0 of 6" in done.out
    assert "made of the ONNX nodes conv1, norm1" in done.out
    assert "float32[1x4x8x8]" in done.out
    assert "float32[8x4x3x3], constant" in done.out
    rows: dict[str, list[str]] = {}
    for line in done.out.splitlines():
        rows.setdefault(line[4:].split("  ")[0], line.split())
    shown = [plan["chosen"], *plan["next"]]
    assert 1 < len(shown) <= 5
    assert rows["cycles"][1 : 1 + len(shown)] == [f"{one['cycles']:,}" for one in shown]
    for item, value in plan["chosen"]["costs"].items():
        assert rows[item.replace("_", " ")][len(item.split())] == f"{value:,}"
    assert rows["ratio to the chosen"][4] == "1.00"
    assert "AMP: the matrix unit" in done.out or "without the matrix unit" in done.out
    assert "may use 60% of a tile's memory" in done.out
    assert done.err.splitlines()[-1] == f"next: ipuc show {compiled} --step conv1 --tile 0"


@pytest.mark.parametrize(
    ("layer", "name"),
    [("conv1", "conv1"), ("norm1", "conv1"), ("0", "conv1"), ("con", "conv1"), ("fc1", "fc1")],
)
def test_ways_to_name_a_layer(ipuc: Run, compiled: Path, layer: str, name: str) -> None:
    assert explained(ipuc, compiled, layer)["layer"]["name"] == name
    assert explained(ipuc, layer)["layer"]["name"] == name, "of the newest program"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("net.ipu", "cnov1"), "did you mean conv1"),
        (("net.ipu", "fc"), '2 layers begin with "fc"'),
        (("net.ipu", "6"), "6 layers, numbered from 0"),
        (("net.ipu", ""), 'no layer ""'),
        (("net.ipu", "conv1", "x"), "3 words are too many"),
        (("other.ipu", "conv1"), "other.ipu"),
        (("net.ipu", "conv1", "--precision", "mixed"), "compiled already"),
    ],
)
def test_what_cannot_be_explained(
    ipuc: Run, compiled: Path, words: tuple[str, ...], says: str
) -> None:
    assert compiled.exists()
    done = ipuc("explain", *words)
    assert (done.code, done.out) == (1, "")
    assert says in done.err


@pytest.mark.parametrize(
    ("layer", "why"), [("flat", "view of its input"), ("relu1", "spread over the tiles by a rule")]
)
def test_layers_without_a_choice_say_why(ipuc: Run, compiled: Path, layer: str, why: str) -> None:
    assert why in explained(ipuc, compiled, layer)["reason"]
    assert why in ipuc("explain", compiled, layer).out


def test_all_layers_are_listed(ipuc: Run, compiled: Path) -> None:
    done = ipuc("explain", compiled)
    assert done.code == 0, done.err
    names = [line.split()[1] for line in done.out.splitlines()[1:]]
    assert names == ["conv1", "pool1", "relu1", "flat", "fc1", "fc2"]
    listed = explained(ipuc, compiled)["layers"]
    assert [row["name"] for row in listed] == names
    assert listed[0]["planned_cycles"] == explained(ipuc, compiled, "0")["planned"]["cycles"]


def test_a_model_with_its_options_and_pins(ipuc: Run, net: Path) -> None:
    words = ("explain", net, "conv1", *TARGET, "--available-memory", "0.5,conv1=0.25")
    done = ipuc(*words, "--save-plan", "plan.json")
    assert done.code == 0, done.err
    assert "may use 25% of a tile's memory" in done.out
    assert "plans written: plan.json" in done.out
    done = ipuc(*words, "--plan", "plan.json")
    assert done.code == 0, done.err
    assert "pinned by --plan" in done.out


def test_indices_have_a_plan_of_their_own(ipuc: Run, folder: Path) -> None:
    nodes = [
        helper.make_node("MaxPool", ["x"], ["y", "i"], name="pool", kernel_shape=[2]),
        helper.make_node("Cast", ["i"], ["z"], name="cast", to=1),
    ]
    made = {"y": [1, 4, 31], "z": [1, 4, 31]}
    path = save_model(folder / "pool.onnx", nodes, {"x": [1, 4, 32]}, made)
    done = ipuc("explain", path, "pool", *TARGET)
    assert done.code == 0, done.err
    assert "plan of the indices" in done.out


def test_rules_of_2017(ipuc: Run, net: Path) -> None:
    done = ipuc("explain", net, "fc1", *TARGET, "--granularity", "worker")
    assert done.code == 0, done.err
    assert "by the rules of 2017" in done.out
    assert "tiles per row" in done.out


@pytest.mark.parametrize(
    "plan",
    [
        {"chosen": 3},
        {"chosen": {"costs": 3, "splits": [1], "serial": "x", "cycles": None, "tiles": {}}},
        {"chosen": {"costs": {"compute": "x"}, "expand": 7, "swap": 1}, "next": 4},
        {"chosen": {"costs": {"compute": 1}, "cycles": 0}, "next": [1, {}], "candidates": "x"},
    ],
)
def test_strange_records_are_shown_as_they_are(
    ipuc: Run, compiled: Path, plan: dict[str, Any]
) -> None:
    program = load(compiled)
    program.layers[0].plan = plan
    save(program, compiled)
    for words in ((), ("conv1",)):
        done = ipuc("explain", compiled, *words)
        assert done.code == 0, done.err


def test_planned_parts_by_hand() -> None:
    """Items of one of 3 serial steps, and one that is paid once: 3 * (10 + 5) + 7 = 52."""
    record = {
        "serial": {"in": 3, "out": 1},
        "costs": {"compute": 10, "data_exchange": 5, "weight_rearrange": 7},
        "cycles": 52,
    }
    assert planned_parts(record) == {"compute": 37, "exchange": 15, "sync": 0}
    assert planned_parts({**record, "cycles": 22}) == {"compute": 17, "exchange": 5, "sync": 0}
    assert planned_parts({**record, "cycles": 51}) is None


def test_words() -> None:
    assert [split_word(name) for name in ("field0", "kernel1", "ins", "field2", "batch0")] == [
        "output rows",
        "kernel columns",
        "input channels",
        "output axis 2",
        "batch axis 0",
    ]
    record = {"swap": True, "expand": [0, 1], "flatten_out": [1]}
    assert list(transforms(record)) == ["swap", "expand rows and columns", "flatten columns"]
    rows = {row[0]: row[1:] for row in plan_rows([{"cycles": 4}, {"cycles": 6}, {}])}
    assert rows == {"cycles": ["4", "6", "-"], "ratio to the chosen": ["1.00", "1.50", "-"]}
