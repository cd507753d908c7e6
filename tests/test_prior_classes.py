"""Prior classes: the record, and how it is estimated from what a learner was taught."""

from __future__ import annotations

import json
import os
import unicodedata
import warnings
from pathlib import Path

import numpy as np
import pytest
from small_bundle import small_bundle

from edgemeta import Regressor
from edgemeta.bundle import Bundle, HeadRecipe
from edgemeta.cli import main
from edgemeta.errors import DataError, JournalMissingError, LabelError, OptionError
from edgemeta.journal import Journal, NewExample
from edgemeta.normalisation import Q20
from edgemeta.prior import PriorClasses, prior_from_journal

DIM = 16
KEY = bytes(32)


def journal_of(examples: list[tuple[str, str | None, np.ndarray]]) -> Journal:
    """(label, group, embedding (D,)) in memory."""
    journal = Journal.memory(embedding_id=KEY, dim=len(examples[0][2]))
    journal.append([NewExample(a, np.rint(z * Q20).astype(np.int32), group=g) for a, g, z in examples])
    return journal


def simulated(rng, classes, users, within, between, sizes):
    """Examples of the model itself; the class means are far enough from the edge of the unit ball."""
    mu = 0.1 * rng.normal(size=(classes, DIM)) / np.sqrt(DIM)
    found = []
    for c in range(classes):
        for user in range(users):
            own = mu[c] + np.sqrt(between / DIM) * rng.normal(size=DIM)
            for _ in range(int(rng.choice(sizes))):
                z = own + np.sqrt(within / DIM) * rng.normal(size=DIM)
                found.append((f"{c:03d}", f"user {user}", z))
    return mu, found


@pytest.mark.parametrize("sizes", [[4], [1, 2, 5, 20]])
@pytest.mark.parametrize(("within", "between"), [(0.02, 0.01), (0.04, 0.002)])
def test_the_variances_are_those_of_the_model(rng, sizes, within, between):
    users = 8
    mu, examples = simulated(rng, 40, users, within, between, sizes)
    prior = prior_from_journal(journal_of(examples))
    assert prior.labels == tuple(f"{c:03d}" for c in range(40))
    assert prior.within == pytest.approx(within, rel=0.06)
    # Around the mean that is stored, which is itself off: by a mean of 8 users' means.
    sizes_of = [
        len([1 for a, g, _ in examples if (a, g) == (label, f"user {u}")])
        for label in prior.labels
        for u in range(users)
    ]
    weights = (1.0 / (between + within / np.array(sizes_of))).reshape(40, users)
    assert prior.between == pytest.approx(between + float((1 / weights.sum(axis=1)).mean()), rel=0.12)
    error = np.square(prior.means - mu).sum(axis=1).mean()
    assert error == pytest.approx(float((1 / weights.sum(axis=1)).mean()), rel=0.25)


def test_the_estimates_are_not_biased_by_unequal_sizes():
    """The mean of many small estimates; a new user's mean lies around the stored mean with `between`."""
    rng, within, between = np.random.default_rng(3), 0.03, 0.01
    found, true = [], []
    for _ in range(150):
        mu, examples = simulated(rng, 6, 4, within, between, [1, 1, 2, 12])
        prior = prior_from_journal(journal_of(examples))
        found.append((prior.within, prior.between))
        true.append(between + np.square(prior.means - mu).sum(axis=1).mean())
    assert np.mean([a for a, _ in found]) == pytest.approx(within, rel=0.03)
    assert np.mean([b for _, b in found]) == pytest.approx(np.mean(true), rel=0.06)


