"""NULL is what a failed open leaves behind: what looks at it says nothing, and closing it does nothing."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from library import kernel_names, kernels, load, pointer

ZERO = ("dim", "bytes", "torn", "targets", "count", "classes", "seals")


@pytest.mark.parametrize("name", ZERO)
def test_a_journal_that_is_not_there_has_nothing(name):
    call = getattr(load(), f"em_journal_{name}")
    call.restype = ctypes.c_uint64 if name in ("bytes", "torn") else ctypes.c_uint32
    assert call(None) == 0


def test_nor_an_identity_nor_classes():
    for name in ("embedding_id", "uuid"):
        call = getattr(load(), f"em_journal_{name}")
        call.restype = ctypes.c_void_p
        assert call(None) is None
    count = load().em_journal_class_count
    count.restype = ctypes.c_uint64
    assert count(None, 0) == 0


def test_a_store_that_was_never_opened_can_be_closed():
    load().em_posix_close(None)
    load().em_posix_close(ctypes.create_string_buffer(128))  # zeroed, as programs begin


@pytest.mark.parametrize("name", ["portable", "sse2", "avx2", "avx512", "neon", "neon-dotprod"])
def test_scores_in_float64(name, rng):
    load()
    if name not in kernel_names():
        pytest.skip(f"this machine has no {name}")
    weights, bias, z = rng.normal(size=(5, 67)) * 1e9, rng.normal(size=5), rng.normal(size=(3, 67))
    found = np.full((3, 5), np.nan)
    given = (pointer(weights), pointer(bias), 5, 67, pointer(z), 3)
    assert load().em_score_f64(kernels(name), *given, pointer(found)) == 0
    np.testing.assert_allclose(found, z @ weights.T + bias, rtol=1e-12, atol=1e-3)
    assert load().em_score_f64(kernels(name), *given, None) == -1
    assert (
        load().em_score_f64(kernels(name), pointer(weights), pointer(bias), 0, 67, pointer(z), 3, pointer(found)) == -2
    )
