"""How safe the answers are: of the guard alone, of whole verdicts, and of the promise behind the threshold. In counts.

A false negative answer is what must not happen: for mushrooms, a poisonous one called edible. Every count of them stands
beside how many rows were answered at all.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sporeprint.data.dataset import Observations
from sporeprint.safety.calibration import fit_calibration
from sporeprint.safety.novelty_guard import Guard, row_blocks
from sporeprint.safety.risk_control import RiskLevels, candidate_thresholds, choose_threshold
from sporeprint.safety.verdict import NEGATIVE, UNKNOWN, is_familiar
from sporeprint.settings import GuardSettings
from sporeprint.stats import ranking
from sporeprint.stats.intervals import clopper_pearson

Float64 = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int8]
Index = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]

#: Coverages of familiar rows at which the guard is reported.
COVERAGES = (0.9, 0.95, 0.99, 0.995, 0.999)
#: Points of the curve over coverage: from 1 - 10^-0.5 = 68 % to 1 - 10^-3.5 = 99.97 %.
CURVE = tuple(float(1 - 10**-exponent) for exponent in np.linspace(0.5, 3.5, 31))
#: Pairs of groups that are listed.
PAIRS = 10


@dataclass(frozen=True, slots=True)
class PredictionCounts:
    """Answers in counts.

    Attributes:
        rows: all rows.
        answered: rows that got an answer other than unknown.
        correct: answers that are right.
        false_negative: positive rows answered with the negative class.
        negative: rows answered with the negative class.
        positives: positive rows, answered or not.
    """

    rows: int
    answered: int
    correct: int
    false_negative: int
    negative: int
    positives: int


@dataclass(frozen=True, slots=True)
class GroupCounts:
    """The answers for one group that the model, or the guard, did not know."""

    group: int
    counts: PredictionCounts


@dataclass(frozen=True, slots=True)
class ConfusedGroups:
    """Rows of one group that are most like another, when the group itself is not known.

    Attributes:
        group: the group.
        taken_for: the other one.
        rows: rows of the group that are most like the other.
        answered: those of them that pass for known.
        false_negative: those of them that are positive and get the negative answer.
    """

    group: int
    taken_for: int
    rows: int
    answered: int
    false_negative: int


@dataclass(frozen=True, slots=True)
class GuardEvaluation:
    """The guard on groups it does not know, each row with the class of the component it is most like.

    Attributes:
        how: what was left out at a time, in words.
        novelty_auc: chance that a row of an unknown group is more novel than one of a known group.
        at_coverage: coverage -> counts.
        curve: for every coverage in `CURVE` the rows answered and the false negatives among them.
        by_group: at the coverage that is set.
        pairs: the ten groups that are most easily confused with another: by rows with a class at that coverage, then by mean typicality.
    """

    how: str
    novelty_auc: float
    at_coverage: dict[float, PredictionCounts]
    curve: tuple[tuple[float, int, int], ...]
    by_group: tuple[GroupCounts, ...]
    pairs: tuple[ConfusedGroups, ...]


@dataclass(frozen=True, slots=True)
class GroupBound:
    """How many positive groups, each unknown to the model, had a row that was answered negative, and what that can say at most.

    Attributes:
        groups: positive groups: what such an evaluation counts for groups to come.
        wrong: those with a row that was answered negative.
        at_most: upper 95 % bound on the share of such groups (Clopper-Pearson, one-sided).
        answered: groups of either class with any answer, the most answered first.
    """

    groups: int
    wrong: int
    at_most: float
    answered: tuple[GroupCounts, ...]


@dataclass(frozen=True, slots=True)
class PromiseCheck:
    """How often P(positive | answered negative) <= alpha held when rows were split at random.

    Attributes:
        alpha: what was promised.
        delta: ... but for this probability.
        splits: random splits.
        with_threshold: splits in which some threshold controlled the risk on its test rows.
        held: splits in which the promise held on the rest (with no threshold it does: nothing is answered negative).
        worst: largest share of wrong negative answers in any split.
    """

    alpha: float
    delta: float
    splits: int
    with_threshold: int
    held: int
    worst: float


@dataclass(frozen=True, slots=True)
class ModelSafety:
    """The whole verdict of one model.

    Attributes:
        seen: on test rows of known groups.
        independent: different rows, or clusters, that the answered ones of them are worth (`stats.effective_size`); for intervals.
        unseen: on all rows, by models that did not know the row's group; None where that cannot be measured.
        folds: folds of that evaluation.
        by_group: its answers by group.
        promise: see `Promise`; empty unless everything was asked for.
        ignoring_missing: the answers by group where an empty cell is no observation and the classifier, which reads the pattern of empty
            cells, is not asked: what is served for rows whose empty cells are like no training row's.
    """

    seen: PredictionCounts
    independent: float
    unseen: PredictionCounts | None = None
    folds: int = 0
    by_group: tuple[GroupCounts, ...] = ()
    promise: tuple[PromiseCheck, ...] = ()
    ignoring_missing: tuple[GroupCounts, ...] = ()


# --- counting --------------------------------------------------------------------------------------------------------


def count_predictions(y: Labels, verdict: npt.NDArray[np.int8]) -> PredictionCounts:
    """Count the answers to n rows: labels int8 [n], verdicts int8 [n]."""
    answered, negative = verdict != UNKNOWN, verdict == NEGATIVE
    return PredictionCounts(
        rows=len(y),
        answered=int(answered.sum()),
        correct=int((verdict == y).sum()),
        false_negative=int((negative & (y == 1)).sum()),
        negative=int(negative.sum()),
        positives=int(y.sum()),
    )


def count_by_group(y: Labels, verdict: npt.NDArray[np.int8], group: npt.NDArray[np.int64]) -> tuple[GroupCounts, ...]:
    """Count the answers group by group, in the order of the groups' numbers."""
    if not len(y):
        return ()
    order = np.argsort(group, kind="stable")
    names, starts = np.unique(group[order], return_index=True)
    parts = np.split(order, starts[1:])
    return tuple(GroupCounts(int(name), count_predictions(y[rows], verdict[rows])) for name, rows in zip(names, parts, strict=True))