def test_the_combined_mean_is_better_than_either(rng):
    """Empirical Bayes against a user's own mean and against the prior alone, at every number of examples."""
    within, between = 0.03, 0.01
    mu, examples = simulated(rng, 30, 10, within, between, [3, 6])
    prior = prior_from_journal(journal_of(examples))
    for count in (1, 2, 5, 20):
        own, prior_alone, combined = [], [], []
        for _ in range(40):
            for c in range(len(prior.labels)):
                user = mu[c] + np.sqrt(between / DIM) * rng.normal(size=DIM)
                mean = user + np.sqrt(within / count / DIM) * rng.normal(size=DIM)
                own.append(np.square(mean - user).sum())
                prior_alone.append(np.square(prior.means[c] - user).sum())
                posterior = (count * mean + prior.kappa * prior.means[c]) / (count + prior.kappa)
                combined.append(np.square(posterior - user).sum())
        assert np.mean(combined) < min(np.mean(own), np.mean(prior_alone))
        best = 1 / (count / within + 1 / prior.between)
        assert np.mean(combined) == pytest.approx(best, rel=0.15)


def test_users_who_do_not_differ_make_the_prior_worth_all_its_examples(rng):
    _, examples = simulated(rng, 20, 5, 0.03, 0.0, [10])
    prior = prior_from_journal(journal_of(examples))
    assert 20 < prior.kappa <= 50.001
    one = [("a", "g", z) for z in np.eye(4)] + [("a", "h", z) for z in np.eye(4)]  # between comes out negative
    assert prior_from_journal(journal_of(one)).kappa == pytest.approx(8.0)


def test_two_by_two_by_hand():
    """Two users of two examples: within = 2 * 0.02 / 2, sum n ||m_g - m||^2 = 0.36, between = (0.36 - 0.02) / 2."""
    z = np.zeros((4, 2))
    z[:, 0] = [0.4, 0.6, 0.1, 0.3]
    prior = prior_from_journal(journal_of([("a", g, row) for g, row in zip("gghh", z, strict=True)]))
    assert prior.within == pytest.approx(0.02, rel=1e-5)
    apart = 4 * 0.15**2
    between = (apart - 0.02) / 2
    assert prior.between == pytest.approx(between + (between + 0.01) / 2, rel=1e-5)
    assert prior.means == pytest.approx(np.array([[0.35, 0.0]]), abs=1e-5)


def test_what_is_assumed_where_users_cannot_be_told_apart(rng):
    _, examples = simulated(rng, 5, 6, 0.02, 0.01, [1])
    for groups in (True, False):
        journal = journal_of([(a, g if groups else None, z) for a, g, z in examples])
        with pytest.warns(UserWarning, match="no group gave several examples"):
            prior = prior_from_journal(journal)
        assert prior.kappa == 1.0 and prior.within + prior.between == pytest.approx(0.03, rel=0.4)
    _, examples = simulated(rng, 5, 1, 0.02, 0.01, [6])
    with pytest.warns(UserWarning, match="no class was taught by two groups"):
        prior = prior_from_journal(journal_of(examples))
    assert prior.kappa == 1.0 and prior.within == pytest.approx(0.02, rel=0.3)


def test_examples_without_a_group_are_users_of_their_own(rng):
    _, examples = simulated(rng, 6, 5, 0.02, 0.01, [4])
    alone = [("000", None, examples[0][2] / 2), ("000", None, examples[1][2] / 2)]
    named = [("000", f"nobody {i}", z) for i, (_, _, z) in enumerate(alone)]
    one, other = (prior_from_journal(journal_of(examples + more)) for more in (alone, named))
    assert (one.means == other.means).all() and (one.within, one.between) == (other.within, other.between)


