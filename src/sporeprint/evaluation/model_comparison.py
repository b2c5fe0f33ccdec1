"""Models compared pair by pair on the same rows, and the one to serve."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt

from sporeprint.errors import DataError
from sporeprint.evaluation.arguments import Index, Labels, Scores, check_levels, checked_rows, indexed_groups
from sporeprint.evaluation.scorecard import LOSSES, Float64, ModelEvaluation, ScoreCard, Unavailable, group_interval
from sporeprint.settings import SelectionSettings
from sporeprint.stats import bootstrap, cluster_ranking, paired, ranking
from sporeprint.stats.effective_size import share_of_size
from sporeprint.stats.intervals import Estimate


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


def compare_models(
    y: Labels,
    scores: Mapping[str, Scores],
    units: npt.NDArray[np.integer] | None = None,
    *,
    threshold: float = 0.5,
    confidence: float,
) -> tuple[ModelComparison, ...]:
    """Compare the accuracy of every two models on the same rows, in the order of the models.

    Exact McNemar test; Tango's score interval; Holm's adjustment over the pairs.

    Args:
        y: 1 for the positive class, else 0 [n].
        scores: model -> P(positive) [n].
        units: unit of each row [n], such as copies of a row, each of which the test counts once; None: each row is its own.
        threshold: a score above it is a positive answer.
        confidence: level of the intervals, between 0 and 1.

    Raises:
        ValueError: if an argument is out of its range, or lengths differ.
    """
    check_levels(confidence, 1)
    right = {name: (checked_rows(y, p, threshold, name)[1] > threshold) == (np.asarray(y) == 1) for name, p in scores.items()}
    unit = None if units is None else indexed_groups(units, len(y), least=1)[1]
    gains = [(a, b, right[a].astype(np.int8) - right[b].astype(np.int8)) for a, b in combinations(right, 2)]
    tested = [(a, b, *_paired(gain, unit, confidence)) for a, b, gain in gains]
    return _adjusted(tested, "seen", "accuracy", "McNemar's exact test, Tango's score interval")


def _paired(gain: npt.NDArray[np.int8], unit: Index | None, confidence: float) -> tuple[Estimate, float]:
    """The difference with its interval, and the p-value of none; 1 where only the first model is right, -1 where only the other is [n]."""
    one_each = gain if unit is None else np.sign(np.bincount(unit, weights=gain))
    p_value = paired.mcnemar(int(np.count_nonzero(one_each > 0)), int(np.count_nonzero(one_each < 0)))
    worth = min(share_of_size(unit), share_of_size(unit, gain != 0))
    only_a, only_b = (float(np.count_nonzero(gain == side)) * worth for side in (1, -1))
    return paired.difference(only_a, only_b, len(gain) * worth, confidence, p_value), p_value


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
    check_levels(confidence, replicates)
    _, group = indexed_groups(groups, len(y))
    both = 0 < int(np.count_nonzero(y)) < len(y)
    measured = {
        name: _replicated(*checked_rows(y, p, threshold, name), group, threshold, replicates, seed, both) for name, p in scores.items()
    }
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
    grouped = cluster_ranking.rank(y, p, group, size)
    accuracy, area = [], []
    for weights in bootstrap.group_weights(size, replicates=replicates, seed=seed):
        accuracy.append(weights @ right / (weights @ rows))
        area.append(cluster_ranking.roc_auc(grouped, weights) if both else np.empty(0))
    return {
        "accuracy": _Replicated(float(right.sum() / rows.sum()), np.concatenate(accuracy)),
        "roc_auc": _Replicated(ranking.roc_auc(ranking.rank(y, p)), np.concatenate(area)),
    }


def _difference(a: _Replicated, b: _Replicated, groups: int, confidence: float) -> tuple[Estimate, float]:
    """The difference with its interval, and the p-value of no difference."""
    value, drawn = a.value - b.value, a.drawn - b.drawn
    interval = group_interval(value, drawn, (groups, groups), (-1.0, 1.0), confidence)
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
