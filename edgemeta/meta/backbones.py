"""Backbones: Conv-4 (Vinyals et al. 2016) and a small residual network. Input float (N, C, S, S), output (N, D)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from itertools import pairwise

import torch
from torch import Tensor, nn

from ..errors import OptionError
from ..terminal import printable


def _conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs))


class Conv4(nn.Module):
    """Four blocks of 3 x 3 convolution, batch norm, ReLU and 2 x 2 max pooling; the last map is flattened."""

    def __init__(self, *, channels: int, size: int, width: int = 64) -> None:
        super().__init__()
        if size < 16:
            raise OptionError(f"conv4 halves its input four times: the size must be at least 16, not {size}")
        blocks: list[nn.Module] = []
        for inputs in (channels, width, width, width):
            blocks += [_conv(inputs, width), nn.ReLU(), nn.MaxPool2d(2)]
        self.body = nn.Sequential(*blocks)
        self.dim = width * (size // 16) ** 2

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).flatten(1)  # type: ignore[no-any-return]


class _Residual(nn.Module):
    """Two 3 x 3 convolutions beside a 1 x 1 shortcut, then 2 x 2 max pooling where `pool` says so."""

    def __init__(self, inputs: int, outputs: int, *, pool: bool) -> None:
        super().__init__()
        self.first, self.second = _conv(inputs, outputs), _conv(outputs, outputs)
        self.shortcut = _conv(inputs, outputs, 1)
        self.act = nn.ReLU()
        self.pool: nn.Module = nn.MaxPool2d(2) if pool else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(self.act(self.first(x))) + self.shortcut(x)
        return self.pool(self.act(y))  # type: ignore[no-any-return]


class SmallResNet(nn.Module):
    """A strided 5 x 5 stem, three residual blocks, and a neck: a 1 x 1 convolution to `neck` channels.

    The last map is averaged to `grid` x `grid` and flattened, so the embedding has neck * grid^2 numbers. A grid
    above 1 keeps where on the page a stroke was, which a global average forgets.
    """

    def __init__(self, *, channels: int, size: int, width: int = 32, grid: int = 3, neck: int = 48) -> None:
        super().__init__()
        last = (size + 1) // 2 // 2 // 2
        if last < grid:
            raise OptionError(f"resnet: a size of {size} leaves a map of {last} x {last}, less than grid={grid}")
        widths = (width, width * 3 // 2, width * 2, width * 21 // 8)
        self.stem = nn.Sequential(_conv(channels, widths[0], 5, 2), nn.ReLU())
        self.blocks = nn.Sequential(*(_Residual(a, b, pool=b != widths[-1]) for a, b in pairwise(widths)))
        # Overlapping windows, so that any map divides.
        self.pool = nn.AvgPool2d(last - grid + 1, 1)
        self.neck = _conv(widths[-1], neck, 1)
        self.dim = neck * grid * grid

    def forward(self, x: Tensor) -> Tensor:
        return self.neck(self.pool(self.blocks(self.stem(x)))).flatten(1)  # type: ignore[no-any-return]


BACKBONES: dict[str, Callable[..., nn.Module]] = {"conv4": Conv4, "resnet": SmallResNet}


def check_names(name: str, options: Iterable[str]) -> None:
    """Raises OptionError for a backbone, or an option of it, that does not exist."""
    if name not in BACKBONES:
        raise OptionError(f"unknown backbone {printable(name)!r}; known are {', '.join(BACKBONES)}")
    known = [option for option in inspect.signature(BACKBONES[name]).parameters if option not in ("channels", "size")]
    if unknown := [printable(option) for option in options if option not in known]:
        raise OptionError(f"{name} has no option {', '.join(unknown)}; known are {', '.join(known)}")


def build(name: str, *, channels: int, size: int, **options: int) -> nn.Module:
    """A backbone by name; its attribute `dim` is the embedding's length. Raises OptionError."""
    check_names(name, options)
    if channels not in (1, 3):
        raise OptionError(f"images have 1 (grey) or 3 (RGB) channels, not {channels}")
    torch.manual_seed(0)  # the trainer seeds again; this keeps a bare build() reproducible
    return BACKBONES[name](channels=channels, size=size, **options)
