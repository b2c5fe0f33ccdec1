"""Calibration, guard and threshold together: what is strange in any way is never answered with the negative class."""

import functools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import stats

from safety_support import SCHEMA, Real, encoder_of, real, species
from sporeprint.data.coded_table import Codes, coded_frame
from sporeprint.data.cross_field_rules import contradictory, of_row
from sporeprint.data.dataset import Observations, to_rows
from sporeprint.data.groups import GroupName
from sporeprint.models.encoder import NominalEncoding
from sporeprint.safety import decision_rule
from sporeprint.safety.anomalies import row_anomalies
from sporeprint.safety.calibration import Calibration
from sporeprint.safety.decision_rule import (
    ANSWER,
    CALIBRATION,
    GUARD,
    DecisionRule,
    attainable_coverage,
    fit_decision_rule,
    fit_guard,
    joint_vocabulary,
    unit_representatives,
)
from sporeprint.safety.novelty_guard import Guard
from sporeprint.safety.risk_control import RiskLevels, Threshold, choose_threshold
from sporeprint.safety.verdict import NEGATIVE, POSITIVE, UNKNOWN, is_familiar
from sporeprint.schema import DatasetSchema
from sporeprint.settings import GuardSettings
from support import NUMERIC, Labelled, codes, dataset, nominal, observations

Float64 = npt.NDArray[np.float64]
Row = dict[str, str | float | None]
SETTINGS = GuardSettings(coverage=0.98, alpha=0.05, components="groups")
TRAIN, CALIBRATE, TEST = species(1500, seed=1), species(800, seed=2), species(900, seed=3)
ENCODER = encoder_of(TRAIN, SCHEMA)
FITTED = fit_guard(TRAIN, CALIBRATE, SCHEMA, SETTINGS, seed=1)


def by_component(guard: Guard) -> Any:
    """A score: the class of the component where a row is most typical, not quite sure."""
    return lambda codes: np.asarray(0.1 + 0.8 * guard.positive[guard.novelty(codes).component], dtype=np.float64)


def safety_of(score: Any = None, settings: GuardSettings = SETTINGS, **change: Any) -> DecisionRule:
    wanted = {"fitted": FITTED, "calibrate": CALIBRATE, "test": TEST, **change}
    return fit_decision_rule(score or by_component(FITTED), ENCODER, **wanted, schema=SCHEMA, settings=settings)


SAFETY = safety_of()
#: Different rows of the calibration part: copies count once.
UNITS = len(np.unique(CALIBRATE.row_hash))


# --- fitting ---------------------------------------------------------------------------------------------------------


def test_fitting_puts_the_parts_together() -> None:
    assert SAFETY.guard is FITTED
    assert (SAFETY.calibration.method, SAFETY.calibration.rows) == ("isotonic", UNITS)
    assert (SAFETY.coverage, SAFETY.threshold.alpha, SAFETY.threshold.delta) == (0.98, 0.05, 0.05)
    assert [component.name for component in SAFETY.components] == [f"number {number}" for number in range(6)]


def test_the_promise_is_tested_on_the_rows_that_will_be_answered() -> None:
    assert SAFETY.threshold.value is not None
    units = TEST.take(unit_representatives(TEST))
    found = SAFETY.predictions(units.codes, by_component(FITTED)(units.codes), ENCODER, SCHEMA)
    negative = found.verdict == NEGATIVE
    assert (int(negative.sum()), int((negative & (units.y == 1)).sum())) == (SAFETY.threshold.answered, SAFETY.threshold.wrong)
    assert (SAFETY.threshold.rows, SAFETY.threshold.units, SAFETY.threshold.positives) == (900, len(units.y), int(units.y.sum()))
    assert SAFETY.threshold.wrong < SAFETY.threshold.alpha * SAFETY.threshold.answered
    assert set(found.verdict.tolist()) == {NEGATIVE, POSITIVE, UNKNOWN}


