"""Options that several commands share, read into what the compiler takes."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import click

from ipuc.cli.guard import State
from ipuc.cli.training_options import TrainOptions, train_options
from ipuc.errors import OptionError
from ipuc.importer.limits import DEFAULT_MAX_BYTES, readable
from ipuc.target import MAX_IPUS

Function = TypeVar("Function", bound=Callable[..., Any])

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BYTES = re.compile(r"(\d+(?:\.\d+)?(?:e\d{1,2})?)\s*([kmgt]?)b?", re.IGNORECASE)
_MOST_BYTES = 1 << 63
#: Seeds are kept in 64 bits.
MOST_SEED = (1 << 64) - 1
#: A dimension of more digits than this is a slip of the keyboard.
_DIGITS = 18

DEFAULT_TARGET = "gc200"
DEFAULT_GRANULARITY = "tile"
DEFAULT_PRECISION = "float32"
DEFAULT_SHARD = "auto"
DEFAULT_MEMORY = "0.6"


def parse_bytes(ctx: click.Context, param: click.Parameter, text: str) -> int:
    """Read a number of bytes, 4000000000, 4e9 or 4GB; a click callback.

    Raises:
        click.BadParameter: it is written otherwise.
    """
    match = _BYTES.fullmatch(text.strip())
    # As a float, 9007199254740993 would change and 1e999 would not become a whole number.
    asked = Decimal(match[1]) * _UNITS[match[2].lower()] if match else Decimal(0)
    count = int(asked) if asked < _MOST_BYTES else 0
    if count < 1:
        raise click.BadParameter(
            f'"{text}" is no number of bytes; write 4000000000, 4e9 or 4GB', ctx, param
        )
    return count


@dataclass(frozen=True, slots=True)
class CompileOptions:
    """How to compile; texts as the user gave them.

    Attributes:
        target: machine and overrides.
        granularity: `tile`, `worker` or `fine`.
        shapes: NAME=1x3x224x224, each.
        batch: number for the symbolic leading dimension.
        constants: NAME=FILE, each.
        max_bytes: the most that the model may take.
        precision: number formats of the layers.
        stochastic_rounding: its seed; None rounds to the nearest.
        saturate: values too large for a half become the largest one, not infinity.
        available_memory: share of a tile's memory that layers may use while they run.
        plan: a file of plans to pin.
        ipus: IPUs to use.
        shard: how layers are shared out over them.
        outline: identical layers share one program function.
        training: how to train, if that is what is compiled.
        preset: a word for several options that are not given; "" for none.
        given: the flags that were used and only a compile can obey.
    """

    target: str = DEFAULT_TARGET
    granularity: str = DEFAULT_GRANULARITY
    shapes: tuple[str, ...] = ()
    batch: int | None = None
    constants: tuple[str, ...] = ()
    max_bytes: int = DEFAULT_MAX_BYTES
    precision: str = DEFAULT_PRECISION
    stochastic_rounding: int | None = None
    saturate: bool = False
    available_memory: str = DEFAULT_MEMORY
    plan: Path | None = None
    ipus: int = 1
    shard: str = DEFAULT_SHARD
    outline: bool = False
    training: TrainOptions = field(default_factory=TrainOptions)
    preset: str = ""
    given: tuple[str, ...] = field(default=())


def compile_options(function: Function) -> Function:
    """Give a command all options that say how to compile, as one argument `options`."""

    @functools.wraps(function)
    def wrapper(
        *args: Any,
        target: str | None,
        granularity: str | None,
        shapes: tuple[str, ...],
        batch: int | None,
        constants: tuple[str, ...],
        max_bytes: int,
        precision: str | None,
        stochastic_rounding: int | None,
        saturate: bool,
        available_memory: str | None,
        plan: Path | None,
        ipus: int | None,
        shard: str | None,
        outline: bool | None,
        training: TrainOptions,
        preset: str | None,
        **rest: Any,
    ) -> Any:
        used = {
            "--target": target,
            "--granularity": granularity,
            "--shape": shapes,
            "--batch": batch,
            "--const": constants,
            "--precision": precision,
            "--available-memory": available_memory,
            "--plan": plan,
            "--ipus": ipus,
            "--shard": shard,
            "--outline": outline,
            "--train": training.train or None,
            "--preset": preset,
        }
        options = CompileOptions(
            target or DEFAULT_TARGET,
            granularity or DEFAULT_GRANULARITY,
            shapes,
            batch,
            constants,
            max_bytes,
            DEFAULT_PRECISION if precision is None else precision,
            stochastic_rounding,
            saturate,
            DEFAULT_MEMORY if available_memory is None else available_memory,
            plan,
            ipus or 1,
            DEFAULT_SHARD if shard is None else shard,
            bool(outline),
            training,
            preset or "",
            tuple(flag for flag, value in used.items() if value not in (None, ())),
        )
        return function(*args, options=options, **rest)

    for decorate in reversed(
        (
            click.option(
                "--target",
                metavar="NAME[,FIELD=N...]",
                help="The machine, and numbers to change: gc200,tiles=64. `ipuc targets` lists "
                f"them.  [default: {DEFAULT_TARGET}]",
            ),
            click.option(
                "--granularity",
                type=click.Choice(["tile", "worker", "fine"]),
                help="How finely vertices are cut: one per tile and layer, one per worker, or "
                f"finer (small nets only).  [default: {DEFAULT_GRANULARITY}]",
            ),
            click.option(
                "--shape",
                "shapes",
                multiple=True,
                metavar="NAME=1x3x224x224",
                help="Shape of an input with open dimensions; commas work too.",
            ),
            click.option(
                "--batch",
                type=click.IntRange(min=1),
                metavar="N",
                help="Number for the open first dimension of all inputs.",
            ),
            click.option(
                "--const",
                "constants",
                multiple=True,
                metavar="NAME=FILE",
                help="Value of an input that decides a shape or an axis (.npy, .npz, .pb).",
            ),
            click.option(
                "--precision",
                metavar="FORMAT[,LAYER=FORMAT...]",
                help="Number format: float32, float16, or mixed (halves, with partial sums in "
                f"float32); also for layers by pattern: mixed,fc*=float32.  "
                f"[default: {DEFAULT_PRECISION}]",
            ),
            click.option(
                "--stochastic-rounding",
                type=click.IntRange(0, MOST_SEED),
                metavar="SEED",
                help="Round to float16 at random, without bias; the same for the same seed. "
                "A compiled program may be given another.",
            ),
            click.option(
                "--saturate",
                is_flag=True,
                help="Values too large for float16 become 65504, not infinity.",
            ),
            click.option(
                "--available-memory",
                metavar="SHARE[,LAYER=SHARE...]",
                help="Share of a tile's memory that a layer may use for what lives only while it "
                f"runs; also for layers by pattern: 0.6,conv1=0.3.  [default: {DEFAULT_MEMORY}]",
            ),
            click.option(
                "--plan",
                type=click.Path(path_type=Path),
                metavar="FILE",
                help="Give layers the plans that --save-plan wrote; others are planned.",
            ),
            click.option(
                "--ipus",
                type=click.IntRange(1, MAX_IPUS),
                metavar="N",
                help="IPUs to use: each runs some of the layers, one IPU after another.  "
                "[default: 1]",
            ),
            click.option(
                "--shard",
                metavar="auto|cycles|memory|LAYER,...",
                help="How layers are shared out over IPUs: so that cycles are even, or the memory "
                "needed; auto: cycles, if every IPU fits; or the first layers of the second IPU "
                f"and of each further one.  [default: {DEFAULT_SHARD}]",
            ),
            click.option(
                "--outline/--no-outline",
                default=None,
                help="Identical layers share one program function: their vertices and code exist "
                "once, and each layer copies its operands in and its result out.  "
                "[default: no-outline]",
            ),
            click.option(
                "--preset",
                type=click.Choice(["2017"]),
                help="Options in one word: 2017 compiles as Graphcore did for its pictures of "
                "that year, and says which options it stands for; others may be given beside it.",
            ),
            train_options,
            max_bytes_option,
        )
    ):
        wrapper = decorate(wrapper)
    return wrapper  # type: ignore[return-value]  # it takes other keywords than it hands on


def save_plan_option(function: Function) -> Function:
    """Give a command `--save-plan`, as `save_plan`."""
    return click.option(
        "--save-plan",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Write the chosen plan of every layer, to change it or to pin it with --plan.",
    )(function)


def max_bytes_option(function: Function) -> Function:
    """Give a command `--max-bytes`."""
    return click.option(
        "--max-bytes",
        default=str(DEFAULT_MAX_BYTES),
        metavar="BYTES",
        callback=parse_bytes,
        help="The most that file, weights and constants may take: 8GB, 8e9.  "
        f"[default: {readable(DEFAULT_MAX_BYTES)}]",
    )(function)


def out_option(text: str) -> Callable[[Function], Function]:
    """Give a command `-o`, `--out` and `--output`, as `out`."""
    return click.option(
        "-o", "--out", "--output", "out", type=click.Path(path_type=Path), metavar="PATH", help=text
    )


def json_option(function: Function) -> Function:
    """Give a command `--json`, as `as_json`."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print JSON, and only that, on standard output."
    )(function)


