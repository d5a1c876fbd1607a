"""The compiler as plain functions: a model in, a program out; a program and arrays in, arrays out.

The command line, the ONNX backend and the checker are three ways to call these.
"""

from __future__ import annotations

import functools
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.codelets.rounding import Arithmetic
from ipuc.emulator.machine import tensor_values
from ipuc.emulator.run import Emulator
from ipuc.errors import ContainerError, OptionError, ShapeError, ValueRangeError
from ipuc.graph.infer import GRADIENT, UndecidedShape
from ipuc.graph.ir import Graph
from ipuc.graph.record import from_json, to_json
from ipuc.importer.deciding import trace
from ipuc.importer.digest import Model, digest
from ipuc.importer.limits import DEFAULT_MAX_BYTES
from ipuc.importer.load import load
from ipuc.lowering.driver import lower
from ipuc.lowering.shard import check_rule, cut, measure, names_of
from ipuc.ops.define import functions, operators
from ipuc.passes.pipelines import prepare_inference
from ipuc.planner.choices import Choices
from ipuc.planner.context import Granularity
from ipuc.planner.precision import Precision, parse_precision
from ipuc.profile.record import profile
from ipuc.program.program import Layer, Program
from ipuc.program.tensor import Tensor, View
from ipuc.target import Target, several
from ipuc.training.build import training_graph
from ipuc.training.gradient_nodes import resolve_gradients
from ipuc.training.loss import LABELS
from ipuc.training.options import Training
from ipuc.types import Shape, TensorType
from ipuc.version import __version__

Array = NDArray[Any]
#: Called with (stage, steps done, steps in all).
Progress = Callable[[str, int, int], Any]

_GRANULARITIES = ("tile", "worker", "fine")

#: Operators that graph passes remove, replace or fold in most models: whether one is left that
#: has no lowering is known, and reported, after the passes.
_REMOVED = frozenset({("", "BatchNormalization"), ("", "Dropout"), ("", "Identity"), GRADIENT})


def supported(domain: str, op: str, opset: int) -> str | None:
    """Why an operator cannot be compiled; None if it can. For `ipuc.importer`."""
    del opset
    if (domain, op) in operators() or (domain, op) in _REMOVED:
        return None
    return f"operator {domain or 'ai.onnx'}.{op} has no lowering"


def compile_model(
    source: Model,
    *,
    target: Target,
    granularity: Granularity = "tile",
    precision: Precision | str = "float32",
    arithmetic: Arithmetic | None = None,
    choices: Choices | None = None,
    ipus: int = 1,
    shard: str = "auto",
    outline: bool = False,
    shapes: Mapping[str, Shape] | None = None,
    batch: int | None = None,
    constants: Mapping[str, Array] | None = None,
    max_bytes: int = DEFAULT_MAX_BYTES,
    progress: Progress | None = None,
    training: Training | None = None,
) -> Program:
    """Compile a model: for inference, or one step of its training.

    Args:
        source: an ONNX file, or a model in memory.
        target: the machine.
        granularity: `tile`, `worker` or `fine`.
        precision: number formats of the layers, as `--precision` takes them.
        arithmetic: how halves are made when the program runs; see `Arithmetic`.
        choices: memory that layers may use, and pinned plans; see `Choices`.
        ipus: how many of the target to use, one after another; 1 to 16.
        shard: how layers are shared out over them, as `--shard` takes it; see
            `ipuc.lowering.shard`.
        outline: identical layers share one program function; see `ipuc.lowering.outline`.
        shapes: shapes for inputs with symbolic dimensions.
        batch: number for the symbolic leading dimension.
        constants: values for inputs that decide shapes; they stop being inputs.
        max_bytes: the most that file and constants may take.
        progress: called with (stage, steps done, steps in all).
        training: loss, optimizer and what is trained; None for inference.

    Returns:
        A program that keeps Poplar's rules. Its constants share memory with the arrays that
        were read, so weights exist once.

    Raises:
        ImportFailure: the file is no sound ONNX model.
        UnsupportedOp: nodes that cannot be compiled, all in one error.
        UndecidedShape: inputs decide a shape or an axis; `values` names them.
        ShapeError: dimensions are open or do not fit.
        OptionError: an option names nothing that exists.
        TooLarge: the model asks for more than `max_bytes`.
    """
    if granularity not in _GRANULARITIES:
        raise OptionError(
            f'no granularity is called "{granularity}"',
            where="--granularity",
            fix=f"use one of {', '.join(_GRANULARITIES)}",
        )
    formats = parse_precision(precision) if isinstance(precision, str) else precision
    control, decided = arithmetic or Arithmetic(), choices or Choices()
    tell = progress or _silent
    seconds: dict[str, float] = {}
    with _stage("load", seconds, tell):
        graph = load(
            source,
            shapes=shapes,
            batch=batch,
            constants=constants,
            max_bytes=max_bytes,
            supported=supported,
            own=functions(),
            rebatch=training is not None,
        )
        sha256 = digest(source)
    trained: dict[str, Any] | bool = False
    with _stage("passes", seconds, tell):
        graph = resolve_gradients(graph)
        if training is None:
            graph, _ = prepare_inference(graph)
        else:
            made = training_graph(graph, training)
            graph, trained = made.graph, made.facts(training)
    check_decided(graph)
    machine = several(target, ipus)
    lower_for = functools.partial(
        lower,
        graph,
        granularity=granularity,
        progress=lambda done, of: tell("lower", done, of),
        precision=formats,
        saturate=control.saturate,
        choices=decided,
        plans={},
        outline=outline,
    )
    firsts: tuple[int, ...] = ()
    if ipus > 1:
        with _stage("shard", seconds, tell):
            firsts = _first_layers(graph, machine, shard, lower_for)
    with _stage("lower", seconds, tell):
        program = lower_for(target=machine, firsts=firsts)
    path = Path(source) if isinstance(source, str | Path) else None
    program.graph_text = to_json(graph, [] if training is None else not_held(program, graph))
    program.metadata |= {
        "model": graph.name,
        "file": path.name if path else None,
        "path": str(path.resolve()) if path else None,
        "sha256": sha256,
        "ipuc": __version__,
        "target": target.name,
        "first_layers": names_of(graph, firsts),
        "granularity": granularity,
        "outline": outline,
        "precision": str(formats),
        "available_memory": str(decided),
        "pinned": sorted(decided.pins),
        **control.to_metadata(),
        "training": trained,
        "options": {
            "shapes": {name: list(shape) for name, shape in (shapes or {}).items()},
            "batch": batch,
            "constants": sorted(constants or {}),
        },
        "seconds": seconds,
        "model_metadata": dict(graph.metadata),
    }
    return program


