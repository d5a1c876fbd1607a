"""Whether a program is sound, and computes what another engine computes from the same model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ipuc.check.compare import Difference, compare
from ipuc.check.locate import locate
from ipuc.check.reference import Engine, reference_values
from ipuc.codelets.rounding import Arithmetic
from ipuc.emulator.run import Emulator
from ipuc.errors import OptionError
from ipuc.importer.digest import Model, digest
from ipuc.planner.precision import parse_precision
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
#: A float32 model in halves: every layer that computes adds a rounding of up to 2^-11 of its
#: values, and the roundings of d layers add up like a random walk, to 2^-11 * sqrt(d). The largest
#: of many elements is some times that: up to 6 times on AlexNet, ResNet-34 and SqueezeNet.
NARROW_TOLERANCE = 2.0**-8
#: Sums in halves are rounded after every accumulation, of which a convolution has hundreds:
#: up to 15 times 2^-11 * sqrt(d) on those models.
HALF_SUMS = 4.0
SUMS = frozenset({"Conv", "Gemm", "MatMul"})
#: Operators that choose or move halves, and round nothing.
EXACT = frozenset(
    {"Relu", "MaxPool", "GlobalMaxPool", "Max", "Min", "Clip", "Neg", "Abs", "Output"}
    | {"Identity", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Dropout"}
    | {"Concat", "Split", "Slice", "Gather", "Expand", "Tile", "Pad", "Where"}
)
#: Rounding at random is off by up to a whole step, to the nearest by half of one.
AT_RANDOM = 2.0


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
        tolerance: on `max_rel`.
        precision: element type of its values on the tiles; of the first, if they differ.
        overflows: finite values that were too large for a half.
    """

    name: str
    op: str
    max_abs: float
    max_rel: float
    ok: bool
    tolerance: float
    precision: str
    overflows: int


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
        tolerance: on `max_rel` of layers in float32 before any in halves; each layer has its own.
        precision: number formats of the program.
        reference: engine and version.
        layers: in program order; layers of which the model has no value any more (something was
            folded into them) are left out.
        first_mismatch: None if all is well.
    """

    ok: bool
    tolerance: float
    precision: str
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
    declined: Callable[[str], None] | None = None,
) -> Report:
    """Hold a program to Poplar's rules, then its values to those of the original model.

    Args:
        source: the model that the program was compiled from.
        program: the program.
        inputs: an array for every input of the program.
        reference: "auto", "onnxruntime" or "onnx"; see `ipuc.check.reference`.
        tolerance: on the largest absolute difference over the largest absolute value; layers in
            halves, and those after them, have more: see `Tolerances`.
        constants: values of inputs that were specialised when the program was compiled.
        declined: told why onnxruntime does not take the model, where another engine then does.

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
        source, {**inputs, **(constants or {})}, program.values, reference, declined
    )
    emulator = Emulator(program)
    outputs = emulator.run(inputs)
    layers: list[LayerReport] = []
    mismatch: Mismatch | None = None
    limits = Tolerances(program, tolerance)
    for name, op, values in _layers(program):
        differences: list[Difference] = []
        allowed = limits.of(name, op, values)
        for value in values:
            if value not in wanted:
                continue
            expected = wanted.pop(value)
            found = outputs[value] if value in outputs else emulator.value(value)
            half = expected.dtype.name == "float16"
            limit = max(allowed, HALF_TOLERANCE) if half else allowed
            difference = compare(found, expected, limit)
            allowed = limit
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
                    allowed,
                    program.values[values[0]].dtype,
                    emulator.stores.overflows.get(name, 0),
                )
            )
    ok = all(layer.ok for layer in layers)
    return Report(ok, tolerance, str(limits.formats), engine, tuple(layers), mismatch)


class Tolerances:
    """How far each layer may be from the reference, by the formats of it and of those before it.

    Args:
        program: whose layers are compared, in order.
        tolerance: of layers in the model's own types.
    """

    def __init__(self, program: Program, tolerance: float) -> None:
        self.formats = parse_precision(program.metadata.get("precision", "float32"))
        self._program = program
        self._least = tolerance
        self._step = NARROW_TOLERANCE
        if Arithmetic.of(program.metadata).seed is not None:
            self._step *= AT_RANDOM
        self._squares = 0.0

    def of(self, layer: str, op: str, values: tuple[str, ...]) -> float:
        """The tolerance of the next layer, which makes these values."""
        chosen = self.formats.of(layer)
        halves = any(self._program.values[v].dtype == chosen.data == "float16" for v in values)
        if halves and op not in EXACT:
            factor = HALF_SUMS if op in SUMS and chosen.partials == "float16" else 1.0
            self._squares += (factor * self._step) ** 2
        return max(self._least, math.sqrt(self._squares))


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
    place = locate(program, program.values[value], element, layer)
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
