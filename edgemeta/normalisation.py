"""The embedding's normalisation: constant centre, signed power, L2, scale, then the grid of 2^-20.

It belongs to the bundle, so that every application that opens it stores the same numbers. What leaves this
file is a Q20 embedding: int32, in units of 2^-20, with a norm of at most 1. Sums of such numbers and of their
products are exact in float64 up to `EXACT_EXAMPLES` examples (DESIGN.md, "Statistics add exactly").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import kernels
from .errors import EmbeddingError, OptionError
from .options import check_positive

Q20 = 1 << 20
EXACT_EXAMPLES = 8192
# A vector of norm 1 may leave float32 arithmetic a little longer than 1; more than this is an error.
NORM_SLACK = 1e-5


@dataclass(frozen=True)
class Normalisation:
    """z = scale * l2(power(e - centre)).

    centre: float32 (D,) or None. power: exponent p of sign(x)|x|^p, 1 for none. l2: divide by the norm.
    scale: the factor at the end; with `l2` at most 1.
    """

    centre: NDArray[np.float32] | None = None
    power: float = 1.0
    l2: bool = True
    scale: float = 1.0

    def __post_init__(self) -> None:
        check_positive(self.power, "normalisation: power")
        check_positive(self.scale, "normalisation: scale")
        if self.power > 1.0:
            raise OptionError(f"normalisation: power is at most 1, not {self.power!r}")
        if self.l2 and self.scale > 1.0:
            raise OptionError(f"normalisation: scale is at most 1 with l2, not {self.scale!r}")
        if self.centre is None:
            return
        if not isinstance(self.centre, np.ndarray) or self.centre.dtype.kind != "f" or self.centre.ndim != 1:
            raise OptionError("normalisation: the centre is a float array of one axis")
        if not np.isfinite(self.centre).all():
            raise OptionError("normalisation: the centre holds NaN or infinity")

    def apply(self, embeddings: NDArray[np.floating]) -> NDArray[np.int32]:
        """Raw embeddings (N, D), any float dtype, to Q20 int32 (N, D).

        Raises EmbeddingError naming the first row with NaN, infinity, no length where L2 needs one, or a
        norm above 1 after scaling. Computed in float64.
        """
        found = kernels.normalise(embeddings, self)
        if found is not None:
            return found
        z = np.asarray(embeddings, dtype=np.float64)
        if self.centre is not None and z.shape[1:] != self.centre.shape:
            raise EmbeddingError(f"embeddings of length {z.shape[1]}, and a centre of shape {self.centre.shape}")
        bad = ~np.isfinite(z).all(axis=1)
        if bad.any():
            raise EmbeddingError(f"embedding {int(bad.argmax())} holds NaN or infinity; it was not used")
        if self.centre is not None:
            z = z - self.centre
        if self.power != 1.0:
            z = np.sign(z) * np.abs(z) ** self.power
        if self.l2:
            # Divide by the largest entry first: the square of a number like 1e200 is infinite.
            peak = np.abs(z).max(axis=1, keepdims=True, initial=0.0)
            if (peak == 0.0).any():
                where = int((peak[:, 0] == 0.0).argmax())
                raise EmbeddingError(f"embedding {where} is all zeros after centring: it has no direction")
            z = z / peak
            z = z / np.sqrt((z * z).sum(axis=1, keepdims=True))
        z = z * self.scale
        norms = np.sqrt((z * z).sum(axis=1))
        if (norms > 1.0 + NORM_SLACK).any():
            where = int((norms > 1.0 + NORM_SLACK).argmax())
            raise EmbeddingError(
                f"embedding {where} has norm {norms[where]:.6g} after the normalisation; the largest allowed is 1. "
                "Use Normalisation(l2=True), or a smaller scale"
            )
        q20 = np.rint(np.clip(z, -1.0, 1.0) * Q20).astype(np.int32)
        lost = (norms > 0.0) & ~q20.any(axis=1)
        if lost.any():
            where = int(lost.argmax())
            raise EmbeddingError(
                f"embedding {where} has norm {norms[where]:.3g} after the normalisation and would be stored as zero; "
                "use Normalisation(l2=True), or a larger scale"
            )
        return q20


def to_float(q20: NDArray[np.int32]) -> NDArray[np.float64]:
    """Q20 int32 to float64, exactly."""
    return q20.astype(np.float64) / Q20
