"""Bring your own embeddings: any float vector can be learned, from a sensor, a text model, anything.

`dim` is their length. They are scaled to norm 1 unless `normalisation` says otherwise.
"""

import numpy as np

from edgemeta import Learner

rng = np.random.default_rng(0)
walking, running = rng.normal(size=(2, 32))  # what two activities look like to some model of yours

learner = Learner(dim=32, head="ridge")
learner.learn_many(walking + 0.5 * rng.normal(size=(4, 32)), "walking")
learner.learn_many(running + 0.5 * rng.normal(size=(4, 32)), "running")
print(learner.predict(running + 0.5 * rng.normal(size=32)))
