"""An ONNX file: what is in it."""

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

from .wrap import ModelInput
from .wrap_candidates import Candidates, Graph, Node
from .wrap_onnx_cut import (
    DTYPES,
    FLOATS,
    Cut,
    first_line,
    fixed_batch,
    inputs_of,
    needed_for,
    open_session,
    run_plainly,
    tensors_in,
)
from .wrap_scaling import RAW, SIGNED, UNIT, Affine

OLDEST_OPSET = 7
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
        needed = needed_for(graph, [value.name for value in graph.output])
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
        needed = needed_for(whole.graph, names)
        nodes = [node for node in whole.graph.node if needed.intersection(node.output)]
        del whole.graph.output[:], whole.graph.node[:]
        whole.graph.node.extend(nodes)
        whole.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
        session = open_session(whole)
        image = np.zeros(self._shape(), dtype=self.input.dtype)
        try:
            values = session.run(names, {self.input.name: image})
        except Exception as error:  # onnxruntime's own exceptions have no public common base
            raise OptionError(f"the model cannot be run: {first_line(error)}") from error
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
            if not self._nonstandard([node]) and known.issuperset(inputs_of(node)):
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
        made = Cut(body, self.input, self.kinds[tensor], self.candidates.all[tensor].size).equipped(front)
        precision = _precision(body)
        variant = Variant(
            name=f"onnx-{precision}",
            runtime="onnx",
            precision=precision,
            member=f"graph/onnx-{precision}.onnx",
            input=made.graph.input[0].name,
            output=made.graph.output[0].name,
        )
        return variant, bytes(made.SerializeToString(deterministic=True))

    def _body(self, tensor: str) -> Any:
        """The part of the model that the tensor is computed by, with nothing that only names or describes it."""
        import onnx

        graph = self.model.graph
        needed = needed_for(graph, [tensor])
        nodes = [node for node in graph.node if any(name in needed for name in node.output)]
        used = {name for node in nodes for name in inputs_of(node)}
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

    def values(self, tensor: str, inputs: NDArray[np.float64]) -> NDArray[np.float32]:
        """As `wrap.Model` has it: without the runtime's optimisations, which are wrong for int8 on some machines."""
        given = np.rint(inputs) if self.input.dtype == "uint8" else inputs
        return run_plainly(self._body(tensor), given.astype(self.input.dtype), max(fixed_batch(self.model), 1))

    def plainly(self, graph: bytes, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """As `wrap.Model` has it."""
        import onnx

        return run_plainly(onnx.load_from_string(graph), images, 1)


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
        raise OptionError(f"this is no sound ONNX file: {first_line(error)}") from error
    away = [t for t in tensors_in(model.graph.initializer, model.graph.node) if t.data_location == t.EXTERNAL]
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


def _layout(dims: list[int]) -> str:
    """Where the channels are. Raises OptionError."""
    first, last = dims[1] in (1, 3), dims[3] in (1, 3)
    if first == last and dims[1] != dims[3]:  # both or neither
        first, last = dims[1] == 3, dims[3] == 3
    if first == last:
        shape = " x ".join(str(d) if d else "?" for d in dims[1:])
        raise OptionError(f"the input is {shape}: no axis of 3 colours or 1 grey channel as images have")
    return "NCHW" if first else "NHWC"


def _precision(body: Any) -> str:
    """That of most of the weights."""
    if any(node.op_type in INT8_CODES for node in body.graph.node):
        return "int8"
    sizes = {kind: sum(int(np.prod(w.dims)) for w in body.graph.initializer if w.data_type == kind) for kind in FLOATS}
    return "fp16" if sizes[10] > sizes[1] + sizes[11] else "fp32"
