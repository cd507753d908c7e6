"""ONNX Runtime."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bundle import Variant
from ..errors import MissingDependencyError, RunnerError
from ..options import as_count
from ..terminal import printable
from .onnx_providers import TENSORRT, Choice, choices, remedy, set_threads

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
    """One session over a graph held in memory, which has run once when it is open.

    `session.run` reads a C-contiguous input where it is and hands out its own output: there is nothing left to save by
    binding them (1 us of 6 for the smallest of graphs), and without bindings any number of threads may run at once.
    """

    def __init__(
        self,
        variant: Variant,
        graph: bytes,
        *,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
    ) -> None:
        """providers: names as ONNX Runtime has them, tried in this order for each node; TensorRT's may end in ":fp16".
        None takes the best that works here: TensorRT, CUDA, XNNPACK on ARM, the CPU; a warning says what did not.
        threads: None lets it choose.

        TensorRT builds its engines when a graph is first opened, in minutes, and keeps them in the user's cache folder.

        Raises MissingDependencyError, OptionError for a provider that is not there, RunnerError for a graph that is
        refused, does not run, or does not take uint8 (N, H, W, 3) and give float32 (N, D).
        """
        runtime = load_runtime()
        if threads is not None:
            as_count(threads, "threads")
        self.variant = variant.name
        self._input, self._outputs = variant.input, [variant.output]
        possible = choices(runtime, variant, graph, providers, threads)
        for choice, after in zip(possible, [*possible[1:], None], strict=True):
            try:
                self._open(runtime, graph, choice, threads)
                break
            except RunnerError as error:
                if after is None:
                    raise
                warnings.warn(f"{error}; trying {after[0][0]}", stacklevel=2)
        if providers is not None:
            self.provider = providers[0]

    def _open(self, runtime: Any, graph: bytes, choice: Choice, threads: int | None) -> None:
        """A session that has run. Raises RunnerError naming the provider."""
        first = choice[0][0]
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        set_threads(options, choice, threads)
        try:
            # Without the fallback: the runtime would print a line and go on, on the CPU.
            self._session = runtime.InferenceSession(graph, options, providers=choice, enable_fallback=0)
            self._session.disable_fallback()
        except Exception as error:  # onnxruntime's own exceptions have no public common base
            raise RunnerError(
                f"ONNX Runtime refused the graph {printable(self.variant)} on {first}: {printable(str(error))}; "
                + remedy(first, graph)
            ) from error
        self.provider = str(self._session.get_providers()[0])
        if self.provider != first:
            # The runtime only warns and goes on with another one: too quiet for who named it.
            raise RunnerError(
                f"ONNX Runtime could not start {first} and would use {self.provider}; mend that, or say so with "
                f"providers=['{self.provider}']"
            )
        self._check_contract()
        try:
            self._warm_up()
        except RunnerError as error:
            raise RunnerError(f"{error}; {remedy(self.provider, graph)}") from error

    def _check_contract(self) -> None:
        inputs = {each.name: each for each in self._session.get_inputs()}
        outputs = {each.name: each for each in self._session.get_outputs()}
        if list(inputs) != [self._input] or self._outputs[0] not in outputs:
            raise RunnerError(
                f"{printable(self.variant)}: the graph should turn {printable(self._input)} alone into "
                f"{printable(self._outputs[0])}, not {_listed(inputs)} into {_listed(outputs)}"
            )
        given, made = inputs[self._input], outputs[self._outputs[0]]
        if given.type != "tensor(uint8)" or len(given.shape) != 4:
            raise RunnerError(
                f"{printable(self.variant)}: {printable(given.name)} should be uint8 (N, height, width, 3), "
                f"not {given.type} {given.shape}"
            )
        # An inner tensor that was made the output may have no known shape.
        if made.type != "tensor(float)" or len(made.shape) not in (0, 2):
            raise RunnerError(
                f"{printable(self.variant)}: {printable(made.name)} should be float32 (N, D), "
                f"not {made.type} {made.shape}"
            )
        batch, *self._image = given.shape
        # A graph with a fixed batch may hold that number in an inner operator.
        self._fixed = batch if isinstance(batch, int) else 0

    def _warm_up(self) -> None:
        """The first runs, which show whether the graph runs at all; TensorRT builds for the batches it has seen."""
        if all(isinstance(size, int) for size in self._image):
            for count in (BATCH, 1) if self.provider == TENSORRT else (1,):
                self.run(np.zeros((self._fixed or count, *self._image), np.uint8))

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Fitted images uint8 (N, H, W, 3) to raw embeddings float32 (N, D). Raises RunnerError."""
        try:
            step = self._fixed or BATCH
            if len(images) == step or (len(images) < step and not self._fixed):
                return self._session.run(self._outputs, {self._input: images})[0]  # type: ignore[no-any-return]
            return np.concatenate([self._part(images[i : i + step]) for i in range(0, len(images), step)])
        except Exception as error:
            raise RunnerError(
                f"ONNX Runtime could not run {printable(self.variant)} on {self.provider}: {printable(str(error))}"
            ) from error

    def _part(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """At most as many images as one run takes; a fixed batch is filled up with its last one."""
        count = len(images)
        if count < self._fixed:
            images = np.concatenate([images, np.repeat(images[-1:], self._fixed - count, axis=0)])
        made: NDArray[np.float32] = self._session.run(self._outputs, {self._input: images})[0]
        return made[:count]


def _listed(tensors: dict[str, Any]) -> str:
    return ", ".join(map(printable, tensors)) or "nothing"
