"""Statistics add exactly: any order of add, remove and merge gives the bits of a fold from scratch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemeta.errors import EmbeddingError, OptionError
from edgemeta.normalisation import EXACT_EXAMPLES, Q20, Normalisation, to_float
from edgemeta.statistics import Statistics

DIM = 5


def embeddings(count: int, seed: int, dim: int = DIM) -> np.ndarray:
    return Normalisation().apply(np.random.default_rng(seed).normal(size=(count, dim)))


def fold(examples: list[tuple[str, np.ndarray]], *, moment: bool) -> Statistics:
    statistics = Statistics(DIM)
    if moment:
        statistics.start_moment()
    for label, z in examples:
        statistics.add(label, z[None])
    return statistics


def same(a: Statistics, b: Statistics) -> bool:
    if a.counts != b.counts or a.squares != b.squares or (a.moment is None) != (b.moment is None):
        return False
    sums = all((a.sums[k] == b.sums[k]).all() for k in a.counts)
    return sums and (a.moment is None or bool((a.moment == b.moment).all()))


@given(st.data(), st.integers(1, 60), st.booleans())
def test_any_order_of_add_and_remove_gives_the_same_bits(data, count, moment):
    z = embeddings(count, seed=count)
    labels = data.draw(st.lists(st.sampled_from("abc"), min_size=count, max_size=count))
    kept = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    order = data.draw(st.permutations(range(count)))
    walked = fold([(labels[i], z[i]) for i in order], moment=moment)
    for i in data.draw(st.permutations([i for i in range(count) if not kept[i]])):
        walked.remove(labels[i], z[i][None])
    assert same(walked, fold([(labels[i], z[i]) for i in range(count) if kept[i]], moment=moment))


@given(st.integers(0, 40), st.integers(0, 40))
def test_merge_is_the_fold_of_both(left, right):
    z = embeddings(left + right + 1, seed=3)
    named = [("ab"[i % 2], row) for i, row in enumerate(z)]
    merged = fold(named[:left], moment=True)
    merged.merge(fold(named[left:], moment=True))
    assert same(merged, fold(named, moment=True))


def test_sums_of_as_many_examples_as_promised_are_exact():
    # Rows of one large entry are the worst case: their products are all near 1.
    z = np.zeros((EXACT_EXAMPLES, 2), dtype=np.int32)
    z[:, 0] = Q20 - np.random.default_rng(0).integers(0, 5, EXACT_EXAMPLES)
    forward, backward = Statistics(2), Statistics(2)
    for statistics, rows in ((forward, z), (backward, z[::-1])):
        statistics.start_moment()
        for part in np.array_split(rows, 100 if statistics is forward else 7):
            statistics.add("a", part)
    exact = int((z[:, 0].astype(object) ** 2).sum())
    assert same(forward, backward)
    assert forward.moment is not None
    assert int(forward.moment[0, 0] * 2.0**40) == exact


def test_an_emptied_class_is_gone():
    z = embeddings(2, 0)
    statistics = fold([("a", z[0]), ("b", z[1])], moment=False)
    statistics.remove("a", z[:1])
    assert statistics.labels == ("b",)
    assert "a" not in statistics.sums


@given(st.integers(1, 20), st.integers(1, 600), st.floats(1e-30, 1e30))
def test_stored_embeddings_are_on_the_grid_and_within_the_norm(count, dim, size):
    raw = np.random.default_rng(count).normal(size=(count, dim)) * size
    z = to_float(Normalisation().apply(raw))
    assert (z * Q20 == np.rint(z * Q20)).all()
    assert np.abs(np.linalg.norm(z, axis=1) - 1.0).max() < 1e-3
    directions = raw / np.abs(raw).max(axis=1, keepdims=True)
    cosine = (z * directions).sum(1) / np.linalg.norm(z, axis=1) / np.linalg.norm(directions, axis=1)
    assert cosine.min() > 0.99999


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_name_their_row(bad):
    raw = np.ones((3, DIM))
    raw[1, 2] = bad
    with pytest.raises(EmbeddingError, match="embedding 1 holds NaN or infinity"):
        Normalisation().apply(raw)


def test_embeddings_without_direction_or_too_long_are_rejected():
    with pytest.raises(EmbeddingError, match="embedding 1 is all zeros"):
        Normalisation().apply(np.array([[1.0, 0.0], [0.0, 0.0]]))
    with pytest.raises(EmbeddingError, match="norm 5"):
        Normalisation(l2=False).apply(np.array([[3.0, 4.0]]))
    assert to_float(Normalisation(l2=False, scale=0.125).apply(np.array([[3.0, 4.0]]))).tolist() == [[0.375, 0.5]]


def test_centre_power_and_scale_act_in_that_order():
    n = Normalisation(centre=np.array([1.0, 0.0], dtype=np.float32), power=0.5, l2=False, scale=0.25)
    assert to_float(n.apply(np.array([[5.0, -4.0]]))).tolist() == [[0.5, -0.5]]


@pytest.mark.parametrize("options", [{"power": 0.0}, {"power": np.nan}, {"scale": 0.0}, {"scale": 2.0}])
def test_impossible_normalisations_are_refused(options):
    with pytest.raises(OptionError):
        Normalisation(**options)
