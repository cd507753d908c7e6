"""The bytes of records: their frame, and the payload of each type. SPEC.md is the text of it.

Everything is little-endian and 8-byte aligned. Nothing here reads a file or keeps state. Decoders are given
bytes whose CRC was right; what makes no sense all the same raises `Nonsense`.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..normalisation import Q20
from .header import Nonsense
from .ids import MAX_COUNTER, NO_UUID, ExampleId, Range, RangeSet

RECORD_MAGIC = b"eRec"
FRAME_SIZE = 16
SKIPPABLE = 1

EXAMPLE, TOMBSTONE, SEAL, IDENTITY, COMMIT = 1, 2, 3, 4, 5
TYPE_NAMES = {1: "example", 2: "tombstone", 3: "seal", 4: "identity", 5: "commit"}

COMMIT_COMPACTION, COMMIT_MERGE, COMMIT_RESUMES = 1, 2, 4

_FRAME = struct.Struct("<4sHHI")
_U32 = struct.Struct("<I")
_ID = struct.Struct("<16sQ")
_EXAMPLE = struct.Struct("<IIHHHBx4HI4x")
_TOMBSTONE = struct.Struct("<16sQQ")
_SEAL = struct.Struct("<IIHxxIQ")
_IDENTITY = struct.Struct("<16s16sI4x")
_COMMIT = struct.Struct("<QQQQIIII")
COMMIT_SIZE, IDENTITY_SIZE = _COMMIT.size, _IDENTITY.size

EXAMPLE_HAS_GROUP = 1
SEAL_HAS_MOMENT = 1
IDENTITY_VOLATILE = 1
ID_SIZE = _ID.size
EXAMPLE_SIZE = 2 * ID_SIZE + _EXAMPLE.size
SEAL_SIZE = ID_SIZE + _SEAL.size


def record_size(length: int) -> int:
    """Bytes of a record whose payload has `length`: frame, payload, zeros, CRC, a multiple of 8."""
    return FRAME_SIZE + (length + 4 + 7) // 8 * 8


def encode_record(kind: int, payload: bytes, seed: int, flags: int = 0) -> bytes:
    """One record. The CRC at its end goes on from the frame's: it covers frame and payload under the seed."""
    frame = _FRAME.pack(RECORD_MAGIC, kind, flags, len(payload))
    crc = zlib.crc32(frame, seed)
    body = payload + bytes(record_size(len(payload)) - FRAME_SIZE - len(payload) - 4)
    return b"".join((frame, _U32.pack(crc), body, _U32.pack(zlib.crc32(body, crc))))


class Frame(NamedTuple):
    """The first 16 bytes of a record, their CRC found right."""

    kind: int
    flags: int
    length: int
    crc: int


def decode_frame(data: bytes | memoryview, seed: int) -> Frame | None:
    """The frame in the first 16 bytes of `data`, or None where there is none."""
    if len(data) < FRAME_SIZE:
        return None
    magic, kind, flags, length = _FRAME.unpack_from(data)
    if magic != RECORD_MAGIC:
        return None
    crc = zlib.crc32(data[:12], seed)
    return Frame(kind, flags, length, crc) if crc == _U32.unpack_from(data, 12)[0] else None


def body_crc(body: bytes | memoryview, frame: Frame) -> int | None:
    """The CRC at the end of `body` (payload, zeros, CRC), or None where it is wrong."""
    crc = int(_U32.unpack_from(body, len(body) - 4)[0])
    return crc if zlib.crc32(body[:-4], frame.crc) == crc else None


def chain(crc: int, record_crc: int) -> int:
    """A transaction's checksum, one record further. It starts from the file's seed."""
    return zlib.crc32(_U32.pack(record_crc), crc)


class Commit(NamedTuple):
    """The end of a transaction. start: offset of its first byte. synced: a file length that was durable by then."""

    number: int
    undoes: int
    synced: int
    start: int
    records: int
    flags: int
    checksum: int


