"""Sealing in C: the sums and the bytes that Python writes, and what cannot be sealed."""

from __future__ import annotations

import ctypes

import journal_c
import numpy as np
import pytest
from journal_c import (
    FULL,
    MEMORY,
    MISMATCH,
    NOT_FOUND,
    NULL,
    OK,
    Both,
    CJournal,
    Memory,
    agree,
    data_of,
    in_python,
    limits,
    pointer,
    prepared,
    probe,
    python_content,
    rich,
    size_t,
    u32,
)
from journal_help import BACKBONE, DIM, new

from edgemeta.journal import Journal, NewExample
from edgemeta.journal.ids import ExampleId
from edgemeta.journal.store import MemoryStore


@pytest.mark.parametrize("moment", [False, True])
@pytest.mark.parametrize("dim", [1, 2, 7, 64, 150])
def test_sums_to_the_bit(same_numbers, dim, moment, rng):
    """Random embeddings with zeros and ends of the grid; then a second seal of the class, over the first."""
    numbers, count = same_numbers(dim), 4 * dim + 12
    q20 = rng.integers(-(1 << 20), (1 << 20) + 1, (count, dim)).astype(np.int32)
    q20[0], q20[1], q20[2] = 0, 1 << 20, -(1 << 20)
    memory = Memory(None, numbers)
    ours = CJournal(memory, dim=dim)
    theirs = Journal.over(MemoryStore(), embedding_id=BACKBONE, dim=dim)
    examples = [NewExample("a" if i % 3 else "b", row) for i, row in enumerate(q20)]
    ours.append(examples)
    theirs.append(examples)
    ids = [i for i, e in theirs.live.items() if e.label == "a"]
    half = ids[: len(ids) // 2 + 2]
    for chosen in (half[::-1], [each for each in ids if each not in half]):
        change = theirs.seal({"a": chosen}, moment=moment)
        assert ours.seal("a", chosen, moment=moment) == len(change.removed)
        assert bytes(memory.data) == data_of(theirs) and ours.content() == python_content(theirs)
    assert theirs.seals
    (total,) = [seal[2] for seal in ours.seals() if seal[0] == "a"]
    sealed = [row for i, row in enumerate(q20) if i % 3]
    assert not ours.of_label("a")
    assert total == tuple((np.array(sealed) / 2**20).sum(0))
    assert agree(bytes(memory.data), dim=dim) == OK


def test_earlier_seals_with_and_without_the_moment(same_numbers):
    """One with the moment makes the new one have it; one without stays apart."""
    both = Both(same_numbers(3), "call")
    both.append([new("a", i, group=f"g{i}") for i in range(30)] + [new("b", 99)])
    ids = list(both.theirs.live)
    for part, moment in ((ids[0:6], False), (ids[6:12], True), (ids[12:18], False), (ids[18:20], True)):
        assert both.seal("a", part, moment=moment)
        both.compare()
    assert sorted((seal.count, seal.has_moment) for seal in both.theirs.seals.values()) == [(6, False), (14, True)]
    both.forget_label("a")
    both.compare()
    assert both.undo()
    both.compare()


def test_what_is_not_worth_it_is_not_written(same_numbers):
    both = Both(same_numbers(3), "call")
    both.append([new("a", 1), new("b", 2)])
    before = bytes(both.memory.data)
    assert not both.seal("a", list(both.theirs.live)[:1], moment=True)
    assert both.ours.seal("a", [], moment=True) == 0
    assert bytes(both.memory.data) == before
    both.compare()


def test_what_cannot_be_sealed():
    ours = CJournal(Memory(prepared()))
    a, b = ours.of_label("l1"), ours.of_label("l0")
    before = ours.content()
    ours.seal("l1", [*a, b[0]], moment=False, wanted=NOT_FOUND)
    ours.seal("l1", [*a, ExampleId(bytes(range(16)), 1)], moment=False, wanted=NOT_FOUND)
    found = ours.lib
    size = found.em_journal_seal_size(ours.handle, ctypes.c_int(1))
    assert size >= 8 * (DIM + DIM * (DIM + 1) // 2) + 4 * DIM
    block, ids = journal_c.Tight(size), (journal_c.Id * 1)()

    def call(at, room, given=ids):
        return found.em_journal_seal_class(
            ours.handle, u32(0), given, u32(1), ctypes.c_int(1), pointer(at), size_t(room)
        )

    assert call(block.at, size - 1) == MEMORY and call(None, size) == NULL and call(block.at, size, None) == NULL
    assert call(block.at, size) == NOT_FOUND
    assert ours.content() == before and bytes(ours.holder.data) == prepared()
    numbers = Journal.memory(embedding_id=BACKBONE, dim=DIM)
    numbers.append([new("target", i, target=np.array([1.0])) for i in range(9)])
    ours = CJournal(Memory(data_of(numbers)))
    ours.seal("target", ours.of_label("target"), moment=False, wanted=MISMATCH)
    assert bytes(ours.holder.data) == data_of(numbers)


def test_a_seal_needs_room():
    data = rich()
    least = next(n for n in range(1, 100) if probe(data, limits(seal_ranges=n)) == OK)
    for few in (limits(seals=2), limits(seal_ranges=least + 2)):
        ours = CJournal(Memory(data), limits=few)
        before = ours.content()
        ids = ours.of_label("label3")[::2]
        assert len(ids) > 3
        ours.seal("label3", ids, moment=False, wanted=FULL)
        assert ours.content() == before and bytes(ours.holder.data) == data


def test_a_rich_file(same_numbers):
    """Inputs, groups, merged examples, seals of both kinds: each class sealed, and sealed again."""
    data, numbers = rich(), same_numbers(9)
    ours, theirs = CJournal(Memory(data, numbers)), in_python(data, readonly=False)
    for label in ("label0", "label3", "猫", "last", "label0"):
        ids = [i for i, e in theirs.live.items() if e.label == label]
        if not ids:
            continue
        change = theirs.seal({label: ids}, moment=label != "label3")
        assert ours.seal(label, ids, moment=label != "label3") == len(change.removed)
        if not change:
            numbers.catch_up()
        assert bytes(ours.holder.data) == data_of(theirs) and ours.content() == python_content(theirs)
    assert len(theirs.seals) > 3
    examples = [new("more", 1)]
    ours.append(examples)
    theirs.append(examples)
    assert bytes(ours.holder.data) == data_of(theirs)
