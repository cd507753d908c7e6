"""What a training run is made of: everything needed to run it again, as plain JSON."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from ..errors import CheckpointError, OptionError

METHODS = ("protonet", "r2d2", "pretrain")


@dataclass(frozen=True)
class TrainConfig:
    """Options of `edgemeta train`. `steps` counts all steps; lengths in pixels; shares from 0 to 1."""

    data: tuple[str, ...] = ("glyphs",)
    method: str = "pretrain"
    backbone: str = "resnet"
    backbone_options: dict[str, int] = field(default_factory=dict)
    size: int = 40
    colour: str = "grey"
    l2: bool = True
    steps: int = 6000
    seed: int = 0
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    # pretraining
    batch: int = 256
    rotations: bool = True  # characters turned by 90, 180, 270 degrees count as classes of their own
    mirror: bool = False  # and so do mirrored ones
    margin: float = 0.1  # of the cosine that the right class must win by
    episodic_share: float = 0.25  # the last share of the steps of "pretrain" is episodic
    # episodes
    ways: int = 20
    shots: int = 1
    queries: int = 4
    within: float = 0.7
    # augmentation: strength 0 turns it off, 1 is what characters like
    augment: float = 1.0
    # held-out domains (alphabets; classes where there is one domain) for validation
    held_out: int = 5
    bf16: bool = False

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise OptionError(f"unknown method {self.method!r}; known are {', '.join(METHODS)}")
        if self.colour not in ("grey", "rgb"):
            raise OptionError(f"colour is grey or rgb, not {self.colour!r}")
        if self.steps < 1 or self.batch < 2 or self.size < 8:
            raise OptionError("steps must be at least 1, batch at least 2, size at least 8")
        if self.seed < 0 or self.held_out < 0:
            raise OptionError("seed and held_out cannot be negative")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise OptionError(f"the learning rate must be positive, not {self.learning_rate}")
        if not (0 <= self.within <= 1 and 0 <= self.episodic_share <= 1):
            raise OptionError("within and episodic_share are shares, 0 to 1")
        if not 0 <= self.margin < 1:
            raise OptionError(f"the margin is a part of a cosine, 0 to below 1, not {self.margin}")
        if any(value < 1 for value in self.backbone_options.values()):
            raise OptionError(f"options of the backbone must be at least 1: {self.backbone_options}")

    @property
    def channels(self) -> int:
        return 1 if self.colour == "grey" else 3

    @property
    def pretraining_steps(self) -> int:
        """How many of the steps classify; the rest are episodes."""
        return round(self.steps * (1 - self.episodic_share)) if self.method == "pretrain" else 0

    def with_steps(self, steps: int) -> TrainConfig:
        return replace(self, steps=steps)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> TrainConfig:
        """The inverse of `to_json`. Raises CheckpointError for fields that do not exist."""
        known = {f.name for f in fields(cls)}
        if unknown := set(record) - known:
            raise CheckpointError(f"the checkpoint has training options unknown here: {sorted(unknown)}")
        return cls(**{**record, "data": tuple(record["data"])})
