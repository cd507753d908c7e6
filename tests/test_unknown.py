"""What resembles nothing taught is said to be unknown, at the rate of false alarms asked for."""

from __future__ import annotations

import numpy as np
import pytest
from small_bundle import DIM, SIDE, small_bundle
from test_auto import sample_of
from test_heads import facts_of

from edgemeta import Learner, make_head
from edgemeta.background import Background, measure_background
from edgemeta.errors import OptionError
from edgemeta.evaluation import auroc
from edgemeta.heads.lda import LDA
from edgemeta.heads.means import Euclidean
from edgemeta.normalisation import Normalisation, to_float
from edgemeta.unknown import _folds, left_out, quantile


def cloud(rng: np.random.Generator, classes: int, shots: int, *, dim: int = 24, spread: float = 0.6):
    """Centres, and examples around them with a shape of their own."""
    shape = np.linspace(0.3, 1.0, dim) * spread
    centres = rng.normal(size=(classes, dim))
    y = np.repeat(np.arange(classes), shots)
    return centres, centres[y] + shape * rng.normal(size=(len(y), dim)), [f"c{i}" for i in y], shape


def background(dim: int = 24, *, spread: float = 0.6) -> Background:
    rng = np.random.default_rng(99)
    _, x, labels, _ = cloud(rng, 60, 25, dim=dim, spread=spread)
    y = np.array([int(label[1:]) for label in labels])
    return measure_background(to_float(Normalisation().apply(x)), y, source="test")


def rejected(shots: int, classes: int, tasks: int, *, rate: float = 0.05, **options) -> tuple[float, float]:
    """Share of known inputs that are rejected, in percent, and of strange ones."""
    known, strange = [], []
    for task in range(tasks):
        rng = np.random.default_rng(task)
        centres, x, labels, shape = cloud(rng, classes, shots)
        learner = Learner(dim=24, unknown=rate, **options)
        learner.learn_many(x, labels)
        new = np.tile(centres, (8, 1)) + shape * rng.normal(size=(8 * classes, 24))
        other = rng.normal(size=(20, 24)) + shape * rng.normal(size=(20, 24))
        known += [p.label is None for p in learner.predict_many(new)]
        strange += [p.label is None for p in learner.predict_many(other)]
    return 100 * float(np.mean(known)), 100 * float(np.mean(strange))


