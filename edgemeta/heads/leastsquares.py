"""What every ridge regression shares, whatever its targets: the floor of lambda, its grid, and leaving out (PRESS).

With the hat matrix H (fitted values = H Y), the residuals of a fold g by the fit without it are
(I - H_gg)^-1 (Y - H Y)_g (Allen 1974), lambda held.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .base import Floats, product_blocks
from .leaving import Folds, Ints

# Factors of lambda that leaving out chooses from.
GRID = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)


def floor(squares: float, dim: int) -> float:
    """The least lambda, from tr(G) and D."""
    # All examples zero would give a floor of zero; any positive number then solves W = 0.
    return 1e-8 * squares / dim or 1.0


def least_lambda(errors: Callable[[float], Floats], unit: float, grid: Sequence[float] = GRID) -> Floats:
    """Of `grid` (rising) times `unit` the lambda with the least error of each output, (k,); the larger of equals.

    errors(lambda): (k,).
    """
    found = np.array([errors(factor * unit) for factor in grid])
    last = len(grid) - 1 - found[::-1].argmin(axis=0)
    best: Floats = np.array(grid)[last] * unit
    return best


def press(folds: Folds, residuals: Floats, unexplained: Callable[[Ints], Floats], *, whole: bool = False) -> Floats:
    """Residuals (N, k) without each fold, from those of the fit to all.

    unexplained(rows (F, k)): blocks of I - H, or of a multiple of it that the residuals are given in too. A fold that
    is everything leaves nothing to fit from, and gets zeros; with a prior (`whole`) it can be solved like the others.
    """
    left = np.zeros_like(residuals)
    for bucket in folds.buckets():
        if whole or bucket.rows.shape[1] < len(residuals):
            left[bucket.rows] = np.linalg.solve(unexplained(bucket.rows), residuals[bucket.rows])
    return left


def unexplained(centred: Floats, spread: Floats, rows: Ints) -> Floats:
    """I - H in blocks, H = 1/N + spread centred^T; spread = Z' A^-1."""
    return np.eye(rows.shape[1]) - 1.0 / len(centred) - product_blocks(centred, spread, rows)