def debug_option(function: Function) -> Function:
    """Give a command `--debug`, which is kept in the shared state."""

    def keep(ctx: click.Context, param: click.Parameter, value: bool) -> None:
        del param
        if value:
            ctx.ensure_object(State).debug = True

    return click.option(
        "--debug",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=keep,
        help="Show the traceback of an error.",
    )(function)


def parse_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Read NAME=1x3x224x224, NAME=1,3,224,224 or NAME=scalar.

    Raises:
        OptionError: it is written otherwise.
    """
    # A name may hold an equals sign, numbers cannot.
    name, equals, dims = text.rpartition("=")
    parts = [] if dims.strip() == "scalar" else re.split(r"[x,]", dims.strip())
    if not equals or not all(_is_dimension(part.strip()) for part in parts):
        raise OptionError(
            f'"{text}" is no shape',
            where="--shape",
            fix=f"write --shape {name or 'NAME'}=1x3x224x224",
        )
    return name, tuple(int(part) for part in parts)


def _is_dimension(text: str) -> bool:
    # isdigit alone takes digits of every script, and superscripts too, which int does not.
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS


def split_assignment(text: str, flag: str, form: str) -> tuple[str, str]:
    """Split NAME=VALUE at the first equals sign; at a later one if only then VALUE is a file.

    Raises:
        OptionError: there is no equals sign.
    """
    if "=" not in text:
        raise OptionError(f'"{text}" names no input', where=flag, fix=f"write {flag} {form}")
    cuts = [at for at, char in enumerate(text) if char == "="]
    cut = next((at for at in cuts if Path(text[at + 1 :]).is_file()), cuts[0])
    return text[:cut], text[cut + 1 :]