def check_trainable(
    source: Model,
    training: Training,
    *,
    shapes: Mapping[str, Shape] | None = None,
    batch: int | None = None,
    constants: Mapping[str, Array] | None = None,
    max_bytes: int = DEFAULT_MAX_BYTES,
) -> None:
    """Make the training graph of a model and forget it.

    Raises:
        IpucError: the model cannot be read, or cannot be trained so.
    """
    graph = load(
        source,
        shapes=shapes,
        batch=batch,
        constants=constants,
        max_bytes=max_bytes,
        supported=supported,
        rebatch=True,
    )
    training_graph(resolve_gradients(graph), training)


def _first_layers(
    graph: Graph, machine: Target, shard: str, lower_for: Callable[..., Program]
) -> tuple[int, ...]:
    """The first layer of every IPU but the first."""
    named = check_rule(shard, graph, machine.ipus)
    if named is not None:
        return named
    alone = lower_for(target=several(machine, 1))
    return cut(measure(graph, profile(alone)), machine, shard)


def _silent(stage: str, done: int, of: int) -> None:
    del stage, done, of


@contextmanager
def _stage(name: str, seconds: dict[str, float], tell: Progress) -> Iterator[None]:
    tell(name, 0, 1)
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start
    tell(name, 1, 1)


def check_decided(graph: Graph) -> None:
    """Hold every input that an operator's lowering must know to be a constant.

    Import asks this for what ONNX's shapes depend on; an op file may ask for more, such as the
    indices of a Gather.

    Raises:
        UndecidedShape: some are not; `values` names the graph inputs they come from.
    """
    known = operators()
    producers = {out: (node.op, node.inputs) for node in graph.nodes for out in node.outputs if out}
    wanted: dict[str, str] = {}
    for node in graph.nodes:
        op = known.get((node.domain, node.op))
        for position in op.shape_inputs if op else ():
            name = node.inputs[position] if position < len(node.inputs) else ""
            if name and name not in graph.constants:
                wanted[name] = node.where()
    if not wanted:
        return
    deciding = trace(list(wanted), producers, graph.inputs)
    listed = ", ".join(f'"{name}"' for name in deciding)
    raise UndecidedShape(
        f"the value of {listed} must be known when the program is built",
        where=", ".join(dict.fromkeys(wanted.values())),
        fix="give it: " + " ".join(f"--const {name}=FILE.npy" for name in deciding),
        values=tuple(deciding),
    )


def run_program(
    program: Program,
    inputs: Mapping[str, Array],
    *,
    arithmetic: Arithmetic | None = None,
    overflows: dict[str, int] | None = None,
) -> dict[str, Array]:
    """Run a program once on the emulator.

    Args:
        program: it has passed the verifier.
        inputs: an array for every input, of the declared type and shape.
        arithmetic: how halves are made; as the program was compiled, if None.
        overflows: gets, by layer, how many finite values were too large for a half; layers
            without any, and the counts of earlier runs, are not in it.

    Returns:
        Every graph output by name, and in training every state (weights and so on) as it is after
        the step, in ONNX's own element types.

    Raises:
        ShapeError: an input is missing, unknown, or of the wrong type or shape.
        ValueRangeError: a 64-bit integer does not fit 32 bits, or a label is no class.
    """
    check_labels(program, inputs)
    emulator = Emulator(program, arithmetic=arithmetic, keep=False)
    outputs = emulator.run(inputs) | emulator.state()
    if overflows is not None:
        overflows.clear()
        overflows.update(emulator.stores.overflows)
    return outputs


