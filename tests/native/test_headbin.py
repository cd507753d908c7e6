"""head.bin read by C: every field is Python's, and whatever Python would refuse for its form, C refuses."""

from __future__ import annotations

import ctypes
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

import library
from bundle.making import DIM, make, members_of
from bundle.test_optional_parts import LABELS, background, prior

from edgemeta.bundle import HeadRecipe, headbin
from edgemeta.normalisation import Normalisation
from edgemeta.prior import PriorClasses

DAMAGED, VERSION, MEMORY, NULL = -10, -11, -4, -1
SHIPPED = library.ROOT / "edgemeta" / "models" / "glyphs.edgemeta"


class Headbin(ctypes.Structure):
    _fields_ = [
        ("embedding_id", ctypes.c_void_p),
        *((name, ctypes.c_uint32) for name in ("dim", "height", "width")),
        *((name, ctypes.c_double) for name in ("power", "scale", "lambda_", "temperature")),
        *((name, ctypes.c_int) for name in ("l2", "balance", "has_lambda")),
        ("head", ctypes.c_char_p),
        *((name, ctypes.c_void_p) for name in ("centre", "background", "prior_means", "prior_labels")),
        ("prior_count", ctypes.c_uint32),
        ("prior_within", ctypes.c_double),
        ("prior_between", ctypes.c_double),
    ]


class Exact:
    """Bytes of exactly their size, aligned to 64: a read beyond the end is seen by AddressSanitizer."""

    def __init__(self, data: bytes) -> None:
        self.libc = ctypes.CDLL(None)
        self.libc.posix_memalign.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t]
        self.libc.free.argtypes = [ctypes.c_void_p]
        block = ctypes.c_void_p()
        assert self.libc.posix_memalign(ctypes.byref(block), 64, len(data)) == 0
        self.at = block.value or 0
        ctypes.memmove(self.at, data, len(data))

    def __enter__(self) -> int:
        return self.at

    def __exit__(self, *_: object) -> None:
        self.libc.free(self.at)


def status_of(data: bytes, out: Headbin | None = None) -> int:
    head = Headbin() if out is None else out
    with Exact(data) as at:
        return library.load().em_headbin_read(ctypes.c_void_p(at), ctypes.c_size_t(len(data)), ctypes.byref(head))


def find(data: bytes) -> tuple[int, int, int]:
    """Status, offset, length."""
    offset, length = ctypes.c_size_t(7), ctypes.c_size_t(7)
    with Exact(data) as at:
        status = library.load().em_bundle_find_head(
            ctypes.c_void_p(at), ctypes.c_size_t(len(data)), ctypes.byref(offset), ctypes.byref(length)
        )
    if status:
        assert (offset.value, length.value) == (7, 7)
    return status, offset.value, length.value


def resealed(head: bytes, at: int, new: bytes) -> bytes:
    """With other bytes and a CRC that fits."""
    changed = bytearray(head)
    changed[at : at + len(new)] = new
    changed[16:20] = bytes(4)
    struct.pack_into("<I", changed, 16, zlib.crc32(changed))
    return bytes(changed)


def numbers(address: int | None, count: int) -> np.ndarray | None:
    if address is None:
        return None
    return np.frombuffer(ctypes.string_at(address, 4 * count), "<f4")


