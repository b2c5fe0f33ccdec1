import json
import math
from dataclasses import asdict
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from sklearn import metrics as reference

from sporeprint.errors import DataError
from sporeprint.evaluation.group_folds import group_folds
from sporeprint.evaluation.model_comparison import best_model, compare_models, compare_models_on_groups
from sporeprint.evaluation.safety_scorecard import ModelSafety, PredictionCounts
from sporeprint.evaluation.scorecard import (
    LOSSES,
    METRICS,
    ConfusionMatrix,
    Curve,
    GroupErrors,
    ModelEvaluation,
    Reliability,
    ScoreCard,
    Unavailable,
    errors_by_group,
    score_groups,
    score_rows,
)
from sporeprint.settings import SelectionSettings
from sporeprint.stats.intervals import Estimate

Labels = npt.NDArray[np.int8]
Scores = npt.NDArray[np.float64]
Groups = npt.NDArray[np.int64]
Row = tuple[int, float, int]

HOW: dict[str, Any] = {"confidence": 0.95, "replicates": 200, "seed": 1}
ROWS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 40).map(lambda score: score / 40), st.integers(0, 5)), min_size=2, max_size=60)
TWO_GROUPS = ROWS.filter(lambda rows: len({group for _, _, group in rows}) > 1)


def split(rows: list[Row]) -> tuple[Labels, Scores, Groups]:
    y, p, group = (np.array(column) for column in zip(*rows, strict=True))
    return y.astype(np.int8), p.astype(float), group.astype(np.int64)


def sample(rows: int, *, groups: int = 0, seed: int = 1, strength: float = 1.5) -> tuple[Labels, Scores, Groups]:
    """Scores of a useful model; with groups, each has one class and a mood of its own."""
    draw = np.random.default_rng(seed)
    group = np.arange(rows) % (groups or rows)
    y = (draw.random(groups or rows) < 0.55).astype(np.int8)[group]
    mood = draw.normal(0, 1.5, groups)[group] if groups else 0
    logit = draw.normal(0, 1, rows) + mood + strength * (y - 0.5)
    return y, 1 / (1 + np.exp(-logit)), group


def same(one: Estimate, other: Estimate, tolerance: float = 1e-9) -> bool:
    pairs = [(one.value, other.value), (one.low, other.low), (one.high, other.high)]
    return all(a == pytest.approx(b, abs=tolerance, nan_ok=True) for a, b in pairs)


# --- one model -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clustered", [False, True])
def test_values_are_those_of_scikit_learn(clustered: bool) -> None:
    y, p, group = sample(800, groups=20)
    answers = p > 0.5
    expected = {
        "accuracy": reference.accuracy_score(y, answers),
        "precision": reference.precision_score(y, answers),
        "recall": reference.recall_score(y, answers),
        "f1": reference.f1_score(y, answers),
        "mcc": reference.matthews_corrcoef(y, answers),
        "roc_auc": reference.roc_auc_score(y, p),
        "pr_auc": reference.average_precision_score(y, p),
        "brier": reference.brier_score_loss(y, p),
        "log_loss": reference.log_loss(y, p),
    }
    card = score_groups(y, p, group, **HOW) if clustered else score_rows(y, p, **HOW)
    assert tuple(card.metrics) == METRICS
    assert {name: card.metrics[name].value for name in expected} == pytest.approx(expected, abs=1e-12)
    tn, fp, fn, tp = reference.confusion_matrix(y, answers).ravel().tolist()
    assert card.confusion == ConfusionMatrix(tn=tn, fp=fp, fn=fn, tp=tp)
    assert (card.rows, card.positives) == (800, int(y.sum()))
    assert all(estimate.low < estimate.value < estimate.high for estimate in card.metrics.values())


