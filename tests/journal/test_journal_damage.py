"""Flipped bits lose nothing; cut files, garbage, hostile records: a clear error, or the last transaction at most."""

from __future__ import annotations

import random
import struct
import time
import warnings
import zlib

import pytest
from journal_help import BACKBONE, DIM, content, memory, new, open_journal, taught, vector

from edgemeta.errors import (
    EdgemetaError,
    JournalDamagedError,
    JournalMismatchError,
    JournalMissingError,
    JournalVersionError,
    RecoveredWarning,
)
from edgemeta.journal import Journal, repair
from edgemeta.journal import format as fmt
from edgemeta.journal.draft import Draft
from edgemeta.journal.header import HEADER_SIZE
from edgemeta.journal.ids import ExampleId, Range
from edgemeta.journal.store import MemoryStore

SEED = 5


def opened(data, **kwargs):
    return Journal.over(MemoryStore(data), embedding_id=BACKBONE, dim=DIM, **kwargs)


def bytes_of(journal):
    return bytes(journal._store.data)


@pytest.fixture(scope="module")
def small():
    """The bytes of a journal, the ends of its transactions, and what it held after each."""
    journal = memory()
    ends, states = [journal.nbytes], [content(journal)]
    first = journal.append([new("a", 1), new("b", 2)]).added[0]
    for call in (
        None,
        lambda: journal.relabel(first, "c"),
        lambda: journal.append([new("d", 4, group="g")]),
    ):
        if call:
            call()
        ends.append(journal.nbytes)
        states.append(content(journal))
    return bytes_of(journal), ends, states


def quietly(data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecoveredWarning)
        return opened(data)


def test_every_flipped_bit(small, tmp_path):
    """In the last transaction it is corrected, before it raises and `repair` corrects it: nothing is ever lost."""
    data, ends, states = small
    corrected = 0
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        if bit // 8 >= ends[-2]:
            with pytest.warns(RecoveredWarning, match=f"flipped bit in byte {bit // 8} was corrected"):
                journal = opened(bytes(flipped))
            assert content(journal) == states[-1], f"bit {bit}"
            assert bytes_of(journal) == data and journal.recovered is None
            corrected += 1
        else:
            with pytest.raises((JournalDamagedError, JournalVersionError)):
                opened(bytes(flipped))
    assert corrected == (len(data) - ends[-2]) * 8


