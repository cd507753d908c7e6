"""Leaving out: which examples go together, and what that takes from each class.

A fold is one group: its examples are scored by the head that never saw any of them, so that near-duplicate frames
of one burst do not flatter it. Without groups every example is a fold of its own (leave-one-out).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Bucket(NamedTuple):
    """All folds of one size k. rows (F, k): indices of their examples. left (F, k): how many examples the class of
    each row keeps when its fold is out. same (F, k, k): which rows of a fold are of one class."""

    rows: Ints
    left: Ints
    same: NDArray[np.bool_]


class MovedMeans(NamedTuple):
    """The class means that folds change: example `rows` (P,) is to be held against `means` (P, D) of `classes` (P,)."""

    rows: Ints
    classes: Ints
    means: Floats


class Folds:
    """The folds of N examples: y (N,) the class of each, groups (N,) any integers, counts (C,) of the classes,
    known (C,) how many examples a class is worth beforehand (0 if not given), which no fold takes away.

    left (N, C): how many examples of each class there are without the fold of that example. gone (N, C): where none.
    whole (C,): how many independent examples a class is worth, n^2 / sum of n_g^2 for groups of n_g, whose frames are
    taken for one: that many single ones would give a mean as sure. worth (N, C): the same without each example's fold.
    """

    def __init__(self, y: Ints, groups: Ints, counts: Floats, known: Floats | None = None) -> None:
        self.y, self.counts = y, counts.astype(np.int64)
        self._known = np.zeros(len(counts)) if known is None else known
        self.groups = np.unique(groups, return_inverse=True)[1]
        self._sizes = np.bincount(self.groups)
        self._order = np.argsort(self.groups, kind="stable")
        self._starts = np.cumsum(self._sizes) - self._sizes
        out = np.zeros((len(self._sizes), len(counts)), dtype=np.int64)
        np.add.at(out, (self.groups, y), 1)
        self._left = self.counts - out  # of each class without each fold
        self.left = self._left[self.groups]
        self.gone = (self.left == 0) & (self._known == 0.0)
        squares = out * out
        whole = _worth(self.counts, squares.sum(axis=0))
        known_worth = self._known * np.where(self.counts > 0, whole / np.maximum(self.counts, 1), 1.0)
        self.whole = whole + known_worth
        self.worth = (_worth(self._left, squares.sum(axis=0) - squares) + known_worth)[self.groups]

    def as_new(self, distances: Floats) -> Floats:
        """How much less (N, C) the squared distances to means without a fold would be to means of all examples.

        ||z - mean of n||^2 is sigma^2 (1 + 1/n) for a new example of the class. For the example's own class the
        mean without its fold is one of fewer; the others' hardly change. 0 where a class is gone.
        """
        rows = np.arange(len(self.y))
        left, whole = self.worth[rows, self.y], self.whole[self.y]
        less = np.zeros_like(distances)
        share = 1.0 - left * (whole + 1.0) / ((left + 1.0) * whole)
        less[rows, self.y] = np.where(left > 0.0, share * distances[rows, self.y], 0.0)
        return less

    def buckets(self) -> Iterator[Bucket]:
        """The folds, those of one size together, so that each size is one batch of small matrices."""
        for size in np.unique(self._sizes):
            rows = self._order[self._starts[self._sizes == size][:, None] + np.arange(size)]
            y = self.y[rows]
            yield Bucket(rows, self.left[rows, y], y[:, :, None] == y[:, None, :])

    def means(self, z: Floats, sums: Floats) -> MovedMeans:
        """Means of z (N, D) without each fold, from the `sums` (C, D); classes that are gone are not among them."""
        key = self.groups * len(sums) + self.y
        order = np.argsort(key, kind="stable")
        pair, first = np.unique(key[order], return_index=True)
        group, label = pair // len(sums), pair % len(sums)
        taken = np.add.reduceat(z[order], first) if len(pair) < len(z) else z[order]
        left = self._left[group, label] + self._known[label]
        means = (sums[label] - taken) / np.where(left > 0.0, left, 1.0)[:, None]
        # A class that a fold touches moves for every example of the fold, also for those of other classes.
        sizes = self._sizes[group]
        which = np.repeat(np.arange(len(pair)), sizes)
        within = np.arange(len(which)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        rows = self._order[self._starts[group][which] + within]
        kept = left[which] > 0.0
        return MovedMeans(rows[kept], label[which][kept], means[which][kept])


def _worth(counts: Ints, squares: Ints) -> Floats:
    """n^2 / sum n_g^2, 0 where there is nothing."""
    worth: Floats = counts * counts / np.maximum(squares, 1)
    return worth
