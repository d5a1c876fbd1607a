"""Training steps of an ONNX file by torch's autograd and optimizers: somebody else's judge.

Forward operators are looked up in a table of torch calls; loss, gradients and new weights are
torch's own. Nothing of ipuc is used. Needs torch: import this module after
`pytest.importorskip("torch")`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
import torch
import torch.nn.functional as F  # noqa: N812  # torch's own name for it
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Array = NDArray[Any]
Arrays = dict[str, Array]
#: Attributes of a node, and its inputs; None where an optional one is left out.
Apply = Callable[[Mapping[str, Any], Sequence[Any]], Any]


@dataclass(frozen=True)
class Step:
    """What one training step made.

    Attributes:
        loss: before the step.
        gradients: of every trained weight.
        weights: new ones, and new running statistics, by initializer name.
    """

    loss: float
    gradients: Arrays
    weights: Arrays


class TorchModel:
    """An ONNX model that torch trains; its weights stay from step to step, as all state does.

    Args:
        model: its float initializers are the weights.
        trained: names of the initializers to train.
        loss: "cross-entropy" (of the input of a Softmax that ends the graph, else of the output)
            or "mse".
        optimizer: "none", "sgd", "momentum", "adam" or "adamw".
        numbers: the optimizer's, under torch's names (`lr`, `momentum`, `betas`, ...).
        exact: compute in float64.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        trained: Collection[str],
        loss: str = "cross-entropy",
        optimizer: str = "none",
        numbers: Mapping[str, Any] | None = None,
        *,
        exact: bool = False,
    ) -> None:
        self._dtype = torch.float64 if exact else torch.float32
        self._loss = loss
        self._graph = model.graph
        self._opset = next(one.version for one in model.opset_import if not one.domain)
        self._held = {
            one.name: self._tensor(numpy_helper.to_array(one)) for one in model.graph.initializer
        }
        self._trained = list(trained)
        for name in self._trained:
            self._held[name].requires_grad_()
        self._running: list[str] = []
        made = _OPTIMIZERS[optimizer]
        values = [self._held[name] for name in self._trained]
        self._optimizer = made and made(values, **(numbers or {}))

    def _tensor(self, array: Array) -> Any:
        tensor = torch.tensor(array)
        return tensor.to(self._dtype) if tensor.is_floating_point() else tensor

    def step(self, inputs: Mapping[str, Array]) -> Step:
        """Take a step: forward, backward, update.

        Args:
            inputs: of the model, and "labels".
        """
        loss = self.advance(inputs)
        gradients = {name: self._held[name].grad.numpy().copy() for name in self._trained}
        names = [*self._trained, *self._running]
        weights = {name: self._held[name].detach().numpy().copy() for name in names}
        return Step(loss, gradients, weights)

    def advance(self, inputs: Mapping[str, Array]) -> float:
        """Take a step and give the loss before it; nothing else is read, so it may be timed."""
        loss = self._forward(inputs)
        for name in self._trained:
            self._held[name].grad = None
        loss.backward()
        if self._optimizer is not None:
            self._optimizer.step()
        return float(loss.detach())

    def _forward(self, inputs: Mapping[str, Array]) -> Any:
        values = dict(self._held)
        values |= {name: self._tensor(array) for name, array in inputs.items()}
        nodes = list(self._graph.node)
        last = nodes[-1]
        result = self._graph.output[0].name
        if self._loss == "cross-entropy" and last.op_type == "Softmax":
            axis = _attributes(last).get("axis", -1 if self._opset >= 13 else 1)
            assert axis % _rank(self._graph) == 1, "a softmax over classes"
            result = nodes.pop().input[0]
        for node in nodes:
            given = [values[name] if name else None for name in node.input]
            attributes = _attributes(node)
            if node.op_type == "BatchNormalization":
                made = self._batch_norm(node, attributes, given)
            else:
                made = APPLY[node.op_type](attributes, given)
            values[node.output[0]] = made
        if self._loss == "mse":
            return F.mse_loss(values[result], values["labels"])
        return F.cross_entropy(values[result], values["labels"])

    def _batch_norm(
        self, node: onnx.NodeProto, attributes: Mapping[str, Any], given: Sequence[Any]
    ) -> Any:
        """Normalise by the batch, and move the running statistics towards it.

        ONNX's variance is that of the batch itself; torch's running one is an estimate for the
        population, n / (n - 1) times as large.
        """
        x, scale, shift, mean, variance = given
        batch_mean, batch_variance = torch.zeros_like(mean), torch.zeros_like(variance)
        epsilon = attributes.get("epsilon", 1e-5)
        y = F.batch_norm(
            x, batch_mean, batch_variance, scale, shift, training=True, momentum=1.0, eps=epsilon
        )
        count = x.numel() // x.shape[1]
        own_variance = batch_variance * ((count - 1) / count)
        kept = attributes.get("momentum", 0.9)
        for name, old, new in zip(
            node.input[3:5], (mean, variance), (batch_mean, own_variance), strict=True
        ):
            self._held[name] = old * kept + new * (1 - kept)
            if name not in self._running:
                self._running.append(name)
        return y


