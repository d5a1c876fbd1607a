"""Which number formats tiles use: for all layers, or for those whose name fits a pattern."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ipuc.errors import OptionError
from ipuc.planner.patterns import check_patterns, ruled
from ipuc.types import device_dtype


@dataclass(frozen=True, slots=True)
class Format:
    """How one layer holds floating point numbers.

    Attributes:
        name: what the option calls it.
        data: element type of what ONNX calls float32.
        partials: element type of the partial sums of a convolution or matrix product of halves.
            Reductions add in float32 whatever it is, as PopLibs' do (popops/reduction).
    """

    name: str
    data: str
    partials: str

    def dtype(self, dtype: str, where: str = "") -> str:
        """The type in which a layer's tiles carry an ONNX element type.

        Raises:
            ShapeError: tiles carry no such element type.
        """
        device = device_dtype(dtype, where)
        return self.data if device == "float32" else device


#: float32 leaves a model's types as they are, so that a float16 model stays one.
FORMATS = {
    "float32": Format("float32", "float32", "float32"),
    "float16": Format("float16", "float16", "float16"),
    "mixed": Format("mixed", "float16", "float32"),
}


@dataclass(frozen=True, slots=True)
class Precision:
    """A format for every layer.

    Attributes:
        default: of layers that no rule fits.
        rules: (pattern, format) pairs; the last whose pattern fits a layer's name holds.
    """

    default: Format = field(default_factory=lambda: FORMATS["float32"])
    rules: tuple[tuple[str, Format], ...] = ()

    def of(self, layer: str) -> Format:
        """The format of a layer."""
        return ruled(self.rules, layer, self.default)

    def __str__(self) -> str:
        rules = (f"{pattern}={chosen.name}" for pattern, chosen in self.rules)
        return ",".join([self.default.name, *rules])

    def check(self, layers: Iterable[str]) -> None:
        """Hold every pattern to fit a layer.

        Raises:
            OptionError: one fits none.
        """
        check_patterns((pattern for pattern, _ in self.rules), layers, "--precision")


def parse_precision(text: str) -> Precision:
    """Read `FORMAT`, or `FORMAT,PATTERN=FORMAT,...`.

    Raises:
        OptionError: it is written otherwise, or there is no such format.
    """
    first, *rest = [part.strip() for part in text.split(",")]
    rules: list[tuple[str, Format]] = []
    for part in rest:
        pattern, equals, name = part.rpartition("=")
        if not equals or not pattern:
            raise OptionError(
                f'"{part}" is no rule', where="--precision", fix=f"write {first},LAYER=float32"
            )
        rules.append((pattern, _format(name)))
    return Precision(_format(first), tuple(rules))


def _format(name: str) -> Format:
    if name not in FORMATS:
        raise OptionError(
            f'no number format is called "{name}"',
            where="--precision",
            fix="write float32, float16 or mixed, then rules: mixed,conv1=float32",
        )
    return FORMATS[name]
