"""Hostile and damaged files: always an error of the library's own, never another one, never other content."""

from __future__ import annotations

import json
import struct
import tracemalloc
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgemeta.bundle import Bundle, archive, canonical, headbin
from edgemeta.errors import BundleDamagedError, BundleError, BundleVersionError

from .making import content, field, forge, forge_raw, make, members_of, onnx_graph


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("whole") / "a.edgemeta")


def refused(path: Path, data: bytes | None = None, match: str | None = None) -> None:
    """The file is refused, by opening it or by taking all that is in it."""
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(BundleError, match=match):
        take_all(path)


def take_all(path: Path) -> None:
    bundle = Bundle.open(path)
    bundle.golden()
    for variant in bundle.variants:
        bundle.graph(variant.name)


# --- bytes --------------------------------------------------------------------------------------------


def test_truncated_anywhere(whole, tmp_path):
    data = whole.read_bytes()
    for size in [*range(0, len(data), 13), *range(len(data) - 30, len(data))]:
        refused(tmp_path / "a", data[:size])


def test_every_byte_flipped(whole, tmp_path):
    """Headers, padding and data, one byte in three; the manifest's first half and the directory, all."""
    data = bytearray(whole.read_bytes())
    random = np.random.default_rng(3)
    directory = data.index(b"PK\x01\x02")
    for at in [*range(700), *range(700, directory, 3), *range(directory, len(data))]:
        old = data[at]
        data[at] ^= 1 << int(random.integers(8))
        refused(tmp_path / "a", bytes(data))
        data[at] = old


def test_bytes_before_between_and_after(whole, tmp_path):
    data = whole.read_bytes()
    for changed in (
        b"\0" + data,
        data + b"\0",
        data + data,
        b"\x7fELF" + data,
        data[:64] + b"\0" + data[64:],
    ):
        refused(tmp_path / "a", changed)


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_random_bytes(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "random"
    refused(path, data)
    refused(path, data + struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 1, 1, len(data), 0, 0))


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_random_edits(whole, tmp_path_factory, data):
    """Splices of the file with itself and with noise. What still opens must be the very same content."""
    original = whole.read_bytes()
    changed = bytearray(original)
    for _ in range(data.draw(st.integers(1, 3))):
        at, cut = data.draw(st.integers(0, len(original))), data.draw(st.integers(0, 40))
        source = data.draw(st.integers(0, len(original)))
        noise = data.draw(st.one_of(st.binary(max_size=40), st.just(original[source : source + 40])))
        changed[at : at + cut] = noise
    if bytes(changed) != original:
        refused(tmp_path_factory.getbasetemp() / "edited", bytes(changed))


def test_many_edits_of_consistent_files(whole, tmp_path):
    """Noise in a member, with every hash and CRC made to fit: other errors of the tree, or a sound bundle."""
    members, random = members_of(whole), np.random.default_rng(7)
    for round_ in range(300):
        name = ["manifest.json", "head.bin", "graphs/onnx-fp32.onnx"][round_ % 3]
        data = bytearray(members[name])
        for at in random.integers(0, len(data), int(random.integers(1, 4))):
            data[at] = random.integers(256)
        path = tmp_path / "a"
        try:
            forge(path, members | {name: bytes(data)}, rehash=name != "manifest.json")
            take_all(path)
        except BundleError:
            continue


# --- the zip --------------------------------------------------------------------------------------------


def test_compressed_and_foreign_zips(whole, tmp_path):
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED):
        with zipfile.ZipFile(tmp_path / "a", "w", method) as file:
            for name, data in members_of(whole).items():
                file.writestr(name, data)
        refused(tmp_path / "a", match="compressed" if method else "does not fit the file|directory")


def test_comment(whole, tmp_path):
    data = whole.read_bytes()
    refused(tmp_path / "a", data[:-2] + b"\x05\0hello")