def encode_commit(commit: Commit) -> bytes:
    """48 bytes."""
    return _COMMIT.pack(*commit, 0)


def decode_commit(payload: bytes | memoryview) -> Commit:
    """Raises Nonsense."""
    if len(payload) != _COMMIT.size:
        raise Nonsense("a commit of the wrong length")
    return Commit(*_COMMIT.unpack(payload)[:7])


def encode_id(each: ExampleId | None) -> bytes:
    """24 bytes, zeros for None."""
    return bytes(ID_SIZE) if each is None else _ID.pack(*each)


def _id(journal: bytes, counter: int) -> ExampleId:
    if journal == NO_UUID or not 1 <= counter < MAX_COUNTER:
        raise Nonsense("an id that cannot be")
    return ExampleId(journal, counter)


def _optional_id(journal: bytes, counter: int) -> ExampleId | None:
    return None if journal == NO_UUID and counter == 0 else _id(journal, counter)


def _range(journal: bytes, first: int, count: int) -> Range:
    _id(journal, first)
    if not 1 <= count <= MAX_COUNTER - first:
        raise Nonsense("a range of ids that cannot be")
    return Range(journal, first, count)


def _text(data: bytes | memoryview, what: str) -> str:
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError:
        raise Nonsense(f"a {what} that is not UTF-8") from None


def _pad(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)


@dataclass(frozen=True)
class Example:
    """One example as it was taught.

    embedding: int32 (D,), units of 2^-20. group: what belongs together in validation, or None. variant: name of the
    graph that embedded it. input: the fitted input, uint8 of one to four axes, or None. target: float64 (k,) or None.
    origin: the example that this one was relabelled or restored from, or None.
    """

    id: ExampleId
    label: str
    embedding: NDArray[np.int32]
    group: str | None = None
    variant: str = ""
    input: NDArray[np.uint8] | None = None
    target: NDArray[np.float64] | None = None
    origin: ExampleId | None = None


def encode_example(example: Example) -> bytes:
    """The payload. The caller has checked the lengths (texts 255 bytes, axes 65,535)."""
    label, variant = example.label.encode(), example.variant.encode()
    group = b"" if example.group is None else example.group.encode()
    shape = () if example.input is None else example.input.shape
    targets = 0 if example.target is None else len(example.target)
    flags = 0 if example.group is None else EXAMPLE_HAS_GROUP
    axes = (*shape, 0, 0, 0, 0)[:4]
    sizes = len(example.embedding), len(label), len(group), len(variant), len(shape)
    head = encode_id(example.id) + encode_id(example.origin) + _EXAMPLE.pack(flags, *sizes, *axes, targets)
    parts = [head, _pad(label + group + variant), _pad(example.embedding.astype("<i4").tobytes())]
    if example.target is not None:
        parts.append(example.target.astype("<f8").tobytes())
    if example.input is not None:
        parts.append(example.input.tobytes())
    return b"".join(parts)


class ExampleHead(NamedTuple):
    """What the index keeps of an example, and where in the payload the rest lies."""

    id: ExampleId
    origin: ExampleId | None
    label: str
    group: str | None
    variant: str
    at: int
    targets: int
    shape: tuple[int, ...]


def decode_example_head(payload: bytes | memoryview, dim: int) -> ExampleHead:
    """All but the arrays; their sizes are checked against the payload. Raises Nonsense."""
    if len(payload) < EXAMPLE_SIZE:
        raise Nonsense("an example that is too short")
    flags, size, label, group, variant, axes, *rest = _EXAMPLE.unpack_from(payload, 2 * ID_SIZE)
    if size != dim or not 1 <= label <= 255 or max(group, variant) > 255 or axes > 4:
        raise Nonsense("an example whose lengths cannot be")
    shape, targets = tuple(rest[:axes]), rest[4]
    at = EXAMPLE_SIZE
    end = at + label + group + variant
    arrays = end + -end % 8
    total = arrays + (dim * 4 + 7) // 8 * 8 + targets * 8 + (math.prod(shape) if axes else 0)
    if total != len(payload) or (group and not flags & EXAMPLE_HAS_GROUP):
        raise Nonsense("an example whose lengths do not add up")
    return ExampleHead(
        _id(*_ID.unpack_from(payload)),
        _optional_id(*_ID.unpack_from(payload, ID_SIZE)),
        _text(payload[at : at + label], "label"),
        _text(payload[at + label : at + label + group], "group") if flags & EXAMPLE_HAS_GROUP else None,
        _text(payload[at + label + group : end], "variant"),
        arrays,
        targets,
        shape,
    )


