"""`make bench-heads`: what is said of the heads, measured.

    accuracy    head="auto" against scikit-learn on the same embeddings, paired over the same episodes
    report      expected accuracy against accuracy on held-out images
    confidence  expected calibration error
    unknown     how many known inputs are rejected at 5 % asked, and AUROC against a softmax threshold's

On Omniglot's evaluation characters through the shipped model, and on grocery photos through a frozen MobileNet
(`embed_grocery.py`). Rules and constants were chosen on background alphabets of Omniglot and on the first half of the
grocery classes, so the second half is also shown alone. Prints tables and writes JSON. Exit status 1 when a bar is
missed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from edgemeta import Bundle, Learner
from edgemeta.background import measure_background
from edgemeta.calibration import calibration_error
from edgemeta.data import Omniglot
from edgemeta.evaluation import auroc, bundle_embed
from edgemeta.normalisation import Normalisation, to_float
from edgemeta.terminal import Progress, table

NEAR = Path(__file__).parents[2] / "shared" / "data" / "omniglot"
QUERIES = 10
CS = (0.1, 1.0, 10.0, 100.0, 1000.0)


class Source:
    """Embeddings z (N, D) as a learner stores them, classes y (N,), and how to make a learner for them."""

    def __init__(self, name: str, z: np.ndarray, y: np.ndarray, make: Callable[..., Learner]) -> None:
        self.name, self.z, self.make = name, z, make
        self.y = np.unique(y, return_inverse=True)[1]
        self.members = [np.flatnonzero(self.y == c) for c in range(int(self.y.max()) + 1)]

    def draw(self, rng: np.random.Generator, ways: int, shots: int, queries: int = QUERIES, strangers: int = 0):
        """Support rows and classes, query rows and classes, rows of other classes; classes as labels."""
        able = [c for c, members in enumerate(self.members) if len(members) >= shots + 1]
        chosen = rng.permutation(able)[: ways + strangers]
        support, asked, strange = [], [], []
        for number, c in enumerate(chosen):
            rows = rng.permutation(self.members[c])
            if number >= ways:
                strange += list(rows[:queries])
                continue
            support += [(row, f"{c:04d}") for row in rows[:shots]]
            asked += [(row, f"{c:04d}") for row in rows[shots : shots + queries]]
        (s, ys), (q, yq) = zip(*support, strict=True), zip(*asked, strict=True)
        return np.array(s), np.array(ys), np.array(q), np.array(yq), np.array(strange, dtype=int)


def rivals(ways: int, shots: int, c: float) -> dict[str, object]:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

    found: dict[str, object] = {
        "LogisticRegression": LogisticRegression(),
        f"LogisticRegression C={c:g}": LogisticRegression(C=c, max_iter=300),
        "NearestCentroid": NearestCentroid(),
        "1 neighbour": KNeighborsClassifier(1),
    }
    if shots > 1:  # with one example a class there is no covariance, and five neighbours are everybody
        found |= {"LinearDiscriminantAnalysis": LinearDiscriminantAnalysis(), "5 neighbours": KNeighborsClassifier(5)}
    return found


def rotated(support: np.ndarray, query: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both in coordinates of the support's span: the same answers of an L2-penalised model, sooner."""
    if len(support) >= support.shape[1]:
        return support, query
    basis, _ = np.linalg.qr(support.T)
    return support @ basis, query @ basis


def fitted(model: object, support: np.ndarray, labels: np.ndarray, query: np.ndarray, truth: np.ndarray) -> float:
    if type(model).__name__ == "LogisticRegression":
        support, query = rotated(support, query)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float((model.fit(support, labels).predict(query) == truth).mean())  # type: ignore[attr-defined]


