"""Merge two devices: each learns something, then both know everything.

Merging is a set union in which forgetting wins: the order does not matter, and merging twice changes nothing.
"""

import tempfile
from pathlib import Path

from edgemeta import Learner
from edgemeta.data import Digits

folder = Path(tempfile.mkdtemp())
digits = Digits().load()

with Learner("glyphs", folder / "kitchen.learned") as kitchen:
    kitchen.learn_many(digits.pixels[digits.members()[2][:5]], "two")

with Learner("glyphs", folder / "workshop.learned") as workshop:
    workshop.learn_many(digits.pixels[digits.members()[6][:5]], "six")
    came = workshop.merge(folder / "kitchen.learned")
    print(f"{came} examples came from the kitchen; known now: {workshop.counts}")
    print(f"merging again brings {workshop.merge(folder / 'kitchen.learned')}")
    print(f"a two is taken for a {workshop.predict(digits.pixels[digits.members()[2][50]]).label}")
