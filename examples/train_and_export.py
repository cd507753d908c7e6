"""Train and export in ten lines: meta-train a small backbone, write a bundle, learn with it.

Needs the workshop (`pip install "edgemeta[train]"`). These few steps only show the way; `edgemeta train --minutes 20`
makes a useful backbone.
"""

import tempfile
from pathlib import Path

from edgemeta import Learner
from edgemeta.data import Digits
from edgemeta.export.bundling import export_checkpoint
from edgemeta.meta.config import TrainConfig
from edgemeta.meta.trainer import train

folder = Path(tempfile.mkdtemp())
config = TrainConfig(data=("glyphs",), method="protonet", backbone="conv4", size=28, steps=30, ways=5)
print(train(config, folder / "run", quiet=True))
bundle = export_checkpoint(folder / "run", folder / "mine.edgemeta")

learner = Learner(bundle)
digits = Digits().load()
for members, name in zip(digits.members(), digits.classes, strict=True):
    learner.learn_many(digits.pixels[members[:5]], name)
print(f"{bundle}: {learner.predict(digits.pixels[1000]).label}, it is a {digits.labels[1000]}")
