"""The gradient of one operator, held against float64 finite differences."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from gradient_check import Array, Derived, check_model_gradient, derive, gradients
from harness import feeds, one_node

from ipuc.importer.load import load


def check_gradient(
    op: str,
    inputs: Sequence[Array | None],
    attributes: Mapping[str, Any] | None = None,
    *,
    opset: int = 22,
    wanted: Collection[int] | None = None,
    constants: Collection[int] = (),
    outputs: Sequence[str | None] | None = None,
    **options: Any,
) -> Derived:
    """Check the gradient of one node; see `gradient_check.check_model_gradient`.

    Args:
        op: operator name.
        inputs: arrays, away from the operator's kinks; None where an optional input is left out.
        attributes: of the node.
        opset: version of the standard operator set.
        wanted: positions of the inputs to differentiate; all of floats if None.
        constants: positions of inputs that are initializers (they may be differentiated too).
        outputs: element types of the outputs; one of the first input's type if None.
        **options: for `check_model_gradient`.

    Returns:
        The graph with its gradients, to look at what was written.
    """
    if outputs is None:
        outputs = (next(x.dtype.name for x in inputs if x is not None),)
    model = one_node(op, inputs, attributes or {}, opset, constants, outputs)
    options.setdefault("wanted", _names(inputs, wanted))
    return check_model_gradient(model, feeds(model, inputs), **options)


def gradients_of(
    op: str,
    inputs: Sequence[Array | None],
    attributes: Mapping[str, Any] | None = None,
    *,
    opset: int = 22,
    wanted: Collection[int] | None = None,
    constants: Collection[int] = (),
    outputs: Sequence[str | None] | None = None,
    arriving: Collection[int] | None = None,
    seed: int = 0,
) -> tuple[list[Array], list[Array]]:
    """Gradients of one node by onnxruntime, to compare with torch's; also at a kink.

    Returns:
        Weights of the outputs, and with them the gradient of every wanted input.
    """
    if outputs is None:
        outputs = (next(x.dtype.name for x in inputs if x is not None),)
    model = one_node(op, inputs, attributes or {}, opset, constants, outputs)
    derived = derive(load(model), _names(inputs, wanted), arriving=arriving, seed=seed)
    found = gradients(derived, feeds(model, inputs))
    return list(derived.upstream.values()), list(found.values())


def _names(inputs: Sequence[Array | None], wanted: Collection[int] | None) -> list[str]:
    """Names of the inputs to differentiate, as `harness.one_node` gives them."""
    return [
        f"x{i}"
        for i, array in enumerate(inputs)
        if array is not None
        and (np.asarray(array).dtype.kind == "f" if wanted is None else i in wanted)
    ]
