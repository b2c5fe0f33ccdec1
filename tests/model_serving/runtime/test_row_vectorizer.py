"""A few rows at once, against one row at a time."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sporeprint.model_serving.runtime.loaded_model import MIN_ROWS_TOGETHER, LoadedModel
from sporeprint.model_serving.runtime.row_vectorizer import RowVectorizer
from sporeprint.registry.registry import Registry
from sporeprint.safety.anomalies import row_anomalies
from sporeprint.schema import Contradiction, DatasetSchema


@pytest.fixture(scope="module", params=["xgboost", "logistic_regression"])
def served(_small_run: Path, request: pytest.FixtureRequest) -> LoadedModel:
    registry = Registry(_small_run / "models/registry")
    return LoadedModel.load(registry, registry.resolve(request.param))


def values(schema: DatasetSchema, name: str) -> st.SearchStrategy[Any]:
    column = schema.columns[name]
    if column.values is None:
        return st.none() | st.floats(0, 1e6) | st.sampled_from([0.0, 1e-7, 5.0, 1e300, float("nan")])
    return st.none() | st.sampled_from([*column.values, "never heard of"])


def rows_of(schema: DatasetSchema) -> st.SearchStrategy[dict[str, Any]]:
    """Rows of every kind: known values mostly, so that not every row is strange."""
    return st.fixed_dictionaries({}, optional={name: values(schema, name) for name in schema.columns})


@given(st.data())
def test_the_same_answers_as_one_by_one(served: LoadedModel, data: st.DataObject) -> None:
    golden = [dict(row) for row in served.bundle.golden.rows]
    any_row = rows_of(served.bundle.schema)
    near = st.builds(lambda row, other: row | dict(list(other.items())[:1]), st.sampled_from(golden), any_row)
    rows = data.draw(st.lists(any_row | near, min_size=MIN_ROWS_TOGETHER, max_size=20))
    one_by_one, together = [served.answer(row)[0] for row in rows], [answer for answer, _ in served.answers(rows)]
    assert [replace(answer, probability=0.0) for answer in together] == [replace(answer, probability=0.0) for answer in one_by_one]
    for one, other in zip(one_by_one, together, strict=True):
        assert abs(one.probability - other.probability) <= 1e-6


def test_kin_are_answered_together_each_by_itself(small_run: Path) -> None:
    registry = Registry(small_run / "models/registry")
    names = ("xgboost", "decision_tree", "logistic_regression")
    xgboost, tree, linear = (LoadedModel.load(registry, registry.resolve(name)) for name in names)
    assert xgboost.preprocessing_key == tree.preprocessing_key != linear.preprocessing_key  # a linear model's columns are encoded otherwise
    rows = [*xgboost.bundle.golden.rows[:MIN_ROWS_TOGETHER], {}, {"season": "never heard of"}]
    asked = [(tree, xgboost)[number % 2] for number in range(len(rows))]
    together = [answer for answer, _ in xgboost.answers(rows, asked)]
    one_by_one = [served.answer(row)[0] for served, row in zip(asked, rows, strict=True)]
    assert [replace(answer, probability=0.0) for answer in together] == [replace(answer, probability=0.0) for answer in one_by_one]
    assert [answer.probability for answer in together] == pytest.approx([answer.probability for answer in one_by_one], abs=1e-6)


def test_golden_rows_are_read_as_one_by_one(served: LoadedModel) -> None:
    bundle = served.bundle
    rows = [*bundle.golden.rows, {}, dict.fromkeys(bundle.schema.nominal, "never heard of")]
    read = served.table.vectorize(rows)
    assert np.array_equal(read.matrix, np.stack([bundle.encoder.encode_row(row) for row in rows]))
    assert read.may_be_anomalous.tolist() == [bool(row_anomalies(row, bundle.encoder, bundle.schema)) for row in rows]


def test_more_contradictions_than_bits_are_looked_at_by_row(served: LoadedModel) -> None:
    schema = served.bundle.schema
    when = {name: {"one_of": list(schema.columns[name].values or {})} for name in schema.nominal[:2]}
    one = Contradiction.model_validate({"says": "s", "when": when})
    many = schema.model_copy(update={"contradictions": (one,) * 33})
    table = RowVectorizer.of(replace(served.bundle, schema=many))
    assert table.contradictions is None
    assert table.vectorize([{}] * 2).may_be_anomalous.all()
