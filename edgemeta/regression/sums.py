"""The sums of targets that regression lives on: sum y, sum y^2, sum z y^T; exact, whatever the order."""

from __future__ import annotations

from collections import Counter

import numpy as np

from .targets import PLACES, SMALLEST, Floats, Ints, exponents, parts


class TargetSums:
    """Of k outputs: always how large the targets are; the sums once `start` was called, until they are `stale`.

    Sums are in units of 2^scale of each output. When the largest target comes or goes, the scale changes, and the
    sums have to be folded anew: they are dropped, and made again when they are next asked for.
    """

    def __init__(self, dim: int, outputs: int) -> None:
        self.dim, self.outputs = dim, outputs
        self._sizes: list[Counter[int]] = [Counter() for _ in range(outputs)]
        self._scale = self.scale
        self._cross: Floats | None = None  # (D, 2 k): sum z h^T and sum z l^T
        self._totals: list[int] = []  # sum y and sum y^2 in units of 2^-PLACES and its square: integers are exact
        self._squares: list[int] = []

    @property
    def scale(self) -> Ints:
        """The e of each output, (k,): every live |y| < 2^e, and 0 where all are zeros. A function of what is live."""
        largest = [max(sizes, default=SMALLEST) for sizes in self._sizes]
        return np.array([0 if e == SMALLEST else e for e in largest], dtype=np.int64)

    @property
    def kept(self) -> bool:
        """Whether the sums are there."""
        return self._cross is not None

    @property
    def nbytes(self) -> int:
        return 0 if self._cross is None else self._cross.nbytes

    def start(self) -> None:
        """Begin to keep sums, from nothing; the caller gives what is live to `add_to_sums`."""
        self._scale = self.scale
        self._cross = np.zeros((self.dim, 2 * self.outputs))
        self._totals, self._squares = [0] * self.outputs, [0] * self.outputs

    def drop(self) -> None:
        """Stop keeping sums."""
        self._cross = None

    def change(self, z: Floats, targets: Floats, sign: int) -> None:
        """Add (sign 1) or take away (-1) embeddings (N, D) with their targets (N, k)."""
        for sizes, column in zip(self._sizes, exponents(targets).T.tolist(), strict=True):
            for size in column:
                sizes[size] += sign
                if not sizes[size]:
                    del sizes[size]
        if self._cross is not None and (self.scale == self._scale).all():
            self.add_to_sums(z, targets, sign)
        else:
            self.drop()

    def add_to_sums(self, z: Floats, targets: Floats, sign: int = 1) -> None:
        """Change the sums alone."""
        assert self._cross is not None
        high, low = parts(targets, self._scale)
        self._cross += sign * (z.T @ np.hstack([high, low]))
        for k, column in enumerate(np.ldexp(high + low, PLACES).T.tolist()):
            whole = [int(y) for y in column]
            self._totals[k] += sign * sum(whole)
            self._squares[k] += sign * sum(y * y for y in whole)

    def cross(self) -> Floats:
        """sum z y^T, (D, k)."""
        assert self._cross is not None
        found: Floats = self._cross[:, : self.outputs] + self._cross[:, self.outputs :]
        return found

    def totals(self) -> Floats:
        """sum y, (k,)."""
        return np.array([total / 2**PLACES for total in self._totals])

    def squares(self) -> Floats:
        """sum y^2, (k,)."""
        return np.array([square / 2 ** (2 * PLACES) for square in self._squares])

    def spread(self, count: int) -> Floats:
        """sum (y - mean)^2, (k,), without cancellation."""
        pairs = zip(self._totals, self._squares, strict=True)
        return np.array([(count * square - total * total) / (count << 2 * PLACES) for total, square in pairs])
