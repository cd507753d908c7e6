"""A camera's frame to a graph's input: `em_fit` of the C core against Pillow and NumPy, side by side in one thread.

    python tests/bench_image.py [rgb bgr rgba rgba-clear grey nv12 yuyv]

For each format, 640 x 480 to 96 x 96 and 224 x 224, as uint8 and as float32 ((x / 255 - mean) / std). Runs alternate; a
figure is the ratio of the medians, of the thread's own time, so that a busy machine does not count. What Pillow and
NumPy are given is their fastest usual way to the same pixels:

    rgb    Image.fromarray(frame).crop(box).resize(size, BILINEAR), then np.asarray
    bgr    the same of frame[:, :, ::-1]
    rgba   cropped, then .convert("RGB"): right for a camera's opaque frames
    rgba-clear  frames with all kinds of alpha, pasted on white
    grey   resized as "L", then .convert("RGB")
    nv12, yuyv  the faster one of: BT.601 in NumPy; planes merged as "YCbCr", stretched by a table and converted by
           Pillow, which rounds in between and so is only near the formula

$EDGEMETA_KERNELS forces an instruction set.
"""

from __future__ import annotations

import ctypes
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgemeta.imaging import crop_box
from edgemeta.terminal import table

sys.path.insert(0, str(Path(__file__).parent / "native"))
from library import kernels, load, memory, pointer

WIDTH, HEIGHT = 640, 480
SIDES = (96, 224)
FORMATS = {"rgb": 1, "bgr": 2, "rgba": 3, "rgba-clear": 3, "grey": 4, "nv12": 5, "yuyv": 6}
ROUNDS = 60
BAR = 1 / 8
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
# BT.601's limited range to the full range that Pillow's YCbCr has, a table for Y and one each for U and V.
_BYTES = np.arange(256)
_LUMA = np.clip(np.rint((_BYTES - 16) * 255 / 219), 0, 255).astype(int).tolist()
_CHROMA = np.clip(np.rint((_BYTES - 128) * 255 / 224 + 128), 0, 255).astype(int).tolist()
STRETCH = _LUMA + _CHROMA + _CHROMA

Pixels = NDArray[np.uint8]
Box = tuple[int, int, int, int]


class _Image(ctypes.Structure):
    """em_image of edgemeta.h."""

    _fields_ = (
        ("pixels", ctypes.c_void_p),
        ("width", ctypes.c_uint32),
        ("height", ctypes.c_uint32),
        ("stride", ctypes.c_size_t),
        ("format", ctypes.c_int),
        ("chroma", ctypes.c_void_p),
        ("chroma_stride", ctypes.c_size_t),
    )


@dataclass(frozen=True)
class Case:
    """One row of the table: medians of our time and of Pillow's and NumPy's, in microseconds."""

    name: str
    side: int
    kind: str
    ours: float
    theirs: float

    @property
    def ratio(self) -> float:
        return self.ours / self.theirs


def main(names: Sequence[str] = tuple(FORMATS)) -> list[Case]:
    """Measure the formats of those names, print a table, and return its rows."""
    cases = [case for name in names for side in SIDES for case in _measure(name, side)]
    rows = [
        [c.name, f"{c.side} x {c.side}", c.kind, f"{c.ours:.0f}", f"{c.theirs:.0f}", f"1/{1 / c.ratio:.1f}"]
        for c in cases
    ]
    print(table([["format", "to", "as", "ours us", "Pillow + NumPy us", "ratio"], *rows]))
    worst = max(cases, key=lambda case: case.ratio)
    print(f"kernels: {load().em_kernels_name(kernels()).decode()}; worst 1/{1 / worst.ratio:.1f}, bar 1/{1 / BAR:.0f}")
    return cases


def _measure(name: str, side: int) -> list[Case]:
    frame = _frame(name)
    cases = []
    for kind in ("uint8", "float32"):
        best: tuple[float, float] | None = None
        for theirs in _theirs(name, frame, side):
            done = (lambda way=theirs: _scaled(way())) if kind == "float32" else theirs
            pair = _medians(_ours(name, frame, side, kind), done)
            if best is None or pair[1] < best[1]:
                best = pair
        assert best is not None
        cases.append(Case(name, side, kind, *best))
    return cases


def _medians(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float]:
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS + 3):
        for way, taken in zip((ours, theirs), times, strict=True):
            started = time.thread_time()
            way()
            taken.append(1e6 * (time.thread_time() - started))
    return statistics.median(times[0][3:]), statistics.median(times[1][3:])


# --- ours ---------------------------------------------------------------------------------------------------


