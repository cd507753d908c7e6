"""ONNX, float32 and float16."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings

import torch
from torch import nn

from edgemeta.bundle import Variant
from edgemeta.errors import BundleError, MissingDependencyError

OPSET = 18
INPUT, OUTPUT = "pixels", "embedding"
FP32 = Variant(
    name="onnx-fp32",
    runtime="onnx",
    precision="fp32",
    member="graph/onnx-fp32.onnx",
    input=INPUT,
    output=OUTPUT,
)
FP16 = FP32._replace(name="onnx-fp16", precision="fp16", member="graph/onnx-fp16.onnx")


def to_onnx(module: nn.Module, height: int, width: int) -> bytes:
    """The graph of `module`, which takes uint8 (N, height, width, 3), with a dynamic N.

    Raises MissingDependencyError, BundleError when torch cannot export the module.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 (torch.onnx imports it; its own message does not say what to install)
    except ImportError as error:
        raise MissingDependencyError('export needs onnx and onnxscript: pip install "edgemeta[train]"') from error
    example = torch.zeros(2, height, width, 3, dtype=torch.uint8)
    program = _export(module.eval(), example)
    model = program.model_proto
    # Names of source files and modules: they would put paths of this machine into the bundle.
    model.doc_string = ""
    model.graph.doc_string = ""
    del model.metadata_props[:], model.graph.metadata_props[:], model.graph.value_info[:]
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in (*model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    for tensor in model.graph.initializer:
        del tensor.metadata_props[:]
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _export(module: nn.Module, example: torch.Tensor) -> torch.onnx.ONNXProgram:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        # The exporter prints its steps whatever `verbose` says.
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module,
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                verbose=False,
            )
    except Exception as error:
        raise BundleError(f"torch could not export this module to ONNX: {error}") from error
    assert program is not None
    return program


def to_half(graph: bytes) -> bytes:
    """The float32 `graph` with float16 inside; what goes in and comes out stays as it is."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of weights that float16 rounds to zero
        model = convert_float_to_float16(onnx.load_from_string(graph), keep_io_types=True)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))
