"""TFLite, float32 and float16, from the float32 ONNX graph that `onnx.py` writes."""

from __future__ import annotations

import numpy as np

from edgemeta.bundle import Variant

from .tflite_file import Operator, Program, to_bytes
from .tflite_lowering import INPUT, OUTPUT, lower
from .tflite_operators import ACTIVATIONS


def variant(precision: str) -> Variant:
    """What a bundle says of the graph of this precision: fp32, fp16 or int8."""
    return Variant(
        name=f"tflite-{precision}",
        runtime="tflite",
        precision=precision,
        member=f"graph/tflite-{precision}.tflite",
        input=INPUT,
        output=OUTPUT,
    )


FP32, FP16 = variant("fp32"), variant("fp16")
LARGEST_HALF = 65504.0


def to_tflite(model: bytes) -> bytes:
    """The float32 graph. Raises BundleError for an operator that is not known here, MissingDependencyError."""
    return to_bytes(convert(model))


def to_tflite_fp16(model: bytes) -> bytes:
    """As `to_tflite`, with the weights as float16; what goes in, out and between stays float32."""
    program = convert(model)
    _halve(program)
    return to_bytes(program)


def convert(model: bytes) -> Program:
    """The ONNX graph as TFLite operators, float32, activations inside what they follow."""
    program = lower(model)
    _fuse_activations(program)
    return program


def _fuse_activations(program: Program) -> None:
    makers = {operator.output: operator for operator in program.operators}
    for operator in list(program.operators):
        maker = makers.get(operator.inputs[0])
        if operator.code not in ACTIVATIONS or maker is None or maker.output == program.output:
            continue
        if maker.options.get("fusedActivationFunction") == 0 and len(program.readers(maker.output)) == 1:
            maker.options["fusedActivationFunction"] = ACTIVATIONS[operator.code]
            maker.output = operator.output
            makers[operator.output] = maker
            program.operators.remove(operator)


def _halve(program: Program) -> None:
    """Weights as float16, each with a DEQUANTIZE, which runtimes do once. Biases are few and stay as they are."""
    widened = []
    for operator in program.operators:
        for name in operator.inputs:
            tensor = program.tensors[name]
            if tensor.data is None or tensor.dtype != "float32" or tensor.data.ndim < 2:
                continue
            if np.abs(tensor.data).max() > LARGEST_HALF:
                continue
            half = program.constant(f"{name}_fp16", tensor.data.astype(np.float16))
            tensor.data = None
            widened.append(Operator("DEQUANTIZE", [half], name))
    program.operators[:0] = widened
