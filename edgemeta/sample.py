"""The examples that a learner judges itself by: few, whatever was taught, and a function of the taught set alone.

Leaving out costs more than solving, so it reads a bounded sample. It takes cells, a cell being what one group taught of
one class, and of each cell one example: frames of one burst are near-duplicates and say little more than one of them.

Two samples serve two ends. What is measured (confidences, the limit of the unknown) comes from cells at random: those
whose embeddings have the smallest hashes, so it is the same in any order of teaching. What is decided (the head) comes
from the oldest cells, 5, 10, 20, ... of each class: a choice that was made stays until a class has doubled.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .heads import Facts
from .heads.base import Floats
from .journal import ExampleId
from .journal.state import Entry

# Examples of a sample at most, and how many a class has at least where they would not suffice for all.
MOST, A_CLASS = 512, 4


class _Row(NamedTuple):
    """An example by hash. Rows of one cell share `order` and `cell`."""

    order: int
    cell: int
    rank: int  # of the embedding
    id: ExampleId


class _Ranked:
    """The examples of one class: by hash, and by age (counter, journal)."""

    def __init__(self) -> None:
        self.rows: list[_Row] = []
        self.ages: list[tuple[int, bytes, int]] = []
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

    def smallest(self, most: int) -> list[ExampleId]:
        """One example of each of the `most` cells with the smallest hashes."""
        at, found = 0, list[ExampleId]()
        while at < len(self.rows) and len(found) < most:
            row = self.rows[at]
            found.append(row.id)
            at = bisect_left(self.rows, (row.order, row.cell + 1), at)
        return found

    def oldest(self, most: int) -> list[ExampleId]:
        """The first example of each of the `most` oldest cells."""
        found: dict[int, ExampleId] = {}
        for counter, journal, cell in self.ages:
            if len(found) == most:
                break
            found.setdefault(cell, ExampleId(journal, counter))
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

    def at_random(self) -> list[ExampleId]:
        """The sample by hash: of each class that has at least two cells, for what stands alone cannot be left out.

        All of them, or where those are too many the same number a class, a power of two: so that one class more seldom
        changes what the others show.
        """
        several = {label: count for label, count in self.cells().items() if count > 1}
        labels = sorted(several)
        if sum(several.values()) <= MOST:
            return self._of(labels, [several[label] for label in labels])
        if A_CLASS * len(labels) > MOST:
            labels = sorted(sorted(labels, key=lambda label: _hash(label.encode()))[: MOST // A_CLASS])
        each = 1 << (MOST // len(labels)).bit_length() - 1
        return self._of(labels, [each] * len(labels))

    def _of(self, labels: Iterable[str], most: Iterable[int]) -> list[ExampleId]:
        return [i for label, each in zip(labels, most, strict=True) for i in self._classes[label].smallest(each)]

    def by_age(self, least: int) -> Iterator[list[ExampleId]]:
        """The samples by age: of each class with at least `least` cells the oldest `least`; then twice as many where
        there are so many, and so on while there is room. Of too many classes the oldest.
        """
        able = {label: count for label, count in self.cells().items() if count >= least}
        labels = sorted(able, key=lambda label: self._classes[label].ages[0])[: MOST // least]
        oldest = [self._classes[label].oldest(min(able[label], MOST)) for label in labels]
        most = least
        while any(len(members) >= most for members in oldest):
            stage = [i for members in oldest for i in members[: _doubled(least, min(len(members), most))]]
            if len(stage) > MOST:
                break
            yield stage
            most *= 2


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
        return worth(self.weights)

    def covers(self, cells: int, share: float = 0.5) -> bool:
        """Whether at least two classes, and this share of all, have so many cells: few must not speak for many.

        All are counted as the power of two below, so that classes that come and grow in turn cannot make it alternate.
        """
        able, all_of_them = int((self.cells >= cells).sum()), 1 << len(self.cells).bit_length() - 1
        return able >= 2 and able >= share * all_of_them

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


def worth(weights: Floats) -> float:
    """How many values of equal weight have a mean as sure as that with these weights, which sum to 1."""
    return 1.0 / float(weights @ weights)


def _doubled(least: int, most: int) -> int:
    """The largest of `least`, 2 `least`, 4 `least`, ... that is at most `most`."""
    return least << (most // least).bit_length() - 1


def _row(example: ExampleId, entry: Entry, embedding: NDArray[np.int32]) -> _Row:
    rank = _hash(embedding.tobytes())
    if entry.group:
        cell = _hash(entry.group.encode())
        return _Row(cell, cell, rank, example)
    return _Row(rank, _hash(example.journal + example.counter.to_bytes(8, "little")), rank, example)


def _age(row: _Row) -> tuple[int, bytes, int]:
    return row.id.counter, row.id.journal, row.cell


def _hash(data: bytes) -> int:
    import hashlib  # not at the top: it costs milliseconds of every import on a small board

    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