def total(groups: Iterable[GroupCounts]) -> PredictionCounts:
    """The counts of all groups together."""
    names = PredictionCounts.__slots__
    rows = np.array([[getattr(item.counts, name) for name in names] for item in groups], dtype=int).reshape(-1, len(names))
    return PredictionCounts(*rows.sum(axis=0).tolist())


def group_bound(groups: Sequence[GroupCounts]) -> GroupBound:
    """Count in groups: rows of one group are answered alike, so a million of them say little of the next group."""
    positive = [item for item in groups if 2 * item.counts.positives > item.counts.rows]
    wrong = sum(item.counts.false_negative > 0 for item in positive)
    at_most = clopper_pearson(wrong, len(positive), 0.9)[1] if positive else 1.0
    answered = sorted((item for item in groups if item.counts.answered), key=lambda item: (-item.counts.answered, item.group))
    return GroupBound(len(positive), wrong, at_most, tuple(answered))


# --- the guard -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LeftOutNovelty:
    """What a guard says of rows whose group it does not know.

    Attributes:
        p: float64 [n], p-values.
        typicality: float64 [n].
        positive: bool [n], class of the component where the row is most typical.
        taken_for: int64 [n], the group that component is; -1 for a cluster.
    """

    p: Float64
    typicality: Float64
    positive: Flags
    taken_for: npt.NDArray[np.int64]


def leave_one_group_out(guard: Guard, rows: Observations, calibrate: Observations) -> LeftOutNovelty:
    """Look at every row without the component of its own group, calibrated without that group's rows.

    What a component says of a row does not depend on the other components (but for the list of values and the scale of
    numbers, which all rows share and no label enters), so one pass over the rows serves every group that is left out.

    Args:
        guard: one whose components are groups, fitted on rows of all of them.
        rows: n rows with their group.
        calibrate: the rows the guard was calibrated on, with their group.
    """
    if rows.group is None or calibrate.group is None:
        raise ValueError("the rows' groups are needed to leave one out")
    # A group with too few rows may be none of the components: then there is none to be left out.
    place = np.searchsorted(guard.names, rows.group).clip(max=len(guard.names) - 1)
    own = np.where(guard.names[place] == rows.group, place, -1)
    component, typicality = _best_two(guard, rows)
    # Where a row's best component is its own group's, the second best counts.
    second = (component[0] == own).astype(np.intp)
    everyone = np.arange(len(own))
    component, typicality = component[second, everyone], typicality[second, everyone]
    best, value = _best_two(guard, calibrate)
    p = np.empty(len(own), dtype=np.float64)
    order = np.argsort(rows.group, kind="stable")
    for mine in np.split(order, np.flatnonzero(np.diff(rows.group[order])) + 1):
        others = calibrate.group != rows.group[mine[0]]
        reference = np.sort(np.where(best[0] == own[mine[0]], value[1], value[0])[others])
        p[mine] = (np.searchsorted(reference, typicality[mine], side="right") + 1.0) / (len(reference) + 1.0)
    return LeftOutNovelty(p, typicality, guard.positive[component] > 0.5, guard.names[component])


def _best_two(guard: Guard, rows: Observations) -> tuple[Index, Float64]:
    """The two components where each row is most typical, and how typical: [2, n] each."""
    components, values = [], []
    for block in row_blocks(rows.codes.rows):
        typicalities = guard.typicalities(rows.codes.take(block))
        everyone = np.arange(len(typicalities))
        first = typicalities.argmax(axis=1)
        top = typicalities[everyone, first]
        typicalities[everyone, first] = -np.inf
        second = typicalities.argmax(axis=1)
        components.append(np.stack([first, second]))
        values.append(np.stack([top, typicalities[everyone, second]]))
    return np.concatenate(components, axis=1), np.concatenate(values, axis=1)


