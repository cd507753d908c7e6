"""The journal in C in a file of a POSIX system."""

from __future__ import annotations

import os

import pytest
from journal_c import DAMAGED, IO, NOT_FOUND, OK, READ, STATE, CJournal, Posix, agree, python_content
from journal_help import new, open_journal

from edgemeta.errors import (
    JournalLockedError,
)


def test_files_go_to_and_fro(tmp_path):
    """C and Python take turns with one file; neither needs another identity."""
    path = tmp_path / "a.learned"
    store = Posix(path)
    ours = CJournal(store)
    ids = ours.append([new("cup", i, group="g") for i in range(5)])
    ours.forget(ids[1:3])
    ours.append([new("mug", 9)])
    ours.undo()
    ours.undo()
    uuid = ids[0].journal
    wanted = ours.content()
    store.close()
    assert path.stat().st_mode & 0o777 == 0o600 and path.with_name("a.learned.lock").stat().st_mode & 0o777 == 0o600
    with open_journal(path) as theirs:
        assert python_content(theirs) == wanted
        (added,) = theirs.append([new("pan", 10)]).added
        assert added.journal == uuid  # the place is the same hash
        theirs.relabel(added, "pot")
        theirs.undo()
        wanted = python_content(theirs)
    store = Posix(path)
    ours = CJournal(store)
    assert ours.content() == wanted
    ours.forget_label("cup")
    ours.compact()
    (added,) = ours.append([new("late", 11)])
    assert added.journal == uuid
    wanted = ours.content()
    store.close()
    with open_journal(path) as theirs:
        assert python_content(theirs) == wanted
        (added,) = theirs.append([new("later", 12)]).added
        assert added.journal == uuid
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.learned", "a.learned.lock"]


def test_the_lock_and_the_name(tmp_path):
    path = tmp_path / "a.learned"
    store = Posix(path)
    CJournal(store).append([new("a", 1)])
    with pytest.raises(JournalLockedError):
        open_journal(path)
    Posix(path, wanted=STATE)
    reader = Posix(path, readonly=True)
    looking = CJournal(reader, mode=READ)
    assert reader.replaced() == 0 and len(looking.live()) == 1
    store.close()
    with open_journal(path) as theirs:
        Posix(path, wanted=STATE)
        theirs.compact()
    assert reader.replaced() == 1 and len(looking.live()) == 1
    reader.close()
    (tmp_path / "b").symlink_to(path)
    store = Posix(tmp_path / "b")
    Posix(path, wanted=STATE)
    store.close()
    Posix(tmp_path / "none", readonly=True, wanted=NOT_FOUND)
    Posix(tmp_path / "none" / "a", wanted=NOT_FOUND)
    Posix(tmp_path, readonly=True, wanted=DAMAGED)
    os.mkfifo(tmp_path / "fifo")
    Posix(tmp_path / "fifo", readonly=True, wanted=DAMAGED)


def test_left_over_files_and_modes(tmp_path):
    path = tmp_path / "a.learned"
    store = Posix(path)
    CJournal(store).append([new("a", 1)])
    store.close()
    (tmp_path / "a.learned.new").write_bytes(b"left by a cut of power")
    path.chmod(0o640)
    store = Posix(path)
    assert not (tmp_path / "a.learned.new").exists()
    ours = CJournal(store)
    (tmp_path / "a.learned.new").write_bytes(b"in the way")
    ours.compact(wanted=IO)
    (tmp_path / "a.learned.new").unlink()
    ours.compact()
    assert path.stat().st_mode & 0o777 == 0o640 and len(ours.live()) == 1
    path.rename(tmp_path / "b.learned")
    ours.append([new("b", 2)], wanted=IO)
    (tmp_path / "b.learned").rename(path)
    ours.append([new("b", 2)])
    store.close()


def test_a_torn_file_is_cut(tmp_path):
    path = tmp_path / "a.learned"
    with open_journal(path) as theirs:
        theirs.append([new("a", 1)])
        whole = path.read_bytes()
        theirs.append([new("b", 2)])
    for size in (len(whole) + 5, len(path.read_bytes()) - 1):
        path.write_bytes(path.read_bytes()[:size])
        store = Posix(path)
        ours = CJournal(store)
        assert [row[1] for row in ours.live()] == ["a"]
        ours.append([new("c", 3)])
        store.close()
        with open_journal(path) as theirs:
            assert theirs.labels == ("a", "c") and theirs.recovered is None
            theirs.undo()
            theirs.compact()
            theirs.append([new("b", 2)])


def test_no_room_on_the_disk(tmp_path):
    """A limit of the size of files, as a disk that is full."""
    import resource
    import signal

    path = tmp_path / "a.learned"
    store = Posix(path)
    ours = CJournal(store)
    ours.append([new("a", 1)])
    before, size = ours.content(), path.stat().st_size
    keep, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        for room in (0, 1, 50, 200):
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + room, keep[1]))
            ours.append([new("b", 2), new("c", 3)], wanted=IO)
            assert ours.content() == before and path.stat().st_size == size
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, keep)
        signal.signal(signal.SIGXFSZ, handler)
    ours.append([new("b", 2)])
    assert agree(path.read_bytes()) == OK
    store.close()
