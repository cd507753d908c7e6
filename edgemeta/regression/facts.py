"""The taught set as a regression sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .sums import TargetSums
from .targets import Floats, Ints


@dataclass(frozen=True)
class NumberFacts:
    """N examples of D dimensions with k targets. Targets are in units of 2^scale of each output: within -1 and 1.

    total: N. independent: how many when those of one group count as one. sum (D,): of all z; squares: of all z^2,
    which is tr G. unit (k,): 2^scale. moment(): G (D, D). sums(): of the targets. examples(): Z (N, D) and Y (N, k) in
    an order that depends on nothing but what they are; groups(): (N,), equal numbers for rows that belong together.
    """

    total: int
    independent: int
    sum: Floats
    squares: float
    unit: Floats
    moment: Callable[[], Floats]
    sums: Callable[[], TargetSums]
    examples: Callable[[], tuple[Floats, Floats]]
    groups: Callable[[], Ints]

    @property
    def dim(self) -> int:
        return len(self.sum)
