"""Options that say how to train, and `--preset`, read into what the compiler takes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import click

from ipuc.errors import OptionError
from ipuc.training.options import OPTIMIZERS, Training, parse_loss_scale, parse_optimizer

Function = TypeVar("Function", bound=Callable[..., Any])

DEFAULT_LOSS = "cross-entropy"
DEFAULT_OPTIMIZER = "sgd"
DEFAULT_LOSS_SCALE = "1"


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """How to train; texts as the user gave them.

    Attributes:
        train: one training step is compiled, not inference.
        loss: its name.
        optimizer: with its numbers.
        loss_scale: a number, or auto.
        recompute: patterns of layers whose results are computed again.
        freeze: patterns of weights that stay as they are.
        train_only: patterns of weights that are trained.
        given: the flags that were used.
    """

    train: bool = False
    loss: str = DEFAULT_LOSS
    optimizer: str = DEFAULT_OPTIMIZER
    loss_scale: str = DEFAULT_LOSS_SCALE
    recompute: tuple[str, ...] = ()
    freeze: tuple[str, ...] = ()
    train_only: tuple[str, ...] = ()
    given: tuple[str, ...] = field(default=())

    def training(self) -> Training | None:
        """Read the texts; None for inference.

        Raises:
            OptionError: an option is written wrongly, or given without --train.
        """
        if not self.train:
            if self.given:
                raise OptionError(
                    "this option is for training", where=self.given[0], fix="add --train"
                )
            return None
        return Training(
            self.loss,
            parse_optimizer(self.optimizer),
            parse_loss_scale(self.loss_scale),
            self.recompute,
            self.freeze,
            self.train_only,
        )


def train_options(function: Function) -> Function:
    """Give a command the options of training, as one argument `training`."""

    @functools.wraps(function)
    def wrapper(
        *args: Any,
        train: bool,
        loss: str | None,
        optimizer: str | None,
        loss_scale: str | None,
        recompute: tuple[str, ...],
        freeze: tuple[str, ...],
        train_only: tuple[str, ...],
        **rest: Any,
    ) -> Any:
        used = {
            "--loss": loss,
            "--optimizer": optimizer,
            "--loss-scale": loss_scale,
            "--recompute": recompute,
            "--freeze": freeze,
            "--train-only": train_only,
        }
        options = TrainOptions(
            train,
            loss or DEFAULT_LOSS,
            optimizer or DEFAULT_OPTIMIZER,
            loss_scale or DEFAULT_LOSS_SCALE,
            recompute,
            freeze,
            train_only,
            tuple(flag for flag, value in used.items() if value not in (None, ())),
        )
        return function(*args, training=options, **rest)

    for decorate in reversed(_OPTIONS):
        wrapper = decorate(wrapper)
    return wrapper  # type: ignore[return-value]  # it takes other keywords than it hands on


_OPTIONS = (
    click.option(
        "--train",
        is_flag=True,
        help="Compile one step of training: forward, backward, update of the weights.",
    ),
    click.option(
        "--loss",
        metavar="cross-entropy|mse|OUTPUT",
        help="Loss of the first output and `labels`, the mean over the batch; or an output that "
        f"is the loss itself.  [default: {DEFAULT_LOSS}]",
    ),
    click.option(
        "--optimizer",
        metavar="NAME[:lr=0.01,...]",
        help=f"One of {', '.join(OPTIMIZERS)}, with its numbers: momentum:lr=0.1,momentum=0.9,"
        "weight-decay=1e-4. With none the gradients are outputs, grad/NAME.  "
        f"[default: {DEFAULT_OPTIMIZER}]",
    ),
    click.option(
        "--loss-scale",
        metavar="N|auto",
        help="Multiply the loss by N while gradients are taken, so that halves can hold them; "
        f"auto finds N while training.  [default: {DEFAULT_LOSS_SCALE}]",
    ),
    click.option(
        "--recompute",
        multiple=True,
        metavar="LAYER",
        help="Compute the results of these layers (a pattern, or all) again in the backward pass "
        "instead of keeping them.",
    ),
    click.option(
        "--freeze", multiple=True, metavar="WEIGHT", help="Weights (a pattern) that stay as is."
    ),
    click.option(
        "--train-only", multiple=True, metavar="WEIGHT", help="Train only these (a pattern)."
    ),
)
