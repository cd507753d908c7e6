"""From the taught set to an answer: which head, its solution, and the temperature of its confidences.

All of it is a pure function of the taught set, so that forgetting still equals never having seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .calibration import fit_temperature, surprise
from .heads import Facts, Head, Solution, make_head
from .heads.base import Floats
from .heads.leaving import Ints

# Leaving out reads every example; beyond this many the temperature and the choice come from the first of them.
LARGEST = 1024
# Leaving out judges heads at one group a class less, where simple ones look better than they are: so a choice needs
# three groups of every class, and a difference of three standard errors.
LEAST_GROUPS = 3
CLEARLY = 3.0


@dataclass(frozen=True)
class Auto:
    """What `head="auto"` means: `default` while nothing can be left out, then what `choose_head` says."""

    default: Head


@dataclass(frozen=True)
class Solved:
    """The head that was chosen, what it found, and the factor of its scores in the confidences."""

    head: Head
    solution: Solution
    temperature: float


def solve(head: Head | Auto, facts: Facts) -> Solved:
    """The solution of a head, or of the one that `Auto` comes to. Raises HeadError."""
    sample = sample_of(facts)
    if sample is None:
        fixed = head.default if isinstance(head, Auto) else head
        return Solved(fixed, fixed.solve(facts), fixed.temperature)
    if isinstance(head, Auto):
        chosen, temperature = choose_head(head.default, sample)
        return Solved(chosen, chosen.solve(facts), temperature)
    _, y = sample.examples()
    return Solved(head, head.solve(facts), fit_temperature(head.leave_out(sample), y, head.temperature))


def choose_head(default: Head, facts: Facts) -> tuple[Head, float]:
    """The head and its temperature that examples left out speak for.

    The rule: shrinkage LDA, which is the nearest mean where the examples say little and learns the shape of the classes
    where they say more; but another candidate (the default, centred means, ridge) if its left-out confidences
    are less surprised by the labels (mean -log of the confidence in the right class) by more than `CLEARLY`
    standard errors of the paired difference. Equal heads so never take turns.
    """
    _, y = facts.examples()
    found = []
    several = _groups_of_classes(facts, len(y)).min() >= LEAST_GROUPS
    for head in candidates(default)[: None if several else 1]:
        scores = head.leave_out(facts)
        temperature = fit_temperature(scores, y, head.temperature)
        found.append((head, temperature, surprise(scores, y, temperature)))
    reference = found[0][2]
    best = min(found, key=lambda each: float(each[2].mean()))
    gain = reference - best[2]
    error = float(gain.std(ddof=1)) / np.sqrt(len(gain)) if len(gain) > 1 else np.inf
    return best[:2] if float(gain.mean()) > CLEARLY * error else found[0][:2]


def candidates(default: Head) -> list[Head]:
    """What `head="auto"` chooses from, the reference first."""
    heads = [make_head("lda"), default, make_head("centred"), make_head("ridge", lambda_=None)]
    return [head for i, head in enumerate(heads) if head.name not in [h.name for h in heads[:i]]]


def sample_of(facts: Facts) -> Facts | None:
    """The examples that can speak: of classes with at least two groups; None where there are no two such classes."""
    if not facts.single:
        return None
    z, y = facts.examples()
    z, y, groups = z[:LARGEST], y[:LARGEST], facts.groups()[:LARGEST]
    several = np.flatnonzero(_groups_of_classes(facts, LARGEST) > 1)
    if len(several) < 2:
        return None
    kept = np.isin(y, several)
    if kept.all() and len(several) == len(facts.labels) and len(y) == facts.total:
        return facts
    return subset(facts, z[kept], np.searchsorted(several, y[kept]), groups[kept], several)


def _groups_of_classes(facts: Facts, first: int) -> Ints:
    """How many groups each class has among the first examples, (C,)."""
    _, y = facts.examples()
    pairs = np.unique(np.stack([y[:first], facts.groups()[:first]]), axis=1)
    counts: Ints = np.bincount(pairs[0], minlength=len(facts.labels))
    return counts


def subset(facts: Facts, z: Floats, y: Ints, groups: Ints, classes: Ints) -> Facts:
    """The facts of some examples; `classes` are the numbers of their classes, which `y` counts anew."""
    counts = np.bincount(y, minlength=len(classes)).astype(np.float64)
    sums = np.zeros((len(classes), z.shape[1]))
    np.add.at(sums, y, z)
    return Facts(
        tuple(facts.labels[c] for c in classes),
        counts,
        sums,
        float((z * z).sum()),
        lambda: z.T @ z,
        lambda: (z, y),
        lambda: groups,
    )
