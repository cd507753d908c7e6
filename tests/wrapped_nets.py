"""Small models as strangers export them: convolution, pooling, a classifier. Random weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

HEIGHT, WIDTH, FEATURES, CLASSES = 12, 10, 8, 5


def net(
    *,
    layout: str = "NCHW",
    channels: int = 3,
    batch: Any = "n",
    size: tuple[Any, Any] = (HEIGHT, WIDTH),
    dtype: int = TensorProto.FLOAT,
    flatten: str = "flatten",
    tail: str = "softmax",
    opset: int = 18,
) -> Any:
    """Tensors: image, map (a Relu's), pooled (N, 8, 1, 1), flat (N, 8), hidden, logits, probabilities.

    flatten: "flatten", "reshape" to [1, -1], or "fixed", which squeezes the images' axis away and brings it back. tail:
    "softmax", "logits", "hidden" (another layer before them) or "none".
    """
    rng = np.random.default_rng(3)
    real = np.float16 if dtype == TensorProto.FLOAT16 else np.float32
    weights = {
        "w": rng.normal(size=(FEATURES, channels, 3, 3)) / 5,
        "b": rng.normal(size=FEATURES),
        "wh": rng.normal(size=(FEATURES, FEATURES)),
        "wl": rng.normal(size=(FEATURES, CLASSES)),
        "bl": rng.normal(size=CLASSES),
    }
    shapes = {"one_row": np.array([1, -1]), "alone": np.array([FEATURES]), "axis": np.array([0])}
    nodes, at = [], "image"
    if dtype == TensorProto.UINT8:
        nodes.append(helper.make_node("Cast", [at], ["real"], to=TensorProto.FLOAT))
        at = "real"
    if layout == "NHWC":
        nodes.append(helper.make_node("Transpose", [at], ["first"], perm=[0, 3, 1, 2]))
        at = "first"
    nodes += [
        helper.make_node("Conv", [at, "w", "b"], ["convolved"], pads=[1] * 4),
        helper.make_node("Relu", ["convolved"], ["map"]),
        helper.make_node("GlobalAveragePool", ["map"], ["pooled"]),
    ]
    if flatten == "flatten":
        nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"]))
    elif flatten == "reshape":
        nodes.append(helper.make_node("Reshape", ["pooled", "one_row"], ["flat"]))
    else:
        nodes += [
            helper.make_node("Reshape", ["pooled", "alone"], ["vector"]),
            helper.make_node("Unsqueeze", ["vector", "axis"], ["flat"]),
        ]
    last = "flat"
    if tail == "hidden":
        nodes += [
            helper.make_node("MatMul", ["flat", "wh"], ["linear"]),
            helper.make_node("Relu", ["linear"], ["hidden"]),
        ]
        last = "hidden"
    if tail != "none":
        nodes += [
            helper.make_node("MatMul", [last, "wl"], ["product"]),
            helper.make_node("Add", ["product", "bl"], ["logits"]),
        ]
        last = "logits"
    if tail in ("softmax", "hidden"):
        nodes.append(helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1))
        last = "probabilities"
    shape = [batch, channels, *size] if layout == "NCHW" else [batch, *size, channels]
    kind = TensorProto.FLOAT if dtype == TensorProto.UINT8 else dtype
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", dtype, shape)],
        [helper.make_tensor_value_info(last, kind, None)],
        [numpy_helper.from_array(v.astype(real), n) for n, v in weights.items() if n in used]
        + [numpy_helper.from_array(v, n) for n, v in shapes.items() if n in used],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def answers(model: Any, tensor: str, inputs: np.ndarray) -> np.ndarray:
    """What ONNX Runtime gives for a tensor, one image at a time."""
    import onnxruntime

    whole = type(model)()
    whole.CopyFrom(model)
    del whole.graph.output[:]
    whole.graph.output.append(helper.make_empty_tensor_value_info(tensor))
    session = onnxruntime.InferenceSession(whole.SerializeToString(), providers=["CPUExecutionProvider"])
    rows = [session.run([tensor], {session.get_inputs()[0].name: image[None]})[0].reshape(-1) for image in inputs]
    return np.array(rows, dtype=np.float32)
