"""What an analysis reads: counts and sums by arm. Their size does not grow with the units, and the order of the units is lost in them.

A unit counts once, with its first answer and its first outcome; who makes the totals sees to that. Answers are 0 (negative), 1 (positive)
and 2 (unknown), truths 0 and 1, as in `verdict`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from sporeprint.errors import DataError
from sporeprint.stats.confidence_sequence import Moments

ANSWERS = 3
NOTHING = Moments()
#: Units by answer; labelled ones by answer and truth.
ByAnswer = tuple[int, ...]
ByAnswerAndTruth = tuple[tuple[int, int], ...]


def _check_counts(answers: Iterable[int], labelled: Iterable[int], *failed: int) -> None:
    for units, labels in zip(answers, labelled, strict=True):
        if not 0 <= labels <= units:
            raise DataError(f"{labels} labelled units of {units} with that answer: a unit counts once, with its first outcome")
    if min(failed) < 0:
        raise DataError(f"{min(failed)} failed units: a count is 0 or more")


@dataclass(frozen=True, slots=True)
class ArmTotals:
    """The units of one arm. Adding two is taking their units together.

    Attributes:
        answers: [3], units by answer.
        labelled: [3][2], those whose truth is known, by answer and truth.
        failed: units that got no answer, because of an error.
        latency: of the answers, in milliseconds.
        slow: answered units whose answer took longer than the test's limit.
    """

    answers: ByAnswer = (0, 0, 0)
    labelled: ByAnswerAndTruth = ((0, 0), (0, 0), (0, 0))
    failed: int = 0
    latency: Moments = NOTHING
    slow: int = 0

    def __post_init__(self) -> None:
        _check_counts(self.answers, [sum(truths) for truths in self.labelled], self.failed, self.slow)

    @classmethod
    def of(cls, cells: Iterable[tuple[int, int | None, int]], failed: int = 0, latency: Moments | None = None, slow: int = 0) -> Self:
        """From counts by answer and truth, as a GROUP BY gives them.

        Args:
            cells: (answer, truth or None where it is not known, units).
            failed: units without an answer.
            latency: in milliseconds.
            slow: answered units beyond the limit.
        """
        answers, labelled = [0] * ANSWERS, [[0, 0] for _ in range(ANSWERS)]
        for answer, truth, units in cells:
            answers[answer] += units
            if truth is not None:
                labelled[answer][truth] += units
        return cls(tuple(answers), tuple((no, yes) for no, yes in labelled), failed, latency or NOTHING, slow)

    def __add__(self, other: Self) -> Self:
        return type(self)(
            tuple(map(sum, zip(self.answers, other.answers, strict=True))),
            tuple((a + c, b + d) for (a, b), (c, d) in zip(self.labelled, other.labelled, strict=True)),
            self.failed + other.failed,
            self.latency + other.latency,
            self.slow + other.slow,
        )

    @property
    def units(self) -> int:
        """All units, with or without an answer."""
        return sum(self.answers) + self.failed

    @property
    def labels(self) -> int:
        """Units whose truth is known."""
        return sum(map(sum, self.labelled))


NO_UNITS = ArmTotals()


@dataclass(frozen=True, slots=True)
class SplitTotals:
    """The arms of a split test.

    Attributes:
        a: units of arm A.
        b: units of arm B.
    """

    a: ArmTotals = NO_UNITS
    b: ArmTotals = NO_UNITS

    def __add__(self, other: Self) -> Self:
        return type(self)(self.a + other.a, self.b + other.b)

    @property
    def units(self) -> int:
        """All units."""
        return self.a.units + self.b.units

    @property
    def labels(self) -> int:
        """Units whose truth is known."""
        return self.a.labels + self.b.labels


@dataclass(frozen=True, slots=True)
class ShadowTotals:
    """The requests of a shadow test, all of them scored by both versions. Adding two is taking their requests together.

    Attributes:
        answers: [9], requests by both answers: 3 times A's and B's.
        labelled: [9][2], those whose truth is known, also by truth. Agreements need no label, and none is used.
        failed_a: requests on which A alone failed.
        failed_b: requests on which B alone failed.
        latency_a: of A's answers, in milliseconds.
        latency_b: of B's answers.
        slow_a: requests that A alone answered more slowly than the test's limit.
        slow_b: requests that B alone did.
    """

    answers: ByAnswer = (0,) * ANSWERS**2
    labelled: ByAnswerAndTruth = ((0, 0),) * ANSWERS**2
    failed_a: int = 0
    failed_b: int = 0
    latency_a: Moments = NOTHING
    latency_b: Moments = NOTHING
    slow_a: int = 0
    slow_b: int = 0

    def __post_init__(self) -> None:
        _check_counts(self.answers, [sum(truths) for truths in self.labelled], self.failed_a, self.failed_b, self.slow_a, self.slow_b)

    @classmethod
    def of(
        cls,
        cells: Iterable[tuple[int, int, int | None, int]],
        failed: tuple[int, int] = (0, 0),
        latency: tuple[Moments, Moments] = (NOTHING, NOTHING),
        slow: tuple[int, int] = (0, 0),
    ) -> Self:
        """From counts by both answers and truth, as a GROUP BY gives them.

        Args:
            cells: (A's answer, B's answer, truth or None where it is not known, requests).
            failed: requests on which A alone failed, and B alone.
            latency: A's and B's, in milliseconds.
            slow: requests that A alone answered too slowly, and B alone.
        """
        answers, labelled = [0] * ANSWERS**2, [[0, 0] for _ in range(ANSWERS**2)]
        for answer_a, answer_b, truth, units in cells:
            pair = ANSWERS * answer_a + answer_b
            answers[pair] += units
            if truth is not None:
                labelled[pair][truth] += units
        return cls(tuple(answers), tuple((no, yes) for no, yes in labelled), *failed, *latency, *slow)

    def __add__(self, other: Self) -> Self:
        return type(self)(
            tuple(map(sum, zip(self.answers, other.answers, strict=True))),
            tuple((a + c, b + d) for (a, b), (c, d) in zip(self.labelled, other.labelled, strict=True)),
            self.failed_a + other.failed_a,
            self.failed_b + other.failed_b,
            self.latency_a + other.latency_a,
            self.latency_b + other.latency_b,
            self.slow_a + other.slow_a,
            self.slow_b + other.slow_b,
        )

    @property
    def units(self) -> int:
        """All requests."""
        return sum(self.answers) + self.failed_a + self.failed_b

    @property
    def disagreements(self) -> int:
        """Requests with two answers that are not the same."""
        return sum(units for pair, units in enumerate(self.answers) if differ(pair))

    @property
    def labels(self) -> int:
        """Disagreements whose truth is known."""
        return sum(sum(truths) for pair, truths in enumerate(self.labelled) if differ(pair))


Totals = SplitTotals | ShadowTotals


def differ(pair: int) -> bool:
    """Whether the two answers of a pair (3 times A's and B's) are not the same."""
    return pair // ANSWERS != pair % ANSWERS
