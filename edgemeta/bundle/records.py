"""What a bundle says about itself, as immutable records; `manifest` writes and reads them.

Most are named tuples: a dataclass costs a millisecond of every import on a small board.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

GOLDEN_INPUTS = "golden/inputs.u8"
GOLDEN_OUTPUTS = "golden/outputs.f32"


@dataclass(frozen=True)
class InputContract:
    """What the graph takes: uint8 (N, height, width, 3), RGB, as `edgemeta.imaging.fit` makes it."""

    height: int
    width: int
    kind: str = "image"
    channels: int = 3
    dtype: str = "uint8"
    layout: str = "NHWC"
    colour: str = "rgb"
    fit: str = "crop"


@dataclass(frozen=True)
class HeadRecipe:
    """The head that the bundle was made for. `lambda_` is ridge's, or None; `temperature` is positive."""

    name: str
    lambda_: float | None = None
    temperature: float = 1.0
    balance: bool = False


class Variant(NamedTuple):
    """One form of the graph. `input` and `output` are tensor names; `member` is where its bytes are.

    runtime: "onnx" or "tflite". precision: "fp32", "fp16" or "int8". interchangeable: its embeddings were
    compared with those of the first variant and may share a journal with them. tolerance: the most that 1 - cosine to
    the golden outputs may be, per row, where it is not that of all (`Golden.tolerance`).
    """

    name: str
    runtime: str
    precision: str
    member: str
    input: str
    output: str
    interchangeable: bool = True
    tolerance: float | None = None


@dataclass(frozen=True)
class Golden:
    """Inputs with the raw outputs of the graph. `tolerance` is the most that 1 - cosine may be, per row.

    `shape` is that of one input, (height, width, 3); there are `count` of them.
    """

    count: int
    shape: tuple[int, int, int]
    tolerance: float
    inputs: str = GOLDEN_INPUTS
    outputs: str = GOLDEN_OUTPUTS


class NormalisationRecord(NamedTuple):
    """The numbers of `edgemeta.normalisation.Normalisation`; `centre` says whether head.bin holds one."""

    centre: bool
    power: float
    l2: bool
    scale: float


class Licence(NamedTuple):
    """Whose work is inside (`what`), under which licence, and the line of copyright to show."""

    what: str
    licence: str
    copyright: str


class BackgroundRecord(NamedTuple):
    """What the background in head.bin was measured on: `classes` of them, `source` in words."""

    classes: int
    source: str


class PriorRecord(NamedTuple):
    """The prior classes whose means are in head.bin; the numbers of `edgemeta.prior.PriorClasses`."""

    labels: tuple[str, ...]
    within: float
    between: float


class Member(NamedTuple):
    """Size in bytes and SHA-256 (hexadecimal) of a member."""

    size: int
    sha256: str


class Manifest(NamedTuple):
    """Everything in `manifest.json`. `training` and `x` are free JSON objects; `x` is for other tools."""

    name: str
    embedding_id: bytes
    dim: int
    normalisation: NormalisationRecord
    input: InputContract
    head: HeadRecipe
    variants: tuple[Variant, ...]
    golden: Golden
    licences: tuple[Licence, ...]
    training: dict[str, Any]
    members: dict[str, Member]
    x: dict[str, Any]
    background: BackgroundRecord | None = None
    prior: PriorRecord | None = None
