"""How good the answers are, from rows whose outcome is known: with intervals, and with what is not known yet said beside it.

A row that comes again says nothing new: of equal rows one counts, so that what is counted is independent.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from sporeprint.common.counts import counted
from sporeprint.monitoring.data_profile import of_numbers
from sporeprint.safety.verdict import HALF, NEGATIVE, POSITIVE, UNKNOWN
from sporeprint.stats import confidence_sequence, eprocess
from sporeprint.stats.histogram import Float64, Histogram, common
from sporeprint.stats.intervals import UNDEFINED, Estimate, proportion, roc_auc
from sporeprint.stats.special import logsumexp

Int64 = npt.NDArray[np.int64]

#: Bins of the reliability curve, of equal width.
BINS = 10
CONFIDENCE = 0.95
#: Labelled rows below which nothing is estimated.
LEAST_ROWS = 30


def _empty_counts() -> Int64:
    return np.zeros((3, 2, 2), dtype=np.int64)


def _empty_bins() -> Float64:
    return np.zeros((BINS, 3))


@dataclass(frozen=True)
class Tally:
    """What performance is made from. Tallies of parts add up.

    Attributes:
        answered: int64 [3], answers by verdict (negative, positive, unknown), with an outcome or without.
        outcomes: int64 [3], those of them with an outcome and a probability.
        counts: int64 [3, 2, 2], different rows with an outcome by verdict, likelier class, and class.
        bins: float64 [10, 3], by probability: rows, sum of probabilities, positives; of different rows with an outcome.
        scores: of the rows of each class, negative and positive, how often each probability occurs.
        squared: sum of squared errors of the probabilities.
        invalid: answers with an outcome whose probability is no number.
    """

    answered: Int64 = field(default_factory=lambda: np.zeros(3, dtype=np.int64))
    outcomes: Int64 = field(default_factory=lambda: np.zeros(3, dtype=np.int64))
    counts: Int64 = field(default_factory=_empty_counts)
    bins: Float64 = field(default_factory=_empty_bins)
    scores: tuple[Histogram, Histogram] = field(default_factory=lambda: (Histogram.empty(), Histogram.empty()))
    squared: float = 0.0
    invalid: int = 0

    @classmethod
    def of(
        cls, probability: Float64, verdict: npt.NDArray[np.int8], y: npt.NDArray[np.int8], counted: npt.NDArray[np.bool_] | None = None
    ) -> Self:
        """Count answers.

        Args:
            probability: P(positive), [n]; NaN where there is none.
            verdict: NEGATIVE, POSITIVE or UNKNOWN, [n].
            y: 1 for the positive class, 0 for the other, -1 where the outcome is not known, [n].
            counted: bool [n], one of those with an outcome whose rows are equal, see `one_of_each`; None: all rows differ.
        """
        answered = np.bincount(verdict, minlength=3).astype(np.int64)
        known = y >= 0
        usable = known & np.isfinite(probability)
        invalid = int(np.count_nonzero(known) - np.count_nonzero(usable))
        outcomes = np.bincount(verdict[usable], minlength=3).astype(np.int64)
        usable = usable if counted is None else usable & counted
        p, v, truth = probability[usable], verdict[usable].astype(np.intp), y[usable].astype(np.intp)
        cells = np.bincount(4 * v + 2 * (p > HALF) + truth, minlength=12).astype(np.int64).reshape(3, 2, 2)
        place = np.clip((p * BINS).astype(np.intp), 0, BINS - 1)
        sums = [np.bincount(place, weights=weights, minlength=BINS) for weights in (np.ones_like(p), p, truth.astype(np.float64))]
        bins = np.stack(sums, axis=1).astype(np.float64)
        scores = of_numbers(p[truth == 0]).histogram, of_numbers(p[truth == 1]).histogram
        return cls(answered, outcomes, cells, bins, scores, float(((p - truth) ** 2).sum()), invalid)

    def __add__(self, other: Self) -> "Tally":
        return Tally(
            self.answered + other.answered,
            self.outcomes + other.outcomes,
            self.counts + other.counts,
            self.bins + other.bins,
            (self.scores[0].add(other.scores[0]), self.scores[1].add(other.scores[1])),
            self.squared + other.squared,
            self.invalid + other.invalid,
        )

    @property
    def labelled(self) -> int:
        """Answers with an outcome and a probability."""
        return int(self.outcomes.sum())

    @property
    def rows(self) -> int:
        """Different rows among them."""
        return int(self.counts.sum())


def one_of_each(row: npt.NDArray[np.integer[Any]], known: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The first answer with an outcome of each different row: bool [n].

    Args:
        row: a number that equal rows share, [n].
        known: whether there is an outcome, [n].
    """
    counted = np.zeros(len(row), dtype=np.bool_)
    places = np.flatnonzero(known)
    counted[places[np.unique(row[places], return_index=True)[1]]] = True
    return counted


