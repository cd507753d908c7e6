"""The nearest examples: the plain baseline that remembers everything (Fix and Hodges 1951)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..options import as_count, check_positive
from .base import Facts, Floats, Need
from .leaving import Folds, Ints


@dataclass(frozen=True)
class Voters:
    """Examples z (N, D) of classes y (N,); a class's score is its votes among the k nearest examples.

    Less a quarter of the distance to the class's own nearest example, which is at most 2 and so only decides ties.
    """

    labels: tuple[str, ...]
    z: Floats
    y: Ints
    k: int

    @property
    def nbytes(self) -> int:
        return self.z.nbytes + self.y.nbytes

    def scores(self, z: Floats) -> Floats:
        """Embeddings (Q, D) to scores (Q, C)."""
        return self.vote(distances(z, self.z))

    def vote(self, far: Floats) -> Floats:
        """Scores (Q, C) from distances (Q, N); infinite ones do not count."""
        k, rows = min(self.k, far.shape[1]), np.arange(len(far))[:, None]
        nearest = np.argsort(far, axis=1, kind="stable")[:, :k]
        votes = np.zeros((len(far), len(self.labels)))
        np.add.at(votes, (rows, self.y[nearest]), np.isfinite(far[rows, nearest]))
        closest = np.stack([far[:, self.y == c].min(axis=1) for c in range(len(self.labels))], axis=1)
        scores: Floats = votes - closest / 4.0
        return scores


@dataclass(frozen=True)
class Neighbours:
    """k nearest examples. Stores all of them and reads all of them at every prediction."""

    k: int = 1
    temperature: float = 10.0
    name: str = "neighbours"
    needs: Need = "examples"

    def __post_init__(self) -> None:
        as_count(self.k, "k, the number of neighbours,")
        check_positive(self.temperature, "temperature")

    def solve(self, facts: Facts) -> Voters:
        """The examples themselves."""
        z, y = facts.examples()
        return Voters(facts.labels, z, y, self.k)

    def leave_out(self, facts: Facts) -> Floats:
        """Votes of the other groups."""
        voters = self.solve(facts)
        folds = Folds(voters.y, facts.groups(), facts.counts)
        far = distances(voters.z, voters.z)
        far[folds.groups[:, None] == folds.groups[None, :]] = np.inf
        return voters.vote(far)


def distances(a: Floats, b: Floats) -> Floats:
    """Euclidean distances (Q, N) of rows."""
    squares = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2.0 * (a @ b.T)
    far: Floats = np.sqrt(np.maximum(squares, 0.0))
    return far


HEADS = {"neighbours": Neighbours}
