"""A camera loop with a vote over frames, because the label of a single frame flickers.

With OpenCV installed (`pip install opencv-python`) and `--camera`, frames come from the camera in BGR; otherwise a
stand-in shows noisy digits. The vote averages the confidences of the last ten frames and answers when they agree.
"""

import collections
import sys
from collections.abc import Iterator

import numpy as np

from edgemeta import Learner
from edgemeta.data import Digits

FRAMES = 10
SURE = 0.5


def camera() -> Iterator[np.ndarray]:
    """Frames of the first camera, BGR."""
    import cv2

    capture = cv2.VideoCapture(0)
    while True:
        ok, frame = capture.read()
        if not ok:
            return
        yield frame


digits = Digits().load(64, 64)
rng = np.random.default_rng(0)


def seen(image: int) -> np.ndarray:
    """A digit as a noisy camera shows it, BGR."""
    noisy = digits.pixels[image] + rng.normal(0, 15, (64, 64))
    return np.repeat(np.clip(noisy, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def stand_in() -> Iterator[np.ndarray]:
    """Sixty frames of a digit that changes halfway."""
    for number in range(60):
        yield seen(rng.choice(digits.members()[3 if number < 30 else 8][1::15]))


learner = Learner("glyphs", channels="bgr")
for members, name in zip(digits.members(), digits.classes, strict=True):
    learner.learn_many([seen(i) for i in members[::15][:10]], name)  # taught as it will be seen

last: collections.deque[dict[str, float]] = collections.deque(maxlen=FRAMES)
shown = None
flickers, before = 0, None
for frame in camera() if "--camera" in sys.argv else stand_in():
    prediction = learner.predict(frame)
    flickers += before is not None and prediction.label != before
    before = prediction.label
    last.append({label: confidence or 0.0 for label, _, confidence in prediction.ranked})
    vote = {label: sum(frame[label] for frame in last) / len(last) for label in learner.labels}
    winner = max(vote, key=lambda label: vote[label])
    if len(last) == FRAMES and vote[winner] > SURE and winner != shown:
        shown = winner
        print(f"I see a {winner} ({vote[winner]:.0%})")
print(f"single frames changed their mind {flickers} times")
