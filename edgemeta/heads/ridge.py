"""Ridge regression on one-hot targets with an unpenalised bias: the base learner of R2-D2.

    min over W, b of  sum_i ||W z_i + b - y_i||^2 + lambda ||W||^2        (Bertinetto et al. 2019, eq. 4)

The bias makes both forms centre by the mean m of all examples: with z' = z - m and y' = y - mean(y),
primal  W^T = (G' + lambda I)^-1 Z'^T Y',  G' = Z'^T Z' = G - N m m^T          (D x D, from the sums)
dual    W^T = Z'^T (Z' Z'^T + lambda I)^-1 Y'                        (N x N, eq. 6, from the examples)
and b = mean(y) - W m. They are the same W; the smaller system is solved.

Left out (PRESS, Allen 1974): with the hat matrix H = 1/N + Z' (G' + lambda I)^-1 Z'^T, the residuals of a fold g by
the fit without it are (I - H_gg)^-1 (Y - H Y)_g. In the dual, I - H = lambda M with M = (Z' Z'^T + lambda I)^-1
- 1/(lambda N), and lambda cancels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from .. import kernels
from ..options import check_positive
from .base import Facts, Floats, Linear, Need, blocks, invert, invert_centred, is_dual, plus_diagonal
from .leastsquares import GRID, floor, least_lambda, press, unexplained
from .leaving import Folds, Ints


@dataclass(frozen=True)
class Ridge:
    """Ridge head.

    lambda_: absolute, on the sums; never below the floor 1e-8 tr(G) / D. None chooses it by leaving out: of `GRID`
    times the mean square of the centred examples the one with the smallest mean squared residual, the larger of
    equals; classes of a single group do not count, and where fewer than two others are it is the middle one.
    relative: lambda_ is given in mean squares of the centred examples. balance: each class's one-hot target is divided
    by its count, so that a class shown often does not drown one shown once. temperature: the factor of the scores in
    the confidences. Raises OptionError for a lambda that is negative or not finite, and a temperature that is not
    positive.
    """

    lambda_: float | None = 0.1
    balance: bool = False
    relative: bool = False
    temperature: float = 10.0
    name: str = "ridge"
    needs: Need = "moment"

    def __post_init__(self) -> None:
        if self.lambda_ is not None:
            check_positive(self.lambda_, "lambda", zero=True)
        else:
            object.__setattr__(self, "needs", "examples")  # what was sealed cannot be left out
        check_positive(self.temperature, "temperature")

    def solve(self, facts: Facts) -> Linear:
        """Dual while N < D and every example is there singly, else primal."""
        dual = is_dual(facts)
        found = kernels.ridge(facts, self._lambda(facts), self.balance, dual=dual)
        if found is not None:
            return Linear(facts.labels, *found)
        return self.dual(facts) if dual else self.primal(facts)

    def primal(self, facts: Facts) -> Linear:
        """From G and the sums: one D x D solve."""
        mean, cross, offset = self._centred(facts)
        gram = facts.moment() - facts.total * np.outer(mean, mean)
        weights = np.linalg.solve(plus_diagonal(gram, self._lambda(facts)), cross).T
        return Linear(facts.labels, weights, offset - weights @ mean)

    def dual(self, facts: Facts) -> Linear:
        """From the examples: one N x N solve."""
        mean, _, offset = self._centred(facts)
        z, y = facts.examples()
        centred = z - mean
        targets = self._targets(facts, y) - offset
        weights = (centred.T @ np.linalg.solve(plus_diagonal(centred @ centred.T, self._lambda(facts)), targets)).T
        return Linear(facts.labels, weights, offset - weights @ mean)

    def leave_out(self, facts: Facts) -> Floats:
        """The PRESS residuals of each fold, in the form that `solve` takes."""
        found = kernels.ridge_leave_out(facts, self._lambda(facts), self.balance)
        return self.left_out(facts) if found is None else found

    def left_out(self, facts: Facts) -> Floats:
        """`leave_out` in NumPy."""
        z, y = facts.examples()
        mean, cross, offset = self._centred(facts)
        centred, folds = z - mean, Folds(y, facts.groups(), facts.counts)
        lambda_, targets = self._lambda(facts), self._targets(facts, y)
        if facts.total < facts.dim:
            inverse = invert_centred(centred @ centred.T, lambda_, np.zeros_like(y))
            left = press(folds, inverse @ (targets - offset), partial(blocks, inverse))
        else:
            # The inverse and products with it: triangular solves for so many right-hand sides take longer.
            inverse = invert(plus_diagonal(facts.moment() - facts.total * np.outer(mean, mean), lambda_))
            spread = centred @ inverse
            left = press(folds, targets - offset - spread @ cross, partial(unexplained, centred, spread))
        scores = targets - left
        if self.balance:
            # Without the fold a class has fewer examples, so each of those has a larger target.
            scores *= folds.counts / np.maximum(folds.left, 1)
        scores[folds.gone] = -np.inf
        return scores

    def pinned(self, facts: Facts) -> Ridge:
        """This head with the lambda that it takes for these facts, to be used on others."""
        return Ridge(self._lambda(facts), self.balance, temperature=self.temperature)

    def _lambda(self, facts: Facts) -> float:
        if self.lambda_ is None:
            chosen = kernels.ridge_lambda(facts, self.balance) or self._left_out_lambda(facts)
        else:
            chosen = self.lambda_ * (_mean_square(facts) if self.relative else 1.0)
        return max(chosen, _floor(facts))

    def _left_out_lambda(self, facts: Facts) -> float:
        """One eigendecomposition serves every lambda: H = 1/N + F diag(1 / (v + lambda)) F^T."""
        z, y = facts.examples()
        mean, _, offset = self._centred(facts)
        centred, targets = z - mean, self._targets(facts, y)
        folds = Folds(y, facts.groups(), facts.counts)
        unit = _mean_square(facts)
        # A class that a fold takes away whole has nothing to say, neither its examples nor its targets.
        known = ~folds.gone.any(axis=0)
        judged = known[y]
        if known.sum() < 2:
            return GRID[len(GRID) // 2] * unit
        spread, values = _spectrum(facts, centred, mean)
        turned = spread.T @ (targets - offset)

        def errors(lambda_: float) -> Floats:
            shrunk = spread / (values + max(lambda_, _floor(facts)))
            left = press(folds, targets - offset - shrunk @ turned, partial(unexplained, spread, shrunk))
            return np.array([np.square(left[np.ix_(judged, known)]).sum()])

        return float(least_lambda(errors, unit)[0])

    def _target(self, facts: Facts) -> Floats:
        """The one non-zero entry of each class's target, (C,)."""
        return 1.0 / facts.counts if self.balance else np.ones(len(facts.labels))

    def _targets(self, facts: Facts, y: Ints) -> Floats:
        targets = np.zeros((len(y), len(facts.labels)))
        targets[np.arange(len(y)), y] = self._target(facts)[y]
        return targets

    def _centred(self, facts: Facts) -> tuple[Floats, Floats, Floats]:
        """m (D,), Z'^T Y' (D, C) and mean(y) (C,)."""
        target = self._target(facts)
        mean = facts.sums.sum(axis=0) / facts.total
        cross = (facts.sums - facts.counts[:, None] * mean) * target[:, None]
        return mean, cross.T, facts.counts * target / facts.total


def _mean_square(facts: Facts) -> float:
    """Of the centred examples, from the sums."""
    mean = facts.sums.sum(axis=0) / facts.total
    return max(facts.squares / facts.total - float(mean @ mean), 0.0)


def _floor(facts: Facts) -> float:
    return floor(facts.squares, facts.dim)


def _spectrum(facts: Facts, centred: Floats, mean: Floats) -> tuple[Floats, Floats]:
    """F (N, R) and v (R,) with Z' (G' + lambda I)^-1 Z'^T = F diag(1 / (v + lambda)) F^T, from the smaller form."""
    if facts.total < facts.dim:
        values, vectors = np.linalg.eigh(centred @ centred.T)
        values = np.maximum(values, 0.0)
        return vectors * np.sqrt(values), values
    values, vectors = np.linalg.eigh(facts.moment() - facts.total * np.outer(mean, mean))
    return centred @ vectors, np.maximum(values, 0.0)


HEADS = {"ridge": Ridge}
