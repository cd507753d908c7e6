"""Every format and precision of one graph, from its float32 ONNX form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgemeta.bundle import Variant
from edgemeta.errors import OptionError

from . import onnx, onnx_int8

FORMATS = ("onnx", "tflite")
PRECISIONS = ("fp32", "fp16", "int8")


@dataclass(frozen=True)
class Wanted:
    """Which variants: formats and precisions, each with each. images: fitted, uint8 (N, H, W, 3), for int8.

    Raises OptionError for a name that is none, one that is given twice, int8 without images.
    """

    formats: tuple[str, ...] = ("onnx",)
    precisions: tuple[str, ...] = ("fp32",)
    images: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        for kind, given, known in (("format", self.formats, FORMATS), ("precision", self.precisions, PRECISIONS)):
            if not given or len(set(given)) != len(given) or not set(given) <= set(known):
                raise OptionError(f"--{kind} is one or more of {', '.join(known)}, each once, not {', '.join(given)}")
        if "int8" in self.precisions:
            if self.images is None:
                raise OptionError(
                    "int8 is calibrated on images like those of the device: --calibrate folder:DIR, or digits, "
                    "omniglot:DIR (about 100 are used)"
                )
            onnx_int8.check_calibration(self.images)


def make_variants(graph: bytes, wanted: Wanted) -> list[tuple[Variant, bytes]]:
    """The variants of the float32 ONNX `graph`, in the order of the formats and of `PRECISIONS`.

    Raises what the makers of the formats raise: MissingDependencyError, BundleError.
    """
    order = [p for p in PRECISIONS if p in wanted.precisions]
    return [_make(graph, form, precision, wanted.images) for form in wanted.formats for precision in order]


def _make(graph: bytes, form: str, precision: str, images: NDArray[np.uint8] | None) -> tuple[Variant, bytes]:
    if form == "tflite":
        return _make_tflite(graph, precision, images)
    if precision == "fp32":
        return onnx.FP32, graph
    if precision == "fp16":
        return onnx.FP16, onnx.to_half(graph)
    assert images is not None
    return onnx_int8.INT8, onnx_int8.to_int8(graph, images)


def _make_tflite(graph: bytes, precision: str, images: NDArray[np.uint8] | None) -> tuple[Variant, bytes]:
    from . import tflite, tflite_int8
    from .ranges import value_ranges

    if precision == "fp32":
        return tflite.variant("fp32"), tflite.to_tflite(graph)
    if precision == "fp16":
        return tflite.variant("fp16"), tflite.to_tflite_fp16(graph)
    assert images is not None
    return tflite.variant("int8"), tflite_int8.to_tflite_int8(graph, value_ranges(graph, images))


def pick_images(pixels: NDArray[np.uint8], most: int = 100) -> NDArray[np.uint8]:
    """Of many images as many as calibration needs, spread evenly: data sources are sorted by class."""
    if len(pixels) <= most:
        return pixels
    picked: NDArray[np.uint8] = pixels[np.linspace(0, len(pixels) - 1, most).astype(np.int64)]
    return picked
