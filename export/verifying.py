"""Does a bundle keep its word: every variant against the golden outputs, and against torch on real episodes."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgemeta.bundle import Bundle, InputContract
from edgemeta.data import open_source
from edgemeta.errors import BundleError, OptionError
from edgemeta.evaluation import Accuracy, bundle_embed, evaluate
from edgemeta.learner import Learner
from edgemeta.normalisation import Normalisation
from edgemeta.terminal import printable

if TYPE_CHECKING:
    from edgemeta.meta.evaluating import CheckpointModel

EPISODES = 200


@dataclass(frozen=True)
class VariantCheck:
    """One variant: the worst cosine and the largest difference over the golden rows, and whether that passes.

    accuracy: few-shot accuracy in percent of this variant, and `reference` that of the torch model on the same
    episodes, when data (and a checkpoint) were given; ci95 is the variant's.
    """

    variant: str
    cosine: float
    largest_difference: float
    ok: bool
    accuracy: float | None = None
    ci95: float | None = None
    reference: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def verify(
    bundle: Bundle,
    *,
    data: str | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    ways: int = 5,
    shots: int = 1,
    episodes: int = EPISODES,
    bound: float = 0.5,
) -> list[VariantCheck]:
    """Run every variant. A variant fails when its worst cosine is below 1 - the bundle's tolerance, or when it
    loses more than `bound` points of accuracy against the torch model.

    Raises BundleError when the bundle was not exported from `checkpoint`, OptionError, DataError, CheckpointError.
    """
    if checkpoint is not None and data is None:
        raise OptionError("the checkpoint is compared on data: add --data, or leave --checkpoint out")
    model = _source(bundle, Path(checkpoint)) if checkpoint is not None else None
    inputs, expected = bundle.golden()
    checks = []
    for variant in bundle.variants:
        with Learner(bundle, variant=variant.name) as learner:
            got = bundle_embed(learner)(inputs)
        cosine = _cosine(got, expected)
        worst = float(cosine.min())
        accuracy = reference = None
        if data is not None:
            accuracy = _bundle_accuracy(bundle, variant.name, data, ways, shots, episodes)
            if model is not None:
                reference = _torch_accuracy(bundle, model, data, ways, shots, episodes)
        ok = worst >= 1.0 - bundle.manifest.golden.tolerance
        if accuracy is not None and reference is not None:
            ok = ok and accuracy.accuracy >= reference.accuracy - bound
        checks.append(
            VariantCheck(
                variant.name,
                worst,
                float(np.abs(got - expected).max()),
                ok,
                accuracy.accuracy if accuracy else None,
                accuracy.ci95 if accuracy else None,
                reference.accuracy if reference else None,
            )
        )
    return checks


def _cosine(a: Any, b: Any) -> Any:
    a, b = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    same = (a == b).all(axis=1)  # two rows of zeros agree, though they have no direction
    return np.where(same, 1.0, (a * b).sum(axis=1) / np.where(lengths == 0.0, 1.0, lengths))


def _bundle_accuracy(bundle: Bundle, variant: str, spec: str, ways: int, shots: int, episodes: int) -> Accuracy:
    data = open_source(spec, part="evaluation").load(bundle.input.height, bundle.input.width)
    with Learner(bundle, variant=variant) as learner:
        embed = bundle_embed(learner)
        return evaluate(embed, lambda: Learner(bundle, prior=False), data, ways=ways, shots=shots, episodes=episodes)


def _source(bundle: Bundle, checkpoint: Path) -> CheckpointModel:
    """The model that the bundle was exported from. Raises BundleError when it is another."""
    from edgemeta.meta.evaluating import CheckpointModel

    from .bundling import embedding_id

    model = CheckpointModel(checkpoint)
    size, l2 = model.config.size, model.config.l2
    # Without L2 the scale follows from the training data; the bundle's own stands for it.
    normalisation = Normalisation(l2=l2, scale=1.0 if l2 else bundle.normalisation.scale)
    if embedding_id(model.backbone, InputContract(size, size), normalisation) != bundle.embedding_id:
        raise BundleError(
            f"{printable(str(bundle.path))} was not exported from {printable(str(checkpoint))}, or that was trained "
            "on since (embedding.id differs); export it again, or name the checkpoint it came from"
        )
    return model


def _torch_accuracy(
    bundle: Bundle, model: CheckpointModel, spec: str, ways: int, shots: int, episodes: int
) -> Accuracy:
    data = open_source(spec, part="evaluation").load(model.config.size, model.config.size)
    return evaluate(model.embed, lambda: Learner(bundle, prior=False), data, ways=ways, shots=shots, episodes=episodes)