def test_calibration_error_is_the_distance_of_the_reliability_bins() -> None:
    y, p, _ = sample(500)
    card = score_rows(y, p, **HOW)
    scores, observed, count = (np.array(part) for part in (card.reliability.mean_score, card.reliability.observed, card.reliability.count))
    assert count.sum() == 500
    assert np.all(np.diff(scores) > 0)
    assert card.metrics["ece"].value == pytest.approx((count * np.abs(scores - observed)).sum() / 500, abs=1e-12)


def test_results_are_plain_values() -> None:
    y, p, group = sample(100, groups=10)
    for card in (score_rows(y, p, **HOW), score_groups(y, p, group, **HOW)):
        assert json.loads(json.dumps(asdict(card)))["metrics"]["mcc"]["value"] == card.metrics["mcc"].value
    json.dumps([asdict(found) for found in errors_by_group(y, p, group)])
    json.dumps([asdict(found) for found in compare_models_on_groups(y, {"a": p, "b": 1 - p}, group, **HOW)])


def test_empty_bins_are_left_out() -> None:
    card = score_rows(np.array([0, 1, 1]), np.array([0.05, 0.9375, 0.96875]), **HOW)
    assert card.reliability == Reliability((0.05, 0.953125), (0.0, 1.0), (1, 2))


def test_curves_are_thinned_and_keep_their_ends() -> None:
    y, p, _ = sample(5000)
    card = score_rows(y, p, **HOW)
    for curve, first, last in ((card.roc, (0, 0), (1, 1)), (card.pr, (0, 1), (1, pytest.approx(y.mean())))):
        assert 200 < len(curve.x) <= 400
        assert ((curve.x[0], curve.y[0]), (curve.x[-1], curve.y[-1])) == (first, last)
        assert np.all(np.diff(curve.x) >= 0)


@given(ROWS, st.randoms())
@settings(max_examples=30)
def test_the_order_of_independent_rows_changes_nothing(rows: list[Row], random: Random) -> None:
    y, p, _ = split(rows)
    other_y, other_p, _ = split(random.sample(rows, len(rows)))
    # Cards hold NaN, which equals nothing: compared as text, to the last digit.
    assert repr(score_rows(y, p, **HOW)) == repr(score_rows(other_y, other_p, **HOW))


@given(TWO_GROUPS, st.randoms())
@settings(max_examples=30)
def test_the_order_of_grouped_rows_changes_nothing(rows: list[Row], random: Random) -> None:
    one = score_groups(*split(rows), **HOW)
    other = score_groups(*split(random.sample(rows, len(rows))), **HOW)
    assert all(same(one.metrics[name], other.metrics[name]) for name in METRICS)
    assert one.confusion == other.confusion


@given(TWO_GROUPS)
@settings(max_examples=30)
def test_swapping_classes_and_scores_maps_the_metrics(rows: list[Row]) -> None:
    y, p, group = split(rows)
    p = np.where(p == 0.5, 0.525, p)  # at the threshold the two answers are not symmetric
    one, other = score_groups(y, p, group, **HOW), score_groups(1 - y, 1 - p, group, **HOW)
    for name in ("accuracy", "mcc", "roc_auc", "brier", "log_loss"):
        assert same(one.metrics[name], other.metrics[name]), name
    assert (one.confusion.tp, one.confusion.fn) == (other.confusion.tn, other.confusion.fp)


@given(TWO_GROUPS)
@settings(max_examples=40)
def test_every_interval_holds_its_value(rows: list[Row]) -> None:
    y, p, group = split(rows)
    for card in (score_rows(y, p, **HOW), score_groups(y, p, group, **HOW)):
        for name, estimate in card.metrics.items():
            smallest, largest = {"mcc": (-1.0, 1.0), "log_loss": (0.0, 40.0)}.get(name, (0.0, 1.0))
            if math.isnan(estimate.value):
                assert math.isnan(estimate.low)
                assert math.isnan(estimate.high)
            else:
                assert smallest <= estimate.low <= estimate.value <= estimate.high <= largest, name


