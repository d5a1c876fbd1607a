"""Whether a program is sound, and computes what another engine computes from the same model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ipuc.check.compare import Difference, compare
from ipuc.check.locate import locate
from ipuc.check.reference import Engine, reference_values
from ipuc.emulator.run import Emulator
from ipuc.errors import OptionError
from ipuc.importer.digest import Model, digest
from ipuc.program.program import Program
from ipuc.program.verify import verify

Array = NDArray[Any]

#: Both engines add the same float32 products in another order. A sum of n terms has a relative
#: rounding error of about sqrt(n) * 2^-24: 4e-6 for the 4608 terms of a deep convolution, and
#: more where terms cancel. A wrong operand shows as 1e-2 or more.
TOLERANCE = 1e-4
#: A half has 11 bits, so each rounding is up to 2^-11; engines round at other places of a layer,
#: a few times each.
HALF_TOLERANCE = 2.0**-9


@dataclass(frozen=True, slots=True)
class LayerReport:
    """One layer's comparison.

    Attributes:
        name: of the layer; of the output itself for one that no layer makes.
        op: ONNX operator; "Output" likewise.
        max_abs: largest absolute difference over its values; infinite if NaN or infinities
            stand in different places.
        max_rel: the same over the largest absolute value of the reference.
        ok: within tolerance.
    """

    name: str
    op: str
    max_abs: float
    max_rel: float
    ok: bool


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The first wrong element of the first wrong layer.

    Attributes:
        layer: name of the layer.
        compute_set: name of the compute set that makes the element; None if no vertex does.
        tile: where it is made; where it lives, if no vertex makes it.
        vertex: number of the vertex in its compute set; None if no vertex makes it.
        codelet: the vertex's type.
        value: name of the value.
        element: row-major position in the value.
        found: what the program computes there.
        expected: what the reference computes there.
    """

    layer: str
    compute_set: str | None
    tile: int | None
    vertex: int | None
    codelet: str | None
    value: str
    element: int
    found: float
    expected: float


@dataclass(frozen=True, slots=True)
class Report:
    """What `verify_model` found.

    Attributes:
        ok: every layer is within tolerance.
        tolerance: on `max_rel`; 2^-9 counts for float16 values if that is more.
        reference: engine and version.
        layers: in program order; layers of which the model has no value any more (something was
            folded into them) are left out.
        first_mismatch: None if all is well.
    """

    ok: bool
    tolerance: float
    reference: str
    layers: tuple[LayerReport, ...]
    first_mismatch: Mismatch | None

    def to_json(self) -> dict[str, Any]:
        """JSON values; numbers that JSON does not know (NaN, infinity) are None."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def verify_model(
    source: Model,
    program: Program,
    inputs: Mapping[str, Array],
    reference: Engine = "auto",
    *,
    tolerance: float = TOLERANCE,
    constants: Mapping[str, Array] | None = None,
) -> Report:
    """Hold a program to Poplar's rules, then its values to those of the original model.

    Args:
        source: the model that the program was compiled from.
        program: the program.
        inputs: an array for every input of the program.
        reference: "auto", "onnxruntime" or "onnx"; see `ipuc.check.reference`.
        tolerance: on the largest absolute difference over the largest absolute value.
        constants: values of inputs that were specialised when the program was compiled.

    Returns:
        A report; a mismatch is no exception.

    Raises:
        ProgramError: the program breaks a rule.
        OptionError: the model's file is gone or has changed, a specialised value is missing, or
            no reference engine takes the model.
        ShapeError: the inputs do not fit the program.
    """
    _same_model(source, program)
    missing = sorted(set(program.metadata.get("options", {}).get("constants", [])))
    missing = [name for name in missing if name not in (constants or {})]
    if missing:
        raise OptionError(
            f"the program was compiled for a value of {', '.join(missing)}; it is not given",
            fix=" ".join(f"--const {name}=FILE.npy" for name in missing),
        )
    verify(program)
    engine, wanted = reference_values(
        source, {**inputs, **(constants or {})}, program.values, reference
    )
    emulator = Emulator(program)
    outputs = emulator.run(inputs)
    layers: list[LayerReport] = []
    mismatch: Mismatch | None = None
    for name, op, values in _layers(program):
        differences: list[Difference] = []
        for value in values:
            if value not in wanted:
                continue
            expected = wanted.pop(value)
            found = outputs[value] if value in outputs else _value(emulator, program, value)
            half = expected.dtype.name == "float16"
            limit = max(tolerance, HALF_TOLERANCE) if half else tolerance
            difference = compare(found, expected, limit)
            differences.append(difference)
            if difference.first_wrong is not None and mismatch is None:
                mismatch = _mismatch(program, name, value, difference, found, expected)
        if differences:
            layers.append(
                LayerReport(
                    name,
                    op,
                    max(one.max_abs for one in differences),
                    max(one.max_rel for one in differences),
                    all(one.ok for one in differences),
                )
            )
    ok = all(layer.ok for layer in layers)
    return Report(ok, tolerance, engine, tuple(layers), mismatch)


def _same_model(source: Model, program: Program) -> None:
    """Refuse a model that is not the one the program was made from."""
    if isinstance(source, str | Path) and not Path(source).is_file():
        raise OptionError(
            "the model that the program was compiled from is not there",
            where=str(source),
            fix="put the .onnx file back, or compile again from where it is now",
        )
    recorded = program.metadata.get("sha256")
    if recorded and digest(source) not in (None, recorded):
        raise OptionError(
            "the model has changed since the program was compiled",
            where=str(source),
            fix="compile it again",
        )


def _layers(program: Program) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Name, operator and values of every layer, then outputs that no layer makes."""
    made: set[str] = set()
    for layer in program.layers:
        made.update(layer.outputs)
        yield layer.name, layer.op, layer.outputs
    for name in program.outputs:
        if name not in made:
            yield name, "Output", (name,)


def _value(emulator: Emulator, program: Program, name: str) -> Array:
    return emulator.memory.tensor(program.values[name])


def _mismatch(
    program: Program,
    layer: str,
    value: str,
    difference: Difference,
    found: Array,
    expected: Array,
) -> Mismatch:
    element = difference.first_wrong
    assert element is not None
    if found.shape != expected.shape:
        nan = math.nan
        return Mismatch(layer, None, None, None, None, value, element, nan, nan)
    place = locate(program, program.values[value], element)
    return Mismatch(
        layer,
        place.compute_set,
        place.tile,
        place.vertex,
        place.codelet,
        value,
        element,
        float(found.flat[element]),
        float(expected.flat[element]),
    )
