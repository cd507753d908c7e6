"""The graph of a bundle cut from an ONNX file: pixels in, the embedding out, for any number of images."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgemeta.errors import OptionError
from edgemeta.terminal import printable

from .wrap import INPUT, OUTPUT, ModelInput
from .wrap_scaling import Affine

DTYPES = {1: "float32", 10: "float16", 11: "float64", 2: "uint8"}
FLOATS = (1, 10, 11)


class Cut:
    """A model with one input, `given`, and one output: `size` numbers an image of ONNX's type `kind`."""

    def __init__(self, body: Any, given: ModelInput, kind: int, size: int) -> None:
        self.body, self.input, self.kind, self.size = body, given, kind, size
        self.fixed, self.opset = fixed_batch(body), int(body.opset_import[0].version)

    def equipped(self, front: Affine) -> Any:
        """The model of a bundle. Raises OptionError where it cannot take any number of images."""
        made = self._equipped(self._with_open_batch(), front)
        if self.fixed and not self._batches(made):
            made = self._one_by_one(self._equipped(self.body, front))
        return made

    def _with_open_batch(self) -> Any:
        """A copy that takes any number of images, as far as that number is not in constants but those of Reshape."""
        from onnx import numpy_helper

        opened = copy.deepcopy(self.body)
        fixed = self.fixed
        opened.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "n"
        if not fixed:
            return opened
        computed = {name for node in opened.graph.node for name in node.output}
        shapes = {
            node.input[1]
            for node in opened.graph.node
            if node.op_type == "Reshape" and node.input[0] in computed | {self.input.name}
        }
        for tensor in tensors_in(opened.graph.initializer, ()):
            if tensor.name in shapes:
                tensor.CopyFrom(numpy_helper.from_array(_opened(numpy_helper.to_array(tensor), fixed), tensor.name))
        for node in opened.graph.node:
            if node.op_type == "Constant" and node.output[0] in shapes and node.attribute[0].name == "value":
                value = node.attribute[0].t
                value.CopyFrom(numpy_helper.from_array(_opened(numpy_helper.to_array(value), fixed), value.name))
        return opened

    def _equipped(self, body: Any, front: Affine) -> Any:
        """The body behind what makes its input of pixels, and before what makes its output an embedding."""
        import onnx

        graph, names = body.graph, _Names(body.graph)
        tensor = graph.output[0].name
        i, dim = self.input, self.size
        pixels, embedding = names.fresh(INPUT), names.fresh(OUTPUT)
        before, weights = self._front(front, pixels, names)
        after = []
        if self.kind != 1:
            after.append(onnx.helper.make_node("Cast", [tensor], [names.fresh("float")], to=1))
            tensor = after[0].output[0]
        after.append(onnx.helper.make_node("Flatten", [tensor], [embedding], axis=1))
        given = onnx.helper.make_tensor_value_info(pixels, onnx.TensorProto.UINT8, ["n", i.height, i.width, 3])
        result = onnx.helper.make_tensor_value_info(embedding, onnx.TensorProto.FLOAT, ["n", dim])
        nodes = [*before, *graph.node, *after]
        whole = onnx.helper.make_graph(nodes, "wrapped", [given], [result], [*weights, *graph.initializer])
        return onnx.helper.make_model(whole, opset_imports=body.opset_import, ir_version=body.ir_version)

    def _front(self, front: Affine, pixels: str, names: _Names) -> tuple[list[Any], list[Any]]:
        """Nodes, and their constants, from the pixels to the model's own input."""
        from onnx import helper, numpy_helper

        nodes: list[Any] = []
        weights: list[Any] = []

        def add(code: str, source: str, constant: NDArray[Any] | None = None, **attributes: Any) -> str:
            inputs = [source]
            if constant is not None:
                inputs.append(names.fresh("scaling"))
                weights.append(numpy_helper.from_array(np.ascontiguousarray(constant), inputs[1]))
            nodes.append(helper.make_node(code, inputs, [names.fresh("pixels")], **attributes))
            return str(nodes[-1].output[0])

        value, wanted = pixels, next(k for k, v in DTYPES.items() if v == self.input.dtype)
        if not (front.is_identity and wanted == 2):
            value = add("Cast", value, to=1)
            if not front.mixes_none:
                value = add("MatMul", value, front.matrix.astype(np.float32))
            elif (front.factors != 1.0).any():
                value = add("Mul", value, front.factors.astype(np.float32))
            if front.offset.any():
                value = add("Add", value, front.offset.astype(np.float32))
            if wanted == 2:
                value = add("Round", value) if self.opset >= 11 else add("Add", value, np.array([0.5], np.float32))
            if wanted != 1:
                value = add("Cast", value, to=wanted)
        if self.input.layout == "NCHW":
            value = add("Transpose", value, perm=[0, 3, 1, 2])
        nodes.append(helper.make_node("Identity", [value], [self.input.name]))
        return nodes, weights

    def _one_by_one(self, inner: Any) -> Any:
        """A Scan over the images, each through a graph that knows one alone. Raises OptionError."""
        import onnx
        from onnx import helper, numpy_helper

        if self.fixed > 1 or self.opset < 9:
            raise OptionError(
                f"the model takes {self.fixed} images at a time and no other number; export it with an open batch"
            )
        graph, names = inner.graph, _Names(inner.graph)
        i, dim = self.input, graph.output[0].type.tensor_type.shape.dim[1].dim_value
        image, vector, shape, flat = (names.fresh(n) for n in ("image", "vector", "shape", "flat"))
        pixels, embedding = names.fresh(INPUT), names.fresh(OUTPUT)
        weights = [
            numpy_helper.from_array(np.array([1, i.height, i.width, 3], dtype=np.int64), shape),
            numpy_helper.from_array(np.array([dim], dtype=np.int64), flat),
        ]
        nodes = [
            helper.make_node("Reshape", [image, shape], [graph.input[0].name]),
            *graph.node,
            helper.make_node("Reshape", [graph.output[0].name, flat], [vector]),
        ]
        step = helper.make_graph(
            nodes,
            "one_image",
            [helper.make_tensor_value_info(image, onnx.TensorProto.UINT8, [i.height, i.width, 3])],
            [helper.make_tensor_value_info(vector, onnx.TensorProto.FLOAT, [dim])],
        )
        scan = helper.make_node("Scan", [pixels], [embedding], num_scan_inputs=1, body=step)
        given = helper.make_tensor_value_info(pixels, onnx.TensorProto.UINT8, ["n", i.height, i.width, 3])
        result = helper.make_tensor_value_info(embedding, onnx.TensorProto.FLOAT, ["n", dim])
        whole = helper.make_graph([scan], "wrapped", [given], [result], [*weights, *graph.initializer])
        return helper.make_model(whole, opset_imports=inner.opset_import, ir_version=inner.ir_version)

    def _batches(self, model: Any) -> bool:
        """Whether three images at once give what each gives alone."""
        i = self.input
        images = np.random.default_rng(0).integers(0, 256, (3, i.height, i.width, 3)).astype(np.uint8)
        try:
            session = open_session(model)
            together = session.run(None, {model.graph.input[0].name: images})[0]
            alone = [session.run(None, {model.graph.input[0].name: image[None]})[0] for image in images]
        except Exception:  # onnxruntime's own exceptions have no public common base
            return False
        if together.shape != (3, alone[0].shape[-1]):
            return False
        return bool(np.allclose(together, np.concatenate(alone), rtol=1e-3, atol=1e-3 * np.abs(together).max()))


