"""The timeline: it ends when the profile says, and its phases and tiles add up."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from ipuc import zoo
from ipuc.codelets.unary import UnaryOp
from ipuc.pipeline import compile_model
from ipuc.profile.record import Profile, profile
from ipuc.profile.trace import trace
from ipuc.program.builder import Builder
from ipuc.target import CATALOGUE


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    model = zoo.write("digits", tmp_path_factory.mktemp("models") / "digits.onnx")
    return profile(compile_model(model, target=CATALOGUE["tiny"]))


def cycles(found: Profile, micros: float) -> int:
    return round(micros * found.program.target.clock_hz / 1e6)


def slices(made: dict[str, Any], track: int) -> list[dict[str, Any]]:
    return [e for e in made["traceEvents"] if e["ph"] == "X" and e["tid"] == track]


def named(made: dict[str, Any]) -> dict[str, int]:
    return {e["args"]["name"]: e["tid"] for e in made["traceEvents"] if e["name"] == "thread_name"}


def test_supersteps_and_phases_fill_the_run(found: Profile) -> None:
    made = json.loads(json.dumps(trace(found)))
    total = found.cycles
    assert made["otherData"]["cycles"] == total["total"]
    names = named(made)
    for track in ("supersteps", "phases"):
        row = slices(made, names[track])
        assert row[0]["ts"] == 0
        for one, after in pairwise(row):
            # Both are rounded to 1e-7 us.
            assert after["ts"] == pytest.approx(one["ts"] + one["dur"], abs=2e-7, rel=0)
        assert cycles(found, row[-1]["ts"] + row[-1]["dur"]) == total["total"]
    assert [e["name"] for e in slices(made, names["supersteps"])] == [s.name for s in found.steps]
    for kind in ("compute", "exchange", "sync"):
        spent = [e["dur"] for e in slices(made, names["phases"]) if e["name"] == kind]
        assert cycles(found, sum(spent)) == total[kind]


def test_a_timeline_takes_few_bytes_a_superstep(found: Profile) -> None:
    """ResNet-50 has some 260: that is far below the 20 MB that a viewer takes lightly."""
    text = json.dumps(trace(found), separators=(",", ":"))
    assert len(text) < 2000 * len(found.steps)


def test_tiles_work_within_the_phases(found: Profile) -> None:
    made = trace(found, range(found.program.target.tiles))
    phases = slices(made, named(made)["phases"])
    spans = {(e["name"], e["ts"]): e["dur"] for e in phases}
    tracks = {name.split()[1]: tid for name, tid in named(made).items() if name.startswith("tile")}
    assert sorted(tracks) == ["0", "1", "2", "3"]
    full: dict[tuple[str, float], float] = {}
    for tile, track in tracks.items():
        row = slices(made, track)
        spent = sum(e["dur"] for e in row if e["name"] == "compute")
        assert cycles(found, spent) == sum(
            int(step.compute[int(tile)]) * step.times for step in found.steps
        )
        for event in row:
            key = (event["name"], event["ts"])
            assert event["dur"] <= spans[key]
            full[key] = max(full.get(key, 0), event["dur"])
    # some tile is busy to the end of every phase that is no barrier
    assert full == {key: dur for key, dur in spans.items() if key[0] != "sync"}


def test_counters_show_what_is_alive(found: Profile) -> None:
    made = trace(found)
    memory = found.memory
    counted = [e["args"]["live bytes"] for e in made["traceEvents"] if e["name"] == "live bytes"]
    assert len(counted) == len(found.steps)
    by_step = memory.always_bytes.sum() + memory.not_always.sum(axis=1)
    assert set(counted) <= set(by_step.tolist())
    active = [e["args"]["active tiles"] for e in made["traceEvents"] if e["name"] == "active tiles"]
    assert active == [int((step.compute > 0).sum()) for step in found.steps]


def test_sweeps_repeats_and_empty_programs() -> None:
    build = Builder(CATALOGUE["tiny"])
    x = build.input("x", "float32", (3, 4))
    out = build.variable("out", "float32", (3, 4))
    with build.repeat(5), build.compute_set("sweep", sweep=True) as sweep:
        tables = [np.arange(3) * 4]
        fields = {"x": build.field(x, tables, (4,), (1,)), "out": build.field(out, tables, (4,))}
        sweep.add(UnaryOp("neg"), [0, 1, 2], **fields)
    build.map_rest()
    found = profile(build.build())
    made = trace(found)
    row = slices(made, named(made)["supersteps"])
    assert [e["args"]["times"] for e in row] == [5, 5, 5]
    assert made["otherData"]["cycles"] == found.cycles["total"]
    assert trace(profile(Builder(CATALOGUE["tiny"]).build()))["otherData"]["cycles"] == 0
