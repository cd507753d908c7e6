"""The graph of a bundle cut from a TFLite file.

Its operators stay as they are, versions and all; those before and behind them are added, and what the tensor does not
need is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgemeta.errors import OptionError
from edgemeta.terminal import printable

from .tflite_file import VERSIONS, aligned_buffer
from .wrap import INPUT, OUTPUT, ModelInput
from .wrap_scaling import Affine

LEVELS = {"UINT8": (0, 255), "INT8": (-128, 127)}


class Steps(NamedTuple):
    """The quantisation of a tensor: value = scale * (stored - zero)."""

    scale: float
    zero: int


class Cut:
    """The file's model with one output, and no more than that needs; then with operators before and behind."""

    def __init__(self, schema: Any, model: Any, place: int, given: ModelInput, *, many: bool) -> None:
        """model: which is changed. place: of the tensor that is cut at. many: take any number of images, where the file
        says that it can. Raises OptionError."""
        self.schema, self.model, self.input = schema, model, given
        self.codes, self.types = names_of(schema.BuiltinOperator), names_of(schema.TensorType)
        self.graph = model.subgraphs[0]
        self.graph.operators = needed(self.graph, [place])
        self.graph.outputs = [place]
        self._refuse_what_cannot_be()
        self._drop_unused()
        # They speak of inputs and outputs that are no longer these, and of who converted the model.
        model.signatureDefs = model.metadata = model.metadataBuffer = None
        model.description = "edgemeta"
        first = self.graph.tensors[self.graph.inputs[0]]
        self.many = many and first.shapeSignature is not None and listed(first.shapeSignature)[0] == -1
        if self.many:
            self._open_reshapes()
        else:
            first.shapeSignature = None

    def _refuse_what_cannot_be(self) -> None:
        codes = {code_of(self.codes, self.model, operator) for operator in self.graph.operators}
        if custom := sorted(codes - set(self.codes.values())):
            names = ", ".join(map(printable, custom))
            raise OptionError(f"the model needs operators that are not TFLite's own ({names}); cut it before them")
        used = {place for o in self.graph.operators for place in listed(o.inputs) if place >= 0}
        if any(self.graph.tensors[place].isVariable for place in used):
            raise OptionError("the model remembers what it saw before (variable tensors); a bundle's graph must not")

    def _drop_unused(self) -> None:
        graph, model = self.graph, self.model
        used = {*listed(graph.inputs), *listed(graph.outputs)}
        for operator in graph.operators:
            for places in (operator.inputs, operator.outputs, operator.intermediates):
                used.update(place for place in listed(places) if place >= 0)
        new = {old: place for place, old in enumerate(sorted(used))}
        new[-1] = -1
        graph.tensors = [graph.tensors[old] for old in sorted(used)]
        graph.inputs, graph.outputs = ([new[place] for place in listed(p)] for p in (graph.inputs, graph.outputs))
        for operator in graph.operators:
            operator.inputs, operator.outputs = (
                [new[place] for place in listed(places)] for places in (operator.inputs, operator.outputs)
            )
            if operator.intermediates is not None:
                operator.intermediates = [new[place] for place in listed(operator.intermediates)]
        operators = [operator for each in model.subgraphs for operator in each.operators or ()]
        codes = sorted({operator.opcodeIndex for operator in operators})
        for operator in operators:
            operator.opcodeIndex = codes.index(operator.opcodeIndex)
        model.operatorCodes = [model.operatorCodes[code] for code in codes]
        buffers = sorted({0, *(tensor.buffer for each in model.subgraphs for tensor in each.tensors)})
        for each in model.subgraphs:
            for tensor in each.tensors:
                tensor.buffer = buffers.index(tensor.buffer)
        model.buffers = [self._aligned(model.buffers[place].data) for place in buffers]

    def _open_reshapes(self) -> None:
        """A RESHAPE to [1, 256] was meant for one image, one to [-1, 256] is for any number."""
        for operator in self.graph.operators:
            if code_of(self.codes, self.model, operator) != "RESHAPE" or len(operator.inputs) < 2:
                continue
            place = self.graph.tensors[operator.inputs[1]].buffer
            data = self.model.buffers[place].data
            shape = np.frombuffer(b"" if data is None else bytes(data), "<i4").copy()
            if len(shape) > 1 and shape[0] == 1 and (shape > 0).all():
                shape[0] = -1
                self.model.buffers[place] = self._aligned(shape.tobytes())
            operator.builtinOptions, operator.builtinOptionsType = None, 0  # the shape once more

    def weights(self) -> list[Any]:
        """Constant tensors with more than one axis."""
        return [
            tensor
            for tensor in self.graph.tensors
            if self.model.buffers[tensor.buffer].data is not None and len(listed(tensor.shape)) > 1
        ]

    def behind(self, size: int) -> None:
        """float32 (N, size), called OUTPUT."""
        place = self.graph.outputs[0]
        source = self.graph.tensors[place]
        kind = self.types[source.type]
        shape = self._constant("embedding_shape", np.array([-1, size], dtype=np.int32))
        flat = self._tensor(OUTPUT, kind, [size], source.quantization)
        self.graph.operators.append(self._operator("RESHAPE", kind, [place, shape], flat))
        if kind != "FLOAT32":
            self.graph.tensors[flat].name = "embedding_stored"
            made = self._tensor(OUTPUT, "FLOAT32", [size])
            self.graph.operators.append(self._operator("DEQUANTIZE", kind, [flat], made))
            flat = made
        self.graph.outputs = [flat]

    def before(self, front: Affine) -> None:
        """Takes uint8 (N, H, W, 3) RGB, called INPUT."""
        old = self.graph.inputs[0]
        given, i = self.graph.tensors[old], self.input
        kind, steps = self.types[given.type], steps_of(given)
        stored = _stored_as(front, kind, steps)
        if stored == 0 and kind == "UINT8" and i.layout == "NHWC":
            given.name = INPUT
            return
        pixels = self._tensor(INPUT, "UINT8", [i.height, i.width, 3])
        chain = _Chain(self, pixels, "UINT8", [i.height, i.width, 3])
        if stored == 0 and kind == "UINT8":
            self.graph.tensors[pixels].quantization = given.quantization
        elif stored == -128 and kind == "INT8" and steps is not None:
            self.graph.tensors[pixels].quantization = self._quantisation(Steps(steps.scale, steps.zero + 128))
            chain.add("QUANTIZE", kind, quantisation=given.quantization)
        else:
            self._scale(chain, front, given, kind, steps)
        if i.layout == "NCHW":
            axes = self._constant("channels_first", np.array([0, 3, 1, 2], dtype=np.int32))
            shape = [i.channels, i.height, i.width]
            chain.add("TRANSPOSE", kind, [axes], shape, "TransposeOptions", quantisation=given.quantization)
        chain.end_in(old)
        self.graph.inputs = [pixels]
        self.graph.operators = [*chain.operators, *self.graph.operators]

    def _scale(self, chain: _Chain, front: Affine, given: Any, kind: str, steps: Steps | None) -> None:
        """In float32, and then as the model has it. Raises OptionError where that cannot hold it."""
        if steps is not None:
            _check_range(front, kind, steps)
        # A cast cuts off what is behind the point.
        offset = front.offset + (0.5 if kind == "UINT8" and steps is None else 0.0)
        chain.add("CAST", "FLOAT32")
        none = {"fusedActivationFunction": 0}
        if not front.mixes_none:
            weights = self._constant("scaling", front.matrix.T[:, None, None].astype(np.float32))
            bias = self._constant("offset", offset.astype(np.float32))
            shape = [*chain.shape[:2], front.matrix.shape[1]]
            valid = {"padding": 1, "strideW": 1, "strideH": 1, "dilationWFactor": 1, "dilationHFactor": 1}
            chain.add("CONV_2D", "FLOAT32", [weights, bias], shape, "Conv2DOptions", **valid, **none)
        else:
            if (front.factors != 1.0).any():
                factors = self._constant("scaling", front.factors.astype(np.float32))
                chain.add("MUL", "FLOAT32", [factors], None, "MulOptions", **none)
            if offset.any():
                constant = self._constant("offset", offset.astype(np.float32))
                chain.add("ADD", "FLOAT32", [constant], None, "AddOptions", **none)
        if steps is not None:
            chain.add("QUANTIZE", kind, quantisation=given.quantization)
        elif kind != "FLOAT32":
            chain.add("CAST", kind)

    # What operators are made of.

    def _tensor(self, name: str, kind: str, shape: list[int], quantisation: Any = None) -> int:
        """One for each image, of this shape; its place."""
        made = self.schema.TensorT()
        made.name, made.type, made.quantization = name, getattr(self.schema.TensorType, kind), quantisation
        made.shape, made.buffer, made.hasRank = [1, *shape], 0, True
        if self.many:
            made.shapeSignature = [-1, *shape]
        self.graph.tensors.append(made)
        return len(self.graph.tensors) - 1

    def _constant(self, name: str, data: NDArray[Any]) -> int:
        place = self._tensor(name, data.dtype.name.upper(), [])
        made = self.graph.tensors[place]
        made.shape, made.shapeSignature, made.buffer = list(data.shape), None, len(self.model.buffers)
        self.model.buffers.append(
            self._aligned(np.frombuffer(data.astype(data.dtype.newbyteorder("<")).tobytes(), "u1"))
        )
        return place

    def _operator(self, code: str, kind: str, inputs: list[int], output: int, options: str = "", **values: Any) -> Any:
        """kind: of the data that goes in."""
        made = self.schema.OperatorT()
        made.opcodeIndex = len(self.model.operatorCodes)
        made.inputs, made.outputs = inputs, [output]
        if options:
            made.builtinOptionsType = getattr(self.schema.BuiltinOptions, options)
            made.builtinOptions = getattr(self.schema, options + "T")()
            for option, value in values.items():
                setattr(made.builtinOptions, option, value)
        named = self.schema.OperatorCodeT()
        named.builtinCode = getattr(self.schema.BuiltinOperator, code)
        named.deprecatedBuiltinCode = min(named.builtinCode, 127)
        named.version = VERSIONS.get((code, kind.lower()), 1)
        self.model.operatorCodes.append(named)
        return made

    def _quantisation(self, steps: Steps) -> Any:
        made = self.schema.QuantizationParametersT()
        made.scale, made.zeroPoint = [steps.scale], [steps.zero]
        return made

    def _aligned(self, data: NDArray[Any] | bytes | None) -> Any:
        return self.schema.BufferT() if data is None else aligned_buffer(self.schema, bytes(data))

    def to_bytes(self) -> bytes:
        import flatbuffers

        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(self.model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())


