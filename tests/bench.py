"""`make bench`: every figure of the README, measured here and now.

Ratios are measured side by side in one run, as medians of alternating runs. Writes a list of
{name, value, unit, bar, ok} and prints a table; a bar is a limit that the value must keep, None where there is none.
Exit status 1 when a bar is missed. Omniglot is measured where it is found (--omniglot DIR, or EDGEMETA_OMNIGLOT).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import bench_drift
import bench_frame
import bench_regression
import bench_runners
import numpy as np
from threadpoolctl import threadpool_limits

from edgemeta import Bundle, Learner, make_head
from edgemeta.data import Digits, Omniglot
from edgemeta.demo import draw_support, embed_set, measure
from edgemeta.evaluation import bundle_embed, evaluate, evaluate_runs
from edgemeta.terminal import table

DRAWS = 50
EPISODES = 1000
NEAR = Path(__file__).parents[2] / "shared" / "data" / "omniglot"


@dataclass(frozen=True)
class Figure:
    """One measured number; `ci95` is half of a 95 % confidence interval where there is one."""

    name: str
    value: float
    unit: str
    bar: float | None
    ok: bool
    ci95: float | None = None


def at_least(name: str, value: float, unit: str, bar: float, ci95: float | None = None) -> Figure:
    return Figure(name, round(value, 4), unit, bar, value >= bar, ci95 and round(ci95, 3))


def at_most(name: str, value: float, unit: str, bar: float, ci95: float | None = None) -> Figure:
    return Figure(name, round(value, 4), unit, bar, value <= bar, ci95 and round(ci95, 3))


def stated(name: str, value: float, unit: str) -> Figure:
    return Figure(name, round(value, 4), unit, None, True)


def child(code: str) -> tuple[float, float]:
    """Wall seconds and peak resident MiB of a fresh interpreter that runs `code`."""
    report = "\nimport resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code + report], capture_output=True, text=True, check=True)
    return time.perf_counter() - started, float(done.stdout.split()[-1])


def imports() -> list[Figure]:
    """`import edgemeta` against `import numpy`: whole processes, less that of an empty one."""
    empty, numpy, ours, learner = [], [], [], []
    for _ in range(15):
        empty.append(child("pass")[0])
        numpy.append(child("import numpy")[0])
        ours.append(child("import edgemeta")[0])
        learner.append(child("from edgemeta import Learner")[0])
    base = statistics.median(empty)
    reference = statistics.median(numpy) - base
    return [
        at_most("import edgemeta / import numpy", (statistics.median(ours) - base) / reference, "ratio", 1.3),
        # The package loads its parts when they are first named, so this is what a program pays.
        stated("from edgemeta import Learner / import numpy", (statistics.median(learner) - base) / reference, "ratio"),
    ]


BARE = """
import numpy, onnxruntime
session = onnxruntime.InferenceSession(GRAPH, providers=["CPUExecutionProvider"])
x = numpy.zeros((1, SIDE, SIDE, 3), numpy.uint8)
for _ in range(20):
    session.run(None, {NAME: x})
"""
LEARNING = """
import numpy
from edgemeta import Learner
learner = Learner("glyphs")
x = numpy.random.default_rng(0).integers(0, 256, (SIDE, SIDE)).astype(numpy.uint8)
for i in range(20):
    learner.learn(x, "ab"[i % 2])
    learner.predict(x)
"""


def memory(bundle: Bundle) -> list[Figure]:
    """Peak memory of learn + predict against a bare session over the same graph."""
    variant = bundle.variants[0]
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / "graph.onnx"
        graph.write_bytes(bundle.graph(variant.name))
        bare = BARE.replace("GRAPH", repr(str(graph))).replace("NAME", repr(variant.input))
        pairs = [
            (child(LEARNING.replace("SIDE", "64"))[1], child(bare.replace("SIDE", str(bundle.input.height)))[1])
            for _ in range(5)
        ]
    ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    return [
        at_most("peak memory, learn + predict / bare onnxruntime session", ours / theirs, "ratio", 1.5),
        stated("peak memory, learn + predict", ours, "MiB"),
    ]


def demo_time() -> list[Figure]:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "edgemeta", "demo"], capture_output=True, check=True)
    return [at_most("edgemeta demo", time.perf_counter() - started, "s", 20.0)]


def median_time(call: object, repeats: int) -> float:
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()  # type: ignore[operator]
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def teaching(bundle: Bundle) -> list[Figure]:
    """Learning one example from its embedding, with and without sync; one prediction; the backbone."""
    figures = []
    z = np.random.default_rng(0).normal(size=(400, bundle.dim))
    rows = iter(np.tile(z, (4, 1)))
    # Beside the checkout, not in a temporary file system in memory, where a sync costs nothing.
    with tempfile.TemporaryDirectory(dir=".") as folder:
        for sync in ("call", "manual", "never"):
            with Learner(bundle, Path(folder) / f"{sync}.learned", sync=sync) as learner:
                seconds = median_time(lambda learner=learner: learner.learn(next(rows), "a"), 200)
            figures.append(stated(f'learn one embedding, sync="{sync}"', 1e3 * seconds, "ms"))
    with Learner(bundle) as learner:
        learner.learn_many(z[:25], [f"c{i % 5}" for i in range(25)])
        figures.append(
            stated("predict one embedding, 5 classes", 1e6 * median_time(lambda: learner.predict(z[0]), 500), "us")
        )
        image = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
        figures.append(
            stated("predict one 64 x 64 image", 1e3 * median_time(lambda: learner.predict(image), 200), "ms")
        )
    return figures


def leaving_out() -> list[Figure]:
    """Scores of every example left out against one fit, from the examples, with lambda or shrinkage given; one thread,
    which is what the core has, also for NumPy's part of both."""
    with threadpool_limits(1):
        return _leaving_out()


