"""How a file is written, found from the file alone."""

import datetime as dt
from pathlib import Path

import polars as pl
import pytest

from sporeprint.errors import DataError
from sporeprint.ingestion.table_sample import TableSample, read_sample
from table_cases import csv, loans

NAMES = ("income", "age", "debt", "city", "product", "late")


def sample(tmp_path: Path, text: str | bytes) -> TableSample:
    (path := tmp_path / "t.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_sample(path, "the table")


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", " "])
def test_separator_header_and_rows(separator: str, tmp_path: Path) -> None:
    found = sample(tmp_path, csv(loans(200), separator=separator))
    assert (found.separator, found.names, found.rows, found.header, found.encoding) == (separator, NAMES, 200, True, "utf-8")
    assert found.frame["3"].to_list() == loans(200)["city"]


def test_decimal_commas_do_not_separate(tmp_path: Path) -> None:
    columns = {name: [str(value).replace(".", ",") for value in values] for name, values in loans(100).items()}
    assert sample(tmp_path, csv(columns, separator=";")).separator == ";"


@pytest.mark.parametrize("before", ["# exported\n# unit: EUR\n", "X1,X2,X3,X4,X5,Y\n", "Loans of the year\n\n"])
def test_lines_before_the_names(before: str, tmp_path: Path) -> None:
    found = sample(tmp_path, before + csv(loans(100)))
    assert (found.names, found.rows, found.header) == (NAMES, 100, True)


def test_a_name_may_have_two_lines(tmp_path: Path) -> None:
    found = sample(tmp_path, csv(loans(100)).replace("income,", '"income\n(a month)",', 1))
    assert (found.names[0], found.rows, found.header) == ("income\n(a month)", 100, True)


def test_what_is_no_value_is_told(tmp_path: Path) -> None:
    columns = {"size": [1, 2], "wait": [dt.timedelta(days=1)] * 2, "tags": [["a"], []], "at": [dt.time(1)] * 2}
    pl.DataFrame(columns).write_parquet(tmp_path / "t.parquet")
    assert read_sample(tmp_path / "t.parquet", "the table").foreign == {"wait": "durations", "tags": "lists or records"}


def test_without_names(tmp_path: Path) -> None:
    found = sample(tmp_path, csv(loans(100), header=False))
    assert (found.names, found.rows, found.header) == (("c1", "c2", "c3", "c4", "c5", "c6"), 100, False)
    texts = {name: loans(100)[name] for name in ("city", "product")}
    assert not sample(tmp_path, csv(texts, header=False)).header
    assert sample(tmp_path, csv(texts)).header


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252", "cp1251", "koi8-r"])
def test_encoding(encoding: str, tmp_path: Path) -> None:
    columns = loans(100)
    word = "Минск" if encoding in ("cp1251", "koi8-r") else "Zürich"
    columns["city"] = [word if city == "Aarau" else city for city in columns["city"]]
    found = sample(tmp_path, csv(columns).encode(encoding))
    assert found.encoding == encoding
    assert found.encoding_guessed == (encoding in ("cp1252", "cp1251", "koi8-r"))
    assert word in found.frame["3"].to_list()


def test_a_long_file_is_read_in_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sporeprint.ingestion.table_sample.BLOCK", 4096)
    found = sample(tmp_path, csv(loans(20_000)))
    assert not found.is_whole
    assert 0.8 < found.rows / 20_000 < 1.2
    assert 500 < found.frame.height < 3000
    assert set(found.frame["3"].drop_nulls()) == set(loans(100)["city"])


@pytest.mark.parametrize(
    ("text", "message"), [(b"\n \n", "is empty"), (b"a,b\n", "has a header and no rows"), (b"<html></html>", "an HTML or XML page")]
)
def test_what_is_no_table(text: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        sample(tmp_path, text)


def test_a_header_of_ten_thousand_columns(tmp_path: Path) -> None:
    names = [f"x{number}" for number in range(10_000)]
    found = sample(tmp_path, ",".join(names) + "\n" + ",".join(["1"] * 10_000) + "\n" + ",".join(["2"] * 10_000) + "\n")
    assert (len(found.names), found.rows) == (10_000, 2)
