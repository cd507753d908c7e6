"""The regressor over long histories, on files and full disks; priors from bad tasks and hostile files."""

from __future__ import annotations

import os
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgemeta import Normalisation, RegressionPrior, Regressor
from edgemeta.errors import DataError, InputError, JournalReadOnlyError, JournalWriteError, NotFoundError, OptionError
from edgemeta.journal import store

DIM = 4
PLAIN = Normalisation(l2=False, scale=0.1)
Z = np.random.default_rng(5).normal(size=(120, DIM))
# Sizes differ by 2^60: the scale of the sums goes up and down. Many inputs are equal, and some numbers are too.
Y = np.random.default_rng(6).normal(size=(120, 2)) * 2.0 ** np.random.default_rng(7).choice([0, 30, -30], (120, 1))
Z[1::3], Y[3::12] = Z[::3], Y[0]
Z[3::12] = Z[0]
GROUPS = [None, None, "a", "b"]


def regressor(journal: Path | None = None, **options: object) -> Regressor:
    return Regressor(dim=DIM, journal=journal, targets=2, normalisation=PLAIN, sync="never", **options)


def rows(known: Regressor) -> list[tuple[bytes, tuple[float, ...], str]]:
    """What is live, without ids."""
    ids = list(known.examples)
    z = known.journal.embeddings(ids)
    live = known.journal.live
    return sorted((row.tobytes(), known.examples[i], live[i].group or "") for row, i in zip(z, ids, strict=True))


def bits(known: Regressor) -> tuple[bytes, ...]:
    """All that can be asked of it."""
    fit = known.solution()
    answers = [part for each in known.predict_many(Z[:9]) for part in (each.mean, each.std)]
    arrays = (fit.weights, fit.bias, fit.lambda_, *answers)
    report = repr(known.report().to_json()).encode()
    return (*(b"" if each is None else each.tobytes() for each in arrays), report)


class Steps:
    """Random calls on a regressor, and the model: a list of (row, group) that undo goes back in."""

    def __init__(self, data: st.DataObject, folder: Path) -> None:
        self.data, self.path = data, folder / "a.learned"
        self.real, self.other = regressor(self.path), regressor()
        self.fresh = iter(range(len(Z)))
        self.known: list[tuple[int, str | None]] = []
        self.past: list[list[tuple[int, str | None]]] = []

    def learn(self, count: int, who: Regressor) -> list[tuple[int, str | None]]:
        new = [(next(self.fresh), self.data.draw(st.sampled_from(GROUPS))) for _ in range(count)]
        who.learn_many(Z[[i for i, _ in new]], Y[[i for i, _ in new]], group=[group for _, group in new])
        return new

    def forget(self) -> list[tuple[int, str | None]]:
        row, group = gone = self.data.draw(st.sampled_from(self.known))
        if group is not None and self.data.draw(st.booleans()):
            self.real.forget(group=group)
            return [each for each in self.known if each[1] != group]
        z, live = PLAIN.apply(Z[row][None])[0], self.real.journal.live
        alike = [
            i
            for i, target in self.real.examples.items()
            if target == tuple(Y[row]) and live[i].group == group and (self.real.journal.embeddings([i])[0] == z).all()
        ]
        self.real.forget(example=alike[0])
        return [each for i, each in enumerate(self.known) if i != self.known.index(gone)]

    def step(self) -> None:
        what = self.data.draw(st.sampled_from(["one", "many", "forget", "undo", "merge", "ask", "again", "compact"]))
        if what == "undo" and self.past:
            self.real.undo()
            self.known, self.other = self.past.pop(), regressor()  # what was taken back does not come with a merge
        elif what == "ask" and self.known:
            self.real.predict(Z[0])  # makes the sums, which then have to follow
        elif what == "again":
            self.real.close()
            self.real = regressor(self.path)
        elif what == "compact":
            self.real.compact()
            self.past = []  # undo cannot step over it
        else:
            before = list(self.known)
            if what in ("one", "many"):
                self.known = self.known + self.learn(1 if what == "one" else 5, self.real)
            elif what == "forget" and self.known:
                self.known = self.forget()
            elif what == "merge":
                new = self.learn(2, self.other)
                assert self.real.merge(self.other) == 2 and self.real.merge(self.other) == 0
                self.known = self.known + new
            else:
                return
            self.past.append(before)


