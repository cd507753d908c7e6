"""The taught set of a regressor: sums that follow a journal, and the facts that a regression solves from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ..journal import Change, ExampleId, Journal
from ..journal.state import Entry
from ..normalisation import to_float
from ..statistics import Statistics
from ..taught import CHUNK
from .facts import NumberFacts
from .sums import TargetSums
from .targets import Floats, Ints, check_targets, parts

# The label of every example of a regressor: what it is of is in its target.
LABEL = "target"


class TaughtNumbers:
    """Sums kept equal to a fold over the journal, change by change. A change costs what changed, not N."""

    def __init__(self, journal: Journal, outputs: int) -> None:
        self.journal, self.outputs = journal, outputs
        self.fold()

    def fold(self) -> None:
        """Start from nothing and add everything that is live: the definition of the sums."""
        self.inputs = Statistics(self.journal.dim)
        self.targets = TargetSums(self.journal.dim, self.outputs)
        self._groups: Counter[str | None] = Counter()
        self._change(list(self.journal.live.values()), 1)

    def apply(self, change: Change) -> None:
        """Follow one transaction of the journal."""
        if change.reset:
            self.fold()
            return
        self._change([self.journal.live[i] for i in change.added], 1)
        self._change([entry for _, entry in change.removed], -1)
        if self.total < self.journal.dim // 2:
            self.inputs.drop_moment()
            self.targets.drop()

    @property
    def total(self) -> int:
        """N."""
        return self.inputs.total

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays held."""
        return self.inputs.nbytes + self.targets.nbytes

    def facts(self) -> NumberFacts:
        """What a regression solves from."""
        alone = self._groups[None]
        rows = cache(self._rows)  # leaving out asks several times; reading them is what takes time
        return NumberFacts(
            self.total,
            alone + sum(group is not None for group in self._groups),
            self.inputs.sums.get(LABEL, np.zeros(self.journal.dim)),
            self.inputs.squares,
            np.ldexp(1.0, self.targets.scale.astype(np.intc)),
            self._moment,
            self._sums,
            lambda: rows()[:2],
            lambda: rows()[2],
        )

    def _change(self, entries: Sequence[Entry], sign: int) -> None:
        for part, q20, targets in self._chunks(entries):
            (self.inputs.add if sign > 0 else self.inputs.remove)(LABEL, q20)
            self.targets.change(to_float(q20), targets, sign)
            for entry in part:
                self._groups[entry.group] += sign
                if not self._groups[entry.group]:
                    del self._groups[entry.group]

    def _moment(self) -> Floats:
        if not self.inputs.keeps_moment:
            self.inputs.start_moment()
            for _, q20, _ in self._chunks(list(self.journal.live.values())):
                self.inputs.add_to_moment(q20)
        moment = self.inputs.moment
        assert moment is not None
        return moment

    def _sums(self) -> TargetSums:
        if not self.targets.kept:
            self.targets.start()
            for _, q20, targets in self._chunks(list(self.journal.live.values())):
                self.targets.add_to_sums(to_float(q20), targets)
        return self.targets

    def _chunks(self, entries: Sequence[Entry]) -> Iterator[tuple[Sequence[Entry], NDArray[np.int32], Floats]]:
        for start in range(0, len(entries), CHUNK):
            part = entries[start : start + CHUNK]
            q20, targets = self.journal.removed_pairs(part)
            yield part, q20, check_targets(targets, len(part), self.outputs)

    def _rows(self) -> tuple[Floats, Floats, Ints]:
        """Z, Y and groups, sorted by their bytes: ids tell when something was learned, and that must not matter."""
        ids = list(self.journal.live)
        q20, raw = self.journal.pairs(ids)
        groups = [self.journal.live[i].group for i in ids]
        order = sorted(range(len(ids)), key=lambda i: (q20[i].tobytes(), raw[i].tobytes(), groups[i] or ""))
        numbers: dict[object, int] = {}
        numbered = [numbers.setdefault(_key(ids[i], groups[i]), len(numbers)) for i in order]
        high, low = parts(check_targets(raw, len(ids), self.outputs)[order], self.targets.scale)
        z, y, g = to_float(q20[order]), high + low, np.array(numbered, dtype=np.int64)
        z.flags.writeable = y.flags.writeable = g.flags.writeable = False
        return z, y, g


def _key(example: ExampleId, group: str | None) -> object:
    return example if group is None else group