class _Chain:
    """Operators one after another, each with one tensor that is computed."""

    def __init__(self, cut: Cut, first: int, kind: str, shape: list[int]) -> None:
        self.cut, self.last, self.kind, self.shape = cut, first, kind, shape
        self.operators: list[Any] = []

    def add(
        self,
        code: str,
        kind: str,
        constants: Sequence[int] = (),
        shape: list[int] | None = None,
        options: str = "",
        quantisation: Any = None,
        **values: Any,
    ) -> None:
        """kind, shape: of what it makes; the shape as before when None."""
        self.shape = self.shape if shape is None else shape
        made = self.cut._tensor(f"pixels_{code.lower()}", kind, self.shape, quantisation)
        self.operators.append(self.cut._operator(code, self.kind, [self.last, *constants], made, options, **values))
        self.last, self.kind = made, kind

    def end_in(self, tensor: int) -> None:
        """The last one gives this tensor instead of its own."""
        assert self.operators[-1].outputs == [len(self.cut.graph.tensors) - 1]
        self.cut.graph.tensors.pop()
        self.operators[-1].outputs = [tensor]


def steps_of(tensor: Any) -> Steps | None:
    """None for a tensor that is not quantised, or with steps of each channel's own."""
    quantisation = tensor.quantization
    scales = [] if quantisation is None else listed(quantisation.scale)
    if len(scales) != 1:
        return None
    zeros = listed(quantisation.zeroPoint)
    return Steps(float(scales[0]), int(zeros[0]) if zeros else 0)


