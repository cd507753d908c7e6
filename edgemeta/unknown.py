"""What resembles nothing taught: a limit on the distance to the nearest mean, at the rate of false alarms asked for.

The distance of z to what was taught is u(z) = min over c of ||z - m_c||^2 n_c / (n_c + 1): a mean of n examples is
itself off, so that E||z - m||^2 = sigma^2 (1 + 1 / n) for a new example of the class. The norm is the head's: under
LDA that of the shrunk covariance (Mahalanobis, as Lee, Lee, Lee, Shin 2018), else Euclidean.

The limit is a jackknife (Barber, Candes, Ramdas, Tibshirani 2021, section 1.2): u of each example with its own group
left out, pooled over the classes; of N such values the (1 - rate)(N + 1)-th smallest, between two of them by
interpolation. A new example of a taught class then exceeds it with a probability near `rate`. With fewer than
1 / rate - 1 values the bundle's background says how far examples lie from means of so many shots (Euclidean), and
without one nothing can be said.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .errors import OptionError
from .heads import Facts, Head
from .heads.base import Floats
from .heads.lda import LDA
from .heads.leaving import Folds
from .heads.means import Euclidean

if TYPE_CHECKING:
    from .background import Background
    from .sample import Sample


@dataclass(frozen=True)
class Strangeness:
    """u of inputs, and its limit (None where nothing can be said).

    means (C, D), factors (C,): n / (n + 1). metric: z to Sigma^-1 z, None for the Euclidean norm.
    """

    means: Floats
    factors: Floats
    metric: Callable[[Floats], Floats] | None
    limit: float | None

    def of(self, z: Floats) -> Floats:
        """u (N,) of embeddings (N, D)."""
        solved, means = (z, self.means) if self.metric is None else (self.metric(z), self.metric(self.means))
        squares = np.einsum("nd,nd->n", solved, z)[:, None] + np.einsum("cd,cd->c", means, self.means)
        far: Floats = np.maximum((squares - 2.0 * solved @ self.means.T) * self.factors, 0.0).min(axis=1)
        return far


def check_rate(rate: object) -> float | None:
    """`unknown=`: None, or a share above 0 and at most one half. Raises OptionError."""
    if rate is None:
        return None
    if isinstance(rate, bool) or not isinstance(rate, (int, float, np.floating)) or not 0.0 < rate <= 0.5:
        raise OptionError(f"unknown is the share of known inputs that may be rejected, above 0 to 0.5, not {rate!r}")
    return float(rate)


def measure(
    rate: float | None, head: Head, facts: Facts, sample: Sample | None, background: Background | None
) -> Strangeness:
    """How strange inputs are for a taught set, and the limit for a `rate` (None: no limit)."""
    lda = head if isinstance(head, LDA) and sample is not None else None
    left = np.empty(0) if sample is None else left_out(lda, sample.facts)
    factors = facts.weighed[1] / (facts.weighed[1] + 1.0)
    if rate is None or len(left) + 1 >= 1.0 / rate - 1e-9:
        metric = lda.metric(sample.facts) if lda is not None and sample is not None else None
        return Strangeness(facts.means, factors, metric, None if rate is None else quantile(left, rate))
    limit = None
    if background is not None:
        shots = len(facts.counts) / float((1.0 / np.maximum(facts.weighed[1], 1.0)).sum())
        limit = background.threshold(shots, len(facts.labels), rate)
    return Strangeness(facts.means, factors, None, limit)


def left_out(lda: LDA | None, facts: Facts) -> Floats:
    """u of each example without its group, by the head's norm; of those whose class is still there."""
    _, y = facts.examples()
    folds = Folds(y, facts.groups(), facts.counts, None if facts.prior is None else facts.prior.counts)
    far = (Euclidean() if lda is None else lda).leave_out_distances(facts)
    known = ~folds.gone[np.arange(len(y)), y]
    left: Floats = (far * np.where(folds.gone, 1.0, folds.worth / (folds.worth + 1.0)))[known].min(axis=1)
    return np.maximum(left, 0.0)


def quantile(values: Floats, rate: float) -> float:
    """The (1 - rate)(N + 1)-th smallest of N values, interpolated; needs N + 1 >= 1 / rate."""
    order = np.sort(values)
    at = min((1.0 - rate) * (len(order) + 1.0), float(len(order))) - 1.0
    return float(np.interp(at, np.arange(len(order)), order))
