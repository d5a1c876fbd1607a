"""Hold a model to ONNX's rules, and open the functions it calls."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

import onnx
import onnx.inliner

from ipuc.errors import ImportFailure, TooLarge
from ipuc.graph.infer import clean
from ipuc.graph.proto import schema_of
from ipuc.importer.read import ModelSource, not_text, opsets

#: (domain, operator, operator set) -> None if it can be compiled, else the reason why not.
Supported = Callable[[str, str, int], str | None]

#: Nested functions deeper than this are taken for a loop.
_DEPTH = 16

#: The most nodes that opening functions may make. Thirty functions of two calls each, a file of
#: 3 kB, would make a thousand million.
_MOST_NODES = 200_000

_UNKNOWN_DOMAIN = "unknown.operators"

#: Operators whose body is a loop, while their result depends on constants only: never opened.
_FOLDED = frozenset({("", "Range")})


def everything(domain: str, op: str, opset: int) -> str | None:
    """Accept every operator: the default of `supported`."""
    del domain, op, opset
    return None


def standard(domain: str) -> str:
    """Write a domain in its short form: "ai.onnx" is ""."""
    return "" if domain == "ai.onnx" else domain


def check(source: ModelSource) -> None:
    """Run ONNX's checker on the model without its weights.

    Operators that ONNX does not know are left out of the check: they are reported later, all at
    once. The checker stops at the first.

    Raises:
        ImportFailure: the model breaks a rule of ONNX.
    """
    versions = opsets(source.proto)
    model = onnx.ModelProto()
    model.CopyFrom(source.proto)
    local = {(standard(one.domain), one.name) for one in model.functions}
    for node in model.graph.node:
        domain = standard(node.domain)
        known = (domain, node.op_type) in local
        if not known and schema_of(node.op_type, versions.get(domain, 0), domain) is None:
            node.domain = _UNKNOWN_DOMAIN
    model.opset_import.append(onnx.helper.make_opsetid(_UNKNOWN_DOMAIN, 1))
    # The checker wants a type for every output and a shape for every input, which engines do not:
    # inference finds the ones, --shape settles the others.
    for info in model.graph.output:
        if info.type.WhichOneof("value") is None:
            info.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    for info in (*model.graph.input, *model.graph.output):
        if info.type.HasField("tensor_type") and not info.type.tensor_type.HasField("shape"):
            info.type.tensor_type.shape.SetInParent()
    try:
        onnx.checker.check_model(model)
    except UnicodeDecodeError as error:
        # The checker quotes a name that it cannot even write down.
        raise not_text(source.where()) from error
    except onnx.checker.ValidationError as error:
        text = str(error)
        context = text.partition("==> Context:")[2].split("Name:")
        node = context[1].split("OpType")[0].strip() if len(context) > 1 else ""
        raise ImportFailure(
            f"the model breaks a rule of ONNX: {clean(text)}",
            where=f'{source.where()}, node "{node}"' if node else source.where(),
            fix="export it again; onnx.checker.check_model tells the same",
        ) from error


def inline(source: ModelSource, keep: Collection[tuple[str, str]], supported: Supported) -> None:
    """Replace calls of functions by their bodies, in place.

    The model's own functions are inlined unless kept; functions that ONNX itself defines are
    inlined where the operator is not supported as such.

    Args:
        source: the model.
        keep: (domain, name) of functions of the model that are compiled as they are.
        supported: see `Supported`.

    Raises:
        ImportFailure: functions call themselves, or cannot be inlined.
        TooLarge: there would be too many nodes.
    """
    kept = [key for key in keep if any((f.domain, f.name) == key for f in source.proto.functions)]
    try:
        if source.proto.functions:
            _bound(source)
            if kept:
                source.proto = onnx.inliner.inline_selected_functions(
                    source.proto, kept, exclude=True
                )
            else:
                source.proto = onnx.inliner.inline_local_functions(
                    source.proto, convert_version=True
                )
        for _ in range(_DEPTH):
            wanted = _expandable(source.proto, supported)
            if not wanted:
                return
            _write_defaults(source.proto, wanted)
            source.proto = onnx.inliner.inline_selected_functions(
                source.proto, wanted, inline_schema_functions=True
            )
    except (RuntimeError, onnx.checker.ValidationError) as error:
        raise ImportFailure(
            f"the model's functions cannot be inlined: {clean(str(error))}",
            where=source.where(),
            fix="inline them when exporting, or with onnx.inliner.inline_local_functions",
        ) from error


def _bound(source: ModelSource) -> None:
    """Count what opening the model's functions would make, before it is made.

    Functions neither call themselves nor nest too deeply: `check` has refused that.

    Raises:
        TooLarge: too many nodes.
    """
    bodies = {
        (standard(f.domain), f.name, f.overload): list(_calls(f.node))
        for f in source.proto.functions
    }

    @functools.cache
    def opened(call: tuple[str, str, str]) -> int:
        return sum(map(opened, bodies[call])) if call in bodies else 1

    count = sum(map(opened, _calls(source.proto.graph.node)))
    if count > _MOST_NODES:
        raise TooLarge(
            f"with its functions opened the model has {count:.4g} nodes; {_MOST_NODES:,} are "
            "allowed",
            where=source.where(),
            fix="export the model with functions that call fewer others",
        )


def _calls(nodes: Iterable[onnx.NodeProto]) -> Iterator[tuple[str, str, str]]:
    """What nodes call, and what the graphs inside them do."""
    for node in nodes:
        yield standard(node.domain), node.op_type, node.overload
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _calls(graph.node)


def _expandable(model: onnx.ModelProto, supported: Supported) -> list[tuple[str, str]]:
    """Operators that are not supported as such but that ONNX defines by others."""
    versions = opsets(model)
    wanted: dict[tuple[str, str], None] = {}
    for domain, op in {(standard(node.domain), node.op_type): None for node in model.graph.node}:
        version = versions.get(domain, 0)
        schema: Any = schema_of(op, version, domain)  # the flags below lack type stubs
        if schema is None or supported(domain, op, version) is None or (domain, op) in _FOLDED:
            continue
        if schema.has_function or schema.has_context_dependent_function:
            wanted[domain, op] = None
    return list(wanted)


def _write_defaults(model: onnx.ModelProto, wanted: Collection[tuple[str, str]]) -> None:
    """Give nodes the default attributes of their operators: bodies read them, and get none else."""
    versions = opsets(model)
    for node in model.graph.node:
        domain = standard(node.domain)
        if (domain, node.op_type) not in wanted:
            continue
        schema = schema_of(node.op_type, versions.get(domain, 0), domain)
        given = {attribute.name for attribute in node.attribute}
        for name, attribute in schema.attributes.items() if schema else ():
            if name not in given and attribute.default_value.name:
                node.attribute.append(attribute.default_value)
