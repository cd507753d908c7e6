"""Commands of the workshop: train, export, verify. Only these need torch, and only when they run."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..bundle import Bundle, Licence
from ..errors import MissingDependencyError, OptionError
from ..terminal import printable, table
from .equipping import measured


def add_commands(commands: Any) -> None:
    """Add this file's commands to the parser."""
    train = commands.add_parser("train", help="meta-train a backbone")
    train.add_argument(
        "--data",
        action="append",
        metavar="SPEC",
        help="omniglot:DIR, folder:DIR, glyphs; repeatable",
    )
    train.add_argument("--method", choices=["protonet", "r2d2", "pretrain"], help="default: pretrain")
    train.add_argument("--backbone", choices=["conv4", "resnet"], help="default: resnet")
    train.add_argument("--out", required=True, metavar="DIR")
    train.add_argument("--steps", type=int)
    train.add_argument("--minutes", type=float, help="fix the number of steps from the speed of the first ones")
    train.add_argument("--seed", type=int, help="default: 0")
    train.add_argument("--resume", action="store_true", help="go on where --out was left, with its options")
    train.add_argument("--init", metavar="CHECKPOINT", help="start from the backbone of another run")
    train.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    train.add_argument("--size", type=int, help="input side in pixels")
    train.add_argument("--width", type=int, help="channels of the first layer")
    train.add_argument("--colour", choices=["grey", "rgb"])
    train.add_argument("--ways", type=int)
    train.add_argument("--shots", type=int)
    train.add_argument("--queries", type=int)
    train.add_argument("--within", type=float, help="share of episodes inside one domain (alphabet)")
    train.add_argument("--batch", type=int, help="images a step of pretraining")
    train.add_argument("--learning-rate", type=float, dest="learning_rate")
    train.add_argument("--episodic-share", type=float, dest="episodic_share")
    train.add_argument("--augment", type=float, help="strength, 0 for none, 1 suits characters")
    train.add_argument("--held-out", type=int, dest="held_out", help="domains kept for validation, 0 for none")
    train.add_argument("--no-rotations", action="store_false", dest="rotations", default=None)
    train.add_argument("--mirror", action="store_true", default=None, help="mirrored classes are classes too")
    train.add_argument("--margin", type=float, help="of pretraining: the cosine that the right class must win by")
    train.add_argument("--no-l2", action="store_false", dest="l2", default=None)
    train.add_argument("--bf16", action="store_true", default=None, help="half precision in the convolutions")
    train.set_defaults(run=_train)

    export = commands.add_parser("export", help="write a bundle from a checkpoint, or from a timm model")
    export.add_argument("source", metavar="SOURCE", help="the --out of `edgemeta train`, or timm:NAME")
    export.add_argument("--weights", metavar="FILE", help="of a timm model: a file, `cache` or `random`")
    export.add_argument("--format", action="append", choices=["onnx", "tflite"], help="repeatable; default: onnx")
    export.add_argument("--precision", default="fp32", metavar="LIST", help="of fp32,fp16,int8; default: fp32")
    export.add_argument(
        "--calibrate", metavar="SPEC", help="int8: images like those of the device, folder:DIR for instance"
    )
    export.add_argument("--out", required=True, metavar="NAME.edgemeta")
    export.add_argument("--name", help="the name in the manifest (default: that of the file)")
    export.add_argument(
        "--licence",
        action="append",
        default=[],
        metavar="WHAT|LICENCE|COPYRIGHT",
        help="of the data; repeatable",
    )
    export.add_argument(
        "--background",
        metavar="SPEC",
        help="how far inputs lie from means of their class, for saying unknown after a few examples: measured on these "
        "data, or with the word held-out on the classes that the run held out",
    )
    export.set_defaults(run=_export)

    verify = commands.add_parser("verify", help="rerun the golden inputs of a bundle in every variant")
    verify.add_argument("bundle", metavar="NAME.edgemeta")
    verify.add_argument("--data", metavar="SPEC", help="also measure few-shot accuracy on these data")
    verify.add_argument("--checkpoint", metavar="DIR", help="and compare it with that of the run it came from")
    verify.add_argument("--ways", type=int, default=5)
    verify.add_argument("--shots", type=int, default=1)
    verify.add_argument("--episodes", type=int, default=200)
    verify.add_argument("--bound", type=float, default=0.5, help="points of accuracy that a variant may lose (0.5)")
    verify.add_argument("--json", action="store_true")
    verify.set_defaults(run=_verify)


def need_torch() -> None:
    """Raises MissingDependencyError with the command that installs the workshop."""
    import importlib.util

    missing = [name for name in ("torch", "safetensors") if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f'{" and ".join(missing)} not installed; the workshop needs: pip install "edgemeta[train]"'
        )


