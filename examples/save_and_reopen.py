"""Save and reopen: give the learner a file, and what it was taught outlives the program.

Every call is on the disk when it returns; a cut of power loses at most the call that had not returned.
"""

import tempfile
from pathlib import Path

from edgemeta import Learner
from edgemeta.data import Digits

file = Path(tempfile.mkdtemp()) / "digits.learned"
digits = Digits().load()

with Learner("glyphs", file) as learner:
    for members, name in zip(digits.members(), digits.classes, strict=True):
        learner.learn_many(digits.pixels[members[:5]], name)

with Learner("glyphs", file) as learner:  # another day, another process
    print(f"still known: {learner.counts}")
    print(f"a new image: {learner.predict(digits.pixels[1500]).label}, it is a {digits.labels[1500]}")
    print(f"the file has {file.stat().st_size} bytes")
