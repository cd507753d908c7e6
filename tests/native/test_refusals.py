"""What the functions of statistics, scores and heads refuse: the status that edgemeta.h says, and nothing written."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from library import kernels, load, memory, pointer
from test_numbers import CFacts, both, embeddings

from edgemeta.normalisation import Q20, to_float

NULL, SIZE, VALUE, MEMORY, STATE, NOT_FOUND, SINGULAR, MISMATCH = -1, -2, -3, -4, -5, -7, -8, -12
NOTHING = ctypes.c_void_p(None)
DIM, CLASSES = 12, 3
double, size_t = ctypes.c_double, ctypes.c_size_t


def size_of(name: str, *arguments: int) -> int:
    function = getattr(load(), name)
    function.restype = size_t
    return function(*arguments)


def changed(given: tuple, at: int, value: object) -> tuple:
    return (*given[:at], value, *given[at + 1 :])


# ---- names -----------------------------------------------------------------------------------------------------------


def test_every_status_has_its_name():
    text = (load().em_status_name(status).decode() for status in range(-13, 1))
    assert [*text][::5] == ["EM_ERR_UNSUPPORTED", "EM_ERR_SINGULAR", "EM_ERR_VALUE"]
    assert len({load().em_status_name(status) for status in range(-13, 1)}) == 14
    for none in (1, 77, -14, -(2**31)):
        assert load().em_status_name(none) == b"EM_ERR_UNKNOWN"


def test_kernels_without_a_name():
    assert load().em_kernels_name(None) == b"none"
    for wrong in (b"", b"portabl", b"portable2", b"PORTABLE"):
        assert load().em_kernels_find(wrong) is None


# ---- scores ----------------------------------------------------------------------------------------------------------


class Scoring:
    """Every function that scores, with right arguments."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.weights, self.bias = rng.normal(size=(CLASSES, DIM)).astype("f4"), np.zeros(CLASSES, "f4")
        self.halves, self.bytes = self.weights.astype("f2"), np.ones((CLASSES, DIM), "i1")
        self.factors, self.z = np.ones(CLASSES, "f4"), rng.normal(size=(2, DIM)).astype("f4")
        self.scores = np.full((2, CLASSES), 7.0, "f4")
        kernel, bias, z = kernels("portable"), pointer(self.bias), pointer(self.z)
        rest = (bias, CLASSES, DIM, z)
        self.calls = {
            "em_score": (kernel, pointer(self.weights), *rest, 2, pointer(self.scores)),
            "em_score_f16": (kernel, pointer(self.halves), *rest, 2, pointer(self.scores)),
            "em_score_i8": (kernel, pointer(self.bytes), pointer(self.factors), *rest, 2, pointer(self.scores)),
            "em_best": (kernel, pointer(self.weights), *rest, pointer(self.scores)),
        }


@pytest.mark.parametrize("name", ["em_score", "em_score_f16", "em_score_i8", "em_best"])
def test_scoring_refuses(name, rng):
    scoring = Scoring(rng)
    given, call = scoring.calls[name], getattr(load(), name)
    pointers = [i for i, each in enumerate(given) if isinstance(each, ctypes.c_void_p)]
    for at in pointers[:-1] if name == "em_best" else pointers:  # em_best needs no place for the score
        assert call(*changed(given, at, NOTHING)) == NULL
    classes = given.index(CLASSES)
    for at, value in ((classes, 0), (classes + 1, 0), (classes + 1, 65537)):
        assert call(*changed(given, at, value)) == SIZE
    assert (scoring.scores == 7.0).all()
    assert call(*given) >= 0 and not (scoring.scores == 7.0).all()


def test_the_best_comes_with_its_score(rng):
    scoring = Scoring(rng)
    given = scoring.calls["em_best"]
    best = load().em_best(*given)
    exact = scoring.weights.astype(float) @ scoring.z[0].astype(float)
    assert best == exact.argmax() and abs(scoring.scores[0, 0] - exact.max()) < 1e-5
    assert load().em_best(*changed(given, 6, NOTHING)) == best
    assert load().em_best(*changed(given, given.index(CLASSES), 1 << 31)) == SIZE
    scoring.scores[:] = 7.0
    for bad in (np.nan, np.inf):
        scoring.z[0, 0] = bad
        assert load().em_best(*given) == VALUE and (scoring.scores == 7.0).all()


