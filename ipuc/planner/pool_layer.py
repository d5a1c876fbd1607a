"""Figures of a pooling layer with its gradient, from the program that is built for it.

Source: the runner pooling_layer.cpp of PopLibs: input and arriving gradient lie spread over all
tiles in groups of channels; the gradient of a maximum is laid out like the output beforehand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ipuc.codelets.define import Codelet
from ipuc.codelets.pool import Pool
from ipuc.graph.ir import Graph
from ipuc.planner.context import Context
from ipuc.planner.pool_blocks import Part, covers
from ipuc.planner.pool_gradient import average_pool_gradient, max_pool_gradient
from ipuc.planner.pooling import pool
from ipuc.planner.reduction import reduce
from ipuc.planner.window import Slide
from ipuc.profile.record import Profile, profile
from ipuc.program.builder import Builder
from ipuc.program.program import Program
from ipuc.program.tensor import Tensor
from ipuc.target import Target
from ipuc.types import Ints

#: Channels that lie together in the arriving gradient, where they can. Source: the runner.
ARRIVING_GROUP = 16
#: Pieces shorter than this cannot be sent apart: tiles sort them after they have arrived.
WORD_BYTES = 4
#: A copy on the tile, of pieces of half a word: 587 cycles, and 5.15 a byte.
#: Source: PopLibs poplin ConvModel.cpp, regression of copies.
SORTING_CYCLES, SORTING_PERCENT = 587, 515
#: What is counted beside tensors and buffers. Code of the exchange is not: it goes by the pieces
#: in which data lies, and the program's tensors do not lie in groups of channels.
COUNTED = ("Vertex Instances", "Vertex Field Data", "Worklists")


@dataclass(frozen=True, slots=True)
class PoolLayer:
    """Figures of a layer.

    Attributes:
        items: cycles by name.
        total_memory_bytes: over all tiles.
        max_tile_bytes: end of the fullest tile's memory.
    """

    items: dict[str, int]
    total_memory_bytes: int
    max_tile_bytes: int

    @property
    def cycles(self) -> int:
        """All cycles."""
        return sum(self.items.values())


def pool_layer(
    target: Target,
    kind: str,
    slides: tuple[Slide, ...],
    batch: int,
    channels: int,
    *,
    lies: int,
    dtype: str = "float16",
    gradient: bool = True,
) -> PoolLayer:
    """Build a pooling layer and its gradient, and profile it.

    Args:
        target: the machine.
        kind: "max" or "mean".
        slides: one per field dimension.
        batch: images.
        channels: of an image.
        lies: channels that lie together in the input.
        dtype: element type.
        gradient: with the gradient, or forward alone.
    """
    made = _program(target, kind, slides, (batch, channels), lies, dtype, gradient=gradient)
    found = profile(made.builder.build())
    steps = found.steps
    sets = [step for step in steps if step.kind == "compute"]
    sorting = _sorting(found.program, lies * np.dtype(dtype).itemsize)
    items = {
        "compute": sum(int(step.compute.max()) for step in steps),
        "exchange": sum(step.exchange for step in steps),
        "entry": target.compute_set_cycles * len(sets),
        "layouts": target.layout_change_cycles * (1 + gradient),
        "sorting": sorting,
    }
    return PoolLayer(items, *_memory(found))


def _program(
    target: Target,
    kind: str,
    slides: tuple[Slide, ...],
    lead: tuple[int, int],
    lies: int,
    dtype: str,
    *,
    gradient: bool,
) -> Context:
    """The layer, in a program of its own."""
    ctx = Context(Builder(target), Graph("pooling", [], [], {}, {}, [], 22))
    builder, grain = ctx.builder, target.vector_width(np.dtype(dtype).itemsize)
    x = builder.input("x", dtype, (*lead, *(s.field for s in slides)))
    builder.map_linear(x, grain)
    y = _forward(ctx, kind, slides, x, lies)
    builder.output("y", y)
    if gradient:
        builder.layer_pass = "backward"
        arriving = builder.input("dy", dtype, y.shape)
        builder.map_linear(arriving, grain)
        # the chosen group of channels is how the output lies
        group = int(ctx.plan.get("chosen", {}).get("channels per group", 1))
        ctx.plan = {}
        if kind == "max":
            dy = builder.copy(arriving, "dy as y lies")
            dx = max_pool_gradient(ctx, x, y, dy, slides, "dx", first=False, lies=group)
        else:
            lies = ARRIVING_GROUP if lead[1] % ARRIVING_GROUP == 0 else 1
            dx = average_pool_gradient(ctx, arriving, slides, "dx", beforehand=True, lies=lies)
        builder.output("dx", dx)
    builder.map_rest()
    return ctx


def _forward(ctx: Context, kind: str, slides: tuple[Slide, ...], x: Tensor, lies: int) -> Tensor:
    if covers(slides):
        axes = range(2, len(x.shape))
        return reduce(ctx, "max" if kind == "max" else "sum", x, axes, "y", dtype=x.dtype)

    def make(parts: Sequence[Part]) -> Codelet:
        return Pool(
            kind,
            tuple(s.kernel for s in slides),
            tuple(s.stride for s in slides),
            tuple(s.dilation for s in slides),
            tuple(part.pads for part in parts),
            ((0, 0),) * len(slides),
        )

    return pool(ctx, {"x": x}, slides, make, x.dtype, "y", lies=lies)


def _sorting(program: Program, piece_bytes: int) -> int:
    """Cycles of sorting the layer's input on the tiles, if it lies in pieces of half a word.

    Every pass that reads it does so anew.
    """
    if piece_bytes % WORD_BYTES == 0:
        return 0
    total = 0
    for compute_set in program.compute_sets():
        read = [family.fields["x"] for family in compute_set.families if "x" in family.fields]
        if read:
            size = max(math.prod(access.shape) for access in read)
            itemsize = program.variables[read[0].variable].itemsize
            total += SORTING_CYCLES + SORTING_PERCENT * size * itemsize // 100
    return total


def _memory(found: Profile) -> tuple[int, int]:
    """Bytes of all tiles, and the end of the fullest tile's memory.

    All tensors live throughout, as the runner reads and writes them; they lie beyond the memory
    element that code is in.
    """
    memory = found.memory
    held: Ints = memory.held.sum(axis=0)
    categories = memory.categories()
    counted = np.sum([categories[name] for name in COUNTED], axis=0)
    buffers = memory.messages.max(axis=0, initial=0)
    total = int((held + counted + buffers).sum())
    return total, found.program.target.memory_element_bytes + int(held.max())
