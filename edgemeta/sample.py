"""The examples that a learner judges itself by: few, whatever was taught, and a function of the taught set alone.

Leaving out costs more than solving, so it reads a bounded sample. A cell is what one group taught of one class: frames
of one burst are near-duplicates and say little more than one of them, so they are left out together and weigh as one.

Two samples serve two ends. What is measured (confidences, the limit of the unknown) comes from all examples, or where
those are too many from some at random, those whose embeddings have the smallest hashes: the same in any order of
teaching, and with the same share of each burst. What is decided (the head) comes from the oldest cells, 5, 10, 20, ...
of each of the first classes that have so many: what was decided on does not change as more is taught.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .heads import Facts
from .heads.base import Floats
from .journal import ExampleId
from .journal.state import Entry

# Examples of a sample at most, and how many a class has at least where they would not suffice for all.
MOST, A_CLASS = 512, 4


class _Age(NamedTuple):
    """When an example was taught: counters of ids go on above every counter that a journal knows."""

    counter: int
    journal: bytes
    cell: int

    @property
    def id(self) -> ExampleId:
        return ExampleId(self.journal, self.counter)


class Stage(NamedTuple):
    """The oldest `each` cells of `classes` classes. complete: when there were so many."""

    complete: _Age
    each: int
    classes: int
    ids: tuple[ExampleId, ...]


class _Row(NamedTuple):
    """An example by the hash of its embedding."""

    rank: int
    id: ExampleId
    cell: int


class _Ranked:
    """The examples of one class: by hash, and by age."""

    def __init__(self) -> None:
        self.rows: list[_Row] = []
        self.ages: list[_Age] = []
        self.cells: Counter[int] = Counter()

    def add(self, rows: list[_Row]) -> None:
        if len(rows) == 1:
            insort(self.rows, rows[0])
            insort(self.ages, _age(rows[0]))
        else:
            self.rows = sorted(self.rows + rows)
            self.ages = sorted(self.ages + [_age(row) for row in rows])
        self.cells.update(row.cell for row in rows)

    def remove(self, row: _Row) -> None:
        del self.rows[bisect_left(self.rows, row)]
        del self.ages[bisect_left(self.ages, _age(row))]
        self.cells[row.cell] -= 1
        if not self.cells[row.cell]:
            del self.cells[row.cell]

    def oldest(self, most: int) -> list[_Age]:
        """The first example of each of the `most` oldest cells."""
        found: dict[int, _Age] = {}
        for age in self.ages:
            if len(found) == most:
                break
            found.setdefault(age.cell, age)
        return list(found.values())


class Sketch:
    """Every live example, ranked within its class. Examples come with their embeddings, int32 (N, D)."""

    def __init__(self) -> None:
        self._classes: dict[str, _Ranked] = {}

    def add(self, examples: Sequence[tuple[ExampleId, Entry]], embeddings: NDArray[np.int32]) -> None:
        rows: dict[str, list[_Row]] = {}
        for (example, entry), embedding in zip(examples, embeddings, strict=True):
            rows.setdefault(entry.label, []).append(_row(example, entry, embedding))
        for label, members in rows.items():
            self._classes.setdefault(label, _Ranked()).add(members)

    def remove(self, examples: Sequence[tuple[ExampleId, Entry]], embeddings: NDArray[np.int32]) -> None:
        for (example, entry), embedding in zip(examples, embeddings, strict=True):
            self._classes[entry.label].remove(_row(example, entry, embedding))
            if not self._classes[entry.label].rows:
                del self._classes[entry.label]

    def cells(self) -> dict[str, int]:
        """How many cells each class has."""
        return {label: len(ranked.cells) for label, ranked in self._classes.items()}

    def frames(self, label: str) -> tuple[int, int]:
        """How many examples a class has, and the sum of the squares of how many each of its cells has."""
        ranked = self._classes.get(label)
        return (0, 0) if ranked is None else (len(ranked.rows), sum(n * n for n in ranked.cells.values()))

    def at_random(self) -> list[ExampleId]:
        """The sample by hash: of each class that has at least two cells, for what stands alone cannot be left out.

        All examples, or where those are too many the same number a class, a power of two: so that one class more seldom
        changes what the others show.
        """
        labels = sorted(label for label, count in self.cells().items() if count > 1)
        most = MOST
        if sum(len(self._classes[label].rows) for label in labels) > MOST:
            if A_CLASS * len(labels) > MOST:
                labels = sorted(sorted(labels, key=lambda label: _hash(label.encode()))[: MOST // A_CLASS])
            most = _power(MOST // len(labels))
        return [row.id for label in labels for row in self._classes[label].rows[:most]]

    def by_age(self, least: int) -> list[Stage]:
        """The samples by age: the oldest `least` cells, twice as many, ... of the first classes that have so many.

        With C classes, counted as the power of two below, it is the first C / 2 and the first C, as far as there is
        room. In the order in which they were complete.
        """
        oldest = {label: self._classes[label].oldest(MOST // 2) for label, n in self.cells().items() if n >= least}
        classes, found, each = _power(len(self._classes)), list[Stage](), least
        while 2 * each <= MOST:
            able = sorted((ages[each - 1], label) for label, ages in oldest.items() if len(ages) >= each)
            for many in sorted({max(2, min(part, _power(MOST // each))) for part in (classes // 2, classes)}):
                if len(able) >= many:
                    ids = tuple(age.id for _, label in able[:many] for age in oldest[label][:each])
                    found.append(Stage(able[many - 1][0], each, many, ids))
            each *= 2
        return sorted(found)


@dataclass(frozen=True)
class Sample:
    """Examples to leave out, as a taught set of its own, and for how much each counts.

    weights (N,): sum 1, each class alike, and in it each cell. cells: how many independent ones each class has, of all
    that were taught. share: of all examples, how many are here. ids: of its examples.
    """

    facts: Facts
    weights: Floats
    cells: NDArray[np.int64]
    share: float
    ids: tuple[ExampleId, ...]

    @cached_property
    def worth(self) -> float:
        """How many examples of one class size would say as much."""
        return worth(self.weights, self._cell)

    @cached_property
    def _cell(self) -> NDArray[np.int64]:
        return cells_of(self.facts)

    def covers(self, cells: int) -> bool:
        """Whether at least two classes, and half of all, have so many cells: few must not speak for many.

        All are counted as the power of two below, so that classes that come and grow in turn cannot make it alternate.
        """
        able = int((self.cells >= cells).sum())
        return able >= 2 and 2 * able >= _power(len(self.cells))

    def mean(self, values: Floats) -> tuple[float, float]:
        """The mean of values (N,) over classes, and its standard error."""
        mean = float(self.weights @ values)
        apart = np.bincount(self._cell, self.weights * (values - mean))
        return mean, float(np.sqrt(apart @ apart * self.worth / max(self.worth - 1.0, 1e-9)))


def cells_of(facts: Facts) -> NDArray[np.int64]:
    """The number of each example's cell, (N,)."""
    _, y = facts.examples()
    found: NDArray[np.int64] = np.unique(facts.groups() * len(facts.labels) + y, return_inverse=True)[1]
    return found


