"""Prior classes: what the factory knows of some classes, which a user's few examples are combined with.

Empirical Bayes (Efron, Morris 1975; Morris 1983, section 1): a user's class mean lies around the prior mean mu
with variance `between`, an example around the user's class mean with variance `within`. The best estimate of the user's
mean from n examples of mean m is (n m + kappa mu) / (n + kappa), kappa = within / between: the prior counts as kappa
examples.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import DataError, LabelError, OptionError
from .labels import check_label
from .normalisation import NORM_SLACK, to_float
from .options import check_positive

if TYPE_CHECKING:
    from .journal import ExampleId, Journal

MAX_LABELS = 10_000
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PriorClasses:
    """labels: sorted, 1 to 10,000, as `check_label` gives them. means: float32 (P, D) of normalised embeddings.

    within: the variance of an example around its class's mean for one user. between: that of a user's class mean around
    the prior mean. Both are summed over the dimensions, in units of squared distance, above 0. Raises OptionError,
    LabelError.
    """

    labels: tuple[str, ...]
    means: NDArray[np.float32]
    within: float
    between: float

    def __post_init__(self) -> None:
        labels = tuple(self.labels) if isinstance(self.labels, (tuple, list)) else ()
        if not 1 <= len(labels) <= MAX_LABELS:
            raise OptionError(f"prior classes: labels are a tuple of 1 to {MAX_LABELS} labels")
        for label in labels:
            if check_label(label) != label:
                raise LabelError(f"prior classes: the label {label!a} is not in the normal form NFC")
        if any(a >= b for a, b in pairwise(labels)):
            raise OptionError("prior classes: the labels are not in ascending order, or one is there twice")
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "means", _checked_means(self.means, len(labels)))
        for name in ("within", "between"):
            check_positive(getattr(self, name), f"prior classes: {name}")
            object.__setattr__(self, name, float(getattr(self, name)))
        check_positive(self.kappa, "prior classes: within / between")

    @property
    def kappa(self) -> float:
        """How many of the user's examples the prior counts as."""
        return self.within / self.between

    @property
    def dim(self) -> int:
        """D, the length of a mean."""
        return int(self.means.shape[1])


def _checked_means(means: object, count: int) -> NDArray[np.float32]:
    """The means, not to be written to. A view of what cannot be written to anyway is not copied."""
    if not isinstance(means, np.ndarray) or means.dtype != np.float32 or means.ndim != 2:
        raise OptionError("prior classes: the means are float32 (P, D)")
    if len(means) != count or not means.shape[1]:
        raise OptionError(f"prior classes: {count} labels, and means of shape {means.shape}")
    norms = np.sqrt(np.einsum("pd,pd->p", means, means, dtype=np.float64))
    if not (norms <= 1.0 + NORM_SLACK).all():
        raise OptionError("prior classes: a mean holds NaN or infinity, or its norm is above 1")
    kept = means.copy() if means.flags.writeable else means
    kept.flags.writeable = False
    return kept


def prior_from_journal(journal: str | os.PathLike[str] | Journal) -> PriorClasses:
    """The prior of the classes that a learner was taught, the examples' groups being users (or devices, sessions).

    An example without a group is a user of its own. `within` and `between` are pooled over the classes by the analysis
    of variance of the one-way random-effects model with unbalanced data (Searle, Casella, McCulloch 1992, chapter 3), 0
    where `between` comes out negative. A mean weighs its users by 1 / (between + within / n), and the variance of that
    mean is added to `between`, which is around the mean that is stored: users who do not differ at all give a kappa of
    as many examples as a class has. Where users cannot be told from noise, because none gave several examples of a
    class or no class has two users, a warning says so and that kappa is taken to be 1: the prior is one example.

    Raises DataError for an empty journal, sealed examples, and examples that do not vary; JournalError
    (JournalMismatchError for the journal of a `Regressor`), LabelError.
    """
    from .journal import Journal

    if isinstance(journal, Journal):
        return _prior(journal)
    with Journal.peek(journal) as opened:
        return _prior(opened)


class _Users(NamedTuple):
    """One class: counts (G,) and means (G, D) of its users, and the squares of examples around those means."""

    counts: Floats
    means: Floats
    squares: float


def _prior(journal: Journal) -> PriorClasses:
    from .journal.opening import check_targets

    check_targets(str(journal.path or "the journal"), set(journal.targets), 0)
    if journal.seals:
        raise DataError("examples were sealed into sums (budget=), and a prior needs each with its group")
    members: dict[str, dict[object, list[ExampleId]]] = {}
    for example, entry in journal.live.items():
        members.setdefault(entry.label, {}).setdefault(entry.group or example, []).append(example)
    if not members:
        raise DataError("nothing was taught, so there is nothing to make prior classes from")
    labels = tuple(sorted(members))
    classes = [_users(journal, members[label].values()) for label in labels]
    within, between, known = _spread(classes)
    means, errors = zip(*(_mean(users, within, between) for users in classes), strict=True)
    if known:
        between += float(np.mean(errors))
    return PriorClasses(labels, np.stack(means).astype(np.float32), within, between)


def _users(journal: Journal, groups: Iterable[list[ExampleId]]) -> _Users:
    counts, means, squares = [], [], 0.0
    for ids in groups:
        z = to_float(journal.embeddings(ids))
        counts.append(len(z))
        means.append(z.mean(axis=0))
        squares += float(np.square(z - means[-1]).sum())
    return _Users(np.array(counts, dtype=np.float64), np.stack(means), squares)


def _spread(classes: Sequence[_Users]) -> tuple[float, float, bool]:
    """within, between (0 or more), and whether both are known. Mean squares set equal to what is expected of them:

    E[sum ||z - m_cg||^2] = within sum (N_c - G_c), and
    E[sum n_cg ||m_cg - m_c||^2] = within sum (G_c - 1) + between sum (N_c - sum n_cg^2 / N_c).
    """
    free_within = sum(float(c.counts.sum()) - len(c.counts) for c in classes)
    free_between = sum(len(c.counts) - 1 for c in classes)
    worth = sum(float(c.counts.sum() - (c.counts @ c.counts) / c.counts.sum()) for c in classes)
    apart = sum(_apart(c) for c in classes)
    squares = sum(c.squares for c in classes)
    if free_within + free_between == 0 or squares + apart == 0.0 or (free_within and squares == 0.0):
        raise DataError("the examples of a class do not differ (or there is only one), so their variance is not known")
    if not free_within:
        _assume("no group gave several examples of a class, so how users differ cannot be told from how examples do")
        return apart / free_between / 2, apart / free_between / 2, False
    within = squares / free_within
    if not free_between:
        _assume("no class was taught by two groups, so how users differ is not known")
        return within, within, False
    return within, max(0.0, (apart - within * free_between) / worth), True


def _assume(why: str) -> None:
    warnings.warn(f"{why}; a prior class is taken to be worth one example (kappa 1)", stacklevel=5)


def _apart(users: _Users) -> float:
    """sum n_g ||m_g - m||^2, m the mean of all examples."""
    mean = users.counts @ users.means / users.counts.sum()
    return float(users.counts @ np.square(users.means - mean).sum(axis=1))


def _mean(users: _Users, within: float, between: float) -> tuple[Floats, float]:
    """The class's mean (D,) of least variance, each user's weighed by the inverse of its own, and that variance."""
    weights = 1.0 / (between + within / users.counts)
    return weights @ users.means / weights.sum(), float(1.0 / weights.sum())
