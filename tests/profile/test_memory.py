"""Memory: every tile and step counted one by one, and laws that any program keeps."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from ipuc import zoo
from ipuc.codelets.conv_partial import ConvPartial
from ipuc.codelets.matmul_partial import MatMulPartial
from ipuc.emulator.strict import StrictEmulator, home_tiles
from ipuc.pipeline import compile_model, random_inputs
from ipuc.planner.context import Granularity
from ipuc.profile.liveness import liveness
from ipuc.profile.memory import memory
from ipuc.profile.resident import (
    CODELET_BYTES,
    CONTROL_CODE_BYTES,
    EDGE_BYTES,
    HEADER_BYTES,
    HOST_EXCHANGE_CODE_BYTES,
    LOOP_CODE_BYTES,
    MATRIX_CODELET_BYTES,
    STACK_BYTES,
    STEP_CODE_BYTES,
    VERTEX_BYTES,
    worklist_bytes,
)
from ipuc.program.builder import Builder
from ipuc.program.family import VertexFamily
from ipuc.program.program import Program
from ipuc.program.steps import Copy, Execute
from ipuc.program.tensor import Tensor
from ipuc.target import CATALOGUE, parse_target

TINY = CATALOGUE["tiny"]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return zoo.write("digits", tmp_path_factory.mktemp("models") / "digits.onnx")


@pytest.fixture(scope="module", params=["tile", "worker"])
def program(request: pytest.FixtureRequest, digits: Path) -> Program:
    granularity: Granularity = request.param
    return compile_model(digits, target=parse_target("tiny,tiles=8"), granularity=granularity)


def on_matrix_unit(family: VertexFamily) -> bool:
    if isinstance(family.codelet, MatMulPartial):
        return family.codelet.method == "AMP"
    return family.codelet.name in {
        "ConvPartialnx1",
        "ConvPartialnx1InOut",
        "ConvPartial1x1Out",
        "ConvPartial1x1OutRows",
        "ConvPartial1xNSLIC",
    }


def test_every_step_and_tile_against_a_count(program: Program) -> None:
    """The lives are taken as given here; bytes come from home tiles and real exchanges."""
    found, live = memory(program), liveness(program).live
    emulator = StrictEmulator(program)
    emulator.run(random_inputs(program, 0))
    moved = {(exchange.step, exchange.phase): exchange for exchange in emulator.exchanges}
    tiles = program.target.tiles
    changing = [v for v in program.variables if v.id not in program.constants]
    matrix = {
        family.fields["out"].variable for family in program.families() if on_matrix_unit(family)
    }
    assert matrix
    homes = {v.id: home_tiles(v, tiles) for v in program.variables}
    for row, step in enumerate(found.lives.steps):
        for tile in range(tiles):
            count = 0
            for variable in changing:
                if live[row, variable.id]:
                    size = int((homes[variable.id] == tile).sum()) * variable.itemsize
                    count += size + -size % (16 if variable.id in matrix else 8)
            if isinstance(step.step, Execute):
                count += int(moved[step.name, "read"].received[tile])
                count += int(moved[step.name, "write"].sent[tile])
            if isinstance(step.step, Copy):
                count += int(moved[step.name, "copy"].received[tile])
            assert found.not_always[row, tile] == count, (step.name, tile)
    peaks = found.not_always.max(axis=0)
    assert (found.live_bytes == found.always_bytes + peaks).all()


def test_what_is_always_live_against_a_count(program: Program) -> None:
    found = memory(program)
    tiles = range(program.target.tiles)
    homes = {id_: home_tiles(program.variables[id_], len(tiles)) for id_ in program.constants}
    for tile in tiles:
        vertices, edges, code = 0, 0, {}
        for family in program.families():
            here = int((family.tile.dense() == tile).sum())
            vertices += here
            edges += here * family.edges() // family.count
            if here:
                name = family.codelet.name
                size = (
                    LOOP_CODE_BYTES
                    if name.startswith(("Unary", "Binary", "Cast"))
                    else CODELET_BYTES
                )
                # one for each template: operation, element types
                parameters = family.codelet.parameters()
                words = [parameters.get(word) for word in ("op", "method", "partials", "swap")]
                types = [program.variables[a.variable].dtype for a in family.fields.values()]
                key = (name, *map(str, words), *types)
                code[key] = MATRIX_CODELET_BYTES if on_matrix_unit(family) else size
        always = {name: int(column[tile]) for name, column in found.always.items()}
        assert always["Vertex Instances"] == vertices * VERTEX_BYTES
        assert always["Vertex Field Data"] == edges * EDGE_BYTES
        assert always["Vertex Code"] == sum(code.values())
        assert always["Stack"] == STACK_BYTES
        assert always["Host Exchange Code"] == HOST_EXCHANGE_CODE_BYTES
        assert always["Host Exchange Packet Headers"] == HEADER_BYTES
        steps = len(program.compute_sets()) + len(program.copies())
        assert always["Control Code"] == CONTROL_CODE_BYTES + STEP_CODE_BYTES * steps
        held = sum(
            int((home == tile).sum()) * program.variables[id_].itemsize
            for id_, home in homes.items()
        )
        assert always["Constants"] == held
        assert always["Variables"] == 0


def test_categories_sum_to_the_need_of_every_tile(program: Program) -> None:
    found = memory(program)
    categories = found.categories()
    np.testing.assert_array_equal(np.sum(list(categories.values()), axis=0), found.tile_bytes)
    assert all((column >= 0).all() for column in categories.values())
    assert found.total_bytes == found.live_bytes.sum()
    assert found.max_tile_bytes == found.tile_bytes.max() == found.tile_bytes[found.worst_tile]


def test_what_fits(program: Program) -> None:
    found = memory(program)
    most = found.max_tile_bytes
    for limit, fits in ((most, True), (most - 1, False)):
        target = dataclasses.replace(program.target, tile_memory_bytes=limit)
        tight = memory(dataclasses.replace(program, target=target))
        assert tight.fits is fits
        assert tight.tiles_over == (0 if fits else int((found.tile_bytes == most).sum()))


def chain(sizes: list[int]) -> tuple[Program, list[Tensor]]:
    """Copies from one variable to the next, all on tile 0."""
    build = Builder(TINY)
    tensors = [build.variable(f"v{n}", "uint8", (size,)) for n, size in enumerate(sizes)]
    for tensor in tensors:
        build.map(tensor, [0], [0])
    for n in range(len(tensors) - 1):
        least = min(tensors[n].size, tensors[n + 1].size)
        build.layer = f"layer {n}"
        source, into = tensors[n].slice(0, 0, least), tensors[n + 1].slice(0, 0, least)
        build.copy_into(into, source, f"copy {n}")
    build.output("out", tensors[-1])
    return build.build(), tensors


def test_the_worst_step_and_what_is_there() -> None:
    program, _ = chain([16, 100, 1000, 30, 8])
    found = memory(program)
    assert found.worst_tile == 0
    worst = found.worst_step
    assert worst is not None
    # two of the chain are alive in each copy: 100 and 1000 bytes, the one aligned to 104
    assert found.lives.steps[worst].name == "copy 1"
    assert found.not_always[:, 0].tolist() == [16 + 104, 104 + 1000, 1000 + 32, 32 + 8, 8]
    top = found.top(program.variables, 0, worst)
    assert [(held.name, held.bytes) for held in top] == [("v2", 1000), ("v1", 104)]
    assert found.categories()["Padding"][0] == 4
    assert found.live_bytes[1] == found.always_bytes[1]


def test_an_empty_program_has_no_worst_step() -> None:
    found = memory(Builder(TINY).build())
    assert found.worst_step is None
    assert found.max_tile_bytes == (
        STACK_BYTES + CONTROL_CODE_BYTES + HOST_EXCHANGE_CODE_BYTES + HEADER_BYTES
    )


@pytest.mark.parametrize(
    ("ins", "dtype", "lists"),
    [(8, "float32", 15), (4, "float32", 10), (2, "float32", 5), (16, "float16", 15)],
)
def test_worklists_of_a_convolution(ins: int, dtype: str, lists: int) -> None:
    """Kernel rows are fused where channels are few: 3, 2 or 1 rows of 5 columns are left."""
    build = Builder(TINY)
    x = build.constant("x", np.zeros((1, 1, ins, 6, 9), dtype))
    w = build.constant("w", np.zeros((1, 8, ins, 3, 5), dtype))
    out = build.variable("out", dtype, (1, 1, 8, 4, 5))
    with build.compute_set("conv") as conv:
        codelet = ConvPartial((1, 1), (1, 1), ((0, 0), (0, 0)))
        family = conv.add(codelet, 0, x=x, weights=w, out=out)
    build.map_rest()
    # four rows of outputs cut for six workers, of three 16-bit numbers each
    assert worklist_bytes(build.build(), family) == lists * (4 + 5) * 6
