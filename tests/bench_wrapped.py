"""Real models that nobody here wrote, wrapped: how few photos of groceries they need, and what int8 kernels change.

Needs the models and the photos beside the checkout and LiteRT (`pip install "edgemeta[tflite,images]"`). The photos are
the development classes: 50 fine classes of fruit and vegetables.
"""

from __future__ import annotations

import argparse
import io
import itertools
import sys
import tempfile
from pathlib import Path

import numpy as np

from edgemeta import Bundle, Learner
from edgemeta.data import LabelledImages
from edgemeta.evaluation import bundle_embed, evaluate
from edgemeta.export.verifying import verify
from edgemeta.export.wrap import wrap
from edgemeta.imaging import as_pixels, fit
from edgemeta.terminal import Progress, table

SHARED = Path(__file__).parents[2] / "shared" / "data"
PHOTOS = SHARED / "grocery" / "grocery_dev_84.npz"
# With the scaling of the pixels where the file does not say it.
MODELS = {
    "coral/mobilenet_v1_0.25_128_quant": None,
    "coral/mobilenet_v1_0.5_160_quant": None,
    "coral/mobilenet_v1_0.75_192_quant": None,
    "coral/mobilenet_v1_1.0_224_quant_embedding_extractor": None,
    "coral/mobilenet_v2_1.0_224_quant": None,
    "mlperf_tiny/pretrainedResnet": "raw",
    "mlperf_tiny/pretrainedResnet_quant": None,
    "mlperf_tiny/pretrainedResnet_large_int8": None,
    "mlperf_tiny/vww_96_float": "0..1",
    "mlperf_tiny/vww_96_int8": None,
    "simpleshot/conv4_60classes": "0..1",
}


def groceries(height: int, width: int) -> LabelledImages:
    """All photos fitted as a device fits them."""
    from PIL import Image

    with np.load(PHOTOS, allow_pickle=False) as archive:  # which reads an array anew each time
        photos = dict(archive)
    names, labels = np.unique(photos["fine_id"], return_inverse=True)
    pixels = np.empty((len(labels), height, width, 3), dtype=np.uint8)
    for place, (start, end) in enumerate(itertools.pairwise(photos["jpeg_offsets"])):
        photo = Image.open(io.BytesIO(photos["jpeg_bytes"][start:end].tobytes()))
        pixels[place] = fit(as_pixels(photo), height, width)
    classes = tuple(str(photos["fine_names"][name]) for name in names)
    return LabelledImages(pixels, labels.astype(np.int64), classes, np.zeros(len(classes), dtype=np.int64))


def row(name: str, scale: str | None, out: Path, episodes: int) -> tuple[str, ...]:
    bundle = wrap(SHARED / "models" / f"{name}.tflite", out, output="auto", scale=scale)
    (check,) = verify(bundle)
    data = groceries(bundle.input.height, bundle.input.width)
    with Learner(bundle) as learner:
        raw = bundle_embed(learner)(data.pixels)
    found = []
    for shots in (1, 5):
        progress = Progress(f"{name} {shots}", episodes)
        one = evaluate(
            lambda _: raw,
            lambda: Learner(bundle, prior=False),
            data,
            ways=5,
            shots=shots,
            episodes=episodes,
            progress=progress,
        )
        progress.close()
        found.append(f"{one.accuracy:.2f} +- {one.ci95:.2f} ({one.head})")
    size = f"{len(Bundle.open(out).graph(bundle.variants[0].name)) / 1e6:.2f} MB"
    return (Path(name).name, str(bundle.dim), size, f"{check.cosine:.4f}", *found)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--only", default="", help="models with this in their name")
    options = parser.parse_args()
    if not PHOTOS.exists():
        print(f"the grocery photos are not at {PHOTOS}", file=sys.stderr)
        return 2
    rows = [("model", "numbers", "graph", "golden, worst cosine", "5-way 1-shot, %", "5-way 5-shot, %")]
    with tempfile.TemporaryDirectory() as folder:
        for name, scale in MODELS.items():
            if options.only in name:
                rows.append(row(name, scale, Path(folder) / "wrapped.edgemeta", options.episodes))
                print("  ".join(rows[-1]), file=sys.stderr)
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