class TestRate:
    @pytest.mark.parametrize(("shots", "classes", "head"), [(5, 5, "auto"), (20, 4, "auto"), (8, 3, "cosine")])
    def test_of_known_inputs_as_many_as_asked_are_rejected(self, shots, classes, head):
        known, strange = rejected(shots, classes, 120, head=head)
        assert 3.0 < known < 7.0
        assert strange > 90.0

    def test_twice_the_rate_is_twice_as_many(self):
        assert 7.5 < rejected(10, 4, 100, rate=0.1)[0] < 12.5

    @pytest.mark.parametrize("classes", [1, 4])
    def test_one_shot_by_the_background(self, classes):
        known, strange = rejected(1, classes, 200, background=background())
        assert 2.5 < known < 8.0 and strange > 80.0

    def test_a_single_class_is_enough(self):
        known, strange = rejected(30, 1, 100)
        assert 3.0 < known < 7.0 and strange > 95.0

    def test_frames_of_a_burst_do_not_narrow_the_limit(self):
        """Ten bursts of ten frames a class: without their groups each frame finds its like."""
        known = {}
        for grouped in (True, False):
            found = []
            for task in range(40):
                rng = np.random.default_rng(task)
                centres, x, labels, shape = cloud(rng, 3, 10)
                frames = x.repeat(10, 0) + 0.02 * rng.normal(size=(300, 24))
                learner = Learner(dim=24, unknown=0.05, head="neighbours")
                groups = [str(i // 10) for i in range(300)] if grouped else None
                learner.learn_many(frames, np.repeat(labels, 10).tolist(), group=groups)
                new = np.tile(centres, (10, 1)) + shape * rng.normal(size=(30, 24))
                found += [p.label is None for p in learner.predict_many(new)]
            known[grouped] = 100 * float(np.mean(found))
        assert 2.5 < known[True] < 7.5 < known[False]

    def test_classes_of_different_size(self):
        """One example of a class beside forty of another: its mean is farther off, and that is reckoned with."""
        far = []
        for task in range(300):
            rng = np.random.default_rng(task)
            centres, x, labels, shape = cloud(rng, 2, 40)
            plain = Normalisation(l2=False, scale=0.05)  # L2 would stretch each class by another factor
            learner = Learner(dim=24, unknown=0.05, head="euclidean", normalisation=plain)
            learner.learn_many(x[:41], labels[:41])
            far += [p.label is None for p in learner.predict_many(centres[1] + shape * rng.normal(size=(4, 24)))]
        assert 3.0 < 100 * np.mean(far) < 8.0

    def test_distance_tells_more_than_confidence(self):
        by_distance, by_confidence = [], []
        for task in range(20):
            rng = np.random.default_rng(task)
            centres, x, labels, shape = cloud(rng, 4, 6, spread=1.0)
            learner = Learner(dim=24)
            learner.learn_many(x, labels)
            new = np.tile(centres, (10, 1)) + shape * rng.normal(size=(40, 24))
            other = rng.normal(size=(40, 24)) + shape * rng.normal(size=(40, 24))
            novelty = learner.novelty(np.vstack([new, other]))
            by_distance.append(auroc(novelty[:40], novelty[40:]))
            doubt = np.array([1 - p.confidence for p in learner.predict_many(np.vstack([new, other]))])
            by_confidence.append(auroc(doubt[:40], doubt[40:]))
        assert np.mean(by_distance) > np.mean(by_confidence)


class TestPrediction:
    def test_unknown_has_no_label_but_a_nearest_class(self, rng):
        centres, x, labels, _ = cloud(rng, 2, 20, spread=0.2)
        learner = Learner(dim=24, unknown=0.05)
        learner.learn_many(x, labels)
        found = learner.predict(-centres[0] - centres[1])
        assert found.label is None and found.nearest in ("c0", "c1") and found.novelty > 1.0
        assert found.confidence is not None and "nearest=" in repr(found)
        known = learner.predict(centres[0])
        assert known.label == known.nearest == "c0" and known.novelty <= 1.0 and "nearest" not in repr(known)

    def test_too_few_to_say_rejects_nothing(self, rng):
        _, x, labels, _ = cloud(rng, 2, 9)
        learner = Learner(dim=24, unknown=0.05)
        learner.learn_many(x, labels)
        assert learner.predict(-x[0]).novelty is None and learner.predict(-x[0]).label is not None
        learner.learn(x[0] * 1.01 + 0.01, "c0")  # the nineteenth
        assert learner.predict(-x[0]).novelty is not None

    @pytest.mark.parametrize("head", ["euclidean", "auto"])
    @pytest.mark.parametrize(("first", "others"), [(20, 20), (200, 1)])
    def test_bursts_leave_the_rate(self, head, first, others):
        """Frames of a burst are one example: new bursts of the same classes are rejected no more often than asked."""
        rejected = []
        for seed in range(4):
            rng = np.random.default_rng(seed)
            centres = rng.normal(size=(5, 64)) / 8
            learner = Learner(dim=64, unknown=0.05, head=head, normalisation=Normalisation(l2=False, scale=0.5))
            for c, centre in enumerate(centres):
                for g in range(6):
                    frames = centre + rng.normal(size=64) / 32 + 0.002 * rng.normal(size=(others if g else first, 64))
                    learner.learn_many(frames, f"{c}", group=f"{c} {g}")
            new = np.repeat(centres, 40, 0) + rng.normal(size=(200, 64)) / 32
            rejected.append(np.mean([p.label is None for p in learner.predict_many(new)]))
        assert np.mean(rejected) < 0.1

    def test_sealing_keeps_the_limit(self, rng):
        """What is left singly says it: the limit does not vanish, and does not come to reject what is known."""
        centres, x, labels, _ = cloud(rng, 2, 200, spread=0.2)
        for options in ({"head": "euclidean"}, {"head": "lda"}, {}):
            learner = Learner(dim=24, unknown=0.05, budget=40, **options)
            order = rng.permutation(len(x))
            learner.learn_many(x[order][:200], [labels[i] for i in order[:200]])
            for i in order[200:300]:
                learner.learn(x[i], labels[i])
            assert learner.journal.seals
            found = learner.predict_many(x[order[300:]])
            assert all(p.novelty is not None for p in found)
            assert np.mean([p.label is None for p in found]) < 0.2
            assert learner.predict(-centres[0] - centres[1]).label is None

    def test_rare_rates_are_refused_at_once_where_nothing_could_say_them(self):
        for rate, background in ((0.001, None), (0.0009, "glyphs")):
            with pytest.raises(OptionError):
                Learner(background, dim=None if background else 4, unknown=rate)
        assert Learner("glyphs", unknown=0.001).labels == ()

    def test_without_it_nothing_changes(self, rng):
        _, x, labels, _ = cloud(rng, 3, 10)
        plain, asked = Learner(dim=24), Learner(dim=24, unknown=0.05)
        for learner in (plain, asked):
            learner.learn_many(x, labels)
        for a, b in zip(plain.predict_many(x), asked.predict_many(x), strict=True):
            assert a.novelty is None and a.label == a.nearest == b.nearest and a.confidence == b.confidence
        np.testing.assert_allclose(plain.novelty(x), asked.novelty(x), rtol=1e-9)

    def test_identical_examples(self, rng):
        """The limit is zero: only the very same is known, and nothing is NaN."""
        learner = Learner(dim=24, unknown=0.05)
        z = rng.normal(size=24)
        learner.learn_many(np.tile(z, (25, 1)), "a")
        learner.learn_many(np.tile(-z, (25, 1)), "b")
        assert learner.predict(z).label == "a"
        far = learner.predict(rng.normal(size=24))
        assert far.label is None and np.isfinite(far.novelty)

    def test_forgetting_moves_the_limit_back(self, rng):
        _, x, labels, _ = cloud(rng, 3, 10)
        learner, other = Learner(dim=24, unknown=0.05), Learner(dim=24, unknown=0.05)
        learner.learn_many(x, labels)
        before = learner.predict(x[0]).novelty
        extra = learner.learn(-x[0], "c0")
        assert learner.predict(x[0]).novelty != before
        learner.forget(example=extra)
        other.merge(learner)
        assert learner.predict(x[0]).novelty == before == other.predict(x[0]).novelty

    @pytest.mark.parametrize("rate", [0, 1, 0.6, -0.1, "5 %", True, float("nan")])
    def test_bad_rates(self, rate):
        with pytest.raises(OptionError, match="unknown is the share"):
            Learner(dim=4, unknown=rate)


class TestBundle:
    def test_its_background_sets_the_limit_of_the_first_example(self, tmp_path):
        images = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE)).astype(np.uint8)
        bundle = small_bundle(tmp_path / "b.edgemeta", background=background(DIM, spread=0.05))
        learner = Learner(bundle, unknown=0.05)
        learner.learn(images[0], "a")
        assert learner.predict(images[0]).label == "a"
        assert learner.predict(255 - images[1]).label is None
        bare = Learner(small_bundle(tmp_path / "c.edgemeta"), unknown=0.05)
        bare.learn(images[0], "a")
        assert bare.predict(255 - images[1]).label == "a" and bare.predict(images[1]).novelty is None

    def test_it_is_the_bundles_own(self, tmp_path):
        with pytest.raises(OptionError, match="belongs to the bundle"):
            Learner(small_bundle(tmp_path / "b.edgemeta"), background=background(DIM))