def decode_embedding(payload: bytes | memoryview, head: ExampleHead, dim: int) -> NDArray[np.int32]:
    """int32 (D,). Raises Nonsense where an entry is above 1 (2^20): sums would no longer be exact."""
    embedding = np.frombuffer(payload, dtype="<i4", count=dim, offset=head.at).astype(np.int32)
    if int(embedding.max()) > Q20 or int(embedding.min()) < -Q20:
        raise Nonsense("an embedding with an entry above 1")
    return embedding


def _target_at(head: ExampleHead, dim: int) -> int:
    return head.at + (dim * 4 + 7) // 8 * 8


def decode_target(payload: bytes | memoryview, head: ExampleHead, dim: int) -> NDArray[np.float64] | None:
    """float64 (k,), or None where there is none. Raises Nonsense."""
    if not head.targets:
        return None
    target = np.frombuffer(payload, dtype="<f8", count=head.targets, offset=_target_at(head, dim)).astype(np.float64)
    if not np.isfinite(target).all():
        raise Nonsense("a target with NaN or infinity")
    return target


def decode_example(payload: bytes | memoryview, dim: int) -> Example:
    """Raises Nonsense."""
    head = decode_example_head(payload, dim)
    target, image = decode_target(payload, head, dim), None
    if head.shape:
        after = _target_at(head, dim) + head.targets * 8
        image = np.frombuffer(payload, dtype=np.uint8, offset=after).reshape(head.shape).copy()
    embedding = decode_embedding(payload, head, dim)
    return Example(head.id, head.label, embedding, head.group, head.variant, image, target, head.origin)


def with_new_id(payload: bytes, new: ExampleId) -> bytes:
    """The payload of an example under a new id, with the old id as its origin."""
    return encode_id(new) + payload[:ID_SIZE] + payload[2 * ID_SIZE :]


def encode_tombstone(dead: Range) -> bytes:
    """32 bytes."""
    return _TOMBSTONE.pack(*dead)


def decode_tombstone(payload: bytes | memoryview) -> Range:
    """Raises Nonsense."""
    if len(payload) != _TOMBSTONE.size:
        raise Nonsense("a tombstone of the wrong length")
    return _range(*_TOMBSTONE.unpack(payload))


class Identity(NamedTuple):
    """From here on ids are given by `uuid`, at `place`."""

    uuid: bytes
    place: bytes
    volatile: bool


def encode_identity(identity: Identity) -> bytes:
    """40 bytes."""
    return _IDENTITY.pack(identity.uuid, identity.place, IDENTITY_VOLATILE if identity.volatile else 0)


def decode_identity(payload: bytes | memoryview) -> Identity:
    """Raises Nonsense."""
    if len(payload) != _IDENTITY.size:
        raise Nonsense("an identity of the wrong length")
    uuid, place, flags = _IDENTITY.unpack(payload)
    if uuid == NO_UUID:
        raise Nonsense("an identity without uuid")
    return Identity(uuid, place, bool(flags & IDENTITY_VOLATILE))