_OPTIMIZERS: dict[str, Callable[..., Any] | None] = {
    "none": None,
    "sgd": torch.optim.SGD,
    "momentum": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


def torch_numbers(name: str, numbers: Mapping[str, float]) -> dict[str, Any]:
    """Turn the numbers of our `--optimizer` into torch's arguments."""
    given: dict[str, Any] = {key.replace("-", "_"): value for key, value in numbers.items()}
    if name in ("adam", "adamw"):
        given["betas"] = (given.pop("beta1"), given.pop("beta2"))
    return given


def _rank(graph: onnx.GraphProto) -> int:
    """Dimensions of a graph's first output."""
    return len(graph.output[0].type.tensor_type.shape.dim)


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {one.name: helper.get_attribute_value(one) for one in node.attribute}


def _padded(x: Any, pads: Sequence[int], value: float) -> Any:
    """Pad the last axes; `pads` are ONNX's: all begins, then all ends."""
    if not any(pads):
        return x
    half = len(pads) // 2
    pairs = [(pads[axis], pads[half + axis]) for axis in reversed(range(half))]
    return F.pad(x, [number for pair in pairs for number in pair], value=value)


def _conv(attributes: Mapping[str, Any], given: Sequence[Any]) -> Any:
    assert attributes.get("auto_pad", b"NOTSET") == b"NOTSET"
    x, weight, *bias = given
    dims = weight.ndim - 2
    call = (F.conv1d, F.conv2d, F.conv3d)[dims - 1]
    return call(
        _padded(x, attributes.get("pads", [0] * 2 * dims), 0.0),
        weight,
        bias[0] if bias else None,
        stride=attributes.get("strides", [1] * dims),
        dilation=attributes.get("dilations", [1] * dims),
        groups=attributes.get("group", 1),
    )


def _max_pool(attributes: Mapping[str, Any], given: Sequence[Any]) -> Any:
    assert attributes.get("auto_pad", b"NOTSET") == b"NOTSET"
    (x,) = given
    kernel = attributes["kernel_shape"]
    dims = len(kernel)
    call = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[dims - 1]
    return call(
        _padded(x, attributes.get("pads", [0] * 2 * dims), -math.inf),
        kernel,
        stride=attributes.get("strides", [1] * dims),
        dilation=attributes.get("dilations", [1] * dims),
        ceil_mode=bool(attributes.get("ceil_mode", 0)),
    )


def _average_pool(attributes: Mapping[str, Any], given: Sequence[Any]) -> Any:
    assert attributes.get("auto_pad", b"NOTSET") == b"NOTSET"
    (x,) = given
    kernel = attributes["kernel_shape"]
    dims = len(kernel)
    pads = attributes.get("pads", [0] * 2 * dims)
    assert list(pads[:dims]) == list(pads[dims:]), "torch pads both sides alike"
    call = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[dims - 1]
    return call(
        x,
        kernel,
        stride=attributes.get("strides", [1] * dims),
        padding=pads[:dims],
        ceil_mode=bool(attributes.get("ceil_mode", 0)),
        count_include_pad=bool(attributes.get("count_include_pad", 0)),
    )


def _gemm(attributes: Mapping[str, Any], given: Sequence[Any]) -> Any:
    a, b, *c = given
    product = (a.T if attributes.get("transA") else a) @ (b.T if attributes.get("transB") else b)
    product = product * attributes.get("alpha", 1.0)
    return product + attributes.get("beta", 1.0) * c[0] if c else product


def _slice(attributes: Mapping[str, Any], given: Sequence[Any]) -> Any:
    del attributes
    x, starts, ends = given[:3]
    axes = given[3].tolist() if len(given) > 3 and given[3] is not None else range(len(starts))
    steps = given[4].tolist() if len(given) > 4 else [1] * len(starts)
    cut = [slice(None)] * x.ndim
    for axis, start, end, step in zip(axes, starts.tolist(), ends.tolist(), steps, strict=True):
        cut[axis] = slice(start, end, step)
    return x[tuple(cut)]


def _pad(attributes: Mapping[str, Any], given: Sequence[Any]) -> Any:
    assert attributes.get("mode", b"constant") == b"constant"
    assert len(given) < 4, "all axes are padded"
    value = float(given[2]) if len(given) > 2 and given[2] is not None else 0.0
    return _padded(given[0], given[1].tolist(), value)


def _reshape(attributes: Mapping[str, Any], given: Sequence[Any]) -> Any:
    x, wanted = given
    assert not attributes.get("allowzero", 0)
    shape = [x.shape[axis] if n == 0 else n for axis, n in enumerate(wanted.tolist())]
    return x.reshape(shape)


def _flatten(attributes: Mapping[str, Any], given: Sequence[Any]) -> Any:
    (x,) = given
    axis = attributes.get("axis", 1)
    return x.reshape(math.prod(x.shape[:axis]), -1)


def _dropout(attributes: Mapping[str, Any], given: Sequence[Any]) -> Any:
    ratio = float(given[1]) if len(given) > 1 else attributes.get("ratio", 0.5)
    assert ratio == 0, "masks of two engines have nothing in common"
    return given[0]


def _global_average_pool(attributes: Mapping[str, Any], given: Sequence[Any]) -> Any:
    del attributes
    (x,) = given
    return x.mean(dim=tuple(range(2, x.ndim)), keepdim=True)


#: Operators of the built-in models.
APPLY: dict[str, Apply] = {
    "Add": lambda _, given: given[0] + given[1],
    "AveragePool": _average_pool,
    "Concat": lambda attributes, given: torch.cat(list(given), dim=attributes["axis"]),
    "Conv": _conv,
    "Dropout": _dropout,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average_pool,
    "MatMul": lambda _, given: given[0] @ given[1],
    "MaxPool": _max_pool,
    "Pad": _pad,
    "Relu": lambda _, given: torch.relu(given[0]),
    "Reshape": _reshape,
    "Slice": _slice,
    "Softmax": lambda attributes, given: torch.softmax(given[0], attributes.get("axis", -1)),
    "Transpose": lambda attributes, given: given[0].permute(attributes["perm"]),
}
