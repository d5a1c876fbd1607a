"""What an ONNX file is: the facts that `ipuc info` prints."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import onnx

from ipuc.graph.infer import unknown_op
from ipuc.graph.proto import schema_of
from ipuc.importer.check import Supported, check, everything, inline, standard
from ipuc.importer.deciding import SHAPE_ONLY, deciding_inputs
from ipuc.importer.inputs import InputInfo, describe
from ipuc.importer.limits import DEFAULT_MAX_BYTES
from ipuc.importer.read import ModelSource, opsets, read_model


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model at a glance.

    Attributes:
        name: file stem.
        inputs: data inputs; `InputInfo.flag` is the option that settles an open shape.
        outputs: graph outputs as the file declares them.
        deciding: inputs whose value decides shapes, with the option that gives it.
        opset: version of the standard operator set.
        domains: versions of all operator sets by domain.
        ops: how often each operator occurs, most frequent first.
        parameters: number of weight elements.
        parameter_bytes: bytes of the weights.
        metadata: the model's own notes.
        producer: what wrote the file.
        unsupported: node and reason, for each node that cannot be compiled.
    """

    name: str
    inputs: tuple[InputInfo, ...]
    outputs: tuple[InputInfo, ...]
    deciding: dict[str, str]
    opset: int
    domains: dict[str, int]
    ops: dict[str, int]
    parameters: int
    parameter_bytes: int
    metadata: dict[str, str]
    producer: str
    unsupported: tuple[tuple[str, str], ...]


def inspect_model(
    path: str | Path | onnx.ModelProto,
    *,
    supported: Supported = everything,
    max_bytes: int = DEFAULT_MAX_BYTES,
) -> ModelInfo:
    """Read what a model is, without settling open shapes or computing anything.

    Args:
        path: an ONNX file, or a model in memory.
        supported: see `ipuc.importer.check.Supported`.
        max_bytes: the most that the file may take.

    Raises:
        ImportFailure: the file is no sound ONNX model.
        TooLarge: it asks for more than `max_bytes`.
    """
    source = read_model(path, max_bytes=max_bytes)
    check(source)
    graph = source.proto.graph
    ops = Counter(_label(node) for node in graph.node)
    producer = source.proto.producer_name
    inline(source, (), supported)
    graph = source.proto.graph
    infos = {one.name: describe(one) for one in graph.input}
    return ModelInfo(
        name=source.name,
        inputs=tuple(infos[name] for name in source.inputs),
        outputs=tuple(describe(one) for one in graph.output),
        deciding={name: f"--const {name}=FILE.npy" for name in deciding_inputs(source)},
        opset=source.opset,
        domains=opsets(source.proto),
        ops=dict(sorted(ops.items(), key=lambda item: (-item[1], item[0]))),
        parameters=sum(array.size for array in source.weights.values()),
        parameter_bytes=sum(array.nbytes for array in source.weights.values()),
        metadata={one.key: one.value for one in source.proto.metadata_props},
        producer=producer,
        unsupported=tuple(_unsupported(source, supported)),
    )


def _label(node: onnx.NodeProto) -> str:
    domain = standard(node.domain)
    return f"{domain}.{node.op_type}" if domain else node.op_type


def _unsupported(source: ModelSource, supported: Supported) -> list[tuple[str, str]]:
    """Ask about every node that import would not fold away."""
    versions = opsets(source.proto)
    constant = set(source.weights)
    found: list[tuple[str, str]] = []
    for at, node in enumerate(source.proto.graph.node):
        domain, op = standard(node.domain), node.op_type
        folds = all(name in constant for name in node.input if name) or op in SHAPE_ONLY
        version = versions.get(domain, 0)
        reason: str | None
        if schema_of(op, version, domain) is None:
            reason = unknown_op(op, domain, version)
        elif folds and not domain:
            constant.update(node.output)
            continue
        elif op in ("Loop", "Scan", "SequenceMap"):
            reason = "loops over sub-graphs are not supported"
        elif op == "If":
            reason = None if node.input[0] in constant else "its condition is not constant"
        else:
            reason = supported(domain, op, version)
        if reason is not None:
            found.append((f'{op} node "{node.name or f"{op}_{at}"}"', reason))
    return found
