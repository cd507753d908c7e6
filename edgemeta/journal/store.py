"""Where a journal's bytes lie: five things to do with them, in a file or in memory.

A store keeps no meaning and raises plain OSError for what the system refuses; the journal turns that into its
own errors. The C core asks its host for the same five: read, append, sync, truncate, replace.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Callable, Iterable
from typing import Protocol

from ..errors import (
    JournalDamagedError,
    JournalError,
    JournalLockedError,
    JournalMissingError,
    JournalReadOnlyError,
    JournalWriteError,
)
from ..options import as_path
from ..terminal import printable
from .place import NOWHERE, place_of

NEW_MODE = 0o600


class Store(Protocol):
    """Bytes that can be read anywhere, appended, cut at the end, and replaced as a whole."""

    name: str

    @property
    def exists(self) -> bool:
        """Whether there is anything to open."""

    def place(self) -> bytes:
        """16 bytes that differ for a copy; zeros where there are no copies."""

    def size(self) -> int:
        """The length in bytes."""

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes."""

    def append(self, offset: int, data: bytes) -> None:
        """Write at the end, which is `offset`. May leave a part of `data` there when it raises OSError."""

    def truncate(self, size: int) -> None:
        """Cut the end off."""

    def sync(self) -> None:
        """Return when everything is durable."""

    def replace(self, make: Callable[[bytes], Iterable[bytes]]) -> None:
        """Put `make(place of the new bytes)` in the place of everything, durably and all or nothing."""

    def correct(self, offset: int, byte: int) -> None:
        """Read `byte` at `offset` from now on."""

    def settle(self) -> None:
        """Write what was corrected."""

    def renewed(self) -> Store | None:
        """For a reader: the file that took the place of this one, opened, or None."""

    def close(self) -> None:
        """Give back what is held. Once more does nothing."""


class MemoryStore:
    """A journal that is gone with its process."""

    name = "<memory>"

    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray(data)

    @property
    def exists(self) -> bool:
        return bool(self.data)

    def place(self) -> bytes:
        return NOWHERE

    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, size: int) -> bytes:
        return bytes(self.data[offset : offset + size])

    def append(self, offset: int, data: bytes) -> None:
        self.data[offset:] = data

    def truncate(self, size: int) -> None:
        del self.data[size:]

    def sync(self) -> None:
        pass

    def replace(self, make: Callable[[bytes], Iterable[bytes]]) -> None:
        self.data = bytearray(b"".join(make(NOWHERE)))

    def correct(self, offset: int, byte: int) -> None:
        self.data[offset] = byte

    def settle(self) -> None:
        pass

    def renewed(self) -> Store | None:
        return None

    def close(self) -> None:
        pass


def lock(path: str) -> int:
    """Take the lock file `path` and return its descriptor. Raises JournalLockedError or JournalReadOnlyError."""
    shown, mend = printable(path), "Open it with readonly=True to look at it"
    try:
        import fcntl
    except ImportError:
        raise JournalLockedError(f"{shown}: this system has no flock, so writing is not safe. {mend}") from None
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, NEW_MODE)
    except OSError as error:
        raise _refused(error, path, mend) from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise JournalLockedError(f"{shown}: another program holds the journal for writing. {mend}") from None
        why = f"the file system cannot lock ({error.strerror}), so writing is not safe"
        raise JournalLockedError(f"{shown}: {why}. {mend}, or move the journal to a local disk") from None
    return fd


def _refused(error: OSError, path: str, mend: str) -> JournalError:
    shown = printable(path)
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return JournalMissingError(f"{shown}: no such file, or no such folder to make it in")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP):
        return JournalReadOnlyError(f"{shown}: {error.strerror}. {mend}")
    return JournalWriteError(f"{shown}: {error.strerror}. {mend}")


def sync_fd(fd: int) -> None:
    """Make a file durable. On macOS fsync only reaches the drive's cache."""
    if sys.platform == "darwin":
        import fcntl

        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
    elif hasattr(os, "fdatasync"):
        os.fdatasync(fd)  # includes the length
    else:
        os.fsync(fd)


def sync_folder(path: str) -> None:
    """Make the names in the folder of `path` durable."""
    fd = os.open(os.path.dirname(path), os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes | memoryview, offset: int) -> None:
    """Write everything or raise OSError; a disk that is nearly full takes a part."""
    rest = memoryview(data)
    while rest:
        done = os.pwrite(fd, rest, offset)
        if done <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        rest, offset = rest[done:], offset + done


