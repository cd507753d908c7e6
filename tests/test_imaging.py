"""Image fitting against Pillow: every mode, every direction, odd crops, and what must be refused."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edgemeta.errors import ImageError, MissingDependencyError, OptionError
from edgemeta.imaging import MAX_PIXELS, MAX_SIDE, as_pixels, crop_box, fit, resize

sides = st.integers(1, 200)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def pillow_in_two_steps(image: Image.Image, height: int, width: int) -> np.ndarray:
    """Rows, then columns: the order of Pillow up to 12, which Pillow 13 keeps only where it pays."""
    rows = image.resize((width, image.height), Image.Resampling.BILINEAR)
    return np.asarray(rows.resize((width, height), Image.Resampling.BILINEAR))


@given(sides, sides, sides, sides, st.sampled_from(["grey", "colour"]), st.integers(0, 2**32 - 1))
@settings(max_examples=150, deadline=None)
def test_resize_is_pillow(rows, columns, height, width, kind, seed):
    pixels = noise(rows, columns, *([3] if kind == "colour" else []), seed=seed)
    image = Image.fromarray(pixels)
    ours = resize(pixels, height, width)
    assert (ours == pillow_in_two_steps(image, height, width)).all()
    theirs = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(ours - theirs).max() <= 1


@given(sides, sides, sides, sides, st.integers(0, 2**32 - 1))
@settings(max_examples=150, deadline=None)
def test_fit_is_crop_and_resize(rows, columns, height, width, seed):
    pixels = noise(rows, columns, 3, seed=seed)
    box = crop_box(rows, columns, height, width)
    theirs = Image.fromarray(pixels).crop(box).resize((width, height), Image.Resampling.BILINEAR)
    ours = fit(pixels, height, width)
    assert ours.shape == (height, width, 3) and ours.dtype == np.uint8
    assert np.abs(ours.astype(int) - np.asarray(theirs)).max() <= 1


@given(sides, sides, sides, sides)
def test_the_crop_is_central_and_the_largest(rows, columns, height, width):
    left, top, right, bottom = crop_box(rows, columns, height, width)
    assert 0 <= left < right <= columns and 0 <= top < bottom <= rows
    assert (columns - right) - left in (0, 1) and (rows - bottom) - top in (0, 1)
    assert (left, right) == (0, columns) or (top, bottom) == (0, rows)
    # Within half a pixel of the target's shape, unless that is less than one pixel.
    if right - left < columns:
        assert right - left == 1 or abs((right - left) - rows * width / height) <= 0.5
    elif bottom - top < rows:
        assert bottom - top == 1 or abs((bottom - top) - columns * height / width) <= 0.5


@pytest.mark.parametrize(
    ("rows", "columns", "height", "width", "box"),
    [
        (480, 640, 84, 84, (80, 0, 560, 480)),
        (5, 8, 1, 1, (1, 0, 6, 5)),
        (8, 5, 1, 1, (0, 1, 5, 6)),
        (3, 9, 2, 3, (2, 0, 7, 3)),  # 4.5 columns become 5
        (1, 200, 200, 1, (99, 0, 100, 1)),
    ],
)
def test_crop_examples(rows, columns, height, width, box):
    assert crop_box(rows, columns, height, width) == box


def test_long_lines_are_cut_into_blocks():
    pixels = noise(700, 1500, 3)
    assert (resize(pixels, 97, 331) == pillow_in_two_steps(Image.fromarray(pixels), 97, 331)).all()
    assert (resize(pixels, 900, 1700) == pillow_in_two_steps(Image.fromarray(pixels), 900, 1700)).all()


def test_extremes_stay_extreme():
    for value in (0, 255):
        assert (fit(np.full((313, 1777), value, np.uint8), 29, 31) == value).all()


def test_a_batch_is_its_images():
    colour, grey = noise(5, 40, 30, 3), noise(5, 40, 30)
    for batch in (colour, grey):
        assert (resize(batch, 17, 19) == np.stack([resize(image, 17, 19) for image in batch])).all()
    narrow = noise(6, 9, 3)
    expected = np.stack([resize(image, 5, 5) for image in narrow])
    assert (resize(narrow, 5, 5, batch=True) == expected).all()
    assert resize(narrow, 5, 5).shape == (5, 5, 3)
    assert resize(noise(0, 9, 9), 5, 4).shape == (0, 5, 4)


def test_the_result_is_the_callers_own():
    pixels = noise(8, 8, 3)
    for result in (fit(pixels, 8, 8), resize(pixels, 8, 8)):
        assert (result == pixels).all()
        assert not np.shares_memory(result, pixels) and result.flags.c_contiguous and result.flags.writeable


def test_bgr_is_rgb_reversed():
    for depth in (3, 4):
        rgb = noise(31, 47, depth)
        bgr = rgb.copy()
        bgr[..., :3] = rgb[..., 2::-1]
        assert (fit(rgb, 20, 20) == fit(bgr, 20, 20, channels="bgr")).all()
        assert (as_pixels(bgr, "bgr") == rgb).all()
    assert (fit(noise(9, 9), 4, 4) == fit(noise(9, 9), 4, 4, channels="bgr")).all()


def test_grey_is_replicated_and_strides_do_not_matter():
    grey = noise(60, 80)
    expected = np.repeat(resize(grey[:, 10:70], 24, 24)[..., None], 3, axis=2)
    assert (fit(grey, 24, 24) == expected).all()
    assert (fit(grey[..., None], 24, 24) == expected).all()
    assert (fit(np.asfortranarray(grey), 24, 24) == expected).all()


def test_alpha_is_laid_over_white():
    rgba = noise(16, 16, 4)
    rgba[0, 0] = (7, 8, 9, 0)
    rgba[0, 1] = (7, 8, 9, 255)
    ours = fit(rgba, 16, 16)
    assert tuple(ours[0, 0]) == (255, 255, 255) and tuple(ours[0, 1]) == (7, 8, 9)
    white = Image.new("RGBA", (16, 16), "white")
    theirs = np.asarray(Image.alpha_composite(white, Image.fromarray(rgba)).convert("RGB"))
    assert np.abs(ours.astype(int) - theirs).max() <= 1


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((4, 4), np.uint16), "257"),
        (np.zeros((4, 4, 3), np.float32), "embedding"),
        (np.zeros((4, 4), np.bool_), "255"),
        (np.zeros((4, 4), np.int64), "int64"),
        (np.zeros((4, 4), object), "object"),
        (np.zeros((0, 4), np.uint8), "empty"),
        (np.zeros((4, 0, 3), np.uint8), "empty"),
        (np.zeros((4, 4, 0), np.uint8), "channels"),
        (np.zeros((4, 4, 2), np.uint8), "channels"),
        (np.zeros((4, 4, 5), np.uint8), "channels"),
        (np.zeros(4, np.uint8), r"\(H, W\)"),
        (np.uint8(4), "uint8"),
        (np.zeros((1, 4, 4, 3), np.uint8), r"\(H, W\)"),
        (np.broadcast_to(np.uint8(0), (1 << 14, 1 << 14)), "too large"),
        (np.broadcast_to(np.uint8(0), (1, MAX_SIDE + 1)), "too large"),
        ([[1, 2], [3, 4]], "list"),
        (None, "NoneType"),
        (7, "int"),
    ],
)
def test_what_is_not_an_image(image, words):
    for call in (lambda: fit(image, 8, 8), lambda: as_pixels(image)):
        with pytest.raises(ImageError, match=words) as caught:
            call()
        assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("target", [(0, 8), (8, 0), (-1, 8), (MAX_SIDE + 1, 1), (1 << 14, 1 << 14)])
def test_impossible_targets(target):
    for function in (fit, resize):
        with pytest.raises(ImageError, match="the size to fit"):
            function(noise(4, 4), *target)


def test_an_unknown_colour_order():
    for call in (lambda: fit(noise(4, 4, 3), 2, 2, channels="hsv"), lambda: as_pixels(noise(4, 4, 3), "RGB")):
        with pytest.raises(OptionError, match="rgb"):
            call()


# --- files and PIL images ---------------------------------------------------------------------------------


def every_mode() -> dict[str, Image.Image]:
    rgba = Image.fromarray(noise(20, 30, 4))
    rgb = rgba.convert("RGB")
    return {mode: rgb.convert(mode) for mode in ("1", "L", "P", "RGB", "CMYK", "YCbCr", "HSV")} | {
        "LA": rgba.convert("LA"),
        "RGBA": rgba,
        "PA": rgb.convert("P").convert("PA"),
    }


@pytest.mark.parametrize("mode", sorted(every_mode()))
def test_every_mode_of_pillow(mode):
    image = every_mode()[mode]
    pixels = as_pixels(image, "bgr")  # the order says nothing about a PIL image
    expected = {"1": "L", "L": "L", "LA": "RGBA", "PA": "RGBA", "RGBA": "RGBA"}.get(mode, "RGB")
    assert pixels.dtype == np.uint8 and (pixels == np.asarray(image.convert(expected))).all()
    assert fit(pixels, 8, 8).shape == (8, 8, 3)


def test_a_transparent_palette_and_a_transparent_grey(tmp_path):
    for mode in ("P", "L", "RGB"):
        image = Image.new(mode, (4, 4))
        path = tmp_path / f"{mode}.png"
        image.save(path, transparency=(0, 0, 0) if mode == "RGB" else 0)
        assert (fit(as_pixels(path), 4, 4) == 255).all(), mode


def test_paths_of_any_kind(tmp_path):
    pixels = noise(20, 30, 3)
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    for name in (path, str(path)):
        assert (as_pixels(name, "bgr") == pixels).all()


def test_exif_orientation(tmp_path):
    path = tmp_path / "turned.jpg"
    image = Image.fromarray(np.repeat(np.arange(64, dtype=np.uint8)[:, None] * 4, 32, axis=1))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rows of the file are columns of the scene
    image.save(path, exif=exif)
    assert as_pixels(path).shape == (32, 64)
    with Image.open(path) as opened:
        assert (as_pixels(opened) == as_pixels(path)).all()


def test_16_bits_and_floats_are_refused(tmp_path):
    path = tmp_path / "deep.png"
    Image.fromarray(np.full((4, 4), 40000, np.uint16)).save(path)
    for image in (path, Image.new("I", (4, 4)), Image.new("F", (4, 4))):
        with pytest.raises(ImageError, match="257"):
            as_pixels(image)


def test_files_that_are_no_images(tmp_path):
    whole = io.BytesIO()
    Image.fromarray(noise(64, 64, 3)).save(whole, "PNG")
    contents = {
        "empty": b"",
        "text.png": b"not an image",
        "cut.png": whole.getvalue()[:2000],
        "bad\x1b[31m.png": b"x",
    }
    for name, data in contents.items():
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(ImageError) as caught:
            as_pixels(path)
        assert name.split("\x1b")[0] in str(caught.value) and "\x1b" not in str(caught.value)
    for missing in (tmp_path / "none.png", tmp_path, "a\0b.png"):
        with pytest.raises(ImageError):
            as_pixels(missing)


def test_damaged_files_never_raise_anything_else(tmp_path):
    pixels, random = noise(24, 24, 3), np.random.default_rng(1)
    for kind in ("PNG", "GIF", "JPEG", "BMP", "TIFF"):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, kind)
        for _ in range(40):
            data = bytearray(buffer.getvalue())
            for at in random.integers(0, min(len(data), 400), 3):
                data[at] = random.integers(0, 256)
            path = tmp_path / f"damaged.{kind.lower()}"
            path.write_bytes(data)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with contextlib.suppress(ImageError):
                    as_pixels(path)


@pytest.mark.parametrize("side", [9000, 20000])
def test_decompression_bombs(tmp_path, side):
    assert side * side > MAX_PIXELS
    path = tmp_path / "bomb.png"
    # Written by hand: only the header says how large it is.
    header = b"IHDR" + side.to_bytes(4, "big") * 2 + b"\x08\x00\x00\x00\x00"
    chunks = [header, b"IDAT" + zlib.compress(b"\0" * 64)]
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    )
    with pytest.raises(ImageError, match="too large"):
        as_pixels(path)


def test_without_pillow(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "edgemeta\[images\]"'):
        as_pixels(tmp_path / "a.png")


def test_arrays_do_not_import_pillow():
    code = (
        "import sys, numpy as np; from edgemeta.imaging import as_pixels, fit; "
        "fit(as_pixels(np.zeros((9, 9, 3), np.uint8)), 4, 4); "
        "assert not {'PIL', 'zipfile', 'hashlib'} & set(sys.modules)"
    )
    spec = importlib.util.find_spec("edgemeta.imaging")
    assert spec is not None and spec.origin is not None
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(spec.origin).parents[1])
