"""The background and the prior classes of a bundle: the same bytes every time, and refused when damaged or hostile."""

from __future__ import annotations

import json
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgemeta.background import SHAPE, Background
from edgemeta.bundle import Bundle, HeadRecipe, canonical, headbin
from edgemeta.bundle.rewriting import rewrite_bundle
from edgemeta.errors import BundleDamagedError, BundleError, OptionError
from edgemeta.normalisation import Normalisation
from edgemeta.prior import PriorClasses

from .making import DIM, forge, members_of
from .making import make as make_any
from .test_attacks import CONFUSIONS, every_field, refused, resealed, take_all, with_manifest

LABELS = ("cup", "mug", "Ölkanne", "猫")


def make(path: Path, **changes: Any) -> Path:
    """With a head that can use prior classes."""
    return make_any(path, head=HeadRecipe("centred", temperature=2.0), **changes)


def background(scale: float = 1.0) -> Background:
    rates = np.linspace(1.0, 0.25, SHAPE[2], dtype=np.float32)
    values = np.broadcast_to(np.float32(scale) * rates, SHAPE).copy()
    values *= 1.0 + np.arange(SHAPE[0], dtype=np.float32)[:, None, None]
    return Background(values, 964, "omniglot, background part")


def prior() -> PriorClasses:
    means = np.random.default_rng(2).normal(size=(len(LABELS), DIM)).astype(np.float32)
    return PriorClasses(LABELS, means / (2 * np.linalg.norm(means, axis=1, keepdims=True)), 0.75, 0.125)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """Without a centre, so that the arrays of the head are 2, 3, 4 and 5."""
    path = tmp_path_factory.mktemp("optional") / "a.edgemeta"
    return make(path, normalisation=Normalisation(), background=background(), prior=prior())


# --- what is written is what is read --------------------------------------------------------------------


def same(found: Bundle, background: Background | None, prior: PriorClasses | None) -> None:
    assert (found.background is None) == (background is None) and (found.prior is None) == (prior is None)
    if background is not None and found.background is not None:
        assert (found.background.values == background.values).all() and found.background.values.dtype == np.float32
        assert (found.background.classes, found.background.source) == (background.classes, background.source)
        assert not found.background.values.flags.writeable
    if prior is not None and found.prior is not None:
        assert (found.prior.means == prior.means).all() and found.prior.means.dtype == np.float32
        assert (found.prior.labels, found.prior.within, found.prior.between) == (LABELS, 0.75, 0.125)
        assert not found.prior.means.flags.writeable


@pytest.mark.parametrize("parts", [{}, {"background"}, {"prior"}, {"background", "prior"}])
def test_roundtrip(tmp_path, parts):
    given: dict[str, Any] = {"background": background(), "prior": prior()}
    given = {name: value for name, value in given.items() if name in parts}
    for centre in (None, np.arange(DIM, dtype=np.float32)):
        path = make(tmp_path / "a.edgemeta", normalisation=Normalisation(centre=centre), **given)
        same(Bundle.open(path), given.get("background"), given.get("prior"))
        assert make(tmp_path / "b.edgemeta", normalisation=Normalisation(centre=centre), **given).read_bytes() == (
            path.read_bytes()
        )
        head = members_of(path)["head.bin"]
        assert headbin.encode(headbin.decode(head)) == head


def test_a_bundle_without_them_has_the_bytes_it_always_had(tmp_path):
    members = members_of(make_any(tmp_path / "a.edgemeta"))
    assert len(members["head.bin"]) == 320 and struct.unpack_from("<I", members["head.bin"], 20)[0] == 15
    assert not {"background", "prior"} & set(json.loads(members["manifest.json"]))
    shipped = Bundle.open("glyphs")
    head = members_of(shipped.path)["head.bin"]
    assert headbin.encode(headbin.decode(head)) == head


