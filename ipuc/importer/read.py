"""A model file into memory: parsed, held to ONNX's rules, weights taken out as arrays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import version_converter

from ipuc.errors import ImportFailure, nearest
from ipuc.graph.infer import clean
from ipuc.importer import tensors
from ipuc.importer.formats import describe_damage, refuse_foreign
from ipuc.importer.limits import DEFAULT_MAX_BYTES, Budget, readable

#: The oldest operator set whose models are taken as they are; older ones are converted to it.
OLDEST_OPSET = 7

#: Constant nodes with tensors of more bytes than this are treated as weights.
_WEIGHT = 1 << 12

#: Protocol buffers cannot be longer.
_LONGEST = (1 << 31) - 1


@dataclass(slots=True)
class ModelSource:
    """A model as read, in two parts, so that its weights exist once.

    Attributes:
        name: file stem, or the graph's name.
        proto: the model without its weights: each stands as a graph input that has its type.
            It is ours to change.
        weights: arrays of the initializers and large constants by name.
        inputs: names of the graph inputs that are no initializers, in order.
        defaults: those of the weights that the file also lists as graph inputs.
        budget: bytes counted so far against --max-bytes.
        path: the file; None for a model made in memory.
    """

    name: str
    proto: onnx.ModelProto
    weights: dict[str, NDArray[Any]]
    inputs: list[str]
    defaults: set[str]
    budget: Budget
    path: Path | None = field(default=None)

    @property
    def opset(self) -> int:
        """Version of the standard operator set."""
        return opsets(self.proto)[""]

    def where(self) -> str:
        """Name the model, for the `where` of an error."""
        return str(self.path) if self.path else f'model "{self.name}"'


def opsets(model: onnx.ModelProto) -> dict[str, int]:
    """Operator set versions by domain; standard ONNX is ""."""
    return {
        ("" if one.domain == "ai.onnx" else one.domain): one.version for one in model.opset_import
    }


def parse(path: Path, max_bytes: int = DEFAULT_MAX_BYTES) -> onnx.ModelProto:
    """Parse a file as an ONNX model, and say what it is if it is none.

    Raises:
        ImportFailure: there is no such file, it is another format, damaged, empty or too long.
        TooLarge: the file is larger than `max_bytes`.
    """
    where = str(path)
    if path.is_dir():
        raise ImportFailure("this is a folder", where=where, fix="give the .onnx file inside it")
    if not path.is_file():
        near = [item.name for item in path.parent.glob("*.onnx")] if path.parent.is_dir() else []
        fix = (
            nearest(path.name, near)
            if near
            else "check the path; `ipuc model` lists built-in models"
        )
        raise ImportFailure("there is no such file", where=where, fix=fix)
    try:
        with path.open("rb") as file:
            head = file.read(4096)
            size = path.stat().st_size
            if not head:
                raise ImportFailure(
                    "the file is empty", where=where, fix="download or export it again"
                )
            refuse_foreign(path, head)
            Budget(max_bytes).hold(size, where)
            if size > _LONGEST:
                raise ImportFailure(
                    f"an ONNX file cannot have {readable(size)} in one piece",
                    where=where,
                    fix="save it with external data (onnx.save(..., save_as_external_data=True))",
                )
            raw = head + file.read()
    except OSError as error:
        raise ImportFailure(
            f"the file cannot be read: {error.strerror}", where=where, fix="check its permissions"
        ) from error
    try:
        model: onnx.ModelProto = onnx.ModelProto.FromString(raw)
    except DecodeError as error:
        raise describe_damage(path, head) from error
    if not model.ir_version or not model.HasField("graph"):
        raise describe_damage(path, head)
    return model


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yield the graph and all graphs inside its nodes."""
    yield graph
    for node in graph.node:
        yield from _graphs_of(node)


