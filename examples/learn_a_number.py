"""Learn a number: read an old gauge after a few examples of what it shows.

`Regressor` is the learner's twin: the same bundles, embeddings and journal, numbers instead of classes, and as exact
in forgetting. A prediction has a mean and the standard deviation of a new reading; while there are too few examples to
say, the latter is None. `report()` says what error to expect from examples left out, in closed form. `targets=3` learns
three numbers at once, and `prior=` begins with what other tasks taught (`RegressionPrior.learn`). On the command line:
`edgemeta learn gauge.learned --bundle glyphs --target 40 photo.png`, then `edgemeta predict gauge.learned new.png`.
"""

import numpy as np

from edgemeta import Regressor


def gauge(percent: float, rng: np.random.Generator) -> np.ndarray:
    """A photo, 64 x 64: a needle from lower left (0) over the top to lower right (100), a little noise."""
    angle = np.radians(225 - 2.7 * percent)
    y, x = np.mgrid[0:64, 0:64] - 31.5 + rng.normal(0, 0.4, (2, 1, 1))
    along, across = x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)
    needle = (along > -4) & (along < 26) & (np.abs(across) < 2)
    ring = np.abs(np.hypot(x, y) - 29) < 1
    return np.clip(235 - 200 * (needle | ring) + rng.normal(0, 6, (64, 64)), 0, 255).astype(np.uint8)


rng = np.random.default_rng(0)
regressor = Regressor("glyphs")
for percent in (0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100):
    regressor.learn_many([gauge(percent, rng) for _ in range(2)], [percent, percent])
slip = regressor.learn(gauge(50, rng), 500)
regressor.forget(example=slip)  # as if it had never been said

print(regressor.report())
for percent in (15, 47, 83):
    found = regressor.predict(gauge(percent, rng))
    print(f"the gauge shows {percent}: read {found.value:.0f} +- {found.std[0]:.0f}")
