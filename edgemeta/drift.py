"""A label-free alarm for drift: windows of a stream of embeddings against a baseline of the same stream.

The stream is cut into windows of w frames. At the end of each the Mahalanobis distance of its mean from the baseline's
mean is tested so that chance alone gives an alarm with probability rate * w / 10,000. The expected number of false
alarms is then the rate, however strongly windows hang together, and an alarm is an event: it belongs to one window.

Frames of a camera are no independent draws: the covariance of a window's mean is not that of a frame divided by w. It
is measured on the windows of the baseline itself, and how much those are worth follows from their lag-1 correlation,
pooled over all directions. The lag-1 correlation of single frames would say more about an exact AR(1) process, but a
little noise in each frame hides from it the slow changes that move a window's mean.

What it assumes: the baseline shows all that is usual, for many times as long as a scene lasts; the stream stays so; and
a window's mean is about Gaussian. Measured on AR(1) streams, the rate is kept within a factor of 2 by baselines that
are worth 5 independent frames, N (1 - rho) / (1 + rho), or more; on a circle it takes 150, and below that alarms are
too few. Streams of scenes, each about 100 frames long with 1,000 frames as baseline, gave 9 times the rate, with
10,000 the rate. A baseline that is worth about one frame is refused; with few of them only large shifts are found.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .distributions import f_tail
from .errors import InputError, OptionError
from .heads.projected import signs
from .options import check_positive

Floats = NDArray[np.float64]

FRAMES = 10_000  # the rate is per so many
MOST_RATE = 250.0
# More directions find smaller shifts, but each costs windows of the baseline to know its variance.
DIRECTIONS = 16
FREEDOM_PER_DIRECTION = 4
LEAST_WINDOW, SHORTEST_WINDOW = 32, 8  # the second only where the baseline is short or the rate high
LEAST_WINDOWS = 16  # in a baseline
MANY_WINDOWS = 128  # enough that the form of their scatter's distribution does not matter
MOST_CHANCE = 0.25  # of a false alarm in a window
# A window is long enough when its mean is worth this many frames, and neighbours are correlated less than that.
WORTH, NEIGHBOURLY = 12.0, 0.2
# The variance of the baseline's mean, as a part of a window's: above this nothing can be said.
MOST_DOUBT = 0.7
GROWTH = 1.2  # from one length tried to the next
# No coordinate is known better than the grid of stored embeddings; (2^-20)^2.
GRID = 2.0**-40
# Gauss-Hermite, 3 points: the mean of a function of a standard normal number.
NODES = ((0.0, 2 / 3), (-math.sqrt(3), 1 / 6), (math.sqrt(3), 1 / 6))


@dataclass(frozen=True)
class Drift:
    """How the stream compares with its baseline, after the newest frame.

    alarm: the newest frame, or one of those given together, completed a window that differs. alarms: how many since
    the baseline. frames: seen since the baseline. window: frames that are tested together. distance: of the
    last full window from the baseline, 1 being the limit; None before the first. rate: false alarms per 10,000 frames
    that were asked for.
    """

    alarm: bool
    alarms: int
    frames: int
    window: int
    distance: float | None
    rate: float

    def __str__(self) -> str:
        if self.distance is None:
            return f"no window of {self.window} frames is full yet ({self.frames} seen)"
        expected = self.rate * self.frames / FRAMES
        return (
            f"{'drift' if self.alarm else 'no drift'}: the last {self.window} frames tested lie at "
            f"{self.distance:.2f} of the limit; {self.alarms} alarms in {self.frames} frames, {expected:.2g} by chance"
        )


class _Test(NamedTuple):
    """centre (r,), directions (r, D)."""

    centre: Floats
    directions: Floats

    def distance(self, mean: Floats) -> float:
        """Of a window's mean (D,) from the baseline; 1 at the limit."""
        apart = self.directions @ mean - self.centre
        return math.sqrt(float(apart @ apart))