def test_what_gives_no_prior(tmp_path, rng):
    empty = Journal.memory(embedding_id=KEY, dim=3)
    with pytest.raises(DataError, match="nothing was taught"):
        prior_from_journal(empty)
    with pytest.raises(DataError, match="do not differ"):
        prior_from_journal(journal_of([("a", "g", np.eye(3)[0]), ("b", "g", np.eye(3)[1])]))
    with pytest.raises(DataError, match="do not differ"):
        prior_from_journal(journal_of([("a", g, np.eye(3)[i]) for i, g in ((0, "g"), (0, "g"), (1, "h"))]))
    _, examples = simulated(rng, 2, 3, 0.02, 0.01, [3])
    sealed = journal_of(examples)
    sealed.seal({"000": [i for i, entry in sealed.live.items() if entry.label == "000"]}, moment=False)
    with pytest.raises(DataError, match="sealed"):
        prior_from_journal(sealed)
    with pytest.raises(JournalMissingError):
        prior_from_journal(tmp_path / "none.learned")


def test_from_a_file_and_without_warnings(tmp_path, rng):
    _, examples = simulated(rng, 3, 4, 0.02, 0.01, [3])
    with Journal.open(tmp_path / "a.learned", embedding_id=KEY, dim=DIM) as journal:
        journal.append([NewExample(a, np.rint(z * Q20).astype(np.int32), group=g) for a, g, z in examples])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = prior_from_journal(tmp_path / "a.learned")
    assert (found.means == prior_from_journal(journal_of(examples)).means).all()


MEANS = np.array([[0.6, 0.8], [0.0, 0.5]], dtype=np.float32)


def test_kappa_by_hand():
    prior = PriorClasses(("a", "b"), MEANS, 3.0, 1.5)
    assert prior.kappa == 2.0 and prior.dim == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"labels": ()},
        {"labels": "ab"},
        {"labels": ("b", "a")},
        {"labels": ("a", "a")},
        {"labels": ("a",)},
        {"labels": ("a", "\x1b")},
        {"labels": ("a", "")},
        {"labels": ("a", 3)},
        {"labels": ("a", unicodedata.normalize("NFD", "é"))},
        {"labels": tuple(f"{i:05d}" for i in range(10_001)), "means": np.zeros((10_001, 2), np.float32)},
        {"means": MEANS.astype(np.float64)},
        {"means": MEANS[0]},
        {"means": MEANS[:, :0]},
        {"means": 1.1 * MEANS},
        {"means": np.float32(np.nan) * MEANS},
        {"means": None},
        {"within": 0.0},
        {"within": -1.0},
        {"within": float("nan")},
        {"between": float("inf")},
        {"between": 0.0},
        {"between": "1"},
        {"within": 1e300, "between": 1e-300},
        {"within": 1e-300, "between": 1e300},
    ],
)
def test_what_is_no_prior(wrong):
    with pytest.raises((OptionError, LabelError)):
        PriorClasses(**({"labels": ("a", "b"), "means": MEANS, "within": 1.0, "between": 1.0} | wrong))


def test_the_record_keeps_its_own_means():
    given = MEANS.copy()
    prior = PriorClasses(("a", "b"), given, 1.0, 1.0)
    given[:] = 0.0
    assert (prior.means == MEANS).all()
    with pytest.raises(ValueError, match="read-only"):
        prior.means[0, 0] = 0.0


# --- the command ----------------------------------------------------------------------------------------


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> Path:
    """A folder with a bundle and what five users taught it, as the current folder."""
    monkeypatch.chdir(tmp_path)
    bundle = small_bundle(tmp_path / "small.edgemeta")
    _, examples = simulated(rng, 12, 5, 0.02, 0.01, [3])
    fill(tmp_path / "x.learned", bundle, [("mug\u00e9" + a, g, z) for a, g, z in examples])
    return tmp_path


def fill(path: Path, bundle: Bundle, examples: list[tuple[str, str | None, np.ndarray]]) -> None:
    with Journal.open(path, embedding_id=bundle.embedding_id, dim=bundle.dim) as journal:
        journal.append([NewExample(a, np.rint(z * Q20).astype(np.int32), group=g) for a, g, z in examples])


