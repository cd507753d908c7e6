"""Shrinkage LDA: class means under one pooled covariance.

With X the examples less their class means (N x D) and n = N - C degrees of freedom, S = X^T X / n is shrunk to

    Sigma = (1 - rho) S + rho (tr S / D) I  =  a X^T X + d I,

scores = mu_c^T Sigma^-1 z - mu_c^T Sigma^-1 mu_c / 2, all classes alike. rho is OAS (Chen, Wiesel, Eldar, Hero 2010,
eq. 23), which needs tr S and tr S^2 alone, for as many samples as there are independent ones (a group counts once a
class), less C. From G where N >= D: X^T X = G - sum n_c mu_c mu_c^T. From the examples
where N < D, by Woodbury with K = X X^T + (d / a) I: Sigma^-1 v = (v - X^T K^-1 X v) / d.

Left out at fixed a and d: without the rows R of a fold X^T X loses X_R^T T X_R, where T = I + B and B_rs = 1 / (what
the class of r and s keeps) where both are of one class. So Sigma^-1 gains Sigma^-1 X_R^T Q X_R Sigma^-1 with
Q = (T^-1 / a - X_R Sigma^-1 X_R^T)^-1, T^-1 = I - (1 / n_c within each class), and the scores follow from the products
of X and the means under Sigma^-1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .. import kernels
from ..errors import OptionError
from ..options import check_positive
from .base import Facts, Floats, Linear, Need, blocks, invert, invert_centred, is_dual, plus_diagonal, product_blocks
from .leaving import Bucket, Folds, Ints


class _Products(NamedTuple):
    """Products under Sigma^-1: xm (N, C) of X and the means, mm (C, C), and of rows of X in blocks (F, k, k) for a
    bucket of folds: xx(bucket, along), and rest(bucket, along), the inverse of Q. along: 1 / n_c where two rows of a
    fold are of the class c."""

    xx: Callable[[Bucket, Floats], Floats]
    rest: Callable[[Bucket, Floats], Floats]
    xm: Floats
    mm: Floats


@dataclass(frozen=True)
class LDA:
    """Linear discriminant analysis with a shrunk covariance.

    shrinkage: rho from 0 to 1, or None for OAS. Where the examples say nothing of a covariance (one a class, or those
    of each class identical) it is I / D, as of vectors of norm 1, and the scores are those of the nearest mean.
    temperature: the factor of the scores in the confidences, which would be 1 if Sigma were known; a few examples in
    many dimensions make it look far narrower than it is. Raises OptionError.
    """

    shrinkage: float | None = None
    temperature: float = 0.03
    name: str = "lda"
    needs: Need = "moment"

    def __post_init__(self) -> None:
        check_positive(self.temperature, "temperature")
        if self.shrinkage is not None:
            check_positive(self.shrinkage, "shrinkage", zero=True)
            if self.shrinkage > 1.0:
                raise OptionError(f"shrinkage is 0 to 1, not {self.shrinkage!r}")

    def solve(self, facts: Facts) -> Linear:
        """Dual while N < D and every example is there singly, else primal."""
        dual = is_dual(facts)
        found = kernels.lda(facts, self.shrinkage, dual=dual) if type(self) is LDA else None
        if found is not None:
            return Linear(facts.labels, *found)
        return self.dual(facts) if dual else self.primal(facts)

    def primal(self, facts: Facts) -> Linear:
        """From G and the sums: one D x D solve."""
        scatter = _scatter(facts)
        a, d = self._shrunk(facts, scatter)
        return _linear(facts, np.linalg.solve(plus_diagonal(a * scatter, d), facts.means.T).T)

    def dual(self, facts: Facts) -> Linear:
        """From the examples: one N x N solve."""
        x, means = _residuals(facts), facts.means
        gram = x @ x.T
        a, d = self._shrunk(facts, gram)
        if a == 0.0:
            return _linear(facts, means / d)
        return _linear(facts, (means - np.linalg.solve(plus_diagonal(gram, d / a), x @ means.T).T @ x) / d)

    def leave_out(self, facts: Facts) -> Floats:
        """Each fold's scores by the down-dated covariance and means, in the form that `solve` takes."""
        return self._left_out(facts)[0]

    def leave_out_as_new(self, facts: Facts) -> Floats:
        """Left-out scores as new examples would get them: see `Folds.as_new`."""
        scores, squares = self._left_out(facts)
        return scores + 0.5 * _folds(facts).as_new(squares[:, None] - 2.0 * scores)

    def leave_out_distances(self, facts: Facts) -> Floats:
        """Squared distances (N, C) under Sigma^-1 of each example to the means, all without its group; inf where
        a class is gone."""
        scores, squares = self._left_out(facts)
        distances: Floats = squares[:, None] - 2.0 * scores
        return distances

    def metric(self, facts: Facts) -> Callable[[Floats], Floats]:
        """The map of z (N, D) to Sigma^-1 z."""
        if not is_dual(facts):
            scatter = _scatter(facts)
            a, d = self._shrunk(facts, scatter)
            inverse = invert(plus_diagonal(a * scatter, d))
            return lambda z: z @ inverse
        x = _residuals(facts)
        gram = x @ x.T
        a, d = self._shrunk(facts, gram)
        if a == 0.0:
            return lambda z: z / d
        solved = np.linalg.solve(plus_diagonal(gram, d / a), x)
        return lambda z: (z - z @ x.T @ solved) / d

    def _left_out(self, facts: Facts) -> tuple[Floats, Floats]:
        """Scores (N, C), and z^T Sigma^-1 z (N,)."""
        found = kernels.lda_leave_out(facts, self.shrinkage) if type(self) is LDA else None
        return self.left_out(facts) if found is None else found

    def left_out(self, facts: Facts) -> tuple[Floats, Floats]:
        """`leave_out` in NumPy, and z^T Sigma^-1 z (N,)."""
        y, folds = facts.examples()[1], _folds(facts)
        a, products = self._products(facts)
        scores, squares = np.empty((len(y), len(facts.labels))), np.empty(len(y))
        for bucket in folds.buckets():
            scores[bucket.rows], squares[bucket.rows] = _without(bucket, y, a, products)
        scores[folds.gone] = -np.inf
        return scores, squares

    def _products(self, facts: Facts) -> tuple[float, _Products]:
        x, means = _residuals(facts), facts.means
        if facts.total < facts.dim:
            return self._dual_products(facts, x, means)
        scatter = _scatter(facts)
        a, d = self._shrunk(facts, scatter)
        inverse = invert(plus_diagonal(a * scatter, d))
        x_solved = x @ inverse

        def xx(bucket: Bucket, _: Floats) -> Floats:
            return product_blocks(x, x_solved, bucket.rows)

        def rest(bucket: Bucket, along: Floats) -> Floats:
            # T^-1 = I - along; a class that is taken whole has X_R^T 1 = 0, so there T = I does as well.
            kept = (bucket.left > 0)[:, :, None]
            return (np.eye(bucket.rows.shape[1]) - along * kept) / a - product_blocks(x, x_solved, bucket.rows)

        return a, _Products(xx, rest, x_solved @ means.T, means @ inverse @ means.T)

    def _dual_products(self, facts: Facts, x: Floats, means: Floats) -> tuple[float, _Products]:
        """K^-1 = M + (a / d) P, with P the projection on the class indicators, along which X X^T is zero: without P,
        small d do no harm."""
        gram, cross, inner = x @ x.T, x @ means.T, means @ means.T
        a, d = self._shrunk(facts, gram)
        if a == 0.0:
            near = _Products(lambda bucket, _: blocks(gram, bucket.rows) / d, _nothing, cross / d, inner / d)
            return a, near
        inverse = invert_centred(gram, d / a, facts.examples()[1])
        solved = inverse @ cross

        def xx(bucket: Bucket, along: Floats) -> Floats:
            found: Floats = (np.eye(bucket.rows.shape[1]) - along) / a - d / a**2 * blocks(inverse, bucket.rows)
            return found

        def rest(bucket: Bucket, along: Floats) -> Floats:
            gone = (bucket.left == 0)[:, :, None]
            found: Floats = along * gone / a + d / a**2 * blocks(inverse, bucket.rows)
            return found

        return a, _Products(xx, rest, solved / a, (inner - cross.T @ solved) / d)

    def _shrunk(self, facts: Facts, moment: Floats) -> tuple[float, float]:
        """a and d of Sigma = a X^T X + d I; moment: X^T X or X X^T, whose traces are the same."""
        free, independent = facts.total - len(facts.labels), facts.independent() - len(facts.labels)
        trace, square = float(np.trace(moment)), float((moment * moment).sum())
        # Rounding leaves a trace of about 1e-16 where there is no scatter at all.
        if free <= 0 or trace <= 1e-12 * facts.squares:
            return 0.0, 1.0 / facts.dim
        rho = self.shrinkage
        if rho is None:
            # Frames of one burst make many samples of few: their shape is known no better than by one of each.
            rho = oas(trace / free, square / free**2, independent, facts.dim) if independent > 0 else 1.0
        # Never singular: a millionth of the mean variance is always there, and what rounding leaves in G.
        d = max(rho, 1e-6) * trace / free / facts.dim
        return (1.0 - rho) / free, max(d, 1e-15 * facts.squares)