def test_the_seed_decides() -> None:
    y, p, group = sample(300, groups=30)
    how: dict[str, Any] = {"confidence": 0.95, "replicates": 200}
    assert score_rows(y, p, **how, seed=1) == score_rows(y, p, **how, seed=1) != score_rows(y, p, **how, seed=2)
    one, other = (score_groups(y, p, group, **how, seed=seed).metrics["roc_auc"] for seed in (1, 2))
    assert one.value == other.value
    assert one.low != other.low


def test_groups_of_one_row_are_rows() -> None:
    y, p, group = sample(400)
    rows, singletons = score_rows(y, p, **HOW), score_groups(y, p, group, confidence=0.95, replicates=1000, seed=1)
    for name in METRICS:
        one, other = rows.metrics[name], singletons.metrics[name]
        assert one.value == pytest.approx(other.value, abs=1e-12)
        assert other.high - other.low == pytest.approx(one.high - one.low, rel=0.25), name


def test_rows_of_a_group_are_not_independent() -> None:
    y, p, group = sample(2000, groups=40)
    rows, whole = score_rows(y, p, **HOW).metrics["accuracy"], score_groups(y, p, group, **HOW).metrics["accuracy"]
    assert whole.high - whole.low > 2 * (rows.high - rows.low)


def test_a_model_without_error_is_not_promised_to_make_none() -> None:
    y = np.repeat(np.array([0, 1], dtype=np.int8), 200)
    group = np.arange(400) // 10
    for card in (score_rows(y, y.astype(float), **HOW), score_groups(y, y.astype(float), group, **HOW)):
        for name, estimate in card.metrics.items():
            if name in LOSSES:
                assert estimate.value < 1e-12
                assert estimate.high > 0.005, name
            else:
                assert estimate.value == 1
                assert 0.8 < estimate.low < 0.995, name


@pytest.mark.parametrize(
    ("y", "p", "undefined"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4], {"precision"}),
        ([0, 0, 0, 0], [0.1, 0.2, 0.3, 0.4], {"precision", "recall", "f1", "mcc", "roc_auc", "pr_auc"}),
        ([0, 0, 0, 0], [0.1, 0.2, 0.3, 0.6], {"recall", "mcc", "roc_auc", "pr_auc"}),
        ([1, 1, 1, 1], [0.1, 0.2, 0.3, 0.6], {"mcc", "roc_auc", "pr_auc"}),
    ],
)
def test_what_is_undefined_is_nan_and_nothing_else(y: list[int], p: list[float], undefined: set[str]) -> None:
    labels, scores, groups = np.array(y), np.array(p), np.array([0, 0, 1, 1])
    for card in (score_rows(labels, scores, **HOW), score_groups(labels, scores, groups, **HOW)):
        assert {name for name, estimate in card.metrics.items() if math.isnan(estimate.value)} == undefined
        assert (card.roc == card.pr == Curve((), ())) == ("roc_auc" in undefined)


def test_the_threshold_moves_the_answers_alone() -> None:
    y, p, _ = sample(300)
    half, high = score_rows(y, p, **HOW), score_rows(y, p, threshold=0.9, **HOW)
    assert high.confusion.tp < half.confusion.tp
    assert high.metrics["roc_auc"] == half.metrics["roc_auc"]
    assert score_rows(np.array([0, 1]), np.array([0.5, 0.5]), **HOW).confusion == ConfusionMatrix(tn=1, fp=0, fn=1, tp=0)


def test_clustered_intervals_cover() -> None:
    samples, hits = 200, dict.fromkeys(METRICS, 0)
    truth = score_rows(*sample(400_000, groups=40_000)[:2], confidence=0.95, replicates=1, seed=1).metrics
    for number in range(samples):
        card = score_groups(*sample(400, groups=40, seed=number + 10), **HOW)
        for name in METRICS:
            hits[name] += card.metrics[name].low <= truth[name].value <= card.metrics[name].high
    # Bootstrap intervals of 40 groups are not exact: 93 % is what they are held to.
    assert min(hits.values()) >= binom.ppf(1e-4, samples, 0.93), hits


