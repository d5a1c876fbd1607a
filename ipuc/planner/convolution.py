"""Convolutions: a plan, copies where it changes layouts, vertices, and sums of their partials."""

from __future__ import annotations

import math
from dataclasses import replace

from ipuc.errors import TooLarge
from ipuc.planner.context import Context
from ipuc.planner.conv_families import ConvFamilies, add_casts, add_families, partial_sums
from ipuc.planner.conv_plan import ConvPlan, Placed, plan_conv
from ipuc.planner.conv_problem import Conv, data_gradient, params_of, weight_gradient
from ipuc.planner.partials import add_partials
from ipuc.planner.poplin.cost import Pass
from ipuc.planner.poplin.operands import LEAD, Operands, seen, transform
from ipuc.program.tensor import Tensor, coalesce
from ipuc.types import Shape

#: `fine` keeps a partial sum for each of its vertices; more elements than this are refused.
FINE_LIMIT = 1 << 26


def convolve(
    ctx: Context,
    conv: Conv,
    x: Tensor,
    weights: Tensor,
    name: str,
    purpose: Pass = Pass.INFERENCE,
    plan: ConvPlan | None = None,
) -> Tensor:
    """Add the vertices of a convolution.

    Args:
        ctx: the lowering.
        conv: the problem.
        x: [batch, groups, ins, *field].
        weights: [groups, outs, ins, *kernel].
        name: name of the result.
        purpose: the pass.
        plan: the plan to follow, where the caller has chosen and recorded one.

    Returns:
        [batch, groups, outs, *out], element type of `x`: a view of a new variable, channels
        outermost, or of a copy where the plan changes the result's layout.

    Raises:
        TooLarge: granularity `fine` would need too many partial sums.
    """
    builder = ctx.builder
    shape = (conv.batch, conv.groups, conv.outs, *(s.out for s in conv.slides))
    if math.prod(shape) == 0 or conv.macs == 0:
        out = builder.variable(name, x.dtype, shape)
        builder.copy_into(out, ctx.scalar(0.0, x.dtype, out.shape), name)
        return out
    if plan is None:
        placed = Placed(ctx.lies_where_used(x), ctx.lies_where_used(weights))
        plan, record = plan_conv(ctx, conv, x.itemsize, purpose, placed)
        ctx.plan.update(record)
    operands = _operands(conv, x, weights)
    if ctx.granularity != "fine":
        operands = transform(builder, operands, plan.how, name)
    data, kernel = _laid(ctx, operands, plan, name)
    # A matrix is left row-major, whichever operand was the field.
    rows = purpose.dense and not plan.how.swap
    made = _steps(ctx, plan, data, kernel, name, rows=rows)
    result = operands.result(made)
    if plan.rearrange[2]:
        result = builder.copy(result, f"{name} result")
    return builder.reshape(result.transpose((1, 0, *range(2, len(result.shape)))), shape, name)


def convolve_data_gradient(
    ctx: Context, conv: Conv, gradient: Tensor, weights: Tensor, name: str
) -> Tensor:
    """The gradient of a convolution's data.

    Args:
        ctx: the lowering.
        conv: the forward convolution.
        gradient: of its result: [batch, groups, outs, *out].
        weights: [groups, outs, ins, *kernel].
        name: name of the result.

    Returns:
        [batch, groups, ins, *field].
    """
    turned = weights.transpose((0, 2, 1, *range(3, len(weights.shape))))
    for axis in range(3, len(turned.shape)):
        turned = turned.slice(axis, turned.shape[axis] - 1, -1, -1)
    return convolve(ctx, data_gradient(conv), gradient, turned, name, Pass.DATA)


def convolve_weight_gradient(
    ctx: Context, conv: Conv, x: Tensor, gradient: Tensor, name: str
) -> Tensor:
    """The gradient of a convolution's weights.

    Args:
        ctx: the lowering.
        conv: the forward convolution.
        x: its data: [batch, groups, ins, *field].
        gradient: of its result: [batch, groups, outs, *out].
        name: name of the result.

    Returns:
        [groups, outs, ins, *kernel].
    """
    rest = range(3, len(x.shape))
    # [ins, groups, batch, *field] with [groups, outs, batch, *out]
    made = convolve(
        ctx,
        weight_gradient(conv),
        x.transpose((2, 1, 0, *rest)),
        gradient.transpose((1, 2, 0, *rest)),
        name,
        Pass.WEIGHTS,
    )
    return made.transpose((1, 2, 0, *rest))


def _operands(conv: Conv, x: Tensor, weights: Tensor) -> Operands:
    """The planner's view of the operands: two field dimensions at least."""
    lack = max(0, 2 - len(conv.slides))
    data = x.transpose((1, 0, *range(2, len(x.shape))))
    wide = _reshaped(data, (*data.shape[:LEAD], *(1,) * lack, *data.shape[LEAD:]))
    kernel = _reshaped(weights, (*weights.shape[:LEAD], *(1,) * lack, *weights.shape[LEAD:]))
    return Operands(params_of(conv, x.itemsize), wide, kernel)


