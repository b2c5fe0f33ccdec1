"""How good a model is, with intervals: on rows of groups it knows, and on whole groups it never saw.

Rows of known groups count as independent. Rows of groups a model never saw do not: what they have in common is that the model
never met their group, so whole groups are resampled.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt

from sporeprint.errors import DataError
from sporeprint.evaluation.safety_scorecard import ModelSafety
from sporeprint.settings import SelectionSettings
from sporeprint.stats import bootstrap, intervals, metrics, paired, ranking
from sporeprint.stats import cluster_ranking as clusters
from sporeprint.stats import folds as folding
from sporeprint.stats.group_totals import GroupTotals, crossed
from sporeprint.stats.intervals import Estimate

Labels = npt.NDArray[np.int8]
Scores = npt.NDArray[np.float64]
Float64 = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]

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
    """

    rows: int
    positives: int
    metrics: dict[str, Estimate]
    confusion: ConfusionMatrix
    roc: Curve
    pr: Curve
    reliability: Reliability


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
class ModelComparison:
    """Two models on the same rows.

    Attributes:
        a: name of one model.
        b: name of the other.
        on: "seen" or "unseen".
        metric: name of the metric compared.
        difference: metric of a minus metric of b.
        p_value: of the hypothesis of no difference, two-sided.
        p_adjusted: the same, corrected for the number of pairs compared on this metric (Holm 1979).
        method: name of the test.
    """

    a: str
    b: str
    on: str
    metric: str
    difference: Estimate
    p_value: float
    p_adjusted: float
    method: str


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


def score_rows(y: Labels, p: Scores, *, threshold: float = 0.5, confidence: float, replicates: int, seed: int) -> ScoreCard:
    """Measure a model on independent rows.

    Intervals: Clopper-Pearson for accuracy, precision, recall and, mapped, F1; Dirichlet posterior for MCC; Newcombe's for ROC
    AUC; Boyd's binomial for PR AUC; Bayesian bootstrap with one further row for Brier score, log loss and ECE. None of them
    shrinks to a point when the model makes no error. The methods' sources: `stats.intervals`, `stats.bootstrap`.

    Args:
        y: 1 for the positive class, else 0 [n].
        p: P(positive) [n], from 0 to 1.
        threshold: a score above it is a positive answer.
        confidence: level of the intervals, between 0 and 1.
        replicates: bootstrap replicates.
        seed: of everything drawn. The same rows in another order give the same result.

    Raises:
        ValueError: if an argument is out of its range, or lengths differ.
    """
    _check(confidence, replicates)
    y, p = _rows(y, p, threshold)
    # One order for all, so that the draws of the bootstrap meet the same rows.
    order = np.lexsort((y, -p))
    y, p = y[order], p[order]
    ranked, counts = ranking.rank(y, p), metrics.confusion(y, p, threshold)
    estimates = {
        **_from_counts(counts, confidence, seed),
        **_from_ranking(ranked, confidence),
        **_from_probabilities(y, p, confidence, replicates, seed),
    }
    return _card(y, p, ranked, counts, {name: estimates[name] for name in METRICS})


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
    _check(confidence, replicates)
    y, p = _rows(y, p, threshold)
    _, group = _grouped(groups, len(y))
    sums = GroupTotals.of(y, p, group, threshold)
    ranked, counts = ranking.rank(y, p), sums.counts.sum(axis=0)
    drawn = _replicates(sums, clusters.rank(y, p, group, sums.groups), replicates, seed)
    estimates = _for_groups(sums, ranked, p, drawn, confidence)
    return _card(y, p, ranked, counts, {name: estimates[name] for name in METRICS})


def errors_by_group(y: Labels, p: Scores, groups: npt.NDArray[np.int64], *, threshold: float = 0.5) -> tuple[GroupErrors, ...]:
    """Count each group's errors, in the order of the groups' numbers.

    Raises:
        ValueError: if an argument is out of its range, or lengths differ.
    """
    y, p = _rows(y, p, threshold)
    names, group = _grouped(groups, len(y), least=1)
    counts = GroupTotals.of(y, p, group, threshold).counts.astype(np.int64)
    return tuple(
        GroupErrors(group=name, rows=tn + fp + fn + tp, positives=fn + tp, errors=fp + fn, false_negative=fn)
        for name, (tn, fp, fn, tp) in zip(names.tolist(), counts.tolist(), strict=True)
    )


