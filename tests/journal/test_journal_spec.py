"""SPEC's worked example is what the code writes, and a reader made from the text alone reads it.

`python tests/journal/test_journal_spec.py` prints the example anew.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
from journal_help import new

from edgemeta.journal import Journal, NewExample, opening
from edgemeta.journal.store import MemoryStore

ROOT = Path(__file__).parents[2]
BACKBONE, UUID = bytes(range(0xE0, 0x100)), bytes(range(0xA0, 0xB0))


class Fixed:
    """The module `os` with one random number."""

    PathLike = os.PathLike

    @staticmethod
    def urandom(size):
        return bytes(range(0x10, 0x10 + size))


def worked_example():
    """A journal of two dimensions: teach one example of "mug", then forget it."""
    keep = opening.os, opening.new_uuid
    opening.os, opening.new_uuid = Fixed, lambda: UUID
    try:
        journal = Journal.over(MemoryStore(), embedding_id=BACKBONE, dim=2)
    finally:
        opening.os, opening.new_uuid = keep
    ids = journal.append([NewExample("mug", np.array([1 << 19, -1], dtype=np.int32), group="g")]).added
    journal.forget(ids)
    return bytes(journal._store.data)


def dump(data):
    """Sixteen bytes a line."""
    return "\n".join(f"{at:04x}  {data[at : at + 16].hex(' ')}" for at in range(0, len(data), 16))


def test_the_worked_example_is_in_the_specification():
    texts = [ROOT / "SPEC.md"]
    found = [path.read_text(encoding="utf-8") for path in texts if path.exists()]
    assert any(dump(worked_example()) in text for text in found)


def read(data):
    """Labels by id, with nothing but SPEC.md at hand."""
    (crc,) = struct.unpack_from("<I", data, 124)
    assert data[:8] == b"EDGELRND" and zlib.crc32(data[:124]) == crc
    seed, at, live, checksum, pending = crc, 128, {}, crc, []
    start = 128
    while at < len(data):
        magic, kind, flags, length, frame = struct.unpack_from("<4sHHII", data, at)
        assert magic == b"eRec" and zlib.crc32(data[at : at + 12], seed) == frame and flags == 0
        end = at + 16 + (length + 4 + 7) // 8 * 8
        (body,) = struct.unpack_from("<I", data, end - 4)
        assert zlib.crc32(data[at + 16 : end - 4], frame) == body
        payload = data[at + 16 : at + 16 + length]
        if kind == 5:
            number, undoes, synced, begin, records, _flags, chain, zero = struct.unpack("<QQQQIIII", payload)
            assert (begin, records, chain, zero) == (start, len(pending), checksum, 0)
            assert undoes < number and synced <= start
            for what, each in sorted(pending, key=lambda pair: -pair[0]):
                if what == 2:
                    uuid, first, count = struct.unpack("<16sQQ", each)
                    for counter in range(first, first + count):
                        live.pop((uuid, counter), None)
            for what, each in pending:
                if what == 1:
                    flags, dim, label, group, variant, _axes = struct.unpack_from("<IIHHHB", each, 48)
                    start_of_arrays = 80 + (label + group + variant + 7) // 8 * 8
                    z = struct.unpack_from(f"<{dim}i", each, start_of_arrays)
                    live[each[:16], struct.unpack_from("<Q", each, 16)[0]] = each[80 : 80 + label].decode(), z
            start, checksum, pending = end, seed, []
        else:
            pending.append((kind, payload))
            checksum = zlib.crc32(data[end - 4 : end], checksum)
        at = end
    assert not pending
    return live


def test_a_reader_made_from_the_text_alone():
    assert read(worked_example()) == {}
    assert read(worked_example()[:0x140])[UUID, 1] == ("mug", (1 << 19, -1))
    journal = Journal.memory(embedding_id=BACKBONE, dim=3)
    ids = journal.append([new("a", 1), new("bü", 2, group="g", variant="int8")]).added
    journal.append([new("c", 3, input=np.ones((3, 5), np.uint8), target=np.ones(2))])
    journal.relabel(ids[0], "d")
    journal.undo()
    for _ in range(2):
        wanted = {each: (entry.label, tuple(journal.embeddings([each])[0])) for each, entry in journal.live.items()}
        assert read(bytes(journal._store.data)) == wanted
        journal.compact()


if __name__ == "__main__":
    print(dump(worked_example()))