def compare(data: bytes) -> None:
    """Every field of head.bin is what Python reads."""
    wanted, found = headbin.decode(data), Headbin()
    with Exact(data) as at:
        assert library.load().em_headbin_read(ctypes.c_void_p(at), ctypes.c_size_t(len(data)), ctypes.byref(found)) == 0
        assert ctypes.string_at(found.embedding_id, 32) == wanted.embedding_id
        assert (found.dim, found.height, found.width) == (wanted.dim, wanted.input.height, wanted.input.width)
        n, recipe = wanted.normalisation, wanted.head
        assert (found.power, found.scale, bool(found.l2)) == (n.power, n.scale, n.l2)
        assert (found.lambda_, bool(found.has_lambda)) == (recipe.lambda_ or 0.0, recipe.lambda_ is not None)
        assert (found.temperature, bool(found.balance)) == (recipe.temperature, recipe.balance)
        assert found.head == recipe.name.encode()
        for name, count in (("centre", wanted.dim), ("background", 270)):
            mine, theirs = numbers(getattr(found, name), count), getattr(wanted, name)
            assert (mine is None) == (theirs is None)
            assert mine is None or (mine == theirs.reshape(-1)).all()
        if wanted.prior is None:
            assert (found.prior_count, found.prior_means, found.prior_labels) == (0, None, None)
        else:
            labels = b"".join(label.encode() + b"\0" for label in wanted.prior.labels)
            means = numbers(found.prior_means, wanted.dim * found.prior_count)
            assert found.prior_count == len(wanted.prior.labels)
            assert (means == wanted.prior.means.reshape(-1)).all()
            assert ctypes.string_at(found.prior_labels, len(labels)) == labels
            assert (found.prior_within, found.prior_between) == (wanted.prior.within, wanted.prior.between)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory) -> list[bytes]:
    """Bundles with every set of optional parts, one of them with all."""
    folder, out = tmp_path_factory.mktemp("headbin"), []
    for parts in ({}, {"background": background()}, {"prior": prior()}, {"background": background(), "prior": prior()}):
        for centre in (None, np.arange(DIM, dtype=np.float32)):
            head = HeadRecipe("centred", temperature=2.0) if parts else HeadRecipe("ridge", 0.25, 2.0, True)
            path = make(folder / "a.edgemeta", head=head, normalisation=Normalisation(centre=centre), **parts)
            out.append(path.read_bytes())
    return out


@pytest.fixture(scope="module")
def heads(bundles) -> list[bytes]:
    found = [find(data) for data in bundles]
    return [data[offset : offset + length] for data, (_, offset, length) in zip(bundles, found, strict=True)]


# --- what is read is what Python reads ----------------------------------------------------------------------


def test_every_field(heads):
    for head in heads:
        compare(head)


def test_the_shipped_bundle():
    data = SHIPPED.read_bytes()
    status, offset, length = find(data)
    assert status == 0 and data[offset : offset + length] == members_of(SHIPPED)["head.bin"] and offset % 64 == 0
    compare(data[offset : offset + length])


def test_finding_the_head(bundles, tmp_path):
    for data in bundles:
        (tmp_path / "a").write_bytes(data)
        status, offset, length = find(data)
        assert status == 0 and data[offset : offset + length] == members_of(tmp_path / "a")["head.bin"]


def test_many_prior_classes(tmp_path):
    labels = tuple(sorted(f"{letter}{i}" for letter in "aéж猫😀" for i in range(300)))
    means = np.zeros((len(labels), DIM), np.float32)
    means[:, 0] = np.float32(1.0)
    path = make(
        tmp_path / "a.edgemeta",
        head=HeadRecipe("centred", temperature=2.0),
        prior=PriorClasses(labels, means, 1e-3, 2.0),
    )
    compare(members_of(path)["head.bin"])


# --- damage --------------------------------------------------------------------------------------------------


def test_every_flipped_byte_is_refused(heads):
    for head in (heads[0], heads[5]):
        for at in range(len(head)):
            for flip in (1, 0x80, 0xFF):
                changed = bytearray(head)
                changed[at] ^= flip
                assert status_of(bytes(changed)) in (DAMAGED, VERSION)


def test_every_truncation_is_refused(heads):
    for head in (heads[0], heads[7]):
        for size in range(1, len(head)):
            assert status_of(head[:size]) == DAMAGED
        assert status_of(head + bytes(64)) == DAMAGED


