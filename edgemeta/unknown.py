"""What resembles nothing taught: a limit on the distance to the nearest mean, at the rate of false alarms asked for.

The distance of z to what was taught is u(z) = min over c of ||z - m_c||^2 n_c / (n_c + 1): a mean of n examples is
itself off, so that E||z - m||^2 = sigma^2 (1 + 1 / n) for a new example of the class. The norm is the head's: under
LDA that of the shrunk covariance (Mahalanobis, as Lee, Lee, Lee, Shin 2018), else Euclidean.

The limit is a jackknife (Barber, Candes, Ramdas, Tibshirani 2021, section 1.2): u of each example with its own group
left out, pooled over the classes, each class alike; of N such values the (1 - rate)(N + 1)-th smallest, between two of
them by interpolation. A new example of a taught class then exceeds it with a probability near `rate`. Where classes are
of unequal size, N there is what the weighted values are worth, and the largest value has to do where that is too few.
With fewer than 1 / rate - 1 values the bundle's background says how far examples lie from means of so many shots
(Euclidean), and without one nothing can be said.
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
from .heads.leaving import Folds, Ints
from .heads.means import Euclidean
from .sample import MOST, cells_of, worth

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


def check_rate(rate: object, background: Background | None) -> float | None:
    """`unknown=`: None, or a share from 0.001 (the rarest that a background has) to 0.5; without a background at least
    0.002, for a sample never has more than 512 examples. Raises OptionError."""
    if rate is None:
        return None
    if isinstance(rate, bool) or not isinstance(rate, (int, float, np.floating)) or not 0.001 <= rate <= 0.5:
        raise OptionError(f"unknown is the share of known inputs that may be rejected, 0.001 to 0.5, not {rate!r}")
    if background is None and (MOST + 1) * rate < 1.0:
        raise OptionError(f"unknown={rate!r} needs a background; without one it is 0.002 to 0.5")
    return float(rate)


def measure(
    rate: float | None, head: Head, facts: Facts, sample: Sample | None, background: Background | None
) -> Strangeness:
    """How strange inputs are for a taught set, and the limit for a `rate` (None: no limit)."""
    folds = None if sample is None else _folds(sample.facts)
    means, worths = _means(facts, sample, folds)
    factors, limit, metric = worths / (worths + 1.0), None, None
    if sample is not None and folds is not None:
        if rate is not None:
            left, weights, cell = left_out(head, sample, folds)
            if len(np.unique(cell)) + 1.0 >= 1.0 / rate - 1e-9:
                limit = quantile(left, rate, weights, cell)
        metric = head.metric(sample.facts) if isinstance(head, LDA) else None
    if rate is not None and limit is None and background is not None:
        shots = len(worths) / float((1.0 / np.maximum(worths, 1.0)).sum())
        return Strangeness(means, factors, None, background.threshold(shots, len(worths), rate))
    return Strangeness(means, factors, metric, limit)


def _folds(facts: Facts) -> Folds:
    _, y = facts.examples()
    return Folds(y, facts.groups(), facts.counts, None if facts.prior is None else facts.prior.counts)


def _means(facts: Facts, sample: Sample | None, folds: Folds | None) -> tuple[Floats, Floats]:
    """The mean (C, D) of each class, and how many independent examples it is worth (C,).

    Those of the sample, for the limit comes from it: examples of larger sets lie nearer to means of all.
    """
    means = facts.means
    worths = facts.counts if facts.cells is None or not facts.single else facts.cells().astype(np.float64)
    if facts.prior is not None:
        worths = worths + facts.prior.counts
    if sample is not None and folds is not None:
        rank = {label: i for i, label in enumerate(facts.labels)}
        at = np.array([rank[label] for label in sample.facts.labels])
        here = sample.facts.weighed[1] > 0.0
        worths = np.array(worths)
        means[at[here]], worths[at[here]] = sample.facts.means[here], folds.whole[here]
    return means, worths


def left_out(head: Head, sample: Sample, folds: Folds) -> tuple[Floats, Floats, Ints]:
    """u of each example without its group, by the head's norm; their weights, which sum to 1, each class alike; and
    their cells. Of those whose class is still there without the group."""
    _, y = sample.facts.examples()
    far = (head if isinstance(head, LDA) else Euclidean()).leave_out_distances(sample.facts)
    known = ~folds.gone[np.arange(len(y)), y]
    near = far * np.where(folds.gone, 1.0, folds.worth / (folds.worth + 1.0))
    left: Floats = np.maximum(near[known].min(axis=1, initial=np.inf), 0.0)
    weights = sample.weights[known]
    return left, weights / weights.sum() if len(weights) else weights, cells_of(sample.facts)[known]


def quantile(values: Floats, rate: float, weights: Floats | None = None, cell: Ints | None = None) -> float:
    """The (1 - rate)(N + 1)-th smallest of N values, interpolated, at most the largest.

    weights (N,), which sum to 1: N is then what they are worth, those of one cell being one, and a value's place is the
    weight up to its middle. Where that is too few for the rate, classes are not weighed alike but cells.
    """
    cell = np.arange(len(values)) if cell is None else cell
    alike = 1.0 / (len(np.unique(cell)) * np.bincount(cell)[cell])
    if weights is None or (worth(weights, cell) + 1.0) * rate < 1.0:
        weights = alike
    order, count = np.argsort(values), worth(weights, cell)
    places = (np.cumsum(weights[order]) - 0.5 * weights[order]) * count + 0.5  # 1 to N for equal weights
    return float(np.interp((1.0 - rate) * (count + 1.0), places, values[order]))
