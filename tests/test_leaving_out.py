"""Leaving out in closed form equals solving again without the fold, with lambda, shrinkage and centre held."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_heads import facts_of, task

from edgemeta.heads import Facts, head_names, make_head
from edgemeta.heads.lda import LDA
from edgemeta.heads.means import Centred
from edgemeta.heads.projected import Projected
from edgemeta.heads.ridge import Ridge


def held(head, facts: Facts):
    """The head with everything that leaving out holds fixed at its value for all examples."""
    if isinstance(head, Ridge):
        return replace(head, lambda_=head._lambda(facts))
    if isinstance(head, Projected):
        return replace(head, lambda_=head._ridge()._lambda(head._mapped(facts)))
    if isinstance(head, LDA):
        fixed = head._shrunk(facts, head_moment(facts))

        class Fixed(LDA):
            def _shrunk(self, facts: Facts, moment: np.ndarray) -> tuple[float, float]:
                return fixed

        return Fixed()
    if isinstance(head, Centred):
        centre = head.centre(facts)

        class Fixed(Centred):
            def centre(self, facts: Facts) -> np.ndarray:
                return centre

        return Fixed()
    return head


def head_moment(facts: Facts) -> np.ndarray:
    z, y = facts.examples()
    x = z - facts.means[y]
    return x.T @ x


def brute(head, z: np.ndarray, y: np.ndarray, groups: np.ndarray, *, single: bool) -> np.ndarray:
    """Solve once for every group, without it."""
    classes = int(y.max()) + 1
    fixed = held(head, facts_of(z, y, groups=groups, single=single))
    scores = np.full((len(y), classes), -np.inf)
    for group in np.unique(groups):
        out = groups == group
        there = np.unique(y[~out])
        if not len(there):
            continue
        new = np.searchsorted(there, y[~out])
        solution = fixed.solve(facts_of(z[~out], new, single=single))
        scores[np.ix_(out, there)] = solution.scores(z[out])
    return scores


def bursts(rng: np.random.Generator, count: int, longest: int) -> np.ndarray:
    return np.sort(rng.integers(0, max(1, count // longest), count))


HEADS = [
    *map(make_head, head_names()),
    Ridge(balance=True),
    Ridge(lambda_=None),
    LDA(shrinkage=0.5),
    LDA(shrinkage=1.0),
]
EXTREMES = [*(Ridge(lambda_=lambda_) for lambda_ in (0.0, 1e-6, 1e8)), *(LDA(shrinkage=rho) for rho in (0.0, 1e-4))]


def largest_error(head, z, y, groups, *, single: bool = True) -> float:
    """Relative to the largest score; the classes that are gone must be the same."""
    found = head.leave_out(facts_of(z, y, groups=groups, single=single))
    expected = brute(head, z, y, groups, single=single)
    assert (np.isneginf(found) == np.isneginf(expected)).all()
    finite = np.isfinite(expected)
    scale = max(1.0, float(np.abs(expected[finite]).max(initial=0.0)))
    return float(np.abs(found[finite] - expected[finite]).max(initial=0.0)) / scale


@pytest.mark.parametrize("head", EXTREMES, ids=repr)
@pytest.mark.parametrize("shape", [(5, 5, 640), (3, 4, 40), (4, 8, 6)])
@pytest.mark.parametrize("grouped", [False, True])
def test_tiny_and_huge_regularisation(head, shape, grouped, rng):
    classes, shots, dim = shape
    z, y = task(rng, classes, shots, dim, spread=1.0)
    groups = np.arange(len(y)) // 2 if grouped else np.arange(len(y))
    assert largest_error(head, z, y, groups) <= 1e-7


@pytest.mark.parametrize("head", HEADS, ids=repr)
@given(
    classes=st.integers(2, 5),
    shots=st.integers(1, 6),
    dim=st.sampled_from([3, 12, 40]),
    grouped=st.sampled_from(["alone", "bursts", "mixed"]),
    seed=st.integers(0, 3),
    single=st.booleans(),
)
def test_leaving_out_is_solving_again(head, classes, shots, dim, grouped, seed, single):
    rng = np.random.default_rng(seed)
    z, y = task(rng, classes, shots, dim)
    keep = rng.random(len(y)) < 0.8  # classes of different size, some perhaps gone
    z, y = z[keep], np.unique(y[keep], return_inverse=True)[1]
    if not len(y):
        return
    groups = {"alone": np.arange(len(y)), "bursts": bursts(rng, len(y), 3), "mixed": rng.integers(0, 3, len(y))}
    assert largest_error(head, z, y, groups[grouped], single=single) <= 1e-8