@dataclass(frozen=True)
class Seal:
    """Examples of one class that live on only in their sums. `ranges` are the ids it holds, `count` their number.

    has_moment: the second moment is there too. offset: of its record in the file. origin: the seal it was restored
    from. Its id is the first that it holds. The sums stay in the file and are read when asked for, until the
    next compaction.
    """

    label: str
    count: int
    ranges: tuple[Range, ...]
    has_moment: bool
    origin: ExampleId | None = None
    offset: int = 0
    read: Callable[[Seal], tuple[NDArray[np.float64], NDArray[np.float64] | None]] | None = field(
        default=None, compare=False, repr=False
    )

    @property
    def id(self) -> ExampleId:
        """The first id it holds."""
        return ExampleId(self.ranges[0].journal, self.ranges[0].first)

    @property
    def total(self) -> NDArray[np.float64]:
        """The sum of its embeddings, float64 (D,), in units of 1. Raises JournalDamagedError."""
        assert self.read is not None
        return self.read(self)[0]

    @property
    def moment(self) -> NDArray[np.float64] | None:
        """The sum of z z^T, float64 (D(D+1)/2,), upper triangle row by row, or None. Raises JournalDamagedError."""
        assert self.read is not None
        return self.read(self)[1] if self.has_moment else None


def seal_length(label: str, ranges: int, dim: int, moment: bool) -> int:
    """Bytes of a seal's payload."""
    text = (len(label.encode()) + 7) // 8 * 8
    return SEAL_SIZE + text + ranges * _TOMBSTONE.size + 8 * (dim + (dim * (dim + 1) // 2 if moment else 0))


def encode_seal(
    label: str,
    ranges: Sequence[Range],
    origin: ExampleId | None,
    total: NDArray[np.float64],
    moment: NDArray[np.float64] | None,
) -> bytes:
    """The payload. total: float64 (D,). moment: float64 (D(D+1)/2,), the upper triangle row by row, or None."""
    text = label.encode()
    flags = 0 if moment is None else SEAL_HAS_MOMENT
    count = sum(each.count for each in ranges)
    head = encode_id(origin) + _SEAL.pack(flags, len(total), len(text), len(ranges), count)
    parts = [head, _pad(text), *map(encode_tombstone, ranges), total.astype("<f8").tobytes()]
    if moment is not None:
        parts.append(moment.astype("<f8").tobytes())
    return b"".join(parts)


def decode_seal(payload: bytes | memoryview, dim: int, offset: int) -> Seal:
    """All but the sums; their sizes are checked against the payload. Raises Nonsense."""
    if len(payload) < SEAL_SIZE:
        raise Nonsense("a seal that is too short")
    flags, size, text, parts, count = _SEAL.unpack_from(payload, ID_SIZE)
    moment = bool(flags & SEAL_HAS_MOMENT)
    at = SEAL_SIZE + (text + 7) // 8 * 8
    sums = dim + (dim * (dim + 1) // 2 if moment else 0)
    if size != dim or not 1 <= text <= 255 or not parts or len(payload) != at + parts * 32 + sums * 8:
        raise Nonsense("a seal whose lengths cannot be")
    ranges = tuple(_range(*each) for each in _TOMBSTONE.iter_unpack(payload[at : at + parts * 32]))
    if len(RangeSet(ranges)) != count or sum(each.count for each in ranges) != count:
        raise Nonsense("a seal whose ids do not add up")
    label = _text(payload[SEAL_SIZE : SEAL_SIZE + text], "label")
    return Seal(label, count, ranges, moment, _optional_id(*_ID.unpack_from(payload)), offset)


def decode_seal_sums(
    payload: bytes | memoryview, seal: Seal, dim: int
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """The sum, float64 (D,), and the packed moment, float64 (D(D+1)/2,) or None. Raises Nonsense."""
    at = len(payload) - 8 * (dim + (dim * (dim + 1) // 2 if seal.has_moment else 0))
    sums = np.frombuffer(payload, dtype="<f8", offset=at).astype(np.float64)
    if not np.isfinite(sums).all():
        raise Nonsense("a seal with NaN or infinity")
    return sums[:dim], sums[dim:] if seal.has_moment else None
