"""How much a journal in C holds, and what its caller must give."""

from __future__ import annotations

import ctypes

import library
from journal_c import (
    ANY,
    CALLS,
    FULL,
    MEMORY,
    NOT_FOUND,
    NULL,
    OK,
    READ,
    STATE,
    VALUE,
    WRITE,
    CJournal,
    Memory,
    Options,
    Store,
    agree,
    data_of,
    donor,
    in_python,
    lib,
    limits,
    pointer,
    prepared,
    probe,
    rich,
    size_t,
)
from journal_help import BACKBONE, DIM, new

from edgemeta.journal import Journal
from edgemeta.journal.ids import ExampleId


def test_too_little_room_in_memory_changes_nothing():
    memory = Memory()
    journal = CJournal(memory, limits=limits(examples=3, classes=2, ranges=1, label_bytes=4))
    ids = journal.append([new("aa", 1), new("bb", 2)])
    before, data = journal.content(), bytes(memory.data)
    for wrong in ([new("aa", 3), new("aa", 4)], [new("cc", 3)], [new("label", 3)]):
        journal.append(wrong, wanted=FULL)
        assert journal.content() == before and bytes(memory.data) == data
    ids += journal.append([new("bb", 3)])
    journal.forget([ids[0], ids[2]], wanted=FULL)
    journal.forget([ids[1]])
    journal.append([new("dd", 4)], wanted=FULL)  # "aa" and "bb" have examples
    journal.forget([ids[0]])
    journal.append([new("dd", 4)])  # the place of "aa"
    journal.forget([ids[2]])  # touches what is forgotten
    assert sorted(journal.counts()) == ["dd"]
    assert agree(bytes(memory.data)) == OK


def test_undo_needs_room():
    journal = CJournal(Memory(), limits=limits(examples=3, undo=1))
    ids = journal.append([new("a", 1), new("b", 2), new("c", 3)])
    journal.forget(ids[:2])
    journal.append([new("d", 4), new("e", 5)])
    journal.undo()
    before = journal.content()
    journal.undo(wanted=NOT_FOUND)  # one transaction was all it remembers
    assert journal.content() == before


def test_undo_of_seals_needs_room():
    """Of seals, and of runs of ids: one seal more than there is while one takes the place of another."""
    source = in_python(donor(), readonly=False)
    journal = Journal.memory(embedding_id=BACKBONE, dim=DIM)
    journal.merge(source)
    source.append([new("l0", i) for i in range(50, 54)])
    assert source.seal({"l0": [i for i, e in source.live.items() if e.label == "l0"]}, moment=True)
    journal.merge(source)
    data = data_of(journal)
    for name in ("seals", "seal_ranges", "ranges", "examples"):
        least = next(n for n in range(1, 100) if probe(data, limits(**{name: n})) == OK)
        statuses = []
        for room in range(least, least + 8):
            ours = CJournal(Memory(data), limits=limits(**{name: room}))
            before = ours.content()
            statuses.append(ours.lib.em_journal_undo(ours.handle))
            if statuses[-1] < 0:
                assert statuses[-1] == FULL and ours.content() == before and bytes(ours.holder.data) == data
                continue
            journal = in_python(data, readonly=False)
            journal.undo()
            assert ours.counts() == journal.counts() and len(ours.seals()) == 1
        assert statuses[-1] >= 0 and statuses == sorted(statuses)
        assert name != "seals" or statuses[0] == FULL


def test_files_that_need_more():
    data = rich()
    needs = {"examples": 40, "classes": 8, "uuids": 3, "ranges": 8, "seals": 2, "seal_ranges": 6}
    for name in needs:
        few = limits(**{name: 0 if name not in ("examples", "classes", "uuids") else 1})
        CJournal(Memory(data), mode=READ, limits=few, wanted=FULL)
    most = CJournal(Memory(data), mode=READ)
    for name in needs:  # the least that is enough gives the same
        low = next(n for n in range(1, 2001) if probe(data, limits(**{name: n})) == OK)
        assert CJournal(Memory(data), mode=READ, limits=limits(**{name: low})).content() == most.content()
    CJournal(Memory(data), mode=READ, limits=limits(undo=0))
    CJournal(Memory(data), mode=READ, limits=limits(label_bytes=3), wanted=FULL)


def test_what_the_caller_must_give():
    found, few = lib(), limits()
    for wrong in (
        limits(examples=0), limits(classes=0), limits(uuids=0), limits(label_bytes=256), limits(examples=1 << 31),
        limits(ranges=0xFFFFFFFF),
    ):  # fmt: skip
        assert found.em_journal_size(ctypes.byref(wrong)) == 0
    size, memory, options = found.em_journal_size(ctypes.byref(few)), Memory(), Options(BACKBONE, DIM, WRITE, ANY)
    block, out = library.memory(size + 64), pointer()

    def status(at, length, mode=WRITE, store=memory.store):
        options.mode = mode
        return found.em_journal_open(
            pointer(at),
            size_t(length),
            ctypes.byref(few),
            ctypes.byref(store),
            ctypes.byref(options),
            ctypes.byref(out),
        )

    assert status(block.value, size - 1) == status(block.value + 8, size) == MEMORY
    assert status(block.value, size, mode=3) == VALUE and status(None, size) == NULL
    assert memory.data is None and not out
    partial = Store(None, **{name: each for name, each in memory.kept.items() if name != "sync"})
    assert status(block.value, size, store=partial) == NULL
    reader = CJournal(Memory(prepared()), mode=READ)
    for name in ("append", "undo", "compact", "sync"):
        CALLS[name](reader, STATE)
    reader.merge(reader, wanted=STATE)
    reader.relabel(reader.live()[0][0], "x", wanted=STATE)
    reader.seal("l0", reader.of_label("l0"), moment=False, wanted=STATE)
    reader.forget([ExampleId(bytes(16), 1)], wanted=STATE)
