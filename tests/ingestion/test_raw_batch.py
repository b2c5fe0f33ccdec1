"""The frame of rows that could not be split."""

import polars as pl

from sporeprint.ingestion.raw_batch import malformed_rows


def test_malformed_rows_have_their_types_even_where_there_are_none() -> None:
    schema = {"_row": pl.Int64, "reason": pl.String, "text": pl.String}
    assert malformed_rows().schema == schema
    found = malformed_rows([3], ["2 fields instead of 3"], ["a;b"])
    assert found.schema == schema
    assert found.rows() == [(3, "2 fields instead of 3", "a;b")]
