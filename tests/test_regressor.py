"""The regressor: exact, both forms alike, honest about its errors, and with a learned prior as ALPaCA has it."""

from __future__ import annotations

import io
import json
import zipfile
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemeta import Learner, Normalisation, RegressionPrior, Regressor
from edgemeta.cli import main
from edgemeta.errors import (
    DataError,
    DataMissingError,
    InputError,
    JournalError,
    JournalMismatchError,
    NotTaughtError,
    OptionError,
    RecoveredWarning,
)
from edgemeta.normalisation import EXACT_EXAMPLES, Q20, to_float
from edgemeta.regression.bayes import BayesianRegression
from edgemeta.regression.learning import learn
from edgemeta.regression.ridge import RidgeRegression
from edgemeta.regression.sums import TargetSums

PLAIN = Normalisation(l2=False, scale=0.1)


def task(rng: np.random.Generator, count: int, dim: int = 6, outputs: int = 1, noise: float = 0.1):
    x = rng.normal(size=(count, dim)) / np.sqrt(dim)
    weights = np.random.default_rng(3).normal(size=(dim, outputs))
    return x, x @ weights + 2.0 + noise * rng.normal(size=(count, outputs))


def taught(x: np.ndarray, y: np.ndarray, *, group: object = None, **options: object) -> Regressor:
    regressor = Regressor(dim=x.shape[1], targets=y.shape[1], normalisation=PLAIN, **options)
    regressor.learn_many(x, y, group=group)
    return regressor


def prior_of(rng: np.random.Generator, dim: int, outputs: int = 1) -> RegressionPrior:
    root = rng.normal(size=(dim + 1, dim + 1))
    return RegressionPrior(rng.normal(size=(dim + 1, outputs)), root @ root.T + np.eye(dim + 1), np.full(outputs, 0.04))


def same_bits(a: Regressor, b: Regressor, probe: np.ndarray) -> bool:
    one, two = a.solution(), b.solution()
    equal = (one.weights == two.weights).all() and (one.bias == two.bias).all() and (one.lambda_ == two.lambda_).all()
    pairs = zip(a.predict_many(probe), b.predict_many(probe), strict=True)
    return bool(equal) and all((p.mean == q.mean).all() and np.array_equal(p.std, q.std) for p, q in pairs)


def test_masked_arrays_and_a_disk_that_refuses(tmp_path, rng):
    masked = np.ma.masked_less(rng.normal(size=(6, 3)), 0.0)
    with pytest.raises(InputError, match="masked"):
        Regressor(dim=3).learn_many(rng.normal(size=(6, 3)), masked[:, 0])
    for each, what in ((Learner(dim=3), "a"), (Regressor(dim=3), np.zeros(6))):
        with pytest.raises(InputError, match="masked"):
            each.learn_many(masked, what)
    tasks = [(rng.normal(size=(6, 3)), rng.normal(size=(6, 1))) for _ in range(3)]
    with pytest.raises(DataError, match="could not be written"):
        RegressionPrior.learn(tasks).save(tmp_path / "none" / "prior.npz")


def test_nothing_can_be_asked_of_what_was_closed():
    learner, regressor = Learner(dim=3), Regressor(dim=3)
    learner.learn(np.eye(3)[0], "a")
    regressor.learn_many(np.eye(3), [1.0, 2.0, 3.0])
    for each in (learner, regressor):
        each.predict(np.eye(3)[0])
        each.close()
        for call in (each.solution, each.report, lambda each=each: each.predict(np.eye(3)[0])):
            with pytest.raises(JournalError, match="closed"):
                call()


