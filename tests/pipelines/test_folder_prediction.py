"""A table of several files, scored into part files: the answers are those to the same rows in one file."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sporeprint import settings
from sporeprint.data.part_files import part_files
from sporeprint.errors import DataError, UsageError
from sporeprint.pipelines.batch_prediction import predict
from sporeprint.pipelines.folder_prediction import predict_folder


@pytest.fixture
def folder(small_table: Path, tmp_path: Path) -> Path:
    """The small table in three files; the last has no rows."""
    header, *rows = small_table.read_text().splitlines(keepends=True)
    (place := tmp_path / "observations").mkdir()
    for number, part in enumerate((rows[:700], rows[700:], [])):
        (place / f"{number}.csv").write_text("".join([header, *part]))
    return place


@pytest.mark.parametrize("threads", [1, 2])
def test_answers_are_those_of_one_file(threads: int, folder: Path, small_config: dict[str, Any], small_run: Path, tmp_path: Path) -> None:
    chosen = settings.parse(small_config | {"runtime": {"threads": threads}})
    files = sorted(folder.iterdir())
    files[-1].unlink()
    found = predict_folder(chosen, small_run, str(folder), tmp_path / "answers")
    expected = predict(small_run, folder, tmp_path / "answers.parquet")
    assert found.counts == expected.counts
    parts = part_files(tmp_path / "answers", whole=True)
    assert [part.name for part in parts] == ["part-00000.parquet", "part-00001.parquet"]
    assert pl.concat(map(pl.read_parquet, parts)).equals(pl.read_parquet(tmp_path / "answers.parquet"))
    with pytest.raises(UsageError, match=r"answers is there already; name a folder that is not$"):
        predict_folder(chosen, small_run, str(folder), tmp_path / "answers")


def test_nothing_appears_where_a_file_cannot_be_scored(folder: Path, small_config: dict[str, Any], small_run: Path, tmp_path: Path) -> None:
    (folder / "3.csv").write_text("a;b\n1;2\n")
    with pytest.raises(DataError, match=r"3\.csv"):
        predict_folder(settings.parse(small_config), small_run, str(folder / "[013].csv"), tmp_path / "answers")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["observations"]
