"""The file of a prior: a zip of three .npy arrays. Sizes are checked before anything is allocated; no pickle."""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Mapping, Sequence

import numpy as np

from ..errors import DataError, DataMissingError
from ..options import as_path
from ..terminal import printable
from .targets import Floats

# 65,536 dimensions would make 32 GiB; nobody learns a prior of more than 8,192.
LARGEST_MEMBER = 8 * 8194**2


def save(path: str | os.PathLike[str], arrays: Mapping[str, Floats]) -> None:
    """Write beside, then rename: a file of that name is the old one or the new one."""
    name = as_path(path, "a prior's file")
    partial = f"{name}.{os.getpid()}.part"
    try:
        with open(partial, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, name)
    finally:
        if os.path.exists(partial):
            os.unlink(partial)


def load(path: str | os.PathLike[str], names: Sequence[str]) -> dict[str, Floats]:
    """Arrays float64 by name. Raises DataMissingError, DataError."""
    name = as_path(path, "a prior's file")
    try:
        with zipfile.ZipFile(name) as file:
            if sorted(file.namelist()) != sorted(f"{each}.npy" for each in names):
                raise DataError(f"{printable(name)} holds no prior: it has not the arrays {', '.join(names)}")
            if any(info.file_size > LARGEST_MEMBER for info in file.infolist()):
                raise DataError(f"{printable(name)} holds no prior: an array is larger than any prior's")
            return {each: _array(file.read(f"{each}.npy")) for each in names}
    except FileNotFoundError:
        raise DataMissingError(f"there is no prior {printable(name)}") from None
    except DataError:
        raise
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise DataError(f"{printable(name)} holds no prior: {printable(str(error))}") from None


def _array(data: bytes) -> Floats:
    """One .npy of float64, version 1.0. Raises ValueError."""
    stream = io.BytesIO(data)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("an array of an unknown version")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype != np.dtype("<f8") or len(data) - stream.tell() != 8 * math.prod(shape):
        raise ValueError("an array that is not what it says")
    flat = np.frombuffer(data, dtype="<f8", offset=stream.tell()).astype(np.float64)
    return flat.reshape(shape, order="F" if fortran else "C")
