"""Reading journals in C: the same content of the same bytes as in Python, or the same refusal."""

from __future__ import annotations

import ctypes
import random
import zlib

import numpy as np
import pytest
from journal_c import (
    DAMAGED,
    MISMATCH,
    NOT_FOUND,
    OK,
    READ,
    STATE,
    VERSION,
    WRITE,
    CJournal,
    Memory,
    agree,
    assemble,
    data_of,
    in_python,
    limits,
    prepared,
    python_content,
    rich,
    small,
    transactions,
)
from journal_help import BACKBONE, DIM, new

from edgemeta.journal import Journal, NewExample


def test_a_rich_file():
    data = rich()
    assert agree(data) == OK
    found = CJournal(Memory(data), mode=READ)
    live, counts, seals, _ = found.content()
    assert len(live) > 20 and len(seals) == 2 and counts["label1"] > 5 and any(s[3] for s in seals)
    assert ctypes.string_at(found.lib.em_journal_embedding_id(found.handle), 32) == BACKBONE


def test_seals_that_come_and_go():
    """Restored and merged seals; forgetting one."""
    journal = in_python(rich(), readonly=False)
    journal.forget_label("label1")
    assert agree(data_of(journal)) == OK
    journal.undo()
    assert agree(data_of(journal)) == OK
    other = Journal.memory(embedding_id=BACKBONE, dim=DIM)
    other.append([new("mine", 1)])
    other.merge(journal)
    assert other.seals and agree(data_of(other)) == OK
    other.undo()
    assert not other.seals and agree(data_of(other)) == OK
    journal.compact()
    assert agree(data_of(journal)) == OK


def test_targets():
    journal = Journal.memory(embedding_id=BACKBONE, dim=DIM, targets=2)
    journal.append([new("target", i, target=np.array([i / 3, -1e300])) for i in range(5)])
    data = data_of(journal)
    assert agree(data, targets=2) == OK and agree(data) == OK
    assert agree(data, targets=0) == agree(data, targets=3) == MISMATCH
    assert agree(rich(), targets=2) == MISMATCH and agree(rich(), targets=0) == OK


def test_other_backbones_and_versions():
    data = rich()
    for wrong in ({"embedding_id": bytes(32)}, {"dim": DIM + 1}):
        CJournal(Memory(data), mode=READ, wanted=MISMATCH, **wrong)
    CJournal(Memory(data), mode=READ, embedding_id=None, dim=0)
    CJournal(Memory(data[:8] + b"\2" + data[9:]), mode=READ, wanted=VERSION)
    CJournal(Memory(data[:8] + b"\2\0"), mode=READ, wanted=VERSION)
    CJournal(Memory(b""), mode=READ, wanted=DAMAGED)
    CJournal(Memory(), mode=READ, wanted=NOT_FOUND)
    CJournal(Memory(), mode=WRITE, embedding_id=None, dim=0, wanted=NOT_FOUND)


@pytest.mark.parametrize("dim", [1, 2, 7, 1024, 1500])
def test_dimensions_beyond_a_buffer(dim, rng):
    journal = Journal.memory(embedding_id=BACKBONE, dim=dim)
    image = np.zeros((300, 50), np.uint8)
    for i in range(4):
        q20 = rng.integers(-(1 << 20), (1 << 20) + 1, dim).astype(np.int32)
        journal.append([NewExample(f"c{i % 2}", q20, input=image if i == 2 else None)])
    if dim < 100:
        journal.seal({"c1": [i for i, e in journal.live.items() if e.label == "c1"]}, moment=True)
    journal.forget([next(iter(journal.live))])
    assert agree(data_of(journal), dim=dim) == OK
    ours = CJournal(Memory(data_of(journal)), dim=dim)
    ours.undo()
    ours.compact()
    assert agree(bytes(ours.holder.data), dim=dim) == OK


def test_a_torn_end_at_every_byte(same_numbers):
    whole = rich()
    journal = in_python(whole, readonly=False)
    journal.append([new("x", 1, group="g"), new("y", 2)])
    data = data_of(journal)
    before = python_content(in_python(whole))
    for size in range(len(whole), len(data)):
        cut = data[:size]
        reader = CJournal(Memory(cut), mode=READ)
        assert reader.content() == before and bytes(reader.holder.data) == cut
        assert reader.lib.em_journal_torn(reader.handle) == size - len(whole)
        numbers = same_numbers(size)
        writer = CJournal(Memory(cut, numbers))
        python = in_python(cut, readonly=False)
        assert bytes(writer.holder.data) == data_of(python)
        assert writer.content()[:3] == before[:3]
        if size > len(whole):
            assert writer.holder.log.index("truncate") < writer.holder.log.index("sync")
        else:
            assert "truncate" not in writer.holder.log


