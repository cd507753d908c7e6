"""From the taught set to an answer: the head, its solution, the temperature of confidences, the limit of the unknown.

All of it is a pure function of the taught set, so that forgetting still equals never having seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .choosing import ENOUGH, Auto, next_head, temperature
from .heads import Head, Linear, Solution
from .heads.base import Floats
from .kernels import Scorer, scorer
from .normalisation import to_float
from .taught import Taught
from .unknown import Strangeness, measure

if TYPE_CHECKING:
    from .background import Background
    from .sample import Sample

Ints = NDArray[np.int32]

# Of squared distances of embeddings, whose grid is 2^-20.
TINY = 2.0**-40


@dataclass(frozen=True)
class Solved:
    """The head that was chosen, what it found, the factor of its scores in the confidences, how strange inputs are
    (None unless `unknown=` asks for it), and what scores in its place where the C core is there."""

    head: Head
    solution: Solution
    temperature: float
    strangeness: Strangeness | None
    scorer: Scorer | None = None

    def scores(self, q20: Ints) -> Floats:
        """Embeddings int32 Q20 (N, D) to scores (N, C)."""
        return self.solution.scores(to_float(q20)) if self.scorer is None else self.scorer.scores(q20)

    def novelty(self, q20: Ints) -> Floats | list[None]:
        """u over its limit for embeddings int32 Q20 (N, D), None for each where there is no limit."""
        if self.strangeness is None or self.strangeness.limit is None:
            return [None] * len(q20)
        # Identical examples have a limit of zero: whatever differs is infinitely far.
        limit = max(self.strangeness.limit, TINY)
        novelty: Floats = self.strangeness.of(to_float(q20)) / limit
        return novelty


class Solver:
    """Solves a taught set anew after each change; what was judged on the same sample is not judged again."""

    def __init__(
        self, head: Head | Auto, rate: float | None, background: Background | None, *, sealing: bool = False
    ) -> None:
        """sealing: examples will be sealed (`budget=`), and "auto" shall not change when that begins."""
        self.head, self.rate, self.background, self._sealing = head, rate, background, sealing
        self._judged: dict[object, Head] = {}
        self._fitted: tuple[object, float] | None = None

    def plain(self, *, sealed: bool = False) -> Head:
        """The head that is named, or what "auto" comes to while nothing can be left out. sealed: some are."""
        if not isinstance(self.head, Auto):
            return self.head
        return self.head.sealed if self._sealing or sealed else self.head.default

    def solve(self, taught: Taught) -> Solved:
        """Raises HeadError."""
        sample = taught.sample()
        head = self._head(taught, sample)
        facts, temperature = taught.facts(head), self._temperature(head, taught, sample)
        strangeness = None
        if self.rate is not None:
            strangeness = measure(self.rate, head, facts, sample, self.background)
        solution = head.solve(facts)
        fast = scorer(solution.weights, solution.bias) if isinstance(solution, Linear) else None
        return Solved(head, solution, temperature, strangeness, fast)

    def strangeness(self, head: Head, taught: Taught) -> Strangeness:
        """How strange inputs are to a taught set, without a limit."""
        return measure(None, head, taught.facts(head), taught.sample(), None)

    def _head(self, taught: Taught, sample: Sample | None) -> Head:
        auto = self.head
        if not isinstance(auto, Auto) or self._sealing or taught.sealed:
            return self.plain(sealed=taught.sealed)
        if sample is None or not sample.covers(2) or taught.prior is not None:
            return auto.default
        head, judged = auto.reference, dict[object, Head]()
        for stage in taught.stages(ENOUGH):
            key = head, stage.ids
            judged[key] = self._judged.get(key) or next_head(auto, head, taught.sample_of(stage.ids))
            head = judged[key]
        self._judged = judged
        return head

    def _temperature(self, head: Head, taught: Taught, sample: Sample | None) -> float:
        # The numbers of examples in all change with each; what matters of them does not.
        key: object = (head, None if sample is None else (sample.ids, sample.covers(2), sample.share))
        # The weight of prior classes moves with every example.
        if self._fitted is None or self._fitted[0] != key or taught.prior is not None:
            self._fitted = key, temperature(head, sample)
        return self._fitted[1]
