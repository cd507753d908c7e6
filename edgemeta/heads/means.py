"""Class means: the prototypes of ProtoNet (Snell, Swersky, Zemel 2017), Euclidean and cosine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..options import check_positive
from .base import Facts, Linear, Need


@dataclass(frozen=True)
class Euclidean:
    """The nearest class mean c: -||z - c||^2 = 2 c z - ||c||^2 - ||z||^2, whose last term is the same for all.

    temperature: the factor of the scores in the confidences.
    """

    temperature: float = 10.0
    name: str = "euclidean"
    needs: Need = "sums"

    def __post_init__(self) -> None:
        check_positive(self.temperature, "temperature")

    def solve(self, facts: Facts) -> Linear:
        """Equation (2) of the paper, as weights 2 c and bias -||c||^2."""
        means = facts.sums / facts.counts[:, None]
        return Linear(facts.labels, 2.0 * means, -(means * means).sum(axis=1))


@dataclass(frozen=True)
class Cosine:
    """The class whose mean points most nearly where z points; scores are cosines when z has norm 1.

    A class whose mean is exactly zero points nowhere; its score is -1, the lowest a cosine can be.
    """

    temperature: float = 10.0
    name: str = "cosine"
    needs: Need = "sums"

    def __post_init__(self) -> None:
        check_positive(self.temperature, "temperature")

    def solve(self, facts: Facts) -> Linear:
        """Weights c / ||c||, bias 0."""
        norms = np.sqrt((facts.sums * facts.sums).sum(axis=1))
        nowhere = norms == 0.0
        weights = facts.sums / np.where(nowhere, 1.0, norms)[:, None]
        return Linear(facts.labels, weights, np.where(nowhere, -1.0, 0.0))


HEADS = {"euclidean": Euclidean, "cosine": Cosine}
