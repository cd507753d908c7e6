"""How far inputs of taught classes lie from the class means, measured beforehand: what "unknown" means at few shots.

The distance of an embedding z is u(z) = min over c of ||z - mean_c||^2 n_c / (n_c + 1), mean_c of n_c examples: such a
mean is itself off by sigma^2 / n, so E||z - mean||^2 = sigma^2 (1 + 1 / n), and the factor takes that out. What a
distance means depends on the backbone, so its quantiles are measured once, on classes that no head was taught, and
travel in the bundle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray

from .errors import DataError, OptionError
from .options import as_count, check_positive
from .terminal import Progress

# The axes of the format (SPEC.md).
SHOTS = (1, 2, 5, 10, 20)
WAYS = (1, 2, 5, 10, 20, 50)
RATES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
SHAPE = (len(SHOTS), len(WAYS), len(RATES))
MAX_CLASSES = (1 << 31) - 1
MAX_SOURCE = 4096

# Queries an episode. With 400 episodes the rarest rate, 0.001, is still exceeded by 100.
QUERIES = 250
# The least squared distance between two embeddings on the grid of 2^-20: a threshold is never zero.
NEAREST = 2.0**-40

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Background:
    """values float32 (5 shots, 6 ways, 9 rates): what u of a query exceeds with probability `rate`, squared distance.

    classes: how many it was measured on. source: on what, in words. Raises OptionError.
    """

    values: NDArray[np.float32]
    classes: int
    source: str

    def __post_init__(self) -> None:
        complaint = complaint_of(self.values)
        if complaint is not None:
            raise OptionError(f"background: {complaint}")
        kept = self.values.copy()
        kept.flags.writeable = False
        object.__setattr__(self, "values", kept)
        object.__setattr__(self, "classes", as_count(self.classes, "background: classes", least=2, most=MAX_CLASSES))
        if not isinstance(self.source, str) or len(self.source) > MAX_SOURCE:
            raise OptionError(f"background: source is text of at most {MAX_SOURCE} characters")

    def threshold(self, shots: float, ways: int, rate: float) -> float:
        """What u of a query of a taught class exceeds with probability `rate`, a squared distance.

        Linear between the measured ones in the logarithms of shots (examples a class, not only whole numbers), ways
        and rate; beyond the ends of shots and ways as at the end. Raises OptionError for a rate outside 0.001 to 0.5.
        """
        check_positive(shots, "shots")
        ways = as_count(ways, "ways")
        if not isinstance(rate, (int, float, np.floating)) or not RATES[0] <= rate <= RATES[-1]:
            raise OptionError(f"the background knows rates from {RATES[0]} to {RATES[-1]}, not {rate!r}")
        value = self.values.astype(np.float64)
        for axis, at in ((SHOTS, float(shots)), (WAYS, float(ways)), (RATES, float(rate))):
            low, part = _between(axis, at)
            value = value[low] + part * (value[low + 1] - value[low])  # one axis fewer
        return float(value)


def complaint_of(values: object) -> str | None:
    """What is wrong with the numbers of a background, or None."""
    if not isinstance(values, np.ndarray) or values.dtype != np.float32 or values.shape != SHAPE:
        return f"the values are float32 {SHAPE}"
    if not np.isfinite(values).all() or not (values > 0).all():
        return "a value that is not finite and positive"
    if (np.diff(values, axis=2) > 0).any():
        return "a rarer distance is smaller than a more frequent one"
    return None


def _between(axis: Sequence[float], at: float) -> tuple[int, float]:
    """Where `at` lies on a logarithmic axis: the entry below it, and the share of the way to the next."""
    clamped = min(max(at, axis[0]), axis[-1])
    low = min(int(np.searchsorted(axis, clamped, side="right")) - 1, len(axis) - 2)
    return low, log(clamped / axis[low]) / log(axis[low + 1] / axis[low])


def measure_background(
    z: Floats,
    y: NDArray[np.integer],
    *,
    source: str,
    episodes: int = 400,
    seed: int = 0,
    progress: Progress | None = None,
) -> Background:
    """The background from random episodes of classes that no head was taught.

    z: normalised embeddings float64 (N, D); y: their classes (N,), any whole numbers. source: what they are, in words.
    episodes: for each number of shots. An episode draws up to 50 classes, teaches `shots` examples of each, and asks
    `QUERIES` others of them, each class alike. Where classes or examples are too few for some ways or shots, the
    largest that can be measured stand in. The same arguments give the same numbers.

    Raises DataError without two classes of at least three examples, OptionError.
    """
    episodes, seed = as_count(episodes, "episodes"), as_count(seed, "seed", least=0)
    members = _members(z, y)
    values = np.empty(SHAPE, dtype=np.float32)
    for number, shots in enumerate(SHOTS):
        taught, usable = _measurable(members, shots)
        rng = np.random.default_rng([seed, shots])
        rows = []
        for done in range(episodes):
            rows.append(_episode(z, usable, taught, rng))
            if progress:
                progress.update(number * episodes + done + 1)
        far = np.concatenate(rows)  # (queries, ways)
        # The next larger one that was seen, so that at most `rate` of them exceed it.
        quantiles = np.quantile(far, 1.0 - np.array(RATES), axis=0, method="higher").T
        values[number] = np.maximum(quantiles, NEAREST)
    return Background(values, len(members), source)


def _members(z: Floats, y: NDArray[np.integer]) -> list[NDArray[np.intp]]:
    """The rows of each class that has at least three. Raises OptionError, DataError."""
    z, y = np.asarray(z), np.asarray(y)
    if z.ndim != 2 or z.dtype.kind != "f" or not np.isfinite(z).all():
        raise OptionError(f"embeddings are finite floats (N, D), not {z.dtype} {z.shape}")
    if y.shape != z.shape[:1] or y.dtype.kind not in "iu":
        raise OptionError(f"classes are whole numbers ({len(z)},), not {y.dtype} {y.shape}")
    order = np.argsort(y, kind="stable")
    found = np.split(order, np.flatnonzero(np.diff(y[order])) + 1)
    large = [rows for rows in found if len(rows) >= 3]
    if len(large) < 2:
        raise DataError(f"a background needs 2 classes with at least 3 examples each; there are {len(large)}")
    return large


def _measurable(members: list[NDArray[np.intp]], shots: int) -> tuple[int, list[NDArray[np.intp]]]:
    """As many of `shots` as half of the classes (and two) can teach with a query left, and those classes."""
    sizes = sorted((len(rows) for rows in members), reverse=True)
    taught = min(shots, sizes[max(2, (len(sizes) + 1) // 2) - 1] - 1)
    return taught, [rows for rows in members if len(rows) > taught]


def _episode(z: Floats, members: list[NDArray[np.intp]], shots: int, rng: np.random.Generator) -> Floats:
    """u (queries, ways) of one episode: a query's own class and as many of the others as each of `WAYS` allows."""
    classes = rng.permutation(len(members))[: WAYS[-1]]
    count, asked = len(classes), -(-QUERIES // len(classes))
    support, query = np.empty((count, shots), dtype=np.intp), np.empty((count, asked), dtype=np.intp)
    for i, c in enumerate(classes):
        drawn = rng.choice(members[c], min(len(members[c]), shots + asked), replace=False)
        support[i], query[i] = drawn[:shots], np.resize(drawn[shots:], asked)  # a small class is asked again
    means, asking = z[support].mean(axis=1), z[query.ravel()]
    squares = (asking * asking).sum(axis=1)[:, None] + (means * means).sum(axis=1)
    far = np.maximum(squares - 2.0 * asking @ means.T, 0.0)  # (queries, classes)
    # The classes are in random order, so those that follow one's own are random others; more ways add to fewer.
    own = np.repeat(np.arange(count), asked)[:, None]
    nearest = np.minimum.accumulate(np.take_along_axis(far, (own + np.arange(count)) % count, axis=1), axis=1)
    ways = np.minimum(WAYS, count) - 1
    return np.asarray(nearest[:, ways] * (shots / (shots + 1.0)), dtype=np.float64)
