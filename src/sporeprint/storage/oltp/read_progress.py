"""How far a table that only grows has been read, where numbers are given out in order but committed out of it.

A database gives a row its number when the row is written, and shows the row when its transaction commits. A number that is not there
below one that is may therefore still come, until every transaction that was open when the higher one was seen has ended.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

#: No transaction of a writer lasts longer than this, microseconds: five times what a connection waits for one answer.
SAFE_LAG_US = 600 * 1_000_000
#: Most gaps that are kept apart; more are taken together, and what was read between them is read again.
MOST_GAPS = 1000
#: No number is higher: what "from here on" ends with.
HIGHEST = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Gap:
    """Numbers that were not there.

    Attributes:
        first: the lowest.
        last: the highest.
        since_us: when that was first seen, by the reader's own clock.
    """

    first: int
    last: int
    since_us: int


@dataclass(frozen=True, slots=True)
class ReadProgress:
    """What has been read: every number up to `high`, but for those in the gaps.

    Attributes:
        high: the highest number read; 0 for none.
        gaps: below it, ascending, not overlapping.
    """

    high: int = 0
    gaps: tuple[Gap, ...] = ()

    def open(self) -> tuple[Gap, ...]:
        """What is to be read: the gaps, and from `high` on."""
        return (*self.gaps, Gap(self.high + 1, HIGHEST, 0))

    def read(self, span: Gap, first: int, last: int, present: Sequence[int], now_us: int) -> Self:
        """After the numbers from `first` to `last` of an open gap were read, and those found were there.

        Args:
            span: one of `open()`, or what earlier reads left of it.
            first: the lowest number that was asked for.
            last: the highest that has been answered for.
            present: the numbers that were there, ascending.
            now_us: when the reading began.
        """
        since = span.since_us if span.last <= self.high else now_us
        missing = [Gap(low, high, since) for low, high in _between(first, last, present)]
        if span.last <= self.high:
            gaps = [*_outside(self.gaps, first, last), *missing]
            return replace(self, gaps=_limited(sorted(gaps, key=lambda gap: gap.first)))
        if not present:
            return self
        high = present[-1]
        return replace(self, high=high, gaps=_limited([*self.gaps, *(gap for gap in missing if gap.first < high)]))

    def settled(self, now_us: int, lag_us: int = SAFE_LAG_US) -> Self:
        """Without the gaps that nothing comes into any more: they were read after the lag had passed.

        Args:
            now_us: when the reading began. Clock skew makes a gap stay longer, never shorter.
            lag_us: how long a transaction can last.
        """
        return replace(self, gaps=tuple(gap for gap in self.gaps if now_us - gap.since_us < lag_us))

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {"high": self.high, "gaps": [[gap.first, gap.last, gap.since_us] for gap in self.gaps]}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any] | None) -> Self:
        """Read what `to_json` gave; nothing gives a start."""
        return cls() if raw is None else cls(raw["high"], tuple(Gap(*gap) for gap in raw["gaps"]))


def _between(first: int, last: int, present: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The runs of numbers from first to last that are not found."""
    following = first
    for number in present:
        if number > following:
            yield following, number - 1
        following = number + 1
    if following <= last:
        yield following, last


def _outside(gaps: Sequence[Gap], first: int, last: int) -> Iterator[Gap]:
    """What is left of the gaps without the numbers from first to last."""
    for gap in gaps:
        if gap.first < first:
            yield Gap(gap.first, min(gap.last, first - 1), gap.since_us)
        if gap.last > last:
            yield Gap(max(gap.first, last + 1), gap.last, gap.since_us)


def _limited(gaps: list[Gap]) -> tuple[Gap, ...]:
    """Not more gaps than `MOST_GAPS`: neighbours are taken together, the nearest first."""
    if len(gaps) <= MOST_GAPS:
        return tuple(gaps)
    apart = [right.first - left.last for left, right in itertools.pairwise(gaps)]
    # Half as many, so that not every page takes some together.
    joined = set(sorted(range(len(apart)), key=apart.__getitem__)[: len(gaps) - MOST_GAPS // 2])
    merged = [gaps[0]]
    for place, gap in enumerate(gaps[1:]):
        if place in joined:
            merged[-1] = Gap(merged[-1].first, gap.last, max(merged[-1].since_us, gap.since_us))
        else:
            merged.append(gap)
    return tuple(merged)
