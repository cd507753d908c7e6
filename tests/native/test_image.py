"""Fitting an image: the C core against `edgemeta.imaging.fit`, to the byte, with every kernel of this machine."""

from __future__ import annotations

import ctypes
import itertools
import subprocess
from pathlib import Path

import numpy as np
import pytest
from library import BUILD, kernel_names, kernels, load, memory, pointer

from edgemeta import imaging

RGB, BGR, RGBA, GREY, NV12, YUYV = range(1, 7)
DEPTH = {RGB: 3, BGR: 3, RGBA: 4, GREY: 1, NV12: 1, YUYV: 2}
OK, NULL, SIZE, VALUE, MEMORY = 0, -1, -2, -3, -4
LIMIT = 65536


class Image(ctypes.Structure):
    _fields_ = (
        ("pixels", ctypes.c_void_p),
        ("width", ctypes.c_uint32),
        ("height", ctypes.c_uint32),
        ("stride", ctypes.c_size_t),
        ("format", ctypes.c_int),
        ("chroma", ctypes.c_void_p),
        ("chroma_stride", ctypes.c_size_t),
    )


@pytest.fixture(scope="module", autouse=True)
def library() -> ctypes.CDLL:
    found = load()
    found.em_fit_size.restype = ctypes.c_size_t
    found.em_fit_size.argtypes = [ctypes.c_uint32, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint32, ctypes.c_uint32]
    whole = [ctypes.c_void_p, ctypes.POINTER(Image), ctypes.c_uint32, ctypes.c_uint32]
    rest = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
    found.em_fit.argtypes = whole + rest
    found.em_fit_float.argtypes = [*whole, ctypes.c_void_p, ctypes.c_void_p, *rest]
    return found


def image_of(width, height, format, data, **more) -> Image:
    return Image(data.ctypes.data, width, height, more.pop("stride", 0), format, **more)


def fit(name, image, width, height, mean=None, std=None, floats=False):
    """The C core's answer. What it is given as memory and for the answer ends where it should."""
    size = load().em_fit_size(image.width, image.height, image.format, width, height)
    assert size > 0
    block = memory(size + 64)
    end = np.frombuffer((ctypes.c_uint8 * 64).from_address(block.value + size), dtype=np.uint8)
    end[:] = 0xA5
    if floats:
        out = np.full(height * width * 3 + 8, 1e30, np.float32)
        status = load().em_fit_float(
            kernels(name), image, width, height, pointer(mean), pointer(std), block, size, pointer(out)
        )
        assert (out[-8:] == np.float32(1e30)).all()
    else:
        out = np.full(height * width * 3 + 64, 0xA5, np.uint8)
        status = load().em_fit(kernels(name), image, width, height, block, size, pointer(out))
        assert (out[-64:] == 0xA5).all()
    assert status == OK
    assert (end == 0xA5).all()
    return out[: height * width * 3].reshape(height, width, 3)


def pixels(rng, height, width, depth, smooth=False):
    """Noise, or slopes that reach both 0 and 255."""
    if not smooth:
        return rng.integers(0, 256, (height, width, depth), dtype=np.uint8)
    y, x, c = np.ogrid[0:height, 0:width, 0:depth]
    wave = np.sin(y / 7.0 + c) + np.cos(x / 9.0 - c)
    return np.clip(np.rint(wave * 90 + 128), 0, 255).astype(np.uint8)


def expected(format, data, height, width):
    if format == GREY:
        data = data[..., 0]
    return imaging.fit(data, height, width, channels="bgr" if format == BGR else "rgb")


