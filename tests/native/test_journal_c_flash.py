"""The journal in C on raw flash: cuts of power at every byte, and the same bytes in Python."""

from __future__ import annotations

import ctypes
import random

import pytest
from journal_c import (
    CALLBACKS,
    DAMAGED,
    FLASH,
    FULL,
    IO,
    NOT_FOUND,
    NULL,
    OK,
    READ,
    STATE,
    VALUE,
    VERSION,
    WRITE,
    CJournal,
    Memory,
    Store,
    agree,
    data_of,
    donor,
    in_python,
    merged,
    prepared,
    python_content,
    rich,
    some,
    without_seal,
)
from journal_help import new

from edgemeta.errors import JournalDamagedError
from edgemeta.journal import format as fmt
from edgemeta.journal import repair
from edgemeta.journal.scan import voids

REGION = 1 << 13


class Flash(Memory):
    """A region that is erased (0xFF), programmed a block at a time and once, and never cut off. power: after so many
    bytes it is cut, in the middle of the next one; `dead` then, until `on`."""

    def __init__(self, data: bytes | None = None, *, block: int = 256, region: int = REGION) -> None:
        super().__init__(None if data is None else data.ljust(region, b"\xff"))
        self.block, self.region, self.power, self.dead, self.written = block, region, None, False, 0
        self.seed = random.Random(5)
        self.kept["truncate"] = CALLBACKS["truncate"]()
        self.store = Store(None, **self.kept)

    def on(self) -> Flash:
        self.dead, self.power = False, None
        return self

    def program(self, offset: int, data: bytes) -> int:
        assert offset % self.block == 0 and len(data) % self.block == 0
        assert not self.data[offset : offset + len(data)].strip(b"\xff"), "what was programmed is programmed again"
        if offset + len(data) > len(self.data):
            return -1
        room = len(data) if self.power is None else min(self.power, len(data))
        self.data[offset : offset + room] = data[:room]
        self.written += room
        if room < len(data):
            self.dead = True
            self.data[offset + room] = data[room] | self.seed.randrange(256)  # some of its bits
            return -1
        if self.power is not None:
            self.power -= room
        return 0

    def append(self, fails, offset, data, size):
        if self.dead:
            return -1
        whole = ctypes.string_at(data, size)
        if fails:
            self.program(offset, whole[: size // 2 // self.block * self.block] if self.half else b"")
            return -1
        return self.program(offset, whole)

    def sync(self, fails):
        return -1 if fails or self.dead else 0

    def replace(self, fails, make, maker):
        before = self.data
        status = super().replace(fails, make, maker)
        if self.data is not before:
            assert len(self.data) % self.block == 0
            if len(self.data) > self.region:
                self.data = before
                return -1
            self.data = self.data.ljust(self.region, b"\xff")
        return status


def open_flash(flash: Flash, **options) -> CJournal:
    return CJournal(flash, mode=FLASH, block=flash.block, **options)


def image(flash: Flash) -> bytes:
    return bytes(flash.data)


def said(journal: CJournal):
    live, counts, seals, _ = journal.content()
    return [row[1:] for row in live], counts, seals


def check(flash: Flash, journal: CJournal) -> None:
    """Python and a C reader see in the region what the writer sees."""
    assert python_content(in_python(image(flash))) == journal.content()
    assert CJournal(Memory(image(flash)), mode=READ).content() == journal.content()


def padded(data: bytes, block: int) -> bytes:
    """What Python wrote, gone on with on flash: from the next block on."""
    flash = Flash(data, block=block)
    open_flash(flash)
    return image(flash)


CALLS = {
    "append": (prepared, lambda j: j.append([new("fresh", 1, group="k"), new("l1", -1)])),
    "forget": (prepared, lambda j: j.forget([j.live()[0][0], j.live()[3][0]])),
    "forget_label": (prepared, lambda j: j.forget_label("l1")),
    "relabel": (prepared, lambda j: j.relabel(j.live()[3][0], "relabelled")),
    "undo": (prepared, lambda j: j.undo()),
    "undo_merge": (merged, lambda j: j.undo()),
    "undo_seal": (without_seal, lambda j: j.undo()),
    "merge": (prepared, lambda j: j.merge(CJournal(Memory(donor()), mode=READ))),
}


def call(name: str, journal: CJournal) -> bool:
    """Whether it was acknowledged."""
    try:
        CALLS[name][1](journal)
    except AssertionError:
        assert journal.holder.dead
        return False
    return True


@pytest.mark.parametrize("block", [8, 16, 32, 256, 4096])
def test_everything_is_whole_blocks(block):
    flash = Flash(block=block, region=1 << 18)
    journal = open_flash(flash)
    rng = random.Random(block)
    for _ in range(20):
        journal.append(some(rng))
        check(flash, journal)
    journal.forget([row[0] for row in journal.live()[3:9]])
    journal.undo()
    journal.relabel(journal.live()[0][0], "other")
    journal.seal("l1", journal.of_label("l1"), moment=True)
    journal.append(some(rng))
    journal.compact()
    journal.append(some(rng))
    check(flash, journal)
    assert journal.lib.em_journal_bytes(journal.handle) % block == 0 and flash.data[10] == 1
    again = open_flash(flash)
    assert again.content() == journal.content() and again.lib.em_journal_torn(again.handle) == 0
    (late,) = again.append([new("late", 1)])
    assert late.journal == bytes(journal.live()[-1][0].journal)  # it needs no new identity
    # Python goes on with a copy in a file, and back.
    theirs = in_python(image(flash), readonly=False)
    theirs.append([new("python", 2)])
    back = Flash(data_of(theirs), block=block, region=1 << 18)
    ours = open_flash(back)
    assert said(ours)[0][-1][0] == "python"
    ours.append([new("c", 3)])
    check(back, ours)


@pytest.mark.parametrize(("name", "block"), [*((name, 8) for name in CALLS), ("append", 256), ("undo_seal", 256)])
def test_a_cut_at_every_byte(name, block):
    """What was not acknowledged is not there, or all of it; writing goes on at the next block; Python reads it."""
    start = padded(CALLS[name][0](), block)
    good = Flash(start, block=block)
    journal = open_flash(good)
    end, before = journal.lib.em_journal_bytes(journal.handle), said(journal)
    good.written = 0
    assert call(name, journal)
    total, after = good.written, said(journal)
    assert total % block == 0 and total > 100
    for power in range(total):
        flash = Flash(start, block=block)
        journal = open_flash(flash)
        flash.power = power
        assert not call(name, journal)
        assert said(journal) == before
        torn = image(flash)
        again = open_flash(flash.on())
        assert said(again) == (after if said(again) != before else before)
        whole = said(again) == after
        assert not whole or torn.rstrip(b"\xff") == image(good)[: len(torn.rstrip(b"\xff"))]
        last = max(len(torn.rstrip(b"\xff")), end)
        if last > end and not whole:
            theirs = in_python(image(flash))
            assert voids(theirs._store, theirs._header)[-1] == (end, -(-last // block) * block)
            assert again.lib.em_journal_torn(again.handle) == last - end
        again.append([new("late", 5)])
        check(flash, again)
        assert said(open_flash(flash)) == said(again)


@pytest.mark.parametrize("block", [8, 64, 256])
def test_a_cut_while_it_goes_on(block):
    """Behind torn bytes, at every byte of that; and once more."""
    start = padded(prepared(), block)
    for power in (0, 1, 100, 255):
        flash = Flash(start, block=block)
        flash.power = power
        call("append", journal := open_flash(flash))
        torn, before = image(flash), said(open_flash(Flash(start, block=block)))
        good = Flash(torn, block=block)
        good.written = 0
        open_flash(good)
        for again in range(good.written):
            flash = Flash(torn, block=block)
            flash.power = again
            journal = open_flash(flash)  # it opens all the same
            assert said(journal) == before
            assert flash.dead
            flash.on()
            journal.append([new("x", 1)], wanted=STATE)  # until it is opened again
            flash.power = again // 2
            open_flash(flash)
            journal = open_flash(flash.on())
            assert said(journal) == before
            journal.append([new("late", 1)])
            check(flash, journal)


@pytest.mark.parametrize("seed", range(25))
def test_random_histories_with_cuts(seed):
    rng, block = random.Random(seed), random.Random(seed).choice((8, 32, 256))
    flash = Flash(block=block, region=1 << 17)
    journal, cuts = open_flash(flash), 0
    for _ in range(80):
        before = said(journal)
        if rng.random() < 0.3:
            flash.power = rng.randrange(600)
        live, action = journal.live(), rng.random()
        try:
            if action < 0.4 or not live:
                journal.append(some(rng))
            elif action < 0.6:
                journal.forget([row[0] for row in rng.sample(live, rng.randrange(1, min(4, len(live)) + 1))])
            elif action < 0.7:
                journal.relabel(rng.choice(live)[0], "l9")
            elif action < 0.9:
                # Python undoes the same in a copy, torn places and all.
                theirs = in_python(image(flash), readonly=False)
                status = journal.lib.em_journal_undo(journal.handle)
                assert status >= 0 or status == NOT_FOUND
                if status >= 0:
                    theirs.undo()
                    live, counts, seals, _ = python_content(theirs)
                    assert said(journal) == ([row[1:] for row in live], counts, seals)
            else:
                flash.power = None
                label = rng.choice(live)[1]
                if rng.random() < 0.5:
                    journal.seal(label, journal.of_label(label), moment=rng.random() < 0.5)
                else:
                    journal.compact()
        except AssertionError:
            if not flash.dead:
                raise
            cuts += 1
            assert said(journal) == before
            journal = open_flash(flash.on())
        flash.power = None
        check(flash, journal)
    assert cuts > 3
    assert agree(image(flash)) == OK


def cut_twice() -> bytes:
    """A region with two torn places, without its erased rest."""
    flash = Flash(padded(prepared(), 32), block=32)
    for power in (90, 200):
        journal = open_flash(flash)
        journal.append([new("between", power)])
        flash.power = power
        assert not call("append", journal)
        flash.on()
    journal = open_flash(flash)
    journal.append([new("last", 1)])
    journal.append([new("last", 2)])
    return image(flash).rstrip(b"\xff")


def test_every_damaged_byte():
    """C and Python refuse the same, or read the same; what was taught after a torn place is never lost in silence."""
    data = cut_twice()
    good = in_python(data)
    torn = voids(good._store, good._header)
    # Where the file of Python ends, and two cuts.
    assert len(torn) == 3 - (len(prepared()) % 32 == 0)
    seen = set()
    for at in range(128, len(data)):
        changed = bytearray(data)
        changed[at] ^= 0x5A
        status = agree(bytes(changed))
        if any(start <= at < end for start, end in torn):
            assert status == OK and python_content(in_python(bytes(changed))) == python_content(good)
        elif at < len(data) - 300:
            assert status == DAMAGED, at
        seen.add(status)
    assert seen == {OK, DAMAGED}


def test_fields_that_lie():
    """Bytes of records around torn places changed under right checksums: both read the same, or both refuse."""
    data, rng, seen = cut_twice(), random.Random(3), set()
    seed = int.from_bytes(data[124:128], "little")
    records = [at for at in range(128, len(data), 8) if fmt.decode_frame(data[at : at + 16], seed)]
    for _ in range(1500):
        changed = bytearray(data)
        for at in rng.sample(records, rng.choice((1, 1, 2))):
            kind, flags, length, _ = fmt.decode_frame(data[at : at + 16], seed)
            where = at + 16 + rng.randrange(min(max(length, 1), 60))
            changed[where] = rng.choice((0, 1, 4, 0x7F, 0xFF, changed[where] ^ 1 << rng.randrange(8)))
            payload = bytes(changed[at + 16 : at + 16 + length])
            if rng.random() < 0.1:
                kind = rng.randrange(8)
            record = fmt.encode_record(kind, payload, seed, flags)
            changed[at : at + len(record)] = record
        # The checksums of transactions, too.
        checksum = seed
        for at in records:
            kind, flags, length, _ = fmt.decode_frame(bytes(changed[at : at + 16]), seed)
            end = at + fmt.record_size(length)
            if kind == fmt.COMMIT and length == fmt.COMMIT_SIZE:
                commit = fmt.decode_commit(changed[at + 16 : at + 16 + length])._replace(checksum=checksum)
                if rng.random() < 0.9:
                    changed[at:end] = fmt.encode_record(kind, fmt.encode_commit(commit), seed, flags)
                checksum = seed
            else:
                checksum = fmt.chain(checksum, int.from_bytes(changed[end - 4 : end], "little"))
        seen.add(agree(bytes(changed)))
    assert {OK, DAMAGED, VERSION} <= seen


def test_every_truncation():
    data = cut_twice()
    for size in range(1, len(data)):
        agree(data[:size])


def test_repair_keeps_what_counts(tmp_path):
    data = bytearray(cut_twice())
    labels = in_python(bytes(data)).labels
    data[200] ^= 0x55
    (tmp_path / "a.learned").write_bytes(data)
    report = repair(tmp_path / "a.learned")
    assert report.damaged
    found = in_python((tmp_path / "a.learned").read_bytes())
    assert set(found.labels) <= set(labels) and found.counts()["last"] == 2 and "fresh" not in found.labels


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("name", [*CALLS, "seal", "compact", "sync"])
def test_every_callback_failing_at_every_point(name, half):
    """What was there is there; after a write that failed it must be opened again."""
    calls = {name: each[1] for name, each in CALLS.items()}
    calls["seal"] = lambda j: j.seal("l1", ids, moment=True)
    calls["compact"], calls["sync"] = lambda j: j.compact(), lambda j: j.sync()
    start = padded(CALLS[name][0]() if name in CALLS else prepared(), 32)
    good = open_flash(Flash(start, block=32))
    ids = good.of_label("l1")
    good.holder.calls = 0
    calls[name](good)
    total, after = good.holder.calls, said(good)
    for fails in range(1, total + 1):
        flash = Flash(start, block=32)
        journal = open_flash(flash)
        before = said(journal)
        flash.calls, flash.fails, flash.half, flash.log = 0, fails, half, []
        with pytest.raises((AssertionError, JournalDamagedError)):
            calls[name](journal)
        flash.fails = 0
        assert said(journal) in ((before, after) if half and name == "seal" else (before,))
        assert agree(image(flash)) == OK
        journal = open_flash(flash)
        if said(journal) != after or name in ("compact", "sync"):
            assert said(journal) == before
            calls[name](journal)
        assert said(journal) == after
        check(flash, journal)


def test_opening_with_callbacks_that_fail():
    """It is refused, or it opens and the next call goes on behind the torn bytes; nothing is lost."""
    flash = Flash(padded(prepared(), 32), block=32)
    flash.power = 90
    assert not call("append", open_flash(flash))
    torn, before = image(flash), said(CJournal(Memory(prepared()), mode=READ))
    for start in (torn, padded(prepared(), 32), None):
        good = Flash(start, block=32)
        open_flash(good)
        for fails in range(1, good.calls + 1):
            flash = Flash(start, block=32)
            flash.fails = fails
            journal = open_flash(flash, wanted=None)
            flash.fails = 0
            assert journal.status in (OK, IO)
            assert journal.status == IO or start is torn
            if journal.status == OK:
                assert said(journal) == before
            if flash.data is not None:
                journal = open_flash(flash)
                assert said(journal) == (before if start else ([], {}, []))
                journal.append([new("late", 1)])
                check(flash, journal)


def test_a_copy_of_a_damaged_record_that_was_not_begun():
    """Nothing was written: the journal goes on without being opened again."""
    flash = Flash(padded(prepared(), 256))
    journal = open_flash(flash)
    before, at = said(journal), flash.data.index(b"l2g")
    flash.data[at + 9] ^= 4
    journal.undo(wanted=DAMAGED)
    flash.data[at + 9] ^= 4
    assert said(journal) == before
    journal.undo()
    check(flash, journal)


def test_a_region_that_is_full():
    flash = Flash(padded(prepared(), 256)[:4096], region=4096)
    journal = open_flash(flash)
    count = 0
    while (status := try_append(journal, count)) == OK:
        count += 1
    assert status == FULL and count > 3
    before, data = journal.content(), image(flash)
    for _ in range(2):
        assert try_append(journal, 9) == FULL
        assert journal.content() == before and image(flash) == data
    again = open_flash(flash)
    assert again.content() == before
    again.compact()
    assert said(again)[0] == [row[1:] for row in before[0]]
    if try_append(again, 1) == OK:
        check(flash, again)


def try_append(journal: CJournal, number: int) -> int:
    for wanted in (OK, FULL):
        try:
            journal.append([new("a", number)], wanted=wanted)
        except AssertionError:
            continue
        return wanted
    raise AssertionError


def test_no_room_to_go_on():
    """Torn bytes at the region's end: it opens, nothing can be written, and compacting helps."""
    start = padded(prepared(), 256)
    used = len(start.rstrip(b"\xff"))
    used = -(-used // 256) * 256
    flash = Flash(start[: used + 512], region=used + 512)
    flash.power = 300
    assert not call("append", open_flash(flash))
    journal = open_flash(flash.on())
    before = said(journal)
    for _ in range(2):
        assert try_append(journal, 1) == FULL and said(journal) == before
    assert agree(image(flash)) == OK
    flash.region += 4096
    journal.compact()
    assert said(journal) == before and try_append(journal, 1) == OK
    check(flash, journal)


def test_options():
    for block in (0, 4, 12, 8192, 255):
        CJournal(Flash(prepared()), mode=FLASH, block=block, wanted=VALUE)
    memory = Memory(prepared())
    memory.kept["truncate"] = CALLBACKS["truncate"]()
    memory.store = Store(None, **memory.kept)
    CJournal(memory, mode=WRITE, wanted=NULL)
    assert open_flash(Flash(rich(), block=8, region=1 << 16)).live()
    CJournal(Flash(None), mode=FLASH, block=8, embedding_id=None, dim=0, wanted=NOT_FOUND)


def test_what_is_erased_is_read_through_a_small_buffer():
    """A torn byte far behind, beyond some buffers of erased bytes."""
    data = bytearray(padded(prepared(), 256))
    at = len(data) - 700
    data[at] = 0
    flash = Flash(bytes(data))
    journal = open_flash(flash)
    journal.append([new("late", 1)])
    python = in_python(image(flash))
    assert voids(python._store, python._header)[-1][1] == -(-(at + 1) // 256) * 256
    check(flash, journal)
