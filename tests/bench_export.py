"""What the precisions of an export cost: few-shot accuracy against float32 on the same 1,000 episodes, cosine, size.

Two backbones: the shipped glyphs on Omniglot's evaluation characters, calibrated on background ones; and a small
residual net trained here on half of the grocery classes, measured on the other half. `FUNCTIONS` are as in
bench_drift.py; data that are not beside the checkout are left out.
"""

from __future__ import annotations

import io
import itertools
import sys
import tempfile
from pathlib import Path

import numpy as np
from bench_drift import Measured
from embed_grocery import DATA as GROCERY

from edgemeta import Bundle, Learner
from edgemeta.bundle import HeadRecipe, write_bundle
from edgemeta.data import Omniglot
from edgemeta.data.labelled import LabelledImages
from edgemeta.evaluation import as_rgb, bundle_embed, evaluate
from edgemeta.export.simulating import worst_cosine
from edgemeta.export.variants import Wanted, make_variants, pick_images

OMNIGLOT = Path(__file__).parents[2] / "shared" / "data" / "omniglot"
EPISODES = 1000
# Ways, shots, and how many points int8 may lose.
SETTINGS = ((5, 1, 0.5), (5, 5, 0.5), (20, 1, 1.0))
SIDE, STEPS = 64, 500


def with_variants(bundle: Bundle, images: np.ndarray, folder: Path) -> Bundle:
    """The bundle's float32 graph in every format and precision."""
    graph, (inputs, outputs) = bundle.graph("onnx-fp32"), bundle.golden()
    write_bundle(
        folder / "all.edgemeta",
        name="all",
        embedding_id=bundle.embedding_id,
        input=bundle.input,
        normalisation=bundle.normalisation,
        head=HeadRecipe(bundle.head.name, temperature=bundle.head.temperature),
        variants=make_variants(graph, Wanted(("onnx", "tflite"), ("fp32", "fp16", "int8"), images)),
        golden_inputs=inputs,
        golden_outputs=outputs,
        licences=[],
        training={},
    )
    return Bundle.open(folder / "all.edgemeta")


def compared(name: str, bundle: Bundle, data: LabelledImages) -> list[Measured]:
    """Every variant against the first one."""
    figures, embedded = [], {}
    for variant in bundle.variants:
        with Learner(bundle, variant=variant.name) as learner:
            embedded[variant.name] = bundle_embed(learner)(data.pixels)
    reference, sizes = embedded["onnx-fp32"], {v.name: len(bundle.graph(v.name)) for v in bundle.variants}
    for variant in bundle.variants[1:]:
        if variant.precision != "int8":
            low = 0.99999 if variant.precision == "fp32" else 0.9999
            cosine = worst_cosine(embedded[variant.name], reference)
            figures.append(Measured(f"{name}, {variant.name}: worst cosine to fp32", cosine, "", low=low))
    for ways, shots, most in SETTINGS:
        accuracy = {
            key: _accuracy(raw, bundle, data, ways, shots) for key, raw in embedded.items() if "fp16" not in key
        }
        whole = accuracy["onnx-fp32"]
        figures.append(Measured(f"{name}, {ways}-way {shots}-shot, fp32", whole.accuracy, "%", ci95=whole.ci95))
        for key in ("onnx-int8", "tflite-int8"):
            lost = whole.accuracy - accuracy[key].accuracy
            figures.append(Measured(f"{name}, {ways}-way {shots}-shot, lost by {key}", lost, "points", high=most))
    for key in ("onnx-int8", "tflite-int8"):
        share = sizes[key] / sizes["onnx-fp32"]
        figures.append(Measured(f"{name}, {key}: size / fp32", share, "ratio", high=0.3))
    return figures


def _accuracy(raw: np.ndarray, bundle: Bundle, data: LabelledImages, ways: int, shots: int):
    return evaluate(lambda _: raw, lambda: Learner(bundle), data, ways=ways, shots=shots, queries=5, episodes=EPISODES)


def glyphs() -> list[Measured]:
    if not (OMNIGLOT / "images_evaluation.zip").exists():
        return []
    bundle = Bundle.open("glyphs")
    known = Omniglot(OMNIGLOT, "background").load(bundle.input.height, bundle.input.width)
    data = Omniglot(OMNIGLOT, "evaluation").load(bundle.input.height, bundle.input.width)
    with tempfile.TemporaryDirectory() as folder:
        made = with_variants(bundle, as_rgb(pick_images(known.pixels)), Path(folder))
        return compared("glyphs", made, data)


def grocery() -> list[Measured]:
    """Trained on the first half of the classes, in the order of their numbers."""
    if not GROCERY.exists():
        return []
    from edgemeta.data import open_source
    from edgemeta.export.bundling import export_checkpoint
    from edgemeta.meta.config import TrainConfig
    from edgemeta.meta.trainer import train

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first, second = write_halves(folder)
        config = TrainConfig(
            data=(f"folder:{first}",),
            method="pretrain",
            backbone="resnet",
            size=SIDE,
            colour="rgb",
            steps=STEPS,
            ways=5,
            batch=64,
            held_out=0,
            rotations=False,
        )
        train(config, folder / "run", quiet=True)
        bundle = export_checkpoint(folder / "run", folder / "grocery.edgemeta")
        images = pick_images(open_source(f"folder:{first}").load(SIDE, SIDE).pixels)
        made = with_variants(bundle, as_rgb(images), folder)
        return compared("grocery", made, open_source(f"folder:{second}").load(SIDE, SIDE))


def write_halves(folder: Path) -> tuple[Path, Path]:
    """The photos as files, a folder a class; halves of the classes apart."""
    from PIL import Image

    photos = np.load(GROCERY, allow_pickle=False)
    classes = np.unique(photos["fine_id"])
    for number, (start, end) in enumerate(itertools.pairwise(photos["jpeg_offsets"])):
        label = int(photos["fine_id"][number])
        half = "first" if label < classes[len(classes) // 2] else "second"
        place = folder / half / f"{label:02d}"
        place.mkdir(parents=True, exist_ok=True)
        Image.open(io.BytesIO(photos["jpeg_bytes"][start:end].tobytes())).save(place / f"{number:05d}.png")
    return folder / "first", folder / "second"


FUNCTIONS = (glyphs, grocery)

if __name__ == "__main__":
    missed = False
    for function in FUNCTIONS:
        for f in function():
            ok = (f.low is None or f.value >= f.low) and (f.high is None or f.value <= f.high)
            missed |= not ok
            bar = f.low if f.low is not None else f.high
            print(f"{f.name}: {f.value:.6g} {f.unit}" + (f" (bar {bar})" if bar else "") + ("" if ok else " MISSED"))
    sys.exit(missed)
