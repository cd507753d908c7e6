"""The zip around a bundle, and only the zip: a dialect so small that every archive has exactly one form.

Members are stored, aligned to 64 bytes and dated 1980-01-01. Given their names, sizes and CRCs, every other
byte of the file follows. So the reader takes these three from the central directory, builds what the file
must be, and compares: nothing can hide in a gap, a comment, a flag or a second header. SPEC.md says more.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection, Iterable, Sequence
from typing import BinaryIO, NamedTuple

from ..errors import BundleDamagedError

ALIGNMENT = 64
MAX_MEMBERS = 256
# 2 GiB less one: every offset and size fits a signed 32-bit number, so no reader needs zip64.
MAX_BYTES = (1 << 31) - 1
MAX_NAME = 128
CHUNK = 1 << 18

# "EM", the private extra field that fills the space up to the next multiple of 64. Its content is zeros.
PADDING_ID = 0x4D45
_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_LOCAL_MAGIC, _CENTRAL_MAGIC, _END_MAGIC = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_VERSION = 10  # zip 1.0, made on host 0: nothing in it needs more
_DATE = 0x0021  # 1980-01-01
_MAX_EXTRA = 4 + ALIGNMENT - 1
_ALPHABET = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


class Entry(NamedTuple):
    """A member: its name, CRC-32, size in bytes, and where its header and its data begin."""

    name: str
    crc: int
    size: int
    header: int
    data: int


class Scan(NamedTuple):
    """One pass over a file: SHA-256 (hexadecimal) of the whole and of each member, and the members kept."""

    sha256: str
    members: dict[str, str]
    kept: dict[str, bytes]


def check_name(name: str) -> str | None:
    """What is wrong with a member's name, or None. Names are ASCII paths that are safe on every system."""
    if not 0 < len(name) <= MAX_NAME:
        return f"a member's name of {len(name)} characters; 1 to {MAX_NAME} are allowed"
    for part in name.split("/"):
        if not part or part.strip(".") == "" or not _ALPHABET.issuperset(part):
            return f"{name!a} is not a plain relative path of letters, digits, '.', '_' and '-'"
    return None


def lay_out(members: Iterable[tuple[str, int, int]]) -> list[Entry]:
    """(name, CRC-32, size) to entries, in the order given. Raises ValueError where the limits are passed."""
    entries: list[Entry] = []
    position = 0
    seen: set[str] = set()
    for name, crc, size in members:
        complaint = check_name(name)
        if complaint is None and name.lower() in seen:
            complaint = f"{name} is there twice (where upper and lower case are the same)"
        if complaint is not None:
            raise ValueError(complaint)
        seen.add(name.lower())
        data = position + _LOCAL.size + len(name) + 4
        data += -data % ALIGNMENT
        entries.append(Entry(name, crc, size, position, data))
        position = data + size
        if len(entries) > MAX_MEMBERS or position > MAX_BYTES:
            raise ValueError(f"more than {MAX_MEMBERS} members or {MAX_BYTES} bytes")
    return entries


def local_header(entry: Entry) -> bytes:
    """The bytes from an entry's header to its data."""
    return _LOCAL.pack(_LOCAL_MAGIC, _VERSION, *_common(entry)) + _name_and_extra(entry)


def directory(entries: Sequence[Entry]) -> bytes:
    """The bytes after the last member's data: the central directory and its end record."""
    central = b"".join(
        _CENTRAL.pack(_CENTRAL_MAGIC, _VERSION, _VERSION, *_common(entry), 0, 0, 0, 0, entry.header)
        + _name_and_extra(entry)
        for entry in entries
    )
    start = entries[-1].data + entries[-1].size if entries else 0
    return central + _END.pack(_END_MAGIC, 0, 0, len(entries), len(entries), len(central), start, 0)


def _common(entry: Entry) -> tuple[int, ...]:
    """Flags, method, time, date, CRC, both sizes, length of name and extra: equal in both headers."""
    extra = entry.data - entry.header - _LOCAL.size - len(entry.name)
    return 0, 0, 0, _DATE, entry.crc, entry.size, entry.size, len(entry.name), extra


def _name_and_extra(entry: Entry) -> bytes:
    padding = entry.data - entry.header - _LOCAL.size - len(entry.name) - 4
    return entry.name.encode("ascii") + struct.pack("<2H", PADDING_ID, padding) + bytes(padding)


def write_archive(file: BinaryIO, members: Sequence[tuple[str, bytes]]) -> None:
    """Write the archive of `members`, in their order, to an empty file. Raises ValueError as `lay_out`."""
    entries = lay_out((name, zlib.crc32(data), len(data)) for name, data in members)
    for entry, (_, data) in zip(entries, members, strict=True):
        file.write(local_header(entry))
        file.write(data)
    file.write(directory(entries))


