"""Cuts of power: before, within and after every operation of small workloads, in every sync mode."""

from __future__ import annotations

import random
import warnings

import pytest
from journal_disk import FATES, PATH, SECTOR, Disk, images, place
from journal_help import BACKBONE, DIM, all_ids, content, memory, new, open_journal

from edgemeta.errors import JournalWriteError, RecoveredWarning
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


class Run:
    """A disk and, per mark (calls acknowledged), the content, the ids handed out, and the last durable call."""

    def __init__(self):
        self.disk = store.os = Disk()
        self.states, self.handed, self.durable = [], [set()], [0]

    def session(self, workload, mode):
        journal = open_journal(PATH, sync=mode)
        if not self.states:
            self.states.append(content(journal))
            self.disk.mark = 0
        for call in workload:
            call(journal)
            self.states.append(content(journal))
            self.handed.append(self.handed[-1] | all_ids(journal))
            count = len(self.states) - 1
            self.durable.append(count if mode == "call" or call in DURABLE else self.durable[-1])
            self.disk.mark = count
        if mode != "manual":  # its close syncs
            journal.close()
        return self

    def cuts(self, rng, limit, fates=FATES):
        """(files, allowed contents, ids handed out) of every cut."""
        seen = set()
        for snapshot in self.disk.snapshots:
            mark = snapshot[0]
            allowed = [None, self.states[0]] if mark is None else self.states[self.durable[mark] : mark + 2]
            for files in images(snapshot, rng, limit, fates):
                if (files, mark) not in seen:
                    seen.add((files, mark))
                    yield files, allowed, self.handed[mark or 0]


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


@pytest.mark.parametrize("mode", ["call", "manual", "never"])
@pytest.mark.parametrize("name", WORKLOADS)
def test_after_every_cut_the_journal_opens_and_keeps_its_word(name, mode):
    rng = random.Random(f"{SEED} {name} {mode}")
    count = 0
    for cut in Run().session(WORKLOADS[name], mode).cuts(rng, 125 if mode == "call" else 25):
        recover(cut[0], rng.choice(["call", "manual", "never"]), *cut[1:])
        count += 1
    assert count > 20


@pytest.mark.parametrize("modes", ["call never", "never call", "manual call never call"])
def test_sessions_of_different_modes(modes):
    rng, run = random.Random(f"{SEED} {modes}"), Run()
    for mode in modes.split():
        run.session([learn, learn_few], mode)
    for cut in run.cuts(rng, 60):
        recover(cut[0], rng.choice(["call", "never"]), *cut[1:])


@pytest.mark.parametrize("mode", ["call", "never"])
def test_what_a_full_disk_left_is_never_taken_for_what_came_after(mode):
    """The failed write is cut off without a sync; the next one lies over it, under the same ids."""
    rng, run = random.Random(f"{SEED} full {mode}"), Run()

    def fail(journal):
        full, run.disk.room = run.disk.room, 300
        with pytest.raises(JournalWriteError):
            journal.append([new("x", 70), new("y", 71)])
        run.disk.room = full

    def again(journal):
        journal.append([new("p", 80), new("q", 81)])

    run.session([learn], mode)
    run.disk.phase = len(run.disk.names[PATH].now) % SECTOR  # sectors hold records, to mix old ones with new ones
    run.session([fail, again, learn], mode)
    for cut in run.cuts(rng, 600, ("written", "lost")):
        recover(cut[0], mode, *cut[1:])


@pytest.mark.parametrize("mode", ["call", "never"])
def test_a_cut_during_the_recovery_of_a_cut(mode):
    rng = random.Random(f"{SEED} twice {mode}")
    first = list(Run().session(WORKLOADS["history"], mode).cuts(rng, 25))
    first = [cut for cut in first if any(name == PATH for name, _, _ in cut[0])]
    for files, allowed, handed in rng.sample(first, 40):
        again = store.os = Disk(files)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RecoveredWarning)
            open_journal(PATH, sync=mode).close()
        for snapshot in again.snapshots:
            for left in images(snapshot, rng, 4):
                recover(left, mode, allowed, handed)


def attempt(call):
    def safely(journal):
        try:
            return call(journal)
        except (LookupError, StopIteration):  # nothing there to forget or undo
            return None

    return safely


@pytest.mark.parametrize("seed", range(8))
def test_random_workloads(seed):
    rng = random.Random(f"{SEED} {seed}")
    kinds = [learn, learn_few, forget, relabel, undo, merge, compact, sync]
    workload = [learn_few, *(rng.choice(kinds) for _ in range(6))]
    safe = [call if call in DURABLE else attempt(call) for call in workload]
    every = list(Run().session(safe, rng.choice(["call", "manual", "never"])).cuts(rng, 8))
    for cut in rng.sample(every, min(60, len(every))):
        recover(cut[0], rng.choice(["call", "manual", "never"]), *cut[1:])
