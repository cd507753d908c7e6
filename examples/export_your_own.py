"""Export your own network: any torch module becomes a bundle, in float and int8, for ONNX Runtime and LiteRT.

Needs the workshop (`pip install "edgemeta[train]"`). The module takes float images (N, 3, H, W) and gives one vector
each. int8 is calibrated on images like those of the device; `verify` runs every variant and says what it costs. The
same from a shell for a training run or a timm model:

    edgemeta export timm:mobilenetv3_small_100 --weights FILE --out v3.edgemeta \\
        --format onnx --format tflite --precision fp32,int8 --calibrate folder:DIR
    edgemeta verify v3.edgemeta --data folder:OTHER
"""

import tempfile
from pathlib import Path

import torch
from torch import nn

from edgemeta import Learner
from edgemeta.data import Digits
from edgemeta.export import export
from edgemeta.export.verifying import verify

network = nn.Sequential(  # yours here, trained
    *(nn.Conv2d(3, 16, 5, 2), nn.ReLU(), nn.Conv2d(16, 64, 5, 2), nn.ReLU()),
    *(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
).eval()
digits = Digits().load(32, 32)
bundle = export(
    network,
    Path(tempfile.mkdtemp()) / "mine.edgemeta",
    example_input=torch.zeros(1, 3, 32, 32),
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    formats=["onnx", "tflite"],
    precisions=["fp32", "int8"],
    calibrate=digits.pixels[::10],
)
for check in verify(bundle):
    print(f"{check.variant}: {check.nbytes} bytes, worst cosine {check.cosine:.4f}, {'ok' if check.ok else check.why}")

learner = Learner(bundle, variant="tflite-int8")
learner.learn(digits.pixels[0], digits.classes[digits.labels[0]])
print(learner.predict(digits.pixels[0]).label)