def _card(y: Labels, p: Scores, ranked: ranking.Ranking, counts: metrics.Counts, estimates: dict[str, Estimate]) -> ScoreCard:
    return ScoreCard(
        rows=len(y),
        positives=ranked.positives,
        metrics=estimates,
        confusion=ConfusionMatrix(*(int(count) for count in counts)),
        roc=_curve(*ranking.roc_points(ranked)),
        pr=_curve(*ranking.pr_points(ranked)),
        reliability=_reliability(y, p),
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


# --- intervals for independent rows ----------------------------------------------------------------------------------


def _from_counts(counts: metrics.Counts, confidence: float, seed: int) -> dict[str, Estimate]:
    tn, fp, fn, tp = (int(count) for count in counts)
    return {
        "accuracy": intervals.proportion(tn + tp, tn + fp + fn + tp, confidence),
        "precision": intervals.proportion(tp, tp + fp, confidence),
        "recall": intervals.proportion(tp, tp + fn, confidence),
        "f1": intervals.f1(tp, fp + fn, confidence),
        "mcc": intervals.mcc(counts, confidence, seed),
    }


def _from_ranking(ranked: ranking.Ranking, confidence: float) -> dict[str, Estimate]:
    return {
        "roc_auc": intervals.roc_auc(ranking.roc_auc(ranked), ranked.positives, ranked.negatives, confidence),
        "pr_auc": intervals.average_precision(
            ranking.average_precision(ranked), ranked.positives, ranking.average_precision_error(ranked), confidence
        ),
    }


def _from_probabilities(y: Labels, p: Scores, confidence: float, replicates: int, seed: int) -> dict[str, Estimate]:
    squared, log = metrics.squared_errors(y, p), metrics.log_losses(y, p)
    gaps = np.zeros((len(y), metrics.BINS))
    gaps[np.arange(len(y)), metrics.bins(p)] = y - p
    draws = bootstrap.row_draws(np.column_stack([squared, log, gaps]), replicates=replicates, seed=seed)
    return {
        "brier": bootstrap.bounded_mean(float(squared.mean()), draws, 0, 1.0, confidence),
        "log_loss": bootstrap.bounded_mean(float(log.mean()), draws, 1, metrics.largest_log_loss(p), confidence),
        "ece": bootstrap.absolute_sum(metrics.calibration_gaps(y, p), draws.means[:, 2:], draws.further, draws.units, (1 - confidence) / 2),
    }


# --- intervals for whole groups --------------------------------------------------------------------------------------


def _replicates(sums: GroupTotals, grouped: clusters.GroupedRanking, replicates: int, seed: int) -> dict[str, Float64]:
    """Every metric under resampled groups: name -> float64 [replicates], and "gaps" [replicates, 15]."""
    portions = [
        sums.weighted(weights) | {"roc_auc": clusters.roc_auc(grouped, weights), "pr_auc": clusters.average_precision(grouped, weights)}
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
        name: _group_interval(value, drawn[name], (sums.groups, supports.get(name, sums.groups)), bounds.get(name, (0.0, 1.0)), confidence)
        for name, value in values.items()
    }
    return {**estimates, "ece": _group_calibration(sums.mean_gaps(), drawn["gaps"], sums.groups, confidence)}


def _group_interval(value: float, drawn: Float64, groups: tuple[int, int], bounds: tuple[float, float], confidence: float) -> Estimate:
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


# --- several models --------------------------------------------------------------------------------------------------


def compare_models(y: Labels, scores: Mapping[str, Scores], *, threshold: float = 0.5, confidence: float) -> tuple[ModelComparison, ...]:
    """Compare the accuracy of every two models on the same independent rows, in the order of the models.

    Exact McNemar test; Tango's score interval; Holm's adjustment over the pairs.

    Args:
        y: 1 for the positive class, else 0 [n].
        scores: model -> P(positive) [n].
        threshold: a score above it is a positive answer.
        confidence: level of the intervals, between 0 and 1.

    Raises:
        ValueError: if an argument is out of its range, or lengths differ.
    """
    _check(confidence, 1)
    right = {name: (_rows(y, p, threshold, name)[1] > threshold) == (np.asarray(y) == 1) for name, p in scores.items()}
    pairs = [
        (a, b, int(np.count_nonzero(right[a] & ~right[b])), int(np.count_nonzero(right[b] & ~right[a]))) for a, b in combinations(right, 2)
    ]
    tested = [
        (a, b, paired.difference(only_a, only_b, len(y), confidence), paired.mcnemar(only_a, only_b)) for a, b, only_a, only_b in pairs
    ]
    return _adjusted(tested, "seen", "accuracy", "McNemar's exact test, Tango's score interval")


def compare_models_on_groups(
    y: Labels,
    scores: Mapping[str, Scores],
    groups: npt.NDArray[np.int64],
    *,
    threshold: float = 0.5,
    confidence: float,
    replicates: int,
    seed: int,
) -> tuple[ModelComparison, ...]:
    """Compare accuracy and ROC AUC of every two models on whole groups they never saw.

    All models are measured on the same cluster-bootstrap replicates; the p-value inverts the interval of the difference; Holm's
    adjustment over the pairs, for each metric. Without two classes there is no comparison of ROC AUC.

    Args:
        y: 1 for the positive class, else 0 [n].
        scores: model -> P(positive) [n].
        groups: group of each row [n], at least 2 different ones.
        threshold: a score above it is a positive answer.
        confidence: level of the intervals, between 0 and 1.
        replicates: bootstrap replicates.
        seed: of the draws.

    Raises:
        ValueError: if an argument is out of its range, or lengths differ.
    """
    _check(confidence, replicates)
    _, group = _grouped(groups, len(y))
    both = 0 < int(np.count_nonzero(y)) < len(y)
    measured = {name: _replicated(*_rows(y, p, threshold, name), group, threshold, replicates, seed, both) for name, p in scores.items()}
    size = int(group.max()) + 1
    comparisons: list[ModelComparison] = []
    for metric in ("accuracy", "roc_auc") if both else ("accuracy",):
        tested = [(a, b, *_difference(measured[a][metric], measured[b][metric], size, confidence)) for a, b in combinations(measured, 2)]
        comparisons += _adjusted(tested, "unseen", metric, "cluster bootstrap")
    return tuple(comparisons)


@dataclass(frozen=True, slots=True)
class _Replicated:
    """A metric and its bootstrap replicates, float64 [B]."""

    value: float
    drawn: Float64


def _replicated(y: Labels, p: Scores, group: Index, threshold: float, replicates: int, seed: int, both: bool) -> dict[str, _Replicated]:
    size = int(group.max()) + 1
    right = np.bincount(group, weights=(p > threshold) == (y == 1), minlength=size)
    rows = np.bincount(group, minlength=size)
    grouped = clusters.rank(y, p, group, size)
    accuracy, area = [], []
    for weights in bootstrap.group_weights(size, replicates=replicates, seed=seed):
        accuracy.append(weights @ right / (weights @ rows))
        area.append(clusters.roc_auc(grouped, weights) if both else np.empty(0))
    return {
        "accuracy": _Replicated(float(right.sum() / rows.sum()), np.concatenate(accuracy)),
        "roc_auc": _Replicated(ranking.roc_auc(ranking.rank(y, p)), np.concatenate(area)),
    }


def _difference(a: _Replicated, b: _Replicated, groups: int, confidence: float) -> tuple[Estimate, float]:
    """The difference with its interval, and the p-value of no difference."""
    value, drawn = a.value - b.value, a.drawn - b.drawn
    interval = _group_interval(value, drawn, (groups, groups), (-1.0, 1.0), confidence)
    return interval, bootstrap.p_value(drawn, groups)


def _adjusted(tested: list[tuple[str, str, Estimate, float]], on: str, metric: str, method: str) -> tuple[ModelComparison, ...]:
    adjusted = paired.holm([p for *_, p in tested])
    return tuple(
        ModelComparison(a=a, b=b, on=on, metric=metric, difference=difference, p_value=p, p_adjusted=corrected, method=method)
        for (a, b, difference, p), corrected in zip(tested, adjusted, strict=True)
    )


def best_model(evaluations: Mapping[str, ModelEvaluation], selection: SelectionSettings) -> str:
    """The model to serve: the best value of one metric; ties go to the lower log loss, then to the first in order.

    A model whose metric is undefined comes last.

    Raises:
        ValueError: if there are no models.
        DataError: if the metric is not available for any model.
    """
    if not evaluations:
        raise ValueError("evaluations: expected at least one model, got none")
    cards = {name: _selected_on(name, evaluation, selection.on) for name, evaluation in evaluations.items()}
    if all(math.isnan(card.metrics[selection.metric].value) for card in cards.values()):
        where = f"on {selection.on} rows"
        raise DataError(f"selection.metric: {selection.metric} is undefined for every model {where}; set another one, such as log_loss")

    def loss(name: str) -> tuple[float, float]:
        value = cards[name].metrics[selection.metric].value
        value = value if selection.metric in LOSSES else -value
        return math.inf if math.isnan(value) else value, cards[name].metrics["log_loss"].value

    return min(cards, key=loss)


def _selected_on(name: str, evaluation: ModelEvaluation, on: Literal["seen", "unseen"]) -> ScoreCard:
    card = evaluation.seen if on == "seen" else evaluation.unseen
    if isinstance(card, Unavailable):
        raise DataError(
            f"selection.on: unseen: {name} has no evaluation on unseen groups ({card.reason}); "
            "set selection.on to seen, or give a table whose groups hold"
        )
    return card


# --- folds -----------------------------------------------------------------------------------------------------------


def group_folds(groups: npt.NDArray[np.int64], y: Labels, *, folds: int, seed: int) -> npt.NDArray[np.int64] | Unavailable:
    """Deal whole groups to folds, balanced by class and rows, so that both classes are left when a fold is held out.

    With fewer groups than folds there are as many folds as groups. The order of the rows does not matter.

    Args:
        groups: group of each row [n].
        y: 1 for the positive class, else 0 [n].
        folds: number of folds, at least 2.
        seed: order of groups of one size.

    Returns:
        int64 [n], fold of each row, from 0; or why there are none.

    Raises:
        ValueError: if an argument is out of its range, or lengths differ.
    """
    if folds < 2:
        raise ValueError(f"folds: expected at least 2, got {folds}")
    y = _labels(y)
    _, group = _grouped(groups, len(y), least=1)
    counts = crossed(group, y.astype(np.intp), (int(group.max()) + 1, 2)).astype(np.int64)
    for name, holding in zip(("negative", "positive"), np.count_nonzero(counts, axis=0).tolist(), strict=True):
        if holding < 2:
            have = "no group has" if holding == 0 else "only 1 group has"
            return Unavailable(f"{have} rows of the {name} class; at least 2 must, so that one can be held out and one learnt from")
    return folding.assign(counts, folds=min(folds, len(counts)), seed=seed)[group]


# --- arguments -------------------------------------------------------------------------------------------------------


def _check(confidence: float, replicates: int) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: expected a number between 0 and 1, got {confidence}")
    if replicates < 1:
        raise ValueError(f"replicates: expected at least 1, got {replicates}")


def _labels(y: Labels) -> Labels:
    y = np.asarray(y)
    if y.ndim != 1 or len(y) == 0:
        raise ValueError(f"y: expected at least one row in one dimension, got shape {y.shape}")
    wrong = (y != 0) & (y != 1)
    if wrong.any():
        raise ValueError(f"y: expected 0 or 1, got {y[wrong][0]} in row {np.flatnonzero(wrong)[0]}")
    return y.astype(np.int8)


def _rows(y: Labels, p: Scores, threshold: float, name: str = "p") -> tuple[Labels, Scores]:
    y, p = _labels(y), np.asarray(p, dtype=np.float64)
    if p.shape != y.shape:
        raise ValueError(f"{name}: expected as many scores as y has rows, {len(y)}, got shape {p.shape}")
    # Written so that NaN is wrong too.
    wrong = ~((p >= 0) & (p <= 1))
    if wrong.any():
        raise ValueError(f"{name}: expected probabilities from 0 to 1, got {p[wrong][0]} in row {np.flatnonzero(wrong)[0]}")
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold: expected a number from 0 to 1, got {threshold}")
    return y, p


def _grouped(groups: npt.NDArray[np.int64], rows: int, least: int = 2) -> tuple[npt.NDArray[np.int64], Index]:
    """The groups' numbers, rising, and each row's index among them."""
    groups = np.asarray(groups)
    if groups.shape != (rows,):
        raise ValueError(f"groups: expected one for each of the {rows} rows of y, got shape {groups.shape}")
    if not np.issubdtype(groups.dtype, np.integer):
        raise ValueError(f"groups: expected whole numbers, got {groups.dtype}")
    names, group = np.unique(groups, return_inverse=True)
    if len(names) < least:
        raise ValueError(f"groups: expected at least {least} different ones, got {len(names)}")
    return names.astype(np.int64), group
