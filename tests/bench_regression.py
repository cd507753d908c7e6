"""The figures of regression: sinusoids as in the MAML paper, and a real set against scikit-learn.

`FUNCTIONS` are called by bench.py; this file alone prints them.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from bench_drift import Measured

from edgemeta import Normalisation, RegressionPrior, Regressor

FEATURES = 60
POINTS = (5, 10, 20)
TASKS = 500
FEW = (6, 10, 20)


class Waves:
    """Sinusoids of amplitude 0.1 to 5 and phase 0 to pi on -5 to 5 (Finn, Abbeel, Levine 2017, section 5.1), seen
    through fixed random Fourier features (Rahimi, Recht 2007): cos(w x + b), w normal, b uniform."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        fixed = np.random.default_rng(0)
        self.w, self.b = fixed.normal(size=FEATURES), fixed.uniform(0, 2 * np.pi, FEATURES)

    def features(self, x: np.ndarray) -> np.ndarray:
        return np.cos(np.outer(x, self.w) + self.b) / np.sqrt(FEATURES)

    def task(self, points: int) -> tuple[np.ndarray, np.ndarray]:
        """Features (points, D) and values (points, 1)."""
        amplitude, phase = self.rng.uniform(0.1, 5.0), self.rng.uniform(0.0, np.pi)
        x = self.rng.uniform(-5.0, 5.0, points)
        return self.features(x), amplitude * np.sin(x - phase)[:, None]


def sinusoids(tasks: int = TASKS) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Mean squared error of each new task with the prior, learned from 1,000 other tasks, and of plain ridge."""
    normalisation, background = Normalisation(l2=False), Waves(1)
    seen = [background.task(20) for _ in range(1000)]
    embedder = Regressor(dim=FEATURES, normalisation=normalisation)
    prior = RegressionPrior.learn([(embedder.embed(z), y) for z, y in seen])
    found = {}
    for points in POINTS:
        errors: tuple[list[float], list[float]] = ([], [])
        fresh = Waves(100 + points)
        for _ in range(tasks):
            z, y = fresh.task(points + 100)
            for kept, options in zip(errors, ({"prior": prior}, {}), strict=True):
                regressor = Regressor(dim=FEATURES, normalisation=normalisation, **options)
                regressor.learn_many(z[:points], y[:points])
                predicted = np.array([p.value for p in regressor.predict_many(z[points:])])
                kept.append(float(np.mean((predicted - y[points:, 0]) ** 2)))
        found[points] = np.array(errors[0]), np.array(errors[1])
    return found


def diabetes() -> tuple[float, dict[str, float], float]:
    """RMSE over decades of age left out one by one, of ours and of scikit-learn's ridges on the same features; and the
    share of targets, in percent, within 1.96 standard deviations."""
    _, _, decade = patients()
    return against_sklearn([np.flatnonzero(decade != each) for each in np.unique(decade)])


def few_patients(count: int, draws: int = 100) -> tuple[float, dict[str, float], float]:
    """The same after `count` examples drawn at random, on all the others."""
    rng = np.random.default_rng(count)
    return against_sklearn([rng.permutation(len(patients()[1]))[:count] for _ in range(draws)])


@cache
def patients() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Diabetes: standardised features (442, 10) of norm at most 1, targets and decades of age (442,)."""
    from sklearn.datasets import load_diabetes

    data = load_diabetes(scaled=False)
    z = (data.data - data.data.mean(axis=0)) / data.data.std(axis=0)
    z = z / (1.001 * np.linalg.norm(z, axis=1).max())
    return z, data.target, (data.data[:, 0] // 10).astype(int)


def against_sklearn(folds: list[np.ndarray]) -> tuple[float, dict[str, float], float]:
    """Taught the rows of each fold, tested on the others."""
    from sklearn.linear_model import BayesianRidge, RidgeCV

    z, y, _ = patients()
    models = {"RidgeCV": RidgeCV(np.logspace(-4, 4, 25)), "BayesianRidge": BayesianRidge()}
    gaps: dict[str, list[np.ndarray]] = {"ours": [], **{name: [] for name in models}}
    held = []
    for rows in folds:
        out = np.delete(np.arange(len(y)), rows)
        regressor = Regressor(dim=z.shape[1], normalisation=Normalisation(l2=False))
        regressor.learn_many(z[rows], y[rows])
        found = regressor.predict_many(z[out])
        gaps["ours"].append(np.array([p.value for p in found]) - y[out])
        held.append(np.abs(gaps["ours"][-1]) < 1.96 * np.array([p.std[0] for p in found]))
        for name, model in models.items():
            gaps[name].append(model.fit(z[rows], y[rows]).predict(z[out]) - y[out])
    errors = {name: float(np.sqrt(np.mean(np.concatenate(values) ** 2))) for name, values in gaps.items()}
    return errors.pop("ours"), errors, 100 * float(np.concatenate(held).mean())


def waves() -> list[Measured]:
    figures = []
    for points, errors in sinusoids().items():
        for name, values in zip(("learned prior", "plain ridge"), errors, strict=True):
            ci95 = 1.96 * float(values.std(ddof=1)) / np.sqrt(len(values))
            figures.append(
                Measured(f"sinusoids, {points} points, {name}", float(values.mean()), "mean squared error", ci95=ci95)
            )
    return figures


def groups() -> list[Measured]:
    ours, rivals, coverage = diabetes()
    return [
        Measured(
            "diabetes, unseen decades of age, error / best scikit-learn ridge", ours / min(rivals.values()), "ratio"
        ),
        Measured("diabetes, targets within 1.96 std", coverage, "%"),
    ]


def few() -> list[Measured]:
    figures = []
    for count in FEW:
        ours, rivals, coverage = few_patients(count)
        name = f"diabetes, {count} examples of 10 numbers"
        figures.append(Measured(f"{name}, error / best scikit-learn ridge", ours / min(rivals.values()), "ratio"))
        figures.append(Measured(f"{name}, targets within 1.96 std", coverage, "%"))
    return figures


FUNCTIONS = [waves, groups, few]

if __name__ == "__main__":
    for function in FUNCTIONS:
        for each in function():
            print(f"{each.name}: {each.value:.4g} {each.unit}" + (f" +- {each.ci95:.2g}" if each.ci95 else ""))
