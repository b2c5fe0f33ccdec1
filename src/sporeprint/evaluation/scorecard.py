"""How good a model is, with intervals: on rows of groups it knows, and on whole groups it never saw.

Rows of known groups count as independent, but for copies of a row and rows of a declared cluster: those count as often as they are
worth (`stats.effective_size`). Rows of groups a model never saw do not: what they have in common is that the model never met their
group, so whole groups are resampled.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from sporeprint.evaluation.arguments import Index, Labels, Scores, check_levels, checked_rows, indexed_groups
from sporeprint.evaluation.safety_scorecard import ModelSafety
from sporeprint.stats import bootstrap, cluster_ranking, intervals, metrics, ranking
from sporeprint.stats.effective_size import share_of_size
from sporeprint.stats.group_totals import GroupTotals
from sporeprint.stats.intervals import Estimate

Float64 = npt.NDArray[np.float64]

#: What is measured of a model, in the order of reports.
METRICS = ("accuracy", "precision", "recall", "f1", "mcc", "roc_auc", "pr_auc", "brier", "log_loss", "ece")
#: Metrics of which less is better.
LOSSES = frozenset({"brier", "log_loss", "ece"})
#: Most points of a curve.
POINTS = 400
#: Replicates that differ by less than this differ by rounding.
SPREAD = 1e-12


# --- results ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ConfusionMatrix:
    """Answers by class, in rows: `fn` counts positives answered negative (for mushrooms: false edible)."""

    tn: int
    fp: int
    fn: int
    tp: int


@dataclass(frozen=True, slots=True)
class Curve:
    """Points of a curve, x rising, at most 400, both ends kept; empty where rows of one class have no such curve."""

    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Reliability:
    """The non-empty ones of 15 equal-width bins of the score, from low to high.

    Attributes:
        mean_score: mean P(positive) of the bin's rows.
        observed: share of positives among them.
        count: rows.
    """

    mean_score: tuple[float, ...]
    observed: tuple[float, ...]
    count: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ScoreCard:
    """Everything that is measured of one model on one set of rows.

    Attributes:
        rows: number of rows.
        positives: rows of the positive class.
        metrics: by name (`METRICS`), with interval; NaN where undefined: recall without positives, precision without positive
            answers, F1 without either, MCC, ROC AUC and PR AUC of rows of one class.
        confusion: answers at the threshold.
        roc: false positive rate -> true positive rate.
        pr: recall -> precision.
        reliability: of the scores as probabilities.
        units: what the intervals count: different rows, declared clusters, or whole groups.
    """

    rows: int
    positives: int
    metrics: dict[str, Estimate]
    confusion: ConfusionMatrix
    roc: Curve
    pr: Curve
    reliability: Reliability
    units: int


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Why something could not be measured, in words for a report."""

    reason: str


@dataclass(frozen=True, slots=True)
class GroupErrors:
    """Errors among one group's rows, by a model that never saw the group."""

    group: int
    rows: int
    positives: int
    errors: int
    false_negative: int


@dataclass(frozen=True, slots=True)
class ModelEvaluation:
    """One model on seen and on unseen groups.

    Attributes:
        seen: its scores, on rows of known groups.
        unseen: its scores, on groups it never saw.
        by_group: errors group by group; they belong to `unseen`, and are empty without it.
        safety: its answers, with "unknown" among them.
    """

    seen: ScoreCard
    unseen: ScoreCard | Unavailable
    by_group: tuple[GroupErrors, ...]
    safety: ModelSafety


# --- one model -------------------------------------------------------------------------------------------------------


def score_rows(
    y: Labels,
    p: Scores,
    units: npt.NDArray[np.integer] | None = None,
    *,
    threshold: float = 0.5,
    confidence: float,
    replicates: int,
    seed: int,
) -> ScoreCard:
    """Measure a model on independent rows, or on rows of independent units.

    Intervals: Clopper-Pearson for accuracy, precision, recall and, mapped, F1; Dirichlet posterior for MCC; Newcombe's for ROC
    AUC; Boyd's binomial for PR AUC; Bayesian bootstrap with one further row for Brier score, log loss and ECE. None of them
    shrinks to a point when the model makes no error. The methods' sources: `stats.intervals`, `stats.bootstrap`.

    Args:
        y: 1 for the positive class, else 0 [n].
        p: P(positive) [n], from 0 to 1.
        units: unit of each row [n]: copies of a row, or rows of one patient, share one; None: each row is its own. Metrics are of the
            rows, their intervals count units.
        threshold: a score above it is a positive answer.
        confidence: level of the intervals, between 0 and 1.
        replicates: bootstrap replicates.
        seed: of everything drawn. The same rows in another order give the same result.

    Raises:
        ValueError: if an argument is out of its range, or lengths differ.
    """
    check_levels(confidence, replicates)
    y, p = checked_rows(y, p, threshold)
    # One order for all, so that the draws of the bootstrap meet the same rows.
    order = np.lexsort((y, -p))
    y, p = y[order], p[order]
    unit = None if units is None else indexed_groups(units, len(y), least=1)[1][order]
    ranked, counts = ranking.rank(y, p), metrics.confusion(y, p, threshold)
    estimates = {
        **_from_counts(y, p, unit, threshold, confidence, seed),
        **_from_ranking(ranked, _Shares.of(unit, y == 1), confidence),
        **_from_probabilities(y, p, unit, confidence, replicates, seed),
    }
    return _card(y, p, ranked, counts, {name: estimates[name] for name in METRICS}, len(y) if unit is None else int(unit.max()) + 1)