def code_of(codes: dict[int, str], model: Any, operator: Any) -> str:
    """What an operator is called, which for one of nobody's standard is the file's own name."""
    code = model.operatorCodes[operator.opcodeIndex]
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    return text(code.customCode) if codes.get(number) == "CUSTOM" else codes.get(number, f"{number}")


def _stored_as(front: Affine, kind: str, steps: Steps | None) -> int | None:
    """What must be added to a pixel to make the integer that the model takes, or None when it takes more than that."""
    if kind not in LEVELS or not front.mixes_none:
        return None
    scale, zero = steps or Steps(1.0, 0)
    factors, offsets = front.factors / scale, front.offset / scale + zero
    # Half a step at the end of 256 would be another level.
    if np.abs(255.0 * (factors - 1.0)).max() > 0.25 or np.abs(offsets - np.rint(offsets[0])).max() > 0.25:
        return None
    return int(np.rint(offsets[0]))


def _check_range(front: Affine, kind: str, steps: Steps) -> None:
    """Pixels must not be far from what a quantised input can hold: it would cut them off."""
    ends = front(np.array([[[[0] * 3, [255] * 3]]], dtype=np.uint8))
    low, high = (steps.scale * (level - steps.zero) for level in LEVELS[kind])
    slack = 0.1 * (high - low)
    if ends.min() < low - slack or ends.max() > high + slack:
        raise OptionError(
            f"the model's input holds {low:.4g} to {high:.4g}, and --scale makes {ends.min():.4g} to {ends.max():.4g} "
            "of pixels: another scaling is meant, or this is no model of images"
        )


def needed(graph: Any, places: list[int]) -> list[Any]:
    """The operators that these tensors are computed by."""
    wanted, kept = set(places), []
    for operator in reversed(graph.operators):
        if wanted.intersection(listed(operator.outputs)):
            wanted.update(listed(operator.inputs))
            kept.append(operator)
    return kept[::-1]


def listed(values: Any) -> list[int]:
    return [] if values is None else [value.item() if isinstance(value, np.generic) else value for value in values]


def text(name: Any) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name or "")


def names_of(enumeration: Any) -> dict[int, str]:
    return {number: name for name, number in vars(enumeration).items() if isinstance(number, int)}
