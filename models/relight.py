"""Write the onnx package's light models with seeded weights.

    python models/relight.py [--out DIR] [--seed N] [--check] [NAME...]

Without names all nine are written (1.4 GB). `--check` runs each one in onnxruntime and prints
what its activations range over; it fails if a layer is not finite, does not vary, or leaves
float16's range.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
import numpy as np
import onnx

from ipuc import zoo
from ipuc.errors import IpucError, OptionError, nearest
from ipuc.zoo.relight import light_names
from ipuc.zoo.weights import sample_input

#: Float16 ends at 65504; sums inside a layer need room above its result.
LIMIT = 1e4


def activations(model: onnx.ModelProto, x: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Run a model in onnxruntime, keeping every layer's output.

    Args:
        model: a model of one input of fixed shape.
        x: the input; by default picture-like noise, other than that of the weights' making.

    Returns:
        Arrays by value name.
    """
    import onnxruntime  # noqa: PLC0415  -- writing models must not need it

    (value,) = model.graph.input
    shape = tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
    made = {node.output[0]: node for node in model.graph.node}
    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    del probed.graph.output[:]
    probed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in made)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # warnings about its own optimizer say nothing of the model
    session = onnxruntime.InferenceSession(
        probed.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    arrays = session.run(list(made), {value.name: sample_input(shape, 1) if x is None else x})
    return dict(zip(made, arrays, strict=True))


def check(model: onnx.ModelProto) -> tuple[str, bool]:
    """Summarize the ranges of a model's activations; the second value says if all are sane."""
    arrays = activations(model)
    largest = {name: float(np.abs(a).max()) for name, a in arrays.items()}
    spread = {name: float(a.std()) for name, a in arrays.items()}
    top, quiet = max(largest, key=largest.__getitem__), min(spread, key=spread.__getitem__)
    sane = all(np.isfinite(a).all() for a in arrays.values())
    sane = sane and largest[top] < LIMIT and spread[quiet] > 0
    probabilities = arrays[model.graph.node[-1].output[0]]
    line = (
        f"{len(arrays):5} values, largest {largest[top]:8.3g} ({top}), "
        f"least spread {spread[quiet]:8.3g} ({quiet}), largest output {probabilities.max():.3g}"
    )
    return line, sane


@click.command(help=__doc__)
@click.argument("names", nargs=-1)
@click.option("--out", type=click.Path(path_type=Path), default=Path(__file__).parent)
@click.option("--seed", default=0, show_default=True)
@click.option("--check", "checked", is_flag=True, help="run every model in onnxruntime")
def main(names: tuple[str, ...], out: Path, seed: int, checked: bool) -> None:
    """Write the named models, or all of them."""
    known = light_names()
    failed = False
    for name in names or known:
        if name not in known:
            raise OptionError(f'there is no light model "{name}"', fix=nearest(name, known))
        path = zoo.write(name, out / f"{name}.onnx", seed)
        print(f"{path}: {zoo.describe(name)}")
        if checked:
            line, sane = check(onnx.load(path))
            print(f"  {line}: {'ok' if sane else 'NOT SANE'}")
            failed |= not sane
    sys.exit(failed)


if __name__ == "__main__":
    try:
        main()
    except IpucError as error:
        sys.exit(str(error))