def test_repair_mends_every_flipped_bit_of_a_record(small, tmp_path):
    data, _, _ = small
    expected = taught(opened(data))
    path = tmp_path / "x.learned"
    for bit in range(HEADER_SIZE * 8, len(data) * 8, 7):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        report = repair(path)
        assert report.mended == (bit // 8,) and report.damaged and not report.damage and not report.records_lost
        assert f"bytes {bit // 8};" in str(report)
        with Journal.peek(path) as mended:
            assert taught(mended) == expected
        path.unlink()


def test_two_flipped_bits_of_one_record_are_not_guessed(small):
    data, ends, states = small
    for first, second in ((3, 70), (40, 41), (8 * 30, 8 * 90)):
        flipped = bytearray(data)
        for bit in (first, second):
            flipped[ends[-2] + bit // 8] ^= 1 << bit % 8
        journal = quietly(bytes(flipped))
        assert content(journal) == states[-2] and journal.recovered is not None


def test_a_flipped_bit_in_a_file_is_corrected_by_a_writer_and_read_over_by_a_reader(tmp_path):
    path = tmp_path / "x.learned"
    with open_journal(path) as journal:
        journal.append([new("a", 1)])
        journal.append([new("b", 2)])
    good = path.read_bytes()
    for at in (len(good) - 1, len(good) - 100, len(good) - 130):
        bad = bytearray(good)
        bad[at] ^= 4
        path.write_bytes(bad)
        with pytest.warns(RecoveredWarning, match="corrected"), Journal.peek(path) as reader:
            assert reader.labels == ("a", "b")
            assert reader.embeddings(list(reader.live)).shape == (2, DIM)
        assert path.read_bytes() == bad
        with pytest.warns(RecoveredWarning, match="corrected"), open_journal(path) as journal:
            assert journal.labels == ("a", "b")
        assert path.read_bytes() == good


def test_every_length(small):
    data, ends, states = small
    for size in range(1, len(data)):
        if size < HEADER_SIZE:
            with pytest.raises(JournalDamagedError):
                quietly(data[:size])
            continue
        journal = quietly(data[:size])
        last = max(i for i, end in enumerate(ends) if end <= size)
        assert content(journal) == states[last]
        assert (journal.recovered is None) == (size in ends)
        if journal.recovered:
            assert journal.recovered.offset == ends[last]
            assert journal.recovered.size == size - ends[last]


@pytest.mark.parametrize("fill", [b"\0", b"\xff", b"eRec", b"\0\0\0\0eRec"])
@pytest.mark.parametrize("size", [1, 8, 511, 5000])
def test_a_tail_of_anything_is_cut(small, fill, size):
    data, _, states = small
    with pytest.warns(RecoveredWarning, match="torn end was cut off"):
        journal = opened(data + (fill * size)[:size])
    assert content(journal) == states[-1]
    assert journal.recovered.size == size
    journal.append([new("z", 9)])
    assert quietly(bytes_of(journal)).recovered is None


def test_ids_of_a_lost_last_transaction_are_not_given_again(small):
    data, _, _ = small
    lost = set(opened(data).live)
    cut = quietly(data[:-8])
    bare = bytes_of(cut)  # closed without another call, then opened again
    for journal in (cut, opened(bare)):
        assert not set(journal.append([new("n", 8), new("n", 9)]).added) & lost


def test_damage_in_synced_bytes_raises_and_names_the_mend(small):
    data, ends, _ = small
    damaged = bytearray(data)
    damaged[ends[1] + 20] ^= 1
    with pytest.raises(JournalDamagedError, match=rf"byte {ends[1]}.*edgemeta repair"):
        opened(bytes(damaged))
    with pytest.raises(JournalDamagedError):
        Journal.over(MemoryStore(bytes(damaged)), embedding_id=None, dim=None, readonly=True)


def test_a_compacted_file_is_never_cut():
    journal = memory()
    journal.append([new("a", n) for n in range(3)])
    journal.compact()
    data = bytes_of(journal)
    for bit in range(0, len(data) * 8, 5):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises((JournalDamagedError, JournalVersionError)):
            opened(bytes(flipped))
    with pytest.raises(JournalDamagedError):
        opened(data[:-72])


def test_garbage_never_raises_anything_else(small):
    data, _, _ = small
    rng = random.Random(SEED)
    for _ in range(1500):
        what = bytearray(data)
        for _ in range(rng.randint(1, 6)):
            at = rng.randrange(len(what) or 1)
            kind = rng.randrange(5)
            if kind == 0:
                what[at : at + rng.randint(1, 64)] = rng.randbytes(rng.randint(0, 64))
            elif kind == 1:
                del what[at : at + rng.randint(1, 200)]
            elif kind == 2:
                other = rng.randrange(len(data))
                what[at:at] = data[other : other + 128]
            elif kind == 3:
                what[at : at + 16] = bytes(16)
            else:
                what = bytearray(what[: at or 1]) or bytearray(b"E")
        try:
            quietly(bytes(what))
        except EdgemetaError as error:
            assert isinstance(error, (JournalDamagedError, JournalVersionError, JournalMismatchError))


def record(kind, payload, flags=0, header=None):
    """A journal with one committed record of our own making, its checksums right."""
    journal = memory()
    journal.append([new("a", 1)])
    data, seed = bytes_of(journal), journal._header.seed
    body = fmt.encode_record(kind, payload, seed, flags)
    crc = fmt.chain(seed, int.from_bytes(body[-4:], "little"))
    commit = fmt.Commit(2, 0, len(data), len(data), 1, 0, crc)
    return data + body + fmt.encode_record(fmt.COMMIT, fmt.encode_commit(commit), seed)


def example_payload(**changes):
    example = fmt.Example(ExampleId(b"u" * 16, 9), "label", vector(3))
    return bytearray(fmt.encode_example(fmt.Example(**{**vars(example), **changes})))


def hostile():
    payload = example_payload()
    yield "short", fmt.EXAMPLE, payload[:40]
    yield "label not UTF-8", fmt.EXAMPLE, payload.replace(b"label", b"\xff\xfe\xfd\xfc\xfb")
    yield "long", fmt.EXAMPLE, payload + bytes(8)
    for at, value in [(52, 4), (52, 2**31), (56, 0), (56, 300), (58, 9), (60, 65535), (62, 9), (72, 9)]:
        bad = bytearray(payload)
        bad[at : at + 2] = (value & 0xFFFF).to_bytes(2, "little")
        yield f"field at {at}: {value}", fmt.EXAMPLE, bad
    bad = bytearray(payload)
    bad[62:72] = struct.pack("<BxHHHH", 4, 65535, 65535, 65535, 65535)
    yield "a huge input", fmt.EXAMPLE, bad
    yield "no id", fmt.EXAMPLE, bytes(24) + payload[24:]
    yield "a counter too large", fmt.EXAMPLE, payload[:16] + b"\xff" * 8 + payload[24:]
    yield "a tombstone too long", fmt.TOMBSTONE, b"u" * 16 + struct.pack("<QQ", 2, 2**63)
    yield "an empty tombstone", fmt.TOMBSTONE, b"u" * 16 + struct.pack("<QQ", 2, 0)
    yield "a short tombstone", fmt.TOMBSTONE, b"u"
    yield "an identity of zeros", fmt.IDENTITY, bytes(40)
    yield "a short commit", fmt.COMMIT, bytes(8)
    seal = fmt.encode_seal("s", [Range(b"u" * 16, 1, 2)], None, vector(1) / 2.0**20, None)
    yield "a seal cut short", fmt.SEAL, seal[:-8]
    yield "a seal of the wrong count", fmt.SEAL, seal[:40] + b"\x07" + seal[41:]
    twice = [Range(b"u" * 16, 1, 2), Range(b"u" * 16, 2, 2)]
    yield "a seal of overlapping ids", fmt.SEAL, fmt.encode_seal("s", twice, None, vector(1) / 2.0**20, None)
    yield "a seal of 2^40 ranges", fmt.SEAL, seal[:36] + b"\xff" * 4 + seal[40:]


@pytest.mark.parametrize(("kind", "payload"), [pytest.param(k, bytes(p), id=n) for n, k, p in hostile()])
def test_records_with_right_checksums_that_make_no_sense(kind, payload):
    data = record(kind, payload)
    with pytest.raises(JournalDamagedError):
        quietly(data)
    store = MemoryStore(data)
    store.name = "x"


def test_an_id_twice_and_embeddings_above_one():
    journal = memory()
    (one,) = journal.append([new("a", 1)]).added
    draft = Draft(journal._state, None)
    draft.example(fmt.encode_example(fmt.Example(one, "again", vector(2))))
    data = bytes_of(journal)
    twice = data + draft.encode(journal._header.seed, 2, len(data), len(data))
    with pytest.raises(JournalDamagedError, match="there already"):
        opened(twice)
    large = opened(record(fmt.EXAMPLE, bytes(example_payload(embedding=vector(1) + (1 << 20)))))
    with pytest.raises(JournalDamagedError, match="above 1"):
        large.embeddings(list(large.live))
    nan = fmt.encode_seal("s", [Range(b"u" * 16, 1, 2)], None, vector(1) * float("nan"), None)
    seal = next(iter(opened(record(fmt.SEAL, nan)).seals.values()))
    with pytest.raises(JournalDamagedError, match="NaN"):
        _ = seal.total


def test_a_tombstone_of_2_to_the_62_ids_costs_nothing():
    journal = opened(record(fmt.TOMBSTONE, b"u" * 16 + struct.pack("<QQ", 1, 2**62)))
    assert len(journal.live) == 1
    own = memory()
    own_uuid = own.uuid
    own.append([new("a", 1)])
    draft = Draft(own._state, None)
    draft.tombstones([Range(own_uuid, 5, 2**62 + 2**61)])
    data = bytes_of(own)
    own = opened(data + draft.encode(own._header.seed, 2, len(data), len(data)))
    (new_id,) = own.append([new("b", 2)]).added  # our own counters are used up: another uuid
    assert new_id.journal != own_uuid


def test_unknown_types():
    assert len(opened(record(77, b"news", flags=fmt.SKIPPABLE)).live) == 1
    with pytest.raises(JournalVersionError, match=r"type 77.*update"):
        opened(record(77, b"news"))


def test_newer_versions_and_other_backbones(small):
    data, _, _ = small
    with pytest.raises(JournalVersionError, match="version 2"):
        opened(data[:8] + b"\2" + data[9:])
    with pytest.raises(JournalMismatchError, match="relearn"):
        Journal.over(MemoryStore(data), embedding_id=bytes(32), dim=DIM)
    with pytest.raises(JournalMismatchError):
        Journal.over(MemoryStore(data), embedding_id=BACKBONE, dim=DIM + 1)


# ---- repair


@pytest.fixture
def damaged_file(tmp_path):
    """A file of eight transactions, and a function that damages it."""
    path = tmp_path / "a.learned"
    with open_journal(path) as journal:
        ends = [journal.nbytes]
        for n in range(8):
            journal.append([new(f"class {n}", n)])
            ends.append(journal.nbytes)
    return path, ends


def damage(path, start, data):
    content = bytearray(path.read_bytes())
    content[start : start + len(data)] = data
    path.write_bytes(content)


def labels(path, **kwargs):
    with Journal.peek(path) as journal:
        assert journal.recovered is None
        return [entry.label for entry in journal.live.values()]


def test_repair_recovers_every_other_record(damaged_file):
    path, ends = damaged_file
    before = path.read_bytes()
    damage(path, ends[3] + 40, b"\xff" * 16)
    broken = path.read_bytes()
    with pytest.raises(JournalDamagedError):
        open_journal(path)
    report = repair(path)
    assert labels(path) == [f"class {n}" for n in range(8) if n != 3]
    assert report.damage == ((ends[3], ends[3] + 128),) and report.suspects == ()
    assert (report.records_lost, report.transactions_lost, report.examples) == (1, 0, 7)
    assert report.kept == str(path) + ".damaged"
    with open(report.kept, "rb") as kept:
        assert kept.read() == broken
    assert "delete it" in str(report) and not path.with_suffix(".learned.repaired.lock").exists()
    with open_journal(path) as journal:
        (again,) = journal.append([new("more", 50)]).added
        assert again.journal != before[24:40]
    assert repair(path).damaged is False


def test_repair_says_that_a_forgetting_may_be_lost(tmp_path):
    path = tmp_path / "a.learned"
    with open_journal(path) as journal:
        one, _ = journal.append([new("a", 1), new("b", 2)]).added
        start = journal.nbytes
        journal.forget([one])
        journal.append([new("c", 3)])
    damage(path, start, bytes(56))
    report = repair(path, tmp_path / "out.learned")
    assert report.suspects == ((start, start + 56),) and report.records_lost == 1
    assert "something forgotten is back" in str(report)
    assert labels(tmp_path / "out.learned") == ["a", "b", "c"]
    with pytest.raises(JournalDamagedError):
        open_journal(path)
    with pytest.raises(OSError, match="is there already"):
        repair(path, tmp_path / "out.learned")


def test_repair_recovers_examples_whose_commit_is_damaged(damaged_file):
    path, ends = damaged_file
    damage(path, ends[3] - 60, bytes(30))
    report = repair(path)
    assert labels(path) == [f"class {n}" for n in range(8)]
    assert report.transactions_lost == 1


def test_repair_after_any_damage(damaged_file):
    path, ends = damaged_file
    good = path.read_bytes()
    rng = random.Random(SEED)
    for _ in range(60):
        start = rng.randrange(HEADER_SIZE, len(good) - 10)
        size = rng.randint(1, 300)
        data = bytearray(good)
        data[start : start + size] = rng.choice([bytes(size), b"\xff" * size, rng.randbytes(size)])
        target = path.parent / f"{rng.random()}"
        path.write_bytes(data[: len(good)])
        repair(path, target)
        found = labels(target)
        for n in range(8):
            whole = ends[n] + 128 <= start or start + size <= ends[n]
            if whole and start + size <= ends[-2]:  # else the last commit is gone: a torn end
                assert f"class {n}" in found
        assert set(found) <= {f"class {n}" for n in range(8)}
        with Journal.peek(target) as journal:
            for each, entry in journal.live.items():
                assert (journal.embeddings([each])[0] == vector(int(entry.label[6:]))).all()


@pytest.mark.parametrize("size", [1, 128, 300])
def test_repair_without_a_header(damaged_file, size):
    path, _ = damaged_file
    damage(path, 0, b"\xff" * size)
    with pytest.raises(JournalDamagedError, match="repair"):
        open_journal(path)
    with pytest.raises(JournalDamagedError, match="--bundle"):
        repair(path, path.with_suffix(".out"))
    report = repair(path, embedding_id=BACKBONE)
    assert report.header_damaged
    with open_journal(path) as journal:
        assert taught(journal)[0] == sorted(
            (f"class {n}", "", tuple(vector(n).tolist())) for n in range(8) if n or size < 130
        )


def test_repair_turns_one_bit_of_a_header_back(damaged_file):
    path, _ = damaged_file
    data = path.read_bytes()
    for bit in range(0, 1024, 37):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises((JournalDamagedError, JournalVersionError)):
            open_journal(path)
        target = path.parent / f"out{bit}"
        assert repair(path, target).header_damaged
        assert len(labels(target)) == 8


def test_repair_of_what_is_no_journal(tmp_path):
    with pytest.raises(JournalMissingError):
        repair(tmp_path / "none")
    for data in (b"", b"hello" * 100, bytes(5000), b"eRec" * 5000):
        path = tmp_path / "x"
        path.write_bytes(data)
        with pytest.raises(JournalDamagedError):
            repair(path)
        assert path.read_bytes() == data


def test_repair_of_a_sealed_journal(tmp_path):
    path = tmp_path / "a.learned"
    with open_journal(path) as journal:
        ids = journal.append([new("a", n) for n in range(6)] + [new("b", 9)]).added
        journal.seal({"a": ids[:6]}, moment=True)
        (last,) = journal.append([new("c", 10)]).added
        at = journal.live[last].offset + 96  # its label
        sums = taught(journal)[1]
    data = bytearray(path.read_bytes())
    data[at] ^= 3
    data += bytes(16)
    path.write_bytes(data)
    repair(path, tmp_path / "out")
    with Journal.peek(tmp_path / "out") as journal:
        assert taught(journal)[1] == sums and journal.counts() == {"a": 6, "b": 1}


def test_a_hostile_file_is_read_in_linear_time():
    """Frames with right checksums, each claiming nearly all of the file: 30 GB if one looked at every claim."""
    journal = memory()
    seed, size = journal._header.seed, 10_000_000
    head = struct.pack("<4sHHI", b"eRec", fmt.EXAMPLE, 0, size)
    frames = (head + zlib.crc32(head, seed).to_bytes(4, "little")) * 3_000
    data = bytes_of(journal) + frames + bytes(size)
    started = time.process_time()
    with pytest.warns(RecoveredWarning):
        assert not opened(data).live
    assert time.process_time() - started < 5


def test_repair_where_a_seal_took_examples_over(tmp_path):
    one, path = memory(), tmp_path / "a.learned"
    ids = one.append([new("x", n) for n in range(8)]).added
    with open_journal(path) as journal:
        journal.merge(one)
        one.seal({"x": ids}, moment=False)
        journal.merge(one)
        at = journal.nbytes
        journal.append([new("y", 20)])
        journal.append([new("z", 21)])
        sums = taught(journal)[1]
    damage(path, at + 30, bytes(8))
    report = repair(path)
    assert (report.examples, report.seals) == (1, 1)
    with open_journal(path) as journal:
        assert taught(journal)[1] == sums and journal.counts() == {"x": 8, "z": 1}


def test_repair_lets_a_forgotten_seal_stay_forgotten(tmp_path):
    """A seal dies by several tombstones here, one of which is damaged: the others are enough."""
    path = tmp_path / "a.learned"
    with open_journal(path) as journal:
        ids = journal.append([new("xy"[n % 2], n) for n in range(16)]).added
        journal.seal({"x": ids[::2]}, moment=False)
        at = journal.nbytes
        journal.forget_label("x")
        journal.append([new("z", 21)])
    damage(path, at + 30, bytes(8))
    report = repair(path)
    assert report.seals == 0 and report.suspects
    with open_journal(path) as journal:
        assert journal.counts() == {"y": 8, "z": 1}
