"""A bundle's prior classes: known from the start, moved by the user's few examples in closed form."""

from __future__ import annotations

import re

import numpy as np
import pytest
from small_bundle import DIM, small_bundle

from edgemeta import Bundle, Learner
from edgemeta.bundle import rewrite_bundle
from edgemeta.cli import main
from edgemeta.empirical_bayes import STRENGTH, prior_weight
from edgemeta.errors import HeadError, NotTaughtError
from edgemeta.prior import PriorClasses
from edgemeta.statistics import Statistics

WITHIN, BETWEEN = 0.2, 0.05


def factory(rng: np.random.Generator, count: int = 3) -> tuple[PriorClasses, np.ndarray]:
    means = rng.normal(size=(count, DIM)) / np.sqrt(DIM) * 0.5
    labels = tuple(f"p{i:02d}" for i in range(count))
    return PriorClasses(labels, means.astype(np.float32), WITHIN, BETWEEN), means


@pytest.fixture
def bundle(tmp_path, rng) -> Bundle:
    return small_bundle(tmp_path / "b.edgemeta", prior=factory(rng)[0])


def test_known_before_anything_is_taught(bundle):
    learner = Learner(bundle)
    means = bundle.prior.means.astype(np.float64)
    assert [p.label for p in learner.predict_many(means)] == ["p00", "p01", "p02"]
    assert learner.labels == () and learner.counts == {}
    with pytest.raises(NotTaughtError):
        Learner(bundle, prior=False).predict(means[0])


@pytest.mark.parametrize("head", ["auto", "euclidean", "cosine", "centred"])
def test_the_mean_is_the_posterior(bundle, rng, head):
    learner = Learner(bundle, head=head)
    x = rng.normal(size=(3, DIM))
    learner.learn_many(x, "p01")
    facts = learner._taught.facts(learner.head)
    kappa = prior_weight(bundle.prior, learner._taught.statistics, learner._taught._worth(), sealed=False)
    expected = (learner.embed(x).sum(0) + kappa * bundle.prior.means[1].astype(np.float64)) / (3 + kappa)
    np.testing.assert_allclose(facts.means[1], expected, rtol=1e-12)
    np.testing.assert_allclose(facts.means[0], bundle.prior.means[0].astype(np.float64), rtol=1e-12)


def test_a_burst_does_not_outweigh_the_factory(tmp_path, rng):
    """Twenty frames of one picture say as much as the picture."""
    prior, means = factory(rng, 5)
    bundle = small_bundle(tmp_path / "c.edgemeta", prior=prior)
    pictures = means + 0.4 * rng.normal(size=(5, DIM)) / np.sqrt(DIM)
    one, burst = Learner(bundle), Learner(bundle)
    for i, picture in enumerate(pictures):
        one.learn(picture, f"p{i:02d}")
        burst.learn_many(np.tile(picture, (20, 1)), f"p{i:02d}", group=f"burst {i}")
    found = [each._taught.facts(each.head).means for each in (one, burst)]
    np.testing.assert_allclose(found[0], found[1], atol=1e-9)


def test_the_order_of_teaching_does_not_move_the_weight(tmp_path, rng):
    """To the bit: it is summed over the classes in one order."""
    prior, means = factory(rng, 9)
    bundle = small_bundle(tmp_path / "c.edgemeta", prior=prior)
    x = means.repeat(3, 0) + 0.3 * rng.normal(size=(27, DIM))
    labels = [f"p{i // 3:02d}" for i in range(27)]
    probe, answers = rng.normal(size=(3, DIM)), set()
    for _ in range(5):
        learner = Learner(bundle)
        first = learner.learn(x[26], "p00")
        for i in rng.permutation(27):
            learner.learn(x[i], labels[i])
        learner.forget(example=first)
        answers.add(tuple((p.label, p.score) for p in learner.predict_many(probe)))
    assert len(answers) == 1


def test_episodes_and_the_demo_do_not_meet_the_factory_classes(tmp_path, rng, capsys):
    """`eval`, `verify --data` and `demo` say the same of a bundle with prior classes that lie all over."""
    plain = Bundle.open("glyphs")
    means = (rng.normal(size=(40, plain.dim)) / plain.dim**0.5 * 0.9).astype(np.float32)
    prior = PriorClasses(tuple(f"{i:02d}" for i in range(40)), means, 0.4, 0.1)
    with_prior = str(rewrite_bundle(plain, tmp_path / "p.edgemeta", prior=prior).path)
    said = []
    for name in ("glyphs", with_prior):
        for command in (
            ["eval", name, "--data", "digits", "--ways", "5", "--shots", "1", "--episodes", "10", "--json"],
            ["verify", name, "--data", "digits", "--json"],
            ["demo", "--bundle", name, "--draws", "1", "--json"],
        ):
            assert main(command) == 0
            said.append(re.findall(r'"accuracy": ([0-9.]+)', capsys.readouterr().out))
    assert said[:3] == said[3:] and all(said)


