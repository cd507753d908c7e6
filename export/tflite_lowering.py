"""An ONNX graph as TFLite operators, float32.

ONNX keeps images as (N, C, H, W), TFLite as (N, H, W, C). Here a tensor of the one stands for a tensor of the other
with its axes in some order, so that a Transpose costs nothing and most cancel; one is written only where an operator
needs another order, which is at the end, where a map is flattened to the embedding's coordinates.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgemeta.errors import BundleError
from edgemeta.terminal import printable

from .tflite_file import Operator, Program, Tensor
from .tflite_operators import OPERATORS

INPUT, OUTPUT = "pixels", "embedding"
DTYPES = {1: "float32", 2: "uint8"}  # by the numbers of ONNX


def lower(model: bytes) -> Program:
    """Raises BundleError for an operator that is not known here, or a graph that varies by more than its batch."""
    import onnx

    return Lowering(onnx.shape_inference.infer_shapes(onnx.load_from_string(model), data_prop=True)).run()


class Lowering:
    """One pass over the nodes of an ONNX graph.

    stored: for each ONNX tensor that is computed, the TFLite tensor that holds it, and in which order its axes are.
    """

    def __init__(self, model: Any) -> None:
        from onnx import numpy_helper

        self.graph = model.graph
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in self.graph.initializer}
        for node in self.graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
            elif node.op_type == "Identity" and node.input[0] in self.constants:  # torch's old exporter writes these
                self.constants[node.output[0]] = self.constants[node.input[0]]
        self.makers = {name: node for node in self.graph.node for name in node.output}
        inputs = [value for value in self.graph.input if value.name not in self.constants]
        if len(inputs) != 1 or len(self.graph.output) != 1:
            raise BundleError(f"TFLite: one input and one output, not {len(inputs)} and {len(self.graph.output)}")
        values = (*inputs, *self.graph.output, *self.graph.value_info)
        self.shapes = {value.name: _shape(value) for value in values}
        dtype, shape = DTYPES.get(inputs[0].type.tensor_type.elem_type), self.shapes[inputs[0].name]
        if dtype is None or shape is None:
            raise BundleError(f"TFLite: '{printable(inputs[0].name)}' must be uint8 or float32, of a known shape")
        self.program = Program(INPUT, OUTPUT)
        self.program.add(Tensor(INPUT, shape, dtype, origin=inputs[0].name))
        self.stored = {inputs[0].name: (INPUT, tuple(range(len(shape))))}

    def run(self) -> Program:
        needed = self._needed()
        for node in self.graph.node:
            if node.output[0] in self.constants or not needed.intersection(node.output):
                continue
            if node.op_type not in OPERATORS or node.domain not in ("", "ai.onnx"):
                raise self.refuse(node, "an operator that this converter lacks")
            OPERATORS[node.op_type](self, node)
        self._rename(self.plain(self.graph.output[0].name), OUTPUT)
        return self.program

    def _needed(self) -> set[str]:
        """The tensors that the output depends on through data; shapes are known without computing them."""
        needed: set[str] = set()
        pending = [self.graph.output[0].name]
        while pending:
            name = pending.pop()
            if name not in needed and name in self.makers:
                node = self.makers[name]
                pending += node.input[:1] if node.op_type in ("Reshape", "Expand") else node.input
            needed.add(name)
        return needed

    def _rename(self, name: str, new: str) -> None:
        if name == self.program.input:
            raise BundleError("TFLite: the graph gives back its input")
        if name == new:
            return
        if new in self.program.tensors:  # a tensor within happens to be called as the output must be
            self._rename(new, f"{new}_within")
        tensor = self.program.tensors.pop(name)
        tensor.name = new
        self.program.tensors[new] = tensor
        for operator in self.program.operators:
            operator.inputs = [new if other == name else other for other in operator.inputs]
            operator.output = new if operator.output == name else operator.output

    # What operators are made of.

    def attributes(self, node: Any) -> dict[str, Any]:
        from onnx import helper

        return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}

    def refuse(self, node: Any, complaint: str) -> BundleError:
        where = f"{node.op_type} '{node.name or node.output[0]}'"
        above = self._weights_above(node)
        if above:
            where += f", at or after the layer of '{above}'"
        return BundleError(f"TFLite cannot take {printable(where)}: {printable(complaint)}")

    def _weights_above(self, node: Any) -> str:
        """The name of the nearest weights at or above a node: it is that of a layer in the source."""
        pending, seen = deque([node]), set()
        while pending:
            node = pending.popleft()
            for name in node.input:
                if name in self.constants and self.constants[name].ndim >= 2:
                    return str(name)
                if name in self.makers and name not in seen:
                    seen.add(name)
                    pending.append(self.makers[name])
        return ""

    def shape(self, node: Any, name: str) -> tuple[int, ...]:
        """The ONNX shape of a tensor, -1 for the batch. Raises BundleError when more than the batch varies."""
        found = self.constants[name].shape if name in self.constants else self.shapes.get(name)
        if found is None or -1 in found[1:]:
            raise self.refuse(node, f"the shape of '{name}' varies by more than the batch, or is not known")
        return tuple(found)

    def constant(self, node: Any, index: int, default: Any = None) -> Any:
        """The constant at an input. Raises BundleError when it is computed, or missing without a default."""
        name = node.input[index] if index < len(node.input) else ""
        if name in self.constants:
            return self.constants[name]
        if name or default is None:
            raise self.refuse(node, f"its input {index} must be a constant")
        return default

    def ordered(self, name: str, order: Sequence[int]) -> str:
        """The TFLite tensor that holds an ONNX tensor with its axes in this order."""
        held, found = self.stored[name]
        if tuple(order) == found:
            return held
        tensor = self.program.tensors[held]
        moves = [found.index(axis) for axis in order]
        shape = tuple(tensor.shape[move] for move in moves)
        made = self.program.add(Tensor(f"{held}_transposed", shape, tensor.dtype, origin=tensor.origin))
        moved = self.program.constant(f"{held}_axes", np.array(moves, dtype=np.int32))
        self.program.operators.append(Operator("TRANSPOSE", [held, moved], made, source=made))
        return made

    def plain(self, name: str) -> str:
        """As `ordered`, in ONNX's own order; as it is where only axes of length 1 are elsewhere."""
        held, order = self.stored[name]
        shape = self.program.tensors[held].shape
        long = [axis for axis, size in zip(order, shape, strict=True) if size != 1]
        return held if long == sorted(long) else self.ordered(name, range(len(order)))

    def emit(
        self,
        node: Any,
        code: str,
        inputs: list[str],
        order: Sequence[int],
        options: dict[str, Any] | None = None,
        bounds: tuple[float, float] | None = None,
    ) -> None:
        """One operator that computes the node's output, whose axes it gives in this order."""
        name = node.output[0]
        shape = self.shape(node, name)
        made = self.program.add(Tensor(name, tuple(shape[axis] for axis in order), origin=name, bounds=bounds))
        self.program.operators.append(Operator(code, inputs, made, dict(options or {}), node.name or name))
        self.stored[name] = (made, tuple(order))

    def inner(
        self,
        node: Any,
        code: str,
        inputs: list[str],
        shape: Sequence[int],
        suffix: str,
        options: dict[str, Any] | None = None,
    ) -> str:
        """One operator on the way to the node's output; returns the tensor it makes."""
        made = self.program.add(Tensor(f"{node.output[0]}_{suffix}", tuple(shape)))
        source = node.name or node.output[0]
        self.program.operators.append(Operator(code, inputs, made, dict(options or {}), source))
        return made

    def fixed(self, node: Any, suffix: str, values: Any, dtype: type = np.float32) -> str:
        """A constant that the node brings along."""
        return self.program.constant(f"{node.output[0]}_{suffix}", np.asarray(values, dtype=dtype))


def _shape(value: Any) -> tuple[int, ...] | None:
    kind = value.type.tensor_type
    if not kind.HasField("shape"):
        return None
    return tuple(d.dim_value if d.HasField("dim_value") else -1 for d in kind.shape.dim)