def test_float16_weights_beyond_all_numbers(rng):
    """An infinity or NaN among weights that somebody else packed is one among the scores."""
    scoring = Scoring(rng)
    scoring.halves[0, 0], scoring.halves[1, 0], scoring.z[:, 0] = np.inf, np.nan, 1.0
    assert load().em_score_f16(*scoring.calls["em_score_f16"]) == 0
    assert np.isposinf(scoring.scores[:, 0]).all() and np.isnan(scoring.scores[:, 1]).all()
    assert np.isfinite(scoring.scores[:, 2]).all()


def test_packing_refuses(rng):
    scoring = Scoring(rng)
    weights, out, factors = (pointer(x) for x in (scoring.weights, scoring.bytes, scoring.factors))
    halves = np.full((CLASSES, DIM), 7, np.uint16)
    for at in range(3):
        given = changed((weights, CLASSES, DIM, out, factors), (0, 3, 4)[at], NOTHING)
        assert load().em_pack_i8(*given) == NULL
    assert load().em_pack_f16(NOTHING, size_t(1), pointer(halves)) == NULL
    assert load().em_pack_f16(weights, size_t(1), NOTHING) == NULL
    for bad in (np.nan, -np.inf):
        scoring.weights[2, 3] = bad
        assert load().em_pack_i8(weights, CLASSES, DIM, out, factors) == VALUE
        assert load().em_pack_f16(weights, size_t(scoring.weights.size), pointer(halves)) == VALUE
    assert (scoring.bytes == 1).all() and (scoring.factors == 1).all() and (halves == 7).all()


def test_a_class_of_zeros_packs_to_zeros(rng):
    scoring = Scoring(rng)
    scoring.weights[1] = 0.0
    weights, out, factors = (pointer(x) for x in (scoring.weights, scoring.bytes, scoring.factors))
    assert load().em_pack_i8(weights, CLASSES, DIM, out, factors) == 0
    assert (scoring.bytes[1] == 0).all() and scoring.factors[1] == 0.0 and (np.abs(scoring.bytes[0]).max() == 127)


# ---- normalisation ---------------------------------------------------------------------------------------------------


def test_normalising_refuses(rng):
    raw, out = rng.normal(size=DIM).astype("f4"), np.full(DIM, 7, np.int32)
    given = (pointer(raw), DIM, NOTHING, double(1.0), 1, double(1.0), pointer(out))
    for at, value, status in (
        (0, NOTHING, NULL), (6, NOTHING, NULL), (1, 0, SIZE), (1, 65537, SIZE),
        *((3, double(power), VALUE) for power in (0.0, -1.0, 1.5, np.nan)),
        *((5, double(scale), VALUE) for scale in (0.0, -1.0, 1.5, 1e301, np.nan, np.inf)),
    ):  # fmt: skip
        assert load().em_normalise(*changed(given, at, value)) == status, (at, value)
    centre = np.full(DIM, np.nan, "f4")
    assert load().em_normalise(*changed(given, 2, pointer(centre))) == VALUE
    assert (out == 7).all() and load().em_normalise(*given) == 0


# ---- statistics ------------------------------------------------------------------------------------------------------


def statistics(dim: int, classes: int, moment: int) -> ctypes.c_void_p:
    size, out = size_of("em_statistics_size", dim, classes, moment), ctypes.c_void_p()
    block = memory(size)
    given = (kernels("portable"), dim, classes, moment, ctypes.byref(out))
    assert load().em_statistics_init(block, size_t(size), *given) == 0
    out.block = block
    return out


