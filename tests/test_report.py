"""The learner knows how good it is: the report, the confidences, the choice of the head."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemeta import Learner
from edgemeta.calibration import calibration_error, confidences, fit_temperature, surprise, wilson
from edgemeta.cli import main
from edgemeta.errors import HeadError, NotTaughtError
from edgemeta.report import ClassReport, Report, Suspect, make_report


def blobs(rng: np.random.Generator, classes: int, shots: int, *, dim: int = 16, spread: float = 1.0):
    centres = rng.normal(size=(classes, dim))
    y = np.repeat(np.arange(classes), shots)
    return centres[y] + spread * rng.normal(size=(len(y), dim)), y, centres


def names(y: np.ndarray) -> list[str]:
    return [f"c{i}" for i in y]


class TestReport:
    def test_expected_accuracy_is_what_new_examples_show(self, rng):
        """Over many tasks the mean of what is expected is the mean of what is seen."""
        expected, seen = [], []
        for _ in range(30):
            x, y, centres = blobs(rng, 4, 12, spread=1.6)
            learner = Learner(dim=16, head="euclidean")
            learner.learn_many(x, names(y))
            expected.append(learner.report().accuracy)
            new = np.repeat(np.arange(4), 25)
            z = centres[new] + 1.6 * rng.normal(size=(100, 16))
            seen.append(100 * np.mean([p.label == f"c{i}" for p, i in zip(learner.predict_many(z), new, strict=True)]))
        assert 50 < np.mean(seen) < 95
        assert abs(np.mean(expected) - np.mean(seen)) < 3.0

    def test_a_wrong_label_is_found(self, rng):
        x, y, _ = blobs(rng, 3, 8, spread=0.3)
        learner = Learner(dim=16)
        learner.learn_many(x, names(y))
        wrong = learner.learn(x[0] + 0.01, "c2")
        report = learner.report()
        assert [s.example for s in report.suspects] == [str(wrong)]
        assert (report.suspects[0].label, report.suspects[0].looks_like) == ("c2", "c0")
        assert report.classes[2].taken_for == (("c0", 1),)
        learner.relabel(wrong, "c0")
        assert learner.report().suspects == ()

    def test_frames_of_one_burst_do_not_flatter(self, rng):
        """Classes without any likeness inside them; each burst is one picture twenty times."""
        x, y, _ = blobs(rng, 3, 6, spread=50.0)
        frames = np.repeat(x, 20, 0) + 1e-3 * rng.normal(size=(360, 16))
        bursts = [f"burst {i // 20}" for i in range(360)]
        alone, grouped = Learner(dim=16, head="neighbours"), Learner(dim=16, head="neighbours")
        alone.learn_many(frames, names(np.repeat(y, 20)))
        grouped.learn_many(frames, names(np.repeat(y, 20)), group=bursts)
        assert alone.report().accuracy > 99.9
        assert grouped.report().accuracy < 70.0
        assert grouped.report().groups == 18
        assert grouped.report().classes[0].groups == 6

    def test_too_few_to_say(self, rng):
        x, y, _ = blobs(rng, 3, 1)
        learner = Learner(dim=16)
        learner.learn_many(x, names(y))
        report = learner.report()
        assert report.accuracy is None and report.low is None and report.calibration_error is None
        assert all(c.accuracy is None for c in report.classes)
        assert "too few examples to say" in str(report) and report.suspects == ()
        json.dumps(report.to_json(), allow_nan=False)

    def test_one_class(self, rng):
        learner = Learner(dim=16)
        learner.learn_many(rng.normal(size=(20, 16)), "only")
        assert learner.report().accuracy is None
        assert learner.predict(rng.normal(size=16)).confidence is None

    def test_nothing_and_sealed(self, rng, tmp_path):
        learner = Learner(dim=16, journal=tmp_path / "x.learned", head="cosine", budget=4)
        with pytest.raises(NotTaughtError):
            learner.report()
        for row in rng.normal(size=(20, 16)):
            learner.learn(row, "a")
            learner.learn(-row, "b")
        with pytest.raises(HeadError, match="sealed"):
            learner.report()
        assert learner.predict(row).label in "ab"
        learner.close()

    def test_the_command(self, rng, tmp_path, capsys):
        path = tmp_path / "x.learned"
        with Learner("glyphs", path) as learner:
            z = np.random.default_rng(0).normal(size=(3, learner.bundle.dim))
            learner.learn_many(
                np.repeat(z, 6, 0) + 0.1 * rng.normal(size=(18, z.shape[1])), names(np.repeat([0, 1, 2], 6))
            )
        assert main(["report", str(path)]) == 0
        assert "expected accuracy 100 %" in capsys.readouterr().out
        assert main(["report", str(path), "--json"]) == 0
        record = json.loads(capsys.readouterr().out)
        assert record["accuracy"] > 99.5 and len(record["classes"]) == 3
        assert main(["report", str(tmp_path / "none.learned")]) == 2

    def test_a_long_burst_counts_as_a_short_one(self):
        """Class a: one burst of 90 frames in the place of b, nine single examples in its own."""
        rng = np.random.default_rng(0)
        here, there = np.eye(16)[0], np.eye(16)[1]
        x = np.vstack([np.tile(there, (90, 1)), np.tile(here, (9, 1)), np.tile(there, (10, 1))])
        x = x + 0.01 * rng.normal(size=x.shape)
        groups = ["burst"] * 90 + [None] * 19
        learner = Learner(dim=16, head="neighbours")
        learner.learn_many(x, ["a"] * 99 + ["b"] * 10, group=groups)
        report = learner.report()
        assert report.classes[0].groups == 10
        assert report.classes[0].accuracy == pytest.approx(90.0)  # nine groups of ten, not nine examples of 99
        assert report.classes[0].taken_for == (("b", 90),)

    def test_the_interval_is_wilsons_for_what_the_classes_are_worth(self, rng):
        x, y, _ = blobs(rng, 4, 12, spread=1.6)
        learner = Learner(dim=16, head="euclidean")
        learner.learn_many(x, names(y))
        report = learner.report()
        low, high = wilson(48 * report.accuracy / 100, 48)
        assert (report.low, report.high) == (pytest.approx(100 * low), pytest.approx(100 * high))
        assert report.low < report.accuracy < report.high
        # Many more of one class say nothing more of the others: the interval hardly narrows.
        centre = x[y == 0].mean(axis=0)
        learner.learn_many(centre + 1.6 * rng.normal(size=(500, 16)), "c0")
        more = learner.report()
        assert more.high - more.low > 0.65 * (report.high - report.low)

    def test_a_class_of_two_does_not_carry_half_of_a_figure(self, rng):
        learner = Learner(dim=16)
        learner.learn_many(rng.normal(size=(300, 16)) + 3, "often")
        learner.learn_many(rng.normal(size=(2, 16)) - 3, "rare")
        assert learner.report().accuracy is None

    def test_many_classes_that_are_hard_to_tell_are_no_wrong_labels(self, rng):
        """With 60 classes every confidence is small; that is no sign of a slip."""
        x, y, _ = blobs(rng, 60, 3, spread=3.0)
        learner = Learner(dim=16)
        learner.learn_many(x, names(y))
        report = learner.report()
        assert len(report.suspects) < 9
        assert all(s.label != s.looks_like and s.confidence > 0.5 for s in report.suspects)

    def test_a_doubtful_example_is_no_suspect(self):
        """Between two classes, nearer to the other: wrong, but not clearly."""
        x = np.vstack(
            [np.tile(np.eye(16)[0], (8, 1)), np.tile(np.eye(16)[1], (8, 1)), [np.eye(16)[0] + 0.9 * np.eye(16)[1]]]
        )
        learner = Learner(dim=16, head="euclidean")
        learner.learn_many(x + 0.01 * np.random.default_rng(0).normal(size=x.shape), ["a"] * 8 + ["b"] * 9)
        report = learner.report()
        assert report.suspects == () and report.classes[1].taken_for == (("a", 1),)

    def test_confidences_that_are_too_high_are_said(self, rng):
        """A temperature a hundred times too high makes every confidence 100 %; a fitted one is right."""
        x, y, _ = blobs(rng, 3, 50, spread=2.5)
        learner = Learner(dim=16, head="euclidean")
        learner.learn_many(x, names(y))
        fitted = learner.report()
        facts = learner._taught.facts(learner.head)
        report = make_report(learner.head, facts, 1000.0, sorted(learner.examples))
        assert report.accuracy < 95 and fitted.calibration_error < 6
        # As new examples would find them, a little better than left out.
        assert report.calibration_error == pytest.approx(100 - fitted.accuracy, abs=4)
        assert "confidences are off by" in str(report)
        few = Learner(dim=16)
        few.learn_many(x[::3], names(y[::3]))
        assert few.report().calibration_error is None

    def test_the_text_does_not_list_suspects_without_end(self):
        suspects = tuple(Suspect(str(i), "a", "b", 0.9) for i in range(14))
        report = Report("lda", 20, 20, 90.0, 80.0, 95.0, None, (ClassReport("a", 20, 20, 90.0, ()),), suspects)
        assert str(report).count("looks mislabelled") == 10 and "and 4 more" in str(report)
        assert len(report.to_json()["suspects"]) == 14


class TestCalibration:
    @given(st.integers(0, 5), st.sampled_from([0.3, 1.0, 8.0, 40.0]))
    def test_the_temperature_that_made_the_labels_is_found(self, seed, truth):
        rng = np.random.default_rng(seed)
        scores = rng.normal(size=(3000, 5)) / truth * 2
        shares = confidences(scores, truth)
        y = np.array([rng.choice(5, p=p) for p in shares])
        assert 0.85 < fit_temperature(scores, y, 5.0) / truth < 1.18

    def test_few_examples_leave_the_prior(self):
        one = np.array([[0.2, 0.1]])
        assert 0.5 < fit_temperature(one, np.array([0]), 7.0) / 7.0 < 2.0
        assert fit_temperature(np.array([[-np.inf, 0.1]]), np.array([0]), 7.0) == pytest.approx(7.0)

    def test_surprise_is_minus_log_confidence(self, rng):
        scores, y = rng.normal(size=(20, 4)), rng.integers(0, 4, 20)
        expected = -np.log(confidences(scores, 3.0)[np.arange(20), y])
        np.testing.assert_allclose(surprise(scores, y, 3.0), expected, atol=1e-12)
        scores[0, y[0]] = -np.inf
        assert surprise(scores, y, 3.0)[0] == 0.0

    def test_calibration_error(self):
        confidence = np.array([0.9] * 10 + [0.6] * 10)
        right = np.array([True] * 9 + [False] + [True] * 3 + [False] * 7)
        assert calibration_error(confidence, right) == pytest.approx(0.15)

    def test_wilson(self):
        low, high = wilson(50, 100)
        assert (low, high) == (pytest.approx(0.4038, abs=1e-3), pytest.approx(0.5962, abs=1e-3))
        assert wilson(0, 10)[0] == 0.0 and wilson(10, 10)[1] == 1.0
