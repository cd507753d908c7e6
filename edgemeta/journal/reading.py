"""Looking into a journal: what is live, and reading it from the file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from ..errors import JournalError, JournalMismatchError, NotFoundError
from ..terminal import printable
from . import format as fmt
from .format import Example, Seal
from .header import Header, Nonsense
from .ids import ExampleId
from .scan import damaged
from .state import Entry, State, View
from .store import FileStore, Store


class Reading:
    """The part of `Journal` that changes nothing."""

    _store: Store
    _header: Header
    _state: State
    _end: int
    _closed: bool

    @property
    def path(self) -> str | None:
        """The file, or None in memory."""
        return self._store.name if isinstance(self._store, FileStore) else None

    @property
    def uuid(self) -> bytes:
        """The 16 bytes under which ids were given last."""
        return self._state.uuid

    @property
    def dim(self) -> int:
        """Numbers in an embedding."""
        return self._header.dim

    @property
    def embedding_id(self) -> bytes:
        """The 32 bytes of the backbone."""
        return self._header.embedding_id

    @property
    def nbytes(self) -> int:
        """The length of the file up to its last transaction."""
        return self._end

    @property
    def live(self) -> Mapping[ExampleId, Entry]:
        """The live examples that can be told apart, in the order of the file."""
        return MappingProxyType(self._state.live)

    @property
    def seals(self) -> Mapping[ExampleId, Seal]:
        """The sealed examples, by the first id that each seal holds. A label can have several after a merge."""
        return MappingProxyType(self._state.seals)

    @property
    def targets(self) -> frozenset[int]:
        """How many numbers the targets of its examples have, 0 for none; forgotten ones count until compaction."""
        return frozenset(self._state.targets)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels with live or sealed examples, in the order of the file."""
        return tuple(self.counts())

    def counts(self) -> dict[str, int]:
        """Live and sealed examples by label."""
        counts: dict[str, int] = {}
        for seal in self._state.seals.values():
            counts[seal.label] = counts.get(seal.label, 0) + seal.count
        for entry in self._state.live.values():
            counts[entry.label] = counts.get(entry.label, 0) + 1
        return counts

    def embeddings(self, ids: Iterable[ExampleId]) -> NDArray[np.int32]:
        """int32 (N, D), units of 2^-20. Raises NotFoundError, JournalDamagedError."""
        return self.removed_embeddings([self._entry(each) for each in ids])

    def removed_embeddings(self, entries: Sequence[Entry]) -> NDArray[np.int32]:
        """int32 (N, D) of entries that may have been removed since; until the next compaction."""
        self.check_open()
        window = self._view.window(len(entries))
        out = np.empty((len(entries), self.dim), dtype=np.int32)
        for row, entry in zip(out, entries, strict=True):
            row[:] = self._view.embedding(window, entry)
        return out

    def pairs(self, ids: Iterable[ExampleId]) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Embeddings int32 (N, D) and targets float64 (N, k) of examples that all have k numbers in their target.

        Raises NotFoundError, JournalDamagedError, JournalMismatchError.
        """
        return self.removed_pairs([self._entry(each) for each in ids])

    def removed_pairs(self, entries: Sequence[Entry]) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """As `pairs`, of entries that may have been removed since; until the next compaction."""
        self.check_open()
        window = self._view.window(len(entries))
        z = np.empty((len(entries), self.dim), dtype=np.int32)
        targets: list[NDArray[np.float64]] = []
        for row, entry in zip(z, entries, strict=True):
            row[:], target = self._view.pair(window, entry)
            if target is None or (targets and len(target) != len(targets[0])):
                raise JournalMismatchError(
                    f"{printable(self._store.name)} mixes examples with targets of different length, or with none"
                )
            targets.append(target)
        return z, np.array(targets, dtype=np.float64).reshape(len(entries), -1 if targets else 0)

    def example(self, each: ExampleId) -> Example:
        """Everything about one example. Raises NotFoundError, JournalDamagedError."""
        self.check_open()
        entry = self._entry(each)
        try:
            return fmt.decode_example(self._view.example(self._view.window(1), entry), self.dim)
        except Nonsense as error:
            raise damaged(self._store, entry.offset, str(error)) from None

    def _entry(self, each: ExampleId) -> Entry:
        entry = self._state.live.get(each)
        if entry is not None:
            return entry
        if each in self._state.sealed:
            raise NotFoundError(
                f"example {each} was sealed into the sums of its class; only the class can be forgotten"
            )
        gone = "was forgotten" if each in self._state.tombstones else "is not in this journal"
        raise NotFoundError(f"example {each} {gone}")

    @property
    def _view(self) -> View:
        return View(self._store, self._header, self._state)

    def check_open(self) -> None:
        """Raises JournalError once it was closed."""
        if self._closed:
            raise JournalError(f"the journal {printable(self._store.name)} is closed")
