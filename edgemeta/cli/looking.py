"""Commands that look: demo, eval, inspect, info."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable, Sequence
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..bundle import Bundle
from ..data import open_source
from ..errors import BundleMissingError, DataError, OptionError
from ..heads import head_names
from ..learner import Learner
from ..terminal import Progress, printable, table

if TYPE_CHECKING:
    from ..evaluation import Accuracy


def add_commands(commands: Any) -> None:
    """Add this file's commands to the parser."""
    demo = commands.add_parser("demo", help="watch it learn handwritten digits from a few examples")
    demo.add_argument("--bundle", default="glyphs")
    demo.add_argument("--draws", type=int, default=10, help="random draws of the examples (default 10)")
    demo.add_argument("--seed", type=int, default=0)
    demo.add_argument("--json", action="store_true", help="only the figures, as JSON")
    demo.set_defaults(run=_demo)

    evaluate = commands.add_parser("eval", help="few-shot accuracy of a bundle or a checkpoint")
    evaluate.add_argument("what", metavar="WHAT", help="a bundle (path or name) or the --out of `edgemeta train`")
    evaluate.add_argument(
        "--data",
        required=True,
        metavar="SPEC",
        help="omniglot:DIR, omniglot-runs:DIR, folder:DIR, glyphs, digits",
    )
    evaluate.add_argument("--part", choices=["evaluation", "background"], default="evaluation")
    evaluate.add_argument("--ways", type=int, default=5)
    evaluate.add_argument("--shots", type=int, default=1)
    evaluate.add_argument("--queries", type=int, default=5)
    evaluate.add_argument("--episodes", type=int, default=1000)
    evaluate.add_argument("--within", type=float, default=0.0, help="share of episodes inside one alphabet")
    evaluate.add_argument("--head", default="auto", help="auto, a name, or all: every head side by side")
    evaluate.add_argument("--seed", type=int, default=0)
    evaluate.add_argument("--json", action="store_true")
    evaluate.set_defaults(run=_eval)

    inspect = commands.add_parser("inspect", help="show what a bundle or a journal holds")
    inspect.add_argument("file", metavar="FILE")
    inspect.add_argument("--json", action="store_true")
    inspect.set_defaults(run=_inspect)

    info = commands.add_parser("info", help="what this installation can do")
    info.add_argument("--json", action="store_true")
    info.set_defaults(run=_info)


def _demo(options: argparse.Namespace) -> int:
    from ..demo import run

    if options.draws < 1 or options.seed < 0:
        raise OptionError("draws must be at least 1 and seed not negative")
    run(options.bundle, draws=options.draws, seed=options.seed, as_json=options.json)
    return 0


def _eval(options: argparse.Namespace) -> int:
    from .. import evaluation

    kind, _, rest = options.data.partition(":")
    if kind == "omniglot-runs":
        if not rest:
            raise DataError("omniglot-runs needs a folder: omniglot-runs:DIR")
        if options.head == "all":
            raise OptionError("--head all compares over episodes; for the runs name one head")
        embed, make_learner, height, width = _evaluated(options.what)
        runs = evaluation.evaluate_runs(embed, lambda: make_learner(options.head), Path(rest), height, width)
        text = f"error {runs.error:.2f} % of {runs.trials} trials (95 %: {runs.low:.2f} to {runs.high:.2f})"
        print(json.dumps(runs.to_json()) if options.json else text)
        return 0
    found = _over_episodes(options, ["auto", *head_names()] if options.head == "all" else [options.head])
    if options.head == "all":
        print(json.dumps({name: one.to_json() for name, one in found.items()}) if options.json else _heads_table(found))
        return 0
    (result,) = found.values()
    text = f"{result.ways}-way {result.shots}-shot, head {result.head}: {_accuracy(result)}, {result.episodes} episodes"
    print(json.dumps(result.to_json()) if options.json else text)
    return 0


def _over_episodes(options: argparse.Namespace, heads: Sequence[str]) -> dict[str, Accuracy]:
    """Each head on the same episodes; images are embedded once."""
    from .. import evaluation

    embed, make_learner, height, width = _evaluated(options.what)
    data = open_source(options.data, part=options.part).load(height, width)
    _warn_of_training_data(options.what, options.data)
    raw = embed(data.pixels)
    found = {}
    for head in heads:
        progress = None if options.json else Progress(f"eval {head}", options.episodes)
        found[head] = evaluation.evaluate(
            lambda _: raw,
            lambda head=head: make_learner(head),  # type: ignore[misc]
            data,
            ways=options.ways,
            shots=options.shots,
            queries=options.queries,
            episodes=options.episodes,
            within=options.within,
            seed=options.seed,
            progress=progress,
        )
        if progress:
            progress.close()
    return found


