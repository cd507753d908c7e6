"""Random histories over several journals that are told the same in C and in Python: the same bytes after every call."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from journal_c import OK, READ, Both, CJournal, Memory, agree, data_of, in_python, python_content, step

SEEN: Counter[str] = Counter()


@pytest.mark.parametrize("seed", range(60))
def test_the_same_calls_give_the_same_bytes(same_numbers, seed):
    """Three journals that merge one another."""
    rng, numbers = random.Random(seed), same_numbers(seed)
    world = [Both(numbers, rng.choice(("call", "call", "manual"))) for _ in range(3)]
    for _ in range(90):
        index = rng.randrange(3)
        SEEN[step(world[index], rng, [each for i, each in enumerate(world) if i != index])] += 1
        world[index].compare()
    for both in world:
        assert agree(bytes(both.memory.data)) == OK


def test_the_histories_held_everything():
    """Otherwise the test above says nothing."""
    if sum(SEEN.values()) < 60 * 90:
        pytest.skip("needs the test above, whole")
    wanted = ["append", "forget", "forget_label", "relabel", "undo", "seal", "compact", "merge", "conflict", "reopen"]
    assert all(SEEN[name] > 50 for name in wanted), SEEN


@pytest.mark.parametrize("seed", range(10))
def test_each_opens_what_the_other_wrote(same_numbers, seed):
    """C and Python take turns with the same bytes; each goes on where the other stopped."""
    rng, numbers = random.Random(seed), same_numbers(seed + 1000)
    world = [Both(numbers, "call") for _ in range(2)]
    for _ in range(12):
        for index, both in enumerate(world):
            for _ in range(6):
                step(both, rng, [world[1 - index]])
            ours, theirs = bytes(both.memory.data), data_of(both.theirs)
            assert CJournal(Memory(theirs), mode=READ).content() == python_content(in_python(ours))
            both.memory.data = bytearray(theirs)
            both.reopen("call")
            both.compare()
