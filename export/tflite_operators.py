"""Each ONNX operator as TFLite operators. A new one is a function here and a line in the table at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .tflite_lowering import Lowering

SAME, VALID = 0, 1
NONE = {"fusedActivationFunction": 0}
ACTIVATIONS = {"RELU": 1, "RELU6": 3}
CHANNELS_LAST = (0, 2, 3, 1)
LARGEST = float(np.finfo(np.float32).max)


def _alias(low: Lowering, node: Any) -> None:
    low.stored[node.output[0]] = low.stored[node.input[0]]


def _cast(low: Lowering, node: Any) -> None:
    held, order = low.stored[node.input[0]]
    if low.attributes(node)["to"] != 1:
        raise low.refuse(node, "only casts to float32")
    if low.program.tensors[held].dtype == "float32":
        _alias(low, node)
    else:
        low.emit(node, "CAST", [held], order, bounds=(0.0, 255.0))


def _transpose(low: Lowering, node: Any) -> None:
    held, order = low.stored[node.input[0]]
    moves = list(low.attributes(node).get("perm", range(len(order))[::-1]))
    low.stored[node.output[0]] = (held, tuple(moves.index(axis) for axis in order))


def _expand(low: Lowering, node: Any) -> None:
    """Left to whoever reads it, where that broadcasts by itself."""
    same_rank = len(low.shape(node, node.output[0])) == len(low.stored[node.input[0]][1])
    readers = [other for other in low.graph.node if node.output[0] in other.input]
    if not same_rank or any(reader.op_type not in BINARY for reader in readers):
        raise low.refuse(node, "only where the next operator broadcasts")
    _alias(low, node)


def _reshape(low: Lowering, node: Any) -> None:
    """Flatten, Reshape, Squeeze, Unsqueeze."""
    shape = low.shape(node, node.output[0])
    if low.shapes[node.input[0]] == shape:
        _alias(low, node)
    else:
        wanted = low.fixed(node, "shape", shape, np.int32)
        low.emit(node, "RESHAPE", [low.plain(node.input[0]), wanted], range(len(shape)))


UNARY = {
    "Abs": "ABS",
    "HardSwish": "HARD_SWISH",
    "Neg": "NEG",
    "Relu": "RELU",
    "Sigmoid": "LOGISTIC",
    "Sqrt": "SQRT",
    "Tanh": "TANH",
}


def _unary(low: Lowering, node: Any) -> None:
    held, order = low.stored[node.input[0]]
    low.emit(node, UNARY[node.op_type], [held], order, bounds=(0.0, 1.0) if node.op_type == "Sigmoid" else None)


def _leaky(low: Lowering, node: Any) -> None:
    held, order = low.stored[node.input[0]]
    low.emit(node, "LEAKY_RELU", [held], order, {"alpha": low.attributes(node).get("alpha", 0.01)})


def _clip(low: Lowering, node: Any) -> None:
    held, order = low.stored[node.input[0]]
    least = float(low.constant(node, 1, np.float32(-LARGEST)))
    most = float(low.constant(node, 2, np.float32(LARGEST)))
    if least == 0.0 and (most == 6.0 or most >= LARGEST):
        low.emit(node, "RELU6" if most == 6.0 else "RELU", [held], order)
    elif most >= LARGEST:
        low.emit(node, "MAXIMUM", [held, low.fixed(node, "least", least)], order)
    else:
        if least > -LARGEST:
            shape = low.program.tensors[held].shape
            held = low.inner(node, "MAXIMUM", [held, low.fixed(node, "least", least)], shape, "above")
        low.emit(node, "MINIMUM", [held, low.fixed(node, "most", most)], order)


def _hard_sigmoid(low: Lowering, node: Any) -> None:
    """relu6(6 (alpha x + beta)) / 6."""
    held, order = low.stored[node.input[0]]
    shape = low.program.tensors[held].shape
    slope, shift = (6.0 * low.attributes(node).get(key, default) for key, default in (("alpha", 0.2), ("beta", 0.5)))
    if abs(slope - 1.0) > 1e-6:
        held = low.inner(node, "MUL", [held, low.fixed(node, "slope", slope)], shape, "sloped", NONE)
    relu6 = {"fusedActivationFunction": ACTIVATIONS["RELU6"]}
    held = low.inner(node, "ADD", [held, low.fixed(node, "shift", shift)], shape, "shifted", relu6)
    low.program.tensors[held].bounds = (0.0, 6.0)
    low.emit(node, "MUL", [held, low.fixed(node, "sixth", 1.0 / 6.0)], order, NONE, bounds=(0.0, 1.0))


BINARY = ("Add", "Div", "Mul", "Sub")


def _binary(low: Lowering, node: Any) -> None:
    rank = len(low.shape(node, node.output[0]))
    computed = [name for name in node.input if name not in low.constants]
    order = max((low.stored[name][1] for name in computed), key=len)
    if any(len(low.stored[name][1]) != rank for name in computed):
        raise low.refuse(node, "both sides must have as many axes as what comes out")
    names, code = [], node.op_type.upper()
    for place, name in enumerate(node.input):
        if name in low.constants:
            value = low.constants[name].astype(np.float64)
            if code == "DIV" and place == 1:  # runtimes multiply faster, in int8 too
                code, value = "MUL", 1.0 / value
            names.append(low.fixed(node, f"constant{place}", _broadcast(value, order)))
        else:
            names.append(low.ordered(name, order))
    low.emit(node, code, names, order, NONE, bounds=_bounds(low, code, names))


# What lies between bounds and is combined with a constant lies between these.
CORNERS = {"ADD": np.add, "MUL": np.multiply, "SUB": np.subtract}


def _bounds(low: Lowering, code: str, names: list[str]) -> tuple[float, float] | None:
    """Between which values a sum, difference or product always lies: scaled pixels keep all their 256 steps."""
    ends = []
    for tensor in (low.program.tensors[name] for name in names):
        bounds = (tensor.data.min(), tensor.data.max()) if tensor.data is not None else tensor.bounds
        if bounds is None or code not in CORNERS:
            return None
        ends.append(bounds)
    corners = [CORNERS[code](a, b) for a in ends[0] for b in ends[1]]
    return float(min(corners)), float(max(corners))


def _broadcast(value: NDArray[Any], order: Sequence[int]) -> NDArray[Any]:
    """A constant with its axes in this order, without those of length 1 in front."""
    value = value.reshape((1,) * (len(order) - value.ndim) + value.shape).transpose(order)
    while value.ndim and value.shape[0] == 1:
        value = value[0]
    return value


def _pow(low: Lowering, node: Any) -> None:
    held, order = low.stored[node.input[0]]
    exponent = float(low.constant(node, 1))
    if exponent == 2.0:
        low.emit(node, "MUL", [held, held], order, NONE)
    elif exponent == 0.5:
        low.emit(node, "SQRT", [held], order)
    else:
        low.emit(node, "POW", [held, low.fixed(node, "exponent", exponent)], order)


def _batch_norm(low: Lowering, node: Any) -> None:
    """Those that had no convolution to be folded into."""
    held, order = low.stored[node.input[0]]
    scale, shift, mean, variance = (low.constant(node, i).astype(np.float64) for i in range(1, 5))
    scale = scale / np.sqrt(variance + low.attributes(node).get("epsilon", 1e-5))
    factor, term = (
        low.fixed(node, name, _broadcast(value.reshape(-1, *(1,) * (len(order) - 2)), order))
        for name, value in (("factor", scale), ("term", shift - mean * scale))
    )
    held = low.inner(node, "MUL", [held, factor], low.program.tensors[held].shape, "scaled", NONE)
    low.emit(node, "ADD", [held, term], order, NONE)


def _pad(low: Lowering, node: Any) -> None:
    held, order = low.stored[node.input[0]]
    of_some_axes = len(node.input) > 3 and node.input[3]
    if low.attributes(node).get("mode", b"constant") != b"constant" or of_some_axes:
        raise low.refuse(node, "only padding with zeros, of every axis")
    pads = np.asarray(low.constant(node, 1)).reshape(2, -1).T[list(order)]
    if (pads < 0).any() or float(low.constant(node, 2, np.float32(0))) != 0.0:
        raise low.refuse(node, "only padding with zeros, of every axis")
    low.emit(node, "PAD", [held, low.fixed(node, "pads", pads, np.int32)], order)


def _windows(
    low: Lowering, node: Any, kernel: Sequence[int], *, same: bool = True, lowest: bool = False
) -> tuple[str, dict[str, int]]:
    """What slides over a map: (the map, padded where it must be, padding and strides as options).

    same: whether TFLite's SAME will do, which pads as much on both sides or one more at the end. lowest: pad with the
    lowest number rather than with zeros.
    """
    attributes = low.attributes(node)
    if len(kernel) != 2:
        raise low.refuse(node, f"2 spatial dimensions, not {len(kernel)}")
    strides, dilations = (np.array(attributes.get(key, (1, 1))) for key in ("strides", "dilations"))
    size, found = (np.array(low.shape(node, name)[2:]) for name in (node.input[0], node.output[0]))
    reach = (np.array(kernel) - 1) * dilations + 1
    total = np.maximum((-(-size // strides) - 1) * strides + reach - size, 0)  # what SAME pads
    before = _before(low, node, attributes, total)
    # As far as the last window reaches, which may be less than what is given.
    after = np.maximum((found - 1) * strides + reach - size - before, 0)
    options = {"padding": VALID, "strideH": int(strides[0]), "strideW": int(strides[1])}
    held = low.ordered(node.input[0], CHANNELS_LAST)
    if not before.any() and not after.any():
        return held, options
    if same and (before == total // 2).all() and (before + after == total).all():
        return held, {**options, "padding": SAME}
    batch, *_, channels = low.program.tensors[held].shape
    shape = (batch, *(int(n) for n in size + before + after), channels)
    inputs = [held, low.fixed(node, "pads", [(0, 0), *zip(before, after, strict=True), (0, 0)], np.int32)]
    if not lowest or any(o.output == held and o.code in ACTIVATIONS for o in low.program.operators):
        return low.inner(node, "PAD", inputs, shape, "padded"), options
    return low.inner(node, "PADV2", [*inputs, low.fixed(node, "lowest", -LARGEST)], shape, "padded"), options


def _before(low: Lowering, node: Any, attributes: dict[str, Any], total: NDArray[Any]) -> NDArray[Any]:
    """How many rows and columns are padded before a map; `total` is how many SAME pads on both sides."""
    automatic = attributes.get("auto_pad", b"NOTSET")
    if automatic == b"NOTSET":
        return np.array(attributes.get("pads", (0, 0, 0, 0))[:2])
    if automatic not in (b"VALID", b"SAME_UPPER", b"SAME_LOWER"):
        raise low.refuse(node, f"padding {automatic!r}")
    found: NDArray[Any] = {b"VALID": 0 * total, b"SAME_UPPER": total // 2, b"SAME_LOWER": total - total // 2}[automatic]
    return found


def _conv(low: Lowering, node: Any) -> None:
    weights = low.constant(node, 1)
    held, options = _windows(low, node, weights.shape[2:])
    outputs, inputs = len(weights), low.shape(node, node.input[0])[1]
    attributes = low.attributes(node)
    bias = low.program.constant(f"{node.input[1]}_bias", low.constant(node, 2, np.zeros(outputs, np.float32)))
    options["dilationHFactor"], options["dilationWFactor"] = attributes.get("dilations", (1, 1))
    if attributes.get("group", 1) == inputs > 1:
        code, weights = "DEPTHWISE_CONV_2D", weights.transpose(1, 2, 3, 0)
        options["depthMultiplier"] = outputs // inputs
    else:  # fewer channels in the weights than in the map mean groups
        code, weights = "CONV_2D", weights.transpose(0, 2, 3, 1)
    names = [held, low.program.constant(node.input[1], weights), bias]
    low.emit(node, code, names, CHANNELS_LAST, {**options, **NONE})


def _pool(low: Lowering, node: Any) -> None:
    attributes = low.attributes(node)
    kernel, largest = attributes["kernel_shape"], node.op_type == "MaxPool"
    counted = bool(attributes.get("count_include_pad", 0))  # TFLite's SAME leaves padding out of the average
    if any(d != 1 for d in attributes.get("dilations", (1,))):
        raise low.refuse(node, "no pooling with dilation")
    held, options = _windows(low, node, kernel, same=largest or not counted, lowest=largest)
    padded = held != low.ordered(node.input[0], CHANNELS_LAST)
    if padded and not largest and (not counted or attributes.get("ceil_mode", 0)):
        raise low.refuse(node, "no average that leaves such padding out")
    options |= {"filterHeight": kernel[0], "filterWidth": kernel[1]}
    low.emit(node, "MAX_POOL_2D" if largest else "AVERAGE_POOL_2D", [held], CHANNELS_LAST, {**options, **NONE})


def _reduce(low: Lowering, node: Any) -> None:
    """Means, sums and lengths over axes."""
    held, order = low.stored[node.input[0]]
    attributes = low.attributes(node)
    keep = {"keepDims": bool(attributes.get("keepdims", 1))}
    if node.op_type == "GlobalAveragePool":
        axes = set(range(2, len(order)))
    else:
        given = attributes.get("axes") or low.constant(node, 1, np.arange(len(order)))
        axes = {int(axis) % len(order) for axis in given}
    places = low.fixed(node, "axes", sorted(order.index(axis) for axis in axes), np.int32)
    left = [axis for axis in order if axis not in axes]
    new = order if keep["keepDims"] else [sorted(left).index(axis) for axis in left]
    if node.op_type == "ReduceL2":
        squares = low.inner(node, "MUL", [held, held], low.program.tensors[held].shape, "squares", NONE)
        shape = low.shape(node, node.output[0])
        total = low.inner(node, "SUM", [squares, places], [shape[axis] for axis in new], "sum", keep)
        low.emit(node, "SQRT", [total], new)
    else:
        low.emit(node, "SUM" if node.op_type == "ReduceSum" else "MEAN", [held, places], new, keep)


def _linear(low: Lowering, node: Any) -> None:
    """Gemm and MatMul with constant weights. Over channels in the last of four axes it is a 1 x 1 convolution."""
    attributes = low.attributes(node)
    weights = low.constant(node, 1)
    if weights.ndim != 2 or attributes.get("transA", 0):
        raise low.refuse(node, "only products with a constant matrix on the right")
    weights = attributes.get("alpha", 1.0) * (weights if attributes.get("transB", 0) else weights.T)
    added = attributes.get("beta", 1.0) * low.constant(node, 2, np.float32(0))
    bias = low.fixed(node, "bias", np.broadcast_to(added, (1, len(weights)))[0])
    order = range(len(low.shape(node, node.output[0])))
    code, options = "FULLY_CONNECTED", {"keepNumDims": int(len(order) > 2)}
    if len(order) == 4:
        code, options, weights = "CONV_2D", {"strideH": 1, "strideW": 1, "padding": VALID}, weights[:, None, None]
    names = [low.ordered(node.input[0], order), low.program.constant(node.input[1], weights.astype(np.float32)), bias]
    low.emit(node, code, names, order, {**options, **NONE})


def _concat(low: Lowering, node: Any) -> None:
    if any(name in low.constants for name in node.input):
        raise low.refuse(node, "no concatenation with constants")
    order = low.stored[node.input[0]][1]
    axis = order.index(low.attributes(node)["axis"] % len(order))
    low.emit(node, "CONCATENATION", [low.ordered(name, order) for name in node.input], order, {"axis": axis, **NONE})


OPERATORS: dict[str, Callable[[Lowering, Any], None]] = {
    **dict.fromkeys(UNARY, _unary),
    **dict.fromkeys(BINARY, _binary),
    **dict.fromkeys(("Identity", "Dropout"), _alias),
    **dict.fromkeys(("MaxPool", "AveragePool"), _pool),
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceL2", "GlobalAveragePool"), _reduce),
    **dict.fromkeys(("Gemm", "MatMul"), _linear),
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze", "Unsqueeze"), _reshape),
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "Expand": _expand,
    "HardSigmoid": _hard_sigmoid,
    "LeakyRelu": _leaky,
    "Pad": _pad,
    "Pow": _pow,
    "Transpose": _transpose,
}
