"""The file of a prior: a zip of three .npy arrays, stored and not compressed. Sizes are checked before anything is
allocated; a header is only taken as NumPy writes it, so nothing in it is evaluated."""

from __future__ import annotations

import math
import os
import re
import zipfile
from collections.abc import Mapping, Sequence

import numpy as np

from ..errors import DataError, DataMissingError
from ..options import as_path
from ..terminal import printable
from .targets import Floats

# 65,536 dimensions would make 32 GiB; nobody learns a prior of more than 8,192.
LARGEST_MEMBER = 8 * 8194**2
# Version 1.0 of the format: magic, version, length of the header, header; one or two axes.
NPY = re.compile(
    rb"\x93NUMPY\x01\x00(..)\{'descr': '<f8', 'fortran_order': (True|False), "
    rb"'shape': \((\d{1,6}),(?: (\d{1,6}))?\), \} *\n",
    re.DOTALL,
)


def save(path: str | os.PathLike[str], arrays: Mapping[str, Floats]) -> None:
    """Write beside, then rename: a file of that name is the old one or the new one. Raises DataError."""
    name = as_path(path, "a prior's file")
    partial = f"{name}.{os.getpid()}.part"
    try:
        with open(partial, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, name)
    except OSError as error:
        raise DataError(f"{printable(name)} could not be written: {error.strerror or error}") from error
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
            if any(info.compress_type != zipfile.ZIP_STORED for info in file.infolist()):
                raise DataError(f"{printable(name)} holds no prior: it is compressed, and `save` does not do that")
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
    """One .npy of float64. Raises ValueError."""
    found = NPY.match(data)
    if found is None or int.from_bytes(found[1], "little") != found.end() - 10:
        raise ValueError("an array that was not written by `save`")
    shape = tuple(int(each) for each in found.group(3, 4) if each is not None)
    if len(data) - found.end() != 8 * math.prod(shape):
        raise ValueError("an array that is not what it says")
    flat = np.frombuffer(data, dtype="<f8", offset=found.end()).astype(np.float64)
    return flat.reshape(shape, order="F" if found[2] == b"True" else "C")
