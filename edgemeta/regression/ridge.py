"""Ridge regression with an unpenalised bias, and how far it may be off.

    min over W, b of  sum_i ||W z_i + b - y_i||^2 + lambda ||W||^2            (Hoerl and Kennard 1970)

With z' = z - m and y' = y - mean(y) it is the problem of `problem.py`; b = mean(y) - W m. With noise
e ~ N(0, s^2), W ~ N(0, s^2 / lambda) and a flat b,

    log p(Y) = -(N - 1) / 2 log(y'^T (I - H) y') - 1/2 sum_r log(1 + v_r / lambda) + const  at its best s^2,
    s^2 = y'^T (I - H) y' / (N - 1),

the evidence of MacKay (1992, "Bayesian interpolation", section 3), which needs nothing but sums. Where N is about D or
less it cannot tell a law without noise from luck, so log lambda has a broad prior too. A new y at z is off with the
variance s^2 (1 + 1/N + (z - m)^T (G' + lambda I)^-1 (z - m)), and as s^2 was estimated from few, by a Student t;
`std` is the standard deviation of that, so that 1.96 of them hold about 95 % where N is small too.

Examples of one group may share what is taken for noise here. Then lambda is chosen, and s^2 is at least what is found,
by leaving groups out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..heads.leastsquares import GRID, floor, least_lambda
from ..options import check_positive
from .facts import NumberFacts
from .fit import Fit, LeftOut, folds_of
from .problem import Problem, dual, primal
from .targets import Floats

# Factors of lambda that the evidence chooses from: half decades.
FINE = tuple(10.0 ** (half / 2) for half in range(-12, 7))
# The standard deviation of log lambda beforehand, about that of the mean square of the centred examples.
SPREAD = 3.0
# A Student t of 2 degrees of freedom or less has no standard deviation.
LEAST_FREEDOM = 3
# Of the squares of the targets, what rounding leaves of a perfect fit.
ROUNDING = 1e-15


@dataclass(frozen=True)
class RidgeRegression:
    """lambda_: absolute, on the sums; never below the floor 1e-8 tr(G) / D. None chooses it for each output: a factor
    times the mean square of the centred examples, the larger of equals. Without groups the factor of `FINE` with the
    largest evidence under the prior; else that of `GRID` with the smallest mean squared residual of left-out groups,
    the middle one where there are not two groups. Raises OptionError.
    """

    lambda_: float | None = None
    name: str = "ridge"

    def __post_init__(self) -> None:
        if self.lambda_ is not None:
            check_positive(self.lambda_, "lambda", zero=True)

    def solve(self, facts: NumberFacts) -> Fit:
        """Dual while N < D, else primal."""
        return self.dual(facts) if facts.total < facts.dim else self.primal(facts)

    def dual(self, facts: NumberFacts) -> Fit:
        """From the examples."""
        z, y = facts.examples()
        offset = y.mean(axis=0)
        return self._fit(facts, dual(z - _mean(facts), y - offset, centred=True), offset)

    def primal(self, facts: NumberFacts) -> Fit:
        """From the sums."""
        mean, sums = _mean(facts), facts.sums()
        offset = sums.totals() / facts.total
        gram = facts.moment() - facts.total * np.outer(mean, mean)
        cross = sums.cross() - np.outer(mean, sums.totals())

        def rows() -> tuple[Floats, Floats]:
            z, y = facts.examples()
            return z - mean, y - offset

        return self._fit(facts, primal(gram, cross, sums.spread(facts.total), rows, centred=True), offset)

    def _fit(self, facts: NumberFacts, problem: Problem, offset: Floats) -> Fit:
        mean = _mean(facts)
        lambda_ = self._lambdas(facts, problem)
        weights = problem.weights(lambda_).T
        sigma = _sigma(facts, problem, lambda_)
        return Fit(
            weights * facts.unit[:, None],
            (offset - weights @ mean) * facts.unit,
            lambda_,
            None if sigma is None else sigma * facts.unit,
            1.0 + 1.0 / facts.total,
            problem,
            lambda z: z - mean,
        )

    def _lambdas(self, facts: NumberFacts, problem: Problem) -> Floats:
        least, mean = floor(facts.squares, facts.dim), _mean(facts)
        if self.lambda_ is not None:
            return np.full(len(facts.unit), max(self.lambda_, least))
        unit = max(facts.squares / facts.total - float(mean @ mean), 0.0)
        if unit == 0.0 or 1 == facts.independent < facts.total:  # all inputs are alike, or of one group
            found = np.full(len(facts.unit), GRID[len(GRID) // 2] * unit)
        elif facts.independent == facts.total:
            found = least_lambda(lambda tried: _surprise(facts, problem, max(tried, least), unit), unit, FINE)
        else:
            hat, folds = problem.hat(), folds_of(facts.groups())
            found = least_lambda(lambda tried: _squares(hat.left_out(folds, max(tried, least))), unit)
        lambdas: Floats = np.maximum(found, least)
        return lambdas

    def leave_out(self, facts: NumberFacts) -> LeftOut:
        """The PRESS residuals and their standard deviations, lambda and noise held at those of all examples."""
        fit = self.solve(facts)
        hat, folds = fit.problem.hat(), folds_of(facts.groups())
        residuals = np.empty_like(hat.targets)
        for k, lambda_ in enumerate(fit.lambda_):
            residuals[:, k] = hat.left_out(folds, lambda_)[:, k]
        return LeftOut(residuals * facts.unit, fit.left_out_stds(hat, folds))


def _mean(facts: NumberFacts) -> Floats:
    found: Floats = facts.sum / facts.total
    return found


def _squares(residuals: Floats) -> Floats:
    found: Floats = np.square(residuals).sum(axis=0)
    return found


def _surprise(facts: NumberFacts, problem: Problem, lambda_: float, unit: float) -> Floats:
    """-2 log p(Y, lambda) less a constant, (k,)."""
    least = np.maximum(ROUNDING * problem.squares, np.finfo(np.float64).tiny)
    left = np.maximum(problem.unexplained(np.full(len(facts.unit), lambda_)), least)
    evidence = (facts.total - 1) * np.log(left) + np.log1p(problem.values / lambda_).sum()
    found: Floats = evidence + (np.log(lambda_ / unit) / SPREAD) ** 2
    return found


def _sigma(facts: NumberFacts, problem: Problem, lambda_: Floats) -> Floats | None:
    """s times the standard deviation of a Student t, (k,) in units of the scale; None where it has none."""
    freedom = facts.independent - 1
    if freedom < LEAST_FREEDOM:
        return None
    noise = problem.unexplained(lambda_) / (facts.total - 1)
    if facts.independent < facts.total:
        hat, folds = problem.hat(), folds_of(facts.groups())
        weights = 1.0 / np.bincount(folds.groups)[folds.groups] / facts.independent
        for k, each in enumerate(lambda_):
            left = hat.left_out(folds, each)[:, k]
            noise[k] = max(noise[k], weights @ (np.square(left) / hat.factors(folds, each)))
    sigma: Floats = np.sqrt(noise * freedom / (freedom - 2))
    return sigma
