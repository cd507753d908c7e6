"""What every runner offers."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Runner(Protocol):
    """A frozen graph, ready to run.

    variant: the bundle's name of the graph, "onnx-fp32" for instance. provider: what it runs on.
    """

    variant: str
    provider: str

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Fitted images uint8 (N, H, W, 3) to raw embeddings float32 (N, D)."""
        ...