def test_answers_are_the_formula_of_their_parts() -> None:
    fresh = species(500, seed=4).codes
    scores = np.random.default_rng(0).random(500)
    found = SAFETY.predictions(fresh, scores, ENCODER, SCHEMA)
    assert found.verdict.dtype == np.int8
    assert found.probability.tolist() == SAFETY.calibration(scores).tolist()
    assert found.novelty.p.tolist() == FITTED.novelty(fresh).p.tolist()
    for number, row in enumerate(to_rows(fresh)):
        novelty_p, component = FITTED.row(row)
        contradictory = bool(row_anomalies(row, ENCODER, SCHEMA).contradictions)
        expected = SAFETY.decide(float(found.probability[number]), novelty_p, contradictory, component)
        assert found.verdict[number] == expected


def test_candidates_come_from_calibration_rows_that_are_familiar(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Float64, int]] = []

    def remember(p: Float64, *, rows: int, alpha: float, delta: float, most: float) -> Float64:
        seen.append((p, rows))
        return np.array([0.5])

    monkeypatch.setattr(decision_rule, "candidate_thresholds", remember)
    flat = {**CALIBRATE.codes.numeric, "width": np.where(np.arange(800) % 2, 1e6, CALIBRATE.codes.numeric["width"])}
    odd = replace(CALIBRATE, codes=Codes(CALIBRATE.codes.vocabulary, CALIBRATE.codes.nominal, flat, 800))
    safety_of(calibrate=odd)
    ((p, rows),) = seen
    units = unit_representatives(CALIBRATE)
    every = CALIBRATE.take(units[units % 2 == 0]).codes
    contradictory = np.array([bool(row_anomalies(row, ENCODER, SCHEMA).contradictions) for row in to_rows(every)])
    novelty = FITTED.novelty(every)
    agrees = FITTED.positive[novelty.component] < 0.5
    assert len(p) == int((np.asarray(is_familiar(novelty.p, 0.98)) & ~contradictory & agrees).sum())
    assert 400 < rows < 500


