"""Small bundles for the tests, and the means to forge them."""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from edgemeta.bundle import HeadRecipe, InputContract, Licence, Variant, archive, canonical, write_bundle
from edgemeta.bundle.reading import member_order
from edgemeta.normalisation import Normalisation

DIM, SIDE, COUNT = 6, 4, 3


def field(number: int, content: bytes | int) -> bytes:
    """One protobuf field: bytes are length-delimited, an int is a varint."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def onnx_graph(*, node: bytes = b"", graph: bytes = b"", model: bytes = b"") -> bytes:
    """A tiny model, one node and one tensor, with fields added to its node, its graph or the model."""
    identity = field(1, b"x") + field(2, b"y") + field(4, b"Identity") + node
    tensor = field(1, 2) + field(2, 1) + field(8, b"w") + field(9, bytes(8))
    body = field(1, identity) + field(2, b"g") + field(5, tensor) + graph
    return field(1, 8) + field(7, body) + field(8, field(1, b"") + field(2, 17)) + model


def content(**changes: Any) -> dict[str, Any]:
    """Arguments of write_bundle."""
    random = np.random.default_rng(5)
    inputs = random.integers(0, 256, (COUNT, SIDE, SIDE, 3), dtype=np.uint8)
    variant = Variant("onnx-fp32", "onnx", "fp32", "graphs/onnx-fp32.onnx", "images", "embeddings")
    return {
        "name": "tiny",
        "embedding_id": bytes(range(32)),
        "input": InputContract(SIDE, SIDE),
        "normalisation": Normalisation(centre=np.arange(DIM, dtype=np.float32), power=0.5),
        "head": HeadRecipe("ridge", lambda_=0.25, temperature=2.0, balance=True),
        "variants": [(variant, onnx_graph())],
        "golden_inputs": inputs,
        "golden_outputs": random.standard_normal((COUNT, DIM)).astype(np.float32),
        "licences": [Licence("weights", "Apache-2.0", "© nobody")],
        "training": {"seed": 1, "steps": [10, 20], "rate": 1e-3},
    } | changes


def make(path: Path, **changes: Any) -> Path:
    write_bundle(path, **content(**changes))
    return path


def members_of(path: Path) -> dict[str, bytes]:
    with path.open("rb") as file:
        entries = archive.read_entries(file, path.stat().st_size)
        return {entry.name: archive.read_member(file, entry) for entry in entries}


def forge(path: Path, members: dict[str, bytes], *, rehash: bool = True) -> Path:
    """Write an archive with any members; with `rehash` the manifest is made to list them truly."""
    if rehash:
        manifest = canonical.loads(members["manifest.json"], "test")
        manifest["members"] = {
            name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in members.items()
            if name != "manifest.json"
        }
        members = members | {"manifest.json": canonical.dumps(manifest)}
    with path.open("wb") as file:
        archive.write_archive(file, [(name, members[name]) for name in member_order(list(members))])
    return path


def forge_raw(path: Path, members: list[tuple[str, bytes]], **entry: int) -> Path:
    """An archive without the checks of `lay_out`: any names, in any order."""
    entries, position = [], 0
    for name, data in members:
        start = position + 30 + len(name) + 4
        start += -start % 64
        entries.append(archive.Entry(name, zlib.crc32(data), len(data), position, start))
        position = start + len(data)
    with path.open("wb") as file:
        for item, (_, data) in zip(entries, members, strict=True):
            file.write(archive.local_header(item) + data)
        file.write(archive.directory(entries))
    return path
