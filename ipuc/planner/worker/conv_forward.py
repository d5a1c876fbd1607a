"""A convolution as in 2017: zeros, products, sums over the tiles of a block, bias and layout.

Source: rules read in the public history of Graphcore's PopLibs, winter 2016/17.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ipuc.codelets.conv_one_by_one_rows import ConvPartial1x1OutRows
from ipuc.codelets.conv_partial_in_out import ConvPartialnx1InOut
from ipuc.codelets.conv_rows import FULL_GROUP, ConvRows
from ipuc.codelets.zero import Zero
from ipuc.planner.context import Context
from ipuc.planner.conv_problem import Conv
from ipuc.planner.portions import worker_parts
from ipuc.planner.window import Slide, SlideParts, slide_parts
from ipuc.planner.worker.conv_complete import complete
from ipuc.planner.worker.conv_plan import OUT_GROUP, Plan2017, flattened, planned
from ipuc.planner.worker.conv_slots import Side, covering, line_pieces, slots
from ipuc.planner.worker.layout import by_groups, grouped, regrouped
from ipuc.planner.worker.reduce import Block, add_blocks
from ipuc.program.family import Access, separable
from ipuc.program.split import Parts, split_axis
from ipuc.program.tensor import Tensor, concat, fill
from ipuc.types import Ints


def convolve2017(
    ctx: Context,
    conv: Conv,
    x: Tensor,
    weights: Tensor,
    bias: Tensor | None,
    group: int,
    name: str,
) -> Tensor:
    """Add the vertices of a convolution.

    Args:
        ctx: the lowering.
        conv: the problem, one that the rules reach.
        x: [batch, ins, *field].
        weights: [outs, ins, *kernel].
        bias: [outs]; zeros if None.
        group: channels of the result that lie together; a divisor of the outputs.
        name: of the result.

    Returns:
        [batch, outs, *out], element type of `x`, in groups of channels.
    """
    flat = flattened(conv)
    plan, record = planned(ctx, conv)
    ctx.plan.update(record)
    layer = _Layer(
        ctx,
        flat,
        plan,
        _data(ctx, flat, x, plan, name),
        _kernels(ctx, flat, weights, plan, name),
        name,
    )
    sums = layer.run(x.dtype)
    field = tuple(s.out for s in flat.slides)
    made = grouped(ctx, name, x.dtype, (conv.batch, conv.outs, *field), group)
    if bias is None:
        bias = ctx.scalar(0.0, x.dtype, (conv.outs,))
    complete(ctx, sums, ctx.builder.solid(bias, f"{name} bias"), made, group, name)
    result = made.reshape((conv.batch, conv.outs, *(s.out for s in conv.slides)))
    assert result is not None  # axes of the field are merged and split
    return result


def _data(ctx: Context, conv: Conv, x: Tensor, plan: Plan2017, name: str) -> Tensor:
    """The input as [batch, in groups, y, x, in group], one run; missing channels are zeros."""
    plain = x.reshape((conv.batch, conv.ins, *(s.field for s in conv.slides)))
    plain = plain or ctx.builder.copy(x, f"{name} input").reshape(
        (conv.batch, conv.ins, *(s.field for s in conv.slides))
    )
    assert plain is not None
    lack = -conv.ins % plan.in_group
    if lack:
        shape = (conv.batch, lack, *plain.shape[2:])
        plain = concat([plain, fill(0.0, shape, x.dtype)], 1)
    return by_groups(regrouped(ctx, plain, plan.in_group, f"{name} input"), plan.in_group)


def _kernels(ctx: Context, conv: Conv, weights: Tensor, plan: Plan2017, name: str) -> Tensor:
    """The weights as [out groups, in groups, ky, kx, out group, in group], one run."""
    kernel = tuple(s.kernel for s in conv.slides)
    outs, ins = -(-conv.outs // OUT_GROUP), -(-conv.ins // plan.in_group)
    plain = ctx.builder.reshape(weights, (conv.outs, conv.ins, *kernel), f"{name} weights")
    order = (0, 2, 4, 5, 1, 3)
    for axis, lack in enumerate((-conv.outs % OUT_GROUP, -conv.ins % plan.in_group)):
        if lack:
            shape = tuple(lack if a == axis else n for a, n in enumerate(plain.shape))
            plain = concat([plain, fill(0.0, shape, plain.dtype)], axis)
    split = plain.reshape((outs, OUT_GROUP, ins, plan.in_group, *kernel))
    if split is not None:
        split = ctx.relaid(split, order)
        laid = split.transpose(order)
        if _is_run(laid):
            return laid
    made = ctx.builder.variable(
        f"{name} weights", plain.dtype, (outs, ins, *kernel, OUT_GROUP, plan.in_group)
    )
    natural = made.transpose((0, 4, 1, 5, 2, 3)).reshape(plain.shape)
    assert natural is not None  # axes are merged
    ctx.builder.copy_into(natural, plain, f"{name} weights")
    return made


def _is_run(tensor: Tensor) -> bool:
    flat = tensor.reshape((tensor.size,))
    view = None if flat is None else flat.view()
    return view is not None and all(stride == 1 for n, stride in view.axes[0] if n > 1)


@dataclass(frozen=True, slots=True)
class _Layer:
    """One convolution being built.

    Partial sums lie block by block: [in part][batch] and then parts of y, parts of x, and the
    pixels [out group][y][x][8] of each block.

    Attributes:
        ctx: the lowering.
        conv: the problem, in two field dimensions.
        plan: its plan.
        x: [batch, in groups, y, x, in group].
        weights: [out groups, in groups, ky, kx, out group, in group].
        name: of the result.
    """

    ctx: Context
    conv: Conv
    plan: Plan2017
    x: Tensor
    weights: Tensor
    name: str

    @property
    def out_groups(self) -> int:
        """Groups of output channels."""
        return self.weights.shape[0]

    @property
    def field(self) -> tuple[int, int]:
        """Outputs along y and x."""
        y, x = self.conv.slides
        return y.out, x.out

    @property
    def steps(self) -> tuple[int, int, int]:
        """What a part of y, of x and of the out groups adds to a tile's number."""
        plan = self.plan
        return plan.tx * plan.ti, plan.ti, plan.ty * plan.tx * plan.ti

    def run(self, dtype: str) -> Tensor:
        """Add the vertices but the last.

        Returns:
            The sums, [batch, out groups, y, x, 8].
        """
        builder, plan, batch = self.ctx.builder, self.plan, self.conv.batch
        size = self.out_groups * math.prod(self.field) * OUT_GROUP
        kind = self.ctx.partials(self.x.itemsize)
        partials = builder.variable(f"{self.name} partials", kind, (plan.ti, batch, size))
        clears = plan.in_group < FULL_GROUP or any(s.kernel > 1 for s in self.conv.slides)
        if clears:
            self._zero(partials)
        self._multiply(partials, ConvPartialnx1InOut if clears else ConvPartial1x1OutRows)
        shape = (batch, self.out_groups, *self.field, OUT_GROUP)
        sums = builder.variable(f"{self.name} sums", dtype, shape)
        add_blocks(self.ctx, partials, sums, list(self._blocks()), self.name)
        return sums

    def _blocks(self) -> Iterator[Block]:
        """Blocks of partial sums, those of one size together."""
        (rows, columns), plan = self.field, self.plan
        for y, x, z in itertools.product(
            split_axis(rows, plan.ty),
            split_axis(columns, plan.tx),
            split_axis(self.out_groups, plan.tz),
        ):
            yield Block(
                begin=self._begins((y.begin, x.begin, z.begin), (y.size, x.size)),
                place=(y.begin * columns, x.begin, z.begin * rows * columns),
                tile=tuple(p.index * s for p, s in zip((y, x, z), self.steps, strict=True)),
                shape=(z.size, y.size, x.size),
            )

    def _begins(
        self, begins: tuple[Ints, Ints, Ints], block: tuple[int, int]
    ) -> tuple[Ints, Ints, Ints]:
        """Pixel of the partial sums at which blocks begin, as tables.

        Args:
            begins: row, column and out group of each part.
            block: rows and columns of the block.
        """
        y, x, z = begins
        high, wide = block
        return (
            y * (self.field[1] * self.out_groups),
            x * (high * self.out_groups),
            z * (high * wide),
        )

    def _zero(self, partials: Tensor) -> None:
        """Clear the partial sums of each out group, split over the workers of its tile."""
        workers = self.ctx.target.worker_contexts
        view = self.ctx.builder.one_view(partials)
        leads, lead_tiles = self._leads(partials)
        with self.ctx.builder.compute_set(f"{self.name} zero") as compute_set:
            compute_set.workers = "one"
            for block in self._blocks():
                groups, high, wide = block.shape
                pixels = high * wide
                line = pixels if wide == self.field[1] else wide
                rows = np.arange(groups, dtype=np.int64) * pixels
                for part in worker_parts(pixels, workers):
                    whole = line == pixels
                    for begins in [part.begin] if whole else part.begin[:, None]:
                        pieces = list(line_pieces(int(begins[0]), int(begins[0]) + part.size, line))
                        entries = np.array(pieces, np.int64) * OUT_GROUP
                        tables = [t * OUT_GROUP for t in (*block.begin, rows, begins)]
                        none = [np.zeros_like(rows), np.zeros_like(begins)]
                        compute_set.add(
                            Zero(),
                            separable(0, *lead_tiles, *block.tile, *none),
                            out=Access(
                                view.variable,
                                separable(0, *leads, *tables),
                                (part.size * OUT_GROUP,),
                                (1,),
                                None if whole else entries,
                            ),
                        )

    def _leads(self, partials: Tensor) -> tuple[list[Ints], list[Ints]]:
        """Tables of the axes in part and image: first elements of partial sums, tiles."""
        ti, batch, size = partials.shape
        parts, images = np.arange(ti, dtype=np.int64), np.arange(batch, dtype=np.int64)
        return [parts * (batch * size), images * size], [parts, np.zeros_like(images)]

    def _multiply(self, partials: Tensor, kind: type[ConvRows]) -> None:
        """One vertex for each out group of each tile."""
        plan, (y, x) = self.plan, self.conv.slides
        with self.ctx.builder.compute_set(self.name) as compute_set:
            compute_set.workers = "all"  # the matrix unit serves all workers together
            for rows, columns, outs, ins in itertools.product(
                slide_parts(y, plan.ty),
                slide_parts(x, plan.tx),
                split_axis(self.out_groups, plan.tz),
                split_axis(self.x.shape[1], plan.ti),
            ):
                codelet, accesses = self._vertex(kind, rows, columns, ins, outs, partials)
                still = np.zeros(self.conv.batch, np.int64)
                of_y, of_x, of_z = self.steps
                tile = separable(
                    0,
                    still,
                    rows.index * of_y,
                    columns.index * of_x,
                    ins.index,
                    outs.index * of_z,
                    np.zeros(outs.size, np.int64),
                )
                compute_set.add(codelet, tile, **accesses)

    def _vertex(
        self,
        kind: type[ConvRows],
        rows: SlideParts,
        columns: SlideParts,
        ins: Parts,
        outs: Parts,
        partials: Tensor,
    ) -> tuple[ConvRows, dict[str, Access]]:
        y, x = self.conv.slides
        groups, in_group = self.x.shape[1], self.plan.in_group
        shape = (ins.size, rows.in_size, columns.in_size, in_group)
        x_strides = (y.field * x.field * in_group, x.field * in_group, in_group, 1)
        sides = (
            Side(y, rows.pads[0], rows.in_size, rows.out_size),
            Side(x, columns.pads[0], columns.in_size, columns.out_size),
        )
        taken = _sparse(y, rows)
        if taken is not None:  # rows between are neither held nor read
            sides = (Side(replace(y, stride=1), 0, rows.out_size, rows.out_size), sides[1])
            shape = (ins.size, rows.out_size, columns.in_size, in_group)
            x_strides = (x_strides[0], x_strides[1] * taken, *x_strides[2:])
        each = slots(
            sides,
            (ins.size, in_group, OUT_GROUP),
            self.plan.fused,
            x_strides[:3],
            self.ctx.target.worker_contexts,
        )
        codelet = kind(
            (sides[0].slide.stride, x.stride),
            (y.dilation, x.dilation),
            (rows.pads if taken is None else (0, 0), columns.pads),
            partials.dtype,
            (y.spread, x.spread),
        )
        kernel = (y.kernel, x.kernel)
        w_shape = (ins.size, *kernel, OUT_GROUP, in_group)
        pair = math.prod(w_shape[1:])
        batch = np.arange(self.conv.batch, dtype=np.int64)
        still = [np.zeros_like(t) for t in (batch, rows.index, columns.index)]
        inner = np.arange(outs.size, dtype=np.int64)
        views = [self.ctx.builder.one_view(t) for t in (self.x, self.weights, partials)]
        block = (rows.out_size, columns.out_size)
        begins = self._begins((rows.out_begin, columns.out_begin, outs.begin), block)
        o_shape = (*block, OUT_GROUP)
        o_strides = (block[1] * OUT_GROUP, OUT_GROUP, 1)
        size = partials.shape[2]
        none = np.zeros_like(outs.begin), np.zeros_like(inner)
        return codelet, {
            "x": Access(
                views[0].variable,
                separable(
                    views[0].offset,
                    batch * (groups * y.field * x.field * in_group),
                    rows.in_begin * (x.field * in_group),
                    columns.in_begin * in_group,
                    ins.begin * x_strides[0],
                    *none,
                ),
                shape,
                x_strides,
                covering(each.x, shape, x_strides),
            ),
            "weights": Access(
                views[1].variable,
                separable(
                    views[1].offset,
                    *still,
                    ins.begin * pair,
                    outs.begin * (groups * pair),
                    inner * (groups * pair),
                ),
                w_shape,
                tuple(math.prod(w_shape[i + 1 :]) for i in range(len(w_shape))),
                each.weights,
            ),
            "out": Access(
                views[2].variable,
                separable(
                    views[2].offset,
                    batch * size,
                    begins[0] * OUT_GROUP,
                    begins[1] * OUT_GROUP,
                    ins.index * (self.conv.batch * size),
                    begins[2] * OUT_GROUP,
                    inner * math.prod(o_shape),
                ),
                o_shape,
                o_strides,
                covering(each.out, o_shape, o_strides),
            ),
        }


def _sparse(slide: Slide, parts: SlideParts) -> int | None:
    """The step from row to row, where a kernel of one element leaves rows out; else None."""
    if slide.kernel == 1 and slide.stride > 1 and slide.spread == 1 and parts.pads == (0, 0):
        return slide.stride
    return None
