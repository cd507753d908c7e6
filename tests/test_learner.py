"""The learner: teach, predict, forget, undo, merge; exactly, and with clear errors."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgemeta import Learner, Normalisation, make_head
from edgemeta.errors import (
    EdgemetaError,
    EmbeddingError,
    HeadError,
    ImageError,
    InputError,
    JournalMismatchError,
    LabelError,
    NotFoundError,
    NotTaughtError,
    OptionError,
    RunnerError,
)
from edgemeta.heads import Linear, head_names
from edgemeta.heads.ridge import Ridge

DIM = 8
ALL = list(head_names())


def vectors(count: int, seed: int = 0, dim: int = DIM) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, dim))


def same_bits(a: Learner, b: Learner) -> bool:
    """The statistics of two learners are equal to the last bit."""
    s, t = a._taught.statistics, b._taught.statistics
    sealed_sums = any(not seal.has_moment for seal in (*a.journal.seals.values(), *b.journal.seals.values()))
    if s.counts != t.counts or (s.squares != t.squares and not sealed_sums):
        return False
    if s.moment is not None and t.moment is not None and (s.moment != t.moment).any():
        return False
    return all((s.sums[k] == t.sums[k]).all() for k in s.counts)


def near_weights(a: Learner, b: Learner) -> bool:
    one, two = a.solution(), b.solution()
    if not isinstance(one, Linear):  # nothing but its answers
        probes = np.vstack([np.eye(a._embedder.dim), -np.eye(a._embedder.dim)])
        return one.labels == two.labels and bool(np.abs(one.scores(probes) - two.scores(probes)).max() <= 1e-9)
    size = max(np.linalg.norm(two.weights), 1e-12)
    return one.labels == two.labels and bool(
        np.linalg.norm(one.weights - two.weights) <= 1e-9 * size and np.abs(one.bias - two.bias).max() <= 1e-9
    )


@pytest.mark.parametrize("head", ALL)
def test_learns_and_predicts(head):
    learner = Learner(dim=DIM, head=head)
    learner.learn_many(vectors(3, 1) * 0.1 + np.eye(DIM)[0], "x")
    learner.learn_many(vectors(3, 2) * 0.1 + np.eye(DIM)[1], "y")
    prediction = learner.predict(np.eye(DIM)[1])
    assert prediction.label == "y"
    assert prediction.confidence is not None and 0.5 < prediction.confidence <= 1.0
    assert [label for label, _, _ in prediction.ranked] == ["y", "x"]
    assert sum(c for _, _, c in prediction.ranked) == pytest.approx(1.0)
    assert learner.counts == {"x": 3, "y": 3}


def row_of(learner: Learner, z: np.ndarray) -> dict:
    """Which row of `z` each live example is; ids change when something is undone, embeddings do not."""
    rows = {Normalisation().apply(z[i][None])[0].tobytes(): i for i in range(len(z))}
    return {e: rows[learner.journal.embeddings([e])[0].tobytes()] for e in learner.examples}


@settings(max_examples=60)
@given(st.data(), st.sampled_from(ALL), st.sampled_from([3, 12]))
def test_any_history_equals_a_fold_over_what_remains(data, head, dim):
    """learn, forget, relabel, undo and merge in any order; then a learner that saw only what is left."""
    z = vectors(80, 5, dim)
    fresh_rows = iter(range(80))
    learner, other = Learner(dim=dim, head=head), Learner(dim=dim, head=head)
    known: dict[int, str] = {}  # the model: row -> label
    history: list[dict[int, str]] = []
    for _ in range(data.draw(st.integers(1, 14))):
        action = data.draw(st.sampled_from(["learn", "many", "forget", "class", "relabel", "undo", "merge"]))
        before = dict(known)
        ids = {row: e for e, row in row_of(learner, z).items()}
        if action == "learn":
            row, label = next(fresh_rows), data.draw(st.sampled_from("abc"))
            learner.learn(z[row], label)
            known[row] = label
        elif action == "many":
            rows = [next(fresh_rows) for _ in range(3)]
            learner.learn_many(z[rows], ["a", "b", "a"])
            known.update(zip(rows, "aba", strict=True))
        elif action == "merge":
            row = next(fresh_rows)
            other.learn(z[row], "d")
            learner.merge(other)
            known[row] = "d"
        elif action == "undo" and history:
            learner.undo()
            known = history.pop()
            # Forgetting wins: what undo took back of a merge does not come with the next merge.
            other = Learner(dim=dim, head=head)
            continue
        elif known and action == "class":
            label = data.draw(st.sampled_from(sorted(set(known.values()))))
            learner.forget(label)
            known = {row: name for row, name in known.items() if name != label}
        elif known and action in ("forget", "relabel"):
            row = data.draw(st.sampled_from(sorted(known)))
            if action == "forget":
                learner.forget(example=ids[row])
                del known[row]
            else:
                learner.relabel(ids[row], "c")
                known[row] = "c"
        else:
            continue
        history.append(before)
    assert {row: learner.examples[e] for e, row in row_of(learner, z).items()} == known
    fold = Learner(dim=dim, head=head)
    for row, label in known.items():
        fold.learn(z[row], label)
    again = Learner(dim=dim, head=head)
    again.merge(learner)
    assert same_bits(learner, fold)
    assert same_bits(learner, again)
    if known:
        assert near_weights(learner, fold)


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_the_user_cannot_tell_dual_from_primal(extra):
    z, y = vectors(DIM + extra, 3), ["a", "b", "c"] * DIM
    walked, straight = Learner(dim=DIM, head="ridge"), Learner(dim=DIM, head="ridge")
    ids = walked.learn_many(vectors(2 * DIM, 9), "z")
    walked.solution()  # builds G
    walked.learn_many(z, y[: len(z)])
    for i in ids:
        walked.forget(example=i)
    straight.learn_many(z, y[: len(z)])
    assert same_bits(walked, straight)
    assert near_weights(walked, straight)
    head = make_head("ridge")
    facts = straight._taught.facts(head)
    np.testing.assert_allclose(head.primal(facts).weights, head.dual(facts).weights, rtol=0, atol=1e-9)


def test_moment_is_built_only_when_n_reaches_d():
    learner = Learner(dim=DIM, head="ridge")
    learner.learn_many(vectors(DIM - 1), ["a", "b"] * 3 + ["a"])
    learner.solution()
    assert learner._taught.statistics.moment is None
    learner.learn(vectors(1, 4)[0], "b")
    learner.solution()
    moment = learner._taught.statistics.moment
    learner.learn(vectors(1, 5)[0], "b")
    fresh = Learner(dim=DIM, head="ridge")
    fresh.learn_many(np.vstack([vectors(DIM - 1), vectors(1, 4), vectors(1, 5)]), ["a", "b"] * 3 + ["a", "b", "b"])
    fresh.solution()
    assert moment is not None
    assert (learner._taught.statistics.moment == fresh._taught.statistics.moment).all()


def test_an_emptied_class_never_wins():
    learner = Learner(dim=2)
    learner.learn(np.array([1.0, 0.0]), "right")
    learner.learn(np.array([-1.0, 0.1]), "left")
    learner.forget("left")
    assert learner.labels == ("right",)
    assert learner.predict(np.array([-1.0, 0.1])).label == "right"
    learner.forget("right")
    with pytest.raises(NotTaughtError, match="nothing is taught"):
        learner.predict(np.array([1.0, 0.0]))


def test_one_class_has_no_confidence(learner):
    learner.learn(vectors(1)[0], "only")
    prediction = learner.predict(vectors(1, 1)[0])
    assert (prediction.label, prediction.confidence) == ("only", None)


def test_duplicate_examples_count_twice(learner):
    z = vectors(1)[0]
    assert learner.learn(z, "a") != learner.learn(z, "a")
    assert learner.counts == {"a": 2}


def test_learn_many_is_one_transaction(learner):
    with pytest.raises(EmbeddingError, match="embedding 1 holds NaN"):
        learner.learn_many(np.array([[1.0] * 8, [np.nan] * 8]), ["a", "b"])
    with pytest.raises(LabelError):
        learner.learn_many(vectors(2), ["a", ""])
    assert learner.counts == {}
    learner.learn_many(vectors(4), ["a", "b", "a", "b"])
    learner.undo()
    assert learner.counts == {}
    with pytest.raises(NotFoundError, match="undo"):
        learner.undo()


def test_reopen_gives_the_same_bits(tmp_path):
    file = tmp_path / "x.learned"
    with Learner(dim=DIM, journal=file, head="ridge") as learner:
        learner.learn_many(vectors(20), ["a", "b"] * 10)
        learner.forget(example=next(iter(learner.examples)))
        weights = learner.solution().weights
    with Learner(dim=DIM, journal=file, head="ridge") as again:
        assert (again.solution().weights == weights).all()
        again.compact()
        assert (again.solution().weights == weights).all()


def test_merge_is_idempotent_and_commutative(tmp_path):
    files = [tmp_path / "a.learned", tmp_path / "b.learned"]
    for seed, file in enumerate(files):
        with Learner(dim=DIM, journal=file) as learner:
            learner.learn_many(vectors(6, seed), ["a", "b"] * 3)
            learner.forget(example=next(iter(learner.examples)))
    one, two = Learner(dim=DIM), Learner(dim=DIM)
    for file in files:
        one.merge(file)
    for file in reversed(files):
        two.merge(file)
    assert one.merge(files[0]) == 0
    assert same_bits(one, two)
    assert sum(one.counts.values()) == 10


@pytest.mark.parametrize("head", ["cosine", "ridge"])
def test_budget_bounds_the_singles_and_keeps_the_bits(tmp_path, head):
    bounded = Learner(dim=4, journal=tmp_path / "x.learned", head=head, budget=12)
    free = Learner(dim=4, head=head)
    for i in range(120):
        z = vectors(1, i, 4)[0]
        bounded.learn(z, "ab"[i % 2])
        free.learn(z, "ab"[i % 2])
        assert len(bounded.examples) <= 24
    assert bounded.counts == free.counts
    assert same_bits(bounded, free)
    assert near_weights(bounded, free)
    bounded.close()
    with Learner(dim=4, journal=tmp_path / "x.learned", head=head) as again:
        assert same_bits(again, free)
        again.forget("a")
        free.forget("a")
        assert same_bits(again, free)


def test_the_call_that_seals_can_be_undone(tmp_path):
    z = vectors(40, 3, 16)
    with Learner(dim=16, journal=tmp_path / "x.learned", head="cosine", budget=8) as learner:
        for i, row in enumerate(z):
            before, singles = dict(learner.counts), len(learner.examples)
            learner.learn(row, "ab"[i % 2])
            sealed = len(learner.examples) <= singles
            if sealed:
                learner.undo()
                assert learner.counts == before
                learner.learn(row, "ab"[i % 2])
        assert learner.journal.seals
    with Learner(dim=16, head="cosine") as free:
        free.learn_many(z, ["ab"[i % 2] for i in range(40)])
    with Learner(dim=16, journal=tmp_path / "x.learned", head="cosine") as again:
        assert same_bits(again, free)


def test_sealing_that_does_not_pay_is_not_tried_at_every_call(tmp_path, monkeypatch):
    """One example a class: a class's sums are larger than its example, so nothing is sealed."""
    from edgemeta.journal import Journal
    from edgemeta.taught import Taught

    tried, folds = [], []
    seal, fold = Journal.seal, Taught.fold
    monkeypatch.setattr(Journal, "seal", lambda self, ids, moment: tried.append(0) or seal(self, ids, moment=moment))
    monkeypatch.setattr(Taught, "fold", lambda self: folds.append(0) or fold(self))
    with Learner(dim=16, journal=tmp_path / "x.learned", head="cosine", budget=40) as learner:
        for i, row in enumerate(vectors(200, 5, 16)):
            learner.learn(row, f"class {i}")
        assert len(learner.examples) == 200
        assert len(folds) == 1  # at the opening
        assert len(tried) <= 200 // 10
        for i, row in enumerate(vectors(200, 6, 16)):
            learner.learn(row, f"class {i % 2}")
        assert len(learner.examples) <= 200 + 50  # what cannot be sealed, and the budget and a quarter


