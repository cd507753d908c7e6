"""The module that is exported: sensor pixels in, embedding out, batch norm folded."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

# ITU-R BT.601, what Pillow's convert("L") and every camera's luma use.
LUMA = (0.299, 0.587, 0.114)


class PixelsToEmbedding(nn.Module):
    """uint8 (N, H, W, 3) RGB to float32 (N, D): the trainer's `to_ink` scaling, then the folded backbone."""

    luma: Tensor

    def __init__(self, backbone: nn.Module, channels: int) -> None:
        super().__init__()
        self.backbone = fold_batch_norm(backbone)
        self.channels = channels
        self.register_buffer("luma", torch.tensor(LUMA)[:, None])

    def forward(self, pixels: Tensor) -> Tensor:
        x = pixels.to(torch.float32)
        if self.channels == 1:
            # Grey pixels are replicated, and weights that sum to 1 give them back.
            x = x @ self.luma
        x = 1.0 - x / 255.0
        # Contiguous, though no graph shows it: torch gives the average of a whole map strides of its own in a map
        # that is not, and exports them as a Gather that no other format knows.
        return self.backbone(x.permute(0, 3, 1, 2).contiguous())  # type: ignore[no-any-return]


def fold_batch_norm(backbone: nn.Module) -> nn.Module:
    """A copy in evaluation mode whose (Conv2d, BatchNorm2d) pairs in a Sequential are one Conv2d each."""
    folded = copy.deepcopy(backbone).eval()
    for module in folded.modules():
        if not isinstance(module, nn.Sequential):
            continue
        names = list(module._modules)
        for first, second in pairwise(names):
            conv, norm = module._modules[first], module._modules[second]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                module._modules[first] = nn.utils.fusion.fuse_conv_bn_eval(conv, norm)
                module._modules[second] = nn.Identity()
    return folded


class ScaledPixels(nn.Module):
    """uint8 (N, H, W, 3) RGB to float32 (N, D): pixels in 0 to 1, less `mean`, over `std`, into the module."""

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.backbone = fold_batch_norm(backbone)
        self.register_buffer("mean", torch.tensor([float(x) for x in mean]))
        self.register_buffer("std", torch.tensor([float(x) for x in std]))

    def forward(self, pixels: Tensor) -> Tensor:
        x = (pixels.to(torch.float32) / 255.0 - self.mean) / self.std
        y = self.backbone(x.permute(0, 3, 1, 2).contiguous())
        # What was pooled to one pixel is a vector.
        return y.flatten(1) if y.ndim == 4 and y.shape[2:] == (1, 1) else y  # type: ignore[no-any-return]
