"""States in C: what they know after any series of adds and removes is what a fit from nothing would know."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from journal_c import READ, CJournal, Memory, data_of
from journal_help import BACKBONE, DIM, new
from library import kernel_names, kernels, load, memory, pointer
from state_c import DUAL, MEANS, Options, State, apart, embeddings, ridge, state_size

from edgemeta.heads import Facts, make_head
from edgemeta.journal import Journal
from edgemeta.normalisation import Q20, to_float

RIDGE = ("dual", "primal")
KERNELS = ("portable", "sse2", "avx2", "avx512", "neon", "neon-dotprod")


@pytest.fixture(params=KERNELS)
def kernel(request):
    load()
    if request.param not in kernel_names():
        pytest.skip(f"this machine has no {request.param}")
    return kernels(request.param)


def means(name: str, q20: np.ndarray, y: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """The head of that name, by NumPy, with rows for classes that are not there."""
    weights, bias = np.zeros((classes, q20.shape[1])), np.full(classes, -np.inf)
    known = np.unique(y)
    if len(known):
        z = to_float(q20)
        sums = np.stack([z[y == c].sum(axis=0) for c in known])
        counts = np.array([(y == c).sum() for c in known], dtype=float)
        facts = Facts(
            tuple(str(c) for c in known),
            *(counts, sums, float((z * z).sum()), lambda: z.T @ z, lambda: (z, y), lambda: np.arange(len(y))),
            single=True,
        )
        found = make_head(name).solve(facts)
        weights[known], bias[known] = found.weights, found.bias
    return weights, bias


def changes(rng: np.random.Generator, y: np.ndarray, count: int):
    """A random series of (add?, index) that never removes what is not there; the set that is held goes with it."""
    held: list[int] = []
    for _ in range(count):
        add = not held or (len(held) < len(y) and rng.random() < 0.6)
        if add:
            index = int(rng.choice(np.setdiff1d(np.arange(len(y)), held)))
            held.append(index)
        else:
            index = held.pop(int(rng.integers(len(held))))
        yield add, index, np.array(held, dtype=int)


@pytest.mark.parametrize("name", ["euclidean", "cosine", "centred"])
@pytest.mark.parametrize(("dim", "classes"), [(1, 1), (33, 4)])
def test_means_after_any_series(kernel, name, dim, classes, rng):
    y = rng.integers(0, classes, size=12)
    q20, state = embeddings(rng, y, dim), State(kernel, name, dim, classes)
    for add, index, held in changes(rng, y, 60):
        assert (state.add if add else state.remove)(int(y[index]), q20[index]) == 0
        expected = means(name, q20[held], y[held], classes)
        assert apart(state.weights(), expected) <= 1e-12
        assert state.counts() == np.bincount(y[held], minlength=classes).tolist() and state.total() == len(held)
    fresh = State(kernel, name, dim, classes)
    assert fresh.add_many(y[held], q20[held]) == 0
    assert fresh.everything() == state.everything()


@pytest.mark.parametrize("name", ["euclidean", "cosine", "centred"])
def test_predictions_are_those_of_the_weights(kernel, name, rng):
    y = rng.integers(0, 6, size=40)
    y[y == 2] = 3
    q20, state = embeddings(rng, y, 301), State(kernel, name, 301, 7)
    assert state.add_many(y, q20) == 0
    check_predictions(state, q20)


def check_predictions(state: State, q20: np.ndarray) -> None:
    weights, bias = state.weights()
    for row in q20:
        expected = weights @ to_float(row) + bias
        for z in (to_float(row).astype("f4"), row):
            best, scores = state.predict(z)
            np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=2e-5)
            assert scores[best] == scores.max() and best == state.predict(z, scores=False)[0]


@pytest.mark.parametrize("kind", RIDGE)
@pytest.mark.parametrize(("dim", "classes"), [(1, 1), (1, 3), (7, 2), (30, 5), (67, 3)])
@pytest.mark.parametrize("balance", [False, True])
def test_ridge_after_any_series(kernel, kind, dim, classes, balance, rng):
    """Up and down between nothing and 20 examples, some of them equal, some classes without any."""
    y = rng.integers(0, classes, size=20)
    q20 = embeddings(rng, y, dim)
    q20[5], q20[6] = q20[4], q20[4]
    for lambda_ in (1e-3, 0.5):
        state = State(kernel, kind, dim, classes, examples=20, lambda_=lambda_, balance=balance)
        for add, index, held in changes(rng, y, 80):
            assert (state.add if add else state.remove)(int(y[index]), q20[index]) == 0
            expected = ridge(q20[held], y[held], classes, lambda_, balance=balance)
            assert apart(state.weights(), expected) <= 1e-9
            assert state.counts() == np.bincount(y[held], minlength=classes).tolist() and state.total() == len(held)
        sums = np.stack([to_float(q20[held][y[held] == c]).sum(axis=0) for c in range(classes)])
        assert (state.sums() == sums).all()


@pytest.mark.parametrize("kind", RIDGE)
def test_forgetting_everything_and_teaching_again(kernel, kind, rng):
    y = np.arange(12) % 3
    q20, state = embeddings(rng, y, 24), State(kernel, kind, 24, 3, examples=12)
    nothing = state.everything()
    for _ in range(3):
        for k in range(12):
            assert state.add(int(y[k]), q20[k]) == 0
        assert apart(state.weights(), ridge(q20, y, 3, 0.1)) <= 1e-10
        check_predictions(state, q20)
        for k in rng.permutation(12):
            assert state.remove(int(y[k]), q20[k]) == 0
        assert state.everything() == nothing
        assert state.predict(q20[0])[0] == -5


@pytest.mark.parametrize("kind", RIDGE)
@pytest.mark.parametrize("dim", [40, 130])
def test_many_at_once_and_another_lambda(kernel, kind, dim, rng):
    """Few of them one after the other, more by a fit."""
    y = rng.integers(0, 4, size=50)
    q20, state = embeddings(rng, y, dim), State(kernel, kind, dim, 4, examples=50)
    for start, end in ((0, 1), (1, 3), (3, 40), (40, 42), (42, 42), (42, 50)):
        assert state.add_many(y[start:end], q20[start:end]) == 0
        assert apart(state.weights(), ridge(q20[:end], y[:end], 4, 0.1)) <= 1e-10
    assert state.set_lambda(2.0) == 0
    assert apart(state.weights(), ridge(q20, y, 4, 2.0)) <= 1e-10
    assert state.add(1, q20[0]) == (-6 if kind == "dual" else 0)


def test_a_dual_state_knows_what_it_holds(kernel, rng):
    y = np.arange(6) % 2
    q20, state = embeddings(rng, y, 9), State(kernel, "dual", 9, 2, examples=6)
    assert state.add_many(y, q20) == 0
    before = state.everything()
    assert state.remove(1, q20[0]) == state.remove(0, q20[0] + np.eye(9, dtype=np.int32)[3]) == -7
    assert state.add(0, q20[0]) == state.add_many(y[:1], q20[:1]) == -6
    assert state.add_sums(0, 2, to_float(q20[:2]).sum(axis=0)) == -13
    assert state.everything() == before
    assert state.remove(0, q20[2]) == 0 and state.remove(0, q20[2]) == -7


@pytest.mark.parametrize("kind", RIDGE)
def test_a_lambda_that_float64_cannot_tell_from_nothing(kernel, kind, rng):
    """No answer could be right; it is finite, and the state knows better with the next lambda."""
    y = np.arange(30) % 3
    q20, state = embeddings(rng, y, 8), State(kernel, kind, 8, 3, examples=30, lambda_=1e-300)
    q20[10:] = q20[:20]
    for k in rng.permutation(30):
        assert state.add(int(y[k]), q20[k]) == 0
        assert all(np.isfinite(state.weights()[0]).ravel())
    for k in range(10):
        assert state.remove(int(y[k]), q20[k]) == 0
        assert all(np.isfinite(state.weights()[0]).ravel())
    assert state.set_lambda(0.1) == 0
    assert apart(state.weights(), ridge(q20[10:], y[10:], 3, 0.1)) <= 1e-9


@pytest.mark.parametrize("kind", RIDGE)
@pytest.mark.parametrize("lambda_", [1e-3, 0.1])
def test_ten_thousand_changes(kind, lambda_):
    """The statistics are to the bit what adding the examples that are left makes of them, G too: what is fitted from
    them is the same. The weights have gone with them."""
    rng = np.random.default_rng(11)
    y = rng.integers(0, 4, size=90)
    q20 = np.maximum(embeddings(rng, y, 50), 0)
    state, fresh = (State(kernels(), kind, 50, 4, examples=90, lambda_=lambda_) for _ in range(2))
    for step, (add, index, held) in enumerate(changes(rng, y, 10_000)):
        assert (state.add if add else state.remove)(int(y[index]), q20[index]) == 0
        if step % 250 == 249:
            assert apart(state.weights(), ridge(q20[held], y[held], 4, lambda_)) <= 1e-9
    assert fresh.add_many(y[held], q20[held]) == 0
    assert len(held) > 20 and (state.sums() == fresh.sums()).all()
    assert state.refit() == 0
    assert state.everything() == fresh.everything()


@pytest.mark.parametrize("kind", ["euclidean", "centred", "primal"])
def test_sums_of_what_is_gone(kernel, kind, rng):
    y = np.arange(30) % 3
    q20, moment = embeddings(rng, y, 11), kind == "primal"
    state, single = State(kernel, kind, 11, 3), State(kernel, kind, 11, 3)
    assert single.add_many(y, q20) == state.add_many(y[20:], q20[20:]) == 0
    for c in range(3):
        z = to_float(q20[:20][y[:20] == c])
        total, upper = z.sum(axis=0), (z.T @ z)[np.triu_indices(11)]
        before = state.everything()
        for bad in (np.nan, np.inf, len(z) + 0.5, -len(z) - 0.5):
            for where in (total, upper) if moment else (total,):
                kept, where[7] = where[7], bad
                assert state.add_sums(c, len(z), total, upper if moment else None) == -3
                where[7] = kept
        if moment:
            kept, upper[0] = upper[0], -0.01  # the first square
            assert state.add_sums(c, len(z), total, upper) == -3
            upper[0] = kept
        assert state.add_sums(3, len(z), total, upper if moment else None) == -7
        for count in (0, 1 << 32, (1 << 32) - 5, (1 << 64) - 1):
            assert state.add_sums(c, count, total, upper if moment else None) == -2
        assert not moment or state.add_sums(c, len(z), total) == -1
        assert state.everything() == before
        assert state.add_sums(c, len(z), total, upper if moment else None) == 0
    assert single.refit() == 0 and state.everything() == single.everything()


def taught(*, sealed: bool) -> bytes:
    """A journal of 30 examples of 3 labels and one that is gone; two seals, if any."""
    journal = Journal.memory(embedding_id=BACKBONE, dim=DIM)
    journal.append([new(f"label{i % 3}", i) for i in range(30)])
    journal.append([new("gone", 40), new("left", 41), new("left", 42)])
    journal.forget_label("gone")
    for number in (0, 2) if sealed else ():
        ids = [i for i, e in journal.live.items() if e.label == f"label{number}"]
        journal.seal({f"label{number}": ids[:6]}, moment=True)
    return data_of(journal)


@pytest.mark.parametrize("kind", ["cosine", "dual", "primal"])
def test_a_journal_into_a_state(kernel, kind):
    """Everything live, and seals where the kind can have them; a store that fails leaves nothing behind."""
    store = Memory(taught(sealed=kind != "dual"))
    journal = CJournal(store, mode=READ)
    fresh = {"kernel": kernel, "kind": kind, "dim": journal.dim, "classes": 12, "examples": 60}
    state, expected, scratch = State(**fresh), State(**fresh), np.zeros(journal.dim, dtype=np.int32)

    def into(which: State) -> int:
        return load().em_state_load(which.at, journal.handle, pointer(scratch))

    numbers = {journal.label(number): number for number in range(12) if journal.label(number) is not None}
    for label, count, total, moment in journal.seals():
        given = np.array(total), np.array(moment)
        assert expected.add_sums(numbers[label], count, *given) == 0
    live = journal.live()
    y, q20 = [numbers[row[1]] for row in live], np.array([row[3] for row in live], dtype=np.int32)
    assert expected.add_many(np.array(y), q20) == expected.refit() == 0
    nothing = state.everything()
    for call in range(1, 400):
        store.fails, store.calls = call, 0
        status = into(state)
        if status == 0:
            break
        assert status == -9 and state.everything() == nothing
    store.fails = 0
    assert call > 2 and state.everything() == expected.everything() and state.total() > 5
    assert into(state) == -5
    for tight, status in (({"dim": journal.dim + 1}, -12), ({"classes": 1}, -7), ({"examples": 3}, -6)):
        other = State(**{**fresh, **tight})
        before = other.everything()
        assert into(other) == (0 if status == -6 and kind != "dual" else status)
        assert status == -6 or other.everything() == before
    if kind == "dual":
        journal = CJournal(Memory(taught(sealed=True)), mode=READ)
        other = State(**fresh)
        assert journal.seals() and into(other) == -13 and other.total() == 0
    assert load().em_state_load(None, journal.handle, pointer(scratch)) == -1


def test_a_removal_of_what_was_never_there(kernel, rng):
    """The caller's word is taken; the numbers stay finite, and what is right comes back with the example."""
    y = np.arange(20) % 2
    q20, state = embeddings(rng, y, 8), State(kernel, "primal", 8, 2, lambda_=1e-3)
    assert state.add_many(y, q20) == 0
    other = -q20[3]
    for _ in range(5):
        assert state.remove(1, other) == 0
        assert np.isfinite(state.weights()[0]).all()
    for _ in range(5):
        assert state.add(1, other) == 0
    assert state.refit() == 0
    assert apart(state.weights(), ridge(q20, y, 2, 1e-3)) <= 1e-10


