"""Short names for the journal's tests."""

from __future__ import annotations

import numpy as np

from edgemeta.journal import Journal, NewExample
from edgemeta.journal.ids import RangeSet

BACKBONE = bytes(range(32))
DIM = 3


def vector(number):
    """An embedding that no other number gives."""
    return np.array([number, -number * 7 - 1, 1 << 19], dtype=np.int32)


def new(label, number, **kwargs):
    return NewExample(label, vector(number), **kwargs)


def open_journal(path, **kwargs):
    return Journal.open(path, embedding_id=BACKBONE, dim=DIM, **kwargs)


def memory():
    return Journal.memory(embedding_id=BACKBONE, dim=DIM)


def content(journal):
    """Everything that can be seen, ids included: two journals with equal content are the same."""
    ids = list(journal.live)
    live = {
        (each, journal.live[each].label, journal.live[each].group, tuple(row))
        for each, row in zip(ids, journal.embeddings(ids).tolist(), strict=True)
    }
    seals = {(s.label, s.ranges, tuple(s.total.tolist())) for s in journal.seals.values()}
    return frozenset(live), frozenset(seals)


def taught(journal):
    """What was taught, without ids: the sorted (label, group, embedding), and the sealed sums."""
    live, seals = content(journal)
    return sorted((label, group or "", row) for _, label, group, row in live), sorted(
        (label, sum(r.count for r in ranges), total) for label, ranges, total in seals
    )


def forgotten(journal):
    return RangeSet(journal._state.tombstones)


def all_ids(journal):
    """Every id that the journal knows of."""
    known = set(journal.live)
    for seal in journal.seals.values():
        known.update(each for part in seal.ranges for each in part.ids())
    return known
