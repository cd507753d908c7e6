"""An ONNX file: what is in it, and the graph of a bundle cut from it."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgemeta.bundle import Variant
from edgemeta.bundle.graph_checks import DOMAINS
from edgemeta.errors import MissingDependencyError, OptionError
from edgemeta.imaging import Channels
from edgemeta.terminal import printable

from .wrap import INPUT, OUTPUT, ModelInput
from .wrap_candidates import Candidates, Graph, Node
from .wrap_scaling import RAW, SIGNED, UNIT, Affine

OLDEST_OPSET = 7
DTYPES = {1: "float32", 10: "float16", 11: "float64", 2: "uint8"}
FLOATS = (1, 10, 11)
# Of metadata that describe images (onnx/docs/MetadataProps.md).
RANGES = {"NominalRange_0_255": RAW, "Normalized_0_1": UNIT, "Normalized_1_1": SIGNED}
ORDERS: dict[str, Channels] = {"Rgb8": "rgb", "Bgr8": "bgr"}
INT8_CODES = ("DequantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger")


class OnnxModel:
    """One graph from an image to tensors."""

    def __init__(self, data: bytes, size: tuple[int, int] | None) -> None:
        """size: (height, width), where the file leaves them open. Raises OptionError, MissingDependencyError."""
        self.model = _loaded(data)
        self.constants = {tensor.name: tensor for tensor in self.model.graph.initializer}
        self.value = self._only_input()
        self.input = self._described(size)
        # What kind of numbers each tensor holds, as far as they are real ones.
        self.kinds: dict[str, int] = {}
        self.candidates = Candidates(self._graph())

    # What is in the file.

    def _only_input(self) -> Any:
        graph = self.model.graph
        # Up to IR version 3 constants are listed as inputs too.
        inputs = [value for value in graph.input if value.name not in self.constants]
        if len(inputs) != 1:
            names = ", ".join(printable(value.name) for value in inputs)
            raise OptionError(f"a model of one image has one input, and this has {len(inputs)}: {names}")
        del graph.input[:]
        graph.input.append(inputs[0])
        return graph.input[0]

    def _described(self, size: tuple[int, int] | None) -> ModelInput:
        """Sets an open height and width of the graph to `size`."""
        kind = self.value.type.tensor_type
        if len(kind.shape.dim) != 4:
            raise OptionError(
                f"the input '{printable(self.value.name)}' has {len(kind.shape.dim)} axes; a batch of images has 4"
            )
        if kind.elem_type not in DTYPES:
            raise OptionError(f"the input '{printable(self.value.name)}' holds ONNX type {kind.elem_type}, no pixels")
        dims = [d.dim_value if d.HasField("dim_value") else 0 for d in kind.shape.dim]
        layout = _layout(dims)
        places = (2, 3) if layout == "NCHW" else (1, 2)
        if size is not None:
            for place, wanted in zip(places, size, strict=True):
                if dims[place] not in (0, wanted):
                    raise OptionError(f"the model takes images of {dims[places[0]]} x {dims[places[1]]}; leave --size")
                dims[place] = kind.shape.dim[place].dim_value = wanted
        if 0 in (dims[places[0]], dims[places[1]]):
            raise OptionError("the file leaves height and width of the image open: say them, for instance --size 224")
        props = {entry.key: entry.value for entry in self.model.metadata_props}
        dtype = DTYPES[kind.elem_type]
        return ModelInput(
            name=self.value.name,
            height=dims[places[0]],
            width=dims[places[1]],
            channels=dims[1] if layout == "NCHW" else dims[3],
            layout=layout,
            dtype=dtype,
            scaling=RAW if dtype == "uint8" else RANGES.get(props.get("Image.NominalPixelRange", "")),
            order=ORDERS.get(props.get("Image.BitmapPixelFormat", "")),
        )

    def _graph(self) -> Graph:
        """The tensors' shapes are those that one run shows: what a file says of them may be missing."""
        graph = self.model.graph
        needed = _needed(graph, [value.name for value in graph.output])
        nodes = [node for node in graph.node if any(name in needed for name in node.output)]
        names = [name for node in nodes for name in node.output if name]
        strange = self._nonstandard(nodes)
        if strange:
            known = self._before_strange(nodes)
            names = [name for name in names if name in known]
        found = self._run_once(names) if names else {}
        return Graph(
            nodes=tuple(Node(n.op_type, tuple(filter(None, n.input)), tuple(filter(None, n.output))) for n in nodes),
            input=self.input.name,
            outputs=tuple(value.name for value in graph.output),
            shapes=found,
            strange=tuple(strange),
        )

    def _run_once(self, names: list[str]) -> dict[str, tuple[int, ...]]:
        import onnx

        whole = copy.deepcopy(self.model)
        needed = _needed(whole.graph, names)
        nodes = [node for node in whole.graph.node if needed.intersection(node.output)]
        del whole.graph.output[:], whole.graph.node[:]
        whole.graph.node.extend(nodes)
        whole.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
        session = _session(whole)
        image = np.zeros(self._shape(), dtype=self.input.dtype)
        try:
            values = session.run(names, {self.input.name: image})
        except Exception as error:  # onnxruntime's own exceptions have no public common base
            raise OptionError(f"the model cannot be run: {_first_line(error)}") from error
        kinds = {name: number for number, name in DTYPES.items()}
        found = {}
        for name, value in zip(names, values, strict=True):
            if isinstance(value, np.ndarray) and kinds.get(value.dtype.name) in FLOATS:
                found[name], self.kinds[name] = value.shape, kinds[value.dtype.name]
        return found

    def _before_strange(self, nodes: list[Any]) -> set[str]:
        """The tensors that no operator of nobody's standard is needed for."""
        known = {self.input.name, *self.constants}
        for node in nodes:
            if not self._nonstandard([node]) and known.issuperset(_inputs(node)):
                known.update(node.output)
        return known

    def _shape(self) -> tuple[int, ...]:
        i = self.input
        batch = self.value.type.tensor_type.shape.dim[0].dim_value or 1
        image = (i.channels, i.height, i.width) if i.layout == "NCHW" else (i.height, i.width, i.channels)
        return (batch, *image)

    def _nonstandard(self, nodes: Iterable[Any]) -> list[str]:
        return sorted({f"{n.domain}.{n.op_type}" for n in nodes if n.domain.encode() not in DOMAINS})

    # The graph of a bundle.

    def cut(self, tensor: str, front: Affine) -> tuple[Variant, bytes]:
        """As `wrap.Model` has it. Raises OptionError for what no bundle can hold."""
        body = self._body(tensor)
        made = self._equipped(self._with_open_batch(body), tensor, front)
        if self._fixed() and not self._batches(made):
            made = self._one_by_one(self._equipped(body, tensor, front))
        return self._variant(made, _precision(body)), bytes(made.SerializeToString(deterministic=True))

    def _body(self, tensor: str) -> Any:
        """The part of the model that the tensor is computed by, with nothing that only names or describes it."""
        import onnx

        graph = self.model.graph
        needed = _needed(graph, [tensor])
        nodes = [node for node in graph.node if any(name in needed for name in node.output)]
        used = {name for node in nodes for name in _inputs(node)}
        weights = [value for value in graph.initializer if value.name in used]
        output = onnx.helper.make_tensor_value_info(tensor, self.kinds[tensor], None)
        body = onnx.helper.make_graph(nodes, "wrapped", [self.value], [output], weights)
        del body.value_info[:]
        for node in body.node:
            node.doc_string = ""
            del node.metadata_props[:]
        opset = next(o.version for o in self.model.opset_import if o.domain.encode() in DOMAINS)
        opsets = [onnx.helper.make_opsetid("", opset)]
        return onnx.helper.make_model(body, opset_imports=opsets, ir_version=max(self.model.ir_version, 4))

    def _fixed(self) -> int:
        """The number of images that the file fixes, or 0."""
        return int(self.value.type.tensor_type.shape.dim[0].dim_value)

    def _with_open_batch(self, body: Any) -> Any:
        """A copy that takes any number of images, as far as that number is not in constants but those of Reshape."""
        from onnx import numpy_helper

        opened = copy.deepcopy(body)
        fixed = self._fixed()
        opened.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "n"
        if not fixed:
            return opened
        computed = {name for node in opened.graph.node for name in node.output}
        shapes = {
            node.input[1]
            for node in opened.graph.node
            if node.op_type == "Reshape" and node.input[0] in computed | {self.input.name}
        }
        for tensor in _tensors(opened.graph.initializer, ()):
            if tensor.name in shapes:
                tensor.CopyFrom(numpy_helper.from_array(_opened(numpy_helper.to_array(tensor), fixed), tensor.name))
        for node in opened.graph.node:
            if node.op_type == "Constant" and node.output[0] in shapes and node.attribute[0].name == "value":
                value = node.attribute[0].t
                value.CopyFrom(numpy_helper.from_array(_opened(numpy_helper.to_array(value), fixed), value.name))
        return opened

    def _equipped(self, body: Any, tensor: str, front: Affine) -> Any:
        """The body behind what makes its input of pixels, and before what makes its output an embedding."""
        import onnx

        graph, names = body.graph, _Names(body.graph)
        i, dim = self.input, self.candidates.all[tensor].size
        pixels, embedding = names.fresh(INPUT), names.fresh(OUTPUT)
        before, weights = self._front(front, pixels, names)
        after = []
        if self.kinds[tensor] != 1:
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
                value = add("Round", value) if self._opset() >= 11 else add("Add", value, np.array([0.5], np.float32))
            if wanted != 1:
                value = add("Cast", value, to=wanted)
        if self.input.layout == "NCHW":
            value = add("Transpose", value, perm=[0, 3, 1, 2])
        nodes.append(helper.make_node("Identity", [value], [self.input.name]))
        return nodes, weights

    def _opset(self) -> int:
        return int(next(o.version for o in self.model.opset_import if o.domain.encode() in DOMAINS))

    def _one_by_one(self, inner: Any) -> Any:
        """A Scan over the images, each through a graph that knows one alone. Raises OptionError."""
        import onnx
        from onnx import helper, numpy_helper

        if self._fixed() > 1 or self._opset() < 9:
            raise OptionError(
                f"the model takes {self._fixed()} images at a time and no other number; export it with an open batch"
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
            session = _session(model)
            together = session.run(None, {model.graph.input[0].name: images})[0]
            alone = [session.run(None, {model.graph.input[0].name: image[None]})[0] for image in images]
        except Exception:  # onnxruntime's own exceptions have no public common base
            return False
        if together.shape != (3, alone[0].shape[-1]):
            return False
        return bool(np.allclose(together, np.concatenate(alone), rtol=1e-3, atol=1e-3 * np.abs(together).max()))

    def _variant(self, model: Any, precision: str) -> Variant:
        return Variant(
            name=f"onnx-{precision}",
            runtime="onnx",
            precision=precision,
            member=f"graph/onnx-{precision}.onnx",
            input=model.graph.input[0].name,
            output=model.graph.output[0].name,
        )

    def values(self, tensor: str, inputs: NDArray[np.float64]) -> NDArray[np.float32]:
        """As `wrap.Model` has it: without the runtime's optimisations, which are wrong for int8 on some machines."""
        given = np.rint(inputs) if self.input.dtype == "uint8" else inputs
        return _run(self._body(tensor), given.astype(self.input.dtype), max(self._fixed(), 1))

    def plainly(self, graph: bytes, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """As `wrap.Model` has it."""
        import onnx

        return _run(onnx.load_from_string(graph), images, 1)


def _run(model: Any, inputs: NDArray[Any], step: int) -> NDArray[np.float32]:
    """So many inputs at a time, with nothing optimised, flattened to (N, D). Raises OptionError."""
    session, rows = _session(model, plain=True), []
    for start in range(0, len(inputs), step):
        batch = inputs[start : start + step]
        filled = np.concatenate([batch, batch[:1].repeat(step - len(batch), axis=0)])
        try:
            made = session.run(None, {model.graph.input[0].name: filled})[0][: len(batch)]
        except Exception as error:  # onnxruntime's own exceptions have no public common base
            raise OptionError(f"the model cannot be run: {_first_line(error)}") from error
        rows.append(np.asarray(made, dtype=np.float32).reshape(len(batch), -1))
    return np.concatenate(rows)


class _Names:
    """Names that no tensor of a graph has yet, in its subgraphs neither."""

    def __init__(self, graph: Any) -> None:
        self.taken = set(_all_names(graph))

    def fresh(self, name: str) -> str:
        found, number = name, 1
        while found in self.taken:
            found, number = f"{name}_{number}", number + 1
        self.taken.add(found)
        return found


def _loaded(data: bytes) -> Any:
    """The model, without functions of its own. Raises OptionError, MissingDependencyError."""
    try:
        import onnx
        from onnx import inliner
    except ImportError as error:
        raise MissingDependencyError(
            "wrapping ONNX needs onnx and onnxruntime: pip install onnx onnxruntime"
        ) from error
    try:
        model = onnx.load_from_string(data)
        if model.functions:
            model = inliner.inline_local_functions(model)
    except Exception as error:  # protobuf's own, among others
        raise OptionError(f"this is no sound ONNX file: {_first_line(error)}") from error
    away = [t for t in _tensors(model.graph.initializer, model.graph.node) if t.data_location == t.EXTERNAL]
    if away:
        where = next((e.value for e in away[0].external_data if e.key == "location"), "another file")
        raise OptionError(
            f"weights are in another file ({printable(where)}); put all into one: "
            "onnx.save(onnx.load('model.onnx'), 'whole.onnx')"
        )
    if not model.graph.node or not model.graph.output:
        raise OptionError("this is no ONNX file, or its graph is empty")
    versions = [o.version for o in model.opset_import if o.domain.encode() in DOMAINS]
    if len(versions) != 1 or versions[0] < OLDEST_OPSET:
        raise OptionError(
            f"the file is of opset {versions}; at least {OLDEST_OPSET} is needed: onnx.version_converter makes it so"
        )
    return model


def _session(model: Any, *, plain: bool = False) -> Any:
    from edgemeta.runners.onnx import load_runtime

    runtime = load_runtime()
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    if plain:
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions have no public common base
        raise OptionError(f"ONNX Runtime refuses the model: {_first_line(error)}") from error


def _layout(dims: list[int]) -> str:
    """Where the channels are. Raises OptionError."""
    first, last = dims[1] in (1, 3), dims[3] in (1, 3)
    if first == last and dims[1] != dims[3]:  # both or neither
        first, last = dims[1] == 3, dims[3] == 3
    if first == last:
        shape = " x ".join(str(d) if d else "?" for d in dims[1:])
        raise OptionError(f"the input is {shape}: no axis of 3 colours or 1 grey channel as images have")
    return "NCHW" if first else "NHWC"


def _opened(shape: NDArray[Any], fixed: int) -> NDArray[Any]:
    """A Reshape's shape whose first axis stays as it is."""
    if len(shape) > 1 and shape[0] == fixed:
        shape = shape.copy()
        shape[0] = -1 if (shape[1:] > 0).all() else 0
    return shape


def _inputs(node: Any) -> list[str]:
    """What a node reads, its subgraphs included: from around them, or of their own."""
    names = [name for name in node.input if name]
    for attribute in node.attribute:
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            for inner in graph.node:
                names += _inputs(inner)
            names += [value.name for value in graph.output]
    return names


def _needed(graph: Any, outputs: list[str]) -> set[str]:
    makers = {name: node for node in graph.node for name in node.output}
    needed: set[str] = set()
    pending = list(outputs)
    while pending:
        name = pending.pop()
        if name not in needed:
            needed.add(name)
            pending += _inputs(makers[name]) if name in makers else []
    return needed


def _tensors(weights: Iterable[Any], nodes: Iterable[Any]) -> list[Any]:
    """Those tensors and the ones inside nodes."""
    found = list(weights)
    for node in nodes:
        for attribute in node.attribute:
            found += [attribute.t] if attribute.HasField("t") else []
            found += attribute.tensors
            for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                found += _tensors(graph.initializer, graph.node)
    return found


def _all_names(graph: Any) -> Iterable[str]:
    for value in (*graph.input, *graph.output, *graph.initializer):
        yield value.name
    for node in graph.node:
        yield from node.input
        yield from node.output
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _all_names(inner)


def _precision(body: Any) -> str:
    """That of most of the weights."""
    if any(node.op_type in INT8_CODES for node in body.graph.node):
        return "int8"
    sizes = {kind: sum(int(np.prod(w.dims)) for w in body.graph.initializer if w.data_type == kind) for kind in FLOATS}
    return "fp16" if sizes[10] > sizes[1] + sizes[11] else "fp32"


def _first_line(error: Exception) -> str:
    return printable((str(error).splitlines() or [type(error).__name__])[0])[:200]
