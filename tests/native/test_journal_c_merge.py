"""Merging in C: a union by id in which tombstones win, refused whole where the two contradict each other."""

from __future__ import annotations

import random

import numpy as np
import pytest
from journal_c import (
    FULL,
    MISMATCH,
    OK,
    READ,
    VALUE,
    CJournal,
    Memory,
    agree,
    data_of,
    donor,
    in_python,
    limits,
    merged,
    prepared,
    rich,
    step,
)
from journal_c import Both as BothOf
from journal_help import BACKBONE, DIM, new

from edgemeta.errors import JournalError
from edgemeta.journal import Journal


def everything(journal: CJournal):
    """What it holds and what it forgot, in no order."""
    theirs = in_python(bytes(journal.holder.data))
    live, counts, seals, _ = journal.content()
    return sorted(live), counts, sorted(seals), set(theirs._state.tombstones)


def refused(mine: bytes, theirs: bytes, wanted: int, **options) -> None:
    """By both, and nothing has changed."""
    python = in_python(mine, readonly=False, targets=options.get("targets"))
    with pytest.raises(JournalError):
        python.merge(in_python(theirs))
    ours = CJournal(Memory(mine), **options)
    before = ours.content()
    ours.merge(CJournal(Memory(theirs), mode=READ), wanted=wanted)
    assert bytes(ours.holder.data) == mine == data_of(python)
    assert ours.content() == before
    ours.append([new("after", 1)] if options.get("targets", 0) == 0 else [])


@pytest.mark.parametrize("seed", range(12))
def test_idempotent_and_commutative(same_numbers, seed):
    rng, numbers = random.Random(seed), same_numbers(seed)
    one, two = BothOf(numbers, "call"), BothOf(numbers, "call")
    for _ in range(25):
        step(one, rng)
        step(two, rng)
    one.merge(two)
    for _ in range(8):
        step(one, rng)
        step(two, rng)
    left, right = (CJournal(Memory(bytes(each.memory.data))) for each in (one, two))
    first, second = (CJournal(Memory(bytes(each.memory.data)), mode=READ) for each in (one, two))
    if left.lib.em_journal_merge(left.handle, second.handle) == VALUE:  # they contradict each other, from either side
        right.merge(first, wanted=VALUE)
        return
    right.merge(first)
    assert everything(left) == everything(right)
    before = bytes(left.holder.data)
    assert left.merge(right) == 0 and left.merge(left) == 0 and bytes(left.holder.data) == before
    assert agree(before) == OK


def test_contradictions():
    """One id with two contents or labels; seals of which a part is forgotten, shared, or differs."""
    base = Journal.memory(embedding_id=BACKBONE, dim=DIM)
    base.append([new("a", i) for i in range(8)] + [new("b", i) for i in range(8, 12)])
    ids, start = list(base.live), data_of(base)

    def variant(seal=None, forget=(), moment=True):
        journal = in_python(start, readonly=False)
        if seal:
            assert journal.seal({"a": seal}, moment=moment)
        journal.forget(forget)
        return data_of(journal)

    first, last = variant(seal=ids[:5]), variant(seal=ids[3:8])
    refused(first, last, VALUE)
    refused(first, variant(forget=ids[:2]), VALUE)
    refused(variant(forget=ids[:2]), first, VALUE)
    # The bytes of an example changed under right checksums: the same id with other content.
    from journal_c import assemble, transactions

    parts = transactions(start)
    for what in (lambda p: p[:80] + b"c" + p[81:], lambda p: p[:88] + b"\x01" + p[89:]):
        changed = [list(records) for records in parts]
        kind, flags, payload = changed[0][0]
        changed[0][0] = kind, flags, what(payload)
        altered = assemble(start[:128], changed)
        refused(start, altered, VALUE)
        if what(b"a" * 100)[80:81] == b"c":
            refused(first, altered, VALUE)
            refused(altered, first, VALUE)
    # Sums that differ.
    parts = transactions(first)
    changed = [list(records) for records in parts]
    at = next(i for i, each in enumerate(changed[0]) if each[0] == 3)
    kind, flags, payload = changed[0][at]
    changed[0][at] = kind, flags, payload[:-8] + np.float64(3.5).tobytes()
    refused(first, assemble(first[:128], changed), VALUE)


