"""Observed files: known columns are read from CSV and Parquet alike, what is missing or strange is said."""

from pathlib import Path

import polars as pl
import pytest

from sporeprint.errors import DataError
from sporeprint.ingestion import partial_table as observed
from sporeprint.ingestion.partial_table import observe
from support import NUMERIC, OPEN, dataset, nominal

SCHEMA = dataset({"size": NUMERIC, "shape": nominal("a", "b"), "place": OPEN})
FRAME = pl.DataFrame(
    {"class": ["e", "p", None], "place": ["in", "", "out"], "size": [1.5, None, 2.0], "verdict": ["unknown"] * 3, "more": [1, 2, 3]}
)


def written(path: Path, frame: pl.DataFrame = FRAME, separator: str = ",") -> Path:
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    else:
        frame.write_csv(path, separator=separator)
    return path


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_known_columns_are_read(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observed, "ROWS", 2)
    found = observe(written(tmp_path / name), SCHEMA)
    assert found.present == ("class", "size", "place", "verdict")
    assert (found.absent, found.extra) == (("shape",), ("more",))
    frames = [frame for frame, _ in found.frames()]
    assert sum(frame.height for frame in frames) == 3
    assert pl.concat([frame.select(pl.col("size").cast(pl.Float64)) for frame in frames])["size"].to_list() == [1.5, None, 2.0]
    assert set(found.present) <= set(frames[0].columns)


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
@pytest.mark.parametrize("answered", [False, True])
def test_columns_that_are_named_as_answers_have_the_names_of_answered_rows(tmp_path: Path, name: str, *, answered: bool) -> None:
    schema = dataset({"verdict": NUMERIC, "reason": OPEN})
    own = {"class": ["e", "p"], "verdict_": [1.5, 2.0], "reason_": ["a", "b"]}
    plain = {"class": ["e", "p"], "verdict": [1.5, 2.0], "reason": ["a", "b"]}
    table = pl.DataFrame({**own, "verdict": ["edible", "unknown"], "reason": ["x", None]} if answered else plain)
    found = observe(written(tmp_path / name, table), schema)
    assert found.present == ("class", "verdict_", "reason_", *(("verdict",) if answered else ()))
    assert (found.absent, found.extra) == ((), ("reason",) if answered else ())
    frame = next(found.frames())[0].select(pl.col("verdict_").cast(pl.Float64), "reason_")
    assert frame.to_dict(as_series=False) == {"verdict_": [1.5, 2.0], "reason_": ["a", "b"]}


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_any_separator(tmp_path: Path, separator: str) -> None:
    found = observe(written(tmp_path / "t.csv", separator=separator), SCHEMA)
    assert sum(frame.height for frame, _ in found.frames()) == 3


def test_malformed_rows_are_counted(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("size,shape\n1,a\n1,a,b,c\n2,b\n")
    assert [(frame.height, unreadable) for frame, unreadable in observe(tmp_path / "t.csv", SCHEMA).frames()] == [(2, 1)]


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_a_file_without_rows_has_none(tmp_path: Path, name: str) -> None:
    found = observe(written(tmp_path / name, FRAME.clear()), SCHEMA)
    assert found.rows == 0
    assert list(found.frames()) == []


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    for name, content, match in (
        ("empty.csv", b"", "is empty"),
        ("page.csv", b"<html></html>", "is an HTML or XML page"),
        ("other.csv", b"a,b\n1,2\n", r"no column is one of the dataset 'table' \(found: 'a', 'b'\)"),
        ("twice.csv", b"size,size\n1,2\n", "the column 'size' is there 2 times"),
        ("damaged.parquet", b"PAR1 and nothing", "damaged or no Parquet file"),
        ("packed.csv", b"PK\x03\x04", "zip archive; unpack it first"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=match):
            observe(tmp_path / name, SCHEMA)
    with pytest.raises(DataError, match="no such file"):
        observe(tmp_path / "none.csv", SCHEMA)
    with pytest.raises(DataError, match="is no file"):
        observe(tmp_path, SCHEMA)
    with pytest.raises(DataError, match="expected one plain value a row"):
        observe(written(tmp_path / "nested.parquet", pl.DataFrame({"size": [[1.0]]})), SCHEMA)
