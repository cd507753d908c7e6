"""Undo in C of what Python wrote, seals and merges among it: the same bytes as Python's undo."""

from __future__ import annotations

import numpy as np
import pytest
from journal_c import OK, Both, agree, data_of, in_python, rich
from journal_help import BACKBONE, DIM, new

from edgemeta.journal import Journal


def open_both(same_numbers, journal: Journal, seed: int) -> Both:
    both = Both(same_numbers(seed), "call")
    both.memory.data = bytearray(data_of(journal))
    both.reopen("call")
    both.compare()
    return both


def a_sealed(labels: dict[str, int], first: int) -> Journal:
    """So many examples of each label, all sealed."""
    journal = Journal.memory(embedding_id=BACKBONE, dim=DIM)
    for label, count in labels.items():
        journal.append([new(label, first + i) for i in range(count)])
    ids = {label: [i for i, e in journal.live.items() if e.label == label] for label in labels}
    assert journal.seal(ids, moment=first % 2 == 0)
    return journal


def undo_all(both: Both) -> int:
    count = 0
    while both.undo():
        both.compare()
        assert agree(bytes(both.memory.data)) == OK
        count += 1
    return count


def test_merges_that_brought_seals(same_numbers):
    journal = Journal.memory(embedding_id=BACKBONE, dim=DIM)
    journal.append([new("a", 1, input=np.full((3, 5), 7, np.uint8)), new("b", 2, group="g", variant="v")])
    journal.merge(a_sealed({"a": 6, "c": 3}, 100))
    journal.merge(a_sealed({"a": 4}, 201))
    journal.relabel(next(iter(journal.live)), "moved")
    journal.forget_label("a")
    journal.forget_label("c")
    both = open_both(same_numbers, journal, 1)
    assert undo_all(both) == 6
    assert not both.theirs.seals and not both.theirs.live


def test_a_seal_that_took_the_place_of_examples(same_numbers):
    """They come back one by one, in the order of the seal's ids."""
    source = Journal.memory(embedding_id=BACKBONE, dim=DIM)
    source.append([new(f"l{i % 2}", i, group=f"g{i}") for i in range(12)])
    journal = Journal.memory(embedding_id=BACKBONE, dim=DIM)
    journal.append([new("mine", 1)])
    journal.merge(source)
    ids = [i for i, e in source.live.items() if e.label == "l0"]
    source.seal({"l0": [ids[i] for i in (3, 1, 4, 0)]}, moment=True)
    journal.merge(source)  # the examples of l0 go, the seal comes
    assert len(journal.seals) == 1
    source.append([new("l0", 100), new("l0", 101), new("l0", 102), new("l0", 103)])
    source.seal({"l0": [i for i, e in source.live.items() if e.label == "l0"]}, moment=True)
    journal.merge(source)  # the seal goes for a larger one, with examples
    assert len(journal.seals) == 1
    both = open_both(same_numbers, journal, 2)
    assert both.undo() and len(both.theirs.seals) == 1
    both.compare()
    assert both.undo() and not both.theirs.seals and both.theirs.counts()["l0"] == 6
    both.compare()
    assert undo_all(both) == 2


def test_more_ids_than_examples(same_numbers):
    """A seal of more ids than there are live examples: what comes back is in the order of the file."""
    source = Journal.memory(embedding_id=BACKBONE, dim=DIM)
    source.append([new("a", i) for i in range(4)])
    journal = Journal.memory(embedding_id=BACKBONE, dim=DIM)
    journal.merge(source)
    source.append([new("a", i) for i in range(10, 30)])
    source.seal({"a": list(source.live)[::-1]}, moment=False)
    journal.merge(source)
    both = open_both(same_numbers, journal, 3)
    assert undo_all(both) == 2


def test_undo_of_what_undo_restored(same_numbers):
    """Forgetting a seal, undoing that, and then undoing what brought it: the restored one goes."""
    journal = Journal.memory(embedding_id=BACKBONE, dim=DIM)
    journal.merge(a_sealed({"a": 6}, 100))
    journal.forget_label("a")
    both = open_both(same_numbers, journal, 4)
    assert both.undo() and both.theirs.counts() == {"a": 6}
    both.compare()
    assert both.undo() and both.theirs.counts() == {}
    both.compare()
    assert not both.undo()


def test_forgetting_and_undoing_in_a_rich_file(same_numbers):
    both = open_both(same_numbers, in_python(rich()), 5)
    for label in ("label1", "猫", "last"):
        both.forget_label(label)
        both.compare()
    assert undo_all(both) == 6
    both.compact()
    both.compare()


@pytest.mark.parametrize("dim", [1, 40, 700])
def test_seals_longer_than_a_buffer(same_numbers, dim, rng):
    import journal_c

    from edgemeta.journal import NewExample
    from edgemeta.journal.store import MemoryStore

    source = Journal.memory(embedding_id=BACKBONE, dim=dim)
    source.append([NewExample("a", rng.integers(-900, 900, dim).astype(np.int32)) for _ in range(max(4, dim))])
    assert source.seal({"a": list(source.live)}, moment=True)
    journal = Journal.memory(embedding_id=BACKBONE, dim=dim)
    journal.merge(source)
    journal.forget_label("a")
    numbers = same_numbers(6)
    ours = journal_c.CJournal(journal_c.Memory(data_of(journal), numbers), dim=dim)
    theirs = Journal.over(MemoryStore(data_of(journal)), embedding_id=BACKBONE, dim=dim)
    for _ in range(2):
        ours.undo()
        theirs.undo()
        assert bytes(ours.holder.data) == data_of(theirs) and ours.content() == journal_c.python_content(theirs)
