"""What the options of training say."""

from __future__ import annotations

import pytest

from ipuc.errors import OptionError
from ipuc.training.options import OPTIMIZERS, parse_loss_scale, parse_optimizer


def test_an_optimizer_alone_has_its_defaults() -> None:
    for name, numbers in OPTIMIZERS.items():
        assert parse_optimizer(name).numbers == numbers


def test_numbers_replace_defaults() -> None:
    made = parse_optimizer("momentum:lr=0.5,weight-decay=1e-4")
    assert (made["lr"], made["momentum"], made["weight-decay"]) == (0.5, 0.9, 1e-4)
    assert parse_optimizer(str(made)) == made


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("sdg", "no optimizer"),
        ("sgd:rate=1", 'takes no "rate"'),
        ("none:lr=1", 'takes no "lr"'),
        ("sgd:lr", "no finite number"),
        ("sgd:lr=-1", "no finite number"),
        ("sgd:lr=nan", "no finite number"),
        ("sgd:lr=1e999", "no finite number"),
    ],
)
def test_what_is_written_wrongly_is_refused(text: str, told: str) -> None:
    with pytest.raises(OptionError, match=told):
        parse_optimizer(text)


def test_a_loss_scale_is_positive_or_auto() -> None:
    assert parse_loss_scale("256") == 256
    assert parse_loss_scale("auto") is None
    for text in ("0", "-1", "inf", "much"):
        with pytest.raises(OptionError):
            parse_loss_scale(text)