def test_other_kinds():
    other = Journal.memory(embedding_id=bytes(32), dim=DIM)
    ours = CJournal(Memory(prepared()))
    ours.merge(CJournal(Memory(data_of(other)), mode=READ, embedding_id=None), wanted=MISMATCH)
    other = Journal.memory(embedding_id=BACKBONE, dim=DIM + 1)
    ours.merge(CJournal(Memory(data_of(other)), mode=READ, dim=DIM + 1), wanted=MISMATCH)
    assert bytes(ours.holder.data) == prepared()
    numbers = Journal.memory(embedding_id=BACKBONE, dim=DIM)
    numbers.append([new("target", 1, target=np.array([1.0, 2.0]))])
    refused(prepared(), data_of(numbers), MISMATCH)
    refused(data_of(numbers), prepared(), MISMATCH, targets=2)
    empty = CJournal(Memory())
    assert empty.merge(CJournal(Memory(data_of(numbers)), mode=READ)) == 1
    assert empty.lib.em_journal_targets(empty.handle) == 2
    empty.append([new("a", 1)], wanted=MISMATCH)
    assert agree(bytes(empty.holder.data), targets=2) == OK


def test_too_little_room_changes_nothing():
    """Whatever limit is too small: EM_ERR_FULL, and nothing has changed; the least that is enough gives the same."""
    mine, theirs = rich(), merged()
    source = CJournal(Memory(theirs), mode=READ)
    good = CJournal(Memory(mine))
    assert good.merge(source) > 0
    for name in ("examples", "classes", "uuids", "ranges", "seals", "seal_ranges"):
        enough = None
        for room in range(1, 100):
            few = limits(**{name: room})
            found = CJournal(Memory(mine), limits=few, wanted=None)
            if found.status == FULL:
                continue
            before = found.content()
            status = found.lib.em_journal_merge(found.handle, source.handle)
            if status >= 0:
                assert [row[1:] for row in found.live()] == [row[1:] for row in good.live()]
                enough = room
                break
            assert status == FULL and found.content() == before and bytes(found.holder.data) == mine
        assert enough is not None, name


def test_what_merging_brings_is_the_others_bytes(same_numbers):
    """Inputs and seals longer than a buffer, from one file to the other."""
    source = Journal.memory(embedding_id=BACKBONE, dim=DIM)
    source.append([new("a", i, input=np.full((80, 90, 3), i, np.uint8), group="g" * 200) for i in range(3)])
    source.append([new("b", i) for i in range(300)])
    ids = [i for i, e in source.live.items() if e.label == "b"]
    source.seal({"b": ids[::2]}, moment=True)  # 150 runs
    numbers = same_numbers(1)
    both = BothOf(numbers, "call")
    theirs = CJournal(Memory(data_of(source)), mode=READ)
    assert both.ours.merge(theirs) == len(both.theirs.merge(source).added) == 153
    both.compare()
    assert both.undo()
    both.compare()


def test_a_merge_that_forgets_only():
    """Nothing that is live changes: there is nothing to undo, as in Python."""
    source = Journal.memory(embedding_id=BACKBONE, dim=DIM)
    source.forget(source.append([new("a", 1)]).added)
    ours, theirs = CJournal(Memory(prepared())), in_python(prepared(), readonly=False)
    assert ours.merge(CJournal(Memory(data_of(source)), mode=READ)) == 0
    theirs.merge(source)
    assert bytes(ours.holder.data) == data_of(theirs)
    ours.undo()
    theirs.undo()
    assert [row[1:] for row in ours.live()] == [
        (e.label, e.group, tuple(theirs.example(i).embedding.tolist()), None) for i, e in theirs.live.items()
    ]
    assert CJournal(Memory(donor()), mode=READ).seals()