class _Names:
    """Names that no tensor of a graph has yet, in its subgraphs neither."""

    def __init__(self, graph: Any) -> None:
        self.taken = set(all_names(graph))

    def fresh(self, name: str) -> str:
        found, number = name, 1
        while found in self.taken:
            found, number = f"{name}_{number}", number + 1
        self.taken.add(found)
        return found


def fixed_batch(model: Any) -> int:
    """The number of images that the model fixes, or 0."""
    return int(model.graph.input[0].type.tensor_type.shape.dim[0].dim_value)


def _opened(shape: NDArray[Any], fixed: int) -> NDArray[Any]:
    """A Reshape's shape whose first axis stays as it is."""
    if len(shape) > 1 and shape[0] == fixed:
        shape = shape.copy()
        shape[0] = -1 if (shape[1:] > 0).all() else 0
    return shape


def inputs_of(node: Any) -> list[str]:
    """What a node reads, its subgraphs included: from around them, or of their own."""
    names = [name for name in node.input if name]
    for attribute in node.attribute:
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            for inner in graph.node:
                names += inputs_of(inner)
            names += [value.name for value in graph.output]
    return names


def needed_for(graph: Any, outputs: list[str]) -> set[str]:
    makers = {name: node for node in graph.node for name in node.output}
    needed: set[str] = set()
    pending = list(outputs)
    while pending:
        name = pending.pop()
        if name not in needed:
            needed.add(name)
            pending += inputs_of(makers[name]) if name in makers else []
    return needed


def tensors_in(weights: Iterable[Any], nodes: Iterable[Any]) -> list[Any]:
    """Those tensors and the ones inside nodes."""
    found = list(weights)
    for node in nodes:
        for attribute in node.attribute:
            found += [attribute.t] if attribute.HasField("t") else []
            found += attribute.tensors
            for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                found += tensors_in(graph.initializer, graph.node)
    return found


def all_names(graph: Any) -> Iterable[str]:
    for value in (*graph.input, *graph.output, *graph.initializer):
        yield value.name
    for node in graph.node:
        yield from node.input
        yield from node.output
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from all_names(inner)


def run_plainly(model: Any, inputs: NDArray[Any], step: int) -> NDArray[np.float32]:
    """So many inputs at a time, with nothing optimised, flattened to (N, D). Raises OptionError."""
    session, rows = open_session(model, plain=True), []
    for start in range(0, len(inputs), step):
        batch = inputs[start : start + step]
        filled = np.concatenate([batch, batch[:1].repeat(step - len(batch), axis=0)])
        try:
            made = session.run(None, {model.graph.input[0].name: filled})[0][: len(batch)]
        except Exception as error:  # onnxruntime's own exceptions have no public common base
            raise OptionError(f"the model cannot be run: {first_line(error)}") from error
        rows.append(np.asarray(made, dtype=np.float32).reshape(len(batch), -1))
    return np.concatenate(rows)


def open_session(model: Any, *, plain: bool = False) -> Any:
    from edgemeta.runners.onnx import load_runtime

    runtime = load_runtime()
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    if plain:
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions have no public common base
        raise OptionError(f"ONNX Runtime refuses the model: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    return printable((str(error).splitlines() or [type(error).__name__])[0])[:200]
