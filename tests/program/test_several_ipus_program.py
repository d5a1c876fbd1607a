"""Programs that are built by hand for several IPUs: where things lie, what is refused, files."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ipuc.codelets.unary import UnaryOp
from ipuc.emulator.strict import StrictEmulator
from ipuc.errors import ContainerError, ProgramError
from ipuc.program.builder import Builder
from ipuc.program.program import Program
from ipuc.program.save import load, save
from ipuc.program.text import to_text
from ipuc.target import CATALOGUE, MAX_IPUS, several

PAIR = several(CATALOGUE["tiny"], 2)


def relayed() -> Program:
    """y = -(-x): one vertex on tile 3 of IPU 0, then one on tile 3 of IPU 1, then a copy."""
    build = Builder(PAIR)
    value = build.input("x", "float32", (8,))
    for build.ipu, name in enumerate(("first", "second")):
        made = build.variable(name, "float32", (8,))
        with build.compute_set(name) as work:
            work.add(UnaryOp("neg"), 3, x=value, out=made)
        value = made
    unread = build.copy(value, "unread")
    build.output("y", value)
    build.output("z", unread)
    build.map_rest()
    return build.build()


def tiles_of(program: Program) -> dict[str, set[int]]:
    return {v.name: set(v.mapped().tiles.tolist()) for v in program.variables}


def test_tiles_are_those_of_the_ipu_that_is_built_for() -> None:
    program = relayed()
    found = tiles_of(program)
    # x lies with its reader, results with their vertices; the copy is spread over the second IPU
    assert (found["x"], found["first"], found["second"]) == ({3}, {3}, {7})
    assert found["unread"] == {4}
    assert "2 x tiny, 8 tiles" in to_text(program)
    x = np.arange(8, dtype=np.float32)
    emulator = StrictEmulator(program)
    made = emulator.run({"x": x})
    np.testing.assert_array_equal(made["y"], x)
    np.testing.assert_array_equal(made["z"], x)
    moved = {(e.step, e.phase): e.links.tolist() for e in emulator.exchanges if e.phase != "host"}
    assert moved["second", "read"] == [[0, 32], [0, 0]]
    assert [way for way in moved if np.any(moved[way])] == [("second", "read")]


def test_mappings_by_hand_count_from_the_ipus_first_tile() -> None:
    build = Builder(PAIR)
    build.ipu = 1
    x, y = (build.variable(name, "float32", (64,)) for name in "xy")
    build.map(x, [0, 10], [3, 0])
    build.map_linear(y, first_tile=2)
    assert tiles_of(build.build()) == {"x": {7, 4}, "y": {6, 7}}


def test_tiles_beyond_the_last_ipu_are_refused() -> None:
    build = Builder(PAIR)
    build.ipu = 2
    x = build.variable("x", "float32", (4,))
    build.map(x, [0], [0])
    with pytest.raises(ProgramError, match="mapped to tile 8 of 8"):
        build.build()


def changed(program: Program, path: Path, **fields: Any) -> Path:
    """A file in which the target has other numbers; None takes one away."""
    save(program, path.with_suffix(".right.ipu"))
    with (
        zipfile.ZipFile(path.with_suffix(".right.ipu")) as right,
        zipfile.ZipFile(path, "w") as new,
    ):
        for name in right.namelist():
            content = right.read(name)
            if name == "program.json":
                document = json.loads(content)
                target = document["target"] | fields
                document["target"] = {k: v for k, v in target.items() if v is not None}
                content = json.dumps(document).encode()
            new.writestr(name, content)
    return path


def test_a_file_comes_back_with_its_ipus(tmp_path: Path) -> None:
    save(relayed(), tmp_path / "p.ipu")
    assert load(tmp_path / "p.ipu").target == PAIR


def test_a_file_from_before_there_were_several_ipus(tmp_path: Path) -> None:
    build = Builder(CATALOGUE["tiny"])
    build.map_linear(build.variable("x", "float32", (4,)))
    links = ("pair_links", "ladder_links", "link_bits_per_second", "link_percent")
    new = dict.fromkeys(("ipus", "external_sync_cycles", *links))
    path = changed(build.build(), tmp_path / "p.ipu", **new)
    assert load(path).target == CATALOGUE["tiny"]


@pytest.mark.parametrize("ipus", [0, -1, MAX_IPUS + 1, 10**9, 1.5, "2", True])
def test_a_number_of_ipus_that_is_none(tmp_path: Path, ipus: object) -> None:
    with pytest.raises(ContainerError, match=r"ipus|IPUs"):
        load(changed(relayed(), tmp_path / "p.ipu", ipus=ipus))


def test_fewer_ipus_than_the_program_uses(tmp_path: Path) -> None:
    with pytest.raises(ContainerError, match="of 4"):
        load(changed(relayed(), tmp_path / "p.ipu", ipus=1))