def tuned(source: Source, ways: int, shots: int, draws: int) -> float:
    """The C that is best on other episodes of the same kind: in the rival's favour."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(77)
    tasks = [source.draw(rng, ways, shots) for _ in range(draws)]
    means = [
        np.mean([fitted(LogisticRegression(C=c, max_iter=300), *_arrays(source, task)) for task in tasks]) for c in CS
    ]
    return CS[int(np.argmax(means))]


def _arrays(source: Source, task: tuple) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    s, ys, q, yq, _ = task
    return source.z[s], ys, source.z[q], yq


def accuracy(source: Source, ways: int, shots: int, episodes: int, *, tune: int = 40) -> dict[str, object]:
    """auto and the rivals on the same episodes; the paired difference to whichever rival came out best."""
    c = tuned(source, ways, shots, tune) if tune else 10.0
    rng = np.random.default_rng(0)
    ours: list[float] = []
    theirs: dict[str, list[float]] = {}
    heads: dict[str, int] = {}
    confidence, right = [], []
    progress = Progress(f"{source.name} {ways}w{shots}s", episodes)
    for number in range(episodes):
        task = source.draw(rng, ways, shots)
        support, labels, query, truth = _arrays(source, task)
        learner = source.make()
        learner.learn_many(support, list(labels))
        found = learner.predict_many(query)
        hits = np.array([p.label == t for p, t in zip(found, truth, strict=True)])
        ours.append(float(hits.mean()))
        confidence += [p.confidence for p in found]
        right += list(hits)
        heads[learner.head.name] = heads.get(learner.head.name, 0) + 1
        for name, model in rivals(ways, shots, c).items():
            theirs.setdefault(name, []).append(fitted(model, support, labels, query, truth))
        progress.update(number + 1)
    progress.close()
    best = max(theirs, key=lambda name: float(np.mean(theirs[name])))
    gap = 100 * (np.array(ours) - np.array(theirs[best]))
    half = 1.96 * gap.std(ddof=1) / np.sqrt(episodes)
    return {
        "what": "accuracy",
        "data": source.name,
        "setting": f"{ways}w{shots}s",
        "episodes": episodes,
        "auto": 100 * float(np.mean(ours)),
        "heads": heads,
        "rivals": {name: 100 * float(np.mean(values)) for name, values in theirs.items()},
        "best": best,
        "difference": float(gap.mean()),
        "ci95": float(half),
        "ece": calibration_error(np.array(confidence), np.array(right)),
        "ok": bool(gap.mean() - half > -0.5),
    }


def report(source: Source, tasks: int) -> dict[str, object]:
    """Expected accuracy against that of the head on held-out images, at n shots and, for the bias, at n - 1.

    The binomial limit: how far the share of right ones among as many independent examples as are left out, and among
    the test images, are apart on average, where each is right with the chance that is the mean accuracy.
    """
    rng = np.random.default_rng(1)
    errors, sizes, truths, bias = [], [], [], []
    progress = Progress(f"{source.name} report", tasks)
    for number in range(tasks):
        shots = int(rng.integers(5, 21 if source.name != "Omniglot" else 16))
        s, ys, q, yq, _ = source.draw(rng, 5, shots, queries=100)
        learner = source.make()
        learner.learn_many(source.z[s], list(ys))
        expected = learner.report().accuracy
        truth = _class_mean(learner, source.z[q], yq)
        fewer = source.make(head=learner.head)
        kept = np.concatenate([np.flatnonzero(ys == label)[1:] for label in np.unique(ys)])
        fewer.learn_many(source.z[s[kept]], list(ys[kept]))
        errors.append(abs(expected - truth))
        bias.append(expected - _class_mean(fewer, source.z[q], yq))
        truths.append(truth)
        sizes.append((len(s), len(q)))
        progress.update(number + 1)
    progress.close()
    share = float(np.mean(truths)) / 100
    drawn = [rng.binomial(size, share, 400) / size for pair in sizes for size in pair]
    limits = [100 * np.abs(a - b).mean() for a, b in zip(drawn[::2], drawn[1::2], strict=True)]
    ratio = float(np.mean(errors) / np.mean(limits))
    half = 1.96 * float(np.std(bias)) / np.sqrt(tasks)
    return {
        "what": "report",
        "data": source.name,
        "tasks": tasks,
        "accuracy": float(np.mean(truths)),
        "mean absolute error": float(np.mean(errors)),
        "binomial limit": float(np.mean(limits)),
        "ratio": ratio,
        "bias": float(np.mean(bias)),
        "ci95": half,
        "ok": bool(ratio <= 1.25 and abs(np.mean(bias)) <= 1.5),
    }


def _class_mean(learner: Learner, query: np.ndarray, truth: np.ndarray) -> float:
    found = np.array([p.label for p in learner.predict_many(query)])
    return 100 * float(np.mean([(found[truth == c] == c).mean() for c in np.unique(truth)]))


def unknown(source: Source, shots: int, tasks: int) -> dict[str, object]:
    """5 of 10 classes are taught; images of all ten are asked. 5 % is asked for."""
    rng = np.random.default_rng(2)
    rejected, far, doubt = [], [], []
    progress = Progress(f"{source.name} unknown {shots}s", tasks)
    for number in range(tasks):
        s, ys, q, _, strange = source.draw(rng, 5, shots, strangers=5)
        learner = source.make(unknown=0.05)
        learner.learn_many(source.z[s], list(ys))
        known, other = learner.predict_many(source.z[q]), learner.predict_many(source.z[strange])
        rejected.append(float(np.mean([p.label is None for p in known])))
        far.append(auroc(np.array([p.novelty for p in known]), np.array([p.novelty for p in other])))
        doubt.append(auroc(-np.array([p.confidence for p in known]), -np.array([p.confidence for p in other])))
        progress.update(number + 1)
    progress.close()
    gap = np.array(far) - np.array(doubt)
    mean = 100 * float(np.mean(rejected))
    return {
        "what": "unknown",
        "data": source.name,
        "shots": shots,
        "tasks": tasks,
        "rejected": mean,
        "ci95": 196 * float(np.std(rejected)) / np.sqrt(tasks),
        "auroc": 100 * float(np.mean(far)),
        "softmax": 100 * float(np.mean(doubt)),
        "difference": 100 * float(gap.mean()),
        "difference ci95": 196 * float(gap.std()) / np.sqrt(tasks),
        "ok": bool(3.0 <= mean <= 7.0 and gap.mean() > 0),
    }


def omniglot(root: Path) -> Source:
    bundle = Bundle.open("glyphs")
    data = Omniglot(root, "evaluation").load(bundle.input.height, bundle.input.width)
    learner = Learner(bundle)
    raw = bundle_embed(learner)(data.pixels)
    return Source("Omniglot", learner.embed(raw), data.labels, lambda **options: Learner(bundle, **options))


def grocery(file: Path) -> list[Source]:
    """All classes; the second half of them; and every other one, each with a background measured on the rest, for
    limits at one shot."""
    data = np.load(file, allow_pickle=False)
    z, y = to_float(Normalisation().apply(data["z"])), data["y"]
    dim = z.shape[1]
    late = y > np.median(np.unique(y))
    sources = [
        Source(name, z[rows], y[rows], lambda **options: Learner(dim=dim, **options))
        for name, rows in (("grocery", y >= 0), ("grocery, 2nd half", late))
    ]
    odd = np.unique(y, return_inverse=True)[1] % 2
    for half in (0, 1):
        rest = np.unique(y[odd != half], return_inverse=True)[1]
        background = measure_background(z[odd != half], rest, source="every other class")

        def make(background: object = background, **options: object) -> Learner:
            return Learner(dim=dim, background=background, **options)  # type: ignore[arg-type]

        sources.append(Source(f"grocery, {('even', 'odd')[half]}", z[odd == half], y[odd == half], make))
    return sources


def shown(found: list[dict]) -> str:
    """One table for each kind of measurement."""
    texts = []
    for kind in ("accuracy", "report", "unknown"):
        rows = [one for one in found if one["what"] == kind]
        if not rows:
            continue
        keys = [key for key in rows[0] if key not in ("what", "rivals", "heads")]
        cells = [tuple(f"{r[k]:.3f}" if isinstance(r[k], float) else str(r[k]) for k in keys) for r in rows]
        texts.append(table([tuple(keys), *cells]))
    return "\n\n".join(texts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--omniglot", type=Path, default=Path(os.environ.get("EDGEMETA_OMNIGLOT", NEAR)))
    parser.add_argument("--grocery", type=Path, default=Path("build/grocery.npz"))
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--only", choices=["accuracy", "report", "unknown"])
    parser.add_argument("--data", choices=["omniglot", "grocery"])
    parser.add_argument("--out", type=Path, default=Path("build/bench-heads.json"))
    options = parser.parse_args()
    groups: list[list[Source]] = []
    if options.data != "grocery" and (options.omniglot / "images_evaluation.zip").exists():
        groups.append([omniglot(options.omniglot)])
    if options.data != "omniglot" and options.grocery.exists():
        groups.append(grocery(options.grocery))
    found: list[dict] = []
    n = options.episodes
    started = time.perf_counter()
    for sources in groups:
        whole, plain, halves = sources[0], sources[:2], sources[2:] or sources
        if options.only in (None, "accuracy"):
            found += [accuracy(one, ways, shots, n) for one in plain for ways, shots in ((5, 1), (5, 5), (20, 5))]
            every = len(whole.members)
            found.append(accuracy(whole, every, 10, max(3, n // (50 if every <= 50 else 125)), tune=0))
        if options.only in (None, "report"):
            found += [report(one, max(2, n // 2)) for one in plain]
        if options.only in (None, "unknown"):
            longest = 19 if whole.name == "Omniglot" else 20
            found += [unknown(half, s, n // len(halves)) for s in (1, 5, longest) for half in halves]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found, indent=1) + "\n")
    print(shown(found))
    print(f"{time.perf_counter() - started:.0f} s")
    return 0 if all(one["ok"] for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
