"""Getting a damaged header back, or doing without it: only `repair` uses this."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ..errors import JournalDamagedError, JournalVersionError
from ..terminal import printable
from . import format as fmt
from .flips import CRC_TABLE
from .header import HEADER_SIZE, MAX_DIM, Header, Nonsense, decode_header
from .ids import new_uuid
from .scan import Window, read_header, read_payload
from .store import Store

_ENOUGH = 64


def recover_header(store: Store, embedding_id: bytes | None, dim: int | None) -> tuple[Header, bool]:
    """The header and whether it was whole. Raises JournalVersionError, JournalDamagedError.

    One flipped bit is found by the checksum. Otherwise the seed is worked out backwards from the records; what the
    header said beside it comes from the caller, the dimension from an example too.
    """
    try:
        return read_header(store), True
    except (JournalDamagedError, JournalVersionError) as error:
        header = _one_bit(store.read(0, HEADER_SIZE))
        if header is not None:
            return header, False
        found = Counter(_seeds(store))
        if isinstance(error, JournalVersionError) and not found:
            raise
    if not found:
        raise JournalDamagedError(f"{printable(store.name)} holds no record of a journal: nothing can be recovered")
    seed = Counter({s: n for (s, _), n in found.items()}).most_common(1)[0][0]
    dim = dim or next((d for (s, d), _ in found.most_common() if s == seed and d), 0)
    if embedding_id is None or not 1 <= dim <= MAX_DIM:
        raise JournalDamagedError(
            f"{printable(store.name)}: the header is lost, and with it the name of the backbone. Repair it with the "
            "bundle it was taught with: `edgemeta repair FILE --bundle BUNDLE`"
        )
    lost = Header(dim, new_uuid(), embedding_id, bytes(16), 1, HEADER_SIZE, 0, lost_seed=seed)
    return lost, False


def _one_bit(data: bytes) -> Header | None:
    """The header with one bit turned over, where that makes its checksum right: no other single bit does."""
    for bit in range(len(data) * 8):
        turned = bytearray(data)
        turned[bit // 8] ^= 1 << bit % 8
        try:
            return decode_header(bytes(turned))
        except Nonsense:
            continue
    return None


def _seeds(store: Store) -> Iterator[tuple[int, int]]:
    """(seed, dimension or 0) of the first whole records, whatever the header says."""
    window, offset, count = Window(store, store.size()), 0, 0
    while (offset := window.find(fmt.RECORD_MAGIC, offset)) < window.limit and count < _ENOUGH:
        raw = bytes(window.get(offset, fmt.FRAME_SIZE))
        seed = _unwind(int.from_bytes(raw[12:16], "little"), raw[:12])
        frame = fmt.decode_frame(raw, seed)
        offset += 8
        if frame is None or offset - 8 + fmt.record_size(frame.length) > window.limit:
            continue
        found = read_payload(window, offset - 8, frame)
        if found is None:
            continue
        count, offset = count + 1, offset - 8 + fmt.record_size(frame.length)
        at = {fmt.EXAMPLE: 2 * fmt.ID_SIZE + 4, fmt.SEAL: fmt.ID_SIZE + 4}.get(frame.kind)
        yield seed, 0 if at is None else int.from_bytes(found[0][at : at + 4], "little")


def _unwind(crc: int, data: bytes) -> int:
    """The start value with which the CRC-32 of `data` is `crc`."""
    state = crc ^ 0xFFFFFFFF
    for byte in reversed(data):
        index = _BY_TOP[state >> 24]
        state = ((state ^ CRC_TABLE[index]) << 8 & 0xFFFFFFFF) | (index ^ byte)
    return state ^ 0xFFFFFFFF


_BY_TOP = {entry >> 24: index for index, entry in enumerate(CRC_TABLE)}
