"""How far the cost model is from Graphcore's own, as measured on single layers.

A row is one layer of a network that Graphcore's IPU model gave cycles and memory for (March 2021),
and that `benchmarks/ipumodel.py` planned, or compiled, and costed. Mk1 is GC2, Mk2 is GC200. Rows
of kind conv, oct_conv, fc and pooling are a whole training step of a layer, those of kind gemm one
product, those of kind reduction one reduction of a plain tensor. The tables are written by
`make calibrate CSV=path WRITE=1`, never by hand; docs/calibration.md says how they came about.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: What the figures were held against: a model of the machine, so an error of the machine's own
#: model comes on top.
AGAINST = "Graphcore's IPU model, not hardware"


@dataclass(frozen=True, slots=True)
class Spread:
    """Absolute relative errors of the rows of one kind.

    Attributes:
        rows: how many layers were compared.
        median: 0.03 is 3 %.
        p90: nine of ten rows are at most this far off.
    """

    rows: int
    median: float
    p90: float


#: Errors of the cycles, by generation of the chip and kind of layer.
CYCLES: Mapping[str, Mapping[str, Spread]] = {
    "Mk1": {
        "conv": Spread(50, 0.031, 0.143),
        "fc": Spread(27, 0.041, 0.157),
        "gemm": Spread(7, 0.033, 0.066),
        "oct_conv": Spread(9, 0.07, 0.169),
        "pooling": Spread(4, 0.02, 0.064),
        "reduction": Spread(5, 0.06, 0.083),
    },
    "Mk2": {
        "conv": Spread(50, 0.028, 0.104),
        "fc": Spread(27, 0.049, 0.213),
        "gemm": Spread(7, 0.022, 0.04),
        "oct_conv": Spread(9, 0.104, 0.157),
        "pooling": Spread(4, 0.006, 0.08),
        "reduction": Spread(5, 0.094, 0.109),
    },
}

#: Errors of the bytes of all tiles together.
MEMORY: Mapping[str, Mapping[str, Spread]] = {
    "Mk1": {
        "conv": Spread(50, 0.048, 0.165),
        "fc": Spread(27, 0.074, 0.478),
        "gemm": Spread(7, 0.038, 0.08),
        "oct_conv": Spread(9, 0.142, 0.195),
        "pooling": Spread(4, 0.095, 0.199),
        "reduction": Spread(5, 0.015, 0.042),
    },
    "Mk2": {
        "conv": Spread(50, 0.062, 0.232),
        "fc": Spread(27, 0.099, 0.353),
        "gemm": Spread(7, 0.011, 0.072),
        "oct_conv": Spread(9, 0.12, 0.246),
        "pooling": Spread(4, 0.053, 0.171),
        "reduction": Spread(5, 0.035, 0.057),
    },
}
