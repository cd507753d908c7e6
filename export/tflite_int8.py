"""TFLite with integers inside: int8 weights, one scale a channel, int8 values, int32 biases.

Jacob et al. 2018, "Quantization and training of neural networks for efficient integer-arithmetic-only inference";
TFLite's "8-bit quantization specification". Pixels come as uint8, the embedding leaves as float32.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgemeta.errors import OptionError
from edgemeta.terminal import printable

from .ranges import Ranges
from .simulating import worst_cosine
from .tflite import FP32, convert, variant
from .tflite_file import Operator, Program, Quantisation, Tensor, to_bytes
from .tflite_operators import ACTIVATIONS, NONE

INT8 = variant("int8")
# The axis of the weights that has the outputs.
WEIGHTED = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0}
ELEMENTWISE = ("ADD", "SUB", "MUL")
# What is computed between calibrated ranges, and what only moves values or takes the largest and so keeps its input's.
RANGED = (*WEIGHTED, *ELEMENTWISE, "CONCATENATION", "HARD_SWISH", "LEAKY_RELU", "LOGISTIC", "MEAN", "RELU", "RELU6")
MOVING = ("AVERAGE_POOL_2D", "MAX_POOL_2D", "PAD", "PADV2", "RESHAPE", "TRANSPOSE")
PIXELS = Quantisation(np.ones(1, np.float32))
SIGMOID = Quantisation(np.array([1.0 / 256.0], np.float32), -128)  # what the kernel gives, whatever it is asked for


def to_tflite_int8(model: bytes, ranges: Ranges, *, keep: Collection[str] = ()) -> bytes:
    """The int8 graph. ranges: from `ranges.value_ranges`. keep: layers, as `layers` names them, that stay float32.

    Operators without an int8 kernel stay float32 too: `left_in_float` names them. Raises BundleError for an operator
    that is not known, OptionError for a layer that is not there or ranges of another graph.
    """
    program = _int8_program(model, ranges, keep)
    return to_bytes(program)


def left_in_float(model: bytes, ranges: Ranges, *, keep: Collection[str] = ()) -> list[str]:
    """What `to_tflite_int8` computes in float32: the operators, each with the ONNX node it was made from."""
    program = _int8_program(model, ranges, keep)
    kinds = ("QUANTIZE", "DEQUANTIZE")
    return [f"{o.code} {o.source}" for o in program.operators if o.code not in kinds and _is_float(program, o)]


def _is_float(program: Program, operator: Operator) -> bool:
    return program.tensors[operator.output].dtype == "float32"


def _int8_program(model: bytes, ranges: Ranges, keep: Collection[str]) -> Program:
    program = convert(model)
    origins = {program.tensors[operator.output].origin for operator in program.operators if operator.code in RANGED}
    if missing := sorted(origins - {"", *ranges}):
        raise OptionError(f"the ranges are of another graph: they lack {printable(missing[0])}")
    known = _layers(program)
    if unknown := [name for name in keep if name not in known]:
        raise OptionError(f"no layer is called {printable(unknown[0])}; there are {', '.join(map(printable, known))}")
    return quantise(program, ranges, lambda operator: layer_name(operator) not in keep)


def layers(model: bytes) -> list[str]:
    """The names of layers that can be left in float: of their weights, or of the ONNX node where there are none."""
    return _layers(convert(model))


def harms(
    model: bytes, ranges: Ranges, images: NDArray[np.uint8], embed: Callable[[bytes], NDArray[np.float32]] | None = None
) -> dict[str, float]:
    """The worst cosine between the embeddings of `images` in float32 and with one layer quantised, for each layer.

    embed: from a graph to its embeddings of `images`; LiteRT's when not given.
    """
    embed = embed or _embedder(images)
    program = convert(model)
    expected = embed(to_bytes(program))
    found = {}
    for name in _layers(program):
        alone = quantise(convert(model), ranges, partial(_is_layer, name))
        found[name] = worst_cosine(embed(to_bytes(alone)), expected)
    return found


def choose_kept(model: bytes, ranges: Ranges, images: NDArray[np.uint8], wanted: float) -> list[str]:
    """The layers to leave in float so that the worst cosine over `images` is at least `wanted`, the worst first.

    Taken in the order of their harm until that is so. Raises OptionError when leaving all would not be enough.
    """
    embed = _embedder(images)
    expected = embed(to_bytes(convert(model)))
    harm = harms(model, ranges, images, embed)
    order = sorted(harm, key=lambda name: harm[name])
    for count in range(len(order) + 1):
        got = worst_cosine(embed(to_tflite_int8(model, ranges, keep=order[:count])), expected)
        if got >= wanted:
            return order[:count]
    raise OptionError(f"a worst cosine of {wanted} is out of reach: {got:.6f} with every layer in float")


def quantise(program: Program, ranges: Ranges, chosen: Callable[[Operator], bool]) -> Program:
    """The program with those operators in int8 that are chosen and can be, and conversions where the kinds meet."""
    return _Quantiser(program, ranges, chosen).run()


def layer_name(operator: Operator) -> str:
    return operator.inputs[1] if operator.code in WEIGHTED else operator.source


def _is_layer(name: str, operator: Operator) -> bool:
    return layer_name(operator) == name


def _layers(program: Program) -> list[str]:
    return list(dict.fromkeys(layer_name(o) for o in program.operators if o.code in RANGED or o.code == "CAST"))


def _embedder(images: NDArray[np.uint8]) -> Callable[[bytes], NDArray[np.float32]]:
    from edgemeta.runners.litert import LiteRTRunner

    return lambda graph: LiteRTRunner(FP32, graph).run(images)


def between(least: float, most: float) -> Quantisation:
    """256 steps from the least to the most, one of them at 0, which paddings need."""
    least, most = min(least, 0.0), max(most, 0.0)
    scale = np.float32(max((most - least) / 255.0, 1e-12))
    return Quantisation(np.array([scale]), int(np.clip(np.rint(-128.0 - least / float(scale)), -128, 127)))


class _Quantiser:
    """One pass over a float program. A tensor is written as float, as int8 or as both, when someone reads it so."""

    def __init__(self, program: Program, ranges: Ranges, chosen: Callable[[Operator], bool]) -> None:
        self.old, self.ranges, self.chosen = program, ranges, chosen
        self.new = Program(program.input, program.output)
        self.whole: dict[str, str] = {}  # the int8 twin of each tensor that has one

    def run(self) -> Program:
        pixels = self.old.tensors[self.old.input]
        quantisation = PIXELS if pixels.dtype == "uint8" else None
        self.new.add(replace(pixels, quantisation=quantisation))
        for operator in self.old.operators:
            if self.can(operator) and self.chosen(operator):
                self.integer(operator)
            else:
                self.floating(operator)
        self.real(self.old.output)
        return self.new

    def can(self, operator: Operator) -> bool:
        """Whether the operator has a kernel for int8 and the ranges it needs are known."""
        output = self.old.tensors[operator.output]
        if operator.code == "CAST":
            return self._known(output)
        computed = [self.old.tensors[name] for name in operator.inputs if self.old.tensors[name].data is None]
        if operator.code in MOVING:
            return computed[0].name in self.whole
        return operator.code in RANGED and all(self._known(t) or t.name in self.whole for t in (*computed, output))

    def _known(self, tensor: Tensor) -> bool:
        return tensor.bounds is not None or tensor.origin in self.ranges

    def floating(self, operator: Operator) -> None:
        for name in operator.inputs:
            self.real(name)
        self.new.add(replace(self.old.tensors[operator.output]))
        self.new.operators.append(operator)

    def integer(self, operator: Operator) -> None:
        code, first = operator.code, operator.inputs[0]
        if code == "CAST":
            self.emit(replace(operator, code="QUANTIZE"), [first], between(0.0, 255.0))
        elif code == "HARD_SWISH":
            self.hard_swish(operator)
        elif code in MOVING:
            held = self.int8(first)
            made = self.quantisation(held)
            self.emit(operator, [held, *(self._told(name, made) for name in operator.inputs[1:])], made)
        elif code in WEIGHTED:
            made = self.scale(operator.output)
            self.emit(operator, self.weighted(operator, made), made)
        elif code == "CONCATENATION":
            made = self.scale(operator.output)
            self.emit(operator, [self.int8(name, made) for name in operator.inputs], made)
        else:
            made = SIGMOID if code == "LOGISTIC" else self.scale(operator.output)
            whole = [self.old.tensors[name].dtype != "int32" for name in operator.inputs]
            names = [self.int8(n) if w else self.real(n) for n, w in zip(operator.inputs, whole, strict=True)]
            self.emit(operator, names, made)

    def hard_swish(self, operator: Operator) -> None:
        """x (x / 6 + 1/2), the bracket within 0 and 1, where int8 ends by itself: XNNPACK, which has no int8 kernel
        for the operator itself, has them for these. x / 6 has the integers of x, on a finer scale.
        """
        held = self.int8(operator.inputs[0])
        given, shape = self.quantisation(held), self.new.tensors[held].shape
        finer = Quantisation(given.scale / np.float32(6.0), given.zero_point)
        for code, value, made in (("MUL", 1.0 / 6.0, finer), ("ADD", 0.5, between(0.0, 1.0))):
            constant = self._constant(f"{operator.output}_{code.lower()}", np.array(value, np.float32))
            share = self.new.add(Tensor(f"{operator.output}_share", shape, "int8", quantisation=made))
            source = held if code == "MUL" else self.new.operators[-1].output
            self.new.operators.append(Operator(code, [source, constant], share, {**NONE}, operator.source))
        self.emit(replace(operator, code="MUL", options={**NONE}), [held, share], self.scale(operator.output))

    def emit(self, operator: Operator, inputs: list[str], made: Quantisation) -> None:
        output = self.old.tensors[operator.output]
        if operator.options.get("fusedActivationFunction") == ACTIVATIONS["RELU6"]:
            # The range ends at 6 or before; and some kernels overflow where 6 is billions of steps away.
            relu = {"fusedActivationFunction": ACTIVATIONS["RELU"]}
            operator = replace(operator, options={**operator.options, **relu})
        twin = self.add(output.name, Tensor("", output.shape, "int8", quantisation=made))
        self.new.operators.append(replace(operator, inputs=inputs, output=twin))
        self.whole[output.name] = twin

    def add(self, name: str, twin: Tensor) -> str:
        """Adds an int8 twin of a float tensor under a name that no float tensor has or will have."""
        twin.name = f"{name}_int8"
        while twin.name in self.old.tensors:
            twin.name += "_"
        return self.new.add(twin)

    def quantisation(self, name: str) -> Quantisation:
        found = self.new.tensors[name].quantisation
        assert found is not None
        return found

    def _told(self, name: str, made: Quantisation) -> str:
        """What tells an operator how: axes and shapes as they are, the lowest number, for PADV2, as int8."""
        tensor = self.old.tensors[name]
        if tensor.dtype == "int32":
            return self.real(name)
        lowest = np.full(tensor.shape, -128, dtype=np.int8)
        return self.add(name, Tensor("", tensor.shape, "int8", lowest, made))

    def scale(self, name: str) -> Quantisation:
        tensor = self.old.tensors[name]
        return between(*(tensor.bounds or self.ranges[tensor.origin]))

    def real(self, name: str) -> str:
        """The tensor in float32, or a constant as it is."""
        if name not in self.new.tensors:
            self.new.add(replace(self.old.tensors[name]))
            if name in self.whole:
                self.new.operators.append(Operator("DEQUANTIZE", [self.whole[name]], name))
        return name

    def int8(self, name: str, wanted: Quantisation | None = None) -> str:
        """The tensor in int8, with the `wanted` scale where one is given."""
        tensor = self.old.tensors[name]
        if tensor.data is not None:
            return self._constant(name, tensor.data)
        if name not in self.whole:
            self.whole[name] = self._converted(self.real(name), self.scale(name))
        held = self.whole[name]
        if wanted is not None and self.quantisation(held) != wanted:
            return self._converted(held, wanted)
        return held

    def _constant(self, name: str, data: NDArray[np.float32]) -> str:
        scaled = between(float(data.min()), float(data.max()))
        whole = np.clip(np.rint(data / scaled.scale[0]) + scaled.zero_point, -128, 127).astype(np.int8)
        return self.add(name, Tensor("", data.shape, "int8", whole.reshape(data.shape), scaled))

    def _converted(self, name: str, scaled: Quantisation) -> str:
        made = self.add(name, Tensor("", self.new.tensors[name].shape, "int8", quantisation=scaled))
        self.new.operators.append(Operator("QUANTIZE", [name], made))
        return made

    def weighted(self, operator: Operator, made: Quantisation) -> list[str]:
        """Input, weights and bias of a convolution or a linear layer."""
        held = self.int8(operator.inputs[0])
        given = self.quantisation(held)
        weights, bias = (self.old.tensors[name] for name in operator.inputs[1:])
        assert weights.data is not None and bias.data is not None
        axis = WEIGHTED[operator.code]
        data = np.moveaxis(weights.data.astype(np.float64), axis, -1)
        scale = _weight_scale(data, bias.data, float(given.scale[0]), float(made.scale[0]))
        whole = np.moveaxis(np.clip(np.rint(data / scale), -127, 127).astype(np.int8), -1, axis)
        quantisation = Quantisation(scale.astype(np.float32), axis=axis)
        w = self.add(weights.name, Tensor("", weights.shape, "int8", np.ascontiguousarray(whole), quantisation))
        steps = quantisation.scale.astype(np.float64) * float(given.scale[0])
        shift = np.rint(bias.data / steps).astype(np.int32)
        b = Tensor(f"{bias.name}_int32", bias.shape, "int32", shift, Quantisation(steps.astype(np.float32), axis=0))
        return [held, w, self.new.add(b)]


def _weight_scale(data: NDArray[np.float64], bias: NDArray[Any], given: float, made: float) -> NDArray[np.float64]:
    """The scale of each output, in the last axis: as fine as int8 allows, and as the int32 bias and kernels do."""
    largest = np.abs(data).reshape(-1, data.shape[-1]).max(axis=0) / 127.0
    fits = np.abs(bias) / (given * 2.0**30)
    # Kernels multiply by given * scale / made, which XNNPACK wants above 2^-32.
    scale: NDArray[np.float64] = np.maximum(np.maximum(largest, fits), 2.0**-24 * made / given)
    return scale