def _exporter(module: str) -> Any:
    """A module of the export package: installed inside edgemeta, or beside it in a checkout."""
    import importlib

    try:
        return importlib.import_module(f"edgemeta.export.{module}")
    except ModuleNotFoundError as error:
        if error.name != "edgemeta.export":
            raise
        return importlib.import_module(f"export.{module}")


OPTIONS = [
    "method",
    "backbone",
    "seed",
    "steps",
    "size",
    "colour",
    "ways",
    "shots",
    "queries",
    "within",
    "batch",
    "learning_rate",
    "episodic_share",
    "augment",
    "held_out",
    "rotations",
    "mirror",
    "margin",
    "l2",
    "bf16",
]


def parse_licences(texts: Sequence[str]) -> list[Licence]:
    """What --licence says. Raises OptionError."""
    licences = []
    for text in texts:
        parts = text.split("|")
        if len(parts) != 3 or not all(part.strip() for part in parts):
            raise OptionError(f"--licence is WHAT|LICENCE|COPYRIGHT, none of them empty, not '{printable(text)}'")
        licences.append(Licence(*parts))
    return licences


def _train(options: argparse.Namespace) -> int:
    need_torch()
    from ..meta.checkpoint import read_config
    from ..meta.config import TrainConfig
    from ..meta.trainer import train

    if options.data is None and not options.resume:
        raise OptionError("say what to train on: --data omniglot:DIR, folder:DIR or glyphs")
    if options.steps is not None and options.minutes is not None:
        raise OptionError("give either --steps or --minutes; the one would overrule the other")
    config = read_config(Path(options.out)) if options.resume else TrainConfig()
    config = replace(config, **{name: getattr(options, name) for name in OPTIONS if getattr(options, name) is not None})
    if options.data is not None:
        config = replace(config, data=tuple(options.data))
    if options.width is not None:
        config = replace(config, backbone_options={**config.backbone_options, "width": options.width})
    trained = train(
        config,
        Path(options.out),
        minutes=options.minutes,
        resume=options.resume,
        init=Path(options.init) if options.init is not None else None,
        device=options.device,
    )
    print(
        f"{printable(options.out)}: {trained.steps} steps, {trained.seconds:.0f} s, "
        + ("no data held out" if trained.validation != trained.validation else f"validation {trained.validation:.2f} %")
    )
    return 0


def _export(options: argparse.Namespace) -> int:
    need_torch()
    from ..bundle import rewrite_bundle

    licences = parse_licences(options.licence)
    exporter, timm = _exporter("bundling"), options.source.startswith("timm:")
    if timm and options.background == "held-out":
        raise OptionError("--background held-out is of a training run; for timm models name data")
    found = exporter.held_out_background(options.source) if options.background == "held-out" else None
    bundle = _exporter("exporting").export(
        options.source,
        options.out,
        weights=options.weights,
        formats=options.format or ["onnx"],
        precisions=options.precision.split(","),
        calibrate=options.calibrate,
        name=options.name,
        licences=licences,
    )
    if options.background is not None:
        bundle = rewrite_bundle(bundle, options.out, background=found or measured(bundle, options.background))
    print(f"{printable(options.out)}: {bundle.nbytes} bytes, {bundle.dim} dimensions, head {bundle.head.name}")
    for variant in bundle.variants:
        print(f"  {variant.name}: {len(bundle.graph(variant.name))} bytes")
    return 0


def _verify(options: argparse.Namespace) -> int:
    if options.checkpoint is not None:
        need_torch()
    checks = _exporter("verifying").verify(
        Bundle.open(options.bundle),
        data=options.data,
        checkpoint=options.checkpoint,
        ways=options.ways,
        shots=options.shots,
        episodes=options.episodes,
        bound=options.bound,
    )
    if options.json:
        print(json.dumps([check.to_json() for check in checks]))
    else:
        rows = [("variant", "kB", "ms", "worst cosine", "largest difference", "accuracy", "reference", "")]
        for c in checks:
            accuracy = "" if c.accuracy is None else f"{c.accuracy:.2f} +- {c.ci95:.2f}"
            reference = "" if c.reference is None else f"{c.reference:.2f}"
            rows.append(
                (
                    printable(c.variant),
                    f"{c.nbytes / 1000:.0f}",
                    "" if c.milliseconds is None else f"{c.milliseconds:.2f}",
                    f"{c.cosine:.7f}",
                    f"{c.largest_difference:.2e}",
                    accuracy,
                    reference,
                    "ok" if c.ok else f"FAILS: {printable(c.why)}",
                )
            )
        print(table(rows))
    return 0 if all(check.ok for check in checks) else 1
