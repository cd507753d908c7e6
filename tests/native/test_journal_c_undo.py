"""Undo in C of what Python and C wrote."""

from __future__ import annotations

import random

import pytest
from journal_c import NOT_FOUND, UNSUPPORTED, Both, CJournal, Memory, data_of, in_python, python_content, rich, step
from journal_help import BACKBONE, DIM, new

from edgemeta.errors import NotFoundError
from edgemeta.journal import Journal
from edgemeta.journal import journal as journal_module


@pytest.mark.parametrize("seed", range(20))
def test_after_what_only_python_does(same_numbers, seed):
    """Relabelling, merges and seals by Python; then C goes on, and both undo as far as it goes."""
    rng, numbers = random.Random(seed), same_numbers(seed)
    both = Both(numbers, "call")
    for _ in range(15):
        step(both, rng, None)
    other = Journal.memory(embedding_id=BACKBONE, dim=DIM)
    other.append([new(f"o{i % 3}", i) for i in range(8)])
    other.forget(rng.sample(list(other.live), 3))
    theirs = both.theirs
    theirs.append([new("l0", 1), new("l1", 2)])
    theirs.relabel(rng.choice(list(theirs.live)), "relabelled")
    theirs.merge(other)
    data = data_of(theirs)
    # C has no way to do these: both begin anew from the same bytes and the same generators.
    numbers.rng.setstate(journal_module.new_uuid.__closure__[0].cell_contents.rng.getstate())
    both.memory.data = bytearray(data)
    both.reopen("call")
    both.compare()
    for _ in range(25):
        try:
            change = both.theirs.undo()
        except NotFoundError:
            both.ours.undo(wanted=NOT_FOUND)
            break
        assert both.ours.undo() == len(change.added)
        both.compare()
    for _ in range(20):
        step(both, rng, None)
        both.compare()


def test_forgetting_sealed_examples(same_numbers):
    data = rich()
    numbers = same_numbers(4)
    ours = CJournal(Memory(data, numbers))
    theirs = in_python(data, readonly=False)
    for label in ("label1", "猫", "last"):
        ours.forget_label(label)
        theirs.forget_label(label)
        assert bytes(ours.holder.data) == data_of(theirs)
    ours.undo()
    theirs.undo()
    before = bytes(ours.holder.data)
    ours.undo(wanted=UNSUPPORTED)
    assert bytes(ours.holder.data) == before == data_of(theirs)
    ours.compact()
    theirs.compact()
    assert bytes(ours.holder.data) == data_of(theirs) and ours.content() == python_content(theirs)