class TestLeftOut:
    @pytest.mark.parametrize("dim", [6, 40])
    def test_distances_equal_those_of_solving_again(self, rng, dim):
        """Under the covariance that is left, a and d held, for single examples and for bursts."""
        y = np.repeat([0, 1, 2], [7, 9, 5])
        z = np.round((rng.normal(size=(3, dim))[y] + rng.normal(size=(21, dim))) / 3 / dim**0.5 * 2**20) / 2**20
        groups = np.array([0, 0, 1, 2, 3, 4, 4, 5, 5, 5, *range(6, 17)])
        facts = facts_of(z, y, groups=groups)
        head = LDA()
        x = z - facts.means[y]
        fixed = head._shrunk(facts, x.T @ x)

        class Fixed(LDA):
            def _shrunk(self, facts, moment):
                return fixed

        for judge, far in ((head, head.leave_out_distances(facts)), (None, Euclidean().leave_out_distances(facts))):
            for group in np.unique(groups):
                out = groups == group
                rest = facts_of(z[~out], y[~out])
                apart = z[out][:, None] - rest.means[None]
                solved = apart if judge is None else Fixed().metric(rest)(apart.reshape(-1, dim)).reshape(apart.shape)
                np.testing.assert_allclose(far[out], (apart * solved).sum(2), rtol=1e-8)

    def test_the_quantile_is_that_of_the_next_one(self, rng):
        """Of N exchangeable values the next exceeds it with the probability asked for."""
        for count, rate in ((19, 0.05), (25, 0.05), (60, 0.1)):
            over = [rng.exponential() > quantile(rng.exponential(size=count), rate) for _ in range(4000)]
            assert abs(np.mean(over) - rate) < 0.012

    def test_weights_make_each_class_count_alike(self, rng):
        """120 of one class and 20 of another that lies twice as far: the limit is for both alike."""
        over = np.zeros(2)
        for _ in range(2000):
            values = np.append(rng.exponential(size=120), 2 * rng.exponential(size=20))
            weights = np.append(np.full(120, 0.5 / 120), np.full(20, 0.5 / 20))
            over += rng.exponential(size=2) * [1, 2] > quantile(values, 0.1, weights)
        assert abs(over.mean() / 2000 - 0.1) < 0.015
        equal = np.arange(1.0, 41.0)
        assert quantile(equal, 0.1) == quantile(equal, 0.1, np.full(40, 1 / 40)) == pytest.approx(0.9 * 41)

    def test_values_of_one_example_more(self, rng):
        z = rng.normal(size=(12, 5)) / 8
        y = np.repeat([0, 1], 6)
        sample = sample_of(z, y)
        left, weights, _ = left_out(make_head("euclidean"), sample, _folds(sample.facts))
        np.testing.assert_allclose(weights, 1 / 12)
        mean = (z[:6].sum(0) - z[0]) / 5
        other = z[6:].mean(0)
        expected = min(np.square(z[0] - mean).sum() * 5 / 6, np.square(z[0] - other).sum() * 6 / 7)
        assert left[0] == pytest.approx(expected)


