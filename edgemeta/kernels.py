"""Which code does the arithmetic: the C core under one instruction set, or NumPy.

NumPy is the reference. The core (`native/`, as `edgemeta._native`) gives the same: statistics, pixels and stored
embeddings to the bit, weights and scores to 1e-9. What is not there, and what the core refuses, is left to the
reference, which knows how to say what is wrong: functions here return None then.

The environment variable EDGEMETA_KERNELS names one of "numpy", "portable", "sse2", "avx2", "avx512", "neon" and
"neon-dotprod"; without it the fastest of the machine is taken.
"""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .errors import OptionError
from .terminal import printable

if TYPE_CHECKING:
    from ._native import Kernels
    from .heads.base import Facts
    from .normalisation import Normalisation

Floats = NDArray[np.float64]
Single = NDArray[np.float32]
Pixels = NDArray[np.uint8]
Q20 = NDArray[np.int32]

VARIABLE = "EDGEMETA_KERNELS"
NUMPY = "numpy"
# em_pixels of native/edgemeta.h, by the number of channels; and colours the other way round.
FORMATS = {1: 4, 3: 1, 4: 3}
BGR = 2


def available() -> tuple[str, ...]:
    """What can be named here, the slowest first: "numpy" always, the others where the core was built."""
    return (NUMPY, *_loaded()[0])


def about_core() -> str:
    """Whether the C core is there, in words."""
    return _loaded()[1]


def _loaded() -> tuple[tuple[str, ...], str]:
    try:
        names: tuple[str, ...] = import_module("._native", __package__).NAMES
    except ModuleNotFoundError:
        return (), "not built (it needs a C compiler when edgemeta is installed)"
    except ImportError as error:
        return (), f"does not load: {error}"
    return names, "built"


def name() -> str:
    """What does the arithmetic in this process. Raises OptionError for a wrong EDGEMETA_KERNELS."""
    core = _core()
    return NUMPY if core is None else core.name


@cache
def _core() -> Kernels | None:
    wanted, known = os.environ.get(VARIABLE), available()
    if wanted is not None and wanted not in known:
        mend = "" if len(known) > 1 else f"; the C core: {about_core()}"
        raise OptionError(f"{VARIABLE} is '{printable(wanted)}'; here there are {', '.join(known)}{mend}")
    chosen = known[-1] if wanted is None else wanted
    if chosen == NUMPY:
        return None
    from ._native import Kernels

    return Kernels(chosen)


def fit(pixels: Pixels, height: int, width: int) -> Pixels | None:
    """`imaging.fit` of checked pixels (H, W, C) in RGB(A) order, also as a view of BGR."""
    core = _core()
    if core is None:
        return None
    rows, columns, channels = pixels.shape
    form = FORMATS[channels]
    if pixels.strides[1:] == (3, -1):
        pixels, form = pixels[:, :, ::-1], BGR
    if pixels.strides[1:] != (channels, 1) or not channels * columns <= pixels.strides[0] < 1 << 32:
        pixels = np.ascontiguousarray(pixels)
    out = np.empty((height, width, 3), np.uint8)
    stride = pixels.strides[0] if rows > 1 else channels * columns
    return out if core.fit(pixels, rows, columns, form, stride, height, width, out) == 0 else None


def normalise(raw: NDArray[np.floating], how: Normalisation) -> Q20 | None:
    """`Normalisation.apply` of float32 (N, D)."""
    core = _core()
    if core is None or raw.dtype != np.float32 or raw.ndim != 2 or not raw.size:
        return None
    centre = None if how.centre is None else np.ascontiguousarray(how.centre, dtype=np.float32)
    if centre is not None and centre.shape != raw.shape[1:]:
        return None
    rows, dim = raw.shape
    q20 = np.empty(raw.shape, np.int32)
    done = core.normalise(np.ascontiguousarray(raw), rows, dim, centre, how.power, how.l2, how.scale, q20)
    return q20 if done == rows else None


class Scorer:
    """Scores = weights z + bias of a linear head: weights (C, D), bias (C,).

    In float64: where examples are nearly alike the weights are huge, and float32 would cancel what tells them apart.
    """

    def __init__(self, core: Kernels, weights: Floats, bias: Floats) -> None:
        self._classes = len(bias)
        self._core = core.scorer(np.ascontiguousarray(weights), np.ascontiguousarray(bias))

    def scores(self, q20: Q20) -> Floats:
        """Embeddings int32 Q20 (N, D) to scores (N, C)."""
        out = np.empty((len(q20), self._classes))
        if self._core.scores(np.ascontiguousarray(q20), out) != 0:
            raise AssertionError("the core refused to score")
        return out


def scorer(weights: Floats, bias: Floats) -> Scorer | None:
    """A scorer, where the core is there."""
    core = _core()
    return None if core is None else Scorer(core, weights, bias)


