"""A folder of images, one sub-folder a class: what most people have."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import DataError, DataMissingError
from ..imaging import as_pixels, fit
from ..terminal import printable
from .labelled import LabelledImages

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})


@dataclass(frozen=True)
class Folder:
    """`root/CLASS/*.png` and so on; sub-folders of a class folder count for the class. One domain."""

    root: Path

    def load(self, height: int, width: int) -> LabelledImages:
        """All images fitted to (height, width), RGB. Raises DataMissingError, DataError, ImageError."""
        root = Path(self.root)
        if not root.is_dir():
            raise DataMissingError(f"there is no folder {printable(str(root))}; name one with a sub-folder a class")
        classes = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
        pixels, labels = [], []
        kept: list[str] = []
        for folder in classes:
            files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
            if not files:
                continue
            for path in files:
                pixels.append(fit(as_pixels(path), height, width))
                labels.append(len(kept))
            kept.append(folder.name)
        if not kept:
            raise DataError(f"{printable(str(root))} has no sub-folder with images in it (one folder a class)")
        return LabelledImages(
            np.stack(pixels),
            np.array(labels, dtype=np.int64),
            tuple(kept),
            np.zeros(len(kept), dtype=np.int64),
        )