def test_a_dual_state_takes_little_more_than_it_holds():
    """N = 50, D = 64, 5 classes fit a microcontroller: examples, factor, weights in two precisions, sums."""
    size = state_size(Options(DUAL, 64, 5, 50, 0, 0.1, 0))
    needed = 50 * 64 * 4 + 50 * 51 // 2 * 8 + 5 * 64 * (8 + 4 + 8)
    assert needed < size < 1.3 * needed


def test_options_that_cannot_be(kernel):
    good = {"kind": MEANS, "dim": 8, "classes": 3, "examples": 5, "means": 1, "lambda_": 0.1, "balance": 0}
    place, out = memory(1 << 16), ctypes.c_void_p()

    def init(at=place, room=1 << 16, with_=kernel, **changed) -> int:
        options = Options(**{**good, **changed})
        return load().em_state_init(at, ctypes.c_size_t(room), with_, ctypes.byref(options), ctypes.byref(out))

    assert init() == 0
    for changed in (
        {"dim": 0},
        {"dim": 65537},
        {"classes": 0},
        {"classes": 1 << 31},
        {"kind": 0},
        {"kind": 4},
        {"means": 4},
    ):
        assert init(**changed) == -2 and state_size(Options(**{**good, **changed})) == 0
    for lambda_ in (0.0, -1.0, float("nan"), float("inf")):
        assert init(kind=DUAL, lambda_=lambda_) == -3
    assert init(at=ctypes.c_void_p(None)) == init(with_=ctypes.c_void_p(None)) == -1
    assert init(room=state_size(Options(**good)) - 1) == init(at=ctypes.c_void_p(place.value + 8)) == -4
    assert load().em_state_init(place, ctypes.c_size_t(1 << 16), kernel, None, ctypes.byref(out)) == -1
    none = ctypes.c_void_p(None)
    assert (
        load().em_state_add(none, 0, none)
        == load().em_state_refit(none)
        == load().em_state_weights(none, none, none)
        == -1
    )
    assert load().em_state_total(none) == load().em_state_count(none, 0) == 0


