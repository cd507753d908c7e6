"""The TFLite file: a list of operators over named tensors, as a flatbuffer.

The schema is Google's own, which ai-edge-litert carries.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgemeta.errors import MissingDependencyError

# Runtimes read weights in place, with vector instructions.
ALIGNMENT = 16
# What the schema calls the options of an operator, of those that have any.
OPTIONS = {
    "ADD": "AddOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "CONCATENATION": "ConcatenationOptions",
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "DIV": "DivOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "LEAKY_RELU": "LeakyReluOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "MUL": "MulOptions",
    "SOFTMAX": "SoftmaxOptions",
    "SUB": "SubOptions",
    "SUM": "ReducerOptions",
}
TYPES = {"float32": "FLOAT32", "float16": "FLOAT16", "int32": "INT32", "uint8": "UINT8", "int8": "INT8"}
# Versions above 1 by operator and kind of input, as TensorFlow's op_version.cc has them, so that a runtime which is
# too old refuses the file rather than runs it wrong.
VERSIONS = {
    ("ADD", "int8"): 2,
    ("AVERAGE_POOL_2D", "int8"): 2,
    ("CONCATENATION", "int8"): 2,
    ("CONV_2D", "int8"): 3,
    ("DEPTHWISE_CONV_2D", "float32"): 2,
    ("DEPTHWISE_CONV_2D", "int8"): 3,
    ("DEQUANTIZE", "float16"): 3,
    ("DEQUANTIZE", "int8"): 2,
    ("FULLY_CONNECTED", "float32"): 5,  # keepNumDims
    ("FULLY_CONNECTED", "int8"): 5,
    ("LEAKY_RELU", "int8"): 2,
    ("LOGISTIC", "int8"): 2,
    ("MAX_POOL_2D", "int8"): 2,
    ("MEAN", "int8"): 2,
    ("MUL", "int8"): 2,
    ("PAD", "int8"): 2,
    ("PADV2", "int8"): 2,
    ("QUANTIZE", "int8"): 2,
    ("QUANTIZE", "uint8"): 2,
    ("RELU", "int8"): 2,
    ("RELU6", "int8"): 2,
    ("SUB", "int8"): 2,
    ("TRANSPOSE", "int8"): 2,
}


@dataclass(frozen=True)
class Quantisation:
    """value = scale * (stored - zero_point). axis: that of one scale each, None for one in all."""

    scale: NDArray[np.float32]
    zero_point: int = 0
    axis: int | None = None


@dataclass
class Tensor:
    """shape: -1 for the batch. data: of constants. origin: the ONNX tensor with the same values.

    bounds: between which values always lie, where that is known.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    data: NDArray[Any] | None = None
    quantisation: Quantisation | None = None
    origin: str = ""
    bounds: tuple[float, float] | None = None


@dataclass
class Operator:
    """inputs, output: names of tensors. options: by the schema's names. source: the node it was made from."""

    code: str
    inputs: list[str]
    output: str
    options: dict[str, Any] = field(default_factory=dict)
    source: str = ""


@dataclass
class Program:
    """Operators in the order in which they run."""

    input: str
    output: str
    tensors: dict[str, Tensor] = field(default_factory=dict)
    operators: list[Operator] = field(default_factory=list)

    def add(self, tensor: Tensor) -> str:
        """Adds it, under another name where its own is taken; returns the name."""
        name, number = tensor.name, 1
        while tensor.name in self.tensors:
            tensor.name, number = f"{name}_{number}", number + 1
        self.tensors[tensor.name] = tensor
        return tensor.name

    def constant(self, name: str, data: NDArray[Any]) -> str:
        return self.add(Tensor(name, data.shape, data.dtype.name, np.ascontiguousarray(data)))

    def readers(self, name: str) -> list[Operator]:
        return [operator for operator in self.operators if name in operator.inputs]


def load_schema() -> Any:
    """The module with the schema's classes. Raises MissingDependencyError with the command that installs it."""
    try:
        import flatbuffers  # noqa: F401 (the schema uses it; its own message does not say what to install)
        from ai_edge_litert import schema_py_generated
    except ImportError as error:
        raise MissingDependencyError(
            "writing TFLite needs ai-edge-litert and flatbuffers: pip install ai-edge-litert flatbuffers"
        ) from error
    return schema_py_generated


def aligned_buffer(schema: Any, content: bytes) -> Any:
    """A BufferT of these bytes, aligned: the schema's own Pack knows nothing of alignment."""

    class Aligned(schema.BufferT):  # type: ignore[misc]
        def Pack(self, builder: Any) -> Any:
            builder.StartVector(1, len(content), ALIGNMENT)
            builder.head -= len(content)
            builder.Bytes[builder.head : builder.head + len(content)] = content
            vector = builder.EndVector()
            schema.BufferStart(builder)
            schema.BufferAddData(builder, vector)
            return schema.BufferEnd(builder)

    return Aligned(content)


