"""What a journal says when its transactions are taken one after another: the fold.

The same code reads a file, follows another process, and applies what this process has just written. It keeps
per live example its id, label, group and offset; the arrays stay in the file.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import format as fmt
from .format import ExampleHead, Identity, Seal
from .header import Header, Nonsense
from .ids import ExampleId, Range, RangeSet
from .scan import Scan, Transaction, Window, damaged, payload_at
from .store import Store

CLOCK_END = 1 << 62


class Entry(NamedTuple):
    """A live example in the index. offset: of its record in the file."""

    label: str
    group: str | None
    offset: int


@dataclass(frozen=True)
class Change:
    """What one call changed. Entries of `removed` can be read until the next compaction.

    reset: the file is another one now (after `reload` and `seal`). Fold anew; the other fields are for reports.
    """

    added: tuple[ExampleId, ...] = ()
    removed: tuple[tuple[ExampleId, Entry], ...] = ()
    seals_added: tuple[Seal, ...] = ()
    seals_removed: tuple[Seal, ...] = ()
    reset: bool = False

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.seals_added or self.seals_removed or self.reset)

    def then(self, later: Change) -> Change:
        """Both, without what came and went in between."""
        came, gone = set(self.added), {each for each, _ in later.removed}
        seals_came, seals_gone = set(self.seals_added), set(later.seals_removed)
        return Change(
            tuple(each for each in self.added if each not in gone) + later.added,
            self.removed + tuple(pair for pair in later.removed if pair[0] not in came),
            tuple(each for each in self.seals_added if each not in seals_gone) + later.seals_added,
            self.seals_removed + tuple(each for each in later.seals_removed if each not in seals_came),
        )


@dataclass
class _Draft:
    added: list[ExampleId] = field(default_factory=list)
    removed: list[tuple[ExampleId, Entry]] = field(default_factory=list)
    seals_added: list[Seal] = field(default_factory=list)
    seals_removed: list[Seal] = field(default_factory=list)


class State:
    """The fold. `live` and `seals` (by the first id they hold) are in the order of the file."""

    def __init__(self, header: Header) -> None:
        self.live: dict[ExampleId, Entry] = {}
        self.seals: dict[ExampleId, Seal] = {}
        self.tombstones = RangeSet()
        self.sealed = RangeSet()
        self.uuid, self.place, self.volatile = header.uuid, header.place, header.volatile
        self.next_counter = header.next_counter
        # Above every counter that was seen, but for absurd ones, which a hostile file may name.
        self.clock = header.next_counter if header.next_counter < CLOCK_END else 1
        self.number: int | None = None
        self.synced = header.base
        self.undoable: list[tuple[int, int]] = []  # (number, offset) of what undo can take back, newest last
        # Numbers in the targets of all examples that were ever here: undo can bring back what was forgotten.
        self.targets: set[int] = set()
        self._uuids = {header.uuid: header.uuid}
        self._texts: dict[str, str] = {}

    def copy(self) -> State:
        """Another state that can go on from here."""
        twin = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, (dict, list, set, RangeSet)):
                setattr(twin, name, value.copy())
        return twin

    def apply(self, transaction: Transaction) -> Change:
        """Take one transaction. Raises Nonsense where it contradicts what went before; then drop this state."""
        draft = _Draft()
        for record in transaction.records:
            if isinstance(record.item, Identity):
                self._take_identity(record.item)
        dead = [record.item for record in transaction.records if isinstance(record.item, Range)]
        if dead:
            self._bury(dead, draft)
        for record in transaction.records:
            if isinstance(record.item, Seal):
                self._add_seal(record.item, draft)
        for record in transaction.records:
            if isinstance(record.item, ExampleHead):
                self._add_example(record.item, record.offset, draft)
        change = Change(tuple(draft.added), tuple(draft.removed), tuple(draft.seals_added), tuple(draft.seals_removed))
        self._note(transaction, change)
        return change

    def _note(self, transaction: Transaction, change: Change) -> None:
        commit = transaction.commit
        self.number = commit.number
        self.synced = max(self.synced, min(commit.synced, transaction.start))
        if commit.flags & fmt.COMMIT_COMPACTION:
            self.undoable.clear()
        elif commit.undoes:
            self.undoable = [each for each in self.undoable if each[0] != commit.undoes]
        elif change:
            self.undoable.append((commit.number, transaction.start))

    def _take_identity(self, identity: Identity) -> None:
        # A uuid that was seen before may have given ids that we do not know of: never give any under it.
        self.volatile = identity.volatile or identity.uuid in self._uuids
        self.uuid, self.place, self.next_counter = self._uuid(identity.uuid), identity.place, 1

    def _uuid(self, uuid: bytes) -> bytes:
        return self._uuids.setdefault(uuid, uuid)

    def _used(self, journal: bytes, end: int) -> None:
        if self.clock < end < CLOCK_END:
            self.clock = end
        if journal == self.uuid and end > self.next_counter:
            self.next_counter = end

    def _live_in(self, ranges: Iterable[Range], members: RangeSet) -> Iterator[ExampleId]:
        """The live ids in `ranges`, found the cheaper way: a hostile range may name 2^62 ids."""
        ranges = list(ranges)
        if sum(each.count for each in ranges) <= len(self.live):
            return (each for part in ranges for each in part.ids() if each in self.live)
        return iter([each for each in self.live if each in members])

    def _bury(self, dead: list[Range], draft: _Draft) -> None:
        for each in dead:
            self.tombstones.add(Range(self._uuid(each.journal), each.first, each.count))
            self._used(each.journal, each.end)
        for example in self._live_in(dead, RangeSet(dead)):
            draft.removed.append((example, self.live.pop(example)))
        for seal in [each for each in self.seals.values() if self.tombstones.overlap(each.ranges)]:
            if self.tombstones.overlap(seal.ranges) != seal.count:
                raise Nonsense("a tombstone for a part of a seal")
            draft.seals_removed.append(self._drop_seal(seal))

    def _drop_seal(self, seal: Seal) -> Seal:
        del self.seals[seal.id]
        self.sealed = RangeSet(part for each in self.seals.values() for part in each.ranges)
        return seal

    def _add_seal(self, seal: Seal, draft: _Draft) -> None:
        """A seal takes the place of the examples and the seals whose ids it holds."""
        held = RangeSet(seal.ranges)
        if self.tombstones.overlap(seal.ranges):
            raise Nonsense("a seal that holds a forgotten example")
        self.targets.add(0)  # only examples without a target are sealed
        for old in [each for each in self.seals.values() if held.overlap(each.ranges)]:
            if held.overlap(old.ranges) != old.count:
                raise Nonsense("two seals that overlap in part")
            draft.seals_removed.append(self._drop_seal(old))
        for example in self._live_in(seal.ranges, held):
            draft.removed.append((example, self.live.pop(example)))
        for part in seal.ranges:
            self._uuid(part.journal)
            self.sealed.add(part)
            self._used(part.journal, part.end)
        self.seals[seal.id] = seal
        draft.seals_added.append(seal)

    def _add_example(self, head: ExampleHead, offset: int, draft: _Draft) -> None:
        example = ExampleId(self._uuid(head.id.journal), head.id.counter)
        self._used(example.journal, example.counter + 1)
        self.targets.add(head.targets)
        if example in self.tombstones:
            return
        if example in self.live or example in self.sealed:
            raise Nonsense("an example that is there already")
        label = self._texts.setdefault(head.label, head.label)
        group = head.group if head.group is None else self._texts.setdefault(head.group, head.group)
        self.live[example] = Entry(label, group, offset)
        draft.added.append(example)


class View(NamedTuple):
    """A journal as the parts of this package see it: its bytes, its header, what they say."""

    store: Store
    header: Header
    state: State

    def window(self, wanted: int) -> Window:
        """For reading `wanted` records: far ahead only where that pays."""
        chunk = 1 << 18 if wanted * 4 > len(self.state.live) else 1 << 12
        return Window(self.store, self.store.size(), chunk)

    def example(self, window: Window, entry: Entry) -> memoryview:
        """The payload of an example. Raises JournalDamagedError."""
        return payload_at(self.store, window, self.header, entry.offset, fmt.EXAMPLE)

    def embedding(self, window: Window, entry: Entry) -> NDArray[np.int32]:
        """int32 (D,). Raises JournalDamagedError."""
        payload, dim = self.example(window, entry), self.header.dim
        try:
            return fmt.decode_embedding(payload, fmt.decode_example_head(payload, dim), dim)
        except Nonsense as error:
            raise damaged(self.store, entry.offset, str(error)) from None

    def pair(self, window: Window, entry: Entry) -> tuple[NDArray[np.int32], NDArray[np.float64] | None]:
        """Embedding int32 (D,) and target float64 (k,) or None. Raises JournalDamagedError."""
        payload, dim = self.example(window, entry), self.header.dim
        try:
            head = fmt.decode_example_head(payload, dim)
            return fmt.decode_embedding(payload, head, dim), fmt.decode_target(payload, head, dim)
        except Nonsense as error:
            raise damaged(self.store, entry.offset, str(error)) from None


def follow(state: State, scan: Scan) -> Iterator[Change]:
    """Apply what `scan` reads. Raises JournalDamagedError where it contradicts itself; drop `state` then."""
    for transaction in scan:
        try:
            yield state.apply(transaction)
        except Nonsense as error:
            raise damaged(scan.store, transaction.start, str(error)) from None