def patched(whole: Path, offset_local: int, offset_central: int, value: bytes, which: str) -> bytes:
    """The file with a header field of head.bin changed: locally, centrally, or both."""
    data = bytearray(whole.read_bytes())
    with whole.open("rb") as file:
        entry = archive.read_entries(file, len(data))[1]
    central = data.index(b"PK\x01\x02", data.rindex(b"graphs/onnx", 0, data.index(b"PK\x01\x02")))
    central = data.index(b"PK\x01\x02", central + 4)
    if which in ("local", "both"):
        data[entry.header + offset_local : entry.header + offset_local + len(value)] = value
    if which in ("central", "both"):
        data[central + offset_central : central + offset_central + len(value)] = value
    return bytes(data)


HEADER_LIES = {
    "version": (4, 6, b"\x2d\0"),
    "encrypted": (6, 8, b"\1\0"),
    "data descriptor": (6, 8, b"\x08\0"),
    "utf-8 flag": (6, 8, b"\0\x08"),
    "deflated": (8, 10, b"\x08\0"),
    "time": (10, 12, b"\1\0"),
    "date": (12, 14, b"\x22\0"),
    "crc": (14, 16, b"abcd"),
    "zip64 sizes": (18, 20, b"\xff" * 8),
    "packed size": (18, 20, b"\0\0\0\0"),
    "size": (22, 24, b"\1\0\0\0"),
    "name": (30, 46, b"HEAD"),
    "extra id": (38, 54, b"\1\0"),
}


@pytest.mark.parametrize("which", ["local", "central", "both"])
@pytest.mark.parametrize("lie", sorted(HEADER_LIES))
def test_headers_that_lie(whole, tmp_path, lie, which):
    assert patched(whole, 30, 46, b"head", "both") == whole.read_bytes()  # the offsets are right
    refused(tmp_path / "a", patched(whole, *HEADER_LIES[lie], which))


BAD_NAMES = ["../x", "a/../x", "/etc/passwd", "C:/x", "a\\x", "a//x", "./x", "x/", "", "a b", "x" * 200, "é"]


@pytest.mark.parametrize("name", [*BAD_NAMES, "head.bin", "HEAD.BIN"])
def test_names(whole, tmp_path, name, monkeypatch):
    raw = name.encode("utf-8").decode("latin-1")
    monkeypatch.setattr(
        archive, "_name_and_extra", lambda e: e.name.encode("latin-1") + struct.pack("<2H", 0x4D45, pad(e))
        + bytes(pad(e)),
    )  # fmt: skip
    path = forge_raw(tmp_path / "a", [*members_of(whole).items(), (raw, b"x")])
    monkeypatch.undo()
    refused(path, match="damaged")


def pad(entry: archive.Entry) -> int:
    return entry.data - entry.header - 30 - len(entry.name) - 4


def test_overlapping_members(whole, tmp_path):
    """The second entry of the directory points at the first member."""
    refused(tmp_path / "a", patched(whole, 0, 42, b"\0\0\0\0", "central"), match="directory is damaged")