def _leaving_out() -> list[Figure]:
    figures = []
    for classes, shots in ((5, 5), (20, 25), (40, 50)):
        learner = Learner(dim=640)
        y = np.repeat(np.arange(classes), shots)
        centres = np.random.default_rng(1).normal(size=(classes, 640))
        z = centres[y] + np.random.default_rng(2).normal(size=(len(y), 640))
        learner.learn_many(z, [f"{c:02d}" for c in y])
        for head in (make_head("ridge"), make_head("lda")):
            facts = learner._taught.facts(head)
            z, y = facts.examples()

            def fresh(facts: object = facts, z: np.ndarray = z) -> object:
                return replace(facts, moment=lambda: z.T @ z)  # type: ignore[type-var]

            pairs = [
                (median_time(lambda: head.solve(fresh()), 3), median_time(lambda: head.leave_out(fresh()), 3))  # noqa: B023
                for _ in range(7)
            ]
            fit, left = (statistics.median(side) for side in zip(*pairs, strict=True))
            figures.append(at_most(f"{head.name}, leave-one-out / one fit, {len(y)} x 640", left / fit, "ratio", 3.0))
    return figures


def digits(bundle: Bundle) -> list[Figure]:
    """5 shots of the shipped digits, the same draws for the model and for two raw-pixel baselines.

    The ridge on pixels is given the best of eight lambdas, chosen on the test images: a generous baseline.
    """
    data = Digits().load()
    learner = Learner(bundle)
    raw, _ = embed_set(learner, data, quiet=True)
    rows = {shots: measure(learner, raw, data, shots, DRAWS, 0) for shots in (1, 5, 20)}
    pixels = (255.0 - data.pixels.reshape(len(data), -1)) / 255.0 / 8.0
    means = _baseline(pixels, data, "euclidean", {})
    ridges = [_baseline(pixels, data, "ridge", {"lambda_": 10.0**k}) for k in np.arange(-3, 1.0, 0.5)]
    best = max([means, *ridges], key=lambda accuracies: float(accuracies.mean()))
    ours = np.array(_draws(learner, raw, data))
    gap = ours - best
    ci95 = 1.96 * gap.std(ddof=1) / len(gap) ** 0.5
    return [
        *[
            Figure(f"digits, {row.shots} shots", round(row.accuracy, 3), "%", None, True, round(row.ci95 or 0.0, 3))
            for row in rows.values()
        ],
        stated("digits, 5 shots, better raw-pixel baseline", float(best.mean()), "%"),
        at_least("digits, 5 shots, above that baseline (paired)", float(gap.mean()), "points", 8.0, float(ci95)),
    ]


def grain(bundle: Bundle) -> list[Figure]:
    """What camera noise does to a model that was not trained on it: ten clean digits taught, noisy ones asked."""
    small, data = Digits().load(), Digits().load(64, 64)
    learner = Learner(bundle)
    asked = np.concatenate([members[1::9] for members in data.members()])
    for members, name in zip(data.members(), data.classes, strict=True):
        learner.learn_many(small.pixels[members[::15][:10]], name)
    figures = []
    for sigma in (0, 15, 25):
        noise = np.random.default_rng(0).normal(0, sigma, (len(asked), 64, 64))
        frames = np.clip(data.pixels[asked] + noise, 0, 255).astype(np.uint8)
        truth = [data.classes[label] for label in data.labels[asked]]
        right = [p.label == t for p, t in zip(learner.predict_many(frames), truth, strict=True)]
        figures.append(stated(f"digits, 10 shots, grain of {sigma} levels", 100 * float(np.mean(right)), "%"))
    return figures


