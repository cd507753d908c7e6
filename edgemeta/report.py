"""How well a learner knows what it was taught: every example predicted by the head without its group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .calibration import calibration_error, confidences, fit_temperature, wilson
from .heads import Facts, Head
from .heads.base import Floats, leave_out_as_new
from .terminal import printable, table

# Fewer independent groups than this say too little: the 95 % interval of a share of 5 is 50 points wide or more.
ENOUGH_FOR_A_CLASS = 5
ENOUGH_IN_ALL = 10
# Confidences need as many to be judged.
ENOUGH_FOR_CONFIDENCES = 100
# An example looks mislabelled when the others give its own label less than this, and another more than half.
SUSPICIOUS = 0.05
SHOWN = 10  # suspects in the text; all are in the record


@dataclass(frozen=True)
class ClassReport:
    """One class: `accuracy` in percent expected on new inputs, None with too few examples to say.

    groups: independent ones; examples of one group count as one. taken_for: what left-out examples were taken for
    instead, with how many, the most frequent first.
    """

    label: str
    examples: int
    groups: int
    accuracy: float | None
    taken_for: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Suspect:
    """An example that looks mislabelled: the others find `looks_like` instead, with this confidence (0 to 1)."""

    example: str
    label: str
    looks_like: str
    confidence: float


@dataclass(frozen=True)
class Report:
    """What `Learner.report()` gives. Shares in percent; None where there are too few examples to say.

    accuracy: expected on new inputs, each class alike: the share of left-out examples that are right, averaged with how
    sure the head is of its answers to them, in which there is less chance (a smoothed estimate, Glick 1978); low and
    high: its 95 % interval (Wilson, for as many groups as classes of one size would need to say as much).
    calibration_error: how far confidences are off on average, in points. suspects: most suspicious first.
    """

    head: str
    examples: int
    groups: int
    accuracy: float | None
    low: float | None
    high: float | None
    calibration_error: float | None
    classes: tuple[ClassReport, ...]
    suspects: tuple[Suspect, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [f"{self.examples} examples of {len(self.classes)} classes, head {self.head}"]
        if self.accuracy is None:
            lines.append("expected accuracy: too few examples to say")
        else:
            lines.append(f"expected accuracy {self.accuracy:.0f} % ({self.low:.0f} to {self.high:.0f})")
        rows = [("class", "examples", "expected", "taken for")]
        for each in self.classes:
            expected = "too few to say" if each.accuracy is None else f"{each.accuracy:.0f} %"
            taken = ", ".join(f"{printable(label)} {count}" for label, count in each.taken_for[:3])
            rows.append((printable(each.label), str(each.examples), expected, taken))
        lines.append(table(rows))
        if self.calibration_error is not None:
            lines.append(f"confidences are off by {self.calibration_error:.0f} points on average")
        for suspect in self.suspects[:SHOWN]:
            lines.append(
                f"looks mislabelled: {suspect.example}, a {printable(suspect.label)} "
                f"that looks like {printable(suspect.looks_like)} ({100 * suspect.confidence:.0f} %)"
            )
        if len(self.suspects) > SHOWN:
            lines.append(f"and {len(self.suspects) - SHOWN} more")
        return "\n".join(lines)


class _LeftOut:
    """Every example as the others judge it.

    known (N,): whether its class is still there without its group. weights (N,): a group counts once, however many
    frames it has. as_new (N, C): scores as new examples would get them, to which confidences are fitted.
    """

    def __init__(self, facts: Facts, scores: Floats, as_new: Floats) -> None:
        _, self.y = facts.examples()
        self.labels, self.scores, self.as_new = facts.labels, scores, as_new
        self.taught = np.flatnonzero(facts.counts)  # a bundle's prior classes may have no examples
        self.groups = np.unique(facts.groups(), return_inverse=True)[1]
        self.known = np.isfinite(scores[np.arange(len(self.y)), self.y])
        self.predicted, self.right = scores.argmax(axis=1), as_new.argmax(axis=1) == self.y
        self.weights = 1.0 / np.bincount(self.groups)[self.groups]

    def shares(self, scores: Floats, temperature: float) -> Floats:
        """Confidences (N, C); zeros where the example's own class is gone."""
        shares = np.zeros_like(scores)
        shares[self.known] = confidences(scores[self.known], temperature)
        return shares

    def count_groups(self, rows: NDArray[np.bool_]) -> int:
        return len(np.unique(self.groups[rows]))

    def accuracy(self, rows: NDArray[np.bool_]) -> float:
        """In percent."""
        return self._mean(self.right, rows)

    def _mean(self, values: NDArray[Any], rows: NDArray[np.bool_]) -> float:
        return 100 * float((values * self.weights)[rows].sum() / self.weights[rows].sum())

    def class_report(self, number: int) -> ClassReport:
        mine = self.y == number
        judged, groups = mine & self.known, self.count_groups(mine)
        wrong = np.bincount(self.predicted[judged & (self.predicted != number)], minlength=len(self.labels))
        return ClassReport(
            self.labels[number],
            int(mine.sum()),
            groups,
            self.accuracy(judged) if groups >= ENOUGH_FOR_A_CLASS and judged.any() else None,
            tuple((self.labels[k], int(wrong[k])) for k in np.argsort(-wrong, kind="stable") if wrong[k]),
        )

    def suspects(self, prior: float, ids: Sequence[object]) -> tuple[Suspect, ...]:
        shares = self.shares(self.scores, fit_temperature(self.scores, self.y, prior, self.weights))
        own, best = shares[np.arange(len(self.y)), self.y], shares.argmax(axis=1)
        doubted = self.known & (own < SUSPICIOUS) & (shares.max(axis=1) > 0.5) & (best != self.y)
        return tuple(
            Suspect(str(ids[i]), self.labels[self.y[i]], self.labels[best[i]], float(shares[i, best[i]]))
            for i in np.argsort(own, kind="stable")
            if doubted[i]
        )

    def class_mean(self, temperature: float) -> tuple[float, int] | None:
        """Accuracy in percent, each class alike, and how many groups that is worth; None with too few to say."""
        rows = [(self.y == c) & self.known for c in self.taught]
        if len(rows) < 2 or not all(each.any() for each in rows):
            return None
        worth = int(len(rows) ** 2 / sum(1.0 / self.count_groups(each) for each in rows))
        if worth < ENOUGH_IN_ALL:
            return None
        sure = self.shares(self.as_new, temperature).max(axis=1)
        return float(np.mean([(self.accuracy(each) + self._mean(sure, each)) / 2 for each in rows])), worth

    def calibration_error(self, temperature: float) -> float | None:
        """Of the confidences that `predict` gives, in points."""
        if len(self.labels) < 2 or self.count_groups(self.known) < ENOUGH_FOR_CONFIDENCES:
            return None
        # One frame speaks for its group.
        rows = np.unique(np.where(self.known, self.groups, -1), return_index=True)[1]
        rows = rows[self.known[rows]]
        shares = self.shares(self.as_new, temperature)[rows]
        return 100 * calibration_error(shares.max(axis=1), self.right[rows])


def make_report(head: Head, facts: Facts, temperature: float, ids: Sequence[object]) -> Report:
    """temperature: that of `predict`; ids: of the examples, in the order of `facts.examples()`."""
    left = _LeftOut(facts, head.leave_out(facts), leave_out_as_new(head, facts))
    accuracy = low = high = None
    found = left.class_mean(temperature)
    if found is not None:
        accuracy, worth = found
        low, high = (100 * bound for bound in wilson(worth * accuracy / 100, worth))
    return Report(
        head.name,
        facts.total,
        left.count_groups(np.ones(len(left.y), dtype=bool)),
        accuracy,
        low,
        high,
        left.calibration_error(temperature),
        tuple(left.class_report(int(c)) for c in left.taught),
        left.suspects(temperature, ids),
    )