def test_the_command_writes_what_was_taught_into_a_copy(desk, capsys):
    before = {name: Path(name).read_bytes() for name in ("small.edgemeta", "x.learned")}
    assert main(["prior", "small.edgemeta", "x.learned", "--out", "new.edgemeta", "--json"]) == 0
    out, error = capsys.readouterr()
    record, bundle, expected = json.loads(out), Bundle.open("new.edgemeta"), prior_from_journal("x.learned")
    assert bundle.prior is not None and not error
    assert (bundle.prior.means == expected.means).all()
    assert tuple(record["labels"]) == bundle.prior.labels == expected.labels
    assert record["within"] == bundle.prior.within and record["between"] == bundle.prior.between
    assert record["kappa"] == bundle.prior.kappa and record["bytes"] == bundle.nbytes
    assert {name: Path(name).read_bytes() for name in before} == before
    assert main(["prior", "small.edgemeta", "x.learned", "--out", "again.edgemeta"]) == 0
    out = capsys.readouterr().out
    assert "12 classes: mugé000" in out and "and 2 more" in out and "counts as" in out and "again.edgemeta" in out
    assert main(["inspect", "new.edgemeta", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["prior"]["kappa"] == bundle.prior.kappa
    assert main(["inspect", "new.edgemeta"]) == 0
    assert "kappa" in capsys.readouterr().out
    # The journal belongs to the copy as well: embedding.id is the same.
    with Journal.open("x.learned", embedding_id=bundle.embedding_id, dim=bundle.dim, readonly=True) as journal:
        assert len(journal.live) == 180


def test_what_is_assumed_is_said_in_one_line(desk, capsys):
    fill(desk / "y.learned", Bundle.open("small.edgemeta"), [("a", None, z) for z in np.eye(DIM)[:3]])
    assert main(["prior", "small.edgemeta", "y.learned", "--out", "new.edgemeta", "--json"]) == 0
    out, error = capsys.readouterr()
    assert error.startswith("edgemeta: no group gave several examples") and error.count("\n") == 1
    assert json.loads(out)["kappa"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["small.edgemeta", "none.learned", "--out", "new.edgemeta"], "none.learned"),
        (["small.edgemeta", "empty.learned", "--out", "new.edgemeta"], "nothing was taught"),
        (["small.edgemeta", "one.learned", "--out", "new.edgemeta"], "do not differ"),
        (["small.edgemeta", "torn.learned", "--out", "new.edgemeta"], "torn.learned"),
        (["other.edgemeta", "x.learned", "--out", "new.edgemeta"], "embeddings of 16 numbers"),
        (["none.edgemeta", "x.learned", "--out", "new.edgemeta"], "no bundle"),
        (["small.edgemeta", "numbers.learned", "--out", "new.edgemeta"], "was taught to predict 1 number"),
        (["ridge.edgemeta", "x.learned", "--out", "new.edgemeta"], "the bundle's head is ridge"),
        (["small.edgemeta", "x.learned", "--out", "new"], "new.edgemeta"),
        (["small.edgemeta", "x.learned", "--out", "none/new.edgemeta"], "cannot be written"),
    ],
)
def test_bad_input_is_one_clear_line_and_status_2(desk, capsys, arguments, message):
    bundle = Bundle.open("small.edgemeta")
    small_bundle(desk / "other.edgemeta", seed=9)
    small_bundle(desk / "ridge.edgemeta", head=HeadRecipe("ridge", 1.0, 1.0))
    with Regressor(bundle, desk / "numbers.learned") as regressor:
        regressor.learn_many(np.eye(DIM), np.arange(DIM))
    fill(desk / "one.learned", bundle, [("a", "g", np.eye(DIM)[0])])
    with Journal.open(desk / "empty.learned", embedding_id=bundle.embedding_id, dim=bundle.dim):
        pass
    (desk / "torn.learned").write_bytes((desk / "x.learned").read_bytes()[:100])
    before = sorted(os.listdir(desk))
    assert main(["prior", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("edgemeta: ") and message in error and error.count("\n") == 1
    assert sorted(os.listdir(desk)) == before