def to_bytes(program: Program) -> bytes:
    """The flatbuffer. Tensors that no operator uses are left out. Raises MissingDependencyError."""
    return _Writer(program).bytes()


class _Writer:
    def __init__(self, program: Program) -> None:
        self.schema, self.program = load_schema(), program
        self.buffers: list[Any] = [self.schema.BufferT()]  # the first must be empty: it stands for "no data"
        self.codes: dict[tuple[str, int], int] = {}
        self.zero_points: dict[tuple[int, int], int] = {}
        used = dict.fromkeys([program.input])
        for operator in program.operators:
            used.update(dict.fromkeys([*operator.inputs, operator.output]))
        self.places = {name: place for place, name in enumerate(used)}

    def bytes(self) -> bytes:
        import flatbuffers

        graph, model = self.schema.SubGraphT(), self.schema.ModelT()
        graph.name = "main"
        graph.tensors = [self.tensor(self.program.tensors[name]) for name in self.places]
        graph.inputs, graph.outputs = [self.places[self.program.input]], [self.places[self.program.output]]
        graph.operators = [self.operator(operator) for operator in self.program.operators]
        model.version, model.description = 3, "edgemeta"
        model.operatorCodes = [self.code(*key) for key in self.codes]
        model.subgraphs, model.buffers = [graph], self.buffers
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    def tensor(self, tensor: Tensor) -> Any:
        made = self.schema.TensorT()
        made.name, made.type = tensor.name, getattr(self.schema.TensorType, TYPES[tensor.dtype])
        made.shape = [1 if size < 0 else size for size in tensor.shape]
        if -1 in tensor.shape:
            made.shapeSignature = list(tensor.shape)
        made.hasRank = True
        if tensor.data is not None:
            made.buffer = len(self.buffers)
            self.buffers.append(self.buffer(tensor.data))
        if tensor.quantisation is not None:
            made.quantization = self.parameters(tensor.quantisation)
        return made

    def buffer(self, data: NDArray[Any]) -> Any:
        return aligned_buffer(self.schema, data.astype(data.dtype.newbyteorder("<")).tobytes())

    def parameters(self, quantisation: Quantisation) -> Any:
        """A QuantizationParametersT. Every scale of a channel asks for a zero point of eight bytes: one list of them
        serves all tensors of its length, or a small network would grow by a tenth.
        """
        schema, shared = self.schema, self.zero_points
        zeros = (len(quantisation.scale), quantisation.zero_point)

        class Shared(schema.QuantizationParametersT):  # type: ignore[misc, name-defined]
            def Pack(self, builder: Any) -> Any:
                scale = builder.CreateNumpyVector(quantisation.scale.astype("<f4"))
                if zeros not in shared:
                    shared[zeros] = builder.CreateNumpyVector(np.full(zeros[0], zeros[1], dtype="<i8"))
                schema.QuantizationParametersStart(builder)
                schema.QuantizationParametersAddScale(builder, scale)
                schema.QuantizationParametersAddZeroPoint(builder, shared[zeros])
                schema.QuantizationParametersAddQuantizedDimension(builder, quantisation.axis or 0)
                return schema.QuantizationParametersEnd(builder)

        return Shared()

    def operator(self, operator: Operator) -> Any:
        made = self.schema.OperatorT()
        tensors = [self.program.tensors[name] for name in operator.inputs]
        # The kind that counts is that of the data, not of constants.
        kind = next((tensor.dtype for tensor in tensors if tensor.data is None), tensors[0].dtype)
        key = (operator.code, VERSIONS.get((operator.code, kind), 1))
        made.opcodeIndex = self.codes.setdefault(key, len(self.codes))
        made.inputs = [self.places[name] for name in operator.inputs]
        made.outputs = [self.places[operator.output]]
        if operator.code in OPTIONS:
            name = OPTIONS[operator.code]
            made.builtinOptionsType = getattr(self.schema.BuiltinOptions, name)
            made.builtinOptions = getattr(self.schema, name + "T")()
            for option, value in operator.options.items():
                setattr(made.builtinOptions, option, value)
        return made

    def code(self, name: str, version: int) -> Any:
        made = self.schema.OperatorCodeT()
        made.builtinCode = getattr(self.schema.BuiltinOperator, name)
        # Where runtimes of before 2020 look; 127 says "see builtinCode".
        made.deprecatedBuiltinCode = min(made.builtinCode, 127)
        made.version = version
        return made