@settings(max_examples=60)
@given(st.data())
def test_any_history_equals_a_fold_over_what_remains(data):
    with tempfile.TemporaryDirectory() as folder:
        steps = Steps(data, Path(folder))
        for _ in range(data.draw(st.integers(1, 12))):
            steps.step()
        fold, union = regressor(), regressor()
        for row, group in data.draw(st.permutations(steps.known)):
            fold.learn(Z[row], Y[row], group=group)
        union.merge(steps.real)
        assert rows(steps.real) == rows(fold) == rows(union)
        if steps.known:
            assert bits(steps.real) == bits(fold) == bits(union)
        steps.real.close()


def test_a_reader_follows_and_cannot_teach(tmp_path):
    path = tmp_path / "a.learned"
    with regressor(path) as writer, regressor(path, readonly=True) as reader:
        writer.learn_many(Z[:6], Y[:6])
        assert reader.reload() and not reader.reload()
        before = bits(reader)
        for call in (lambda: reader.learn(Z[7], Y[7]), reader.undo, reader.compact):
            with pytest.raises(JournalReadOnlyError):
                call()
        assert bits(reader) == before == bits(writer)
        writer.forget(example=next(iter(writer.examples)))
        writer.compact()
        assert reader.reload() and bits(reader) == bits(writer) != before


def test_what_the_disk_refuses_changes_nothing(tmp_path, monkeypatch):
    with regressor(tmp_path / "a.learned") as known:
        known.learn_many(Z[:6], Y[:6], group=["g", *[None] * 5])
        before = bits(known)

        def full(fd: int, data: bytes, offset: int) -> None:
            os.pwrite(fd, bytes(data[:50]), offset)
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(store, "write_all", full)
        for call in (lambda: known.learn(Z[7], Y[7]), lambda: known.forget(group="g"), known.undo):
            with pytest.raises(JournalWriteError):
                call()
        monkeypatch.undo()
        with pytest.raises(NotFoundError):
            known.forget(group="h")
        with pytest.raises(InputError):
            known.learn_many(Z[:2], Y[:2], group=["g"])
        assert bits(known) == before
    with regressor(tmp_path / "a.learned") as again:
        assert bits(again) == before


def test_the_std_is_that_of_the_formula(rng):
    """A Student t about the fit, its lambda taken as known."""
    z, y = rng.normal(size=(9, DIM)), rng.normal(size=(9, 2))
    known = regressor(lambda_=0.05)
    known.learn_many(z, y)
    x, new = known.embed(z), known.embed(rng.normal(size=(3, DIM)))
    mean = x.mean(axis=0)
    inverse = np.linalg.inv((x - mean).T @ (x - mean) + 0.05 * np.eye(DIM))
    about = y - y.mean(axis=0)
    hat = (x - mean) @ inverse @ (x - mean).T
    noise = np.einsum("nk,nm,mk->k", about, np.eye(9) - hat, about) / 8
    spread = 1 + 1 / 9 + np.einsum("nd,de,ne->n", new - mean, inverse, new - mean)
    expected = np.sqrt(np.outer(spread, noise) * 8 / 6)
    np.testing.assert_allclose(known.solution().stds(new), expected, rtol=1e-7)