def read_entries(file: BinaryIO, nbytes: int) -> list[Entry]:
    """The entries of the archive in `file`, which has `nbytes` bytes. Nothing of a member is read.

    The central directory is compared with the one that follows from its own entries, so whatever this returns
    lies within the file, in order, without gap or overlap. Raises BundleDamagedError.
    """
    if nbytes < _END.size:
        raise BundleDamagedError(f"a file of {nbytes} bytes is no bundle")
    magic, disk, first, count, total, size, start, comment = _END.unpack(_read(file, nbytes - _END.size, _END.size))
    if magic != _END_MAGIC:
        raise BundleDamagedError("the file does not end as a bundle does: it is truncated, or is no bundle")
    if count > MAX_MEMBERS or size > MAX_MEMBERS * (_CENTRAL.size + MAX_NAME + _MAX_EXTRA):
        raise BundleDamagedError(f"the directory claims {count} members in {size} bytes: too many, or zip64")
    if (disk, first, total, comment) != (0, 0, count, 0) or start + size + _END.size != nbytes:
        raise BundleDamagedError("the end record does not fit the file: bytes are missing, added or changed")
    data = _read(file, start, size + _END.size)
    try:
        entries = lay_out(_central_entries(data, count))
    except ValueError as error:
        raise BundleDamagedError(f"the directory is damaged: {error}") from error
    if directory(entries) != data:
        raise BundleDamagedError("the directory is damaged: its headers are not those that edgemeta writes")
    return entries


def _central_entries(data: bytes, count: int) -> Iterable[tuple[str, int, int]]:
    """Name, CRC and size of each central entry. Raises ValueError, in words for known misuse."""
    at = 0
    for number in range(count):
        if at + _CENTRAL.size > len(data) - _END.size:
            raise ValueError(f"it ends within entry {number}")
        magic, _, _, flags, method, _, _, crc, packed, size, name_size, extra_size, *_ = _CENTRAL.unpack_from(data, at)
        if magic != _CENTRAL_MAGIC:
            raise ValueError(f"entry {number} does not begin as it should")
        if flags & 0x1:
            raise ValueError(f"member {number} is encrypted")
        if flags or method or packed != size:
            raise ValueError(f"member {number} is compressed or has flags; members are stored plainly")
        at += _CENTRAL.size
        name = data[at : at + name_size]
        if len(name) != name_size or not name.isascii():
            raise ValueError(f"the name of member {number} is cut or not ASCII")
        yield name.decode("ascii"), crc, size
        at += name_size + extra_size


def scan(file: BinaryIO, entries: Sequence[Entry], keep: Collection[str]) -> Scan:
    """Read the whole file once, from its first byte to its last, and check every byte that is not data.

    Members named in `keep` come back as bytes; of the others only one chunk is in memory at a time. Raises
    BundleDamagedError for a header that is not the expected one, a wrong CRC, a file that ends early.
    """
    import hashlib

    whole = hashlib.sha256()
    members: dict[str, str] = {}
    kept: dict[str, bytes] = {}
    file.seek(0)
    for entry in entries:
        expected = local_header(entry)
        found = file.read(len(expected))
        if found != expected:
            raise BundleDamagedError(f"the header of {entry.name} is damaged or differs from the directory")
        whole.update(found)
        digest, crc, parts = hashlib.sha256(), 0, []
        for part in _chunks(file, entry):
            whole.update(part)
            digest.update(part)
            crc = zlib.crc32(part, crc)
            if entry.name in keep:
                parts.append(part)
        if crc != entry.crc:
            raise BundleDamagedError(f"{entry.name} is damaged: its CRC-32 does not fit")
        members[entry.name] = digest.hexdigest()
        kept[entry.name] = b"".join(parts)
    expected = directory(entries)
    found = file.read(len(expected) + 1)
    if found != expected:
        raise BundleDamagedError("the directory changed while the file was read")
    whole.update(found)
    return Scan(whole.hexdigest(), members, {name: kept[name] for name in keep if name in kept})


def read_member(file: BinaryIO, entry: Entry) -> bytes:
    """The data of one member, unchecked. Raises BundleDamagedError where the file ends early."""
    return _read(file, entry.data, entry.size)


def _chunks(file: BinaryIO, entry: Entry) -> Iterable[bytes]:
    left = entry.size
    while left:
        part = file.read(min(left, CHUNK))
        if not part:
            raise BundleDamagedError(f"{entry.name} is cut short")
        left -= len(part)
        yield part


def _read(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    data = file.read(size)
    if len(data) != size:
        raise BundleDamagedError("the file ends early")
    return data
