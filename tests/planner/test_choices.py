"""Choices: memory by pattern, pins, and files of plans, sound and unsound."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipuc.errors import ContainerError, OptionError
from ipuc.planner import plan_file
from ipuc.planner.choices import Choices, identity, parse_memory
from ipuc.planner.plan_file import read_plan, write_plan
from ipuc.program.program import Layer, Program
from ipuc.program.steps import Sequence
from ipuc.target import parse_target

CHOSEN = {
    "method": "AMP",
    "splits": {"rows": 2, "columns": 3},
    "tiles": 6,
    "cycles": 100,
    "costs": {"compute": 100},
}


def test_the_last_rule_that_fits_holds() -> None:
    choices = parse_memory("0.6, conv1=0.3, fc*=1.0, fc2=0.5")
    shares = [choices.memory(name) for name in ("conv1", "conv10", "fc1", "fc2", "FC1")]
    assert shares == [0.3, 0.6, 1.0, 0.5, 0.6]
    assert str(choices) == "0.6,conv1=0.3,fc*=1,fc2=0.5"
    assert parse_memory(str(choices)) == choices
    assert Choices().memory("anything") == 0.6


shares = st.integers(1, 1000).map(lambda n: n / 1000)
words = st.text("abc*?[]/=1", min_size=1, max_size=6).map(str.strip).filter(bool)


@given(shares, st.lists(st.tuples(words, shares), max_size=4))
def test_written_rules_are_read_alike(share: float, rules: list[tuple[str, float]]) -> None:
    choices = Choices(share, tuple(rules))
    assert parse_memory(str(choices)) == choices


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", '"" is no share'),
        ("0", '"0" is no share'),
        ("1.01", "is no share"),
        ("nan", "is no share"),
        ("60%", "is no share"),
        ("0.6,conv1", '"conv1" is no rule'),
        ("0.6,=0.5", '"=0.5" is no rule'),
        ("0.6,conv1=many", '"many" is no share'),
    ],
)
def test_shares_that_are_none(text: str, says: str) -> None:
    with pytest.raises(OptionError, match="available-memory") as found:
        parse_memory(text)
    assert says in found.value.what


def test_a_rule_or_a_pin_for_no_layer() -> None:
    parse_memory("0.5,conv?=0.3").check(["conv1", "fc"])
    with pytest.raises(OptionError, match=r'no layer fits "cnov1"') as found:
        parse_memory("0.5,cnov1=0.3").check(["conv1", "fc"])
    assert "did you mean conv1?" in found.value.fix
    Choices(pins={"fc": CHOSEN}).check(["fc"])
    with pytest.raises(OptionError, match=r'no layer "fd"'):
        Choices(pins={"fd": CHOSEN}).check(["fc"])


def test_a_pin_is_obeyed_up_to_its_figures() -> None:
    choices = Choices(pins={"fc": CHOSEN})
    choices.check_obeyed("other", {})
    choices.check_obeyed("fc", {"chosen": {**CHOSEN, "cycles": 7, "costs": {}, "balance": 1.5}})
    for other in ({**CHOSEN, "method": "HMAC"}, {**CHOSEN, "splits": {"rows": 2}}, {}):
        with pytest.raises(OptionError, match="does not fit"):
            choices.check_obeyed("fc", {"chosen": other} if other else {})


def test_tuples_and_lists_are_one() -> None:
    assert identity({"expand": (1, 2)}) == identity({"expand": [1, 2]})


def program(**plans: dict[str, Any]) -> Program:
    layers = [Layer(name, "Conv", (name,), (name,), plan) for name, plan in plans.items()]
    made = Program(parse_target("tiny"), [], {}, Sequence(()), layers=layers)
    made.metadata |= {"precision": "mixed", "granularity": "tile"}
    return made


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    assert write_plan(program(conv={"chosen": CHOSEN, "next": []}, relu={}), path) == 1
    found = read_plan(path)
    assert found.layers == {"conv": CHOSEN}
    settings = {"target": "tiny", "precision": "mixed", "granularity": "tile"}
    assert found.settings == settings
    found.check(path, **settings)
    for name in settings:
        with pytest.raises(OptionError, match=f"these plans are for {name}") as error:
            found.check(path, **{**settings, name: "other"})
        assert f"--{name}" in error.value.fix


def changed(**values: Any) -> dict[str, Any]:
    whole = {
        "format": "ipuc plan",
        "version": 1,
        "target": "tiny",
        "precision": "float32",
        "granularity": "tile",
        "layers": {"conv": CHOSEN},
    }
    return {**whole, **values}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\x00\xff", "it is no JSON"),
        (b"[" * 100_000, "it is no JSON"),
        (b"9" * 5000, "it is no JSON"),
        ([], "its format"),
        (changed(format="ipuc"), "its format"),
        (changed(version=2), "its version is 2"),
        (changed(target=None), "it does not say"),
        (changed(layers=[1]), "it has no layers"),
        (changed(layers={"conv": 3}), 'layer "conv": its plan is no object'),
        (changed(layers={"conv": {"method": 3}}), "its method"),
        (changed(layers={"conv": {"splits": [2]}}), "its splits"),
        (changed(layers={"conv": {"splits": {"rows": 0}}}), 'split "rows" is 0'),
        (changed(layers={"conv": {"splits": {"rows": 1.5}}}), 'split "rows" is 1.5'),
        (changed(layers={"conv": {"serial": True}}), 'split "serial" is True'),
    ],
)
def test_files_that_are_none(tmp_path: Path, content: Any, says: str) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    with pytest.raises(ContainerError) as found:
        read_plan(path)
    assert says in found.value.what
    assert str(path) in found.value.where


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ContainerError, match="cannot be read"):
        read_plan(tmp_path / "nothing.json")
    path = tmp_path / "plan.json"
    write_plan(program(conv={"chosen": CHOSEN}), path)
    monkeypatch.setattr(plan_file, "MAX_BYTES", 10)
    with pytest.raises(ContainerError, match="larger than 10 bytes"):
        read_plan(path)


def test_numbers_of_numpy_do_not_enter_a_file(tmp_path: Path) -> None:
    """They would fail to be written: a record is JSON already."""
    with pytest.raises(TypeError):
        write_plan(program(conv={"chosen": {"tiles": np.int64(3)}}), tmp_path / "p.json")
    assert not list(tmp_path.iterdir())
