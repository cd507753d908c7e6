"""The first 128 bytes of a journal. They are only ever written whole, with a new file: they cannot be torn."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from functools import cached_property

from .ids import MAX_COUNTER, NO_UUID

MAGIC = b"EDGELRND"
MAJOR, MINOR = 1, 0
HEADER_SIZE = 128
MAX_DIM = 1 << 16
VOLATILE = 1

_HEADER = struct.Struct("<8sHHIII16s32s16sQQQ12x")
_U32 = struct.Struct("<I")


class Nonsense(ValueError):
    """Bytes with a right CRC that no edgemeta writes."""


@dataclass(frozen=True)
class Header:
    """The first 128 bytes. `seed`, which starts every CRC of the file's records, is the header's own CRC.

    uuid: gives ids from `next_counter` on. volatile: `uuid` was taken by a writer that did not sync every call.
    base: the file's length when it got its name; these bytes were synced before. salt: random, new in each file.
    """

    dim: int
    uuid: bytes
    embedding_id: bytes
    place: bytes
    next_counter: int
    base: int
    salt: int
    volatile: bool = False
    minor: int = MINOR
    lost_seed: int | None = None  # of a header that is lost but for this; only `repair` sets it

    def encode(self) -> bytes:
        """128 bytes."""
        flags = VOLATILE if self.volatile else 0
        body = _HEADER.pack(
            MAGIC, MAJOR, self.minor, HEADER_SIZE, self.dim, flags, self.uuid, self.embedding_id, self.place,
            self.next_counter, self.base, self.salt,
        )  # fmt: skip
        return body + _U32.pack(zlib.crc32(body))

    @cached_property
    def seed(self) -> int:
        """The CRC of the header."""
        return self.lost_seed if self.lost_seed is not None else int(_U32.unpack(self.encode()[-4:])[0])


def header_major(data: bytes) -> int | None:
    """The major version, or None where the magic is not there. Read before the CRC: it says where that is."""
    return int.from_bytes(data[8:10], "little") if len(data) >= 10 and data[:8] == MAGIC else None


def decode_header(data: bytes) -> Header:
    """Raises Nonsense. The magic and the major version are the caller's to look at first."""
    if len(data) < HEADER_SIZE:
        raise Nonsense("the header is cut short")
    if zlib.crc32(data[:124]) != _U32.unpack_from(data, 124)[0]:
        raise Nonsense("the header's checksum is wrong")
    magic, major, minor, size, dim, flags, uuid, embedding_id, place, counter, base, salt = _HEADER.unpack_from(data)
    if magic != MAGIC or major != MAJOR or size != HEADER_SIZE:
        raise Nonsense("not a header of version 1")
    if not 1 <= dim <= MAX_DIM:
        raise Nonsense(f"the header says {dim} dimensions")
    if not 1 <= counter <= MAX_COUNTER or base < HEADER_SIZE or uuid == NO_UUID:
        raise Nonsense("the header's counter, length or uuid cannot be")
    header = Header(dim, uuid, embedding_id, place, counter, base, salt, bool(flags & VOLATILE), minor)
    if header.encode() != data[:HEADER_SIZE]:
        raise Nonsense("the header has bits set that version 1 does not know")
    return header
