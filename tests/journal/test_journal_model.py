"""The journal against a dict, and merging against set union."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journal_help import BACKBONE, all_ids, content, forgotten, memory, new, open_journal, taught, vector

from edgemeta.errors import (
    EmbeddingError,
    InputError,
    JournalMismatchError,
    LabelError,
    MergeError,
    NotFoundError,
)
from edgemeta.journal import Change, ExampleId, Journal, NewExample
from edgemeta.journal import format as fmt
from edgemeta.journal.draft import Draft
from edgemeta.journal.format import Identity
from edgemeta.journal.ids import Range
from edgemeta.normalisation import to_float

LABELS = "abc"
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["learn", "learn", "many", "forget", "label", "relabel", "undo", "undo", "compact", "merge", "reload"]
        ),
        st.integers(0, 50),
        st.sampled_from(LABELS),
    ),
    max_size=25,
)


class Model:
    """A list of (label, embedding) and the states that undo goes back to."""

    def __init__(self):
        self.rows, self.past = [], []

    def keep(self):
        self.past.append(list(self.rows))

    def view(self):
        return sorted((label, "", row) for label, row in self.rows)


def step(journal, model, what, number, label, serial):
    """Do one thing to both."""
    live = list(journal.live)
    picked = live[number % len(live)] if live else None
    row = None
    if picked is not None:
        row = (journal.live[picked].label, tuple(journal.embeddings([picked])[0].tolist()))
    if what in ("learn", "many"):
        numbers = [next(serial) for _ in range(1 if what == "learn" else 3)]
        model.keep()
        journal.append([new(label, n) for n in numbers])
        model.rows += [(label, tuple(vector(n).tolist())) for n in numbers]
    elif what == "forget" and picked:
        model.keep()
        journal.forget([picked])
        model.rows.remove(row)
    elif what == "label" and any(entry.label == label for entry in journal.live.values()):
        model.keep()
        journal.forget_label(label)
        model.rows = [each for each in model.rows if each[0] != label]
    elif what == "relabel" and picked:
        model.keep()
        journal.relabel(picked, label)
        model.rows.remove(row)
        model.rows.append((label, row[1]))
    elif what == "merge":
        model.keep()
        with memory() as other:
            n = next(serial)
            other.append([new(label, n)])
            journal.merge(other)
        model.rows.append((label, tuple(vector(n).tolist())))
    elif what == "undo":
        if model.past:
            journal.undo()
            model.rows = model.past.pop()
        else:
            with pytest.raises(NotFoundError, match="nothing to undo"):
                journal.undo()
    elif what == "compact":
        journal.compact()
        model.past.clear()


@given(STEPS)
def test_a_journal_is_a_list_with_undo(steps):
    journal, model, serial = memory(), Model(), itertools.count(1)
    seen = set()
    for what, number, label in steps:
        before = all_ids(journal)
        seen |= before
        if what == "reload":
            old, journal = content(journal), Journal.over(journal._store, embedding_id=BACKBONE, dim=3)
            assert content(journal) == old
        step(journal, model, what, number, label, serial)
        assert taught(journal)[0] == model.view()
        assert not (all_ids(journal) - before) & seen
    while model.past:
        journal.undo()
        model.rows = model.past.pop()
        assert taught(journal)[0] == model.view()


@given(STEPS)
def test_changes_follow_the_journal(steps):
    """A set kept by the changes alone equals the live set; removed entries can still be read."""
    journal, model, serial, kept = memory(), Model(), itertools.count(1), {}
    calls = {name: getattr(journal, name) for name in ("append", "forget", "forget_label", "relabel", "undo", "merge")}

    def following(call):
        def wrapped(*args):
            change = call(*args)
            for each in change.added:
                kept[each] = journal.live[each].label
            rows = journal.removed_embeddings([entry for _, entry in change.removed])
            assert rows.shape == (len(change.removed), 3)
            for each, entry in change.removed:
                assert kept.pop(each) == entry.label
            return change

        return wrapped

    for name, call in calls.items():
        setattr(journal, name, following(call))
    for what, number, label in steps:
        if what != "reload":
            step(journal, model, what, number, label, serial)
        assert kept == {each: entry.label for each, entry in journal.live.items()}


def play(journal, steps, serial):
    model = Model()
    model.rows = [(label, row) for label, _, row in taught(journal)[0]]
    for what, number, label in steps:
        if what not in ("reload", "merge") and (what != "undo" or model.past):
            step(journal, model, what, number, label, serial)


@given(STEPS, STEPS, STEPS, st.permutations(range(3)))
@settings(max_examples=25)
def test_merging_is_a_set_union_in_any_order(first, second, third, order):
    journals, serial = [memory() for _ in range(3)], itertools.count(1)
    for journal, steps in zip(journals, (first, second, third), strict=True):
        play(journal, steps, serial)
    journals[1].merge(journals[0])
    play(journals[1], second[:5], serial)  # what the others hold too is now forgotten or relabelled here
    ends = []
    for turn in (range(3), order):
        union = memory()
        for i in turn:
            union.merge(journals[i])
        union.compact()
        assert not union.merge(journals[order[0]]), "merging twice changes something"
        ends.append((content(union), forgotten(union)))
    assert ends[0] == ends[1]


def test_merge_takes_the_forgetting_and_keeps_the_origin():
    one, two = memory(), memory()
    a, b = one.append([new("x", 1), new("y", 2)]).added
    two.merge(one)
    moved = two.relabel(a, "z").added[0]
    two.forget([b])
    change = one.merge(two)
    assert change.added == (moved,)
    assert {each for each, _ in change.removed} == {a, b}
    assert one.example(moved).origin == a
    assert content(one) == content(two)
    assert one.undo().added
    assert sorted(entry.label for entry in one.live.values()) == ["x", "y"]
    assert one.merge(one) == Change()


def test_merge_refuses_what_cannot_be_united():
    one = memory()
    with pytest.raises(JournalMismatchError, match="another backbone"):
        one.merge(Journal.memory(embedding_id=bytes(32), dim=3))
    with pytest.raises(JournalMismatchError):
        one.merge(Journal.memory(embedding_id=BACKBONE, dim=4))
    ids = one.append([new("x", i) for i in range(4)]).added
    two = memory()
    two.merge(one)
    other = Journal.over(type(one._store)(bytes(one._store.data)), embedding_id=BACKBONE, dim=3)
    other.append([new("x", 50)])
    one.append([new("x", 51)])
    before = content(one)
    with pytest.raises(MergeError, match="or was altered"):
        one.merge(other)
    assert content(one) == before
    one.seal({"x": ids}, moment=False)
    two.forget(ids[:1])
    for left, right in ((one, two), (two, one)):
        before = content(left)
        with pytest.raises(MergeError, match="a seal cannot lose a part"):
            left.merge(right)
        assert content(left) == before


@pytest.mark.parametrize("moment", [False, True])
def test_sealing_keeps_the_sums_and_what_can_be_done_with_them(moment):
    journal = memory()
    numbers = list(range(1, 13))
    ids = journal.append([new("x", n, group="g") for n in numbers] + [new("y", 40)]).added
    z = to_float(journal.embeddings(ids[:12]))
    change = journal.seal({"x": ids[:6], "y": ids[12:]}, moment=moment)
    assert change.reset and len(change.removed) == 6 and len(change.seals_added) == 1
    assert journal.counts() == {"x": 12, "y": 1}
    change = journal.seal({"x": ids[6:12]}, moment=False)  # merged with the earlier seal
    assert len(change.seals_removed) == 1
    (seal,) = journal.seals.values()
    assert seal.count == 12 and seal.has_moment == moment
    assert (seal.total == z.sum(axis=0)).all()
    if moment:
        full = z.T @ z
        assert (seal.moment == [full[i, j] for i in range(3) for j in range(i, 3)]).all()
    else:
        assert seal.moment is None
    for call in (
        lambda: journal.forget(ids[:1]),
        lambda: journal.relabel(ids[0], "q"),
        lambda: journal.example(ids[0]),
    ):
        with pytest.raises(NotFoundError, match="sealed"):
            call()
    with pytest.raises(NotFoundError, match="nothing to undo"):
        journal.undo()
    before = taught(journal)
    change = journal.forget_label("x")
    assert [each.count for each in change.seals_removed] == [12] and journal.counts() == {"y": 1}
    assert (change.seals_removed[0].total == z.sum(axis=0)).all()
    journal.undo()
    assert taught(journal) == before
    assert not all_ids(journal) & set(ids[:12])


def test_a_seal_meets_the_examples_that_it_holds():
    one, two, three = memory(), memory(), memory()
    ids = one.append([new("x", n) for n in range(8)]).added
    for other in (two, three):
        other.merge(one)
    one.seal({"x": ids}, moment=False)
    two.seal({"x": ids[:5]}, moment=True)
    union = set()
    for order in itertools.permutations([one, two, three]):
        journal = memory()
        for other in order:
            journal.merge(other)
        union.add(content(journal))
        assert not journal.merge(order[0])
    assert union == {content(one)}
    change = three.merge(one)
    assert len(change.removed) == 8 and len(change.seals_added) == 1
    three.undo()
    assert three.counts() == {"x": 8} and not three.seals
    assert not set(three.live) & set(ids)


def raw(journal):
    """The same bytes in another journal: what a copy was before it took a uuid of its own."""
    return Journal.over(type(journal._store)(bytes(journal._store.data)), embedding_id=BACKBONE, dim=3)


def test_merging_seals_of_the_same_examples():
    plain, full, other, odd = memory(), memory(), memory(), memory()
    ids = plain.append([new("x", n) for n in range(8)]).added
    for journal in (full, other):
        journal.merge(plain)
    late = raw(plain)
    plain.seal({"x": ids}, moment=False)
    full.seal({"x": ids}, moment=True)
    change = plain.merge(full)  # the same examples, but the moment says more
    assert [each.has_moment for each in change.seals_added] == [True] and len(change.seals_removed) == 1
    assert not full.merge(plain) and not plain.merge(full)
    assert not plain.merge(other), "examples that are sealed here are here already"

    draft = Draft(odd._state, None)  # no edgemeta writes these: other sums, another label for the same ids
    draft.seal(fmt.encode_seal("x", [Range(ids[0].journal, 1, 8)], None, vector(5) / 2.0**20, None))
    odd._finish(draft)
    for left, right in ((odd, plain), (plain, odd)):
        with pytest.raises(MergeError, match="differ"):
            left.merge(right)
    odd = memory()
    draft = Draft(odd._state, None)
    draft.seal(fmt.encode_seal("z", [Range(ids[0].journal, 1, 8)], None, vector(5) / 2.0**20, None))
    odd._finish(draft)
    for left, right in ((odd, late), (late, odd), (odd, plain), (plain, odd)):
        before = content(left)
        with pytest.raises(MergeError):
            left.merge(right)
        assert content(left) == before


def test_an_earlier_seal_without_the_moment_stays_apart():
    journal = memory()
    ids = journal.append([new("x", n) for n in range(16)]).added
    journal.seal({"x": ids[:8]}, moment=False)
    journal.seal({"x": ids[8:]}, moment=True)
    assert [(each.count, each.has_moment) for each in journal.seals.values()] == [(8, False), (8, True)]
    assert journal.counts() == {"x": 16} and not journal.live
    journal.forget_label("x")
    with pytest.raises(NotFoundError, match="was forgotten"):
        journal.forget(ids[:1])
    assert journal.undo() and journal.counts() == {"x": 16}


def test_merging_does_not_bring_forgotten_bytes_back():
    journal, other = memory(), memory()
    ids = journal.append([new("secret", 77)]).added
    other.merge(journal)
    journal.forget(ids)
    journal.compact()
    assert not journal.merge(other)
    assert b"secret" not in journal._store.data


def test_a_uuid_that_was_seen_before_gives_no_ids():
    journal = memory()
    ids = journal.append([new("a", 1), new("a", 2)]).added
    back = Identity(journal.uuid, bytes(16), False)
    journal._finish(Draft(journal._state, Identity(b"other uuid here!", bytes(16), False)))
    journal._finish(Draft(journal._state, back))
    again = raw(journal).append([new("b", 3)]).added[0]
    assert again.journal != ids[0].journal


def test_nothing_is_sealed_where_it_would_not_be_smaller():
    journal = memory()
    (only,) = journal.append([new("x", 1)]).added
    size = journal.nbytes
    assert journal.seal({"x": [only]}, moment=False) == Change()
    assert journal.nbytes == size and only in journal.live
    with pytest.raises(NotFoundError, match="to seal"):
        journal.seal({"y": [only]}, moment=False)


def test_compaction_leaves_nothing_of_what_was_forgotten(tmp_path):
    with open_journal(tmp_path / "a.learned") as journal:
        journal.append([new("keep", 5)])
        kept = content(journal)
        journal.append([new("secret-label", 77, group="secret-group")])
        journal.forget_label("secret-label")
        assert b"secret" in (tmp_path / "a.learned").read_bytes()
        assert journal.compact() > 0
        assert content(journal) == kept
        data = (tmp_path / "a.learned").read_bytes()
        assert b"secret" not in data and vector(77).tobytes() not in data
        assert journal.nbytes == len(data)
        assert [name.name for name in sorted(tmp_path.iterdir())] == ["a.learned", "a.learned.lock"]
        with pytest.raises(NotFoundError, match="nothing to undo"):
            journal.undo()


def test_bad_input_changes_nothing():
    import numpy as np

    journal = memory()
    good = vector(1)
    journal.append([new("x", 1)])
    before, size = content(journal), journal.nbytes
    for error, bad in [
        (LabelError, NewExample("", good)),
        (LabelError, NewExample("é" * 128, good)),
        (LabelError, NewExample("a\x1bb", good)),
        (LabelError, NewExample("\ud800", good)),
        (LabelError, NewExample(3, good)),
        (LabelError, NewExample("x", good, group="\n")),
        (LabelError, NewExample("x", good, variant="v" * 256)),
        (EmbeddingError, NewExample("x", good.astype(np.float32))),
        (EmbeddingError, NewExample("x", good[:2])),
        (EmbeddingError, NewExample("x", good + (1 << 20))),
        (InputError, NewExample("x", good, input=np.zeros((2, 0), np.uint8))),
        (InputError, NewExample("x", good, input=np.zeros((2, 2), np.float32))),
        (InputError, NewExample("x", good, input=np.zeros((70_000,), np.uint8))),
        (InputError, NewExample("x", good, target=np.array([np.nan]))),
        (InputError, "x"),
    ]:
        with pytest.raises(error):
            journal.append([NewExample("x", good), bad])
    unknown = ExampleId(bytes(15) + b"a", 3)
    for call in (
        lambda: journal.forget([unknown]),
        lambda: journal.relabel(unknown, "y"),
        lambda: journal.forget_label("q"),
    ):
        with pytest.raises(NotFoundError):
            call()
    with pytest.raises(LabelError):
        journal.relabel(next(iter(journal.live)), "\n")
    assert content(journal) == before and journal.nbytes == size
    assert journal.append([]) == Change() and journal.forget([]) == Change() and journal.nbytes == size


def test_everything_of_an_example_comes_back(tmp_path):
    import numpy as np

    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    target = np.array([0.5, -2.0])
    with open_journal(tmp_path / "a.learned") as journal:
        one, two = journal.append(
            [new("e\u0301", 3, group="G", variant="int8", input=image[:, ::2], target=target), new("x", 4)]
        ).added
    with Journal.peek(tmp_path / "a.learned") as journal:
        example = journal.example(one)
        assert (example.label, example.group, example.variant, example.origin) == ("é", "G", "int8", None)
        assert (example.input == image[:, ::2]).all() and (example.target == target).all()
        assert (example.embedding == vector(3)).all() and example.embedding.dtype == np.int32
        bare = journal.example(two)
        assert (bare.group, bare.variant, bare.input, bare.target) == (None, "", None, None)
        assert journal.labels == ("é", "x") and journal.counts() == {"é": 1, "x": 1}


def test_ids_as_text():
    each = ExampleId(bytes(range(16)), 17)
    assert str(each) == "000102030405060708090a0b0c0d0e0f:17"
    assert ExampleId.parse(f" {str(each).upper()} ") == each
    for text in ("", ":", "12:3", "0" * 32 + ":", "0" * 32 + ":0", "0" * 32 + ":-1", "0" * 32 + ":" + "9" * 30,
                 "g" * 32 + ":1", "0" * 32 + ":1:2", "0" * 32 + ":٣", "\x1b[31m"):  # fmt: skip
        with pytest.raises(NotFoundError) as caught:
            ExampleId.parse(text)
        assert "\x1b" not in str(caught.value)
    with pytest.raises(InputError):
        ExampleId.parse(3)
