"""Arrays that the user names on the command line, read and shown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.errors import OptionError, nearest
from ipuc.image import image_input
from ipuc.importer.tensor_file import read_tensor
from ipuc.npz import read_array, read_arrays
from ipuc.pipeline import classes_of, random_value
from ipuc.program.program import Program
from ipuc.training.loss import LABELS
from ipuc.types import TensorType

Array = NDArray[Any]

#: Classes listed, and rows of a batch for which they are listed.
_TOP, _ROWS = 5, 4

#: A longer seed is refused: Python reads no number of over 4300 digits.
_SEED_DIGITS = 100

#: Outputs of at most this many elements are printed whole.
_FEW = 8


@dataclass(frozen=True, slots=True)
class Given:
    """Arrays for a program's inputs, and in words where each comes from."""

    arrays: dict[str, Array]
    sources: dict[str, str]


def load_array(path: Path, name: str, max_bytes: int) -> Array:
    """Read the array of one tensor: `.npy`, `.npz` (the member of that name) or `.pb`.

    Raises:
        OptionError: the file's kind is unknown, or a `.npz` has no such member.
        IpucError: the file cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return read_array(path, max_bytes)
    if suffix == ".pb":
        return read_tensor(path, max_bytes)
    if suffix == ".npz":
        arrays = read_arrays(path, max_bytes)
        if name in arrays:
            return arrays[name]
        if len(arrays) == 1:
            return next(iter(arrays.values()))
        raise OptionError(
            f'the file has no array "{name}"', where=str(path), fix=nearest(name, arrays)
        )
    raise OptionError(
        "this is no file of arrays", where=str(path), fix="give a .npy, .npz or .pb file"
    )


def read_inputs(program: Program, texts: Sequence[str], max_bytes: int) -> Given:
    """Read every `--input`; without one, all inputs are `random:0`.

    Args:
        program: has the inputs.
        texts: each NAME=WHAT, or only WHAT: a `.npz` of arrays by input name, or an array, an
            image or random:SEED if the model has one input. (random:SEED alone fills all.)
        max_bytes: the most that one file may take.

    Raises:
        OptionError: a name that is no input, or given twice; or an input that is not given.
        IpucError: a file cannot be read.
    """
    kinds = program.inputs
    given = Given({}, {})
    for text in texts or ("random:0",):
        name, what = _split(text, kinds)
        if name is None and _is_random(what):
            found = {one: _read_one(program, one, what, max_bytes) for one in kinds}
        elif name is None and what.lower().endswith(".npz"):
            found = read_arrays(Path(what), max_bytes)
        elif name is None:
            name = _only(kinds, text)
            found = {name: _read_one(program, name, what, max_bytes)}
        else:
            found = {name: _read_one(program, name, what, max_bytes)}
        for one, array in found.items():
            if one not in kinds:
                raise OptionError(
                    f'the model has no input "{one}"', where=what, fix=nearest(one, kinds)
                )
            if one in given.arrays:
                raise OptionError(f'input "{one}" is given twice', where=f"--input {text}")
            given.arrays[one], given.sources[one] = _labels(program, one, array), what
    missing = [name for name in kinds if name not in given.arrays]
    if missing:
        raise OptionError(
            f"no value for input {', '.join(missing)}",
            fix=" ".join(f"--input {name}=random:0" for name in missing),
        )
    return given


def _labels(program: Program, name: str, array: Array) -> Array:
    """Class numbers in the program's own type; anything else as it is."""
    if name == LABELS and classes_of(program) and array.dtype.kind in "iu":
        return array.astype(program.inputs[name].dtype)
    return array


def _split(text: str, kinds: Mapping[str, TensorType]) -> tuple[str | None, str]:
    """Part NAME=WHAT; names may hold equals signs, so those of the program are tried first."""
    for name in sorted(kinds, key=len, reverse=True):
        if text.startswith(f"{name}="):
            return name, text[len(name) + 1 :]
    if "=" not in text or Path(text).exists():
        return None, text
    name = text.partition("=")[0]
    raise OptionError(
        f'the model has no input "{name}"', where=f"--input {text}", fix=nearest(name, kinds)
    )


