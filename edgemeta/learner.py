"""The learner: teach it examples, ask it for predictions, take examples back. Runs on the device."""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .bundle import Bundle, HeadRecipe
from .choosing import Auto, auto_for
from .errors import HeadError, JournalWriteError, NotFoundError, NotTaughtError, OptionError
from .heads import Head, Solution, make_head
from .inputs import one, several
from .journal import Change, ExampleId, Journal, NewExample
from .journal.opening import Sync
from .labels import check_label
from .normalisation import Normalisation, to_float
from .options import as_count
from .prediction import Prediction
from .solving import Solved, Solver
from .taught import Taught, check_seals
from .teaching import BundleLike, Teaching, as_id, spread
from .terminal import printable
from .unknown import check_rate

if TYPE_CHECKING:
    from .background import Background
    from .drift import Drift, DriftWatch
    from .report import Report


class Learner(Teaching):
    """Learns classes from a few examples each, without gradients.

        learner = Learner("glyphs", "mugs.learned")
        learner.learn(image, "my mug")
        learner.predict(other_image).label

    An image is a uint8 array (H, W) or (H, W, 3 or 4), a path or a PIL image; a float array (D,) is an embedding
    as the graph gives it, before the bundle's normalisation; anything else raises InputError.
    All methods may be called from several threads.
    """

    _targets = 0

    def __init__(
        self,
        bundle: BundleLike | None = None,
        journal: str | os.PathLike[str] | None = None,
        *,
        dim: int | None = None,
        head: str | Head = "auto",
        channels: str = "rgb",
        sync: Sync = "call",
        sha256: str | None = None,
        readonly: bool = False,
        keep: str | None = None,
        budget: int | None = None,
        unknown: float | None = None,
        background: Background | None = None,
        prior: bool = True,
        normalisation: Normalisation | None = None,
        variant: str | None = None,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
    ) -> None:
        """Open a bundle and, if `journal` is given, what was taught before.

        Without a journal everything is forgotten at the end.

        bundle: a path, a `Bundle`, or the name of a shipped one ("glyphs"). dim: instead of a bundle, the length of
        the embeddings that you bring; `normalisation` says what is done to them (L2 when not given).
        head: "auto" (from what was taught, by the rule in `edgemeta.choosing`), a name ("euclidean", "cosine",
        "centred", "lda", "ridge", "projected", "neighbours") or a head object such as `Ridge(lambda_=0.5)`.
        channels: the order of colours in arrays, "rgb" or "bgr" (OpenCV).
        sync: "call" (what was acknowledged is on the disk), "manual" (call `sync()`), "never".
        sha256: the hash that the bundle file must have. readonly: take no lock and write nothing.
        keep="input" stores the fitted images too, so that `edgemeta relearn` can move to a new backbone.
        budget: about the most examples kept singly. Where learning would make it a quarter more, the oldest are sealed
        into their class's sums first, where those are smaller: from 3 examples of a class on, and for a head that
        needs the moment from about D. Sealing rewrites the journal as `compact` does, so undo takes back what was
        learned after it but no call before.
        unknown: the share of inputs of known classes that may be rejected, 0.001 to 0.5, so that what resembles
        nothing taught gets the label None; None rejects nothing. How far that is follows from the taught examples left
        out, and while those are too few (19 independent ones for 0.05; sealed ones do not count) from the bundle's
        background, or from `background` with dim=.
        prior: False leaves out the named classes that a bundle may ship.
        variant, providers, threads: which graph of the bundle runs, on what, with how many threads.

        Raises BundleError, BundleMissingError, JournalError, HeadError, OptionError, NotFoundError for a variant.
        """
        _check_options(keep, budget, prior)
        bundle = self._set_up(bundle, dim, channels, sync, sha256, normalisation, variant, providers, threads)
        known = _background(background, bundle)
        rate = check_rate(unknown, known)
        self._solver = Solver(_choose_head(head, bundle), rate, known, sealing=budget is not None)
        plain = self._solver.plain()
        if budget is not None and plain.needs == "examples":
            raise OptionError(f"head {plain.name} needs every example, so budget= cannot seal any")
        self._keep, self._budget = keep, budget
        self._full = 0 if budget is None else budget + budget // 4  # so many singles make the next call seal
        self._solved: Solved | None = None
        self._watch: DriftWatch | None = None
        self._journal = self._open(journal, sync, readonly=readonly)
        try:
            self._taught = Taught(self._journal, bundle.prior if bundle is not None and prior else None)
            if self._taught.statistics.counts or self._taught.prior is not None:
                # Raises now, not at the first prediction.
                self._taught.facts(self._solver.plain(sealed=self._taught.sealed))
        except BaseException:
            self._journal.close()
            raise

    # Teaching

    def learn(self, x: Any, label: str, *, group: str | None = None) -> ExampleId:
        """Learn one example and return its id. `group` names what belongs together, a burst of frames for instance."""
        with self._lock:
            return self._learn(one(x), [label], [group])[0]

    def learn_many(
        self,
        xs: Any,
        labels: str | Sequence[str],
        *,
        group: str | Sequence[str | None] | None = None,
    ) -> list[ExampleId]:
        """Learn several examples, all of them or, after an error, none: one transaction. Returns their ids in order.

        labels: one for each, or a single one for all; `group` likewise.
        """
        with self._lock:
            xs = several(xs)
            count = len(xs)
            return self._learn(xs, spread(labels, count, "labels"), spread(group, count, "groups"))

    def _learn(self, xs: Any, labels: Sequence[Any], groups: Sequence[Any]) -> list[ExampleId]:
        checked = [check_label(label) for label in labels]
        group_names = [None if g is None else check_label(g, "group") for g in groups]
        q20, pixels = self._embed(xs)
        if not len(q20):
            return []
        variant = self._embedder.variant if pixels is not None else ""
        kept = pixels if self._keep == "input" and pixels is not None else [None] * len(q20)
        examples = [
            NewExample(label, z, group=group, variant=variant, input=image)
            for label, z, group, image in zip(checked, q20, group_names, kept, strict=True)
        ]
        self._make_room(len(examples))
        return list(self._follow(self._journal.append(examples)).added)

    def relabel(self, example: ExampleId | str, label: str) -> ExampleId:
        """Give an example another label; returns its new id (ids are never reused)."""
        with self._lock:
            return self._follow(self._journal.relabel(as_id(example), check_label(label))).added[0]

    def forget(self, label: str | None = None, *, example: ExampleId | str | None = None) -> int:
        """Forget a class, or one example: afterwards everything is as if it had never been seen.

        Returns how many examples went. The bytes stay in the file until `compact()`. Raises NotFoundError.
        """
        if (label is None) == (example is None):
            raise OptionError("say what to forget: a label, or example=ID")
        with self._lock:
            before = self._taught.statistics.total
            if label is not None:
                name = check_label(label)
                if name not in self._taught.statistics.counts:
                    known = ", ".join(map(printable, self.labels)) or "nothing yet"
                    raise NotFoundError(f"nothing is known of '{printable(name)}'; taught are: {known}")
                self._follow(self._journal.forget_label(name))
            else:
                assert example is not None
                self._follow(self._journal.forget([as_id(example)]))
            return before - self._taught.statistics.total

    # Predicting

    def predict(self, x: Any) -> Prediction:
        """The class of one input. Raises NotTaughtError before anything was taught."""
        return self._predict(one(x))[0]

    def predict_many(self, xs: Any) -> list[Prediction]:
        """The classes of several inputs, in order."""
        return self._predict(xs)

    def _predict(self, xs: Any) -> list[Prediction]:
        solved = self._solve()
        q20, _ = self._embed(xs)
        if not len(q20):
            return []
        if self._watch is not None:
            self._see(to_float(q20))
        scores = solved.scores(q20)
        return [
            Prediction(solved.solution.labels, row, solved.temperature, novelty)
            for row, novelty in zip(scores, solved.novelty(q20), strict=True)
        ]

    # Drift

    def baseline(self, frames: Any, *, rate: float = 1.0) -> Drift:
        """Take frames of the stream, in order, as what is usual; from then on `drift` compares with them.

        frames: inputs as for `predict_many`; those taught are not the stream. rate: false alarms per 10,000 frames.
        Later frames come by `predict`, `predict_many` or `watch`. Not kept in the journal. Raises OptionError,
        InputError for a baseline that is too short, with the length that is needed.
        """
        from .drift import DriftWatch

        watch = DriftWatch(self.embed(frames), rate)
        with self._lock:
            self._watch = watch
            return watch.state

    def watch(self, frames: Any) -> Drift:
        """Compare further frames (several, in order) with the baseline, without predicting. Raises OptionError."""
        with self._lock:
            if self._watch is None:
                raise OptionError("there is no baseline yet; call baseline(frames) first, with frames of the stream")
        return self._see(self.embed(frames))

    def _see(self, z: NDArray[np.float64]) -> Drift:
        with self._lock:
            assert self._watch is not None
            return self._watch.see(z)

    @property
    def drift(self) -> Drift | None:
        """How the stream compares with its baseline after the newest frame; None before `baseline`."""
        with self._lock:
            return None if self._watch is None else self._watch.state

    # What was found

    def solution(self) -> Solution:
        """What the head found (mostly `weights` and `bias`), solved anew after a change.

        Raises NotTaughtError, HeadError.
        """
        return self._solve().solution

    def _solve(self) -> Solved:
        with self._lock:
            self._journal.check_open()
            if self._solved is None:
                if not self._taught.statistics.counts and self._taught.prior is None:
                    raise NotTaughtError("nothing is taught yet; call learn(image, label) first")
                self._solved = self._solver.solve(self._taught)
            return self._solved

    def novelty(self, xs: Any) -> NDArray[np.float64]:
        """How far each input is from everything taught, (N,): the squared distance to the nearest class mean, by the
        head's norm, times n / (n + 1) for a mean of n examples. Raises NotTaughtError.

        Needs no `unknown=`; `Prediction.novelty` is this number over the limit. While the limit is the background's,
        the norm is Euclidean under LDA too.
        """
        with self._lock:
            solved = self._solve()
            strangeness = solved.strangeness or self._solver.strangeness(solved.head, self._taught)
        return strangeness.of(self.embed(xs))

    def report(self) -> Report:
        """How well each class is known, from every example predicted by the head without that example's group.

        Expected accuracy, confusions, examples that look mislabelled; where there are too few examples to say, it says
        so. Reads all examples. Raises NotTaughtError; HeadError when examples were sealed (`budget=`), for those can no
        longer be left out.
        """
        from .report import make_report

        with self._lock:
            if not self._taught.statistics.counts:
                raise NotTaughtError("nothing is taught yet; call learn(image, label) first")
            solved = self._solve()
            facts = self._taught.facts(solved.head)
            if not facts.single:
                raise HeadError("no report: examples were sealed (budget=), and those cannot be left out any more")
            return make_report(solved.head, facts, solved.temperature, sorted(self._journal.live))

    # What is known

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes taught, sorted."""
        with self._lock:
            return self._taught.statistics.labels

    @property
    def counts(self) -> dict[str, int]:
        """How many examples each class has."""
        with self._lock:
            counts = self._taught.statistics.counts
            return {label: counts[label] for label in sorted(counts)}

    @property
    def examples(self) -> Mapping[ExampleId, str]:
        """The ids of all examples kept singly, with their labels, oldest first."""
        with self._lock:
            return {i: entry.label for i, entry in self._journal.live.items()}

    @property
    def nbytes(self) -> int:
        """Bytes of memory for what was taught: sums, moment, weights, and the journal when it has no file."""
        with self._lock:
            held = self._taught.statistics.nbytes
            if self._solved is not None:
                held += self._solved.solution.nbytes
            if self._watch is not None:
                held += self._watch.nbytes
            return held + (self._journal.nbytes if self._journal.path is None else 0)

    @property
    def head(self) -> Head:
        """The head in use; with "auto", what it comes to for what is taught."""
        with self._lock:
            if not self._taught.statistics.counts:
                return self._solver.plain()
            return self._solve().head

    def __repr__(self) -> str:
        total, auto = self._taught.statistics.total, isinstance(self._solver.head, Auto)
        head = "auto" if auto else self._solver.plain().name  # finding out what it comes to may take long
        return f"Learner({len(self.labels)} classes, {total} examples, head={head!r})"

    # Inside

    def _follow(self, change: Change) -> Change:
        self._solved = None
        self._taught.apply(change)
        return change

    def _check_other(self, other: Journal) -> None:
        if other.seals:
            check_seals(self._solver.plain(sealed=True), other.seals.values())

    def _make_room(self, coming: int) -> None:
        """Seal the oldest examples before `coming` new ones, so that undo can still take those back."""
        live = self._journal.live
        if self._budget is None or len(live) + coming <= self._full:
            return
        surplus = len(live) + coming - self._budget
        oldest: dict[str, list[ExampleId]] = {}
        for i, entry in itertools.islice(live.items(), surplus):
            oldest.setdefault(entry.label, []).append(i)
        try:
            change = self._journal.seal(oldest, moment=self._solver.plain().needs == "moment")
        except JournalWriteError as error:
            # What was taught is on the disk; only the rewriting failed, and the next call tries again.
            warnings.warn(f"the oldest examples could not be sealed: {error}", RuntimeWarning, stacklevel=4)
            return
        if change:
            self._taught.apply(change)
        # Finding that sealing does not pay yet costs time too, so a quarter more has to gather before the next try.
        stuck = max(0, len(self._journal.live) - max(0, self._budget - coming))
        self._full = self._budget + self._budget // 4 + stuck


def _check_options(keep: str | None, budget: int | None, prior: bool) -> None:
    if not isinstance(prior, bool):
        raise OptionError(f"prior is True or False, not {prior!r}")
    if keep not in (None, "input"):
        raise OptionError(f"keep is None or 'input', not {keep!r}")
    if budget is not None:
        as_count(budget, "budget, the number of examples kept singly,")


def _choose_head(head: str | Head, bundle: Bundle | None) -> Head | Auto:
    if not isinstance(head, str):
        parts = ("solve", "leave_out", "name", "needs", "temperature")
        if isinstance(head, type) or not all(hasattr(head, part) for part in parts):
            raise HeadError(f"head is a name or a head such as Ridge(lambda_=0.5), not {head!r}")
        return head
    if head != "auto":
        recipe = bundle.head if bundle is not None and bundle.head.name == head else None
        return head_of(recipe) if recipe else make_head(head)
    return auto_for(None if bundle is None else head_of(bundle.head))


def _background(given: Background | None, bundle: Bundle | None) -> Background | None:
    if bundle is None:
        if given is not None and (isinstance(given, type) or not hasattr(given, "threshold")):
            raise OptionError(f"background is a Background, as measure_background gives it, not {given!r}")
        return given
    if given is not None:
        raise OptionError("the background belongs to the bundle; it can only be given with dim=")
    return bundle.background


def head_of(recipe: HeadRecipe) -> Head:
    """The head that a bundle's recipe describes. Raises HeadError."""
    options: dict[str, object] = {"temperature": recipe.temperature}
    if recipe.name == "ridge":
        options["balance"] = recipe.balance
        if recipe.lambda_ is not None:
            options["lambda_"] = recipe.lambda_
    return make_head(recipe.name, **options)


__all__ = ["Learner", "head_of"]
