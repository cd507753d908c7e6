"""The background: interpolation, and measured quantiles against the truth on Gaussian classes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from small_bundle import small_bundle

from edgemeta.background import RATES, SHAPE, SHOTS, WAYS, Background, measure_background
from edgemeta.bundle import Bundle
from edgemeta.cli import main
from edgemeta.data import Digits
from edgemeta.embedder import Embedder
from edgemeta.errors import DataError, OptionError
from edgemeta.normalisation import to_float


def linear() -> Background:
    """A value that is linear in the logarithms of shots, ways and rate."""
    shots, ways, rates = np.meshgrid(np.log(SHOTS), np.log(WAYS), np.log(RATES), indexing="ij")
    return Background((10 + 2 * shots - ways - 0.5 * rates).astype(np.float32), 2, "made up")


def classes(rng, count, size, dim, *, apart, noise):
    """Gaussian classes: embeddings (N, D) and their classes (N,)."""
    z = apart * rng.normal(size=(count, 1, dim)) + noise * rng.normal(size=(count, size, dim))
    return z.reshape(-1, dim), np.repeat(np.arange(count), size)


def test_the_threshold_is_that_of_the_table_at_its_entries():
    background = linear()
    for i, shots in enumerate(SHOTS):
        for j, ways in enumerate(WAYS):
            for k, rate in enumerate(RATES):
                found = background.threshold(shots, ways, rate)
                assert found == pytest.approx(float(background.values[i, j, k]), rel=1e-12)


def test_the_threshold_is_linear_in_logarithms_and_clamped():
    background = linear()
    for shots, ways, rate in ((1.5, 3, 0.003), (7.3, 37, 0.03), (19.9, 2, 0.499)):
        expected = 10 + 2 * np.log(shots) - np.log(ways) - 0.5 * np.log(rate)
        assert background.threshold(shots, ways, rate) == pytest.approx(expected, abs=1e-5)
    assert background.threshold(0.5, 1, 0.1) == background.threshold(1, 1, 0.1)
    assert background.threshold(1000, 51, 0.1) == background.threshold(20, 50, 0.1)
    for rate in (0.0009, 0.51, 0.0, float("nan"), "0.1", None):
        with pytest.raises(OptionError, match="rate"):
            background.threshold(1, 1, rate)
    for shots, ways in ((0, 1), (float("nan"), 1), (1, 0), (1, 1.5)):
        with pytest.raises(OptionError):
            background.threshold(shots, ways, 0.1)


def test_what_is_no_background():
    good = linear().values
    rising = good.copy()
    rising[0, 0, 3] = rising[0, 0, 2] + 1
    for values in (good.astype(np.float64), good[:4], good.tolist(), good * np.float32(np.nan), -good, rising, None):
        with pytest.raises(OptionError):
            Background(values, 2, "x")
    for count, source in ((1, "x"), (2.5, "x"), (2, None), (2, "x" * 5000)):
        with pytest.raises(OptionError):
            Background(good, count, source)
    given = good.copy()
    kept = Background(given, 2, "x")
    given[:] = 1.0
    assert (kept.values == good).all()
    with pytest.raises(ValueError, match="read-only"):
        kept.values[0, 0, 0] = 1.0


def test_quantiles_of_classes_far_apart_are_those_of_chi_squared(rng):
    """Then u is the distance to the own mean: sigma^2 chi^2 with D degrees, whatever shots and ways are."""
    dim, noise = 12, 0.05
    z, y = classes(rng, 200, 30, dim, apart=5.0, noise=noise)
    found = measure_background(z, y, source="x")
    assert found.classes == 200 and found.values.shape == SHAPE
    truth = np.quantile(noise**2 * rng.chisquare(dim, 400_000), 1 - np.array(RATES))
    ratio = found.values / truth.astype(np.float32)
    assert (np.abs(ratio - 1)[..., 2:] < 0.05).all() and (np.abs(ratio - 1) < 0.2).all()


def test_quantiles_of_overlapping_classes_are_those_of_plain_episodes(rng):
    """Against the definition written out, episode by episode."""
    dim = 4
    z, y = classes(rng, 60, 40, dim, apart=0.5, noise=0.4)
    found = measure_background(z, y, source="x", episodes=400)
    for shots, ways in ((1, 1), (1, 5), (2, 20), (5, 2), (20, 50)):
        far = []
        for _ in range(1500):
            chosen = rng.choice(60, ways, replace=False)
            drawn = [rng.permutation(np.flatnonzero(y == c)) for c in chosen]
            means = np.stack([z[rows[:shots]].mean(axis=0) for rows in drawn])
            query = z[drawn[0][shots : shots + 8]]
            squares = np.square(query[:, None] - means).sum(axis=2)
            far.append(squares.min(axis=1) * shots / (shots + 1))
        truth = np.quantile(np.concatenate(far), 1 - np.array(RATES))
        ratio = found.values[SHOTS.index(shots), WAYS.index(ways)] / truth
        assert (np.abs(ratio[3:] - 1) < 0.1).all(), (shots, ways, ratio)


def test_a_measured_threshold_rejects_as_many_as_asked_for(rng):
    """On classes and with numbers of shots and ways that it was not measured on."""
    z, y = classes(rng, 160, 20, 8, apart=0.6, noise=0.3)
    measured = y < 80
    background = measure_background(z[measured], y[measured], source="x")
    for shots, ways, rate in ((3, 8, 0.05), (1, 15, 0.1), (7, 3, 0.2)):
        rejected = []
        for _ in range(1500):
            chosen = 80 + rng.choice(80, ways, replace=False)
            drawn = np.stack([rng.permutation(np.flatnonzero(y == c))[: shots + 2] for c in chosen])
            means, query = z[drawn[:, :shots]].mean(axis=1), z[drawn[:, shots:]].reshape(-1, 8)
            u = np.square(query[:, None] - means).sum(axis=2).min(axis=1) * shots / (shots + 1)
            rejected.append(u > background.threshold(shots, ways, rate))
        assert np.mean(rejected) == pytest.approx(rate, rel=0.25)


def test_all_classes_are_measured_where_there_are_more_than_an_episode_takes(rng):
    near, y = classes(rng, 50, 10, 8, apart=5.0, noise=0.01)
    far, _ = classes(rng, 50, 10, 8, apart=5.0, noise=0.1)
    found = measure_background(np.concatenate([near, far]), np.concatenate([y, y + 50]), source="x", episodes=50)
    truth = np.quantile(np.r_[1e-4 * rng.chisquare(8, 50_000), 1e-2 * rng.chisquare(8, 50_000)], [0.8, 0.9])
    assert found.values[3, 2, [7, 6]] == pytest.approx(truth, rel=0.2)


def test_the_same_seed_gives_the_same_numbers(rng):
    z, y = classes(rng, 10, 8, 3, apart=1.0, noise=0.3)
    first, again = (measure_background(z, y, source="x", episodes=5) for _ in range(2))
    assert (first.values == again.values).all()
    assert (first.values != measure_background(z, y, source="x", episodes=5, seed=1).values).any()
    order = rng.permutation(len(y))
    renamed = measure_background(z[order], 7 - 3 * y[order], source="x", episodes=50)
    assert np.median(np.abs(renamed.values / measure_background(z, y, source="x", episodes=50).values - 1)) < 0.2


def test_few_and_small_classes_take_the_largest_that_can_be_measured(rng):
    z, y = classes(rng, 2, 3, 5, apart=1.0, noise=0.3)
    found = measure_background(z, y, source="x", episodes=20).values
    assert (found[:, 1:] == found[:, 1:2]).all()  # two ways stand in for more
    assert (found[2:, 0] > 0).all()  # two shots for more
    z, y = classes(rng, 40, 6, 5, apart=1.0, noise=0.3)
    # Two classes that are large do not speak for the others at 20 shots: five examples of every class do.
    z, y = np.concatenate([z, 100 + np.zeros((60, 5))]), np.concatenate([y, np.repeat([90, 91], 30)])
    assert (measure_background(z, y, source="x", episodes=20).values[4, :, -1] > 0.01).all()


def test_examples_that_are_all_the_same_give_a_positive_threshold():
    z = np.repeat(np.eye(3), 5, axis=0)
    found = measure_background(z, np.repeat(np.arange(3), 5), source="x", episodes=3)
    assert (found.values > 0).all()


@pytest.mark.parametrize(
    ("z", "y", "kind"),
    [
        (np.zeros((6, 2)), np.array([0, 0, 0, 1, 1, 2]), DataError),
        (np.zeros((6, 2)), np.zeros(6, int), DataError),
        (np.zeros((0, 2)), np.zeros(0, int), DataError),
        (np.zeros((6, 2)), np.zeros(5, int), OptionError),
        (np.zeros((6, 2)), np.zeros(6), OptionError),
        (np.full((6, 2), np.nan), np.arange(6), OptionError),
        (np.zeros((6, 2), int), np.arange(6), OptionError),
        (np.zeros(6), np.arange(6), OptionError),
    ],
)
def test_what_cannot_be_measured(z, y, kind):
    with pytest.raises(kind):
        measure_background(z, y, source="x")


def test_options_of_measuring(rng):
    z, y = classes(rng, 3, 4, 2, apart=1.0, noise=0.1)
    for wrong in ({"episodes": 0}, {"seed": -1}, {"source": 3}, {"episodes": 1.5}):
        with pytest.raises(OptionError):
            measure_background(z, y, **({"source": "x", "episodes": 2} | wrong))


# --- the commands ---------------------------------------------------------------------------------------


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a bundle, as the current folder."""
    monkeypatch.chdir(tmp_path)
    small_bundle(tmp_path / "small.edgemeta")
    return tmp_path


