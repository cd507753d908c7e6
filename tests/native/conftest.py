"""Fixtures of the tests of the core."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from edgemeta import kernels
from edgemeta.journal import compaction, opening
from edgemeta.journal import journal as journal_module


@pytest.fixture(autouse=True)
def numpy_is_the_reference(monkeypatch):
    """The package itself would take the core, and the core would be held against itself."""
    monkeypatch.setattr(kernels, "_core", lambda: None)


@pytest.fixture
def same_numbers(monkeypatch):
    """Python's randomness and C's from two equal generators. catch_up: where Python alone has taken from it."""

    class Numbers:
        def __init__(self, seed: int) -> None:
            self.rng = random.Random(seed)

        def __call__(self, size: int) -> bytes:
            return self.rng.randbytes(size)

        def catch_up(self) -> None:
            self.rng.setstate(self.python.rng.getstate())

    def begin(seed: int) -> Callable[[int], bytes]:
        python, fake = Numbers(seed), SimpleNamespace(PathLike=os.PathLike, urandom=None)
        fake.urandom = python
        monkeypatch.setattr(opening, "os", fake)
        monkeypatch.setattr(compaction, "os", fake)
        monkeypatch.setattr(opening, "new_uuid", lambda: python(16))
        monkeypatch.setattr(journal_module, "new_uuid", lambda: python(16))
        ours = Numbers(seed)
        ours.python = python
        return ours

    return begin
