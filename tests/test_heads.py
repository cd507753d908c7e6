"""Every head keeps the same contracts; each is held against an independent solution."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemeta.errors import HeadError, OptionError
from edgemeta.heads import Facts, head_names, make_head
from edgemeta.heads.means import Cosine
from edgemeta.heads.ridge import Ridge
from edgemeta.normalisation import Normalisation, to_float

ALL = head_names()


def facts_of(
    z: np.ndarray,
    y: np.ndarray,
    *,
    single: bool = True,
    classes: int | None = None,
    groups: np.ndarray | None = None,
) -> Facts:
    classes = int(y.max()) + 1 if classes is None else classes
    onehot = np.eye(classes)[y]
    return Facts(
        tuple(f"c{i}" for i in range(classes)),
        onehot.sum(0),
        onehot.T @ z,
        float((z * z).sum()),
        lambda: z.T @ z,
        lambda: (z, y),
        lambda: np.arange(len(y)) if groups is None else groups,
        single,
    )


def task(rng: np.random.Generator, classes: int, shots: int, dim: int, spread: float = 0.3):
    centres = rng.normal(size=(classes, dim))
    raw = np.repeat(centres, shots, 0) + spread * rng.normal(size=(classes * shots, dim))
    return to_float(Normalisation().apply(raw)), np.repeat(np.arange(classes), shots)


@pytest.mark.parametrize("name", ALL)
class TestContracts:
    def test_learns_what_is_separable(self, name, rng):
        z, y = task(rng, 5, 4, 30)
        scores = make_head(name).solve(facts_of(z, y)).scores(z)
        assert (scores.argmax(1) == y).all()

    def test_one_class_always_wins(self, name, rng):
        z, y = task(rng, 1, 3, 10)
        solution = make_head(name).solve(facts_of(z, y))
        assert solution.scores(rng.normal(size=(4, 10))).shape == (4, 1)
        assert np.isfinite(solution.scores(z)).all()

    def test_the_same_facts_give_the_same_bits(self, name, rng):
        z, y = task(rng, 3, 5, 12)
        a, b = (make_head(name).solve(facts_of(z, y)) for _ in range(2))
        assert (a.scores(z) == b.scores(z)).all()

    def test_permuting_the_classes_permutes_the_scores(self, name, rng):
        z, y = task(rng, 4, 3, 8)
        turn = np.array([2, 0, 3, 1])
        plain = make_head(name).solve(facts_of(z, y)).scores(z)
        turned = make_head(name).solve(facts_of(z, turn[y])).scores(z)
        np.testing.assert_allclose(turned[:, turn], plain, atol=1e-9)

    def test_duplicate_examples_are_no_trouble(self, name):
        z = to_float(Normalisation().apply(np.array([[1.0, 2.0, 3.0]] * 6)))
        y = np.array([0, 0, 0, 1, 1, 1])
        solution = make_head(name).solve(facts_of(z, y))
        assert np.isfinite(solution.scores(z)).all()

    def test_means_that_cancel_give_finite_scores(self, name):
        z = np.array([[0.5, 0.0], [-0.5, 0.0], [0.0, 0.5]])
        solution = make_head(name).solve(facts_of(z, np.array([0, 0, 1])))
        assert np.isfinite(solution.scores(z)).all()
        assert solution.scores(z)[2].argmax() == 1


def brute_ridge(z, y, lambda_, balance):
    """The normal equations of [Z 1] with an unpenalised last column."""
    counts = np.bincount(y)
    targets = np.eye(len(counts))[y] / (counts[y][:, None] if balance else 1.0)
    a = np.hstack([z, np.ones((len(z), 1))])
    penalty = np.diag([lambda_] * z.shape[1] + [0.0])
    solution = np.linalg.solve(a.T @ a + penalty, a.T @ targets)
    return solution[:-1].T, solution[-1]


@pytest.mark.parametrize("balance", [False, True])
@pytest.mark.parametrize("offset", [-1, 0, 1])
def test_dual_and_primal_agree_around_n_equal_to_d(rng, offset, balance):
    dim = 24
    z, y = task(rng, 5, 5, dim)
    z, y = z[: dim + offset], y[: dim + offset]
    facts, head = facts_of(z, y), Ridge(lambda_=0.05, balance=balance)
    dual, primal = head.dual(facts), head.primal(facts)
    weights, bias = brute_ridge(z, y, 0.05, balance)
    for solution in (dual, primal, head.solve(facts)):
        assert np.linalg.norm(solution.weights - weights) <= 1e-9 * np.linalg.norm(weights)
        np.testing.assert_allclose(solution.bias, bias, atol=1e-9)


@given(st.integers(2, 6), st.integers(1, 6), st.integers(2, 40), st.sampled_from([1e-3, 0.1, 10.0]))
def test_ridge_is_the_minimum_it_says(classes, shots, dim, lambda_):
    z, y = task(np.random.default_rng(classes), classes, shots, dim)
    solution = Ridge(lambda_=lambda_).solve(facts_of(z, y))
    weights, bias = brute_ridge(z, y, lambda_, False)
    assert np.linalg.norm(solution.weights - weights) <= 1e-8 * max(1.0, np.linalg.norm(weights))
    np.testing.assert_allclose(solution.bias, bias, atol=1e-8)


def test_ridge_takes_the_primal_when_examples_were_sealed(rng):
    z, y = task(rng, 3, 2, 20)
    sealed = facts_of(z, y, single=False)
    head = Ridge()
    assert (head.solve(sealed).weights == head.primal(sealed).weights).all()


def test_balance_keeps_a_rare_class_alive(rng):
    z, y = task(rng, 2, 40, 6, spread=1.5)
    z, y = z[:42], y[:42]  # 40 examples of one class, 2 of the other
    plain = Ridge(lambda_=1.0).solve(facts_of(z, y)).scores(z)
    balanced = Ridge(lambda_=1.0, balance=True).solve(facts_of(z, y)).scores(z)
    assert plain[40:].argmax(1).sum() == 0
    assert balanced[40:].argmax(1).sum() == 2


def test_cosine_of_a_mean_that_points_nowhere_is_the_lowest():
    solution = Cosine().solve(facts_of(np.array([[0.5, 0.0], [-0.5, 0.0]]), np.array([0, 0])))
    assert solution.scores(np.array([[1.0, 0.0]])).tolist() == [[-1.0]]


def test_unknown_heads_and_options_are_named():
    with pytest.raises(HeadError, match=r"unknown head .forest.*cosine"):
        make_head("forest")
    with pytest.raises(HeadError, match="ridge"):
        make_head("ridge", depth=3)
    with pytest.raises(OptionError, match="lambda"):
        Ridge(lambda_=-1.0)
