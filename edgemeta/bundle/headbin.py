"""`head.bin`: what the manifest says about embedding, input and head, in a layout that C reads in place.

Numbers are little-endian, reserved bytes zero, arrays aligned to 64 bytes. SPEC.md has the layout.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import BundleDamagedError, BundleVersionError
from .manifest import MAX_DIM
from .records import HeadRecipe, InputContract, NormalisationRecord

MAGIC = b"EDGEHEAD"
VERSION = 1
MAX_SIZE = 1 << 20
ALIGNMENT = 64

# magic, version, header bytes, file bytes, CRC, flags, embedding id, dim, input kind, height, width,
# channels, codes of dtype, layout, colour and fit, power, scale, lambda, temperature, name, arrays, zeros.
_HEADER = struct.Struct("<8s2H3I32s5I4B4d32sI44x")
_CRC_AT = 16
_ARRAY = struct.Struct("<2I2Q8x")  # kind, dtype, offset, count, reserved
_L2, _BALANCE, _LAMBDA, _CENTRE = 1, 2, 4, 8
_IMAGE, _CODES = 1, (1, 1, 1, 1)  # uint8, NHWC, rgb, crop: the only ones of version 1
_KIND_CENTRE, _FLOAT32 = 1, 1


class Head(NamedTuple):
    """The content of `head.bin`. centre: float32 (dim,) or None, as `normalisation.centre` says."""

    embedding_id: bytes
    dim: int
    input: InputContract
    normalisation: NormalisationRecord
    head: HeadRecipe
    centre: NDArray[np.float32] | None


def encode(head: Head) -> bytes:
    """The bytes of `head.bin`."""
    arrays = [] if head.centre is None else [np.ascontiguousarray(head.centre, dtype="<f4").tobytes()]
    n, recipe = head.normalisation, head.head
    flags = _L2 * n.l2 | _BALANCE * recipe.balance | _LAMBDA * (recipe.lambda_ is not None) | _CENTRE * n.centre
    offset = _aligned(_HEADER.size + _ARRAY.size * len(arrays))
    size = offset + sum(_aligned(len(array)) for array in arrays)
    parts = [
        _HEADER.pack(
            *(MAGIC, VERSION, _HEADER.size, size, 0, flags, head.embedding_id, head.dim, _IMAGE),
            *(head.input.height, head.input.width, head.input.channels, *_CODES),
            *(n.power, n.scale, recipe.lambda_ or 0.0, recipe.temperature),
            *(recipe.name.encode("ascii"), len(arrays)),
        )
    ]
    parts += [_ARRAY.pack(_KIND_CENTRE, _FLOAT32, offset, head.dim) for _ in arrays]
    data = b"".join(parts).ljust(offset, b"\0") + b"".join(a.ljust(_aligned(len(a)), b"\0") for a in arrays)
    return data[:_CRC_AT] + struct.pack("<I", zlib.crc32(data)) + data[_CRC_AT + 4 :]


def decode(data: bytes) -> Head:
    """The content of `data`. Raises BundleDamagedError for any byte out of place, BundleVersionError."""
    if len(data) < _HEADER.size or data[:8] != MAGIC:
        raise BundleDamagedError("head.bin: it does not begin as it should")
    (version,) = struct.unpack_from("<H", data, 8)
    if version > VERSION:
        raise BundleVersionError(
            f"head.bin has version {version}; this edgemeta reads version {VERSION}. "
            "Upgrade with: pip install --upgrade edgemeta"
        )
    crc = zlib.crc32(data[_CRC_AT + 4 :], zlib.crc32(bytes(4), zlib.crc32(data[:_CRC_AT])))
    if struct.unpack_from("<I", data, _CRC_AT) != (crc,):
        raise BundleDamagedError("head.bin: its CRC-32 does not fit")
    head = _fields(data)
    # Whatever was not looked at (sizes, codes, reserved bytes, padding) must be what `encode` would write.
    if encode(head) != data:
        raise BundleDamagedError("head.bin: a field that version 1 does not know, or a reserved byte in use")
    return head


def _fields(data: bytes) -> Head:
    values = _HEADER.unpack_from(data)
    flags, embedding_id, dim, _, height, width, channels = values[5:12]
    power, scale, lambda_, temperature, name, arrays = values[16:]
    stripped = name.rstrip(b"\0")
    if not stripped.isascii() or not 1 <= dim <= MAX_DIM or arrays != bool(flags & _CENTRE):
        raise BundleDamagedError("head.bin: a damaged name, dimension or number of arrays")
    centre = None
    if flags & _CENTRE:
        offset = _aligned(_HEADER.size + _ARRAY.size)
        if len(data) != offset + _aligned(4 * dim):
            raise BundleDamagedError("head.bin: the centre does not fit the file")
        centre = np.frombuffer(data, "<f4", dim, offset).astype(np.float32)
        if not np.isfinite(centre).all():
            raise BundleDamagedError("head.bin: the centre holds NaN or infinity")
    return Head(
        embedding_id=embedding_id,
        dim=dim,
        input=InputContract(height=height, width=width, channels=channels),
        normalisation=NormalisationRecord(bool(flags & _CENTRE), power, bool(flags & _L2), scale),
        head=HeadRecipe(
            name=stripped.decode("ascii"),
            lambda_=lambda_ if flags & _LAMBDA else None,
            temperature=temperature,
            balance=bool(flags & _BALANCE),
        ),
        centre=centre,
    )


def _aligned(size: int) -> int:
    return size + -size % ALIGNMENT
