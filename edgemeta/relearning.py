"""Moving what was taught to a new backbone, from the inputs that `keep="input"` stored."""

from __future__ import annotations

import os

from .errors import JournalError
from .journal import Journal
from .learner import Learner
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

    Returns how many. Raises JournalError when an example has no stored input, or when `new` exists.
    """
    if os.path.exists(new):
        raise JournalError(f"{printable(os.fspath(new))} exists already; name a new file")
    with Journal.peek(os.fspath(old)) as journal:
        ids = list(journal.live)
        if journal.seals or any(journal.example(i).input is None for i in ids):
            raise JournalError(
                "some examples were stored without their input; only what was taught with keep='input' "
                "(`edgemeta learn --keep input`) can move to another backbone"
            )
        with Learner(bundle, new, keep="input", sync="manual") as learner:
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
