"""A TFLite file: what is in it, and the graph of a bundle cut from it.

Its operators stay as they are, versions and all; those before and behind them are added, and what the tensor does not
need is left out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgemeta.bundle import Variant
from edgemeta.errors import OptionError, RunnerError
from edgemeta.terminal import printable

from .tflite_file import VERSIONS, aligned_buffer, load_schema
from .wrap import INPUT, OUTPUT, ModelInput
from .wrap_candidates import Candidates, Graph, Node
from .wrap_scaling import RAW, Affine, Scaling, scaling_of_steps

SCHEMA_VERSION = 3
FLOATS = ("FLOAT32", "FLOAT16")
LEVELS = {"UINT8": (0, 255), "INT8": (-128, 127)}
# What a flatbuffer's accessors raise on bytes that make no sense.
UNSOUND = (struct.error, IndexError, ValueError, TypeError, OverflowError, AttributeError, MemoryError, RecursionError)


class Steps(NamedTuple):
    """The quantisation of a tensor: value = scale * (stored - zero)."""

    scale: float
    zero: int


class TfliteModel:
    """The main graph of a file, from an image to tensors."""

    def __init__(self, data: bytes, size: tuple[int, int] | None) -> None:
        """size: (height, width), where the file leaves them open. Raises OptionError, MissingDependencyError."""
        self.schema = load_schema()
        self.data = data
        self.codes = _names_of(self.schema.BuiltinOperator)
        self.types = _names_of(self.schema.TensorType)
        with _reading():
            model = self._unpacked()
            self._check(model)
            self.input = self._described(model, size)
            self.names = _unique([_text(tensor.name) for tensor in model.subgraphs[0].tensors])
            self.candidates = Candidates(self._graph(model))

    # What is in the file.

    def _unpacked(self) -> Any:
        if self.data[4:8] != b"TFL3":
            raise OptionError("this is no TFLite file of the schema in use, or it is damaged: TFL3 is missing in it")
        return self.schema.ModelT.InitFromObj(self.schema.Model.GetRootAsModel(self.data, 0))

    def _check(self, model: Any) -> None:
        if model.version != SCHEMA_VERSION:
            raise OptionError(f"the file is of version {model.version} of TFLite's schema; {SCHEMA_VERSION} is known")
        graph = model.subgraphs[0]
        count = len(graph.tensors)
        for places in (graph.inputs, graph.outputs, *(p for o in graph.operators for p in (o.inputs, o.outputs))):
            if any(not -1 <= place < count for place in _listed(places)):
                raise OptionError("the file is damaged: an operator works on a tensor that is not there")
        if len(graph.inputs) != 1:
            names = ", ".join(printable(_text(graph.tensors[place].name)) for place in graph.inputs)
            raise OptionError(f"a model of one image has one input, and this has {len(graph.inputs)}: {names}")
        if any(not 0 <= tensor.buffer < len(model.buffers) for tensor in graph.tensors):
            raise OptionError("the file is damaged: a tensor's data are not there")
        if any(buffer.offset > 1 for buffer in model.buffers) or getattr(model, "externalBuffers", None):
            raise OptionError("weights are outside the flatbuffer or in another file; put all into one below 2 GB")

    def _described(self, model: Any, size: tuple[int, int] | None) -> ModelInput:
        tensor = model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]]
        name, kind = _text(tensor.name), self.types[tensor.type]
        signature = _listed(tensor.shapeSignature if tensor.shapeSignature is not None else tensor.shape)
        if len(signature) != 4 or (kind not in LEVELS and kind not in FLOATS):
            shape = " x ".join(map(str, signature))
            raise OptionError(f"the input '{printable(name)}' is {kind.lower()} {shape}; a batch of images has 4 axes")
        layout = _layout(signature)
        places = (2, 3) if layout == "NCHW" else (1, 2)
        sides = [signature[place] for place in places]
        if size is not None and any(side not in (-1, wanted) for side, wanted in zip(sides, size, strict=True)):
            raise OptionError(f"the model takes images of {sides[0]} x {sides[1]}; leave --size out")
        if -1 in sides:
            raise OptionError(
                "the file leaves height and width of the image open, and its operators count on other sizes: "
                "convert the model with the size that is meant"
            )
        steps = self._steps(tensor)
        return ModelInput(
            name=name,
            height=sides[0],
            width=sides[1],
            channels=signature[1] if layout == "NCHW" else signature[3],
            layout=layout,
            dtype=kind.lower(),
            scaling=_said(kind, steps),
        )

    def _steps(self, tensor: Any) -> Steps | None:
        quantisation = tensor.quantization
        scales = [] if quantisation is None else _listed(quantisation.scale)
        if len(scales) != 1:
            return None
        zeros = _listed(quantisation.zeroPoint)
        return Steps(float(scales[0]), int(zeros[0]) if zeros else 0)

    def _code(self, model: Any, operator: Any) -> str:
        code = model.operatorCodes[operator.opcodeIndex]
        number = max(code.builtinCode, code.deprecatedBuiltinCode)
        return _text(code.customCode) if self.codes.get(number) == "CUSTOM" else self.codes.get(number, f"{number}")

    def _graph(self, model: Any) -> Graph:
        graph = model.subgraphs[0]
        kept = _needed(graph, _listed(graph.outputs))

        def named(places: Any) -> tuple[str, ...]:
            return tuple(self.names[place] for place in _listed(places) if place >= 0)

        shapes = {}
        for name, tensor in zip(self.names, graph.tensors, strict=True):
            kind = self.types[tensor.type]
            if kind in FLOATS or (kind in LEVELS and self._steps(tensor) is not None):
                shapes[name] = tuple(_listed(tensor.shape))
        return Graph(
            nodes=tuple(Node(self._code(model, o), named(o.inputs), named(o.outputs)) for o in kept),
            input=self.names[graph.inputs[0]],
            outputs=named(graph.outputs),
            shapes=shapes,
        )

    # The graph of a bundle.

    def cut(self, tensor: str, front: Affine) -> tuple[Variant, bytes]:
        """As `wrap.Model` has it. Raises OptionError for what no bundle can hold."""
        with _reading():
            for many in (True, False):
                made = _Cut(self, self._unpacked(), tensor, many=many)
                variant = self._variant(made)
                made.behind(self.candidates.all[tensor].size)
                made.before(front)
                graph = made.to_bytes()
                if not made.many or self._batches(variant, graph):
                    break
        return variant, graph

    def _batches(self, variant: Variant, graph: bytes) -> bool:
        """Whether three images at once give what each gives alone."""
        from edgemeta.runners.litert import LiteRTRunner

        i = self.input
        images = np.random.default_rng(0).integers(0, 256, (3, i.height, i.width, 3)).astype(np.uint8)
        try:
            runner = LiteRTRunner(variant, graph)
            together, alone = runner.run(images), np.concatenate([runner.run(image[None]) for image in images])
        except RunnerError:
            return False
        return bool(np.allclose(together, alone, rtol=1e-3, atol=1e-3 * np.abs(alone).max()))

    def values(self, tensor: str, inputs: NDArray[np.float64]) -> NDArray[np.float32]:
        """As `wrap.Model` has it: by the runtime's reference kernels."""
        with _reading():
            return _run(_Cut(self, self._unpacked(), tensor, many=False).to_bytes(), inputs)

    def plainly(self, graph: bytes, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """As `wrap.Model` has it."""
        return _run(graph, images)

    def _variant(self, made: _Cut) -> Variant:
        kinds = [self.types[tensor.type] for tensor in made.weights()]
        precision = "int8" if set(kinds) & {"INT8", "UINT8", "INT4"} else "fp16" if "FLOAT16" in kinds else "fp32"
        return Variant(
            name=f"tflite-{precision}",
            runtime="tflite",
            precision=precision,
            member=f"graph/tflite-{precision}.tflite",
            input=INPUT,
            output=OUTPUT,
        )


class _Cut:
    """The file's model with one output, and no more than that needs; then with operators before and behind."""

    def __init__(self, owner: TfliteModel, model: Any, tensor: str, *, many: bool) -> None:
        """many: take any number of images, where the file says that it can."""
        self.schema, self.types, self.model = owner.schema, owner.types, model
        self.graph, self.owner = model.subgraphs[0], owner
        place = owner.names.index(tensor)
        self.graph.operators = _needed(self.graph, [place])
        self.graph.outputs = [place]
        self._refuse_what_cannot_be()
        self._drop_unused()
        # They speak of inputs and outputs that are no longer these, and of who converted the model.
        model.signatureDefs = model.metadata = model.metadataBuffer = None
        model.description = "edgemeta"
        given = self.graph.tensors[self.graph.inputs[0]]
        self.many = many and given.shapeSignature is not None and _listed(given.shapeSignature)[0] == -1
        if self.many:
            self._open_reshapes()
        else:
            given.shapeSignature = None

    def _refuse_what_cannot_be(self) -> None:
        codes = {self.owner._code(self.model, operator) for operator in self.graph.operators}
        if custom := sorted(codes - set(self.owner.codes.values())):
            names = ", ".join(map(printable, custom))
            raise OptionError(f"the model needs operators that are not TFLite's own ({names}); cut it before them")
        used = {place for o in self.graph.operators for place in _listed(o.inputs) if place >= 0}
        if any(self.graph.tensors[place].isVariable for place in used):
            raise OptionError("the model remembers what it saw before (variable tensors); a bundle's graph must not")

    def _drop_unused(self) -> None:
        graph, model = self.graph, self.model
        used = {*_listed(graph.inputs), *_listed(graph.outputs)}
        for operator in graph.operators:
            for places in (operator.inputs, operator.outputs, operator.intermediates):
                used.update(place for place in _listed(places) if place >= 0)
        new = {old: place for place, old in enumerate(sorted(used))}
        new[-1] = -1
        graph.tensors = [graph.tensors[old] for old in sorted(used)]
        graph.inputs, graph.outputs = ([new[place] for place in _listed(p)] for p in (graph.inputs, graph.outputs))
        for operator in graph.operators:
            operator.inputs, operator.outputs = (
                [new[place] for place in _listed(places)] for places in (operator.inputs, operator.outputs)
            )
            if operator.intermediates is not None:
                operator.intermediates = [new[place] for place in _listed(operator.intermediates)]
        operators = [operator for each in model.subgraphs for operator in each.operators or ()]
        codes = sorted({operator.opcodeIndex for operator in operators})
        for operator in operators:
            operator.opcodeIndex = codes.index(operator.opcodeIndex)
        model.operatorCodes = [model.operatorCodes[code] for code in codes]
        buffers = sorted({0, *(tensor.buffer for each in model.subgraphs for tensor in each.tensors)})
        for each in model.subgraphs:
            for tensor in each.tensors:
                tensor.buffer = buffers.index(tensor.buffer)
        model.buffers = [self._aligned(model.buffers[place].data) for place in buffers]

    def _open_reshapes(self) -> None:
        """A RESHAPE to [1, 256] was meant for one image, one to [-1, 256] is for any number."""
        for operator in self.graph.operators:
            if self.owner._code(self.model, operator) != "RESHAPE" or len(operator.inputs) < 2:
                continue
            place = self.graph.tensors[operator.inputs[1]].buffer
            data = self.model.buffers[place].data
            shape = np.frombuffer(b"" if data is None else bytes(data), "<i4").copy()
            if len(shape) > 1 and shape[0] == 1 and (shape > 0).all():
                shape[0] = -1
                self.model.buffers[place] = self._aligned(shape.tobytes())
            operator.builtinOptions, operator.builtinOptionsType = None, 0  # the shape once more

    def weights(self) -> list[Any]:
        """Constant tensors with more than one axis."""
        return [
            tensor
            for tensor in self.graph.tensors
            if self.model.buffers[tensor.buffer].data is not None and len(_listed(tensor.shape)) > 1
        ]

    def behind(self, size: int) -> None:
        """float32 (N, size), called OUTPUT."""
        place = self.graph.outputs[0]
        source = self.graph.tensors[place]
        kind = self.types[source.type]
        shape = self._constant("embedding_shape", np.array([-1, size], dtype=np.int32))
        flat = self._tensor(OUTPUT, kind, [size], source.quantization)
        self.graph.operators.append(self._operator("RESHAPE", kind, [place, shape], flat))
        if kind != "FLOAT32":
            self.graph.tensors[flat].name = "embedding_stored"
            made = self._tensor(OUTPUT, "FLOAT32", [size])
            self.graph.operators.append(self._operator("DEQUANTIZE", kind, [flat], made))
            flat = made
        self.graph.outputs = [flat]

    def before(self, front: Affine) -> None:
        """Takes uint8 (N, H, W, 3) RGB, called INPUT."""
        old = self.graph.inputs[0]
        given, i = self.graph.tensors[old], self.owner.input
        kind, steps = self.types[given.type], self.owner._steps(given)
        stored = _stored_as(front, kind, steps)
        if stored == 0 and kind == "UINT8" and i.layout == "NHWC":
            given.name = INPUT
            return
        pixels = self._tensor(INPUT, "UINT8", [i.height, i.width, 3])
        chain = _Chain(self, pixels, "UINT8", [i.height, i.width, 3])
        if stored == 0 and kind == "UINT8":
            self.graph.tensors[pixels].quantization = given.quantization
        elif stored == -128 and kind == "INT8" and steps is not None:
            self.graph.tensors[pixels].quantization = self._quantisation(Steps(steps.scale, steps.zero + 128))
            chain.add("QUANTIZE", kind, quantisation=given.quantization)
        else:
            self._scale(chain, front, given, kind, steps)
        if i.layout == "NCHW":
            axes = self._constant("channels_first", np.array([0, 3, 1, 2], dtype=np.int32))
            shape = [i.channels, i.height, i.width]
            chain.add("TRANSPOSE", kind, [axes], shape, "TransposeOptions", quantisation=given.quantization)
        chain.end_in(old)
        self.graph.inputs = [pixels]
        self.graph.operators = [*chain.operators, *self.graph.operators]

    def _scale(self, chain: _Chain, front: Affine, given: Any, kind: str, steps: Steps | None) -> None:
        """In float32, and then as the model has it. Raises OptionError where that cannot hold it."""
        if steps is not None:
            _check_range(front, kind, steps)
        # A cast cuts off what is behind the point.
        offset = front.offset + (0.5 if kind == "UINT8" and steps is None else 0.0)
        chain.add("CAST", "FLOAT32")
        none = {"fusedActivationFunction": 0}
        if not front.mixes_none:
            weights = self._constant("scaling", front.matrix.T[:, None, None].astype(np.float32))
            bias = self._constant("offset", offset.astype(np.float32))
            shape = [*chain.shape[:2], front.matrix.shape[1]]
            valid = {"padding": 1, "strideW": 1, "strideH": 1, "dilationWFactor": 1, "dilationHFactor": 1}
            chain.add("CONV_2D", "FLOAT32", [weights, bias], shape, "Conv2DOptions", **valid, **none)
        else:
            if (front.factors != 1.0).any():
                factors = self._constant("scaling", front.factors.astype(np.float32))
                chain.add("MUL", "FLOAT32", [factors], None, "MulOptions", **none)
            if offset.any():
                constant = self._constant("offset", offset.astype(np.float32))
                chain.add("ADD", "FLOAT32", [constant], None, "AddOptions", **none)
        if steps is not None:
            chain.add("QUANTIZE", kind, quantisation=given.quantization)
        elif kind != "FLOAT32":
            chain.add("CAST", kind)

    # What operators are made of.

    def _tensor(self, name: str, kind: str, shape: list[int], quantisation: Any = None) -> int:
        """One for each image, of this shape; its place."""
        made = self.schema.TensorT()
        made.name, made.type, made.quantization = name, getattr(self.schema.TensorType, kind), quantisation
        made.shape, made.buffer, made.hasRank = [1, *shape], 0, True
        if self.many:
            made.shapeSignature = [-1, *shape]
        self.graph.tensors.append(made)
        return len(self.graph.tensors) - 1

    def _constant(self, name: str, data: NDArray[Any]) -> int:
        place = self._tensor(name, data.dtype.name.upper(), [])
        made = self.graph.tensors[place]
        made.shape, made.shapeSignature, made.buffer = list(data.shape), None, len(self.model.buffers)
        self.model.buffers.append(
            self._aligned(np.frombuffer(data.astype(data.dtype.newbyteorder("<")).tobytes(), "u1"))
        )
        return place

    def _operator(self, code: str, kind: str, inputs: list[int], output: int, options: str = "", **values: Any) -> Any:
        """kind: of the data that goes in."""
        made = self.schema.OperatorT()
        made.opcodeIndex = len(self.model.operatorCodes)
        made.inputs, made.outputs = inputs, [output]
        if options:
            made.builtinOptionsType = getattr(self.schema.BuiltinOptions, options)
            made.builtinOptions = getattr(self.schema, options + "T")()
            for option, value in values.items():
                setattr(made.builtinOptions, option, value)
        named = self.schema.OperatorCodeT()
        named.builtinCode = getattr(self.schema.BuiltinOperator, code)
        named.deprecatedBuiltinCode = min(named.builtinCode, 127)
        named.version = VERSIONS.get((code, kind.lower()), 1)
        self.model.operatorCodes.append(named)
        return made

    def _quantisation(self, steps: Steps) -> Any:
        made = self.schema.QuantizationParametersT()
        made.scale, made.zeroPoint = [steps.scale], [steps.zero]
        return made

    def _aligned(self, data: NDArray[Any] | bytes | None) -> Any:
        return self.schema.BufferT() if data is None else aligned_buffer(self.schema, bytes(data))

    def to_bytes(self) -> bytes:
        import flatbuffers

        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(self.model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())


class _Chain:
    """Operators one after another, each with one tensor that is computed."""

    def __init__(self, cut: _Cut, first: int, kind: str, shape: list[int]) -> None:
        self.cut, self.last, self.kind, self.shape = cut, first, kind, shape
        self.operators: list[Any] = []

    def add(
        self,
        code: str,
        kind: str,
        constants: Sequence[int] = (),
        shape: list[int] | None = None,
        options: str = "",
        quantisation: Any = None,
        **values: Any,
    ) -> None:
        """kind, shape: of what it makes; the shape as before when None."""
        self.shape = self.shape if shape is None else shape
        made = self.cut._tensor(f"pixels_{code.lower()}", kind, self.shape, quantisation)
        self.operators.append(self.cut._operator(code, self.kind, [self.last, *constants], made, options, **values))
        self.last, self.kind = made, kind

    def end_in(self, tensor: int) -> None:
        """The last one gives this tensor instead of its own."""
        assert self.operators[-1].outputs == [len(self.cut.graph.tensors) - 1]
        self.cut.graph.tensors.pop()
        self.operators[-1].outputs = [tensor]


def _said(kind: str, steps: Steps | None) -> Scaling | None:
    """The scaling that a quantised input says, its 256 levels being the pixels'."""
    if kind == "UINT8" and steps is None:
        return RAW
    if kind not in LEVELS or steps is None:
        return None
    return scaling_of_steps(steps.scale, steps.zero, LEVELS[kind][0])


def _stored_as(front: Affine, kind: str, steps: Steps | None) -> int | None:
    """What must be added to a pixel to make the integer that the model takes, or None when it takes more than that."""
    if kind not in LEVELS or not front.mixes_none:
        return None
    scale, zero = steps or Steps(1.0, 0)
    factors, offsets = front.factors / scale, front.offset / scale + zero
    # Half a step at the end of 256 would be another level.
    if np.abs(255.0 * (factors - 1.0)).max() > 0.25 or np.abs(offsets - np.rint(offsets[0])).max() > 0.25:
        return None
    return int(np.rint(offsets[0]))


def _check_range(front: Affine, kind: str, steps: Steps) -> None:
    """Pixels must not be far from what a quantised input can hold: it would cut them off."""
    ends = front(np.array([[[[0] * 3, [255] * 3]]], dtype=np.uint8))
    low, high = (steps.scale * (level - steps.zero) for level in LEVELS[kind])
    slack = 0.1 * (high - low)
    if ends.min() < low - slack or ends.max() > high + slack:
        raise OptionError(
            f"the model's input holds {low:.4g} to {high:.4g}, and --scale makes {ends.min():.4g} to {ends.max():.4g} "
            "of pixels: another scaling is meant, or this is no model of images"
        )


def _run(content: bytes, inputs: NDArray[Any]) -> NDArray[np.float32]:
    """One image after another through the runtime's reference kernels, flattened to (N, D). Raises OptionError."""
    from edgemeta.runners.litert import load_runtime

    runtime = load_runtime()
    kind, rows = runtime.OpResolverType.BUILTIN_REF, []
    try:
        interpreter = runtime.Interpreter(model_content=content, num_threads=1, experimental_op_resolver_type=kind)
        (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
        interpreter.allocate_tensors()
        for image in inputs:
            interpreter.set_tensor(given["index"], _quantised(image[None], given))
            interpreter.invoke()
            rows.append(_real(interpreter.get_tensor(made["index"]), made).ravel())
    except (ValueError, RuntimeError) as error:
        raise OptionError(f"LiteRT refuses the model: {printable(str(error))[:200]}") from error
    return np.array(rows, dtype=np.float32)


@contextmanager
def _reading() -> Iterator[None]:
    """What a damaged file leads to, in words."""
    try:
        yield
    except OptionError:
        raise
    except UNSOUND as error:
        raise OptionError(f"this is no sound TFLite file: {printable(str(error))[:200]}") from error


def _quantised(values: NDArray[Any], details: dict[str, Any]) -> NDArray[Any]:
    """As the interpreter takes them."""
    if values.dtype == details["dtype"]:
        return values
    scale, zero = details["quantization"]
    if np.issubdtype(details["dtype"], np.integer):
        limits = np.iinfo(details["dtype"])
        values = np.clip(np.rint(values / (scale or 1.0) + zero), limits.min, limits.max)
    return values.astype(details["dtype"])


def _real(values: NDArray[Any], details: dict[str, Any]) -> NDArray[np.float32]:
    scale, zero = details["quantization"]
    if np.issubdtype(details["dtype"], np.integer):
        return np.asarray(np.float32(scale) * (values.astype(np.float32) - zero), dtype=np.float32)
    return values.astype(np.float32)


def _layout(shape: list[int]) -> str:
    """Where the channels are. Raises OptionError."""
    if shape[3] in (1, 3):
        return "NHWC"
    if shape[1] in (1, 3) and shape[2] > 1:
        return "NCHW"
    raise OptionError(
        f"the input is {' x '.join(map(str, shape[1:]))}: no axis of 3 colours or 1 grey channel as images have"
    )


def _needed(graph: Any, places: list[int]) -> list[Any]:
    """The operators that these tensors are computed by."""
    wanted, kept = set(places), []
    for operator in reversed(graph.operators):
        if wanted.intersection(_listed(operator.outputs)):
            wanted.update(_listed(operator.inputs))
            kept.append(operator)
    return kept[::-1]


def _listed(values: Any) -> list[int]:
    return [] if values is None else [value.item() if isinstance(value, np.generic) else value for value in values]


def _text(name: Any) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name or "")


def _unique(names: list[str]) -> list[str]:
    """Names that are shared, or empty, with their place behind."""
    return [name if name and names.count(name) == 1 else f"{name}#{place}" for place, name in enumerate(names)]


def _names_of(enumeration: Any) -> dict[int, str]:
    return {number: name for name, number in vars(enumeration).items() if isinstance(number, int)}
