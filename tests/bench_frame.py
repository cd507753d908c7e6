"""From a camera's frame to a label, on a small backbone: what the head and the fitting add to `session.run`.

One thread each, medians of alternating runs. Used by `make bench`.
"""

from __future__ import annotations

import ctypes
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from bench_drift import Measured
from PIL import Image

from edgemeta import Bundle, Learner, kernels
from edgemeta.imaging import crop_box, fit

ROUNDS = 300
CLASSES, SHOTS = 5, 5
HUNDRED = 100
FRAME = (480, 640, 3)


def alternating(calls: dict[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, float]:
    """Median seconds of each call, run in turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - started)
    return {name: statistics.median(found) for name, found in times.items()}


def many(call: Callable[[], object], repeats: int = HUNDRED) -> Callable[[], None]:
    """So short a call that only a hundred of them can be timed."""

    def run() -> None:
        for _ in range(repeats):
            call()

    return run


def session_of(bundle: Bundle) -> tuple[object, str]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    graph = bundle.graph(bundle.variants[0].name)
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    return session, bundle.variants[0].input


def frame_to_label() -> list[Measured]:
    # Not at the top: torch would count as memory of what bench.py starts.
    from mobilenet import SIDE, mobilenet_bundle
    from sklearn.linear_model import RidgeClassifier

    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (CLASSES * SHOTS, *FRAME), dtype=np.uint8)
    labels = [f"class {i % CLASSES}" for i in range(len(frames))]
    with tempfile.TemporaryDirectory() as folder:
        bundle = mobilenet_bundle(Path(folder) / "mobilenet.edgemeta")
        session, name = session_of(bundle)
        learner = Learner(bundle, threads=1)
        learner.learn_many(list(frames), labels)
    classifier = RidgeClassifier().fit(learner.embed(list(frames)), labels)
    fitted = fit(frames[0], SIDE, SIDE)[None]
    box = crop_box(*FRAME[:2], SIDE, SIDE)

    def usual() -> object:
        image = Image.fromarray(frames[0]).crop(box).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        z = session.run(None, {name: np.asarray(image)[None]})[0]  # type: ignore[attr-defined]
        return classifier.predict(z / np.linalg.norm(z))

    found = alternating(
        {
            "run": lambda: session.run(None, {name: fitted}),  # type: ignore[attr-defined]
            "ours": lambda: learner.predict(frames[0]),
            "usual": usual,
        }
    )
    return [
        Measured("session.run, MobileNetV2-0.35 at 96 x 96", 1e3 * found["run"], "ms"),
        Measured("frame to label / session.run", found["ours"] / found["run"], "ratio", high=1.7),
        Measured("the same by Pillow, NumPy, scikit-learn", found["usual"] / found["run"], "ratio"),
        *head_share(lambda: session.run(None, {name: fitted})),  # type: ignore[attr-defined]
    ]


def head_share(run: Callable[[], object]) -> list[Measured]:
    """W z + b and the best of it, in C; and what makes a stored embedding of what the graph gave."""
    if kernels.name() == kernels.NUMPY:
        return []
    from bench_native import aligned, at, library, repeated
    from mobilenet import DIM

    from edgemeta._native import Kernels

    core, c, loops, rng = Kernels(kernels.name()), library(), repeated(), np.random.default_rng(0)
    raw, q20 = rng.normal(size=(1, DIM)).astype(np.float32), np.empty((1, DIM), np.int32)
    weights, bias, z = aligned((CLASSES, DIM), "f4"), aligned(CLASSES, "f4"), aligned(DIM, "f4")
    weights[:], bias[:], z[:] = rng.normal(size=weights.shape), 0.0, raw[0]
    one = (c.em_best, ctypes.c_void_p(c.em_kernels_find(kernels.name().encode())), at(weights), at(bias), CLASSES, DIM)
    found = alternating(
        {
            "run": run,
            "head": lambda: loops.repeated_best(*one, at(z), HUNDRED),
            "normalise": many(lambda: core.normalise(raw, 1, DIM, None, 1.0, True, 1.0, q20)),
        }
    )
    # A hundred calls were timed, so these are per cent.
    return [
        Measured("head / session.run, 5 classes x 1280", found["head"] / found["run"], "%", high=0.2),
        Measured("normalisation / session.run, 1280", found["normalise"] / found["run"], "%"),
    ]


FUNCTIONS = (frame_to_label,)

if __name__ == "__main__":
    for function in FUNCTIONS:
        for figure in function():
            print(f"{figure.name}: {figure.value:.3g} {figure.unit}" + (f" (bar {figure.high})" if figure.high else ""))
