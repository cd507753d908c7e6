"""How well a regressor knows what it was taught: every example predicted without its group."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..heads.leaving import Folds
from ..terminal import table
from .facts import NumberFacts
from .fit import LeftOut, Regression, folds_of
from .targets import Floats

# Fewer independent examples than this say too little about an error, and about the share that an interval holds.
ENOUGH = 5
ENOUGH_FOR_COVERAGE = 20
# So many standard deviations should hold 95 %.
WIDTH = 1.96


@dataclass(frozen=True)
class TargetReport:
    """One output. rmse: the error to expect, in its own units. r2: 1 less its mean square over that of predicting the
    mean of the other groups; 0 is no better, negative is worse. coverage: percent of left-out targets within 1.96
    std. None where there are too few to say, r2 also where all targets are alike."""

    rmse: float | None
    r2: float | None
    coverage: float | None


@dataclass(frozen=True)
class NumberReport:
    """What `Regressor.report()` gives. groups: independent examples; those of one group count as one."""

    regression: str
    examples: int
    groups: int
    targets: tuple[TargetReport, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [f"{self.examples} examples, {self.groups} of them independent, {self.regression}"]
        rows = [("target", "expected error", "R^2", "within 1.96 std")]
        for number, each in enumerate(self.targets):
            error = "too few examples to say" if each.rmse is None else f"{each.rmse:.3g}"
            r2 = "" if each.r2 is None else f"{each.r2:.2f}"
            coverage = "too few to say" if each.coverage is None else f"{each.coverage:.0f} %"
            rows.append((str(number), error, r2, coverage))
        return "\n".join([*lines, table(rows)])


def make_report(regression: Regression, facts: NumberFacts) -> NumberReport:
    """From leaving out each group; with a single one there is nothing to say, and nothing is left out."""
    outputs = len(facts.unit)
    if facts.independent < ENOUGH:
        nothing = (TargetReport(None, None, None),) * outputs
        return NumberReport(regression.name, facts.total, facts.independent, nothing)
    left, folds = regression.leave_out(facts), folds_of(facts.groups())
    # A group counts once, however many examples it has.
    weights = 1.0 / np.bincount(folds.groups)[folds.groups] / facts.independent
    base = weights @ np.square(_about_the_others(facts, folds))
    error = weights @ np.square(left.residuals)
    coverage = _coverage(left, weights, facts.independent)
    targets = tuple(
        TargetReport(float(np.sqrt(e)), float(1.0 - e / b) if b > 0.0 else None, c)
        for e, b, c in zip(error, base, coverage, strict=True)
    )
    return NumberReport(regression.name, facts.total, facts.independent, targets)


def _about_the_others(facts: NumberFacts, folds: Folds) -> Floats:
    """Targets (N, k) less the mean of those of other groups."""
    y = facts.examples()[1]
    taken = np.zeros((facts.independent, y.shape[1]))
    np.add.at(taken, folds.groups, y)
    sizes = np.bincount(folds.groups)[:, None]
    means = (y.sum(axis=0) - taken) / (facts.total - sizes)
    found: Floats = (y - means[folds.groups]) * facts.unit
    return found


def _coverage(left: LeftOut, weights: Floats, groups: int) -> list[float | None]:
    """In percent, of each output."""
    if left.std is None or groups < ENOUGH_FOR_COVERAGE:
        return [None] * left.residuals.shape[1]
    held = np.abs(left.residuals) <= WIDTH * left.std
    return [float(100.0 * share) for share in weights @ held]
