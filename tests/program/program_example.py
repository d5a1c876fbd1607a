"""A small program that has one of everything; shared by the tests of its two written forms."""

from __future__ import annotations

import numpy as np

from ipuc.codelets.binary import BinaryOp
from ipuc.program.builder import Builder
from ipuc.program.program import Layer, Program
from ipuc.program.tensor import concat, fill
from ipuc.target import CATALOGUE


def example() -> Program:
    """Inputs, constants, families, a sweep, functions, a branch, copies, outputs and notes."""
    build = Builder(CATALOGUE["tiny"])
    x = build.input("x: 0", "float32", (4, 2))
    w = build.constant("weights", np.linspace(-1, 1, 8, dtype=np.float32).reshape(4, 2))
    flag = build.constant("flag", np.array([True]))
    build.constant("half", np.arange(5, dtype=np.float16))
    y = build.variable("y", "float32", (4, 2))
    build.layer = "layer"
    with build.compute_set("mul") as mul:
        fields = {name: build.blocks(t, [4, 1]) for name, t in (("a", x), ("b", w), ("out", y))}
        mul.add(BinaryOp("mul"), build.field(x, [range(4), [0]], ()).offset, **fields)
    with build.function("again"), build.compute_set("sweep", sweep=True) as again:
        fields = {name: build.blocks(t, [4, 1]) for name, t in (("a", y), ("b", w), ("out", y))}
        again.add(BinaryOp("add"), build.field(x, [range(4), [0]], ()).offset, **fields)
    with build.function("nothing"):
        pass
    with build.repeat(2):
        build.call("again")
    build.branch(flag, "again", "nothing")
    padded = concat([fill(float("-inf"), (1, 2), "float32"), y.transpose([0, 1])], 0)
    out = build.copy(padded)
    build.output("out/y", out)
    build.values = {"y": y, "padded": padded}
    build.layers = [Layer("layer", "Mul", ("n1",), ("y",), {"rows": [1, 2], "cost": float("inf")})]
    build.metadata = {"model": "π", "none": None, "list": [1, 2.5, "x", {"deep": True}]}
    build.map_rest()
    program = build.build()
    program.graph_text = '{"nodes": ["ä"]}'
    return program
