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
from sporeprint.pipelines import table_counting
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


def test_rows_with_an_outcome_that_repeat_in_a_file_count_once(
    small_table: Path, small_config: dict[str, Any], small_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = pl.read_csv(small_table, separator=";", infer_schema=False).unique(maintain_order=True).head(200)
    copies = pl.concat([rows] * 5).sample(fraction=1.0, shuffle=True, seed=4)
    rows.write_parquet(once := tmp_path / "once.parquet")
    copies.write_parquet(often := tmp_path / "often.parquet")
    chosen = settings.parse(small_config)
    one, five = (monitor(chosen, small_copy, place).evaluation.performance for place in (once, often))
    assert one is not None
    assert five is not None
    assert (one.labelled, one.rows, five.labelled, five.rows) == (200, 200, 1000, 200)
    assert five.likelier == one.likelier
    monkeypatch.setattr(table_counting, "MOST_DIFFERENT", 120)
    few = monitor(chosen, small_copy, once).evaluation.performance
    assert few is not None
    assert (few.labelled, few.rows) == (200, 120)


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
