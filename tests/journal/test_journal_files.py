"""Files, locks, readers, full disks: the journal and the system under it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import threading
import time
import warnings

import pytest
from journal_help import BACKBONE, content, new, open_journal

from edgemeta.errors import (
    JournalDamagedError,
    JournalError,
    JournalLockedError,
    JournalMismatchError,
    JournalMissingError,
    JournalReadOnlyError,
    JournalWriteError,
    NotFoundError,
    OptionError,
    RecoveredWarning,
)
from edgemeta.journal import Journal, place, store

HELPERS = os.path.dirname(__file__)
PRELUDE = f"import sys; sys.path[:0] = [{HELPERS!r}]; from journal_help import *\n"


def python(code, *args):
    """Run `code` in another process; its standard output."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + code, *map(str, args)],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.learned"


def test_a_new_file_and_its_lock_are_private(path):
    old = os.umask(0)
    try:
        with open_journal(path) as journal:
            journal.append([new("a", 1)])
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert stat.S_IMODE(path.with_suffix(".learned.lock").stat().st_mode) == 0o600
            os.chmod(path, 0o640)  # the owner's wish outlives compaction
            journal.compact()
            assert stat.S_IMODE(path.stat().st_mode) == 0o640
    finally:
        os.umask(old)


def test_one_writer_and_many_readers(path, tmp_path):
    with open_journal(path) as journal:
        journal.append([new("a", 1)])
        with pytest.raises(JournalLockedError, match="readonly=True"):
            open_journal(path)
        link = tmp_path / "link"
        link.symlink_to(path)
        with pytest.raises(JournalLockedError):
            open_journal(link)
        code = """
from edgemeta.errors import JournalLockedError
try:
    open_journal(sys.argv[1])
except JournalLockedError:
    print("locked")
with open_journal(sys.argv[1], readonly=True) as j:
    print(*j.labels)
"""
        assert python(code, path).split() == ["locked", "a"]
    with open_journal(path) as journal:
        assert journal.labels == ("a",)


def test_a_lock_is_gone_with_its_process(path):
    python("j = open_journal(sys.argv[1]); j.append([new('a', 1)]); import os; os._exit(0)", path)
    with open_journal(path) as journal:
        assert journal.labels == ("a",)


