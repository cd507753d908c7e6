"""A disk that loses power. It stands in for the module `os` in the journal's file store.

What was not synced is, sector by sector, written, lost, zeroed, 0xFF or torn; truncations may be lost; renames
that the folder's sync has not covered may be lost, in order. Bytes that were synced stay, also those that share
a sector with later ones: a file system writes such a sector again with the old bytes in it.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import os as real
import stat as real_stat
from types import SimpleNamespace

SECTOR = 128
FATES = ("written", "lost", "zero", "ff", "torn")
FOLDER = "/disk"
PATH = FOLDER + "/a.learned"


class Inode:
    def __init__(self, number, data=b""):
        self.number, self.now, self.durable, self.pending = number, bytearray(data), bytes(data), []


class Disk:
    """Give it to `edgemeta.journal.store.os`. `snapshots` holds what was pending before every operation."""

    O_RDWR, O_RDONLY, O_CREAT, O_EXCL = real.O_RDWR, real.O_RDONLY, real.O_CREAT, real.O_EXCL
    O_CLOEXEC, O_NONBLOCK, O_NOFOLLOW = real.O_CLOEXEC, real.O_NONBLOCK, real.O_NOFOLLOW
    PathLike, strerror, urandom = real.PathLike, staticmethod(real.strerror), staticmethod(real.urandom)
    path = SimpleNamespace(realpath=lambda p: p, dirname=real.path.dirname)
    fspath = staticmethod(real.fspath)
    getpid = staticmethod(real.getpid)

    def __init__(self, files=()):
        self.names = {name: Inode(number, data) for name, number, data in files}
        self.counter = itertools.count(1 + max((number for _, number, _ in files), default=0))
        self.durable_names, self.pending_names = dict(self.names), []
        self.fds, self.next_fd = {}, itertools.count(1000)
        self.snapshots, self.mark = [], None
        self.phase = 0  # where sectors begin
        self.room = 1 << 30  # bytes that one write takes before the disk is full

    # ---- what the store calls

    def open(self, path, flags, mode=0o600):
        if path == FOLDER:
            fd = next(self.next_fd)
            self.fds[fd] = None
            return fd
        if path not in self.names:
            if not flags & self.O_CREAT:
                raise FileNotFoundError(errno.ENOENT, "no such file")
            self._snap()
            self._rename({**self.names, path: Inode(next(self.counter))})
        elif flags & self.O_EXCL:
            raise FileExistsError(errno.EEXIST, "exists")
        fd = next(self.next_fd)
        self.fds[fd] = self.names[path]
        return fd

    def close(self, fd):
        self.fds.pop(fd, None)  # a journal of an earlier disk may be collected late

    def pread(self, fd, size, offset):
        return bytes(self.fds[fd].now[offset : offset + size])

    def pwrite(self, fd, data, offset):
        self._snap()
        inode, data = self.fds[fd], bytes(data)
        if not self.room:
            raise OSError(errno.ENOSPC, "disk full")
        data = data[: self.room]
        self.room -= len(data)
        total = len(data)
        while data:
            size = SECTOR - (offset - self.phase) % SECTOR
            inode.pending.append(("write", offset, data[:size]))
            _put(inode.now, offset, data[:size])
            offset, data = offset + len(data[:size]), data[size:]
        self._snap()
        return total

    def ftruncate(self, fd, size):
        self._snap()
        self.fds[fd].pending.append(("truncate", size, b""))
        del self.fds[fd].now[size:]
        self._snap()

    def fdatasync(self, fd):
        self._snap()
        self.fds[fd].durable, self.fds[fd].pending = bytes(self.fds[fd].now), []
        self._snap()

    def fsync(self, fd):
        if self.fds[fd] is not None:
            return self.fdatasync(fd)
        self._snap()
        self.durable_names, self.pending_names = dict(self.names), []
        self._snap()
        return None

    def fstat(self, fd):
        return self._info(self.fds[fd])

    def stat(self, path):
        if path not in self.names:
            raise FileNotFoundError(errno.ENOENT, "no such file")
        return self._info(self.names[path])

    def _info(self, inode):
        return SimpleNamespace(
            st_dev=1, st_ino=inode.number, st_size=len(inode.now), st_mode=real_stat.S_IFREG | 0o600, st_uid=0, st_gid=0
        )

    def fchmod(self, *_):
        pass

    fchown = fchmod

    def replace(self, old, new):
        self._snap()
        names = {**self.names, new: self.names[old]}
        del names[old]
        self._rename(names)
        self._snap()

    def unlink(self, path):
        if path not in self.names:
            raise FileNotFoundError(errno.ENOENT, "no such file")
        self._snap()
        self._rename({name: inode for name, inode in self.names.items() if name != path})

    def _rename(self, names):
        self.names = names
        self.pending_names.append(dict(names))

    # ---- what the tests call

    def _snap(self):
        inodes = {i.number: (i.durable, tuple(i.pending)) for i in self.names.values()}
        versions = [self.durable_names, *self.pending_names]
        for version in versions:
            inodes.update({i.number: (i.durable, tuple(i.pending)) for i in version.values()})
        names = tuple({name: i.number for name, i in version.items()} for version in versions)
        self.snapshots.append((self.mark, names, inodes))


def place(info):
    return hashlib.sha256(b"%d" % info.st_ino).digest()[:16]


def _put(data, offset, piece):
    if len(data) < offset:
        data.extend(bytes(offset - len(data)))
    data[offset : offset + len(piece)] = piece


def _after(durable, pending, fates):
    data = bytearray(durable)
    for (kind, offset, piece), fate in zip(pending, fates, strict=True):
        if fate == "lost":
            continue
        if kind == "truncate":
            del data[offset:]
            continue
        shown = {
            "written": piece,
            "zero": bytes(len(piece)),
            "ff": b"\xff" * len(piece),
            "torn": piece[: len(piece) // 2] + bytes(len(piece) - len(piece) // 2),
        }[fate]
        _put(data, offset, shown)
    return bytes(data)


def images(snapshot, rng, limit, fates=FATES):
    """The different files that a cut at `snapshot` may leave: all when they are at most `limit`, else a sample."""
    _, versions, inodes = snapshot
    found = set()
    for names in versions:
        files = list(names.items())
        pending = [op for _, number in files for op in inodes[number][1]]
        choices = [fates if op[0] == "write" else ("written", "lost") for op in pending]
        count = 1
        for choice in choices:
            count *= len(choice)
        if count <= limit:
            picked = itertools.product(*choices)
        else:
            picked = ([rng.choice(choice) for choice in choices] for _ in range(limit))
        for fate in picked:
            fate, left = list(fate), []
            for name, number in files:
                durable, ops = inodes[number]
                mine, fate = fate[: len(ops)], fate[len(ops) :]
                left.append((name, number, _after(durable, ops, mine)))
            found.add(tuple(sorted(left)))
    return sorted(found)