def _reshaped(tensor: Tensor, shape: Shape) -> Tensor:
    made = tensor.reshape(shape)
    assert made is not None  # axes of extent 1 come and go freely
    return made


def _laid(ctx: Context, operands: Operands, plan: ConvPlan, name: str) -> tuple[Tensor, Tensor]:
    """Operands as vertices read them, copied where the plan or their strides ask for it.

    Returns:
        x [batch, groups, ins, *field] and weights [groups, outs, ins, *kernel].
    """
    data, weights = seen(operands)
    data = data.transpose((1, 0, *range(2, len(data.shape))))
    single = plan.splits.group == plan.conv.groups
    move = [
        wanted and not copied
        for wanted, copied in zip(plan.rearrange[:2], operands.copied, strict=True)
    ]
    data = _solid(ctx, data, 1 if single else None, f"{name} input", copy=move[0])
    # A part of the kernel lies together: its elements are no short pieces of many rows.
    split = [3 + d for d, parts in enumerate(plan.splits.kernel) if parts > 1]
    if split and not move[1]:
        rest = [a for a in range(1, len(weights.shape)) if a not in split]
        weights = ctx.relaid(weights, (0, *split, *rest))
    weights = _solid(ctx, weights, 0 if single else None, f"{name} weights", copy=move[1])
    return data, weights


def _solid(ctx: Context, tensor: Tensor, free: int | None, name: str, *, copy: bool) -> Tensor:
    """One strided view with one factor per axis; of the axis `free`, any number."""
    view = tensor.view()
    if copy or view is None:
        return ctx.builder.copy(tensor, name)
    if all(len(coalesce(axis)) <= 1 or at == free for at, axis in enumerate(view.axes)):
        return tensor
    return ctx.builder.copy(tensor, name)


def _steps(
    ctx: Context, plan: ConvPlan, x: Tensor, weights: Tensor, name: str, *, rows: bool
) -> Tensor:
    """The serial steps of a plan.

    Every step is a program step of its own: its output channels are a view of the weights, so no
    slice is copied.

    Args:
        ctx: the lowering.
        plan: the plan.
        x: as `_laid` gives it.
        weights: likewise.
        name: of the result.
        rows: the result lies with output channels innermost, else outermost.

    Returns:
        [groups, batch, outs, *out] of the transformed convolution.
    """
    builder, conv, serial = ctx.builder, plan.conv, plan.splits.serial
    field = tuple(s.out for s in conv.slides)
    rank = len(field)
    if rows:
        out = builder.variable(name, x.dtype, (conv.groups, conv.batch, *field, conv.outs))
        out = out.transpose((0, rank + 2, *range(1, rank + 2)))
    else:
        # Images and field are one row then, as poplin's flattening has them.
        out = builder.variable(name, x.dtype, (conv.groups, conv.outs, conv.batch, *field))
    outs = conv.outs // serial
    step = replace(plan, conv=replace(conv, outs=outs))
    for number in range(serial):
        label = name if serial == 1 else f"{name} {number + 1}/{serial}"
        begin = number * outs
        part = out.slice(1, begin, begin + outs)
        _step(ctx, step, x, weights.slice(1, begin, begin + outs), part, label, rows=rows)
    return out.transpose((0, 2, 1, *range(3, rank + 3)))


def _step(
    ctx: Context, plan: ConvPlan, x: Tensor, weights: Tensor, out: Tensor, name: str, *, rows: bool
) -> None:
    """One serial step, into [groups, outs, batch, *out]."""
    depth = partial_sums(ctx, plan)
    if ctx.granularity == "fine" and depth * out.size > FINE_LIMIT:
        raise TooLarge(
            f"granularity fine needs {depth * out.size} partial sums for this convolution",
            where=name,
            fix="use --granularity worker, or a smaller model",
        )
    builder, rank = ctx.builder, len(plan.conv.slides)
    direct = depth == 1 and plan.sums == x.dtype
    # As the result lies: [groups, batch, *out, outs] or [groups, outs, batch, *out].
    lies = out.transpose((0, *range(2, rank + 3), 1)) if rows else out
    if direct:
        sums = _reshaped(lies, (1, *lies.shape))
    else:
        sums = builder.variable(f"{name} partials", plan.sums, (depth, *lies.shape))
    seen_as = (
        (0, 2, 1, rank + 3, *range(3, rank + 3)) if rows else (0, 3, 1, 2, *range(4, rank + 4))
    )
    with builder.compute_set(name) as compute_set:
        families = ConvFamilies(ctx, compute_set, plan, x, weights, sums.transpose(seen_as))
        add_families(families)
    if depth > 1:
        add_partials(ctx, _reshaped(sums, (depth, out.size)), lies, f"{name} reduce")
    elif not direct:
        into = _reshaped(lies, (1, *lies.shape)).transpose(seen_as)
        with builder.compute_set(f"{name} cast") as compute_set:
            add_casts(families, compute_set, into)
