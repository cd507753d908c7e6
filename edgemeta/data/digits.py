"""The UCI optical handwritten digits (Alpaydin, Kaynak 1998; CC BY 4.0), shipped: 1,797 images of 8 x 8.

Attribution and licence are in `digits.LICENSE.md` beside the file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import DataMissingError
from ..imaging import resize
from .labelled import LabelledImages

FILE = Path(__file__).with_name("digits.npz")
SIDE = 8


class Digits:
    """Ten classes "0" to "9", dark ink on white as on paper. One domain."""

    def load(self, height: int = SIDE, width: int = SIDE) -> LabelledImages:
        """All 1,797 images resized to (height, width), grey."""
        try:
            with np.load(FILE, allow_pickle=False) as stored:
                pixels, labels = stored["pixels"], stored["labels"]
        except FileNotFoundError as error:
            raise DataMissingError(f"{FILE.name} is missing from the package; install edgemeta again") from error
        return LabelledImages(
            resize(pixels, height, width, batch=True),
            labels.astype(np.int64),
            tuple(str(digit) for digit in range(10)),
            np.zeros(10, dtype=np.int64),
        )
