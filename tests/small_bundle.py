"""A bundle with a real graph but no training: 8 x 8 pixels through a fixed random projection to 16 numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgemeta.bundle import Bundle, HeadRecipe, InputContract, Variant, write_bundle
from edgemeta.normalisation import Normalisation

SIDE, DIM = 8, 16


def graph(seed: int) -> bytes:
    """ONNX: Cast, 1 - x / 255, mean over the colours, flatten, MatMul."""
    from onnx import TensorProto, helper, numpy_helper

    weights = np.random.default_rng(seed).normal(size=(SIDE * SIDE, DIM)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["pixels"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["f", "full"], ["share"]),
        helper.make_node("Sub", ["one", "share"], ["ink"]),
        helper.make_node("ReduceMean", ["ink", "colours"], ["grey"], keepdims=0),
        helper.make_node("Flatten", ["grey"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["embedding"]),
    ]
    constants = {
        "full": np.array(255.0, dtype=np.float32),
        "one": np.array(1.0, dtype=np.float32),
        "colours": np.array([3]),
        "w": weights,
    }
    body = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", DIM])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(model.SerializeToString())


def outputs(images: np.ndarray, seed: int) -> np.ndarray:
    """What the graph gives, in NumPy."""
    weights = np.random.default_rng(seed).normal(size=(SIDE * SIDE, DIM)).astype(np.float32)
    ink = 1.0 - images.astype(np.float32) / np.float32(255)
    return (ink.mean(3).reshape(len(images), -1) @ weights).astype(np.float32)


def small_bundle(path: Path, seed: int = 0, **changes: object) -> Bundle:
    """Write it to `path` and open it."""
    images = np.random.default_rng(1).integers(0, 256, (4, SIDE, SIDE, 3)).astype(np.uint8)
    variant = Variant("onnx-fp32", "onnx", "fp32", "graph/onnx-fp32.onnx", "pixels", "embedding")
    arguments: dict = {
        "name": path.stem,
        "embedding_id": bytes([seed]) * 32,
        "input": InputContract(SIDE, SIDE),
        "normalisation": Normalisation(),
        "head": HeadRecipe("cosine", None, 10.0),
        "variants": [(variant, graph(seed))],
        "golden_inputs": images,
        "golden_outputs": outputs(images, seed),
        "licences": [],
        "training": {},
        **changes,
    }
    write_bundle(path, **arguments)
    return Bundle.open(path)
