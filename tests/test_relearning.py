"""Relearning moves everything or leaves nothing, and can be run again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_bundle import SIDE, small_bundle

from edgemeta import Learner
from edgemeta.errors import JournalError, JournalLockedError
from edgemeta.relearning import BATCH, relearn

COUNT = BATCH + 6  # more than one batch


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A taught journal, its bundle, and a newer bundle."""
    small_bundle(tmp_path / "newer.edgemeta", seed=3)
    images = np.random.default_rng(0).integers(0, 256, (COUNT, SIDE, SIDE, 3)).astype(np.uint8)
    with Learner(small_bundle(tmp_path / "small.edgemeta"), tmp_path / "old.learned", keep="input") as learner:
        learner.learn_many(list(images), ["a", "b"] * (COUNT // 2))
    return tmp_path


def run(desk: Path) -> int:
    return relearn(desk / "old.learned", desk / "newer.edgemeta", desk / "new.learned")


def interrupt_after_the_first_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    learn, calls = Learner.learn_many, []

    def interrupted(self: Learner, *arguments: object, **options: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return learn(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Learner, "learn_many", interrupted)


def test_an_interrupted_one_leaves_nothing_and_runs_again(desk, monkeypatch):
    before = {path.name for path in desk.iterdir()}
    interrupt_after_the_first_batch(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run(desk)
    monkeypatch.undo()
    assert {path.name for path in desk.iterdir()} - before == {"new.learned.lock"}
    assert run(desk) == COUNT
    assert {path.name for path in desk.iterdir()} - before == {"new.learned", "new.learned.lock"}
    with Learner(desk / "newer.edgemeta", desk / "new.learned") as learner:
        assert learner.counts == {"a": COUNT // 2, "b": COUNT // 2}


def test_what_a_killed_one_left_is_no_part_of_the_next(desk, monkeypatch):
    interrupt_after_the_first_batch(monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr("edgemeta.relearning._remove", lambda path: None)
        with pytest.raises(KeyboardInterrupt):
            run(desk)
    monkeypatch.undo()
    assert (desk / "new.learned.part").exists()
    assert run(desk) == COUNT
    assert not (desk / "new.learned.part").exists()
    with Learner(desk / "newer.edgemeta", desk / "new.learned") as learner:
        assert sum(learner.counts.values()) == COUNT


def test_a_journal_that_is_there_is_left_alone(desk):
    run(desk)
    before = (desk / "new.learned").read_bytes()
    with pytest.raises(JournalError, match="exists already"):
        run(desk)
    assert (desk / "new.learned").read_bytes() == before


def test_two_cannot_write_the_same_journal(desk):
    from edgemeta.relearning import _complete_or_nothing

    with pytest.raises(JournalLockedError), _complete_or_nothing(str(desk / "new.learned")):
        run(desk)
