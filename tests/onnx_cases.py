"""ONNX's own tests of operators: models with inputs and the outputs that ONNX expects."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from onnx.backend.test.loader import load_model_tests

Array = NDArray[Any]

#: Element types of inputs and outputs that a case may have.
TYPES = {
    *(TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BOOL),
    *(TensorProto.INT32, TensorProto.INT64),
}
#: Values inside a model may be float64 besides; tiles carry them as float32.
INSIDE = TYPES | {TensorProto.DOUBLE}


@dataclass(frozen=True)
class Case:
    """One test.

    Attributes:
        name: as ONNX calls it.
        model: the model.
        data_sets: pairs of inputs and expected outputs, in the model's order.
        rtol: relative tolerance that the test states.
        atol: absolute tolerance that the test states.
    """

    name: str
    model: onnx.ModelProto
    data_sets: list[tuple[list[Array], list[Array]]]
    rtol: float
    atol: float

    @property
    def operators(self) -> set[str]:
        """Names of the operators in the model."""
        return {node.op_type for node in self.model.graph.node}

    @property
    def size(self) -> int:
        """Number of elements of the largest input or output."""
        return max(a.size for given, wanted in self.data_sets for a in (*given, *wanted))


def carried(model: onnx.ModelProto) -> bool:
    """Whether all tensors of a model have element types that tiles carry."""
    border = [*model.graph.input, *model.graph.output]
    if not all(value.type.HasField("tensor_type") for value in (*border, *model.graph.value_info)):
        return False
    outside = {value.type.tensor_type.elem_type for value in border}
    inside = {value.type.tensor_type.elem_type for value in model.graph.value_info}
    made = {one.i for node in model.graph.node for one in node.attribute if one.name == "to"}
    return outside <= TYPES and inside | made <= INSIDE


@cache
def cases(*kinds: str) -> dict[str, Case]:
    """All tests of some kinds whose element types tiles carry, by name.

    Args:
        *kinds: "node" (made in memory), "pytorch-converted", "pytorch-operator" (on disk).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # making the data divides by zero on purpose
        loaded = [one for kind in kinds for one in load_model_tests(kind=kind)]
    found: dict[str, Case] = {}
    for case in loaded:
        folder = Path(case.model_dir) if case.model_dir else None
        model = onnx.load(folder / "model.onnx") if folder else case.model
        if model is None or not carried(model):
            continue
        data = [(arrays(given), arrays(wanted)) for given, wanted in case.data_sets or ()]
        sets = sorted(folder.glob("test_data_set_*")) if folder else []
        data += [(stored(one, "input"), stored(one, "output")) for one in sets]
        assert data
        found[case.name] = Case(case.name, model, data, case.rtol, case.atol)
    return found


def stored(folder: Path, kind: str) -> list[Array]:
    """Read the arrays of a data set on disk, in order."""
    count = len(list(folder.glob(f"{kind}_*.pb")))
    files = [folder / f"{kind}_{i}.pb" for i in range(count)]
    return arrays(TensorProto.FromString(file.read_bytes()) for file in files)


def arrays(items: Iterable[Any]) -> list[Array]:
    """Turn tensors, numbers and arrays into arrays."""
    return [
        numpy_helper.to_array(item) if isinstance(item, TensorProto) else np.asarray(item)
        for item in items
    ]