def _draws(learner: Learner, raw: np.ndarray, data: object, **options: object) -> list[float]:
    """Accuracy in percent of each draw of 5 examples a class."""
    names = np.array(data.classes, dtype=object)[data.labels]  # type: ignore[attr-defined]
    accuracies = []
    for number in range(DRAWS):
        support = draw_support(data, 5, 0, number)  # type: ignore[arg-type]
        rest = np.setdiff1d(np.arange(len(names)), support)
        with Learner(learner.bundle) if learner.bundle else Learner(**options) as fresh:  # type: ignore[arg-type]
            fresh.learn_many(raw[support], list(names[support]))
            predicted = np.array([p.label for p in fresh.predict_many(raw[rest])], dtype=object)
        accuracies.append(100 * float((predicted == names[rest]).mean()))
    return accuracies


def _baseline(pixels: np.ndarray, data: object, head: str, options: dict) -> np.ndarray:
    from edgemeta import Normalisation

    learner_options = {
        "dim": pixels.shape[1],
        "head": make_head(head, **options),
        "normalisation": Normalisation(l2=False),
    }
    return np.array(_draws(Learner(**learner_options), pixels, data, **learner_options))  # type: ignore[arg-type]


def omniglot(bundle: Bundle, root: Path) -> list[Figure]:
    """The published settings, on the 659 evaluation characters, through the device path."""
    embed = bundle_embed(Learner(bundle))
    data = Omniglot(root, "evaluation").load(bundle.input.height, bundle.input.width)
    raw = embed(data.pixels)
    figures = []
    for (ways, shots), bar in {(5, 1): 98.8, (5, 5): 99.7, (20, 1): 96.0, (20, 5): 98.9}.items():
        found = evaluate(
            lambda _: raw, lambda: Learner(bundle), data, ways=ways, shots=shots, queries=5, episodes=EPISODES
        )
        figures.append(at_least(f"Omniglot {ways}-way {shots}-shot", found.accuracy, "%", bar, found.ci95))
    runs = evaluate_runs(embed, lambda: Learner(bundle), root, bundle.input.height, bundle.input.width)
    half = (runs.high - runs.low) / 2
    figures.append(at_most("Omniglot, Lake's 20 runs, error (shipped seed)", runs.error, "%", 7.0, half))
    return figures


def measured(functions: list) -> list[Figure]:
    """Figures of another file, with a lower and an upper bar."""
    found = []
    for each in (one for function in functions for one in function()):
        ok = (each.low is None or each.value >= each.low) and (each.high is None or each.value <= each.high)
        bar = each.high if each.high is not None else each.low
        found.append(Figure(each.name, round(each.value, 6), each.unit, bar, ok, each.ci95 and round(each.ci95, 6)))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/bench.json"))
    parser.add_argument("--omniglot", type=Path, default=Path(os.environ.get("EDGEMETA_OMNIGLOT", NEAR)))
    options = parser.parse_args()
    bundle = Bundle.open("glyphs")
    figures = [at_most("glyphs bundle", bundle.nbytes / 1e6, "MB", 1.0)]
    for part in (
        imports,
        demo_time,
        lambda: memory(bundle),
        lambda: teaching(bundle),
        leaving_out,
        lambda: digits(bundle),
        lambda: grain(bundle),
        lambda: measured(bench_drift.FUNCTIONS),
        lambda: measured(bench_frame.FUNCTIONS),
        lambda: measured(bench_regression.FUNCTIONS),
        lambda: measured(bench_runners.FUNCTIONS),
    ):
        figures += part()
    if (options.omniglot / "images_evaluation.zip").exists():
        figures += omniglot(bundle, options.omniglot)
    else:
        print(f"Omniglot is not at {options.omniglot}: its figures are left out", file=sys.stderr)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps([asdict(figure) for figure in figures], indent=1) + "\n")
    rows = [("figure", "value", "95 %", "bar", "")]
    for f in figures:
        value, bar = f"{f.value:.3g} {f.unit}" if f.value < 10 else f"{f.value:.2f} {f.unit}", f"{f.bar or ''}"
        rows.append(
            (
                f.name,
                value,
                f"+- {f.ci95:.2f}" if f.ci95 else "",
                bar,
                "" if f.bar is None else "ok" if f.ok else "MISSED",
            )
        )
    print(table(rows))
    return 0 if all(figure.ok for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