def test_copies_of_every_row_change_no_interval() -> None:
    y, p, _ = sample(400)
    one = score_rows(y, p, np.arange(400), **HOW)
    five = score_rows(np.repeat(y, 5), np.repeat(p, 5), np.repeat(np.arange(400), 5), **HOW)
    assert (one.units, five.units, five.rows) == (400, 400, 2000)
    assert [name for name in METRICS if not same(one.metrics[name], five.metrics[name])] == []
    # A row that is a unit of its own counts like an independent one.
    counted = score_rows(y, p, **HOW)
    assert [name for name in METRICS[:7] if not same(one.metrics[name], counted.metrics[name], 1e-12)] == []
    # Copies of one class alone: its rows are no more than they were.
    minority = np.concatenate([np.flatnonzero(y == 0), np.repeat(np.flatnonzero(y == 1), 20)])
    assert same(score_rows(y[minority], p[minority], minority, **HOW).metrics["recall"], one.metrics["recall"])


@pytest.mark.parametrize("rows", [np.zeros(50, dtype=int), np.arange(50)])
def test_all_copies_and_a_cluster_column_of_one_value_say_what_one_row_says(rows: Groups) -> None:
    y, p, _ = sample(50)
    card = score_rows(y[rows], p[rows], np.zeros(50, dtype=int), **HOW)
    assert (card.rows, card.units) == (50, 1)
    accuracy = card.metrics["accuracy"]
    assert accuracy.high - accuracy.low > 0.97
    assert all(math.isnan(one.value) or one.low <= one.value <= one.high for one in card.metrics.values())


def test_intervals_of_units_cover_where_those_of_rows_do_not() -> None:
    truth = score_rows(*sample(400_000)[:2], confidence=0.95, replicates=1, seed=1).metrics
    samples, hits, by_rows = 40, dict.fromkeys(METRICS, 0), 0
    for number in range(samples):
        y, p, unit = sample(300, seed=number + 10)
        copies = np.repeat(unit, np.random.default_rng(number).geometric(0.2, 300))
        card = score_rows(y[copies], p[copies], copies, **HOW)
        for name in METRICS:
            hits[name] += card.metrics[name].low <= truth[name].value <= card.metrics[name].high
        wrong = score_rows(y[copies], p[copies], **HOW).metrics["accuracy"]
        by_rows += wrong.low <= truth["accuracy"].value <= wrong.high
    assert min(hits.values()) >= binom.ppf(1e-4, samples, 0.95), hits
    assert by_rows < 0.8 * samples


def test_errors_by_group() -> None:
    y, p = np.array([1, 1, 0, 0, 1]), np.array([0.9, 0.2, 0.8, 0.1, 0.4])
    found = errors_by_group(y, p, np.array([7, 7, 3, 3, 3]))
    assert found == (
        GroupErrors(group=3, rows=3, positives=1, errors=2, false_negative=1),
        GroupErrors(group=7, rows=2, positives=2, errors=1, false_negative=1),
    )


# --- several models --------------------------------------------------------------------------------------------------


def test_compare_by_hand() -> None:
    y = np.array([1] * 10 + [0] * 10)
    right, wrong = y * 0.8 + 0.1, 0.9 - y * 0.8
    scores = {"a": right, "b": np.where(np.arange(20) < 6, wrong, right), "c": np.where(np.arange(20) < 5, wrong, right)}
    found = compare_models(y, scores, confidence=0.95)
    assert [(one.a, one.b, one.on, one.metric) for one in found] == [(a, b, "seen", "accuracy") for a, b in ("ab", "ac", "bc")]
    assert [one.difference.value for one in found] == pytest.approx([0.3, 0.25, -0.05])
    assert [one.p_value for one in found] == pytest.approx([2 / 64, 2 / 32, 1.0])
    assert [one.p_adjusted for one in found] == pytest.approx([6 / 64, 4 / 32, 1.0])