def test_the_layout_in_the_specification(whole):
    """Read as C would: offsets from the table, arrays in place."""
    head = members_of(whole)["head.bin"]
    assert struct.unpack_from("<I", head, 20)[0] & 48 == 48 and struct.unpack_from("<I", head, 144)[0] == 4
    table = [struct.unpack_from("<2I2Q", head, 192 + 32 * i) for i in range(4)]
    assert [row[:2] for row in table] == [(2, 1), (3, 1), (4, 2), (5, 3)]
    assert all(row[2] % 64 == 0 for row in table)
    values = np.frombuffer(head, "<f4", 270, table[0][2]).reshape(5, 6, 9)
    assert (values == background().values).all() and table[0][3] == 270
    assert (np.frombuffer(head, "<f4", table[1][3], table[1][2]).reshape(-1, DIM) == prior().means).all()
    assert head[table[2][2] :][: table[2][3]] == b"".join(label.encode() + b"\0" for label in LABELS)
    assert struct.unpack_from("<2d", head, table[3][2]) == (0.75, 0.125)


# --- a copy with other parts --------------------------------------------------------------------------------


def test_rewriting_changes_nothing_else(tmp_path):
    members = members_of(make(tmp_path / "a.edgemeta")) | {"x/mine": b"kept"}
    manifest = json.loads(members["manifest.json"]) | {"x": {"mine": 1}}
    plain = Bundle.open(forge(tmp_path / "a.edgemeta", members | {"manifest.json": canonical.dumps(manifest)}))
    both = rewrite_bundle(plain, tmp_path / "b.edgemeta", background=background(), prior=prior())
    same(both, background(), prior())
    changed = {"background": None, "prior": None, "members": {}}
    assert both.manifest._replace(**changed) == plain.manifest._replace(**changed)
    old, new = members_of(plain.path), members_of(both.path)
    assert {name for name in old if old[name] != new[name]} == {"manifest.json", "head.bin"} and set(old) == set(new)
    assert make(tmp_path / "c.edgemeta", background=background(), prior=prior()).read_bytes() == (
        rewrite_bundle(
            Bundle.open(make(tmp_path / "d.edgemeta")), tmp_path / "e.edgemeta", background=background(), prior=prior()
        ).path.read_bytes()
    )
    same(rewrite_bundle(both, tmp_path / "f.edgemeta", background=None), None, prior())
    same(rewrite_bundle(both, tmp_path / "f.edgemeta", background=background(2.0)), background(2.0), prior())
    same(rewrite_bundle(both, both.path, prior=None), background(), None)
    gone = rewrite_bundle(Bundle.open(both.path), tmp_path / "g.edgemeta", background=None)
    assert gone.path.read_bytes() == plain.path.read_bytes()


def test_what_cannot_be_rewritten(tmp_path):
    bundle = Bundle.open(make(tmp_path / "a.edgemeta"))
    before = bundle.path.read_bytes()
    other = PriorClasses(("a",), np.ones((1, DIM + 1), np.float32) / 10, 1.0, 1.0)
    many = PriorClasses(
        tuple(f"{i:05d}" + "x" * 200 for i in range(10_000)), np.zeros((10_000, DIM), np.float32), 1.0, 1.0
    )
    for wrong in ({"prior": other}, {"prior": many}, {"prior": "kept"}, {"background": np.ones(SHAPE)}):
        with pytest.raises(OptionError):
            rewrite_bundle(bundle, bundle.path, **wrong)  # type: ignore[arg-type]
        with pytest.raises(OptionError):
            make(tmp_path / "a.edgemeta", **wrong)
    with pytest.raises(OptionError, match=r"head\.bin"):
        wide = make(
            tmp_path / "w.edgemeta", golden_outputs=np.ones((3, 20_000), np.float32), normalisation=Normalisation()
        )
        means = np.zeros((1000, 20_000), np.float32)
        rewrite_bundle(
            Bundle.open(wide), wide, prior=PriorClasses(tuple(f"{i:04d}" for i in range(1000)), means, 1.0, 1.0)
        )
    assert bundle.path.read_bytes() == before
    bundle.path.write_bytes(before.replace(b"Identity", b"Identify"))
    with pytest.raises(BundleDamagedError, match="changed"):
        rewrite_bundle(bundle, tmp_path / "b.edgemeta", prior=prior())


