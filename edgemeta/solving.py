"""From the taught set to an answer: the head, its solution, the temperature of confidences, the limit of the unknown.

All of it is a pure function of the taught set, so that forgetting still equals never having seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .choosing import ENOUGH, Auto, Choice, choose
from .heads import Head, Solution
from .heads.base import Floats
from .taught import Taught
from .unknown import Strangeness, measure

if TYPE_CHECKING:
    from .background import Background
    from .sample import Sample

# Of squared distances of embeddings, whose grid is 2^-20.
TINY = 2.0**-40


@dataclass(frozen=True)
class Solved:
    """The head that was chosen, what it found, the factor of its scores in the confidences, how strange inputs are
    (None unless `unknown=` asks for it)."""

    head: Head
    solution: Solution
    temperature: float
    strangeness: Strangeness | None

    def novelty(self, z: Floats) -> Floats | list[None]:
        """u over its limit for embeddings (N, D), None for each where there is no limit."""
        if self.strangeness is None or self.strangeness.limit is None:
            return [None] * len(z)
        # Identical examples have a limit of zero: whatever differs is infinitely far.
        limit = max(self.strangeness.limit, TINY)
        novelty: Floats = self.strangeness.of(z) / limit
        return novelty


class Solver:
    """Solves a taught set anew after each change; what was judged on the same sample is not judged again."""

    def __init__(
        self, head: Head | Auto, rate: float | None, background: Background | None, *, sealing: bool = False
    ) -> None:
        """sealing: examples will be sealed (`budget=`), and "auto" shall not change when that begins."""
        self.head, self.rate, self.background, self._sealing = head, rate, background, sealing
        self._judged: tuple[object, Choice] | None = None

    def plain(self, taught: Taught | None = None) -> Head:
        """The head that is named, or what "auto" comes to while nothing can be left out."""
        if not isinstance(self.head, Auto):
            return self.head
        return self.head.sealed if self._sealing or (taught is not None and taught.sealed) else self.head.default

    def solve(self, taught: Taught) -> Solved:
        """Raises HeadError."""
        sample = taught.sample()
        choice = self._choice(taught, sample)
        facts = taught.facts(choice.head)
        strangeness = None
        if self.rate is not None:
            strangeness = measure(self.rate, choice.head, facts, sample, self.background)
        return Solved(choice.head, choice.head.solve(facts), choice.temperature, strangeness)

    def strangeness(self, head: Head, taught: Taught) -> Strangeness:
        """How strange inputs are to a taught set, without a limit."""
        return measure(None, head, taught.facts(head), taught.sample(), None)

    def _choice(self, taught: Taught, sample: Sample | None) -> Choice:
        # The numbers of examples in all change with each; what matters of them does not.
        key: object = (taught.sealed, None if sample is None else (sample.ids, sample.covers(2), sample.covers(ENOUGH)))
        if taught.prior is not None:
            key = None  # its weight moves with every example
        if key is None or self._judged is None or self._judged[0] != key:
            head = self.plain(taught) if self._sealing or taught.sealed else self.head
            self._judged = key, choose(head, sample)
        return self._judged[1]