def oas(trace: float, square: float, count: int, dim: int) -> float:
    """Equation (23) of the paper: the shrinkage for tr S, tr S^2, samples and dimensions, 0 to 1."""
    above = (1.0 - 2.0 / dim) * square + trace * trace
    below = (count + 1.0 - 2.0 / dim) * (square - trace * trace / dim)
    return 1.0 if below <= 0.0 or above >= below else max(0.0, above / below)


def _folds(facts: Facts) -> Folds:
    return Folds(facts.examples()[1], facts.groups(), facts.counts)


def _scatter(facts: Facts) -> Floats:
    """X^T X (D, D), from G and the sums."""
    scatter: Floats = facts.moment() - facts.sums.T @ facts.means
    return scatter


def _residuals(facts: Facts) -> Floats:
    """X (N, D): the examples less the mean of their class."""
    z, y = facts.examples()
    residuals: Floats = z - facts.means[y]
    return residuals


def _linear(facts: Facts, weights: Floats) -> Linear:
    return Linear(facts.labels, weights, -0.5 * np.einsum("cd,cd->c", weights, facts.means))


def _nothing(bucket: Bucket, _: Floats) -> Floats:
    """Where the covariance is the identity, nothing is taken from it."""
    return np.zeros(bucket.same.shape)


def _without(bucket: Bucket, y: Ints, a: float, products: _Products) -> tuple[Floats, Floats]:
    """Scores (F, k, C) of the rows of each fold by the solution without the fold, and z^T Sigma^-1 z (F, k)."""
    rows, classes, k = bucket.rows, len(products.mm), bucket.rows.shape[1]
    kept = np.where(bucket.left > 0, 1.0 / np.maximum(bucket.left, 1), 0.0)  # (F, k)
    own = np.broadcast_to(y[rows][:, None, :], (len(rows), k, k))  # the class of row s, at [f, :, s]
    along = bucket.same / (bucket.left + bucket.same.sum(axis=2))[:, :, None]
    xx, xm = products.xx(bucket, along), products.xm[rows]  # (F, k, k), (F, k, C)
    m_own, mm = products.mm[y[rows]], np.broadcast_to(np.diag(products.mm), (len(rows), classes))
    if a > 0.0:
        gain = np.linalg.inv(products.rest(bucket, along))
        gained = gain @ xm
        m_own = m_own + np.swapaxes(np.take_along_axis(xm, own, axis=2), 1, 2) @ gained
        mm = mm + np.einsum("fic,fic->fc", xm, gained)
        xx, xm = xx + xx @ gain @ xx, xm + xx @ gained
    # Without the fold the mean of class c is m_c - sum over s of member[s, c] x_s.
    member = (y[rows][:, :, None] == np.arange(classes)) * kept[:, :, None]  # (F, k, C)
    z_m = m_own + xm  # z_r = x_r + the mean of its class
    z_x = xx + np.swapaxes(np.take_along_axis(xm, own, axis=2), 1, 2)
    pulled = np.einsum("fkc,fkc->fc", member, xx @ member)
    norms = mm - 2.0 * np.einsum("fkc,fkc->fc", member, xm) + pulled
    scores: Floats = z_m - z_x @ member - 0.5 * norms[:, None, :]
    z_z = np.take_along_axis(z_m, y[rows][:, :, None], axis=2)[:, :, 0] + np.einsum("fkk->fk", z_x)
    return scores, z_z


HEADS = {"lda": LDA}
