"""Rewriting a journal without what was forgotten, and sealing examples into their sums on the way."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import NotFoundError
from ..normalisation import to_float
from ..terminal import printable
from . import format as fmt
from .format import Commit, Seal
from .header import HEADER_SIZE, Header
from .ids import ExampleId, RangeSet
from .scan import Window, read_frame
from .state import View

# Examples whose embeddings are in memory at a time while a seal is made.
_BATCH = 256


class Sealing(NamedTuple):
    """What a compaction seals: payloads of new seals, and the examples and seals that they replace."""

    payloads: tuple[bytes, ...] = ()
    examples: frozenset[ExampleId] = frozenset()
    seals: frozenset[ExampleId] = frozenset()


def rewrite(view: View, uuid: bytes, next_counter: int, volatile: bool, sealing: Sealing) -> None:
    """Replace the file. Raises OSError, JournalDamagedError; then the old one is still there.

    One transaction holds everything; the header says how long the file is, so damage to it never looks like
    the torn end of a file.
    """
    number = (view.state.number or 0) + 1
    base = HEADER_SIZE + sum(map(fmt.record_size, _lengths(view, sealing))) + fmt.record_size(fmt.COMMIT_SIZE)
    salt = int.from_bytes(os.urandom(8), "little")

    def make(place: bytes) -> Iterator[bytes]:
        header = Header(view.header.dim, uuid, view.header.embedding_id, place, next_counter, base, salt, volatile)
        seed, records = header.seed, 0
        checksum = seed
        yield header.encode()
        for kind, payload in _records(view, sealing):
            record = fmt.encode_record(kind, payload, seed)
            checksum, records = fmt.chain(checksum, int.from_bytes(record[-4:], "little")), records + 1
            yield record
        commit = Commit(number, 0, HEADER_SIZE, HEADER_SIZE, records, fmt.COMMIT_COMPACTION, checksum)
        yield fmt.encode_record(fmt.COMMIT, fmt.encode_commit(commit), seed)

    view.store.replace(make)


def _records(view: View, sealing: Sealing) -> Iterator[tuple[int, bytes]]:
    for dead in view.state.tombstones:
        yield fmt.TOMBSTONE, fmt.encode_tombstone(dead)
    for each, seal in view.state.seals.items():
        if each not in sealing.seals:
            yield fmt.SEAL, fmt.encode_seal(seal.label, seal.ranges, seal.origin, seal.total, seal.moment)
    for payload in sealing.payloads:
        yield fmt.SEAL, payload
    window = view.window(len(view.state.live))
    for example, entry in view.state.live.items():
        if example not in sealing.examples:
            yield fmt.EXAMPLE, bytes(view.example(window, entry))


def _lengths(view: View, sealing: Sealing) -> Iterator[int]:
    """The lengths of the payloads of `_records`, without reading them."""
    for _ in view.state.tombstones:
        yield 32
    for each, seal in view.state.seals.items():
        if each not in sealing.seals:
            yield fmt.seal_length(seal.label, len(seal.ranges), view.header.dim, seal.has_moment)
    yield from map(len, sealing.payloads)
    window = Window(view.store, view.store.size(), fmt.FRAME_SIZE)
    for example in view.state.live:
        if example not in sealing.examples:
            yield example_length(view, window, example)


def example_length(view: View, window: Window, example: ExampleId) -> int:
    """Bytes of an example's payload. Raises JournalDamagedError."""
    offset = view.state.live[example].offset
    frame = read_frame(window, offset, view.header.seed)
    if frame is None:  # says what is wrong
        return len(view.example(window, view.state.live[example]))
    return frame.length


def plan_sealing(view: View, ids_by_label: Mapping[str, Sequence[ExampleId]], moment: bool) -> Sealing:
    """What is worth sealing: the classes whose seal is smaller than what it replaces.

    An earlier seal of the label is merged in. One that has the moment keeps it, so the new one has it too; one
    without it stays apart when the moment is asked for now. Raises NotFoundError for an example that is not live
    or not of that label.
    """
    payloads: list[bytes] = []
    examples: set[ExampleId] = set()
    seals: set[ExampleId] = set()
    for label, wanted in ids_by_label.items():
        ids = list(dict.fromkeys(wanted))
        for each in ids:
            if each not in view.state.live or view.state.live[each].label != label:
                raise NotFoundError(f"there is no example {each} of '{printable(label)}' to seal")
        earlier = [seal for seal in view.state.seals.values() if seal.label == label]
        with_moment = moment or any(seal.has_moment for seal in earlier)
        earlier = [seal for seal in earlier if seal.has_moment == with_moment]
        if ids and _pays(view, label, ids, earlier, with_moment):
            payloads.append(_seal(view, label, ids, earlier, with_moment))
            examples.update(ids)
            seals.update(seal.id for seal in earlier)
    return Sealing(tuple(payloads), frozenset(examples), frozenset(seals))


def _held(ids: Sequence[ExampleId], earlier: Sequence[Seal]) -> RangeSet:
    held = RangeSet.of_ids(ids)
    for seal in earlier:
        for part in seal.ranges:
            held.add(part)
    return held


def _pays(view: View, label: str, ids: Sequence[ExampleId], earlier: Sequence[Seal], moment: bool) -> bool:
    dim = view.header.dim
    window = Window(view.store, view.store.size(), fmt.FRAME_SIZE)
    old = sum(fmt.record_size(example_length(view, window, each)) for each in ids)
    for seal in earlier:
        old += fmt.record_size(fmt.seal_length(label, len(seal.ranges), dim, seal.has_moment))
    new = fmt.record_size(fmt.seal_length(label, len(list(_held(ids, earlier))), dim, moment))
    return new < old


def _seal(view: View, label: str, ids: Sequence[ExampleId], earlier: Sequence[Seal], moment: bool) -> bytes:
    """n, s = sum z and G = sum z z^T add; float64 is exact for them (DESIGN.md, "Statistics add exactly")."""
    dim = view.header.dim
    total = np.zeros(dim)
    packed = np.zeros(dim * (dim + 1) // 2) if moment else None
    for seal in earlier:
        total += seal.total
        if packed is not None and seal.moment is not None:
            packed += seal.moment
    window = view.window(len(ids))
    for start in range(0, len(ids), _BATCH):
        z = to_float(_embeddings(view, window, ids[start : start + _BATCH]))
        total += z.sum(axis=0)
        if packed is not None:
            packed += (z.T @ z)[np.triu_indices(dim)]
    return fmt.encode_seal(label, list(_held(ids, earlier)), None, total, packed)


def _embeddings(view: View, window: Window, ids: Sequence[ExampleId]) -> NDArray[np.int32]:
    return np.stack([view.embedding(window, view.state.live[each]) for each in ids])
