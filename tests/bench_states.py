"""The states of the C core: what one example costs, held against the memory's bandwidth and against a fit from nothing;
and how far the weights are from that fit after ten thousand changes.

    python tests/bench_states.py [--kernels NAME]

One thread. What is compared alternates, and medians are compared; the mean, in which the fits that a state makes itself
now and then are, stands beside. Called through ctypes, which is counted as ours. Exit status 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import ctypes
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent / "native"))

from bench_native import Facts, aligned, at, numpy_solve
from library import kernels as kernels_of
from library import load
from state_c import State, apart, embeddings, ridge
from threadpoolctl import threadpool_limits

from edgemeta.normalisation import Normalisation, to_float

CLASSES, LAMBDA = 5, 0.1
Call = Callable[[], object]


def timed(call: Call) -> float:
    """Microseconds."""
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1e6


def add_and_remove(state: State, y: np.ndarray, q20: np.ndarray) -> tuple[list[Call], list[Call]]:
    """Calls that add each example, and that remove it, with arguments that are ready."""
    core, calls = load(), ([], [])
    for of_class, row in zip(y, q20, strict=True):
        given = (state.at, ctypes.c_uint32(int(of_class)), ctypes.c_void_p(row.ctypes.data))
        for out, function in zip(calls, (core.em_state_add, core.em_state_remove), strict=True):
            out.append(lambda f=function, g=given, alive=row: f(*g))
    return calls


class Table:
    """Lines of what was measured, and whether all bars were reached."""

    def __init__(self) -> None:
        self.missed = 0

    def line(self, name: str, value: float, bar: float | None, what: str) -> None:
        ok = bar is None or value <= bar
        self.missed += not ok
        said = "" if bar is None else f"bar {bar:.3g}" + ("" if ok else " MISSED")
        print(f"{name:52} {value:9.3g}  {what:66} {said}", flush=True)


# ---- primal ----------------------------------------------------------------------------------------------------------


def fit_in_c(kernel: ctypes.c_void_p, q20: np.ndarray, y: np.ndarray) -> tuple[Call, Call]:
    """Primal fits from n, s and G by em_ridge() and by NumPy."""
    z = to_float(q20)
    total, dim = z.shape
    counts = np.bincount(y, minlength=CLASSES).astype(float)
    sums, moment = np.eye(CLASSES)[y].T @ z, z.T @ z
    facts = Facts(CLASSES, dim, total, counts.ctypes.data, sums.ctypes.data, float((z * z).sum()), moment.ctypes.data)
    size = load().em_ridge_size(CLASSES, dim, total, 0)
    room, weights, bias = aligned(size, "u1"), aligned((CLASSES, dim)), aligned(CLASSES)
    given = (kernel, ctypes.byref(facts), ctypes.c_double(LAMBDA), 0, at(room), ctypes.c_size_t(size))

    def ours(alive: object = (counts, sums, moment, facts, room)) -> int:
        return int(load().em_ridge(*given, at(weights), at(bias)))

    def theirs() -> np.ndarray:
        mean = sums.sum(axis=0) / total
        system = moment - total * np.outer(mean, mean)
        system.flat[:: dim + 1] += LAMBDA
        found: np.ndarray = np.linalg.solve(system, (sums - counts[:, None] * mean).T)
        return found

    assert ours() == 0 and np.linalg.norm(theirs().T - weights) <= 1e-9 * np.linalg.norm(weights)
    return ours, theirs


def primal(table: Table, kernel: ctypes.c_void_p, dim: int, bars: bool) -> None:
    rng = np.random.default_rng(1)
    y = rng.integers(0, CLASSES, size=2 * dim)
    q20 = embeddings(rng, y, dim)
    state = State(kernel, "primal", dim, CLASSES, lambda_=LAMBDA)
    assert state.add_many(y, q20) == 0
    adds, removes = add_and_remove(state, y[:50], q20[:50])
    block = np.zeros(dim * dim // 2)  # the size of the factor, and of G
    fit, theirs = fit_in_c(kernel, q20, y)
    names = ("add", "remove", "pass", "em_ridge", "NumPy")
    times: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(12):
        for add, remove in zip(adds, removes, strict=True):
            times["add"].append(timed(add))
            times["remove"].append(timed(remove))
            times["pass"].append(timed(lambda: np.add(block, 1.0, out=block)))
        if turn % 2 == 0:
            times["em_ridge"].append(timed(fit))
            times["NumPy"].append(timed(theirs))
    median = {name: statistics.median(found) for name, found in times.items()}
    # The factor is read, written and read, G read and written; the pass reads and writes once.
    least = 2.5 * median["pass"]
    bandwidth = 2 * block.nbytes / median["pass"] / 1e3
    for name in ("add", "remove"):
        head, mean = f"primal, D = {dim}: {name} one", statistics.mean(times[name])
        table.line(
            f"{head} / its bytes", median[name] / least, 1.5 if bars else None,
            f"{median[name]:.1f} us (mean {mean:.1f}), {least:.1f} us at {bandwidth:.0f} GB/s",
        )  # fmt: skip
        for other, bar in (("em_ridge", 1 / 50), ("NumPy", None)):
            what = f"{median[name]:.1f} us, {median[other]:.0f} us"
            table.line(f"{head} / refit by {other}", median[name] / median[other], bar if bars else None, what)


# ---- dual ------------------------------------------------------------------------------------------------------------


def dual(table: Table, kernel: ctypes.c_void_p, total: int, bar: float | None, dim: int = 640) -> None:
    rng = np.random.default_rng(2)
    y = np.arange(total + 20) % CLASSES
    q20 = embeddings(rng, y, dim)
    state = State(kernel, "dual", dim, CLASSES, examples=total + 1, lambda_=LAMBDA)
    assert state.add_many(y[:total], q20[:total]) == 0
    adds, removes = add_and_remove(state, y[total:], q20[total:])
    z, of = to_float(q20[:total]), y[:total]
    times: dict[str, list[float]] = {name: [] for name in ("add", "remove", "NumPy")}
    for _ in range(200 if total < 100 else 15):
        for add, remove in zip(adds, removes, strict=True):
            times["add"].append(timed(add))
            times["remove"].append(timed(remove))
        times["NumPy"] += [timed(lambda: numpy_solve(z, of)) for _ in range(4)]
    median = {name: statistics.median(found) for name, found in times.items()}
    for name, limit in (("add", bar), ("remove", None)):
        what = f"{median[name]:.2f} us (mean {statistics.mean(times[name]):.2f}), {median['NumPy']:.1f} us"
        head = f"dual, N = {total}, D = {dim}: {name} one / NumPy refit"
        table.line(head, median[name] / median["NumPy"], limit, what)


def means(table: Table, kernel: ctypes.c_void_p, dim: int = 640) -> None:
    rng = np.random.default_rng(3)
    y = np.arange(40) % CLASSES
    q20 = embeddings(rng, y, dim)
    for kind in ("euclidean", "cosine", "centred"):
        state = State(kernel, kind, dim, CLASSES)
        assert state.add_many(y[:20], q20[:20]) == 0
        adds, removes = add_and_remove(state, y[20:], q20[20:])
        found = [timed(call) for _ in range(200) for pair in zip(adds, removes, strict=True) for call in pair]
        table.line(f"{kind} means, D = {dim}: change one, us", statistics.median(found), None, "")


# ---- ten thousand changes --------------------------------------------------------------------------------------------


def shared(rng: np.random.Generator, y: np.ndarray, dim: int) -> np.ndarray:
    """Q20 of norm 1 with a strong common mean, as features behind a ReLU."""
    centres = np.random.default_rng(dim).normal(size=(CLASSES, dim))
    return Normalisation().apply(np.maximum(centres[y] + rng.normal(size=(len(y), dim)) + 0.5, 0.0))


def drift(table: Table, kernel: ctypes.c_void_p, kind: str, total: int, dim: int, lambda_: float) -> None:
    """Up and down around `total`; a fit from nothing at some places on the way, and at the end the bits."""
    rng = np.random.default_rng(4)
    y = rng.integers(0, CLASSES, size=total + 100)
    q20 = shared(rng, y, dim)
    states = [State(kernel, kind, dim, CLASSES, examples=total + 100, lambda_=lambda_) for _ in range(2)]
    adds, removes = add_and_remove(states[0], y, q20)
    assert states[0].add_many(y[:total], q20[:total]) == 0
    held, free, worst = list(range(total)), list(range(total, total + 100)), 0.0
    for step in range(10_000):
        if free and (not held or rng.random() < 0.5):
            index = free.pop(int(rng.integers(len(free))))
            assert adds[index]() == 0
            held.append(index)
        else:
            index = held.pop(int(rng.integers(len(held))))
            assert removes[index]() == 0
            free.append(index)
        if step % 1111 == 1110 or step == 9_999:
            worst = max(worst, apart(states[0].weights(), ridge(q20[held], y[held], CLASSES, lambda_)))
    assert states[1].add_many(y[held], q20[held]) == states[0].refit() == 0
    bits = states[0].everything() == states[1].everything()
    head = f"{kind}, N = {total}, D = {dim}, lambda {lambda_:g}"
    table.line(
        head, worst, 1e-9, f"weights after 10,000 changes; a refold has {'the same bits' if bits else 'OTHER BITS'}"
    )
    table.missed += not bits


def main() -> int:
    with threadpool_limits(1):
        return measured()


def measured() -> int:
    parser = argparse.ArgumentParser(description="What one example costs a state of the C core.")
    parser.add_argument("--kernels", help="an instruction set; else the fastest of the machine")
    kernel, table = kernels_of(parser.parse_args().kernels), Table()
    load().em_ridge_size.restype = ctypes.c_size_t
    print(f"kernels: {load().em_kernels_name(kernel).decode()}; {CLASSES} classes, medians")
    primal(table, kernel, 1280, bars=True)
    primal(table, kernel, 640, bars=False)
    for total, bar in ((25, 1 / 20), (100, None), (500, 1 / 30)):
        dual(table, kernel, total, bar)
    means(table, kernel)
    for kind, total, dim in (
        *(("dual", total, dim) for total, dim in ((25, 64), (25, 640), (100, 640), (500, 640), (500, 1280))),
        *(("primal", total, dim) for total, dim in ((50, 64), (7500, 64), (640, 640), (7500, 640), (2000, 1280))),
    ):
        for lambda_ in (1e-3, 0.1):
            drift(table, kernel, kind, total, dim, lambda_)
    return int(table.missed > 0)


if __name__ == "__main__":
    sys.exit(main())
