"""ONNX's backend interface: compile a model for an IPU and run it on the emulator.

Use it as any other backend: `ipuc.backend.run_model(model, inputs)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, shape_inference
from onnx.backend.base import Backend, BackendRep, namedtupledict

from ipuc.errors import IpucError, OptionError, ShapeError
from ipuc.graph.infer import UndecidedShape
from ipuc.graph.proto import schema_of
from ipuc.importer.inspect import inspect_model
from ipuc.importer.limits import DEFAULT_MAX_BYTES
from ipuc.pipeline import compile_model, run_program, supported
from ipuc.planner.context import Granularity
from ipuc.program.program import Program
from ipuc.target import Target, parse_target

Array = NDArray[Any]

#: A part of a GC200: node tests are small, and planning for all tiles takes longer.
DEFAULT_TARGET = "gc200,tiles=64"

#: Programs that a model keeps, the last used: each holds the weights once more.
KEPT_PROGRAMS = 8


class IpucRep(BackendRep):
    """A model that is compiled when its inputs arrive, once for each set of shapes.

    Inputs whose value decides a shape or an axis become constants of the program; each new value
    of those makes a program of its own. All other inputs are data and stay inputs.

    Attributes:
        model: as given.
        target: the machine.
        granularity: how finely vertices are cut.
        precision: number formats of the layers.
        inputs: names of the inputs, in order; initializers are not among them.
        outputs: names of the outputs, in order.
        program: the program of the last run; None before the first.
        specialised: inputs that became constants in the last run.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        target: Target,
        granularity: Granularity,
        max_bytes: int,
        precision: str = "float32",
    ) -> None:
        self.model = model
        self.target = target
        self.granularity: Granularity = granularity
        self.precision = precision
        stored = {one.name for one in model.graph.initializer}
        self.inputs = [one.name for one in model.graph.input if one.name not in stored]
        self.outputs = [one.name for one in model.graph.output]
        self.program: Program | None = None
        self.specialised: tuple[str, ...] = ()
        self._max_bytes = max_bytes
        self._programs: dict[Any, tuple[Program, tuple[str, ...]]] = {}
        # Which inputs decide something depends on shapes at most, so it is learnt once for each.
        self._deciding: dict[Any, tuple[str, ...]] = {}

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Run the model once.

        Args:
            inputs: arrays in the order of the model's inputs, or by name, or a single array.
            **kwargs: none is taken.

        Returns:
            The outputs, a named tuple.

        Raises:
            OptionError: a wrong number of inputs, or an unknown option.
            IpucError: the model cannot be compiled for these inputs.
        """
        _no_more(kwargs)
        arrays = self._named(inputs)
        program, self.specialised = self._compiled(arrays)
        self.program = program
        data = {name: array for name, array in arrays.items() if name not in self.specialised}
        results = run_program(program, data)
        made: tuple[Any, ...] = namedtupledict("Outputs", self.outputs)(
            *(results[name] for name in self.outputs)
        )
        return made

    def _named(self, inputs: Any) -> dict[str, Array]:
        if isinstance(inputs, Mapping):
            return {str(name): np.asarray(array) for name, array in inputs.items()}
        given = [inputs] if isinstance(inputs, np.ndarray) else list(inputs)
        if len(given) != len(self.inputs):
            listed = ", ".join(self.inputs)
            raise OptionError(
                f"{len(given)} arrays are given, the model has {len(self.inputs)} inputs",
                fix=f"give {listed}" if listed else "give none",
            )
        unfit = [n for n, a in zip(self.inputs, given, strict=True) if not _is_tensor(a)]
        if unfit:
            raise ShapeError(
                "only arrays of numbers can be inputs", where=f'input "{", ".join(unfit)}"'
            )
        return {name: np.asarray(a) for name, a in zip(self.inputs, given, strict=True)}

    def _compiled(self, arrays: Mapping[str, Array]) -> tuple[Program, tuple[str, ...]]:
        """Find or make the program for these shapes and deciding values."""
        shapes = tuple((name, array.shape, array.dtype.name) for name, array in arrays.items())
        names = self._deciding.get(shapes, ())
        while True:
            key = (shapes, tuple((name, arrays[name].tobytes()) for name in names))
            if key in self._programs:
                self._programs[key] = self._programs.pop(key)  # the last used stands last
                return self._programs[key]
            try:
                program = self._compile(arrays, names)
            except UndecidedShape as error:
                new = [n for n in error.values if n in arrays and n not in names]
                if not new:
                    raise
                names = (*names, *new)
                continue
            self._deciding[shapes] = names
            self._programs[key] = program, names
            if len(self._programs) > KEPT_PROGRAMS:
                del self._programs[next(iter(self._programs))]
            return program, names

    def _compile(self, arrays: Mapping[str, Array], constants: Sequence[str]) -> Program:
        return compile_model(
            self.model,
            target=self.target,
            granularity=self.granularity,
            precision=self.precision,
            shapes={name: a.shape for name, a in arrays.items() if name not in constants},
            constants={name: arrays[name] for name in constants},
            max_bytes=self._max_bytes,
        )


def _is_tensor(value: Any) -> bool:
    return isinstance(value, np.ndarray | np.generic | int | float)


def _no_more(kwargs: Mapping[str, Any]) -> None:
    if kwargs:
        raise OptionError(
            f"unknown options: {', '.join(kwargs)}",
            fix="prepare takes target, granularity, precision and max_bytes",
        )


class IpucBackend(Backend):
    """Compile for an IPU, run on the emulator."""

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether this is the device we emulate on."""
        return device.split(":", maxsplit=1)[0] == "CPU"

    @classmethod
    def is_compatible(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> bool:
        """Whether every operator of the model has a lowering and the device is ours."""
        del kwargs
        if not cls.supports_device(device):
            return False
        try:
            return not inspect_model(model, supported=supported).unsupported
        except IpucError:
            return False

    @classmethod
    def prepare(
        cls,
        model: onnx.ModelProto,
        device: str = "CPU",
        *,
        target: Target | str = DEFAULT_TARGET,
        granularity: Granularity = "tile",
        precision: str = "float32",
        max_bytes: int = DEFAULT_MAX_BYTES,
        **kwargs: Any,
    ) -> IpucRep:
        """Take a model; it is compiled when its inputs arrive.

        Args:
            model: with its weights inside.
            device: "CPU", which emulates.
            target: a machine, or its name with overrides.
            granularity: `tile`, `worker` or `fine`.
            precision: number formats of the layers, as `ipuc compile --precision` takes them.
            max_bytes: the most that the model's constants may take.
            **kwargs: none else is taken.

        Raises:
            OptionError: an unknown device, target or option.
        """
        _no_more(kwargs)
        if not cls.supports_device(device):
            raise OptionError(f'no device is called "{device}"', fix='use "CPU"')
        machine = parse_target(target) if isinstance(target, str) else target
        return IpucRep(model, machine, granularity, max_bytes, precision)

    @classmethod
    def run_model(
        cls, model: onnx.ModelProto, inputs: Any, device: str = "CPU", **kwargs: Any
    ) -> tuple[Any, ...]:
        """Prepare a model and run it once; see `prepare` and `IpucRep.run`."""
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def run_node(
        cls,
        node: onnx.NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[Any, tuple[int, ...]]] | None = None,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """Run one node.

        Args:
            node: of standard ONNX.
            inputs: an array for each input that is present, in order.
            device: "CPU".
            outputs_info: element type and shape of each output; not needed.
            **kwargs: `opset_version`, and what `prepare` takes.

        Raises:
            OptionError: a wrong number of inputs.
            IpucError: the node cannot be compiled for these inputs.
        """
        del outputs_info
        opset = int(kwargs.pop("opset_version", onnx.defs.onnx_opset_version()))
        names = list(dict.fromkeys(name for name in node.input if name))
        given = [inputs] if isinstance(inputs, np.ndarray) else list(inputs)
        if len(given) != len(names):
            raise OptionError(
                f"{len(given)} arrays are given, the node has {len(names)} inputs",
                fix=f"give {', '.join(names)}",
            )
        model = _one_node(node, dict(zip(names, map(np.asarray, given), strict=True)), opset)
        return cls.run_model(model, given, device, **kwargs)


def _one_node(node: onnx.NodeProto, arrays: Mapping[str, Array], opset: int) -> onnx.ModelProto:
    """Put a node into a model whose input types are those of the arrays."""
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for name, a in arrays.items()
    ]
    versions = [helper.make_opsetid("", opset)]
    schema = schema_of(node.op_type, opset, node.domain)
    kinds: Mapping[str, onnx.TypeProto] = {}
    if schema is not None:
        try:
            kinds = shape_inference.infer_node_outputs(
                schema,
                node,
                {one.name: one.type for one in inputs},
                {name: onnx.numpy_helper.from_array(a, name) for name, a in arrays.items()},
                opset_imports=versions,
            )
        except (shape_inference.InferenceError, onnx.checker.ValidationError) as error:
            raise ShapeError(
                f"the inputs do not fit the operator: {error}", where=f"{node.op_type} node"
            ) from error
    # ONNX's checker wants a type on every output; where inference finds none, any will do.
    anything = helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, None)
    outputs = [
        onnx.ValueInfoProto(name=name, type=kinds.get(name, anything))
        for name in node.output
        if name
    ]
    graph = helper.make_graph([node], "node", inputs, outputs)
    return helper.make_model(graph, opset_imports=versions)


is_compatible = IpucBackend.is_compatible
prepare = IpucBackend.prepare
run_model = IpucBackend.run_model
run_node = IpucBackend.run_node
supports_device = IpucBackend.supports_device
