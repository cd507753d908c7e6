"""Learning a regression prior from background tasks: empirical Bayes, without gradients.

Task t has features Phi_t (n, p), p = D + 1, and targets Y_t (n, k): y_j ~ N(Phi K0_j, s_j^2 M), M = I + Phi C Phi^T
with C = Lambda0^-1 (the marginal likelihood that ALPaCA's last layer is trained on, Harrison et al. 2018). With the
posterior mean K0 + C u, u = Phi^T M^-1 (Y - Phi K0), and covariance s_j^2 (C - C Phi^T M^-1 Phi C), one round is

    E and M   K0 <- K0 + C mean(u)
              C  <- C + C (1/(T k) sum_tj (u_j - mean u_j)(u_j - mean u_j)^T / s_j^2 - 1/T sum_t Phi^T M^-1 Phi) C
    then      s_j^2 <- 1/N sum_t (Y - Phi K0)_j^T M^-1 (Y - Phi K0)_j

EM for a linear mixed model (Laird and Ware 1982), its last step maximising the likelihood itself (ECME, Liu and Rubin
1994): no round can lose. C is averaged with `WORTH` tasks that know nothing, so that few tasks leave it positive
definite.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..errors import InputError
from .prior import Task, with_one
from .targets import Floats, check_targets

WORTH = 1.0
# The noise is at least so much of the mean square of the targets.
LEAST_NOISE = 1e-12
# A round that gains less log likelihood than this, per target, is the last.
GAIN = 1e-5
# Before the first round so much of what the pooled fit leaves is noise.
FIRST_NOISE = 0.1


class _Batch(NamedTuple):
    """Tasks of one size: phi (T, n, p), y (T, n, k). rest (k,): squares that no phi can explain, rows: their number."""

    phi: Floats
    y: Floats
    rest: Floats
    rows: int


class _Sums(NamedTuple):
    """u (T, p, k); spent (p, p): sum Phi^T M^-1 Phi; squares (k,): sum r^T M^-1 r; logdet: sum log |M|."""

    u: Floats
    spent: Floats
    squares: Floats
    logdet: float


def learn(tasks: Sequence[Task], rounds: int) -> tuple[Floats, Floats, Floats, list[float]]:
    """K0 (p, k), Lambda0 (p, p), s^2 (k,), and the penalised log likelihood after each round. Raises InputError."""
    batches, count = _batches(_checked(tasks))
    total = sum(batch.rows for batch in batches)
    mean, first, noise = _start(batches, total)
    least = np.maximum(LEAST_NOISE * sum(_squares(batch) for batch in batches) / total, 1e-90)
    noise, covariance, history = np.maximum(noise, least), first, list[float]()
    sums = _sums(batches, mean, covariance)
    for _ in range(rounds):
        mean, covariance = _round(mean, covariance, noise, sums, first, count)
        sums = _sums(batches, mean, covariance)
        noise = np.maximum(sums.squares / total, least)
        history.append(_likelihood(sums, noise, total, covariance, first))
        if len(history) > 1 and history[-1] - history[-2] < GAIN * total:
            break
    precision = np.linalg.inv(covariance)
    return mean, (precision + precision.T) / 2, noise, history


def _round(
    mean: Floats, covariance: Floats, noise: Floats, sums: _Sums, first: Floats, count: int
) -> tuple[Floats, Floats]:
    middle = sums.u.mean(axis=0)
    away = (sums.u - middle) / np.sqrt(noise)
    outputs = len(noise)
    seen = np.einsum("tpk,tqk->pq", away, away, optimize=True) / (count * outputs) - sums.spent / count
    found = covariance + covariance @ seen @ covariance
    found = (count * outputs * found + WORTH * first) / (count * outputs + WORTH)
    return mean + covariance @ middle, (found + found.T) / 2


def _sums(batches: Sequence[_Batch], mean: Floats, covariance: Floats) -> _Sums:
    u, spent, logdet = [], np.zeros_like(covariance), 0.0
    squares = np.zeros(mean.shape[1])
    for phi, y, rest, _ in batches:
        factor = np.linalg.cholesky(np.eye(phi.shape[1]) + phi @ covariance @ phi.transpose(0, 2, 1))
        white, residual = np.linalg.solve(factor, phi), np.linalg.solve(factor, y - phi @ mean)
        u.append(white.transpose(0, 2, 1) @ residual)
        flat = white.reshape(-1, white.shape[2])
        spent += flat.T @ flat
        squares += np.square(residual).sum(axis=(0, 1)) + rest
        logdet += 2.0 * float(np.log(np.diagonal(factor, axis1=1, axis2=2)).sum())
    return _Sums(np.concatenate(u), spent, squares, logdet)


def _likelihood(sums: _Sums, noise: Floats, total: int, covariance: Floats, first: Floats) -> float:
    """Log likelihood less a constant, and what `WORTH` tasks that know nothing say of C."""
    fit = len(noise) * sums.logdet + total * np.log(noise).sum() + (sums.squares / noise).sum()
    known = np.linalg.slogdet(covariance)[1] + np.trace(np.linalg.solve(covariance, first))
    return -0.5 * float(fit + WORTH * known)


def _start(batches: Sequence[_Batch], total: int) -> tuple[Floats, Floats, Floats]:
    """K0 by a pooled fit, C a multiple of one that explains what that leaves, and s^2."""
    phi = np.concatenate([batch.phi.reshape(-1, batch.phi.shape[2]) for batch in batches])
    y = np.concatenate([batch.y.reshape(-1, batch.y.shape[2]) for batch in batches])
    moment = phi.T @ phi
    size = np.trace(moment) / len(moment)
    mean = np.linalg.solve(moment + 1e-3 * size * np.eye(len(moment)), phi.T @ y)
    left = np.square(y - phi @ mean).sum(axis=0) + sum(batch.rest for batch in batches)
    spread = (1.0 / FIRST_NOISE - 1.0) / (np.trace(moment) / total)
    return mean, spread * np.eye(len(moment)), FIRST_NOISE * left / total


def _squares(batch: _Batch) -> Floats:
    found: Floats = np.square(batch.y).sum(axis=(0, 1)) + batch.rest
    return found


def _checked(tasks: Sequence[Task]) -> list[tuple[Floats, Floats]]:
    """Features with one (n, p), and targets (n, k), of tasks that are alike. Raises InputError."""
    found: list[tuple[Floats, Floats]] = []
    try:
        tasks = list(tasks)
    except TypeError:
        raise InputError(f"tasks are a list of pairs, not {type(tasks).__name__}") from None
    for number, task in enumerate(tasks):
        try:
            given, targets = task
            z, y = np.asarray(given, dtype=np.float64), np.asarray(targets)
        except (TypeError, ValueError) as error:
            raise InputError(f"task {number}: a pair of arrays Z (n, D) and Y (n, k): {error}") from None
        if z.ndim != 2 or not z.size or not y.size or not np.isfinite(z).all():
            raise InputError(f"task {number}: Z is finite and of shape (n, D), not {z.shape}, and Y is not empty")
        if found and z.shape[1] != found[0][0].shape[1] - 1:
            raise InputError(f"task {number}: embeddings of {z.shape[1]} numbers, and others before it")
        outputs = found[0][1].shape[1] if found else y.shape[1] if y.ndim == 2 else 1
        try:
            found.append((with_one(z), check_targets(y, len(z), outputs)))
        except InputError as error:
            raise InputError(f"task {number}: {error}") from None
    if len(found) < 2:
        raise InputError("a prior is learned from several tasks: at least 2")
    return found


def _batches(tasks: Sequence[tuple[Floats, Floats]]) -> tuple[list[_Batch], int]:
    """Tasks of one size together, those with more examples than features shortened to as many; and their number."""
    by_size: dict[int, list[tuple[Floats, Floats, Floats, int]]] = {}
    for phi, y in tasks:
        rest, rows = np.zeros(y.shape[1]), len(y)
        if len(y) > phi.shape[1]:
            turn, short = np.linalg.qr(phi)
            kept = turn.T @ y
            rest = np.maximum(np.square(y).sum(axis=0) - np.square(kept).sum(axis=0), 0.0)
            phi, y = short, kept
        by_size.setdefault(len(y), []).append((phi, y, rest, rows))
    return [
        _Batch(np.stack(phis), np.stack(ys), sum(rests, np.zeros_like(rests[0])), sum(rows))
        for phis, ys, rests, rows in (zip(*each, strict=True) for each in by_size.values())
    ], len(tasks)
