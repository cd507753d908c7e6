"""What a head gets (`Facts`) and what it returns (`Linear`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Need = Literal["sums", "moment"]


@dataclass(frozen=True)
class Facts:
    """The taught set as a head sees it: C classes, D dimensions, N examples.

    labels: sorted. counts (C,). sums (C, D): s of each class. squares: sum of all z^2, which is tr G.
    moment(): G (D, D). examples(): Z (N, D) in a canonical order and y (N,), the class of each row;
    `single` says whether every example is still there singly (not sealed), so that examples() works.
    """

    labels: tuple[str, ...]
    counts: Floats
    sums: Floats
    squares: float
    moment: Callable[[], Floats]
    examples: Callable[[], tuple[Floats, NDArray[np.int64]]]
    single: bool = True

    @property
    def total(self) -> int:
        return int(self.counts.sum())

    @property
    def dim(self) -> int:
        return int(self.sums.shape[1])


@dataclass(frozen=True)
class Linear:
    """Scores = weights z + bias. weights float64 (C, D), bias float64 (C,), rows in the order of `labels`."""

    labels: tuple[str, ...]
    weights: Floats
    bias: Floats

    def scores(self, z: Floats) -> Floats:
        """Embeddings (N, D) to scores (N, C)."""
        scores: Floats = z @ self.weights.T + self.bias
        return scores


class Head(Protocol):
    """A closed-form classifier: a pure function from facts to weights."""

    name: str
    needs: Need
    temperature: float

    def solve(self, facts: Facts) -> Linear:
        """The weights for these facts; the same facts give the same bits."""
        ...