# --- hostile and damaged files -------------------------------------------------------------------------------


def test_every_byte_of_the_head_is_checked(whole, tmp_path):
    """With CRC and hashes made to fit, a changed byte is refused unless it is content."""
    members = members_of(whole)
    head = members["head.bin"]
    offsets = [struct.unpack_from("<2I2Q", head, 192 + 32 * i)[2:] for i in range(4)]
    content = {*range(offsets[0][0], offsets[0][0] + 4 * 270), *range(offsets[1][0], offsets[1][0] + 4 * 4 * DIM)}
    for at in range(10, len(head)):
        if at in range(16, 20) or at in content:
            continue
        changed = resealed(head, at, bytes([head[at] ^ 0x40]))
        refused(forge(tmp_path / "a", members | {"head.bin": changed}), match=r"head\.bin")


def test_content_of_the_head_that_makes_no_sense(whole, tmp_path):
    members = members_of(whole)
    head = members["head.bin"]
    (values, _), (means, _), (labels, size), (spread, _) = (
        struct.unpack_from("<2Q", head, 200 + 32 * i) for i in range(4)
    )
    f4, f8 = (lambda x: struct.pack("<f", x)), (lambda x: struct.pack("<d", x))
    lies = [(values, f4(x)) for x in (np.nan, np.inf, 0.0, -1.0, -0.0, 0.01)] + [(values + 4, f4(100.0))]
    lies += [(means, f4(x)) for x in (np.nan, -np.inf, 1.5, 3e38)]
    lies += [(spread + at, f8(x)) for at in (0, 8) for x in (np.nan, np.inf, 0.0, -0.75, 0.5, 1e-310)]
    lies += [(labels + at, byte) for at in range(size) for byte in (b"\0", b"\x1b", b"\xff", b"z")]
    for at, value in lies:
        changed = resealed(head, at, value)
        if changed == head:
            continue
        refused(forge(tmp_path / "a", members | {"head.bin": changed}))
        try:
            assert headbin.encode(headbin.decode(changed)) == changed
            assert at >= labels  # only other labels, or another spread, can make sense without the manifest
        except BundleDamagedError as error:
            assert "\x1b" not in str(error)


@pytest.mark.parametrize("field", [0, 4, 8, 16])
@pytest.mark.parametrize("row", range(4))
def test_tables_that_lie(whole, tmp_path, row, field):
    """Kind, dtype, offset and count of each array: nothing else is taken, and no memory for what is not there."""
    members = members_of(whole)
    head, at = members["head.bin"], 192 + 32 * row + field
    size = 4 if field < 8 else 8
    tracemalloc.start()
    for value in (0, 1, 2, 3, 4, 5, 6, 63, 64, 270, 271, len(head), 1 << 31, (1 << 32) - 1, (1 << 63), (1 << 64) - 1):
        lie = (value % (1 << 8 * size)).to_bytes(size, "little")
        changed = resealed(head, at, lie)
        if changed != head:
            refused(forge(tmp_path / "a", members | {"head.bin": changed}), match=r"head\.bin")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_flags_and_arrays_that_do_not_fit(whole, tmp_path):
    members = members_of(whole)
    head = members["head.bin"]
    flags, count = struct.unpack_from("<I", head, 20)[0], 4
    for wrong in range(64):
        for arrays in range(7):
            if (wrong, arrays) == (flags, count):
                continue
            changed = resealed(resealed(head, 20, struct.pack("<I", wrong)), 144, struct.pack("<I", arrays))
            refused(forge(tmp_path / "a", members | {"head.bin": changed}), match=r"head\.bin")


