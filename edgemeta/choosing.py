"""What `head="auto"` comes to: a fixed rule over examples left out.

1. While fewer than half of the classes (or fewer than two) have two independent examples, there is nothing to leave
   out: the bundle's own head, or for embeddings that the user brings ridge with a lambda of 0.3 mean squares. All
   classes are counted as the power of two below.
2. Then, with a bundle, still its own head, for the backbone was trained together with it; for embeddings that the user
   brings shrinkage LDA, which with its shrinkage near 1 is the nearest mean and learns the shape of the classes as
   they show it. (On background data no other head was better from two shots on; DESIGN.md.)
3. Where classes have five independent examples another candidate (LDA, centred means, ridge with lambda by leaving out)
   takes its place if its left-out confidences are less surprised by the labels, by more than `RELEVANT` and by more
   than `CLEARLY` standard errors of the paired difference, each class weighed alike. Leaving out judges heads at fewer
   examples than there are, where simple heads look better than they are.

Heads that are equal must not take turns, and no margin alone prevents that. So step 3 goes by stages (`Sketch.by_age`):
the oldest 5 examples of each of the first classes that have so many, then the oldest 10, 20, ... A stage once complete
stays what it is, and what was chosen at one stays at the next unless another is clearly better there. So the head can
change when a stage is completed, or the number of classes doubles, and not with every example. It is the one answer
that the order of teaching can change, and only between heads that are near each other.

Examples sealed by `budget=` cannot be left out: then it is the bundle's own head, or centred means, which need nothing
but sums. With a bundle's prior classes it is the bundle's own head.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from .calibration import fit_temperature, surprise
from .heads import Head, make_head
from .heads.base import Floats, leave_out_as_new
from .heads.ridge import Ridge
from .sample import Sample

CLEARLY = 4.0
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


def next_head(auto: Auto, incumbent: Head, sample: Sample) -> Head:
    """What takes the incumbent's place on a stage's sample, or the incumbent. Ridge is pinned to the lambda that the
    sample speaks for."""
    pinned = Ridge(lambda_=None).pinned(sample.facts)
    if isinstance(incumbent, Ridge) and incumbent not in (auto.default, auto.reference):
        incumbent = pinned  # it is still ridge, and this stage knows more of lambda
    losses = _losses(incumbent, sample)
    best, most = incumbent, 0.0
    heads: list[Head] = [auto.default, make_head("lda"), make_head("centred"), pinned]
    for candidate in [head for i, head in enumerate(heads) if head not in [incumbent, *heads[:i]]]:
        gain, error = sample.mean(losses - _losses(candidate, sample))
        if gain > RELEVANT and gain - CLEARLY * error > most:
            best, most = candidate, gain - CLEARLY * error
    return best


def temperature(head: Head, sample: Sample | None) -> float:
    """The factor of the head's scores in the confidences, fitted to the sample if it says enough."""
    if sample is None or not sample.covers(2):
        return head.temperature
    if isinstance(head, Ridge) and head.lambda_ is not None and not head.relative:
        head = replace(head, lambda_=head.lambda_ * sample.share)  # lambda is on the sums, and these are smaller
    return _fitted(head, leave_out_as_new(head, sample.facts), sample)


def _losses(head: Head, sample: Sample) -> Floats:
    """How surprising the label of each example (N,) is to the others, under the best temperature."""
    scores = head.leave_out(sample.facts)
    return surprise(scores, sample.facts.examples()[1], _fitted(head, scores, sample))


def _fitted(head: Head, scores: Floats, sample: Sample) -> float:
    return fit_temperature(scores, sample.facts.examples()[1], head.temperature, sample.weights * sample.worth)