class FileStore:
    """A file, its lock beside it, and its folder.

    Symbolic links are followed once, when it is opened: two names of one file must share one lock.
    """

    def __init__(self, path: str | os.PathLike[str], *, readonly: bool) -> None:
        self.name = os.path.realpath(as_path(path, "a journal"))
        self.readonly = readonly
        self._fd = self._lock = -1
        self._corrected: dict[int, int] = {}
        self._pid = os.getpid()
        if not readonly:
            self._lock = lock(self.name + ".lock")
        try:
            self._open()
            if not readonly:
                # Left by a power cut during compaction; it may hold what was forgotten since.
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._temporary)
        except BaseException:
            self.close()
            raise

    @property
    def _temporary(self) -> str:
        return self.name + ".new"

    def _open(self) -> None:
        # Non-blocking: a FIFO of that name must not hang us.
        flags = (os.O_RDONLY if self.readonly else os.O_RDWR) | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            self._fd = os.open(self.name, flags)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno == errno.EISDIR:
                raise JournalDamagedError(f"{printable(self.name)} is not a file, so it is no journal") from None
            mend = "It cannot be read" if self.readonly else "Open it with readonly=True to look at it"
            raise _refused(error, self.name, mend) from None
        if not stat.S_ISREG(os.fstat(self._fd).st_mode):
            raise JournalDamagedError(f"{printable(self.name)} is not a file, so it is no journal")

    @property
    def exists(self) -> bool:
        return self._fd >= 0

    def place(self) -> bytes:
        return place_of(os.fstat(self._fd))

    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def read(self, offset: int, size: int) -> bytes:
        data = self._read(offset, size)
        for at, byte in self._corrected.items():
            if offset <= at < offset + len(data):
                data = data[: at - offset] + bytes([byte]) + data[at - offset + 1 :]
        return data

    def correct(self, offset: int, byte: int) -> None:
        self._corrected[offset] = byte

    def settle(self) -> None:
        self._check_owner()
        for offset, byte in self._corrected.items():
            write_all(self._fd, bytes([byte]), offset)
        self._corrected.clear()

    def _read(self, offset: int, size: int) -> bytes:
        parts = []
        while size > 0:
            try:
                part = os.pread(self._fd, size, offset)
            except OSError as error:
                shown = printable(self.name)
                raise JournalDamagedError(
                    f"{shown}: cannot be read at byte {offset}: {error.strerror}. `edgemeta repair {shown}` "
                    "recovers what can be read"
                ) from None
            if not part:
                break
            parts.append(part)
            offset, size = offset + len(part), size - len(part)
        return b"".join(parts)

    def _check_owner(self) -> None:
        if os.getpid() != self._pid:
            raise JournalError(
                f"{printable(self.name)} was opened before a fork; the child must open it itself (readonly=True)"
            )

    def _check_same(self, size: int | None = None) -> None:
        mine = os.fstat(self._fd)
        try:
            named = os.stat(self.name)
        except FileNotFoundError:
            named = None
        same = named is not None and (named.st_dev, named.st_ino) == (mine.st_dev, mine.st_ino)
        if not same or (size is not None and mine.st_size != size):
            # Something that takes no lock: a backup restored over it, a deletion, an editor.
            raise OSError(errno.ESTALE, "the file was changed or replaced by another program; open it again")

    def append(self, offset: int, data: bytes) -> None:
        self._check_owner()
        self._check_same(offset)
        write_all(self._fd, data, offset)

    def truncate(self, size: int) -> None:
        self._check_owner()
        os.ftruncate(self._fd, size)

    def sync(self) -> None:
        self._check_owner()
        sync_fd(self._fd)

    def replace(self, make: Callable[[bytes], Iterable[bytes]]) -> None:
        self._check_owner()
        if self._fd >= 0:
            self._check_same()
        fd = os.open(self._temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, NEW_MODE)
        try:
            if self._fd >= 0:
                self._keep_owner(fd)
            offset = 0
            for data in make(place_of(os.fstat(fd))):
                write_all(fd, data, offset)
                offset += len(data)
            sync_fd(fd)
            os.replace(self._temporary, self.name)
        except BaseException:
            os.close(fd)
            with contextlib.suppress(OSError):
                os.unlink(self._temporary)
            raise
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = fd
        self._corrected.clear()
        sync_folder(self.name)

    def _keep_owner(self, fd: int) -> None:
        info = os.fstat(self._fd)
        os.fchmod(fd, stat.S_IMODE(info.st_mode))
        with contextlib.suppress(OSError):  # only root can give a file away
            os.fchown(fd, info.st_uid, info.st_gid)

    def renewed(self) -> Store | None:
        mine = os.fstat(self._fd)
        try:
            named = os.stat(self.name)
        except OSError:
            return None
        same = (named.st_dev, named.st_ino) == (mine.st_dev, mine.st_ino)
        return None if same else FileStore(self.name, readonly=True)

    def close(self) -> None:
        fds, self._fd, self._lock = (self._fd, self._lock), -1, -1
        for fd in fds:
            if fd >= 0:
                os.close(fd)
