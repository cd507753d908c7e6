"""Export: the bundle computes what torch computes, and verify notices when it does not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from small_bundle import small_bundle

from edgemeta import Bundle, Learner
from edgemeta.background import measure_background
from edgemeta.cli import main
from edgemeta.evaluation import as_rgb, bundle_embed
from edgemeta.export.bundling import embedding_id, export_checkpoint
from edgemeta.export.graph import PixelsToEmbedding, fold_batch_norm
from edgemeta.meta import backbones
from edgemeta.meta.checkpoint import read_config
from edgemeta.meta.config import TrainConfig
from edgemeta.meta.evaluating import CheckpointModel
from edgemeta.meta.trainer import load_data, split, train
from edgemeta.normalisation import Normalisation

SMALL = {"data": ("digits",), "size": 24, "steps": 3, "ways": 4, "queries": 3, "batch": 16, "held_out": 4}


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> tuple[Path, Bundle]:
    folder = tmp_path_factory.mktemp("export")
    train(TrainConfig(method="pretrain", backbone="resnet", **SMALL), folder / "run", quiet=True)
    return folder / "run", export_checkpoint(folder / "run", folder / "small.edgemeta")


def test_bundle_and_torch_agree(exported, rng):
    run, bundle = exported
    model = CheckpointModel(run)
    pixels = rng.integers(0, 256, (33, 24, 24)).astype(np.uint8)
    ours = bundle_embed(Learner(bundle))(pixels)
    np.testing.assert_allclose(ours, model.embed(pixels), atol=1e-4)
    colour = rng.integers(0, 256, (5, 24, 24, 3)).astype(np.uint8)
    # Grey by the weights of ITU-R BT.601, rounded by the trainer, exact inside the graph.
    np.testing.assert_allclose(bundle_embed(Learner(bundle))(colour), model.embed(colour), atol=0.05)


def test_the_background_is_that_of_classes_held_out(exported, tmp_path, capsys):
    run, _ = exported
    out = tmp_path / "x.edgemeta"
    assert main(["export", str(run), "--out", str(out), "--background", "held-out"]) == 0
    bundle = Bundle.open(out)
    assert bundle.background.classes == 4 and bundle.background.source == "classes held out of training"
    _, held_out = split(load_data(read_config(run)), read_config(run))
    z = Learner(bundle).embed(bundle_embed(Learner(bundle))(held_out.pixels))
    again = measure_background(z, held_out.labels, source="x")
    np.testing.assert_allclose(bundle.background.values, again.values, rtol=1e-3)
    everything = tmp_path / "everything"
    train(TrainConfig(method="protonet", backbone="conv4", **{**SMALL, "held_out": 0}), everything, quiet=True)
    assert main(["export", str(everything), "--out", str(tmp_path / "y.edgemeta"), "--background", "held-out"]) == 2
    assert "held no classes out" in capsys.readouterr().err and not (tmp_path / "y.edgemeta").exists()


@pytest.mark.parametrize(
    ("method", "backbone", "extra"),
    [("protonet", "conv4", {}), ("r2d2", "conv4", {"colour": "rgb"}), ("protonet", "resnet", {"l2": False})],
)
def test_every_kind_of_run_exports_and_verifies(tmp_path, capsys, method, backbone, extra):
    train(TrainConfig(method=method, backbone=backbone, **SMALL, **extra), tmp_path / "run", quiet=True)
    out = tmp_path / "x.edgemeta"
    assert main(["export", str(tmp_path / "run"), "--out", str(out), "--licence", "digits|CC BY 4.0|Alpaydin"]) == 0
    capsys.readouterr()
    assert main(["verify", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["cosine"] > 0.99999
    bundle = Bundle.open(out)
    assert bundle.head.name == ("ridge" if method == "r2d2" else "euclidean")
    assert bundle.manifest.licences[0].licence == "CC BY 4.0"
    assert str(tmp_path) not in out.read_bytes().decode("latin-1")
    # The bundle and the checkpoint give the same few-shot accuracy on the same episodes, whatever the head.
    options = ["--data", "digits", "--part", "background", "--shots", "3", "--episodes", "30", "--json"]
    for head in ("auto", bundle.head.name):
        results = []
        for what in (str(out), str(tmp_path / "run")):
            main(["eval", what, *options, "--head", head])
            results.append(json.loads(capsys.readouterr().out))
        assert abs(results[0]["accuracy"] - results[1]["accuracy"]) < 1.0
        assert results[0]["head"] == results[1]["head"]
        assert results[0]["accuracy"] > 25
    arguments = ["verify", str(out), "--data", "digits", "--checkpoint", str(tmp_path / "run"), "--episodes", "5"]
    assert main(arguments) == 0


def test_verify_compares_with_torch_on_episodes(exported, capsys):
    run, bundle = exported
    arguments = ["verify", str(bundle.path), "--data", "digits", "--checkpoint", str(run), "--episodes", "20", "--json"]
    assert main(arguments) == 0
    check = json.loads(capsys.readouterr().out)[0]
    assert abs(check["accuracy"] - check["reference"]) <= 0.5
    assert check["ci95"] > 0


def test_verify_refuses_a_checkpoint_without_data_or_of_another_bundle(exported, tmp_path, capsys):
    run, bundle = exported
    assert main(["verify", str(bundle.path), "--checkpoint", str(run)]) == 2
    assert "add --data" in capsys.readouterr().err
    train(TrainConfig(method="pretrain", backbone="resnet", **{**SMALL, "seed": 1}), tmp_path / "other", quiet=True)
    arguments = ["verify", str(bundle.path), "--data", "digits", "--episodes", "5", "--checkpoint"]
    assert main([*arguments, str(tmp_path / "other")]) == 2
    assert "was not exported from" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--out", "model"], "--out model.edgemeta"),
        (["--out", "model.onnx"], "--out model.onnx.edgemeta"),
        (["--out", "my model.edgemeta"], "--name"),
        (["--out", "model.edgemeta", "--name", ""], "--name"),
        (["--out", "model.edgemeta", "--name", "a/b"], "--name"),
        (["--out", "model.edgemeta", "--licence", "||"], "none of them empty"),
        (["--out", "model.edgemeta", "--licence", "data| |me"], "none of them empty"),
        (["--out", "model.edgemeta", "--licence", "data|MIT"], "WHAT|LICENCE|COPYRIGHT"),
    ],
)
def test_export_refuses_names_and_licences_that_cannot_be(exported, tmp_path, monkeypatch, capsys, options, named):
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(exported[0]), *options]) == 2
    assert named in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_export_takes_the_name_that_is_given(exported, tmp_path):
    assert main(["export", str(exported[0]), "--out", str(tmp_path / "my model.edgemeta"), "--name", "mine"]) == 0
    assert Bundle.open(tmp_path / "my model.edgemeta").manifest.name == "mine"


def test_batch_norm_is_folded_and_nothing_else_changes(exported):
    torch.manual_seed(3)
    backbone = backbones.build("resnet", channels=1, size=24)
    for module in backbone.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
    folded = fold_batch_norm(backbone)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded.modules())
    x = torch.rand(3, 1, 24, 24)
    backbone.eval()
    torch.testing.assert_close(folded(x), backbone(x), atol=1e-4, rtol=1e-4)
    graph = exported[1].graph("onnx-fp32")
    assert b"BatchNormalization" not in graph


def test_embedding_id_follows_weights_contract_and_normalisation(exported):
    contract = exported[1].input
    torch.manual_seed(0)
    net = backbones.build("conv4", channels=1, size=16)
    first = embedding_id(net, contract, Normalisation())
    assert first == embedding_id(net, contract, Normalisation())
    assert first != embedding_id(net, contract, Normalisation(scale=0.5))
    with torch.no_grad():
        next(iter(net.parameters()))[0] += 1e-6
    assert first != embedding_id(net, contract, Normalisation())


def test_the_same_run_exports_the_same_bytes(exported, tmp_path):
    run, bundle = exported
    again = export_checkpoint(run, tmp_path / "small.edgemeta")
    assert again.sha256 == bundle.sha256


def test_verify_needs_no_torch(tmp_path):
    small_bundle(tmp_path / "s.edgemeta")
    code = (
        "import sys; sys.modules['torch'] = None; from edgemeta.cli import main; "
        f"sys.exit(main(['verify', {str(tmp_path / 's.edgemeta')!r}]))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_missing_torch_names_the_install_command(tmp_path):
    code = (
        "import sys, importlib.util as u; real = u.find_spec; "
        "u.find_spec = lambda n, *a: None if n == 'torch' else real(n, *a); from edgemeta.cli import main; "
        f"sys.exit(main(['train', '--data', 'glyphs', '--out', {str(tmp_path / 'r')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2 and 'pip install "edgemeta[train]"' in done.stderr


def test_missing_onnxruntime_names_the_install_command(tmp_path):
    small_bundle(tmp_path / "s.edgemeta")
    code = (
        "import sys; sys.modules['onnxruntime'] = None; import numpy; from edgemeta import Learner; "
        f"l = Learner({str(tmp_path / 's.edgemeta')!r}); l.learn(numpy.zeros((8, 8), 'uint8'), 'a')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert 'pip install "edgemeta[onnx]"' in done.stderr.splitlines()[-1]


def test_luma_gives_back_grey_pixels():
    module = PixelsToEmbedding(torch.nn.Identity(), channels=1)
    grey = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    ink = module(torch.from_numpy(as_rgb(grey))).numpy()[0, 0]
    np.testing.assert_allclose(ink, 1.0 - grey[0] / 255.0, atol=1e-6)