def test_a_torn_end_of_zeros_or_old_bytes():
    data = rich()
    for tail in (bytes(8), bytes(4096), b"\xff" * 777, b"eRec" * 100, data[128:3000], data[-500:-100]):
        assert agree(data + tail) == OK
        writer = CJournal(Memory(data + tail))
        assert writer.content()[0] == CJournal(Memory(data), mode=READ).live()


@pytest.mark.parametrize("make", [small, rich])
def test_every_damaged_byte(make):
    """The same refusal as Python's, or the same content; and nothing is read outside."""
    data = make()
    step = 1 if len(data) < 3000 else 3
    seen = set()
    for at in range(0, len(data), step):
        for flip in (0xFF, 0x10) if step == 1 else (0x5A,):
            changed = bytearray(data)
            changed[at] ^= flip
            seen.add(agree(bytes(changed)))
    assert DAMAGED in seen and OK in seen


@pytest.mark.parametrize("make", [small, rich])
def test_every_truncation(make):
    data = make()
    for size in range(1, len(data), 1 if len(data) < 3000 else 5):
        agree(data[:size])


@pytest.mark.parametrize("make", [small, rich])
def test_fields_that_lie(make):
    """Any byte of any payload changed under right checksums: both read the same, or both refuse."""
    data = make()
    header, parts = data[:128], transactions(data)
    assert assemble(header, parts) == data
    rng, seen = random.Random(3), []
    for _ in range(3000 if make is small else 1200):
        changed = [list(records) for records in parts]
        for _ in range(rng.choice((1, 1, 2))):
            records = rng.choice(changed)
            index = rng.randrange(len(records))
            kind, flags, payload = records[index]
            action = rng.random()
            if action < 0.75 and payload:
                raw = bytearray(payload)
                at = rng.randrange(min(len(raw), 120))
                raw[at] = rng.choice((0, 1, 2, 0x7F, 0x80, 0xFF, raw[at] ^ 1 << rng.randrange(8)))
                records[index] = kind, flags, bytes(raw)
            elif action < 0.8:
                records[index] = rng.randrange(0, 9), rng.randrange(2), payload
            elif action < 0.85:
                records[index] = kind, flags, payload[: rng.randrange(len(payload) + 1)]
            elif action < 0.9:
                records[index] = kind, flags, payload + bytes(rng.randrange(1, 20))
            elif action < 0.95:
                records.insert(index, rng.choice(rng.choice(parts)))
            else:
                records.insert(0, rng.choice(rng.choice(parts)[:-1] or [(4, 0, b"\1" * 40)]))
        seen.append(agree(assemble(header, changed)))
    assert {OK, DAMAGED, VERSION} <= set(seen)


def test_headers_that_lie():
    data = small()
    rng = random.Random(1)
    for _ in range(1500):
        raw = bytearray(data[:124])
        raw[rng.randrange(8, 124)] = rng.choice((0, 1, 2, 0x80, 0xFF))
        header = bytes(raw) + zlib.crc32(raw).to_bytes(4, "little")
        for whole in (header + data[128:], assemble(header, transactions(data)), header):
            agree(whole)


def test_a_record_of_a_later_version():
    data = small()
    parts = transactions(data)
    for flags, status in ((1, OK), (0, VERSION)):
        changed = [list(records) for records in parts]
        changed[-1].insert(0, (77, flags, b"later" * 2000))
        assert agree(assemble(data[:128], changed)) == status


def test_a_reader_follows():
    memory = Memory(prepared())
    writer, reader = CJournal(memory), CJournal(memory, mode=READ)
    writer.append([new("x", 1)])
    assert reader.content() != writer.content()
    reader.reload()
    assert reader.content() == writer.content()
    writer.undo()
    memory.data += b"a transaction that is just being written"
    reader.reload()
    assert reader.content() == writer.content()
    del memory.data[-40:]
    writer.compact()
    reader.reload(wanted=STATE)
    reader.reload(wanted=STATE)


def test_thousands_of_examples(rng):
    journal = Journal.memory(embedding_id=BACKBONE, dim=DIM)
    for start in range(0, 5000, 500):
        journal.append([new(f"c{i % 300}", i) for i in range(start, start + 500)])
    ids = list(journal.live)
    journal.forget([ids[i] for i in rng.permutation(5000)[:900]])
    journal.compact()
    journal.append([new("x", 1)])
    big = limits(examples=5001, classes=400, ranges=1000)
    ours = CJournal(Memory(data_of(journal)), limits=big)
    assert ours.content() == python_content(journal)
    ours.forget([row[0] for row in ours.live()[:50]])
    ours.undo()
    assert len(ours.live()) == 4101
