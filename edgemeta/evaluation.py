"""How good is it: few-shot accuracy over episodes, through the very learner that runs on the device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .calibration import wilson
from .data.labelled import LabelledImages
from .data.omniglot import load_runs
from .errors import OptionError
from .learner import Learner
from .terminal import Progress

# Fitted images uint8 (N, H, W) or (N, H, W, 3) to raw embeddings (N, D).
Embed = Callable[[NDArray[np.uint8]], NDArray[np.floating[Any]]]


@dataclass(frozen=True)
class Accuracy:
    """Mean accuracy over episodes in percent, with half the width of its 95 % confidence interval."""

    accuracy: float
    ci95: float
    episodes: int
    ways: int
    shots: int
    queries: int
    within: float
    head: str
    seed: int

    def to_json(self) -> dict[str, Any]:
        record = asdict(self)
        # One episode has no interval, and NaN is no JSON.
        return {**record, "ci95": self.ci95 if np.isfinite(self.ci95) else None}


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
    names = [f"{way:05d}" for way in range(ways)]
    truth = np.repeat(np.array(names, dtype=object), queries)
    accuracies, head = np.empty(episodes), ""
    for number in range(episodes):
        episode = sampler.draw(rng)
        with make_learner() as learner:
            learner.learn_many(raw[episode.support.ravel()], [name for name in names for _ in range(shots)])
            predicted = [p.label for p in learner.predict_many(raw[episode.query.ravel()])]
            head = learner.head.name
        accuracies[number] = (np.array(predicted, dtype=object) == truth).mean()
        if progress:
            progress.update(number + 1, f"{100 * accuracies[: number + 1].mean():.2f} %")
    ci95 = 1.96 * accuracies.std(ddof=1) / np.sqrt(episodes) if episodes > 1 else np.nan
    return Accuracy(
        100 * float(accuracies.mean()), 100 * float(ci95), episodes, ways, shots, queries, within, head, seed
    )


def evaluate_runs(embed: Embed, make_learner: Callable[[], Learner], root: Path, height: int, width: int) -> RunsError:
    """Lake's 20 within-alphabet 20-way one-shot runs (Lake, Salakhutdinov, Tenenbaum 2015)."""
    wrong, trials, head = 0, 0, ""
    # All embeddings first: a checkpoint without L2 takes its scale from what it has embedded.
    embedded = [(run, embed(run.training), embed(run.test)) for run in load_runs(root, height, width)]
    for run, training, test in embedded:
        with make_learner() as learner:
            learner.learn_many(training, [f"{i:02d}" for i in range(len(training))])
            predicted = [int(p.label) for p in learner.predict_many(test)]
            head = learner.head.name
        wrong += int((np.array(predicted) != run.truth).sum())
        trials += len(run.truth)
    low, high = wilson(wrong, trials)
    return RunsError(100 * wrong / trials, trials, 100 * low, 100 * high, head)
