"""An image to the size that a graph takes: centre crop, then antialiased bilinear resizing.

This is the reference for the C kernel, in NumPy alone. A triangle filter, widened by the factor of the
reduction, is applied along the rows and then along the columns; its weights are integers in units of 2^-22
and each pass rounds to 8 bits. That is Pillow's 8-bit `BILINEAR` bit for bit up to Pillow 12; Pillow 13 takes
the columns first where that is quicker, and then differs by one level here and there. Such sums are exact in
float64, so a BLAS product gives the very integers that Pillow's loops give.
"""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import kernels
from .errors import ImageError, MissingDependencyError, OptionError
from .terminal import printable

if TYPE_CHECKING:
    from PIL import Image

Pixels = NDArray[np.uint8]
Channels = Literal["rgb", "bgr"]

MAX_PIXELS = 1 << 26
MAX_SIDE = 1 << 16
# Pillow's PRECISION_BITS: 32 bits, less 8 for the pixel and 2 for overlapping weights.
WEIGHT_BITS = 22
# Float64 numbers held at a time (2 MiB), so that a photograph never exists as floats.
CHUNK = 1 << 18
# Longer lines are cut into blocks of outputs: a weight matrix of their full length is nearly all zeros.
DENSE_LINE = 256
BLOCK_OUTPUTS = 8


def fit(image: NDArray[Any], height: int, width: int, *, channels: str = "rgb") -> Pixels:
    """A uint8 image to RGB uint8 (height, width, 3): centre crop to the target's shape, then `resize`.

    `image` is (H, W) or (H, W, 1) grey, which is replicated; (H, W, 3) colour; or (H, W, 4) colour with
    straight alpha, which is laid over white: (c * a + 255 * (255 - a) + 127) // 255. `channels` ("rgb" or
    "bgr") is the order of the colours in arrays with 3 or 4 channels. The crop is that of `crop_box`.

    Raises ImageError for any other shape, a dtype other than uint8, an empty or too large image or target.
    """
    pixels = _with_channels(check_pixels(image))
    _check_target(height, width)
    found = kernels.fit(_rgb_order(pixels, channels), height, width)
    if found is not None:
        return found
    left, top, right, bottom = crop_box(pixels.shape[0], pixels.shape[1], height, width)
    pixels = _rgb_order(pixels[top:bottom, left:right], channels)
    if pixels.shape[2] == 4:
        pixels = _over_white(pixels)
    small = _resize_stack(pixels[None], height, width)[0]
    return np.repeat(small, 3, axis=2) if small.shape[2] == 1 else small


def resize(image: NDArray[Any], height: int, width: int, *, batch: bool | None = None) -> Pixels:
    """Resize uint8 (H, W) or (H, W, C), C of 1, 3 or 4, to (height, width) or (height, width, C).

    With `batch=True` the image has a leading axis: (N, H, W) or (N, H, W, C), N of any size. Left at None,
    four axes are a batch, and three are a batch of grey images if the last is longer than 4. Every channel is
    resized for itself, alpha too. L and RGB images come out as from Pillow's `resize(..., BILINEAR)`.
    Raises ImageError as `fit` does.
    """
    _check_target(height, width)
    if batch is None:
        shape = image.shape if isinstance(image, np.ndarray) else ()
        batch = len(shape) == 4 or (len(shape) == 3 and shape[2] > 4)
    if not batch:
        return _resize_stack(_with_channels(check_pixels(image))[None], height, width).reshape(
            height, width, *image.shape[2:]
        )
    if not isinstance(image, np.ndarray) or image.ndim not in (3, 4):
        raise ImageError("a batch of images is an array of shape (N, H, W) or (N, H, W, C)")
    # One image stands for all of them; it is made of zeros without memory, as the batch may be empty.
    check_pixels(np.broadcast_to(np.zeros((), image.dtype), image.shape[1:]))
    stack = image if image.ndim == 4 else image[..., None]
    return _resize_stack(stack, height, width).reshape(len(image), height, width, *image.shape[3:])


