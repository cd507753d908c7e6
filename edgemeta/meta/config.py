"""What a training run is made of: everything needed to run it again, as plain JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from ..errors import CheckpointError, OptionError
from ..terminal import printable

METHODS = ("protonet", "r2d2", "pretrain")

# Least and most of each number. Seed and step share the 64 bits that seed the augmentation of a step.
MOST_STEPS = 2**32 - 1
MOST_MINUTES = 1e6
LIMITS: dict[str, tuple[float, float]] = {
    "size": (8, 4096),
    "steps": (1, MOST_STEPS),
    "seed": (0, 2**31 - 1),
    "learning_rate": (1e-12, 10),
    "weight_decay": (0, 10),
    "batch": (2, 2**20),
    "margin": (0, 0.999),
    "episodic_share": (0, 1),
    "ways": (2, 2**20),
    "shots": (1, 2**20),
    "queries": (1, 2**20),
    "within": (0, 1),
    "augment": (0, 10),
    "held_out": (0, 2**20),
}
WIDEST = 4096  # of the backbone's options: channels, cells of a grid

# A float may be written without a point; True is no number here.
KINDS: dict[str, tuple[type, ...]] = {"str": (str,), "bool": (bool,), "int": (int,), "float": (int, float)}


@dataclass(frozen=True)
class TrainConfig:
    """Options of `edgemeta train`. `steps` counts all steps; lengths in pixels; shares from 0 to 1.

    Raises OptionError for a value that has another type or is out of its limits.
    """

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
        self._check_types()
        if self.method not in METHODS:
            raise OptionError(f"unknown method {printable(self.method)!r}; known are {', '.join(METHODS)}")
        if self.colour not in ("grey", "rgb"):
            raise OptionError(f"colour is grey or rgb, not {printable(self.colour)!r}")
        for name, (least, most) in LIMITS.items():
            value = getattr(self, name)
            if not least <= value <= most:  # NaN is not either
                raise OptionError(
                    f"the {name.replace('_', ' ')} must be at least {least} and at most {most}, not {value}"
                )
        for name, value in self.backbone_options.items():
            if not 1 <= value <= WIDEST:
                raise OptionError(
                    f"the backbone's {printable(name)} must be at least 1 and at most {WIDEST}, not {value}"
                )

    def _check_types(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if type(value) not in KINDS.get(str(f.type), (type(value),)):
                raise OptionError(f"{f.name} must be of type {f.type}, not {type(value).__name__}")
        if not (isinstance(self.data, tuple) and self.data and all(isinstance(spec, str) for spec in self.data)):
            raise OptionError("data must be at least one spec, each a string")
        options = self.backbone_options
        if not (isinstance(options, dict) and all(type(value) is int for value in options.values())):
            raise OptionError("backbone_options must be names with whole numbers")

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
    def from_json(cls, record: object) -> TrainConfig:
        """The inverse of `to_json`. Raises CheckpointError for anything else."""
        if not isinstance(record, dict):
            raise CheckpointError(f"the training options must be an object, not {type(record).__name__}")
        if unknown := set(record) - {f.name for f in fields(cls)}:
            raise CheckpointError(f"the checkpoint has training options unknown here: {sorted(unknown)}")
        data = record.get("data")
        try:
            return cls(**{**record, "data": tuple(data) if isinstance(data, list) else data})
        except OptionError as error:
            raise CheckpointError(str(error)) from error


def check_minutes(minutes: float | None) -> None:
    """Raises OptionError for what cannot be the length of a run."""
    if minutes is None:
        return
    if type(minutes) not in KINDS["float"] or not 0 < minutes <= MOST_MINUTES:
        raise OptionError(f"minutes must be positive and at most {MOST_MINUTES:g}, not {minutes}")