class PromiseStatus(StrEnum):
    """What is known of the promise that at most a share alpha of the negative answers is wrong."""

    BROKEN = "broken"
    KEPT = "kept"
    OPEN = "not decided yet"
    NOTHING = "no outcome yet"


@dataclass(frozen=True)
class Performance:
    """How good the answers were, among different rows with an outcome.

    Attributes:
        labelled: answers with an outcome.
        rows: different rows among them: what all below is counted by.
        accuracy: share of right answers among those that say a class.
        likelier: share of rows whose likelier class is right, answered or not.
        unknown: share of answers that say neither class, among all rows, with an outcome or without.
        roc_auc: of the probabilities.
        brier: mean squared error of the probabilities; NaN without rows.
        gap: positives minus probabilities, a row on average: what calibration is off in the large.
        false_negatives: of the negative answers, the earlier ones too, the share that was positive, with a confidence
            sequence.
        log_e: evidence, as a logarithm, that the share is above alpha; it ever reaches ln(1 / delta) with probability delta at most.
        promise: what that says of the promise.
        reliability: for each bin of probabilities with rows in it: rows, mean probability, share of positives with its interval.
        not_computed: what could not be computed -> why.
        notes: what is odd, in words.
    """

    labelled: int
    rows: int
    accuracy: Estimate
    likelier: Estimate
    unknown: Estimate
    roc_auc: Estimate
    brier: float
    gap: Estimate
    false_negatives: Estimate
    log_e: float
    promise: PromiseStatus
    reliability: tuple[tuple[int, float, Estimate], ...]
    not_computed: Mapping[str, str]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; what is undefined is None."""
        return {**asdict(self), "promise": self.promise.value}


def realized_performance(
    tally: Tally,
    *,
    alpha: float,
    delta: float,
    earlier: tuple[int, int] = (0, 0),
    independent: float = 1.0,
    confidence: float = CONFIDENCE,
    least: int = LEAST_ROWS,
) -> Performance:
    """Estimate how good the answers are.

    Args:
        tally: the rows.
        alpha: promised: at most this share of the negative answers is wrong ...
        delta: ... and the alarm that it is not is false with this probability at most, however often one looks.
        earlier: negative answers with an outcome before these rows, and the wrong ones among them: the bound is on all of them.
        independent: how many independent answers an answer is worth, where rows repeat, see `stats.effective_size`.
        confidence: level of the intervals.
        least: different rows with an outcome below which nothing but the promise is estimated.
    """
    labelled, counts = tally.rows, tally.counts
    by_verdict = counts.sum(axis=1)  # verdict x class
    right, answered = int(by_verdict[NEGATIVE, 0] + by_verdict[POSITIVE, 1]), int(by_verdict[[NEGATIVE, POSITIVE]].sum())
    missing: dict[str, str] = {}
    enough = labelled >= least
    if not enough:
        rows = "no row" if labelled == 0 else "1 row" if labelled == 1 else f"{labelled} different rows"
        missing["performance"] = f"{rows} with an outcome; at least {least} are needed"
    by_class = counts.sum(axis=(0, 1))
    if enough and by_class.min() == 0:
        missing["roc_auc"] = "all outcomes are of one class; telling two apart cannot be measured"
    if enough and answered == 0:
        missing["accuracy"] = "no answer with an outcome says a class"
    wrong, negative_outcomes = int(by_verdict[NEGATIVE, 1]) + earlier[1], int(by_verdict[NEGATIVE].sum()) + earlier[0]
    log_e = log_e_above(wrong, negative_outcomes, alpha)
    bound = confidence_sequence.share(wrong, negative_outcomes, 1 - delta) if negative_outcomes else UNDEFINED
    return Performance(
        labelled=tally.labelled,
        rows=labelled,
        accuracy=proportion(right, answered, confidence) if enough else UNDEFINED,
        likelier=proportion(int(counts[:, 0, 0].sum() + counts[:, 1, 1].sum()), labelled, confidence) if enough else UNDEFINED,
        unknown=proportion(tally.answered[UNKNOWN] * independent, tally.answered.sum() * independent, confidence),
        roc_auc=_roc_auc(tally, confidence) if enough and by_class.min() else UNDEFINED,
        brier=tally.squared / labelled if enough else float("nan"),
        gap=_gap(tally, confidence) if enough else UNDEFINED,
        false_negatives=bound,
        log_e=log_e,
        promise=_promise(log_e, bound, negative_outcomes, alpha, delta),
        reliability=_reliability(tally, confidence) if enough else (),
        not_computed=missing,
        notes=tuple(_notes(tally)),
    )


def log_e_above(wrong: int, answers: int, alpha: float) -> float:
    """Logarithm of the e-value against "at most a share alpha is wrong". 0 while not more is wrong than that.

    A mixture of likelihood ratios of larger shares, whose odds are 1.25 to 500 times those of alpha: shares below alpha, on which a
    mixture over all shares spends most of its weight, are no alternatives.
    """
    if wrong <= alpha * answers:
        return 0.0
    shares = alpha * ABOVE / (1 - alpha + alpha * ABOVE)
    ratios = [eprocess.log_e_simple(share, wrong, answers, alpha) for share in shares.tolist()]
    return float(logsumexp(np.log(ABOVE_WEIGHTS) + np.array(ratios, dtype=np.float64)))


#: How many times larger the odds are that the mixture expects, two in each doubling; smaller ones with more weight.
ABOVE = np.geomspace(1.25, 500.0, 18)
ABOVE_WEIGHTS = ABOVE**-0.5 / (ABOVE**-0.5).sum()


def _promise(log_e: float, bound: Estimate, negative_outcomes: int, alpha: float, delta: float) -> PromiseStatus:
    if not negative_outcomes:
        return PromiseStatus.NOTHING
    if log_e >= -np.log(delta):
        return PromiseStatus.BROKEN
    return PromiseStatus.KEPT if bound.high <= alpha else PromiseStatus.OPEN


def _roc_auc(tally: Tally, confidence: float) -> Estimate:
    _, negative, positive = common(*tally.scores)
    below = np.cumsum(negative) - negative / 2
    area = float(positive @ below) / (int(positive.sum()) * int(negative.sum()))
    return roc_auc(area, int(positive.sum()), int(negative.sum()), confidence)


def _gap(tally: Tally, confidence: float) -> Estimate:
    rows, expected, positives = tally.bins.sum(axis=0)
    share = proportion(positives, rows, confidence)
    mean = expected / rows
    return Estimate(share.value - mean, share.low - mean, share.high - mean)


def _reliability(tally: Tally, confidence: float) -> tuple[tuple[int, float, Estimate], ...]:
    filled = [row for row in tally.bins.tolist() if row[0]]
    return tuple((int(rows), expected / rows, proportion(positives, rows, confidence)) for rows, expected, positives in filled)


def _notes(tally: Tally) -> list[str]:
    notes = []
    if tally.invalid:
        notes.append(counted(tally.invalid, "row has", "rows have") + " an outcome, but no probability: left out")
    if tally.rows < tally.labelled:
        notes.append(f"the {tally.labelled:,} outcomes are of {tally.rows:,} different rows: each row counts once")
    shares = [count / rows for count, rows in zip(tally.outcomes.tolist(), tally.answered.tolist(), strict=True) if rows >= LEAST_ROWS]
    if shares and max(shares) > 0 and min(shares) < max(shares) / 2:
        notes.append(
            "outcomes came more than twice as often for one answer than for another: accuracy and ROC AUC are those of the rows with an "
            "outcome, not of all rows"
        )
    return notes


# --- windows whose outcomes are still coming -----------------------------------------------------------------------------


@dataclass(frozen=True)
class OutcomeWindow:
    """The answers of one window, by the time of the answer.

    Attributes:
        begin_s: its begin, in seconds since 1970.
        end_s: its end, not part of it.
        tally: its rows.
    """

    begin_s: float
    end_s: float
    tally: Tally


@dataclass(frozen=True)
class Realised:
    """A window, and how good its answers were.

    Attributes:
        window: the window.
        mature: whether the outcomes that are to come have had the time to.
        why: why, or why not, in words.
        arrived: share of the answers that have an outcome; NaN without answers.
        performance: of the rows with an outcome; of an immature window it is that of the first ones, which may be other than the rest.
    """

    window: OutcomeWindow
    mature: bool
    why: str
    arrived: float
    performance: Performance


def realised(
    windows: tuple[OutcomeWindow, ...], *, now_s: float, wait_s: float, arrived: float, alpha: float, delta: float
) -> tuple[Realised, ...]:
    """How good the answers of each window were, in the order of time.

    Args:
        windows: they may not overlap.
        now_s: what time it is.
        wait_s: how long outcomes take, at most: then a window is mature however few it has.
        arrived: share of outcomes with which it is mature before.
        alpha: see `realized_performance`.
        delta: see `realized_performance`.

    Raises:
        ValueError: if windows overlap: a row would count twice.
    """
    windows_realised: list[Realised] = []
    ordered = sorted(windows, key=lambda window: window.begin_s)
    for before, after in pairwise(ordered):
        if after.begin_s < before.end_s:
            raise ValueError(f"windows overlap: one ends at {before.end_s:.0f}, the next begins at {after.begin_s:.0f}")
    negative_outcomes, wrong = 0, 0
    for window in ordered:
        answers = int(window.tally.answered.sum())
        share = window.tally.labelled / answers if answers else float("nan")
        mature, why = maturity(window, share, now_s, wait_s, arrived)
        measured = realized_performance(window.tally, alpha=alpha, delta=delta, earlier=(negative_outcomes, wrong))
        outcomes = window.tally.counts[NEGATIVE].sum(axis=0)
        negative_outcomes, wrong = negative_outcomes + int(outcomes.sum()), wrong + int(outcomes[1])
        windows_realised.append(Realised(window, mature, why, share, measured))
    return tuple(windows_realised)


def maturity(window: OutcomeWindow, share: float, now_s: float, wait_s: float, arrived: float) -> tuple[bool, str]:
    """Whether the outcomes that are to come have had the time to, and why.

    Args:
        window: the window.
        share: of its answers that have an outcome.
        now_s: what time it is.
        wait_s: how long outcomes take, at most; infinite where nobody knows.
        arrived: share of outcomes with which it is mature before.
    """
    if window.end_s > now_s:
        return False, "it ends in the future: a clock is wrong, or it is not over yet"
    if share >= arrived:
        return True, f"{share:.0%} of the outcomes are here"
    if now_s - window.end_s >= wait_s:
        return True, "outcomes have had the time they take"
    return False, "outcomes may still come"
