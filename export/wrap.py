"""A model that was made elsewhere, an ONNX or a TFLite file, becomes a bundle.

`wrap_onnx` and `wrap_tflite` read, cut and equip the file; here is what both have in common. The wrapped graph is held
against the file's own before anything is written, and the golden outputs are the file's own.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgemeta.bundle import Bundle, HeadRecipe, InputContract, Licence, Variant, write_bundle
from edgemeta.data import Glyphs
from edgemeta.errors import BundleError, OptionError
from edgemeta.heads import make_head
from edgemeta.imaging import Channels, resize
from edgemeta.normalisation import Normalisation
from edgemeta.options import as_path
from edgemeta.terminal import printable

from .naming import checked_name
from .wrap_candidates import BAD, LINEAR_OUTPUT, Candidate, Candidates
from .wrap_scaling import CHOICES, RAW, Affine, Scaling, affine, in_words, parse_scaling

INPUT, OUTPUT = "pixels", "embedding"
# What 1 - cosine may be between the file's own graph and the wrapped one, in kernels of the same kind; int8 may find a
# pixel on the other side of a step.
SAME = {"fp32": 1e-5, "fp16": 1e-4, "int8": 1e-3}
# And in the kernels that a device uses, also in `verify`: those for int8 round otherwise, in each layer by a step at
# most; MobileNet v2 in uint8 loses 0.006 with XNNPACK (tests/bench_wrapped.py).
TOLERANCES = {"fp32": 1e-4, "fp16": 1e-3, "int8": 2e-2}
# The least cosine between embeddings of quite different images from which on they are hardly of use.
ALIKE = 0.95
# No head was trained together with these backbones. With photos of groceries and four real models, 5 classes of 5
# examples, shrinkage LDA was right on 91, 89, 71 and 70 %, class means on 88, 84, 64 and 62 %. With one they are equal.
HEAD = "lda"


@dataclass(frozen=True)
class ModelInput:
    """What a model takes: one image of (height, width) with 3 channels or 1, "NHWC" or "NCHW", of a dtype.

    scaling, channels: what the file says of them, or None.
    """

    name: str
    height: int
    width: int
    channels: int
    layout: str
    dtype: str
    scaling: Scaling | None = None
    order: Channels | None = None

    def arranged(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, H, W, C) in the model's own order of axes."""
        return values if self.layout == "NHWC" else values.transpose(0, 3, 1, 2)

    def __str__(self) -> str:
        return f"{self.height} x {self.width} x {self.channels} {self.dtype}, {self.layout}"


