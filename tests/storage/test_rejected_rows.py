"""The file of rejected rows, a page at a time."""

from pathlib import Path

import polars as pl
import pytest

import sporeprint.storage.rejected_rows
from sporeprint.errors import StorageError
from sporeprint.storage.rejected_rows import MOST_TEXT, csv_parts, read

RULES = [["number:stem-width"], ["range:stem-width", "value:cap-shape"], ["malformed"], ["number:stem-width"]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "rejected.parquet"
    frame = pl.DataFrame(
        {
            "_row": [9, 3, 5, 7],
            "rules": RULES,
            "reason": ["r9", "r3", None, "r7"],
            "text": [None, None, "x;y;" + "z" * 20_000, None],
            "stem-width": ["17.wrz", "<b>", None, "nan"],
            "text_": ["a", "b", None, "c"],
        }
    )
    frame.write_parquet(path)
    return path


def test_pages_are_in_the_order_of_the_source(path: Path) -> None:
    rows, count = read(path, rule=None, column=None, limit=3, after=None)
    assert ([row["row"] for row in rows], count) == ([3, 5, 7], 4)
    rows, count = read(path, rule=None, column=None, limit=3, after=7)
    assert ([row["row"] for row in rows], count) == ([9], 4)
    assert rows[0] == {
        "row": 9,
        "rules": ("number:stem-width",),
        "reason": "r9",
        "values": {"stem-width": "17.wrz", "text": "a"},  # a column of the table that is called text
        "text": None,
    }


def test_of_two_names_with_an_underscore_the_longer_is_the_renamed_one(path: Path) -> None:
    pl.read_parquet(path).with_columns(text__=pl.lit("more")).write_parquet(path)
    (row,) = read(path, rule=None, column=None, limit=1, after=7)[0]
    assert row["values"] == {"stem-width": "17.wrz", "text_": "a", "text": "more"}


def test_a_rule_and_a_column_are_filters(path: Path) -> None:
    assert [row["row"] for row in read(path, rule="number:stem-width", column=None, limit=9, after=None)[0]] == [7, 9]
    assert [row["row"] for row in read(path, rule=None, column="stem-width", limit=9, after=None)[0]] == [3, 7, 9]
    assert read(path, rule=None, column="stem", limit=9, after=None) == ([], 0)


def test_a_line_of_any_length_is_cut(path: Path) -> None:
    (row,) = read(path, rule="malformed", column=None, limit=9, after=None)[0]
    assert len(row["text"]) == MOST_TEXT


def test_all_rows_are_one_csv_file_whatever_its_parts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = b"".join(csv_parts(path, rule=None, column=None))
    frame = pl.read_csv(whole, infer_schema=False)
    assert frame.columns == ["_row", "rules", "reason", "text", "stem-width", "text_"]
    assert frame["_row"].to_list() == ["3", "5", "7", "9"]
    assert frame["rules"][0] == "range:stem-width value:cap-shape"
    for part in (1, 2, 3, 4):
        monkeypatch.setattr(sporeprint.storage.rejected_rows, "PART", part)
        assert b"".join(csv_parts(path, rule=None, column=None)) == whole
    only = pl.read_csv(b"".join(csv_parts(path, rule="malformed", column=None)), infer_schema=False)
    assert only["_row"].to_list() == ["5"]
    assert len(only["text"][0]) > MOST_TEXT  # nothing is cut in a file
    none = b"".join(csv_parts(path, rule="none", column=None))
    assert none == whole.splitlines(keepends=True)[0]


def test_a_file_that_is_none_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(StorageError, match="cannot be read"):
        read(tmp_path / "x.parquet", rule=None, column=None, limit=1, after=None)
    with pytest.raises(StorageError, match="cannot be read"):
        next(csv_parts(tmp_path / "x.parquet", rule=None, column=None))
