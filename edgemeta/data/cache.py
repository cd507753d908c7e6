"""Decoded data kept between starts: a second start must be fast.

The folder is `$EDGEMETA_CACHE`, else `$XDG_CACHE_HOME/edgemeta`, else `~/.cache/edgemeta`. A cache is never
trusted over its source: the key holds the source's path, and the size and time of change of all its files.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[np.generic]]


def cache_folder() -> Path:
    """The folder for decoded data; it need not exist."""
    if "EDGEMETA_CACHE" in os.environ:
        return Path(os.environ["EDGEMETA_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "edgemeta"


def _key(kind: str, source: Path) -> str:
    """What changes when a file of `source`, itself a file or a folder, is added, removed or written."""
    import hashlib

    # A folder's own time says nothing of the files below it.
    files = sorted(p for p in source.rglob("*") if p.is_file()) if source.is_dir() else [source]
    digest = hashlib.sha256(os.fsencode(f"{kind}|2|{source.resolve()}"))
    for path in files:
        stat = path.stat()
        digest.update(os.fsencode(f"|{path.relative_to(source)}|{stat.st_size}|{stat.st_mtime_ns}"))
    return digest.hexdigest()[:16]


def cached(kind: str, source: Path, make: Callable[[], Arrays]) -> Arrays:
    """The arrays that `make` returns, from the cache when `source` has not changed since.

    A cache that cannot be read or written is passed over: it only ever saves time.
    """
    path = cache_folder() / f"{kind}-{_key(kind, source)}.npz"
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, KeyError):
        pass
    except Exception as error:
        # zipfile's own error is no OSError; importing zipfile just to name it costs more than this line.
        if type(error).__name__ != "BadZipFile":
            raise
    arrays = make()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.stem}.{os.getpid()}.npz")
        np.savez(partial, **arrays)  # type: ignore[arg-type]
        os.replace(partial, path)
    except OSError:
        pass
    return arrays
