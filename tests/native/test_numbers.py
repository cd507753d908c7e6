"""Statistics, scores and heads in C against the NumPy reference, by every instruction set of this machine."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from library import kernel_names, kernels, load, memory, pointer

from edgemeta.heads import Facts, make_head
from edgemeta.heads.lda import LDA
from edgemeta.heads.ridge import Ridge
from edgemeta.normalisation import Q20, Normalisation, to_float
from edgemeta.statistics import Statistics

KERNELS = ("portable", "sse2", "avx2", "avx512", "neon", "neon-dotprod")


@pytest.fixture(params=KERNELS)
def kernel(request):
    load()
    if request.param not in kernel_names():
        pytest.skip(f"this machine has no {request.param}")
    return kernels(request.param)


class CFacts(ctypes.Structure):
    _fields_ = (
        ("classes", ctypes.c_uint32),
        ("dim", ctypes.c_uint32),
        ("total", ctypes.c_uint32),
        ("counts", ctypes.c_void_p),
        ("sums", ctypes.c_void_p),
        ("squares", ctypes.c_double),
        ("moment", ctypes.c_void_p),
        ("z", ctypes.c_void_p),
        ("y", ctypes.c_void_p),
    )


def embeddings(rng: np.random.Generator, y: np.ndarray, dim: int) -> np.ndarray:
    centres = rng.normal(size=(int(y.max()) + 1, dim))
    return Normalisation().apply(centres[y] + rng.normal(size=(len(y), dim)))


def both(z: np.ndarray, y: np.ndarray, *, examples: bool = True) -> tuple[Facts, CFacts]:
    """The same facts for either language; the arrays live as long as the first."""
    counts, sums = np.bincount(y).astype(float), np.zeros((int(y.max()) + 1, z.shape[1]))
    np.add.at(sums, y, z)
    moment, squares, rows = z.T @ z, float((z * z).sum()), y.astype(np.uint32)
    facts = Facts(
        tuple(f"{c:03d}" for c in range(len(counts))),
        *(counts, sums, squares, lambda: moment.copy(), lambda: (z, y), lambda: np.arange(len(y))),
        single=examples,
    )
    shown = (z.ctypes.data, rows.ctypes.data) if examples else (None, None)
    c = CFacts(
        len(counts), z.shape[1], len(z), counts.ctypes.data, sums.ctypes.data, squares, moment.ctypes.data, *shown
    )
    c.alive = (counts, sums, moment, z, rows)
    return facts, c


def made(call, c: CFacts) -> tuple[np.ndarray, np.ndarray]:
    weights, bias = np.full((c.classes, c.dim), np.nan), np.full(c.classes, np.nan)
    status = call(pointer(weights), pointer(bias))
    assert status == 0, load().em_status_name(status)
    return weights, bias


def agree(found: tuple[np.ndarray, np.ndarray], expected) -> None:
    weights, bias = found
    assert np.linalg.norm(weights - expected.weights) <= 1e-9 * np.linalg.norm(expected.weights)
    np.testing.assert_allclose(bias, expected.bias, rtol=1e-9, atol=1e-9 * np.abs(expected.weights).max())


def sized(name: str, *arguments: int) -> tuple[ctypes.c_void_p, ctypes.c_size_t]:
    function = getattr(load(), name)
    function.restype = ctypes.c_size_t
    size = function(*arguments)
    return memory(size), ctypes.c_size_t(size)


@pytest.mark.parametrize("name", ["euclidean", "cosine", "centred"])
def test_means(name, rng):
    y = np.repeat([0, 1, 2], [4, 1, 7])
    facts, c = both(to_float(embeddings(rng, y, 33)), y)
    kind = ("euclidean", "cosine", "centred").index(name) + 1
    agree(made(lambda w, b: load().em_means(kind, ctypes.byref(c), w, b), c), make_head(name).solve(facts))


@pytest.mark.parametrize(
    ("total", "dim", "examples"), [(25, 64, True), (23, 24, True), (24, 24, True), (60, 17, False)]
)
@pytest.mark.parametrize("balance", [False, True])
def test_ridge_in_both_forms(kernel, total, dim, examples, balance, rng):
    y = np.arange(total) % 5
    facts, c = both(to_float(embeddings(rng, y, dim)), y, examples=examples)
    place, size = sized("em_ridge_size", 5, dim, total, int(examples))
    for lambda_ in (0.3, 1e-3):
        found = made(
            lambda w, b, x=lambda_: load().em_ridge(
                kernel, ctypes.byref(c), ctypes.c_double(x), int(balance), place, size, w, b
            ),
            c,
        )
        agree(found, Ridge(lambda_=lambda_, balance=balance).solve(facts))


@pytest.mark.parametrize(
    ("total", "dim", "examples"), [(25, 64, True), (23, 24, True), (24, 24, True), (60, 17, False)]
)
@pytest.mark.parametrize("shrinkage", [None, 0.5, 1.0])
def test_lda_in_both_forms(kernel, total, dim, examples, shrinkage, rng):
    y = np.arange(total) % 5
    facts, c = both(to_float(embeddings(rng, y, dim)), y, examples=examples)
    place, size = sized("em_lda_size", 5, dim, total, int(examples))
    asked = ctypes.c_double(-1.0 if shrinkage is None else shrinkage)
    found = made(lambda w, b: load().em_lda(kernel, ctypes.byref(c), asked, total, place, size, w, b), c)
    agree(found, LDA(shrinkage=shrinkage).solve(facts))


def test_bad_facts_are_refused_and_touch_nothing(kernel, rng):
    y = np.arange(10) % 2
    _, c = both(to_float(embeddings(rng, y, 20)), y)
    place, size = sized("em_ridge_size", 2, 20, 10, 1)
    weights, bias = np.full((2, 20), 7.0), np.full(2, 7.0)

    def ridge(facts=None, lambda_=0.1, at=place, room=size) -> int:
        given = ctypes.byref(facts or c)
        return load().em_ridge(kernel, given, ctypes.c_double(lambda_), 0, at, room, pointer(weights), pointer(bias))

    assert ridge(lambda_=float("nan")) == ridge(lambda_=-1.0) == -3
    assert ridge(at=ctypes.c_void_p(None)) == -1 and ridge(room=ctypes.c_size_t(size.value - 1)) == -4
    c.alive[1][0, 3] = np.inf
    assert ridge() == -3
    c.alive[1][0, 3], c.alive[4][2] = 0.0, 9
    assert ridge() == -3
    assert (weights == 7.0).all() and (bias == 7.0).all()


class TestStatistics:
    def make(self, kernel, dim: int, classes: int, moment: bool):
        place, size = sized("em_statistics_size", dim, classes, int(moment))
        out = ctypes.c_void_p()
        assert load().em_statistics_init(place, size, kernel, dim, classes, int(moment), ctypes.byref(out)) == 0
        out.block = place
        return out

    def read(self, statistics, dim: int, classes: int) -> tuple[list[int], np.ndarray, float, np.ndarray]:
        lib = load()
        lib.em_statistics_sum.restype = ctypes.POINTER(ctypes.c_double)
        lib.em_statistics_squares.restype = ctypes.c_double
        full = np.empty((dim, dim))
        assert lib.em_statistics_moment(statistics, pointer(full)) == 0
        sums = np.stack([np.ctypeslib.as_array(lib.em_statistics_sum(statistics, c), (dim,)) for c in range(classes)])
        counts = [lib.em_statistics_count(statistics, c) for c in range(classes)]
        return counts, sums.copy(), lib.em_statistics_squares(statistics), full

    @pytest.mark.parametrize("dim", [1, 7, 8, 33])
    def test_bit_for_bit(self, kernel, dim, rng):
        y = np.repeat([0, 1, 2], [30, 5, 12])
        q20 = embeddings(rng, y, dim)
        reference = Statistics(dim)
        reference.start_moment()
        ours, other = self.make(kernel, dim, 3, True), self.make(kernel, dim, 3, True)
        for c in range(3):
            rows = np.ascontiguousarray(q20[y == c])
            reference.add(str(c), rows)
            assert load().em_statistics_add(ours if c < 2 else other, c, pointer(rows), len(rows)) == 0
        gone = np.ascontiguousarray(q20[:9])
        reference.remove("0", gone)
        assert load().em_statistics_remove(ours, 0, pointer(gone), 9) == 0
        assert load().em_statistics_merge(ours, other) == 0
        counts, sums, squares, moment = self.read(ours, dim, 3)
        assert counts == [reference.counts[str(c)] for c in range(3)] and squares == reference.squares
        assert (sums == np.stack([reference.sums[str(c)] for c in range(3)])).all()
        assert (moment == reference.moment).all()

    def test_what_is_refused_changes_nothing(self, kernel, rng):
        q20 = embeddings(rng, np.zeros(3, dtype=int), 9)
        ours = self.make(kernel, 9, 2, True)
        assert load().em_statistics_add(ours, 0, pointer(q20), 3) == 0
        before = self.read(ours, 9, 2)
        long = np.full((1, 9), Q20, dtype=np.int32)
        for call, status in (
            (lambda: load().em_statistics_add(ours, 2, pointer(q20), 3), -7),
            (lambda: load().em_statistics_remove(ours, 0, pointer(q20), 4), -7),
            (lambda: load().em_statistics_add(ours, 0, pointer(long), 1), -3),
            (lambda: load().em_statistics_add(ours, 0, pointer(None), 1), -1),
        ):
            assert call() == status
        after = self.read(ours, 9, 2)
        assert before[0] == after[0] and all(map(np.array_equal, before[1:], after[1:]))


@pytest.mark.parametrize(("classes", "dim"), [(1, 1), (5, 640), (7, 33), (23, 100)])
def test_scores(kernel, classes, dim, rng):
    weights, bias = rng.normal(size=(classes, dim)).astype("f4"), rng.normal(size=classes).astype("f4")
    z = rng.normal(size=(6, dim)).astype("f4") / dim**0.5
    expected = z.astype(float) @ weights.T.astype(float) + bias
    scores = np.empty((6, classes), dtype="f4")
    given = (pointer(bias), classes, dim, pointer(z), 6, pointer(scores))
    assert load().em_score(kernel, pointer(weights), *given) == 0
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-4)
    for row, answer in zip(z, expected, strict=True):
        best = load().em_best(kernel, pointer(weights), pointer(bias), classes, dim, pointer(row), None)
        assert answer[best] >= answer.max() - 1e-4
    halves, bytes_, factors = weights.astype("f2"), np.empty((classes, dim), "i1"), np.empty(classes, "f4")
    packed = np.empty((classes, dim), dtype=np.uint16)
    assert load().em_pack_f16(pointer(weights), ctypes.c_size_t(weights.size), pointer(packed)) == 0
    assert (packed.view("f2") == halves).all()
    assert load().em_score_f16(kernel, pointer(packed), *given) == 0
    np.testing.assert_allclose(scores, z @ halves.T.astype("f4") + bias, rtol=1e-4, atol=1e-4)
    assert load().em_pack_i8(pointer(weights), classes, dim, pointer(bytes_), pointer(factors)) == 0
    assert np.abs(bytes_ * factors[:, None] - weights).max() <= 0.51 * factors.max()
    assert load().em_score_i8(kernel, pointer(bytes_), pointer(factors), *given) == 0
    np.testing.assert_allclose(scores, z @ (bytes_ * factors[:, None]).T + bias, rtol=1e-4, atol=1e-4)


def test_float16_of_every_kind_of_number():
    values = np.array([0.0, -0.0, 1.0, -2.5, 65504.0, 6e-8, 3e-8, 2.9e-8, 6.1e-5, 6.0975e-5, 1e-30, 0.1], dtype="f4")
    out = np.empty(len(values), dtype=np.uint16)
    assert load().em_pack_f16(pointer(values), ctypes.c_size_t(len(values)), pointer(out)) == 0
    assert (out == values.astype("f2").view(np.uint16)).all()
    for bad in (65520.0, np.inf, np.nan):
        assert load().em_pack_f16(pointer(np.array([bad], "f4")), ctypes.c_size_t(1), pointer(out)) == -3


@pytest.mark.parametrize("power", [1.0, 0.5])
@pytest.mark.parametrize("l2", [True, False])
@pytest.mark.parametrize("centred", [True, False])
def test_normalisation(power, l2, centred, rng):
    """The same grid point, or its neighbour where a number lies in the middle."""
    centre = rng.normal(size=40).astype("f4") if centred else None
    n = Normalisation(centre=centre, power=power, l2=l2, scale=0.5 if l2 else 1e-3)
    raw = rng.normal(size=(50, 40)).astype("f4")
    expected, found = n.apply(raw), np.empty(40, dtype=np.int32)
    arguments = (pointer(centre), ctypes.c_double(power), int(l2), ctypes.c_double(n.scale), pointer(found))
    for row, answer in zip(raw, expected, strict=True):
        assert load().em_normalise(pointer(row), 40, *arguments) == 0
        assert np.abs(found - answer).max() <= 1
    kept = found.copy()
    for bad in (np.nan, np.inf, *([] if l2 else [1e12])):
        raw[0, 3] = bad
        assert load().em_normalise(pointer(raw[0]), 40, *arguments) == -3
    nowhere = np.zeros(40, "f4") if centre is None else centre
    assert load().em_normalise(pointer(nowhere), 40, *arguments) == (-3 if l2 else 0)
    assert l2 is False or (found == kept).all()
