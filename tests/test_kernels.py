"""The C core and NumPy are the same to who uses them, and EDGEMETA_KERNELS says which it is."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemeta import Learner, kernels
from edgemeta.errors import EmbeddingError, OptionError
from edgemeta.imaging import fit
from edgemeta.normalisation import Normalisation

CORES = [name for name in kernels.available() if name != kernels.NUMPY]
needs_core = pytest.mark.skipif(not CORES, reason="the C core was not built (no C compiler, or no headers of Python)")


@pytest.fixture(autouse=True)
def fresh():
    """Each test chooses its kernels; afterwards the process has those that it had."""
    kernels._core.cache_clear()
    yield
    kernels._core.cache_clear()


def use(monkeypatch, name):
    monkeypatch.setenv(kernels.VARIABLE, name)
    kernels._core.cache_clear()


def both(monkeypatch, core, call):
    """What NumPy and what the core make of it."""
    answers = []
    for name in (kernels.NUMPY, core):
        use(monkeypatch, name)
        answers.append(call())
    return answers


def test_numpy_can_always_be_named(monkeypatch):
    use(monkeypatch, "numpy")
    assert kernels.name() == "numpy" == Learner(dim=4).kernels


def test_a_name_that_is_not_there_is_an_error_that_says_what_is(monkeypatch):
    use(monkeypatch, "sse9")
    with pytest.raises(OptionError, match=r"EDGEMETA_KERNELS is 'sse9'; here there are numpy"):
        kernels.name()
    done = subprocess.run([sys.executable, "-m", "edgemeta", "info"], capture_output=True, text=True)
    assert done.returncode == 2 and "sse9" in done.stderr and "Traceback" not in done.stderr


@needs_core
def test_the_fastest_is_taken_unless_named(monkeypatch):
    monkeypatch.delenv(kernels.VARIABLE, raising=False)
    assert kernels.name() == CORES[-1]
    for name in CORES:
        use(monkeypatch, name)
        assert Learner(dim=4).kernels == name


def test_without_the_core_numpy_does_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "edgemeta._native", None)
    monkeypatch.delenv(kernels.VARIABLE, raising=False)
    import edgemeta

    monkeypatch.delattr(edgemeta, "_native", raising=False)
    assert kernels.available() == ("numpy",) and kernels.name() == "numpy"
    learner = Learner(dim=3)
    learner.learn_many(np.eye(3, dtype=np.float32), ["a", "b", "c"])
    assert learner.predict(np.float32([0, 1, 0])).label == "b"


@needs_core
@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("channels", ["rgb", "bgr"])
@pytest.mark.parametrize("shape", [(30, 41), (30, 41, 1), (30, 41, 3), (30, 41, 4), (1, 1, 3), (1, 50, 4), (97, 2, 3)])
def test_images_come_out_the_same(monkeypatch, core, channels, shape, rng):
    image = rng.integers(0, 256, shape, dtype=np.uint8)
    image.flags.writeable = False
    a, b = both(monkeypatch, core, lambda: fit(image, 16, 12, channels=channels))
    assert (a == b).all()


@needs_core
@pytest.mark.parametrize("core", CORES)
def test_images_that_lie_apart_come_out_the_same(monkeypatch, core, rng):
    large = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    views = [
        large[5:50, 7:61],
        large[::2],
        large[:, ::2],
        large[::-1],
        large[:, ::-1],
        large[:, :, ::-1],
        large.transpose(1, 0, 2),
        large[10:11],
        np.asfortranarray(large),
    ]
    for view in views:
        a, b = both(monkeypatch, core, lambda view=view: fit(view, 20, 20))
        assert (a == b).all()


@needs_core
@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize(
    "how",
    [
        Normalisation(),
        Normalisation(power=0.5),
        Normalisation(scale=0.5),
        Normalisation(centre=np.linspace(-1, 1, 33, dtype=np.float32)),
        Normalisation(l2=False, scale=0.01),
    ],
)
def test_embeddings_are_stored_the_same(monkeypatch, core, how, rng):
    raw = rng.normal(size=(50, 33)).astype(np.float32)
    for rows in (raw, raw[::2], raw[:0], np.asfortranarray(raw)):
        a, b = both(monkeypatch, core, lambda rows=rows: how.apply(rows))
        assert a.dtype == b.dtype == np.int32 and (a == b).all()


@pytest.mark.parametrize("core", [kernels.NUMPY, *CORES])
def test_what_cannot_be_stored_is_named(monkeypatch, core, rng):
    use(monkeypatch, core)
    raw = rng.normal(size=(3, 5)).astype(np.float32)
    raw[1, 2] = np.nan
    with pytest.raises(EmbeddingError, match="embedding 1 holds NaN"):
        Normalisation().apply(raw)
    raw[1] = 0.0
    with pytest.raises(EmbeddingError, match="embedding 1 is all zeros"):
        Normalisation().apply(raw)
    with pytest.raises(EmbeddingError, match="length 5, and a centre"):
        Normalisation(centre=np.zeros(4, np.float32)).apply(raw)


@needs_core
@pytest.mark.parametrize("core", CORES)
@given(st.integers(1, 40), st.integers(1, 30), st.integers(0, 2**31))
def test_moments_are_the_same_to_the_bit(core, dim, count, seed):
    q20 = Normalisation().apply(np.random.default_rng(seed).normal(size=(count, dim)))
    tiles, reference = kernels.Tiles(kernels_of(core), dim), kernels.Moment(dim)
    whole = reference.full() + 0.25
    for moment in (tiles, reference):
        moment.change(q20, 1)
        moment.change_sums(whole, 1)
        moment.change(q20[: count // 2], -1)
        moment.change(q20[::-1][:1], 1)
    assert (tiles.full() == reference.full()).all()
    tiles.full()[0, 0] = 9.0  # the caller's own
    assert (tiles.full() == reference.full()).all()


def kernels_of(name):
    from edgemeta._native import Kernels

    return Kernels(name)


@needs_core
@pytest.mark.parametrize("core", CORES)
def test_moments_take_back_more_than_they_were_given(core, rng):
    """As the reference does, on the way of a merge."""
    q20 = Normalisation().apply(rng.normal(size=(3, 8)))
    tiles, reference = kernels.Tiles(kernels_of(core), 8), kernels.Moment(8)
    for moment in (tiles, reference):
        moment.change(q20, -1)
        moment.change(q20, 1)
        moment.change(q20, 1)
    assert (tiles.full() == reference.full()).all()


@needs_core
@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("head", ["euclidean", "cosine", "centred", "ridge", "lda", "auto"])
@pytest.mark.parametrize("count", [10, 60])
def test_learners_agree(monkeypatch, core, head, count, rng):
    centres = rng.normal(size=(5, 24))
    y = np.arange(count) % 5
    z, queries = (centres[k] + 0.7 * rng.normal(size=(len(k), 24)) for k in (y, np.arange(40) % 5))

    def predict():
        learner = Learner(dim=24, head=head)
        learner.learn_many(z.astype(np.float32), [f"class {k}" for k in y])
        found, solution = learner.predict_many(queries.astype(np.float32)), learner.solution()
        return [p.score for p in found], [p.label for p in found], solution.weights, solution.bias

    (s, labels, w, b), (t, others, v, c) = both(monkeypatch, core, predict)
    assert labels == others
    np.testing.assert_allclose(s, t, atol=1e-9 * max(1.0, np.abs(s).max()))
    assert np.linalg.norm(w - v) <= 1e-9 * np.linalg.norm(w)
    assert np.linalg.norm(b - c) <= 1e-9 * max(np.linalg.norm(b), np.linalg.norm(w))


@needs_core
@pytest.mark.parametrize("core", CORES)
def test_one_alone_scores_as_one_of_many(monkeypatch, core, rng):
    use(monkeypatch, core)
    learner = Learner(dim=37, head="ridge")
    learner.learn_many(rng.normal(size=(12, 37)).astype(np.float32), list("abcdef") * 2)
    queries = rng.normal(size=(9, 37)).astype(np.float32)
    assert [p.score for p in learner.predict_many(queries)] == [learner.predict(q).score for q in queries]


@needs_core
def test_several_threads_at_once(rng):
    """Long work runs without the GIL, on memory of its own."""
    image = rng.integers(0, 256, (480, 640, 3), dtype=np.uint8)
    wanted, wrong = fit(image, 96, 96), []

    def work():
        for _ in range(20):
            if (fit(image, 96, 96) != wanted).any():
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@needs_core
class TestTheExtensionItself:
    """What kernels.py never does must not crash either."""

    def test_wrong_arguments_are_errors(self):
        from edgemeta import _native

        core = _native.Kernels(_native.NAMES[0])
        out = np.empty((4, 4, 3), np.uint8)
        image = np.zeros((5, 6, 3), np.uint8)
        with pytest.raises(LookupError):
            _native.Kernels("none")
        for wrong in [
            lambda: core.fit(image, 5, 6, 1, 18, 4, 4),
            lambda: core.fit(image, 50, 6, 1, 18, 4, 4, out),
            lambda: core.fit(image, 5, 6, 1, 180, 4, 4, out),
            lambda: core.fit(image, 5, 6, 3, 18, 4, 4, out),
            lambda: core.fit(image, 5, 6, 1, 18, 4, 5, out),
            lambda: core.fit(image, 5, 6, 1, 18, 4, 4, out[:, ::2]),
            lambda: core.fit(None, 5, 6, 1, 18, 4, 4, out),
            lambda: core.fit(image, -5, 6, 1, 18, 4, 4, out),
            lambda: core.normalise(np.zeros(6, np.float32), 2, 4, None, 1.0, True, 1.0, np.zeros(8, np.int32)),
            lambda: core.normalise(np.zeros(8, np.float32), 2, 4, None, 1.0, True, 1.0, np.zeros(8, np.int64)),
            lambda: core.scorer(np.zeros((3, 4)), np.zeros(5)),
            lambda: core.scorer(np.zeros((3, 0)), np.zeros(3)),
            lambda: core.scorer(np.zeros((3, 4), np.float32), np.zeros(3, np.float32)),
            lambda: core.scorer(np.zeros((3, 4)), np.zeros(3), x=1),
            lambda: core.moment(3, x=1),
            lambda: core.moment(0),
            lambda: core.moment(2**40),
            lambda: core.moment(4).add(np.zeros(3, np.int32)),
            lambda: core.moment(4).full(np.zeros((4, 5))),
            lambda: core.scorer(np.zeros((3, 4)), np.zeros(3)).scores(np.zeros((2, 5), np.int32), np.zeros((2, 3))),
            lambda: core.ridge(np.ones(2), np.ones((2, 3)), 1.0, None, None, None, 0.1, False, np.zeros(6)),
            lambda: core.ridge(
                np.ones(2), np.ones(5), 1.0, None, None, None, 0.1, False, np.zeros((2, 3)), np.zeros(2)
            ),
        ]:
            with pytest.raises((ValueError, TypeError, OverflowError, BufferError)):
                wrong()
        assert core.fit(image, 0, 6, 1, 18, 4, 4, out) < 0
        assert core.ridge(np.ones(2), np.ones((2, 3)), 1.0, None, None, None, 0.1, False, np.zeros(6), np.zeros(2)) < 0

    def test_a_scorer_keeps_its_arrays_alive(self, rng):
        from edgemeta import _native

        weights, z = rng.normal(size=(3, 8)), rng.integers(-1000, 1000, (1, 8), dtype=np.int32)
        wanted, out = weights @ z[0] / 2.0**20, np.empty((1, 3))
        scorer = _native.Kernels(_native.NAMES[-1]).scorer(weights, np.zeros(3))
        del weights
        np.full((3, 8), np.nan)
        assert scorer.scores(z, out) == 0
        np.testing.assert_allclose(out[0], wanted, rtol=1e-12)


def test_a_core_that_does_not_load_is_named(monkeypatch):
    def broken(name, package):
        raise ImportError("undefined symbol: em_x")

    monkeypatch.setattr(kernels, "import_module", broken)
    assert kernels.available() == ("numpy",) and kernels.about_core() == "does not load: undefined symbol: em_x"


def test_a_core_that_was_not_built_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "edgemeta._native", None)
    assert kernels.about_core().startswith("not built")


@needs_core
@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("head", ["euclidean", "cosine", "centred", "ridge", "lda", "auto"])
def test_examples_that_are_nearly_alike_are_told_apart(monkeypatch, core, head, rng):
    """A large common part and differences of a few units of the grid: float32 scores would drown them."""
    common = np.abs(rng.normal(size=64)) + 1.0
    centres = common + 3e-5 * rng.normal(size=(3, 64))
    y = np.arange(45) % 3
    z, queries = (centres[k] + 3e-6 * rng.normal(size=(len(k), 64)) for k in (y, np.arange(60) % 3))

    def predict():
        learner = Learner(dim=64, head=head)
        learner.learn_many(z, [f"class {k}" for k in y])
        found = learner.predict_many(queries)
        return [p.label for p in found], [p.confidence for p in found]

    (labels, sure), (others, as_sure) = both(monkeypatch, core, predict)
    assert labels == others == [f"class {k}" for k in np.arange(60) % 3]
    np.testing.assert_allclose(sure, as_sure, atol=1e-3)
