"""Telling images from embeddings: a uint8 array, a path or a PIL image is an image; a float array is an embedding."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import EmbeddingError, ImageError, InputError
from .imaging import as_pixels, fit


@dataclass(frozen=True)
class Inputs:
    """A batch of one kind: `pixels` uint8 arrays still to be fitted, or `embeddings` float (N, D)."""

    pixels: list[NDArray[np.uint8]] | None
    embeddings: NDArray[np.floating[Any]] | None

    def __len__(self) -> int:
        return len(self.pixels if self.pixels is not None else self.embeddings)  # type: ignore[arg-type]


def one(x: Any) -> list[Any]:
    """Check that `x` is a single input, not a batch, and wrap it. Raises InputError."""
    if isinstance(x, np.ndarray) and x.dtype.kind == "f" and x.ndim != 1:
        raise EmbeddingError(
            f"one embedding is a float array of one axis, not of shape {x.shape}; "
            "for several use learn_many or predict_many, and for an image convert it to uint8"
        )
    if isinstance(x, (list, tuple)):
        raise InputError(f"one image or one embedding is expected, not a {type(x).__name__}; use the ..._many form")
    return [x]


def several(xs: Any) -> NDArray[Any] | list[Any] | tuple[Any, ...]:
    """A batch as something with a length, whose items are single inputs. Raises InputError."""
    if isinstance(xs, (str, os.PathLike)):
        raise InputError("several inputs are expected, not one path; put it in a list")
    if isinstance(xs, np.ndarray) and xs.ndim < 2:
        raise InputError(f"several inputs are expected, not an array of shape {xs.shape}; use learn or predict")
    if isinstance(xs, np.ndarray) and xs.dtype.kind != "f" and xs.ndim == 3 and xs.shape[2] in (3, 4):
        raise InputError(f"an array of shape {xs.shape} is one colour image; put it in a list, or use learn or predict")
    if isinstance(xs, (np.ndarray, list, tuple)):
        return xs
    try:
        return list(xs)
    except TypeError as error:
        raise InputError(f"several inputs are expected, not a {type(xs).__name__}") from error


def collect(xs: Any, *, channels: str, height: int | None, width: int | None) -> Inputs:
    """A batch of inputs, all images or all embeddings, images fitted to RGB (height, width).

    xs: a uint8 array (N, H, W) or (N, H, W, 3 or 4), a float array (N, D), or an iterable of single inputs.
    height None: the learner has no backbone, and images raise. Raises InputError naming the place.
    """
    items = several(xs)
    if not len(items):
        return Inputs(None, np.zeros((0, 0)))
    if any(isinstance(x, np.ma.MaskedArray) for x in items):
        raise InputError("a masked array; fill in what is masked, or leave those inputs out")
    floats = [_is_embedding(x) for x in items]
    if any(floats) and not all(floats):
        raise InputError("a batch mixes images and embeddings; give them apart")
    if all(floats):
        return Inputs(None, _stack(items))
    if height is None or width is None:
        raise ImageError("this learner has no backbone (it was made with dim=), so it takes float embeddings only")
    return Inputs([_fitted(x, i, channels, height, width) for i, x in enumerate(items)], None)


def _is_embedding(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype.kind == "f" and x.ndim == 1


def _stack(items: NDArray[Any] | Sequence[Any]) -> NDArray[np.floating[Any]]:
    if isinstance(items, np.ndarray):
        return items
    lengths = {len(x) for x in items}
    if len(lengths) > 1:
        raise EmbeddingError(f"the embeddings of a batch have different lengths: {sorted(lengths)}")
    return np.stack(items)


def _fitted(x: Any, index: int, channels: str, height: int, width: int) -> NDArray[np.uint8]:
    if isinstance(x, np.ndarray) and x.dtype.kind in "iub" and x.ndim == 1:
        raise EmbeddingError(f"input {index}: an embedding is a float array, not {x.dtype}")
    try:
        return fit(as_pixels(x, channels), height, width)
    except InputError as error:
        raise type(error)(f"input {index}: {error}") from error
