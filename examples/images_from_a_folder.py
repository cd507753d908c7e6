"""Images from a folder: one sub-folder a class.

Needs Pillow (`pip install "edgemeta[images]"`). Without an argument it makes a small folder to work on.
"""

import sys
import tempfile
from pathlib import Path

from edgemeta import Learner


def make_folder() -> Path:
    """Draw a few digits as PNG files, so that this example runs as it is."""
    from PIL import Image

    from edgemeta.data import Digits

    root = Path(tempfile.mkdtemp())
    digits = Digits().load()
    for name, members in zip(digits.classes, digits.members(), strict=True):
        (root / name).mkdir()
        for i in members[:6]:
            Image.fromarray(digits.pixels[i]).save(root / name / f"{i}.png")
    return root


root = Path(sys.argv[1]) if len(sys.argv) > 1 else make_folder()
learner = Learner("glyphs")
held_back = []
for folder in sorted(p for p in root.iterdir() if p.is_dir()):
    first, *others = sorted(folder.iterdir())
    learner.learn_many(others, folder.name)
    held_back.append((first, folder.name))

right = sum(learner.predict(path).label == truth for path, truth in held_back)
print(f"taught {sum(learner.counts.values())} images of {len(learner.labels)} classes")
print(f"right on {right} of {len(held_back)} images held back")
