"""A prior over regressions, learned from background tasks: what a new task is like before its first example."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, OptionError
from ..options import as_count
from .targets import LARGEST, Floats

Task = tuple[NDArray[np.floating], NDArray[np.floating]]


@dataclass(frozen=True)
class RegressionPrior:
    """K ~ MN(mean, precision^-1, noise) for features [z; 1] (ALPaCA, Harrison, Sharma and Pavone 2018).

    mean float64 (D + 1, k): K0. precision (D + 1, D + 1): Lambda0, positive definite, in units of the noise. noise
    (k,): the variance of the targets, the diagonal of Sigma_eps. z is what `Regressor.embed` gives. Raises OptionError.
    """

    mean: Floats
    precision: Floats
    noise: Floats

    def __post_init__(self) -> None:
        for name in ("mean", "precision", "noise"):
            object.__setattr__(self, name, _checked(getattr(self, name), name))
        rows, outputs = self.mean.shape if self.mean.ndim == 2 else (0, 0)
        if rows < 2 or not outputs or self.precision.shape != (rows, rows) or self.noise.shape != (outputs,):
            raise OptionError(
                "a prior has a mean (D + 1, k), a precision (D + 1, D + 1) and a noise (k,), "
                f"not {self.mean.shape}, {self.precision.shape}, {self.noise.shape}"
            )
        if (self.noise <= 0.0).any():
            raise OptionError("the noise of a prior is positive")
        if np.abs(self.precision - self.precision.T).max() > 1e-9 * np.abs(self.precision).max():
            raise OptionError("the precision of a prior is symmetric")
        try:
            finite = bool(np.isfinite(self.whitening).all())
        except np.linalg.LinAlgError:
            finite = False
        if not finite:
            raise OptionError("the precision of a prior is positive definite, and this one is not")

    @property
    def dim(self) -> int:
        """D, the length of an embedding."""
        return len(self.mean) - 1

    @property
    def outputs(self) -> int:
        """k, the numbers in a target."""
        return int(self.mean.shape[1])

    @cached_property
    def whitening(self) -> Floats:
        """L^-1 (D + 1, D + 1) of precision = L L^T."""
        found: Floats = np.linalg.inv(np.linalg.cholesky(self.precision))
        return found

    def features(self, z: Floats) -> Floats:
        """L^-1 [z; 1] in rows, (N, D + 1): under the prior their weights are independent, of the noise's size."""
        found: Floats = with_one(z) @ self.whitening.T
        return found

    @classmethod
    def learn(cls, tasks: Sequence[Task], *, rounds: int = 200) -> RegressionPrior:
        """The prior under which background tasks are the most likely, (Z (n, D), Y (n, k)) each; n may differ.

        Use embeddings as `Regressor.embed` gives them. rounds: the most steps; it stops where they gain nothing.
        Raises InputError, OptionError.
        """
        from .learning import learn

        rounds = as_count(rounds, "rounds")
        try:
            with np.errstate(over="raise", divide="raise", invalid="raise"):
                return cls(*learn(tasks, rounds)[:3])
        except (OptionError, FloatingPointError, np.linalg.LinAlgError) as error:
            raise InputError(f"no prior can be learned from tasks with numbers of such a size: {error}") from None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a file of arrays, .npz without pickle."""
        from .priorfile import save

        save(path, {"mean": self.mean, "precision": self.precision, "noise": self.noise})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> RegressionPrior:
        """Read what `save` wrote. Raises DataMissingError, DataError."""
        from ..errors import DataError
        from .priorfile import load

        arrays = load(path, ("mean", "precision", "noise"))
        try:
            return cls(**arrays)
        except OptionError as error:
            raise DataError(f"the prior {os.fspath(path)!r} cannot be used: {error}") from None


def with_one(z: Floats) -> Floats:
    """phi = [z; 1] in rows, (N, D + 1)."""
    return np.hstack([z, np.ones((len(z), 1))])


def _checked(values: object, name: str) -> Floats:
    """A copy that nobody changes."""
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise OptionError(f"the {name} of a prior is an array of numbers: {error}") from None
    if not (np.abs(array) <= LARGEST).all():
        raise OptionError(f"the {name} of a prior holds NaN, infinity or a number above 1e100")
    array.flags.writeable = False
    return array