@pytest.mark.parametrize("claim", [b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff", b"\0\0\0\x40"])
def test_huge_sizes_allocate_nothing(whole, tmp_path, claim):
    changed = patched(whole, 18, 20, claim * 2, "both")
    end = bytearray(whole.read_bytes())
    end[-10:-6] = claim
    tracemalloc.start()
    refused(tmp_path / "a", changed)
    refused(tmp_path / "a", bytes(end))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_too_many_members(tmp_path, whole):
    members = members_of(whole) | {f"x/{i}": b"" for i in range(300)}
    refused(forge_raw(tmp_path / "a", list(members.items())), match="300|305")
    lie = bytearray(whole.read_bytes())
    lie[-14:-10] = b"\xff\xff\xff\xff"
    refused(tmp_path / "b", bytes(lie), match="too many")


def test_opening_keeps_graphs_on_disk(tmp_path):
    big = onnx_graph(graph=field(5, field(9, bytes(8 << 20))))
    path = make(tmp_path / "a.edgemeta", variants=[(content()["variants"][0][0], big)])
    tracemalloc.start()
    Bundle.open(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 << 20


# --- members and the manifest -------------------------------------------------------------------------------


def test_tampered_members(whole, tmp_path):
    members = members_of(whole)
    for name in members:
        if name != "manifest.json":
            changed = members | {name: members[name][:-1] + bytes([members[name][-1] ^ 1])}
            refused(forge(tmp_path / "a", changed, rehash=False), match="damaged")


def test_a_tampered_hash(whole, tmp_path):
    members = members_of(whole)
    text = members["manifest.json"].replace(b'"sha256":"', b'"sha256":"0', 1)
    at = text.index(b'"sha256":"0') + 74
    changed = members | {"manifest.json": text[:at] + text[at + 1 :]}
    refused(forge(tmp_path / "a", changed, rehash=False), match="SHA-256")


def test_missing_extra_and_disordered_members(whole, tmp_path):
    members = members_of(whole)
    for name in members:
        left = {key: data for key, data in members.items() if key != name}
        refused(forge_raw(tmp_path / "a", list(left.items())), match="missing")
    refused(forge_raw(tmp_path / "a", [*members.items(), ("x/y", b"")]), match="not in the manifest")
    refused(forge(tmp_path / "a", members | {"more": b""}), match="no purpose")
    disordered = [*list(members.items())[:2], *list(members.items())[:1:-1]]
    refused(forge_raw(tmp_path / "a", disordered), match="order")
    assert Bundle.open(forge(tmp_path / "a", members | {"x/more": b"kept"})).dim == 6


def test_an_empty_archive(tmp_path):
    refused(forge_raw(tmp_path / "a", []), match="missing")


def manifest_of(whole: Path) -> Any:
    return json.loads(members_of(whole)["manifest.json"])


def with_manifest(whole: Path, path: Path, manifest: Any) -> Path:
    return forge(path, members_of(whole) | {"manifest.json": canonical.dumps(manifest)}, rehash=False)


def test_a_newer_version(whole, tmp_path):
    manifest = manifest_of(whole)
    path = with_manifest(whole, tmp_path / "a", {"format": manifest["format"], "version": 2, "new": 1})
    with pytest.raises(BundleVersionError, match=r"version 2.*version 1.*pip install --upgrade edgemeta"):
        Bundle.open(path)
    for version in (0, -1, 1.0, "1", None, True, 1 << 40):
        refused(with_manifest(whole, path, manifest | {"version": version}), match="version")
    refused(with_manifest(whole, path, manifest | {"format": "other"}), match="format")


def every_field(value, path=()):
    yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        if path[:1] != ("training",):
            yield from every_field(child, (*path, key))


CONFUSIONS = [
    None,
    True,
    0,
    -1,
    1 << 40,
    10**19,
    0.5,
    -1.0,
    1e308,
    "",
    "\x1b[31m",
    "x" * 5000,
    [],
    [[]],
    {},
    {"a": 1},
]


def test_every_field_of_every_wrong_type(whole, tmp_path):
    manifest = manifest_of(whole)
    original, accepted = canonical.dumps(manifest), []
    for path in every_field(manifest):
        for wrong in CONFUSIONS:
            changed = json.loads(original)
            parent = changed
            for key in path[:-1]:
                parent = parent[key]
            if path:
                parent[path[-1]] = wrong
            else:
                changed = wrong
            if canonical.dumps(changed) == original:
                continue
            try:
                take_all(with_manifest(whole, tmp_path / "a", changed))
                accepted.append((path, wrong))
            except BundleError as error:
                assert "\x1b" not in str(error)
    # What has no twin in head.bin, and where these values are as good as the old ones.
    assert {".".join(key for key in path if isinstance(key, str)) for path, _ in accepted} == {
        "training",
        "golden.tolerance",
        "licences",
        "licences.what",
        "licences.licence",
        "licences.copyright",
        "variants.input",
        "variants.output",
    }


def test_unknown_and_missing_keys(whole, tmp_path):
    manifest = manifest_of(whole)
    for path in every_field(manifest):
        parent = manifest
        for key in path:
            parent = parent[key]
        if not isinstance(parent, dict) or path[:1] == ("training",):
            continue
        for key in [*list(parent), "zzz"]:
            changed = json.loads(json.dumps(manifest))
            inside = changed
            for step in path:
                inside = inside[step]
            if key in inside:
                del inside[key]
            else:
                inside[key] = 1
            refused(with_manifest(whole, tmp_path / "a", changed), match=r"manifest\.json")
    kept = with_manifest(whole, tmp_path / "a", manifest | {"x": {"mine": [1, 2]}})
    assert Bundle.open(kept).manifest.x == {"mine": [1, 2]}


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(b"0.25", b"NaN"),
        lambda text: text.replace(b"0.25", b"Infinity"),
        lambda text: text.replace(b"0.25", b"1e999"),
        lambda text: text.replace(b"0.25", b"1" * 5000),
        lambda text: text.replace(b"0.25", b"2.5e-1"),
        lambda text: text.replace(b'"name":"tiny"', b'"name":"tiny","name":"tiny"'),
        lambda text: text.replace(b'"seed":1', b'"seed":' + b"[" * 17 + b"]" * 17),
        lambda text: text.replace(b'"seed":1', b'"seed":' + b"[" * 200_000 + b"]" * 200_000),
        lambda text: b"[" * 1_000_000,
        lambda text: text.replace(b"\xc2\xa9", b"\xa9"),
        lambda text: text.replace(b"\xc2\xa9", b"\\ud800"),
        lambda text: text.replace(b"\xc2\xa9", b"\\u00a9"),
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: text.rstrip(b"\n"),
        lambda text: text.replace(b":", b": ", 1),
        lambda text: text + b" " * (1 << 20),
        lambda text: b"",
        lambda text: b"null\n",
    ],
)
def test_json_that_is_too_clever(whole, tmp_path, change):
    members = members_of(whole)
    text = change(members["manifest.json"])
    assert text != members["manifest.json"]
    refused(forge(tmp_path / "a", members | {"manifest.json": text}, rehash=False), match="manifest.json")


# --- head.bin -------------------------------------------------------------------------------------------


def resealed(data: bytes, at: int, value: bytes) -> bytes:
    """head.bin with bytes changed and its CRC made to fit."""
    data = data[:at] + value + data[at + len(value) :]
    crc = zlib.crc32(data[:16] + bytes(4) + data[20:])
    return data[:16] + struct.pack("<I", crc) + data[20:]


def test_head_bin_differs_from_the_manifest(whole, tmp_path):
    members = members_of(whole)
    head = members["head.bin"]
    assert resealed(head, 0, b"") == head
    for at in range(len(head)):
        if at in range(8, 10) or at in range(16, 20) or at in range(256, 256 + 24):
            continue  # the version, the CRC, and the centre, which only the hash protects
        changed = resealed(head, at, bytes([head[at] ^ 0x40]))
        refused(forge(tmp_path / "a", members | {"head.bin": changed}), match=r"head\.bin")


def test_head_bin_of_a_newer_version(whole, tmp_path):
    members = members_of(whole)
    newer = resealed(members["head.bin"], 8, b"\2\0")
    with pytest.raises(BundleVersionError, match="version 2"):
        Bundle.open(forge(tmp_path / "a", members | {"head.bin": newer}))
    refused(forge(tmp_path / "a", members | {"head.bin": members["head.bin"][:-64]}), match=r"head\.bin")
    nan = resealed(members["head.bin"], 256, struct.pack("<f", float("nan")))
    refused(forge(tmp_path / "a", members | {"head.bin": nan}), match="NaN")


@given(st.binary(max_size=400))
def test_head_bin_of_random_bytes(data):
    for sealed in (data, resealed(b"EDGEHEAD\1\0" + data.ljust(200, b"\0"), 0, b"")):
        with pytest.raises(BundleDamagedError):
            headbin.decode(sealed)


def test_golden_outputs_with_nan(whole, tmp_path):
    members = members_of(whole)
    bad = np.full(18, np.nan, "<f4").tobytes()
    refused(forge(tmp_path / "a", members | {"golden/outputs.f32": bad}), match="NaN")
