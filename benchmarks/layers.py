"""Programs of single layers with their gradients, as PopLibs' runners make them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ipuc.graph.ir import Graph
from ipuc.planner.context import Context
from ipuc.planner.conv_problem import Conv
from ipuc.planner.convolution import convolve, convolve_data_gradient, convolve_weight_gradient
from ipuc.planner.poplin.cost import Pass
from ipuc.planner.poplin.params import ConvParams
from ipuc.planner.precision import FORMATS, Precision
from ipuc.planner.window import Slide
from ipuc.profile.cycles import supersteps
from ipuc.program.builder import Builder
from ipuc.program.program import Program
from ipuc.program.tensor import Tensor
from ipuc.target import Target


def conv_program(target: Target, params: ConvParams) -> Program:
    """A convolution forward, the gradient of its data, the gradient of its weights.

    Args:
        target: the machine.
        params: the forward convolution.
    """
    slides = tuple(
        Slide(d.size, d.out, d.kernel, d.result.stride, 1, d.data.pad[0]) for d in params.dims
    )
    conv = Conv(params.batch, params.groups, params.out_channels, params.in_channels, slides)
    layer = _Layer(target, params.itemsize)
    lead = (conv.batch, conv.groups)
    x = layer.input("x", (*lead, conv.ins, *(s.field for s in slides)))
    weights = layer.weights((conv.groups, conv.outs, conv.ins, *(s.kernel for s in slides)))
    arriving = layer.input("dy", (*lead, conv.outs, *(s.out for s in slides)))
    layer.run("y", convolve, conv, x, weights, "y", Pass.FORWARD)
    layer.run("dx", convolve_data_gradient, conv, arriving, weights, "dx")
    layer.run("dw", convolve_weight_gradient, conv, x, arriving, "dw")
    return layer.program()


def fc_program(
    target: Target, batch: int, inputs: int, outputs: int, groups: int, itemsize: int
) -> Program:
    """A fully connected layer and its two gradients."""
    layer = _Layer(target, itemsize)
    x = layer.input("x", (batch, groups, inputs))
    weights = layer.weights((groups, outputs, inputs))
    arriving = layer.input("dy", (batch, groups, outputs))
    forward = Conv(batch, groups, outputs, inputs, ())
    back = replace(forward, outs=inputs, ins=outputs)
    update = replace(forward, batch=inputs, ins=batch)
    layer.run("y", convolve, forward, x, weights, "y", Pass.FC_FORWARD)
    turned = weights.transpose((0, 2, 1))
    layer.run("dx", convolve, back, arriving, turned, "dx", Pass.FC_DATA)
    left, right = x.transpose((2, 1, 0)), arriving.transpose((1, 2, 0))
    layer.run("dw", convolve, update, left, right, "dw", Pass.FC_WEIGHTS)
    return layer.program()


def product_program(target: Target, rows: int, depth: int, columns: int, itemsize: int) -> Program:
    """One matrix product."""
    layer = _Layer(target, itemsize)
    left = layer.input("a", (rows, 1, depth))
    right = layer.weights((1, depth, columns)).transpose((0, 2, 1))
    conv = Conv(rows, 1, columns, depth, ())
    layer.run("y", convolve, conv, left, right, "y", Pass.PRODUCT)
    return layer.program()


def vertices_and_exchange(program: Program) -> dict[str, int]:
    """Cycles of a program's compute sets and of the exchange before and after them."""
    steps = [step for step in supersteps(program) if step.kind == "compute"]
    return {
        "compute": sum(int(step.compute.max()) for step in steps),
        "exchange": sum(int(step.exchange) for step in steps),
    }


class _Layer:
    """A lowering without a graph: halves with sums in floats, or floats."""

    def __init__(self, target: Target, itemsize: int) -> None:
        formats = {2: FORMATS["mixed"], 4: FORMATS["float32"]}
        graph = Graph("layer", [], [], {}, {}, [], 22)
        self.ctx = Context(Builder(target), graph, precision=Precision(formats[itemsize]))
        self.dtype = formats[itemsize].data

    def input(self, name: str, shape: tuple[int, ...]) -> Tensor:
        return self.ctx.builder.input(name, self.dtype, shape)

    def weights(self, shape: tuple[int, ...]) -> Tensor:
        return self.ctx.builder.variable(f"weights {math.prod(shape)}", self.dtype, shape)

    def run(self, name: str, step: Callable[..., Tensor], *arguments: Any) -> None:
        self.ctx.builder.layer, self.ctx.plan = name, {}
        self.ctx.builder.output(name, step(self.ctx, *arguments))

    def program(self) -> Program:
        self.ctx.builder.map_rest()
        return self.ctx.builder.build()
