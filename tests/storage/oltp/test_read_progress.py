"""Tests of sporeprint.storage.oltp.read_progress: numbers that are given out in order and committed out of it."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sporeprint.storage.oltp import read_progress as module
from sporeprint.storage.oltp.read_progress import HIGHEST, Gap, ReadProgress


def read_all(seen: ReadProgress, there: set[int], now: int, page: int) -> tuple[ReadProgress, list[int]]:
    """One sync: every open gap, page by page."""
    taken: list[int] = []
    for gap in seen.open():
        first = gap.first
        while True:
            found = sorted(number for number in there if first <= number <= gap.last)[:page]
            last = gap.last if len(found) < page else found[-1]
            seen = seen.read(gap, first, last, found, now)
            taken += found
            if last == gap.last:
                break
            first = last + 1
    return seen, taken


@given(st.integers(0, 10_000), st.integers(1, 9), st.sampled_from([1, 3, 1000]))
def test_every_number_is_read_once_whenever_it_comes(seed: int, page: int, most: int) -> None:
    chance, seen, taken, there = random.Random(seed), ReadProgress(), [], set()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_GAPS", most)
        order = sorted(range(1, 60), key=lambda number: number + chance.randrange(8))  # none later than eight others
        for now, begin in enumerate(range(0, 59, 7)):
            there |= set(order[begin : begin + 7])
            seen, found = read_all(seen, there, now, page)
            taken += found
            seen = seen.settled(now, 3)
        seen, found = read_all(seen, there, 100, page)
    assert set(taken + found) == there
    if most == 1000:
        assert len(taken + found) == len(there)


def test_gaps_by_hand() -> None:
    seen = ReadProgress().read(Gap(1, HIGHEST, 0), 1, HIGHEST, [2, 3, 7], 50)
    assert seen == ReadProgress(7, (Gap(1, 1, 50), Gap(4, 6, 50)))
    assert seen.open() == (Gap(1, 1, 50), Gap(4, 6, 50), Gap(8, HIGHEST, 0))
    later = seen.read(Gap(4, 6, 50), 4, 6, [5], 99)
    assert later.gaps == (Gap(1, 1, 50), Gap(4, 4, 50), Gap(6, 6, 50))
    assert later.settled(149, 100) == later
    assert later.settled(150, 100) == ReadProgress(7)


def test_nothing_read_is_nothing_seen() -> None:
    assert ReadProgress(5).read(Gap(6, HIGHEST, 0), 6, HIGHEST, [], 1) == ReadProgress(5)


def test_a_clock_that_goes_back_keeps_a_gap() -> None:
    assert ReadProgress(9, (Gap(4, 4, 1000),)).settled(0, 100).gaps == (Gap(4, 4, 1000),)


def test_json_and_back() -> None:
    seen = ReadProgress(7, (Gap(1, 1, 50),))
    assert ReadProgress.from_json(seen.to_json()) == seen
    assert ReadProgress.from_json(None) == ReadProgress()


def test_many_gaps_are_taken_together() -> None:
    seen = ReadProgress().read(Gap(1, HIGHEST, 0), 1, HIGHEST, range(2, 10_000, 2), 1)
    assert len(seen.gaps) <= module.MOST_GAPS
    assert all(any(gap.first <= number <= gap.last for gap in seen.gaps) for number in range(1, 9_998, 2))
