"""How a model that was made elsewhere wants its pixels: (pixel - mean) / std, colours in some order, or grey."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgemeta.errors import OptionError
from edgemeta.imaging import Channels
from edgemeta.terminal import printable

# ITU-R BT.601, what Pillow's convert("L") and every camera's luma use.
LUMA = (0.299, 0.587, 0.114)
CHOICES = """\
  imagenet   torchvision's: of 0..1 minus .485, .456, .406, by .229, .224, .225
  0..1       pixel / 255
  -1..1      pixel / 127.5 - 1
  raw        the pixel, 0 to 255
  MEAN,STD   (pixel - MEAN) / STD with pixels of 0 to 255; or three means and three STDs, in the model's own order"""


@dataclass(frozen=True)
class Scaling:
    """value = (pixel - mean) / std, pixels from 0 to 255; one number each, or three. colours: three that are in the
    order red, green, blue whatever the order of the model's channels."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    colours: bool = False


RAW = Scaling((0.0,), (1.0,))
UNIT = Scaling((0.0,), (255.0,))
SIGNED = Scaling((127.5,), (127.5,))
IMAGENET = Scaling((0.485 * 255, 0.456 * 255, 0.406 * 255), (0.229 * 255, 0.224 * 255, 0.225 * 255), True)
NAMED = {"imagenet": IMAGENET, "0..1": UNIT, "-1..1": SIGNED, "raw": RAW}


def parse_scaling(text: str) -> Scaling:
    """What --scale says. Raises OptionError."""
    if text in NAMED:
        return NAMED[text]
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    half = len(numbers) // 2
    if len(numbers) not in (2, 6) or not np.isfinite(numbers).all() or min(numbers[half:]) <= 0.0:
        raise OptionError(f"--scale '{printable(text)}' is none of\n{CHOICES}")
    if max(numbers[half:]) < 1.0:
        meant = ",".join(f"{255 * number:g}" for number in numbers)
        raise OptionError(f"--scale {printable(text)} is meant for pixels of 0 to 1; those here reach 255: {meant}")
    return Scaling(tuple(numbers[:half]), tuple(numbers[half:]))


@dataclass(frozen=True)
class Affine:
    """From RGB to a model's channels: values = pixels @ matrix + offset. matrix (3, C), offset (C,), float64."""

    matrix: NDArray[np.float64]
    offset: NDArray[np.float64]

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        """uint8 (N, H, W, 3) to float64 (N, H, W, C)."""
        values: NDArray[np.float64] = pixels.astype(np.float64) @ self.matrix + self.offset
        return values

    @property
    def is_identity(self) -> bool:
        return self.mixes_none and bool((self.factors == 1.0).all()) and not self.offset.any()

    @property
    def mixes_none(self) -> bool:
        """Whether every channel comes from its own colour alone."""
        return self.matrix.shape == (3, 3) and not (self.matrix - np.diag(np.diag(self.matrix))).any()

    @property
    def factors(self) -> NDArray[np.float64]:
        found: NDArray[np.float64] = np.diag(self.matrix).copy()
        return found

    def to_json(self) -> list[Any]:
        return [self.matrix.tolist(), self.offset.tolist()]


def affine(scaling: Scaling, channels: Channels, count: int) -> Affine:
    """The same as a matrix. count: 3, or 1 for a model of grey images. Raises OptionError."""
    if count == 1 and (len(scaling.mean) > 1 or channels == "bgr"):
        raise OptionError("this model takes grey images: --scale with one mean and one std, and no --channels")
    mean, std = (np.broadcast_to(np.array(part, dtype=np.float64), count) for part in (scaling.mean, scaling.std))
    order = [2, 1, 0] if channels == "bgr" else [0, 1, 2]
    if count == 1:
        source = np.array(LUMA)[:, None]
    else:
        source = np.eye(3)[:, order]
        if scaling.colours:
            mean, std = mean[order], std[order]
    return Affine(source / std, -mean / std)


def in_words(scaling: Scaling) -> str:
    """As --scale takes it."""
    for name, known in NAMED.items():
        if len(scaling.mean) == len(known.mean) and np.allclose(
            (*scaling.mean, *scaling.std), (*known.mean, *known.std), rtol=1e-5
        ):
            return name
    return ",".join(f"{number:.8g}" for number in (*scaling.mean, *scaling.std))


def scaling_of_steps(scale: float, zero: int, lowest: int) -> Scaling | None:
    """The scaling of a quantised input, value = scale * (level - zero), whose 256 levels from `lowest` are the pixels';
    None where they reach as far as no usual scaling of pixels does.

    An input quantised for other values (of three deviations, of sound) says nothing of how they come about.
    """
    low, high = scale * (lowest - zero), scale * (lowest + 255 - zero)
    known = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (-128.0, 127.0))
    if not any(abs(low - a) <= 0.02 * (b - a) and abs(high - b) <= 0.02 * (b - a) for a, b in known):
        return None
    return Scaling((float(zero - lowest),), (1.0 / scale,))