def bt601(y, u, v):
    """The formula of image.c."""
    c, d, e = 298 * (y.astype(np.int32) - 16), u.astype(np.int32) - 128, v.astype(np.int32) - 128
    sums = (c + 409 * e + 128, c - 100 * d - 208 * e + 128, c + 516 * d + 128)
    return np.clip(np.stack(sums, axis=-1) // 256, 0, 255).astype(np.uint8)


def from_yuv(format, data, chroma=None):
    """An image (height, width, depth) of NV12 or YUYV as RGB."""
    if format == YUYV:
        u, v = (np.repeat(data[:, at::2, 1], 2, axis=1) for at in (0, 1))
    else:
        u, v = (np.repeat(np.repeat(chroma[:, at::2], 2, axis=0), 2, axis=1) for at in (0, 1))
    return bt601(data[..., 0], u, v)


SIZES = (  # height, width of the image, then of the target
    (1, 1, 1, 1), (1, 1, 5, 3), (1, 9, 1, 1), (7, 1, 2, 2), (3, 2, 7, 7), (2, 2, 224, 224), (5, 6, 5, 6),
    (13, 17, 13, 13), (17, 13, 4, 13), (13, 17, 13, 5), (48, 64, 9, 12), (48, 64, 33, 31), (31, 47, 8, 96),
    (120, 160, 96, 96), (90, 121, 224, 224), (61, 300, 7, 7), (480, 640, 96, 96), (240, 321, 111, 96),
    (1, 700, 1, 3), (1, 5000, 3, 64), (5000, 1, 64, 3), (3, 2000, 1, 2000), (2000, 3, 2000, 1), (255, 256, 1, 1),
    (200, 200, 33, 33), (99, 99, 11, 11),
)  # fmt: skip


@pytest.mark.parametrize("format", [RGB, BGR, RGBA, GREY])
@pytest.mark.parametrize("smooth", [False, True])
def test_equals_the_reference(rng, format, smooth):
    for height, width, to_height, to_width in SIZES:
        data = pixels(rng, height, width, DEPTH[format], smooth)
        wanted = expected(format, data, to_height, to_width)
        for name in kernel_names():
            got = fit(name, image_of(width, height, format, data), to_width, to_height)
            np.testing.assert_array_equal(got, wanted, err_msg=f"{name} {height}x{width} {to_height}x{to_width}")


def test_any_size(rng):
    for _ in range(120):
        height, width, to_height, to_width = (int(x) for x in 2 ** rng.uniform(0, 7, 4))
        format = int(rng.choice([RGB, BGR, RGBA, GREY]))
        data = pixels(rng, height, width, DEPTH[format])
        wanted = expected(format, data, to_height, to_width)
        for name in kernel_names():
            np.testing.assert_array_equal(fit(name, image_of(width, height, format, data), to_width, to_height), wanted)


def test_every_number_of_taps(rng):
    for width in [*range(1, 90), 200, 1000]:
        data = pixels(rng, 5, width, 3)
        grey = np.ascontiguousarray(data[..., :1])
        for to_width in (1, 3, 7):
            wanted = imaging.fit(data, 5, to_width), imaging.fit(grey, 5, to_width)
            for name in kernel_names():
                np.testing.assert_array_equal(fit(name, image_of(width, 5, RGB, data), to_width, 5), wanted[0])
                np.testing.assert_array_equal(fit(name, image_of(width, 5, GREY, grey), to_width, 5), wanted[1])


def test_white_stays_white_and_long_sums_are_limited():
    white = np.full((1, LIMIT), 255, np.uint8)
    for to_width in (1, 3, 255, 1000):
        for name in kernel_names():
            for width, height in ((LIMIT, 1), (1, LIMIT)):
                image = image_of(width, height, GREY, white)
                out = fit(name, image, *((to_width, 1) if height == 1 else (1, to_width)))
                assert (out == 255).all()


@pytest.mark.parametrize("clear", [None, (0, 0), (239, 319), (100, 37), (30, 160)])
def test_opaque_images(rng, clear):
    """Alpha of 255, everywhere or but for one pixel, in the crop or outside."""
    for to in (96, 40, 224, 500):
        data = pixels(rng, 240, 320, 4)
        data[..., 3] = 255
        if clear is not None:
            data[clear][3] = 77
        wanted = expected(RGBA, data, to, to)
        for name in kernel_names():
            np.testing.assert_array_equal(fit(name, image_of(320, 240, RGBA, data), to, to), wanted)


@pytest.mark.parametrize("format", [RGB, RGBA, GREY])
def test_whole_and_large_reductions(rng, format):
    """Windows that are alike, and more taps than vectors are made for."""
    for factor, to in ((2, 40), (3, 40), (4, 25), (5, 96), (8, 21), (31, 9), (32, 9), (40, 7), (130, 3)):
        data = pixels(rng, 6, factor * to, DEPTH[format])
        wanted = expected(format, data, 6, to)
        for name in kernel_names():
            got = fit(name, image_of(factor * to, 6, format, data), to, 6)
            np.testing.assert_array_equal(got, wanted, err_msg=f"{name} {factor} {to}")
            tall = np.ascontiguousarray(data.transpose(1, 0, 2))
            got = fit(name, image_of(6, factor * to, format, tall), 6, to)
            np.testing.assert_array_equal(got, expected(format, tall, to, 6), err_msg=f"{name} {factor} {to}")


def test_every_alpha_and_colour():
    """All pairs of both, unchanged in size."""
    data = np.empty((256, 256, 4), np.uint8)
    data[..., :3] = np.arange(256)[:, None, None]
    data[..., 3] = np.arange(256)
    for name in kernel_names():
        np.testing.assert_array_equal(
            fit(name, image_of(256, 256, RGBA, data), 256, 256), expected(RGBA, data, 256, 256)
        )


@pytest.mark.parametrize("format", [RGB, BGR, RGBA, GREY])
def test_rows_may_lie_apart(rng, format):
    depth = DEPTH[format]
    for (height, width, to), gap in itertools.product(((30, 41, 12), (9, 5, 24)), (1, 7, 100)):
        sheet = rng.integers(0, 256, (height, width * depth + gap), dtype=np.uint8)
        data = np.ascontiguousarray(sheet[:, : width * depth]).reshape(height, width, depth)
        # The last row ends where the memory ends.
        flat = sheet.reshape(-1)[: sheet.size - gap].copy()
        image = image_of(width, height, format, flat, stride=width * depth + gap)
        for name in kernel_names():
            np.testing.assert_array_equal(fit(name, image, to, to), expected(format, data, to, to))


# --- YUV ----------------------------------------------------------------------------------------------------


def test_the_formula_is_bt601():
    every = np.arange(256, dtype=np.uint8)
    y, u, v = (x.reshape(-1) for x in np.meshgrid(every, every[::5], every[::5]))
    luma, blue, red = (y - 16.0) * 255 / 219, (u - 128.0) * 255 / 112, (v - 128.0) * 255 / 112
    exact = np.stack(
        (
            luma + 0.701 * red,
            luma - 0.114 * 0.886 / 0.587 * blue - 0.299 * 0.701 / 0.587 * red,
            luma + 0.886 * blue,
        ),
        axis=-1,
    )
    assert np.abs(bt601(y, u, v) - np.clip(exact, 0, 255)).max() < 1.5


@pytest.mark.parametrize("format", [NV12, YUYV])
def test_yuv_is_converted_and_then_resized(rng, format):
    sizes = ((2, 2, 1, 1), (2, 6, 3, 3), (48, 64, 9, 9), (46, 62, 20, 20), (44, 66, 33, 224), (240, 322, 96, 95))
    for (height, width, to_height, to_width), gap in itertools.product(sizes, (0, 10)):
        stride = width * DEPTH[format] + gap
        sheet = rng.integers(0, 256, (height, stride), dtype=np.uint8)
        data = sheet[:, : stride - gap].reshape(height, width, DEPTH[format])
        chroma = rng.integers(0, 256, (height // 2, stride), dtype=np.uint8)
        wanted = imaging.fit(from_yuv(format, data, chroma[:, :width]), to_height, to_width)
        images = [image_of(width, height, format, sheet, stride=stride if gap else 0)]
        if format == NV12:
            both = np.concatenate([sheet, chroma])
            close = np.ascontiguousarray(chroma[:, :width])
            images = [
                image_of(width, height, NV12, both, stride=stride),  # chroma follows, its rows as far apart
                image_of(width, height, NV12, both, stride=stride, chroma_stride=stride),
                image_of(width, height, NV12, sheet, stride=stride, chroma=close.ctypes.data),
                image_of(width, height, NV12, sheet, stride=stride, chroma=chroma.ctypes.data, chroma_stride=stride),
            ]
        for name, image in itertools.product(kernel_names(), images):
            np.testing.assert_array_equal(fit(name, image, to_width, to_height), wanted)


def test_every_luma_with_every_chroma():
    """Two rows and all U and V; Y takes all numbers over the images. Unchanged in size."""
    u, v = (x.astype(np.uint8) for x in np.meshgrid(np.arange(256), np.arange(256)))
    chroma = np.ascontiguousarray(np.stack([u, v], axis=-1).reshape(256, 512))
    for y in (*range(0, 256, 5), 16, 235):
        luma = np.full((512, 512), y, np.uint8)
        luma[::2] += 1
        wanted = from_yuv(NV12, luma[..., None], chroma)
        both = np.concatenate([luma, chroma])
        for name in kernel_names():
            np.testing.assert_array_equal(fit(name, image_of(512, 512, NV12, both), 512, 512), wanted)


# --- floats -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", [RGB, BGR, RGBA, GREY, NV12, YUYV])
def test_floats(rng, format):
    data = rng.integers(0, 256, (60, 40 * DEPTH[format]), dtype=np.uint8)
    image = image_of(40, 40, format, data)
    mean, std = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, -0.224, 0.225], np.float32)
    for name in kernel_names():
        small = fit(name, image, 23, 17).astype(np.float32) / np.float32(255)
        np.testing.assert_array_equal(fit(name, image, 23, 17, floats=True), small)
        np.testing.assert_array_equal(fit(name, image, 23, 17, mean, std, floats=True), (small - mean) / std)


# --- random images ------------------------------------------------------------------------------------------


def test_kernels_agree_on_random_images():
    """image_check.c, which runs on machines without Python too."""
    load()  # skips without a compiler
    here = Path(__file__).parent
    subprocess.run(["make", "-s", "-C", here, f"BUILD={BUILD}", str(BUILD / "image_check")], check=True)
    done = subprocess.run([BUILD / "image_check", "500"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("OK 500 images") and set(kernel_names()) <= set(done.stdout.split())


# --- errors -------------------------------------------------------------------------------------------------


def attempt(width=8, height=6, format=RGB, to=(4, 3), **change):
    """The status of a call that would be right but for the changes. The answer must not be touched then."""
    data = np.zeros(4096, np.uint8)
    image = image_of(width, height, format, data, **change.pop("image", {}))
    if change.pop("no_pixels", False):
        image.pixels = None
    size = change.pop("size", 1 << 20)
    block = memory(1 << 20)
    at = change.pop("memory", block.value)
    out, floats = np.full(512, 0xA5, np.uint8), np.full(512, 7, np.float32)
    kernel = change.pop("kernel", kernels())
    mean, std = (change.pop(x, np.ones(3, np.float32)) for x in ("mean", "std"))
    target, target_float = (None, None) if change.pop("no_out", False) else (pointer(out), pointer(floats))
    given = None if change.pop("no_image", False) else image
    assert not change
    status = load().em_fit(kernel, given, *to, at, size, target)
    status_float = load().em_fit_float(kernel, given, *to, pointer(mean), pointer(std), at, size, target_float)
    if status != OK:
        assert status == status_float
        assert (out == 0xA5).all()
    if status_float != OK:
        assert (floats == 7).all()
    return status, status_float


def test_right_calls():
    assert attempt() == (OK, OK)
    assert attempt(image={"stride": 24}) == (OK, OK)
    assert attempt(size=load().em_fit_size(8, 6, RGB, 4, 3)) == (OK, OK)
    assert attempt(mean=None, std=None) == (OK, OK)


@pytest.mark.parametrize("change", ["no_image", "no_pixels", "no_out"])
def test_what_is_missing(change):
    assert attempt(**{change: True}) == (NULL, NULL)


def test_null():
    assert attempt(kernel=None) == (NULL, NULL)
    assert attempt(memory=None) == (NULL, NULL)
    assert attempt(mean=None) == (OK, NULL)
    assert attempt(std=None) == (OK, NULL)


@pytest.mark.parametrize(
    "change",
    [
        {"width": 0},
        {"height": 0},
        {"to": (0, 3)},
        {"to": (4, 0)},
        {"width": LIMIT + 1, "height": 1},
        {"width": 1, "height": LIMIT + 1},
        {"width": 0xFFFFFFFF, "height": 0xFFFFFFFF},
        {"width": 8192, "height": 8193},
        {"to": (LIMIT + 1, 1)},
        {"to": (1, LIMIT + 1)},
        {"to": (8193, 8192)},
        {"image": {"stride": 23}},
        {"image": {"stride": 2**64 - 1}},
        {"image": {"stride": 2**62}},
        {"format": RGBA, "image": {"stride": 31}},
        {"format": GREY, "image": {"stride": 7}},
        {"format": YUYV, "image": {"stride": 15}},
        {"format": NV12, "image": {"stride": 7}},
        {"format": NV12, "image": {"chroma_stride": 7}},
        {"format": NV12, "image": {"chroma_stride": 2**63}},
        {"format": NV12, "width": 7},
        {"format": NV12, "height": 5},
        {"format": YUYV, "width": 7},
    ],
)
def test_sizes_that_cannot_be(change):
    assert attempt(**change) == (SIZE, SIZE)
    if "image" not in change:
        whole = {"width": 8, "height": 6, "format": RGB, "to": (4, 3), **change}
        assert load().em_fit_size(whole["width"], whole["height"], whole["format"], *whole["to"]) == 0


@pytest.mark.parametrize("format", [0, 7, -1, 1 << 30])
def test_formats_that_are_none(format):
    assert attempt(format=format) == (VALUE, VALUE)
    assert load().em_fit_size(8, 6, format, 4, 3) == 0


def test_memory_too_small_or_not_aligned():
    assert attempt(size=load().em_fit_size(8, 6, RGB, 4, 3) - 1) == (MEMORY, MEMORY)
    assert attempt(size=0) == (MEMORY, MEMORY)
    block = memory(1 << 20)
    assert attempt(memory=block.value + 4) == (MEMORY, MEMORY)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("which", ["mean", "std"])
def test_numbers_that_are_none(which, bad):
    for at in range(3):
        numbers = np.ones(3, np.float32)
        numbers[at] = bad
        assert attempt(**{which: numbers}) == (OK, VALUE)


@pytest.mark.parametrize("bad", [0.0, -0.0, 1e-45])
def test_std_that_cannot_be_divided_by(bad):
    assert attempt(std=np.array([1, 1, bad], np.float32), mean=np.zeros(3, np.float32)) == (OK, VALUE)


def test_the_largest_images_need_little_memory():
    assert 0 < load().em_fit_size(8192, 8192, RGB, 224, 224) < 1 << 20
    assert 0 < load().em_fit_size(LIMIT, 1024, NV12, 1024, LIMIT) < 1 << 23
    assert 0 < load().em_fit_size(LIMIT, 1024, RGBA, 1, 1) < 1 << 20
