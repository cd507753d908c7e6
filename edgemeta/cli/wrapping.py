"""The command that turns a model file into a bundle: wrap. Needs no torch."""

from __future__ import annotations

import argparse
import json
from typing import Any

from ..errors import OptionError
from ..terminal import printable, table
from .workshop import _exporter, parse_licences

# Candidates listed unless --json asks for all.
SHOWN = 10


def add_commands(commands: Any) -> None:
    """Add this file's commands to the parser."""
    text = "make a bundle of an ONNX or TFLite model that was trained elsewhere"
    wrap = commands.add_parser("wrap", help=text, description=text)
    wrap.add_argument("model", metavar="MODEL", help="a .onnx or .tflite file")
    wrap.add_argument(
        "--output",
        metavar="TENSOR",
        help="the tensor that is the embedding; auto for the clearly best. Without it those that could be are listed",
    )
    wrap.add_argument("--out", metavar="NAME.edgemeta")
    wrap.add_argument(
        "--scale",
        metavar="HOW",
        help="what the model wants its pixels like, where its file does not say: imagenet, 0..1, -1..1, raw, or "
        "MEAN,STD for (pixel - MEAN) / STD with pixels of 0 to 255, also three means and three STDs",
    )
    wrap.add_argument("--channels", choices=["rgb", "bgr"], help="the order of the model's colours (default rgb)")
    wrap.add_argument("--size", metavar="SIDE", help="or HEIGHTxWIDTH, where the file leaves it open")
    wrap.add_argument("--name", help="the name in the manifest (default: that of the file)")
    wrap.add_argument(
        "--licence",
        action="append",
        default=[],
        metavar="WHAT|LICENCE|COPYRIGHT",
        help="of the model and its data; repeatable",
    )
    wrap.add_argument("--head", help="the one to begin with (default lda; prior classes need one of means: RECIPES.md)")
    wrap.add_argument("--json", action="store_true")
    wrap.set_defaults(run=_wrap)


def _wrap(options: argparse.Namespace) -> int:
    size = _size(options.size)
    if options.output is None:
        return _list(options, size)
    if options.out is None:
        raise OptionError("say where the bundle goes: --out NAME.edgemeta")
    wrap = _exporter("wrap")
    bundle = wrap.wrap(
        options.model,
        options.out,
        output=options.output,
        scale=options.scale,
        channels=options.channels,
        size=size,
        name=options.name,
        licences=parse_licences(options.licence),
        head=options.head or wrap.HEAD,
    )
    about = bundle.manifest.training["wrapped"]
    if options.json:
        print(json.dumps({**about, "dim": bundle.dim, "variant": bundle.variants[0].name, "bytes": bundle.nbytes}))
        return 0
    print(f"the embedding is {printable(about['tensor'])}: {printable(about['looks like'])}")
    print(f"the pixels are scaled as {printable(about['scale'])}, {about['channels']}")
    print(f"{bundle.variants[0].name} takes images of {bundle.input.height} x {bundle.input.width}")
    print(f"{printable(options.out)}: {bundle.nbytes} bytes, {bundle.dim} dimensions, head {bundle.head.name}")
    return 0


def _list(options: argparse.Namespace, size: tuple[int, int] | None) -> int:
    """What could be the embedding; then the request to say which."""
    model, _ = _exporter("wrap").open_model(options.model, size)
    best = model.candidates.best
    if options.json:
        rows = [
            {"tensor": c.tensor, "shape": list(c.shape), "size": c.size, "kind": c.kind, "looks like": c.look}
            for c in best
        ]
        print(json.dumps({"input": str(model.input), "tensors": rows}))
    elif best:
        print(f"{printable(options.model)} takes {model.input}; what could be the embedding, best first:")
        shown = [(printable(c.tensor), " x ".join(map(str, c.shape)), c.look) for c in best[:SHOWN]]
        print(table([("tensor", "shape", "looks like"), *shown]))
        if len(best) > SHOWN:
            print(f"  and {len(best) - SHOWN} more (--json lists all)")
    if not best:
        model.candidates.chosen("auto")  # says why
    needs = "" if model.input.scaling is not None or options.scale else ", and how the pixels are scaled with --scale"
    raise OptionError(f"say which it is with --output, for instance --output '{printable(best[0].tensor)}'{needs}")


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isascii() and part.isdecimal() and 0 < int(part) <= 8192 for part in parts):
        raise OptionError(f"--size is a side in pixels, or HEIGHTxWIDTH, up to 8192, not '{printable(text)}'")
    return int(parts[0]), int(parts[-1])
