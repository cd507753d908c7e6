"""Reading a journal from its start: transactions one by one up to the first bad byte, then a look at what is behind.

A length is followed only when the CRC of its frame is right, and never past the end of the file, so that no
damaged or hostile file makes anything large be allocated.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import JournalDamagedError, JournalVersionError
from ..terminal import printable
from . import format as fmt
from .format import Commit, ExampleHead, Identity, Seal
from .header import HEADER_SIZE, MAJOR, Header, Nonsense, decode_header, header_major
from .ids import Range
from .store import Store

CHUNK = 1 << 18
# A transaction that goes on behind torn bytes has no more bytes and records, so that looking for one is linear.
LONGEST_RESUMPTION, RESUMPTION_RECORDS = 1 << 13, 3

Item = ExampleHead | Range | Seal | Identity | Commit | None


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
    """What lies behind the last transaction: whole records, commits among them, and `rest` bytes after the last.

    durable: the largest length that the header or any commit says was synced.
    """

    records: int
    commits: int
    durable: int
    rest: int

    @property
    def finished(self) -> bool:
        """Whether it was all written once, a commit at its end, so that not its writer but damage tore it."""
        return self.commits > 0 or self.rest == fmt.record_size(fmt.COMMIT_SIZE)


class Window:
    """Reads a store in large pieces, up to the length it had when the reading began."""

    def __init__(self, store: Store, limit: int, chunk: int = CHUNK) -> None:
        self._store, self.limit, self._size = store, limit, chunk
        self._at, self._chunk = 0, b""

    def get(self, offset: int, size: int) -> memoryview:
        """`size` bytes from `offset`, fewer at the end of the file."""
        size = max(0, min(size, self.limit - offset))
        if not self._at <= offset <= offset + size <= self._at + len(self._chunk):
            self._chunk = self._store.read(offset, min(max(size, self._size), self.limit - offset)) if size else b""
            self._at = offset
        return memoryview(self._chunk)[offset - self._at :][:size]

    def find(self, what: bytes, offset: int) -> int:
        """The first place at or after `offset`, a multiple of 8, that holds `what` (4 bytes); else the limit."""
        while offset < self.limit:
            self.get(offset, len(what))
            at = self._chunk.find(what, offset - self._at)
            while at >= 0 and (self._at + at) % 8:
                at = self._chunk.find(what, at + 1)
            if at >= 0:
                return self._at + at
            end = self._at + len(self._chunk)
            offset = max(offset + 8, end - end % 8)
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


def understand(store: Store, header: Header, frame: fmt.Frame, payload: memoryview, offset: int) -> Item:
    """What a record says. Raises Nonsense, or JournalVersionError for an unknown type that matters."""
    if frame.kind == fmt.EXAMPLE:
        return fmt.decode_example_head(payload, header.dim)
    if frame.kind == fmt.TOMBSTONE:
        return fmt.decode_tombstone(payload)
    if frame.kind == fmt.SEAL:
        return replace(fmt.decode_seal(payload, header.dim, offset), read=SealReader(store, header).read)
    if frame.kind == fmt.IDENTITY:
        return fmt.decode_identity(payload)
    if frame.kind == fmt.COMMIT:
        return fmt.decode_commit(payload)
    if frame.flags & fmt.SKIPPABLE:
        return None
    raise JournalVersionError(
        f"{printable(store.name)} holds a record of the unknown type {frame.kind} at byte {offset}: a newer edgemeta "
        "wrote it; update this one"
    )


def read_record(store: Store, window: Window, header: Header, offset: int) -> Record | None:
    """The record at `offset`, or None where no valid one is. Raises where a valid one makes no sense."""
    frame = read_frame(window, offset, header.seed)
    found = None if frame is None else read_payload(window, offset, frame)
    if frame is None or found is None:
        return None
    try:
        item = understand(store, header, frame, found[0], offset)
    except Nonsense as error:
        raise damaged(store, offset, str(error)) from None
    return Record(frame.kind, offset, offset + fmt.record_size(frame.length), found[1], item)


def payload_at(store: Store, window: Window, header: Header, offset: int, kind: int) -> memoryview:
    """The payload of a record that was there. Raises JournalDamagedError: its CRC is looked at again."""
    frame = read_frame(window, offset, header.seed)
    found = None if frame is None or frame.kind != kind else read_payload(window, offset, frame)
    if found is None:
        raise damaged(store, offset, f"the {fmt.TYPE_NAMES[kind]} that was here cannot be read any more")
    return found[0]


class SealReader(NamedTuple):
    """Reads the sums of a seal from its file."""

    store: Store
    header: Header

    def read(self, seal: Seal) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        window = Window(self.store, self.store.size(), 4096)
        payload = payload_at(self.store, window, self.header, seal.offset, fmt.SEAL)
        try:
            return fmt.decode_seal_sums(payload, seal, self.header.dim)
        except Nonsense as error:
            raise damaged(self.store, seal.offset, str(error)) from None


def read_transaction(
    store: Store, window: Window, header: Header, start: int, most: int | None = None
) -> Transaction | None:
    """The transaction at `start`, or None where no whole one is; its number is not looked at. most: records in it."""
    records: list[Record] = []
    offset = start
    checksum = header.seed
    while (record := read_record(store, window, header, offset)) is not None:
        offset = record.end
        if isinstance(record.item, Commit):
            whole = (record.item.start, record.item.records, record.item.checksum) == (start, len(records), checksum)
            return Transaction(start, offset, tuple(records), record.item) if whole else None
        records.append(record)
        if len(records) == most:
            return None
        checksum = fmt.chain(checksum, record.crc)
    return None


def resumptions(store: Store, window: Window, header: Header, offset: int) -> Iterator[Transaction]:
    """Transactions at or after `offset` that go on behind torn bytes: `commit.synced` says where these begin."""
    while (offset := window.find(fmt.RECORD_MAGIC, offset)) < window.limit:
        frame = read_frame(window, offset, header.seed)
        if frame is not None and (frame.kind, frame.length) == (fmt.IDENTITY, fmt.IDENTITY_SIZE):
            near = Window(store, min(window.limit, offset + LONGEST_RESUMPTION), LONGEST_RESUMPTION)
            found = read_transaction(store, near, header, offset, RESUMPTION_RECORDS)
            if found is not None and found.commit.flags & fmt.COMMIT_RESUMES:
                yield found
        offset += 8


def voids(store: Store, header: Header) -> list[tuple[int, int]]:
    """Where torn bytes were left behind which a writer went on: (start, end), in order."""
    found = resumptions(store, Window(store, store.size()), header, HEADER_SIZE)
    return sorted((each.commit.synced, each.start) for each in found if HEADER_SIZE <= each.commit.synced < each.start)


def skip(torn: list[tuple[int, int]], offset: int) -> int:
    """`offset`, or the end of the torn bytes it lies in."""
    for start, end in torn:
        if start <= offset < end:
            offset = end
    return offset


class Scan:
    """Iterates over the committed transactions from `start` on. Afterwards `end` is the end of the last one.

    Torn bytes that could not be cut off, behind which the writer went on, are passed over.
    """

    def __init__(self, store: Store, header: Header, start: int, limit: int, number: int | None = None) -> None:
        self.store, self.header, self.end, self.number = store, header, start, number
        self.window = Window(store, limit)

    def __iter__(self) -> Iterator[Transaction]:
        while (found := self._next() or self._resumed()) is not None:
            self.end, self.number = found.end, found.commit.number
            yield found

    def _next(self) -> Transaction | None:
        found = read_transaction(self.store, self.window, self.header, self.end)
        return found if found is not None and self._follows(found.commit) else None

    def _resumed(self) -> Transaction | None:
        if self.end < self.header.base:
            return None
        for found in resumptions(self.store, self.window, self.header, self.end + 8):
            if self._follows(found.commit) and found.commit.synced == self.end:
                return found
        return None

    def _follows(self, commit: Commit) -> bool:
        return self.number is None or commit.number == self.number + 1

    def tail(self) -> Tail:
        """What lies from `end` on. Linear: of what lies inside a damaged record only commits are looked at."""
        records, commits, durable, offset, seed = 0, 0, self.header.base, self.end, self.header.seed
        last = damaged_to = offset
        while (offset := self.window.find(fmt.RECORD_MAGIC, offset)) < self.window.limit:
            frame = read_frame(self.window, offset, seed)
            if frame is None:
                offset += 8
                continue
            end = offset + fmt.record_size(frame.length)
            is_commit = (frame.kind, frame.length) == (fmt.COMMIT, fmt.COMMIT_SIZE)
            found = read_payload(self.window, offset, frame) if is_commit or offset >= damaged_to else None
            if found is None:
                damaged_to = max(damaged_to, end)
                offset += 8
                continue
            records, last, offset = records + 1, end, end
            if is_commit:
                commits += 1
                durable = max(durable, fmt.decode_commit(found[0]).synced)
        return Tail(records, commits, durable, self.window.limit - last)


def read_header(store: Store) -> Header:
    """Raises JournalDamagedError or JournalVersionError."""
    data = store.read(0, HEADER_SIZE)
    major = header_major(data)
    if not data:
        raise JournalDamagedError(
            f"{printable(store.name)} is empty, which a journal never is: restore a copy, or delete it to begin anew"
        )
    if major is None:
        raise damaged(store, 0, "not the beginning of a journal; if it never was one, name another file")
    if major > MAJOR:
        raise JournalVersionError(
            f"{printable(store.name)} is a journal of version {major}; this edgemeta reads up to {MAJOR}. Update it"
        )
    try:
        return decode_header(data)
    except Nonsense as error:
        raise damaged(store, 0, str(error)) from None