class Model(Protocol):
    """An opened model file. candidates: its tensors that could be the embedding."""

    input: ModelInput
    candidates: Candidates

    def cut(self, tensor: str, front: Affine) -> tuple[Variant, bytes]:
        """The graph from uint8 (N, H, W, 3) RGB to float32 (N, D), and what it is called in a bundle."""
        ...

    def values(self, tensor: str, inputs: NDArray[np.float64]) -> NDArray[np.float32]:
        """What the file's own graph gives for real-valued inputs in its layout, flattened to (N, D), computed one image
        at a time by the runtime's plainest kernels."""
        ...

    def plainly(self, graph: bytes, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What a graph that `cut` made gives in the same kernels, one image at a time."""
        ...


def open_model(path: str | os.PathLike[str], size: tuple[int, int] | None = None) -> tuple[Model, bytes]:
    """The model and the bytes of its file. size: (height, width), where the file leaves them open.

    Raises OptionError for a file that is neither ONNX nor TFLite, that is damaged, or whose model is no single graph
    over one image; MissingDependencyError.
    """
    file = Path(as_path(path, "a model"))
    try:
        data = file.read_bytes()
    except OSError as error:
        raise OptionError(f"{printable(str(file))} cannot be read: {error.strerror or error}") from error
    try:
        if data[4:8] == b"TFL3" or file.suffix == ".tflite":
            from .wrap_tflite import TfliteModel

            return TfliteModel(data, size), data
        if file.suffix != ".onnx":
            raise OptionError("wrap takes a .onnx or a .tflite file; this is neither by its name and first bytes")
        from .wrap_onnx import OnnxModel

        return OnnxModel(data, size), data
    except OptionError as error:
        raise OptionError(f"{printable(str(file))}: {error}") from error


def wrap(
    model: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    output: str,
    scale: str | None = None,
    channels: Channels | None = None,
    size: tuple[int, int] | None = None,
    name: str | None = None,
    licences: Sequence[Licence] = (),
    normalisation: Normalisation | None = None,
    head: str = HEAD,
) -> Bundle:
    """Write the bundle `out`, NAME.edgemeta, whose embedding is the tensor `output` of a file; returns it opened.

    model: an ONNX or TFLite file. output: a tensor's name, or "auto" for the clearly best. scale: "imagenet", "0..1",
    "-1..1", "raw" or "MEAN,STD" with pixels from 0 to 255; needed unless the file says it. channels: "rgb" (what is
    taken where the file does not say) or "bgr". size: (height, width) where the file leaves them open. normalisation:
    L2 alone unless it is given. head: the one that a learner begins with; prior classes need one of means.

    Warns where a classifier's answer is taken for an embedding. Raises OptionError, BundleError, HeadError,
    MissingDependencyError; a file that is there is replaced only by a whole bundle.
    """
    name, normalisation = checked_name(name, Path(as_path(out, "--out"))), normalisation or Normalisation()
    recipe = HeadRecipe(head, None, make_head(head).temperature)
    opened, data = open_model(model, size)
    chosen = opened.candidates.chosen(output)
    scaling, order = settled(opened.input, scale, channels)
    front = affine(scaling, order, opened.input.channels)
    variant, graph = opened.cut(chosen.tensor, front)
    inputs = golden_inputs(opened.input.height, opened.input.width)
    outputs = opened.values(chosen.tensor, opened.input.arranged(front(inputs)))
    _warn(opened.candidates, chosen)
    if chosen.kind not in BAD:
        _warn_of_sameness(outputs)
    _hold_against(opened, variant, graph, inputs, outputs)
    contract = InputContract(opened.input.height, opened.input.width)
    write_bundle(
        out,
        name=name,
        embedding_id=embedding_id(data, chosen.tensor, front, contract, normalisation),
        input=contract,
        normalisation=normalisation,
        head=recipe,
        variants=[(variant, graph)],
        golden_inputs=inputs,
        golden_outputs=outputs,
        licences=licences,
        training={
            "wrapped": {
                "file": Path(model).name,
                "sha256": hashlib.sha256(data).hexdigest(),
                "tensor": chosen.tensor,
                "looks like": chosen.look,
                "scale": in_words(scaling),
                "channels": order if opened.input.channels == 3 else "grey",
            }
        },
        tolerance=TOLERANCES[variant.precision],
    )
    return Bundle.open(os.path.abspath(out))


def settled(given: ModelInput, scale: str | None, channels: Channels | None) -> tuple[Scaling, Channels]:
    """The scaling and the order of colours: what was asked for, else what the file says. Raises OptionError."""
    if channels not in (None, "rgb", "bgr"):
        raise OptionError(f"channels: rgb or bgr, not '{printable(str(channels))}'")
    scaling = parse_scaling(scale) if scale is not None else given.scaling
    if scaling is None:
        raise OptionError(
            f"the file does not say how its input ({given}) is scaled from pixels of 0 to 255; who trained the model "
            f"knows. Say it with --scale:\n{CHOICES}"
        )
    if given.dtype == "uint8" and given.scaling == RAW and scaling != RAW:
        raise OptionError(f"the model takes pixels as they are and scales them itself: leave --scale {scale} out")
    return scaling, channels or given.order or "rgb"


def golden_inputs(height: int, width: int) -> NDArray[np.uint8]:
    """uint8 (4, H, W, 3): a drawn character, one in colour, a smooth field of colours, noise. They need no data set and
    make a net of photographs do something too."""
    rng = np.random.default_rng(0)
    drawn = Glyphs(seed=987654321, alphabets=1, characters=2, drawers=1).load(height, width).pixels
    plain, tinted = np.repeat(drawn[..., None], 3, axis=3).astype(np.float64)
    smooth = resize(rng.integers(0, 256, (5, 5, 3)).astype(np.uint8), height, width)
    noise = rng.integers(0, 256, (height, width, 3))
    return np.stack([plain, tinted * rng.uniform(0.3, 1.0, 3), smooth, noise]).astype(np.uint8)


def embedding_id(
    data: bytes, tensor: str, front: Affine, contract: InputContract, normalisation: Normalisation
) -> bytes:
    """sha256 of the file, the tensor, the scaling, the input contract and the normalisation (SPEC.md)."""
    plain = {"power": normalisation.power, "l2": normalisation.l2, "scale": normalisation.scale}
    digest = hashlib.sha256(b"edgemeta wrapped 1\n" + hashlib.sha256(data).digest())
    digest.update(json.dumps([tensor, front.to_json(), asdict(contract), plain], sort_keys=True).encode())
    if normalisation.centre is not None:
        digest.update(normalisation.centre.astype("<f4").tobytes())
    return digest.digest()


def _warn(candidates: Candidates, chosen: Candidate) -> None:
    better = candidates.better(chosen)
    instead = f"'{printable(better.tensor)}' ({better.look}) is the better tensor" if better else "it has no better one"
    if chosen.kind in BAD:
        warnings.warn(
            f"'{printable(chosen.tensor)}' is a classifier's answer ({chosen.look}), which tells little of classes "
            f"that the model was not trained on; {instead}",
            stacklevel=3,
        )
    elif chosen.kind == LINEAR_OUTPUT and better:
        warnings.warn(
            f"should '{printable(chosen.tensor)}' be a classifier's logits rather than an embedding, {instead}",
            stacklevel=3,
        )


def _warn_of_sameness(outputs: NDArray[np.float32]) -> None:
    """Golden inputs have nothing in common: real models of a thousand classes give two of them 0.2 to 0.3, those of
    ten 0.5, and one that tells persons from the rest 0.97."""
    lengths = np.linalg.norm(outputs, axis=1, keepdims=True)
    directions = outputs / np.where(lengths == 0.0, 1.0, lengths)
    least = float((directions @ directions.T).min())
    if least > ALIKE or not lengths.any():
        warnings.warn(
            f"images of quite different things get nearly the same embedding (cosine at least {least:.3f}): either the "
            "model was trained to tell few classes apart, or its pixels are scaled otherwise",
            stacklevel=3,
        )


def _hold_against(
    model: Model, variant: Variant, graph: bytes, inputs: NDArray[np.uint8], outputs: NDArray[np.float32]
) -> None:
    """Once plainly, once as a device does, all inputs in one batch. Raises BundleError when the answers are others."""
    if not np.isfinite(outputs).all():
        raise BundleError("the model gives NaN or infinity; is the --scale the one that it was trained with?")
    if difference := _difference(model.plainly(graph, inputs), outputs, SAME[variant.precision]):
        raise BundleError(f"the wrapped graph does not compute what the file does ({difference}); nothing was written")
    difference = _difference(run_graph(variant, graph, inputs), outputs, TOLERANCES[variant.precision])
    if difference and (variant.runtime, variant.precision) != ("onnx", "int8"):
        raise BundleError(f"the runtime's fast kernels do not compute what the file does ({difference})")
    if difference:
        warnings.warn(
            f"the runtime's int8 kernels of this machine do not compute what the model does ({difference}), as on x86 "
            "without VNNI; the bundle is right, and `edgemeta verify` says whether a device can run it",
            stacklevel=3,
        )


def _difference(got: NDArray[np.float32], outputs: NDArray[np.float32], bound: float) -> str:
    """How they differ by more than `bound` in 1 - cosine, in words, or nothing."""
    if got.shape != outputs.shape:
        return f"{got.shape} for {outputs.shape}"
    worst = worst_cosine(got, outputs)
    return "" if worst >= 1.0 - bound else f"worst cosine {worst:.6f}"


def run_graph(variant: Variant, graph: bytes, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What a device's runner gives."""
    if variant.runtime == "onnx":
        from edgemeta.runners.onnx import OnnxRunner

        return OnnxRunner(variant, graph, providers=["CPUExecutionProvider"]).run(images)
    from edgemeta.runners.litert import LiteRTRunner

    return LiteRTRunner(variant, graph).run(images)


def worst_cosine(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Between rows; two rows of zeros agree."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines = (a * b).sum(axis=1) / np.where(lengths == 0.0, 1.0, lengths)
    return float(np.where((a == b).all(axis=1), 1.0, cosines).min())
