"""Tables counted file by file, by tasks: the counts are those of one file with all rows."""

import json
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sporeprint import settings
from sporeprint.common.engine import LocalEngine
from sporeprint.common.progress import SilentProgress
from sporeprint.errors import DataError
from sporeprint.pipelines.monitoring import monitor
from sporeprint.pipelines.table_counting import CountTask, count_files


def test_a_folder_is_evaluated_as_the_file_of_its_rows(
    small_table: Path, small_config: dict[str, Any], small_copy: Path, tmp_path: Path
) -> None:
    rows = pl.read_csv(small_table, separator=";", infer_schema=False).gather_every(3)
    (folder := tmp_path / "today").mkdir()
    for number in range(3):
        rows.slice(number * 200, 200).write_parquet(folder / f"{number}.parquet")
    rows.write_parquet(tmp_path / "today.parquet")
    chosen = settings.parse(small_config | {"runtime": {"threads": 2}})
    other = shutil.copytree(small_copy, tmp_path / "other")  # with no memory of the first evaluation
    found = [
        monitor(chosen, root, place).evaluation.to_dict() for root, place in ((small_copy, folder), (other, tmp_path / "today.parquet"))
    ]
    for each in found:
        for name in ("at", "window", "current"):
            each.pop(name, None)
    one, two = (json.loads(json.dumps(each), parse_float=lambda number: round(float(number), 9)) for each in found)
    assert one == two  # sums of losses are added up in another order


def test_a_file_of_other_columns_is_named(small_table: Path, small_config: dict[str, Any], tmp_path: Path) -> None:
    chosen = settings.parse(small_config)
    rows = pl.read_csv(small_table, separator=";", infer_schema=False)
    tasks = []
    for number, table in enumerate((rows, rows.drop("season"))):
        table.write_parquet(path := tmp_path / f"{number}.parquet")
        tasks.append(CountTask(path, tmp_path, None, chosen.dataset, chosen.source.csv))
    with (
        closing(LocalEngine(1)) as engine,
        pytest.raises(DataError, match=r"1\.parquet is unlike .*: only one of them has the column 'season'"),
    ):
        count_files(tasks, engine, SilentProgress())
