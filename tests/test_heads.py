"""Every head keeps the same contracts; each is held against an independent solution."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemeta.errors import HeadError, OptionError
from edgemeta.heads import Facts, head_names, make_head
from edgemeta.heads.lda import LDA, oas
from edgemeta.heads.means import Cosine
from edgemeta.heads.projected import signs, splitmix64
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

    def gone():
        raise AssertionError("sealed examples cannot be read")

    sealed = replace(facts_of(z, y, single=False), examples=gone)
    head = Ridge()
    weights = head.primal(sealed).weights
    assert np.linalg.norm(head.solve(sealed).weights - weights) <= 1e-9 * np.linalg.norm(weights)


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


def test_the_random_signs_are_splitmix64():
    """The published outputs of the generator, and the order of the bits that SPEC.md gives."""
    assert [hex(x) for x in splitmix64(0, 2)] == ["0xe220a8397b1dcdaf", "0x6e789e6aa1b965f4"]
    assert splitmix64(1234567, 3).tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]
    matrix = signs(5, 30, 7)
    words = splitmix64(7, 3)
    for i in (0, 1, 63, 64, 149):
        bit = int(words[i // 64]) >> (i % 64) & 1
        assert matrix.ravel()[i] == (2 * bit - 1) / np.sqrt(5)


def test_random_features_part_what_no_plane_parts(rng):
    """Four blobs at the corners of a square, opposite corners one class."""
    corners = np.array([[1, 1, 1], [-1, -1, 1], [1, -1, 1], [-1, 1, 1]]) * 0.5
    z = np.repeat(corners, 10, 0) + 0.05 * rng.normal(size=(40, 3))
    y = np.repeat([0, 0, 1, 1], 10)
    flat = Ridge(lambda_=0.01).solve(facts_of(z, y)).scores(z)
    curved = make_head("projected").solve(facts_of(z, y)).scores(z)
    assert (flat.argmax(1) == y).mean() < 0.8
    assert (curved.argmax(1) == y).all()


def test_lambda_by_leaving_out_is_the_best_of_its_grid(rng):
    z, y = task(rng, 4, 6, 20, spread=1.0)
    facts = facts_of(z, y)
    chosen = Ridge(lambda_=None)
    errors = {
        lambda_: np.square(Ridge(lambda_=lambda_).leave_out(facts) - np.eye(4)[y]).sum()
        for lambda_ in chosen._lambda(facts) * np.array([0.01, 0.1, 1.0, 10.0, 100.0])
    }
    assert min(errors, key=errors.__getitem__) == chosen._lambda(facts)
    assert (chosen.solve(facts).weights == Ridge(lambda_=chosen._lambda(facts)).solve(facts).weights).all()
    # What was sealed cannot be left out, so nothing may be sealed under this head (test_learner has the errors).
    assert chosen.needs == "examples" and Ridge(lambda_=0.1).needs == "moment"


def test_lambda_by_leaving_out_with_nothing_to_leave_out(rng):
    z, y = task(rng, 4, 1, 20)
    assert (Ridge(lambda_=None).solve(facts_of(z, y)).scores(z).argmax(1) == y).all()


def test_lda_is_the_textbooks(rng):
    """Against the covariance written out, and OAS against scikit-learn's."""
    from sklearn.covariance import oas as reference

    x = rng.normal(size=(90, 200)) * np.linspace(0.1, 2.0, 200)
    _, rho = reference(x, assume_centered=True)
    covariance = x.T @ x / len(x)
    ours = oas(np.trace(covariance), np.square(covariance).sum(), len(x), 200)
    assert 0.1 < ours < 0.9
    assert ours == pytest.approx(rho, abs=0.01)  # scikit-learn leaves the terms in 1 / dim out
    z, y = task(rng, 3, 30, 6, spread=0.8)
    facts = facts_of(z, y)
    x = z - facts.means[y]
    free = len(z) - 3
    sigma = 0.7 * x.T @ x / free + 0.3 * np.trace(x.T @ x) / free / 6 * np.eye(6)
    log = -0.5 * np.stack([np.einsum("nd,nd->n", z - m, np.linalg.solve(sigma, (z - m).T).T) for m in facts.means], 1)
    scores = LDA(shrinkage=0.3).solve(facts).scores(z)
    np.testing.assert_allclose(scores - scores[:, :1], log - log[:, :1], atol=1e-9)


@pytest.mark.parametrize("offset", [-1, 0, 1])
def test_lda_in_both_forms(rng, offset):
    dim = 24
    z, y = task(rng, 5, 5, dim)
    z, y = z[: dim + offset], y[: dim + offset]
    facts, head = facts_of(z, y), LDA()
    dual, primal = head.dual(facts), head.primal(facts)
    assert np.linalg.norm(dual.weights - primal.weights) <= 1e-9 * np.linalg.norm(primal.weights)
    np.testing.assert_allclose(dual.bias, primal.bias, rtol=1e-9)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    "shape", ["wide", "tall", "collinear", "constant feature", "unequal", "identical", "one point"]
)
def test_hard_shapes_give_finite_answers(name, shape, rng):
    """D larger than N by 100 times and the reverse, collinear embeddings, a constant feature, one class of many."""
    counts, dim = {"wide": ([2, 2], 400), "tall": ([400, 400], 4), "unequal": ([1, 200], 6)}.get(shape, ([8, 8], 6))
    y = np.repeat([0, 1], counts)
    z = rng.normal(size=(len(y), dim)) + 3.0 * (2 * y - 1)[:, None]
    if shape == "collinear":
        z = np.outer(rng.normal(size=len(y)) + 5.0 * (2 * y - 1), np.ones(dim))
    if shape == "constant feature":
        z[:, 0] = 2.0
    if shape == "identical":
        z = np.where(y[:, None] == 0, np.eye(dim)[0], np.eye(dim)[1])
    if shape == "one point":  # of one dimension, and near zero, where rounding is all there is
        z = np.full((len(y), 1), 0.12)
    z = to_float(
        Normalisation(l2=False, scale=1e-3 if shape == "one point" else 0.9 / np.linalg.norm(z, axis=1).max()).apply(z)
    )
    for head in (make_head(name), *([Ridge(lambda_=0.0), Ridge(lambda_=None)] if name == "ridge" else [])):
        facts = facts_of(z, y)
        scores = head.solve(facts).scores(z)
        assert np.isfinite(scores).all()
        assert not np.isnan(head.leave_out(facts)).any()
        if shape not in ("unequal", "one point"):
            assert (scores.argmax(1) == y).mean() > 0.9
