"""ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bundle import Variant
from ..errors import MissingDependencyError, OptionError, RunnerError
from ..terminal import printable

# The best of what is present, in this order; the CPU provider always is.
PREFERENCE = ("CUDAExecutionProvider", "CPUExecutionProvider")
# Images at a time: the arena of the runtime grows with the largest batch it ever saw.
BATCH = 32


def load_runtime() -> Any:
    """The module onnxruntime. Raises MissingDependencyError with the command that installs it."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependencyError(
            'this bundle\'s graph runs in ONNX Runtime: pip install "edgemeta[onnx]"'
        ) from error
    return onnxruntime


class OnnxRunner:
    """One session over a graph held in memory."""

    def __init__(
        self,
        variant: Variant,
        graph: bytes,
        *,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
    ) -> None:
        """providers: names as ONNX Runtime has them; None takes the best available. threads: None lets it choose.

        Raises MissingDependencyError, OptionError for a provider that is not there, RunnerError for a graph it
        refuses.
        """
        runtime = load_runtime()
        available = runtime.get_available_providers()
        named = providers is not None
        if providers is None:
            providers = [p for p in PREFERENCE if p in available]
        if missing := [p for p in providers if p not in available]:
            raise OptionError(
                f"ONNX Runtime here has no provider {', '.join(map(printable, missing))}; it has {', '.join(available)}"
            )
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session = runtime.InferenceSession(graph, options, providers=list(providers))
        except Exception as error:  # onnxruntime's own exceptions have no public common base
            raise RunnerError(f"ONNX Runtime refused the graph {printable(variant.name)}: {error}") from error
        self.variant = variant.name
        self.provider = str(self._session.get_providers()[0])
        if named and self.provider != providers[0]:
            # The runtime only warns and goes on with another one: too quiet for who named it.
            raise RunnerError(
                f"ONNX Runtime could not start {printable(providers[0])} and would use {self.provider}; mend that, or "
                f"say so with providers=['{self.provider}']"
            )
        self._input, self._output = variant.input, variant.output

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Fitted images uint8 (N, H, W, 3) to raw embeddings float32 (N, D). Raises RunnerError."""
        parts = []
        for start in range(0, len(images), BATCH):
            try:
                feed = {self._input: images[start : start + BATCH]}
                parts.append(self._session.run([self._output], feed)[0])
            except Exception as error:
                raise RunnerError(f"ONNX Runtime could not run {printable(self.variant)}: {error}") from error
        return np.asarray(np.concatenate(parts), dtype=np.float32)