def score_groups(
    y: Labels,
    p: Scores,
    groups: npt.NDArray[np.int64],
    *,
    threshold: float = 0.5,
    confidence: float,
    replicates: int,
    seed: int,
) -> ScoreCard:
    """Measure a model on whole groups it never saw, with intervals for groups to come.

    Every interval comes from one set of cluster-bootstrap replicates: as many groups as there are, drawn with replacement, each
    with all its rows (Davison & Hinkley 1997, section 3.8), read at expanded percentiles (Hesterberg 2015). Where the groups do
    not differ at all in a metric, the interval allows for groups not met (`bootstrap.no_spread`).

    Args:
        y: 1 for the positive class, else 0 [n].
        p: P(positive) [n], from 0 to 1, by models that did not see the row's group.
        groups: group of each row [n], at least 2 different ones.
        threshold: a score above it is a positive answer.
        confidence: level of the intervals, between 0 and 1.
        replicates: bootstrap replicates.
        seed: of the draws; the same for every model, so that they are measured on the same replicates.

    Raises:
        ValueError: if an argument is out of its range, or lengths differ.
    """
    check_levels(confidence, replicates)
    y, p = checked_rows(y, p, threshold)
    _, group = indexed_groups(groups, len(y))
    sums = GroupTotals.of(y, p, group, threshold)
    ranked, counts = ranking.rank(y, p), sums.counts.sum(axis=0)
    drawn = _replicates(sums, cluster_ranking.rank(y, p, group, sums.groups), replicates, seed)
    estimates = _for_groups(sums, ranked, p, drawn, confidence)
    return _card(y, p, ranked, counts, {name: estimates[name] for name in METRICS}, sums.groups)


def errors_by_group(y: Labels, p: Scores, groups: npt.NDArray[np.int64], *, threshold: float = 0.5) -> tuple[GroupErrors, ...]:
    """Count each group's errors, in the order of the groups' numbers.

    Raises:
        ValueError: if an argument is out of its range, or lengths differ.
    """
    y, p = checked_rows(y, p, threshold)
    names, group = indexed_groups(groups, len(y), least=1)
    counts = GroupTotals.of(y, p, group, threshold).counts.astype(np.int64)
    return tuple(
        GroupErrors(group=name, rows=tn + fp + fn + tp, positives=fn + tp, errors=fp + fn, false_negative=fn)
        for name, (tn, fp, fn, tp) in zip(names.tolist(), counts.tolist(), strict=True)
    )


def _card(y: Labels, p: Scores, ranked: ranking.Ranking, counts: metrics.Counts, estimates: dict[str, Estimate], units: int) -> ScoreCard:
    return ScoreCard(
        rows=len(y),
        positives=ranked.positives,
        metrics=estimates,
        confusion=ConfusionMatrix(*(int(count) for count in counts)),
        roc=_curve(*ranking.roc_points(ranked)),
        pr=_curve(*ranking.pr_points(ranked)),
        reliability=_reliability(y, p),
        units=units,
    )


def _curve(x: Float64, y: Float64) -> Curve:
    x, y = ranking.thin(x, y, POINTS)
    return Curve(tuple(x.tolist()), tuple(y.tolist()))


def _reliability(y: Labels, p: Scores) -> Reliability:
    number = metrics.bins(p)
    count = np.bincount(number, minlength=metrics.BINS)
    filled = count > 0
    scores = np.bincount(number, weights=p, minlength=metrics.BINS)[filled] / count[filled]
    observed = np.bincount(number, weights=y, minlength=metrics.BINS)[filled] / count[filled]
    return Reliability(tuple(scores.tolist()), tuple(observed.tolist()), tuple(count[filled].tolist()))


# --- intervals for independent rows, or units of rows ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Shares:
    """How much rows are worth that share units, as a share of their number: all, those of the positive class, and the others."""

    rows: float
    positives: float
    negatives: float

    @classmethod
    def of(cls, unit: Index | None, positive: npt.NDArray[np.bool_]) -> Self:
        return cls(share_of_size(unit), share_of_size(unit, positive), share_of_size(unit, ~positive))

    @property
    def least(self) -> float:
        """The least of them."""
        return min(self.rows, self.positives, self.negatives)


