"""The figures of the drift alarm: false alarms on unchanged streams, and what a frame costs.

`FUNCTIONS` are called by bench.py; this file alone prints them.
"""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np

from edgemeta.drift import DriftWatch

STREAMS = 40
FRAMES = 100_000
BASELINE = 10_000
DIM = 16


class Measured(NamedTuple):
    """One number; low and high are its bar, None where there is none; ci95 is half of a 95 % confidence interval."""

    name: str
    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    ci95: float | None = None


def autoregressive(rng: np.random.Generator, frames: int, dim: int, rho: float) -> np.ndarray:
    """x_t = rho x_(t-1) + e_t with variance 1, (frames, dim), stationary from its first frame.

    The sum of rho^j e_(t-j) over j < 2 s is that over j < s plus rho^s times the same, s frames earlier.
    """
    x = rng.normal(size=(frames, dim))
    x[1:] *= np.sqrt(1 - rho * rho)
    reach = 1
    while reach < frames and rho**reach > 1e-12:
        x[reach:] += rho**reach * x[:-reach].copy()
        reach *= 2
    return x


def false_alarms() -> list[Measured]:
    """Alarms over the rate asked for, on unchanged AR(1) streams, as they are and normalised; mean over streams."""
    figures = []
    for rho in (0.0, 0.9, 0.99):
        found: dict[tuple[float, str], list[float]] = {}
        for stream in range(STREAMS):
            x = autoregressive(np.random.default_rng([stream, int(100 * rho)]), BASELINE + FRAMES, DIM, rho)
            sphere = x / np.sqrt((x * x).sum(axis=1, keepdims=True))
            for rate in (1.0, 10.0):
                for kind, z in (("Gaussian", x), ("on a sphere", sphere)):
                    seen = DriftWatch(z[:BASELINE], rate).see(z[BASELINE:])
                    found.setdefault((rate, kind), []).append(seen.alarms * 10_000 / FRAMES / rate)
        for (rate, kind), ratios in found.items():
            ci95 = 1.96 * float(np.std(ratios)) / np.sqrt(STREAMS)
            name = f"drift: false alarms / rate, correlation {rho:g}, rate {rate:g}, {kind}"
            figures.append(Measured(name, float(np.mean(ratios)), "ratio", 0.5, 2.0, ci95))
    return figures


def cost() -> list[Measured]:
    """Microseconds to watch one frame of 640 numbers, fed one by one."""
    z = np.random.default_rng(0).normal(size=(2000, 640)) / 25
    watch, rows = DriftWatch(z), [z[i : i + 1] for i in range(2000)]
    started = time.perf_counter()
    for row in rows:
        watch.see(row)
    return [Measured("drift: watch one embedding", (time.perf_counter() - started) / len(rows) * 1e6, "us")]


FUNCTIONS = [false_alarms, cost]

if __name__ == "__main__":
    for function in FUNCTIONS:
        for each in function():
            print(f"{each.name}: {each.value:.2f} {each.unit}" + (f" +- {each.ci95:.2f}" if each.ci95 else ""))
