"""`--outline` on the command line: every command that compiles obeys it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cli_models import Run, save_model
from onnx import helper

from ipuc.program.save import load

TARGET = ("--target", "gc200,tiles=16")


@pytest.fixture
def net(folder: Path) -> Path:
    """Three convolutions, two of which are alike."""
    rng = np.random.default_rng(0)
    weights = {
        name: rng.standard_normal((outs, 4, 3, 3)).astype(np.float32)
        for name, outs in (("k1", 4), ("k2", 4), ("k3", 8))
    }
    nodes = [
        helper.make_node("Conv", ["x", "k1"], ["a"], name="conv1", pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["a", "k2"], ["b"], name="conv2", pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["b", "k3"], ["y"], name="conv3", pads=[1, 1, 1, 1]),
    ]
    path = folder / "net.onnx"
    return save_model(path, nodes, {"x": [1, 4, 8, 8]}, {"y": [1, 8, 8, 8]}, weights)


def test_a_program_with_functions_is_compiled_and_described(ipuc: Run, net: Path) -> None:
    done = ipuc("compile", net, *TARGET, "--outline")
    assert done.code == 0, done.err
    assert "1 function for 2 layers" in done.out
    program = load("net.ipu")
    assert program.calls() == ["conv1", "conv1"]
    assert program.metadata["outline"] is True
    facts = ipuc("compile", net, *TARGET, "--outline", "--json").json()
    assert (facts["outline"], facts["functions"], facts["calls"]) == (True, 1, 2)
    for words in ([], ["--no-outline"], ["--outline", "--no-outline"]):
        plain = ipuc("compile", net, *TARGET, *words, "--json").json()
        assert (plain["outline"], plain["functions"], plain["calls"]) == (False, 0, 0)
        assert plain["vertices"] > facts["vertices"]
        assert plain["memory"]["total_bytes"] > facts["memory"]["total_bytes"]


def test_run_gives_the_same_numbers(ipuc: Run, net: Path) -> None:
    for word in ("--outline", "--no-outline"):
        done = ipuc("run", net, *TARGET, word, "-o", f"{word[2:]}.npz")
        assert done.code == 0, done.err
    with np.load("outline.npz") as found, np.load("no-outline.npz") as plain:
        np.testing.assert_array_equal(found["y"], plain["y"])


def test_profile_gives_every_layer_its_calls(ipuc: Run, net: Path) -> None:
    found, plain = (
        ipuc("profile", net, *TARGET, word, "--json").json()
        for word in ("--outline", "--no-outline")
    )
    compute = [
        {
            layer["name"]: sum(
                one["compute"]
                for one in report["compute_sets"]
                if one["layer"] == layer["name"] and one["kind"] == "compute"
            )
            for layer in report["layers"]
        }
        for report in (found, plain)
    ]
    assert compute[0] == compute[1]
    assert compute[0].keys() == {"conv1", "conv2", "conv3"}
    assert found["cycles"]["compute"] > plain["cycles"]["compute"]  # copies are charged


@pytest.mark.parametrize("command", ["explain", "verify", "show", "render"])
def test_other_commands_take_it_too(ipuc: Run, net: Path, command: str) -> None:
    words = {
        "explain": ("conv2",),
        "show": ("--step", "conv2", "--tile", "3"),
        "render": ("--out", "g.png", "--size", "256"),
    }.get(command, ())
    done = ipuc(command, net, *words, *TARGET, "--outline")
    assert done.code == 0, done.err
    if command == "verify":
        assert "3 layers agree" in done.out


def test_a_program_is_compiled_already(ipuc: Run, net: Path) -> None:
    assert ipuc("compile", net, *TARGET).code == 0
    done = ipuc("run", "net.ipu", "--outline")
    assert done.code == 1
    assert "--outline: this program is compiled already" in done.err
