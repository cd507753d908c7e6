"""From inputs to stored embeddings: the bundle's graph, opened at the first image, and its normalisation."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bundle import Bundle, InputContract
from .errors import EmbeddingError, OptionError, RunnerError
from .normalisation import Normalisation
from .options import as_count, as_names
from .runners import Runner, open_runner, pick_variant

LARGEST_DIM = 65536


class Embedder:
    """A bundle's frozen extractor, or only a normalisation for embeddings that the user brings."""

    def __init__(
        self,
        bundle: Bundle | None,
        dim: int | None,
        normalisation: Normalisation | None,
        variant: str | None,
        providers: Sequence[str] | None,
        threads: int | None,
    ) -> None:
        if bundle is not None and normalisation is not None:
            raise OptionError("the normalisation belongs to the bundle; it can only be given with dim=")
        if providers is not None:
            providers = as_names(providers, "providers")
        if threads is not None:
            threads = as_count(threads, "threads", most=1024)
        self.bundle = bundle
        self._options = {"variant": variant, "providers": providers, "threads": threads}
        self._runner: Runner | None = None
        self._lock = threading.Lock()
        if bundle is not None:
            self.dim, self.id, self.normalisation = bundle.dim, bundle.embedding_id, bundle.normalisation
            self.input: InputContract | None = bundle.input
            if variant is not None:
                pick_variant(bundle, variant)
        else:
            if normalisation is not None and not isinstance(normalisation, Normalisation):
                raise OptionError(f"normalisation is a Normalisation, not {type(normalisation).__name__}")
            dim = as_count(dim, "dim, the length of an embedding,", most=LARGEST_DIM)
            self.dim, self.input = dim, None
            self.normalisation = normalisation if normalisation is not None else Normalisation()
            self.id = _own_id(dim, self.normalisation)

    @property
    def variant(self) -> str:
        """The name of the graph that ran, or "" before the first image."""
        return self._runner.variant if self._runner is not None else ""

    @property
    def provider(self) -> str | None:
        return self._runner.provider if self._runner is not None else None

    def images(self, pixels: list[NDArray[np.uint8]]) -> NDArray[np.int32]:
        """Fitted images to Q20 embeddings int32 (N, D)."""
        # A frame is not copied on its way: the runtime reads what the image kernel wrote.
        raw = self.raw(pixels[0][None] if len(pixels) == 1 else np.stack(pixels))
        return self.normalisation.apply(raw)

    def raw(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Fitted images uint8 (N, H, W, 3) to what the graph gives, float32 (N, D). Raises RunnerError."""
        out = self.open().run(pixels)
        if out.shape != (len(pixels), self.dim):
            raise RunnerError(
                f"the graph gave {out.shape} for {len(pixels)} images; the bundle promises {self.dim} numbers each"
            )
        return out

    def open(self) -> Runner:
        """What runs the graph, opened at the first call. Raises RunnerError, OptionError, MissingDependencyError."""
        assert self.bundle is not None
        with self._lock:
            if self._runner is None:
                self._runner = open_runner(self.bundle, **self._options)  # type: ignore[arg-type]
        return self._runner

    def embeddings(self, embeddings: NDArray[np.floating[Any]]) -> NDArray[np.int32]:
        """Raw embeddings float (N, D) to Q20 int32 (N, D). Raises EmbeddingError."""
        if len(embeddings) == 0:
            return np.zeros((0, self.dim), dtype=np.int32)
        if embeddings.ndim != 2 or embeddings.shape[1] != self.dim:
            raise EmbeddingError(
                f"embeddings of length {self.dim} are expected, not an array of shape {embeddings.shape}"
            )
        return self.normalisation.apply(embeddings)


def _own_id(dim: int, normalisation: Normalisation) -> bytes:
    """embedding.id for embeddings that the user brings: their length and what is done to them (SPEC.md)."""
    import hashlib

    text = f"edgemeta own embeddings 1|{dim}|{normalisation.power!r}|{normalisation.l2}|{normalisation.scale!r}|"
    centre = b"" if normalisation.centre is None else normalisation.centre.astype("<f4").tobytes()
    return hashlib.sha256(text.encode() + centre).digest()
