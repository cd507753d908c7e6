"""How many of a user's examples a bundle's prior classes count for: the factory's variances and the user's own.

The prior mean counts as kappa = within / between examples (Efron and Morris 1975). The factory's two variances are
themselves estimates for the users that it saw. What this user taught of the prior classes corrects both, by moments:
scatter inside classes for `within`; how far class means lie from the prior means, less what `within` explains, for
`between`. The factory's value counts as `STRENGTH` degrees of freedom, so that few examples move it little, and whoever
is unlike the factory's users is soon believed.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .prior import PriorClasses
from .statistics import Statistics

STRENGTH = 10.0


def prior_weight(prior: PriorClasses, taught: Statistics, worth: Mapping[str, float], *, sealed: bool) -> float:
    """kappa for what is taught. worth: how many independent examples each class is worth (a burst is one). sealed: the
    sum of squares is not whole, so `within` stays the factory's."""
    counts, sums = taught.counts, taught.sums
    # The expected scatter over `within`: frames of one burst that are all alike scatter only by n - n / worth.
    within, free = prior.within, sum(counts[label] - counts[label] / worth[label] for label in sorted(counts))
    if not sealed and free > 0:
        scatter = taught.squares - sum(float(sums[label] @ sums[label]) / counts[label] for label in sorted(counts))
        within = (STRENGTH * within + max(scatter, 0.0)) / (STRENGTH + free)
    between, classes = STRENGTH * prior.between, 0
    for label, mean in zip(prior.labels, prior.means, strict=True):
        if label in counts:
            apart = sums[label] / counts[label] - mean.astype(np.float64)
            between += float(apart @ apart) - within / worth[label]
            classes += 1
    # A user exactly like the factory's may come out below zero by chance.
    between = max(between / (STRENGTH + classes), 0.1 * prior.between)
    return within / between
