"""One program teaches, another one watches: readers take no lock and reload when they like."""

import tempfile
from pathlib import Path

from edgemeta import Learner
from edgemeta.data import Digits
from edgemeta.errors import JournalLockedError

file = Path(tempfile.mkdtemp()) / "shared.learned"
digits = Digits().load()

with Learner("glyphs", file) as teacher:
    teacher.learn_many(digits.pixels[digits.members()[5][:3]], "five")
    with Learner("glyphs", file, readonly=True) as watcher:
        print(f"the watcher knows {watcher.labels}")
        teacher.learn_many(digits.pixels[digits.members()[6][:3]], "six")
        print(f"something new: {watcher.reload()}, now {watcher.labels}")
    try:
        Learner("glyphs", file)
    except JournalLockedError as error:
        print(f"a second teacher is refused: {type(error).__name__}")
