"""Bayesian linear regression from a learned prior: the last layer of ALPaCA (Harrison, Sharma and Pavone 2018).

With features phi = [z; 1], a prior K ~ MN(K0, Lambda0^-1, Sigma) and noise e ~ N(0, Sigma), Sigma diagonal,

    Lambda = Lambda0 + Phi^T Phi,   K = Lambda^-1 (Phi^T Y + Lambda0 K0),
    y at z ~ N(K^T phi, (1 + phi^T Lambda^-1 phi) Sigma).

With Lambda0 = L L^T, x = L^-1 phi and t = y - K0^T phi it is the problem of `problem.py` with lambda = 1, and
K = K0 + L^-T W^T. Before any example it is the prior's own answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .facts import NumberFacts
from .fit import Fit, LeftOut, folds_of
from .prior import RegressionPrior, with_one
from .problem import Problem, dual, primal
from .targets import Floats


@dataclass(frozen=True)
class BayesianRegression:
    """Regression with a prior."""

    prior: RegressionPrior
    name: str = "prior"

    def solve(self, facts: NumberFacts) -> Fit:
        """Dual while N < D + 1, else primal."""
        return self.dual(facts) if facts.total <= facts.dim else self.primal(facts)

    def dual(self, facts: NumberFacts) -> Fit:
        """From the examples."""
        return self._fit(facts, dual(*self._rows(facts), centred=False))

    def primal(self, facts: NumberFacts) -> Fit:
        """From the sums."""
        sums = facts.sums()
        moment = np.block([[facts.moment(), facts.sum[:, None]], [facts.sum[None], np.array([[facts.total]])]])
        known = self.prior.mean / facts.unit
        cross = np.vstack([sums.cross(), sums.totals()])
        residual = cross - moment @ known
        squares = sums.squares() - (known * (cross + residual)).sum(axis=0)
        white = self.prior.whitening
        gram = white @ moment @ white.T
        found = primal(gram, white @ residual, np.maximum(squares, 0.0), lambda: self._rows(facts), centred=False)
        return self._fit(facts, found)

    def _rows(self, facts: NumberFacts) -> tuple[Floats, Floats]:
        """x (N, D + 1) and t (N, k), in units of the scale."""
        z, y = facts.examples()
        return self.prior.features(z), y - with_one(z) @ (self.prior.mean / facts.unit)

    def _fit(self, facts: NumberFacts, problem: Problem) -> Fit:
        lambda_ = np.ones(len(facts.unit))
        moved = self.prior.whitening.T @ problem.weights(lambda_)
        found = self.prior.mean + moved * facts.unit
        sigma = np.sqrt(self.prior.noise)
        return Fit(found[:-1].T, found[-1], lambda_, sigma, 1.0, problem, self.prior.features)

    def leave_out(self, facts: NumberFacts) -> LeftOut:
        """Every example by the prior and the other groups."""
        fit = self.solve(facts)
        hat, folds = fit.problem.hat(), folds_of(facts.groups())
        return LeftOut(hat.left_out(folds, 1.0) * facts.unit, fit.left_out_stds(hat, folds))
