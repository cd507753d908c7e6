"""Leaving out in C against the NumPy reference, in both forms, by every instruction set of this machine."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from library import kernel_names, kernels, load, memory, pointer
from test_numbers import CFacts, embeddings

from edgemeta.heads import Facts, make_head
from edgemeta.heads.lda import LDA
from edgemeta.heads.ridge import Ridge
from edgemeta.normalisation import to_float

NAMES = ("portable", "sse2", "avx2", "avx512", "neon", "neon-dotprod")
MEANS = ("euclidean", "cosine", "centred")
# N of 5 classes and D: the examples' form and the moment's, about the border between them, and past the blocks of both.
SHAPES = [(25, 64), (23, 24), (24, 24), (60, 17), (130, 700), (150, 61)]
GROUPS = ["alone", "bursts", "across", "class", "everything"]


@pytest.fixture(params=NAMES)
def kernel(request):
    load()
    if request.param not in kernel_names():
        pytest.skip(f"this machine has no {request.param}")
    return kernels(request.param)


def groups_of(kind: str, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Numbers in no order; `class` has one group that is a whole class and then some, others alone."""
    n = len(y)
    names = rng.permutation(2 * n)[:n].astype(np.int64)
    if kind == "bursts":
        return names[y * 3 + rng.integers(0, 3, n)] if n > 15 else names[y]
    if kind == "across":
        return names[rng.integers(0, max(2, n // 4), n)]
    if kind == "class":
        return np.where((y == 1) | (np.arange(n) == 5), 3 * n, names)
    return np.full(n, 7) if kind == "everything" else names


class Case:
    """The same facts for either language."""

    def __init__(self, total: int, dim: int, kind: str, rng: np.random.Generator, spread: float = 1.0) -> None:
        self.y = rng.permutation(np.arange(total) % 5)
        self.y[self.y == 4] = rng.integers(0, 5, (self.y == 4).sum())  # classes of different size
        self.y = np.unique(self.y, return_inverse=True)[1]
        self.z = to_float(embeddings(rng, self.y, dim))
        self.groups = groups_of(kind, self.y, rng)
        self.counts = np.bincount(self.y).astype(float)
        self.sums = np.zeros((len(self.counts), dim))
        np.add.at(self.sums, self.y, self.z)
        self.moment, self.squares = self.z.T @ self.z, float((self.z * self.z).sum())
        self.rows, self.names = self.y.astype(np.uint32), self.groups.astype(np.uint32)
        self.facts = Facts(
            tuple(f"{c:03d}" for c in range(len(self.counts))),
            *(self.counts, self.sums, self.squares, self.moment.copy, lambda: (self.z, self.y), lambda: self.groups),
        )
        self.c = CFacts(
            *(len(self.counts), dim, total, self.counts.ctypes.data, self.sums.ctypes.data, self.squares),
            *(self.moment.ctypes.data, self.z.ctypes.data, self.rows.ctypes.data),
        )

    def steady(self) -> Facts:
        """The facts; where N = D with more dimensions in which everything is zero, so that NumPy takes the form from
        the examples: for a tiny lambda the other is off by a percent there."""
        if self.c.total != self.c.dim:
            return self.facts
        z, n = np.pad(self.z, ((0, 0), (0, self.c.total))), self.c.total
        f = self.facts
        rest = (lambda: z.T @ z, lambda: (z, self.y), lambda: self.groups)
        return Facts(f.labels, f.counts, np.pad(self.sums, ((0, 0), (0, n))), f.squares, *rest)

    def room(self, name: str, *, alone: bool = False) -> tuple[ctypes.c_void_p, ctypes.c_size_t]:
        size = getattr(load(), f"{name}_size")
        size.restype = ctypes.c_size_t
        needed = size(ctypes.byref(self.c), pointer(None if alone else self.names))
        assert needed > 0
        return memory(needed), ctypes.c_size_t(needed)

    def scores(self, call, name: str, *, alone: bool = False) -> np.ndarray:
        """call(facts, groups, memory, size, scores)."""
        place, size = self.room(name, alone=alone)
        found = np.full((self.c.total, self.c.classes), np.nan)
        names = pointer(None if alone else self.names)
        status = call(ctypes.byref(self.c), names, place, size, pointer(found))
        assert status == 0, load().em_status_name(status)
        return found

    def ridge(self, kernel, lambda_: float, balance: bool = False, *, alone: bool = False) -> np.ndarray:
        return self.scores(
            lambda f, g, *rest: load().em_ridge_leave_out(kernel, f, g, ctypes.c_double(lambda_), int(balance), *rest),
            "em_ridge_leave_out",
            alone=alone,
        )

    def lda(self, kernel, shrinkage: float | None) -> np.ndarray:
        return self.lda_squares(kernel, shrinkage)[0]

    def lda_squares(self, kernel, shrinkage: float | None) -> tuple[np.ndarray, np.ndarray]:
        asked = ctypes.c_double(-1.0 if shrinkage is None else shrinkage)
        count, squares = self.facts.independent(), np.full(self.c.total, np.nan)
        scores = self.scores(
            lambda f, g, *rest: load().em_lda_leave_out(kernel, f, g, asked, count, *rest, pointer(squares)),
            "em_lda_leave_out",
        )
        return scores, squares

    def chosen(self, kernel, balance: bool) -> float:
        place, size = self.room("em_ridge_choose")
        found = ctypes.c_double(np.nan)
        given = (ctypes.byref(self.c), pointer(self.names), int(balance), place, size, ctypes.byref(found))
        assert load().em_ridge_choose(kernel, *given) == 0
        return found.value


def agree(found: np.ndarray, expected: np.ndarray, tolerance: float = 1e-9) -> None:
    assert (np.isneginf(found) == np.isneginf(expected)).all()
    finite = np.isfinite(expected)
    assert np.isfinite(found[finite]).all()
    assert np.linalg.norm(found[finite] - expected[finite]) <= tolerance * np.linalg.norm(expected[finite])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", GROUPS)
@pytest.mark.parametrize("name", MEANS)
def test_means(name, shape, kind, rng):
    case = Case(*shape, kind, rng)
    which = MEANS.index(name) + 1
    found = case.scores(lambda *given: load().em_means_leave_out(which, *given), "em_means_leave_out")
    agree(found, make_head(name).leave_out(case.facts))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", GROUPS)
@pytest.mark.parametrize("balance", [False, True])
def test_ridge(kernel, shape, kind, balance, rng):
    case = Case(*shape, kind, rng)
    for lambda_ in (0.3, 1e-3):
        agree(case.ridge(kernel, lambda_, balance), Ridge(lambda_, balance).leave_out(case.facts))
    least = 1e-8 * case.squares / case.c.dim
    agree(case.ridge(kernel, 0.0, balance), Ridge(least, balance).leave_out(case.steady()), 1e-7)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", GROUPS)
def test_lda(kernel, shape, kind, rng):
    case = Case(*shape, kind, rng)
    for shrinkage in (None, 0.5, 1.0):
        scores, squares = case.lda_squares(kernel, shrinkage)
        agree(scores, LDA(shrinkage).leave_out(case.facts))
        agree(2.0 * scores - squares[:, None], -LDA(shrinkage).leave_out_distances(case.facts))
    residuals = case.z - case.facts.means[case.y]
    shrunk = LDA(0.0)._shrunk(case.facts, residuals.T @ residuals)

    class Held(LDA):
        def _shrunk(self, facts: Facts, moment: np.ndarray) -> tuple[float, float]:
            return shrunk

    agree(case.lda(kernel, 0.0), Held().leave_out(case.steady()), 1e-7)


def test_without_groups_each_is_a_fold(kernel, rng):
    case = Case(40, 70, "alone", rng)
    assert (case.ridge(kernel, 0.1, alone=True) == case.ridge(kernel, 0.1)).all()


def test_lda_without_scatter(kernel, rng):
    """One example a class, and classes of identical examples: the nearest mean, and what is gone is gone."""
    for repeat in (1, 3):
        case = Case(5, 30, "alone", rng)
        again = Case(5 * repeat, 30, "alone", rng)
        again.z[:] = case.z[again.y]
        again.sums[:] = again.counts[:, None] * case.z[: len(again.counts)]
        again.facts.moment  # noqa: B018 - total < dim: not used
        again.facts = Facts(
            again.facts.labels,
            *(again.counts, again.sums, float((again.z**2).sum()), again.moment.copy),
            *(lambda c=again: (c.z, c.y), lambda c=again: c.groups),
        )
        again.c.squares = again.facts.squares
        agree(again.lda(kernel, None), LDA().leave_out(again.facts))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", GROUPS)
@pytest.mark.parametrize("balance", [False, True])
def test_the_lambda_that_is_chosen(kernel, shape, kind, balance, rng):
    case = Case(*shape, kind, rng)
    expected = Ridge(None, balance).pinned(case.facts).lambda_
    assert case.chosen(kernel, balance) == pytest.approx(expected, rel=1e-12)


def test_the_choice_is_not_always_the_same(kernel, rng):
    """So that the test above can fail: noise wants a large lambda, clear classes a small one."""
    clear, noise = Case(60, 17, "alone", rng), Case(60, 17, "alone", rng)
    noise.z[:] = rng.permutation(noise.z)
    noise.sums[:] = 0.0
    np.add.at(noise.sums, noise.y, noise.z)
    assert clear.chosen(kernel, False) < noise.chosen(kernel, False)
    assert noise.chosen(kernel, False) == pytest.approx(Ridge(None).pinned(noise.facts).lambda_, rel=1e-12)


def test_zeros_solve_to_something(kernel, rng):
    case = Case(20, 30, "alone", rng)
    case.z[:] = 0.0
    case.sums[:] = 0.0
    case.c.squares = 0.0
    assert np.isfinite(case.ridge(kernel, 0.0)).all() and case.chosen(kernel, False) == 1.0


CALLS = {
    "em_means_leave_out": lambda k, f, g, m, s, o: load().em_means_leave_out(1, f, g, m, s, o),
    "em_ridge_leave_out": lambda k, f, g, m, s, o: load().em_ridge_leave_out(k, f, g, ctypes.c_double(0.1), 0, m, s, o),
    "em_lda_leave_out": lambda k, f, g, *r: load().em_lda_leave_out(k, f, g, ctypes.c_double(-1), 20, *r, None),
    "em_ridge_choose": lambda k, f, g, m, s, o: load().em_ridge_choose(k, f, g, 0, m, s, o),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("shape", [(20, 30), (20, 9)])
def test_what_is_refused_changes_nothing(name, shape, rng):
    case = Case(*shape, "bursts", rng)
    place, size = case.room(name)
    out = np.full((20, case.c.classes), 7.0)
    nothing, groups = ctypes.c_void_p(None), pointer(case.names)

    def call(facts=None, at=place, room=size, to=None, by=None) -> int:
        given = ctypes.byref(case.c) if facts is None else facts
        return CALLS[name](kernels() if by is None else by, given, groups, at, room, pointer(out) if to is None else to)

    assert call(facts=nothing) == call(to=nothing) == call(at=nothing) == -1
    if name != "em_means_leave_out":
        assert call(by=nothing) == -1
    assert call(room=ctypes.c_size_t(size.value - 1)) == -4
    for array, bad in (
        (case.z, np.nan),
        (case.z, 1e70),
        (case.sums, -1e300),
        (case.sums, np.inf),
        (case.rows, 9),
        (case.counts, 1.0),
    ):
        kept = array.flat[3]
        array.flat[3] = bad
        assert call() == -3
        array.flat[3] = kept
    for field, bad, status in (("z", None, -1), ("y", None, -1), ("dim", 0, -2), ("classes", 0, -2), ("total", 0, -2)):
        kept = getattr(case.c, field)
        setattr(case.c, field, bad)
        assert call() == status
        setattr(case.c, field, kept)
    case.counts[:2] += [1.0, -1.0]
    assert call() == -3  # as many examples, but not of these classes
    case.counts[:2] += [-1.0, 1.0]
    if shape[1] < 20 and name != "em_means_leave_out":
        case.moment[0, 0] = -0.1 * case.squares
        assert call() == -8
        case.c.moment = None
        assert call() == -1
    assert (out == 7.0).all()


@pytest.mark.parametrize("name", CALLS)
def test_no_size_for_what_cannot_be(name, rng):
    case = Case(20, 30, "bursts", rng)
    size = getattr(load(), f"{name}_size")
    case.c.dim = 0
    assert size(ctypes.byref(case.c), pointer(case.names)) == size(None, None) == 0


def test_options_out_of_range_are_refused(rng):
    case = Case(20, 30, "bursts", rng)
    place, size = case.room("em_lda_leave_out")
    out = np.full((20, case.c.classes), 7.0)
    rest = (place, size, pointer(out))
    facts, groups = ctypes.byref(case.c), pointer(case.names)
    for lambda_ in (-1.0, float("nan"), float("inf")):
        assert load().em_ridge_leave_out(kernels(), facts, groups, ctypes.c_double(lambda_), 0, *rest) == -3
    for shrinkage, count in ((1.5, 20), (float("nan"), 20), (0.5, 21)):
        assert load().em_lda_leave_out(kernels(), facts, groups, ctypes.c_double(shrinkage), count, *rest, None) == -3
    for kind in (0, 4):
        assert load().em_means_leave_out(kind, facts, groups, *rest) == -3
    assert (out == 7.0).all()