@pytest.mark.parametrize("kind", ["euclidean", "cosine", "centred", *RIDGE])
def test_what_is_refused_changes_nothing(kernel, kind, rng):
    y = np.arange(6) % 3
    q20, state = embeddings(rng, y, 20), State(kernel, kind, 20, 4, examples=6)
    assert state.predict(q20[0])[0] == state.predict(to_float(q20[0]).astype("f4"))[0] == -5
    assert state.add_many(y, q20) == 0
    before = state.everything()
    long = np.full(20, Q20, dtype=np.int32)
    beyond = np.zeros(20, dtype=np.int32)
    beyond[3] = Q20 + 1
    assert state.add(4, q20[0]) == state.remove(9, q20[0]) == state.add_many(np.array([0, 4]), q20[:2]) == -7
    assert state.remove(3, q20[0]) == -7
    for bad in (long, beyond, -beyond):
        assert state.add(0, bad) == state.remove(0, bad) == state.predict(bad)[0] == -3
        assert state.add_many(np.array([0, 1]), np.stack([q20[0], bad])) == -3
    assert load().em_state_add(state.at, 0, None) == load().em_state_remove(state.at, 0, None) == -1
    z = to_float(q20[0]).astype("f4")
    for number in (np.nan, np.inf, -np.inf):
        z[5] = number
        status, scores = state.predict(z)
        assert status == state.predict(z, scores=False)[0] == -3 and (scores == 7.0).all()
    if kind in ("euclidean", "cosine", "centred"):
        assert state.set_lambda(0.1) == -13
    else:
        assert state.set_lambda(0.0) == state.set_lambda(float("nan")) == state.set_lambda(float("inf")) == -3
    assert state.everything() == before
