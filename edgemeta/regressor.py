"""The regressor: teach it examples with numbers, ask it for numbers, take examples back. Runs on the device."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .errors import NotFoundError, NotTaughtError, OptionError
from .estimate import Estimate
from .inputs import one, several
from .journal import Change, ExampleId, Journal, NewExample
from .journal.opening import Sync
from .labels import check_label
from .normalisation import Normalisation, to_float
from .options import as_count
from .regression.bayes import BayesianRegression
from .regression.fit import Fit, Regression
from .regression.prior import RegressionPrior
from .regression.ridge import RidgeRegression
from .regression.targets import check_targets
from .regression.taught import LABEL, TaughtNumbers
from .teaching import BundleLike, Teaching, as_id, spread
from .terminal import printable

if TYPE_CHECKING:
    from .regression.report import NumberReport

MOST_TARGETS = 1 << 12


class Regressor(Teaching):
    """Learns numbers from a few examples each, without gradients.

        regressor = Regressor("glyphs", "scale.learned")
        regressor.learn(image, 12.5)
        regressor.predict(other_image).value

    Inputs are those of `Learner`. All methods may be called from several threads.
    """

    def __init__(
        self,
        bundle: BundleLike | None = None,
        journal: str | os.PathLike[str] | None = None,
        *,
        dim: int | None = None,
        targets: int = 1,
        lambda_: float | None = None,
        prior: RegressionPrior | str | os.PathLike[str] | None = None,
        channels: str = "rgb",
        sync: Sync = "call",
        sha256: str | None = None,
        readonly: bool = False,
        normalisation: Normalisation | None = None,
        variant: str | None = None,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
    ) -> None:
        """Open a bundle and, if `journal` is given, what was taught before.

        targets: how many numbers an example teaches, k. lambda_: how much ridge regression shrinks the weights, on
        the sums; None finds it from the examples. prior: a `RegressionPrior` or the file of one, which answers before
        the first example and then is moved by them; instead of ridge.
        normalisation: with dim=, what is done to the embeddings: L2 when not given, which keeps only their
        direction. Where their length says something too: `Normalisation(l2=False, scale=1 / the largest norm)`.
        The others are those of `Learner`.

        Raises BundleError, BundleMissingError, JournalError (JournalMismatchError for the journal of a `Learner`),
        OptionError, NotFoundError for a variant, DataError and DataMissingError for a prior's file.
        """
        self._targets = as_count(targets, "targets, the numbers of an example,", most=MOST_TARGETS)
        self._regression = _regression(lambda_, prior)
        self._set_up(bundle, dim, channels, sync, sha256, normalisation, variant, providers, threads)
        self._check_prior()
        self._fit: Fit | None = None
        self._journal = self._open(journal, sync, readonly=readonly)
        try:
            self._taught = TaughtNumbers(self._journal, self._targets)
        except BaseException:
            self._journal.close()
            raise

    # Teaching

    def learn(self, x: Any, target: float | Sequence[float], *, group: str | None = None) -> ExampleId:
        """Learn one example and return its id; target: a number, or k of them.

        group names what belongs together, a burst of frames or one person. Raises InputError for a target that is
        no number, NaN, infinity or above 1e100; then nothing was learned.
        """
        with self._lock:
            return self._learn(one(x), [target], [group])[0]

    def learn_many(self, xs: Any, targets: Any, *, group: str | Sequence[str | None] | None = None) -> list[ExampleId]:
        """Learn several examples, all of them or, after an error, none: one transaction. Returns their ids in order.

        targets: numbers (N, k), or (N,) for a single target. group: one for each, or a single one for all.
        """
        with self._lock:
            xs = several(xs)
            return self._learn(xs, targets, spread(group, len(xs), "groups"))

    def _learn(self, xs: Any, targets: Any, groups: Sequence[Any]) -> list[ExampleId]:
        checked = check_targets(targets, len(xs), self._targets)
        names = [None if group is None else check_label(group, "group") for group in groups]
        q20, pixels = self._embed(xs)
        variant = self._embedder.variant if pixels is not None else ""
        examples = [
            NewExample(LABEL, z, group=group, variant=variant, target=target)
            for z, target, group in zip(q20, checked, names, strict=True)
        ]
        return list(self._follow(self._journal.append(examples)).added)

    def forget(self, *, example: ExampleId | str | None = None, group: str | None = None) -> int:
        """Forget one example or a whole group: afterwards everything is as if it had never been seen.

        Returns how many examples went. The bytes stay in the file until `compact()`. Raises NotFoundError.
        """
        if (example is None) == (group is None):
            raise OptionError("say what to forget: example=ID, or group=NAME")
        with self._lock:
            ids = [as_id(example)] if example is not None else self._members(check_label(group, "group"))
            return len(self._follow(self._journal.forget(ids)).removed)

    def _members(self, group: str) -> list[ExampleId]:
        found = [i for i, entry in self._journal.live.items() if entry.group == group]
        if not found:
            raise NotFoundError(f"there are no examples of the group '{printable(group)}'")
        return found

    # Predicting

    def predict(self, x: Any) -> Estimate:
        """The numbers to expect for one input. Raises NotTaughtError before anything was taught and without a prior."""
        return self.predict_many(one(x))[0]

    def predict_many(self, xs: Any) -> list[Estimate]:
        """The numbers to expect for several inputs, in order."""
        fit = self.solution()
        q20, _ = self._embed(xs)
        if not len(q20):
            return []
        z = to_float(q20)
        means, stds = fit.means(z), fit.stds(z)
        return [Estimate(mean, None if stds is None else stds[i]) for i, mean in enumerate(means)]

    def solution(self) -> Fit:
        """What was found (`weights` (k, D) and `bias` (k,)), solved anew after a change. Raises NotTaughtError."""
        with self._lock:
            self._journal.check_open()
            if self._fit is None:
                if not self._taught.total and not isinstance(self._regression, BayesianRegression):
                    raise NotTaughtError("nothing is taught yet; call learn(image, number) first")
                self._fit = self._regression.solve(self._taught.facts())
            return self._fit

    def report(self) -> NumberReport:
        """How well each target is known, from every example predicted without its group, in closed form.

        Expected error, R^2, and whether the standard deviations hold; where there are too few examples to say, it says
        so. Reads all examples. Raises NotTaughtError.
        """
        from .regression.report import make_report

        with self._lock:
            self._journal.check_open()
            if not self._taught.total:
                raise NotTaughtError("nothing is taught yet; call learn(image, number) first")
            return make_report(self._regression, self._taught.facts())

    # What is known

    @property
    def targets(self) -> int:
        """k, the numbers of an example."""
        return self._targets

    @property
    def examples(self) -> Mapping[ExampleId, tuple[float, ...]]:
        """The ids of all examples with their targets, oldest first. Reads the whole journal."""
        with self._lock:
            ids = list(self._journal.live)
            return dict(zip(ids, map(tuple, self._journal.pairs(ids)[1].tolist()), strict=True))

    @property
    def nbytes(self) -> int:
        """Bytes of memory for what was taught: sums, moment, weights, and the journal when it has no file."""
        with self._lock:
            held = self._taught.nbytes + (self._fit.nbytes if self._fit is not None else 0)
            return held + (self._journal.nbytes if self._journal.path is None else 0)

    def __repr__(self) -> str:
        return f"Regressor({self._targets} targets, {self._taught.total} examples, {self._regression.name})"

    # Inside

    def _follow(self, change: Change) -> Change:
        self._fit = None
        self._taught.apply(change)
        return change

    def _check_other(self, other: Journal) -> None:
        TaughtNumbers(other, self._targets)  # raises where its targets cannot be used, before they are ours

    def _check_prior(self) -> None:
        if not isinstance(self._regression, BayesianRegression):
            return
        prior = self._regression.prior
        if (prior.dim, prior.outputs) != (self._embedder.dim, self._targets):
            raise OptionError(
                f"the prior is for embeddings of {prior.dim} numbers and {prior.outputs} targets, "
                f"not {self._embedder.dim} and {self._targets}"
            )


def _regression(lambda_: float | None, prior: RegressionPrior | str | os.PathLike[str] | None) -> Regression:
    if prior is None:
        return RidgeRegression(lambda_)
    if lambda_ is not None:
        raise OptionError("lambda_ is for ridge regression; a prior says itself how much it counts")
    if isinstance(prior, (str, os.PathLike)):
        prior = RegressionPrior.load(prior)
    if not isinstance(prior, RegressionPrior):
        raise OptionError(f"prior is a RegressionPrior or the file of one, not {type(prior).__name__}")
    return BayesianRegression(prior)


__all__ = ["Regressor"]