@pytest.mark.parametrize("times", [1, 2, 5, 20])
def test_copies_and_clusters_count_once(times: int) -> None:
    copies = np.repeat(np.arange(len(TEST.y)), times)
    again = replace(TEST.take(copies), row=np.arange(len(copies)))
    assert len(unit_representatives(again)) == len(unit_representatives(TEST))
    counted = safety_of(test=again).threshold
    assert (counted.value, counted.answered, counted.units) == (SAFETY.threshold.value, SAFETY.threshold.answered, SAFETY.threshold.units)
    assert counted.rows == 900 * times
    assert ("different" in counted.reason) == (counted.units < counted.rows)
    patients = replace(TEST, cluster=np.arange(900) // times)
    assert len(unit_representatives(patients)) == 900 / times
    assert safety_of(test=patients).threshold.units == 900 / times


def test_the_promise_holds_on_rows_that_are_copied() -> None:
    # The score says nothing and alpha is a little less than the share of positives: every threshold is a broken promise.
    draw, broken = np.random.default_rng(20201107), 0
    for _ in range(RUNS := 200):
        y = (draw.random(300) < 0.0501).astype(np.int8)
        rows = np.repeat(np.arange(300), 5)
        table = replace(TEST.take(rows), y=y[rows], row=np.arange(1500), row_hash=rows.astype(np.uint64))
        kept = table.take(unit_representatives(table))
        levels = RiskLevels(0.05, 1.0, 0.05)
        found = choose_threshold(np.zeros(300), kept.y, np.array([0.5]), levels, positives=int(kept.y.sum()), rows=1500, units=300)
        broken += found.value is not None
    assert broken <= stats.binom.ppf(0.999, RUNS, 0.05)


def test_all_copies_promise_nothing() -> None:
    one = TEST.take(np.zeros(900, dtype=np.intp))
    found = safety_of(calibrate=CALIBRATE, test=one).threshold
    assert (found.value, found.rows, found.units) == (None, 900, 1)
    assert "needs at least 59 without an error" in found.reason


def test_a_row_most_like_a_positive_component_is_never_called_negative() -> None:
    sure = replace(SAFETY, calibration=Calibration("none"), threshold=replace(SAFETY.threshold, value=0.5))
    found = sure.predictions(TEST.codes, np.zeros(900), ENCODER, SCHEMA)
    positive = FITTED.positive[found.novelty.component] > 0.5
    assert set(found.verdict[positive].tolist()) == {UNKNOWN}
    assert NEGATIVE in found.verdict[~positive].tolist()


def test_clusters_have_the_classes_that_other_rows_have() -> None:
    # Labels by chance: each cluster was made of rows of one class, and its class says nothing.
    noise = replace(TRAIN, group=None, y=(np.random.default_rng(1).random(1500) < 0.4).astype(np.int8))
    other = replace(CALIBRATE, group=None, y=(np.random.default_rng(2).random(800) < 0.4).astype(np.int8))
    found = fit_guard(noise, other, SCHEMA, GuardSettings(clusters=6), seed=1)
    assert ((found.positive > 0.1) & (found.positive < 0.75)).all()


def test_a_cap_for_the_single_row() -> None:
    assert safety_of(settings=SETTINGS.model_copy(update={"most": 0.15})).threshold.value == 0.15
    assert [GuardSettings(alpha=alpha).largest_threshold for alpha in (0.001, 0.01, 0.05, 0.2)] == [0.05, 0.05, 0.25, 0.5]


@pytest.mark.parametrize("columns", [5, 60, 600])
def test_the_coverage_asked_for_is_reached_however_many_columns(columns: int) -> None:
    # Of 600 numbers nearly every row has one that lies outside the range of training.
    draw = np.random.default_rng(7)
    schema = dataset({f"c{number}": NUMERIC for number in range(columns)})
    numbers = draw.normal(size=(1600, columns))
    y = (draw.random(1600) < 0.5).astype(np.int8)
    codes_ = Codes({}, {}, {f"c{number}": numbers[:, number] for number in range(columns)}, 1600)
    rows = Observations(codes_, y, np.arange(1600), None, np.arange(1600, dtype=np.uint64))
    known, calibrate, test = rows.take(np.arange(300)), rows.take(np.arange(300, 800)), rows.take(np.arange(800, 1600))
    guard = fit_guard(known, calibrate, schema, GuardSettings(coverage=0.95, clusters=4), seed=1)
    reached = float(np.asarray(is_familiar(guard.novelty(test.codes).p, 0.95)).mean())
    assert 0.92 < reached < 0.98
    for row in (0, 17, 400):
        alone = guard.row(to_rows(test.codes.take(np.array([row])))[0])
        assert alone[0] == float(guard.novelty(test.codes).p[row])


def test_strange_rows_do_not_count_for_the_promise() -> None:
    # The test rows again, each with a number that training has not seen: nothing is left to promise anything on.
    far = {**TEST.codes.numeric, "height": np.full(900, 1e6)}
    found = safety_of(test=replace(TEST, codes=Codes(TEST.codes.vocabulary, TEST.codes.nominal, far, 900)))
    assert (found.threshold.value, found.threshold.answered) == (None, 0)


def test_a_score_that_says_nothing_promises_nothing() -> None:
    found = safety_of(lambda codes: np.zeros(codes.rows))
    assert found.threshold.value is None
    assert "negative answers were wrong" in found.threshold.reason
    answers = found.predictions(TEST.codes, np.zeros(900), ENCODER, SCHEMA).verdict
    assert NEGATIVE not in answers.tolist()


def test_where_calibration_rows_are_few_less_is_answered() -> None:
    for rows in (1, 10, 48):
        few = CALIBRATE.take(np.arange(rows))
        found = safety_of(fitted=fit_guard(TRAIN, few, SCHEMA, SETTINGS, seed=1), calibrate=few)
        assert found.coverage == attainable_coverage(0.98, rows) == rows / (rows + 1)
        least = min(found.guard.calibration)
        novel = found.guard.novelty(TEST.codes)
        assert not is_familiar(novel.p[novel.typicality < least], found.coverage).any()  # type: ignore[union-attr]
    assert attainable_coverage(0.98, 49) == 0.98
    assert attainable_coverage(0.98, 10**6) == 0.98


def test_without_calibration_rows_everything_is_unknown() -> None:
    none = CALIBRATE.take(np.arange(0))
    found = safety_of(fitted=fit_guard(TRAIN, none, SCHEMA, SETTINGS, seed=1), calibrate=none)
    assert (found.coverage, found.threshold.value) == (0.0, None)
    assert set(found.predictions(TRAIN.codes, np.zeros(1500), ENCODER, SCHEMA).verdict.tolist()) == {UNKNOWN}
    sure = replace(found, threshold=replace(found.threshold, value=1.0))
    assert set(sure.predictions(TRAIN.codes, np.zeros(1500), ENCODER, SCHEMA).verdict.tolist()) == {UNKNOWN}


def test_rows_coded_in_the_values_that_are_known_are_answered_as_in_their_own() -> None:
    # The encoder has seen fewer rows than the guard: what either knows has a code.
    encoder, fresh = encoder_of(TRAIN.take(np.arange(3)), SCHEMA), species(300, seed=5).codes
    known = joint_vocabulary(encoder, FITTED, SCHEMA)
    assert all(set(FITTED.categories[name]) <= set(values) for name, values in known.items())
    assert all(len(set(values)) == len(values) for values in known.values())
    index = {name: {value: number for number, value in enumerate(values, start=1)} for name, values in known.items()}
    coded = {
        name: np.array([-1, 0, *(index[name].get(value, -1) for value in fresh.vocabulary[name])], dtype=np.int16)[fresh.nominal[name] + 1]
        for name in known
    }
    scores = np.random.default_rng(0).random(300)
    found = SAFETY.predictions(Codes(known, coded, fresh.numeric, 300), scores, encoder, SCHEMA)
    expected = SAFETY.predictions(fresh, scores, encoder, SCHEMA)
    assert found.verdict.tolist() == expected.verdict.tolist()
    assert found.novelty.p.tolist() == expected.novelty.p.tolist()
    assert list(found.anomalies.unseen) == list(expected.anomalies.unseen)


def test_a_code_that_training_never_held_is_not_said_to_be_another() -> None:
    # A row without a ring whose type of ring is "none" contradicts nothing, though no training row said so.
    columns = {"ring": nominal("t", "f"), "type": nominal("c", "f")}
    when = {"ring": {"one_of": ["f"]}, "type": {"none_of": ["f"]}}
    schema = DatasetSchema.model_validate(
        {**dataset(columns).model_dump(), "contradictions": [{"says": "no ring, but a type", "when": when}]}
    )
    table = Labelled(schema, codes({"ring": ["t", "f"] * 20, "type": ["c", None] * 20}, schema), np.arange(40).astype(np.int8) % 2)
    rows = replace(observations(table, group=False), group=np.zeros(40, dtype=np.int64))
    encoder, guard = encoder_of(rows, schema), fit_guard(rows, rows, schema, GuardSettings(components="groups"), seed=1)
    row: Row = {"ring": "f", "type": "f"}
    known = joint_vocabulary(encoder, guard, schema)
    found = Codes.of_coded(coded_frame(pl.DataFrame([row]), known, schema.numeric), schema, known)
    assert of_row(row, schema) == ()
    assert contradictory(found, schema) == {}


def test_no_rows_have_no_answers() -> None:
    assert SAFETY.predictions(TEST.codes.take(slice(0, 0)), np.empty(0), ENCODER, SCHEMA).verdict.tolist() == []


@pytest.mark.parametrize(
    ("wish", "grouped", "clusters"),
    [("auto", True, False), ("groups", True, False), ("clusters", True, True), ("auto", False, True), ("groups", False, True)],
)
def test_a_guard_is_of_groups_or_of_clusters(wish: Any, grouped: bool, clusters: bool) -> None:
    rows = TRAIN if grouped else replace(TRAIN, group=None)
    found = fit_guard(rows, CALIBRATE, SCHEMA, GuardSettings(components=wish, clusters=9), seed=1)
    if clusters:
        assert set(found.names.tolist()) == {-1}
        assert 2 <= len(found.names) <= 9
    else:
        assert found.names.tolist() == [0, 1, 2, 3, 4, 5]
    assert len(found.calibration) == UNITS
    again = fit_guard(rows, CALIBRATE, SCHEMA, GuardSettings(components=wish, clusters=9), seed=1)
    assert again.to_bytes() == found.to_bytes()


def test_groups_of_hardly_any_rows_are_clustered_unless_wished_for() -> None:
    many = replace(TRAIN, group=np.arange(1500) // 5)
    assert (fit_guard(many, CALIBRATE, SCHEMA, GuardSettings(clusters=5), seed=1).names == -1).all()
    assert len(fit_guard(many, CALIBRATE, SCHEMA, GuardSettings(clusters=5, components="groups"), seed=1).names) == 300


def test_components_have_the_names_of_their_groups() -> None:
    names = [GroupName("Fly Agaric", "Amanita Family"), GroupName("Morel"), GroupName("Cep", None)]
    found = fit_decision_rule(by_component(FITTED), ENCODER, FITTED, CALIBRATE, TEST, SCHEMA, SETTINGS, names)
    assert [str(component) for component in found.components] == [
        *("Fly Agaric (Amanita Family)", "Morel", "Cep", "number 3", "number 4", "number 5")
    ]
    clusters = fit_guard(replace(TRAIN, group=None), CALIBRATE, SCHEMA, GuardSettings(clusters=3), seed=1)
    assert str(safety_of(fitted=clusters).components[1]) == "cluster 1"


# --- files -----------------------------------------------------------------------------------------------------------


def test_it_comes_back_from_its_files_as_it_was() -> None:
    named = replace(SAFETY, components=tuple(GroupName(f"Grüner Knollenblätterpilz {n}", "“Amanita”" if n else None) for n in range(6)))
    for found in (SAFETY, named, safety_of(lambda codes: np.zeros(codes.rows))):
        files = found.to_files()
        assert set(files) == {CALIBRATION, GUARD, ANSWER}
        back = DecisionRule.from_files({**files, "model.ubj": b"another file"})
        assert back.to_files() == files
        assert (back.calibration, back.threshold, back.coverage, back.components) == (
            *(found.calibration, found.threshold, found.coverage, found.components),
        )
        scores = np.random.default_rng(0).random(900)
        one, other = (safe.predictions(TEST.codes, scores, ENCODER, SCHEMA).verdict for safe in (back, found))
        assert one.tolist() == other.tolist()


FILES = SAFETY.to_files()
STATED: dict[str, Any] = json.loads(FILES[ANSWER])
NO_COVERAGES: list[Any] = [None, "much", []]
NO_THRESHOLDS: list[Any] = [None, {}, {**STATED["threshold"], "more": 1}, [1]]
NO_COMPONENTS: list[Any] = [None, [], [["a"]], [["a", None]], STATED["components"][:-1]]


@pytest.mark.parametrize("name", [CALIBRATION, GUARD, ANSWER])
def test_a_missing_file_is_said_in_a_sentence(name: str) -> None:
    with pytest.raises(ValueError, match=r"^it has no ") as caught:
        DecisionRule.from_files({other: data for other, data in FILES.items() if other != name})
    assert str(caught.value) == f"it has no {name}: it was made before models had a guard; train it again with: sporeprint etl"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"[]",
        b"\xff",
        *(json.dumps({key: value for key, value in STATED.items() if key != left_out}).encode() for left_out in STATED),
        *(json.dumps({**STATED, "format": value}).encode() for value in (3, None, "2")),
        *(json.dumps({**STATED, "coverage": value}).encode() for value in NO_COVERAGES),
        *(json.dumps({**STATED, "threshold": value}).encode() for value in NO_THRESHOLDS),
        *(json.dumps({**STATED, "components": value}).encode() for value in NO_COMPONENTS),
    ],
    ids=lambda answer: answer.decode(errors="replace")[-60:],
)
def test_a_damaged_answer_is_refused(answer: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        DecisionRule.from_files({**FILES, ANSWER: answer})


@pytest.mark.parametrize(
    "change",
    [
        {"coverage": 2.0},
        {"coverage": -1.0},
        {"coverage": float("nan")},
        {"threshold": {**STATED["threshold"], "value": "0.3"}},
        {"threshold": {**STATED["threshold"], "value": 7.0}},
        {"threshold": {**STATED["threshold"], "value": float("nan")}},
    ],
    ids=str,
)
def test_an_answer_that_cannot_be_meant_is_refused(change: dict[str, Any]) -> None:
    # A coverage above 1 would make every row familiar; text for the threshold would fail at the first prediction.
    with pytest.raises(ValueError, match=r"answer\.json"):
        DecisionRule.from_files({**FILES, ANSWER: json.dumps({**STATED, **change}).encode()})


@pytest.mark.parametrize("name", [CALIBRATION, GUARD])
@pytest.mark.parametrize("data", [b"", b"{}", b"damaged"])
def test_damaged_parts_are_refused(name: str, data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        DecisionRule.from_files({**FILES, name: data})


# --- the real table --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table(real_data: Path, config_file: Path) -> Real:
    return real(real_data, config_file)


@pytest.fixture(scope="module")
def eager(table: Real) -> DecisionRule:
    """Answers every familiar row with the negative class, whatever its component: only the guard stands before a wrong answer."""
    threshold = Threshold(1.0, 0.001, 0.05, 0, 0, "for the test")
    names = tuple(GroupName(str(name)) for name in table.guard.names)
    guard = replace(table.guard, positive=np.zeros_like(table.guard.positive))
    return DecisionRule(Calibration("none"), guard, threshold, table.settings.guard.coverage, names)


@pytest.fixture(scope="module")
def known_rows(table: Real) -> list[Row]:
    return to_rows(table.part("train", "early_stop").codes)


def is_new(known: frozenset[str], word: str) -> bool:
    return word not in known


def answer(eager: DecisionRule, table: Real, row: Row) -> int:
    """One row, alone and in a table; both must agree."""
    contradictory = bool(row_anomalies(row, table.encoder, table.schema).contradictions)
    novelty_p, component = eager.guard.row(row)
    alone = eager.decide(0.0, novelty_p, contradictory, component)
    frame = pl.DataFrame(
        {name: [row.get(name)] for name in table.schema.columns}, schema_overrides=dict.fromkeys(table.schema.numeric, pl.Float64)
    )
    whole = eager.predictions(Codes.of(frame, table.schema), np.zeros(1), table.encoder, table.schema).verdict
    assert whole.tolist() == [alone]
    return int(alone)


def test_the_eager_answer_is_one(eager: DecisionRule, table: Real) -> None:
    """Without this the tests below would hold for an answer that is always unknown."""
    rest = table.part("test", "threshold")
    found = eager.predictions(rest.codes, np.zeros(rest.codes.rows), table.encoder, table.schema)
    assert 0.993 < (found.verdict == NEGATIVE).mean() < 0.997
    assert set(found.verdict.tolist()) == {NEGATIVE, UNKNOWN}


@hypothesis_settings(max_examples=60)
@given(st.data())
def test_no_row_with_values_never_seen_is_ever_answered_negative(
    eager: DecisionRule, table: Real, known_rows: list[Row], data: st.DataObject
) -> None:
    row = dict(known_rows[data.draw(st.integers(0, len(known_rows) - 1))])
    ranges = eager.guard.ranges
    for name in data.draw(st.lists(st.sampled_from(list(row)), min_size=1, unique=True)):
        if name in ranges:
            low, high = ranges[name]
            below = st.floats(max_value=low, exclude_max=True, allow_nan=False, allow_infinity=False)
            row[name] = data.draw(st.one_of(below, st.floats(min_value=high, exclude_min=True, allow_nan=False, allow_infinity=False)))
        else:
            known = frozenset(eager.guard.categories[name])
            words = st.one_of(st.sampled_from(["?", "unknown", "none", "Z", "0", "q"]), st.text("abcdefghij", min_size=1, max_size=3))
            row[name] = data.draw(words.filter(functools.partial(is_new, known)))
    assert answer(eager, table, row) == UNKNOWN


def test_no_row_of_thousands_with_values_never_seen_is_answered_negative(eager: DecisionRule, table: Real) -> None:
    known, draw = table.part("train"), np.random.default_rng(5)
    some = known.codes.take(draw.permutation(known.codes.rows)[:8000])
    columns = list(table.schema.columns)
    change = draw.random((some.rows, len(columns))) < draw.choice([0.02, 0.2, 0.8], (some.rows, 1))
    change[np.arange(some.rows), draw.integers(0, len(columns), some.rows)] = True
    at = {name: change[:, number] for number, name in enumerate(columns)}
    nominal = {name: np.where(at[name], -1, values).astype(np.int16) for name, values in some.nominal.items()}
    high = {name: high for name, (_, high) in eager.guard.ranges.items()}
    numeric = {name: np.where(at[name], high[name] * draw.uniform(1.0001, 50, some.rows), values) for name, values in some.numeric.items()}
    found = eager.predictions(Codes(some.vocabulary, nominal, numeric, some.rows), np.zeros(some.rows), table.encoder, table.schema)
    assert set(found.verdict.tolist()) == {UNKNOWN}


def test_a_row_without_any_value_is_unknown(eager: DecisionRule, table: Real) -> None:
    assert answer(eager, table, {}) == UNKNOWN
    assert answer(eager, table, dict.fromkeys(table.schema.columns)) == UNKNOWN
    assert answer(eager, table, {name: float("nan") for name in table.schema.numeric}) == UNKNOWN


def test_a_row_of_one_value_is_unknown(eager: DecisionRule, table: Real) -> None:
    for column in table.encoder.columns:
        if isinstance(column, NominalEncoding):
            values: list[str | float] = list(column.categories)
        else:
            assert column.low is not None
            assert column.high is not None
            values = np.linspace(column.low, column.high, 20).tolist()
        assert [answer(eager, table, {column.name: value}) for value in values] == [UNKNOWN] * len(values)


def test_rows_that_contradict_themselves_are_unknown(eager: DecisionRule, table: Real) -> None:
    known = table.part("train").codes
    some = known.take(np.arange(0, known.rows, 50))
    for contradiction in table.schema.contradictions:
        nominal, numeric = dict(some.nominal), dict(some.numeric)
        for name, condition in contradiction.when.items():
            if name in nominal:
                vocabulary = some.vocabulary[name]
                wanted = [c for c in vocabulary if c in (condition.one_of or vocabulary) and c not in (condition.none_of or ())]
                nominal[name] = np.full(some.rows, vocabulary.index(wanted[0]) + 1, dtype=np.int16)
            else:
                numeric[name] = np.full(some.rows, 5.0 if condition.above is not None else 0.0)
        found = Codes(some.vocabulary, nominal, numeric, some.rows)
        assert contradictory(found, table.schema)[contradiction.says].all()
        answers = eager.predictions(found, np.zeros(some.rows), table.encoder, table.schema)
        assert set(answers.verdict.tolist()) == {UNKNOWN}
        assert bool(row_anomalies(to_rows(found)[0], table.encoder, table.schema))


def test_known_values_that_never_were_together_are_unknown(eager: DecisionRule, table: Real) -> None:
    # Each column shuffled for itself: every value is known, and hardly any row is.
    known, draw = table.part("train").codes, np.random.default_rng(6)
    mixed = Codes(
        known.vocabulary,
        {name: draw.permutation(values) for name, values in known.nominal.items()},
        {name: draw.permutation(values) for name, values in known.numeric.items()},
        known.rows,
    )
    found = eager.predictions(mixed, np.zeros(known.rows), table.encoder, table.schema)
    assert (found.verdict != UNKNOWN).mean() < 0.001


def test_neither_the_order_of_columns_nor_their_types_change_an_answer(eager: DecisionRule, table: Real, real_data: Path) -> None:
    frame = pl.read_csv(real_data, separator=";", infer_schema=False).drop(table.schema.target.column)[::30]
    expected = eager.predictions(Codes.of(frame, table.schema), np.zeros(frame.height), table.encoder, table.schema).verdict.tolist()
    numeric, nominal = list(table.schema.numeric), list(table.schema.nominal)
    for other in (
        frame.select(reversed(frame.columns)),
        frame.with_columns(pl.col(numeric).cast(pl.Float64)),
        frame.with_columns(pl.col(nominal).cast(pl.Categorical)),
        frame.with_columns((pl.lit("  ") + pl.col(name) + " ").alias(name) for name in nominal),
        frame.with_columns(pl.col(numeric) + "e0"),
    ):
        found = eager.predictions(Codes.of(other, table.schema), np.zeros(frame.height), table.encoder, table.schema)
        assert found.verdict.tolist() == expected
    for row, wanted in list(zip(to_rows(Codes.of(frame, table.schema)), expected, strict=True))[::20]:  # of every species
        assert answer(eager, table, dict(reversed(row.items()))) == wanted


def test_the_real_table_is_answered_and_the_promise_kept(table: Real) -> None:
    # The score is the class of the species a row is most like: a simple model, and a good one.
    settings, rest = table.settings.guard, table.part("test")
    score = by_component(table.guard)
    found = fit_decision_rule(score, table.encoder, table.guard, table.part("calibration"), table.part("threshold"), table.schema, settings)
    assert found.coverage == settings.coverage
    assert found.threshold.value is not None
    verdicts = found.predictions(rest.codes, score(rest.codes), table.encoder, table.schema).verdict
    assert (verdicts != UNKNOWN).mean() >= 0.99
    assert (verdicts == rest.y)[verdicts != UNKNOWN].mean() >= 0.999
    negative = verdicts == NEGATIVE
    assert (negative & (rest.y == 1)).sum() <= stats.binom.ppf(0.999, int(negative.sum()), settings.alpha)
    assert DecisionRule.from_files(found.to_files()).to_files() == found.to_files()


def test_a_table_in_which_the_promise_cannot_be_shown_says_how_many_rows_it_takes(table: Real) -> None:
    few = table.part("threshold").take(np.arange(500))
    found = fit_decision_rule(
        by_component(table.guard), table.encoder, table.guard, table.part("calibration"), few, table.schema, table.settings.guard
    )
    assert found.threshold.value is None
    assert "needs at least 2,995 without an error" in found.threshold.reason
    verdicts = found.predictions(few.codes, by_component(table.guard)(few.codes), table.encoder, table.schema).verdict
    assert set(verdicts.tolist()) == {POSITIVE, UNKNOWN}


def test_rows_of_a_species_left_out_are_hardly_ever_answered(table: Real) -> None:
    rows, calibrate = table.part("train", "early_stop"), table.part("calibration")
    assert rows.group is not None
    assert calibrate.group is not None
    assert table.rows.group is not None
    for species_number in (0, 40, 111, 172):
        left, others = rows.take(rows.group != species_number), calibrate.take(calibrate.group != species_number)
        guard = fit_guard(left, others, table.schema, table.settings.guard, seed=1)
        assert species_number not in guard.names.tolist()
        mine = table.rows.take(table.rows.group == species_number)
        assert np.asarray(is_familiar(guard.novelty(mine.codes).p, table.settings.guard.coverage)).mean() < 0.05
