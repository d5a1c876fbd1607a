"""Presets: one word for several options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ipuc.cli.arguments import constants_of, shapes_of
from ipuc.cli.options import CompileOptions
from ipuc.cli.output import note
from ipuc.errors import IpucError
from ipuc.pipeline import check_trainable
from ipuc.training.options import Training

#: The options that `--preset 2017` stands for, and the fields that they set.
_2017 = {
    "--target": ("target", "gc2"),
    "--precision": ("precision", "mixed"),
    "--batch": ("batch", 1),
    "--granularity": ("granularity", "worker"),
    "--outline": ("outline", True),
}


def settle_preset(
    options: CompileOptions, model: Path, tell: Callable[[str], None] = note
) -> CompileOptions:
    """Put what a preset stands for in place of options that are not given; say what that is.

    The preset 2017 compiles as Graphcore did for its pictures of 2017: training with SGD and
    cross-entropy where the model's output allows it, else inference.

    Args:
        options: as given.
        model: the ONNX file.
        tell: is told what the preset stands for.

    Raises:
        IpucError: the model cannot be read.
    """
    if not options.preset:
        return options
    fields = {name: value for flag, (name, value) in _2017.items() if flag not in options.given}
    words = [
        flag if value is True else f"{flag} {value}"
        for flag, (_, value) in _2017.items()
        if flag not in options.given
    ]
    made = replace(options, preset="", **fields)  # type: ignore[arg-type]  # names are fields
    if not options.training.train:
        reason = _why_not(made, model)
        if reason is None:
            made = replace(made, training=replace(made.training, train=True))
            words.append("--train --loss cross-entropy --optimizer sgd")
        else:
            tell(f"preset 2017: inference, not training: {reason}")
    tell(f"preset 2017 stands for {' '.join(words)}")
    return made


def _why_not(options: CompileOptions, model: Path) -> str | None:
    """Why a model cannot be trained with cross-entropy; None if it can."""
    training = replace(options.training, train=True).training()
    try:
        check_trainable(
            model,
            training or Training(),
            shapes=shapes_of(options),
            batch=options.batch,
            constants=constants_of(options),
            max_bytes=options.max_bytes,
        )
    except IpucError as error:
        return error.what
    return None
