"""Shared fixtures. Tests that need the data beside the checkout skip with a reason when they are not there."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from edgemeta import Learner

settings.register_profile("edgemeta", deadline=None, max_examples=40)
settings.load_profile("edgemeta")

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def omniglot() -> Path:
    """The folder with Omniglot's zips."""
    folder = Path(os.environ.get("EDGEMETA_OMNIGLOT", SHARED / "omniglot"))
    if not (folder / "images_evaluation.zip").exists():
        pytest.skip(f"Omniglot is not at {folder}; set EDGEMETA_OMNIGLOT to the folder with its zips")
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def learner() -> Learner:
    """A learner of 8-dimensional embeddings, in memory."""
    return Learner(dim=8)
