"""What a variant computes by its own definition, whatever this machine's fast kernels make of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgemeta.bundle import Variant
from edgemeta.runners.onnx import load_runtime


def simulate(variant: Variant, graph: bytes, inputs: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Inputs uint8 (N, H, W, 3) to embeddings float32 (N, D).

    ONNX with its optimisation off, so that quantised layers are computed in float32 between their roundings: the
    fused int8 kernels saturate on x86 machines without VNNI. TFLite as its runtime has it.
    """
    if variant.runtime == "tflite":
        from edgemeta.runners.litert import LiteRTRunner

        return LiteRTRunner(variant, graph).run(inputs)
    runtime = load_runtime()
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    found: NDArray[np.float32] = session.run([variant.output], {variant.input: inputs})[0]
    return found


def cosines(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """Of rows, (N,); 1 for rows that are equal, zeros too."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    same = (a == b).all(axis=1)  # two rows of zeros agree, though they have no direction
    found: NDArray[np.float64] = np.where(same, 1.0, (a * b).sum(axis=1) / np.where(lengths == 0.0, 1.0, lengths))
    return found


def worst_cosine(a: NDArray[Any], b: NDArray[Any]) -> float:
    """The smallest of `cosines`."""
    return float(cosines(a, b).min())