def test_compare_takes_labels_and_scores_by_row() -> None:
    y, p, _ = sample(200)
    other = sample(200, seed=2)[1]
    (found,) = compare_models(y, {"one": p, "other": other}, confidence=0.95)
    values = [score_rows(y, scores, **HOW).metrics["accuracy"].value for scores in (p, other)]
    assert found.difference.value == pytest.approx(values[0] - values[1])
    assert compare_models(y, {"one": p}, confidence=0.95) == ()


def test_a_comparison_counts_copies_once() -> None:
    y, p, row = sample(200)
    other = sample(200, seed=2)[1]
    copies = np.repeat(row, 5)
    (one,) = compare_models(y, {"one": p, "other": other}, confidence=0.95)
    (five,) = compare_models(y[copies], {"one": p[copies], "other": other[copies]}, copies, confidence=0.95)
    assert five.p_value == pytest.approx(one.p_value)
    assert same(five.difference, one.difference)
    (by_rows,) = compare_models(y[copies], {"one": p[copies], "other": other[copies]}, confidence=0.95)
    assert by_rows.p_value < one.p_value / 10


def test_compare_clustered_uses_the_same_replicates_for_all() -> None:
    y, p, group = sample(1000, groups=25)
    other = np.clip(p + np.random.default_rng(3).normal(0, 0.05, 1000), 0, 1)
    found = compare_models_on_groups(y, {"one": p, "other": other}, group, **HOW)
    assert [one.metric for one in found] == ["accuracy", "roc_auc"]
    alone = score_groups(y, p, group, **HOW).metrics
    for one in found:
        # Paired: the difference of two nearly equal models is known far better than either.
        assert one.difference.high - one.difference.low < (alone[one.metric].high - alone[one.metric].low) / 5
        assert one.on == "unseen"


def test_swapping_clustered_models_swaps_the_sign() -> None:
    y, p, group = sample(600, groups=20)
    other = sample(600, groups=20, seed=5)[1]
    forth = compare_models_on_groups(y, {"a": p, "b": other}, group, **HOW)
    back = compare_models_on_groups(y, {"b": other, "a": p}, group, **HOW)
    for one, two in zip(forth, back, strict=True):
        swapped = Estimate(-two.difference.value, -two.difference.high, -two.difference.low)
        assert same(one.difference, swapped)
        assert one.p_value == pytest.approx(two.p_value)


def test_a_model_does_not_differ_from_itself() -> None:
    y, p, group = sample(600, groups=20)
    for one in compare_models_on_groups(y, {"a": p, "b": p}, group, **HOW):
        assert one.p_value == one.p_adjusted == 1
        assert one.difference.low < one.difference.value == 0 < one.difference.high


def test_one_class_leaves_accuracy_to_compare() -> None:
    y, group = np.ones(40, dtype=np.int8), np.arange(40) // 4
    p = np.random.default_rng(1).random((2, 40))
    found = compare_models_on_groups(y, {"a": p[0], "b": p[1]}, group, **HOW)
    assert [one.metric for one in found] == ["accuracy"]


def test_clustered_comparisons_keep_their_level() -> None:
    samples, rejected = 150, {"accuracy": 0, "roc_auc": 0}
    for number in range(samples):
        y, p, group = sample(320, groups=40, seed=number)
        draw = np.random.default_rng(number + 1000)
        # Another model as good: the same distribution, given the class.
        logit = draw.normal(0, 1, 320) + draw.normal(0, 1.5, 40)[group] + 1.5 * (y - 0.5)
        for one in compare_models_on_groups(y, {"a": p, "b": 1 / (1 + np.exp(-logit))}, group, **HOW):
            rejected[one.metric] += one.p_value <= 0.05
    assert max(rejected.values()) <= binom.ppf(1 - 1e-4, samples, 0.06), rejected


# --- the best --------------------------------------------------------------------------------------------------------


NOTHING_ANSWERED = ModelSafety(PredictionCounts(10, 0, 0, 0, 0, 5), 0.0)


