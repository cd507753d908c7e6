"""What a regressor answers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .errors import OptionError


class Estimate:
    """The answer for one input.

    mean: float64 (k,), the numbers expected. std: float64 (k,), how far a new target would be off (the standard
    deviation, its own noise included; 1.96 of them hold about 95 %), or None with too few examples to say.
    """

    __slots__ = ("mean", "std")

    def __init__(self, mean: NDArray[np.float64], std: NDArray[np.float64] | None) -> None:
        self.mean, self.std = mean, std

    @property
    def value(self) -> float:
        """The mean of a single target. Raises OptionError where there are several."""
        if len(self.mean) != 1:
            raise OptionError(f"there are {len(self.mean)} targets, so read `mean` and not `value`")
        return float(self.mean[0])

    def __repr__(self) -> str:
        if self.std is None:
            parts = [f"{mean:.4g}" for mean in self.mean]
        else:
            parts = [f"{mean:.4g} +- {std:.2g}" for mean, std in zip(self.mean, self.std, strict=True)]
        return f"Estimate({', '.join(parts)}{', too few examples for a std' if self.std is None else ''})"