def test_a_fitting_crc_does_not_help(heads):
    """With a right CRC a changed byte is refused unless it is content: where Python reads it too."""
    for head in (heads[1], heads[7]):
        spread = range(len(head) - 64, len(head) - 48) if head is heads[7] else ()
        for at in range(len(head)):
            if at in range(16, 20):
                continue
            for flip in (1, 0x40, 0x80):
                changed = resealed(head, at, bytes([head[at] ^ flip]))
                try:
                    headbin.decode(changed)
                    python = True
                except Exception:
                    python = False
                if status_of(changed) == 0:
                    compare(changed)
                elif python:  # what the manifest would have caught, of which C has none
                    assert at in range(64, 76) or at in range(80, 144) or at in spread


@pytest.mark.parametrize("row", range(5))
@pytest.mark.parametrize("field", [0, 4, 8, 16, 24])
def test_tables_that_lie(heads, row, field):
    head, at = heads[7], 192 + 32 * row + field
    size = 4 if field < 8 else 8
    for value in (0, 1, 2, 3, 4, 5, 6, 63, 64, 270, 271, len(head), 1 << 31, (1 << 32) - 1, 1 << 63, (1 << 64) - 1):
        changed = resealed(head, at, (value % (1 << 8 * size)).to_bytes(size, "little"))
        if changed != head:
            assert status_of(changed) == DAMAGED


def test_flags_and_counts_that_do_not_fit(heads):
    for head in (heads[1], heads[7]):
        flags, count = struct.unpack_from("<I", head, 20)[0], struct.unpack_from("<I", head, 144)[0]
        for wrong in range(128):
            for arrays in range(7):
                changed = resealed(resealed(head, 20, struct.pack("<I", wrong)), 144, struct.pack("<I", arrays))
                status = status_of(changed)
                if (wrong & ~7, arrays) != (flags & ~7, count) or wrong >= 64:
                    assert status == DAMAGED
                elif status == 0:
                    compare(changed)


def test_content_that_makes_no_sense(heads):
    head = heads[7]
    offsets = [struct.unpack_from("<2Q", head, 200 + 32 * i) for i in range(5)]
    (centre, _), (values, _), (means, _), (labels, size), (spread, _) = offsets
    f4, f8 = (lambda x: struct.pack("<f", x)), (lambda x: struct.pack("<d", x))
    lies = [(centre, f4(x)) for x in (np.nan, np.inf)]
    lies += [(values, f4(x)) for x in (np.nan, np.inf, 0.0, -1.0, -0.0, 0.01)] + [(values + 4, f4(100.0))]
    lies += [(means, f4(x)) for x in (np.nan, -np.inf, 1.5, 3e38)]
    lies += [(spread + at, f8(x)) for at in (0, 8) for x in (np.nan, np.inf, 0.0, -0.75)] + [(spread + 8, f8(1e-310))]
    lies += [(labels + at, byte) for at in range(size) for byte in (b"\0", b"\x1b", b"\xff", b"\xed\xa0\x80")]
    lies += [(80, f8(x)) for x in (np.nan, 0.0, 1.5, -1.0)] + [(88, f8(x)) for x in (np.nan, 0.0, 1.5)]
    lies += [(96, f8(x)) for x in (np.nan, 1.0, -0.0)] + [(104, f8(x)) for x in (np.nan, np.inf, 0.0)]
    lies += [(112, b".entred"), (112, bytes(32)), (112, b"a" * 32), (112, b"ab\0c"), (56, bytes(4)), (64, bytes(4))]
    lies += [(64, struct.pack("<I", 8193)), (60, b"\2"), (72, b"\4"), (77, b"\2"), (150, b"\1"), (10, b"\0")]
    for at, new in lies:
        changed = resealed(head, at, new)
        if changed != head:
            assert status_of(changed) == DAMAGED, (at, new)
    assert status_of(resealed(head, 8, b"\2\0")) == VERSION


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("a\x7f", "control"), ("a\u2028", "line separator"), (" ", "space"), ("\u3164", "filler"), ("\u200b", "zero"),
        ("x" * 256, "long"), ("\0", "empty"), (b"\xc0\x80", "overlong"), (b"\xf4\x90\x80\x80", "beyond"),
        (b"\xe7\x8c", "cut"),
    ],
)  # fmt: skip
def test_labels_that_are_none(tmp_path, bad, why):
    """One label of the right length is written over."""
    raw = bad.encode() if isinstance(bad, str) else bad
    good = "b" * max(1, min(255, len(raw)))
    path = make(
        tmp_path / "a.edgemeta",
        head=HeadRecipe("centred", temperature=2.0),
        prior=PriorClasses((good,), np.zeros((1, DIM), np.float32), 1.0, 1.0),
    )
    head = members_of(path)["head.bin"]
    at = head.rindex(good.encode() + b"\0")
    assert status_of(head) == 0
    assert status_of(resealed(head, at, raw)) == DAMAGED, why


