"""What a head gets (`Facts`) and what it returns (a `Solution`, mostly `Linear`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Need = Literal["sums", "moment", "examples"]


class Prior(NamedTuple):
    """Prior class means (C, D), and how many examples each counts for, (C,); 0 where there is none."""

    means: Floats
    counts: Floats


@dataclass(frozen=True)
class Facts:
    """The taught set as a head sees it: C classes, D dimensions, N examples.

    labels: sorted. counts (C,). sums (C, D): s of each class. squares: sum of all z^2, which is tr G.
    moment(): G (D, D). examples(): Z (N, D) in a canonical order and y (N,), the class of each row; groups(): (N,),
    equal numbers for rows that belong together. `single` says whether every example is still there singly (not
    sealed), so that examples() and groups() work. prior: what is known of the classes beforehand, or None. cells(): how
    many independent examples each class has (C,), those of one group counting as one; None to count them here.
    """

    labels: tuple[str, ...]
    counts: Floats
    sums: Floats
    squares: float
    moment: Callable[[], Floats]
    examples: Callable[[], tuple[Floats, NDArray[np.int64]]]
    groups: Callable[[], NDArray[np.int64]]
    single: bool = True
    prior: Prior | None = None
    cells: Callable[[], NDArray[np.int64]] | None = None

    def independent(self) -> int:
        """How many examples there are when those of one group and class count as one. Sealed ones all count."""
        if not self.single:
            return self.total
        if self.cells is not None:
            return int(self.cells().sum())
        _, y = self.examples()
        groups = self.groups()
        return len(np.unique(groups * len(self.labels) + y))

    @property
    def total(self) -> int:
        return int(self.counts.sum())

    @property
    def dim(self) -> int:
        return int(self.sums.shape[1])

    @property
    def means(self) -> Floats:
        """The mean of each class, (C, D); with a prior, its posterior mean."""
        sums, counts = self.weighed
        means: Floats = sums / counts[:, None]
        return means

    @property
    def weighed(self) -> tuple[Floats, Floats]:
        """Sums (C, D) and counts (C,) with what the prior counts for."""
        if self.prior is None:
            return self.sums, self.counts
        return self.sums + self.prior.counts[:, None] * self.prior.means, self.counts + self.prior.counts


class Solution(Protocol):
    """What a head found: it scores embeddings. nbytes: memory of its arrays."""

    @property
    def labels(self) -> tuple[str, ...]: ...
    @property
    def nbytes(self) -> int: ...
    def scores(self, z: Floats) -> Floats:
        """Embeddings (N, D) to scores (N, C)."""
        ...


@dataclass(frozen=True)
class Linear:
    """Scores = weights z + bias. weights float64 (C, D), bias float64 (C,), rows in the order of `labels`."""

    labels: tuple[str, ...]
    weights: Floats
    bias: Floats

    @property
    def nbytes(self) -> int:
        return self.weights.nbytes + self.bias.nbytes

    def scores(self, z: Floats) -> Floats:
        """Embeddings (N, D) to scores (N, C)."""
        scores: Floats = z @ self.weights.T + self.bias
        return scores


class Head(Protocol):
    """A closed-form classifier: a pure function from facts to a solution."""

    @property
    def name(self) -> str: ...
    @property
    def needs(self) -> Need: ...
    @property
    def temperature(self) -> float: ...

    def solve(self, facts: Facts) -> Solution:
        """The solution for these facts; the same facts give the same bits."""
        ...

    def leave_out(self, facts: Facts) -> Floats:
        """Scores (N, C) of each example by this head without that example's group, rows as in `facts.examples()`.

        The same scores as solving again without the group, with lambda, shrinkage and centre
        held as they are for all examples. A class that is gone without the group scores -inf.
        """
        ...


def leave_out_as_new(head: Head, facts: Facts) -> Floats:
    """`Head.leave_out`, corrected where the head knows how (a method of this name) for that each example found one
    example of its class fewer than a new one will. Confidences are fitted to these."""
    judge: Callable[[Facts], Floats] = getattr(head, "leave_out_as_new", head.leave_out)
    return judge(facts)


def is_dual(facts: Facts) -> bool:
    """Whether the N x N form is the smaller one, and can be had: the examples are all there singly."""
    return facts.single and facts.total < facts.dim


def plus_diagonal(matrix: Floats, value: float) -> Floats:
    """A square matrix with `value` added to its diagonal, in place."""
    matrix[np.diag_indices_from(matrix)] += value
    return matrix


def invert(matrix: Floats) -> Floats:
    """The inverse, where its blocks are needed and not only its product with something."""
    inverse: Floats = np.linalg.inv(matrix).astype(np.float64, copy=False)
    return inverse


def invert_centred(gram: Floats, ridge: float, y: NDArray[np.int64]) -> Floats:
    """(gram + ridge I)^-1 less its part 1 / ridge along the indicators of the classes `y` (N,).

    gram (N, N) is of rows that were centred within those classes, so it is zero along the indicators; there the
    inverse is 1 / ridge, which for a small ridge would drown everything else. Overwrites `gram`.
    """
    same = y[:, None] == y[None, :]
    along = same / same.sum(axis=1)
    # Of the size of what it is added to, so that neither is lost beside it: gram may be all zero, or only rounding.
    lift = max(float(np.trace(gram)) / len(gram), ridge) or 1.0
    gram += lift * along
    inverse: Floats = invert(plus_diagonal(gram, ridge)) - along / (ridge + lift)
    return inverse


def blocks(matrix: Floats, rows: NDArray[np.int64]) -> Floats:
    """The square blocks (F, k, k) of `matrix` at the indices `rows` (F, k)."""
    found: Floats = matrix[rows[:, :, None], rows[:, None, :]]
    return found


def product_blocks(a: Floats, b: Floats, rows: NDArray[np.int64]) -> Floats:
    """The square blocks (F, k, k) of a b^T at the indices `rows` (F, k), without the whole of it."""
    found: Floats
    if rows.shape[1] == 1:
        found = np.einsum("nd,nd->n", a, b)[rows][:, :, None]
    else:
        found = np.einsum("fid,fjd->fij", a[rows], b[rows])
    return found
