"""Compile and draw the pictures of docs/gallery.md, and write small versions for the page.

Usage: python benchmarks/gallery.py [--out FOLDER] [--size PIXELS] [NAME...]

The full pictures stay in the folder; small ones, under 300 kB each, go to docs/images, and their
counts into docs/images/gallery.json, from which the page's tables are made.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import click
import numpy as np
from PIL import Image

_ROOT = Path(__file__).resolve().parent.parent
_IMAGES = _ROOT / "docs" / "images"

#: Nodes and edges that Graphcore published. Source: Boing Boing, 20 February 2017 (AlexNet); The
#: Register, 17 February 2017 (ResNet-50). They called the nodes vertices.
_PUBLISHED = {
    ("alexnet2017", "training"): ("18.7 million", "115.8 million"),
    ("resnet50_2017", "inference"): ("3.22 million", "6.21 million"),
}

#: Between these lines the script writes.
_MARKS = "<!-- counts: made by benchmarks/gallery.py -->", "<!-- end of counts -->"

#: A small picture: pixels across, bytes at most, and the numbers of colours that are tried.
_SMALL, _BYTES, _COLOURS = 1000, 300_000, (96, 64, 48, 32, 24, 16, 12, 8)


@dataclass(frozen=True)
class Entry:
    """One picture: built-in model, how it is compiled, and how it is drawn."""

    name: str
    model: str
    compiled: tuple[str, ...]
    drawn: tuple[str, ...]


_TRAINED = ("--preset", "2017", "--no-remedies")
_INFERRED = (
    "--target", "gc2", "--precision", "mixed", "--granularity", "worker", "--outline",
)  # fmt: skip
_POSTER = ("--palette", "alex", "--ground", "white", "--label")

ENTRIES = (
    Entry("digits", "digits", _TRAINED, ("--palette", "alex")),
    Entry("mlp", "mlp", _TRAINED, _POSTER),
    Entry(
        "astro",
        "astro",
        _TRAINED,
        ("--palette", "astro", "--ground", "white", "--inset", "fc4@3", "--inset", "conv3@4"),
    ),
    Entry("alexnet2017-labelled", "alexnet2017", _TRAINED, _POSTER),
    Entry("alexnet2017-amber", "alexnet2017", _TRAINED, ("--palette", "amber")),
    Entry("resnet34_2017-amber", "resnet34_2017", _TRAINED, ("--palette", "amber")),
    Entry(
        "resnet34_2017-coral",
        "resnet34_2017",
        _TRAINED,
        ("--palette", "coral", "--colour-by", "exchange", "--seed", "1"),
    ),
    Entry("resnet34", "resnet34", _TRAINED, ("--palette", "coral", "--colour-by", "exchange")),
    Entry("resnet50_2017", "resnet50_2017", _INFERRED, ("--palette", "alex")),
)


@click.command(help=__doc__)
@click.argument("names", nargs=-1)
@click.option("--out", type=click.Path(path_type=Path), default=_ROOT / "demo" / "gallery")
@click.option("--size", default=4096, show_default=True)
def main(names: tuple[str, ...], out: Path, size: int) -> None:
    """Draw all pictures, or some."""
    out.mkdir(parents=True, exist_ok=True)
    counts = _IMAGES / "gallery.json"
    known = json.loads(counts.read_text()) if counts.exists() else {}
    for entry in ENTRIES:
        if names and entry.name not in names:
            continue
        known[entry.name] = _draw(entry, out, size)
        counts.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")
        print(f"{entry.name}: {known[entry.name]}", flush=True)
    _write_counts(known)


def _draw(entry: Entry, out: Path, size: int) -> dict[str, object]:
    """Compile if need be, draw, and make the small version."""
    kind = "inference" if entry.compiled is _INFERRED else "training"
    program = out / f"{entry.model}-{kind}.ipu"
    if not program.exists():
        model = out / f"{entry.model}.onnx"
        if entry.model == "mlp":
            _write_mlp(model)
        elif not model.exists():
            _ipuc("model", entry.model, "-o", model)
        _ipuc("compile", model, *entry.compiled, "-o", program)
    picture = out / f"{entry.name}.png"
    facts = json.loads(
        _ipuc("render", program, *entry.drawn, "--size", size, "-o", picture, "--json")
    )
    small = _small(Image.open(picture))
    (_IMAGES / f"gallery-{entry.name}.png").write_bytes(small)
    kept = ("nodes", "vertices", "regions", "edges", "drawn_edges", "seconds", "pixels")
    return {key: facts[key] for key in kept} | {"model": entry.model, "kind": kind}


def _write_counts(known: dict[str, dict[str, object]]) -> None:
    """Put the table of counts between its marks in docs/gallery.md."""
    rows = [
        "| graph | nodes | = vertices | + regions | edges | published nodes | published edges |",
        "|---|---|---|---|---|---|---|",
    ]
    seen = set()
    for entry in ENTRIES:
        one = known.get(entry.name)
        if one is None or (one["model"], one["kind"]) in seen:
            continue
        seen.add((one["model"], one["kind"]))
        nodes, edges = _PUBLISHED.get((str(one["model"]), str(one["kind"])), ("", ""))
        counts = (f"{one[key]:,}" for key in ("nodes", "vertices", "regions", "edges"))
        row = (f"{one['model']}, {one['kind']}", *counts, nodes, edges)
        rows.append("| " + " | ".join(row) + " |")
    page = _ROOT / "docs" / "gallery.md"
    head, _, rest = page.read_text(encoding="utf-8").partition(_MARKS[0])
    tail = rest.partition(_MARKS[1])[2]
    text = "\n".join([head + _MARKS[0], "", *rows, "", _MARKS[1] + tail])
    page.write_text(text, encoding="utf-8")


def _small(image: Image.Image) -> bytes:
    """Reduce a picture to as many tones, scattered, as fit into the bytes allowed."""
    rgb = image.convert("RGB")
    height = round(_SMALL * rgb.height / rgb.width)
    rgb = rgb.resize((_SMALL, height), Image.Resampling.LANCZOS)
    # The ground is most of the picture and nuclei are few: tones are chosen by the root of their
    # pixels, and the ground is one of them, or it would be scattered too.
    colours, count = np.unique(np.asarray(rgb).reshape(-1, 3), axis=0, return_counts=True)
    ground = colours[count.argmax()]
    weighed = np.repeat(colours, np.ceil(np.sqrt(count)).astype(int), axis=0)
    data = b""
    for number in _COLOURS:
        source = Image.fromarray(weighed[None], "RGB")
        chosen = source.quantize(number - 1, method=Image.Quantize.MEDIANCUT).getpalette() or []
        tones = Image.new("P", (1, 1))
        tones.putpalette([*ground.tolist(), *chosen[: 3 * (number - 1)]])
        stream = io.BytesIO()
        few = rgb.quantize(palette=tones, dither=Image.Dither.FLOYDSTEINBERG)
        few.save(stream, "PNG", optimize=True)
        data = stream.getvalue()
        if len(data) <= _BYTES:
            break
    return data


def _write_mlp(path: Path) -> None:
    """Three fully connected layers, 64 to 10 through 128 and 64."""
    from onnx import TensorProto, helper, numpy_helper, save  # noqa: PLC0415

    rng = np.random.default_rng(0)
    sizes, nodes, weights, value = (64, 128, 64, 10), [], [], "x"
    for at, (into, out) in enumerate(pairwise(sizes), 1):
        array = (rng.standard_normal((into, out)) / np.sqrt(into)).astype(np.float32)
        weights += [
            numpy_helper.from_array(array, f"w{at}"),
            numpy_helper.from_array(np.zeros(out, np.float32), f"b{at}"),
        ]
        names = [value, f"w{at}", f"b{at}"]
        nodes.append(helper.make_node("Gemm", names, [f"h{at}"], name=f"fc{at}"))
        value = f"h{at}"
        if out != sizes[-1]:
            nodes.append(helper.make_node("Relu", [value], [f"r{at}"], name=f"relu{at}"))
            value = f"r{at}"
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", sizes[0]])],
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, ["N", sizes[-1]])],
        weights,
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def _ipuc(*words: object) -> str:
    """Run a command of ours, and give what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "ipuc", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 3):
        raise click.ClickException(f"{' '.join(map(str, words))}\n{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
