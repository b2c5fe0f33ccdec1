"""Tests of sporeprint.storage.oltp.batch_file: a file is there whole and once, or not at all."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from sporeprint.errors import JournalError, StorageError
from sporeprint.storage.oltp.batch_file import BatchDraft, BatchInfo, BatchStore, frames, row_of

ABOUT = BatchInfo(
    *("0" * 32, 1_769_812_200_000_000, "xgboost", 2, 0.01, False, 5, 1, {"edible": 4, "unknown": 1}, 1_000, "w", "csv", ("a",), "f" * 64)
)


def rows(first: int, count: int, batch_id: str = ABOUT.batch_id) -> pl.DataFrame:
    numbers = range(first, first + count)
    return pl.DataFrame({"prediction_id": [f"{batch_id}:{number}" for number in numbers], "a": [str(number) for number in numbers]})


def written(store: BatchStore, batch_id: str = ABOUT.batch_id, *, count: int = 3) -> bool:
    with store.part("artefact") as path:
        draft = BatchDraft(path)
        draft.write(rows(0, count, batch_id))
        draft.write(rows(count, 2, batch_id))
        draft.close(replace(ABOUT, batch_id=batch_id))
        return store.publish(path, batch_id)


@pytest.fixture
def store(tmp_path: Path) -> BatchStore:
    return BatchStore(tmp_path, "data/batches")


def test_what_was_written_is_read(store: BatchStore) -> None:
    assert written(store)
    path = store.path(ABOUT.batch_id)
    assert store.about(ABOUT.batch_id) == ABOUT
    assert pl.concat(frames(path))["a"].to_list() == ["0", "1", "2", "3", "4"]
    assert [row_of(path, row) for row in (3, 5)] == [{"prediction_id": f"{ABOUT.batch_id}:3", "a": "3"}, None]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(store.parts.iterdir()) == []


def test_the_first_of_an_id_stays(store: BatchStore) -> None:
    assert written(store)
    assert not written(store, count=7)
    store.known(ABOUT.batch_id)
    assert not written(store, count=7)
    assert sum(frame.height for frame in frames(store.path(ABOUT.batch_id))) == 5
    assert store.pending() == []


def test_a_kill_between_the_two_names_is_finished(store: BatchStore) -> None:
    written(store)
    store.path(ABOUT.batch_id).unlink()
    assert store.pending() == [ABOUT.batch_id]
    store.finish(ABOUT.batch_id)
    assert store.about(ABOUT.batch_id) == ABOUT


def test_many_at_once_make_one(store: BatchStore) -> None:
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: written(store), range(12)))
    assert found.count(True) == 1
    assert store.pending() == [ABOUT.batch_id]


def test_leftovers_go_and_what_is_held_stays(store: BatchStore) -> None:
    with store.part("upload") as held:
        (store.parts / "upload-left").write_bytes(b"x")
        assert store.sweep() == 1
        assert list(store.parts.iterdir()) == [held]
    assert store.sweep() == 0


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "0" * 31, "k" + "g" * 31, "0" * 32 + "/x"])
def test_no_other_name_becomes_a_path(store: BatchStore, name: str) -> None:
    assert store.about(name) is None
    with pytest.raises(ValueError, match=r".*"):
        store.path(name)


def test_what_is_no_artefact(store: BatchStore) -> None:
    path = store.path(ABOUT.batch_id)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(StorageError, match="damaged"):
        store.about(ABOUT.batch_id)
    with pytest.raises(StorageError, match="damaged"):
        list(frames(path))
    rows(0, 1).write_parquet(path)
    with pytest.raises(StorageError, match="no artefact"):
        store.about(ABOUT.batch_id)


def test_a_disk_that_is_full() -> None:
    draft = BatchDraft(Path("/dev/full"))
    large = pl.DataFrame({"a": [os.urandom(50).hex() for _ in range(50_000)]})
    with pytest.raises(JournalError, match="nothing is half written"):
        draft.write(large)