def test_budget_holds_after_a_large_batch(tmp_path):
    with Learner(dim=16, journal=tmp_path / "x.learned", head="cosine", budget=20) as learner:
        learner.learn_many(vectors(300, 1, 16), ["ab"[i % 2] for i in range(300)])
        for i in range(30):
            learner.learn(vectors(1, i, 16)[0], "a")
            assert len(learner.examples) <= 25
        assert learner.counts == {"a": 180, "b": 150}


def test_a_head_whose_needs_were_sealed_away_raises(tmp_path):
    file = tmp_path / "x.learned"
    with Learner(dim=16, journal=file, head="cosine", budget=2) as learner:
        for i in range(20):
            learner.learn(vectors(1, i, 16)[0], "a")
        assert len(learner.examples) < 20
    with pytest.raises(HeadError, match="sealed without it"):
        Learner(dim=16, journal=file, head="ridge")
    with pytest.raises(HeadError, match="some were sealed"):
        Learner(dim=16, journal=file, head="neighbours")
    for head in ("neighbours", Ridge(lambda_=None)):
        with pytest.raises(HeadError, match="some were sealed"):
            Learner(dim=16, journal=file, head=head)
        with pytest.raises(OptionError, match="needs every example"):
            Learner(dim=16, head=head, budget=5)


