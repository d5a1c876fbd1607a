"""Hold the planner against the cycles that Graphcore's own IPU model gives for single layers."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import re
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from layers import conv_program, fc_program, product_program, vertices_and_exchange
from onnx import ModelProto, TensorProto, helper, numpy_helper

from ipuc.errors import IpucError
from ipuc.pipeline import compile_model
from ipuc.planner.pool_layer import PoolLayer, pool_layer
from ipuc.planner.poplin.executed import Executed, conv_layer, fc_layer, matmul_layer, octave_layer
from ipuc.planner.poplin.params import ConvParams, convolution
from ipuc.planner.window import Slide
from ipuc.profile import calibration
from ipuc.profile.memory import GAPS
from ipuc.profile.record import profile
from ipuc.program.program import Program
from ipuc.target import CATALOGUE, Target

TARGETS = {"Mk1": "gc2", "Mk2": "gc200"}
NOT_MODELLED = "not modelled"


#: Operators of ONNX by the names of the reduction runner.
REDUCTIONS = {
    "ADD": "ReduceSum",
    "SQUARE_ADD": "ReduceSumSquare",
    "MUL": "ReduceProd",
    "MAX": "ReduceMax",
    "MIN": "ReduceMin",
}
#: What the figures leave out: some rows report less in all than the stacks alone would take.
NOT_COUNTED = {
    "Stack",
    "Vertex Code",
    "Control Code",
    "Host Exchange Code",
    "Host Exchange Packet Headers",
}


@dataclass(frozen=True, slots=True)
class Profiled:
    """Figures of a program that was compiled and profiled; named as those of `Executed`."""

    cycles: int
    total_memory_bytes: int
    max_tile_bytes: int


def options(text: str) -> dict[str, str]:
    """Read a runner's options: `--name value`, `--name=value`, and flags, which have no value."""
    return dict(re.findall(r"--([\w-]+)(?:[= ](?!--)([^\s]+))?", text))


def numbers(text: str, rank: int) -> tuple[int, ...]:
    """Read "3" or "{1,7}" as one number for each dimension."""
    found = tuple(int(one) for one in re.findall(r"-?\d+", text))
    return found if len(found) == rank else found * rank


def itemsize(given: dict[str, str]) -> int:
    """Bytes of an element; the runners' default is half."""
    return 4 if given.get("data-type") == "float" else 2


def window(given: dict[str, str], kernel: str, channels: tuple[int, int]) -> ConvParams:
    """Read a window that slides over a field: a convolution's or a pooling's."""
    field = numbers(given["field"], 2)
    rank = len(field)
    both = given.get("padding", "0")
    pads = (numbers(given.get(f"padding-{end}", both), rank) for end in ("lower", "upper"))
    return convolution(
        field,
        numbers(given[kernel], rank),
        channels=channels,
        batch=int(given.get("batch-size", 1)),
        stride=numbers(given.get("stride", "1"), rank),
        pads=tuple(zip(*pads, strict=True)),
        groups=int(given.get("conv-groups", 1)),
        itemsize=itemsize(given),
    )


#: Items of a planned layer that the profile of its program replaces.
RAN = (
    "compute",
    "reduce",
    "cast",
    "data_exchange",
    "weight_exchange",
    "first_reduce_exchange",
    "later_reduce_exchange",
)


def ran(layer: Executed, *programs: Program) -> Executed:
    """A planned layer, with its vertices and their exchange taken from the profile of programs.

    What stays is what only the runners do: copies between poplin's layouts, which hold groups of
    channels, where ours are plain; the update of the weights; entering compute sets.
    """
    items = {name: cycles for name, cycles in layer.items.items() if name not in RAN}
    for program in programs:
        for name, cycles in vertices_and_exchange(program).items():
            items[name] = items.get(name, 0) + cycles
    return dataclasses.replace(layer, items=items)


def conv(target: Target, given: dict[str, str]) -> Executed:
    """A convolution layer: forward, data gradient, weight gradient, update."""
    channels = (int(given["input-channels"]), int(given["output-channels"]))
    params = window(given, "kernel-size", channels)
    return ran(conv_layer(target, params), conv_program(target, params))


