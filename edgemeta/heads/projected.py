"""Ridge on random features: RanPAC (McDonnell, Gong, Parvaneh, Abbasnejad, van den Hengel 2023, section 3.2).

phi(z) = max(0, P z) with a fixed random P (M x D): classes that no plane parts in the embedding may be parted in the
M features. The signs of P / sqrt(M) follow from a seed (SPEC.md, "Random signs"), so P is never stored.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..options import as_count, check_positive
from .base import Facts, Floats, Linear, Need
from .ridge import Ridge

_GAMMA = 0x9E3779B97F4A7C15


@dataclass(frozen=True)
class OnFeatures:
    """A linear solution over phi(z) = max(0, projection z); projection float64 (M, D)."""

    projection: Floats
    inner: Linear

    @property
    def labels(self) -> tuple[str, ...]:
        return self.inner.labels

    @property
    def nbytes(self) -> int:
        return self.projection.nbytes + self.inner.nbytes

    def scores(self, z: Floats) -> Floats:
        """Embeddings (N, D) to scores (N, C)."""
        return self.inner.scores(features(self.projection, z))


@dataclass(frozen=True)
class Projected:
    """Ridge on `features` random features of `seed`; lambda_ None chooses by leave-one-out, as in `Ridge`."""

    lambda_: float | None = None
    features: int = 2000
    seed: int = 0
    temperature: float = 10.0
    name: str = "projected"
    needs: Need = "examples"

    def __post_init__(self) -> None:
        as_count(self.features, "features")
        as_count(self.seed, "seed", least=0, most=2**64 - 1)
        check_positive(self.temperature, "temperature")
        self._ridge()

    def solve(self, facts: Facts) -> OnFeatures:
        """Ridge in the feature space, in whichever form is smaller."""
        projection = signs(self.features, facts.dim, self.seed)
        return OnFeatures(projection, self._ridge().solve(self._mapped(facts)))

    def leave_out(self, facts: Facts) -> Floats:
        """Ridge's, in the feature space."""
        return self._ridge().leave_out(self._mapped(facts))

    def _ridge(self) -> Ridge:
        return Ridge(lambda_=self.lambda_)

    def _mapped(self, facts: Facts) -> Facts:
        z, y = facts.examples()
        phi = features(signs(self.features, facts.dim, self.seed), z)
        sums = np.zeros((len(facts.labels), self.features))
        np.add.at(sums, y, phi)
        return replace(
            facts,
            sums=sums,
            squares=float((phi * phi).sum()),
            moment=lambda: phi.T @ phi,
            examples=lambda: (phi, y),
            single=True,
        )


def features(projection: Floats, z: Floats) -> Floats:
    """max(0, P z): embeddings (N, D) to features (N, M)."""
    phi: Floats = np.maximum(z @ projection.T, 0.0)
    return phi


@lru_cache(maxsize=2)
def signs(count: int, dim: int, seed: int) -> Floats:
    """P (count, dim): +-1 / sqrt(count). Entry i of the row-major matrix is bit i % 64 of output i // 64."""
    words = splitmix64(seed, -(-count * dim // 64))
    bits = np.unpackbits(words.astype("<u8").view(np.uint8), bitorder="little", count=count * dim)
    matrix: Floats = ((2.0 * bits - 1.0) / np.sqrt(count)).reshape(count, dim)
    matrix.flags.writeable = False
    return matrix


def splitmix64(seed: int, count: int) -> NDArray[np.uint64]:
    """The first `count` outputs of SplitMix64 (Steele, Lea, Flood 2014) from the state `seed`."""
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_GAMMA)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed: NDArray[np.uint64] = z ^ (z >> np.uint64(31))
        return mixed


HEADS = {"projected": Projected}