@pytest.mark.parametrize("head", ["ridge", "neighbours"])
def test_what_the_head_cannot_use_is_not_merged(tmp_path, head):
    sealed = Learner(dim=16, journal=tmp_path / "s.learned", head="cosine", budget=2)
    for i in range(20):
        sealed.learn(vectors(1, i, 16)[0], "a")
    learner = Learner(dim=16, head=head)
    learner.learn(vectors(1, 99, 16)[0], "b")
    for other in (sealed, tmp_path / "s.learned"):
        with pytest.raises(HeadError, match="sealed"):
            learner.merge(other)
        assert learner.predict(vectors(1, 99, 16)[0]).label == "b" and learner.labels == ("b",)
    other = Learner(dim=16, head="cosine")
    assert other.merge(sealed) == 20 and other.labels == ("a",)


def test_threads_teach_and_ask_at_once(learner):
    learner.learn(vectors(1)[0], "t0")
    errors: list[Exception] = []

    def work(number: int) -> None:
        try:
            for i in range(25):
                learner.learn(vectors(1, 100 * number + i)[0], f"t{number}")
                learner.predict(vectors(1, i)[0])
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sum(learner.counts.values()) == 101


def test_learners_that_merge_each_other_at_once_do_not_wait_for_ever():
    a, b = Learner(dim=DIM), Learner(dim=DIM)
    a.learn(vectors(1)[0], "a")
    b.learn(vectors(1, 1)[0], "b")

    def work(one: Learner, two: Learner) -> None:
        for _ in range(50):
            one.merge(two)

    threads = [threading.Thread(target=work, args=pair, daemon=True) for pair in ((a, b), (b, a), (a, a))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads)
    assert a.counts == b.counts == {"a": 1, "b": 1}


