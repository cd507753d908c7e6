"""Confidences that mean what they say: the temperature from left-out scores, and how far off they are."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# How far the examples may move the temperature: the standard deviation of its logarithm before any was seen.
SPREAD = 1.0


def confidences(scores: Floats, temperature: float) -> Floats:
    """softmax(temperature * scores) along the last axis; a score of -inf gets 0."""
    best = scores.max(axis=-1, keepdims=True)
    weights = np.exp(temperature * (scores - best))
    shares: Floats = weights / weights.sum(axis=-1, keepdims=True)
    return shares


def fit_temperature(scores: Floats, y: Ints, prior: float, weights: Floats | None = None) -> float:
    """The factor of the scores under which the left-out examples were the least surprising.

    scores (N, C) of examples left out, y (N,) their classes; rows whose own class is gone (-inf) say nothing.
    weights (N,): how much evidence a row is, 1 if not given; a frame of a burst is only a part of one.
    Temperature scaling (Guo et al. 2017, section 4.2), maximum a posteriori with log t ~ N(log prior, SPREAD^2), so
    that few examples leave the prior as it is. Within 3 % of the best factor, from 1 / 64 to 64.
    """
    best, evidence = 0.0, np.ones(len(y)) if weights is None else weights
    for steps, step in ((6, math.log(2.0)), (4, math.log(2.0) / 4), (3, math.log(2.0) / 16)):
        logs = best + step * np.arange(-steps, steps + 1)
        losses = [evidence @ surprise(scores, y, prior * math.exp(log)) + log * log / (2 * SPREAD**2) for log in logs]
        best = float(logs[int(np.argmin(losses))])
    return prior * math.exp(best)


def surprise(scores: Floats, y: Ints, temperature: float) -> Floats:
    """-log of the confidence in the right class, (N,); 0 where that class is gone (-inf)."""
    rows = np.arange(len(y))
    known = np.isfinite(scores[rows, y])
    margins = temperature * (scores - np.where(known, scores[rows, y], 0.0)[:, None])
    peak = margins.max(axis=1, initial=0.0)
    total = np.exp(margins - peak[:, None]).sum(axis=1)
    found: Floats = np.where(known, peak + np.log(np.where(known, total, 1.0)), 0.0)
    return found


def calibration_error(confidence: Floats, right: NDArray[np.bool_], *, bins: int = 15, least: int = 20) -> float:
    """Expected calibration error (Naeini et al. 2015), 0 to 1: |confidence - accuracy| averaged over bins.

    The bins are of equal numbers, at least `least` each: in emptier ones chance alone would look like an error.
    """
    order = np.argsort(confidence, kind="stable")
    parts = np.array_split(order, max(1, min(bins, len(order) // least)))
    gaps = [abs(float((confidence[part] - right[part]).sum())) for part in parts]
    return sum(gaps) / max(1, len(order))


def wilson(hits: float, trials: int, z: float = 1.96) -> tuple[float, float]:
    """The Wilson score interval, 0 to 1, of a share (Wilson 1927)."""
    share = hits / trials
    middle = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials**2)) / (1 + z * z / trials)
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))
