"""Bounded memory: `budget` keeps that many examples singly; older ones are sealed into sums.

The sums are exact, so predictions stay those of all examples. A sealed example can no longer be forgotten alone; its
class can.
"""

import tempfile
from pathlib import Path

import numpy as np

from edgemeta import Learner

rng = np.random.default_rng(0)
centres = rng.normal(size=(2, 16))
file = Path(tempfile.mkdtemp()) / "bounded.learned"

with Learner(dim=16, journal=file, head="cosine", budget=20) as bounded, Learner(dim=16, head="cosine") as all_of_them:
    for _ in range(300):
        side = int(rng.integers(2))
        z = centres[side] + rng.normal(size=16)
        for learner in (bounded, all_of_them):
            learner.learn(z, f"side {side}")
    same = (bounded.solution().weights == all_of_them.solution().weights).all()
    print(f"{sum(bounded.counts.values())} examples, {len(bounded.examples)} of them single")
    print(f"the weights are those of all examples: {same}; the file has {file.stat().st_size} bytes")
