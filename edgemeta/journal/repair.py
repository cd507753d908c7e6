"""`edgemeta repair`: every whole record out of a damaged journal, into a new file, and what may be missing.

Opening never guesses; this does, and says so. Where it must choose, it errs on the side of forgetting.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from ..errors import JournalDamagedError, JournalError, JournalMissingError, JournalWriteError
from ..terminal import printable
from . import format as fmt
from .flips import mend_records
from .format import Commit, ExampleHead, Seal
from .header import HEADER_SIZE, Header, Nonsense
from .ids import ExampleId, Range, RangeSet, new_uuid
from .lost import recover_header
from .opening import refused
from .scan import Item, Window, payload_at, read_frame, read_payload, skip, understand, voids
from .store import FileStore, MemoryStore, Store, sync_folder

_BLOCK = 4096


@dataclass(frozen=True)
class RepairReport:
    """What a repair found.

    path: the repaired file, or the original where nothing was damaged. kept: where the damaged file is now; it
    still holds what was forgotten. damage: byte ranges (start, end) that hold no valid record. suspects: those among
    them that may have held a tombstone: what it forgot may be back. records_lost: missing from transactions whose
    commit is there. transactions_lost: commits that are missing before the last one found; beyond that nobody
    knows. torn: bytes of an unfinished transaction at the end, which opening would cut off too. mended: bytes that had
    one bit wrong and are right again.
    """

    path: str
    kept: str | None
    examples: int
    seals: int
    tombstones: int
    damage: tuple[tuple[int, int], ...]
    suspects: tuple[tuple[int, int], ...]
    records_lost: int
    transactions_lost: int
    torn: int
    header_damaged: bool
    mended: tuple[int, ...] = ()

    @property
    def damaged(self) -> bool:
        """Whether anything but a torn end was wrong."""
        return bool(self.damage or self.header_damaged or self.mended)

    def __str__(self) -> str:
        lines = [f"{self.examples} examples and {self.seals} seals are in {printable(self.path)}"]
        if not self.damaged and not self.torn:
            return lines[0] + "; no damage was found"
        if self.header_damaged:
            lines.append("the header was damaged")
        if self.mended:
            where = ", ".join(map(str, self.mended))
            lines.append(f"mended: one flipped bit each in bytes {where}; nothing of those records is lost")
        for start, end in self.damage:
            lines.append(f"damaged: bytes {start} to {end}")
        if self.records_lost or self.transactions_lost:
            lines.append(
                f"lost: {self.records_lost} records, and {self.transactions_lost} transactions without a commit"
            )
        if self.suspects:
            where = ", ".join(f"{start} to {end}" for start, end in self.suspects)
            lines.append(f"a forgetting may have been lost in bytes {where}: look whether something forgotten is back")
        if self.torn:
            lines.append(f"torn end: {self.torn} bytes of an unfinished transaction were left out")
        if self.kept is not None:
            lines.append(
                f"the damaged file is {printable(self.kept)}; it holds what was forgotten: delete it when done"
            )
        return "\n".join(lines)


class _Found(NamedTuple):
    """A whole record, or the frame of one whose payload is damaged (item False)."""

    kind: int
    offset: int
    end: int
    crc: int
    item: Item | bool


def repair(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    embedding_id: bytes | None = None,
    dim: int | None = None,
) -> RepairReport:
    """Recover what is whole in the journal at `path`.

    Written to `out`, or in the place of the damaged file, which is kept beside it as `.damaged`. A file without
    damage is left alone. embedding_id, dim: of the backbone, for when the header is lost. Raises
    JournalMissingError, JournalLockedError, JournalReadOnlyError, JournalVersionError, JournalWriteError, and
    JournalDamagedError where there is nothing to go by.
    """
    file = FileStore(path, readonly=out is not None)
    try:
        if not file.exists:
            raise JournalMissingError(f"there is no journal {printable(file.name)}")
        store, unreadable = _readable(file)
        header, whole = recover_header(store, embedding_id, dim)
        mended = tuple(flip.offset for flip in mend_records(store, header))
        found, damage = _survey(store, header)
        saved = _choose(store, header, found, damage, header_damaged=not whole)
        report = replace(saved.report, path=file.name, mended=mended)
        if out is None and not report.damaged and not unreadable:
            return report
        target = os.path.realpath(os.fspath(out)) if out is not None else file.name + ".repaired"
        _write(target, header, saved, store, temporary=out is None)
        kept = None
        if out is None:
            kept = _swap(file.name, target)
            target = file.name
        return replace(report, path=target, kept=kept)
    finally:
        file.close()


def _readable(file: FileStore) -> tuple[Store, bool]:
    """The file, or a copy in memory with zeros where the disk refuses to read."""
    try:
        for offset in range(0, file.size(), 1 << 18):
            file.read(offset, 1 << 18)
        return file, False
    except JournalDamagedError:
        copy = MemoryStore()
        copy.name = file.name
        for offset in range(0, file.size(), _BLOCK):
            size = min(_BLOCK, file.size() - offset)
            data = b""
            with contextlib.suppress(JournalDamagedError):
                data = file.read(offset, size)
            copy.data += data.ljust(size, b"\0")
        return copy, True


def _records(store: Store, header: Header) -> Iterator[_Found]:
    """Every record, by search; a frame with damaged payload is told too. Raises JournalVersionError."""
    window, offset, torn = Window(store, store.size()), HEADER_SIZE, voids(store, header)
    while (offset := window.find(fmt.RECORD_MAGIC, offset)) < window.limit:
        behind = skip(torn, offset)
        frame = None if behind > offset else read_frame(window, offset, header.seed)
        if frame is None:
            offset = max(behind, offset + 8)
            continue
        found, end = read_payload(window, offset, frame), offset + fmt.record_size(frame.length)
        item: Item | bool = False
        if found is not None:
            with contextlib.suppress(Nonsense):
                item = understand(store, header, frame, found[0], offset)
        yield _Found(frame.kind, offset, end, 0 if found is None else found[1], item)
        # The length of a damaged record is right, but a torn one was never written to its end.
        offset = end if found is not None else min([end, *(start for start, _ in torn if start > offset)])


def _survey(store: Store, header: Header) -> tuple[list[_Found], list[tuple[int, int, int]]]:
    """The whole records, and what lies between: (start, end, kind), kind 0 where not even the frame is whole."""
    found, damage, at, torn = [], [], HEADER_SIZE, voids(store, header)
    for record in _records(store, header):
        at = skip(torn, at)
        if record.offset > at:
            damage.append((at, record.offset, 0))
        if record.item is False:
            damage.append((record.offset, record.end, record.kind))
        else:
            found.append(record)
        at = record.end
    size = store.size()
    if at < size or size < header.base:
        damage.append((at, max(size, header.base), 0))
    return found, damage


class _Saved(NamedTuple):
    """What goes into the new file, and the report as far as it is known."""

    examples: dict[ExampleId, tuple[int, ExampleHead]]
    seals: list[Seal]
    tombstones: RangeSet
    number: int
    report: RepairReport


def _choose(
    store: Store, header: Header, found: list[_Found], damage: list[tuple[int, int, int]], *, header_damaged: bool
) -> _Saved:
    """What of the whole records counts: all before the last sign that a transaction was finished."""
    commits = [(each, each.item) for each in found if isinstance(each.item, Commit)]
    durable = max([header.base] + [commit.synced for _, commit in commits])
    last = max([each.end for each, _ in commits] + [HEADER_SIZE])
    end = last if last >= durable else store.size()
    counted = [each for each in found if each.offset < end]
    damage = [each for each in damage if each[0] < end or durable > each[0]]
    torn = store.size() - end
    tombstones = RangeSet(each.item for each in counted if isinstance(each.item, Range))
    seals = _seals(counted, tombstones)
    held = RangeSet(part for seal in seals for part in seal.ranges)
    examples: dict[ExampleId, tuple[int, ExampleHead]] = {}
    for each in counted:
        if isinstance(each.item, ExampleHead) and each.item.id not in tombstones and each.item.id not in held:
            examples.setdefault(each.item.id, (each.offset, each.item))
    numbers = {commit.number for _, commit in commits}
    report = RepairReport(
        path="",
        kept=None,
        examples=len(examples),
        seals=len(seals),
        tombstones=len(tombstones),
        damage=_join((start, stop) for start, stop, _ in damage),
        suspects=_join((start, stop) for start, stop, kind in damage if kind in (0, fmt.TOMBSTONE)),
        records_lost=_records_lost(found, commits),
        transactions_lost=max(numbers) - min(numbers) + 1 - len(numbers) if numbers else 0,
        torn=torn,
        header_damaged=header_damaged,
    )
    return _Saved(examples, seals, tombstones, max(numbers, default=0), report)


def _seals(counted: list[_Found], tombstones: RangeSet) -> list[Seal]:
    """Seals that no tombstone touches, the larger of two that overlap."""
    seals: list[Seal] = []
    for seal in sorted((each.item for each in counted if isinstance(each.item, Seal)), key=lambda s: -s.count):
        held = RangeSet(part for other in seals for part in other.ranges)
        if not tombstones.overlap(seal.ranges) and not held.overlap(seal.ranges):
            seals.append(seal)
    return seals


def _records_lost(found: list[_Found], commits: list[tuple[_Found, Commit]]) -> int:
    offsets = [each.offset for each in found if not isinstance(each.item, Commit)]
    lost = 0
    for each, commit in commits:
        there = sum(1 for offset in offsets if commit.start <= offset < each.offset)
        lost += max(0, commit.records - there)
    return lost


def _join(parts: Iterator[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    joined: list[tuple[int, int]] = []
    for start, end in parts:
        if joined and joined[-1][1] >= start:
            joined[-1] = joined[-1][0], end
        else:
            joined.append((start, end))
    return tuple(joined)


def _write(target: str, header: Header, saved: _Saved, store: Store, *, temporary: bool) -> None:
    """A new journal of one transaction, under a new uuid: ids that were lost must not be given again."""
    window = Window(store, store.size())

    def records() -> Iterator[tuple[int, bytes]]:
        for dead in saved.tombstones:
            yield fmt.TOMBSTONE, fmt.encode_tombstone(dead)
        for seal in saved.seals:
            yield fmt.SEAL, bytes(payload_at(store, window, header, seal.offset, fmt.SEAL))
        for offset, _ in saved.examples.values():
            yield fmt.EXAMPLE, bytes(payload_at(store, window, header, offset, fmt.EXAMPLE))

    base = HEADER_SIZE + fmt.record_size(fmt.COMMIT_SIZE)
    base += sum(fmt.record_size(len(payload)) for _, payload in records())
    salt = int.from_bytes(os.urandom(8), "little")

    def make(place: bytes) -> Iterator[bytes]:
        new = replace(
            header,
            uuid=new_uuid(),
            place=place,
            next_counter=1,
            base=base,
            salt=salt,
            volatile=False,
            lost_seed=None,
        )
        seed = checksum = new.seed
        count = 0
        yield new.encode()
        for kind, payload in records():
            record = fmt.encode_record(kind, payload, seed)
            checksum, count = fmt.chain(checksum, int.from_bytes(record[-4:], "little")), count + 1
            yield record
        size = HEADER_SIZE
        commit = Commit(saved.number + 1, 0, size, size, count, fmt.COMMIT_COMPACTION, checksum)
        yield fmt.encode_record(fmt.COMMIT, fmt.encode_commit(commit), seed)

    new = FileStore(target, readonly=False)
    try:
        if new.exists and not temporary:
            raise JournalWriteError(f"{printable(target)} is there already; move it away")
        new.replace(make)
    except OSError as error:
        if isinstance(error, JournalError):
            raise
        raise refused(new, error, "The damaged file was left alone") from None
    finally:
        new.close()
        if temporary:
            os.unlink(new.name + ".lock")


def _swap(name: str, repaired: str) -> str:
    """Put `repaired` in the place of `name`, which is kept under the name that is returned."""
    info = os.stat(name)
    with contextlib.suppress(OSError):  # only root can give a file away
        os.chmod(repaired, stat.S_IMODE(info.st_mode))
        os.chown(repaired, info.st_uid, info.st_gid)
    kept, count = name + ".damaged", 0
    while os.path.lexists(kept):
        count += 1
        kept = f"{name}.damaged.{count}"
    try:
        os.link(name, kept)  # so that there is a journal at every moment
    except OSError:
        os.rename(name, kept)
    os.replace(repaired, name)
    sync_folder(name)
    return kept