class Moment:
    """G, the sum of z z^T of Q20 embeddings, exact. The reference: one (D, D) array."""

    def __init__(self, dim: int) -> None:
        self._sum = np.zeros((dim, dim))

    @property
    def nbytes(self) -> int:
        return self._sum.nbytes

    def change(self, q20: Q20, sign: int) -> None:
        """Add (sign 1) or take away (-1) embeddings (N, D)."""
        from .normalisation import to_float

        z = to_float(q20)
        self.change_sums(z.T @ z, sign)

    def change_sums(self, full: Floats, sign: int) -> None:
        """Add or take away a sum (D, D) that was made elsewhere."""
        self._sum += sign * full

    def full(self) -> Floats:
        """G (D, D), the caller's own."""
        return np.array(self._sum)


class Tiles(Moment):
    """G by the core, which holds half of it; what comes as a sum stays beside it."""

    def __init__(self, core: Kernels, dim: int) -> None:
        self.dim = dim
        self._core = core.moment(dim)
        self._others: Floats | None = None

    @property
    def nbytes(self) -> int:
        return self._core.nbytes + (0 if self._others is None else self._others.nbytes)

    def change(self, q20: Q20, sign: int) -> None:
        q20 = np.ascontiguousarray(q20)
        status = self._core.add(q20) if sign > 0 else self._core.remove(q20)
        if status != 0:  # it refuses to remove more than was added, which a merge can ask for
            super().change(q20, sign)

    def change_sums(self, full: Floats, sign: int) -> None:
        if self._others is None:
            self._others = np.zeros((self.dim, self.dim))
        self._others += sign * full

    def full(self) -> Floats:
        found = np.empty((self.dim, self.dim))
        if self._core.full(found) != 0:
            raise AssertionError("the core lost its moment")
        return found if self._others is None else found + self._others


def moment(dim: int) -> Moment:
    """A G of nothing."""
    core = _core()
    return Moment(dim) if core is None else Tiles(core, dim)


def ridge(facts: Facts, lambda_: float, balance: bool, *, dual: bool) -> tuple[Floats, Floats] | None:
    """Weights (C, D) and bias (C,) of `heads.ridge` at an absolute lambda."""
    core = _core()
    if core is None:
        return None
    weights, bias = np.empty(facts.sums.shape), np.empty(len(facts.counts))
    status = core.ridge(*_facts(facts, dual=dual), lambda_, balance, weights, bias)
    return (weights, bias) if status == 0 else None


def lda(facts: Facts, shrinkage: float | None, *, dual: bool) -> tuple[Floats, Floats] | None:
    """Weights (C, D) and bias (C,) of `heads.lda`."""
    core = _core()
    if core is None:
        return None
    weights, bias = np.empty(facts.sums.shape), np.empty(len(facts.counts))
    rho = -1.0 if shrinkage is None else shrinkage
    status = core.lda(*_facts(facts, dual=dual), rho, facts.independent(), weights, bias)
    return (weights, bias) if status == 0 else None


def ridge_leave_out(facts: Facts, lambda_: float, balance: bool) -> Floats | None:
    """Scores (N, C) as `heads.ridge.Ridge.leave_out` at an absolute lambda."""
    core = _core()
    if core is None:
        return None
    scores = np.empty((facts.total, len(facts.counts)))
    status = core.ridge_leave_out(*_left_out(facts), lambda_, balance, _groups(facts), scores)
    return scores if status == 0 else None


def ridge_lambda(facts: Facts, balance: bool) -> float | None:
    """The lambda that `heads.ridge.Ridge` chooses by leaving out."""
    core = _core()
    found = -1.0 if core is None else core.ridge_choose(*_left_out(facts), balance, _groups(facts))
    return found if found > 0.0 else None


def lda_leave_out(facts: Facts, shrinkage: float | None) -> tuple[Floats, Floats] | None:
    """Scores (N, C) as `heads.lda.LDA.leave_out`, and z^T Sigma^-1 z (N,) without each fold."""
    core = _core()
    if core is None:
        return None
    scores, squares = np.empty((facts.total, len(facts.counts))), np.empty(facts.total)
    rho = -1.0 if shrinkage is None else shrinkage
    status = core.lda_leave_out(*_left_out(facts), rho, facts.independent(), _groups(facts), scores, squares)
    return (scores, squares) if status == 0 else None


Arrays = tuple[Floats, Floats, float, "Floats | None", "Floats | None", "NDArray[np.uint32] | None"]


def _facts(facts: Facts, *, dual: bool) -> Arrays:
    counts, sums = np.ascontiguousarray(facts.counts), np.ascontiguousarray(facts.sums)
    if not dual:
        return counts, sums, facts.squares, np.ascontiguousarray(facts.moment()), None, None
    z, y = facts.examples()
    return counts, sums, facts.squares, None, np.ascontiguousarray(z), y.astype(np.uint32)


def _left_out(facts: Facts) -> Arrays:
    """The examples in any case, and G where the form needs it."""
    counts, sums, squares, _, z, y = _facts(facts, dual=True)
    moment = None if facts.total < facts.dim else np.ascontiguousarray(facts.moment())
    return counts, sums, squares, moment, z, y


def _groups(facts: Facts) -> NDArray[np.uint32]:
    return facts.groups().astype(np.uint32)