def first_not_finite(
    program: Program,
    inputs: Mapping[str, Array],
    arithmetic: Arithmetic | None = None,
    state: Mapping[str, Array] | None = None,
) -> tuple[Layer, str] | None:
    """Run a program again and find the first layer that makes NaN or infinity of finite numbers.

    Args:
        program: what was run.
        inputs: of that run.
        arithmetic: of that run.
        state: weights and so on before that run; those of the program if None.

    Returns:
        The layer, and the value that it makes; None if all values are finite.
    """
    emulator = Emulator(program, arithmetic=arithmetic)
    emulator.load_state(state or {})
    emulator.run(inputs)
    for layer in program.layers:
        for name in layer.outputs:
            if name in program.values:
                values = emulator.value(name)
                if values.dtype.kind == "f" and not np.isfinite(values).all():
                    return layer, name
    return None


def not_held(program: Program, graph: Graph) -> list[str]:
    """Constants of a graph that cannot be read from its program: folded, or in another type."""
    return [
        name
        for name, array in graph.constants.items()
        if name not in program.values or program.values[name].dtype != array.dtype
    ]


def initial_graph(program: Program) -> Graph:
    """The op graph of a program, with constants and state as the program holds them.

    Raises:
        ContainerError: the program carries no op graph, or not all of it.
    """

    def contents(name: str) -> Array:
        held = program.state.get(name)
        tensor = held.tensor if held else program.values.get(name)
        if tensor is None or not program.constants.keys() >= _variables(tensor):
            raise ContainerError(
                f'the program does not hold the constant "{name}"', fix="compile it with --train"
            )
        found = tensor_values(tensor, program.constants.__getitem__)
        return found.astype(types[name].dtype, copy=False)

    types = from_json(program.graph_text).types
    return from_json(program.graph_text, contents)


def _variables(tensor: Tensor) -> set[int]:
    sources = (piece.source for piece in tensor.pieces)
    return {source.variable for source in sources if isinstance(source, View)}


def classes_of(program: Program) -> int | None:
    """The number of classes that labels name; None if labels are no class numbers."""
    facts = program.metadata.get("training")
    classes = facts.get("classes") if isinstance(facts, dict) else None
    return classes if isinstance(classes, int) else None


def check_labels(program: Program, inputs: Mapping[str, Array]) -> None:
    """Hold class numbers to the classes of the model.

    Raises:
        ShapeError: labels are no class numbers.
        ValueRangeError: a label is negative, or too large.
    """
    classes, labels = classes_of(program), np.asarray(inputs.get(LABELS, ()))
    if classes is None or not labels.size:
        return
    where, wanted = f'input "{LABELS}"', program.inputs[LABELS]
    if labels.dtype.kind not in "iu":
        one_hot = labels.ndim == 2 and labels.shape == (wanted.size, classes)
        raise ShapeError(
            f"labels are class numbers, {wanted}; these are "
            f"{TensorType(labels.dtype.name, labels.shape)}",
            where=where,
            fix="give labels.argmax(axis=1)" if one_hot else 'give labels.astype("int64")',
        )
    bad = labels[(labels < 0) | (labels >= classes)]
    if bad.size:
        raise ValueRangeError(
            f"label {bad.flat[0]} is no class: the model has {classes}, 0 to {classes - 1}",
            where=where,
            fix="number the classes from 0",
        )


def random_input(kind: TensorType, seed: int, name: str = "") -> Array:
    """Make an input for those who have none: the same for the same seed, name and type.

    Floats are normal with deviation 1, as normalised images nearly are; integers lie in 0..9,
    so that they are valid class numbers and indices of most models; bools are fair.

    Args:
        kind: element type and shape.
        seed: any integer from 0 on.
        name: of the input, so that two inputs of one type differ.

    Raises:
        OptionError: a negative seed.
    """
    if seed < 0:
        raise OptionError(f"random:{seed}: a seed is 0 or more")
    draw = np.random.default_rng([seed, zlib.crc32(name.encode())])
    if kind.dtype == "bool":
        return draw.random(kind.shape) < 0.5
    if kind.is_float:
        return draw.standard_normal(kind.shape, np.float32).astype(kind.dtype, copy=False)
    return draw.integers(0, 10, kind.shape).astype(kind.dtype)


def random_value(program: Program, name: str, seed: int) -> Array:
    """A random array for one input of a program; labels are classes that the model has."""
    made, classes = random_input(program.inputs[name], seed, name), classes_of(program)
    return made % classes if classes and name == LABELS else made


def random_inputs(program: Program, seed: int) -> dict[str, Array]:
    """Random arrays for every input of a program; see `random_value`."""
    return {name: random_value(program, name, seed) for name in program.inputs}
