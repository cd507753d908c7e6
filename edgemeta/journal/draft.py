"""A transaction before it is written: ids given out, records collected. One transaction becomes one append."""

from __future__ import annotations

from collections.abc import Iterable

from . import format as fmt
from .format import Commit, Identity
from .ids import ExampleId, Range
from .state import State


class Draft:
    """Ids come from `identity`, which then is the first record, or go on in `state`: in either case above every counter
    that the journal knows, so that a later example has a larger one whatever uuid gave it (Lamport 1978)."""

    def __init__(self, state: State, identity: Identity | None) -> None:
        self.records: list[tuple[int, bytes]] = []
        self._uuid, self._next = state.uuid, max(state.next_counter, state.clock)
        if identity is not None:
            self._uuid, self._next = identity.uuid, state.clock
            self.records.append((fmt.IDENTITY, fmt.encode_identity(identity)))
        self._first = len(self.records)

    def __bool__(self) -> bool:
        return len(self.records) > self._first

    def new_id(self, count: int = 1) -> ExampleId:
        """A fresh id, the first of `count`."""
        self._next += count
        return ExampleId(self._uuid, self._next - count)

    def example(self, payload: bytes) -> None:
        self.records.append((fmt.EXAMPLE, payload))

    def tombstones(self, dead: Iterable[Range]) -> None:
        self.records += [(fmt.TOMBSTONE, fmt.encode_tombstone(each)) for each in dead]

    def seal(self, payload: bytes) -> None:
        self.records.append((fmt.SEAL, payload))

    def encode(self, seed: int, number: int, start: int, synced: int, undoes: int = 0, flags: int = 0) -> bytes:
        """The bytes of the transaction, to be appended at `start`."""
        parts, checksum = [], seed
        for kind, payload in self.records:
            parts.append(fmt.encode_record(kind, payload, seed))
            checksum = fmt.chain(checksum, int.from_bytes(parts[-1][-4:], "little"))
        commit = Commit(number, undoes, synced, start, len(parts), flags, checksum)
        parts.append(fmt.encode_record(fmt.COMMIT, fmt.encode_commit(commit), seed))
        return b"".join(parts)
