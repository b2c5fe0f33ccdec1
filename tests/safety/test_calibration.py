"""From scores to probabilities: rising, between 0 and 1, the same from a file, and better than the scores."""

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

from sporeprint.safety.calibration import Calibration, Method, fit_calibration
from support import labels

Float64 = npt.NDArray[np.float64]
FITTED: list[Method] = ["isotonic", "platt", "beta"]
METHODS: list[Method] = [*FITTED, "none"]

SCORES = st.one_of(st.floats(0, 1), st.integers(0, 8).map(lambda n: n / 8), st.sampled_from([0.0, 1.0, 5e-324, 1e-300, 1 - 1e-16]))
TABLES = st.lists(st.tuples(SCORES, st.integers(0, 1)), max_size=80)


def arrays(rows: list[tuple[float, int]]) -> tuple[Float64, npt.NDArray[np.int8]]:
    return np.array([score for score, _ in rows], dtype=np.float64), np.array([y for _, y in rows], dtype=np.int8)


def miscalibrated(rows: int, seed: int) -> tuple[Float64, npt.NDArray[np.int8], Float64]:
    """Scores of an overconfident model, labels, and the true probabilities."""
    draw = np.random.default_rng(seed)
    z = draw.normal(0.3, 1.2, rows)
    true = expit(z)
    return expit(2.5 * z - 0.8), (draw.random(rows) < true).astype(np.int8), true


# --- rising ----------------------------------------------------------------------------------------------------------


@given(TABLES, st.lists(SCORES, min_size=2, max_size=30))
@example([(0.0, 0), (0.0, 1)], [0.0, 1.0])
@example([(1.0, 0), (1.0, 1)], [0.0, 1.0])
@example([(0.0, 0), (1.0, 1)], [0.0, 0.5, 1.0])
@example([(0.0, 1), (1.0, 0)], [0.0, 0.5, 1.0])
def test_an_isotonic_map_rises_and_stays_inside(rows: list[tuple[float, int]], scores: list[float]) -> None:
    found = fit_calibration(*arrays(rows), "isotonic")
    x = np.unique(np.array([*scores, *found.x, *(score for score, _ in rows)]))
    p = found(x)
    if found.method == "isotonic":
        assert p.min() > 0
        assert p.max() < 1
    assert (np.diff(p) >= 0).all()
    assert (np.diff(p)[np.diff(x) > 1e-11] > 0).all()


@pytest.mark.parametrize("method", ["platt", "beta"])
@hypothesis_settings(max_examples=25)
@given(rows=TABLES, scores=st.lists(SCORES, min_size=2, max_size=30))
def test_a_logistic_map_never_falls(method: Method, rows: list[tuple[float, int]], scores: list[float]) -> None:
    found = fit_calibration(*arrays(rows), method)
    p = found(np.unique(scores))
    assert ((p >= 0) & (p <= 1)).all()
    assert (np.diff(p) >= 0).all()
    assert found.weights[0] > 0 or found.method == "none"
    assert found.weights[1] > 0 or found.method == "none"


@pytest.mark.parametrize("method", METHODS)
@given(rows=TABLES, score=SCORES)
def test_one_score_is_mapped_as_many_are(method: Method, rows: list[tuple[float, int]], score: float) -> None:
    calibration = fit_calibration(*arrays(rows), method)
    scores = np.array([score, *calibration.x])
    assert [calibration.of_score(each) for each in scores.tolist()] == calibration(scores).tolist()