def _accuracy(one: Accuracy) -> str:
    """With its interval, which a single episode does not have."""
    return f"{one.accuracy:.2f} %" + ("" if isnan(one.ci95) else f" +- {one.ci95:.2f}")


def _heads_table(found: dict[str, Accuracy]) -> str:
    rows = [("head", "accuracy", "confidence off by", "unknown AUROC", "solve", "predict", "memory")]
    for name, one in found.items():
        rows.append(
            (
                f"auto ({one.head})" if name == "auto" else name,
                _accuracy(one),
                "" if isnan(one.calibration_error) else f"{one.calibration_error:.1f} points",
                "" if isnan(one.unknown_auroc) else f"{one.unknown_auroc:.1f} %",
                f"{one.solve_us:.0f} us",
                f"{one.predict_us:.1f} us",
                f"{one.nbytes / 1e3:.1f} kB",
            )
        )
    return table(rows)


def _evaluated(what: str) -> tuple[Any, Callable[[str], Learner], int, int]:
    """How to embed, how to make a fresh learner with some head, and the input size, for a checkpoint or a bundle."""
    from ..evaluation import bundle_embed

    if Path(what).is_dir():
        from .workshop import need_torch

        need_torch()
        from ..meta.evaluating import CheckpointModel

        model = CheckpointModel(Path(what))
        return model.embed, model.learner, model.config.size, model.config.size
    bundle = Bundle.open(what)
    return (
        bundle_embed(Learner(bundle)),
        # Prior classes are none of an episode's.
        lambda head: Learner(bundle, head=head, prior=False),
        bundle.input.height,
        bundle.input.width,
    )


def _warn_of_training_data(what: str, spec: str) -> None:
    """Folders and digits have one part: measuring a run on what it was trained with flatters it."""
    if not Path(what).is_dir() or spec.partition(":")[0] not in ("folder", "digits"):
        return
    from ..meta.checkpoint import read_config

    if spec in read_config(Path(what)).data:
        print(f"edgemeta: {printable(spec)} was trained on; accuracy on it says little", file=sys.stderr)


def _inspect(options: argparse.Namespace) -> int:
    from ..bundle.opening import resolve
    from ..inspection import describe

    path = Path(options.file) if Path(options.file).exists() else resolve(options.file)
    if not path.exists():
        raise BundleMissingError(f"there is no file {printable(str(path))}")
    record = describe(path)
    if options.json:
        print(json.dumps(record))
    else:
        _show(record)
    return 0


def _show(record: dict[str, Any], indent: str = "") -> None:
    for key, value in record.items():
        name = printable(str(key))
        if isinstance(value, dict):
            print(f"{indent}{name}:")
            _show(value, indent + "  ")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            print(f"{indent}{name}:")
            for entry in value:
                print(f"{indent}  - " + ", ".join(f"{k} {printable(str(v))}" for k, v in entry.items()))
        else:
            print(f"{indent}{name}: {printable(str(value))}")


def _info(options: argparse.Namespace) -> int:
    record = installation()
    if options.json:
        print(json.dumps(record))
    else:
        print(
            table(
                [
                    ("edgemeta", record["edgemeta"]),
                    *((k, str(v)) for k, v in record.items() if k != "edgemeta"),
                ]
            )
        )
    return 0


def installation() -> dict[str, Any]:
    """Versions, kernels, runtimes and shipped bundles."""
    import importlib.metadata

    from .. import __version__, kernels
    from ..bundle import shipped

    record: dict[str, Any] = {
        "edgemeta": __version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "kernels": kernels.name(),
        "kernels here": ", ".join(kernels.available()),
        "C core": kernels.about_core(),
    }
    for package in ("numpy", "onnxruntime", "ai-edge-litert", "tflite-runtime", "pillow", "torch"):
        try:
            record[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            record[package] = "not installed"
    record["bundles"] = ", ".join(shipped())
    return record
