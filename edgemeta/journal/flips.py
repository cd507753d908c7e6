"""One flipped bit in a record, found again: the only value of its bytes under which the CRC is right.

A CRC-32 tells where a single bit was flipped: the difference between the CRC that is there and the one that should be
is another one for every place (records are far shorter than the period of the polynomial). Whatever is mended
has to pass all the other checks afterwards, the checksum of its transaction among them.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

from . import format as fmt
from .header import HEADER_SIZE, Header
from .scan import Scan, Window, read_frame, read_payload, skip, voids
from .store import Store

# Longer bodies are not searched: half a second in Python.
LONGEST = 1 << 18


class Flip(NamedTuple):
    """A byte of the file that has one bit wrong, and its right value."""

    offset: int
    byte: int


def mend_transaction(store: Store, header: Header, start: int, number: int | None) -> Flip | None:
    """Correct, in `store`, the one bit that keeps the transaction at `start` from being whole, if it is one bit."""
    window, offset = Window(store, store.size()), start
    while (frame := read_frame(window, offset, header.seed)) and read_payload(window, offset, frame):
        offset += fmt.record_size(frame.length)
    flip = find_flip(window, offset, header.seed)
    if flip is None:
        return None
    (before,) = store.read(flip.offset, 1)
    store.correct(flip.offset, flip.byte)
    if next(iter(Scan(store, header, start, store.size(), number)), None) is None:
        store.correct(flip.offset, before)
        return None
    return flip


def mend_records(store: Store, header: Header) -> list[Flip]:
    """Correct, in `store`, every record that has one bit wrong."""
    flips, offset, torn = [], HEADER_SIZE, voids(store, header)
    while (offset := skip(torn, offset)) < store.size():
        window = Window(store, store.size())
        frame = read_frame(window, offset, header.seed)
        if frame is not None and read_payload(window, offset, frame) is not None:
            offset += fmt.record_size(frame.length)
        elif (flip := find_flip(window, offset, header.seed)) is not None:
            store.correct(flip.offset, flip.byte)
            flips.append(flip)
        else:
            offset = window.find(fmt.RECORD_MAGIC, offset + 8)
    return flips


def find_flip(window: Window, offset: int, seed: int) -> Flip | None:
    """The flipped bit of the record at `offset`."""
    frame = read_frame(window, offset, seed)
    return _in_frame(window, offset, seed) if frame is None else _in_body(window, offset, frame)


def _in_frame(window: Window, offset: int, seed: int) -> Flip | None:
    data = bytes(window.get(offset, fmt.FRAME_SIZE))
    for at in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[at] ^= 1 << bit
            frame = fmt.decode_frame(bytes(changed), seed)
            if frame is None or offset + fmt.record_size(frame.length) > window.limit:
                continue
            if read_payload(window, offset, frame) is not None:
                return Flip(offset + at, changed[at])
    return None


def _in_body(window: Window, offset: int, frame: fmt.Frame) -> Flip | None:
    size = fmt.record_size(frame.length) - fmt.FRAME_SIZE
    if size > LONGEST:
        return None
    body, first = bytes(window.get(offset + fmt.FRAME_SIZE, size)), offset + fmt.FRAME_SIZE
    wrong = zlib.crc32(body[:-4], frame.crc) ^ int.from_bytes(body[-4:], "little")
    if wrong.bit_count() == 1:  # in the CRC itself
        at = size - 4 + (wrong.bit_length() - 1) // 8
        return Flip(first + at, body[at] ^ 1 << (wrong.bit_length() - 1) % 8)
    # What a flipped bit of the last byte changes in the CRC; then, byte by byte, of the one before.
    differences = [CRC_TABLE[1 << bit] for bit in range(8)]
    for at in range(size - 5, -1, -1):
        if wrong in differences:
            return Flip(first + at, body[at] ^ 1 << differences.index(wrong))
        differences = [difference >> 8 ^ CRC_TABLE[difference & 0xFF] for difference in differences]
    return None


# What a byte more does to a CRC-32: zlib's CRC of one byte, its two inversions undone.
CRC_TABLE = [zlib.crc32(bytes([i]), 0xFFFFFFFF) ^ 0xFFFFFFFF for i in range(256)]
