"""Metrics of labelled rows, held against scikit-learn's."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, roc_auc_score

from sporeprint.errors import DataError
from sporeprint.inference.table_metrics import label_array, table_metrics
from support import OPEN, dataset

SCHEMA = dataset({"a": OPEN})
NEGATIVE, POSITIVE = SCHEMA.target.negative, SCHEMA.target.positive
WORDS = SCHEMA.target.values


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9])), min_size=2, max_size=40))
def test_metrics_are_those_of_scikit_learn(rows: list[tuple[bool, float]]) -> None:
    positive, probability = (np.array(values) for values in zip(*rows, strict=True))
    verdict = np.where(probability > 0.5, WORDS[POSITIVE], WORDS[NEGATIVE])
    if positive.all() or not positive.any():
        with pytest.raises(DataError, match="one class only"):
            table_metrics(positive, probability, verdict, SCHEMA)
        return
    found = table_metrics(positive, probability, verdict, SCHEMA)
    assert found["roc_auc"] == pytest.approx(roc_auc_score(positive, probability))
    assert found["accuracy"] == found["correct"] == pytest.approx(accuracy_score(positive, probability > 0.5))
    assert found["coverage"] == 1
    assert found["false_negatives"] + found["false_positives"] == pytest.approx((1 - found["accuracy"]) * len(rows))


@pytest.mark.parametrize(
    "labels",
    [
        [POSITIVE, NEGATIVE],
        [WORDS[POSITIVE], WORDS[NEGATIVE]],
        np.array([POSITIVE, NEGATIVE]),
        pl.Series([POSITIVE, NEGATIVE]),
        pl.DataFrame({SCHEMA.target.column: [POSITIVE, NEGATIVE]}),
        [{SCHEMA.target.column: POSITIVE}, {SCHEMA.target.column: NEGATIVE}],
    ],
)
def test_labels_are_codes_or_words_in_any_form(labels: Any) -> None:
    assert label_array(labels, SCHEMA, 2).tolist() == [True, False]


def test_as_many_labels_as_rows() -> None:
    with pytest.raises(DataError, match="1 labels are given for 2 rows"):
        label_array([POSITIVE], SCHEMA, 2)
    with pytest.raises(DataError, match="row 1: None is no class of"):
        label_array([POSITIVE, None], SCHEMA, 2)
