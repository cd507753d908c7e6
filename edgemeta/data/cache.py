"""Decoded data kept between starts: a second start must be fast.

The folder is `$EDGEMETA_CACHE`, else `$XDG_CACHE_HOME/edgemeta`, else `~/.cache/edgemeta`. A cache is never
trusted over its source: the key holds the source's path, size and time of change.
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


def cached(kind: str, source: Path, make: Callable[[], Arrays]) -> Arrays:
    """The arrays that `make` returns, from the cache when `source` has not changed since.

    A cache that cannot be read or written is passed over: it only ever saves time.
    """
    import hashlib

    stat = source.stat()
    key = f"{kind}|1|{source.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"
    path = cache_folder() / f"{kind}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"
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
