"""What was found from examples: it predicts means and standard deviations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ..heads.leaving import Folds
from .facts import NumberFacts
from .problem import Hat, Problem
from .targets import Floats, Ints


@dataclass(frozen=True)
class LeftOut:
    """Every example by the fit without its group. residuals and std (N, k) in units of the targets, or std None."""

    residuals: Floats
    std: Floats | None


@dataclass(frozen=True)
class Fit:
    """mean = weights z + bias. weights float64 (k, D), bias (k,), lambda_ (k,).

    std = sigma (base + x^T (X^T X + lambda I)^-1 x)^1/2 with x = features(z); sigma (k,) or None with too few to say.
    """

    weights: Floats
    bias: Floats
    lambda_: Floats
    sigma: Floats | None
    base: float
    problem: Problem = field(repr=False)
    features: Callable[[Floats], Floats] = field(repr=False)

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays held."""
        return self.weights.nbytes + self.bias.nbytes + self.problem.nbytes

    def means(self, z: Floats) -> Floats:
        """Embeddings (N, D) to (N, k)."""
        found: Floats = z @ self.weights.T + self.bias
        return found

    def stds(self, z: Floats) -> Floats | None:
        """Standard deviations (N, k) of a new target at z (N, D), its noise included."""
        if self.sigma is None:
            return None
        found: Floats = self.sigma * np.sqrt(self.base + self.problem.variance(self.features(z), self.lambda_))
        return found

    def left_out_stds(self, hat: Hat, folds: Folds) -> Floats | None:
        """Standard deviations (N, k) of examples predicted without their fold; lambda and noise as they are."""
        if self.sigma is None:
            return None
        factors = np.stack([hat.factors(folds, each) for each in self.lambda_], axis=1)
        found: Floats = self.sigma * np.sqrt(factors)
        return found


class Regression(Protocol):
    """A closed-form regression: a pure function of the facts."""

    @property
    def name(self) -> str: ...

    def solve(self, facts: NumberFacts) -> Fit:
        """The fit to these facts; the same facts give the same bits."""
        ...

    def leave_out(self, facts: NumberFacts) -> LeftOut:
        """Every example predicted without its group, lambda held."""
        ...


def folds_of(groups: Ints) -> Folds:
    """Groups (N,) as folds; there are no classes here."""
    return Folds(np.zeros_like(groups), groups, np.array([float(len(groups))]))