def test_statistics_refuse_sizes_and_memory():
    for dim, classes in ((0, 1), (65537, 1), (1, 0), (65536, 2**32 - 1)):
        huge = dim == 65536
        assert (size_of("em_statistics_size", dim, classes, 1) == 0) == (not huge)
    size, out = size_of("em_statistics_size", DIM, CLASSES, 1), ctypes.c_void_p(5)
    block = memory(size)
    given = (block, size_t(size), kernels("portable"), DIM, CLASSES, 1, ctypes.byref(out))
    for at, value, status in (
        (0, NOTHING, NULL), (2, NOTHING, NULL), (6, None, NULL), (3, 0, SIZE), (4, 0, SIZE),
        (1, size_t(size - 1), MEMORY), (0, ctypes.c_void_p(block.value + 8), MEMORY), (1, size_t(0), MEMORY),
    ):  # fmt: skip
        assert load().em_statistics_init(*changed(given, at, value)) == status, (at, value)
    assert out.value == 5 and load().em_statistics_init(*given) == 0


def test_statistics_of_nothing():
    lib = load()
    lib.em_statistics_sum.restype, lib.em_statistics_squares.restype = ctypes.c_void_p, double
    assert (lib.em_statistics_dim(None), lib.em_statistics_classes(None), lib.em_statistics_count(None, 0)) == (0, 0, 0)
    assert lib.em_statistics_sum(None, 0) is None and lib.em_statistics_squares(None) == 0.0
    ours = statistics(DIM, CLASSES, 0)
    assert (lib.em_statistics_dim(ours), lib.em_statistics_classes(ours)) == (DIM, CLASSES)
    assert lib.em_statistics_count(ours, CLASSES) == 0 and lib.em_statistics_sum(ours, CLASSES) is None
    full = np.full((DIM, DIM), 7.0)
    assert lib.em_statistics_moment(ours, pointer(full)) == STATE
    assert lib.em_statistics_moment(ours, NOTHING) == lib.em_statistics_moment(None, pointer(full)) == NULL
    assert (full == 7.0).all()


def test_statistics_merge_with_their_like(rng):
    ours = statistics(DIM, CLASSES, 1)
    rows = embeddings(rng, np.zeros(3, dtype=int), DIM)
    assert load().em_statistics_add(ours, 1, pointer(rows), 3) == 0
    for other in (statistics(DIM + 1, CLASSES, 1), statistics(DIM, CLASSES + 1, 1), statistics(DIM, CLASSES, 0)):
        assert load().em_statistics_merge(ours, other) == load().em_statistics_merge(other, ours) == MISMATCH
    assert load().em_statistics_merge(ours, None) == load().em_statistics_merge(None, ours) == NULL
    assert load().em_statistics_count(ours, 1) == 3


