"""The C core as a shared library, built once a session for these tests, and called through ctypes."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "native"


@cache
def load() -> ctypes.CDLL:
    """libedgemeta.so of this checkout, or the library that $EDGEMETA_NATIVE_LIBRARY names (one built for a sanitizer,
    say); the test that asks is skipped where there is no C compiler."""
    named = os.environ.get("EDGEMETA_NATIVE_LIBRARY")
    if named is None:
        named = _build()
    library = ctypes.CDLL(named)
    library.em_status_name.restype = ctypes.c_char_p
    library.em_kernels_find.restype = ctypes.c_void_p
    library.em_kernels_name.restype = ctypes.c_char_p
    library.em_kernels_name.argtypes = [ctypes.c_void_p]
    return library


def _build() -> str:
    if shutil.which("cc") is None or shutil.which("make") is None:
        pytest.skip("there is no C compiler (cc) or no make")
    subprocess.run(["make", "-s", "-C", str(ROOT / "native"), f"BUILD={BUILD}"], check=True)
    return str(BUILD / "libedgemeta.so")


@cache
def kernel_names() -> tuple[str, ...]:
    """Every instruction set that this machine has."""
    names = ("portable", "sse2", "avx2", "avx512", "neon", "neon-dotprod")
    return tuple(name for name in names if load().em_kernels_find(name.encode()))


def kernels(name: str | None = None) -> ctypes.c_void_p:
    """The em_kernels of a name, None for the fastest."""
    found = load().em_kernels_find(None if name is None else name.encode())
    assert found, name
    return ctypes.c_void_p(found)


def memory(size: int) -> ctypes.c_void_p:
    """`size` bytes aligned to 64, alive as long as the pointer object is."""
    block = np.zeros(size + 64, dtype=np.uint8)
    at = -block.ctypes.data % 64
    pointer = ctypes.c_void_p(block.ctypes.data + at)
    pointer.block = block  # type: ignore[attr-defined]
    return pointer


def pointer(array: np.ndarray | None) -> ctypes.c_void_p:
    """A C-contiguous array as a pointer."""
    if array is None:
        return ctypes.c_void_p(None)
    assert array.flags.c_contiguous
    return ctypes.c_void_p(array.ctypes.data)
