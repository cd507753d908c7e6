"""Ridge regression on one-hot targets with an unpenalised bias: the base learner of R2-D2.

    min over W, b of  sum_i ||W z_i + b - y_i||^2 + lambda ||W||^2        (Bertinetto et al. 2019, eq. 4)

The bias makes both forms centre by the mean m of all examples: with z' = z - m and y' = y - mean(y),
primal  W^T = (G' + lambda I)^-1 Z'^T Y',  G' = Z'^T Z' = G - N m m^T          (D x D, from the sums)
dual    W^T = Z'^T (Z' Z'^T + lambda I)^-1 Y'                        (N x N, eq. 6, from the examples)
and b = mean(y) - W m. They are the same W; the smaller system is solved.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..options import check_positive
from .base import Facts, Floats, Linear, Need


@dataclass(frozen=True)
class Ridge:
    """Ridge head.

    lambda_: absolute, on the sums; never below the floor 1e-8 tr(G) / D. balance: each class's one-hot target
    is divided by its count, so that a class shown often does not drown one shown once. temperature: the factor
    of the scores in the confidences. Raises OptionError for a lambda that is negative or not finite,
    and a temperature that is not positive.
    """

    lambda_: float = 0.1
    balance: bool = False
    temperature: float = 10.0
    name: str = "ridge"
    needs: Need = "moment"

    def __post_init__(self) -> None:
        check_positive(self.lambda_, "lambda", zero=True)
        check_positive(self.temperature, "temperature")

    def solve(self, facts: Facts) -> Linear:
        """Dual while N < D and every example is there singly, else primal."""
        dual = facts.single and facts.total < facts.dim
        return self.dual(facts) if dual else self.primal(facts)

    def primal(self, facts: Facts) -> Linear:
        """From G and the sums: one D x D solve."""
        mean, cross, offset = self._centred(facts)
        gram = facts.moment() - facts.total * np.outer(mean, mean)
        weights = np.linalg.solve(_ridged(gram, self._lambda(facts)), cross).T
        return Linear(facts.labels, weights, offset - weights @ mean)

    def dual(self, facts: Facts) -> Linear:
        """From the examples: one N x N solve."""
        mean, _, offset = self._centred(facts)
        z, y = facts.examples()
        centred = z - mean
        targets = np.zeros((len(z), len(facts.labels)))
        targets[np.arange(len(z)), y] = self._target(facts)[y]
        targets -= offset
        weights = (centred.T @ np.linalg.solve(_ridged(centred @ centred.T, self._lambda(facts)), targets)).T
        return Linear(facts.labels, weights, offset - weights @ mean)

    def _lambda(self, facts: Facts) -> float:
        # All examples zero gives a floor of zero; any positive number then solves W = 0.
        return max(self.lambda_, 1e-8 * facts.squares / facts.dim) or 1.0

    def _target(self, facts: Facts) -> Floats:
        """The one non-zero entry of each class's target, (C,)."""
        return 1.0 / facts.counts if self.balance else np.ones(len(facts.labels))

    def _centred(self, facts: Facts) -> tuple[Floats, Floats, Floats]:
        """m (D,), Z'^T Y' (D, C) and mean(y) (C,)."""
        target = self._target(facts)
        mean = facts.sums.sum(axis=0) / facts.total
        cross = (facts.sums - facts.counts[:, None] * mean) * target[:, None]
        return mean, cross.T, facts.counts * target / facts.total


def _ridged(gram: Floats, lambda_: float) -> Floats:
    gram[np.diag_indices_from(gram)] += lambda_
    return gram


HEADS = {"ridge": Ridge}