def _from_counts(y: Labels, p: Scores, unit: Index | None, threshold: float, confidence: float, seed: int) -> dict[str, Estimate]:
    positive, answered = y == 1, p > threshold
    counts, shares = metrics.confusion(y, p, threshold), _Shares.of(unit, positive)
    tn, fp, fn, tp = (int(count) for count in counts)
    called, either = share_of_size(unit, answered), share_of_size(unit, positive | answered)
    return {
        "accuracy": intervals.proportion((tn + tp) * shares.rows, len(y) * shares.rows, confidence),
        "precision": intervals.proportion(tp * called, (tp + fp) * called, confidence),
        "recall": intervals.proportion(tp * shares.positives, (tp + fn) * shares.positives, confidence),
        "f1": intervals.f1(tp * either, (fp + fn) * either, confidence),
        "mcc": intervals.mcc(counts * shares.least, confidence, seed),
    }


def _from_ranking(ranked: ranking.Ranking, shares: _Shares, confidence: float) -> dict[str, Estimate]:
    positives, error = ranked.positives * shares.positives, ranking.average_precision_error(ranked) / math.sqrt(shares.least)
    return {
        "roc_auc": intervals.roc_auc(ranking.roc_auc(ranked), positives, ranked.negatives * shares.negatives, confidence),
        "pr_auc": intervals.average_precision(ranking.average_precision(ranked), positives, error, confidence),
    }


def _from_probabilities(y: Labels, p: Scores, unit: Index | None, confidence: float, replicates: int, seed: int) -> dict[str, Estimate]:
    squared, log = metrics.squared_errors(y, p), metrics.log_losses(y, p)
    gaps = np.zeros((len(y), metrics.BINS))
    gaps[np.arange(len(y)), metrics.bins(p)] = y - p
    columns, sizes = np.column_stack([squared, log, gaps]), None
    if unit is not None:
        totals = np.column_stack([np.bincount(unit, weights=column) for column in (*columns.T, np.ones(len(y)))]).astype(np.float64)
        totals = totals[np.lexsort(totals.T)]  # an order that that of the rows has no say in
        columns, sizes = totals[:, :-1], totals[:, -1]
    draws = bootstrap.row_draws(columns, sizes, replicates=replicates, seed=seed)
    return {
        "brier": bootstrap.bounded_mean(float(squared.mean()), draws, 0, 1.0, confidence),
        "log_loss": bootstrap.bounded_mean(float(log.mean()), draws, 1, metrics.largest_log_loss(p), confidence),
        "ece": bootstrap.absolute_sum(metrics.calibration_gaps(y, p), draws.means[:, 2:], draws.further, draws.units, (1 - confidence) / 2),
    }


# --- intervals for whole groups --------------------------------------------------------------------------------------


def _replicates(sums: GroupTotals, grouped: cluster_ranking.GroupedRanking, replicates: int, seed: int) -> dict[str, Float64]:
    """Every metric under resampled groups: name -> float64 [replicates], and "gaps" [replicates, 15]."""
    portions = [
        sums.weighted(weights)
        | {"roc_auc": cluster_ranking.roc_auc(grouped, weights), "pr_auc": cluster_ranking.average_precision(grouped, weights)}
        for weights in bootstrap.group_weights(sums.groups, replicates=replicates, seed=seed)
    ]
    return {name: np.concatenate([portion[name] for portion in portions]) for name in portions[0]}


def _for_groups(
    sums: GroupTotals, ranked: ranking.Ranking, p: Scores, drawn: Mapping[str, Float64], confidence: float
) -> dict[str, Estimate]:
    values = {**sums.values(), "roc_auc": ranking.roc_auc(ranked), "pr_auc": ranking.average_precision(ranked)}
    bounds = {"mcc": (-1.0, 1.0), "log_loss": (0.0, metrics.largest_log_loss(p))}
    supports = sums.supports()
    estimates = {
        name: group_interval(value, drawn[name], (sums.groups, supports.get(name, sums.groups)), bounds.get(name, (0.0, 1.0)), confidence)
        for name, value in values.items()
    }
    return {**estimates, "ece": _group_calibration(sums.mean_gaps(), drawn["gaps"], sums.groups, confidence)}


def group_interval(value: float, drawn: Float64, groups: tuple[int, int], bounds: tuple[float, float], confidence: float) -> Estimate:
    """A metric's interval from its replicates; `groups`: how many were drawn from, and how many of them have a say in the metric."""
    if math.isnan(value):
        return intervals.UNDEFINED
    defined = drawn[~np.isnan(drawn)]
    if len(defined) == 0 or np.ptp(defined) < SPREAD:
        return bootstrap.no_spread(value, groups[1], confidence, bounds)
    return bootstrap.percentile(value, drawn, bootstrap.group_tail(groups[0], confidence), bounds)


def _group_calibration(gaps: Float64, drawn: Float64, groups: int, confidence: float) -> Estimate:
    if np.ptp(drawn, axis=0).max() < SPREAD:
        return bootstrap.no_spread(float(np.abs(gaps).sum()), groups, confidence, (0.0, 1.0))
    nothing_further = np.zeros(len(drawn))
    return bootstrap.absolute_sum(gaps, drawn, nothing_further, groups, bootstrap.group_tail(groups, confidence))