def crop_box(rows: int, columns: int, height: int, width: int) -> tuple[int, int, int, int]:
    """The centre crop of a rows x columns image with the shape of height x width: (left, top, right, bottom).

    One side is kept whole. The other is the exact length rounded to the nearest pixel, halves up, at least 1:
    (2 * rows * width + height) // (2 * height) columns where columns * height > rows * width, or else
    (2 * columns * height + width) // (2 * width) rows. What is cut off is split evenly; the odd pixel is cut
    at the right or at the bottom.
    """
    if columns * height > rows * width:
        kept_rows, kept_columns = rows, max(1, (2 * rows * width + height) // (2 * height))
    else:
        kept_rows, kept_columns = max(1, (2 * columns * height + width) // (2 * width)), columns
    left, top = (columns - kept_columns) // 2, (rows - kept_rows) // 2
    return left, top, left + kept_columns, top + kept_rows


def check_pixels(image: Any) -> Pixels:
    """`image` itself if it is a uint8 array (H, W) or (H, W, C) of a sane size; raises ImageError if not."""
    if not isinstance(image, np.ndarray):
        raise ImageError(f"an image is a uint8 array, a path or a PIL image, not {type(image).__name__}")
    _check_dtype(image.dtype)
    if image.ndim not in (2, 3):
        raise ImageError(f"an image has the shape (H, W) or (H, W, C), not {image.shape}")
    if image.ndim == 3 and image.shape[2] not in (1, 3, 4):
        raise ImageError(f"an image has 1, 3 or 4 channels in its last axis; the shape is {image.shape}")
    if 0 in image.shape:
        raise ImageError(f"the image is empty: its shape is {image.shape}")
    _check_size(image.shape[0], image.shape[1])
    return image


def as_pixels(x: object, channels: str = "rgb") -> Pixels:
    """Whatever a user calls an image, as uint8 (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) in RGB(A) order.

    `x` is a uint8 array, whose colours are in the order `channels`; a path (str or PathLike); or a PIL image.
    Files and PIL images are RGB whatever `channels` says, and are turned as their EXIF orientation says. The
    result can be a view of `x`; hand it to `fit` with its default order.

    Raises ImageError, which names the file; MissingDependencyError if a file is given and Pillow is missing.
    """
    if isinstance(x, np.ndarray):
        return _rgb_order(check_pixels(x), channels)
    _check_channels(channels)
    if isinstance(x, (str, os.PathLike)):
        return _read_file(os.fspath(x))
    # A PIL image exists only where Pillow was imported already: do not import it to ask.
    pil = sys.modules.get("PIL.Image")
    if pil is not None and isinstance(x, pil.Image):
        return _guarded_pixels(x, "the PIL image")
    return check_pixels(x)


# --- checks -------------------------------------------------------------------------------------------------


def _check_dtype(dtype: np.dtype[Any]) -> None:
    if dtype == np.uint8:
        return
    mend = "convert it to uint8, 0 to 255"
    if dtype.kind in "ui" and dtype.itemsize == 2:
        mend = "for 16 bits use (x // 257).astype(np.uint8), for 12 bits x // 16, for 10 bits x // 4"
    elif dtype.kind == "f":
        mend = "a float array is an embedding; for pixels in 0 to 1 use (x * 255).round().astype(np.uint8)"
    elif dtype.kind == "b":
        mend = "for a mask use x.astype(np.uint8) * 255"
    raise ImageError(f"an image is uint8, not {dtype}: {mend}")


def _check_size(rows: int, columns: int) -> None:
    if rows * columns > MAX_PIXELS or max(rows, columns) > MAX_SIDE:
        raise ImageError(
            f"the image is too large: {columns} x {rows} pixels; the most is {MAX_PIXELS} in all "
            f"and {MAX_SIDE} a side. Reduce it first"
        )


def _check_target(height: int, width: int) -> None:
    if height < 1 or width < 1:
        raise ImageError(f"the size to fit must be at least 1 x 1, not {width} x {height}")
    if height * width > MAX_PIXELS or max(height, width) > MAX_SIDE:
        raise ImageError(f"the size to fit is too large: {width} x {height}; the most is {MAX_PIXELS} pixels")


def _check_channels(channels: str) -> None:
    if channels not in ("rgb", "bgr"):
        raise OptionError(f"channels must be 'rgb' or 'bgr', not {channels!r}")


# --- colours ------------------------------------------------------------------------------------------------


def _with_channels(pixels: Pixels) -> Pixels:
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _rgb_order(pixels: Pixels, channels: str) -> Pixels:
    """The colours in the order RGB or RGBA; grey as it is. A view but for BGRA."""
    _check_channels(channels)
    if channels == "rgb" or pixels.ndim == 2 or pixels.shape[2] == 1:
        return pixels
    return pixels[..., ::-1] if pixels.shape[2] == 3 else pixels[..., [2, 1, 0, 3]]


def _over_white(rgba: Pixels) -> Pixels:
    colour, alpha = rgba[..., :3].astype(np.uint32), rgba[..., 3:].astype(np.uint32)
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


# --- resizing -----------------------------------------------------------------------------------------------


class _Block(NamedTuple):
    """Outputs `first` to `last` of a line from inputs `start` to `stop`; weights (inputs, outputs)."""

    first: int
    last: int
    start: int
    stop: int
    weights: NDArray[np.float64]


@lru_cache(maxsize=32)
def _blocks(inputs: int, outputs: int) -> tuple[_Block, ...]:
    """The weights that turn a line of `inputs` pixels into one of `outputs` pixels."""
    step = outputs if inputs <= DENSE_LINE else BLOCK_OUTPUTS
    return tuple(_block(inputs, outputs, first, min(first + step, outputs)) for first in range(0, outputs, step))


def _block(inputs: int, outputs: int, first: int, last: int) -> _Block:
    """Pillow's precompute_coeffs and normalize_coeffs_8bpc (its Resample.c) for some of the outputs.

    Every operation is in float64 and in Pillow's order, because a weight that lies on a rounding edge would
    otherwise come out one unit apart.
    """
    scale = inputs / outputs
    support = max(scale, 1.0)  # the triangle's half-width; an enlargement does not narrow it
    centre = (np.arange(first, last) + 0.5) * scale
    low = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    high = np.minimum((centre + support + 0.5).astype(np.int64), inputs)
    start, stop = int(low.min()), int(high.max())

    tap = np.arange(start, stop)[:, None]
    # Pillow counts taps from the window's own start; the grouping of the additions follows it.
    distance = np.abs(((tap - low) + low - centre + 0.5) * (1.0 / support))
    weight = np.where((tap >= low) & (tap < high) & (distance < 1.0), 1.0 - distance, 0.0)
    # cumsum adds from the first tap to the last as C does; sum would add in pairs.
    total = np.cumsum(weight, axis=0)[-1]
    weight = weight / np.where(total == 0.0, 1.0, total)
    fixed = np.floor(weight * (1 << WEIGHT_BITS) + 0.5)
    return _Block(first, last, start, stop, np.ascontiguousarray(fixed / (1 << WEIGHT_BITS)))


def _resize_stack(stack: Pixels, height: int, width: int) -> Pixels:
    """(N, H, W, C) to (N, height, width, C). Rows first, then columns, rounded to 8 bits in between."""
    count, rows, columns, depth = stack.shape
    planes = np.ascontiguousarray(np.moveaxis(stack, 3, 1)).reshape(count * depth, rows, columns)
    if columns != width:
        planes = _along_rows(planes.reshape(-1, columns), width).reshape(count * depth, rows, width)
    if rows != height:
        planes = _along_columns(planes, height)
    small = np.moveaxis(planes.reshape(count, depth, height, width), 1, 3)
    return np.array(small, order="C")  # always the caller's own memory


def _along_rows(lines: Pixels, width: int) -> Pixels:
    """(M, W) to (M, width)."""
    result = np.empty((len(lines), width), np.uint8)
    for block in _blocks(lines.shape[1], width):
        step = max(1, CHUNK // (block.stop - block.start))
        for at in range(0, len(lines), step):
            part = lines[at : at + step, block.start : block.stop].astype(np.float64)
            result[at : at + step, block.first : block.last] = _to_8_bits(part @ block.weights)
    return result


def _along_columns(planes: Pixels, height: int) -> Pixels:
    """(P, H, W) to (P, height, W)."""
    count, rows, columns = planes.shape
    result = np.empty((count, height, columns), np.uint8)
    for block in _blocks(rows, height):
        step = max(1, CHUNK // ((block.stop - block.start) * columns))
        for at in range(0, count, step):
            part = planes[at : at + step, block.start : block.stop].astype(np.float64)
            result[at : at + step, block.first : block.last] = _to_8_bits(block.weights.T @ part)
    return result


def _to_8_bits(sums: NDArray[np.float64]) -> Pixels:
    """Round halves up. Weights are never negative, but their rounding can lift a long sum above 255."""
    sums += 0.5
    return np.minimum(sums, 255.0, out=sums).astype(np.uint8)


# --- files, through Pillow ----------------------------------------------------------------------------------


def _read_file(path: str | bytes) -> Pixels:
    name = printable(os.fsdecode(path))
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise MissingDependencyError(
            f'reading {name} needs Pillow: pip install "edgemeta[images]"', name="PIL"
        ) from error
    try:
        with Image.open(path) as image:
            return _guarded_pixels(image, name)
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError(f"{name}: there is no such file") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{name} is not an image that Pillow can read") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{name} is too large an image: the most is {MAX_PIXELS} pixels") from error
    except Exception as error:  # decoders meet damage with whatever exception their code ran into
        raise ImageError(f"{name} cannot be read as an image: {printable(str(error))}") from error


def _guarded_pixels(image: Image.Image, name: str) -> Pixels:
    """The pixels of a PIL image, its size checked before it is decoded. Raises ImageError alone."""
    try:
        _check_size(image.height, image.width)
        return check_pixels(_pil_pixels(image))
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error
    except Exception as error:
        raise ImageError(f"{name} cannot be read as an image: {printable(str(error))}") from error


def _pil_pixels(image: Image.Image) -> Pixels:
    from PIL import ImageOps

    if image.mode == "F" or image.mode.startswith("I"):
        raise ImageError(
            f"its pixels are not 8 bits (mode {image.mode}): divide 16-bit pixels by 257, convert them to "
            "uint8 and give the array"
        )
    upright = ImageOps.exif_transpose(image)
    return np.array(upright.convert(_mode(upright)), dtype=np.uint8)


def _mode(image: Image.Image) -> str:
    """The mode to convert to: L, RGB, or RGBA where anything is transparent."""
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        return "RGBA"
    if "transparency" in image.info and image.mode in ("L", "P", "RGB"):
        return "RGBA"
    return "L" if image.mode in ("1", "L") else "RGB"