class DriftWatch:
    """Compares a stream with a baseline of it, in O(D) a frame and with memory that does not grow."""

    def __init__(self, baseline: Floats, rate: float = 1.0) -> None:
        """baseline: float64 (N, D), embeddings in the order of the stream. rate: false alarms per 10,000 frames.

        Raises OptionError for a rate that is not above 0 and at most 250, InputError for a baseline with NaN, or one
        that is too short to tell chance from drift.
        """
        check_positive(rate, "rate")
        if rate > MOST_RATE:
            raise OptionError(f"rate is at most {MOST_RATE:g} false alarms per {FRAMES:,} frames, not {rate!r}")
        z = _frames(baseline, None)
        least = LEAST_WINDOWS * SHORTEST_WINDOW
        if len(z) < least:
            raise InputError(f"a baseline of {len(z)} frames is too short; at least {least} are needed")
        self._rate = float(rate)
        self._window, self._tests = _learn(z, self._rate)
        self._sum = np.zeros(z.shape[1])
        self._held = self._turn = self._frames = self._alarms = 0
        self._distance: float | None = None
        self._alarm = False

    def see(self, z: Floats) -> Drift:
        """Take the next frames, float64 (N, D), in order. How they are cut into calls changes nothing.

        Raises InputError for another shape, NaN or infinity; then none of them was taken.
        """
        z = _frames(z, len(self._sum))
        self._alarm, start = False, 0
        while start < len(z):
            part = z[start : start + self._window - self._held]
            # Embeddings lie on a grid of 2^-20, so this sum is exact and does not depend on how frames came.
            self._sum += part.sum(axis=0)
            self._held += len(part)
            start += len(part)
            if self._held == self._window:
                self._test()
        self._frames += len(z)
        return self.state

    def _test(self) -> None:
        self._distance = self._tests[self._turn].distance(self._sum / self._window)
        self._turn = (self._turn + 1) % len(self._tests)
        if self._distance > 1.0:
            self._alarm = True
            self._alarms += 1
        self._sum[:] = 0.0
        self._held = 0

    @property
    def state(self) -> Drift:
        """As of the last call of `see`."""
        return Drift(self._alarm, self._alarms, self._frames, self._window, self._distance, self._rate)

    @property
    def nbytes(self) -> int:
        """Bytes of memory held."""
        return self._sum.nbytes + sum(test.centre.nbytes + test.directions.nbytes for test in self._tests)


def _frames(z: Floats, dim: int | None) -> Floats:
    z = np.asarray(z, dtype=np.float64)
    if z.ndim != 2 or z.shape[1] == 0 or (dim is not None and z.shape[1] != dim):
        raise InputError(f"frames are embeddings (N, {dim or 'D'}), not of shape {z.shape}")
    if not np.isfinite(z).all():
        where = int((~np.isfinite(z).all(axis=1)).argmax())
        raise InputError(f"frame {where} holds NaN or infinity; none was used")
    return z


# What the baseline teaches


def _learn(z: Floats, rate: float) -> tuple[int, list[_Test]]:
    """Frames (N, D) to the window and the tests that take turns.

    A short baseline knows the covariance of few directions only. So the directions are parted into sets, and each
    window is tested in the next of them: no direction stays unseen, and the rate does not change.
    """
    spread = _projection(z.shape[1])
    y = z @ spread.T
    white = _whitening(y)
    x = (y - y.mean(axis=0)) @ white.T
    window = _choose_window(x, rate)
    chains = _plausible_chains(_window_means(x, window))
    likely = chains[0][1]
    if likely.mean_variance > MOST_DOUBT:
        needed = math.ceil(len(z) * 8 * likely.mean_variance)
        raise InputError(
            f"the {len(z)} frames of the baseline hang together too strongly to tell chance from drift; "
            f"record {needed} or more"
        )
    sets = math.ceil(len(white) / max(1.0, likely.freedom / FREEDOM_PER_DIRECTION))
    outward = white @ spread
    return window, [_make_test(z, outward[i::sets], window, rate, chains) for i in range(sets)]


def _make_test(z: Floats, outward: Floats, window: int, rate: float, chains: list[tuple[float, _Chain]]) -> _Test:
    """The test in the directions outward (r, D)."""
    x = z @ outward.T
    means = _window_means(x, window)
    centre, likely = means.mean(axis=0), chains[0][1]
    covariance = (means - centre).T @ (means - centre) / likely.trace
    x -= x.mean(axis=0)
    grid = GRID * outward @ outward.T
    precision = np.linalg.inv(x.T @ x / len(x) + grid)
    # Directions in which frames never differ by more than the grid take no part in chance.
    moving = max(1, round(float(((x @ precision) * x).sum()) / len(x)))
    shape = _shape(x, precision, covariance, moving, likely)
    limit = _limit(rate * window / FRAMES, moving, shape, chains)
    root = np.linalg.inv(np.linalg.cholesky((covariance + grid) * limit))
    return _Test(root @ centre, root @ outward)


