"""What a runner adds to its runtime's bare call, on the smallest backbone. `FUNCTIONS` are called by bench.py.

One thread. Runner and bare call share one session and take turns, and the pairs' differences are what counts: the graph
takes hundreds of microseconds that vary by more than what is looked for.
"""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable

import numpy as np
from bench_drift import Measured

from edgemeta import Bundle
from edgemeta.runners import open_runner

ROUNDS = 3000


def difference(
    ours: Callable[[], object], bare: Callable[[], object], rounds: int = ROUNDS
) -> tuple[float, float, float]:
    """Median microseconds of `bare`, median of ours - bare, and half of that median's 95 % confidence interval."""
    times = np.empty((rounds, 2))
    for i in range(rounds):
        # Each goes first every other time: the second finds the caches warm.
        order = ((0, ours), (1, bare)) if i % 2 else ((1, bare), (0, ours))
        for place, call in order:
            started = time.perf_counter()
            call()
            times[i, place] = 1e6 * (time.perf_counter() - started)
    extra = np.sort(times[:, 0] - times[:, 1])
    half = 1.96 * np.sqrt(rounds) / 2  # ranks, of a binomial
    low, high = extra[int(rounds / 2 - half)], extra[int(np.ceil(rounds / 2 + half))]
    return statistics.median(times[:, 1]), statistics.median(extra), float(high - low) / 2


def images_for(bundle: Bundle) -> np.ndarray:
    shape = (1, bundle.input.height, bundle.input.width, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def onnx_overhead() -> list[Measured]:
    bundle = Bundle.open("glyphs")
    runner = open_runner(bundle, variant="onnx-fp32", threads=1)
    session, name = runner._session, bundle.variants[0].input  # type: ignore[attr-defined]
    images = images_for(bundle)
    bare, extra, ci95 = difference(lambda: runner.run(images), lambda: session.run(None, {name: images}))
    return [
        Measured("bare session.run, glyphs, batch 1", bare, "us"),
        Measured("ONNX Runtime runner - bare session.run, glyphs", extra, "us", high=20.0, ci95=ci95),
    ]


def litert_overhead() -> list[Measured]:
    if importlib.util.find_spec("ai_edge_litert") is None:
        return []
    from edgemeta.export import tflite
    from edgemeta.runners.litert import LiteRTRunner

    bundle = Bundle.open("glyphs")
    runner = LiteRTRunner(tflite.FP32, tflite.to_tflite(bundle.graph("onnx-fp32")), threads=1)
    interpreter, given, made = runner._interpreter, runner._input, runner._output
    images = images_for(bundle)
    runner.run(images)

    def bare() -> object:
        interpreter.set_tensor(given, images)
        interpreter.invoke()
        return interpreter.get_tensor(made)

    plain, extra, ci95 = difference(lambda: runner.run(images), bare)
    return [
        Measured("bare set_tensor, invoke, get_tensor, glyphs, batch 1", plain, "us"),
        Measured("LiteRT runner - bare calls, glyphs", extra, "us", high=20.0, ci95=ci95),
    ]


FUNCTIONS = (onnx_overhead, litert_overhead)

if __name__ == "__main__":
    for function in FUNCTIONS:
        for each in function():
            ci95 = f" +- {each.ci95:.2f}" if each.ci95 else ""
            bar = f" (bar {each.high:g})" if each.high else ""
            print(f"{each.name}: {each.value:.2f}{ci95} {each.unit}{bar}")