def _ours(name: str, frame: Pixels, side: int, kind: str) -> Callable[[], object]:
    """The C function with everything that it is given ready, as a program has it that fits frame after frame."""
    library = load()
    library.em_fit_size.restype = ctypes.c_size_t
    image = _Image(frame.ctypes.data, WIDTH, HEIGHT, 0, FORMATS[name], None, 0)
    size = library.em_fit_size(WIDTH, HEIGHT, FORMATS[name], side, side)
    out = np.empty((side, side, 3), kind)
    first: list[Any] = [kernels(), ctypes.byref(image), ctypes.c_uint32(side), ctypes.c_uint32(side)]
    last: list[Any] = [memory(size), ctypes.c_size_t(size), pointer(out)]
    middle = [pointer(MEAN), pointer(STD)] if kind == "float32" else []
    function = partial(library.em_fit_float if middle else library.em_fit, *first, *middle, *last)
    function.kept = (frame, image, out)  # type: ignore[attr-defined]
    assert function() == 0
    return function


# --- theirs -------------------------------------------------------------------------------------------------


def _scaled(pixels: Pixels) -> NDArray[np.float32]:
    scaled = pixels.astype(np.float32)
    scaled /= 255
    scaled -= MEAN
    scaled /= STD
    return scaled


def _frame(name: str) -> Pixels:
    """A frame of smooth shapes and some noise, in the format's layout."""
    rng = np.random.default_rng(0)
    y, x, c = np.ogrid[0:HEIGHT, 0:WIDTH, 0:4]
    sheet = 128 + 60 * np.sin(x / 37 + c) + 50 * np.cos(y / 23 - c) + rng.normal(0, 6, (HEIGHT, WIDTH, 4))
    colours = np.clip(sheet, 0, 255).astype(np.uint8)
    if name == "rgba":
        colours[..., 3] = 255
    shapes = {
        "rgb": colours[..., :3],
        "bgr": colours[..., :3],
        "rgba": colours,
        "rgba-clear": colours,
        "grey": colours[..., 0],
        "nv12": np.concatenate([colours[..., 0], colours[: HEIGHT // 2, :, 1]]),
        "yuyv": colours[..., :2],
    }
    return np.ascontiguousarray(shapes[name])


def _theirs(name: str, frame: Pixels, side: int) -> list[Callable[[], Pixels]]:
    left, top, right, bottom = box = crop_box(HEIGHT, WIDTH, side, side)

    def resized(image: Image.Image) -> Pixels:
        return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))

    def on_white() -> Pixels:
        white, image = Image.new("RGB", (right - left, bottom - top), "white"), Image.fromarray(frame).crop(box)
        white.paste(image, (0, 0), image)
        return resized(white)

    ways: dict[str, list[Callable[[], Pixels]]] = {
        "rgb": [lambda: resized(Image.fromarray(frame).crop(box))],
        "bgr": [lambda: resized(Image.fromarray(frame[:, :, ::-1]).crop(box))],
        "rgba": [lambda: resized(Image.fromarray(frame).crop(box).convert("RGB"))],
        "rgba-clear": [on_white],
        "grey": [
            lambda: np.asarray(
                Image.fromarray(frame).crop(box).resize((side, side), Image.Resampling.BILINEAR).convert("RGB")
            )
        ],
    }
    yuv: list[Callable[[], Pixels]] = [
        lambda: resized(Image.fromarray(_bt601(*_planes(name, frame, box)))),
        lambda: resized(_stretched(*_planes(name, frame, box))),
    ]
    return ways.get(name, yuv)


def _planes(name: str, frame: Pixels, box: Box) -> tuple[Pixels, Pixels, Pixels]:
    """Y, U and V of the crop, which begins and ends with whole pairs; U and V are smaller."""
    left, top, right, bottom = box
    if name == "yuyv":
        y, uv = frame[top:bottom, left:right, 0], frame[top:bottom, left:right, 1].reshape(bottom - top, -1, 2)
    else:
        y, uv = frame[top:bottom, left:right], frame[HEIGHT:].reshape(HEIGHT // 2, -1, 2)
        uv = uv[top // 2 : bottom // 2, left // 2 : right // 2]
    return y, uv[..., 0], uv[..., 1]


def _bt601(y: Pixels, u: Pixels, v: Pixels) -> Pixels:
    c, d, e = y.astype(np.int32), u.astype(np.int32), v.astype(np.int32)
    c -= 16
    c *= 298
    d -= 128
    e -= 128
    out = np.empty((*y.shape, 3), np.uint8)
    for channel, part in enumerate((409 * e + 128, -100 * d - 208 * e + 128, 516 * d + 128)):
        sums = c.reshape(len(u), len(y) // len(u), -1, 2) + part[:, None, :, None]
        sums >>= 8
        np.clip(sums, 0, 255, out=sums)
        out[..., channel] = sums.reshape(y.shape)
    return out


def _stretched(y: Pixels, u: Pixels, v: Pixels) -> Image.Image:
    luma, *chroma = (Image.fromarray(np.ascontiguousarray(plane)) for plane in (y, u, v))
    large = [plane.resize(luma.size, Image.Resampling.NEAREST) for plane in chroma]
    return Image.merge("YCbCr", (luma, *large)).point(STRETCH).convert("RGB")


if __name__ == "__main__":
    sys.exit(any(case.ratio > BAR for case in main(sys.argv[1:] or tuple(FORMATS))))