def test_rounding_at_a_knot_does_not_turn_two_rows_round() -> None:
    for seed in range(30):
        found = fit_calibration(*miscalibrated(300, seed)[:2])
        knots = np.array(found.x)
        near = np.stack([np.nextafter(knots, -1), knots, np.nextafter(knots, 2)]).clip(0, 1)
        assert (np.diff(found(near), axis=0) >= 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_the_ranking_is_kept(method: Method) -> None:
    scores, y, _ = miscalibrated(1500, 1)
    fresh, fresh_y, _ = miscalibrated(3000, 2)
    p = fit_calibration(scores, y, method)(fresh)
    assert roc_auc_score(fresh_y, p) == roc_auc_score(fresh_y, fresh)
    assert np.array_equal(np.argsort(p, kind="stable"), np.argsort(fresh, kind="stable"))


@given(TABLES, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(rows: list[tuple[float, int]], random: Any) -> None:
    # Labels of rows of one score are added up: pooling must not depend on who comes first.
    assert fit_calibration(*arrays(rows)) == fit_calibration(*arrays(random.sample(rows, len(rows))))


def test_neither_rows_nor_labels_are_changed() -> None:
    scores, y = np.array([0.9, 0.1, 0.5]), labels(1, 0, 1)
    for method in METHODS:
        fit_calibration(scores, y, method)(scores)
    assert (scores.tolist(), y.tolist()) == ([0.9, 0.1, 0.5], [1, 0, 1])


# --- against other implementations -----------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 30).map(lambda n: n / 30), st.integers(0, 1)), max_size=80))
def test_the_knots_are_the_blocks_of_scikit_learn(rows: list[tuple[float, int]]) -> None:
    scores, y = arrays(rows)
    found = fit_calibration(scores, y)
    if found.method == "none":
        return
    pooled = np.round(IsotonicRegression().fit(scores, y).predict(scores), 12)
    values = np.unique(pooled)
    centres = np.array([scores[pooled == value].mean() for value in values])
    # The outermost blocks may be moved inwards, as they may hold one class only; the others are as they are.
    inner = (values > 0) & (values < 1)
    assert found(centres[inner]) == pytest.approx(values[inner], abs=1e-9)
    assert len(found.x) == len(values) + int(centres[0] > 0) + int(centres[-1] < 1)
    assert found(centres[~inner]) == pytest.approx(values[~inner], abs=0.5)


def test_a_small_table_by_hand() -> None:
    # Blocks: 0.1 and 0.2 (no positive row of two), 0.4 and 0.6 (one of two), 0.9 (one of one).
    found = fit_calibration(np.array([0.1, 0.2, 0.4, 0.6, 0.9]), labels(0, 0, 1, 0, 1))
    first, last = 0.5 / 3, 1 - 0.5 / 2
    assert found.x == pytest.approx((0, 0.15, 0.5, 0.9, 1))
    assert found.y == pytest.approx((first / 2, first, 0.5, last, (1 + last) / 2))
    assert found(np.array([0.0, 0.15, 0.325, 0.5, 1.0])) == pytest.approx([first / 2, first, (first + 0.5) / 2, 0.5, (1 + last) / 2])
    assert (found.method, found.rows) == ("isotonic", 5)


@pytest.mark.parametrize("method", ["platt", "beta"])
def test_the_logistic_maps_are_those_of_scikit_learn(method: Method) -> None:
    # Platt's targets are soft: each row stands there twice, with the weight of either label.
    scores, y, _ = miscalibrated(800, 3)
    # Squeezed from 0 ... 1, so that a score of 0 or 1 counts as much as 800 rows can bear out.
    squeezed = 0.5 / 801 + (1 - 1 / 801) * scores
    up, down = np.log(squeezed), -np.log1p(-squeezed)
    X = np.column_stack([up + down]) if method == "platt" else np.column_stack([up, down])
    n1, n0 = int(y.sum()), int((1 - y).sum())
    target = np.where(y == 1, (n1 + 1) / (n1 + 2), 1 / (n0 + 2))
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
    model.fit(np.vstack([X, X]), np.r_[np.ones(800), np.zeros(800)], sample_weight=np.r_[target, 1 - target])
    expected = [*model.coef_[0].tolist() * (2 if method == "platt" else 1), float(model.intercept_[0])]
    found = fit_calibration(scores, y, method)
    assert found.weights == pytest.approx(expected, abs=2e-3)
    assert found(scores) == pytest.approx(model.predict_proba(X)[:, 1], abs=1e-4)


def test_platt_finds_the_slope_and_the_intercept_there_are() -> None:
    # True log odds are 0.4 times the score's, plus 0.32: what `miscalibrated` did, undone.
    scores, y, true = miscalibrated(60_000, 4)
    found = fit_calibration(scores, y, "platt")
    assert found.weights == pytest.approx((0.4, 0.4, 0.32), abs=0.03)
    assert np.abs(found(scores) - true).max() < 0.02


def test_beta_finds_the_weights_there_are() -> None:
    draw = np.random.default_rng(5)
    scores = draw.random(60_000)
    true = expit(2 * np.log(scores) - 0.5 * np.log1p(-scores) + 0.7)
    found = fit_calibration(scores, (draw.random(60_000) < true).astype(np.int8), "beta")
    assert found.weights == pytest.approx((2, 0.5, 0.7), abs=0.08)


@pytest.mark.parametrize("method", FITTED)
def test_fresh_rows_are_better_described_than_by_the_scores(method: Method) -> None:
    scores, y, _ = miscalibrated(3000, 6)
    fresh, fresh_y, true = miscalibrated(20_000, 7)
    p = fit_calibration(scores, y, method)(fresh)
    assert log_loss(fresh_y, p) < log_loss(fresh_y, fresh) - 0.1
    assert log_loss(fresh_y, p) < log_loss(fresh_y, true) + 0.02
    assert np.square(p - fresh_y).mean() < np.square(fresh - fresh_y).mean() - 0.02


# --- where nothing can be learnt -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("y", [[], [0], [1], [0, 0, 0], [1, 1, 1, 1]])
def test_rows_of_one_class_or_none_leave_the_scores_as_they_are(method: Method, y: list[int]) -> None:
    found = fit_calibration(np.linspace(0, 1, len(y)), np.array(y, dtype=np.int8), method)
    assert found == Calibration("none", len(y))
    scores = np.array([0.0, 0.3, 1.0])
    assert found(scores).tolist() == [0.0, 0.3, 1.0]


def test_one_score_for_all_rows_is_the_share_of_positive_ones() -> None:
    for score in (0.0, 0.4, 1.0):
        found = fit_calibration(np.full(10, score), labels(*[1] * 3, *[0] * 7))
        assert found(np.array([score]))[0] == pytest.approx(0.3)
        assert (np.diff(found(np.linspace(0, 1, 50))) > 0).all()


def test_no_probability_is_certain_however_good_the_scores() -> None:
    scores = np.r_[np.zeros(50), np.ones(50)]
    y = np.r_[np.zeros(50), np.ones(50)].astype(np.int8)
    for method in FITTED:
        p = fit_calibration(scores, y, method)(scores)
        assert 0 < p.min() < 0.02, method
        assert 0.98 < p.max() < 1, method


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@hypothesis_settings(max_examples=25)
@given(rows=TABLES)
def test_a_map_comes_back_from_json_as_it_was(method: Method, rows: list[tuple[float, int]]) -> None:
    found = fit_calibration(*arrays(rows), method)
    text = found.to_json()
    for stored in (text, text.encode()):
        back = Calibration.from_json(stored)
        assert back == found
        assert back.to_json() == text


GOOD: dict[str, Any] = json.loads(fit_calibration(np.array([0.1, 0.6, 0.4, 0.9]), labels(0, 0, 1, 1)).to_json())
LOGISTIC: dict[str, Any] = json.loads(fit_calibration(np.array([0.1, 0.6, 0.4, 0.9]), labels(0, 0, 1, 1), "platt").to_json())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nothing",
        "[]",
        "null",
        "1",
        b"\xff\xfe",
        "{}",
        *(json.dumps({key: value for key, value in GOOD.items() if key != left_out}) for left_out in GOOD),
        *(json.dumps({**GOOD, "format": value}) for value in (2, "1", None)),
        *(json.dumps({**GOOD, "method": value}) for value in ("isotonik", None, 3, ["isotonic"])),
        *(
            json.dumps({**GOOD, "x": value})
            for value in ([], [0, 1], None, "abc", [0, 0.5, 0.4, 1], [0.1, 0.2, 0.9, 1], [0, 0.5, float("nan"), 1])
        ),
        *(json.dumps({**GOOD, "y": value}) for value in ([], None, [[1]], [0.1, 0.1, 0.2, 0.3], [0.1, 0.4, 0.3, 0.5])),
        *(json.dumps({**GOOD, "weights": value}) for value in ([1, 2], [1, 2, 3, 4], None, 5, ["a", "b", "c"])),
        json.dumps({**GOOD, "rows": "many"}),
    ],
    ids=str,
)
def test_what_is_no_calibration_is_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"^not a calibration of format 1: ."):
        Calibration.from_json(text)


@pytest.mark.parametrize(
    "damaged",
    [
        {**GOOD, "rows": float("inf")},
        {**GOOD, "y": [-5.0, *GOOD["y"][1:]]},
        {**GOOD, "y": [*GOOD["y"][:-1], 3.0]},
        {**LOGISTIC, "weights": [float("nan"), 1.0, 0.0]},
        {**LOGISTIC, "weights": [-1.0, -1.0, 0.0]},
        {**LOGISTIC, "weights": [1.0, 1.0, float("inf")]},
    ],
    ids=["rows without end", "below 0", "above 1", "not a number", "a falling map", "without end"],
)
def test_a_file_that_reads_as_a_map_but_is_none_is_refused(damaged: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"calibration"):
        Calibration.from_json(json.dumps(damaged))