def octave(target: Target, given: dict[str, str]) -> Executed:
    """A convolution with a share of its channels at half the resolution."""
    both = float(given.get("alpha", 0))
    paths = []
    sides = []
    for side in ("in", "out"):
        channels = int(given[f"{side}put-channels"])
        low = int(channels * float(given.get(f"alpha-{side}", both)))
        sides.append((channels - low, low))
    field = numbers(given["field"], 2)
    half = "{" + ",".join(str(size // 2) for size in field) + "}"
    for resolution, ins in enumerate(sides[0]):
        for to, outs in enumerate(sides[1]):
            if ins and outs:
                smaller = {**given, "field": half} if resolution or to else given
                paths.append(window(smaller, "kernel-size", (ins, outs)))
    programs = (conv_program(target, path) for path in paths)
    return ran(octave_layer(target, paths), *programs)


def pooling(target: Target, given: dict[str, str]) -> PoolLayer:
    """A pooling layer, and its gradient where the name says that it trains."""
    channels = int(given["channels"])
    params = window(given, "kernel", (1, 1))
    slides = tuple(
        Slide(d.size, d.out, d.kernel, d.result.stride, 1, d.data.pad[0]) for d in params.dims
    )
    trains = any(word.startswith("tr") for word in given["name"].lower().split("_"))
    return pool_layer(
        target,
        "max" if given.get("pooling-type", "max").lower() == "max" else "mean",
        slides,
        params.batch,
        channels,
        lies=int(given.get("fwd-chans-per-group", 16 if channels % 16 == 0 else 1)),
        dtype="float32" if params.itemsize == 4 else "float16",
        gradient=trains and "inference-only" not in given,
    )


def fully_connected(target: Target, given: dict[str, str]) -> Executed:
    """A fully connected layer: forward, data gradient, weight gradient, update."""
    names = ("batch-size", "input-size", "output-size")
    batch, inputs, outputs = (int(given[name]) for name in names)
    groups, size = int(given.get("num-groups", 1)), itemsize(given)
    layer = fc_layer(target, batch, inputs, outputs, groups=groups, itemsize=size)
    return ran(layer, fc_program(target, batch, inputs, outputs, groups, size))


def product(target: Target, given: dict[str, str]) -> Executed:
    """A matrix product added to a matrix."""
    rows, depth, columns = (int(given[name]) for name in "mkn")
    size = itemsize(given)
    layer = matmul_layer(target, rows, depth, columns, itemsize=size)
    return ran(layer, product_program(target, rows, depth, columns, size))


def reduction(target: Target, given: dict[str, str]) -> Profiled:
    """One reduction of a plain tensor: compiled as an ONNX model, and profiled.

    A scale, or an output that is added to, is work of the last stage's vertices, for which popops
    charges nothing, or a cycle or two.
    """
    return profiled(target, reduction_model(given))


def reduction_model(given: dict[str, str]) -> ModelProto:
    """The ONNX model of a reduction's options."""
    lists = ("shape", "dims", "initial-shape", "shuffle")
    shape, axes, initial, order = (
        [int(n) for n in given.get(name, "").split(",") if n] for name in lists
    )
    op = REDUCTIONS.get(given.get("operation", "ADD"))
    if op is None:
        raise ValueError(f"operation {given['operation']} is not modelled")
    kind = TensorProto.FLOAT16 if given.get("type", "float") == "half" else TensorProto.FLOAT
    nodes = [helper.make_node(op, ["a" if order else "x", "axes"], ["y"], keepdims=0)]
    constants = {"axes": axes}
    if order:
        nodes = [
            helper.make_node("Transpose", ["x"], ["t"], perm=order),
            helper.make_node("Reshape", ["t", "shape"], ["a"]),
            *nodes,
        ]
        constants["shape"] = shape
    graph = helper.make_graph(
        nodes,
        "reduction",
        [helper.make_tensor_value_info("x", kind, initial if order else shape)],
        [helper.make_tensor_value_info("y", kind, None)],
        [numpy_helper.from_array(np.array(n, np.int64), name) for name, n in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def profiled(target: Target, model: ModelProto) -> Profiled:
    """Figures of a model's whole program.

    The runners of these kinds stream operands and result in the program that is measured: the host
    waits for the tiles, and they for it, once.
    """
    found = profile(compile_model(model, target=target))
    counted = {
        name: column
        for name, column in found.memory.categories().items()
        if name not in NOT_COUNTED
    }
    end = np.sum(list(counted.values()), axis=0)
    total = end.sum() - counted[GAPS].sum()
    cycles = found.cycles["total"] + target.external_sync_cycles
    return Profiled(cycles, int(total), int(end.max()))


RUNNERS: dict[str, Callable[[Target, dict[str, str]], Executed | Profiled | PoolLayer]] = {
    "conv": conv,
    "fc": fully_connected,
    "gemm": product,
    "oct_conv": octave,
    "pooling": pooling,
    "reduction": reduction,
}


def predict(row: dict[str, str]) -> dict[str, Any]:
    """Predict one row; the reason stands in `status` where it cannot be."""
    empty = {"pred_cycles": "", "pred_total_memory_B": "", "pred_max_tile_B": ""}
    runner, given = RUNNERS.get(row["kind"]), options(row["params"])
    if runner is None:
        return {**empty, "status": NOT_MODELLED}
    if not given:
        return {**empty, "status": "no parameters"}
    target = CATALOGUE[TARGETS[row["target"]]]
    if "tiles-per-ipu" in given:
        target = dataclasses.replace(target, tiles=int(given["tiles-per-ipu"]))
    try:
        made = runner(target, {**given, "name": row["name"]})
    except (IpucError, KeyError, ValueError) as error:
        return {**empty, "status": f"cannot read the options: {error}".replace("\n", " ")}
    return {
        "pred_cycles": made.cycles,
        "pred_total_memory_B": made.total_memory_bytes,
        "pred_max_tile_B": made.max_tile_bytes,
        "status": "ok",
    }


#: What is compared: a title, the column of figures and the column of predictions.
COMPARED = (
    ("cycles", "cycles", "pred_cycles"),
    ("total memory", "total_memory_B", "pred_total_memory_B"),
    ("max tile", "max_tile_memory_incl_gaps_B", "pred_max_tile_B"),
)


def table(rows: list[dict[str, Any]], title: str, true: str, predicted: str) -> str:
    """Absolute relative errors of one figure, by kind and target."""
    lines = [f"{title:<14}{'target':<8}{'rows':>5}{'median':>9}{'p90':>9}{'max':>9}"]
    for kind, name in sorted({(row["kind"], row["target"]) for row in rows}):
        mine = [row for row in rows if (row["kind"], row["target"]) == (kind, name)]
        errors = sorted(abs(row[predicted] / int(row[true]) - 1) for row in mine if row[predicted])
        shown = "".join(f"{100 * one:8.1f}%" for one in summary(errors))
        lines.append(f"{kind:<14}{name:<8}{len(errors):>5}{shown or '  ' + NOT_MODELLED}")
    return "\n".join(lines)


def summary(errors: list[float]) -> list[float]:
    """Median, 90th percentile (interpolated between ranks) and maximum; [] of nothing."""
    if not errors:
        return []
    tenths = statistics.quantiles(
        errors * 2 if len(errors) == 1 else errors, n=10, method="inclusive"
    )
    return [statistics.median(errors), tenths[8], errors[-1]]


#: The product's own copy of the errors, and where its tables begin.
MODULE = Path(calibration.__file__)
TABLES = "#: Errors of the cycles"
#: Name of each table there, what its comment says, and which of `COMPARED` it holds.
KEPT = (
    ("CYCLES", "cycles, by generation of the chip and kind of layer", 0),
    ("MEMORY", "bytes of all tiles together", 1),
)


#: Number of rows, median and 90th percentile of a figure's errors: by target, then kind.
Errors = dict[str, dict[str, tuple[int, float, float]]]


def errors_of(rows: list[dict[str, Any]], true: str, predicted: str) -> Errors:
    """Errors of one figure, rounded to a tenth of a per cent."""
    found: Errors = {}
    for name, kind in sorted({(row["target"], row["kind"]) for row in rows}):
        mine = [row for row in rows if (row["target"], row["kind"]) == (name, kind)]
        errors = sorted(abs(row[predicted] / int(row[true]) - 1) for row in mine if row[predicted])
        if errors:
            median, p90, _ = summary(errors)
            found.setdefault(name, {})[kind] = (len(errors), round(median, 3), round(p90, 3))
    return found


def written(text: str, tables: Sequence[Errors]) -> str:
    """The source text of the product's data module, with these tables.

    Args:
        text: what it says now: all before the tables stays.
        tables: those of `KEPT`, in order.
    """
    lines = [text[: text.index(TABLES)].rstrip("\n"), "", ""]
    for (name, what, _), table in zip(KEPT, tables, strict=True):
        lines += [f"#: Errors of the {what}.", f"{name}: Mapping[str, Mapping[str, Spread]] = {{"]
        for target, kinds in table.items():
            lines.append(f'    "{target}": {{')
            lines += [f'        "{kind}": Spread{spread},' for kind, spread in kinds.items()]
            lines.append("    },")
        lines += ["}", ""]
    return "\n".join(lines)


#: The page that shows the errors, and the lines between which they stand.
PAGE = Path(__file__).parents[1] / "docs" / "calibration.md"
BEGIN, END = "<!-- errors -->\n", "<!-- end of errors -->"


def shown(text: str, tables: Sequence[Errors]) -> str:
    """The page of the errors, with these tables: those of `KEPT`, in order."""
    columns = [(name, table.get(name, {})) for table in tables for name in TARGETS]
    titles = [f"{what} {name}" for what in ("cycles", "memory") for name in TARGETS]
    lines = ["| kind | rows | " + " | ".join(titles) + " |", "|---|---|" + "---|" * len(titles)]
    for kind in sorted({kind for _, kinds in columns for kind in kinds}):
        cells = [_cell(kinds.get(kind)) for _, kinds in columns]
        rows = " + ".join(str(kinds[kind][0]) for _, kinds in columns[:2] if kind in kinds)
        lines.append(f"| {kind} | {rows} | " + " | ".join(cells) + " |")
    before, rest = text.split(BEGIN)
    return before + BEGIN + "\n".join(lines) + "\n" + END + rest.split(END)[1]


def _cell(spread: tuple[int, float, float] | None) -> str:
    if spread is None:
        return "not compared"
    return f"{100 * spread[1]:.1f} / {100 * spread[2]:.1f} %"


def main() -> None:
    """Predict every row and print the errors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("csv", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--kinds", nargs="*")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument(
        "--write",
        nargs="?",
        type=Path,
        const=MODULE,
        help="write the errors into the package and its page, or into a copy of the module",
    )
    given = parser.parse_args()
    if given.write and given.kinds:
        parser.error("--write needs all kinds: leave --kinds out")
    with given.csv.open(newline="") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    rows = [row for row in rows if not given.kinds or row["kind"] in given.kinds]
    start = time.perf_counter()
    with ProcessPoolExecutor() as pool:
        for row, predicted in zip(rows, pool.map(predict, rows), strict=True):
            row.update(predicted)
            if given.verbose and row["status"] == "ok":
                error = row["pred_cycles"] / int(row["cycles"]) - 1
                print(
                    f"{row['target']} {row['name']:<36}{row['cycles']:>9}{row['pred_cycles']:>9}"
                    f"{100 * error:8.1f}%",
                    flush=True,
                )
    for figure in COMPARED:
        print(table(rows, *figure), end="\n\n")
    if given.out:
        with given.out.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    if given.write:
        tables = [errors_of(rows, *COMPARED[number][1:]) for _, _, number in KEPT]
        given.write.write_text(written(MODULE.read_text("utf-8"), tables), "utf-8")
        print(f"written: {given.write}")
        if given.write == MODULE:
            PAGE.write_text(shown(PAGE.read_text("utf-8"), tables), "utf-8")
            print(f"written: {PAGE}")
    print(f"{time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
