"""Episodes: small classification tasks drawn from a labelled set (Vinyals et al. 2016). NumPy alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..data.labelled import LabelledImages
from ..errors import DataError


@dataclass(frozen=True)
class Episode:
    """Indices into the set: `support` int64 (ways, shots), `query` int64 (ways, queries); row w is class w."""

    support: NDArray[np.int64]
    query: NDArray[np.int64]


class EpisodeSampler:
    """Draws episodes; the same generator gives the same episodes.

    within: the share of episodes whose classes all come from one domain (alphabet), 0 to 1. Raises DataError
    when the set has too few classes or images for the episode.
    """

    def __init__(self, data: LabelledImages, *, ways: int, shots: int, queries: int, within: float = 0.0) -> None:
        if min(ways, shots, queries) < 1:
            raise DataError(f"ways, shots and queries must be at least 1: {ways}, {shots}, {queries}")
        self.ways, self.shots, self.queries, self.within = ways, shots, queries, within
        self.members = data.members()
        large = np.array([len(m) >= shots + queries for m in self.members])
        self.classes = np.flatnonzero(large)
        if len(self.classes) < ways:
            raise DataError(
                f"{ways}-way episodes with {shots} + {queries} images a class need {ways} classes that large; "
                f"the data has {len(self.classes)} of {len(self.members)}. Ask for fewer ways, shots or queries"
            )
        domains = [self.classes[data.domains[self.classes] == d] for d in np.unique(data.domains)]
        self.domains = [d for d in domains if len(d) >= ways]
        if within > 0.0 and not self.domains:
            raise DataError(f"no domain (alphabet) has {ways} classes; ask for fewer ways or within=0")

    def draw(self, rng: np.random.Generator) -> Episode:
        """One episode."""
        pool = self.classes
        if self.within > 0.0 and rng.random() < self.within:
            pool = self.domains[rng.integers(len(self.domains))]
        chosen = rng.choice(pool, self.ways, replace=False)
        size = self.shots + self.queries
        drawn = np.stack([rng.choice(self.members[c], size, replace=False) for c in chosen])
        return Episode(drawn[:, : self.shots], drawn[:, self.shots :])
