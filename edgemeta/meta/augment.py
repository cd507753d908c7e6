"""Augmentation of images on the fly: an affine map with a smooth warp, pen width, blur, coarse sensors, light, grain.

Acts on float "ink" images (N, C, S, S), 0 for paper and 1 for ink (any image works; the names are of characters).
Every random number comes from the generator given, so that a step can be repeated exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor


@dataclass(frozen=True)
class Augmentation:
    """How strongly images are changed; lengths as a share of half the image's side, angles in degrees."""

    rotate: float = 12.0
    scale: float = 0.20
    shear: float = 0.20
    shift: float = 0.15
    warp: float = 0.10
    pen: float = 0.35  # the share of images whose pen is made wider or thinner
    coarse: float = 0.12  # the share of images seen through a coarse sensor of 7 to 14 pixels
    light: float = 0.25  # the share of images whose paper is greyer and whose ink is paler
    grain: float = 0.30  # the share of images with a camera's noise, of a standard deviation of up to 0.12

    def __call__(self, x: Tensor, rng: Generator) -> Tensor:
        x = F.grid_sample(x, self._grid(x, rng), align_corners=False, padding_mode="zeros")
        if self.pen > 0:
            x = _pen(x, self.pen, rng)
        if self.coarse > 0:
            x = _coarse(x, self.coarse, rng)
        if self.light > 0:
            x = _light(x, self.light, rng)
        if self.grain > 0:
            x = _grain(x, self.grain, rng)
        return x

    def _grid(self, x: Tensor, rng: Generator) -> Tensor:
        n, size = len(x), x.shape[-1]

        def spread(*shape: int) -> Tensor:
            return torch.rand(n, *shape, generator=rng) * 2 - 1

        angle = spread() * math.radians(self.rotate)
        sx, sy = torch.exp(spread() * self.scale), torch.exp(spread() * self.scale)
        shear = spread() * self.shear
        cos, sin = angle.cos(), angle.sin()
        theta = torch.empty(n, 2, 3)
        theta[:, 0, 0], theta[:, 0, 1] = cos * sx, (cos * shear - sin) * sy
        theta[:, 1, 0], theta[:, 1, 1] = sin * sx, (sin * shear + cos) * sy
        theta[:, :, 2] = spread(2) * self.shift
        grid = F.affine_grid(theta, [n, 1, size, size], align_corners=False)
        if self.warp > 0:
            coarse = torch.randn(n, 2, 4, 4, generator=rng) * (self.warp * torch.rand(n, 1, 1, 1, generator=rng))
            warp = F.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=True)
            grid = grid + warp.permute(0, 2, 3, 1)
        return grid.to(x.device)


def _pen(x: Tensor, share: float, rng: Generator) -> Tensor:
    """Widen or thin the strokes of some images by a part of a pixel, or blur them."""
    pick = torch.rand(len(x), generator=rng)
    part = torch.rand(len(x), 1, 1, 1, generator=rng).to(x.device)
    x = x.clone()
    third = share / 3
    for low, change in ((0.0, _wider), (third, _thinner), (2 * third, _blurred)):
        chosen = ((pick >= low) & (pick < low + third)).nonzero()[:, 0].to(x.device)
        if len(chosen):
            x[chosen] = torch.lerp(x[chosen], change(x[chosen]), part[chosen])
    return x


def _wider(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 3, 1, 1)


def _thinner(x: Tensor) -> Tensor:
    return -F.max_pool2d(-x, 3, 1, 1)


def _blurred(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, 1, 1)


def _coarse(x: Tensor, share: float, rng: Generator) -> Tensor:
    """Show some images as a sensor of few pixels would: averaged down, then interpolated up."""
    pick = torch.rand(len(x), generator=rng)
    side = int(torch.randint(7, 15, (1,), generator=rng))
    chosen = (pick < share).nonzero()[:, 0].to(x.device)
    if not len(chosen) or side >= x.shape[-1]:
        return x
    small = F.interpolate(x[chosen], size=(side, side), mode="area")
    x = x.clone()
    # A sensor stretches what it saw to its full range.
    small = small / small.amax((1, 2, 3), keepdim=True).clamp_min(0.2)
    x[chosen] = F.interpolate(small, size=x.shape[-2:], mode="bilinear", align_corners=False)
    return x


def _light(x: Tensor, share: float, rng: Generator) -> Tensor:
    """Some images with paper of up to 0.15 and with the range from paper to ink down to 0.6 of its width."""
    pick = torch.rand(len(x), 1, 1, 1, generator=rng) < share
    paper = torch.where(pick, 0.15 * torch.rand(len(x), 1, 1, 1, generator=rng), 0.0).to(x.device)
    width = torch.where(pick, 1.0 - 0.4 * torch.rand(len(x), 1, 1, 1, generator=rng), 1.0).to(x.device)
    return (paper + width * x).clamp(0.0, 1.0)


def _grain(x: Tensor, share: float, rng: Generator) -> Tensor:
    """Normal noise on some images, cut off where a sensor cuts off."""
    pick = torch.rand(len(x), generator=rng) < share
    chosen = pick.nonzero()[:, 0]
    if not len(chosen):
        return x
    sigma = 0.12 * torch.rand(len(chosen), 1, 1, 1, generator=rng)
    noise = (sigma * torch.randn(len(chosen), *x.shape[1:], generator=rng)).to(x.device)
    chosen = chosen.to(x.device)
    x = x.clone()
    x[chosen] = (x[chosen] + noise).clamp(0.0, 1.0)
    return x
