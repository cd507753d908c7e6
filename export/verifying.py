"""Does a bundle keep its word: every variant against the golden outputs, and against torch on real episodes."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgemeta.bundle import Bundle, InputContract, Variant
from edgemeta.data import open_source
from edgemeta.errors import BundleError, MissingDependencyError, OptionError, RunnerError
from edgemeta.evaluation import Accuracy, bundle_embed, evaluate
from edgemeta.learner import Learner
from edgemeta.normalisation import Normalisation
from edgemeta.terminal import printable

from .simulating import simulate, worst_cosine

if TYPE_CHECKING:
    from edgemeta.meta.evaluating import CheckpointModel

EPISODES = 200
TIMED = 30


@dataclass(frozen=True)
class VariantCheck:
    """One variant: the worst cosine and the largest difference over the golden rows, and whether that passes.

    accuracy: few-shot accuracy in percent of this variant, and `reference` that of the torch model (without a
    checkpoint, of the first variant) on the same episodes, when data were given; ci95 is the variant's. nbytes of the
    graph. milliseconds: median of one image here. why: what failed, or "" - a graph that does not run here, one that
    differs, one that this machine's fast kernels compute wrong, one that loses accuracy.
    """

    variant: str
    cosine: float
    largest_difference: float
    ok: bool
    accuracy: float | None = None
    ci95: float | None = None
    reference: float | None = None
    nbytes: int = 0
    milliseconds: float | None = None
    why: str = ""

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
    """Run every variant. A variant fails when it does not run, when its worst cosine is below 1 - its tolerance, or
    when it loses more than `bound` points of accuracy against the torch model (without one, the first variant).

    Raises BundleError when the bundle was not exported from `checkpoint`, OptionError, DataError, CheckpointError.
    """
    if checkpoint is not None and data is None:
        raise OptionError("the checkpoint is compared on data: add --data, or leave --checkpoint out")
    model = _source(bundle, Path(checkpoint)) if checkpoint is not None else None
    checks: list[VariantCheck] = []
    for variant in bundle.variants:
        check = _compared(bundle, variant)
        if data is not None and check.milliseconds is not None:
            accuracy = _bundle_accuracy(bundle, variant.name, data, ways, shots, episodes)
            if model is not None:
                reference: float | None = _torch_accuracy(bundle, model, data, ways, shots, episodes).accuracy
            else:
                reference = checks[0].accuracy if checks else None
            check = _judged(check, accuracy, reference, bound)
        checks.append(check)
    return checks


def _compared(bundle: Bundle, variant: Variant) -> VariantCheck:
    """Against the golden outputs, on this machine's kernels and, where those are off, by the graph's own definition."""
    inputs, expected = bundle.golden()
    graph = bundle.graph(variant.name)
    limit = 1.0 - (variant.tolerance or bundle.manifest.golden.tolerance)
    try:
        with Learner(bundle, variant=variant.name) as learner:
            embed = bundle_embed(learner)
            got = embed(inputs)
            times = [_seconds(lambda: embed(inputs[:1])) for _ in range(TIMED)]
    except (RunnerError, MissingDependencyError) as error:
        return VariantCheck(variant.name, 0.0, float("nan"), False, nbytes=len(graph), why=str(error))
    worst, why = worst_cosine(got, expected), ""
    if worst < limit:
        why = f"its worst cosine is below {limit:.4f}"
        if worst_cosine(simulate(variant, graph, inputs), expected) >= limit:
            why += ": this machine's fast kernels compute it wrong, the graph itself is right; run another variant here"
    return VariantCheck(
        variant.name,
        worst,
        float(np.abs(got - expected).max()),
        not why,
        nbytes=len(graph),
        milliseconds=1e3 * statistics.median(times),
        why=why,
    )


def _judged(check: VariantCheck, accuracy: Accuracy, reference: float | None, bound: float) -> VariantCheck:
    why = check.why
    if reference is not None and reference - accuracy.accuracy > bound:
        lost = f"it loses {reference - accuracy.accuracy:.2f} points of accuracy, more than {bound:g}"
        why = f"{why}; {lost}" if why else lost
    return replace(check, accuracy=accuracy.accuracy, ci95=accuracy.ci95, reference=reference, ok=not why, why=why)


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


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
