"""The verdict for partial rows, and the dialogue that ends with one."""

import numpy as np
import pytest

from partial_support import LIMITS, SCHEMA, SETTINGS, fitted, world
from sporeprint.safety.cells import Cells
from sporeprint.safety.partial_guard import random_masks, with_threshold
from sporeprint.safety.partial_rule import CANDIDATES, decide_partial, rehearse
from sporeprint.safety.risk_control import RiskLevels, Threshold, choose_threshold
from sporeprint.safety.verdict import NEGATIVE, POSITIVE, UNKNOWN, VerdictLimits, is_familiar

GUARD = fitted().guard
NO_ANOMALY = np.zeros(1, dtype=np.bool_)
COST = dict.fromkeys(SCHEMA.columns, 1.0)


def test_every_row_of_a_known_group_is_answered_rightly_with_all_its_columns() -> None:
    cells, y = fitted().cells, fitted().rows.y
    verdict = decide_partial(GUARD, cells, contradictory=np.zeros(len(cells), dtype=np.bool_), limits=LIMITS).verdict
    assert (verdict != UNKNOWN).mean() > 0.9
    assert not ((verdict == NEGATIVE) & (y == 1)).any()


@pytest.mark.parametrize("column", range(len(SCHEMA.columns)))
def test_a_column_not_looked_at_costs_certainty_and_not_the_service(column: int) -> None:
    cells, y = fitted().cells, fitted().rows.y
    mask = np.arange(len(SCHEMA.columns)) != column
    hidden = cells.hidden(mask, GUARD.layout)
    verdict = decide_partial(GUARD, hidden, contradictory=np.zeros(len(cells), dtype=np.bool_), limits=LIMITS).verdict
    assert (verdict != UNKNOWN).mean() > 0.7
    assert ((verdict == NEGATIVE) & (y == 1)).sum() <= 1


def test_nothing_observed_is_too_little() -> None:
    answers = decide_partial(GUARD, Cells.of_rows([{}], GUARD.layout), contradictory=NO_ANOMALY, limits=LIMITS)
    assert answers.verdict.tolist() == [UNKNOWN]
    assert answers.too_little.tolist() == [True]
    assert answers.observed.tolist() == [0]


def test_an_anomaly_is_not_too_little_observed() -> None:
    cells = fitted().cells.take(slice(0, 1))
    answers = decide_partial(GUARD, cells, contradictory=~NO_ANOMALY, limits=LIMITS)
    assert answers.verdict.tolist() == [UNKNOWN]
    assert answers.too_little.tolist() == [False]


def test_without_a_threshold_nothing_is_negative() -> None:
    guard = with_threshold(GUARD, Threshold(None, 0.001, 0.05, 0, 0, "too few rows"))
    cells = fitted().cells
    answers = decide_partial(guard, cells, contradictory=np.zeros(len(cells), dtype=np.bool_), limits=LIMITS)
    assert not (answers.verdict == NEGATIVE).any()
    assert (answers.verdict == POSITIVE).any()


def test_the_classifier_has_a_say_where_it_knows_the_mask() -> None:
    cells = fitted().cells
    n = len(cells)
    quiet = np.zeros(n, dtype=np.bool_)
    alone = decide_partial(GUARD, cells, contradictory=quiet, limits=LIMITS)
    against = decide_partial(GUARD, cells, contradictory=quiet, limits=VerdictLimits(0.1, 0.5, 0.99), classifier=np.full(n, 0.9))
    assert (alone.verdict == NEGATIVE).any()
    assert not (against.verdict == NEGATIVE).any()
    assert (against.probability == 0.9).all()
    strange_mask = np.zeros(len(SCHEMA.columns), dtype=np.bool_)
    strange_mask[[0, 8]] = True
    hidden = cells.hidden(strange_mask, GUARD.layout)
    assert not (decide_partial(GUARD, hidden, contradictory=quiet, limits=LIMITS, classifier=np.full(n, 0.9)).probability == 0.9).any()


def test_answers_are_the_same_where_strangers_are_weighed_for_all_rows() -> None:
    """They are weighed only where the classifier leaves the negative class open, and only if it counts for all rows."""
    cells, random = fitted().cells, np.random.default_rng(3)
    tables = [cells]
    for _ in range(20):  # of half of the rows columns are hidden; were rows set apart in these tables, last digits would differ
        some = cells.take(random.permutation(len(cells))[:450])
        tables.append(some.hidden(random.random((450, len(SCHEMA.columns))) < random.choice([0.5, 1.0], (450, 1)), GUARD.layout))
    assert GUARD.trusted(cells).all()
    assert all(0.1 < GUARD.trusted(table).mean() < 0.9 for table in tables[1:])
    for rows in tables:
        quiet, says = np.zeros(len(rows), dtype=np.bool_), random.choice([0.01, 0.9], len(rows))
        limits, evidence = VerdictLimits(0.1, 0.5, 0.99), GUARD.likelihood.evidence(rows)
        told = decide_partial(GUARD, rows, contradictory=quiet, limits=limits, classifier=says, evidence=evidence)
        asked = decide_partial(GUARD, rows, contradictory=quiet, limits=limits, classifier=says)
        for name in ("probability", "p", "group", "verdict", "too_little", "observed", "withheld"):
            assert getattr(asked, name).tolist() == getattr(told, name).tolist(), name


def test_the_dialogue_ends_and_few_strangers_end_it_with_the_negative_class() -> None:
    rows, cells = fitted().rows, fitted().cells
    assert rows.group is not None
    seen = cells.take(np.flatnonzero(rows.y == 0)[:300])
    played = rehearse(GUARD, COST, seen, steps=10, coverage=0.99)
    assert (played.first(NEGATIVE, enough=GUARD.enough) <= 10).mean() > 0.8
    positive = np.flatnonzero(rows.y == 1)[:400]
    strangers = rehearse(GUARD, COST, cells.take(positive), steps=10, coverage=0.99, left_out=rows.group[positive].astype(np.intp))
    assert (strangers.first(NEGATIVE, enough=GUARD.enough) <= 10).mean() <= 4 * SETTINGS.unseen_risk
    known = rehearse(GUARD, COST, cells.take(positive), steps=10, coverage=0.99)
    assert (known.first(NEGATIVE) > 10).all()
    assert np.median(known.first(POSITIVE)) <= 4


def test_no_column_is_asked_twice() -> None:
    played = rehearse(GUARD, COST, fitted().cells.take(slice(0, 50)), steps=10, coverage=0.99)
    assert all(len(set(asked)) == 10 for asked in played.columns.T.tolist())


def test_the_threshold_is_that_of_all_rows_judged() -> None:
    """Rows that no candidate would answer with the negative class are not judged: they change nothing."""
    test, random = world(3000, seed=3), np.random.default_rng(6)  # as `fitted` has them
    hidden = Cells.of_codes(test.codes, GUARD.layout).hidden(random_masks(3000, len(SCHEMA.columns), random), GUARD.layout)
    judged = GUARD.judge(hidden)
    usable = np.asarray(is_familiar(judged.p, SETTINGS.coverage)) & judged.is_fed
    levels = RiskLevels(SETTINGS.alpha, SETTINGS.missed, SETTINGS.delta)
    positive = judged.evidence.positive
    assert choose_threshold(positive[usable], test.y[usable], CANDIDATES, levels, positives=int(test.y.sum())) == GUARD.threshold
    assert (positive > CANDIDATES[-1]).mean() > 0.3


def test_random_masks_are_of_any_size() -> None:
    masks = random_masks(500, 10, np.random.default_rng(1))
    assert set(masks.sum(axis=1).tolist()) == set(range(3, 11))