def test_auroc_counts_ties_half():
    assert auroc(np.array([1.0, 2.0]), np.array([2.0, 3.0])) == pytest.approx(7 / 8)
    assert auroc(np.array([1.0]), np.array([1.0])) == 0.5
    assert make_head("lda").temperature > 0


@pytest.mark.parametrize("options", [{"background": 3}, {"prior": None}, {"prior": "yes"}])
def test_wrong_types_are_said_at_once(options):
    with pytest.raises(OptionError):
        Learner(dim=4, **options)


@pytest.mark.parametrize(
    "kind", ["identical", "collinear", "constant feature", "one example", "one class", "one group"]
)
@pytest.mark.parametrize("head", ["auto", "lda", "ridge", "centred", "cosine", "euclidean", "neighbours", "projected"])
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_degenerate_sets_are_defined(rng, kind, head):
    """No NaN, no infinity, no warning; whatever the head."""
    z, y = rng.normal(size=(22, 8)), ["ab"[i % 2] for i in range(22)]
    if kind == "identical":
        z = np.tile(z[:1], (22, 1))
    elif kind == "collinear":
        z = np.outer(np.linspace(-1, 1, 22), z[0])
    elif kind == "constant feature":
        z[:, 3] = 5.0
    elif kind == "one example":
        z, y = z[:1], y[:1]
    elif kind == "one class":
        y = ["a"] * 22
    learner = Learner(dim=8, head=head, unknown=0.05)
    learner.learn_many(z, y, group="g" if kind == "one group" else None)
    found = learner.predict(rng.normal(size=8))
    numbers = [found.score, found.confidence, found.novelty, *(score for _, score, _ in found.ranked)]
    assert all(number is None or np.isfinite(number) for number in numbers)
    assert np.isfinite(learner.novelty(z)).all()
    learner.report()
