"""Batches as they are listed, and rows of one in pages."""

import json
from pathlib import Path

import polars as pl
import pytest
from sqlalchemy import Engine, insert

from sporeprint.storage.engine import writing
from sporeprint.storage.oltp import batch_search, migrate
from sporeprint.storage.oltp.batch_file import BatchStore
from sporeprint.storage.oltp.batch_search import batch_rows, listed
from sporeprint.storage.oltp.parquet_writer import ParquetWriter
from sporeprint.storage.oltp.tables import batch

BATCH = "0" * 32


def test_batches_are_listed_in_pages_the_latest_first(empty: Engine) -> None:
    migrate.upgrade(empty)
    same = {"model": "xgboost", "version": 1, "rows": 3, "verdicts": json.dumps({"edible": 3}), "artefact": "a", "sha256": "0", "bytes": 9}
    with writing(empty) as connection:
        for number in range(5):
            connection.execute(insert(batch).values(batch_id=f"b{number}", created_us=1000 + number // 2, **same))
    first = listed(empty, limit=3)
    assert [each.batch_id for each in first] == ["b4", "b3", "b2"]
    assert [each.batch_id for each in listed(empty, limit=3, before=first[-1].position)] == ["b1", "b0"]
    assert first[0].verdicts == {"edible": 3}


@pytest.fixture
def store(tmp_path: Path) -> BatchStore:
    """A batch of 30 rows in three parts."""
    store = BatchStore(tmp_path, "batches")
    path = store.path(BATCH)
    path.parent.mkdir()
    writer = ParquetWriter(path)
    for begin in (0, 10, 20):
        writer.write(pl.DataFrame({"n": list(range(begin, begin + 10))}))
    writer.close({})
    return store


def pages(store: BatchStore, limit: int, divisor: int) -> list[int]:
    first: int | None = 0
    numbers = []
    while first is not None:
        page = batch_rows(store, BATCH, lambda row: row["n"] % divisor == 0, first=first, limit=limit)
        assert all(number == row["n"] for number, row in page.rows)
        numbers += [number for number, _ in page.rows]
        first = page.scanned_to
    return numbers


@pytest.mark.parametrize("scan", [7, 10, 1_000])
def test_rows_come_in_their_order_once_however_they_are_paged(store: BatchStore, monkeypatch: pytest.MonkeyPatch, scan: int) -> None:
    monkeypatch.setattr(batch_search, "SCAN_ROWS", scan)
    for limit in (1, 4, 100):
        assert pages(store, limit, 1) == list(range(30))
        assert pages(store, limit, 7) == [0, 7, 14, 21, 28]


def test_a_batch_that_is_not_there(store: BatchStore) -> None:
    with pytest.raises(FileNotFoundError):
        batch_rows(store, "1" * 32, bool, limit=1)