def _is_random(what: str) -> bool:
    return what.startswith("random:")


def _only(kinds: Mapping[str, TensorType], text: str) -> str:
    """The model's only input, for an array that comes without a name."""
    if len(kinds) == 1:
        return next(iter(kinds))
    names = ", ".join(kinds) or "none"
    raise OptionError(
        f"the model has {len(kinds)} inputs ({names}): say for which one this is",
        where=f"--input {text}",
        fix=f"write --input NAME={text}",
    )


def _read_one(program: Program, name: str, what: str, max_bytes: int) -> Array:
    """Read the value of one input."""
    if _is_random(what):
        seed = what.removeprefix("random:")
        if not (seed.isascii() and seed.isdigit() and len(seed) <= _SEED_DIGITS):
            raise OptionError(
                f'"{what}" has no seed', where=f'input "{name}"', fix="write random:0"
            )
        return random_value(program, name, int(seed))
    path = Path(what)
    if not path.is_file():
        raise OptionError(
            "there is no such file",
            where=f'input "{name}", {path}',
            fix="give an array (.npy, .npz, .pb), an image, or random:SEED",
        )
    if path.suffix.lower() in (".npy", ".npz", ".pb"):
        return load_array(path, name, max_bytes)
    metadata: Mapping[str, str] = program.metadata.get("model_metadata", {})
    return image_input(path, program.inputs[name], metadata, name)


def describe_array(name: str, array: Array, *, classes: bool = True) -> list[str]:
    """Say in a few lines what an output is: type, range, and the top classes of a class vector.

    With `classes` off it is no class vector, whatever it looks like.
    """
    kind = TensorType(array.dtype.name, array.shape)
    head = f"{name or '(no name)'}: {kind}"
    if not array.size:
        return [f"{head}, no elements"]
    if array.size <= _FEW:
        shown = " ".join(_number(value) for value in array.ravel().tolist())
        return [f"{head}: {shown}"]
    if array.dtype == np.bool_:
        return [f"{head}, {int(array.sum())} of {array.size} true"]
    numbers = summary(array)
    line = f"{head}, from {_number(numbers['min'])} to {_number(numbers['max'])}"
    line += f", mean {_number(numbers['mean'])}"
    if numbers["not_finite"]:
        count = numbers["not_finite"]
        line += f", {count} {'value is' if count == 1 else 'values are'} not finite"
    lines = [line]
    tops = top_classes(array) if classes else []
    for row, found in enumerate(tops):
        lines.append("  top 5 classes:" if len(tops) == 1 else f"  top 5 classes of row {row}:")
        lines += [f"    {index:>6}  {_number(value)}" for index, value in found]
    return lines


def summary(array: Array) -> dict[str, Any]:
    """Range and mean over the finite elements; None where there are none."""
    values = array[np.isfinite(array)] if array.dtype.kind == "f" else array
    if not values.size:
        return {"min": None, "max": None, "mean": None, "not_finite": int(array.size)}
    return {
        "min": values.min().item(),
        "max": values.max().item(),
        "mean": float(values.mean(dtype=np.float64)),
        "not_finite": int(array.size - values.size),
    }


def top_classes(array: Array) -> list[list[tuple[int, float]]]:
    """The five largest of each row of a class vector: (class, value); none if it is not one.

    A class vector is a float array [rows, classes] or [classes], perhaps with trailing ones, of
    more than five classes.
    """
    shape = array.shape
    while len(shape) > 2 and shape[-1] == 1:
        shape = shape[:-1]
    if array.dtype.kind != "f" or not 1 <= len(shape) <= 2 or shape[-1] <= _TOP:
        return []
    rows = array.reshape(-1, shape[-1])[:_ROWS]
    found: list[list[tuple[int, float]]] = []
    for row in rows:
        # NaN sorts last in NumPy; here it must not lead.
        order = np.argsort(-np.nan_to_num(row, nan=-np.inf), kind="stable")[:_TOP]
        found.append([(int(index), float(row[index])) for index in order])
    return found


def _number(value: float | None) -> str:
    if value is None:
        return "none"
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.4g}"
    return str(value)