def _graphs_of(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield from _graphs(attribute.g)
        for graph in attribute.graphs:
            yield from _graphs(graph)


def _inner_tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield every tensor but the main graph's initializers."""
    bodies = [node for function in model.functions for node in function.node]
    inner = [graph for node in bodies for graph in _graphs_of(node)]
    graphs = [*_graphs(model.graph), *inner]
    for graph in graphs[1:]:
        yield from graph.initializer
    for node in [*bodies, *(node for graph in graphs for node in graph.node)]:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            sparse = [*attribute.sparse_tensors]
            if attribute.HasField("sparse_tensor"):
                sparse.append(attribute.sparse_tensor)
            for one in sparse:
                yield from (one.values, one.indices)


def _skeleton(model: onnx.ModelProto) -> onnx.ModelProto:
    """Copy a model without its initializers, so that their bytes are not copied with it."""
    copy = onnx.ModelProto()
    for descriptor, value in model.ListFields():
        if descriptor.name == "graph":
            continue
        if descriptor.name in ("opset_import", "metadata_props", "functions"):
            getattr(copy, descriptor.name).extend(value)
        elif descriptor.name in ("ir_version", "model_version", "domain", "producer_name"):
            setattr(copy, descriptor.name, value)
    copy.graph.name = model.graph.name or "graph"
    copy.graph.input.extend(model.graph.input)
    copy.graph.output.extend(model.graph.output)
    copy.graph.value_info.extend(model.graph.value_info)
    return copy


def _is_weight(node: onnx.NodeProto) -> bool:
    if node.op_type != "Constant" or node.domain not in ("", "ai.onnx") or len(node.output) != 1:
        return False
    values = [one for one in node.attribute if one.name == "value" and one.HasField("t")]
    return len(values) == 1 and values[0].t.ByteSize() > _WEIGHT


def _check_opset(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    """Hold the operator set to what can be read; convert models that are too old."""
    newest = onnx.defs.onnx_opset_version()
    version = opsets(model).get("")
    if version is None and model.ir_version < 3:
        version = 1
    if version is None and not model.opset_import:
        raise ImportFailure(
            "the model does not say which operator set it uses: the file is cut short or damaged",
            where=where,
            fix="download or export it again",
        )
    if version is None:
        return model  # foreign operators only
    if version > newest:
        raise ImportFailure(
            f"the model uses operator set {version}; the onnx package here knows up to {newest}",
            where=where,
            fix=f"pip install --upgrade onnx, or export the model with opset_version={newest}",
        )
    if version >= OLDEST_OPSET:
        return model
    try:
        return version_converter.convert_version(model, OLDEST_OPSET)
    except (RuntimeError, version_converter.ConvertError, onnx.checker.ValidationError) as error:
        raise ImportFailure(
            f"the model uses operator set {version}, and onnx cannot convert it to "
            f"{OLDEST_OPSET}: {clean(str(error))}",
            where=where,
            fix=f"export it again with opset_version={OLDEST_OPSET} or newer",
        ) from error


def _take_weights(
    model: onnx.ModelProto, skeleton: onnx.ModelProto, folder: Path | None, budget: Budget
) -> dict[str, NDArray[Any]]:
    """Turn initializers and large Constant nodes into arrays; the other nodes are copied."""
    weights = {one.name: tensors.to_array(one, folder, budget) for one in model.graph.initializer}
    for sparse in model.graph.sparse_initializer:
        weights[sparse.values.name] = tensors.dense(sparse, folder, budget)
    for node in model.graph.node:
        if _is_weight(node):
            tensor = next(one.t for one in node.attribute if one.name == "value")
            weights[node.output[0]] = tensors.to_array(tensor, folder, budget)
        else:
            skeleton.graph.node.append(node)
    return weights


def not_text(where: str) -> ImportFailure:
    """Say that a name in the file is no UTF-8 text, which protobuf finds out on reading it."""
    return ImportFailure(
        "a name in the model is not UTF-8 text: the file is damaged",
        where=where,
        fix="download or export it again",
    )


def _check_text(message: Any, where: str) -> None:
    """Hold every name inside a message to UTF-8: protobuf hands out others as bytes.

    Raises:
        ImportFailure: a name is no text.
    """
    for descriptor, value in message.ListFields():
        if descriptor.type not in (descriptor.TYPE_STRING, descriptor.TYPE_MESSAGE):
            continue
        for item in (value,) if isinstance(value, (str, bytes)) or _is_message(value) else value:
            if isinstance(item, bytes):
                raise not_text(where)
            if not isinstance(item, str):
                _check_text(item, where)


def _is_message(value: Any) -> bool:
    return hasattr(value, "ListFields")


def separate(
    model: onnx.ModelProto, path: Path | None, max_bytes: int = DEFAULT_MAX_BYTES
) -> ModelSource:
    """Split a model into weights (arrays) and the rest; the given model stays as it is.

    Raises:
        ImportFailure: a tensor is damaged, or its data are missing or outside the folder.
        TooLarge: the weights exceed `max_bytes`.
    """
    name = path.stem if path else model.graph.name
    folder = path.parent if path else None
    model = _check_opset(model, str(path) if path else f'model "{name}"')
    budget = Budget(max_bytes)
    skeleton = _skeleton(model)
    if skeleton.opset_import and "" not in opsets(skeleton):
        # Foreign operators only. Functions may open into standard ones: any version will do.
        newest = onnx.defs.onnx_opset_version()
        skeleton.opset_import.append(onnx.helper.make_opsetid("", newest))
    for message in (skeleton, *model.graph.node):
        _check_text(message, str(path) if path else f'model "{name}"')
    weights = _take_weights(model, skeleton, folder, budget)
    for tensor in _inner_tensors(skeleton):
        tensors.settle(tensor, folder, budget)
    listed = [one.name for one in skeleton.graph.input]
    infos = {one.name: one for one in skeleton.graph.input}
    for weight, array in weights.items():
        info = infos.get(weight)
        if info is None:
            info = skeleton.graph.input.add(name=weight)
        kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        info.type.CopyFrom(onnx.helper.make_tensor_type_proto(kind, array.shape))
    return ModelSource(
        name=name,
        proto=skeleton,
        weights=weights,
        inputs=[one for one in listed if one not in weights],
        defaults={one for one in listed if one in weights},
        budget=budget,
        path=path,
    )


def read_model(
    source: str | Path | onnx.ModelProto, *, max_bytes: int = DEFAULT_MAX_BYTES
) -> ModelSource:
    """Read a model from a file or take one from memory.

    The protobuf message of a file is dropped as soon as its weights are arrays, so that the peak
    is the file plus one copy.

    Args:
        source: path of an ONNX file, or a model.
        max_bytes: the most that file, weights and folded constants may take.

    Raises:
        ImportFailure: the file cannot be read as an ONNX model.
        TooLarge: it asks for more than `max_bytes`.
    """
    if isinstance(source, onnx.ModelProto):
        # The skeleton's tensors are settled in place, so they must not be the caller's: adding
        # messages to a repeated field copies them.
        return separate(source, None, max_bytes)
    path = Path(source)
    try:
        return separate(parse(path, max_bytes), path, max_bytes)
    except UnicodeDecodeError as error:
        raise not_text(str(path)) from error
