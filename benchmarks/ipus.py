"""What several IPUs make of a model: modelled time, bytes over links, memory of the fullest tile.

Usage: python benchmarks/ipus.py [--models NAME,...] [--targets NAME,...] [--precision FORMAT]
    [--batch N] [--ipus N,...] [--shard RULE] [--json FILE]

The table is in Markdown. Nothing is measured here: every figure follows from the program.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from measure import finish

from ipuc import zoo
from ipuc.importer.limits import readable
from ipuc.pipeline import compile_model
from ipuc.profile.ipus import by_ipu, links
from ipuc.profile.record import profile
from ipuc.target import parse_target

_HEAD = (
    *("model", "target", "IPUs", "cycles", "time", "over links", "fullest tile, bytes"),
    *("without gaps", "fits"),
)


def cost(model: Any, target: str, precision: str, ipus: int, shard: str) -> dict[str, Any]:
    """Compile and profile: the figures of a row, and those of each IPU."""
    machine = parse_target(target)
    program = compile_model(model, target=machine, precision=precision, ipus=ipus, shard=shard)
    found = profile(program)
    return {
        "target": target,
        "ipus": ipus,
        "cycles": found.cycles["total"],
        "seconds": found.seconds,
        "link_bytes": int(links(found).sum()),
        "max_tile_bytes": found.memory.max_tile_bytes,
        "max_live_bytes": found.memory.max_live_bytes,
        "fits": found.memory.fits,
        "first_layers": program.metadata["first_layers"],
        "by_ipu": by_ipu(found),
    }


def row(name: str, found: dict[str, Any]) -> list[str]:
    """A row for people."""
    return [
        name,
        found["target"],
        str(found["ipus"]),
        f"{found['cycles']:,}",
        f"{found['seconds'] * 1e6:,.1f} us",
        readable(found["link_bytes"]) if found["link_bytes"] else "-",
        f"{found['max_tile_bytes']:,}",
        f"{found['max_live_bytes']:,}",
        "yes" if found["fits"] else "no",
    ]


@click.command()
@click.option("--models", default="alexnet,resnet34,light_resnet50", show_default=True)
@click.option("--targets", default="gc2,gc200", show_default=True)
@click.option("--precision", default="mixed", show_default=True)
@click.option("--batch", default=1, show_default=True)
@click.option("--ipus", default="1,2,4", show_default=True)
@click.option("--shard", default="auto", show_default=True)
@click.option("--json", "target_file", type=click.Path(path_type=Path))
def main(
    models: str,
    targets: str,
    precision: str,
    batch: int,
    ipus: str,
    shard: str,
    target_file: Path | None,
) -> None:
    """Print the table."""
    click.echo(f"Batch {batch}, {precision}, --shard {shard}; modelled, not measured.\n")
    click.echo(f"| {' | '.join(_HEAD)} |\n|{'---|' * len(_HEAD)}")
    results: dict[str, list[dict[str, Any]]] = {}
    for name in models.split(","):
        model = zoo.build(name, batch=batch)
        for target in targets.split(","):
            for count in map(int, ipus.split(",")):
                found = cost(model, target, precision, count, shard if count > 1 else "auto")
                results.setdefault(name, []).append(found)
                click.echo(f"| {' | '.join(row(name, found))} |")
    settings = {"precision": precision, "batch": batch, "shard": shard}
    finish({**settings, "models": results}, target_file)


if __name__ == "__main__":
    main()