def test_what_the_caller_must_give(heads):
    lib, out = library.load(), Headbin()
    block = library.memory(len(heads[0]) + 64)
    assert lib.em_headbin_read(None, ctypes.c_size_t(64), ctypes.byref(out)) == NULL
    assert lib.em_headbin_read(block, ctypes.c_size_t(64), None) == NULL
    assert lib.em_headbin_read(ctypes.c_void_p(block.value + 4), ctypes.c_size_t(320), ctypes.byref(out)) == MEMORY
    out.dim = 77
    assert status_of(heads[0][:-1], out) == DAMAGED and out.dim == 77


# --- the bundle around it ---------------------------------------------------------------------------------------


def test_a_damaged_container_is_refused(bundles):
    """Every byte that is not data of another member: headers, directory, end record, head.bin itself."""
    data = bundles[7]
    content = []
    position = 0
    while data[position : position + 4] == b"PK\3\4":
        size, name, extra = struct.unpack_from("<I2H", data, position + 22)
        start = position + 30 + name + extra
        if data[position + 30 : position + 30 + name] != b"head.bin":
            content += range(start, start + size)
        position = start + size
    content = set(content)
    for at in range(len(data)):
        if at not in content:
            changed = bytearray(data)
            changed[at] ^= 0x21
            assert find(bytes(changed))[0] == DAMAGED, at


def test_a_truncated_container_is_refused(bundles):
    data = bundles[0]
    for size in range(1, len(data)):
        assert find(data[:size])[0] == DAMAGED
    for changed in (data + b"\0", b"\0" + data, data + data[-22:]):
        assert find(changed)[0] == DAMAGED


def test_other_names_and_orders_are_refused(tmp_path):
    from bundle.making import forge_raw

    members = members_of(make(tmp_path / "a"))
    pairs = list(members.items())
    assert find(forge_raw(tmp_path / "b", pairs).read_bytes())[0] == 0
    for wrong in (
        pairs[1:], pairs[:1], [pairs[1], pairs[0], *pairs[2:]], [*pairs[:2], *pairs[:1:-1]], [*pairs, pairs[-1]],
        [*pairs, ("x/A", b""), ("x/a", b"")], [*pairs, ("../x", b"")], [*pairs, ("x//y", b"")], [*pairs, ("x/..", b"")],
        [*pairs, ("y/", b"")], [*pairs, ("x" * 129, b"")], [*pairs, *((f"x/{i:03d}", b"") for i in range(257))],
    ):  # fmt: skip
        assert find(forge_raw(tmp_path / "b", wrong).read_bytes())[0] == DAMAGED
    good = [*pairs, *((f"x/{i:03d}", b"z") for i in range(256 - len(pairs)))]
    assert find(forge_raw(tmp_path / "b", good).read_bytes())[0] == 0


def test_the_labels_are_those_of_the_prior():
    assert prior().labels == LABELS
