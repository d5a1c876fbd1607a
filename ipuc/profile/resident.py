"""What is always live beside variables: stacks, code, vertex state.

Every figure is a constant with its source, or says that it is our own estimate.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping

import numpy as np

from ipuc.profile.cycles import Superstep
from ipuc.program.family import VertexFamily
from ipuc.program.program import Program
from ipuc.types import Ints

#: Bytes of every tile of a nearly empty program. Source: the profile of the adder sample in the
#: manual of the TensorFlow port (Mk1): stack, control code, host exchange code, packet headers.
STACK_BYTES = 3168
CONTROL_CODE_BYTES = 700
HOST_EXCHANGE_CODE_BYTES = 289
HEADER_BYTES = 9
#: Control code of one program step: calls of exchange, run and sync. Our own estimate.
STEP_CODE_BYTES = 16
#: An entry in the table of what to run, and the vertex's own state; and a pointer for each edge.
#: Source: vertex state and edge pointers of the adder sample, divided by its vertices and edges.
VERTEX_BYTES = 8
EDGE_BYTES = 4
#: A row piece of a worklist is three 16-bit numbers. Source: PopLibs ConvUtilInternal.cpp.
ROW_PIECE_BYTES = 6
#: Code of a vertex type, once on every tile that has such a vertex: one loop over elements; several
#: loops; the matrix unit's, with a loop for each way to load. Our own estimate, within the 0.5 to
#: 3 kB that such vertices take.
LOOP_CODE_BYTES, CODELET_BYTES, MATRIX_CODELET_BYTES = 512, 1024, 3072
#: One instruction for each piece that a tile sends, and three for each that it receives: select
#: the sender, end that, set the pointer. Source: cost table of an independent compiler for the
#: IPU21; the memory of layers in Graphcore's IPU model agrees.
SEND_CODE_BYTES, RECEIVE_CODE_BYTES = 4, 12

#: Vertex types whose code is one loop over elements.
_ONE_LOOP = frozenset(
    {
        *("BinaryOp", "BinaryOpInPlace", "Cast", "Clamp", "ClampInPlace", "MultiplyAdd"),
        *("MultiplyAddInPlace", "Select", "SelectInPlace", "UnaryOp", "UnaryOpInPlace"),
    }
)


def resident(program: Program, costs: Mapping[int, list[Superstep]]) -> dict[str, Ints]:
    """Bytes by category of Poplar's reports: int64[tiles] each.

    Args:
        program: it has passed the verifier.
        costs: what `ipuc.profile.cycles.step_costs` found.
    """
    tiles = program.target.all_tiles
    state, pointers, worklists = np.zeros((3, tiles), np.int64)
    for family in program.families():
        mine = state_bytes(program, family)
        state += mine[0]
        pointers += mine[1]
        worklists += mine[2]
    exchange = np.zeros(tiles, np.int64)
    for made in costs.values():
        for superstep in made:
            exchange += exchange_code_bytes(superstep)
    steps = sum(len(made) for made in costs.values()) + len(program.calls())
    each = np.ones(tiles, np.int64)
    return {
        "Stack": STACK_BYTES * each,
        "Vertex Instances": state,
        "Vertex Field Data": pointers,
        "Worklists": worklists,
        "Vertex Code": np.sum([np.zeros(tiles, np.int64), *vertex_code(program).values()], axis=0),
        "Internal Exchange Code": exchange,
        "Control Code": (CONTROL_CODE_BYTES + steps * STEP_CODE_BYTES) * each,
        "Host Exchange Code": HOST_EXCHANGE_CODE_BYTES * each,
        "Host Exchange Packet Headers": HEADER_BYTES * each,
    }


def state_bytes(program: Program, family: VertexFamily) -> tuple[Ints, Ints, Ints]:
    """Bytes of instances, of edge pointers and of worklists of a family: int64[tiles] each."""
    tiles = program.target.all_tiles
    count = np.bincount(family.tile.dense().reshape(-1), minlength=tiles)
    pointers = count * (family.edges() // family.count * EDGE_BYTES)
    # Vertices of one family on one tile share theirs: their windows are alike.
    return count * VERTEX_BYTES, pointers, (count > 0) * worklist_bytes(program, family)


def exchange_code_bytes(step: Superstep) -> Ints:
    """Bytes of the instructions that send and receive in a superstep: int64[tiles]."""
    found = (step.before, step.after)
    code: Ints = np.sum(
        [t.fragments * RECEIVE_CODE_BYTES + t.sends * SEND_CODE_BYTES for t in found], axis=0
    )
    return code


def vertex_code(program: Program) -> dict[str, Ints]:
    """Bytes of code by codelet name: int64[tiles] each.

    Each vertex type is on every tile that has such a vertex, once. As in Poplar a vertex type is a
    codelet with its template: other element types, and parameters that are words or flags, make
    another type; numbers are state.
    """
    found: dict[str, Ints] = {}
    for name, size, used in _vertex_types(program):
        found[name] = found.get(name, np.zeros(len(used), np.int64)) + used * size
    return found


def _vertex_types(program: Program) -> Iterator[tuple[str, int, Ints]]:
    """Codelet, bytes of code, and which tiles have it, of each vertex type."""
    tiles = program.target.all_tiles
    used: dict[Hashable, tuple[VertexFamily, Ints]] = {}
    for family in program.families():
        words = [v for v in family.codelet.parameters().values() if isinstance(v, str | bool)]
        types = [program.variables[access.variable].dtype for access in family.fields.values()]
        key = (family.codelet.name, *words, *types)
        _, has = used.setdefault(key, (family, np.zeros(tiles, np.int64)))
        has[family.tile.dense().reshape(-1)] = 1
    for family, has in used.values():
        codelet = family.codelet
        size = LOOP_CODE_BYTES if codelet.name in _ONE_LOOP else CODELET_BYTES
        yield codelet.name, MATRIX_CODELET_BYTES if codelet.on_matrix_unit else size, has


def worklist_bytes(program: Program, family: VertexFamily) -> int:
    """Bytes of the lists that say which outputs each worker makes.

    The rows of outputs are cut into equal runs, one for each worker, so there are at most as many
    pieces as rows and workers less one; the codelet knows how many such lists it has.
    Source: PopLibs ConvUtilInternal.cpp, PoolVertices.cpp, and its vertices' worklist fields.
    """
    windows, codelet = family.windows(), family.codelet
    workers = program.target.worker_contexts
    if family.workers == "one":
        return 0
    sizes = {name: program.variables[a.variable].itemsize for name, a in family.fields.items()}
    return codelet.row_pieces(windows, workers, codelet.itemsize(sizes)) * ROW_PIECE_BYTES
