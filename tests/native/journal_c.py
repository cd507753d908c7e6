"""The journal in C through ctypes, over memory or a file, and how it is compared with the one in Python."""

from __future__ import annotations

import ctypes
import os
import random
import struct
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "journal"))

import library
from journal_help import BACKBONE, DIM, new

from edgemeta.errors import (
    JournalDamagedError,
    JournalError,
    JournalMismatchError,
    JournalVersionError,
    MergeError,
    NotFoundError,
    RecoveredWarning,
)
from edgemeta.journal import Journal, NewExample
from edgemeta.journal import format as fmt
from edgemeta.journal import journal as journal_module
from edgemeta.journal.ids import ExampleId
from edgemeta.journal.store import MemoryStore

OK, NULL, SIZE, VALUE, MEMORY, STATE, FULL, NOT_FOUND = 0, -1, -2, -3, -4, -5, -6, -7
IO, DAMAGED, VERSION, MISMATCH, UNSUPPORTED = -9, -10, -11, -12, -13
READ, WRITE, LAZY, FLASH = 0, 1, 2, 3
ANY = 0xFFFFFFFF
NOWHERE = bytes(16)

u32, u64, size_t, pointer = ctypes.c_uint32, ctypes.c_uint64, ctypes.c_size_t, ctypes.c_void_p
WriteFn = ctypes.CFUNCTYPE(ctypes.c_int, pointer, pointer, size_t)
MakeFn = ctypes.CFUNCTYPE(ctypes.c_int, pointer, pointer, pointer, pointer)
CALLBACKS = {
    "size": ctypes.CFUNCTYPE(ctypes.c_int, pointer, ctypes.POINTER(u64)),
    "read": ctypes.CFUNCTYPE(ctypes.c_int, pointer, u64, pointer, size_t),
    "append": ctypes.CFUNCTYPE(ctypes.c_int, pointer, u64, pointer, size_t),
    "sync": ctypes.CFUNCTYPE(ctypes.c_int, pointer),
    "truncate": ctypes.CFUNCTYPE(ctypes.c_int, pointer, u64),
    "replace": ctypes.CFUNCTYPE(ctypes.c_int, pointer, MakeFn, pointer),
    "place": ctypes.CFUNCTYPE(ctypes.c_int, pointer, pointer),
    "random": ctypes.CFUNCTYPE(ctypes.c_int, pointer, pointer, size_t),
}


class Store(ctypes.Structure):
    _fields_ = [("user", pointer), *CALLBACKS.items()]


class Limits(ctypes.Structure):
    _fields_ = [
        (name, u32)
        for name in ("examples", "classes", "label_bytes", "uuids", "ranges", "undo", "seals", "seal_ranges")
    ]


class Options(ctypes.Structure):
    _fields_ = [
        ("embedding_id", ctypes.c_char_p),
        ("dim", u32),
        ("mode", ctypes.c_int),
        ("targets", u32),
        ("block", u32),
    ]


class Id(ctypes.Structure):
    _fields_ = [("uuid", ctypes.c_uint8 * 16), ("counter", u64)]


class Live(ctypes.Structure):
    _fields_ = [("id", Id), ("of_class", u32), ("group", u64)]


class Seal(ctypes.Structure):
    _fields_ = [("of_class", u32), ("count", u64), ("moment", ctypes.c_int)]


class New(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_char_p) for name in ("label", "group", "variant")),
        ("q20", pointer),
        ("target", pointer),
        ("targets", u32),
    ]


def lib() -> ctypes.CDLL:
    found = library.load()
    found.em_journal_size.restype = found.em_posix_size.restype = found.em_journal_seal_size.restype = size_t
    found.em_journal_label.restype = pointer
    found.em_journal_uuid.restype = found.em_journal_embedding_id.restype = pointer
    found.em_journal_class_count.restype = found.em_journal_bytes.restype = found.em_journal_torn.restype = u64
    for name in ("dim", "targets", "count", "classes", "seals"):
        getattr(found, f"em_journal_{name}").restype = u32
    return found


