"""Reading a journal from its start: transactions one by one up to the first bad byte, then a look at what is behind.

A length is followed only when the CRC of its frame is right, and never past the end of the file, so that no
damaged or hostile file makes anything large be allocated.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Union

from ..errors import JournalDamagedError, JournalVersionError
from ..terminal import printable
from . import format as fmt
from .format import Commit, ExampleHead, Header, Identity, Seal
from .ids import Range
from .store import Store

CHUNK = 1 << 18

Item = Union[ExampleHead, Range, Seal, Identity, Commit, None]


class Record(NamedTuple):
    """A whole record. item: what it says, without arrays; None for an unknown type that may be skipped."""

    kind: int
    offset: int
    end: int
    crc: int
    item: Item


class Transaction(NamedTuple):
    """A committed transaction in the bytes `start` to `end`; its records without the commit."""

    start: int
    end: int
    records: tuple[Record, ...]
    commit: Commit


class Tail(NamedTuple):
    """What lies behind the last transaction. durable: the largest length that anything says was synced."""

    records: int
    durable: int


class Window:
    """Reads a store in large pieces, up to the length it had when the reading began."""

    def __init__(self, store: Store, limit: int) -> None:
        self._store, self.limit = store, limit
        self._at, self._chunk = 0, b""

    def get(self, offset: int, size: int) -> memoryview:
        """`size` bytes from `offset`, fewer at the end of the file."""
        size = max(0, min(size, self.limit - offset))
        if not self._at <= offset <= offset + size <= self._at + len(self._chunk):
            self._chunk = self._store.read(offset, min(max(size, CHUNK), self.limit - offset)) if size else b""
            self._at = offset
        return memoryview(self._chunk)[offset - self._at :][:size]

    def find(self, what: bytes, offset: int) -> int:
        """The first place at or after `offset`, a multiple of 8, that holds `what` (4 bytes); else the limit."""
        while offset < self.limit:
            piece = bytes(self.get(offset, CHUNK))
            at = piece.find(what)
            while at >= 0 and at % 8:
                at = piece.find(what, at + 1)
            if at >= 0:
                return offset + at
            offset += len(piece) - len(piece) % 8 or 8
        return self.limit


def read_frame(window: Window, offset: int, seed: int) -> fmt.Frame | None:
    """The frame at `offset`, if it is valid and its record fits into the file."""
    frame = fmt.decode_frame(window.get(offset, fmt.FRAME_SIZE), seed)
    if frame is None or offset + fmt.record_size(frame.length) > window.limit:
        return None
    return frame


def read_payload(window: Window, offset: int, frame: fmt.Frame) -> tuple[memoryview, int] | None:
    """The payload of the record at `offset` and the record's CRC, or None where that is wrong."""
    size = fmt.record_size(frame.length) - fmt.FRAME_SIZE
    body = window.get(offset + fmt.FRAME_SIZE, size)
    crc = fmt.body_crc(body, frame) if len(body) == size else None
    return None if crc is None else (body[: frame.length], crc)


def damaged(store: Store, offset: int, why: str) -> JournalDamagedError:
    """The error for what cannot be read, with its mend."""
    return JournalDamagedError(
        f"{printable(store.name)}: damaged at byte {offset}: {why}. `edgemeta repair {printable(store.name)}` "
        "recovers every whole example and says what may be missing"
    )


def decode(kind: int, flags: int, payload: memoryview, dim: int, offset: int) -> Item:
    """What a record says. Raises Nonsense, or JournalVersionError for an unknown type that matters."""
    if kind == fmt.EXAMPLE:
        return fmt.decode_example_head(payload, dim)
    if kind == fmt.TOMBSTONE:
        return fmt.decode_tombstone(payload)
    if kind == fmt.SEAL:
        return fmt.decode_seal(payload, dim, offset)
    if kind == fmt.IDENTITY:
        return fmt.decode_identity(payload)
    if kind == fmt.COMMIT:
        return fmt.decode_commit(payload)
    if flags & fmt.SKIPPABLE:
        return None
    raise JournalVersionError(f"a record of the unknown type {kind} at byte {offset}")


def read_record(store: Store, window: Window, header: Header, offset: int) -> Record | None:
    """The record at `offset`, or None where no valid one is. Raises where a valid one makes no sense."""
    seed = header.seed
    frame = read_frame(window, offset, seed)
    found = None if frame is None else read_payload(window, offset, frame)
    if frame is None or found is None:
        return None
    try:
        item = decode(frame.kind, frame.flags, found[0], header.dim, offset)
    except fmt.Nonsense as error:
        raise damaged(store, offset, str(error)) from None
    except JournalVersionError as error:
        raise JournalVersionError(
            f"{printable(store.name)} holds {error}: a newer edgemeta wrote it; update this one"
        ) from None
    return Record(frame.kind, offset, offset + fmt.record_size(frame.length), found[1], item)


class Scan:
    """Iterates over the committed transactions from `start` on. Afterwards `end` is the end of the last one."""

    def __init__(self, store: Store, header: Header, start: int, limit: int, number: int | None = None) -> None:
        self.store, self.header, self.end, self.number = store, header, start, number
        self.window = Window(store, limit)

    def __iter__(self) -> Iterator[Transaction]:
        seed, records, offset, checksum = self.header.seed, [], self.end, self.header.seed
        while True:
            record = read_record(self.store, self.window, self.header, offset)
            if record is None:
                return
            offset = record.end
            if not isinstance(record.item, Commit):
                records.append(record)
                checksum = fmt.chain(checksum, record.crc)
                continue
            if not self._fits(record.item, len(records), checksum):
                return
            transaction = Transaction(self.end, offset, tuple(records), record.item)
            self.end, self.number = offset, record.item.number
            records, checksum = [], seed
            yield transaction

    def _fits(self, commit: Commit, records: int, checksum: int) -> bool:
        expected = commit.number if self.number is None else self.number + 1
        return commit[:1] + commit[3:5] + commit[6:] == (expected, self.end, records, checksum)

    def tail(self) -> Tail:
        """What lies from `end` on. Linear: a frame's length is trusted, its bytes are stepped over."""
        records, durable, offset, seed = 0, self.header.base, self.end, self.header.seed
        while (offset := self.window.find(fmt.RECORD_MAGIC, offset)) < self.window.limit:
            frame = read_frame(self.window, offset, seed)
            if frame is None:
                offset += 8
                continue
            found = read_payload(self.window, offset, frame)
            if found is not None:
                records += 1
                if frame.kind == fmt.COMMIT and frame.length == 48:
                    durable = max(durable, fmt.decode_commit(found[0]).synced)
            offset += fmt.record_size(frame.length)
        return Tail(records, durable)


def read_header(store: Store) -> Header:
    """Raises JournalDamagedError or JournalVersionError."""
    data = store.read(0, fmt.HEADER_SIZE)
    major = fmt.header_major(data)
    if major is None:
        raise damaged(store, 0, "not the beginning of a journal" if data else "the file is empty")
    if major > fmt.MAJOR:
        raise JournalVersionError(
            f"{printable(store.name)} is a journal of version {major}; this edgemeta reads up to {fmt.MAJOR}. Update it"
        )
    try:
        return fmt.decode_header(data)
    except fmt.Nonsense as error:
        raise damaged(store, 0, str(error)) from None
