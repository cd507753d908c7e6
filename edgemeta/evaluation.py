"""How good is it: few-shot accuracy over episodes, through the very learner that runs on the device."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .calibration import calibration_error, wilson
from .data.labelled import LabelledImages
from .data.omniglot import load_runs
from .errors import OptionError
from .learner import Learner
from .terminal import Progress

# Fitted images uint8 (N, H, W) or (N, H, W, 3) to raw embeddings (N, D).
Embed = Callable[[NDArray[np.uint8]], NDArray[np.floating[Any]]]


@dataclass(frozen=True)
class Accuracy:
    """Mean accuracy over episodes in percent, with half the width of its 95 % confidence interval.

    calibration_error: how far confidences are off on average over all queries, in points; NaN for one way.
    unknown_auroc: how well the distance to what was taught tells queries of taught classes from images of others, in
    percent (50 for guessing), over episodes; NaN where the data have no other class. Medians:
    solve_us from what is taught to a solution, predict_us for one query in a batch, both without the backbone, in
    microseconds; nbytes of the solution.
    """

    accuracy: float
    ci95: float
    episodes: int
    ways: int
    shots: int
    queries: int
    within: float
    head: str
    seed: int
    calibration_error: float
    unknown_auroc: float
    solve_us: float
    predict_us: float
    nbytes: int

    def to_json(self) -> dict[str, Any]:
        # One episode has no interval, one way no confidence, and NaN is no JSON.
        return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in asdict(self).items()}


@dataclass(frozen=True)
class RunsError:
    """Lake's official runs: `error` in percent of `trials`, with a 95 % Wilson interval."""

    error: float
    trials: int
    low: float
    high: float
    head: str

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "ci95": round((self.high - self.low) / 2, 3)}