def test_parts_in_one_of_the_twins_alone(whole, tmp_path):
    manifest, other = json.loads(members_of(whole)["manifest.json"]), members_of(make(tmp_path / "b.edgemeta"))
    for name in ("background", "prior"):
        left = {key: value for key, value in manifest.items() if key != name}
        refused(with_manifest(whole, tmp_path / "a", left), match="differ")
        more = json.loads(other["manifest.json"]) | {name: manifest[name]}
        refused(forge(tmp_path / "a", other | {"manifest.json": canonical.dumps(more)}), match="differ")
    for change in ({"labels": ["cup", "mug"]}, {"labels": [*LABELS, "猫猫"]}, {"within": 0.5}, {"between": 0.75}):
        changed = manifest | {"prior": manifest["prior"] | change}
        refused(with_manifest(whole, tmp_path / "a", changed), match="differ in the prior")


def test_every_field_of_every_wrong_type(whole, tmp_path):
    manifest = json.loads(members_of(whole)["manifest.json"])
    original, accepted = canonical.dumps(manifest), set()
    for path in every_field(manifest):
        if path[:1] not in (("background",), ("prior",)):
            continue
        for wrong in [*CONFUSIONS, 1.0, 2, [1], ["\x1b"], [None]]:
            changed = json.loads(original)
            parent = changed
            for key in path[:-1]:
                parent = parent[key]
            parent[path[-1]] = wrong
            if canonical.dumps(changed) == original:
                continue
            try:
                take_all(with_manifest(whole, tmp_path / "a", changed))
                accepted.add((*path, wrong))
            except BundleError as error:
                assert "\x1b" not in str(error)
    # What head.bin does not hold, and where these values are as good as the old ones.
    assert accepted == {
        ("background", "classes", 2),
        ("background", "source", ""),
        ("background", "source", "\x1b[31m"),
    }


def test_unknown_and_missing_keys(whole, tmp_path):
    manifest = json.loads(members_of(whole)["manifest.json"])
    for name in ("background", "prior"):
        for key in [*manifest[name], "zzz"]:
            changed = json.loads(json.dumps(manifest))
            if key in changed[name]:
                del changed[name][key]
            else:
                changed[name][key] = 1
            refused(with_manifest(whole, tmp_path / "a", changed), match=r"manifest\.json")


def test_many_edits_of_consistent_heads(whole, tmp_path):
    """Noise, with every hash and CRC made to fit: refused, or the very same bytes when written again."""
    members, random = members_of(whole), np.random.default_rng(7)
    head = members["head.bin"]
    for _ in range(400):
        data = head
        for at in random.integers(0, len(head), int(random.integers(1, 4))):
            data = resealed(data, int(at), bytes([int(random.integers(256))]))
        try:
            decoded = headbin.decode(resealed(data, 0, b""))
        except BundleError:
            continue
        assert headbin.encode(decoded) == resealed(data, 0, b"")


def test_labels_without_end_take_no_memory(whole):
    """16 MiB of empty labels would be a list of 128 MiB."""
    head = members_of(whole)["head.bin"] + bytes(16 << 20)
    lie = struct.pack("<2Q", len(head) - (16 << 20), 16 << 20)
    changed = resealed(head, 192 + 32 * 2 + 8, lie)
    tracemalloc.start()
    with pytest.raises(BundleDamagedError, match="do not fit together"):
        headbin.decode(changed)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_a_head_beyond_the_limit(whole, tmp_path):
    """Its size is refused before it is read."""
    members = members_of(whole)
    huge = forge(tmp_path / "a", members | {"head.bin": bytes(headbin.MAX_SIZE + 1)})
    tracemalloc.start()
    refused(huge, match="the most is")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_many_large_prior_classes(tmp_path):
    """10,000 labels in four alphabets; opening takes memory in proportion to what is there."""
    labels = tuple(sorted(f"{letter}{i}" for letter in "aéж猫" for i in range(2500)))
    means = np.random.default_rng(0).normal(size=(10_000, 64)).astype(np.float32)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    path = make(
        tmp_path / "a.edgemeta",
        golden_outputs=np.ones((3, 64), np.float32),
        normalisation=Normalisation(),
        prior=PriorClasses(labels, means, 0.5, 0.5),
    )
    tracemalloc.start()
    bundle = Bundle.open(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert bundle.prior is not None and bundle.prior.labels == labels and (bundle.prior.means == means).all()
    assert peak < 6 * means.nbytes