def guard_evaluation(
    how: str,
    left_out: LeftOutNovelty,
    y: Labels,
    group: npt.NDArray[np.int64],
    familiar: Float64,
    coverage: float,
) -> GuardEvaluation:
    """What a guard is worth on groups it does not know.

    Args:
        how: what was left out at a time, in words.
        left_out: what it says of n rows of unknown groups.
        y: int8 [n].
        group: int64 [n].
        familiar: float64 [m], typicalities of rows of known groups that it was not fitted on.
        coverage: the coverage that is set.
    """
    labels = np.concatenate([np.ones(len(y), dtype=np.int8), np.zeros(len(familiar), dtype=np.int8)])
    ranked = ranking.rank(labels, -np.concatenate([left_out.typicality, familiar]))

    def answers(at: float) -> npt.NDArray[np.int8]:
        return np.where(is_familiar(left_out.p, at), left_out.positive, UNKNOWN).astype(np.int8)

    at_coverage = {at: count_predictions(y, answers(at)) for at in sorted({*COVERAGES, coverage})}
    curve = [(at, counts.answered, counts.false_negative) for at in CURVE for counts in (count_predictions(y, answers(at)),)]
    chosen = answers(coverage)
    return GuardEvaluation(
        how,
        ranking.roc_auc(ranked),
        at_coverage,
        tuple(curve),
        count_by_group(y, chosen, group),
        _pairs(y, chosen, group, left_out),
    )


def _pairs(y: Labels, verdict: npt.NDArray[np.int8], group: npt.NDArray[np.int64], left_out: LeftOutNovelty) -> tuple[ConfusedGroups, ...]:
    named = left_out.taken_for >= 0
    if not named.any():
        return ()
    pairs, which = np.unique(np.stack([group[named], left_out.taken_for[named]]), axis=1, return_inverse=True)
    which = which.ravel()
    rows = np.bincount(which)
    typicality = np.bincount(which, weights=left_out.typicality[named]) / rows
    answered = np.bincount(which, weights=verdict[named] != UNKNOWN).astype(int)
    wrong = np.bincount(which, weights=(verdict[named] == NEGATIVE) & (y[named] == 1)).astype(int)
    order = np.lexsort((pairs[1], pairs[0], -typicality, -answered, -wrong))[:PAIRS]
    return tuple(ConfusedGroups(int(pairs[0, i]), int(pairs[1, i]), int(rows[i]), int(answered[i]), int(wrong[i])) for i in order)


# --- the promise -----------------------------------------------------------------------------------------------------


def simulate_promise(
    raw: Float64,
    y: Labels,
    may_be_negative: Flags,
    sizes: tuple[int, int],
    settings: GuardSettings,
    *,
    alphas: Sequence[float],
    splits: int,
    seed: int,
) -> tuple[PromiseCheck, ...]:
    """Hold the promise to its word: calibrate, choose a threshold, and look at the rows that are left, split after split.

    Of the rows outside the calibration part a threshold part is drawn without replacement; the promise holds if, of all
    of them that are answered negative, at most a share of alpha is positive.

    Args:
        raw: float64 [n], scores of rows that the model was not fitted on.
        y: int8 [n].
        may_be_negative: bool [n], whether the row is familiar and most like rows of the negative class.
        sizes: rows of the calibration part and of the threshold part.
        settings: see `GuardSettings`; its alpha is not used.
        alphas: what is promised, one after the other.
        splits: how many splits.
        seed: of the splits.
    """
    draws = np.random.default_rng(seed)
    orders = [draws.permutation(len(y)) for _ in range(splits)]
    shares_by_alpha = {alpha: list(_split_by_split(raw, y, may_be_negative, sizes, settings, alpha, orders)) for alpha in alphas}
    return tuple(
        PromiseCheck(
            alpha,
            settings.delta,
            splits,
            with_threshold=sum(share is not None for share in shares),
            held=sum(share is None or share <= alpha for share in shares),
            worst=max((share for share in shares if share is not None), default=0.0),
        )
        for alpha, shares in shares_by_alpha.items()
    )


def _split_by_split(
    raw: Float64, y: Labels, may_be_negative: Flags, sizes: tuple[int, int], settings: GuardSettings, alpha: float, orders: Iterable[Index]
) -> Iterable[float | None]:
    """For every split the share of positive rows among the negative answers; None where there is no threshold."""
    for order in orders:
        calibrate, rest = order[: sizes[0]], order[sizes[0] :]
        calibration = fit_calibration(raw[calibrate], y[calibrate], settings.calibration)
        rest = rest[may_be_negative[rest]]
        test = order[sizes[0] : sum(sizes)]
        positives = int(y[test].sum())
        test = test[may_be_negative[test]]
        tested = candidate_thresholds(
            calibration(raw[calibrate][may_be_negative[calibrate]]),
            rows=len(test),
            alpha=alpha,
            delta=settings.delta,
            most=settings.model_copy(update={"alpha": alpha}).largest_threshold,
        )
        levels = RiskLevels(alpha, settings.missed, settings.delta)
        threshold = choose_threshold(calibration(raw[test]), y[test], tested, levels, positives=positives).value
        if threshold is None:
            yield None
        else:
            negative = calibration(raw[rest]) <= threshold
            yield float(y[rest][negative].mean()) if negative.any() else 0.0
