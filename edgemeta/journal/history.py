"""Undo: the inverse of the newest transaction that can be taken back, worked out from the file itself."""

from __future__ import annotations

from ..errors import NotFoundError
from . import format as fmt
from .draft import Draft
from .format import ExampleHead, Seal
from .header import HEADER_SIZE
from .ids import ExampleId, Range, RangeSet
from .scan import Scan
from .state import Change, State, View


def take_back(view: View, end: int, draft: Draft) -> int:
    """Put the inverse of the newest undoable transaction into `draft` and return the transaction's number.

    What it added goes; what it removed comes back under new ids, with the old ones as origin. Raises
    NotFoundError when there is nothing to undo. Reads the file once, up to `end`.
    """
    if not view.state.undoable:
        raise NotFoundError("nothing to undo: no teaching or forgetting since the journal was made or compacted")
    number, start = view.state.undoable[-1]
    change, heirs = _replay(view, end, start)

    def today(kind: int, each: ExampleId) -> ExampleId:
        while (kind, each) in heirs:
            each = heirs[kind, each]
        return each

    examples = [today(fmt.EXAMPLE, each) for each in change.added]
    examples = [each for each in examples if each in view.state.live]
    names = [today(fmt.SEAL, each.id) for each in change.seals_added]
    seals = [view.state.seals[each] for each in names if each in view.state.seals]
    dead = RangeSet.of_ids(examples)
    for seal in seals:
        for part in seal.ranges:
            dead.add(part)
    draft.tombstones(dead)

    window = view.window(len(change.removed))
    for _, entry in change.removed:
        payload = bytes(view.example(window, entry))
        draft.example(fmt.with_new_id(payload, draft.new_id()))
    for seal in change.seals_removed:
        # The ids it held are forgotten for ever; as many new ones stand for the same examples.
        new = draft.new_id(seal.count)
        held = [Range(new.journal, new.counter, seal.count)]
        draft.seal(fmt.encode_seal(seal.label, held, seal.id, seal.total, seal.moment))
    return number


def _replay(view: View, end: int, target: int) -> tuple[Change, dict[tuple[int, ExampleId], ExampleId]]:
    """What the transaction at `target` changed, and under which ids later undos brought things back."""
    state, found, heirs = State(view.header), Change(), dict[tuple[int, ExampleId], ExampleId]()
    for transaction in Scan(view.store, view.header, HEADER_SIZE, end):
        if transaction.start <= target:
            found = state.apply(transaction)
        elif transaction.commit.undoes:
            for record in transaction.records:
                if isinstance(record.item, (ExampleHead, Seal)) and record.item.origin is not None:
                    heirs[record.kind, record.item.origin] = record.item.id
    return found, heirs
