"""What is strange about a row: told of one row as of a table, and nothing that is only missing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safety_support import encoder_of, real
from sporeprint.data.coded_table import Codes
from sporeprint.data.dataset import to_rows
from sporeprint.models.encoder import Encoder
from sporeprint.models.encoder_fit import column_transforms, fit_encoder
from sporeprint.safety.anomalies import RowAnomalies, TableAnomalies, row_anomalies, table_anomalies
from sporeprint.schema import DatasetSchema
from sporeprint.settings import ModelSettings, TransformSettings
from support import NUMERIC, OPEN, Labelled, codes, dataset, nominal, tables

COLUMNS = {"ring": nominal("t", "f"), "type": nominal("c", "f"), "smell": OPEN, "height": NUMERIC, "empty": NUMERIC}
SCHEMA = DatasetSchema.model_validate(
    {
        **dataset(COLUMNS).model_dump(),
        "contradictions": [{"says": "no ring, but a type", "when": {"ring": {"one_of": ["f"]}, "type": {"none_of": ["f"]}}}],
    }
)
TRAINING: dict[str, list[Any]] = {
    "ring": ["t", "f", "t", None],
    "type": ["c", "f", "f", "f"],
    "smell": ["almond", None, "anise", "almond"],
    "height": [2.0, 5.5, None, 3.0],
    "empty": [None] * 4,
}


def encoder(table: Codes, schema: DatasetSchema, **choice: Any) -> Encoder:
    chosen = column_transforms(TransformSettings.model_validate(choice), ModelSettings(estimator="xgboost"), schema)
    return fit_encoder(table, np.zeros(table.rows, dtype=np.int8), chosen)


ENCODER = encoder(codes(TRAINING, SCHEMA), SCHEMA)


def told(**row: Any) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """What is strange about one row, alone and as a table of one."""
    found = row_anomalies(row, ENCODER, SCHEMA)
    whole = table_anomalies(codes({name: [row.get(name)] for name in SCHEMA.columns}, SCHEMA), ENCODER, SCHEMA)
    assert (found.unseen, found.outside, found.contradictions) == (tuple(whole.unseen), tuple(whole.outside), tuple(whole.contradictions))
    assert bool(found) == bool(whole.any(1)[0])
    return found.unseen, found.outside, found.contradictions


def test_a_row_of_known_values_is_not_strange() -> None:
    assert told(ring="t", type="c", smell="anise", height=4.0) == ((), (), ())
    assert not row_anomalies({"ring": "t", "type": "c", "smell": "anise", "height": 4}, ENCODER, SCHEMA)


def test_nothing_missing_is_strange() -> None:
    assert told() == ((), (), ())
    assert told(ring=None, height=float("nan"), empty=None) == ((), (), ())


def test_values_never_seen_are_named_in_the_order_of_the_columns() -> None:
    assert told(smell="garlic", ring="?", type="f") == (("ring", "smell"), (), ())


@pytest.mark.parametrize(
    ("height", "outside"),
    [
        (2.0, False),
        (5.5, False),
        (np.nextafter(2, 0), True),
        (np.nextafter(5.5, 6), True),
        (1e300, True),
        (-1e300, True),
        (float("inf"), True),
    ],
)
def test_numbers_outside_what_was_are_named(height: float, outside: bool) -> None:
    assert told(height=float(height)) == ((), ("height",) * outside, ())


@pytest.mark.parametrize("number", [0.0, 1.0, -1e300, float("inf"), float("-inf")])
def test_any_number_is_outside_where_training_had_none(number: float) -> None:
    assert told(empty=number) == ((), ("empty",), ())


def test_contradictions_are_told_beside_the_rest() -> None:
    assert told(ring="f", type="c", height=100.0, smell="?") == (("smell",), ("height",), ("no ring, but a type",))
    assert told(ring="f", type="f") == ((), (), ())


@pytest.mark.parametrize("found", [RowAnomalies(("a",), (), ()), RowAnomalies((), ("a",), ()), RowAnomalies((), (), ("a",))])
def test_anything_makes_a_row_strange(found: RowAnomalies) -> None:
    assert found
    assert not RowAnomalies((), (), ())


def test_any_of_three_flags_makes_a_row_strange() -> None:
    first, second, third = (np.array([number == place for number in range(4)]) for place in range(3))
    assert TableAnomalies({"a": first}, {"b": second}, {"c": third}).any(4).tolist() == [True, True, True, False]
    assert TableAnomalies().any(3).tolist() == [False, False, False]
    assert TableAnomalies({"a": first}).any(4).tolist() == first.tolist()


def test_asking_for_any_changes_no_flag() -> None:
    flags = np.array([True, False])
    TableAnomalies({"a": flags}, {"b": np.array([False, True])}).any(2)
    assert flags.tolist() == [True, False]


@given(tables(unknown=True), st.integers(0, 20), st.sampled_from(["one_hot", "ordinal", "target_mean"]))
def test_a_row_alone_is_as_strange_as_in_the_table(table: Labelled, count: int, encode: str) -> None:
    fitted = encoder(table.codes.take(slice(0, count)), table.schema, nominal={"encode": encode})
    whole = table_anomalies(table.codes, fitted, table.schema)
    assert all(flags.any() for found in (whole.unseen, whole.outside, whole.contradictions) for flags in found.values())
    # An unknown value has no text in the codes; any that is in no vocabulary will do.
    unknown = {name: (*values, "\0unknown") for name, values in table.codes.vocabulary.items()}
    placed = {name: np.where(values == -1, len(unknown[name]), values).astype(np.int16) for name, values in table.codes.nominal.items()}
    for number, row in enumerate(to_rows(Codes(unknown, placed, table.codes.numeric, table.codes.rows))):
        found = row_anomalies(row, fitted, table.schema)
        assert set(found.unseen) == {name for name, flags in whole.unseen.items() if flags[number]}
        assert set(found.outside) == {name for name, flags in whole.outside.items() if flags[number]}
        assert bool(found) == bool(whole.any(table.codes.rows)[number])


def test_no_row_that_the_encoder_was_fitted_on_is_strange(real_data: Path, config_file: Path) -> None:
    table = real(real_data, config_file)
    known = table.part("train", "early_stop")
    assert table_anomalies(known.codes, encoder_of(known, table.schema), table.schema) == TableAnomalies()
    # Of the others hardly any is: 30,000 rows have seen nearly all there is.
    rest = table.part("test")
    assert table_anomalies(rest.codes, table.encoder, table.schema).any(rest.codes.rows).mean() < 0.002
