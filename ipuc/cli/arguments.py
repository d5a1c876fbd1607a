"""What the compiler takes, from options as the user gave them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ipuc.cli.arrays import load_array
from ipuc.cli.options import CompileOptions, parse_shape, split_assignment
from ipuc.codelets.rounding import Arithmetic
from ipuc.errors import OptionError
from ipuc.planner.choices import Choices, parse_memory
from ipuc.planner.plan_file import read_plan
from ipuc.planner.precision import parse_precision
from ipuc.target import parse_target
from ipuc.types import Shape

Array = NDArray[Any]


def compile_arguments(options: CompileOptions) -> dict[str, Any]:
    """What `compile_model` takes, beside the model, for what the user asked for.

    Raises:
        OptionError: an option is written wrongly, or does not fit another.
        IpucError: a file that an option names cannot be read.
    """
    return {
        "target": parse_target(options.target),
        "granularity": options.granularity,
        "precision": options.precision,
        "arithmetic": Arithmetic(options.stochastic_rounding, options.saturate),
        "choices": _choices(options),
        "ipus": options.ipus,
        "shard": _shard(options),
        "outline": options.outline,
        "shapes": shapes_of(options),
        "batch": options.batch,
        "constants": constants_of(options),
        "max_bytes": options.max_bytes,
        "training": options.training.training(),
    }


def _shard(options: CompileOptions) -> str:
    if options.ipus == 1 and "--shard" in options.given:
        raise OptionError(
            "one IPU runs all layers", where="--shard", fix="say how many share them: --ipus N"
        )
    return options.shard


def _choices(options: CompileOptions) -> Choices:
    """Memory rules, and the plans of a file made for the same settings."""
    decided = parse_memory(options.available_memory)
    if options.plan is None:
        return decided
    found = read_plan(options.plan)
    found.check(
        options.plan,
        target=parse_target(options.target).name,
        precision=str(parse_precision(options.precision)),
        granularity=options.granularity,
    )
    return replace(decided, pins=found.layers)


def shapes_of(options: CompileOptions) -> dict[str, Shape]:
    """Read all `--shape NAME=1x3x224x224`.

    Raises:
        OptionError: a form that is not this, or a name given two shapes.
    """
    shapes: dict[str, Shape] = {}
    for text in options.shapes:
        name, shape = parse_shape(text)
        if shapes.setdefault(name, shape) != shape:
            raise OptionError(f'"{name}" is given two shapes', where="--shape")
    return shapes


def constants_of(options: CompileOptions) -> dict[str, Array]:
    """Read the files of all `--const NAME=FILE`.

    Raises:
        OptionError: a form that is not NAME=FILE, or a name given twice.
        IpucError: a file cannot be read.
    """
    arrays: dict[str, Array] = {}
    for text in options.constants:
        name, file = split_assignment(text, "--const", "NAME=FILE")
        if name in arrays:
            raise OptionError(f'"{name}" is given two values', where="--const")
        arrays[name] = load_array(Path(file), name, options.max_bytes)
    return arrays
