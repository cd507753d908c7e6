"""What `head="auto"` comes to: a fixed rule over examples left out.

1. While fewer than half of the classes (or fewer than two) have two independent examples, there is nothing to leave
   out: the bundle's own head, or for embeddings that the user brings ridge with a lambda of 0.3 mean squares.
2. Then, with a bundle, still its own head, for the backbone was trained together with it; for embeddings that the user
   brings shrinkage LDA, which with its shrinkage near 1 is the nearest mean and learns the shape of the classes as
   they show it. (On background data no other head was better from two shots on; DESIGN.md.)
3. From five independent examples in half of the classes on, another candidate (LDA, centred means, ridge with lambda by
   leaving out) takes its place if its left-out confidences are less surprised by the labels, by more than `RELEVANT`
   and by more than `CLEARLY` standard errors of the paired difference, each class weighed alike. Leaving out judges
   heads at fewer examples than there are, where simple heads look better than they are; and heads that are equal must
   not take turns.

Examples sealed by `budget=` cannot be left out: then it is the bundle's own head, or centred means, which need nothing
but sums. With a bundle's prior classes it is the bundle's own head.
"""

from __future__ import annotations

from dataclasses import dataclass

from .calibration import fit_temperature, surprise
from .heads import Head, make_head
from .heads.base import Floats, leave_out_as_new
from .heads.ridge import Ridge
from .sample import Sample

CLEARLY = 3.0
RELEVANT = 0.05  # nats; where every head is nearly always right, tiny differences are sure, and of no use
ENOUGH = 5  # independent examples; with three, leaving out chose worse heads than LDA on background data


@dataclass(frozen=True)
class Auto:
    """`head="auto"`. default: what it comes to while nothing can be left out. reference: what it comes to then, unless
    another is clearly better. sealed: what it comes to with `budget=`."""

    default: Head
    reference: Head
    sealed: Head


def auto_for(own: Head | None) -> Auto:
    """own: the bundle's head, None for embeddings that the user brings."""
    if own is not None:
        return Auto(own, own, own)
    # The confidences of ridge's scores at one example a class; on background data with 5 and 20 classes.
    return Auto(Ridge(lambda_=0.3, relative=True, temperature=12.0), make_head("lda"), make_head("centred"))


@dataclass(frozen=True)
class Choice:
    """A head as it will be solved (lambda found), and the factor of its scores in the confidences."""

    head: Head
    temperature: float


def choose(head: Head | Auto, sample: Sample | None) -> Choice:
    """The head and the temperature for a taught set of which `sample` can be left out."""
    first = head.default if isinstance(head, Auto) else head
    if sample is None or not sample.covers(2):
        return Choice(first, first.temperature)
    if isinstance(head, Auto) and sample.facts.prior is None:
        first = _clearly_best(head, sample) if sample.covers(ENOUGH) else head.reference
    return Choice(first, _temperature(first, leave_out_as_new(first, sample.facts), sample))


def _clearly_best(auto: Auto, sample: Sample) -> Head:
    losses = _losses(auto.reference, sample)
    best, most = auto.reference, 0.0
    for candidate in _others(auto, sample):
        gain, error = sample.mean(losses - _losses(candidate, sample))
        if gain > RELEVANT and gain - CLEARLY * error > most:
            best, most = candidate, gain - CLEARLY * error
    return best


def _others(auto: Auto, sample: Sample) -> list[Head]:
    """The candidates beside the reference. Ridge is pinned to the lambda that the sample speaks for."""
    heads: list[Head] = [auto.default, make_head("lda"), make_head("centred"), Ridge(lambda_=None).pinned(sample.facts)]
    return [head for i, head in enumerate(heads) if head not in [auto.reference, *heads[:i]]]


def _losses(head: Head, sample: Sample) -> Floats:
    """How surprising the label of each example (N,) is to the others, under the best temperature."""
    scores = head.leave_out(sample.facts)
    return surprise(scores, sample.facts.examples()[1], _temperature(head, scores, sample))


def _temperature(head: Head, scores: Floats, sample: Sample) -> float:
    return fit_temperature(scores, sample.facts.examples()[1], head.temperature, sample.weights * sample.worth)