class Memory:
    """The callbacks over a bytearray. fails: number of the call that fails, from 1 on; half: what a failing append
    or replace leaves. numbers: what `random` gives."""

    def __init__(self, data: bytes | None = None, numbers: Callable[[int], bytes] = os.urandom) -> None:
        self.data = None if data is None else bytearray(data)
        self.numbers, self.where = numbers, NOWHERE
        self.calls, self.fails, self.half, self.log = 0, 0, False, []
        self.failing: set[str] = set()
        self.errors: list[Exception] = []
        self.kept = {name: kind(self._guard(name)) for name, kind in CALLBACKS.items()}
        self.store = Store(None, **self.kept)

    def _guard(self, name: str):
        def call(user, *arguments):
            self.calls += 1
            self.log.append(name)
            fails = self.calls == self.fails or name in self.failing
            try:
                return getattr(self, name)(fails, *arguments)
            except Exception as error:  # ctypes would only print it
                self.errors.append(error)
                return -1

        return call

    def size(self, fails, out):
        if self.data is None or fails:
            return -1 if fails else NOT_FOUND
        out[0] = len(self.data)
        return 0

    def read(self, fails, offset, out, size):
        assert offset + size <= len(self.data), "it reads beyond the end"
        ctypes.memmove(out, bytes(self.data[offset : offset + size]), size)
        return -1 if fails else 0

    def append(self, fails, offset, data, size):
        assert offset == len(self.data)
        data = ctypes.string_at(data, size)
        self.data += data[: size // 2 if self.half else 0] if fails else data
        return -1 if fails else 0

    def sync(self, fails):
        return -1 if fails else 0

    def truncate(self, fails, size):
        if not fails:
            del self.data[size:]
        return -1 if fails else 0

    def replace(self, fails, make, maker):
        out = bytearray()

        def write(sink, data, size):
            out.extend(ctypes.string_at(data, size))
            self.calls += 1
            return -1 if self.calls == self.fails else 0

        if fails and not self.half:
            return -1
        kept = WriteFn(write)
        status = make(maker, ctypes.cast(ctypes.c_char_p(self.where), pointer), ctypes.cast(kept, pointer), None)
        if status < 0:
            return status
        self.data = out
        return -1 if fails else 0

    def place(self, fails, out):
        ctypes.memmove(out, self.where, 16)
        return -1 if fails else 0

    def random(self, fails, out, size):
        ctypes.memmove(out, self.numbers(size), size)
        return -1 if fails else 0


ROOMY = Limits(2000, 200, 0, 100, 1000, 100, 20, 1000)


class CJournal:
    """em_journal with Python's manners: a negative status is an AssertionError unless it is asked for. wanted: what
    opening must give, None for anything; `status` is what it gave."""

    def __init__(
        self, store, *, mode=WRITE, limits=ROOMY, embedding_id=BACKBONE, dim=DIM, targets=ANY, wanted=OK, block=0
    ) -> None:
        self.lib, self.holder = lib(), store
        size = self.lib.em_journal_size(ctypes.byref(limits))
        self.block = Tight(size)
        self.handle = pointer()
        options = Options(embedding_id, dim, mode, targets, block)
        self.struct = store.store if hasattr(store, "store") else store
        status = self.lib.em_journal_open(
            pointer(self.block.at), size_t(size), ctypes.byref(limits), ctypes.byref(self.struct),
            ctypes.byref(options), ctypes.byref(self.handle),
        )  # fmt: skip
        assert status == wanted or wanted is None, status
        assert not getattr(store, "errors", [])
        assert bool(self.handle) == (status == OK)
        self.status = status
        self.dim = self.lib.em_journal_dim(self.handle) if status == OK else dim

    def append(self, examples, wanted=OK):
        array, keep = (New * len(examples))(), []
        for each, out in zip(examples, array, strict=True):
            q20 = np.ascontiguousarray(each.embedding, np.int32)
            target = None if each.target is None else np.ascontiguousarray(each.target, np.float64)
            keep += [q20, target]
            out.label = each.label.encode()
            out.group = None if each.group is None else each.group.encode()
            out.variant = each.variant.encode() or None
            out.q20, out.target = library.pointer(q20), library.pointer(target)
            out.targets = 0 if target is None else len(target)
        ids = (Id * len(examples))()
        status = self.lib.em_journal_append(self.handle, array, u32(len(examples)), ids)
        assert status == wanted, status
        return [ExampleId(bytes(each.uuid), each.counter) for each in ids] if status == OK else []

    def forget(self, ids, wanted=OK):
        array = (Id * len(ids))(*(Id((ctypes.c_uint8 * 16)(*each.journal), each.counter) for each in ids))
        status = self.lib.em_journal_forget(self.handle, array, u32(len(ids)))
        assert status == wanted, status

    def forget_label(self, label, wanted=OK):
        assert self.lib.em_journal_forget_label(self.handle, label.encode()) == wanted

    def relabel(self, each, label, wanted=OK):
        fresh, old = Id(), Id((ctypes.c_uint8 * 16)(*each.journal), each.counter)
        status = self.lib.em_journal_relabel(self.handle, ctypes.byref(old), label.encode(), ctypes.byref(fresh))
        assert status == wanted, status
        return ExampleId(bytes(fresh.uuid), fresh.counter) if status == OK else None

    def merge(self, other, wanted=None):
        status = self.lib.em_journal_merge(self.handle, other.handle)
        assert status >= 0 if wanted is None else status == wanted, status
        return status

    def seal(self, label, ids, *, moment, wanted=None):
        array = (Id * len(ids))(*(Id((ctypes.c_uint8 * 16)(*each.journal), each.counter) for each in ids))
        size = self.lib.em_journal_seal_size(self.handle, ctypes.c_int(moment))
        block, of_class = Tight(size), self.lib.em_journal_class(self.handle, label.encode())
        assert of_class >= 0
        status = self.lib.em_journal_seal_class(
            self.handle, u32(of_class), array, u32(len(ids)), ctypes.c_int(moment), pointer(block.at), size_t(size)
        )
        assert status >= 0 if wanted is None else status == wanted, status
        return status

    def undo(self, wanted=None):
        status = self.lib.em_journal_undo(self.handle)
        assert status >= 0 if wanted is None else status == wanted, status
        return status

    def compact(self, wanted=OK):
        status = self.lib.em_journal_compact(self.handle)
        assert status == wanted, status

    def sync(self, wanted=OK):
        assert self.lib.em_journal_sync(self.handle) == wanted

    def reload(self, wanted=OK):
        assert self.lib.em_journal_reload(self.handle) == wanted

    def of_label(self, label):
        return [row[0] for row in self.live() if row[1] == label]

    def label(self, number):
        size = size_t()
        at = self.lib.em_journal_label(self.handle, u32(number), ctypes.byref(size))
        return None if at is None else ctypes.string_at(at, size.value).decode()

    def live(self):
        """(id, label, group or None, embedding, target or None) in order, all of it read."""
        out, hashes = [], {}
        for index in range(self.lib.em_journal_count(self.handle)):
            live, q20, name = Live(), np.zeros(self.dim, np.int32), ctypes.create_string_buffer(256)
            assert self.lib.em_journal_get(self.handle, u32(index), ctypes.byref(live)) == OK
            assert self.lib.em_journal_find(self.handle, ctypes.byref(live.id)) == index
            status = self.lib.em_journal_embedding(self.handle, u32(index), library.pointer(q20))
            if status != OK:
                raise JournalDamagedError(str(status))
            size = self.lib.em_journal_group(self.handle, u32(index), name)
            assert (size == NOT_FOUND) == (live.group == 0)
            group = None if size == NOT_FOUND else name.raw[:size].decode()
            assert hashes.setdefault(live.group, group) == group
            count = self.lib.em_journal_target(self.handle, u32(index), None, u32(0))
            target = np.zeros(max(count, 0))
            assert self.lib.em_journal_target(self.handle, u32(index), library.pointer(target), u32(count)) == count
            each = ExampleId(bytes(live.id.uuid), live.id.counter)
            out.append(
                (each, self.label(live.of_class), group, tuple(q20.tolist()), tuple(target.tolist()) if count else None)
            )
        return out

    def counts(self):
        found = {}
        for number in range(self.lib.em_journal_classes(self.handle)):
            count = self.lib.em_journal_class_count(self.handle, u32(number))
            if count:
                label = self.label(number)
                assert self.lib.em_journal_class(self.handle, label.encode()) == number or "\0" in label
                found[label] = count
            else:
                assert self.label(number) is None
        return found

    def seals(self):
        out = []
        for index in range(self.lib.em_journal_seals(self.handle)):
            seal = Seal()
            assert self.lib.em_journal_seal(self.handle, u32(index), ctypes.byref(seal)) == OK
            total, moment = np.zeros(self.dim), np.zeros(self.dim * (self.dim + 1) // 2)
            at = library.pointer(moment if seal.moment else None)
            assert self.lib.em_journal_seal_sums(self.handle, u32(index), library.pointer(total), at) == OK
            out.append((self.label(seal.of_class), seal.count, tuple(total), tuple(moment) if seal.moment else None))
        return out

    def content(self):
        assert not getattr(self.holder, "errors", [])
        return self.live(), self.counts(), self.seals(), self.lib.em_journal_bytes(self.handle)


class Tight:
    """Exactly so much memory, aligned: AddressSanitizer sees what lies beyond."""

    def __init__(self, size: int) -> None:
        self.libc = ctypes.CDLL(None)
        self.libc.posix_memalign.argtypes = [pointer, size_t, size_t]
        self.libc.free.argtypes = [pointer]
        block = pointer()
        assert self.libc.posix_memalign(ctypes.byref(block), 64, max(size, 1)) == 0
        self.at = block.value

    def __del__(self) -> None:
        self.libc.free(self.at)


def python_content(journal: Journal):
    live = []
    for each, entry in journal.live.items():
        whole = journal.example(each)
        target = None if whole.target is None else tuple(whole.target.tolist())
        live.append((each, entry.label, entry.group, tuple(whole.embedding.tolist()), target))
    seals = [
        (s.label, s.count, tuple(s.total), None if s.moment is None else tuple(s.moment))
        for s in journal.seals.values()
    ]
    return live, journal.counts(), seals, journal.nbytes


def in_python(data: bytes, *, dim=DIM, readonly=True, **kwargs) -> Journal:
    """Without correcting flipped bits, which C does not."""
    keep = journal_module.mend_transaction
    journal_module.mend_transaction = lambda *_: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RecoveredWarning)
            return Journal.over(MemoryStore(data), embedding_id=BACKBONE, dim=dim, readonly=readonly, **kwargs)
    finally:
        journal_module.mend_transaction = keep


STATUS_OF = {JournalDamagedError: DAMAGED, JournalVersionError: VERSION, JournalMismatchError: MISMATCH}


def agree(data: bytes, *, dim=DIM, targets=None) -> int:
    """Open the bytes with both. Returns C's status, after comparing it and the content."""
    journal, status = None, OK
    try:
        journal = in_python(data, dim=dim, targets=targets)
    except JournalError as error:
        status = STATUS_OF[type(error)]
    found = CJournal(Memory(data), mode=READ, dim=dim, targets=ANY if targets is None else targets, wanted=status)
    if journal is not None:
        try:
            wanted = python_content(journal)
        except JournalDamagedError:
            with pytest.raises(JournalDamagedError):
                found.content()
            return DAMAGED
        assert found.content() == wanted
    return status


def data_of(journal: Journal) -> bytes:
    return bytes(journal._store.data)


def rich() -> bytes:
    """Groups, variants, inputs, forgetting, undo, relabelling, a merge, seals, a compaction and what came after."""
    journal, other = (Journal.memory(embedding_id=BACKBONE, dim=DIM) for _ in range(2))
    image = np.arange(30, dtype=np.uint8).reshape(2, 5, 3)
    for i in range(40):
        group = None if i % 3 else f"grüppe{i // 6}"
        journal.append(
            [new(f"label{i % 4}", i, group=group, variant="v" * (i % 3), input=image if i % 7 == 0 else None)]
        )
    other.append([new("猫", i, group="g") for i in range(100, 120)])
    other.forget(list(other.live)[3:6])
    journal.forget(list(journal.live)[2:9:2])
    journal.relabel(next(iter(journal.live)), "moved")
    journal.undo()
    journal.undo()
    journal.merge(other)
    journal.seal({"label1": [i for i, e in journal.live.items() if e.label == "label1"]}, moment=True)
    journal.seal({"猫": [i for i, e in journal.live.items() if e.label == "猫"][:12]}, moment=False)
    journal.append([new("after", 500)])
    journal.forget_label("label2")
    journal.append([new("last", i, group="x") for i in range(700, 703)])
    return data_of(journal)


def small() -> bytes:
    journal = Journal.memory(embedding_id=BACKBONE, dim=DIM)
    ids = journal.append([new("a", 1, group="g"), new("bb", 2)]).added
    journal.forget(ids[:1])
    journal.undo()
    journal.append([new("a", i) for i in range(30, 33)])
    journal.seal({"a": [i for i, e in journal.live.items() if e.label == "a"]}, moment=True)
    assert journal.seals
    journal.append([new("c", 3)])
    journal.append([new("d", 4, group="h")])
    return data_of(journal)


def transactions(data: bytes) -> list[list[tuple[int, int, bytes]]]:
    """(kind, flags, payload) of all records but the commits, and of these too."""
    header = struct.unpack_from("<I", data, 124)[0]
    out, at = [[]], 128
    while at < len(data):
        frame = fmt.decode_frame(data[at : at + 16], header)
        out[-1].append((frame.kind, frame.flags, data[at + 16 : at + 16 + frame.length]))
        at += fmt.record_size(frame.length)
        if frame.kind == fmt.COMMIT:
            out.append([])
    return out[:-1]


def assemble(header: bytes, parts: list[list[tuple[int, int, bytes]]]) -> bytes:
    """With all checksums made right."""
    seed = struct.unpack_from("<I", header, 124)[0]
    out = bytearray(header)
    for records in parts:
        start, checksum, count = len(out), seed, 0
        for kind, flags, payload in records:
            if kind == fmt.COMMIT and len(payload) == 48:
                commit = fmt.decode_commit(payload)._replace(start=start, records=count, checksum=checksum)
                payload = fmt.encode_commit(commit)
            record = fmt.encode_record(kind, payload, seed, flags)
            out += record
            checksum, count = fmt.chain(checksum, int.from_bytes(record[-4:], "little")), count + 1
    return bytes(out)


class Both:
    """One journal in C and one in Python that are told the same."""

    def __init__(self, numbers, sync: str) -> None:
        self.numbers, self.sync = numbers, sync
        self.memory = Memory(None, numbers)
        self.ours = CJournal(self.memory, mode=WRITE if sync == "call" else LAZY)
        self.theirs = Journal.over(MemoryStore(), embedding_id=BACKBONE, dim=DIM, sync=sync)

    def reopen(self, sync: str) -> None:
        self.sync, data = sync, bytes(self.memory.data)
        self.ours = CJournal(self.memory, mode=WRITE if sync == "call" else LAZY)
        self.theirs = Journal.over(MemoryStore(data), embedding_id=BACKBONE, dim=DIM, sync=sync)

    def compare(self) -> None:
        assert bytes(self.memory.data) == data_of(self.theirs)
        assert self.ours.content() == python_content(self.theirs)

    def append(self, examples) -> None:
        assert self.ours.append(examples) == list(self.theirs.append(examples).added)

    def forget(self, ids) -> None:
        self.ours.forget(ids)
        self.theirs.forget(ids)

    def forget_label(self, label) -> None:
        self.ours.forget_label(label)
        self.theirs.forget_label(label)

    def relabel(self, each, label) -> None:
        assert [self.ours.relabel(each, label)] == list(self.theirs.relabel(each, label).added)

    def undo(self) -> bool:
        try:
            change = self.theirs.undo()
        except NotFoundError:
            self.ours.undo(wanted=NOT_FOUND)
            self.numbers.catch_up()  # Python took a uuid before it looked
            return False
        assert self.ours.undo() == len(change.added)
        return True

    def compact(self) -> None:
        self.ours.compact()
        self.theirs.compact()

    def seal(self, label, ids, *, moment) -> bool:
        change = self.theirs.seal({label: ids}, moment=moment)
        assert self.ours.seal(label, ids, moment=moment) == len(change.removed)
        return bool(change)

    def merge(self, other: Both) -> bool:
        try:
            change = self.theirs.merge(other.theirs)
        except MergeError:
            self.ours.merge(other.ours, wanted=VALUE)
            return False
        assert self.ours.merge(other.ours) == len(change.added)
        return True


def some(rng: random.Random) -> list[NewExample]:
    return [
        new(
            f"l{rng.randrange(6)}",
            rng.randrange(1000),
            group=rng.choice((None, "g", "h")),
            variant=rng.choice(("", "v")),
        )
        for _ in range(rng.randrange(1, 5))
    ]


def step(both: Both, rng: random.Random, others: Sequence[Both] = ()) -> str:
    """One random call on both. Returns what it was."""
    live, action = list(both.theirs.live), rng.random()
    if others and action < 0.2:
        return "merge" if both.merge(rng.choice(others)) else "conflict"
    if action < 0.45 or not live:
        both.append(some(rng))
        return "append"
    if action < 0.55:
        both.forget(rng.sample(live, rng.randrange(1, min(len(live), 6) + 1)))
        return "forget"
    if action < 0.60:
        both.forget_label(rng.choice(both.theirs.labels))
        return "forget_label"
    if action < 0.65:
        both.relabel(rng.choice(live), f"l{rng.randrange(6)}")
        return "relabel"
    if action < 0.85:
        return "undo" if both.undo() else "nothing"
    if action < 0.91:
        label = both.theirs.live[rng.choice(live)].label
        ids = [each for each in live if both.theirs.live[each].label == label]
        ids = rng.sample(ids, rng.randrange(1, len(ids) + 1)) + ids[:1]
        return "seal" if both.seal(label, ids, moment=rng.random() < 0.5) else "no seal"
    if action < 0.95:
        both.compact()
        return "compact"
    both.reopen(rng.choice(("call", "manual")))
    return "reopen"


@cache
def prepared() -> bytes:
    journal = Journal.memory(embedding_id=BACKBONE, dim=DIM)
    ids = journal.append([new(f"l{i % 3}", i, group="g") for i in range(9)]).added
    journal.forget(ids[2:5])
    return data_of(journal)


@cache
def donor() -> bytes:
    """What merges into `prepared`: a seal in the place of examples there, new examples, one forgotten there."""
    journal = Journal.memory(embedding_id=BACKBONE, dim=DIM)
    journal.merge(in_python(prepared()))
    journal.append([new("d", 100), new("l1", 101, group="k")])
    ids = [each for each, entry in journal.live.items() if entry.label == "l0"]
    assert journal.seal({"l0": ids}, moment=True)
    journal.forget([next(each for each, entry in journal.live.items() if entry.label == "l2")])
    return data_of(journal)


@cache
def merged() -> bytes:
    journal = in_python(prepared(), readonly=False)
    journal.merge(in_python(donor()))
    return data_of(journal)


@cache
def without_seal() -> bytes:
    journal = in_python(donor(), readonly=False)
    journal.forget_label("l0")
    return data_of(journal)


def status_of(wanted):
    return OK if wanted is None else wanted


# Each call on what `PREPARED` (or `prepared`) gives. wanted: its status, None for success.
CALLS = {
    "append": lambda j, wanted: j.append([new("fresh", 1, group="k"), new("l1", 2)], wanted=status_of(wanted)),
    "forget": lambda j, wanted: j.forget([j.first, j.second], wanted=status_of(wanted)),
    "forget_label": lambda j, wanted: j.forget_label("l1", wanted=status_of(wanted)),
    "relabel": lambda j, wanted: j.relabel(j.second, "relabelled", wanted=status_of(wanted)),
    "undo": lambda j, wanted: j.undo(wanted=wanted),
    "undo_merge": lambda j, wanted: j.undo(wanted=wanted),
    "undo_seal": lambda j, wanted: j.undo(wanted=wanted),
    "merge": lambda j, wanted: j.merge(j.other, wanted=wanted),
    "seal": lambda j, wanted: j.seal("l1", j.l1, moment=True, wanted=wanted),
    "compact": lambda j, wanted: j.compact(wanted=status_of(wanted)),
    "sync": lambda j, wanted: j.sync(wanted=status_of(wanted)),
}
PREPARED = {"undo_merge": merged, "undo_seal": without_seal}
REWRITES = ("compact", "seal")


def prepare(name: str, mode: int, data: bytes | None = None) -> CJournal:
    memory = Memory(PREPARED.get(name, prepared)() if data is None else data)
    memory.where = b"elsewhere1234567" if mode == LAZY else NOWHERE
    journal = CJournal(memory, mode=mode)
    live = journal.live()
    journal.first, journal.second, journal.l1 = live[0][0], live[3][0], journal.of_label("l1")
    journal.other = CJournal(Memory(donor()), mode=READ)
    return journal


def limits(**changes) -> Limits:
    values = {name: getattr(ROOMY, name) for name, _ in Limits._fields_}
    return Limits(**(values | changes))


def probe(data: bytes, few: Limits) -> int:
    for wanted in (OK, FULL):
        try:
            CJournal(Memory(data), mode=READ, limits=few, wanted=wanted)
        except AssertionError:
            continue
        return wanted
    raise AssertionError


class Posix:
    """A store in a file."""

    def __init__(self, path: Path, *, readonly=False, wanted=OK) -> None:
        self.lib, self.store = lib(), Store()
        self.block = library.memory(self.lib.em_posix_size())
        status = self.lib.em_posix_open(
            self.block,
            size_t(self.lib.em_posix_size()),
            os.fsencode(path),
            ctypes.c_int(readonly),
            ctypes.byref(self.store),
        )
        assert status == wanted, status

    def close(self) -> None:
        self.lib.em_posix_close(ctypes.byref(self.store))

    def replaced(self) -> int:
        return self.lib.em_posix_replaced(ctypes.byref(self.store))
