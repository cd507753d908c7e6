"""A state of the core in C through ctypes, and what a fit from nothing would say in its place."""

from __future__ import annotations

import ctypes

import numpy as np
from library import load, memory, pointer

from edgemeta.normalisation import Normalisation, to_float

MEANS, DUAL, PRIMAL = 1, 2, 3
KINDS = {"euclidean": (MEANS, 1), "cosine": (MEANS, 2), "centred": (MEANS, 3), "dual": (DUAL, 0), "primal": (PRIMAL, 0)}


class Options(ctypes.Structure):
    _fields_ = (
        ("kind", ctypes.c_int),
        ("dim", ctypes.c_uint32),
        ("classes", ctypes.c_uint32),
        ("examples", ctypes.c_uint32),
        ("means", ctypes.c_int),
        ("lambda_", ctypes.c_double),
        ("balance", ctypes.c_int),
    )


def state_size(options: Options) -> int:
    function = load().em_state_size
    function.restype = ctypes.c_size_t
    return function(ctypes.byref(options))


class State:
    """One state; calls return the status."""

    def __init__(self, kernel, kind, dim, classes, *, examples=0, lambda_=0.1, balance=False) -> None:
        self.dim, self.classes, self.lambda_, self.balance = dim, classes, lambda_, balance
        options = Options(KINDS[kind][0], dim, classes, examples, KINDS[kind][1], lambda_, int(balance))
        size = state_size(options)
        assert size > 0
        self.place, self.at = memory(size), ctypes.c_void_p()
        given = (ctypes.c_size_t(size), kernel, ctypes.byref(options), ctypes.byref(self.at))
        assert load().em_state_init(self.place, *given) == 0
        load().em_state_sum.restype = ctypes.POINTER(ctypes.c_double)

    def add(self, of_class: int, q20: np.ndarray) -> int:
        return load().em_state_add(self.at, ctypes.c_uint32(of_class), pointer(q20))

    def remove(self, of_class: int, q20: np.ndarray) -> int:
        return load().em_state_remove(self.at, ctypes.c_uint32(of_class), pointer(q20))

    def add_many(self, y: np.ndarray, q20: np.ndarray) -> int:
        y, q20 = np.ascontiguousarray(y, dtype=np.uint32), np.ascontiguousarray(q20, dtype=np.int32)
        return load().em_state_add_many(self.at, pointer(y), pointer(q20), ctypes.c_uint32(len(y)))

    def add_sums(self, of_class: int, count: int, total: np.ndarray, moment: np.ndarray | None = None) -> int:
        given = (ctypes.c_uint32(of_class), ctypes.c_uint64(count), pointer(total), pointer(moment))
        return load().em_state_add_sums(self.at, *given)

    def refit(self) -> int:
        return load().em_state_refit(self.at)

    def set_lambda(self, lambda_: float) -> int:
        return load().em_state_set_lambda(self.at, ctypes.c_double(lambda_))

    def counts(self) -> list[int]:
        return [load().em_state_count(self.at, c) for c in range(self.classes)]

    def total(self) -> int:
        return load().em_state_total(self.at)

    def sums(self) -> np.ndarray:
        rows = [np.ctypeslib.as_array(load().em_state_sum(self.at, c), (self.dim,)) for c in range(self.classes)]
        return np.stack(rows).copy()

    def weights(self) -> tuple[np.ndarray, np.ndarray]:
        weights, bias = np.full((self.classes, self.dim), np.nan), np.full(self.classes, np.nan)
        assert load().em_state_weights(self.at, pointer(weights), pointer(bias)) == 0
        return weights, bias

    def predict(self, z: np.ndarray, *, scores: bool = True) -> tuple[int, np.ndarray]:
        """From float32 or, for int32, from Q20."""
        out = np.full(self.classes, 7.0, dtype="f4")
        call = load().em_state_predict if z.dtype == np.float32 else load().em_state_predict_q20
        return call(self.at, pointer(z), pointer(out if scores else None)), out

    def everything(self) -> tuple:
        """All that can be seen, to be compared with what it was."""
        weights, bias = self.weights()
        return self.counts(), self.total(), self.sums().tobytes(), weights.tobytes(), bias.tobytes()


def embeddings(rng: np.random.Generator, y: np.ndarray, dim: int, common: float = 1.0) -> np.ndarray:
    """Q20 of norm 1 around class means; `common`: how much all of them share, as features behind a ReLU do."""
    centres = np.random.default_rng(dim).normal(size=(int(y.max(initial=0)) + 1, dim))
    raw = centres[y] + rng.normal(size=(len(y), dim)) + common
    return Normalisation().apply(raw)


def ridge(q20: np.ndarray, y: np.ndarray, classes: int, lambda_: float, *, balance: bool = False):
    """Weights (classes, dim) and bias of ridge by NumPy, in the smaller form; zeros and -inf where a class is empty."""
    z, counts = to_float(q20), np.bincount(y, minlength=classes)
    total, dim = z.shape
    weights, bias = np.zeros((classes, dim)), np.full(classes, -np.inf)
    if total == 0:
        return weights, bias
    known = counts > 0
    target = np.where(known, 1.0 / np.maximum(counts, 1) if balance else 1.0, 0.0)
    offset, mean = counts * target / total, z.sum(axis=0) / total
    centred, targets = z - mean, np.eye(classes)[y] * target - offset
    if total < dim:
        weights = (centred.T @ np.linalg.solve(centred @ centred.T + lambda_ * np.eye(total), targets)).T
    else:
        weights = np.linalg.solve(centred.T @ centred + lambda_ * np.eye(dim), centred.T @ targets).T
    bias[known] = (offset - weights @ mean)[known]
    return weights, bias


def apart(found, expected) -> float:
    """Norm-relative difference of weights, of bias where there is one; the larger."""
    weights, bias = found
    known = np.isfinite(expected[1])
    assert (known == np.isfinite(bias)).all() and np.isfinite(weights).all()
    norm = max(np.linalg.norm(expected[0]), 1e-300)
    size = max(norm, np.abs(expected[1][known]).max(initial=0.0))
    of_bias = np.abs(bias[known] - expected[1][known]).max(initial=0.0) / size
    return max(np.linalg.norm(weights - expected[0]) / norm if norm > 1e-13 else np.abs(weights).max(), of_bias)
