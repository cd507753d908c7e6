"""What opening a journal needs beside the journal: the options, the first bytes, the words for a refusal."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..errors import JournalMismatchError, JournalMissingError, JournalWriteError, OptionError
from ..terminal import printable
from .header import HEADER_SIZE, MAX_DIM, Header
from .ids import new_uuid
from .store import Store

Sync = Literal["call", "manual", "never"]
SYNCS = ("call", "manual", "never")


@dataclass(frozen=True)
class Recovered:
    """A torn end that was found: from byte `offset` on `size` bytes, `records` whole records among them."""

    offset: int
    size: int
    records: int

    def __str__(self) -> str:
        return f"{self.size} bytes from byte {self.offset} on, {self.records} whole records in them"


def check_options(embedding_id: bytes, dim: int, sync: str) -> None:
    """Raises OptionError."""
    if not isinstance(embedding_id, bytes) or len(embedding_id) != 32:
        raise OptionError("embedding_id: 32 bytes are needed")
    if isinstance(dim, bool) or not isinstance(dim, (int, np.integer)) or not 1 <= dim <= MAX_DIM:
        raise OptionError(f"dim: 1 to {MAX_DIM}, not {dim!r}")
    check_sync(sync)


def check_sync(sync: str) -> None:
    """Raises OptionError."""
    if sync not in SYNCS:
        raise OptionError(f"sync: one of {', '.join(SYNCS)}, not {sync!r}")


def check_backbone(name: str, header: Header, embedding_id: bytes, dim: int) -> None:
    """Raises JournalMismatchError where a journal is of another backbone."""
    if (header.embedding_id, header.dim) != (embedding_id, dim):
        raise JournalMismatchError(
            f"{printable(name)} holds embeddings of {header.dim} numbers of the backbone "
            f"{header.embedding_id.hex()[:12]}; this one is {embedding_id.hex()[:12]} with {dim}. Open it "
            "with the bundle it was taught with, or `edgemeta relearn` if its inputs were kept"
        )


def check_targets(name: str, found: set[int], wanted: int | None) -> None:
    """Whether a journal's examples are all of the kind that is wanted. Raises JournalMismatchError.

    found: how many numbers the targets of its examples have; wanted: how many they should have, 0 for examples
    without a target, None where any will do.
    """
    other = sorted(found - {wanted})
    if wanted is None or not other:
        return
    name = printable(name)
    if 0 in other:
        raise JournalMismatchError(f"{name} was taught classes, not numbers: open it with a Learner, not a Regressor")
    kind = f"was taught to predict {other[0]} number{'s' if other[0] > 1 else ''}"
    hint = "not a Learner" if wanted == 0 else f"not targets={wanted}"
    raise JournalMismatchError(f"{name} {kind}: open it with Regressor(..., targets={other[0]}), {hint}")


def create(store: Store, embedding_id: bytes, dim: int, volatile: bool) -> None:
    """Make an empty journal. Raises JournalMissingError, JournalWriteError."""
    salt, uuid = int.from_bytes(os.urandom(8), "little"), new_uuid()
    try:
        store.replace(lambda place: [Header(dim, uuid, embedding_id, place, 1, HEADER_SIZE, salt, volatile).encode()])
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise JournalMissingError(f"{printable(store.name)}: there is no such folder") from None
        raise refused(store, error, "Make room, or name a folder that can be written") from None


def refused(store: Store, error: OSError, mend: str) -> JournalWriteError:
    """The error for what the system would not write."""
    why = error.strerror or str(error)
    refusal = JournalWriteError(f"{printable(store.name)} could not be written: {why}. {mend}")
    refusal.errno = error.errno
    return refusal