def evaluation(log_loss: float = 0.1, unseen: ScoreCard | Unavailable | None = None, **values: float) -> ModelEvaluation:
    found = {name: Estimate(values.get(name, 0.5), 0, 1) for name in METRICS} | {"log_loss": Estimate(log_loss, 0, 1)}
    card = ScoreCard(10, 5, found, ConfusionMatrix(5, 0, 0, 5), Curve((), ()), Curve((), ()), Reliability((), (), ()), 10)
    return ModelEvaluation(card, unseen or card, (), NOTHING_ANSWERED)


@pytest.mark.parametrize(
    ("models", "metric", "expected"),
    [
        ({"a": evaluation(mcc=0.8), "b": evaluation(mcc=0.9)}, "mcc", "b"),
        ({"a": evaluation(brier=0.2), "b": evaluation(brier=0.1)}, "brier", "b"),
        ({"a": evaluation(log_loss=0.2), "b": evaluation(log_loss=0.1)}, "log_loss", "b"),
        ({"a": evaluation(0.3, mcc=1.0), "b": evaluation(0.2, mcc=1.0), "c": evaluation(0.1, mcc=0.9)}, "mcc", "b"),
        ({"b": evaluation(mcc=0.9), "a": evaluation(mcc=0.9)}, "mcc", "b"),
        ({"a": evaluation(precision=math.nan), "b": evaluation(precision=0.1)}, "precision", "b"),
    ],
    ids=["most", "least loss", "log loss", "tie to log loss", "tie to order", "undefined last"],
)
def test_best(models: dict[str, ModelEvaluation], metric: Any, expected: str) -> None:
    assert best_model(models, SelectionSettings(metric=metric, on="seen")) == expected


def test_best_on_unseen_rows_reads_those() -> None:
    worse_seen = evaluation(mcc=0.5, unseen=evaluation(mcc=0.9).seen)
    better_seen = evaluation(mcc=0.9, unseen=evaluation(mcc=0.5).seen)
    assert best_model({"a": worse_seen, "b": better_seen}, SelectionSettings(metric="mcc", on="unseen")) == "a"
    assert best_model({"a": worse_seen, "b": better_seen}, SelectionSettings(metric="mcc", on="seen")) == "b"


def test_best_does_not_pretend() -> None:
    nowhere = evaluation(unseen=Unavailable("the table is shuffled"), f1=math.nan)
    with pytest.raises(DataError, match=r"selection\.on: unseen: a has no evaluation on unseen groups \(the table is shuffled\)"):
        best_model({"a": nowhere}, SelectionSettings(on="unseen"))
    with pytest.raises(DataError, match=r"selection\.metric: f1 is undefined for every model on seen rows; set another one"):
        best_model({"a": nowhere}, SelectionSettings(metric="f1"))
    with pytest.raises(ValueError, match="evaluations: expected at least one model, got none"):
        best_model({}, SelectionSettings())


# --- folds -----------------------------------------------------------------------------------------------------------


@given(TWO_GROUPS, st.integers(2, 6), st.randoms())
@settings(max_examples=60)
def test_folds_keep_groups_whole_and_leave_both_classes(rows: list[Row], folds: int, random: Random) -> None:
    y, _, group = split(rows)
    fold = group_folds(group, y, folds=folds, seed=3)
    holding = [len({g for label, _, g in rows if label == wanted}) for wanted in (0, 1)]
    if min(holding) < 2:
        assert isinstance(fold, Unavailable)
        return
    assert isinstance(fold, np.ndarray)
    assert all(len(set(fold[group == one].tolist())) == 1 for one in set(group.tolist()))
    assert all(len(set(y[fold != one].tolist())) == 2 for one in set(fold.tolist()))
    order = np.array(random.sample(range(len(y)), len(y)))
    shuffled = group_folds(group[order], y[order], folds=folds, seed=3)
    assert isinstance(shuffled, np.ndarray)
    assert shuffled.tolist() == fold[order].tolist()


