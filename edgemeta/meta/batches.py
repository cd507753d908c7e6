"""Step by step the images and labels that a method trains on; step k follows from (seed, k) alone."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..data.labelled import LabelledImages
from .augment import Augmentation
from .config import TrainConfig
from .episodes import EpisodeSampler


def to_ink(pixels: Tensor) -> Tensor:
    """uint8 (N, H, W) or (N, H, W, 3) to float (N, C, H, W): 0 for white, 1 for black."""
    x = 1.0 - pixels.float() / 255.0
    return x[:, None] if x.ndim == 3 else x.permute(0, 3, 1, 2)


class Batches:
    """The training images of a run, turned and changed as the configuration says.

    Turned and mirrored copies are classes of their own: class c in turn t has the label c + t * classes.
    """

    def __init__(self, data: LabelledImages, config: TrainConfig, device: torch.device) -> None:
        self.data, self.config, self.device = data, config, device
        self.pixels = torch.from_numpy(np.ascontiguousarray(data.pixels)).to(device)
        self.turns = [(k, m) for m in range(1 + config.mirror) for k in range(4 if config.rotations else 1)]
        self.classes = len(data.classes) * len(self.turns)
        self.augmentation = _scaled(config.augment)
        self.sampler: EpisodeSampler | None = None
        if config.pretraining_steps < config.steps:
            self.sampler = EpisodeSampler(
                data, ways=config.ways, shots=config.shots, queries=config.queries, within=config.within
            )

    def classification(self, step: int) -> tuple[Tensor, Tensor]:
        """Images (B, C, S, S) and labels (B,) drawn evenly from all images in all turns."""
        rng = np.random.default_rng([self.config.seed, step])
        index = rng.integers(len(self.data), size=self.config.batch)
        turn = rng.integers(len(self.turns), size=self.config.batch)
        labels = self.data.labels[index] + turn * len(self.data.classes)
        return self._images(index, turn, step), torch.from_numpy(labels).to(self.device)

    def episode(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Support (ways * shots, C, S, S), query (ways * queries, C, S, S), query labels."""
        assert self.sampler is not None
        rng = np.random.default_rng([self.config.seed, step])
        episode = self.sampler.draw(rng)
        ways, queries = episode.query.shape
        # A class is turned as a whole; its support and its queries stay the same character.
        turn = rng.integers(len(self.turns), size=ways)
        support, query = episode.support, episode.query
        index = np.concatenate([support.ravel(), query.ravel()])
        turns = np.concatenate([turn.repeat(support.shape[1]), turn.repeat(queries)])
        images = self._images(index, turns, step)
        labels = torch.arange(ways, device=self.device).repeat_interleave(queries)
        return images[: support.size], images[support.size :], labels

    def _images(self, index: NDArray[np.int64], turn: NDArray[np.int64], step: int) -> Tensor:
        x = to_ink(self.pixels[torch.from_numpy(index).to(self.device)])
        out = torch.empty_like(x)
        for number, (quarter, mirrored) in enumerate(self.turns):
            chosen = torch.from_numpy(np.flatnonzero(turn == number)).to(self.device)
            turned = torch.rot90(x[chosen], quarter, (2, 3))
            out[chosen] = turned.flip(3) if mirrored else turned
        if self.augmentation is None:
            return out
        generator = torch.Generator().manual_seed((self.config.seed << 32) + step)
        return self.augmentation(out, generator)


def _scaled(strength: float) -> Augmentation | None:
    if strength <= 0:
        return None
    base = Augmentation()
    return Augmentation(
        base.rotate * strength,
        base.scale * strength,
        base.shear * strength,
        base.shift * strength,
        base.warp * strength,
        min(1.0, base.pen * strength),
        min(1.0, base.coarse * strength),
        min(1.0, base.light * strength),
        min(1.0, base.grain * strength),
    )
