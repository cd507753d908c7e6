"""Wrap a model that was trained elsewhere: an ONNX or TFLite file becomes a bundle, cut at the tensor to learn from.

On the command line `edgemeta wrap classifier.onnx` lists the tensors that could be the embedding, best first, and
`edgemeta wrap classifier.onnx --output auto --scale imagenet --out mine.edgemeta` writes the bundle. A quantised TFLite
file says by itself how its pixels are scaled; for other files who trained the model knows. Here the model is a
stand-in with random weights (so it needs the workshop, `pip install "edgemeta[train]"`; wrapping needs no torch).
"""

import tempfile
from pathlib import Path

import torch
from torch import nn

from edgemeta import Learner
from edgemeta.data import Digits
from edgemeta.export.wrap import open_model, wrap

folder = Path(tempfile.mkdtemp())
torch.manual_seed(0)
layers = [nn.Conv2d(3, 64, 7, 3), nn.ReLU(), nn.Conv2d(64, 256, 3, 2), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten()]
classifier = nn.Sequential(*layers, nn.Linear(256, 1000), nn.Softmax(1)).eval()
example = torch.zeros(1, 3, 28, 28)
torch.onnx.export(classifier, (example,), folder / "classifier.onnx", dynamo=True, external_data=False, verbose=False)

model, _ = open_model(folder / "classifier.onnx")
for candidate in model.candidates.best:
    print(f"{candidate.size} numbers: {candidate.look}")
bundle = wrap(folder / "classifier.onnx", folder / "mine.edgemeta", output="auto", scale="0..1")

learner = Learner(bundle)
digits = Digits().load()
for members, name in zip(digits.members(), digits.classes, strict=True):
    learner.learn_many(digits.pixels[members[:20]], name)
tested = [i for members in digits.members() for i in members[20:60]]
found = learner.predict_many(digits.pixels[tested])
right = sum(p.label == digits.classes[digits.labels[i]] for p, i in zip(found, tested, strict=True))
print(f"{bundle}: {right / len(tested):.0%} right")
