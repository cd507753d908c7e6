"""The taught set: the statistics that follow a journal, and the facts that a head solves from."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from .errors import HeadError
from .heads import Facts, Head
from .journal import Change, ExampleId, Journal, Seal
from .normalisation import to_float
from .statistics import Statistics

# Embeddings read from the journal at a time while a fold runs.
CHUNK = 512


class Taught:
    """Statistics kept equal to a fold over the journal, change by change."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.statistics = Statistics(journal.dim)
        self.fold()

    def fold(self) -> None:
        """Start from nothing and add everything that is live: the definition of the statistics."""
        self.statistics = Statistics(self.journal.dim)
        self._add(list(self.journal.live), 1)
        for seal in self.journal.seals.values():
            self._add_seal(seal, 1)

    def apply(self, change: Change) -> None:
        """Follow one transaction of the journal."""
        if change.reset:
            self.fold()
            return
        # Adding first keeps a class that a relabelling empties and fills from being dropped between.
        self._add(list(change.added), 1)
        for seal in change.seals_added:
            self._add_seal(seal, 1)
        self._remove(change)
        for seal in change.seals_removed:
            self._add_seal(seal, -1)
        if self.statistics.moment is not None and self.statistics.total < self.journal.dim // 2:
            self.statistics.drop_moment()

    def facts(self, head: Head) -> Facts:
        """What `head` solves from. Raises HeadError when what it needs was sealed away."""
        statistics, sealed = self.statistics, bool(self.journal.seals)
        if head.needs == "moment" and any(not seal.has_moment for seal in self.journal.seals.values()):
            raise HeadError(
                f"head {head.name} needs the second moment, and examples were sealed without it; "
                "use head='cosine' or 'euclidean', or teach again with the head named from the start"
            )
        if head.needs == "examples" and sealed:
            raise HeadError(f"head {head.name} as it is set needs every example, and some were sealed; use another")
        labels = statistics.labels
        return Facts(
            labels,
            np.array([statistics.counts[label] for label in labels], dtype=np.float64),
            np.stack([statistics.sums[label] for label in labels]),
            statistics.squares,
            self._moment,
            # Leaving out asks for them several times; reading them is what takes time.
            cache(self._examples),
            cache(self._groups),
            single=not sealed,
        )

    def _moment(self) -> NDArray[np.float64]:
        if self.statistics.moment is None:
            self.statistics.start_moment()
            for _, q20 in self._chunks(list(self.journal.live)):
                self.statistics.add_to_moment(q20)
            for seal in self.journal.seals.values():
                packed = seal.moment
                assert self.statistics.moment is not None and packed is not None
                self.statistics.moment += unpack(packed, self.journal.dim)
        assert self.statistics.moment is not None
        # A copy, so that a head may work in place.
        return np.array(self.statistics.moment)

    def _examples(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        ids = sorted(self.journal.live)
        rank = {label: i for i, label in enumerate(self.statistics.labels)}
        y = np.array([rank[self.journal.live[i].label] for i in ids], dtype=np.int64)
        z = to_float(self.journal.embeddings(ids))
        z.flags.writeable = y.flags.writeable = False  # several readers share them
        return z, y

    def _groups(self) -> NDArray[np.int64]:
        """Equal numbers for the examples of one group, in the order of `_examples`."""
        numbers: dict[object, int] = {}
        keys = [self.journal.live[i].group or i for i in sorted(self.journal.live)]
        return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)

    def _chunks(self, ids: list[ExampleId]) -> list[tuple[list[ExampleId], NDArray[np.int32]]]:
        return [
            (part, self.journal.embeddings(part))
            for part in (ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK))
        ]

    def _add(self, ids: list[ExampleId], sign: int) -> None:
        for part, q20 in self._chunks(ids):
            self._by_label([self.journal.live[i].label for i in part], q20, sign)

    def _remove(self, change: Change) -> None:
        for start in range(0, len(change.removed), CHUNK):
            part = change.removed[start : start + CHUNK]
            q20 = self.journal.removed_embeddings([entry for _, entry in part])
            self._by_label([entry.label for _, entry in part], q20, -1)

    def _by_label(self, labels: list[str], q20: NDArray[np.int32], sign: int) -> None:
        names = np.array(labels, dtype=object)
        for label in dict.fromkeys(labels):
            rows = q20[names == label]
            (self.statistics.add if sign > 0 else self.statistics.remove)(label, rows)

    def _add_seal(self, seal: Seal, sign: int) -> None:
        packed = seal.moment
        moment = None if packed is None else unpack(packed, self.journal.dim)
        squares = 0.0 if moment is None else float(np.trace(moment))
        self.statistics.add_sums(seal.label, seal.count, seal.total, squares, moment, sign)


def unpack(packed: NDArray[np.float64], dim: int) -> NDArray[np.float64]:
    """Upper triangle row by row, D (D + 1) / 2 numbers, to a symmetric (D, D)."""
    full = np.zeros((dim, dim))
    full[np.triu_indices(dim)] = packed
    full += np.triu(full, 1).T
    return full
