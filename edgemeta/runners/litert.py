"""LiteRT, which was TensorFlow Lite."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bundle import Variant
from ..errors import MissingDependencyError, OptionError, RunnerError
from ..terminal import printable

# The runtime's own kernels, with XNNPACK's in their place wherever it has them, or without.
XNNPACK, CPU = "XNNPACK", "CPU"
# Images at a time: the runtime holds the inner tensors of the largest batch it ever saw.
BATCH = 32


def load_runtime() -> Any:
    """The module with the interpreter. Raises MissingDependencyError with the command that installs it."""
    try:
        from ai_edge_litert import interpreter
    except ImportError as first:
        try:  # its predecessor, the only one for 32-bit ARM
            from tflite_runtime import interpreter
        except ImportError as second:
            broken = [str(error) for error in (first, second) if not isinstance(error, ModuleNotFoundError)]
            why = f" (installed, but it does not load: {printable('; '.join(broken))})" if broken else ""
            raise MissingDependencyError(
                f'this bundle\'s graph runs in LiteRT: pip install "edgemeta[tflite]"{why}'
            ) from second
    return interpreter


class LiteRTRunner:
    """One interpreter over a graph held in memory."""

    def __init__(
        self,
        variant: Variant,
        graph: bytes,
        *,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
    ) -> None:
        """providers: XNNPACK or CPU, which does without it; None takes the best. threads: None lets it choose.

        Raises MissingDependencyError, OptionError for a provider that is not there, RunnerError for a graph it
        refuses or that does not take uint8 (N, H, W, 3) and give float32 (N, D).
        """
        self._runtime = load_runtime()
        if unknown := [p for p in providers or () if p not in (XNNPACK, CPU)]:
            raise OptionError(f"LiteRT has no provider {', '.join(map(printable, unknown))}; it has {XNNPACK}, {CPU}")
        if threads is not None and threads < 1:
            raise OptionError(f"threads: at least 1, not {threads}")
        self.variant, self._names = variant.name, (variant.input, variant.output)
        self._graph, self._threads, self._lock = graph, threads, threading.Lock()
        self._plain = bool(providers) and providers[0] == CPU  # type: ignore[index]
        self._open()
        if providers and self.provider != providers[0]:
            raise RunnerError(
                f"LiteRT here runs {printable(variant.name)} without {printable(providers[0])}; leave providers out, "
                f"or say so with providers=['{self.provider}']"
            )

    def _open(self) -> None:
        kinds = self._runtime.OpResolverType
        kind = kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES if self._plain else kinds.AUTO
        try:
            # The interpreter reads the weights where they are: self._graph must stay.
            self._interpreter = self._runtime.Interpreter(
                model_content=self._graph, num_threads=self._threads, experimental_op_resolver_type=kind
            )
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise RunnerError(f"LiteRT refused the graph {printable(self.variant)}: {error}") from error
        given = self._checked(self._names[0], self._interpreter.get_input_details(), np.uint8, 4)
        made = self._checked(self._names[1], self._interpreter.get_output_details(), np.float32, 2)
        self._input, self._output = given["index"], made["index"]
        self._pixels = self._interpreter.tensor(self._input)
        self._batch, *self._image = (int(size) for size in given["shape"])
        # A graph with a fixed batch may hold that number in an inner operator.
        self._fixed = self._batch if int(given["shape_signature"][0]) != -1 else 0
        delegated = any(op["op_name"] == "DELEGATE" for op in self._interpreter._get_ops_details())
        self.provider = XNNPACK if delegated else CPU

    def _checked(self, name: str, details: list[dict[str, Any]], dtype: type, rank: int) -> dict[str, Any]:
        """The only input or output. Raises RunnerError when it is not as a bundle promises."""
        found = [d for d in details if d["name"] == name]
        if len(details) != 1 or not found:
            names = ", ".join(printable(d["name"]) for d in details)
            raise RunnerError(f"{printable(self.variant)}: the graph should have {printable(name)} alone, not {names}")
        shape = found[0]["shape"]
        if found[0]["dtype"] is not dtype or len(shape) != rank or (rank == 4 and shape[3] != 3):
            size = " x ".join(map(str, shape))
            raise RunnerError(
                f"{printable(self.variant)}: {printable(name)} should be {dtype.__name__} with {rank} axes"
                f"{', 3 colours in the last' if rank == 4 else ''}, not {found[0]['dtype'].__name__} {size}"
            )
        return found[0]

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Fitted images uint8 (N, H, W, 3) to raw embeddings float32 (N, D). Raises RunnerError."""
        if images.dtype != np.uint8 or list(images.shape[1:]) != self._image:
            wanted = " x ".join(map(str, self._image))
            raise RunnerError(
                f"{printable(self.variant)} takes uint8 images of {wanted}, not {images.dtype} {images.shape}"
            )
        with self._lock:  # an interpreter has one set of tensors
            try:
                parts = self._batches(images)
            except (ValueError, RuntimeError) as error:
                raise RunnerError(f"LiteRT could not run {printable(self.variant)}: {error}") from error
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _batches(self, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        if not self._fixed and not self._can_hold(min(len(images), BATCH)):
            # It promises any number, and an operator within wants the one that it was made with.
            self._open()
            self._fixed = self._batch
        step = self._fixed or BATCH
        return [self._invoke(images[start : start + step]) for start in range(0, len(images), step)]

    def _invoke(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        count = len(images)
        if not self._fixed and not self._can_hold(count):
            raise RuntimeError(f"{count} images at a time are too many or too few")
        self._pixels()[:count] = images  # of a fixed batch, what is left from before in the rest does no harm
        self._interpreter.invoke()
        made: NDArray[np.float32] = self._interpreter.get_tensor(self._output)
        return made[:count] if self._fixed else made

    def _can_hold(self, count: int) -> bool:
        """Makes the input hold so many images, unless it does."""
        if count == self._batch:
            return True
        self._batch = 0  # should this fail half way, the next call tries again
        try:
            self._interpreter.resize_tensor_input(self._input, (count, *self._image), strict=True)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError):
            return False
        self._pixels = self._interpreter.tensor(self._input)
        self._batch = count
        return True