def test_without_locking_there_is_no_writing(path, monkeypatch):
    import fcntl

    open_journal(path).close()

    def refuse(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(JournalLockedError, match="cannot lock"):
        open_journal(path)
    open_journal(path, readonly=True).close()


def test_a_reader_follows_a_writer(path):
    with open_journal(path) as writer, Journal.peek(path) as reader:
        assert not reader.reload()
        added = writer.append([new("a", 1), new("b", 2)]).added
        assert reader.reload().added == added
        writer.append([new("c", 3)])
        writer.forget(writer.append([new("gone between", 8)]).added)
        writer.forget(added[:1])
        writer.undo()
        change = reader.reload()
        assert content(reader) == content(writer)
        assert [each for each, _ in change.removed] == [added[0]] and len(change.added) == 2
        writer.forget_label("c")
        kept = content(reader)
        writer.compact()
        assert content(reader) == kept, "the old file stays readable until reload"
        assert reader.reload().reset
        assert content(reader) == content(writer)
        writer.append([new("d", 4)])
        assert len(reader.reload().added) == 1
        with pytest.raises(JournalReadOnlyError):
            reader.append([new("x", 9)])
        for call in (reader.compact, reader.undo, reader.sync):
            with pytest.raises(JournalReadOnlyError):
                call()
        assert not writer.reload()


def test_a_reader_skips_a_half_written_transaction_in_silence(path):
    with open_journal(path) as writer:
        writer.append([new("a", 1)])
        size = writer.nbytes
        writer.append([new("b", 2)])
    whole = path.read_bytes()
    path.write_bytes(whole[:-60])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reader = Journal.peek(path)
    assert reader.labels == ("a",) and reader.nbytes == size
    assert (reader.recovered.offset, reader.recovered.records) == (size, 1)
    assert str(reader.recovered)
    assert path.read_bytes() == whole[:-60]
    with open(path, "r+b") as file:
        file.write(whole)
    assert len(reader.reload().added) == 1
    reader.close()


def test_a_reader_says_when_committed_bytes_are_skipped(path):
    with open_journal(path, sync="never") as writer:
        writer.append([new("a", 1)])
        at = writer.nbytes
        writer.append([new("b", 2)])
        writer.append([new("c", 3)])
    data = bytearray(path.read_bytes())
    data[at + 30] ^= 3
    path.write_bytes(data)
    with pytest.warns(RecoveredWarning, match="is skipped"):
        assert Journal.peek(path).labels == ("a",)
    with pytest.warns(RecoveredWarning, match="was cut off"):
        open_journal(path).close()
    assert Journal.peek(path).labels == ("a",)


def test_reload_meets_damage(path):
    with open_journal(path) as writer, Journal.peek(path) as reader:
        writer.append([new("a", 1)])
        at = writer.nbytes
        reader.reload()
        writer.append([new("b", 2)])
        writer.append([new("c", 3)])
        good = path.read_bytes()
        bad = bytearray(good)
        bad[at + 30] ^= 1
        path.write_bytes(bad)
        for _ in range(2):
            with pytest.raises(JournalDamagedError):
                reader.reload()
            assert reader.labels == ("a",) and len(reader.embeddings(reader.live)) == 1
        path.write_bytes(good)
        assert len(reader.reload().added) == 2
        assert reader.labels == ("a", "b", "c")


def test_what_cannot_be_reloaded_leaves_a_reader_as_it_was(path, tmp_path):
    """Another file under the same name, damaged, of another backbone, or cut off in the middle."""
    with open_journal(path) as writer:
        writer.append([new("a", 1), new("b", 2)])
    with Journal.peek(path) as reader:
        kept = content(reader)
        other = tmp_path / "other"
        Journal.open(other, embedding_id=bytes(32), dim=5).close()
        damaged = bytearray(path.read_bytes())
        damaged[20] ^= 255
        for bad, error in ((other.read_bytes(), JournalMismatchError), (bytes(damaged), JournalDamagedError)):
            (tmp_path / "new").write_bytes(bad)
            os.replace(tmp_path / "new", path)
            for _ in range(2):
                with pytest.raises(error):
                    reader.reload()
                assert content(reader) == kept


def test_readers_while_a_writer_works_and_compacts(path):
    """Every state a reader sees is one that the writer acknowledged or is writing: learned in order, none missing."""
    code = """
with open_journal(sys.argv[1], sync="never") as j:
    for n in range(120):
        j.append([new(f"{n:03}", n), new(f"{n:03}", 1000 + n)])
        if n % 17 == 5:
            j.compact()
"""
    open_journal(path).close()
    writer = threading.Thread(target=python, args=(code, path))
    writer.start()
    reader, seen = Journal.peek(path), set()
    while writer.is_alive():
        reader.reload()
        labels = [entry.label for entry in reader.live.values()]
        assert sorted(labels) == sorted([f"{n:03}" for n in range(len(labels) // 2)] * 2)
        assert len(reader.embeddings(reader.live)) == len(labels)
        seen.add(len(labels))
        time.sleep(0.002)
    writer.join()
    reader.reload()
    assert len(reader.live) == 240 and len(seen) > 2
    reader.close()


def test_a_copy_takes_another_uuid(path, tmp_path):
    with open_journal(path) as journal:
        first = journal.append([new("a", 1)]).added[0]
    shutil.copy(path, tmp_path / "copy")
    size = path.stat().st_size
    with open_journal(tmp_path / "copy") as copy:
        assert (tmp_path / "copy").stat().st_size == size, "opening alone writes nothing"
        second = copy.append([new("b", 2)]).added[0]
        third = copy.append([new("b", 3)]).added[0]
        assert second.journal == third.journal == copy.uuid != first.journal
    with open_journal(tmp_path / "copy") as copy:
        assert copy.append([new("b", 4)]).added[0].journal == second.journal
    with open_journal(path) as journal:
        assert journal.append([new("c", 3)]).added[0] == first._replace(counter=2)
        journal.compact()
    with open_journal(path) as journal:
        assert journal.append([new("d", 4)]).added[0] == first._replace(counter=3), "compaction moves the inode"


def test_compaction_of_a_copy_takes_another_uuid(path, tmp_path):
    with open_journal(path) as journal:
        first = journal.append([new("a", 1)]).added[0]
    shutil.copy(path, tmp_path / "copy")
    with open_journal(tmp_path / "copy") as copy:
        copy.compact()
        assert copy.append([new("b", 2)]).added[0].journal != first.journal


def test_the_place_is_hashed():
    info = os.stat(__file__)
    assert len(place.place_of(info)) == 16 and place.place_of(info) == place.place_of(info)
    assert place.place_of(info) != place.place_of(os.stat(HELPERS))


FULL = """
import resource, signal
from edgemeta.errors import JournalWriteError
j = open_journal(sys.argv[1])
j.append([new("a", 1)])
before, size = content(j), j.nbytes
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 300, resource.RLIM_INFINITY))
for n in (5, 6):
    try:
        j.append([new("b", n) for n in range(5)])
    except JournalWriteError as error:
        assert "still there" in str(error) and sys.argv[1] in str(error), error
        print("refused")
    assert content(j) == before and j.nbytes == size
j.append([new("c", 2)])
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
now = content(j)
try:
    j.compact()
except JournalWriteError:
    print("refused")
assert content(j) == now
import os; assert not os.path.exists(sys.argv[1] + ".new")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
j.append([new("d", 3)])
print(*j.labels)
"""


def test_a_full_disk(path):
    assert python(FULL, path).split() == ["refused"] * 3 + ["a", "c", "d"]
    with open_journal(path) as journal:
        assert journal.labels == ("a", "c", "d") and journal.recovered is None
    assert sorted(each.name for each in path.parent.iterdir()) == ["a.learned", "a.learned.lock"]


@pytest.mark.parametrize("where", ["append", "sync"])
def test_a_failed_sync_ends_the_writing(path, monkeypatch, where):
    journal = open_journal(path, sync="call" if where == "append" else "manual")
    journal.append([new("a", 1)])
    before = content(journal)

    def fail(fd):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(store, "sync_fd", fail)
    with pytest.raises(JournalWriteError, match="Open the journal again"):
        journal.append([new("b", 2)]) if where == "append" else journal.sync()
    monkeypatch.undo()
    for call in (lambda: journal.append([new("c", 3)]), journal.compact, journal.sync, journal.undo):
        with pytest.raises(JournalWriteError, match="open the journal again"):
            call()
    assert content(journal) == before
    journal.close()
    with open_journal(path) as journal:
        assert content(journal) == before
        journal.append([new("c", 3)])


def test_a_write_that_cannot_be_taken_back_ends_the_writing(path, monkeypatch):
    journal = open_journal(path)
    journal.append([new("a", 1)])

    def half(fd, data, offset):
        os.pwrite(fd, bytes(data[:100]), offset)
        raise OSError(28, "No space left on device")

    def fail(fd, size):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(store, "write_all", half)
        patch.setattr(store.os, "ftruncate", fail)
        with pytest.raises(JournalWriteError):
            journal.append([new("b", 2)])
    with pytest.raises(JournalWriteError, match="open the journal again"):
        journal.append([new("b", 2)])
    journal.close()
    with pytest.warns(RecoveredWarning):
        journal = open_journal(path)
    assert journal.labels == ("a",)
    journal.close()


def test_a_folder_that_cannot_be_synced(path, monkeypatch):
    journal = open_journal(path)
    one, _ = journal.append([new("a", 1), new("b", 2)]).added
    journal.forget([one])
    before = content(journal)

    def fail(name):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(store, "sync_folder", fail)
        with pytest.raises(JournalWriteError):
            journal.compact()
    assert content(journal) == before
    with pytest.raises(JournalWriteError):
        journal.append([new("c", 3)])
    journal.close()


def test_a_file_changed_under_a_writer_is_left_alone(path, tmp_path):
    journal = open_journal(path)
    journal.append([new("a", 1)])
    backup = path.read_bytes()
    journal.append([new("b", 2)])
    (tmp_path / "restored").write_bytes(backup)
    os.replace(tmp_path / "restored", path)
    with pytest.raises(JournalWriteError, match="replaced by another program"):
        journal.append([new("c", 3)])
    assert path.read_bytes() == backup
    journal.close()
    with open_journal(path) as journal:
        assert journal.labels == ("a",)
        with open(path, "ab") as file:
            file.write(b"another program")
        with pytest.raises(JournalWriteError, match="another program"):
            journal.append([new("c", 3)])
        os.unlink(path)
        with pytest.raises(JournalWriteError):
            journal.append([new("c", 3)])


def test_a_lock_is_not_made_through_a_link(path, tmp_path):
    os.symlink(tmp_path / "elsewhere", f"{path}.lock")
    with pytest.raises(JournalReadOnlyError):
        open_journal(path)
    assert not (tmp_path / "elsewhere").exists()


def test_a_fork_must_open_for_itself(path):
    journal = open_journal(path)
    journal.append([new("a", 1)])
    child = os.fork()
    if child == 0:
        code = 1
        try:
            journal.append([new("b", 2)])
        except JournalError as error:
            code = 0 if "fork" in str(error) else 2
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    journal.append([new("c", 3)])
    journal.close()


def test_closed(path):
    journal = open_journal(path)
    (one,) = journal.append([new("a", 1)]).added
    journal.close()
    journal.close()
    for call in (lambda: journal.append([]), lambda: journal.embeddings([one]), journal.sync, journal.reload):
        with pytest.raises(JournalError, match="closed"):
            call()
    dropped = open_journal(path)
    del dropped  # without close: the lock goes with it
    open_journal(path).close()


def test_what_cannot_be_opened(path, tmp_path, monkeypatch):
    with pytest.raises(JournalMissingError):
        open_journal(path, readonly=True)
    with pytest.raises(JournalMissingError):
        Journal.peek(path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(JournalMissingError, match="folder"):
        open_journal(tmp_path / "none" / "a")
    with pytest.raises(JournalDamagedError, match="not a file"):
        Journal.peek(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(JournalDamagedError, match="not a file"):
        Journal.peek(tmp_path / "fifo")
    path.write_bytes(b"")
    with pytest.raises(JournalDamagedError, match="empty"):
        open_journal(path)
    assert path.read_bytes() == b""
    path.write_bytes(b"\x89PNG" * 100)
    with pytest.raises(JournalDamagedError, match="not the beginning of a journal"):
        open_journal(path)
    for options in ({"sync": "often"}, {"dim": 0}, {"dim": True}, {"embedding_id": b"x"}):
        with pytest.raises(OptionError):
            Journal.open(path, **{"embedding_id": BACKBONE, "dim": 3, **options})


def test_a_folder_that_cannot_be_written(path):
    code = """
import fcntl, os
from edgemeta.errors import JournalReadOnlyError
if os.getuid() == 0:
    os.setegid(65534); os.seteuid(65534)
for name in sys.argv[1:]:
    try:
        open_journal(name)
    except JournalReadOnlyError as error:
        print(type(error).__name__)
"""
    open_journal(path).close()
    for folder in [path.parent, *path.parent.parents][:3]:
        folder.chmod(0o755)
    path.chmod(0o644)
    os.chmod(str(path) + ".lock", 0o666)
    out = python(code, path, path.parent / "new")
    assert out.split() == ["JournalReadOnlyError"] * 2


def test_names_in_messages_are_escaped(tmp_path):
    path = tmp_path / "a\x1b[31m.learned"
    path.write_bytes(b"nonsense")
    with pytest.raises(JournalDamagedError) as caught:
        Journal.peek(path)
    assert "\x1b" not in str(caught.value)
    with open_journal(tmp_path / "b") as journal, pytest.raises(NotFoundError) as caught:
        journal.forget_label("\x1b[2J")
    assert "\x1b" not in str(caught.value)


def test_syncs_are_what_was_asked_for(path, monkeypatch):
    count = []
    monkeypatch.setattr(store, "sync_fd", lambda fd: count.append(fd))

    def syncs(call):
        count.clear()
        call()
        return len(count)

    journal = open_journal(path)
    assert syncs(lambda: journal.append([new("a", n) for n in range(5)])) == 1
    assert syncs(journal.close) == 0
    journal = open_journal(path, sync="manual")
    assert syncs(lambda: journal.append([new("a", 1)])) == 0
    assert syncs(journal.sync) == 1
    journal.append([new("a", 1)])
    assert syncs(journal.close) == 1
    journal = open_journal(path, sync="never")
    assert syncs(lambda: journal.append([new("a", 1)])) == 0
    assert syncs(journal.close) == 0


def test_importing_the_journal_is_light():
    heavy = ["hashlib", "uuid", "tempfile", "fcntl", "unicodedata", "PIL", "torch", "onnxruntime"]
    code = "import numpy\nold = set(sys.modules)\nimport edgemeta.journal\nprint(*sorted(set(sys.modules) - old))"
    done = subprocess.run(
        [sys.executable, "-c", "import sys\n" + code],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert not set(done.stdout.split()) & set(heavy)


def test_no_embedding_stays_in_memory(path):
    """An index entry is a label, a group and an offset; what is read again is checked again."""
    with open_journal(path) as journal:
        journal.append([new("a", n) for n in range(50)])
        entries = list(journal.live.values())
        assert all(entry.label is entries[0].label for entry in entries)
        ids = list(journal.live)
        assert all(each.journal is ids[0].journal for each in ids)
        data = bytearray(path.read_bytes())
        data[entries[7].offset + 100] ^= 1
        path.write_bytes(data)
        with pytest.raises(JournalDamagedError):
            journal.embeddings(ids)
        assert len(journal.embeddings(ids[:7])) == 7


def test_a_reader_says_when_the_last_transaction_was_damaged(path):
    """Two flipped bits in the very last commit look like a torn end, but everything was written."""
    with open_journal(path) as writer:
        writer.append([new("a", 1)])
        writer.append([new("b", 2)])
    data = bytearray(path.read_bytes())
    data[-1] ^= 3
    path.write_bytes(data)
    with pytest.warns(RecoveredWarning, match="1 whole records"):
        assert Journal.peek(path).labels == ("a",)


def test_compacting_leaves_a_file_alone_that_another_program_put_there(path, tmp_path):
    with open_journal(path) as journal:
        journal.append([new("a", 1), new("a", 2)])
        with open_journal(tmp_path / "other") as other:
            other.append([new("b", 3)])
        os.replace(tmp_path / "other", path)
        kept = path.read_bytes()
        for call in (journal.compact, lambda: journal.seal({"a": list(journal.live)}, moment=False)):
            with pytest.raises(JournalWriteError, match="replaced by another program"):
                call()
        assert path.read_bytes() == kept
        path.unlink()
        with pytest.raises(JournalWriteError):
            journal.compact()
        assert not path.exists()


def test_an_empty_file_is_no_riddle(path):
    path.write_bytes(b"")
    for call in (lambda: Journal.peek(path), lambda: open_journal(path)):
        with pytest.raises(JournalDamagedError, match="delete it to begin anew"):
            call()


def test_counters_say_what_was_learned_first(path, tmp_path):
    """Over sessions that each take a new uuid, and after a merge: a later example has a larger counter."""
    with open_journal(tmp_path / "other") as other:
        other.append([new("x", n) for n in range(1, 8)])
        for session in range(3):
            with open_journal(path, sync="manual") as journal:
                journal.append([new("a", 10 * session + 1), new("b", 10 * session + 2)])
                if session == 1:
                    journal.merge(other)
        with open_journal(path) as journal:
            own = [each for each, entry in journal.live.items() if entry.label != "x"]
            assert len({each.journal for each in own}) == 3
            assert [each.counter for each in own] == sorted(each.counter for each in own)
            assert own[-1].counter > 7 and journal.append([new("c", 99)]).added[0].counter > own[-1].counter
