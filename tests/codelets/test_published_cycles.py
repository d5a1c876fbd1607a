"""Cycle formulas against the figures of the worked examples that others computed.

The examples are for one tile of a GC2, evaluated from PopLibs' formulas; they give whole cycles, so
ours must be the same number. (That the formulas describe the machine is what the calibration rows
are for; here it is that we wrote them down without a slip.)
"""

from __future__ import annotations

import pytest

from ipuc.codelets.binary import BinaryOp
from ipuc.codelets.conv_partial import ConvPartial
from ipuc.codelets.matmul_partial import MatMulPartial
from ipuc.codelets.reduce import Reduce
from ipuc.codelets.reduce_add import ReduceAdd
from ipuc.codelets.unary import UnaryOp
from ipuc.target.catalogue import parse_target

GC2 = parse_target("gc2")
HALF, FLOAT = 2, 4


def test_convolution_of_halves() -> None:
    """64 to 192 channels, 5x5: a tile has 6x27 outputs, 8 x 32 channels and one kernel row."""
    codelet = ConvPartial((1, 1), (1, 1), ((0, 0), (0, 0)))
    windows = {"x": (1, 1, 32, 6, 31), "weights": (1, 8, 32, 1, 5), "out": (1, 1, 8, 6, 27)}
    assert codelet.cycles(GC2, windows, HALF) == 10184


def test_reduction_of_its_partials() -> None:
    """Ten partials of 6x27x8 outputs, shared by ten tiles."""
    windows = {"partials": (10, 130), "out": (130,)}
    assert ReduceAdd().cycles(GC2, windows, HALF) == 1470


def test_dot_products_of_halves() -> None:
    """A 9216 x 4096 matrix over 1204 tiles: 48 dot products of 660 halves on each."""
    windows = {"a": (1, 660), "b": (660, 48), "out": (1, 48)}
    assert MatMulPartial("HMAC").cycles(GC2, windows, HALF) == 8737


def test_matrix_unit_on_a_batch() -> None:
    """Batch 64, 1024 x 1024 over 128 x 8 tiles: 7.2k cycles with exchange and reduction.

    By hand, from the same section: inputs 64 x 128 halves but for the tile's own share, at
    8 bytes a cycle (2032); partials 8 x 64 floats at 4 (512); nothing for the weights, which
    one tile uses. The figure is given to two digits: 1.5 %.
    """
    windows = {"a": (64, 128), "b": (128, 8), "out": (64, 8)}
    compute = MatMulPartial("AMP").cycles(GC2, windows, HALF)
    reduction = ReduceAdd().cycles(GC2, {"partials": (8, 64), "out": (64,)}, HALF)
    assert compute + reduction + 2032 + 512 == pytest.approx(7200, rel=0.015)


@pytest.mark.parametrize(("codelet", "cycles"), [(UnaryOp("relu"), 248), (BinaryOp("add"), 293)])
def test_elementwise_on_halves(codelet: UnaryOp | BinaryOp, cycles: int) -> None:
    """160 halves on each of 1210 tiles."""
    windows = {spec.name: (160,) for spec in codelet.fields}
    assert codelet.cycles(GC2, windows, HALF) == cycles


#: One worker of a GC2.
WORKER = parse_target("gc2,worker_contexts=1")


@pytest.mark.parametrize(
    ("codelet", "x", "itemsize", "cycles"),
    [
        # 16 + 8/4 vectors of 3 + 7 + (3 + 32 - 1)
        (Reduce("sum", partials="float16"), (8, 32), FLOAT, 16 + 2 * 44),
        # 16 + 8/2 vectors of 3 + 5 + (3 + 6 - 1)
        (Reduce("sum"), (8, 6), FLOAT, 16 + 4 * 16),
        # a maximum stores a cycle sooner
        (Reduce("max"), (8, 6), FLOAT, 16 + 4 * 15),
        # four strides of five rows each: the longer loop is the inner one
        (Reduce("sum", 2), (4, 5, 4), FLOAT, 16 + 2 * (3 + 5 + 4 * (3 + 5 - 1))),
        # one output of 103 halves: 25 loads, 7 left over
        (Reduce("sum", partials="float16", layout="continuous"), (1, 103), FLOAT, 17 + 25 + 7),
        (Reduce("sum", layout="continuous"), (1, 103), HALF, 17 + 25 + 7 + 5),
        # three outputs of 40 floats
        (Reduce("sum", layout="continuous"), (3, 40), FLOAT, 17 + 3 * (12 + 20)),
        # 33 + 24 + 2 x 2, and for two vectors of four floats 11 + (10 + 9) for each row
        (Reduce("sum", layout="default"), (8, 7), FLOAT, 33 + 28 + 2 * (11 + 7 * 19)),
    ],
)
def test_one_worker_of_a_reduction(
    codelet: Reduce, x: tuple[int, ...], itemsize: int, cycles: int
) -> None:
    """The terms of popops' estimators for each of its vertices, added up by hand."""
    windows = {"x": x, "out": x[:1]}
    assert codelet.cycles(WORKER, windows, itemsize) == cycles