def _projection(dim: int) -> Floats:
    """A fixed matrix (q, dim) of full rank, q = min(dim, DIRECTIONS): the identity, or random signs."""
    if dim <= DIRECTIONS:
        return np.eye(dim)
    # Two rows of few signs may be parallel: then the next seed's.
    drawn = (signs(DIRECTIONS, dim, seed) for seed in count())
    return next(p for p in drawn if np.linalg.matrix_rank(p) == DIRECTIONS)


def _whitening(y: Floats) -> Floats:
    """W (q, q) such that the steps from each frame of y (N, q) to the next have covariance 2 I.

    Of an AR(1) process that is a multiple of whitening the frames. But the covariance of few slow frames fits itself to
    their slow excursions, and the correlation of what it has whitened comes out too small; steps are nearly
    independent of those (as in von Neumann 1941).
    """
    steps = np.diff(y, axis=0)
    values, vectors = np.linalg.eigh(steps.T @ steps / (2 * len(steps)) + GRID * np.eye(y.shape[1]))
    white: Floats = vectors.T / np.sqrt(np.maximum(values, GRID))[:, None]
    return white


def _window_means(x: Floats, window: int) -> Floats:
    """Frames (N, q) to the means (k, q) of the newest k = N // window windows."""
    k = len(x) // window
    means: Floats = x[len(x) - k * window :].reshape(k, window, -1).mean(axis=1)
    return means


