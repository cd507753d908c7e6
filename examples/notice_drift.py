"""Notice drift: an alarm, without labels, when what the camera shows is no longer what it used to show.

`baseline` takes frames of the stream itself, in order, for taught examples are not the stream. From then on every
`predict` is watched, and `watch` takes frames without predicting. `rate` is how many false alarms per 10,000 frames you
can live with; neighbouring frames may be alike, the alarm knows. Show it all that is usual: the more different scenes
the baseline holds, the smaller the change that is found.
"""

import numpy as np

from edgemeta import Learner
from edgemeta.data import Digits

digits = Digits().load(32, 32)
rng = np.random.default_rng(0)


def stream(frames: int, lens: float = 0.0) -> np.ndarray:
    """A camera that looks at one digit for about five frames, then at another; `lens` is how dirty it is."""
    looks = np.flatnonzero(rng.random(frames) < 0.2)
    scene = rng.integers(len(digits.pixels), size=frames)[looks[np.searchsorted(looks, np.arange(frames)) - 1]]
    return (digits.pixels[scene] * (1 - lens) + 255 * lens / 2).astype(np.uint8)


learner = Learner("glyphs")
for members, name in zip(digits.members(), digits.classes, strict=True):
    learner.learn_many(digits.pixels[members[:5]], name)

learner.baseline(stream(1500), rate=1.0)
print("clean lens:", learner.watch(stream(1000)))

for i, frame in enumerate(stream(1000, lens=0.6)):
    learner.predict(frame)
    if learner.drift.alarm:
        print(f"noticed after {i + 1} frames with a dirty lens")
        print("dirty lens:", learner.drift)
        break
