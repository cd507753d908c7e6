"""How well a learner knows what it was taught: every example predicted by a learner that never saw its group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .calibration import calibration_error, confidences, wilson
from .heads import Facts
from .heads.base import Floats
from .terminal import printable, table

# Fewer independent groups than this say too little: the 95 % interval of a share of 5 is 50 points wide or more.
ENOUGH_FOR_A_CLASS = 5
ENOUGH_IN_ALL = 10
# An example looks mislabelled when the others give its own label less than this.
SUSPICIOUS = 0.05


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

    accuracy: expected on new inputs, each class alike; low and high: its 95 % interval (Wilson, by groups).
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
        for suspect in self.suspects:
            lines.append(
                f"looks mislabelled: {suspect.example}, a {printable(suspect.label)} "
                f"that looks like {printable(suspect.looks_like)} ({100 * suspect.confidence:.0f} %)"
            )
        return "\n".join(lines)


class _LeftOut:
    """Every example as the others judge it.

    known (N,): whether its class is still there without its group. weights (N,): a group counts once, however many
    frames it has.
    """

    def __init__(self, facts: Facts, scores: Floats, temperature: float) -> None:
        _, self.y = facts.examples()
        self.labels, rows = facts.labels, np.arange(len(self.y))
        self.groups = np.unique(facts.groups(), return_inverse=True)[1]
        self.known = np.isfinite(scores[rows, self.y])
        self.predicted = scores.argmax(axis=1)
        self.shares = np.zeros_like(scores)
        self.shares[self.known] = confidences(scores[self.known], temperature)
        self.own = self.shares[rows, self.y]
        self.weights = 1.0 / np.bincount(self.groups)[self.groups]

    def count_groups(self, rows: NDArray[np.bool_]) -> int:
        return len(np.unique(self.groups[rows]))

    def accuracy(self, rows: NDArray[np.bool_]) -> float:
        """In percent."""
        right = (self.predicted == self.y) * self.weights
        return 100 * float(right[rows].sum() / self.weights[rows].sum())

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

    def suspects(self, ids: Sequence[object]) -> tuple[Suspect, ...]:
        best = self.shares.argmax(axis=1)
        doubted = [i for i in np.argsort(self.own, kind="stable") if self.known[i] and self.own[i] < SUSPICIOUS]
        return tuple(
            Suspect(str(ids[i]), self.labels[self.y[i]], self.labels[best[i]], float(self.shares[i, best[i]]))
            for i in doubted
        )


def make_report(head: str, facts: Facts, scores: Floats, temperature: float, ids: Sequence[object]) -> Report:
    """scores: (N, C) of `Head.leave_out`; ids: of the examples, in the same order."""
    left = _LeftOut(facts, scores, temperature)
    classes = range(len(facts.labels))
    judged = left.count_groups(left.known)
    accuracy = low = high = error = None
    every_class = all(left.known[left.y == c].any() for c in classes)
    if len(classes) > 1 and every_class and judged >= ENOUGH_IN_ALL:
        accuracy = float(np.mean([left.accuracy((left.y == c) & left.known) for c in classes]))
        low, high = (100 * bound for bound in wilson(judged * accuracy / 100, judged))
        right = (left.predicted == left.y)[left.known]
        error = 100 * calibration_error(left.shares[left.known].max(axis=1), right)
    return Report(
        head,
        facts.total,
        left.count_groups(np.ones(len(left.y), dtype=bool)),
        accuracy,
        low,
        high,
        error,
        tuple(left.class_report(c) for c in classes),
        left.suspects(ids),
    )
