"""What everything that is taught can do, whatever it learns: take back, merge, compact, sync, follow a file, close."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from . import kernels
from .bundle import Bundle
from .embedder import Embedder
from .errors import InputError, OptionError
from .inputs import collect
from .journal import Change, ExampleId, Journal
from .journal.opening import Sync, check_sync
from .normalisation import Normalisation, to_float
from .options import as_path

Own = TypeVar("Own", bound="Teaching")
BundleLike = str | os.PathLike[str] | Bundle


class Teaching:
    """What `Learner` and `Regressor` share. A subclass sets the fields and follows changes."""

    _embedder: Embedder
    _journal: Journal
    _lock: threading.RLock
    _channels: str
    _targets: int  # numbers in the target of each example; 0 for classes

    def _set_up(
        self,
        bundle: BundleLike | None,
        dim: int | None,
        channels: str,
        sync: Sync,
        sha256: str | None,
        normalisation: Normalisation | None,
        variant: str | None,
        providers: Sequence[str] | None,
        threads: int | None,
    ) -> Bundle | None:
        """Check what all have in common, and open the bundle. Raises BundleError, OptionError, NotFoundError."""
        if (bundle is None) == (dim is None):
            raise OptionError("give either a bundle or dim=, the length of your own embeddings")
        check_sync(sync)
        if channels not in ("rgb", "bgr"):
            raise OptionError(f"channels is 'rgb' or 'bgr', not {channels!r}")
        if bundle is not None and not isinstance(bundle, Bundle):
            bundle = Bundle.open(bundle, sha256=sha256)
        self._embedder = Embedder(bundle, dim, normalisation, variant, providers, threads)
        self._channels, self._lock = channels, threading.RLock()
        return bundle

    def _follow(self, change: Change) -> Change:
        """Take in one change of the journal, and hand it back."""
        raise NotImplementedError

    def _check_other(self, other: Journal) -> None:
        """Raises where what another journal holds cannot be taken over."""

    def undo(self) -> None:
        """Take back the newest call that changed what is known. Raises NotFoundError when there is none."""
        with self._lock:
            self._follow(self._journal.undo())

    def merge(self, other: Teaching | str | os.PathLike[str]) -> int:
        """Take over what another one, or the journal at a path, was taught, its forgetting included.

        Returns how many examples came. Merging twice changes nothing. Raises JournalMismatchError for another
        backbone or another kind of targets, MergeError, HeadError where examples were sealed that the head needs. Then
        nothing has changed.
        """
        if isinstance(other, Teaching):
            # Always in the same order: two that merge each other at once must not wait for each other.
            first, second = sorted((self, other), key=id)
            with first._lock, second._lock:
                self._check_other(other._journal)
                return _came(self._follow(self._journal.merge(other._journal)))
        with self._lock:
            journal = self._open(as_path(other, "a journal"), "call", readonly=True)
            try:
                self._check_other(journal)
                return _came(self._follow(self._journal.merge(journal)))
            finally:
                journal.close()

    def compact(self) -> int:
        """Rewrite the journal without what was forgotten; returns the bytes saved. Undo cannot step over it."""
        with self._lock:
            return self._journal.compact()

    def embed(self, xs: Any) -> NDArray[np.float64]:
        """The normalised embeddings (N, D) of several inputs, as they would be stored."""
        return to_float(self._embed(xs)[0])

    @property
    def journal(self) -> Journal:
        """The journal underneath."""
        return self._journal

    @property
    def bundle(self) -> Bundle | None:
        """The bundle, or None with `dim=`."""
        return self._embedder.bundle

    @property
    def provider(self) -> str | None:
        """What the graph runs on ("CPUExecutionProvider"), or None before the first image."""
        return self._embedder.provider

    @property
    def kernels(self) -> str:
        """What does the arithmetic: "numpy", or the instruction set of the C core (EDGEMETA_KERNELS names one)."""
        return kernels.name()

    def sync(self) -> None:
        """Bring everything to the disk (with sync="manual")."""
        with self._lock:
            self._journal.sync()

    def reload(self) -> bool:
        """For readers: take over what a writer added since. Returns whether anything changed."""
        with self._lock:
            change = self._journal.reload()
            self._follow(change)
            return bool(change.reset or change.added or change.removed)

    def close(self) -> None:
        """Bring everything to the disk and give the lock back. Twice does no harm; nothing can be asked after it."""
        with self._lock:
            self._journal.close()

    def __enter__(self: Own) -> Own:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, path: str | os.PathLike[str] | None, sync: Sync, *, readonly: bool) -> Journal:
        """The journal of this backbone and kind; without a path one in memory. Raises JournalError, OptionError."""
        key, dim = self._embedder.id, self._embedder.dim
        if path is None:
            return Journal.memory(embedding_id=key, dim=dim, targets=self._targets)
        return Journal.open(path, embedding_id=key, dim=dim, sync=sync, readonly=readonly, targets=self._targets)

    def _embed(self, xs: Any) -> tuple[NDArray[np.int32], list[NDArray[np.uint8]] | None]:
        contract = self._embedder.input
        height, width = (contract.height, contract.width) if contract is not None else (None, None)
        inputs = collect(xs, channels=self._channels, height=height, width=width)
        if inputs.pixels is not None:
            return self._embedder.images(inputs.pixels), inputs.pixels
        assert inputs.embeddings is not None
        return self._embedder.embeddings(inputs.embeddings), None


def spread(values: Any, count: int, what: str) -> list[Any]:
    """One value for each of `count` inputs; a single one is for all. Raises InputError."""
    if values is None or isinstance(values, str):
        return [values] * count
    try:
        found = list(values)
    except TypeError as error:
        raise InputError(f"{what} are a list of strings, or a single one for all, not {values!r}") from error
    if len(found) != count:
        raise InputError(f"{len(found)} {what} for {count} inputs; give one for each, or a single one for all")
    return found


def as_id(example: ExampleId | str) -> ExampleId:
    """An id, or what `str` made of one. Raises InputError, NotFoundError."""
    return example if isinstance(example, ExampleId) else ExampleId.parse(example)


def _came(change: Change) -> int:
    """How many examples a change brought, the sealed ones too."""
    return len(change.added) + sum(seal.count for seal in change.seals_added)