def people(rng: np.random.Generator, sizes: list[int]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Inputs, numbers and the person of each: what a person adds to all of his numbers cannot be seen."""
    who = np.repeat(np.arange(len(sizes)), sizes)
    z = rng.normal(size=(len(who), DIM))
    y = z @ np.ones((DIM, 2)) + rng.normal(size=(len(sizes), 2))[who] + 0.1 * rng.normal(size=(len(who), 2))
    return z, y, [f"p{each}" for each in who]


def test_the_std_holds_for_people_never_seen():
    held = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        known = regressor()
        z, y, who = people(rng, [12] * 12)
        known.learn_many(z, y, group=who)
        z, y, _ = people(rng, [1] * 100)
        found = known.predict_many(z)
        held.append([np.abs(each.mean - truth) < 1.96 * each.std for each, truth in zip(found, y, strict=True)])
    assert 0.92 < np.mean(held) < 0.98


def test_the_report_counts_each_group_once(rng):
    z, y, who = people(rng, [1, 2, 30, 1, 7, 3])
    known = regressor(lambda_=0.01)
    known.learn_many(z, y, group=who)
    errors, base = [], []
    for name in sorted(set(who)):
        out = np.array(who) == name
        rest = regressor(lambda_=0.01)
        rest.learn_many(z[~out], y[~out])
        found = np.array([each.mean for each in rest.predict_many(z[out])])
        errors.append(np.square(found - y[out]).mean(axis=0))
        base.append(np.square(y[~out].mean(axis=0) - y[out]).mean(axis=0))
    for k, target in enumerate(known.report().targets):
        assert target.rmse == pytest.approx(np.sqrt(np.mean(errors, axis=0)[k]), rel=1e-8)
        assert target.r2 == pytest.approx(1 - np.mean(errors, axis=0)[k] / np.mean(base, axis=0)[k], rel=1e-8)


def test_equal_inputs_with_different_numbers_give_their_mean():
    for count in (3, 12):
        known = regressor()
        known.learn_many(np.tile(Z[:1], (count, 1)), Y[:count])
        np.testing.assert_allclose(known.predict(Z[1]).mean, Y[:count].mean(axis=0), rtol=1e-6)


def some(z: np.ndarray, y: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(z * (1 + i), y) for i in range(4)]


@pytest.mark.parametrize("name", ["huge targets", "huge inputs", "no inputs", "no targets", "none", "text"])
def test_tasks_that_give_no_prior(name, rng):
    z, y = rng.normal(size=(5, 3)), rng.normal(size=(5, 1))
    tasks = {
        "huge targets": some(z, y * 1e99),
        "huge inputs": some(z * 1e200, y),
        "no inputs": some(z[:, :0], y),
        "no targets": some(z, y[:, :0]),
        "none": None,
        "text": [("a", "b"), ("c", "d")],
    }
    with pytest.raises(InputError):
        RegressionPrior.learn(tasks[name])


@pytest.mark.parametrize("rounds", [0, -1, 1.5, "3", None])
def test_rounds_are_counted(rounds, rng):
    with pytest.raises(OptionError):
        RegressionPrior.learn(some(rng.normal(size=(5, 3)), rng.normal(size=(5, 1))), rounds=rounds)


@pytest.mark.parametrize("scale", [0.0, 1e-300, 1e-40, 1e40])
def test_priors_of_tasks_of_any_size_are_usable(scale, rng):
    z = rng.normal(size=(5, DIM)) / 9
    prior = RegressionPrior.learn([(z * (1 + i), scale * rng.normal(size=(5, 2))) for i in range(4)])
    known = regressor(prior=prior)
    for _ in range(2):
        found = known.predict(Z[0])
        assert np.isfinite(found.mean).all() and np.isfinite(found.std).all()
        known.learn_many(Z[:9], Y[:9])


@given(st.data(), st.booleans())
@settings(max_examples=300)
def test_a_damaged_prior_is_a_prior_or_an_error(data, compressed):
    prior = RegressionPrior(np.ones((3, 1)), np.eye(3), np.ones(1))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "p.npz"
        if compressed:
            np.savez_compressed(path, mean=prior.mean, precision=prior.precision, noise=prior.noise)
        else:
            prior.save(path)
        content = bytearray(path.read_bytes())
        for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
            content[place] = data.draw(st.integers(0, 255))
        path.write_bytes(bytes(content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))]))
        try:
            found = RegressionPrior.load(path)
        except DataError:
            return
        assert not compressed and (found.dim, found.outputs) == (2, 1)


@pytest.mark.parametrize(
    "text",
    ["{[]: 1}", "(" * 3000, "'''", "-" * 3000 + "1", "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"]
    + [f"{{'descr': '<f8', 'fortran_order': False, 'shape': {s}, }}" for s in ("()", "(-1, -8)", "(1e9,)", "(0, 9)")],
    ids=range(9),
)
def test_headers_that_a_parser_chokes_on(text, tmp_path):
    header = text.encode() + b" " * 8 + b"\n"
    array = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64)
    with zipfile.ZipFile(tmp_path / "p.npz", "w") as file:
        for name in ("mean", "precision", "noise"):
            file.writestr(f"{name}.npy", array)
    with pytest.raises(DataError):
        RegressionPrior.load(tmp_path / "p.npz")