def test_statistics_count_to_the_end():
    """Doubled 32 times: the last step would not fit, and changes nothing."""
    ours, row = statistics(1, 1, 0), np.array([[Q20 // 4]], np.int32)
    load().em_statistics_sum.restype, load().em_statistics_count.restype = ctypes.POINTER(double), ctypes.c_uint32
    assert load().em_statistics_add(ours, 0, pointer(row), 1) == 0
    for _ in range(31):
        assert load().em_statistics_merge(ours, ours) == 0
    assert load().em_statistics_merge(ours, ours) == SIZE
    assert load().em_statistics_count(ours, 0) == 2**31 and load().em_statistics_sum(ours, 0)[0] == 2.0**29
    assert load().em_statistics_add(ours, 0, pointer(row), 2**31) == SIZE  # before any of them is read


# ---- heads -----------------------------------------------------------------------------------------------------------

HEADS = {
    "em_means": lambda c, out, _: (2, c, *out),
    "em_ridge": lambda c, out, room: (kernels("portable"), c, double(0.1), 0, *room, *out),
    "em_lda": lambda c, out, room: (kernels("portable"), c, double(0.1), 10, *room, *out),
}


def copy(facts: CFacts, **changes: object) -> CFacts:
    other = CFacts.from_buffer_copy(facts)
    for name, value in changes.items():
        setattr(other, name, value)
    return other


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("examples", [True, False])
def test_heads_refuse_facts(name, examples, rng):
    y = np.arange(10) % CLASSES
    _, c = both(to_float(embeddings(rng, y, DIM)), y, examples=examples)
    weights, bias = np.full((CLASSES, DIM), 7.0), np.full(CLASSES, 7.0)
    size = 1 if name == "em_means" else size_of(f"{name}_size", CLASSES, DIM, 10, int(examples))
    room, call = (memory(size), size_t(size)), getattr(load(), name)

    def status(facts=c, out=(weights, bias), where=room) -> int:
        given = None if facts is None else ctypes.byref(facts)
        return call(*HEADS[name](given, tuple(pointer(x) for x in out), where))

    counts = np.array([4.0, 3.0, np.nan])
    for change, wanted in (
        ({"counts": None}, NULL), ({"sums": None}, NULL), ({"classes": 0}, SIZE), ({"dim": 0}, SIZE),
        ({"dim": 65537}, SIZE), ({"total": 0}, SIZE), ({"total": 11}, VALUE), ({"squares": np.nan}, VALUE),
        ({"squares": -1.0}, VALUE), ({"squares": np.inf}, VALUE), ({"counts": counts.ctypes.data}, VALUE),
        *([({"y": None}, NULL)] if examples else []),
        *([({"moment": None}, NULL)] if not examples and name != "em_means" else []),
    ):  # fmt: skip
        assert status(copy(c, **change)) == wanted, change
    assert status(None) == NULL and status(out=(None, bias)) == NULL and status(out=(weights, None)) == NULL
    if name != "em_means":
        assert status(where=(NOTHING, room[1])) == NULL and status(where=(room[0], size_t(size - 1))) == MEMORY
    assert (weights == 7.0).all() and (bias == 7.0).all() and status() == 0


def test_heads_refuse_settings(rng):
    y = np.arange(10) % CLASSES
    _, c = both(to_float(embeddings(rng, y, DIM)), y)
    weights, bias = np.full((CLASSES, DIM), 7.0), np.full(CLASSES, 7.0)
    out = (pointer(weights), pointer(bias))
    for kind in (0, 4, -1):
        assert load().em_means(kind, ctypes.byref(c), *out) == VALUE
    for name, settings, wanted in (
        ("em_ridge", (double(np.inf), 0), VALUE), ("em_lda", (double(np.nan), 10), VALUE),
        ("em_lda", (double(1.5), 10), VALUE), ("em_lda", (double(0.5), 11), VALUE),
    ):  # fmt: skip
        size = size_of(f"{name}_size", CLASSES, DIM, 10, 1)
        given = (kernels("portable"), ctypes.byref(c), *settings, memory(size), size_t(size), *out)
        assert getattr(load(), name)(*given) == wanted
        assert getattr(load(), name)(*changed(changed(given, 2, double(0.1)), 0, NOTHING)) == NULL
    assert (weights == 7.0).all() and (bias == 7.0).all()


@pytest.mark.parametrize("name", ["em_ridge", "em_lda"])
def test_sizes_of_heads_that_cannot_be(name):
    for classes, dim, total in ((0, 1, 1), (1, 0, 1), (1, 65537, 1), (1, 1, 0)):
        assert size_of(f"{name}_size", classes, dim, total, 1) == 0


@pytest.mark.parametrize("name", ["em_ridge", "em_lda"])
def test_a_moment_that_is_none_is_singular(name):
    """Sums that a moment of zeros cannot belong to: no system that could be solved."""
    counts, sums, moment = np.array([5.0, 5.0]), np.ones((2, DIM)), np.zeros((DIM, DIM))
    sums[1] = -3.0
    c = CFacts(2, DIM, 10, counts.ctypes.data, sums.ctypes.data, 10.0, moment.ctypes.data, None, None)
    moment[0, 0] = 1e3  # so that the scatter as a whole is positive
    size, out = size_of(f"{name}_size", 2, DIM, 10, 0), (np.empty((2, DIM)), np.empty(2))
    given = (kernels("portable"), ctypes.byref(c), double(1e-6), 0 if name == "em_ridge" else 10)
    assert getattr(load(), name)(*given, memory(size), size_t(size), *map(pointer, out)) == SINGULAR