@pytest.mark.parametrize(
    ("y", "reason"),
    [
        ([1, 1, 1, 1, 1, 1], "no group has rows of the negative class; at least 2 must"),
        ([0, 0, 0, 0, 0, 0], "no group has rows of the positive class; at least 2 must"),
        ([0, 0, 0, 0, 1, 1], "only 1 group has rows of the positive class; at least 2 must"),
    ],
)
def test_folds_that_cannot_be_say_why(y: list[int], reason: str) -> None:
    found = group_folds(np.array([0, 0, 1, 1, 2, 2]), np.array(y), folds=3, seed=1)
    assert isinstance(found, Unavailable)
    assert found.reason.startswith(reason)


def test_fewer_groups_than_folds_are_fewer_folds() -> None:
    fold = group_folds(np.array([0, 1, 2, 3]), np.array([0, 1, 0, 1]), folds=10, seed=1)
    assert isinstance(fold, np.ndarray)
    assert sorted(fold.tolist()) == [0, 1, 2, 3]


# --- arguments -------------------------------------------------------------------------------------------------------

Y, P, G = np.array([0, 1, 1]), np.array([0.1, 0.9, 0.4]), np.array([0, 1, 1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": np.array([])}, r"y: expected at least one row in one dimension, got shape \(0,\)"),
        ({"y": np.array([[0, 1, 1]])}, r"y: expected at least one row in one dimension, got shape \(1, 3\)"),
        ({"y": np.array([0, 2, 1])}, "y: expected 0 or 1, got 2 in row 1"),
        ({"y": np.array([0, np.nan, 1])}, "y: expected 0 or 1, got nan in row 1"),
        ({"p": np.array([0.1, 0.9])}, r"p: expected as many scores as y has rows, 3, got shape \(2,\)"),
        ({"p": np.array([0.1, 1.5, 0.2])}, r"p: expected probabilities from 0 to 1, got 1\.5 in row 1"),
        ({"p": np.array([0.1, 0.5, np.nan])}, "p: expected probabilities from 0 to 1, got nan in row 2"),
        ({"p": np.array([-0.1, 0.5, 0.5])}, r"p: expected probabilities from 0 to 1, got -0\.1 in row 0"),
        ({"threshold": 1.5}, r"threshold: expected a number from 0 to 1, got 1\.5"),
        ({"threshold": math.nan}, "threshold: expected a number from 0 to 1, got nan"),
        ({"confidence": 95}, "confidence: expected a number between 0 and 1, got 95"),
        ({"confidence": math.nan}, "confidence: expected a number between 0 and 1, got nan"),
        ({"replicates": 0}, "replicates: expected at least 1, got 0"),
    ],
)
def test_score_names_a_bad_argument(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score_rows(**{"y": Y, "p": P, **HOW, **arguments})
    with pytest.raises(ValueError, match=message):
        score_groups(**{"y": Y, "p": P, "groups": G, **HOW, **arguments})


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (np.array([0, 1]), r"groups: expected one for each of the 3 rows of y, got shape \(2,\)"),
        (np.array([0.0, 1.0, 2.0]), "groups: expected whole numbers, got float64"),
        (np.array([4, 4, 4]), "groups: expected at least 2 different ones, got 1"),
    ],
)
def test_bad_groups_are_named(groups: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score_groups(Y, P, groups, **HOW)
    with pytest.raises(ValueError, match=message):
        compare_models_on_groups(Y, {"a": P, "b": P}, groups, **HOW)


def test_a_bad_score_is_named_by_its_model() -> None:
    with pytest.raises(ValueError, match=r"xgboost: expected probabilities from 0 to 1, got 2\.0 in row 0"):
        compare_models(Y, {"tree": P, "xgboost": P + 1.9}, confidence=0.95)
    with pytest.raises(ValueError, match="folds: expected at least 2, got 1"):
        group_folds(G, Y, folds=1, seed=0)