def as_rgb(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Grey (N, H, W) to RGB (N, H, W, 3); RGB stays."""
    return pixels if pixels.ndim == 4 else np.repeat(pixels[..., None], 3, axis=3)


def bundle_embed(learner: Learner, batch: int = 256) -> Embed:
    """The raw embeddings of a learner's own graph."""

    def embed(pixels: NDArray[np.uint8]) -> NDArray[np.floating[Any]]:
        parts = [learner._embedder.raw(as_rgb(pixels[i : i + batch])) for i in range(0, len(pixels), batch)]
        return np.concatenate(parts)

    return embed


def evaluate(
    embed: Embed,
    make_learner: Callable[[], Learner],
    data: LabelledImages,
    *,
    ways: int,
    shots: int,
    queries: int = 5,
    episodes: int = 1000,
    within: float = 0.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> Accuracy:
    """Accuracy of fresh learners, one an episode. Embeddings are computed once, then taught as floats."""
    from .meta.episodes import EpisodeSampler  # NumPy alone, but it lives in the workshop

    if episodes < 1 or seed < 0 or not 0 <= within <= 1:
        raise OptionError(f"episodes at least 1, seed not negative, within 0 to 1: {episodes}, {seed}, {within}")
    sampler = EpisodeSampler(data, ways=ways, shots=shots, queries=queries, within=within)
    raw = embed(data.pixels)
    rng = np.random.default_rng(seed)
    # Of their own, so that who asks for them or not meets the same episodes.
    strangers = np.random.default_rng([seed, 1])
    tally = _Tally([f"{way:05d}" for way in range(ways)], shots, queries)
    for number in range(episodes):
        episode = sampler.draw(rng)
        others = np.flatnonzero(~np.isin(data.labels, data.labels[episode.support[:, 0]]))
        others = strangers.choice(others, min(len(others), ways * queries), replace=False)
        with make_learner() as learner:
            tally.run(learner, raw[episode.support.ravel()], raw[episode.query.ravel()], raw[others])
        if progress:
            progress.update(number + 1, f"{100 * np.mean(tally.accuracies):.2f} %")
    ci95 = 1.96 * np.std(tally.accuracies, ddof=1) / np.sqrt(episodes) if episodes > 1 else np.nan
    return Accuracy(
        accuracy=100 * float(np.mean(tally.accuracies)),
        ci95=100 * float(ci95),
        episodes=episodes,
        ways=ways,
        shots=shots,
        queries=queries,
        within=within,
        head=tally.head,
        seed=seed,
        calibration_error=tally.calibration_error(),
        unknown_auroc=100 * float(np.mean(tally.aurocs)) if tally.aurocs else np.nan,
        solve_us=1e6 * float(np.median(tally.solve)),
        predict_us=1e6 * float(np.median(tally.predict)) / (ways * queries),
        nbytes=int(np.median(tally.nbytes)),
    )


class _Tally:
    """What the episodes of one evaluation showed. head: the one that was chosen most often."""

    def __init__(self, names: list[str], shots: int, queries: int) -> None:
        self.taught = [name for name in names for _ in range(shots)]
        self.truth = np.repeat(np.array(names, dtype=object), queries)
        self.accuracies: list[float] = []
        self.aurocs: list[float] = []
        self.solve: list[float] = []
        self.predict: list[float] = []
        self.nbytes: list[int] = []
        self._heads: Counter[str] = Counter()
        self._right: list[NDArray[np.bool_]] = []
        self._confidence: list[float | None] = []

    def run(self, learner: Learner, support: NDArray[Any], query: NDArray[Any], others: NDArray[Any]) -> None:
        learner.learn_many(support, self.taught)
        start = time.perf_counter()
        solution = learner.solution()
        solved = time.perf_counter()
        predictions = learner.predict_many(query)
        self.predict.append(time.perf_counter() - solved)
        self.solve.append(solved - start)
        self.nbytes.append(solution.nbytes)
        right = np.array([p.nearest for p in predictions], dtype=object) == self.truth
        self.accuracies.append(float(right.mean()))
        self._right.append(right)
        self._confidence += [p.confidence for p in predictions]
        self._heads[learner.head.name] += 1
        if len(others):
            novelty = learner.novelty(np.concatenate([query, others]))
            self.aurocs.append(auroc(novelty[: len(query)], novelty[len(query) :]))

    @property
    def head(self) -> str:
        return self._heads.most_common(1)[0][0]

    def calibration_error(self) -> float:
        """In points."""
        if None in self._confidence:
            return float("nan")
        return 100 * calibration_error(np.array(self._confidence, dtype=np.float64), np.concatenate(self._right))


def auroc(lower: NDArray[np.float64], higher: NDArray[np.float64]) -> float:
    """The chance that one of `higher` is above one of `lower`, equal ones counting half (Mann and Whitney 1947)."""
    _, places, counts = np.unique(np.concatenate([lower, higher]), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    above = float(ranks[len(lower) :].sum()) - len(higher) * (len(higher) + 1) / 2
    return above / (len(lower) * len(higher))


def evaluate_runs(embed: Embed, make_learner: Callable[[], Learner], root: Path, height: int, width: int) -> RunsError:
    """Lake's 20 within-alphabet 20-way one-shot runs (Lake, Salakhutdinov, Tenenbaum 2015)."""
    wrong, trials, head = 0, 0, ""
    # All embeddings first: a checkpoint without L2 takes its scale from what it has embedded.
    embedded = [(run, embed(run.training), embed(run.test)) for run in load_runs(root, height, width)]
    for run, training, test in embedded:
        with make_learner() as learner:
            learner.learn_many(training, [f"{i:02d}" for i in range(len(training))])
            predicted = [int(p.nearest) for p in learner.predict_many(test)]
            head = learner.head.name
        wrong += int((np.array(predicted) != run.truth).sum())
        trials += len(run.truth)
    low, high = wilson(wrong, trials)
    return RunsError(100 * wrong / trials, trials, 100 * low, 100 * high, head)
