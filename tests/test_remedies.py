"""Remedies: what each says is what the same compile gives, and time is bounded."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from ipuc import remedies as module
from ipuc.errors import OptionError, ShapeError
from ipuc.pipeline import compile_model
from ipuc.planner.choices import Choices
from ipuc.profile.record import profile
from ipuc.remedies import price_all, remedies, serial_layers
from ipuc.target import CATALOGUE, Target, parse_target
from ipuc.training.options import Training

TINY = CATALOGUE["tiny"]


def model(size: int = 128, batch: int | str = "batch") -> ModelProto:
    """Two products with weights."""
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(rng.standard_normal((size, size)).astype(np.float32), name)
        for name in ("v", "w")
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "v"], ["a"], name="first"),
        helper.make_node("MatMul", ["a", "w"], ["y"], name="second"),
    ]
    graph = helper.make_graph(
        nodes,
        "products",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def flags(arguments: dict[str, Any]) -> list[str]:
    return [one.flag for one in remedies({"target": TINY, **arguments})]


def test_only_what_is_less_than_what_was_asked_for_is_a_remedy() -> None:
    some = ["--available-memory 0.3", "--precision mixed", "--ipus 2"]
    more = ["--available-memory 0.15", "--precision float16", "--ipus 4"]
    assert flags({}) == [*some, *more]
    assert flags({"precision": "mixed"}) == [some[0], more[1], some[2], more[0], more[2]]
    half: dict[str, Any] = {"precision": "float16"}
    assert flags({**half, "choices": Choices(0.2)}) == [more[0], some[2], more[2]]
    assert flags({**half, "choices": Choices(0.1)}) == [some[2], more[2]]
    assert flags({"granularity": "worker"}) == ["--granularity tile", *some, *more]
    assert flags({"batch": 7}) == [*some, "--batch 3", *more]
    assert flags({"batch": 1}) == [*some, *more]
    assert flags({"target": CATALOGUE["gc2"]}) == [*some, "--target gc200", *more]
    assert flags({"target": parse_target("gc2,tiles=8")}) == flags({})
    again = Training(recompute=("all",))
    assert flags({"training": Training()}) == [some[0], "--recompute all", *some[1:], *more]
    assert flags({"training": again}) == flags({})


def test_more_ipus_are_twice_and_four_times_as_many() -> None:
    def several(arguments: dict[str, Any]) -> list[str]:
        return [flag for flag in flags(arguments) if "--ipus" in flag]

    assert several({"ipus": 3}) == ["--ipus 6", "--ipus 12"]
    assert several({"ipus": 8}) == ["--ipus 16"]
    assert several({"ipus": 9}) == []
    assert several({"ipus": 2, "shard": "memory"}) == ["--ipus 4", "--ipus 8"]
    named = {"ipus": 2, "shard": "second"}
    assert several(named) == ["--ipus 4 --shard auto", "--ipus 8 --shard auto"]


def test_rules_for_layers_stay() -> None:
    found = flags({"choices": Choices(0.6, (("conv*", 0.2), ("fc", 0.9)))})
    assert [flag for flag in found if "memory" in flag] == [
        '--available-memory "0.3,conv*=0.2,fc=0.3"',
        '--available-memory "0.15,conv*=0.15,fc=0.15"',
    ]
    assert '--precision "mixed,conv1=float32"' in flags({"precision": "float32,conv1=float32"})


def test_shapes_are_halved_where_they_hold_the_batch() -> None:
    assert "--shape x=2x64 --shape z=2" in flags({"shapes": {"x": (4, 64), "z": (4,)}})
    assert not any("--shape" in flag for flag in flags({"shapes": {"x": (4, 64), "z": (3,)}}))
    assert not any("--shape" in flag for flag in flags({"shapes": {"x": (1, 64)}}))


def tight(arguments: dict[str, Any], spare: int) -> Target:
    """A target with a tile that has `spare` bytes more or less than the program needs."""
    need = profile(compile_model(model(), **arguments)).memory.max_tile_bytes
    return parse_target(f"tiny,tile_memory_bytes={need + spare}")


def test_prices_are_those_of_the_same_compile() -> None:
    target = tight({"target": TINY, "batch": 4}, -1)
    arguments: dict[str, Any] = {"target": target, "batch": 4}
    cycles = profile(compile_model(model(), **arguments)).cycles["total"]
    prices = price_all(model(), arguments, cycles)
    listed = remedies(arguments)
    assert [price.flag for price in prices][: len(listed)] == [one.flag for one in listed]
    assert any(price.fits for price in prices)
    for one, price in zip(listed, prices, strict=False):
        if price.why_not:
            assert "too few for 4 IPUs" in price.why_not
            with pytest.raises(OptionError, match="too few for 4 IPUs"):
                compile_model(model(), **{**arguments, **one.changes})
            continue
        again = profile(compile_model(model(), **{**arguments, **one.changes}))
        assert price.cycles == again.cycles["total"]
        assert price.max_tile_bytes == again.memory.max_tile_bytes
        assert price.fits is again.memory.fits
        assert price.limit_bytes == target.tile_memory_bytes
        samples = 2 if one.kind == "batch" else 1
        assert price.ratio == pytest.approx(samples * again.cycles["total"] / cycles)


def test_the_ratio_is_of_the_time() -> None:
    """A GC200 takes fewer cycles than a GC2, and each takes longer."""
    given: dict[str, Any] = {"target": CATALOGUE["gc2"], "batch": 4}
    before = profile(compile_model(model(), **given))
    price = next(
        one
        for one in price_all(model(), given, before.cycles["total"])
        if one.flag == "--target gc200"
    )
    after = profile(compile_model(model(), target=CATALOGUE["gc200"], batch=4))
    assert price.cycles == after.cycles["total"]
    assert price.ratio == pytest.approx(after.seconds / before.seconds)
    assert after.seconds / before.seconds != pytest.approx(price.cycles / before.cycles["total"])


def test_two_or_three_together_where_none_helps_alone() -> None:
    hopeless: dict[str, Any] = {"target": parse_target("tiny,tile_memory_bytes=100"), "batch": 4}
    prices = price_all(model(), hopeless, 1000)
    alone = len(remedies(hopeless))
    assert not any(price.fits for price in prices)
    pair, three = (price.flag for price in prices[alone:])
    assert pair.count("--") == 2
    assert three.count("--") == 3
    # Of every kind the one that needs least, of equal ones the milder, which is listed first.
    least: dict[str, tuple[int, int, str]] = {}
    for at, (one, price) in enumerate(zip(remedies(hopeless), prices, strict=False)):
        if price.max_tile_bytes is None:
            continue
        mine = (price.max_tile_bytes, at, one.flag)
        least[one.kind] = min(least.get(one.kind, mine), mine)
    best = [flag for *_, flag in sorted(least.values())]
    assert pair == " ".join(best[:2])
    assert three == " ".join(best[:3])


def test_time_is_bounded() -> None:
    told: list[str] = []
    prices = price_all(model(), {"target": TINY, "batch": 4}, 1000, 0.0, told.append)
    assert prices
    assert told == []
    assert {price.why_not for price in prices} == {"not tried: the time was over"}
    assert {price.fits for price in prices} == {None}


def test_a_compile_is_ended_when_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock is asked within a compile, not only between two."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def slow(*_: object, **kwargs: Any) -> None:
        kwargs["progress"]("lower", 1, 2)
        now[0] += 100
        kwargs["progress"]("lower", 2, 2)
        pytest.fail("it went on")

    monkeypatch.setattr(module, "compile_model", slow)
    told: list[str] = []
    prices = price_all(model(), {"target": TINY}, 1000, 60.0, told.append)
    assert told == ["--available-memory 0.3"]
    assert {price.why_not for price in prices} == {"not tried: the time was over"}


def test_a_remedy_that_cannot_be_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ShapeError("no half of it")

    monkeypatch.setattr(module, "compile_model", refuse)
    prices = price_all(model(), {"target": TINY}, 1000)
    assert {price.why_not for price in prices} == {"cannot be: no half of it"}


def test_serial_layers_are_counted() -> None:
    """With little memory a convolution is done in steps."""
    kind, weights = TensorProto.FLOAT, np.zeros((192, 64, 5, 5), np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="conv", pads=[2, 2, 2, 2])
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", kind, [1, 64, 27, 27])],
        [helper.make_tensor_value_info("y", kind, None)],
        [numpy_helper.from_array(weights, "w")],
    )
    conv = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    target = parse_target("gc200,tiles=64")
    programs = [compile_model(conv, target=target, choices=Choices(share)) for share in (1, 0.01)]
    assert [serial_layers(program) for program in programs] == [0, 1]
    steps = [sum(step.times for step in profile(program).steps) for program in programs]
    assert steps[1] > steps[0]
