"""A TFLite file: what is in it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgemeta.bundle import Variant
from edgemeta.errors import OptionError, RunnerError
from edgemeta.terminal import printable

from .tflite_file import load_schema
from .wrap import INPUT, OUTPUT, ModelInput
from .wrap_candidates import Candidates, Graph, Node
from .wrap_scaling import RAW, Affine, Scaling, scaling_of_steps
from .wrap_tflite_cut import LEVELS, Cut, Steps, code_of, listed, names_of, needed, steps_of, text
from .wrap_tflite_metadata import normalisation

SCHEMA_VERSION = 3
FLOATS = ("FLOAT32", "FLOAT16")
# What a flatbuffer's accessors raise on bytes that make no sense.
UNSOUND = (struct.error, IndexError, ValueError, TypeError, OverflowError, AttributeError, MemoryError, RecursionError)


class TfliteModel:
    """The main graph of a file, from an image to tensors."""

    def __init__(self, data: bytes, size: tuple[int, int] | None) -> None:
        """size: (height, width), where the file leaves them open. Raises OptionError, MissingDependencyError."""
        self.schema = load_schema()
        self.data = data
        self.codes = names_of(self.schema.BuiltinOperator)
        self.types = names_of(self.schema.TensorType)
        with _reading():
            model = self._unpacked()
            self._check(model)
            self.input = self._described(model, size)
            self.names = _unique([text(tensor.name) for tensor in model.subgraphs[0].tensors])
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
            if any(not -1 <= place < count for place in listed(places)):
                raise OptionError("the file is damaged: an operator works on a tensor that is not there")
        if len(graph.inputs) != 1:
            names = ", ".join(printable(text(graph.tensors[place].name)) for place in graph.inputs)
            raise OptionError(f"a model of one image has one input, and this has {len(graph.inputs)}: {names}")
        if any(not 0 <= tensor.buffer < len(model.buffers) for tensor in graph.tensors):
            raise OptionError("the file is damaged: a tensor's data are not there")
        if any(buffer.offset > 1 for buffer in model.buffers) or getattr(model, "externalBuffers", None):
            raise OptionError("weights are outside the flatbuffer or in another file; put all into one below 2 GB")

    def _described(self, model: Any, size: tuple[int, int] | None) -> ModelInput:
        tensor = model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]]
        name, kind = text(tensor.name), self.types[tensor.type]
        signature = listed(tensor.shapeSignature if tensor.shapeSignature is not None else tensor.shape)
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
        steps = steps_of(tensor)
        return ModelInput(
            name=name,
            height=sides[0],
            width=sides[1],
            channels=signature[1] if layout == "NCHW" else signature[3],
            layout=layout,
            dtype=kind.lower(),
            scaling=_said(kind, steps) or normalisation(model),
        )

    def _graph(self, model: Any) -> Graph:
        graph = model.subgraphs[0]
        kept = needed(graph, listed(graph.outputs))

        def named(places: Any) -> tuple[str, ...]:
            return tuple(self.names[place] for place in listed(places) if place >= 0)

        shapes = {}
        for name, tensor in zip(self.names, graph.tensors, strict=True):
            kind = self.types[tensor.type]
            if kind in FLOATS or (kind in LEVELS and steps_of(tensor) is not None):
                shapes[name] = tuple(listed(tensor.shape))
        return Graph(
            nodes=tuple(Node(code_of(self.codes, model, o), named(o.inputs), named(o.outputs)) for o in kept),
            input=self.names[graph.inputs[0]],
            outputs=named(graph.outputs),
            shapes=shapes,
        )

    # The graph of a bundle.

    def cut(self, tensor: str, front: Affine) -> tuple[Variant, bytes]:
        """As `wrap.Model` has it. Raises OptionError for what no bundle can hold."""
        with _reading():
            for many in (True, False):
                made = self._cut(tensor, many=many)
                variant = self._variant(made)
                made.behind(self.candidates.all[tensor].size)
                made.before(front)
                graph = made.to_bytes()
                if not made.many or self._batches(variant, graph):
                    break
        return variant, graph

    def _cut(self, tensor: str, *, many: bool) -> Cut:
        return Cut(self.schema, self._unpacked(), self.names.index(tensor), self.input, many=many)

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
            return _run(self._cut(tensor, many=False).to_bytes(), inputs)

    def plainly(self, graph: bytes, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """As `wrap.Model` has it."""
        return _run(graph, images)

    def _variant(self, made: Cut) -> Variant:
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


def _said(kind: str, steps: Steps | None) -> Scaling | None:
    """The scaling that a quantised input says, its 256 levels being the pixels'."""
    if kind == "UINT8" and steps is None:
        return RAW
    if kind not in LEVELS or steps is None:
        return None
    return scaling_of_steps(steps.scale, steps.zero, LEVELS[kind][0])


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


def _unique(names: list[str]) -> list[str]:
    """Names that are shared, or empty, with their place behind."""
    return [name if name and names.count(name) == 1 else f"{name}#{place}" for place, name in enumerate(names)]
