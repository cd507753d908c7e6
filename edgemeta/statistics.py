"""The sums that every closed-form head lives on: per class n and s = sum z; over all, when asked, G = sum z z^T.

They add exactly (DESIGN.md): a Q20 embedding is a multiple of 2^-20 with norm at most 1, so products are multiples
of 2^-40 and float64 sums of up to `EXACT_EXAMPLES` of them are exact. Any order of add, remove and merge gives the
same bits as a fold from scratch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from . import kernels
from .normalisation import to_float

Vector = NDArray[np.float64]


class Statistics:
    """n and s of each class, the sum of squares of all, and G once `start_moment` was called."""

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self.counts: dict[str, int] = {}
        self.sums: dict[str, Vector] = {}
        self.squares = 0.0  # tr G, kept even when G is not
        self._moment: kernels.Moment | None = None

    @property
    def keeps_moment(self) -> bool:
        """Whether G is kept."""
        return self._moment is not None

    @property
    def moment(self) -> NDArray[np.float64] | None:
        """G (D, D), the caller's own; None while it is not kept."""
        return None if self._moment is None else self._moment.full()

    @property
    def total(self) -> int:
        """N, the number of examples of all classes."""
        return sum(self.counts.values())

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes that have examples, sorted: the order of every head's rows."""
        return tuple(sorted(self.counts))

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays held."""
        held = sum(s.nbytes for s in self.sums.values())
        return held + (self._moment.nbytes if self._moment is not None else 0)

    def add(self, label: str, q20: NDArray[np.int32]) -> None:
        """Add the embeddings int32 Q20 (N, D) of one class."""
        self._change(label, q20, 1)

    def remove(self, label: str, q20: NDArray[np.int32]) -> None:
        """The exact inverse of `add`. A class without examples left is gone: it can never win."""
        self._change(label, q20, -1)

    def _change(self, label: str, q20: NDArray[np.int32], sign: int) -> None:
        z = to_float(q20)
        if self._moment is not None and len(q20):
            self._moment.change(q20, sign)
        self.add_sums(label, len(z), z.sum(axis=0), float((z * z).sum()), None, sign)

    def add_sums(
        self,
        label: str,
        count: int,
        total: Vector,
        squares: float,
        moment: NDArray[np.float64] | None,
        sign: int = 1,
    ) -> None:
        """Add (sign 1) or take away (sign -1) sums that were made elsewhere, of a sealed class for instance."""
        if not count:
            return
        if label not in self.counts:
            self.counts[label], self.sums[label] = 0, np.zeros(self.dim)
        self.counts[label] += sign * count
        self.sums[label] += sign * total
        self.squares += sign * squares
        if self._moment is not None and moment is not None:
            self._moment.change_sums(moment, sign)
        if self.counts[label] == 0:
            del self.counts[label], self.sums[label]

    def merge(self, other: Statistics) -> None:
        """Add everything that `other` holds; both or neither must have built G."""
        for label, count in other.counts.items():
            self.add_sums(label, count, other.sums[label], 0.0, None)
        self.squares += other.squares
        if self._moment is not None and other._moment is not None:
            self._moment.change_sums(other._moment.full(), 1)
        else:
            self._moment = None

    def start_moment(self) -> None:
        """Begin to keep G, from nothing; the caller adds what was seen so far with `add_to_moment`."""
        self._moment = kernels.moment(self.dim)

    def add_to_moment(self, q20: NDArray[np.int32]) -> None:
        """Add int32 Q20 (N, D) to G alone."""
        assert self._moment is not None
        self._moment.change(q20, 1)

    def add_sum_to_moment(self, full: NDArray[np.float64]) -> None:
        """Add a sum of z z^T (D, D) to G alone."""
        assert self._moment is not None
        self._moment.change_sums(full, 1)

    def drop_moment(self) -> None:
        """Stop keeping G."""
        self._moment = None
