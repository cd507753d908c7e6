"""The nearest examples: the plain baseline that remembers everything (Fix and Hodges 1951)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..options import as_count, check_positive
from .base import Facts, Floats, Need
from .leaving import Folds, Ints

# Rows of distances in memory at a time.
CHUNK = 256


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
        parts = [self.vote(distances(z[i : i + CHUNK], self.z)) for i in range(0, len(z), CHUNK)]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.labels)))

    def vote(self, far: Floats) -> Floats:
        """Scores (Q, C) from distances (Q, N); infinite ones do not count.

        Examples that are equally far share the votes that are left, so that the order of teaching says nothing.
        """
        k, onehot = min(self.k, far.shape[1]), np.eye(len(self.labels))[self.y]
        last = np.partition(far, k - 1, axis=1)[:, k - 1 : k]
        nearer, equal = far < last, (far == last) & np.isfinite(far)
        shared = (k - nearer.sum(axis=1, keepdims=True)) / np.maximum(equal.sum(axis=1, keepdims=True), 1)
        votes = (nearer + equal * shared) @ onehot
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
        parts = []
        for i in range(0, len(voters.z), CHUNK):
            far = distances(voters.z[i : i + CHUNK], voters.z)
            far[folds.groups[i : i + CHUNK, None] == folds.groups[None, :]] = np.inf
            parts.append(voters.vote(far))
        return np.concatenate(parts)


def distances(a: Floats, b: Floats) -> Floats:
    """Euclidean distances (Q, N) of rows."""
    squares = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2.0 * (a @ b.T)
    far: Floats = np.sqrt(np.maximum(squares, 0.0))
    return far


HEADS = {"neighbours": Neighbours}
