"""An example before it has an id, and what is asked of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import EmbeddingError, InputError
from ..labels import check_label
from ..normalisation import Q20

_LONGEST_AXIS = 65_535


@dataclass(frozen=True)
class NewExample:
    """What `Journal.append` takes; the fields as in `Example`."""

    label: str
    embedding: NDArray[np.int32]
    group: str | None = None
    variant: str = ""
    input: NDArray[np.uint8] | None = None
    target: NDArray[np.float64] | None = None


def check_example(new: NewExample, dim: int, targets: int | None = None) -> tuple[str, str | None, NewExample]:
    """Label and group in NFC, and the example. Raises LabelError, EmbeddingError, InputError.

    targets: how many numbers its target must have, 0 for no target, None for any number.
    """
    if not isinstance(new, NewExample):
        raise InputError(f"a NewExample is needed, not {type(new).__name__}")
    label = check_label(new.label)
    group = None if new.group is None else check_label(new.group, "group")
    embedding = new.embedding
    if not isinstance(embedding, np.ndarray) or embedding.dtype != np.int32 or embedding.shape != (dim,):
        raise EmbeddingError(f"an embedding in the journal is int32 of shape ({dim},), in units of 2^-20")
    if int(embedding.max()) > Q20 or int(embedding.min()) < -Q20:
        raise EmbeddingError("an embedding has an entry above 1; nothing was learned from it")
    if new.variant:
        check_label(new.variant, "variant")
    _check_input(new.input)
    _check_target(new.target)
    if targets is not None and (0 if new.target is None else len(new.target)) != targets:
        raise InputError(f"target: {targets} numbers are needed, as this journal holds them")
    return label, group, new


def _check_input(image: NDArray[np.uint8] | None) -> None:
    if image is None:
        return
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or not 1 <= image.ndim <= 4:
        raise InputError("input: uint8 of one to four axes")
    if not image.size or max(image.shape) > _LONGEST_AXIS or image.size > 1 << 30:
        raise InputError(f"input: axes of 1 to {_LONGEST_AXIS}, at most 2^30 bytes, not {image.shape}")


def _check_target(target: NDArray[np.float64] | None) -> None:
    if target is None:
        return
    if not isinstance(target, np.ndarray) or target.dtype != np.float64 or target.ndim != 1:
        raise InputError("target: float64 of one axis")
    if not 1 <= target.size <= 1 << 24 or not np.isfinite(target).all():
        raise InputError("target: 1 to 2^24 finite numbers")
