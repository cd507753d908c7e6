"""`head.bin`: what the manifest says about embedding, input and head, in a layout that C reads in place.

Numbers are little-endian, reserved bytes zero, arrays aligned to 64 bytes. SPEC.md has the layout.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import background
from ..errors import BundleDamagedError, BundleVersionError, LabelError, OptionError
from ..labels import LONGEST_BYTES
from ..prior import MAX_LABELS, PriorClasses
from .manifest import MAX_DIM
from .records import HeadRecipe, InputContract, NormalisationRecord

MAGIC = b"EDGEHEAD"
VERSION = 1
MAX_SIZE = 64 << 20
ALIGNMENT = 64

# magic, version, header bytes, file bytes, CRC, flags, embedding id, dim, input kind, height, width,
# channels, codes of dtype, layout, colour and fit, power, scale, lambda, temperature, name, arrays, zeros.
_HEADER = struct.Struct("<8s2H3I32s5I4B4d32sI44x")
_CRC_AT = 16
_ARRAY = struct.Struct("<2I2Q8x")  # kind, dtype, offset, count, reserved
_L2, _BALANCE, _LAMBDA, _CENTRE, _BACKGROUND, _PRIOR = 1, 2, 4, 8, 16, 32
_IMAGE, _CODES = 1, (1, 1, 1, 1)  # uint8, NHWC, rgb, crop: the only ones of version 1
_KIND_CENTRE, _KIND_BACKGROUND, _KIND_MEANS, _KIND_LABELS, _KIND_SPREAD = 1, 2, 3, 4, 5
_KINDS = {_CENTRE: (_KIND_CENTRE,), _BACKGROUND: (_KIND_BACKGROUND,), _PRIOR: (_KIND_MEANS, _KIND_LABELS, _KIND_SPREAD)}
_DTYPES = {1: "<f4", 2: "|u1", 3: "<f8"}
_DTYPE_OF = {_KIND_CENTRE: 1, _KIND_BACKGROUND: 1, _KIND_MEANS: 1, _KIND_LABELS: 2, _KIND_SPREAD: 3}
_MAX_ARRAYS = len(_DTYPE_OF)
_MAX_LABEL_BYTES = MAX_LABELS * (LONGEST_BYTES + 1)


class Head(NamedTuple):
    """The content of `head.bin`. centre: float32 (dim,) or None, as `normalisation.centre` says.

    background: float32 (5, 6, 9), the values of `edgemeta.background.Background`, or None.
    """

    embedding_id: bytes
    dim: int
    input: InputContract
    normalisation: NormalisationRecord
    head: HeadRecipe
    centre: NDArray[np.float32] | None
    background: NDArray[np.float32] | None = None
    prior: PriorClasses | None = None


def encode(head: Head) -> bytes:
    """The bytes of `head.bin`. Raises ValueError for more than the most bytes."""
    data = bytes(_assembled(head))
    if len(data) > MAX_SIZE:
        raise ValueError(f"head.bin: {len(data)} bytes; the most is {MAX_SIZE}")
    return data


def _assembled(head: Head) -> bytearray:
    arrays = _arrays(head)
    offset = _aligned(_HEADER.size + _ARRAY.size * len(arrays))
    table, body, at = b"", bytearray(), offset
    for kind, array in arrays.items():
        table += _ARRAY.pack(kind, _DTYPE_OF[kind], at, array.size)
        body += array.data.cast("B")
        body += bytes(-array.nbytes % ALIGNMENT)
        at = offset + len(body)
    n, recipe = head.normalisation, head.head
    flags = _L2 * n.l2 | _BALANCE * recipe.balance | _LAMBDA * (recipe.lambda_ is not None) | _CENTRE * n.centre
    flags |= _BACKGROUND * (head.background is not None) | _PRIOR * (head.prior is not None)
    header = _HEADER.pack(
        *(MAGIC, VERSION, _HEADER.size, at, 0, flags, head.embedding_id, head.dim, _IMAGE),
        *(head.input.height, head.input.width, head.input.channels, *_CODES),
        *(n.power, n.scale, recipe.lambda_ or 0.0, recipe.temperature),
        *(recipe.name.encode("ascii"), len(arrays)),
    )
    body[:0] = (header + table).ljust(offset, b"\0")
    struct.pack_into("<I", body, _CRC_AT, zlib.crc32(body))
    return body


def _arrays(head: Head) -> dict[int, NDArray[np.generic]]:
    """Kind to flat array, in ascending order of kind."""
    found: dict[int, NDArray[np.generic]] = {}
    if head.centre is not None:
        found[_KIND_CENTRE] = head.centre
    if head.background is not None:
        found[_KIND_BACKGROUND] = head.background
    if head.prior is not None:
        labels = b"".join(label.encode() + b"\0" for label in head.prior.labels)
        found[_KIND_MEANS] = head.prior.means
        found[_KIND_LABELS] = np.frombuffer(labels, np.uint8)
        found[_KIND_SPREAD] = np.array([head.prior.within, head.prior.between])
    return {
        kind: np.ascontiguousarray(array, _DTYPES[_DTYPE_OF[kind]]).reshape(-1)  # native already on most machines
        for kind, array in found.items()
    }


def decode(data: bytes) -> Head:
    """The content of `data`; large arrays are views of it.

    Raises BundleDamagedError for any byte out of place, BundleVersionError.
    """
    if len(data) < _HEADER.size or data[:8] != MAGIC:
        raise BundleDamagedError("head.bin: it does not begin as it should")
    (version,) = struct.unpack_from("<H", data, 8)
    if version > VERSION:
        raise BundleVersionError(
            f"head.bin has version {version}; this edgemeta reads version {VERSION}. "
            "Upgrade with: pip install --upgrade edgemeta"
        )
    view = memoryview(data)
    crc = zlib.crc32(view[_CRC_AT + 4 :], zlib.crc32(bytes(4), zlib.crc32(view[:_CRC_AT])))
    if struct.unpack_from("<I", data, _CRC_AT) != (crc,):
        raise BundleDamagedError("head.bin: its CRC-32 does not fit")
    head = _fields(data)
    # Whatever was not looked at (sizes, codes, reserved bytes, padding) must be what `encode` would write.
    if _assembled(head) != data:
        raise BundleDamagedError("head.bin: a field that version 1 does not know, or a reserved byte in use")
    return head


def _fields(data: bytes) -> Head:
    values = _HEADER.unpack_from(data)
    flags, embedding_id, dim, _, height, width, channels = values[5:12]
    power, scale, lambda_, temperature, name, count = values[16:]
    stripped = name.rstrip(b"\0")
    kinds = [kind for flag, kinds in _KINDS.items() if flags & flag for kind in kinds]
    if not stripped.isascii() or not 1 <= dim <= MAX_DIM or count != len(kinds):
        raise BundleDamagedError("head.bin: a damaged name, dimension or number of arrays")
    arrays = {kind: _array(data, number, kind) for number, kind in enumerate(kinds)}
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
        centre=_centre(arrays[_KIND_CENTRE], dim) if flags & _CENTRE else None,
        background=_background(arrays[_KIND_BACKGROUND]) if flags & _BACKGROUND else None,
        prior=_prior(arrays, dim) if flags & _PRIOR else None,
    )


def _array(data: bytes, number: int, kind: int) -> NDArray[np.generic]:
    """A flat view of the array in row `number` of the table, which must be of this kind."""
    at = _HEADER.size + number * _ARRAY.size
    if at + _ARRAY.size > len(data):
        raise BundleDamagedError("head.bin: the table of arrays does not fit the file")
    found, dtype, offset, count = _ARRAY.unpack_from(data, at)
    if (found, dtype) != (kind, _DTYPE_OF[kind]):
        raise BundleDamagedError(f"head.bin: array {number} is not of the kind {kind} that the flags promise")
    kept = np.dtype(_DTYPES[dtype])
    if offset > len(data) or not 1 <= count <= (len(data) - offset) // kept.itemsize:
        raise BundleDamagedError(f"head.bin: array {number} does not fit the file")
    return np.frombuffer(data, kept, count, offset)


def _centre(array: NDArray[np.generic], dim: int) -> NDArray[np.float32]:
    if len(array) != dim:
        raise BundleDamagedError("head.bin: the centre does not fit the dimension")
    centre = array.astype(np.float32)
    if not np.isfinite(centre).all():
        raise BundleDamagedError("head.bin: the centre holds NaN or infinity")
    return centre


def _background(array: NDArray[np.generic]) -> NDArray[np.float32]:
    if len(array) != np.prod(background.SHAPE):
        raise BundleDamagedError("head.bin: the background has not the size of its axes")
    values = array.astype(np.float32).reshape(background.SHAPE)
    complaint = background.complaint_of(values)
    if complaint is not None:
        raise BundleDamagedError(f"head.bin: the background: {complaint}")
    return values


def _prior(arrays: dict[int, NDArray[np.generic]], dim: int) -> PriorClasses:
    means, labels, spread = arrays[_KIND_MEANS], arrays[_KIND_LABELS], arrays[_KIND_SPREAD]
    if len(means) % dim or len(spread) != 2 or len(labels) > _MAX_LABEL_BYTES:
        raise BundleDamagedError("head.bin: the arrays of the prior classes do not fit together")
    try:
        # A last label without its zero byte is found when the bytes are compared.
        texts = labels.tobytes().decode("utf-8").removesuffix("\0").split("\0")
        return PriorClasses(
            tuple(texts), means.astype(np.float32, copy=False).reshape(-1, dim), float(spread[0]), float(spread[1])
        )
    except (OptionError, LabelError, UnicodeDecodeError) as error:
        raise BundleDamagedError(f"head.bin: {error}") from error


def _aligned(size: int) -> int:
    return size + -size % ALIGNMENT
