"""Image files to pixels, for the data sources (Pillow, imported when used)."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, MissingDependencyError
from ..terminal import printable


def decode(content: bytes, name: str) -> NDArray[np.uint8]:
    """A grey image file's bytes to uint8 (H, W). Raises DataError with `name` when it is no image."""
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingDependencyError('reading image files needs Pillow: pip install "edgemeta[images]"') from error
    try:
        with Image.open(io.BytesIO(content)) as image:
            return np.asarray(image.convert("L"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{printable(name)} is not a readable image ({error}); replace or remove it") from error