def test_forgetting_returns_to_the_factory(bundle, rng):
    learner, fresh = Learner(bundle), Learner(bundle)
    probe = rng.normal(size=(5, DIM))
    before = [p.ranked for p in learner.predict_many(probe)]
    learner.learn_many(rng.normal(size=(4, DIM)), "p00")
    learner.learn_many(rng.normal(size=(4, DIM)), "mine")
    assert [p.ranked for p in learner.predict_many(probe)] != before
    learner.forget("p00")
    learner.forget("mine")
    assert [p.ranked for p in learner.predict_many(probe)] == before == [p.ranked for p in fresh.predict_many(probe)]


def test_the_weight_follows_the_user(rng):
    """Far from the factory's means the prior soon counts less, near them more; few examples move it little."""
    prior, means = factory(rng, 20)
    far, near = Statistics(DIM), Statistics(DIM)
    for i, mean in enumerate(means):
        for statistics, apart in ((far, 0.5), (near, 0.0)):
            user = mean + apart * rng.normal(size=DIM) / np.sqrt(DIM)
            z = user + np.sqrt(WITHIN / DIM) * rng.normal(size=(6, DIM))
            statistics.add(f"p{i:02d}", np.rint(z * 2**20).astype(np.int32))
    assert prior_weight(prior, Statistics(DIM), {}, sealed=False) == prior.kappa == pytest.approx(4.0)
    assert prior_weight(prior, far, far.counts, sealed=False) < 2.0
    assert prior_weight(prior, near, near.counts, sealed=False) > 6.0
    one = Statistics(DIM)
    one.add("p00", np.rint((means[:1] + 0.1) * 2**20).astype(np.int32))
    assert abs(prior_weight(prior, one, one.counts, sealed=False) - 4.0) < 8.0 / STRENGTH


def test_few_examples_do_better_than_either_alone():
    """Users differ from the factory and examples are noisy: the combination is nearer to the truth than the prior and
    than the mean of the examples."""
    errors = {"prior": [], "examples": [], "both": []}
    for seed in range(200):
        rng = np.random.default_rng(seed)
        prior, means = factory(rng, 1)
        user = means[0] + np.sqrt(BETWEEN / DIM) * rng.normal(size=DIM)
        z = user + np.sqrt(WITHIN / DIM) * rng.normal(size=(3, DIM))
        statistics = Statistics(DIM)
        statistics.add("p00", np.rint(z * 2**20).astype(np.int32))
        kappa = prior_weight(prior, statistics, statistics.counts, sealed=False)
        both = (z.sum(0) + kappa * means[0]) / (3 + kappa)
        for name, estimate in (("prior", means[0]), ("examples", z.mean(0)), ("both", both)):
            errors[name].append(float(np.square(estimate - user).sum()))
    both = np.mean(errors["both"])
    assert both < 0.8 * np.mean(errors["prior"]) and both < 0.8 * np.mean(errors["examples"])
    # The least that is possible with both variances known.
    assert both < 1.1 / (1 / BETWEEN + 3 / WITHIN)


def test_leaving_out_keeps_the_prior(bundle, rng):
    """The report's scores equal those of a learner that never saw the example."""
    x = rng.normal(size=(6, DIM))
    labels = ["p00", "p00", "p02", "mine", "mine", "mine"]
    learner = Learner(bundle, head="euclidean")
    ids = learner.learn_many(x, labels)
    facts = learner._taught.facts(learner.head)
    scores = learner.head.leave_out(facts)
    order = sorted(ids)
    for row, each in enumerate(order):
        rest = Learner(bundle, head="euclidean")
        rest.learn_many(
            np.delete(x, ids.index(each), axis=0), [n for n, i in zip(labels, ids, strict=True) if i != each]
        )
        without = rest._taught.facts(rest.head)
        held = facts.prior.counts  # kappa is held, as lambda and shrinkage are
        means = (without.sums + held[:, None] * facts.prior.means) / (without.counts + held)[:, None]
        z = learner.embed(x[ids.index(each)][None])[0]
        np.testing.assert_allclose(scores[row], 2 * means @ z - (means * means).sum(1), rtol=1e-9)
    assert learner.report().accuracy is None


def test_with_unknown_and_report(bundle, rng):
    learner = Learner(bundle, unknown=0.05)
    x = bundle.prior.means[0] + 0.1 * rng.normal(size=(30, DIM))
    learner.learn_many(x.astype(np.float64), "p00")
    found = learner.predict(-x[0].astype(np.float64))
    assert found.novelty is not None and found.nearest in ("p00", "p01", "p02")
    assert [c.label for c in learner.report().classes] == ["p00"]


def test_heads_that_cannot_use_it_say_so(bundle):
    for head in ("ridge", "lda", "neighbours"):
        with pytest.raises(HeadError, match="prior classes"):
            Learner(bundle, head=head)
        assert Learner(bundle, head=head, prior=False).head.name == head


def test_a_journal_is_shared_with_the_bundle_without_prior(tmp_path, rng):
    plain = small_bundle(tmp_path / "a.edgemeta")
    with Learner(plain, tmp_path / "x.learned") as learner:
        learner.learn(rng.normal(size=DIM), "p00")
    with Learner(small_bundle(tmp_path / "b.edgemeta", prior=factory(rng)[0]), tmp_path / "x.learned") as learner:
        assert learner.counts == {"p00": 1} and len(learner.predict(rng.normal(size=DIM)).ranked) == 3
