"""What is written is what is read, in the same bytes every time, and a plain zip tool can read it too."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import edgemeta.bundle
from edgemeta.bundle import Bundle, HeadRecipe, InputContract, Variant, opening
from edgemeta.errors import (
    BundleDamagedError,
    BundleError,
    BundleMissingError,
    EdgemetaError,
    NotFoundError,
    OptionError,
)
from edgemeta.normalisation import Normalisation

from .making import DIM, content, make, members_of, onnx_graph


def test_roundtrip(tmp_path):
    given = content()
    bundle = Bundle.open(make(tmp_path / "a.edgemeta"))
    assert (bundle.name, bundle.dim, bundle.embedding_id) == ("tiny", DIM, given["embedding_id"])
    assert bundle.input == given["input"] and bundle.head == given["head"]
    assert bundle.variants == (given["variants"][0][0],)
    assert bundle.graph("onnx-fp32") == given["variants"][0][1]
    inputs, outputs = bundle.golden()
    assert (inputs == given["golden_inputs"]).all() and (outputs == given["golden_outputs"]).all()
    assert inputs.dtype == np.uint8 and outputs.dtype == np.float32
    normalisation = given["normalisation"]
    assert (bundle.normalisation.centre == normalisation.centre).all()
    assert bundle.normalisation.power == 0.5 and bundle.normalisation.l2 and bundle.normalisation.scale == 1.0
    assert bundle.manifest.training == given["training"]
    assert list(bundle.manifest.licences) == given["licences"]
    assert bundle.nbytes == bundle.path.stat().st_size
    assert bundle.sha256 == hashlib.sha256(bundle.path.read_bytes()).hexdigest()
    assert "tiny" in repr(bundle)


def test_roundtrip_of_the_plainest(tmp_path):
    plain = make(tmp_path / "a.edgemeta", normalisation=Normalisation(l2=False), head=HeadRecipe("cosine"))
    bundle = Bundle.open(plain)
    assert bundle.normalisation == Normalisation(l2=False) and bundle.head == HeadRecipe("cosine")


def test_same_content_same_bytes(tmp_path):
    first = make(tmp_path / "a.edgemeta").read_bytes()
    assert make(tmp_path / "b.edgemeta").read_bytes() == first
    other_order = dict(reversed(content()["training"].items()))
    assert make(tmp_path / "c.edgemeta", training=other_order).read_bytes() == first
    assert sorted(os.listdir(tmp_path)) == ["a.edgemeta", "b.edgemeta", "c.edgemeta"]  # no leftovers


def test_a_zip_tool_reads_it(tmp_path):
    path = make(tmp_path / "a.edgemeta")
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == members_of(path)
        assert archive.namelist()[:2] == ["manifest.json", "head.bin"]
        for info in archive.infolist():
            assert info.date_time == (1980, 1, 1, 0, 0, 0) and info.compress_type == zipfile.ZIP_STORED
            name_size, extra_size = struct.unpack_from("<2H", path.read_bytes(), info.header_offset + 26)
            assert (info.header_offset + 30 + name_size + extra_size) % 64 == 0


def test_many_variants(tmp_path):
    variants = [
        (Variant(f"v{i}", runtime, "int8", f"graphs/v{i}", "in", "out"), graph)
        for i, (runtime, graph) in enumerate([("onnx", onnx_graph()), ("tflite", b"\x1c\0\0\0TFL3" + bytes(99))])
    ]
    bundle = Bundle.open(make(tmp_path / "a.edgemeta", variants=variants))
    assert [bundle.graph(variant.name) for variant, _ in variants] == [graph for _, graph in variants]
    with pytest.raises(NotFoundError, match="v0, v1"):
        bundle.graph("v2")


def test_the_pin(tmp_path):
    path = make(tmp_path / "a.edgemeta")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    assert Bundle.open(path, sha256=found).sha256 == found
    assert Bundle.open(path, sha256=found.upper()).sha256 == found
    with pytest.raises(BundleDamagedError, match=f"{'0' * 64}.*{found}"):
        Bundle.open(path, sha256="0" * 64)
    for malformed in ("abc", found + "0", "g" * 64, b"0" * 64, ""):
        with pytest.raises(OptionError, match="64 hexadecimal"):
            Bundle.open(path, sha256=malformed)


def test_names_of_shipped_bundles(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "_MODELS", tmp_path)
    make(tmp_path / "tiny.edgemeta")
    assert edgemeta.bundle.shipped() == ["tiny"]
    assert Bundle.open("tiny").path == tmp_path / "tiny.edgemeta"
    for missing in ("other", "./tiny", "tiny.other", tmp_path / "none.edgemeta", tmp_path, Path("tiny")):
        with pytest.raises(BundleMissingError, match="shipped with edgemeta: tiny") as caught:
            Bundle.open(missing)
        assert isinstance(caught.value, FileNotFoundError)
    with pytest.raises(EdgemetaError):
        Bundle.open("a\0b")


def test_a_file_that_changes_after_opening(tmp_path):
    path = make(tmp_path / "a.edgemeta")
    bundle = Bundle.open(path)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"Identity", b"Identify"))
    with pytest.raises(BundleDamagedError, match="changed"):
        bundle.graph("onnx-fp32")
    path.write_bytes(data[:100])
    with pytest.raises(BundleDamagedError):
        bundle.golden()
    path.unlink()
    with pytest.raises(BundleMissingError):
        bundle.graph("onnx-fp32")


def test_a_terminal_is_not_driven_by_a_name(tmp_path):
    path = tmp_path / "\x1b[31m.edgemeta"
    path.write_bytes(b"no bundle")
    with pytest.raises(BundleDamagedError) as caught:
        Bundle.open(path)
    assert "\x1b" not in str(caught.value)


def test_max_bytes(tmp_path):
    path = make(tmp_path / "a.edgemeta")
    assert Bundle.open(path, max_bytes=path.stat().st_size)
    with pytest.raises(BundleDamagedError, match="the most is"):
        Bundle.open(path, max_bytes=path.stat().st_size - 1)


VARIANT = content()["variants"][0][0]
BAD_CONTENT = {
    "name": {"name": "../x"},
    "long name": {"name": "a" * 65},
    "id": {"embedding_id": b"short"},
    "id as text": {"embedding_id": "0" * 64},
    "size": {"input": InputContract(5, 4)},
    "negative size": {"input": InputContract(-1, 4)},
    "colour": {"input": InputContract(4, 4, colour="bgr")},
    "centre": {"normalisation": Normalisation(centre=np.zeros(3, np.float32))},
    "lambda": {"head": HeadRecipe("ridge", lambda_=float("nan"))},
    "temperature": {"head": HeadRecipe("ridge", temperature=0.0)},
    "head name": {"head": HeadRecipe("ridge\x1b")},
    "no variant": {"variants": []},
    "two of a name": {"variants": content()["variants"] * 2},
    "a variant over head.bin": {"variants": [(VARIANT._replace(member="head.bin"), onnx_graph())]},
    "a variant over the manifest": {"variants": [(VARIANT._replace(member="manifest.json"), onnx_graph())]},
    "a path outside": {"variants": [(VARIANT._replace(member="../x.onnx"), onnx_graph())]},
    "runtime": {"variants": [(VARIANT._replace(runtime="torch"), b"\0\0\0\0TFL3")]},
    "golden dtype": {"golden_inputs": np.zeros((3, 4, 4, 3), np.float32)},
    "golden count": {"golden_outputs": np.zeros((2, 6), np.float32)},
    "golden NaN": {"golden_outputs": np.full((3, 6), np.nan, np.float32)},
    "no golden": {
        "golden_inputs": np.zeros((0, 4, 4, 3), np.uint8),
        "golden_outputs": np.zeros((0, 6), np.float32),
    },
    "training NaN": {"training": {"loss": float("nan")}},
    "training object": {"training": {"array": np.zeros(3)}},
    "training keys": {"training": {1: "a", "1": "b"}},
    "training depth": {"training": {"a": [[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]}},
    "surrogate": {"training": {"a": "\ud800"}},
    "licence": {"licences": [{"what": "x"}]},
    "tolerance": {"tolerance": 0.0},
    "too much training": {"training": {"a": "x" * (1 << 20)}},
}


@pytest.mark.parametrize("case", sorted(BAD_CONTENT))
def test_what_cannot_be_written(tmp_path, case):
    path = make(tmp_path / "a.edgemeta")
    before = path.read_bytes()
    with pytest.raises(OptionError):
        make(path, **BAD_CONTENT[case])
    assert os.listdir(tmp_path) == ["a.edgemeta"] and path.read_bytes() == before


def test_a_bad_graph_is_not_written(tmp_path):
    with pytest.raises(BundleDamagedError, match="functions"):
        make(tmp_path / "a.edgemeta", variants=[(VARIANT, onnx_graph(model=b"\xca\x01\x00"))])
    with pytest.raises(BundleDamagedError, match="TFLite"):
        make(tmp_path / "a.edgemeta", variants=[(VARIANT._replace(runtime="tflite"), onnx_graph())])
    assert not os.listdir(tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path):
    with pytest.raises(BundleError, match="cannot be written"):
        make(tmp_path / "none" / "a.edgemeta")


def test_the_import_is_light():
    code = (
        "import sys, numpy; before = set(sys.modules); import edgemeta.bundle; "
        "new = set(sys.modules) - before; "
        "assert not {'zipfile', 'hashlib', '_hashlib', 'json', 'tempfile', 'PIL', 'onnx'} & new, new"
    )
    root = Path(edgemeta.bundle.__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)