def weigh(y: NDArray[np.int64], cell: NDArray[np.int64]) -> Floats:
    """Each class alike, and in it each cell: weights (N,) that sum to 1."""
    own = np.empty(int(cell.max()) + 1, dtype=np.intp)
    own[cell] = y  # the class of each cell
    cells = np.bincount(own)  # how many each class has
    weights: Floats = 1.0 / (np.count_nonzero(cells) * cells[y] * np.bincount(cell)[cell])
    return weights


def worth(weights: Floats, cell: NDArray[np.int64]) -> float:
    """How many values of equal weight have a mean as sure as that with these weights, those of a cell being one."""
    together = np.bincount(cell, weights)
    return 1.0 / float(together @ together)


def _power(count: int) -> int:
    """The largest power of two that is at most `count`."""
    return 1 << count.bit_length() - 1


def _row(example: ExampleId, entry: Entry, embedding: NDArray[np.int32]) -> _Row:
    cell = entry.group.encode() if entry.group else example.journal + example.counter.to_bytes(8, "little")
    return _Row(_hash(embedding.tobytes()), example, _hash(cell))


def _age(row: _Row) -> _Age:
    return _Age(row.id.counter, row.id.journal, row.cell)


def _hash(data: bytes) -> int:
    import hashlib  # not at the top: it costs milliseconds of every import on a small board

    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
