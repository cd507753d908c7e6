"""The shipped model on real data: what the README says of it, with fewer episodes and its margins."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from edgemeta import Bundle, Learner, Normalisation, make_head
from edgemeta.cli import main
from edgemeta.data import Digits, Omniglot
from edgemeta.demo import draw_support, embed_set
from edgemeta.errors import BundleDamagedError, ImageError
from edgemeta.evaluation import bundle_embed, evaluate, evaluate_runs


@pytest.fixture(scope="module")
def glyphs() -> Bundle:
    return Bundle.open("glyphs")


@pytest.fixture(scope="module")
def digits():
    return Digits().load()


def test_it_is_small_and_says_what_it_was_trained_on(glyphs):
    assert glyphs.nbytes < 1_000_000
    record = glyphs.manifest.training["config"]
    assert record["data"] == ["omniglot"]
    # The background set and nothing else: 964, three alphabets of which are the bundle's background.
    assert glyphs.manifest.training["classes"] == 874 and glyphs.background.classes == 90
    assert {"Omniglot" in licence.what for licence in glyphs.manifest.licences} == {True, False}
    assert glyphs.manifest.licences[0].copyright == "Copyright (c) 2015 Brenden Lake"


def test_golden_outputs_are_reproduced(glyphs, capsys):
    assert main(["verify", "glyphs"]) == 0


@pytest.mark.parametrize(("ways", "shots", "least"), [(5, 1, 97.8), (5, 5, 99.2), (20, 1, 94.5), (20, 5, 98.2)])
def test_unseen_characters(glyphs, evaluation_set, ways, shots, least):
    raw, data = evaluation_set
    found = evaluate(lambda _: raw, lambda: Learner(glyphs), data, ways=ways, shots=shots, episodes=150)
    assert found.accuracy > least


@pytest.fixture(scope="module")
def evaluation_set(glyphs, omniglot):
    data = Omniglot(omniglot, "evaluation").load(glyphs.input.height, glyphs.input.width)
    return bundle_embed(Learner(glyphs))(data.pixels), data


def test_lakes_runs(glyphs, omniglot):
    size = glyphs.input.height
    found = evaluate_runs(bundle_embed(Learner(glyphs)), lambda: Learner(glyphs), omniglot, size, size)
    assert found.trials == 400
    assert found.low <= found.error <= found.high
    assert found.error < 11


def test_digits_against_raw_pixels(glyphs, digits):
    raw, _ = embed_set(Learner(glyphs), digits, quiet=True)
    names = np.array(digits.classes, dtype=object)[digits.labels]
    pixels = (255.0 - digits.pixels.reshape(len(digits), -1)) / 255.0 / 8.0
    plain = Normalisation(l2=False)

    def accuracy(x: np.ndarray, learner: Learner, number: int) -> float:
        support = draw_support(digits, 5, 7, number)
        rest = np.setdiff1d(np.arange(len(digits)), support)
        learner.learn_many(x[support], list(names[support]))
        return float((np.array([p.label for p in learner.predict_many(x[rest])], dtype=object) == names[rest]).mean())

    gaps = []
    for number in range(10):
        baselines = [
            accuracy(pixels, Learner(dim=64, head=head, normalisation=plain), number)
            for head in ("euclidean", make_head("ridge", lambda_=0.1))
        ]
        gaps.append(accuracy(raw, Learner(glyphs), number) - max(baselines))
    assert np.mean(gaps) > 0.08


def test_every_kind_of_image_is_taken(glyphs, digits, tmp_path):
    grey = digits.pixels[0]
    path = tmp_path / "zero.png"
    Image.fromarray(grey).save(path)
    rgb = np.repeat(grey[..., None], 3, axis=2)
    learner = Learner(glyphs)
    same = [grey, rgb, grey[..., None], np.dstack([rgb, np.full_like(grey, 255)]), path, str(path), Image.open(path)]
    z = learner.embed(same)
    assert np.abs(z - z[0]).max() < 1e-6
    # A whole image of one colour in BGR is seen as one in RGB turned round.
    colour = rgb.copy()
    colour[..., 0] //= 2
    bgr = Learner(glyphs, channels="bgr")
    np.testing.assert_array_equal(bgr.embed([colour[..., ::-1]]), learner.embed([colour]))
    for bad in (grey.astype(np.uint16), grey[:0], grey[None, None], np.dstack([grey, grey])):
        with pytest.raises(ImageError):
            learner.learn(bad, "x")
    with pytest.raises(ValueError):
        learner.learn(grey.astype(np.float32), "x")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    with pytest.raises(ImageError):
        learner.learn(tmp_path / "deep.png", "x")
    assert learner.labels == ()


def test_nothing_is_learned_or_predicted_from_nothing(glyphs, digits):
    learner = Learner(glyphs)
    assert learner.learn_many([], []) == []
    learner.learn(digits.pixels[0], "zero")
    assert learner.predict_many([]) == []


def test_a_pinned_hash(glyphs):
    assert Learner("glyphs", sha256=glyphs.sha256).bundle is not None
    with pytest.raises(BundleDamagedError):
        Learner("glyphs", sha256="0" * 64)


def test_threads_and_variant_can_be_named(glyphs, digits):
    one = Learner(glyphs, threads=1, providers=["CPUExecutionProvider"], variant="onnx-fp32")
    one.learn(digits.pixels[0], "zero")
    assert one.provider == "CPUExecutionProvider"
    with pytest.raises(LookupError, match="has no variant"):
        Learner(glyphs, variant="int8")
    with pytest.raises(ValueError, match="no provider"):
        Learner(glyphs, providers=["MagicProvider"]).learn(digits.pixels[0], "zero")


def test_the_demo_shows_what_it_says(capsys):
    assert main(["demo", "--draws", "2", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["shots"] for row in rows] == [1, 5, 20]
    accuracies = [row["accuracy"] for row in rows]
    assert accuracies == sorted(accuracies) and accuracies[1] > 90
    assert main(["demo", "--draws", "2", "--seed", "3"]) == 0
    shown = capsys.readouterr().out
    assert "bit for bit" in shown and "examples a digit" in shown and "█" in shown


def test_the_demo_loads_no_torch():
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['PIL'] = None; from edgemeta.cli import main; "
        "sys.exit(main(['demo', '--draws', '2', '--json']))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
