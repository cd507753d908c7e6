"""Torn bytes that could not be cut off, behind which a writer on raw flash went on (SPEC.md, "Raw flash")."""

from __future__ import annotations

import warnings

import pytest
from journal_help import BACKBONE, DIM, content, new

from edgemeta.errors import JournalDamagedError, RecoveredWarning
from edgemeta.journal import Journal, repair
from edgemeta.journal import format as fmt
from edgemeta.journal.format import Commit, Identity
from edgemeta.journal.header import decode_header
from edgemeta.journal.scan import LONGEST_RESUMPTION
from edgemeta.journal.store import MemoryStore

BLOCK = 256
FILLER = 6


def opened(data: bytes, *, readonly: bool = True) -> Journal:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecoveredWarning)
        return Journal.over(MemoryStore(data), embedding_id=BACKBONE, dim=DIM, readonly=readonly)


def data_of(journal: Journal) -> bytes:
    return bytes(journal._store.data)


def resumption(data: bytes, torn: int, start: int, *, number=None, synced=None, filler=200, flags=4) -> bytes:
    """The transaction that goes on at `start` behind the bytes from `torn` on."""
    seed = decode_header(data[:128]).seed
    number = (opened(data[:torn])._state.number or 0) + 1 if number is None else number
    parts = [fmt.encode_record(fmt.IDENTITY, fmt.encode_identity(Identity(b"r" * 16, bytes(16), False)), seed)]
    if filler:
        parts.append(fmt.encode_record(FILLER, b"\xff" * filler, seed, fmt.SKIPPABLE))
    checksum = seed
    for part in parts:
        checksum = fmt.chain(checksum, int.from_bytes(part[-4:], "little"))
    commit = Commit(number, 0, torn if synced is None else synced, start, len(parts), flags, checksum)
    return b"".join(parts) + fmt.encode_record(fmt.COMMIT, fmt.encode_commit(commit), seed)


def taught() -> tuple[bytes, bytes]:
    """A journal, and the bytes of one more transaction."""
    journal = Journal.memory(embedding_id=BACKBONE, dim=DIM)
    ids = journal.append([new("a", 1), new("b", 2, group="g")]).added
    journal.forget(ids[:1])
    before = data_of(journal)
    journal.append([new("torn", 3), new("torn", 4), new("torn", 5)])
    return before, data_of(journal)[len(before) :]


def up(number: int) -> int:
    return -(-number // BLOCK) * BLOCK


def with_void(before: bytes, torn: bytes, **changes) -> bytes:
    start = max(up(len(before) + len(torn)), len(before) + 8)
    data = (before + torn).ljust(start, b"\xff")
    return data + resumption(before, len(before), start, **changes)


def test_cut_at_every_byte():
    before, more = taught()
    for size in range(len(more)):
        data = with_void(before, more[:size])
        reader = opened(data)
        assert content(reader) == content(opened(before)) and reader.recovered is None
        writer = opened(data + b"\xff" * 777, readonly=False)
        assert writer.recovered is not None  # the erased rest is cut off
        (late,) = writer.append([new("late", 9)]).added
        again = opened(data_of(writer))
        assert list(again.live) == [*opened(before).live, late] and data_of(writer).startswith(data)


def test_cuts_one_after_another_and_what_comes_between():
    before, more = taught()
    data = before
    for size in (1, 16, 100, 200, len(more) - 1):
        data = with_void(data, more[:size])
        data = with_void(data, resumption(data, len(data), up(len(data)))[: size // 2])
        journal = opened(data, readonly=False)
        journal.append([new("between", size)])
        data = data_of(journal)
    journal = opened(data, readonly=False)
    assert len(journal.live) == 1 + 5
    for _ in range(7):
        journal.undo()
    assert not journal.live
    wanted = content(journal)
    journal.compact()
    assert content(journal) == wanted and journal.nbytes < 2000


@pytest.mark.parametrize(
    "changes",
    [{"number": 2}, {"number": 4}, {"synced": 128}, {"flags": 0}, {"filler": LONGEST_RESUMPTION}],
)
def test_only_what_says_so_is_passed_over(changes):
    """Another number, another place of the torn bytes, no flag, too long: that is a torn end."""
    before, more = taught()
    data = with_void(before, more[:100], **changes)
    torn = opened(data)
    assert content(torn) == content(opened(before)) and torn.recovered is not None and torn.nbytes == len(before)
    # Torn bytes that were a whole transaction, followed by others: damage, as ever.
    good = opened(with_void(before, more[:100]), readonly=False)
    good.append([new("late", 1)])
    data = bytearray(data_of(good))
    data[len(before) - 60] ^= 0x55
    with pytest.raises(JournalDamagedError):
        opened(bytes(data))


def test_damage_to_what_goes_on_is_damage():
    """Every byte of it, where something durable follows."""
    before, more = taught()
    data = with_void(before, more[:300])
    journal = opened(data, readonly=False)
    journal.append([new("late", 1)])
    journal.append([new("later", 2)])
    whole, start = data_of(journal), up(len(before) + 300)
    for at in range(start, len(data)):
        changed = bytearray(whole)
        changed[at] ^= 0x5A
        with pytest.raises(JournalDamagedError):
            opened(bytes(changed))
    # What is void may be anything.
    for at in range(len(before), start):
        changed = bytearray(whole)
        changed[at] ^= 0x5A
        assert content(opened(bytes(changed))) == content(journal)


def test_repair_takes_nothing_from_void_bytes(tmp_path):
    before, more = taught()
    # All of the torn transaction is there but for its commit's last byte.
    data = with_void(before, more[:-1])
    journal = opened(data, readonly=False)
    journal.append([new("late", 1)])
    path = tmp_path / "a.learned"
    path.write_bytes(data_of(journal))
    report = repair(path)
    assert not report.damaged and report.kept is None and report.examples == 2
    changed = bytearray(data_of(journal))
    changed[300] ^= 0x55  # the record of "b"
    path.write_bytes(changed)
    report = repair(path)
    assert report.damaged and report.examples == 1
    with Journal.open(path, embedding_id=BACKBONE, dim=DIM) as mended:
        assert mended.labels == ("late",)
