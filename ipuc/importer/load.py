"""An ONNX model as an op graph: static shapes, constants known, functions opened."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ipuc.errors import OptionError, ShapeError, UnsupportedOp
from ipuc.graph.bodies import parse_body
from ipuc.graph.ir import Graph, constant_type, drop_unused
from ipuc.importer.check import Supported, check, everything, inline
from ipuc.importer.inputs import describe, resolve
from ipuc.importer.limits import DEFAULT_MAX_BYTES
from ipuc.importer.read import ModelSource, opsets, read_model
from ipuc.importer.rebatch import reopen_reshapes
from ipuc.importer.walk import OwnFunction, Walk, names_read
from ipuc.types import Shape, TensorType


def _override_defaults(
    source: ModelSource, constants: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """Let given values replace initializers that the file also lists as inputs."""
    left: dict[str, NDArray[Any]] = {}
    for name, value in constants.items():
        array = np.asarray(value)
        if name not in source.defaults:
            left[name] = array
            continue
        given, declared = constant_type(array), constant_type(source.weights[name])
        if given != declared:
            raise ShapeError(
                f"--const {name} is {given}, the model wants {declared}", where=f'input "{name}"'
            )
        source.weights[name] = array
    return left


def _input_types(
    source: ModelSource,
    shapes: Mapping[str, Shape],
    batch: int | None,
    constants: Mapping[str, NDArray[Any]],
    *,
    rebatch: bool,
) -> dict[str, TensorType]:
    protos = {one.name: one for one in source.proto.graph.input}
    infos = {name: describe(protos[name]) for name in source.inputs}
    bad = [name for name, info in infos.items() if info.dtype in ("", "object")]
    if bad:
        listed = ", ".join(f'"{name}"' for name in bad)
        raise UnsupportedOp(
            f"inputs that are no tensors of numbers: {listed}",
            where=source.where(),
            fix="export the model with tensor inputs",
        )
    if rebatch and batch is not None:
        opened = {name: info.with_open_batch() for name, info in infos.items()}
        changed = [name for name, info in opened.items() if info != infos[name]]
        reopen_reshapes(source, [name for name in changed if name not in shapes], batch)
        infos = opened
    types = resolve(infos, shapes=shapes, batch=batch, constants=constants)
    for name, kind in types.items():
        source.budget.hold(kind.size * kind.itemsize, f'input "{name}"')
    return types


def _kept(
    source: ModelSource, own: Mapping[tuple[str, str], OwnFunction]
) -> dict[tuple[str, str], OwnFunction]:
    """The model's functions that are ours; one that only bears the name of ours is not."""
    found: dict[tuple[str, str], OwnFunction] = {}
    for function in source.proto.functions:
        known = own.get((function.domain, function.name))
        if known is not None and parse_body(known.body) == function:
            found[function.domain, function.name] = known
    return found


def load(
    model: str | Path | onnx.ModelProto,
    *,
    shapes: Mapping[str, Shape] | None = None,
    batch: int | None = None,
    constants: Mapping[str, NDArray[Any]] | None = None,
    max_bytes: int = DEFAULT_MAX_BYTES,
    supported: Supported = everything,
    own: Mapping[tuple[str, str], OwnFunction] | None = None,
    rebatch: bool = False,
) -> Graph:
    """Read a model and turn it into an op graph.

    Args:
        model: path of an ONNX file, or a model in memory (which is not changed).
        shapes: shapes for inputs with symbolic dimensions, by input name.
        batch: number for the symbolic leading dimension of every input that has one.
        constants: values for inputs that decide shapes; they stop being inputs.
        max_bytes: the most that the file, its constants together, or any one value may take.
        supported: (domain, operator, operator set) -> None, or the reason why the operator
            cannot be compiled. It is asked about the nodes that remain after folding. An operator
            that is refused but that ONNX defines by a function is replaced by the body.
        own: operators of ours by (domain, name): a function of the model that has the name and
            the body of one stays a single node.
        rebatch: `batch` also replaces leading dimensions that the file fixes at 1.

    Returns:
        A graph that keeps its own rules: SSA, topological order, a static type for every value.

    Raises:
        ImportFailure: the file is no sound ONNX model.
        UnsupportedOp: nodes that cannot be compiled, all in one error.
        UndecidedShape: a shape depends on the value of an input.
        ShapeError: open dimensions, or shapes that do not fit.
        OptionError: an option names no input, or has nothing to set.
        TooLarge: the model asks for more than `max_bytes`.
    """
    if max_bytes < 1:
        raise OptionError(f"--max-bytes {max_bytes}: give a positive number of bytes")
    source = read_model(model, max_bytes=max_bytes)
    check(source)
    kept = _kept(source, own or {})
    inline(source, kept, supported)
    given = _override_defaults(source, constants or {})
    types = _input_types(source, shapes or {}, batch, given, rebatch=rebatch)
    proto = source.proto.graph
    outputs = [one.name for one in proto.output]
    known = {**source.weights, **given}
    source.weights.clear()
    walk = Walk(
        opsets=opsets(source.proto),
        supported=supported,
        budget=source.budget,
        types={**types, **{name: constant_type(array) for name, array in known.items()}},
        constants=known,
        read=names_read(list(proto.node)) | set(outputs),
        inputs=[name for name in source.inputs if name not in given],
        functions=kept,
    )
    walk.run(list(proto.node))
    graph = Graph(
        name=source.name,
        inputs=walk.inputs,
        outputs=outputs,
        types=walk.types,
        constants=walk.constants,
        nodes=walk.nodes,
        opset=walk.opsets.get("", onnx.defs.onnx_opset_version()),
        metadata={one.key: one.value for one in source.proto.metadata_props},
    )
    drop_unused(graph)
    graph.check()
    return graph
