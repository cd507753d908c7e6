"""Least squares by its spectrum, in the smaller of two forms.

    min over W of  sum_i ||W x_i - t_i||^2 + lambda ||W||^2,    W^T = V diag(1 / (v + lambda)) V^T X^T T

primal  X^T X = V diag(v) V^T                                       (D x D, from sums)
dual    X = U diag(v^1/2) V^T, the same but for directions without examples   (N x D, from the examples)

One decomposition serves every lambda, the variance of a prediction and leaving out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from ..heads.base import product_blocks
from ..heads.leastsquares import press
from ..heads.leaving import Folds
from .targets import Floats, Ints


@dataclass(frozen=True)
class Hat:
    """The rows of a problem, for leaving them out: H = 1/N (with `centred`) + rows diag(1 / (v + lambda)) rows^T.

    dual: `rows` are U, and I - H = lambda U diag(1 / (v + lambda)) U^T without any cancellation; lambda is left out of
    both residuals and blocks. turned (R, k): U^T T in the dual, V^T X^T T in the primal. targets (N, k).
    """

    rows: Floats
    values: Floats
    turned: Floats
    targets: Floats
    dual: bool
    centred: bool

    def shrunk(self, lambda_: float) -> Floats:
        found: Floats = self.rows / (self.values + lambda_)
        return found

    def residuals(self, lambda_: float) -> Floats:
        """T - H T, (N, k); in the dual divided by lambda."""
        fitted: Floats = self.shrunk(lambda_) @ self.turned
        return fitted if self.dual else self.targets - fitted

    def unexplained(self, shrunk: Floats, rows: Ints) -> Floats:
        """I - H in blocks at the indices `rows` (F, k); in the dual divided by lambda."""
        found = product_blocks(shrunk, self.rows, rows)
        if self.dual:
            return found
        mean = 1.0 / len(self.rows) if self.centred else 0.0
        return np.eye(rows.shape[1]) - mean - found

    def left_out(self, folds: Folds, lambda_: float) -> Floats:
        """Residuals (N, k) of each example by the fit without its fold."""
        blocks = partial(self.unexplained, self.shrunk(lambda_))
        return press(folds, self.residuals(lambda_), blocks, whole=not self.centred)

    def factors(self, folds: Folds, lambda_: float) -> Floats:
        """Variance (N,) of each left-out residual, in units of the noise: the diagonal of (I - H_gg)^-1."""
        found = np.ones(len(self.rows))
        for bucket in folds.buckets():
            if not self.centred or bucket.rows.shape[1] < len(found):
                inverse = np.linalg.inv(self.unexplained(self.shrunk(lambda_), bucket.rows))
                found[bucket.rows] = np.diagonal(inverse, axis1=1, axis2=2)
        return found / lambda_ if self.dual else found


@dataclass(frozen=True)
class Problem:
    """A problem solved for every lambda. basis V (D, R), values v (R,), along (R, k) = V^T X^T T, squares (k,) of T.

    unexplained(lambda (k,)): T^T (I - H) T of each output, (k,). hat(): for leaving out.
    """

    basis: Floats
    values: Floats
    along: Floats
    squares: Floats
    unexplained: Callable[[Floats], Floats] = field(repr=False)
    hat: Callable[[], Hat] = field(repr=False)

    @property
    def nbytes(self) -> int:
        return self.basis.nbytes + self.values.nbytes + self.along.nbytes

    def weights(self, lambda_: Floats) -> Floats:
        """W^T (D, k); lambda (k,)."""
        found: Floats = self.basis @ (self.along / (self.values[:, None] + lambda_))
        return found

    def variance(self, x: Floats, lambda_: Floats) -> Floats:
        """x^T (X^T X + lambda I)^-1 x of rows x (N, D), as (N, k)."""
        squares = np.square(x @ self.basis)
        found: Floats = squares @ (1.0 / (self.values[:, None] + lambda_))
        if self.basis.shape[1] < len(self.basis):  # what the examples do not span
            rest = np.maximum(np.square(x).sum(axis=1) - squares.sum(axis=1), 0.0)
            found += rest[:, None] / lambda_
        return found


def dual(x: Floats, targets: Floats, *, centred: bool) -> Problem:
    """From rows x (N, D), N <= D, and targets (N, k); centred: both have mean zero."""
    # Without the direction of the mean, in which x has nothing, I - H needs no difference of large numbers.
    rows, others = (_reflect(x)[1:], _reflect(targets)[1:]) if centred else (x, targets)
    if not len(rows):
        left, roots, right = np.zeros((0, 0)), np.zeros(0), np.zeros((0, x.shape[1]))  # nothing but a mean
    else:
        left, roots, right = np.linalg.svd(rows, full_matrices=False)
    turned = left.T @ others
    if centred:
        left = _reflect(np.vstack([np.zeros((1, left.shape[1])), left]))
    values = np.square(roots)

    def unexplained(lambda_: Floats) -> Floats:
        found: Floats = (np.square(turned) * (lambda_ / (values[:, None] + lambda_))).sum(axis=0)
        return found

    hat = Hat(left, values, turned, targets, True, centred)
    return Problem(right.T, values, roots[:, None] * turned, np.square(targets).sum(axis=0), unexplained, lambda: hat)


def primal(
    gram: Floats, cross: Floats, squares: Floats, rows: Callable[[], tuple[Floats, Floats]], *, centred: bool
) -> Problem:
    """From X^T X (D, D), X^T T (D, k), the squares of the targets (k,); rows(): x and targets, for leaving out."""
    values, basis = np.linalg.eigh(gram)
    values = np.maximum(values, 0.0)
    along = basis.T @ cross

    def unexplained(lambda_: Floats) -> Floats:
        explained = (np.square(along) / (values[:, None] + lambda_)).sum(axis=0)
        found: Floats = np.maximum(squares - explained, 0.0)
        return found

    def hat() -> Hat:
        x, targets = rows()
        return Hat(x @ basis, values, along, targets, False, centred)

    return Problem(basis, values, along, squares, unexplained, hat)


def _reflect(a: Floats) -> Floats:
    """The Householder reflection that takes (1, ..., 1) / sqrt(N) to the first axis, and back, of a (N, k)."""
    normal = np.full(len(a), 1.0 / np.sqrt(len(a)))
    normal[0] += 1.0
    found: Floats = a - np.outer(normal, (2.0 / (normal @ normal)) * (normal @ a))
    return found
