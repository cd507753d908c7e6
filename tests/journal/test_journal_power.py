"""Cuts of power: before, within and after every operation of small workloads, in every sync mode."""

from __future__ import annotations

import random
import warnings

import pytest
from journal_disk import PATH, Disk, images, place
from journal_help import BACKBONE, DIM, all_ids, content, memory, new, open_journal

from edgemeta.errors import RecoveredWarning
from edgemeta.journal import Journal, store

SEED = 20240611


@pytest.fixture(autouse=True)
def fake_disk(monkeypatch):
    """Every test sets `store.os` itself; the lock and the machine's serial numbers are out of the picture."""
    monkeypatch.setattr(store, "lock", lambda path: -1)
    monkeypatch.setattr(store, "place_of", place)
    monkeypatch.setattr(store, "os", Disk())
    monkeypatch.setattr(store.sys, "platform", "linux")


def learn(journal):
    return journal.append([new("a", 1, group="g")])


def learn_many(journal):
    return journal.append([new(label, 10 + i) for i, label in enumerate("abbb")])


def learn_few(journal):
    return journal.append([new("b", 20), new("c", 21)])


def forget(journal):
    return journal.forget([next(iter(journal.live))])


def forget_class(journal):
    return journal.forget_label("b")


def relabel(journal):
    return journal.relabel(next(iter(journal.live)), "d")


def undo(journal):
    return journal.undo()


def compact(journal):
    return journal.compact()


def sync(journal):
    return journal.sync()


def merge(journal):
    with memory() as other:
        change = other.append([new("m", 30), new("m", 31)])
        other.forget(change.added[:1])
        return journal.merge(other)


def seal(journal):
    return journal.seal({"b": [i for i, e in journal.live.items() if e.label == "b"]}, moment=False)


WORKLOADS = {
    "teach": [learn, learn_few, forget, learn],
    "history": [learn_few, relabel, undo, forget, undo, undo],
    "merge": [learn, merge, undo, learn],
    "compact": [learn, learn_few, forget, compact, learn, undo],
    "seal": [learn_many, seal, learn, forget_class, undo],
    "syncs": [learn, sync, learn_few, forget, sync, relabel, learn],
}
DURABLE = (compact, seal, sync)


def run(workload, mode):
    """The disk after `workload`, and per mark (calls acknowledged) the content, ids handed out, and last durable call."""
    disk = store.os = Disk()
    journal = open_journal(PATH, sync=mode)
    states, handed, durable = [content(journal)], [set()], [0]
    disk.mark = 0
    for count, call in enumerate(workload, 1):
        call(journal)
        states.append(content(journal))
        handed.append(handed[-1] | all_ids(journal))
        durable.append(count if mode == "call" or call in DURABLE else durable[-1])
        disk.mark = count
    if mode == "never":
        journal.close()
    return disk, states, handed, durable


def recover(files, mode, allowed, handed, disk=None):
    """Open what a cut left, for reading and for writing; it is one of `allowed`; then go on and open again."""
    disk = store.os = disk or Disk(files)
    if PATH not in disk.names:
        assert None in allowed, "an acknowledged journal is gone"
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecoveredWarning)
        with Journal.peek(PATH) as reader:
            read = content(reader)
        assert read in allowed
        journal = Journal.over(store.FileStore(PATH, readonly=False), embedding_id=BACKBONE, dim=DIM, sync=mode)
    assert content(journal) == read
    assert PATH + ".new" not in disk.names
    added = journal.append([new("z", 99)]).added
    assert not set(added) & handed, "an id was given twice"
    after = content(journal)
    assert {row for row in after[0] if row[0] not in added} == set(read[0])
    assert after[1] == read[1]
    journal.close()
    with Journal.peek(PATH) as reader:
        assert content(reader) == after
        assert reader.recovered is None
    return disk


def cuts(disk, states, durable, rng, limit):
    """(files, allowed contents, mark) of every cut."""
    seen = set()
    for snapshot in disk.snapshots:
        mark = snapshot[0]
        allowed = [None, states[0]] if mark is None else states[durable[mark] : mark + 2]
        for files in images(snapshot, rng, limit):
            if (files, mark) not in seen:
                seen.add((files, mark))
                yield files, allowed, mark or 0


@pytest.mark.parametrize("mode", ["call", "manual", "never"])
@pytest.mark.parametrize("name", WORKLOADS)
def test_after_every_cut_the_journal_opens_and_keeps_its_word(name, mode):
    rng = random.Random(f"{SEED} {name} {mode}")
    disk, states, handed, durable = run(WORKLOADS[name], mode)
    count = 0
    for files, allowed, mark in cuts(disk, states, durable, rng, 125 if mode == "call" else 25):
        recover(files, rng.choice(["call", "manual", "never"]), allowed, handed[mark])
        count += 1
    assert count > 20


@pytest.mark.parametrize("mode", ["call", "never"])
def test_a_cut_during_the_recovery_of_a_cut(mode):
    rng = random.Random(f"{SEED} twice {mode}")
    disk, states, handed, durable = run(WORKLOADS["history"], mode)
    first = [each for each in cuts(disk, states, durable, rng, 25) if any(name == PATH for name, _, _ in each[0])]
    for files, allowed, mark in rng.sample(first, 40):
        again = Disk(files)
        store.os = again
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RecoveredWarning)
            open_journal(PATH, sync=mode).close()
        for snapshot in list(again.snapshots):
            for left in images(snapshot, rng, 4):
                recover(left, mode, allowed, handed[mark])


@pytest.mark.parametrize("seed", range(8))
def test_random_workloads(seed):
    rng = random.Random(f"{SEED} {seed}")
    mode = rng.choice(["call", "manual", "never"])
    workload = [learn_few]
    for _ in range(6):
        workload.append(rng.choice([learn, learn_few, forget, relabel, undo, merge, compact, sync]))

    def attempt(call):
        def safely(journal):
            try:
                return call(journal)
            except (LookupError, StopIteration):  # nothing there to forget or undo
                return None

        return safely

    disk = store.os = Disk()
    journal = open_journal(PATH, sync=mode)
    states, handed, durable = [content(journal)], [set()], [0]
    disk.mark = 0
    for count, call in enumerate(workload, 1):
        attempt(call)(journal)
        states.append(content(journal))
        handed.append(handed[-1] | all_ids(journal))
        durable.append(count if mode == "call" or call in DURABLE else durable[-1])
        disk.mark = count
    every = list(cuts(disk, states, durable, rng, 8))
    for files, allowed, mark in rng.sample(every, min(60, len(every))):
        recover(files, mode, allowed, handed[mark])
