"""A table of several files: what one file would say, and what tells files of one table from others."""

from pathlib import Path

import polars as pl
import pytest

from sporeprint.common.files import sha256_file
from sporeprint.common.progress import SilentProgress
from sporeprint.errors import DataError
from sporeprint.ingestion.inspection import Inspection, inspect_csv, inspect_parquet, one_kind
from sporeprint.schema import DatasetSchema
from sporeprint.settings import CsvSettings

SCHEMA = DatasetSchema.model_validate(
    {
        "name": "tiny",
        "target": {"column": "class", "positive": "p", "values": {"e": "edible", "p": "poisonous"}},
        "columns": {"width": {"kind": "numeric"}},
    }
)
ROWS = [f"{'ep'[number % 2]};{number}" for number in range(10)]


def written(folder: Path, **texts: str) -> dict[Path, str]:
    for name, text in texts.items():
        (folder / f"{name}.csv").write_bytes(text.encode())
    return {folder / f"{name}.csv": f"the file {name}" for name in texts}


def inspected(named: dict[Path, str], **csv: object) -> Inspection:
    return inspect_csv(named, CsvSettings.model_validate(csv), SCHEMA, SilentProgress(), labelled=True)


@pytest.mark.parametrize("header", [True, False])
def test_several_files_have_the_sum_and_the_sha256_of_one(header: bool, tmp_path: Path) -> None:
    def text(rows: list[str], end: str = "\n") -> str:
        return "\n".join([*(["class;width"] if header else []), *rows]) + end

    columns = None if header else ["class", "width"]
    (one,) = written(tmp_path, one=text(ROWS))
    named = written(tmp_path, a=text(ROWS[:3]), b=text(ROWS[3:4], end=""), c=text(ROWS[4:]))
    found = inspected(named, header=header, columns=columns)
    assert found.sha256 == sha256_file(one) == inspected({one: "one"}, header=header, columns=columns).sha256
    assert [(file.path.name, file.rows, file.sha256 == sha256_file(file.path)) for file in found.files] == [
        ("a.csv", 3, True),
        ("b.csv", 1, True),
        ("c.csv", 6, True),
    ]
    assert (found.rows, found.bytes) == (10, sum(path.stat().st_size for path in named))


def test_a_part_without_rows_is_none_of_a_table_without_rows(tmp_path: Path) -> None:
    named = written(tmp_path, a="class;width\n", b="class;width\ne;1\n", c="class;width\n")
    assert [file.rows for file in inspected(named).files] == [0, 1, 0]
    with pytest.raises(DataError, match="the file a and the files after it hold a header and no rows"):
        inspected(written(tmp_path, a="class;width\n", c="class;width\n"))


def test_a_part_of_no_bytes_was_cut(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the file b is empty"):
        one_kind(written(tmp_path, a="class;width\ne;1\n", b=""))


def test_a_part_that_is_there_twice_is_named_with_the_other(tmp_path: Path) -> None:
    named = written(tmp_path, a="class;width\ne;1\n", b="class;width\ne;2\n", c="class;width\ne;1\n")
    with pytest.raises(DataError, match=r"^the file c holds the same bytes as the file a, so its rows would count twice; remove one"):
        inspected(named)


@pytest.mark.parametrize(
    ("line", "difference"),
    [
        ("width;class", "it has 'width' where the other has 'class'"),
        ("class;girth", "it has 'girth' where the other has 'width'"),
        ("class", "it has nothing where the other has 'width'"),
        ("class;width;x", "it has 'x' where the other has nothing"),
        ("class,width", "it has 'class,width' where the other has 'class;width'"),
    ],
)
def test_another_header_is_named_with_its_first_difference(line: str, difference: str, tmp_path: Path) -> None:
    named = written(tmp_path, a="\ufeffclass;width\ne;1\n", b="class;width\ne;2\n", c=f"{line}\n1;e\n")
    message = f"^the first line of the file c is not that of the file a: {difference}; expected files with the same header$"
    with pytest.raises(DataError, match=message):
        inspected(named)


def test_parquet_files_of_one_table(tmp_path: Path) -> None:
    named = {tmp_path / f"{name}.parquet": f"the file {name}" for name in "abc"}
    for number, path in enumerate(named):
        pl.DataFrame({"class": ["e"] * number, "width": [1.0] * number}).write_parquet(path)
    found = inspect_parquet(named, SCHEMA, labelled=True)
    assert (found.rows, [file.rows for file in found.files]) == (3, [0, 1, 2])
    pl.DataFrame({"class": ["e"], "size": [1.0]}).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"^the file b has other columns than the file a: 'size' is in one of them only"):
        inspect_parquet(named, SCHEMA, labelled=True)
    (tmp_path / "b.parquet").write_bytes((tmp_path / "c.parquet").read_bytes())
    with pytest.raises(DataError, match=r"^the file c holds the same bytes as the file b"):
        inspect_parquet(named, SCHEMA, labelled=True)


def test_files_of_several_forms(tmp_path: Path) -> None:
    named = written(tmp_path, a="class;width\n")
    pl.DataFrame({"class": ["e"]}).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"^the file a is csv, the file b is parquet; expected files of one form"):
        one_kind({**named, tmp_path / "b.parquet": "the file b"})
