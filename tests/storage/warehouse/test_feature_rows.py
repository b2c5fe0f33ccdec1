"""Tests of sporeprint.storage.warehouse.feature_rows: features as columns, and a hash that equal rows share however they were written."""

import hashlib
import json

import pytest

from sporeprint.storage.warehouse.feature_rows import feature_columns, row_hashes
from support import NUMERIC, OPEN, dataset
from warehouse_support import SCHEMA

WORDS = dataset({"cap-shape": {"kind": "nominal", "values": {"b": "bell", "x": "convex"}}, "size": NUMERIC, "smell": OPEN})


def test_columns_are_those_of_the_contract() -> None:
    found = feature_columns(['{"cap_shape":" x ","size":"2","other":1}', "{}"], SCHEMA)
    assert found.rows() == [("x", "2", None), (None, None, None)]


@pytest.mark.parametrize(
    "written",
    [
        {"smell": "ö", "size": 2, "cap-shape": "x"},
        {"cap_shape": "x", "size": 2.0, "smell": "ö"},
        {"cap-shape": "convex", "size": "2", "smell": "ö "},
        {"cap-shape": "Convex", "size": "2.00", "smell": "ö"},
    ],
)
def test_a_row_has_one_hash_however_it_was_written(written: dict[str, object]) -> None:
    found = row_hashes([json.dumps({"cap-shape": "x", "size": 2.0, "smell": "ö"}), json.dumps(written)], WORDS)
    assert found.n_unique() == 1


def test_a_field_that_is_empty_is_missing() -> None:
    texts = [{"cap-shape": "x"}, {"cap-shape": "x", "size": None}, {"cap-shape": "x", "size": None, "smell": ""}]
    assert row_hashes([json.dumps(text) for text in texts], WORDS).n_unique() == 1


def test_rows_that_differ_have_other_hashes() -> None:
    texts = [
        json.dumps({"cap-shape": shape, "size": size, "smell": smell}) for shape in "bx?" for size in range(100) for smell in ("", "a", "ö")
    ]
    found = row_hashes(texts, WORDS)
    assert found.n_unique() == len(texts)
    assert found.min() >= 0  # type: ignore[operator]  # of integers
    assert row_hashes(['{"cap-shape":"x","size":-0.0}', '{"cap-shape":"x","size":0}'], WORDS).n_unique() == 1


def test_a_hash_stays_the_same_over_releases() -> None:
    """Rows are told apart over years: a hash that another version of a library changes would count them anew."""
    expected = int.from_bytes(hashlib.blake2b("x\x1f2.0\x1fö".encode(), digest_size=8).digest(), "little") >> 1
    assert row_hashes(['{"cap-shape":"x","size":2,"smell":"ö"}'], WORDS).to_list() == [expected]
