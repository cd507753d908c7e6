"""Meta-training: it learns, and its closed forms are the device's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from runs import SMALL

from edgemeta.cli import main
from edgemeta.data import Glyphs
from edgemeta.errors import CheckpointError, DataError, OptionError
from edgemeta.heads import Facts
from edgemeta.heads.means import Euclidean
from edgemeta.heads.ridge import Ridge as RidgeHead
from edgemeta.meta import backbones, checkpoint
from edgemeta.meta.augment import Augmentation
from edgemeta.meta.config import TrainConfig
from edgemeta.meta.objectives import Prototypes, Ridge
from edgemeta.meta.trainer import train
from edgemeta.normalisation import Normalisation, to_float


@pytest.mark.parametrize("method", ["protonet", "r2d2", "pretrain"])
@pytest.mark.parametrize("backbone", ["conv4", "resnet"])
def test_every_method_trains_every_backbone(tmp_path, method, backbone):
    config = replace(SMALL, method=method, backbone=backbone, size=24, steps=4)
    trained = train(config, tmp_path / "run", quiet=True)
    assert trained.steps == 4
    assert 0 <= trained.validation <= 100
    model, _, read = checkpoint.load_model(tmp_path / "run")
    assert read == config
    assert model(torch.zeros(2, 1, 24, 24)).shape == (2, model.dim)


def test_training_learns(tmp_path, monkeypatch):
    """A hundred steps beat the untrained network clearly, on alphabets that were held out."""
    few = Glyphs(seed=1, alphabets=10, characters=12, drawers=8)
    monkeypatch.setattr("edgemeta.meta.trainer.open_source", lambda spec, part: few)
    config = replace(SMALL, backbone_options={"width": 16}, size=20, steps=100, ways=8, held_out=3, within=0.5)
    untrained = train(replace(config, steps=1), tmp_path / "a", quiet=True).validation
    assert train(config, tmp_path / "b", quiet=True).validation > untrained + 5


def test_too_little_held_out_data_is_said_before_training(tmp_path):
    with pytest.raises(DataError, match="held-out data are too few"):
        train(replace(SMALL, shots=500, queries=1, ways=2, method="pretrain", episodic_share=0.0), tmp_path, quiet=True)


def test_one_held_out_class_is_no_validation(tmp_path):
    with pytest.raises(DataError, match="always recognised"):
        train(replace(SMALL, held_out=1), tmp_path / "run", quiet=True)


def test_training_needs_data_and_one_length(tmp_path, capsys):
    assert main(["train", "--out", str(tmp_path / "run")]) == 2
    assert "--data" in capsys.readouterr().err
    out = ["--data", "digits", "--out", str(tmp_path / "run"), "--steps", "3", "--minutes", "1"]
    assert main(["train", *out]) == 2
    assert "either" in capsys.readouterr().err
    assert main(["train", "--data", "glyphs:²", "--out", str(tmp_path / "run")]) == 2
    assert "unknown data" in capsys.readouterr().err


def task(ways: int, shots: int, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(ways * shots)
    return torch.randn(ways, shots, dim, generator=generator), torch.randn(7, dim, generator=generator)


def device_facts(support: torch.Tensor) -> tuple[np.ndarray, Facts]:
    ways, shots, dim = support.shape
    z = to_float(Normalisation().apply(support.reshape(-1, dim).numpy()))
    y = np.repeat(np.arange(ways), shots)
    onehot = np.eye(ways)[y]
    facts = Facts(
        tuple(map(str, range(ways))),
        onehot.sum(0),
        onehot.T @ z,
        float((z * z).sum()),
        lambda: z.T @ z,
        lambda: (z, y),
        lambda: np.arange(len(y)),
    )
    return z, facts


@pytest.mark.parametrize(("shots", "dim"), [(1, 30), (5, 30), (10, 8)])
def test_the_trainer_differentiates_the_devices_own_ridge(shots, dim):
    support, query = task(4, shots, dim)
    objective = Ridge(lambda_=0.3, temperature=7.0)
    ours = objective(support, query).detach().numpy()
    _, facts = device_facts(support)
    z = to_float(Normalisation().apply(query.numpy()))
    theirs = 7.0 * RidgeHead(lambda_=0.3).solve(facts).scores(z)
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_the_trainers_prototypes_are_the_devices():
    support, query = task(4, 3, 12)
    ours = torch.softmax(Prototypes(temperature=5.0)(support, query), 1).detach().numpy()
    _, facts = device_facts(support)
    scores = 5.0 * Euclidean().solve(facts).scores(to_float(Normalisation().apply(query.numpy())))
    theirs = np.exp(scores - scores.max(1, keepdims=True))
    np.testing.assert_allclose(ours, theirs / theirs.sum(1, keepdims=True), atol=1e-4)


def test_ridge_gradients_are_right():
    support = torch.randn(3, 2, 5, dtype=torch.float64, requires_grad=True)
    query = torch.randn(2, 5, dtype=torch.float64)
    objective = Ridge().double()
    assert torch.autograd.gradcheck(lambda s: objective(s, query), support)


def test_augmentation_is_reproducible_and_keeps_the_range():
    x = torch.rand(32, 1, 24, 24)
    a, b = (Augmentation()(x, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(a, b)
    assert not torch.equal(a, x)
    assert a.shape == x.shape and a.min() >= 0 and a.max() <= 1 + 1e-5


def test_grain_and_light_change_as_many_images_as_they_say():
    still = {"rotate": 0.0, "scale": 0.0, "shear": 0.0, "shift": 0.0, "warp": 0.0, "pen": 0.0, "coarse": 0.0}
    x = torch.full((2000, 1, 8, 8), 0.5)
    grainy = Augmentation(**still, light=0.0, grain=0.3)(x, torch.Generator().manual_seed(0))
    spread = grainy.std((1, 2, 3))
    assert 0.25 < (spread > 1e-4).float().mean() < 0.35 and 0.08 < spread.max() < 0.16
    lit = Augmentation(**still, light=0.5, grain=0.0)(torch.zeros(2000, 1, 8, 8), torch.Generator().manual_seed(0))
    assert 0.45 < (lit.mean((1, 2, 3)) > 1e-4).float().mean() < 0.55 and lit.max() <= 0.15


@pytest.mark.parametrize(
    "options",
    [
        {"seed": 2**31},
        {"seed": -1},
        {"backbone_options": {"width": 4097}},
        {"backbone_options": {"width": 0}},
        {"augment": float("nan")},
        {"augment": float("inf")},
        {"augment": -0.1},
        {"augment": 10.1},
        {"learning_rate": 0.0},
        {"weight_decay": float("nan")},
        {"steps": 2**32},
        {"size": 7},
        {"ways": 1},
        {"shots": 0},
        {"queries": 0},
        {"margin": 1.0},
        {"within": 1.5},
        {"data": ["digits"]},
        {"colour": "blue"},
    ],
)
def test_values_out_of_their_limits(options):
    with pytest.raises(OptionError):
        TrainConfig(**options)


@pytest.mark.parametrize("minutes", [0.0, -1.0, float("nan"), float("inf"), 1e300])
def test_minutes_that_cannot_be(tmp_path, minutes):
    with pytest.raises(OptionError, match="minutes"):
        train(SMALL, tmp_path / "run", minutes=minutes, quiet=True)


def test_the_largest_seed_trains(tmp_path):
    train(replace(SMALL, seed=2**31 - 1, steps=1), tmp_path / "run", quiet=True)


def test_options_that_cannot_be():
    with pytest.raises(OptionError, match="unknown backbone"):
        backbones.build("vgg", channels=1, size=28)
    with pytest.raises(OptionError, match="halves its input"):
        backbones.build("conv4", channels=1, size=12)
    with pytest.raises(OptionError, match="method"):
        TrainConfig(method="magic")
    with pytest.raises(OptionError):
        TrainConfig(steps=0)
    with pytest.raises(CheckpointError, match="unknown here"):
        TrainConfig.from_json({"data": ["digits"], "depth": 3})
    with pytest.raises(DataError, match="hold out"):
        train(replace(SMALL, held_out=10), Path("never"), quiet=True)
