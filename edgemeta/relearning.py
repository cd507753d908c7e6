"""Moving what was taught to a new backbone, from the inputs that `keep="input"` stored."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from .bundle import Bundle
from .errors import JournalError
from .journal import Journal
from .journal.store import lock, sync_folder
from .learner import Learner
from .options import as_path
from .terminal import Progress, printable

BATCH = 64


def relearn(
    old: str | os.PathLike[str],
    bundle: str | os.PathLike[str],
    new: str | os.PathLike[str],
    *,
    progress: Progress | None = None,
) -> int:
    """Teach every stored input of the journal `old` to a learner of `bundle`, into the journal `new`.

    Returns how many. `new` appears when it is complete. Raises JournalError when an example has no stored input, or
    when `new` exists.
    """
    target = os.path.realpath(as_path(new, "a journal"))
    _must_be_new(target)
    backbone = Bundle.open(bundle)
    with Journal.peek(os.fspath(old)) as journal:
        ids = list(journal.live)
        if journal.seals or any(journal.example(i).input is None for i in ids):
            raise JournalError(
                "some examples were stored without their input; only what was taught with keep='input' "
                "(`edgemeta learn --keep input`) can move to another backbone"
            )
        with _complete_or_nothing(target) as name, Learner(backbone, name, keep="input", sync="manual") as learner:
            for start in range(0, len(ids), BATCH):
                examples = [journal.example(i) for i in ids[start : start + BATCH]]
                learner.learn_many(
                    [e.input for e in examples],
                    [e.label for e in examples],
                    group=[e.group for e in examples],
                )
                if progress:
                    progress.update(start + len(examples))
    return len(ids)


def _must_be_new(target: str) -> None:
    if os.path.lexists(target):
        raise JournalError(f"{printable(target)} exists already; name a new file")


@contextlib.contextmanager
def _complete_or_nothing(target: str) -> Iterator[str]:
    """A name to write a journal under: at the end it becomes `target`, or after an error nothing is left of it."""
    partial = target + ".part"
    # Held to the end, against another relearn into the same file and a learner that begins a journal there.
    held = lock(target + ".lock")
    try:
        _must_be_new(target)
        _remove(partial)  # of one that was killed
        yield partial
        os.replace(partial, target)
        sync_folder(target)
    finally:
        _remove(partial)
        _remove(partial + ".lock")
        os.close(held)


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
