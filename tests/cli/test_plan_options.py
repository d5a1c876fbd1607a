"""`--available-memory`, `--save-plan` and `--plan` on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_models import Run, only, save_model
from onnx import helper

from ipuc.program.save import load

TARGET = ("--target", "gc200,tiles=16")


@pytest.fixture
def net(folder: Path) -> Path:
    """A convolution, a maximum of windows, and a product."""
    rng = np.random.default_rng(0)
    weights = {
        "k": rng.standard_normal((8, 4, 3, 3)).astype(np.float32),
        "w": rng.standard_normal((8 * 16, 12)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["a"], name="conv1", pads=[1, 1, 1, 1]),
        helper.make_node(
            "MaxPool", ["a"], ["b"], name="pool1", kernel_shape=[2, 2], strides=[2, 2]
        ),
        helper.make_node("Flatten", ["b"], ["c"], name="flat"),
        helper.make_node("MatMul", ["c", "w"], ["y"], name="fc1"),
    ]
    path = folder / "net.onnx"
    return save_model(path, nodes, {"x": [1, 4, 8, 8]}, {"y": [1, 12]}, weights)


def plans(path: str = "plan.json") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(path).read_text("utf-8"))
    return found


def test_plans_are_saved_and_pinned(ipuc: Run, net: Path) -> None:
    done = ipuc("compile", net, *TARGET, "--save-plan", "plan.json")
    assert done.code == 0, done.err
    assert "plans written: plan.json, 3 layers" in done.out
    saved = plans()
    program = load("net.ipu")
    assert saved["target"] == "gc200,tiles=16"
    chosen = {layer.name: layer.plan.get("chosen") for layer in program.layers}
    assert saved["layers"] == {name: plan for name, plan in chosen.items() if plan}
    words = ("compile", net, *TARGET, "--plan", "plan.json", "-o", "pinned.ipu")
    done = ipuc(*words, "--save-plan", "again.json", "--json")
    assert done.code == 0, done.err
    assert done.json()["plan_file"] == "again.json"
    assert plans("again.json") == saved
    assert load("pinned.ipu").metadata["pinned"] == sorted(saved["layers"])


def test_memory_rules_are_kept(ipuc: Run, net: Path) -> None:
    rules = "0.5,conv1=0.3,fc*=1.0"
    done = ipuc("compile", net, *TARGET, "--available-memory", rules)
    assert done.code == 0, done.err
    assert load("net.ipu").metadata["available_memory"] == "0.5,conv1=0.3,fc*=1"
    done = ipuc("run", "net.ipu", "--available-memory", "0.4")
    assert done.code == 1
    assert "--available-memory: this program is compiled already" in done.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--available-memory", "2"), "is no share"),
        (("--available-memory", "0.6,cnov1=0.2"), "did you mean conv1"),
        (("--plan", "nothing.json"), "cannot be read"),
        (("--plan", "net.onnx"), "no file of plans"),
        (("--plan", "plan.json", "--precision", "mixed"), "add --precision float32"),
        (("--plan", "plan.json", "--granularity", "worker"), "add --granularity tile"),
        (("--plan", "other.json"), 'no layer "conv2"'),
        (("--plan", "unfit.json"), "does not fit"),
        (("--plan", "none.json"), "does not fit"),
        (("--save-plan", "nowhere/plan.json"), "no such folder"),
        (("--save-plan", "new.ipu", "-o", "new.ipu"), "one file"),
    ],
)
def test_one_clear_error_for_each(
    ipuc: Run, net: Path, folder: Path, words: tuple[str, ...], says: str
) -> None:
    assert ipuc("compile", net, *TARGET, "--save-plan", "plan.json").code == 0
    Path("net.ipu").unlink()
    saved = plans()
    other = {**saved, "layers": {"conv2": saved["layers"]["conv1"]}}
    Path("other.json").write_text(json.dumps(other), "utf-8")
    pool = {**saved["layers"]["pool1"], "splits": {"batch": 7}}
    Path("unfit.json").write_text(json.dumps({**saved, "layers": {"pool1": pool}}), "utf-8")
    Path("none.json").write_text(json.dumps({**saved, "layers": {"flat": pool}}), "utf-8")
    done = ipuc("compile", net, *TARGET, *words)
    assert done.code == 1, done.out
    assert says in done.err
    assert done.err.count("error: ") == 1
    only(folder, "net.onnx", "none.json", "other.json", "plan.json", "unfit.json")


def test_plans_for_another_target(ipuc: Run, net: Path) -> None:
    assert ipuc("compile", net, *TARGET, "--save-plan", "plan.json").code == 0
    done = ipuc("compile", net, "--target", "tiny", "--plan", "plan.json")
    assert done.code == 1
    assert "these plans are for target gc200,tiles=16, this compile is for tiny" in done.err


def test_a_model_that_is_run_takes_them_too(ipuc: Run, net: Path) -> None:
    assert ipuc("compile", net, *TARGET, "--save-plan", "plan.json").code == 0
    done = ipuc("run", net, *TARGET, "--plan", "plan.json", "--available-memory", "0.7,fc1=0.5")
    assert done.code == 0, done.err


def test_next_plans_can_be_pinned_and_compute_the_same(ipuc: Run, net: Path) -> None:
    """The oracle of `verify` is onnxruntime."""
    assert ipuc("compile", net, *TARGET, "--save-plan", "plan.json").code == 0
    layers = {layer.name: layer.plan for layer in load("net.ipu").layers}
    saved = plans()
    for name in ("conv1", "pool1", "fc1"):
        saved["layers"][name] = layers[name]["next"][-1]
    Path("other.json").write_text(json.dumps(saved), "utf-8")
    done = ipuc("compile", net, *TARGET, "--plan", "other.json", "-o", "other.ipu")
    assert done.code == 0, done.err
    made = {layer.name: layer.plan for layer in load("other.ipu").layers}
    for name in ("conv1", "pool1", "fc1"):
        assert made[name]["chosen"]["splits"] == layers[name]["next"][-1]["splits"]
        assert made[name]["chosen"] != layers[name]["chosen"]
    done = ipuc("verify", "other.ipu")
    assert done.code == 0, done.err + done.out


def test_less_memory_makes_other_plans(ipuc: Run, net: Path) -> None:
    """The share is of tiles so small that it binds."""
    small = ("--target", "gc200,tiles=16,tile_memory_bytes=40000")
    need = []
    for share in ("1.0", "0.03"):
        done = ipuc("explain", net, "conv1", *small, "--available-memory", share, "--json")
        assert done.code == 0, done.err
        found = done.json()
        need.append(found["plan"]["chosen"]["temp_bytes"])
        assert found["layer"]["available_bytes"] == int(float(share) * 40000)
    assert need[1] < need[0]
    done = ipuc("explain", net, "conv1", *small, "--available-memory", "0.001")
    assert done.code == 0, done.err
    assert "no plan was found within 40 temporary bytes" in done.out
