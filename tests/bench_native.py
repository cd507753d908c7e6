"""The C core against NumPy, SciPy and scikit-learn: fits and predictions on one thread, as ratios side by side.

    python tests/bench_native.py

Both sides are called with arguments that were prepared, alternately, and the medians of their processor time are
compared. Fits are called through ctypes, which costs about a microsecond and counts as ours; predictions from a loop in
C, where they belong. SciPy and scikit-learn come with `make`'s environment, the core from `make -C native`. Exit status
1 when a bar is missed.
"""

from __future__ import annotations

import ctypes
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve
from sklearn.linear_model import RidgeClassifier
from threadpoolctl import threadpool_limits

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "native"
LAMBDA = 0.1
SECONDS = 0.6  # for each pair
AT_ONCE = 1000  # predictions that are timed together


@dataclass(frozen=True)
class Row:
    """Medians in microseconds of ours and of what it is held against, their ratio and the largest that will do."""

    name: str
    ours: float
    theirs: float
    bar: float | None

    @property
    def ratio(self) -> float:
        return self.ours / self.theirs

    @property
    def ok(self) -> bool:
        return self.bar is None or self.ratio <= self.bar


class Facts(ctypes.Structure):
    """em_facts of native/edgemeta.h."""

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


def library() -> ctypes.CDLL:
    """libedgemeta.so of this checkout, or the one that $EDGEMETA_NATIVE_LIBRARY names."""
    named = os.environ.get("EDGEMETA_NATIVE_LIBRARY")
    if named is None:
        subprocess.run(["make", "-s", "-C", str(ROOT / "native"), f"BUILD={BUILD}"], check=True)
        named = str(BUILD / "libedgemeta.so")
    found = ctypes.CDLL(named)
    found.em_kernels_find.restype = ctypes.c_void_p
    found.em_kernels_name.restype = ctypes.c_char_p
    found.em_kernels_name.argtypes = [ctypes.c_void_p]
    found.em_ridge_size.restype = ctypes.c_size_t
    return found


def aligned(shape: int | tuple[int, ...], dtype: str = "f8") -> np.ndarray:
    """Zeros at a multiple of 64 bytes, as the core wants memory."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    block = np.zeros(size + 64, dtype=np.uint8)
    at = -block.ctypes.data % 64
    return block[at : at + size].view(dtype).reshape(shape)


def at(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def once(call: Callable[[], object], repeat: int) -> float:
    started = time.thread_time()
    for _ in range(repeat):
        call()
    return (time.thread_time() - started) / repeat


def compare(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float]:
    """Medians in microseconds of alternating runs."""
    repeats = [max(1, int(2e-4 / min(once(call, 3) for _ in range(5)))) for call in (ours, theirs)]
    found: tuple[list[float], list[float]] = ([], [])
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end or len(found[0]) < 9:
        for times, call, repeat in zip(found, (ours, theirs), repeats, strict=True):
            times.append(once(call, repeat))
    ours_median, theirs_median = (1e6 * statistics.median(times) for times in found)
    return ours_median, theirs_median


def task(classes: int, total: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of norm 1 and their classes."""
    rng = np.random.default_rng(3)
    y = np.arange(total) % classes
    z = aligned((total, dim))
    z[:] = rng.normal(size=(classes, dim))[y] + rng.normal(size=(total, dim))
    z /= np.linalg.norm(z, axis=1)[:, None]
    return z, y


# ---- ridge from the examples -----------------------------------------------------------------------------------------


