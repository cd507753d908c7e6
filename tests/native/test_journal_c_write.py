"""Writing journals in C: the same bytes as Python writes for the same calls."""

from __future__ import annotations

import random

import numpy as np
import pytest
from journal_c import (
    IO,
    LAZY,
    MISMATCH,
    NOT_FOUND,
    OK,
    SIZE,
    VALUE,
    Both,
    CJournal,
    Memory,
    agree,
    data_of,
    in_python,
    python_content,
    rich,
    step,
)
from journal_help import BACKBONE, DIM, new
from test_journal_spec import Fixed, worked_example

from edgemeta.journal import Journal, NewExample
from edgemeta.journal.ids import ExampleId
from edgemeta.journal.store import MemoryStore


def test_the_worked_example():
    def numbers(size):
        return bytes(range(0xA0, 0xB0)) if size == 16 else Fixed.urandom(size)

    backbone = bytes(range(0xE0, 0x100))
    journal = CJournal(Memory(None, numbers), embedding_id=backbone, dim=2)
    ids = journal.append([NewExample("mug", np.array([1 << 19, -1], dtype=np.int32), group="g")])
    journal.forget(ids)
    assert bytes(journal.holder.data) == worked_example()


@pytest.mark.parametrize("seed", range(60))
def test_the_same_calls_give_the_same_bytes(same_numbers, seed):
    rng = random.Random(seed)
    both = Both(same_numbers(seed), rng.choice(("call", "call", "manual")))
    for _ in range(60):
        step(both, rng)
        both.compare()


def test_compaction_keeps_seals_byte_for_byte(same_numbers):
    data = rich()
    numbers = same_numbers(9)
    ours, theirs = CJournal(Memory(data, numbers)), in_python(data, readonly=False)
    for _ in range(2):
        ours.compact()
        theirs.compact()
        assert bytes(ours.holder.data) == data_of(theirs) and ours.content() == python_content(theirs)
    example = [new("more", 5)]
    ours.append(example)
    theirs.append(example)
    assert bytes(ours.holder.data) == data_of(theirs)


def test_targets_that_c_writes(same_numbers):
    numbers = same_numbers(2)
    ours = CJournal(Memory(None, numbers), targets=3)
    theirs = Journal.over(MemoryStore(), embedding_id=BACKBONE, dim=DIM, targets=3)
    examples = [new("target", i, target=np.array([i, 1 / 3, -0.0])) for i in range(3)]
    ours.append(examples)
    theirs.append(examples)
    assert bytes(ours.holder.data) == data_of(theirs) and agree(bytes(ours.holder.data), targets=3) == OK
    ours.append([new("target", 1)], wanted=MISMATCH)
    ours.append([new("target", 1, target=np.array([np.nan, 1.0, 2.0]))], wanted=VALUE)
    anything = CJournal(Memory(data_of(theirs)))
    anything.append([new("target", 1)], wanted=MISMATCH)
    assert anything.lib.em_journal_targets(anything.handle) == 3


def test_texts_and_numbers_that_are_refused():
    memory = Memory()
    journal = CJournal(memory)
    data = bytes(memory.data)
    for label, status in (("", SIZE), ("x" * 256, SIZE), ("a\x07", VALUE), (" ", VALUE), ("\u2028", VALUE)):
        journal.append([new("fine", 1), new(label, 1)], wanted=status)
        if label:
            journal.append([new("a", 1, group=label)], wanted=status)
            journal.append([new("a", 1, variant=label)], wanted=status)
    for value in ((1 << 20) + 1, -(1 << 20) - 1, -(1 << 31)):
        journal.append([NewExample("a", np.array([0, value, 0], np.int32))], wanted=VALUE)
    journal.forget([ExampleId(bytes(range(16)), 1)], wanted=NOT_FOUND)
    journal.forget_label("none", wanted=NOT_FOUND)
    journal.undo(wanted=NOT_FOUND)
    assert bytes(memory.data) == data
    journal.append([NewExample("é" * 127, np.array([1 << 20, -(1 << 20), 0], np.int32), "g" * 255, "v" * 255)])
    assert agree(bytes(memory.data)) == OK


def test_a_copy_gives_other_ids():
    memory = Memory()
    journal = CJournal(memory)
    (first,) = journal.append([new("a", 1)])
    copy = Memory(bytes(memory.data))
    copy.where = b"another place..."
    (second,) = CJournal(copy).append([new("a", 2)])
    (third,) = CJournal(memory).append([new("a", 3)])
    assert third == first._replace(counter=2) and second.journal != first.journal
    (fourth,) = CJournal(copy).append([new("a", 4)])
    assert fourth == second._replace(counter=second.counter + 1)
    lazy = CJournal(copy, mode=LAZY)
    (fifth,) = lazy.append([new("a", 5)])
    (sixth,) = CJournal(copy, mode=LAZY).append([new("a", 6)])
    assert len({each.journal for each in (first, second, fifth, sixth)}) == 4


def test_a_generator_that_repeats_is_refused():
    journal = CJournal(Memory(None, lambda size: b"\7" * size))
    journal.append([new("a", 1)])
    journal.holder.where = b"another place..."
    again = CJournal(journal.holder)
    again.append([new("a", 1)], wanted=IO)
    CJournal(Memory(None, bytes), wanted=IO)


def test_relabelling_keeps_all_else(same_numbers):
    """Groups, variants, inputs and targets, of odd lengths; to longer and shorter labels."""
    rng = np.random.default_rng(3)
    journal = Journal.memory(embedding_id=BACKBONE, dim=DIM)
    for i, shape in enumerate(((7,), (3, 5), (2, 3, 3), (1, 2, 3, 4), (90, 60, 3))):
        image = rng.integers(0, 256, shape).astype(np.uint8)
        journal.append([new("a" * (i + 1), i, group="g" * i or None, variant="v" * (3 * i % 5), input=image)])
    numbers = Journal.memory(embedding_id=BACKBONE, dim=DIM)
    numbers.append([new("target", i, target=rng.normal(size=3)) for i in range(3)])
    for start in (journal, numbers):
        both = Both(same_numbers(11), "call")
        both.memory.data = bytearray(data_of(start))
        both.reopen("call")
        for label in ("b", "é" * 100, "target"):
            for each in list(both.theirs.live):
                both.relabel(each, label)
                both.compare()
        while both.undo():
            both.compare()
        both.compact()
        both.compare()


def test_what_cannot_be_relabelled():
    ours = CJournal(Memory(rich()))
    before, data = ours.content(), bytes(ours.holder.data)
    first = ours.live()[0][0]
    for label, status in (("", SIZE), ("x" * 256, SIZE), ("a\x07", VALUE), (" ", VALUE)):
        ours.relabel(first, label, wanted=status)
    ours.relabel(ExampleId(bytes(range(16)), 1), "a", wanted=NOT_FOUND)
    ours.relabel(first._replace(counter=1 << 40), "a", wanted=NOT_FOUND)
    assert ours.content() == before and bytes(ours.holder.data) == data
