"""The demo: digits that the shipped model never saw, learned from a few examples each."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .data import Digits, LabelledImages
from .evaluation import as_rgb
from .heads import Linear
from .learner import Learner
from .terminal import Progress, draw, table

SHOTS = (1, 5, 20)


@dataclass(frozen=True)
class Row:
    """One line of the demo's table. accuracy and ci95 in percent over the draws (None for one); times are medians.

    learn_ms: teaching all examples and solving. predict_us: one prediction from its embedding, without the backbone.
    """

    shots: int
    accuracy: float
    ci95: float | None
    learn_ms: float
    predict_us: float


def run(bundle: str, *, draws: int, seed: int, as_json: bool) -> list[Row]:
    """The whole demo; prints as it goes, or only the figures as JSON."""
    learner = Learner(bundle, prior=False)  # prior classes of a bundle are no digits, here and below
    assert learner.bundle is not None
    data = Digits().load()
    say = (lambda *_: None) if as_json else print
    say(f"{len(data)} handwritten digits (UCI, 8 x 8 pixels); the model {learner.bundle.name!r} saw none of them.")
    raw, seconds = embed_set(learner, data, quiet=as_json)
    say(f"embedding: {1e3 * seconds / len(data):.2f} ms an image on {learner.provider}\n")
    rows = [measure(learner, raw, data, shots, draws, seed) for shots in SHOTS]
    if as_json:
        print(json.dumps({"draws": draws, "seed": seed, "rows": [asdict(row) for row in rows]}))
        return rows
    print(_as_table(rows, len(data), draws))
    _show_one(bundle, data, seed)
    return rows


def embed_set(learner: Learner, data: LabelledImages, *, quiet: bool) -> tuple[NDArray[Any], float]:
    """Raw embeddings of all images, fitted as any image is, and the seconds that took."""
    from .imaging import fit

    contract = learner.bundle.input  # type: ignore[union-attr]
    progress = None if quiet else Progress("embed", len(data))
    started = time.perf_counter()
    parts = []
    for start in range(0, len(data), 64):
        images = [fit(image, contract.height, contract.width) for image in data.pixels[start : start + 64]]
        parts.append(learner._embedder.raw(as_rgb(np.stack(images))))
        if progress:
            progress.update(start + len(images))
    seconds = time.perf_counter() - started
    if progress:
        progress.close()
    return np.concatenate(parts), seconds


def measure(learner: Learner, raw: NDArray[Any], data: LabelledImages, shots: int, draws: int, seed: int) -> Row:
    """Teach `shots` random examples a class, predict all the other images; `draws` times."""
    accuracies, learn, predict = [], [], []
    names = np.array(data.classes, dtype=object)[data.labels]
    for draw_number in range(draws):
        support = draw_support(data, shots, seed, draw_number)
        rest = np.setdiff1d(np.arange(len(data)), support)
        with Learner(learner.bundle, prior=False) as fresh:
            started = time.perf_counter()
            fresh.learn_many(raw[support], list(names[support]))
            fresh.solution()
            learn.append(time.perf_counter() - started)
            predicted = [p.label for p in fresh.predict_many(raw[rest])]
            started = time.perf_counter()
            for row in raw[rest[:50]]:
                fresh.predict(row)
            predict.append((time.perf_counter() - started) / 50)
        accuracies.append(100 * (np.array(predicted, dtype=object) == names[rest]).mean())
    ci95 = 1.96 * float(np.std(accuracies, ddof=1)) / draws**0.5 if draws > 1 else None
    return Row(
        shots,
        float(np.mean(accuracies)),
        ci95,
        1e3 * float(np.median(learn)),
        1e6 * float(np.median(predict)),
    )


def draw_support(data: LabelledImages, shots: int, seed: int, draw_number: int) -> NDArray[np.int64]:
    """Indices of `shots` random images of every class, the same for the same seed and number."""
    rng = np.random.default_rng([seed, shots, draw_number])
    return np.concatenate([rng.choice(m, shots, replace=False) for m in data.members()])


def _as_table(rows: list[Row], images: int, draws: int) -> str:
    cells = [("examples a digit", "accuracy", "learn", "predict")]
    for row in rows:
        cells.append(
            (
                str(row.shots),
                f"{row.accuracy:.1f} %" + ("" if row.ci95 is None else f" +- {row.ci95:.1f}"),
                f"{row.learn_ms:.1f} ms",
                f"{row.predict_us:.0f} us",
            )
        )
    return table(cells) + f"\n  ({draws} random draws each, tested on all other images of {images})\n"


def _show_one(bundle: str, data: LabelledImages, seed: int) -> None:
    rng = np.random.default_rng(seed)
    support = draw_support(data, 5, seed, 0)
    shown = int(rng.choice(np.setdiff1d(np.arange(len(data)), support)))
    with Learner(bundle, prior=False) as learner:
        learner.learn_many(list(data.pixels[support]), [data.classes[i] for i in data.labels[support]])
        image, truth = data.pixels[shown], data.classes[data.labels[shown]]
        prediction = learner.predict(image)
        print(draw(np.repeat(np.repeat(image, 2, 0), 2, 1)))
        print(
            f"\npredicted {prediction.label!r} with confidence {100 * (prediction.confidence or 0):.0f} %; "
            f"it is a {truth!r}. 5 examples of each digit were taught."
        )
        went = learner.forget(prediction.label)
        with Learner(bundle, prior=False) as never:
            others = [i for i in support if data.classes[data.labels[i]] != prediction.label]
            never.learn_many(list(data.pixels[others]), [data.classes[data.labels[i]] for i in others])
            same = _same_bits(learner, never)
        again = learner.predict(image)
        print(
            f"forgot {prediction.label!r} ({went} examples): it is now taken for {again.label!r}; known are "
            f"{' '.join(learner.labels)}.\nThe weights are {'bit for bit' if same else 'NOT'} those of a learner "
            "that never saw it."
        )


def _same_bits(a: Learner, b: Learner) -> bool:
    one, two = a.solution(), b.solution()
    assert isinstance(one, Linear) and isinstance(two, Linear)
    return one.labels == two.labels and bool((one.weights == two.weights).all() and (one.bias == two.bias).all())