def test_the_command_measures_what_a_learner_would_store(desk, capsys):
    before = Path("small.edgemeta").read_bytes()
    command = ["background", "small.edgemeta", "--data", "digits", "--episodes", "20"]
    assert main([*command, "--out", "new.edgemeta", "--json"]) == 0
    out, error = capsys.readouterr()
    record = json.loads(out)
    bundle, old = Bundle.open("new.edgemeta"), Bundle.open("small.edgemeta")
    assert bundle.background is not None and not error
    assert (record["classes"], record["source"], record["bytes"]) == (10, "digits", bundle.nbytes)
    assert bundle.background.values.tolist() == record["values"]
    digits = Digits().load(8, 8)
    q20 = Embedder(old, None, None, None, None, None).images(list(np.repeat(digits.pixels[..., None], 3, axis=3)))
    expected = measure_background(to_float(q20), digits.labels, source="digits", episodes=20)
    assert bundle.background.values == pytest.approx(expected.values, rel=1e-5)
    assert bundle.embedding_id == old.embedding_id and Path("small.edgemeta").read_bytes() == before
    assert main([*command, "--out", "again.edgemeta"]) == 0
    out, error = capsys.readouterr()
    assert "10 classes" in out and "50 ways" in out and "again.edgemeta" in out
    assert Path("again.edgemeta").read_bytes() == Path("new.edgemeta").read_bytes()
    assert main(["inspect", "new.edgemeta", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["background"]["classes"] == 10
    assert main(["inspect", "small.edgemeta", "--json"]) == 0
    assert not {"background", "prior"} & set(json.loads(capsys.readouterr().out))
    assert main([*command, "--out", "small.edgemeta"]) == 0  # the file that it reads, like any other that is there
    assert Path("small.edgemeta").read_bytes() == Path("new.edgemeta").read_bytes()


def test_no_path_of_the_machine_is_written(desk):
    from PIL import Image

    digits = Digits().load()
    for digit in (0, 1):
        (desk / "secret" / str(digit)).mkdir(parents=True)
        for number, i in enumerate(digits.members()[digit][:4]):
            Image.fromarray(digits.pixels[i]).save(desk / "secret" / str(digit) / f"{number}.png")
    command = ["background", "small.edgemeta", "--data", f"folder:{desk}/secret", "--episodes", "3"]
    assert main([*command, "--out", "new.edgemeta"]) == 0
    assert b"secret" not in Path("new.edgemeta").read_bytes()


def test_an_export_measures_it_too(desk, capsys):
    command = ["train", "--data", "digits", "--method", "protonet", "--backbone", "conv4", "--width", "4", "--size"]
    assert main([*command, "16", "--ways", "3", "--held-out", "0", "--steps", "1", "--out", "run"]) == 0
    assert main(["export", "run", "--out", "run.edgemeta", "--background", "digits"]) == 0
    bundle = Bundle.open("run.edgemeta")
    assert bundle.background is not None and bundle.background.classes == 10
    assert str(bundle.nbytes) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["small.edgemeta", "--data", "mnist", "--out", "new.edgemeta"], "unknown data"),
        (["small.edgemeta", "--data", "folder:nowhere", "--out", "new.edgemeta"], "nowhere"),
        (["small.edgemeta", "--data", "folder:few", "--out", "new.edgemeta"], "2 classes"),
        (["small.edgemeta", "--data", "digits", "--out", "new.zip"], "new.zip.edgemeta"),
        (["small.edgemeta", "--data", "digits", "--out", "none/new.edgemeta", "--episodes", "1"], "cannot be written"),
        (["small.edgemeta", "--data", "digits", "--out", "new.edgemeta", "--episodes", "0"], "episodes"),
        (["small.edgemeta", "--data", "digits", "--out", "new.edgemeta", "--seed", "-1"], "seed"),
        (["none.edgemeta", "--data", "digits", "--out", "new.edgemeta"], "no bundle"),
        (["torn.edgemeta", "--data", "digits", "--out", "new.edgemeta"], "torn.edgemeta"),
    ],
)
def test_bad_input_is_one_clear_line_and_status_2(desk, capsys, arguments, message):
    from PIL import Image

    (desk / "torn.edgemeta").write_bytes((desk / "small.edgemeta").read_bytes()[:1000])
    for name in ("a", "b"):
        (desk / "few" / name).mkdir(parents=True)
        Image.fromarray(np.eye(8, dtype=np.uint8) * 255).save(desk / "few" / name / "1.png")
    before = sorted(os.listdir(desk))
    assert main(["background", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("edgemeta: ") and message in error and error.count("\n") == 1
    assert sorted(os.listdir(desk)) == before
