"""MobileNetV2 with a width of 0.35 at 96 x 96 (Sandler et al. 2018), with random weights: only for timing."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from edgemeta.bundle import Bundle, HeadRecipe, InputContract, write_bundle
from edgemeta.export.graph import PixelsToEmbedding
from edgemeta.export.onnx import FP32, to_onnx
from edgemeta.normalisation import Normalisation

SIDE, WIDTH, DIM = 96, 0.35, 1280
# Expansion, channels, repeats, stride: table 2 of the paper.
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def _conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, act: bool = True) -> nn.Module:
    layers = [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)]
    return nn.Sequential(*layers, nn.BatchNorm2d(outputs), *([nn.ReLU6()] if act else []))


class _Inverted(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        first = [_conv(inputs, wide)] if expansion > 1 else []
        self.body = nn.Sequential(*first, _conv(wide, wide, 3, stride, wide), _conv(wide, outputs, act=False))
        self.same = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.same else self.body(x)


class MobileNetV2(nn.Module):
    """The features, averaged: float (N, 3, 96, 96) to (N, 1280)."""

    def __init__(self) -> None:
        super().__init__()
        inputs = _channels(32 * WIDTH)
        layers = [_conv(3, inputs, 3, 2)]
        for expansion, channels, repeats, stride in STAGES:
            outputs = _channels(channels * WIDTH)
            for i in range(repeats):
                layers.append(_Inverted(inputs, outputs, stride if i == 0 else 1, expansion))
                inputs = outputs
        self.features = nn.Sequential(*layers, _conv(inputs, DIM))

    def forward(self, x: Tensor) -> Tensor:
        return self.features(x).mean((2, 3))


def _channels(wanted: float) -> int:
    """A multiple of 8, at most a tenth below what is wanted."""
    found = max(8, int(wanted + 4) // 8 * 8)
    return found + 8 if found < 0.9 * wanted else found


def mobilenet_bundle(path: Path) -> Bundle:
    """Write a bundle of it."""
    torch.manual_seed(0)
    module = PixelsToEmbedding(MobileNetV2().eval(), 3).eval()
    inputs = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)
    with torch.no_grad():
        outputs = module(torch.from_numpy(inputs)).numpy()
    write_bundle(
        path,
        name="mobilenet",
        embedding_id=hashlib.sha256(b"mobilenet for timing").digest(),
        input=InputContract(SIDE, SIDE),
        normalisation=Normalisation(),
        head=HeadRecipe("ridge"),
        variants=[(FP32, to_onnx(module, SIDE, SIDE))],
        golden_inputs=inputs,
        golden_outputs=outputs,
        licences=[],
        training={},
    )
    return Bundle.open(path)
