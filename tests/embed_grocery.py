"""Grocery photos as embeddings of a frozen MobileNet that nobody trained for them: computed once, for `bench_heads.py`.

Needs the data beside the checkout and LiteRT (`pip install "edgemeta[tflite,images]"`). Writes z float32 (N, 1024),
y (N,), as an .npz.
"""

from __future__ import annotations

import argparse
import io
import itertools
import sys
from pathlib import Path

import numpy as np

from edgemeta.terminal import Progress

SHARED = Path(__file__).parents[2] / "shared" / "data"
DATA = SHARED / "grocery" / "grocery_dev_84.npz"
MODEL = SHARED / "models" / "coral" / "mobilenet_v1_1.0_224_quant_embedding_extractor.tflite"


def embed(data: Path, model: Path) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings float32 (N, D) of all photos, and their fine classes."""
    from ai_edge_litert.interpreter import Interpreter
    from PIL import Image

    photos = np.load(data, allow_pickle=False)
    interpreter = Interpreter(str(model))
    interpreter.allocate_tensors()
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    scale, zero = given["quantization"]
    _, height, width, _ = taken["shape"]
    edges, rows = photos["jpeg_offsets"], []
    progress = Progress("embed", len(edges) - 1)
    for number, (start, end) in enumerate(itertools.pairwise(edges)):
        jpeg = io.BytesIO(photos["jpeg_bytes"][start:end].tobytes())
        image = Image.open(jpeg).convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
        interpreter.set_tensor(taken["index"], np.asarray(image)[None])
        interpreter.invoke()
        rows.append((interpreter.get_tensor(given["index"]).ravel().astype(np.float32) - zero) * scale)
        progress.update(number + 1)
    progress.close()
    return np.array(rows, dtype=np.float32), photos["fine_id"].astype(np.int64)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/grocery.npz"))
    options = parser.parse_args()
    if not DATA.exists() or not MODEL.exists():
        print(f"the grocery photos and the model are not at {SHARED}", file=sys.stderr)
        return 2
    z, y = embed(DATA, MODEL)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez(options.out, z=z, y=y)
    return 0


if __name__ == "__main__":
    sys.exit(main())
