"""How to train: what the options say, read and held to what exists."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from ipuc.errors import OptionError, nearest

#: Optimizers, and the numbers that each takes, with their defaults (those of PyTorch 2).
OPTIMIZERS: dict[str, dict[str, float]] = {
    "none": {},
    "sgd": {"lr": 0.01, "weight-decay": 0.0},
    "momentum": {"lr": 0.01, "momentum": 0.9, "weight-decay": 0.0},
    "adam": {"lr": 0.001, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight-decay": 0.0},
    "adamw": {"lr": 0.001, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight-decay": 0.01},
}
CROSS_ENTROPY = "cross-entropy"
LOSSES = (CROSS_ENTROPY, "mse")


@dataclass(frozen=True, slots=True)
class Optimizer:
    """An optimizer with its numbers.

    Attributes:
        name: one of `OPTIMIZERS`.
        numbers: learning rate "lr", "weight-decay" and so on.
    """

    name: str = "sgd"
    numbers: dict[str, float] = field(default_factory=lambda: dict(OPTIMIZERS["sgd"]))

    def __getitem__(self, key: str) -> float:
        return self.numbers[key]

    def __str__(self) -> str:
        numbers = ",".join(f"{key}={value:g}" for key, value in self.numbers.items())
        return f"{self.name}:{numbers}" if numbers else self.name


@dataclass(frozen=True, slots=True)
class Training:
    """What makes a training graph of a model.

    Attributes:
        loss: "cross-entropy", "mse", or the name of a graph output that is a scalar loss itself.
        optimizer: what becomes of the gradients; "none" gives them as outputs.
        loss_scale: the loss is multiplied by it before gradients are taken, and gradients are
            divided by it; None adjusts it during training ("auto").
        recompute: patterns of layers whose results are computed again in the backward pass.
        freeze: patterns of weights that stay as they are.
        train_only: patterns of weights that are trained; all, if empty.
    """

    loss: str = "cross-entropy"
    optimizer: Optimizer = field(default_factory=Optimizer)
    loss_scale: float | None = 1.0
    recompute: tuple[str, ...] = ()
    freeze: tuple[str, ...] = ()
    train_only: tuple[str, ...] = ()


def parse_optimizer(text: str) -> Optimizer:
    """Read `NAME` or `NAME:lr=0.1,weight-decay=1e-4`.

    Raises:
        OptionError: no such optimizer or number, or it is no finite number of 0 or more.
    """
    name, _, rest = text.partition(":")
    if name not in OPTIMIZERS:
        raise OptionError(
            f'no optimizer is called "{name}"',
            where="--optimizer",
            fix=nearest(name, OPTIMIZERS),
        )
    numbers = dict(OPTIMIZERS[name])
    for part in filter(None, (piece.strip() for piece in rest.split(","))):
        key, equals, value = part.partition("=")
        if key not in numbers:
            raise _unknown_number(name, key, numbers)
        numbers[key] = _number(value if equals else "", part, f"write {name}:{key}=0.01")
        if key.startswith("beta") and numbers[key] >= 1:
            raise OptionError(
                f"{part}: a share of what is kept is below 1",
                where="--optimizer",
                fix=f"write {name}:{key}={OPTIMIZERS[name][key]:g}",
            )
    return Optimizer(name, numbers)


def _unknown_number(name: str, key: str, numbers: Mapping[str, float]) -> OptionError:
    """Say what an optimizer takes."""
    if not numbers:
        fix = f"write {name} alone: it takes no numbers"
    elif key[:1].isdigit() or key[:1] == ".":
        fix = f"say which number it is: {name}:lr={key}"
    else:
        listed = f"{name} takes {', '.join(numbers)}"
        near = nearest(key, numbers)
        fix = f"{near} ({listed})" if near.startswith("did") else listed
    return OptionError(f'{name} takes no "{key}"', where="--optimizer", fix=fix)


def parse_loss_scale(text: str) -> float | None:
    """Read a positive number, or "auto" (None).

    Raises:
        OptionError: it is neither.
    """
    if text == "auto":
        return None
    fix = "write --loss-scale 256, or auto"
    scale = _number(text, text, fix, "--loss-scale")
    if scale == 0:
        raise OptionError("a loss scale is above 0", where="--loss-scale", fix=fix)
    return scale


def _number(text: str, whole: str, fix: str, where: str = "--optimizer") -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise OptionError(f'"{whole}" gives no finite number of 0 or more', where=where, fix=fix)
    return number
