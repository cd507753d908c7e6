"""The F distribution's tail without SciPy."""

from __future__ import annotations

import math

_TINY = 1e-300  # stands for 0 in Lentz's algorithm
_STEPS = 10_000  # of the continued fraction; it takes about sqrt(max(a, b))


def f_tail(x: float, upper: float, lower: float) -> float:
    """P(F > x) of the F distribution with `upper` and `lower` degrees of freedom, any positive numbers.

    Small probabilities keep their relative precision, about 1e-12.
    """
    if x <= 0.0:
        return 1.0
    return beta_share(lower / (lower + upper * x), lower / 2, upper / 2)


def beta_share(x: float, a: float, b: float) -> float:
    """I_x(a, b), the regularised incomplete beta function (DLMF 8.17.2), for 0 <= x <= 1 and positive a, b."""
    if x <= 0.0 or x >= 1.0:
        return float(x >= 1.0)
    log_front = a * math.log(x) + b * math.log1p(-x) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    # The fraction converges fast below the mean; above it the symmetry I_x(a, b) = 1 - I_(1 - x)(b, a) helps.
    if x < (a + 1) / (a + b + 2):
        return math.exp(log_front) * _beta_fraction(x, a, b) / a
    return 1.0 - math.exp(log_front) * _beta_fraction(1 - x, b, a) / b


def _beta_fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of I_x(a, b), DLMF 8.17.22, by Lentz's algorithm (Thompson, Barnett 1986)."""
    c, d = 1.0, 1.0 / _away_from_zero(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _STEPS):
        before = value
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1.0 / _away_from_zero(1 + term * d)
            c = _away_from_zero(1 + term / c)
            value *= c * d
        if abs(value - before) < 1e-15 * abs(value):
            break
    return value


def _away_from_zero(x: float) -> float:
    return x if abs(x) > _TINY else _TINY
