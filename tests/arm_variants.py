"""The six variants of one bundle on another machine: opened, verified, each used from learn to predict.

    arm_variants.py --make BUNDLE               here: the shipped model in every format and precision
    arm_variants.py BUNDLE --out FILE           here: what came out of each
    arm_variants.py BUNDLE --against FILE       there: the same labels have to come out
        --runtimes onnx,tflite                  what is installed there: the others' variants have to be refused
        --quick                                 fewer digits, of which one example is taught
    arm_variants.py BUNDLE --embed NAME N       there: one image N times through a variant, for who counts instructions

Nothing of training may be imported but to make the bundle. tests/arm.sh runs it under emulation.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from arm_python import BUNDLE, SHOTS, draw, stored_in

QUICK_DIGITS = 3
TRAINING = ("torch", "onnx", "onnxscript", "jax", "tensorflow", "timm", "safetensors")


def make(path: Path) -> None:
    """int8 is calibrated on procedural characters, which everyone has."""
    from edgemeta import Bundle
    from edgemeta.bundle import HeadRecipe, write_bundle
    from edgemeta.data import Glyphs
    from edgemeta.evaluation import as_rgb
    from edgemeta.export.bundling import _tolerance
    from edgemeta.export.variants import Wanted, make_variants

    bundle = Bundle.open(BUNDLE)
    drawn = Glyphs(alphabets=4, characters=5, drawers=4).load(bundle.input.height, bundle.input.width)
    wanted = Wanted(("onnx", "tflite"), ("fp32", "fp16", "int8"), as_rgb(drawn.pixels))
    inputs, outputs = bundle.golden()
    variants = [
        (variant._replace(tolerance=_tolerance(variant, graph, inputs, outputs)), graph)
        for variant, graph in make_variants(bundle.graph("onnx-fp32"), wanted)
    ]
    write_bundle(
        path,
        name="variants",
        embedding_id=bundle.embedding_id,
        input=bundle.input,
        normalisation=bundle.normalisation,
        head=HeadRecipe(bundle.head.name, temperature=bundle.head.temperature),
        variants=variants,
        golden_inputs=inputs,
        golden_outputs=outputs,
        licences=[],
        training={},
    )


def learn_and_predict(path: Path, bundle: Any, variant: str, quick: bool) -> dict[str, Any]:
    """Taught in one session, asked in the next: what is stored, what is predicted."""
    from edgemeta import Learner

    images, names = draw()
    digits, shots = (QUICK_DIGITS, 1) if quick else (len(images), SHOTS)
    asked = [image for digit in images[:digits, SHOTS:] for image in digit[:shots]]
    with Learner(bundle, path, variant=variant, prior=False) as learner:
        for digit, label in zip(images[:digits, :shots], names[:, 0], strict=False):
            learner.learn_many(list(digit), str(label))
    with Learner(bundle, path, variant=variant, prior=False) as learner:
        predicted = learner.predict_many(asked)
        stored = stored_in(learner)
    return {
        "labels": [each.label for each in predicted],
        "right": float(np.mean([p.label == n for p, n in zip(predicted, np.repeat(names[:, 0], shots), strict=False)])),
        "stored": stored.tolist(),
    }


def use(bundle: Any, runtimes: list[str], quick: bool) -> dict[str, Any]:
    """Every variant that a runtime here can run, verified and taught. Raises SystemExit where one fails, or should."""
    from edgemeta.export import verifying

    verifying.TIMED = 1  # what an emulator takes says nothing
    found: dict[str, Any] = {}
    checks = {check.variant: check for check in verifying.verify(bundle)}
    with tempfile.TemporaryDirectory() as folder:
        for variant in bundle.variants:
            check = checks[variant.name]
            if variant.runtime not in runtimes:
                if check.ok or "pip install" not in check.why:
                    raise SystemExit(f"{variant.name}: its runtime should be missing here: {check.why}")
                continue
            if not check.ok:
                raise SystemExit(f"{variant.name}: {check.why}")
            path = Path(folder) / f"{variant.name}.learned"
            found[variant.name] = learn_and_predict(path, bundle, variant.name, quick)
            found[variant.name]["verified"] = check.cosine
    if imported := [name for name in TRAINING if name in sys.modules]:
        raise SystemExit(f"a device should not import {', '.join(imported)}")
    return found


def embed(bundle: Any, variant: str, times: int) -> None:
    from edgemeta.runners import open_runner

    runner, images = open_runner(bundle, variant=variant, threads=1), bundle.golden()[0]
    for _ in range(times):
        runner.run(images[:1])


def compare(bundle: Any, found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Labels have to be the same, embeddings as near as the bundle promises of a variant. Raises SystemExit."""
    from edgemeta.export.simulating import worst_cosine

    for variant in bundle.variants:
        if variant.name not in found:
            continue
        here, there = found[variant.name], expected[variant.name]
        apart = 1 - worst_cosine(np.array(here["stored"]), np.array(there["stored"]))
        print(
            f"  {variant.name:11} 1 - cosine at most {1 - here['verified']:.1e} to the golden outputs, {apart:.1e} to "
            f"x86; {100 * here['right']:.0f} % of {len(here['labels'])} digits right"
        )
        if here["labels"] != there["labels"]:
            raise SystemExit(f"{variant.name}: the labels are {here['labels']}, not {there['labels']}")
        if apart > (variant.tolerance or bundle.manifest.golden.tolerance):
            raise SystemExit(f"{variant.name}: the embeddings are others")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path, nargs="?", help="what --make made")
    parser.add_argument("--make", type=Path, metavar="BUNDLE", help="write the bundle and end")
    parser.add_argument("--out", type=Path, help="write what came out")
    parser.add_argument("--against", type=Path, help="compare with what came out elsewhere")
    parser.add_argument("--runtimes", default="onnx,tflite", help="what is installed here")
    parser.add_argument("--quick", action="store_true", help="fewer digits")
    parser.add_argument("--embed", nargs=2, metavar=("NAME", "N"), help="only run that variant as often")
    options = parser.parse_args()
    if options.make is not None:
        return make(options.make)
    warnings.simplefilter("error", RuntimeWarning)
    from edgemeta import Bundle, kernels

    bundle = Bundle.open(options.bundle)
    if options.embed is not None:
        return embed(bundle, options.embed[0], int(options.embed[1]))
    found = use(bundle, options.runtimes.split(","), options.quick)
    print(
        f"{platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}, kernels {kernels.name()}: "
        f"{len(found)} of {len(bundle.variants)} variants used"
    )
    if not found:
        raise SystemExit("no variant was used")
    if options.against is not None:
        compare(bundle, found, json.loads(options.against.read_text()))
    if options.out is not None:
        options.out.write_text(json.dumps(found))
    return None


if __name__ == "__main__":
    main()
