"""One call from any source to a bundle."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgemeta.bundle import Bundle, Licence
from edgemeta.data import open_source
from edgemeta.errors import OptionError
from edgemeta.evaluation import as_rgb

from .bundling import export_source
from .sources import TIMM, Source, from_checkpoint, from_module, from_timm
from .variants import Wanted, pick_images

if TYPE_CHECKING:
    from torch import Tensor, nn


def export(
    source: nn.Module | str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    example_input: Tensor | None = None,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
    weights: str | None = None,
    formats: Sequence[str] = ("onnx",),
    precisions: Sequence[str] = ("fp32",),
    calibrate: str | NDArray[np.uint8] | None = None,
    name: str | None = None,
    licences: Sequence[Licence] = (),
) -> Bundle:
    """Export a torch module, a training run's folder or "timm:NAME" as the bundle `out`; returns it opened.

    example_input: with a module, a float tensor (1, 3, H, W). mean, std: what the module wants pixels in 0 to 1
    normalised by; timm models bring their own. weights: of a timm model, a file, "cache" or "random". formats,
    precisions: each with each, of "onnx", "tflite" and "fp32", "fp16", "int8". calibrate: for int8, about a hundred
    images like those of the device: uint8 (N, H, W) or (N, H, W, 3) of the input's size, or data such as "folder:DIR".

    Nothing is left behind on an error. Raises OptionError, BundleError, DataError, CheckpointError,
    MissingDependencyError.
    """
    found = open_export_source(source, example_input, mean, std, weights)
    wanted = Wanted(tuple(formats), tuple(precisions), _images(calibrate, found))
    return export_source(found, out, name=name, licences=licences, wanted=wanted)


def open_export_source(
    source: nn.Module | str | os.PathLike[str],
    example_input: Tensor | None,
    mean: Sequence[float],
    std: Sequence[float],
    weights: str | None,
) -> Source:
    """What `source` names. Raises as `export` does."""
    if not isinstance(source, (str, os.PathLike)):
        if example_input is None:
            raise OptionError("a module needs example_input, a float tensor (1, 3, H, W): its size is the input's")
        return from_module(source, example_input, mean=mean, std=std)
    if example_input is not None:
        raise OptionError("example_input is for a module; a run and a timm model know their size")
    text = os.fspath(source)
    if text.startswith(TIMM):
        return from_timm(text[len(TIMM) :], weights)
    if weights is not None:
        raise OptionError(f"--weights is for {TIMM}NAME; a run has its own")
    return from_checkpoint(text)


def _images(calibrate: str | NDArray[np.uint8] | None, source: Source) -> NDArray[np.uint8] | None:
    height, width = source.input.height, source.input.width
    if calibrate is None:
        return None
    if isinstance(calibrate, str):
        return as_rgb(pick_images(open_source(calibrate, part="background").load(height, width).pixels))
    pixels = as_rgb(np.asarray(calibrate))
    if pixels.dtype != np.uint8 or pixels.shape[1:] != (height, width, 3):
        raise OptionError(
            f"calibrate: uint8 images of {height} x {width}, fitted as edgemeta.imaging.fit does, not {pixels.dtype} "
            f"{pixels.shape}"
        )
    return pick_images(pixels)
