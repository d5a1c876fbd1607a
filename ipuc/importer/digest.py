"""Which model a program was made from: one number for a file and its external data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

#: What the compiler takes for a model: a file, or a message in memory.
Model = str | Path | onnx.ModelProto

#: Bytes hashed at a time.
_CHUNK = 1 << 22


def external_files(path: Path) -> list[Path]:
    """Find the files beside a model that hold its external data, each once.

    Args:
        path: an ONNX file that `ipuc.importer.load` has accepted, so that its external data
            are known to lie in its own folder.
    """
    model = onnx.load_model(path, load_external_data=False)
    tensors = [*model.graph.initializer, *_attribute_tensors(model)]
    places = [
        entry.value for one in tensors for entry in one.external_data if entry.key == "location"
    ]
    return [path.parent / place for place in dict.fromkeys(places)]


def _attribute_tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t


def digest(model: Model) -> str | None:
    """SHA-256 of a model file followed by its external data, in hexadecimal.

    None for a model in memory: writing hundreds of megabytes out only to count them is dear,
    and there is no file whose change could be noticed later.
    """
    if isinstance(model, onnx.ModelProto):
        return None
    path = Path(model)
    total = hashlib.sha256()
    for file in (path, *external_files(path)):
        with file.open("rb") as stream:
            while block := stream.read(_CHUNK):
                total.update(block)
    return total.hexdigest()


def is_current(path: Path, recorded: str) -> bool:
    """Whether a model file still has the digest that was recorded; False if it is damaged now."""
    try:
        return digest(path) == recorded
    except (DecodeError, OSError):
        return False
