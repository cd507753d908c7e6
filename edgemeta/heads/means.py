"""Class means: the prototypes of ProtoNet (Snell, Swersky, Zemel 2017), Euclidean and cosine, and centred ones.

Left out in closed form: a mean without some of its examples is (s - their sum) / (n - their number).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..options import check_positive
from .base import Facts, Floats, Linear, Need
from .leaving import Folds


class _Means:
    """A head whose score of a class is made from that class's mean alone."""

    temperature: float

    def __post_init__(self) -> None:
        check_positive(self.temperature, "temperature")

    def centre(self, facts: Facts) -> Floats:
        """What is taken from embeddings and means first, (D,); leaving out holds it."""
        return np.zeros(facts.dim)

    def weigh(self, means: Floats, centre: Floats) -> tuple[Floats, Floats]:
        """Weights (P, D) and bias (P,) of classes with these means (P, D)."""
        raise AssertionError

    def solve(self, facts: Facts) -> Linear:
        """One row of weights a class."""
        return Linear(facts.labels, *self.weigh(facts.means, self.centre(facts)))

    def leave_out(self, facts: Facts) -> Floats:
        """All scores, and then those of the classes that lose examples from their new means."""
        z, _ = facts.examples()
        folds = self.folds(facts)
        centre, scores = self.centre(facts), self.solve(facts).scores(z)
        moved = folds.means(z, facts.weighed[0])
        weights, bias = self.weigh(moved.means, centre)
        scores[moved.rows, moved.classes] = np.einsum("pd,pd->p", weights, z[moved.rows]) + bias
        scores[folds.gone] = -np.inf
        return scores

    def folds(self, facts: Facts) -> Folds:
        _, y = facts.examples()
        return Folds(y, facts.groups(), facts.counts, None if facts.prior is None else facts.prior.counts)


@dataclass(frozen=True)
class Euclidean(_Means):
    """The nearest class mean c: -||z - c||^2 = 2 c z - ||c||^2 - ||z||^2, whose last term is the same for all.

    Equation (2) of the paper, as weights 2 c and bias -||c||^2. temperature: the factor of the scores in the
    confidences.
    """

    temperature: float = 10.0
    name: str = "euclidean"
    needs: Need = "sums"

    def weigh(self, means: Floats, centre: Floats) -> tuple[Floats, Floats]:
        return 2.0 * means, -(means * means).sum(axis=1)

    def leave_out_distances(self, facts: Facts) -> Floats:
        """Squared distances (N, C) of each example to the means without its group; inf where a class is gone."""
        z, _ = facts.examples()
        distances: Floats = (z * z).sum(axis=1)[:, None] - self.leave_out(facts)
        return distances

    def leave_out_as_new(self, facts: Facts) -> Floats:
        """Left-out scores as new examples would get them: see `Folds.as_new`."""
        return self.leave_out(facts) + self.folds(facts).as_new(self.leave_out_distances(facts))


@dataclass(frozen=True)
class Cosine(_Means):
    """The class whose mean points most nearly where z points; scores are cosines when z has norm 1.

    A class whose mean is exactly zero points nowhere; its score is -1, the lowest a cosine can be.
    """

    temperature: float = 10.0
    name: str = "cosine"
    needs: Need = "sums"

    def weigh(self, means: Floats, centre: Floats) -> tuple[Floats, Floats]:
        return _directions(means)


@dataclass(frozen=True)
class Centred(_Means):
    """Cosine after centring: SimpleShot's CL2N (Wang, Chao, Weinberger, van der Maaten 2019, section 3), from sums.

    The centre m is the mean of the class means, each class alike; scores are (z - m) (c - m) / ||c - m||, whose
    order is that of the cosines. (The paper centres by the mean of the training set and normalises each example before
    the mean is taken; a centre that is known beforehand belongs into the bundle's normalisation.)
    A class whose mean is the centre scores -1: with a single class that is the only answer.
    """

    temperature: float = 10.0
    name: str = "centred"
    needs: Need = "sums"

    def centre(self, facts: Facts) -> Floats:
        centre: Floats = facts.means.mean(axis=0)
        return centre

    def weigh(self, means: Floats, centre: Floats) -> tuple[Floats, Floats]:
        weights, bias = _directions(means - centre)
        return weights, bias - weights @ centre


def _directions(means: Floats) -> tuple[Floats, Floats]:
    """c / ||c|| and 0; for a mean of exactly zero, zeros and -1."""
    norms = np.sqrt((means * means).sum(axis=1))
    nowhere = norms == 0.0
    weights = means / np.where(nowhere, 1.0, norms)[:, None]
    return weights, np.where(nowhere, -1.0, 0.0)


HEADS = {"euclidean": Euclidean, "cosine": Cosine, "centred": Centred}
