"""Targets: what is asked of them, and the two parts in which they enter sums that stay exact.

A target y of an output whose largest live |y| is below 2^e is taken as y = (h + l) 2^e, h a multiple of 2^-20 and l
one of 2^-40 with |l| <= 2^-21. Products with Q20 embeddings are then multiples of 2^-40 (2^-60 for l), and float64
sums of up to 8,192 of them are exact, as those of embeddings are. What is cut off is at most 2^-41 of the largest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LARGEST = 1e100
# An output whose targets are all smaller than 2^SMALLEST, about 1e-45, counts as zeros: squares must not underflow.
SMALLEST = -150
PLACES = 40  # bits of a target behind the point, once it is divided by 2^e
HIGH = 20


def check_targets(values: Any, count: int, outputs: int) -> Floats:
    """`count` targets as float64 (count, outputs); a flat list will do for a single output. Raises InputError."""
    shape = f"({count}, {outputs})" if outputs > 1 else f"({count},)"
    if isinstance(values, np.ma.MaskedArray):
        raise InputError("targets are a masked array; fill in what is masked, or leave those examples out")
    try:
        given = np.asarray(values)
    except ValueError as error:
        raise InputError(f"targets are numbers in an array of shape {shape}: {error}") from error
    if given.size and given.dtype.kind not in "fiu":
        raise InputError(f"targets are numbers, not {given.dtype}")
    if outputs == 1 and given.ndim == 1:
        given = given[:, None]
    if given.shape != (count, outputs) and (count or given.size):
        raise InputError(f"targets of shape {shape} are expected, not {given.shape}")
    targets = given.astype(np.float64).reshape(count, outputs)
    bad = ~(np.abs(targets) <= LARGEST).all(axis=1)
    if bad.any():
        where = int(bad.argmax())
        what = "a number above 1e100" if np.isfinite(targets[where]).all() else "NaN or infinity"
        raise InputError(f"target {where} holds {what}; nothing was learned")
    return targets


def exponents(targets: Floats) -> Ints:
    """Of each target the e with |y| < 2^e, as int64; `SMALLEST` for zero and whatever is smaller than that."""
    found: Ints = np.maximum(np.where(targets == 0.0, SMALLEST, np.frexp(targets)[1]), SMALLEST).astype(np.int64)
    return found


def parts(targets: Floats, scale: Ints) -> tuple[Floats, Floats]:
    """h and l, each float64 (N, k); scale (k,): the e of each output."""
    scaled = np.ldexp(targets, -scale.astype(np.intc))  # which takes no int64 on machines of 32 bits
    high = np.rint(scaled * 2.0**HIGH) / 2.0**HIGH
    low = np.rint((scaled - high) * 2.0**PLACES) / 2.0**PLACES
    return high, low
