"""Names of examples, and sets of such names kept as ranges.

An id is (uuid of the journal that gave it, counter). It is never given twice, so a set union of two journals is
well defined. What was forgotten stays known by its id for ever; runs of ids are therefore kept as ranges.
"""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..errors import InputError, NotFoundError
from ..terminal import printable

# Counters and the ends of ranges stay below this, so that sums of a few never leave 64 bits in C.
MAX_COUNTER = 1 << 63
NO_UUID = bytes(16)


class ExampleId(NamedTuple):
    """The lasting name of one example: `journal` is a uuid of 16 bytes, `counter` counts from 1."""

    journal: bytes
    counter: int

    def __str__(self) -> str:
        return f"{self.journal.hex()}:{self.counter}"

    @classmethod
    def parse(cls, text: str) -> ExampleId:
        """The id that `str` wrote. Raises InputError where `text` is no str, NotFoundError where it is no id."""
        if not isinstance(text, str):
            raise InputError(f"an example id is a str like 'UUID:NUMBER', not {type(text).__name__}")
        uuid, colon, counter = text.strip().partition(":")
        hexadecimal = len(uuid) == 32 and all(c in "0123456789abcdef" for c in uuid.lower())
        number = counter.isascii() and counter.isdigit() and len(counter) <= 19
        if not (colon and hexadecimal and number and 0 < int(counter) < MAX_COUNTER):
            shown = printable(text if len(text) <= 80 else text[:77] + "...")
            raise NotFoundError(f"{shown!r} is not an example id: 32 hexadecimal digits, a colon, a number")
        return cls(bytes.fromhex(uuid), int(counter))


def new_uuid() -> bytes:
    """16 random bytes in the form of RFC 9562 version 4, never all zero."""
    raw = bytearray(os.urandom(16))
    raw[6] = raw[6] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    return bytes(raw)


class Range(NamedTuple):
    """`count` ids of one journal, from `first` on."""

    journal: bytes
    first: int
    count: int  # type: ignore[assignment]  # nobody counts in a range

    @property
    def end(self) -> int:
        """The first counter after the range."""
        return self.first + self.count

    def ids(self) -> Iterator[ExampleId]:
        """Every id of the range, in order."""
        return (ExampleId(self.journal, counter) for counter in range(self.first, self.end))


class RangeSet:
    """A set of ids. Per journal one sorted list of bounds: a counter is inside after an odd number of them."""

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        self._bounds: dict[bytes, list[int]] = {}
        for each in ranges:
            self.add(each)

    @classmethod
    def of_ids(cls, ids: Iterable[ExampleId]) -> RangeSet:
        """The set of these ids, runs coalesced."""
        return cls(Range(each.journal, each.counter, 1) for each in ids)

    def copy(self) -> RangeSet:
        """Another set of the same ids."""
        twin = RangeSet()
        twin._bounds = {journal: list(bounds) for journal, bounds in self._bounds.items()}
        return twin

    def add(self, new: Range) -> None:
        """Put a range in; ranges that touch become one."""
        bounds = self._bounds.setdefault(new.journal, [])
        low, high = bisect_left(bounds, new.first), bisect_right(bounds, new.end)
        kept = ([] if low % 2 else [new.first]) + ([] if high % 2 else [new.end])
        bounds[low:high] = kept

    def __contains__(self, each: ExampleId) -> bool:
        bounds = self._bounds.get(each.journal)
        return bounds is not None and bisect_right(bounds, each.counter) % 2 == 1

    def __iter__(self) -> Iterator[Range]:
        for journal, bounds in self._bounds.items():
            for i in range(0, len(bounds), 2):
                yield Range(journal, bounds[i], bounds[i + 1] - bounds[i])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RangeSet) and set(self) == set(other)

    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        return sum(each.count for each in self)

    def __bool__(self) -> bool:
        return bool(self._bounds)

    def parts(self, wanted: Range) -> Iterator[Range]:
        """The parts of `wanted` that are in the set, in order."""
        bounds = self._bounds.get(wanted.journal, [])
        for i in range(bisect_right(bounds, wanted.first) // 2 * 2, len(bounds), 2):
            first, end = max(bounds[i], wanted.first), min(bounds[i + 1], wanted.end)
            if bounds[i] >= wanted.end:
                return
            if first < end:
                yield Range(wanted.journal, first, end - first)

    def missing(self, wanted: Range) -> Iterator[Range]:
        """The parts of `wanted` that are not in the set, in order."""
        at = wanted.first
        for part in self.parts(wanted):
            if part.first > at:
                yield Range(wanted.journal, at, part.first - at)
            at = part.end
        if at < wanted.end:
            yield Range(wanted.journal, at, wanted.end - at)

    def overlap(self, ranges: Iterable[Range]) -> int:
        """How many ids of `ranges` (disjoint ones) are in the set."""
        return sum(part.count for each in ranges for part in self.parts(each))
