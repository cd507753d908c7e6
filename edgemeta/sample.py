"""The examples that a learner judges itself by: few, whatever was taught, and the same in any order of teaching.

Leaving out costs more than solving, so it reads a bounded sample: of each class the cells with the smallest hashes, a
cell being what one group taught of one class, and of each cell one example. Frames of one burst are near-duplicates
and say little more than one of them. Hashes follow from ids, labels and group names alone, so the sample is a pure
function of the taught set; and as a set grows, a new example is less and less often among the smallest.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .heads import Facts
from .heads.base import Floats
from .journal import ExampleId
from .journal.state import Entry

# Examples of a sample at most, and how many a class has at least where they would not suffice for all.
MOST, A_CLASS = 512, 4

_Row = tuple[int, int, ExampleId]  # hash of the cell, hash of the example, its id


class Sketch:
    """Every live example, ranked by hash within its class."""

    def __init__(self, live: Mapping[ExampleId, Entry]) -> None:
        self._rows: dict[str, list[_Row]] = {}
        self._cells: dict[str, Counter[int]] = {}
        for example, entry in live.items():
            row = _ranked(example, entry)
            self._rows.setdefault(entry.label, []).append(row)
            self._cells.setdefault(entry.label, Counter())[row[0]] += 1
        for rows in self._rows.values():
            rows.sort()

    def add(self, example: ExampleId, entry: Entry) -> None:
        row = _ranked(example, entry)
        insort(self._rows.setdefault(entry.label, []), row)
        self._cells.setdefault(entry.label, Counter())[row[0]] += 1

    def remove(self, example: ExampleId, entry: Entry) -> None:
        row, rows, cells = _ranked(example, entry), self._rows[entry.label], self._cells[entry.label]
        del rows[bisect_left(rows, row)]
        cells[row[0]] -= 1
        if not cells[row[0]]:
            del cells[row[0]]
        if not rows:
            del self._rows[entry.label], self._cells[entry.label]

    def cells(self) -> dict[str, int]:
        """How many cells each class has."""
        return {label: len(cells) for label, cells in self._cells.items()}

    def smallest(self, label: str, most: int) -> list[ExampleId]:
        """One example of each of the `most` cells of a class with the smallest hashes."""
        rows, at = self._rows[label], 0
        found: list[ExampleId] = []
        while at < len(rows) and len(found) < most:
            found.append(rows[at][2])
            at = bisect_left(rows, (rows[at][0] + 1,), at)
        return found

    def choose(self) -> dict[str, list[ExampleId]]:
        """The sample: examples of each class that has at least two cells, for what stands alone cannot be left out.

        All of them, or where those are too many the same number a class, a power of two: so that one class more seldom
        changes what the others show.
        """
        several = {label: len(cells) for label, cells in self._cells.items() if len(cells) > 1}
        if sum(several.values()) <= MOST:
            return {label: self.smallest(label, count) for label, count in sorted(several.items())}
        labels = sorted(several)
        if A_CLASS * len(labels) > MOST:
            labels = sorted(sorted(labels, key=_hash_text)[: MOST // A_CLASS])
        each = 1 << (MOST // len(labels)).bit_length() - 1
        return {label: self.smallest(label, each) for label in labels}


@dataclass(frozen=True)
class Sample:
    """Examples to leave out, as a taught set of its own, and for how much each counts.

    weights (N,): sum 1, each class alike. worth: how many examples of one class size would say as much. cells: how many
    independent ones each class has, of all that were taught. ids: of its examples.
    """

    facts: Facts
    weights: Floats
    cells: NDArray[np.int64]
    ids: tuple[ExampleId, ...]

    @property
    def worth(self) -> float:
        return 1.0 / float(self.weights @ self.weights)

    def covers(self, cells: int) -> bool:
        """Whether at least two classes, and half of all, have so many cells: few must not speak for many."""
        able = int((self.cells >= cells).sum())
        return able >= 2 and 2 * able >= len(self.cells)

    def mean(self, values: Floats) -> tuple[float, float]:
        """The mean of values (N,) over classes, and its standard error."""
        mean = float(self.weights @ values)
        spread = float(np.square(self.weights) @ np.square(values - mean))
        return mean, float(np.sqrt(spread * self.worth / max(self.worth - 1.0, 1e-9)))


def weigh(y: NDArray[np.int64], classes: int) -> Floats:
    """Each class alike: weights (N,) that sum to 1."""
    sizes = np.bincount(y, minlength=classes)
    weights: Floats = 1.0 / (np.count_nonzero(sizes) * sizes[y])
    return weights


def _ranked(example: ExampleId, entry: Entry) -> _Row:
    rank = _hash(example.journal + example.counter.to_bytes(8, "little"))
    return (_hash_text(entry.group) if entry.group else rank), rank, example


def _hash_text(text: str) -> int:
    return _hash(text.encode())


def _hash(data: bytes) -> int:
    import hashlib  # not at the top: it costs milliseconds of every import on a small board

    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