def _choose_window(x: Floats, rate: float) -> int:
    """The shortest window whose mean is worth `WORTH` independent frames, as far as baseline and rate allow.

    Then its mean is nearly Gaussian even where frames are not (on a small sphere, say), and its neighbours tell little
    about it. Of an AR(1) process that is WORTH (1 + rho) / (1 - rho) frames. x: (N, q).
    """
    most = min(len(x) // LEAST_WINDOWS, int(MOST_CHANCE * FRAMES / rate))
    variance = float(x.var(axis=0).sum())
    window = min(LEAST_WINDOW, most)
    while window < most:
        means = _window_means(x, window)
        if variance >= WORTH * float(means.var(axis=0).sum()) and _neighbours(means) <= NEIGHBOURLY:
            break
        window = min(most, math.ceil(window * GROWTH))
    return window


def _neighbours(means: Floats) -> float:
    """The lag-1 correlation of means (k, q), pooled over q; 0 when all are equal."""
    apart = means - means.mean(axis=0)
    squares = float((apart * apart).mean())
    return float((apart[1:] * apart[:-1]).mean()) / squares if squares > 0.0 else 0.0


class _Chain:
    """k neighbouring window means of a process whose correlation falls by `decay` from one window to the next.

    Averaging e^(-a t) over windows of length 1 gives the correlations c_h = c_1 decay^(h - 1) with
    c_1 = (1 - decay)^2 / (2 (a - 1 + decay)), a = -log(decay). With C their matrix and M the centring:
    `mean_variance` of the mean of all k, a window's being 1; `trace` = tr MCM; `freedom` = tr(MCM)^2 / tr((MCM)^2), the
    degrees of freedom of their scatter (Satterthwaite 1946); `neighbours`, the lag-1 correlation that is left after
    centring (of which Kendall 1954 gives the expansion). In O(k).
    """

    def __init__(self, k: int, decay: float) -> None:
        a = -math.log(decay)
        c: Floats = np.concatenate([[1.0], (1 - decay) ** 2 / (2 * (a - 1 + decay)) * decay ** np.arange(k - 1)])
        self._correlations = c
        sums = np.cumsum(c)
        rows = (sums + sums[::-1] - 1.0) / k  # the mean of each row of C
        self.mean_variance = float(rows.mean())
        self.trace = k * (1.0 - self.mean_variance)
        pairs = 2.0 * (k - np.arange(k))
        pairs[0] = k
        squares = float(pairs @ (c * c)) - 2 * k * float(rows @ rows) + (k * self.mean_variance) ** 2
        self.freedom = self.trace**2 / squares
        beside = c[1] + self.mean_variance - float((rows[1:] + rows[:-1]).mean())
        self.neighbours = beside * k / self.trace

    def freedom_at(self, chance: float) -> float:
        """The degrees of freedom of the scatter for a test with this chance.

        The lower tail of a sum s of unequal chi-squares, of mean 1, is thinner than that of chi-square / f with the
        same variance, and small chances rest on it. So f is that of the chi-square / f with the same E[exp(-t s / 2)],
        t where that is the chance; for two directions with the common variance s it is the chance of an alarm.
        """
        k = len(self._correlations)
        if k > MANY_WINDOWS:
            return self.freedom
        c = self._correlations[np.abs(np.subtract.outer(np.arange(k), np.arange(k)))]
        rows = c.mean(axis=0)
        parts = np.maximum(np.linalg.eigvalsh(c - rows - rows[:, None] + self.mean_variance), 0.0) / self.trace
        goal = -2 * math.log(chance)
        log_t = _solve(lambda x: float(np.log1p(math.exp(x) * parts).sum()), goal)
        return math.exp(_solve(lambda x: math.exp(x) * math.log1p(math.exp(log_t - x)), goal))


def _plausible_chains(means: Floats) -> list[tuple[float, _Chain]]:
    """(weight, chain) for the correlation that the means (k, q) show, then for what it may be instead.

    A correlation measured on few windows is uncertain, and where it came out too small there would be many alarms.
    """
    k, q = means.shape
    measured = min(max(_neighbours(means), -0.99), 0.99)
    spread = 1.0 / math.sqrt(k * q * (1.0 - measured**2))  # of its inverse hyperbolic tangent
    shown = [math.tanh(math.atanh(measured) + node * spread) for node, _ in NODES]
    return [(weight, _find_chain(k, q, each)) for each, (_, weight) in zip(shown, NODES, strict=True)]


def _find_chain(k: int, q: int, neighbours: float) -> _Chain:
    """The chain of k that shows this correlation on average of q independent directions."""
    low, high = 1e-8, 0.999
    for _ in range(40):
        # The decay is searched by its logarithm's logarithm: it matters near 0 and near 1.
        middle = math.exp(-math.sqrt(math.log(low) * math.log(high)))
        chain = _Chain(k, middle)
        # Numerator and denominator vary together: a ratio's bias, -2 c / k for one direction.
        if chain.neighbours * (1 - 2 / (k * q)) > neighbours:
            high = middle
        else:
            low = middle
    return _Chain(k, low)


def _shape(x: Floats, precision: Floats, covariance: Floats, r: int, chain: _Chain) -> float:
    """The degrees of freedom that a window's squared distance has in place of r, from the kurtosis of frames.

    x (N, .): centred frames, r their rank, precision the inverse of their covariance; covariance: of a window's mean.
    On a sphere distances vary less than Gaussian ones, with heavy tails more. Mardia's kurtosis (1970) of frames
    divided by what a window is worth is taken for that of its mean; chi-square with this many degrees varies as much.
    """
    worth = max(1.0, r / max(float((precision * covariance).sum()), 1e-9))
    n = max(chain.freedom * worth, r + 2.0)  # independent frames in the baseline
    squares = ((x @ precision) * x).sum(axis=1)
    excess = float(squares @ squares) / len(x) / (r * (r + 2)) * (n + 1) / (n - 1) - 1.0
    excess = max(excess / worth / (1 + chain.mean_variance) ** 2, -1.6 / (r + 2))
    return r / (1 + excess * (r + 2) / 2)


def _limit(chance: float, r: int, shape: float, chains: list[tuple[float, _Chain]]) -> float:
    """The u for which d' S^-1 d > u has this chance; d between a new window and the baseline, S a window's covariance.

    S is the scatter of the baseline's windows over the trace of the likeliest chain. For each chain
    d' S^-1 d = T^2 (1 + mean_variance) times the ratio of the traces, with Hotelling's T^2 = F f r / (f - r + 1), f its
    degrees of freedom (Hotelling 1931); the chances are averaged over the chains.
    """
    tests = []
    for weight, chain in chains:
        lower = max(chain.freedom_at(chance) - r + 1, 1.0)
        scale = chain.trace / chains[0][1].trace / (1 + chain.mean_variance) * lower / ((lower + r - 1) * r)
        tests.append((weight, scale, lower))

    def chance_beyond(log_u: float) -> float:
        return sum(weight * f_tail(math.exp(log_u) * scale, shape, lower) for weight, scale, lower in tests)

    return math.exp(_solve(lambda log_u: -chance_beyond(log_u), -chance))


def _solve(rising: Callable[[float], float], goal: float) -> float:
    """The x between -60 and 600 at which a rising function reaches the goal."""
    low, high = -60.0, 600.0
    for _ in range(70):
        middle = (low + high) / 2
        if rising(middle) < goal:
            low = middle
        else:
            high = middle
    return high