def ridge_in_c(core: ctypes.CDLL, z: np.ndarray, y: np.ndarray) -> tuple[Callable[[], int], np.ndarray, np.ndarray]:
    """A call that fits, and where its weights and bias go. The sums are there beforehand, as a learner has them."""
    classes, (total, dim) = int(y.max()) + 1, z.shape
    counts, rows = np.bincount(y).astype(float), y.astype(np.uint32)
    sums = np.eye(classes)[y].T @ z
    facts = Facts(classes, dim, total, counts.ctypes.data, sums.ctypes.data, float((z * z).sum()), None)
    facts.z, facts.y = z.ctypes.data, rows.ctypes.data
    size = core.em_ridge_size(classes, dim, total, 1)
    room, weights, bias = aligned(size, "u1"), aligned((classes, dim)), aligned(classes)
    kernels, lambda_ = ctypes.c_void_p(core.em_kernels_find(None)), ctypes.c_double(LAMBDA)
    given = (kernels, ctypes.byref(facts), lambda_, 0, at(room), ctypes.c_size_t(size), at(weights), at(bias))
    function = core.em_ridge

    def fit(alive: object = (counts, rows, sums, facts, room, z)) -> int:
        return int(function(*given))

    assert fit() == 0
    return fit, weights, bias


def scipy_factor(z: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The dual as a good user writes it: centred, one Cholesky factor, nothing copied or checked that need not be."""
    n, classes = len(z), int(y.max()) + 1
    mean = z.mean(axis=0)
    x = z - mean
    targets = np.zeros((n, classes))
    targets[np.arange(n), y] = 1.0
    offset = targets.mean(axis=0)
    gram = x @ x.T
    gram.flat[:: n + 1] += LAMBDA
    factor = cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)
    alpha = cho_solve(factor, targets - offset, overwrite_b=True, check_finite=False)
    weights = alpha.T @ x
    return weights, offset - weights @ mean


def scipy_solve(z: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same by `scipy.linalg.solve`."""
    n, classes = len(z), int(y.max()) + 1
    mean = z.mean(axis=0)
    x = z - mean
    targets = np.eye(classes)[y]
    offset = targets.mean(axis=0)
    gram = x @ x.T
    gram.flat[:: n + 1] += LAMBDA
    alpha = solve(gram, targets - offset, assume_a="pos", overwrite_a=True, overwrite_b=True, check_finite=False)
    weights = alpha.T @ x
    return weights, offset - weights @ mean


def numpy_solve(z: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same by NumPy alone."""
    n, classes = len(z), int(y.max()) + 1
    mean = z.mean(axis=0)
    x = z - mean
    targets = np.eye(classes)[y]
    offset = targets.mean(axis=0)
    gram = x @ x.T
    gram.flat[:: n + 1] += LAMBDA
    weights = np.linalg.solve(gram, targets - offset).T @ x
    return weights, offset - weights @ mean


FORMS = {"SciPy cho_solve": scipy_factor, "SciPy solve": scipy_solve, "NumPy": numpy_solve}


def ridge_rows(core: ctypes.CDLL) -> list[Row]:
    z, y = task(5, 25, 640)
    fit, weights, bias = ridge_in_c(core, z, y)
    for form in FORMS.values():
        expected = form(z, y)
        assert np.linalg.norm(weights - expected[0]) <= 1e-9 * np.linalg.norm(weights)
        assert np.allclose(bias, expected[1], rtol=1e-9, atol=1e-9)
    best = min(FORMS, key=lambda name: compare(lambda: FORMS[name](z, y), lambda: None)[0])
    rows = [Row(f"ridge 5 x 5 x 640 / {best}, the best", *compare(fit, lambda: FORMS[best](z, y)), 1 / 3)]
    classifier = RidgeClassifier(alpha=LAMBDA)
    rows.append(Row("ridge 5 x 5 x 640 / RidgeClassifier", *compare(fit, lambda: classifier.fit(z, y)), 1 / 200))
    for dim, classes in ((640, 5), (640, 20), (1280, 5), (1280, 20)):
        for total in (100, 200, 500):
            z, y = task(classes, total, dim)
            fit, weights, _ = ridge_in_c(core, z, y)
            expected = scipy_factor(z, y)
            assert np.linalg.norm(weights - expected[0]) <= 1e-9 * np.linalg.norm(weights)
            name = f"ridge N = {total}, {dim}, {classes} classes / SciPy cho_solve"
            rows.append(Row(name, *compare(fit, lambda z=z, y=y: scipy_factor(z, y)), 1.0))
    return rows


# ---- predicting one embedding ----------------------------------------------------------------------------------------


def repeated() -> ctypes.CDLL:
    """tests/native/repeated.c."""
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder) / "repeated.so"
        machine = ["-mavx2"] if platform.machine() in ("x86_64", "AMD64") else []
        source = ROOT / "tests" / "native" / "repeated.c"
        subprocess.run(
            ["cc", "-std=c99", "-O3", *machine, "-shared", "-fPIC", str(source), "-o", str(built)], check=True
        )
        found = ctypes.CDLL(str(built))
    found.repeated_read.restype = ctypes.c_float
    return found


def predict_rows(core: ctypes.CDLL) -> list[Row]:
    rows = []
    loops, kernels = repeated(), ctypes.c_void_p(core.em_kernels_find(None))
    for classes, dim in ((5, 640), (20, 640), (20, 1280), (100, 1280), (1000, 1280)):
        rng = np.random.default_rng(5)
        weights, bias, z = aligned((classes, dim), "f4"), aligned(classes, "f4"), aligned(dim, "f4")
        weights[:], bias[:], z[:] = rng.normal(size=weights.shape), rng.normal(size=classes), rng.normal(size=dim)
        one = (kernels, at(weights), at(bias), classes, dim, at(z))
        count = max(1, AT_ONCE * 5 * 640 // (classes * dim))
        given = (core.em_best, *one, count)
        shown = (at(weights), ctypes.c_size_t(weights.size), count)

        def ours(given: tuple[object, ...] = given) -> int:
            return int(loops.repeated_best(*given))

        def theirs(w: np.ndarray = weights, z: np.ndarray = z, b: np.ndarray = bias) -> int:
            return int((w @ z + b).argmax())

        def read(shown: tuple[object, ...] = shown) -> float:
            return float(loops.repeated_read(*shown))

        assert core.em_best(*one, None) == theirs()
        found, numpy = compare(ours, theirs)
        rows.append(
            Row(f"predict one, {classes} x {dim} / NumPy", found / count, numpy, 1 / 8 if classes == 5 else None)
        )
        found, once = compare(ours, read)
        bar = 1.3 if classes * dim >= 20 * 1280 else None
        rows.append(Row(f"predict one, {classes} x {dim} / one read of W", found / count, once / count, bar))
    return rows


def batch_row(core: ctypes.CDLL, count: int = 64, classes: int = 20, dim: int = 1280) -> Row:
    rng = np.random.default_rng(5)
    weights, bias, z = aligned((classes, dim), "f4"), aligned(classes, "f4"), aligned((count, dim), "f4")
    weights[:], bias[:], z[:] = rng.normal(size=weights.shape), rng.normal(size=classes), rng.normal(size=z.shape)
    scores, score = aligned((count, classes), "f4"), core.em_score
    kernels = ctypes.c_void_p(core.em_kernels_find(None))
    given = (kernels, at(weights), at(bias), classes, dim, at(z), count, at(scores))
    times = compare(lambda: score(*given), lambda: z @ weights.T + bias)
    assert np.allclose(scores, z @ weights.T + bias, rtol=1e-4, atol=1e-3)
    return Row(f"score {count}, {classes} x {dim} / NumPy", *times, None)


def all_rows(core: ctypes.CDLL) -> list[Row]:
    return [*predict_rows(core), batch_row(core), *ridge_rows(core)]


def main() -> int:
    core = library()
    print(f"kernels: {core.em_kernels_name(core.em_kernels_find(None)).decode()}; microseconds, medians")
    print(f"{'':58} {'ours':>9} {'theirs':>9} {'ratio':>8} {'bar':>8}")
    with threadpool_limits(1):
        rows = all_rows(core)
    for row in rows:
        bar = "" if row.bar is None else f"{row.bar:.4f}"
        print(f"{row.name:58} {row.ours:9.2f} {row.theirs:9.2f} {row.ratio:8.4f} {bar:>8} {'' if row.ok else 'MISSED'}")
    return int(not all(row.ok for row in rows))


if __name__ == "__main__":
    sys.exit(main())
