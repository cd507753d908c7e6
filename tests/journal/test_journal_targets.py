"""`targets=`: a journal holds examples of one kind, and another kind is refused before anything is written."""

from __future__ import annotations

import numpy as np
import pytest
from journal_help import BACKBONE, DIM, content, memory, new, open_journal, vector

from edgemeta.errors import InputError, JournalMismatchError
from edgemeta.journal import Journal


def numbers(*values):
    return np.array(values, dtype=np.float64)


def kind(targets):
    return Journal.memory(embedding_id=BACKBONE, dim=DIM, targets=targets)


def one(journal, targets, number=1):
    return journal.append([new("t", number, target=numbers(*range(targets)) if targets else None)]).added[0]


@pytest.mark.parametrize("held", [0, 1, 3])
def test_every_other_kind_is_refused_and_the_file_stays(held, tmp_path):
    path = tmp_path / "a.learned"
    with open_journal(path, targets=held) as journal:
        one(journal, held)
        assert journal.targets == {held}
    before = path.read_bytes()
    for wanted in {0, 1, 2, 3} - {held}:
        for options in ({}, {"readonly": True}):
            with pytest.raises(JournalMismatchError, match="taught classes" if held == 0 else f"targets={held}"):
                open_journal(path, targets=wanted, **options)
    assert path.read_bytes() == before
    for fine in (held, None):
        with open_journal(path, targets=fine) as journal:
            assert len(journal.live) == 1


def test_a_refused_torn_end_is_not_cut(tmp_path):
    path = tmp_path / "a.learned"
    with open_journal(path, targets=1) as journal:
        one(journal, 1, 1)
        one(journal, 1, 2)
    path.write_bytes(path.read_bytes()[:-7])
    before = path.read_bytes()
    with pytest.raises(JournalMismatchError):
        open_journal(path, targets=0)
    assert path.read_bytes() == before


def test_an_empty_journal_is_of_any_kind_until_compaction(tmp_path):
    path = tmp_path / "a.learned"
    with open_journal(path, targets=1) as journal:
        journal.forget([one(journal, 1)])
    with pytest.raises(JournalMismatchError):  # undo would bring it back
        open_journal(path, targets=0)
    with open_journal(path, targets=1) as journal:
        journal.compact()
    with open_journal(path, targets=0) as journal:
        one(journal, 0)
        assert journal.targets == {0}


@pytest.mark.parametrize("wanted", [0, 1, 2])
def test_only_examples_of_the_kind_are_appended(wanted):
    journal = kind(wanted)
    one(journal, wanted)
    before = content(journal)
    for other in {0, 1, 2} - {wanted}:
        with pytest.raises(InputError, match=f"{wanted} numbers"):
            journal.append([new("t", 2, target=numbers(*range(wanted)) if wanted else None), _new(other)])
    assert content(journal) == before
    one(memory(), wanted)  # without a kind, any will do


def _new(targets):
    return new("t", 3, target=numbers(*range(targets)) if targets else None)


def test_merging_keeps_to_the_kind():
    classes, single, double = kind(0), kind(1), kind(2)
    for journal, targets in ((classes, 0), (single, 1), (double, 2)):
        one(journal, targets)
    for mine in (classes, single, double):
        before = content(mine)
        for theirs in (classes, single, double):
            if theirs is not mine:
                with pytest.raises(JournalMismatchError):
                    mine.merge(theirs)
        assert content(mine) == before
    empty = kind(1)
    empty.merge(single)
    assert content(empty) == content(single) and empty.targets == {1}


def test_a_journal_without_a_kind_is_of_the_kind_that_it_holds():
    single, classes, empty = memory(), memory(), memory()
    one(single, 1)
    one(classes, 0)
    with pytest.raises(JournalMismatchError):
        single.merge(classes)
    with pytest.raises(JournalMismatchError):
        classes.merge(single)
    empty.merge(single)
    assert empty.targets == {1}


def test_a_reader_meets_another_kind(tmp_path):
    path = tmp_path / "a.learned"
    with open_journal(path) as writer, open_journal(path, targets=1, readonly=True) as reader:
        one(writer, 1)
        assert reader.reload().added
        one(writer, 2)
        with pytest.raises(JournalMismatchError):
            reader.reload()


def test_pairs_are_the_embeddings_and_the_targets():
    journal = kind(2)
    ids = journal.append([new("t", n, target=numbers(n, -n / 3)) for n in range(1, 5)]).added
    z, y = journal.pairs(reversed(ids))
    assert (z == [vector(n) for n in range(4, 0, -1)]).all() and z.dtype == np.int32
    assert (y == [[n, -n / 3] for n in range(4, 0, -1)]).all()
    removed = [entry for _, entry in journal.forget([ids[1]]).removed]
    assert journal.removed_pairs(removed)[1].tolist() == [[2.0, -2 / 3]]
    z, y = journal.pairs([])
    assert (z.shape, y.shape) == ((0, DIM), (0, 0))


def test_pairs_of_different_length_are_refused():
    journal = memory()
    for targets in (1, 2):
        one(journal, targets, targets)
    with pytest.raises(JournalMismatchError, match="mixes"):
        journal.pairs(journal.live)
    journal = memory()
    one(journal, 0)
    with pytest.raises(JournalMismatchError, match="mixes"):
        journal.pairs(journal.live)
