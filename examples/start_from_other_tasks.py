"""Start from other tasks: a prior learned from many small regressions answers a new one after a few examples.

`RegressionPrior.learn` takes background tasks, embeddings and numbers each, and finds by expectation maximisation what
a new task is like: the prior of ALPaCA's last layer. It is learned on a workstation, NumPy alone, saved as a small
file, and moved on the device by exactly as much as the examples say. Here: a sensor whose curve is another sine for
each device that is built, seen through fixed features of the input.
"""

import tempfile
from pathlib import Path

import numpy as np

from edgemeta import Normalisation, RegressionPrior, Regressor

rng = np.random.default_rng(0)
frequency, phase = rng.normal(size=60), rng.uniform(0, 2 * np.pi, 60)
as_it_is = Normalisation(l2=False)  # the features have a norm of at most 1, and their length matters


def features(x: np.ndarray) -> np.ndarray:
    return np.cos(np.outer(x, frequency) + phase) / np.sqrt(60)


def device(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and readings of one device."""
    x = rng.uniform(-5, 5, count)
    return x, rng.uniform(0.1, 5) * np.sin(x + rng.uniform(0, np.pi))


embed = Regressor(dim=60, normalisation=as_it_is).embed
tasks = [(embed(features(x)), y[:, None]) for x, y in (device(20) for _ in range(500))]
file = Path(tempfile.mkdtemp()) / "sensors.npz"
RegressionPrior.learn(tasks).save(file)

x, y = device(105)
for prior in (file, None):
    regressor = Regressor(dim=60, normalisation=as_it_is, prior=prior)
    regressor.learn_many(features(x[:5]), y[:5])
    error = np.mean([abs(p.value - t) for p, t in zip(regressor.predict_many(features(x[5:])), y[5:], strict=True)])
    print(f"five readings, {'with' if prior else 'without'} what other devices taught: off by {error:.2f}")