def test_memory_of_prediction_does_not_grow(learner):
    import tracemalloc

    learner.learn_many(vectors(10), ["a", "b"] * 5)
    for _ in range(50):
        learner.predict(vectors(1)[0])
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(500):
        learner.predict(vectors(1)[0])
    assert tracemalloc.get_traced_memory()[0] - before < 20_000
    tracemalloc.stop()


class TestBadInput:
    @pytest.mark.parametrize(
        ("x", "error"),
        [
            (np.full(8, np.nan), EmbeddingError),
            (np.full(8, np.inf), EmbeddingError),
            (np.zeros(8), EmbeddingError),
            (np.ones(7), EmbeddingError),
            (np.ones((8, 1)), EmbeddingError),
            (np.ones(8, dtype=np.int64), InputError),
            (np.ones(8, dtype=np.complex64), InputError),
            ([1.0] * 8, InputError),
            (None, InputError),
            ("no-such-file.png", InputError),
            (np.zeros((5, 5), dtype=np.uint8), ImageError),
        ],
    )
    def test_is_refused_and_nothing_is_lost(self, learner, x, error):
        learner.learn(vectors(1)[0], "a")
        with pytest.raises(error):
            learner.learn(x, "b")
        with pytest.raises(error):
            learner.predict(x)
        assert learner.counts == {"a": 1}

    @pytest.mark.parametrize("label", ["", "  ", 3, None, "a\nb", "x" * 256, "\ud800", "\x1b[31m", "é" * 128])
    def test_labels(self, learner, label):
        with pytest.raises(LabelError):
            learner.learn(vectors(1)[0], label)
        assert learner.counts == {}

    def test_labels_are_normalised(self, learner):
        learner.learn(vectors(1)[0], "e\u0301")
        learner.learn(vectors(1, 1)[0], "\u00e9")
        assert learner.counts == {"\u00e9": 2}
        assert learner.forget("e\u0301") == 2

    def test_right_to_left_and_emoji_labels_are_labels(self, learner):
        for label in ("שלום", "☕️ mug", "a\u202eb"):
            learner.learn(vectors(1)[0], label)
        assert len(learner.labels) == 3

    def test_unknown_label_or_example(self, learner):
        learner.learn(vectors(1)[0], "a")
        with pytest.raises(NotFoundError, match="nothing is known of 'b'; taught are: a"):
            learner.forget("b")
        with pytest.raises(NotFoundError):
            learner.forget(example=f"{'0' * 32}:7")
        with pytest.raises(NotFoundError, match="not an example id"):
            learner.forget(example="nonsense")
        with pytest.raises(OptionError):
            learner.forget()

    def test_predicting_before_learning(self, learner):
        with pytest.raises(NotTaughtError):
            learner.predict(vectors(1)[0])

    def test_options(self):
        for options in (
            {},
            {"dim": 0},
            {"dim": 3, "bundle": "glyphs"},
            {"dim": 3, "channels": "hsv"},
            {"dim": 3, "budget": 0},
            {"dim": 3, "keep": "all"},
            {"dim": 3, "budget": "many"},
            {"dim": 3, "budget": 2.5},
            {"dim": True},
            {"dim": "3"},
            {"dim": 3, "sync": []},
            {"dim": 3, "journal": 3},
            {"dim": 3, "journal": ""},
            {"dim": 3, "journal": "a\0b"},
            {"dim": 3, "normalisation": "l2"},
            {"dim": 3, "threads": "two"},
            {"dim": 3, "threads": 0},
            {"bundle": 3},
            {"bundle": b"glyphs"},
            {"bundle": "glyphs", "sha256": 3},
            {"bundle": "glyphs", "providers": "CPUExecutionProvider"},
            {"bundle": "glyphs", "providers": 3},
            {"bundle": "glyphs", "providers": []},
            {"bundle": "glyphs", "threads": 2**31},
        ):
            with pytest.raises(OptionError):
                Learner(**options)
        for head in ("forest", 3, [], Ridge, object()):
            with pytest.raises(HeadError):
                Learner(dim=3, head=head)
        with pytest.raises(NotFoundError):
            Learner("glyphs", variant=3)
        for normalisation in ({"power": "x"}, {"scale": None}, {"centre": [1.0, 2.0]}, {"power": 2.0}, {"scale": 2.0}):
            with pytest.raises(OptionError):
                Normalisation(**normalisation)
        with pytest.raises(EmbeddingError, match="centre"):
            Learner(dim=3, normalisation=Normalisation(centre=np.ones(2, np.float32))).learn(np.ones(3), "a")
        for wrong in ({"temperature": float("nan")}, {"temperature": 0.0}, {"temperature": "hot"}, {"lambda_": "x"}):
            with pytest.raises(OptionError):
                Ridge(**wrong)
        assert Learner(dim=np.int64(3)).embed([np.ones(3)]).shape == (1, 3)

    @pytest.mark.parametrize(
        "call",
        [
            lambda learner: learner.learn_many(vectors(2), 5),
            lambda learner: learner.learn_many(vectors(2), [1, 2]),
            lambda learner: learner.learn_many(5, "a"),
            lambda learner: learner.learn_many(None, "a"),
            lambda learner: learner.learn_many(vectors(2), "a", group=5),
            lambda learner: learner.learn(vectors(1)[0], "a", group=5),
            lambda learner: learner.learn(None, "a"),
            lambda learner: learner.forget(3),
            lambda learner: learner.forget(example=3),
            lambda learner: learner.relabel(None, "b"),
            lambda learner: learner.merge(None),
            lambda learner: learner.merge(3),
            lambda learner: learner.learn_many(np.zeros((8, 8, 3), np.uint8), "a"),
            lambda learner: learner.predict_many(np.zeros((8, 8, 4), np.uint8)),
            lambda learner: learner.predict(None),
            lambda learner: learner.predict_many(3),
        ],
    )
    def test_wrong_types_are_errors_of_the_tree_and_lose_nothing(self, learner, call):
        learner.learn(vectors(1)[0], "a")
        with pytest.raises(EdgemetaError):
            call(learner)
        assert learner.counts == {"a": 1}
        assert learner.predict(vectors(1)[0]).label == "a"

    def test_journal_of_other_embeddings(self, tmp_path):
        with Learner(dim=4, journal=tmp_path / "x.learned") as learner:
            learner.learn(np.ones(4), "a")
        with pytest.raises(JournalMismatchError):
            Learner(dim=5, journal=tmp_path / "x.learned")
        with pytest.raises(JournalMismatchError):
            Learner(dim=4, journal=tmp_path / "x.learned", normalisation=Normalisation(l2=False))
        with Learner(dim=4, journal=tmp_path / "x.learned") as learner:
            assert learner.counts == {"a": 1}

    def test_counts_of_inputs_and_labels_differ(self, learner):
        with pytest.raises(InputError, match="2 labels for 3 inputs"):
            learner.learn_many(vectors(3), ["a", "b"])

    def test_an_embedding_that_would_be_stored_as_zero(self):
        learner = Learner(dim=3, normalisation=Normalisation(l2=False))
        learner.learn(np.zeros(3), "origin")  # zero itself is a point like any other
        with pytest.raises(EmbeddingError, match="stored as zero"):
            learner.learn(np.array([1e-8, 0.0, 0.0]), "a")
        assert learner.counts == {"origin": 1}

    @pytest.mark.parametrize("label", ["\u200b", "\ufeff", "\u202e", "\u3164", " \u00a0"])
    def test_labels_that_cannot_be_seen(self, learner, label):
        with pytest.raises(LabelError, match="visible"):
            learner.learn(vectors(1)[0], label)

    def test_a_label_of_bytes_is_no_string(self, learner):
        with pytest.raises(LabelError, match=r"not bytes b'a'$"):
            learner.learn(vectors(1)[0], b"a")

    def test_a_named_provider_that_does_not_start_is_not_swapped(self, monkeypatch):
        class Runtime:
            """ONNX Runtime with CUDA installed on a machine without a GPU: it warns and takes the CPU."""

            SessionOptions = SimpleNamespace
            get_available_providers = staticmethod(lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])

            class InferenceSession:
                def __init__(self, *_: object, **__: object) -> None:
                    self.get_providers = lambda: ["CPUExecutionProvider"]
                    self.disable_fallback = lambda: None
                    pixels = SimpleNamespace(name="pixels", type="tensor(uint8)", shape=["n", 40, 40, 3])
                    self.get_inputs = lambda: [pixels]
                    self.get_outputs = lambda: [
                        SimpleNamespace(name="embedding", type="tensor(float)", shape=["n", 432])
                    ]
                    self.run = lambda _, feed: [np.ones((len(next(iter(feed.values()))), 432), np.float32)]

        monkeypatch.setattr("edgemeta.runners.onnx.load_runtime", lambda: Runtime)
        image = np.zeros((8, 8), np.uint8)
        with pytest.raises(RunnerError, match=r"could not start CUDA.*would use CPU"):
            Learner("glyphs", providers=["CUDAExecutionProvider"]).learn(image, "a")
        best = Learner("glyphs")  # nobody named one: the best that works, and it can be asked for
        with pytest.warns(UserWarning, match=r"could not start CUDA.*trying CPU"):
            best.learn(image, "a")
        assert best.provider == "CPUExecutionProvider"

    def test_mixed_batch(self, learner):
        with pytest.raises(InputError, match="mixes"):
            learner.learn_many([vectors(1)[0], np.zeros((4, 4), dtype=np.uint8)], "a")

    def test_empty_batch_does_nothing(self, learner):
        assert learner.learn_many([], []) == []
        learner.learn(vectors(1)[0], "a")
        assert learner.predict_many([]) == []


def test_readonly_learner_refuses_to_learn(tmp_path: Path):
    from edgemeta.errors import JournalReadOnlyError

    with Learner(dim=DIM, journal=tmp_path / "x.learned") as learner:
        learner.learn(vectors(1)[0], "a")
    with Learner(dim=DIM, journal=tmp_path / "x.learned", readonly=True) as reader:
        with pytest.raises(JournalReadOnlyError):
            reader.learn(vectors(1)[0], "b")
        assert reader.predict(vectors(1)[0]).label == "a"
