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


def tflite_net(
    kind: str = "float32", *, batch: int = -1, channels: int = 3, steps: tuple[float, int] | None = None
) -> bytes:
    """The same as TFLite, of random weights: image, map, pooled (N, 1, 1, 8), flat (N, 8), logits, probabilities.

    kind: "float32", "int8" or "uint8" for everything. steps: scale and zero point of the input, where it is quantised.
    """
    from edgemeta.export.tflite_file import Operator, Program, Quantisation, Tensor, to_bytes

    rng = np.random.default_rng(3)
    program = Program("image", "probabilities")
    zero = {"float32": 0, "int8": -128, "uint8": 0}[kind]

    def computed(name: str, shape: tuple[int, ...], scale: float, zero_point: int) -> str:
        found = Quantisation(np.array([scale], dtype=np.float32), zero_point) if kind != "float32" else None
        return program.add(Tensor(name, (batch, *shape), kind, quantisation=found))

    def weights(name: str, shape: tuple[int, ...], given: float) -> list[str]:
        values, bias = rng.normal(size=shape) / 4, rng.normal(size=shape[0]) / 4
        names = [name, f"{name}_bias"]
        if kind == "float32":
            return [program.constant(n, v.astype(np.float32)) for n, v in zip(names, (values, bias), strict=True)]
        middle = 128 if kind == "uint8" else 0
        stored = np.clip(np.rint(values * 100) + middle, *((0, 255) if middle else (-127, 127))).astype(kind)
        scales = [np.array([s], dtype=np.float32) for s in (0.01, 0.01 * given)]
        program.add(Tensor(name, shape, kind, stored, Quantisation(scales[0], middle)))
        shifts = np.rint(bias / scales[1]).astype(np.int32)
        program.add(Tensor(names[1], shifts.shape, "int32", shifts, Quantisation(scales[1])))
        return names

    scale, start = steps or (1 / 255, zero)
    computed("image", (HEIGHT, WIDTH, channels), scale, start)
    computed("map", (HEIGHT, WIDTH, FEATURES), 0.01, zero)
    computed("pooled", (1, 1, FEATURES), 0.01, zero)
    computed("flat", (FEATURES,), 0.01, zero)
    computed("logits", (CLASSES,), 0.02, zero + 128)
    computed("probabilities", (CLASSES,), 1 / 256, zero)
    pool = {"filterHeight": HEIGHT, "filterWidth": WIDTH, "strideH": 1, "strideW": 1, "padding": 1}
    slide = {"strideH": 1, "strideW": 1, "padding": 0, "dilationHFactor": 1, "dilationWFactor": 1}
    shape = program.constant("shape", np.array([batch, FEATURES], dtype=np.int32))
    relu, none = {"fusedActivationFunction": 1}, {"fusedActivationFunction": 0}
    convolution = ["image", *weights("w", (FEATURES, 3, 3, channels), scale)]
    linear = ["flat", *weights("wl", (CLASSES, FEATURES), 0.01)]
    program.operators = [
        Operator("CONV_2D", convolution, "map", {**slide, **relu}),
        Operator("AVERAGE_POOL_2D", ["map"], "pooled", {**pool, **none}),
        Operator("RESHAPE", ["pooled", shape], "flat"),
        Operator("FULLY_CONNECTED", linear, "logits", none),
        Operator("SOFTMAX", ["logits"], "probabilities", {"beta": 1.0}),
    ]
    return to_bytes(program)


def tflite_answers(content: bytes, tensor: str, inputs: np.ndarray) -> np.ndarray:
    """What the reference kernels give for a tensor of an unchanged file, inputs being real numbers or as stored."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=content,
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
        experimental_preserve_all_tensors=True,
    )
    interpreter.allocate_tensors()
    given = interpreter.get_input_details()[0]
    made = next(d for d in interpreter.get_tensor_details() if d["name"] == tensor)
    rows = []
    for image in inputs:
        if image.dtype != given["dtype"] and given["dtype"] != np.float32:
            scale, zero = given["quantization"]
            limits = np.iinfo(given["dtype"])
            image = np.clip(np.rint(image / scale) + zero, limits.min, limits.max)
        interpreter.set_tensor(given["index"], image[None].astype(given["dtype"]))
        interpreter.invoke()
        scale, zero = made["quantization"]
        stored = interpreter.get_tensor(made["index"]).reshape(-1).astype(np.float32)
        rows.append((stored - zero) * np.float32(scale) if scale else stored)
    return np.array(rows, dtype=np.float32)
