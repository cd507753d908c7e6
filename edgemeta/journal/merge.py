"""Uniting two journals: a set union by id in which tombstones win. Idempotent, and the order does not matter."""

from __future__ import annotations

import numpy as np

from ..errors import JournalMismatchError, MergeError
from ..terminal import printable
from . import format as fmt
from .draft import Draft
from .format import Seal
from .ids import ExampleId, RangeSet
from .state import Entry, View

_HINT = "Forget the class in both, or keep one of the two journals"


def unite(mine: View, theirs: View, draft: Draft) -> None:
    """Put into `draft` what `mine` lacks of `theirs`. Raises JournalMismatchError or MergeError, before anything."""
    if (mine.header.dim, mine.header.embedding_id) != (theirs.header.dim, theirs.header.embedding_id):
        raise JournalMismatchError(
            f"{printable(theirs.store.name)} was taught with another backbone: its embeddings "
            f"({theirs.header.dim} numbers, {theirs.header.embedding_id.hex()[:12]}) mean nothing here "
            f"({mine.header.dim} numbers, {mine.header.embedding_id.hex()[:12]})"
        )
    forgotten = mine.state.tombstones
    draft.tombstones([part for each in theirs.state.tombstones for part in forgotten.missing(each)])
    for seal in mine.state.seals.values():
        _whole_or_nothing(seal, theirs.state.tombstones)
    for seal in theirs.state.seals.values():
        if not _whole_or_nothing(seal, forgotten) and _wanted(mine, seal):
            draft.seal(fmt.encode_seal(seal.label, seal.ranges, seal.origin, seal.total, seal.moment))
    _examples(mine, theirs, draft)


def _examples(mine: View, theirs: View, draft: Draft) -> None:
    here, there = mine.window(len(theirs.state.live)), theirs.window(len(theirs.state.live))
    for each, entry in theirs.state.live.items():
        if each in mine.state.tombstones:
            continue
        payload = bytes(theirs.example(there, entry))
        known = mine.state.live.get(each)
        if known is not None:
            if bytes(mine.example(here, known)) != payload:
                raise _conflict(each, known, entry)
        elif each in mine.state.sealed:
            _same_label(mine, each, entry)
        else:
            draft.example(payload)


def _same_label(mine: View, each: ExampleId, entry: Entry) -> None:
    for seal in mine.state.seals.values():
        if each in RangeSet(seal.ranges) and seal.label != entry.label:
            raise _conflict(each, Entry(seal.label, None, seal.offset), entry)


def _conflict(each: ExampleId, known: Entry, other: Entry) -> MergeError:
    return MergeError(
        f"example {each} is '{printable(known.label)}' here and '{printable(other.label)}' there, "
        f"or was altered. {_HINT}"
    )


def _whole_or_nothing(seal: Seal, forgotten: RangeSet) -> bool:
    """Whether the seal is forgotten. Raises MergeError where only a part of what it holds is."""
    gone = forgotten.overlap(seal.ranges)
    if 0 < gone < seal.count:
        raise MergeError(
            f"{gone} of the {seal.count} sealed examples of '{printable(seal.label)}' were forgotten in one journal; "
            f"a seal cannot lose a part. {_HINT}"
        )
    return gone > 0


def _wanted(mine: View, seal: Seal) -> bool:
    """Whether their seal says more than ours. Of two that overlap, one must hold all that the other holds."""
    held = RangeSet(seal.ranges)
    for each, entry in mine.state.live.items():
        if each in held and entry.label != seal.label:
            raise _conflict(each, entry, Entry(seal.label, None, seal.offset))
    wanted = True
    for ours in mine.state.seals.values():
        shared = held.overlap(ours.ranges)
        if not shared:
            continue
        if ours.label != seal.label or shared not in (ours.count, seal.count):
            raise MergeError(f"two seals of '{printable(seal.label)}' share a part of their examples. {_HINT}")
        if shared == ours.count == seal.count:
            _same_sums(ours, seal)
            wanted = wanted and seal.has_moment and not ours.has_moment
        else:
            wanted = wanted and shared == ours.count
    return wanted


def _same_sums(ours: Seal, seal: Seal) -> None:
    same = np.array_equal(ours.total, seal.total)
    if same and ours.moment is not None and seal.moment is not None:
        same = np.array_equal(ours.moment, seal.moment)
    if not same:
        raise MergeError(f"two seals of the same examples of '{printable(seal.label)}' differ. {_HINT}")
