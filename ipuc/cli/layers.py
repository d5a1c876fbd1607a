"""Layers as the user names them."""

from __future__ import annotations

from ipuc.errors import ContainerError, OptionError, nearest
from ipuc.graph.record import from_json
from ipuc.program.program import Layer, Program

#: Layers that an error names.
_NAMED = 6


def find_layer(program: Program, text: str, where: str = "LAYER") -> int:
    """Find a layer by name, by number, by an ONNX node in it, or by the begin of its name.

    Args:
        program: has the layers.
        text: what the user gave.
        where: for the error.

    Returns:
        Its number, counted from 0 in program order.

    Raises:
        OptionError: there is none, or several layers begin so.
    """
    names = [layer.name for layer in program.layers]
    if text in names:
        return names.index(text)
    if text.isascii() and text.isdigit() and len(text) <= len(str(len(names))):
        if int(text) < len(names):
            return int(text)
        raise OptionError(
            f"there is no layer {text}",
            where=where,
            fix=f"the program has {len(names)} layers, numbered from 0",
        )
    folded = [at for at, layer in enumerate(program.layers) if text in layer.nodes]
    if len(folded) == 1:
        return folded[0]
    begins = [at for at, name in enumerate(names) if name.startswith(text)] if text else []
    if len(begins) == 1:
        return begins[0]
    if begins:
        listed = ", ".join(names[at] for at in begins[:_NAMED])
        more = len(begins) - _NAMED
        raise OptionError(
            f'{len(begins)} layers begin with "{text}"',
            where=where,
            fix=f"give one of {listed}" + (f" and {more} more" if more > 0 else ""),
        )
    raise OptionError(f'there is no layer "{text}"', where=where, fix=nearest(text, names))


def layer_values(program: Program, layer: Layer) -> tuple[dict[str, str], dict[str, str]]:
    """Types of what a layer reads and of what it makes, by name: (inputs, outputs).

    Constants are marked as such. A program that carries no op graph gives its outputs only.
    """
    outputs = {
        name: f"{tensor.dtype}[{'x'.join(map(str, tensor.shape))}]"
        for name in layer.outputs
        if (tensor := program.values.get(name)) is not None
    }
    try:
        graph = from_json(program.graph_text)
    except ContainerError:
        return {}, outputs
    made = {*graph.inputs, *(name for node in graph.nodes for name in node.outputs)}
    inputs: dict[str, str] = {}
    for node in graph.nodes:
        if node.name == layer.name:
            for name in node.inputs:
                if name:
                    kind = str(graph.types.get(name, "unknown"))
                    inputs[name] = kind if name in made else f"{kind}, constant"
            outputs = {n: str(graph.types.get(n, "unknown")) for n in node.outputs if n}
    return inputs, outputs
