"""Sets of ids as ranges, against plain sets."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from edgemeta.journal.ids import ExampleId, Range, RangeSet

JOURNALS = (b"a" * 16, b"b" * 16)
RANGES = st.lists(st.builds(Range, st.sampled_from(JOURNALS), st.integers(1, 30), st.integers(1, 8)), max_size=12)


def plain(ranges):
    return {each for part in ranges for each in part.ids()}


@given(RANGES, RANGES)
def test_a_set_of_ranges_is_a_set(ranges, others):
    ours, wanted = RangeSet(ranges), plain(ranges)
    assert plain(ours) == wanted and len(ours) == len(wanted) and bool(ours) == bool(wanted)
    for journal in JOURNALS:
        for counter in range(1, 45):
            each = ExampleId(journal, counter)
            assert (each in ours) == (each in wanted)
    for other in others:
        assert plain(ours.parts(other)) == wanted & plain([other])
        assert plain(ours.missing(other)) == plain([other]) - wanted
    assert ours.overlap(RangeSet(others)) == len(wanted & plain(others))
    assert RangeSet.of_ids(wanted) == ours


@given(RANGES)
def test_ranges_never_touch(ranges):
    for journal in JOURNALS:
        parts = [part for part in RangeSet(ranges) if part.journal == journal]
        assert all(a.end < b.first for a, b in itertools.pairwise(parts))
