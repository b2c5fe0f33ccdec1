"""Verdicts by number of columns: counted as they are given, and worse with fewer."""

import numpy as np

from partial_support import SCHEMA, fitted, world
from sporeprint.evaluation.partial_scorecard import evaluate_partial

GUARD = fitted().guard
COST = dict.fromkeys(SCHEMA.columns, 1.0)


def test_more_columns_answer_more_and_every_row_is_counted() -> None:
    counts = evaluate_partial(GUARD, COST, world(400, seed=21), world(600, seed=22), coverage=0.99, seed=1)
    assert [(item.how, item.columns) for item in counts] == [(how, number) for how in ("asked", "random") for number in (4, 6, 8, 10)]
    for how in ("asked", "random"):
        answered = [item.seen.answered for item in counts if item.how == how]
        assert answered[-1] > answered[0]
    for item in counts:
        assert item.seen.rows == 400
        assert item.unseen is not None
        assert item.unseen.rows == item.unseen.positives == 12 * 8
        assert (item.wrong_groups == 0) == (item.unseen.false_negative == 0)
        assert item.groups == 12


def test_asking_answers_more_than_chance() -> None:
    counts = evaluate_partial(GUARD, COST, world(400, seed=21), None, coverage=0.99, seed=1)
    asked, random = ({item.columns: item.seen.answered for item in counts if item.how == how} for how in ("asked", "random"))
    assert np.mean([asked[number] - random[number] for number in (4, 6, 8)]) > 0
    assert all(item.unseen is None for item in counts)
