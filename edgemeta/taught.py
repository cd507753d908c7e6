"""The taught set: the statistics that follow a journal, and the facts that a head solves from."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .empirical_bayes import prior_weight
from .errors import HeadError
from .heads import Facts, Head, Prior
from .journal import Change, ExampleId, Journal, Seal
from .normalisation import to_float
from .sample import Sample, Sketch, Stage, cells_of, weigh
from .statistics import Statistics

if TYPE_CHECKING:
    from .prior import PriorClasses

# Embeddings read from the journal at a time while a fold runs.
CHUNK = 512


class Taught:
    """Statistics kept equal to a fold over the journal, change by change."""

    def __init__(self, journal: Journal, prior: PriorClasses | None = None) -> None:
        self.journal, self.prior = journal, prior
        self.statistics = Statistics(journal.dim)
        self._sketch = Sketch()
        self._sample: Sample | None = None
        self.fold()

    def fold(self) -> None:
        """Start from nothing and add everything that is live: the definition of the statistics."""
        self.statistics = Statistics(self.journal.dim)
        self._sketch, self._sample = Sketch(), None
        self._add(list(self.journal.live))
        for seal in self.journal.seals.values():
            self._add_seal(seal, 1)

    def apply(self, change: Change) -> None:
        """Follow one transaction of the journal."""
        if change.reset:
            self.fold()
            return
        # Adding first keeps a class that a relabelling empties and fills from being dropped between.
        self._add(list(change.added))
        for seal in change.seals_added:
            self._add_seal(seal, 1)
        self._remove(change)
        for seal in change.seals_removed:
            self._add_seal(seal, -1)
        if self.statistics.keeps_moment and self.statistics.total < self.journal.dim // 2:
            self.statistics.drop_moment()

    @property
    def sealed(self) -> bool:
        """Whether examples were sealed into sums."""
        return bool(self.journal.seals)

    def sample(self) -> Sample | None:
        """The examples to leave out for what is measured; None where no class has two independent ones.

        With sealed examples, those that are still there: less was left out then, so it errs on the careful side.
        """
        ids, kept = tuple(self._sketch.at_random()), self._sample
        if not ids:
            return None
        made = self.sample_of(ids) if kept is None or kept.ids != ids or self.prior is not None else kept
        cells = np.array(list(self._sketch.cells().values()), dtype=np.int64)
        self._sample = replace(made, cells=cells, share=len(ids) / max(1, len(self.journal.live)))
        return self._sample

    def stages(self, least: int) -> list[Stage]:
        """What is decided on, one after another: see `Sketch.by_age`."""
        return self._sketch.by_age(least)

    def sample_of(self, ids: Sequence[ExampleId]) -> Sample:
        """These examples, at least one, to leave out."""
        cells = np.array(list(self._sketch.cells().values()), dtype=np.int64)
        labels = self._with_prior({self.journal.live[i].label for i in ids})
        z, y = self._read(ids, {label: i for i, label in enumerate(labels)})
        groups, sums = self._groups_of(ids), self._zeros(len(labels))
        counts = np.bincount(y.astype(np.intp), minlength=len(labels))  # which takes no int64 on machines of 32 bits
        np.add.at(sums, y, z)
        facts = Facts(
            tuple(labels),
            counts.astype(np.float64),
            sums,
            float((z * z).sum()),
            lambda: z.T @ z,
            lambda: (z, y),
            lambda: groups,
            prior=self._prior(labels),
        )
        return Sample(facts, weigh(y, cells_of(facts)), cells, 1.0, tuple(ids))

    def facts(self, head: Head) -> Facts:
        """What `head` solves from. Raises HeadError when what it needs was sealed away, or it can use no prior."""
        self._check(head)
        statistics = self.statistics
        labels, nothing = self._with_prior(statistics.labels), np.zeros(self.journal.dim)
        return Facts(
            tuple(labels),
            np.array([statistics.counts.get(label, 0) for label in labels], dtype=np.float64),
            np.stack([statistics.sums.get(label, nothing) for label in labels]),
            statistics.squares,
            self._moment,
            # Leaving out asks for them several times; reading them is what takes time.
            cache(self._examples),
            cache(self._groups),
            single=not self.sealed,
            prior=self._prior(labels),
            cells=lambda: np.array([self._sketch.cells().get(label, 0) for label in labels], dtype=np.int64),
        )

    def _check(self, head: Head) -> None:
        check_seals(head, self.journal.seals.values())
        if head.needs != "sums" and self.prior is not None:
            raise HeadError(
                f"head {head.name} cannot use the bundle's prior classes; use head='euclidean', 'cosine' or 'centred', "
                "or prior=False"
            )

    def _prior(self, labels: Sequence[str]) -> Prior | None:
        """The prior means, and the number of examples that each counts for (`PriorClasses.weight`)."""
        if self.prior is None:
            return None
        known = dict(zip(self.prior.labels, self.prior.means, strict=True))
        means, counts = self._zeros(len(labels)), np.zeros(len(labels))
        worth = self._worth()
        weight = prior_weight(self.prior, self.statistics, worth, sealed=self.sealed)
        for i, label in enumerate(labels):
            if label in known:
                # Against frames, of which a burst has many, it counts for as many more.
                frames = self.statistics.counts[label] / worth[label] if label in worth else 1.0
                means[i], counts[i] = known[label], weight * frames
        return Prior(means, counts)

    def _worth(self) -> dict[str, float]:
        """How many independent examples each class is worth: n^2 / sum of n_g^2 for bursts of n_g. Sealed ones are."""
        found = {}
        for label, count in self.statistics.counts.items():
            live, squares = self._sketch.frames(label)
            found[label] = count - live + (live * live / squares if live else 0.0)
        return found

    def _moment(self) -> NDArray[np.float64]:
        if not self.statistics.keeps_moment:
            self.statistics.start_moment()
            for _, q20 in self._chunks(list(self.journal.live)):
                self.statistics.add_to_moment(q20)
            for seal in self.journal.seals.values():
                packed = seal.moment
                assert packed is not None
                self.statistics.add_sum_to_moment(unpack(packed, self.journal.dim))
        moment = self.statistics.moment
        assert moment is not None
        return moment

    def _examples(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        labels = self._with_prior(self.statistics.labels)
        return self._read(sorted(self.journal.live), {label: i for i, label in enumerate(labels)})

    def _with_prior(self, labels: Iterable[str]) -> list[str]:
        """Sorted, with the classes of the prior."""
        return sorted({*labels, *(self.prior.labels if self.prior is not None else ())})

    def _zeros(self, rows: int) -> NDArray[np.float64]:
        return np.zeros((rows, self.journal.dim))

    def _read(self, ids: Sequence[ExampleId], rank: dict[str, int]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        y = np.array([rank[self.journal.live[i].label] for i in ids], dtype=np.int64)
        z = to_float(self.journal.embeddings(ids))
        z.flags.writeable = y.flags.writeable = False  # several readers share them
        return z, y

    def _groups(self) -> NDArray[np.int64]:
        return self._groups_of(sorted(self.journal.live))

    def _groups_of(self, ids: Sequence[ExampleId]) -> NDArray[np.int64]:
        """Equal numbers for the examples of one group."""
        numbers: dict[object, int] = {}
        keys = [self.journal.live[i].group or i for i in ids]
        return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)

    def _chunks(self, ids: list[ExampleId]) -> list[tuple[list[ExampleId], NDArray[np.int32]]]:
        return [
            (part, self.journal.embeddings(part))
            for part in (ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK))
        ]

    def _add(self, ids: list[ExampleId]) -> None:
        for part, q20 in self._chunks(ids):
            entries = [self.journal.live[i] for i in part]
            self._by_label([entry.label for entry in entries], q20, 1)
            self._sketch.add(list(zip(part, entries, strict=True)), q20)

    def _remove(self, change: Change) -> None:
        for start in range(0, len(change.removed), CHUNK):
            part = change.removed[start : start + CHUNK]
            q20 = self.journal.removed_embeddings([entry for _, entry in part])
            self._by_label([entry.label for _, entry in part], q20, -1)
            self._sketch.remove(part, q20)

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


def check_seals(head: Head, seals: Collection[Seal]) -> None:
    """Raises HeadError when what `head` needs was sealed away."""
    if head.needs == "moment" and any(not seal.has_moment for seal in seals):
        raise HeadError(
            f"head {head.name} needs the second moment, and examples were sealed without it; "
            "use head='cosine' or 'euclidean', or teach again with the head named from the start"
        )
    if head.needs == "examples" and seals:
        raise HeadError(f"head {head.name} as it is set needs every example, and some were sealed; use another")


def unpack(packed: NDArray[np.float64], dim: int) -> NDArray[np.float64]:
    """Upper triangle row by row, D (D + 1) / 2 numbers, to a symmetric (D, D)."""
    full = np.zeros((dim, dim))
    full[np.triu_indices(dim)] = packed
    full += np.triu(full, 1).T
    return full
