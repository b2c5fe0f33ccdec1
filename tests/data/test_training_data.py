"""The published tables of one run: read as a whole or not at all. (Missing and mixed ones: test_pipeline.py.)"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from sporeprint import settings
from sporeprint.common.workdir import Workdir
from sporeprint.data.training_data import KNOWN, read_input
from sporeprint.errors import DataError


def test_the_parts_come_as_they_were_split(small_config: dict[str, Any], small_run: Path) -> None:
    chosen = settings.parse(small_config)
    data = read_input(chosen, Workdir(small_run))
    tables = {
        "train": data.train,
        **{name: data.part(chosen, name) for name in ("early_stop", "calibration", "threshold")},
        "test": data.test,
    }
    assert {name: len(table.y) for name, table in tables.items()} == dict(data.record.splits)
    rows = np.concatenate([table.row for table in tables.values()])
    assert sorted(rows.tolist()) == list(range(1800))
    for table in tables.values():
        assert table.group is not None
        assert np.array_equal(table.group, table.row // 60)


def test_large_tables_are_samples_and_all_rows_are_read_in_batches(small_config: dict[str, Any], small_run: Path) -> None:
    whole = read_input(settings.parse(small_config), Workdir(small_run))
    small_config["runtime"] = {**small_config.get("runtime", {}), "most_rows": 300}
    small_config["guard"] = {**small_config.get("guard", {}), "calibration_rows": 100}
    chosen = settings.parse(small_config)
    data = read_input(chosen, Workdir(small_run))
    assert whole.notes == ()
    assert data.notes == (
        "Measured, calibrated and held out in folds on samples by hash: "
        f"300 of {len(whole.train.y):,} train rows, 300 of {len(whole.validation.y):,} validation rows (runtime.most_rows).",
    )
    assert np.array_equal(data.test.row, whole.test.row)
    assert set(data.train.row.tolist()) < set(whole.train.row.tolist())
    assert len(data.part(chosen, "calibration").y) <= 100
    known = data.known(chosen, KNOWN)
    expected = [*whole.train.row.tolist(), *whole.part(chosen, "early_stop").row.tolist()]
    assert [row for batch in known.batches for row in batch.row.tolist()] == expected
    assert [row for batch in known.batches for row in batch.row.tolist()] == expected  # again
    assert len(known.sample.y) <= 300
    assert not known.is_whole
    (only,) = whole.known(chosen, KNOWN).batches
    assert only.row.tolist() == expected


def test_the_values_are_those_of_the_published_table(small_config: dict[str, Any], small_run: Path) -> None:
    data = read_input(settings.parse(small_config), Workdir(small_run))
    found = pl.read_parquet(small_run / "data/processed/mushroom.parquet")
    for table in (data.train, data.validation, data.test):
        wanted = found[table.row]
        assert np.array_equal(table.y, (wanted["class"].cast(pl.String) == "p").to_numpy())
        np.testing.assert_array_equal(table.codes.numeric["stem-width"], wanted["stem-width"].fill_null(np.nan).to_numpy())
        words = [None, *table.codes.vocabulary["cap-shape"]]
        assert [words[code] for code in table.codes.nominal["cap-shape"]] == wanted["cap-shape"].cast(pl.String).to_list()


def test_a_foreign_file_is_refused(small_config: dict[str, Any], small_copy: Path) -> None:
    path = small_copy / "data/model_input/test.parquet"
    pl.DataFrame({"a": [1]}).write_parquet(path)
    with pytest.raises(DataError, match=r"test.parquet was not written by sporeprint; write it anew with sporeprint transform"):
        read_input(settings.parse(small_config), Workdir(small_copy))
    path.write_bytes(b"half a file")
    with pytest.raises(DataError, match=r"test.parquet"):
        read_input(settings.parse(small_config), Workdir(small_copy))


def test_tables_of_another_contract_are_refused(small_config: dict[str, Any], small_copy: Path) -> None:
    small_config["dataset"]["columns"]["smell"] = {"kind": "nominal"}
    with pytest.raises(DataError, match=r"train.parquet lacks the column 'smell'; write it anew with sporeprint transform and"):
        read_input(settings.parse(small_config), Workdir(small_copy))


@pytest.mark.parametrize("damage", ["{", "{}", '{"run_id": 1}', "[]"])
def test_a_damaged_record_is_said(damage: str, small_config: dict[str, Any], small_copy: Path) -> None:
    (small_copy / "data/validation/summary.json").write_text(damage, encoding="utf-8")
    with pytest.raises(DataError, match=r"the record of the data is damaged \(.*\); run sporeprint transform and sporeprint load again"):
        read_input(settings.parse(small_config), Workdir(small_copy))


def test_nothing_published_nothing_read(small_config: dict[str, Any], small_copy: Path) -> None:
    shutil.rmtree(small_copy / "data/validation")
    with pytest.raises(DataError, match=r"no data has been loaded in .*; run sporeprint load first"):
        read_input(settings.parse(small_config), Workdir(small_copy))
