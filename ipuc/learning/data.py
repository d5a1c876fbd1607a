"""Data sets: arrays by input name and labels, in one `.npz` file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.errors import OptionError, ShapeError, ValueRangeError, nearest
from ipuc.npz import read_arrays
from ipuc.training.loss import LABELS
from ipuc.types import TensorType

Array = NDArray[Any]

#: Where an array of the data names the classes.
_CLASSES = "classes"


@dataclass(frozen=True, slots=True)
class DataSet:
    """Samples of a model.

    Attributes:
        arrays: by input name, "labels" among them unless the model makes its own loss:
            [samples, *shape of one].
        training: number of samples to learn from; they come first.
        digest: SHA-256 of names, types, shapes and contents, in hexadecimal.
        classes: their names; empty if the file has none.
    """

    arrays: Mapping[str, Array]
    training: int
    digest: str
    classes: tuple[str, ...] = ()

    @property
    def samples(self) -> int:
        """Number of all samples."""
        return len(next(iter(self.arrays.values())))

    @property
    def validation(self) -> int:
        """Number of samples that are only looked at."""
        return self.samples - self.training

    def batch(self, numbers: NDArray[np.int64]) -> dict[str, Array]:
        """The samples of these numbers, as a program takes them."""
        return {name: array[numbers] for name, array in self.arrays.items()}


def read_data(
    path: Path,
    inputs: Mapping[str, TensorType],
    classes: int | None,
    validation: float,
    max_bytes: int,
) -> DataSet:
    """Read a data set and hold it to a training program.

    Args:
        path: a `.npz` file with an array for every input and `labels`.
        inputs: of the program, `labels` too: [batch, ...].
        classes: labels are below it; None if they are no class numbers.
        validation: share of the samples, from the end, that is only looked at.
        max_bytes: the most that the file may take.

    Raises:
        OptionError: a key is missing, or too few samples are left to learn from.
        ShapeError: arrays are of different length, or of a shape or type that does not fit.
        ValueRangeError: there is NaN or infinity in the data, or a label is no class.
        ContainerError: the file cannot be read.
    """
    found = read_arrays(path, max_bytes)
    for name in inputs:
        if name not in found:
            raise OptionError(
                f'the data have no "{name}"',
                where=str(path),
                fix=f"{nearest(name, found)}; keys are the model's input names and {LABELS}",
            )
    arrays = {
        name: _fitting(found[name], kind, f'{path}, "{name}"') for name, kind in inputs.items()
    }
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f'"{name}" {length:,}' for name, length in lengths.items())
        raise ShapeError(
            f"the arrays are not of one length: {told}", where=str(path), fix="one row a sample"
        )
    if LABELS in arrays:
        _hold_labels(arrays[LABELS], classes, f'{path}, "{LABELS}"')
    first = next(iter(inputs))
    total, batch = lengths[first], inputs[first].shape[0]
    training = total - int(total * validation)
    if training < batch:
        raise OptionError(
            f"{training:,} samples are left to learn from, and a batch takes {batch:,}",
            where=str(path),
            fix="use a smaller --batch or --validation",
        )
    return DataSet(arrays, training, _digest(arrays), _names(found.get(_CLASSES)))


def _names(array: Array | None) -> tuple[str, ...]:
    if array is None or array.dtype.kind != "U" or array.ndim != 1:
        return ()
    return tuple(array.tolist())


def _fitting(array: Array, kind: TensorType, where: str) -> Array:
    """An array in the type of an input; samples have its shape without the batch."""
    if array.shape[1:] != kind.shape[1:] or not array.ndim:
        wanted = " x ".join(["samples", *map(str, kind.shape[1:])])
        raise ShapeError(
            f"the shape is [{' x '.join(map(str, array.shape))}]",
            where=where,
            fix=f"give [{wanted}]",
        )
    if array.dtype.name == kind.dtype:
        made = array
    elif kind.is_float and array.dtype.kind in "fiu":
        made = array.astype(kind.dtype)
    elif not kind.is_float and array.dtype.kind in "iu" and kind.dtype != "bool":
        made = array.astype(kind.dtype)
        if not np.array_equal(made, array):
            raise ValueRangeError(f"numbers do not fit {kind.dtype}", where=where)
    else:
        raise ShapeError(
            f"it holds {array.dtype.name}", where=where, fix=f"give numbers of type {kind.dtype}"
        )
    if kind.is_float and not np.isfinite(made).all():
        bad = ~np.isfinite(made).reshape(len(made), -1).all(axis=1)
        raise ValueRangeError(
            f"NaN or infinity, in {int(bad.sum()):,} of {len(made):,} samples; the first is number "
            f"{int(bad.argmax()):,}, counted from 0",
            where=where,
            fix="take them out of the data, or put a number there",
        )
    return made


def _hold_labels(labels: Array, classes: int | None, where: str) -> None:
    if classes is None or not labels.size:
        return
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise ValueRangeError(
            f"label {low if low < 0 else high} is no class: the model has {classes}, "
            f"0 to {classes - 1}",
            where=where,
            fix="number the classes from 0",
        )


def _digest(arrays: Mapping[str, Array]) -> str:
    total = hashlib.sha256()
    for name, array in arrays.items():
        total.update(repr((name, array.dtype.name, array.shape)).encode())
        total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()


def order(training: int, epoch: int, seed: int | None) -> NDArray[np.int64]:
    """The order of the samples in an epoch: a function of seed and epoch alone.

    Args:
        training: number of samples to learn from.
        epoch: counted from 0.
        seed: of the shuffling; None leaves them in order.
    """
    if seed is None:
        return np.arange(training, dtype=np.int64)
    return np.random.default_rng([seed, epoch]).permutation(training)
