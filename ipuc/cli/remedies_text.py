"""What `ipuc compile` says of a program that does not fit: why, and what helps at which price."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ipuc.cli.modelled import cost_of
from ipuc.cli.output import note, say, table
from ipuc.program.program import Program
from ipuc.remedies import SECONDS, Price, price_all


def find_remedies(model: Path, arguments: Mapping[str, Any], program: Program) -> list[Price]:
    """Price every remedy of a program that does not fit, telling on stderr what is tried."""
    note(f"trying remedies for up to {SECONDS:.0f} s (--no-remedies: none)")
    cycles = int(cost_of(program)["cycles"])
    return price_all(model, arguments, cycles, tell=lambda flag: note(f"  {flag}"))


def remedies_json(prices: list[Price]) -> list[dict[str, Any]]:
    """The prices as JSON values."""
    return [dataclasses.asdict(price) for price in prices]


def print_remedies(prices: list[Price], cycles: int) -> None:
    """Print the prices as a table: those that fit first, the quickest on top."""
    found = [price for price in prices if price.cycles is not None]
    found.sort(key=lambda price: (not price.fits, price.ratio))
    say()
    say(f"remedies, each compiled and profiled; without them it takes {cycles:,} cycles")
    if found:
        rows = [
            ["add to the command", "fits", "fullest tile", "limit", "cycles", "ratio", "serial"]
        ]
        rows += [
            [
                price.flag,
                "yes" if price.fits else "no",
                f"{price.max_tile_bytes:,}",
                f"{price.limit_bytes:,}",
                f"{price.cycles:,}",
                f"{price.ratio:.2f}",
                f"{price.serial:,}",
            ]
            for price in found
        ]
        table(rows, right=range(2, 7))
        say("  ratio: of the time for as many samples; serial: layers that are done in steps")
    for price in prices:
        if price.cycles is None:
            say(f"  {price.flag}: {price.why_not}")
    if not any(price.fits for price in prices):
        say("  none of them is enough")
