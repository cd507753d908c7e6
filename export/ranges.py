"""Calibration: between which values every tensor of an ONNX graph lies, over images of the domain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgemeta.errors import OptionError

Ranges = dict[str, tuple[float, float]]
# Images at a time: all inner tensors of so many are held at once.
BATCH = 8
# Of the histograms that percentiles are read from.
BINS = 2048


def value_ranges(model: bytes, images: NDArray[np.uint8], *, percentile: float = 100.0) -> Ranges:
    """The least and largest value of each float tensor by its ONNX name, inputs and outputs of nodes alike.

    model: a float32 graph that takes `images`, uint8 (N, H, W, 3). percentile: 100 for the true minimum and maximum;
    99.99 leaves out 0.005 % of the values at either end. Raises OptionError, MissingDependencyError.
    """
    if len(images) < 2:
        raise OptionError(
            f"int8 is calibrated on images of the domain: {len(images)} is too few, some hundred are good"
        )
    if not 50.0 < percentile <= 100.0:
        raise OptionError(f"percentile: above 50 and at most 100, not {percentile}")
    session, names = _session_with_all_outputs(model)
    ranges: Ranges = {}
    for name, values in _all_values(session, names, images):
        least, most = ranges.get(name, (np.inf, -np.inf))
        ranges[name] = (min(least, float(values.min())), max(most, float(values.max())))
    if bad := [name for name, pair in ranges.items() if not np.isfinite(pair).all()]:
        raise OptionError(f"the graph gives infinities or NaN on these images, first at {bad[0]!r}")
    return ranges if percentile == 100.0 else _clipped(session, names, images, ranges, percentile)


def _clipped(session: Any, names: list[str], images: NDArray[np.uint8], ranges: Ranges, percentile: float) -> Ranges:
    counts = {name: np.zeros(BINS, dtype=np.int64) for name in ranges}
    for name, values in _all_values(session, names, images):
        counts[name] += np.histogram(values, BINS, ranges[name])[0]
    tail = (100.0 - percentile) / 200.0
    clipped = {}
    for name, (least, most) in ranges.items():
        share = np.cumsum(counts[name]) / counts[name].sum()
        edges = np.linspace(least, most, BINS + 1)
        # The last edge below which too little lies, the first above which too little does.
        low, high = edges[np.searchsorted(share, tail)], edges[np.searchsorted(share, 1.0 - tail) + 1]
        clipped[name] = (float(low), float(high))
    return clipped


def _session_with_all_outputs(model: bytes) -> tuple[Any, list[str]]:
    import onnx

    from edgemeta.runners.onnx import load_runtime

    graph = onnx.shape_inference.infer_shapes(onnx.load_from_string(model))
    outputs = {value.name for value in graph.graph.output}
    inner = [v for v in graph.graph.value_info if v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT]
    graph.graph.output.extend(value for value in inner if value.name not in outputs)
    runtime = load_runtime()
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    session = runtime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session, [value.name for value in (*inner, *graph.graph.output[: len(outputs)])]


def _all_values(session: Any, names: list[str], images: NDArray[np.uint8]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    feed = session.get_inputs()[0].name
    for start in range(0, len(images), BATCH):
        for name, values in zip(names, session.run(names, {feed: images[start : start + BATCH]}), strict=True):
            if values.size:
                yield name, values
