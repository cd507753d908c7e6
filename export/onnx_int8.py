"""ONNX, int8: static quantisation with QDQ pairs, per channel, by ONNX Runtime's own tool.

Activations and weights are unsigned: ONNX Runtime's fused kernels saturate with signed weights on x86 machines without
VNNI. Ranges are the true minimum and maximum over the calibration images. What goes in stays uint8 and what comes out
float32.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgemeta.errors import MissingDependencyError, OptionError

from .onnx import FP32, INPUT

INT8 = FP32._replace(name="onnx-int8", precision="int8", member="graph/onnx-int8.onnx")
BATCH = 16
# Fewer images say nothing of how large the numbers inside become.
LEAST_IMAGES = 8
QUANTISED = ("Conv", "Gemm", "MatMul", "Add", "Mul", "MaxPool", "AveragePool", "GlobalAveragePool", "Concat", "Relu")


def check_calibration(images: NDArray[np.uint8]) -> None:
    """Raises OptionError for too few images, or for one that is repeated."""
    different = len(np.unique(images.reshape(len(images), -1), axis=0)) if len(images) else 0
    if different < LEAST_IMAGES:
        raise OptionError(
            f"int8 needs at least {LEAST_IMAGES} different images to calibrate with, better 100 of what the device "
            f"will see; these are {different}"
        )


def to_int8(graph: bytes, images: NDArray[np.uint8], leave: Sequence[str] = ()) -> bytes:
    """The float32 `graph` in int8, calibrated on fitted images uint8 (N, H, W, 3); nodes named in `leave` stay float.

    Raises OptionError for too few images, MissingDependencyError.
    """
    try:
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise MissingDependencyError('int8 needs onnx and onnxruntime: pip install "edgemeta[train]"') from error
    check_calibration(images)
    logging.getLogger().setLevel(logging.ERROR)  # it warns of a preparation that was done
    with tempfile.TemporaryDirectory() as folder:
        plain, ready, done = (Path(folder) / name for name in ("plain.onnx", "ready.onnx", "done.onnx"))
        plain.write_bytes(graph)
        quant_pre_process(str(plain), str(ready), skip_symbolic_shape=True)
        quantize_static(
            str(ready),
            str(done),
            _Images(images),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTISED),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QUInt8,
            nodes_to_exclude=[*leave, *_before_first_conv(graph)],
        )
        return _clean(done.read_bytes())


class _Images:
    """What quantize_static reads calibration images from."""

    def __init__(self, images: NDArray[np.uint8]) -> None:
        self._batches: Iterator[NDArray[np.uint8]] = iter(np.array_split(images, -(-len(images) // BATCH)))

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}

    def set_range(self, start_index: int, end_index: int) -> None:
        """Part of the interface; only asked for with ranges that are merged, which these are not."""


def _before_first_conv(graph: bytes) -> list[str]:
    """Scaling and luma, which take the sensor's own 8 bits: nothing is won by rounding them again."""
    import onnx

    names: list[str] = []
    for node in onnx.load_from_string(graph).graph.node:
        if node.op_type in ("Conv", "Gemm"):
            break
        names.append(node.name)
    return names


def _clean(graph: bytes) -> bytes:
    """Without the names of tools and sources and unused domains, in bytes that follow from the content alone."""
    import onnx

    model = onnx.load_from_string(graph)
    model.producer_name, model.producer_version = "", ""
    used = {node.domain for node in model.graph.node} | {""}
    for unused in [opset for opset in model.opset_import if opset.domain not in used]:
        model.opset_import.remove(unused)
    del model.metadata_props[:], model.graph.metadata_props[:], model.graph.value_info[:]
    return bytes(model.SerializeToString(deterministic=True))