class TestExactness:
    @given(st.integers(0, 500), st.sampled_from([4, 9, 30]), st.booleans())
    def test_forgetting_is_never_having_seen_in_any_order(self, seed, count, bayes):
        rng = np.random.default_rng(seed)
        x, y = task(rng, count, outputs=2)
        y = y * np.array([1.0, 1e6])
        options = {"prior": prior_of(rng, 6, 2)} if bayes else {}
        straight = taught(x, y, **options)
        walked = Regressor(dim=6, targets=2, normalisation=PLAIN, **options)
        for i in rng.permutation(count):
            walked.learn(x[i], y[i])
        extra = walked.learn(rng.normal(size=6), [3e9, -1e-9])  # another scale for a while
        walked.predict(x[0])
        walked.learn(x[1], y[1])
        walked.undo()
        walked.forget(example=extra)
        assert same_bits(straight, walked, x)

    def test_saved_reopened_merged_compacted(self, rng, tmp_path):
        x, y = task(rng, 12)
        path = tmp_path / "a.learned"
        with Regressor(dim=6, journal=path, normalisation=PLAIN) as regressor:
            ids = regressor.learn_many(x, y[:, 0], group="first")
            regressor.learn(x[0], 100.0, group="slip")
            assert regressor.forget(group="slip") == 1
            assert regressor.compact() > 0
        with Regressor(dim=6, journal=path, normalisation=PLAIN, readonly=True) as again:
            assert list(again.examples) == ids and again.examples[ids[3]] == (y[3, 0],)
            other = Regressor(dim=6, normalisation=PLAIN)
            assert other.merge(path) == 12 and other.merge(again) == 0
            assert same_bits(again, other, x)

    @given(st.data(), st.integers(1, 40))
    def test_sums_do_not_depend_on_the_order(self, data, count):
        rng = np.random.default_rng(count)
        z = to_float(PLAIN.apply(rng.normal(size=(count, 3))))
        y = rng.normal(size=(count, 2)) * 10.0 ** rng.integers(-12, 12, (count, 1))
        kept = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
        walked, straight = TargetSums(3, 2), TargetSums(3, 2)
        for i in data.draw(st.permutations(range(count))):
            walked.change(z[i : i + 1], y[i : i + 1], 1)
        walked.start()
        walked.add_to_sums(z, y)
        for i in data.draw(st.permutations([i for i in range(count) if not kept[i]])):
            walked.change(z[i : i + 1], y[i : i + 1], -1)
        straight.change(z[kept], y[kept], 1)
        straight.start()
        straight.add_to_sums(z[kept], y[kept])
        assert (walked.scale == straight.scale).all()
        if walked.kept:  # else the largest went, and they are folded anew
            for name in ("cross", "totals", "squares"):
                assert (getattr(walked, name)() == getattr(straight, name)()).all()

    def test_sums_of_as_many_examples_as_promised_are_exact(self, rng):
        z = np.full((EXACT_EXAMPLES, 1), (Q20 - 1) / Q20)
        y = 1.0 - rng.integers(1, 99, (EXACT_EXAMPLES, 1)) * 2.0**-40
        sums = TargetSums(1, 1)
        sums.change(z, y, 1)
        sums.start()
        for part in np.array_split(np.arange(EXACT_EXAMPLES), 37):
            sums.add_to_sums(z[part], y[part])
        whole = [int(each) for each in y[:, 0] * 2.0**40]
        assert sums.cross()[0, 0] == float(Fraction((Q20 - 1) * sum(whole), Q20 << 40))
        assert sums.spread(len(whole))[0] == float(
            Fraction(len(whole) * sum(v * v for v in whole) - sum(whole) ** 2, len(whole) << 80)
        )

    def test_a_torn_end_is_as_if_never_said(self, rng, tmp_path):
        x, y = task(rng, 9)
        path = tmp_path / "a.learned"
        with Regressor(dim=6, journal=path, normalisation=PLAIN) as regressor:
            regressor.learn_many(x[:8], y[:8])
            regressor.learn(x[8], y[8])
        path.write_bytes(path.read_bytes()[:-9])
        with (
            pytest.warns(RecoveredWarning),
            Regressor(dim=6, journal=path, normalisation=PLAIN) as again,
        ):
            assert same_bits(again, taught(x[:8], y[:8]), x)

    def test_what_is_forgotten_still_says_of_which_kind_the_journal_is(self, rng, tmp_path):
        """Else a learner could undo the forgetting, and would hold an example without a class."""
        path = tmp_path / "a.learned"
        with Regressor(dim=6, journal=path) as regressor:
            regressor.forget(example=regressor.learn(rng.normal(size=6), 1.0))
        with pytest.raises(JournalMismatchError, match="Regressor"):
            Learner(dim=6, journal=path)

    @pytest.mark.parametrize("count", [5, 6, 7])
    @pytest.mark.parametrize("bayes", [False, True])
    def test_both_forms_agree(self, rng, count, bayes):
        x, y = task(rng, count, outputs=2)
        regressor = taught(x, y)
        facts = regressor._taught.facts()
        form = BayesianRegression(prior_of(rng, 6, 2)) if bayes else RidgeRegression()
        one, two = form.dual(facts), form.primal(facts)
        np.testing.assert_allclose(one.weights, two.weights, rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(one.bias, two.bias, rtol=1e-7)
        z = regressor.embed(rng.normal(size=(5, 6)))
        np.testing.assert_allclose(one.stds(z), two.stds(z), rtol=1e-6)

    def test_many_more_dimensions_than_examples_and_the_reverse(self, rng):
        for count, dim in ((3, 300), (300, 3)):
            x, y = task(rng, count, dim)
            found = taught(x, y).predict(x[0])
            assert np.isfinite(found.mean).all() and (found.std is None or np.isfinite(found.std).all())


class TestLeavingOut:
    @pytest.mark.parametrize("count", [5, 20])
    @pytest.mark.parametrize("grouped", [False, True])
    @pytest.mark.parametrize("bayes", [False, True])
    def test_equals_solving_again(self, rng, count, grouped, bayes):
        x, y = task(rng, count)
        names = [f"g{i // 2}" for i in range(count)] if grouped else [f"g{i}" for i in range(count)]
        prior = prior_of(rng, 6) if bayes else None
        whole = taught(x, y, group=names, prior=prior)
        facts = whole._taught.facts()
        left = whole._regression.leave_out(facts)
        z, targets = facts.examples()
        held = {} if bayes else {"lambda_": float(whole.solution().lambda_[0])}
        for number in np.unique(facts.groups()):
            out = facts.groups() == number
            rest = Regressor(dim=6, normalisation=Normalisation(l2=False), prior=prior, **held)
            rest.learn_many(z[~out], (targets * facts.unit)[~out])
            found = np.array([p.mean for p in rest.predict_many(z[out])])
            np.testing.assert_allclose(left.residuals[out], (targets * facts.unit)[out] - found, rtol=1e-7, atol=1e-9)

    def test_the_report_is_what_new_examples_show(self):
        expected, seen, held = [], [], []
        for seed in range(40):
            rng = np.random.default_rng(seed)
            x, y = task(rng, 30, noise=0.5)
            regressor = taught(x, y)
            expected.append(regressor.report().targets[0].rmse ** 2)
            new, truth = task(rng, 200, noise=0.5)
            found = regressor.predict_many(new)
            gap = np.array([p.value for p in found]) - truth[:, 0]
            seen.append(np.mean(gap**2))
            held.append(np.mean(np.abs(gap) < 1.96 * np.array([p.std[0] for p in found])))
        assert np.sqrt(np.mean(expected)) == pytest.approx(np.sqrt(np.mean(seen)), rel=0.07)
        assert 0.92 < np.mean(held) < 0.98

    @pytest.mark.parametrize("count", [5, 7, 8])
    @pytest.mark.parametrize("noise", [0.05, 0.5])
    def test_the_std_holds_with_as_many_examples_as_dimensions(self, count, noise):
        """Where everything can be explained without noise, that is no evidence that there is none."""
        held = []
        for seed in range(60):
            rng = np.random.default_rng(seed)
            x, y = task(rng, count + 50, noise=noise)
            found = taught(x[:count], y[:count]).predict_many(x[count:])
            gap = np.array([p.value for p in found]) - y[count:, 0]
            held.append(np.mean(np.abs(gap) < 1.96 * np.array([p.std[0] for p in found])))
        assert np.mean(held) > 0.85

    def test_examples_of_one_group_do_not_flatter(self, rng):
        """Each person has an offset; with groups the error of the next person is expected, without that of the next
        frame."""
        people = rng.normal(size=10)
        x = rng.normal(size=(10, 12)).repeat(10, 0) + 0.01 * rng.normal(size=(100, 12))
        y = people.repeat(10)[:, None] + 0.05 * rng.normal(size=(100, 1))
        grouped = taught(x, y, group=[f"p{i // 10}" for i in range(100)]).report()
        assert taught(x, y).report().targets[0].rmse < 0.2 < 0.5 < grouped.targets[0].rmse
        assert grouped.groups == 10 and "10 of them independent" in str(grouped)

    def test_too_few_to_say(self, rng):
        x, y = task(rng, 4)
        report = taught(x, y).report()
        assert report.targets[0].rmse is None and "too few examples to say" in str(report)
        with pytest.raises(NotTaughtError):
            Regressor(dim=6).report()


class TestBadInput:
    def test_targets(self, rng):
        regressor = Regressor(dim=6, targets=2, normalisation=PLAIN)
        x, y = task(rng, 5, outputs=2)
        regressor.learn_many(x, y)
        before = regressor.solution().weights.copy()
        for bad, says in (
            ([1.0, np.nan], "NaN"),
            ([np.inf, 1.0], "NaN or infinity"),
            (1.0, "shape"),
            (["a", "b"], "numbers"),
            ([1e200, 0.0], "1e100"),
            (None, "numbers"),
        ):
            with pytest.raises(InputError, match=says):
                regressor.learn(x[0], bad)
        with pytest.raises(InputError, match="shape"):
            regressor.learn_many(x, y[:3])
        assert len(regressor.examples) == 5 and (regressor.solution().weights == before).all()

    def test_options(self):
        for options in ({"targets": 0}, {"lambda_": -1.0}, {"lambda_": np.nan}, {"channels": "grb"}, {"prior": 3}):
            with pytest.raises(OptionError):
                Regressor(dim=4, **options)
        with pytest.raises(OptionError):
            Regressor(dim=4, prior=prior_of(np.random.default_rng(0), 5))
        with pytest.raises(NotTaughtError):
            Regressor(dim=4).predict(np.ones(4))

    @pytest.mark.parametrize(
        "kind", ["one", "two", "identical", "collinear", "constant feature", "constant target", "zero target"]
    )
    @pytest.mark.parametrize("lambda_", [None, 0.0])
    def test_degenerate_sets_are_defined(self, rng, kind, lambda_):
        x, y = task(rng, 12)
        if kind in ("one", "two"):
            x, y = x[: 1 + (kind == "two")], y[: 1 + (kind == "two")]
        elif kind == "identical":
            x, y = np.tile(x[:1], (12, 1)), np.tile(y[:1], (12, 1))
        elif kind == "collinear":
            x = np.outer(np.linspace(-1, 1, 12), x[0])
        elif kind == "constant feature":
            x[:, 2] = 0.5
        else:
            y[:] = 0.0 if kind == "zero target" else 7.0
        regressor = taught(x, y, lambda_=lambda_)
        found = regressor.predict(x[0])
        assert np.isfinite(found.mean).all() and (found.std is None or np.isfinite(found.std).all())
        if kind in ("one", "identical", "constant target", "zero target"):
            assert found.value == pytest.approx(y[0, 0], abs=1e-9)
        report = regressor.report().targets[0]
        assert all(value is None or np.isfinite(value) for value in (report.rmse, report.r2, report.coverage))

    def test_targets_of_very_different_size(self, rng):
        x, y = task(rng, 30, outputs=2)
        y *= np.array([1e-30, 1e30])
        found = np.array([p.mean for p in taught(x, y).predict_many(x)])
        assert (np.abs(found - y).std(axis=0) < 0.3 * y.std(axis=0)).all()

    def test_the_journal_of_the_other_kind(self, rng, tmp_path):
        classes, numbers = tmp_path / "classes.learned", tmp_path / "numbers.learned"
        with Learner(dim=6, journal=classes) as learner:
            learner.learn(rng.normal(size=6), "a")
        with Regressor(dim=6, journal=numbers) as regressor:
            regressor.learn(rng.normal(size=6), 1.0)
        before = classes.read_bytes(), numbers.read_bytes()
        with pytest.raises(JournalMismatchError, match="taught classes"):
            Regressor(dim=6, journal=classes)
        with pytest.raises(JournalMismatchError, match="Regressor"):
            Learner(dim=6, journal=numbers)
        with pytest.raises(JournalMismatchError, match="targets=1"):
            Regressor(dim=6, journal=numbers, targets=2)
        with pytest.raises(JournalMismatchError):
            Learner(dim=6).merge(numbers)
        assert (classes.read_bytes(), numbers.read_bytes()) == before

    def test_the_report_on_the_command_line(self, tmp_path, capsys):
        with Regressor("glyphs", tmp_path / "n.learned", targets=2) as regressor:
            z = np.random.default_rng(0).normal(size=(8, regressor.bundle.dim))
            regressor.learn_many(z, z[:, :2])
        assert main(["report", str(tmp_path / "n.learned")]) == 0
        assert "8 examples, 8 of them independent, ridge" in capsys.readouterr().out
        assert main(["report", str(tmp_path / "n.learned"), "--json"]) == 0
        assert len(json.loads(capsys.readouterr().out)["targets"]) == 2

    def test_the_command_does_not_mix_kinds(self, rng, tmp_path, capsys):
        classes, numbers = tmp_path / "classes.learned", tmp_path / "numbers.learned"
        with Learner(dim=6, journal=classes) as learner, Regressor(dim=6, journal=numbers) as regressor:
            learner.learn(rng.normal(size=6), "a")
            regressor.learn(rng.normal(size=6), 1.0)
        before = classes.read_bytes(), numbers.read_bytes()
        assert main(["merge", str(classes), str(numbers)]) == 2 and "Regressor" in capsys.readouterr().err
        assert main(["merge", str(numbers), str(classes)]) == 2 and "taught classes" in capsys.readouterr().err
        assert (classes.read_bytes(), numbers.read_bytes()) == before


class TestPrior:
    def test_the_posterior_is_that_of_the_paper(self, rng):
        prior = prior_of(rng, 6, 2)
        x, y = task(rng, 9, outputs=2)
        regressor = taught(x, y, prior=prior)
        phi = np.hstack([regressor.embed(x), np.ones((9, 1))])
        precision = prior.precision + phi.T @ phi
        weights = np.linalg.solve(precision, phi.T @ y + prior.precision @ prior.mean)
        new = rng.normal(size=6)
        at = np.append(regressor.embed(new[None])[0], 1.0)
        found = regressor.predict(new)
        np.testing.assert_allclose(found.mean, at @ weights, rtol=1e-6)
        spread = (1 + at @ np.linalg.solve(precision, at)) * prior.noise
        np.testing.assert_allclose(found.std, np.sqrt(spread), rtol=1e-6)

    def test_before_any_example_it_answers(self, rng):
        prior = prior_of(rng, 6)
        regressor = Regressor(dim=6, normalisation=PLAIN, prior=prior)
        new = rng.normal(size=6)
        at = np.append(regressor.embed(new[None])[0], 1.0)
        first = regressor.predict(new)
        assert first.value == pytest.approx((at @ prior.mean)[0])
        example = regressor.learn(new, first.value + 5.0)
        assert regressor.predict(new).value > first.value + 0.5 and regressor.predict(new).std < first.std
        regressor.forget(example=example)
        assert regressor.predict(new).value == first.value

    def test_it_is_learned_from_tasks(self):
        rng = np.random.default_rng(1)
        mean = np.array([[1.0], [-2.0], [0.5], [3.0]])
        spread = np.diag([0.5, 0.01, 0.2, 0.1])
        tasks = []
        for _ in range(400):
            weights = mean + np.linalg.cholesky(spread) @ rng.normal(size=(4, 1))
            z = rng.normal(size=(int(rng.integers(2, 12)), 3))
            tasks.append((z, np.hstack([z, np.ones((len(z), 1))]) @ weights + 0.2 * rng.normal(size=(len(z), 1))))
        found = RegressionPrior.learn(tasks)
        np.testing.assert_allclose(found.mean, mean, atol=0.12)
        assert found.noise[0] == pytest.approx(0.04, rel=0.15)
        covariance = np.linalg.inv(found.precision) * found.noise[0]
        np.testing.assert_allclose(np.diag(covariance), np.diag(spread), rtol=0.3, atol=0.01)
        likelihoods = np.array(learn(tasks, 50)[3])
        assert (np.diff(likelihoods) > -1e-6 * np.abs(likelihoods[:-1])).all()

    def test_bad_tasks(self, rng):
        good = (rng.normal(size=(4, 3)), rng.normal(size=(4, 1)))
        for tasks in (
            [],
            [good],
            [good, (good[0][:, :2], good[1])],
            [good, (good[0], np.full((4, 1), np.nan))],
            [good, 3],
        ):
            with pytest.raises(InputError):
                RegressionPrior.learn(tasks)

    def test_the_file(self, rng, tmp_path):
        prior = prior_of(rng, 4)
        path = tmp_path / "arm.npz"
        prior.save(path)
        again = RegressionPrior.load(path)
        for name in ("mean", "precision", "noise"):
            np.testing.assert_array_equal(getattr(again, name), getattr(prior, name))
        assert Regressor(dim=4, prior=path).predict(np.ones(4)).std is not None
        with pytest.raises(DataMissingError):
            RegressionPrior.load(tmp_path / "none.npz")

    @pytest.mark.parametrize("damage", ["cut", "pickle", "shape", "nan", "indefinite", "other arrays", "text"])
    def test_hostile_files(self, rng, tmp_path, damage):
        prior = prior_of(rng, 4)
        arrays = {"mean": prior.mean, "precision": prior.precision, "noise": prior.noise}
        if damage == "pickle":
            arrays["mean"] = np.array([{"a": 1}], dtype=object)
        elif damage == "shape":
            arrays["mean"] = prior.mean[:2]
        elif damage == "nan":
            arrays["mean"] = prior.mean * np.nan
        elif damage == "indefinite":
            arrays["precision"] = -prior.precision
        elif damage == "other arrays":
            arrays["extra"] = prior.mean
        path = tmp_path / "p.npz"
        np.savez(path, **arrays)
        if damage == "cut":
            path.write_bytes(path.read_bytes()[:-40])
        elif damage == "text":
            path.write_text("hello")
        with pytest.raises(DataError):
            RegressionPrior.load(path)

    def test_an_array_that_lies_about_its_size(self, rng, tmp_path):
        prior_of(rng, 4).save(tmp_path / "p.npz")
        with zipfile.ZipFile(tmp_path / "p.npz") as file:
            members = {name: file.read(name) for name in file.namelist()}
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (1 << 40, 9)})
        members["mean.npy"] = header.getvalue()
        with zipfile.ZipFile(tmp_path / "q.npz", "w") as file:
            for name, data in members.items():
                file.writestr(name, data)
        with pytest.raises(DataError):
            RegressionPrior.load(tmp_path / "q.npz")


class TestReal:
    def test_sinusoids(self):
        """Those of the MAML paper: with a prior from other sinusoids five points are nearly enough."""
        from bench_regression import sinusoids

        found = sinusoids(tasks=80)
        for points in (5, 10):
            with_prior, plain = found[points]
            assert with_prior.mean() < 0.2 and plain.mean() > 4 * with_prior.mean()

    def test_few_patients(self):
        """As many examples as dimensions: better than scikit-learn's ridges, and the intervals hold."""
        from bench_regression import few_patients

        ours, rivals, coverage = few_patients(10, draws=40)
        assert ours < 1.03 * min(rivals.values())
        assert 90 < coverage < 98

    def test_diabetes_by_group(self):
        """Whole decades of age unseen: as good as scikit-learn's ridges, and the intervals hold."""
        from bench_regression import diabetes

        ours, rivals, coverage = diabetes()
        assert ours < 1.03 * min(rivals.values())
        assert 90 < coverage < 98
