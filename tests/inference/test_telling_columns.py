"""Which columns say most about a row."""

from dataclasses import replace
from pathlib import Path

import pytest

from sporeprint.inference.model_bundle import GoldenRows
from sporeprint.inference.predictor import explain_row
from sporeprint.inference.telling_columns import telling_columns
from sporeprint.registry.registry import Registry


@pytest.mark.parametrize("name", ["xgboost", "decision_tree", "logistic_regression"])
def test_they_are_those_with_the_largest_attributions(small_run: Path, name: str) -> None:
    bundle = Registry(small_run / "models/registry").load(name)
    columns = telling_columns(bundle)
    assert sorted(columns) == sorted(bundle.schema.columns)
    effects = dict.fromkeys(columns, 0.0)
    for row in bundle.golden.rows:
        for each in explain_row(bundle, row, most=len(columns)).attributions:
            effects[each.column] += abs(each.effect)
    assert columns[0] == max(effects, key=lambda column: effects[column])


def test_without_golden_rows_they_are_in_the_tables_order(small_run: Path) -> None:
    bundle = replace(Registry(small_run / "models/registry").load("xgboost"), golden=GoldenRows((), ()))
    assert telling_columns(bundle) == tuple(bundle.schema.columns)
