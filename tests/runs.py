"""A training run of seconds, for the tests of meta-training."""

from __future__ import annotations

from pathlib import Path

import torch

from edgemeta.meta import checkpoint
from edgemeta.meta.config import TrainConfig

SMALL = TrainConfig(
    data=("digits",),
    method="protonet",
    backbone="conv4",
    backbone_options={"width": 8},
    size=16,
    steps=8,
    ways=4,
    queries=3,
    batch=16,
    held_out=4,
)


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return checkpoint.read_tensors(folder / "model.safetensors")[0]


def same_weights(a: Path, b: Path) -> bool:
    """Whether two runs ended with the very same numbers."""
    one, two = tensors(a), tensors(b)
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)
