"""States in C: what they know after any series of adds and removes is what a fit from nothing would know."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from library import kernel_names, kernels, load, memory, pointer
from state_c import MEANS, Options, State, apart, embeddings, state_size

from edgemeta.heads import Facts, make_head
from edgemeta.normalisation import Q20, to_float

KERNELS = ("portable", "sse2", "avx2", "neon", "neon-dotprod")


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


@pytest.mark.parametrize("kind", ["euclidean", "cosine", "centred"])
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
