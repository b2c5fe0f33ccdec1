"""Tests of sporeprint.storage.idempotency: of one key there is one prediction, whoever asks, and how often."""

import asyncio
import multiprocessing
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from journal_support import until
from sporeprint.common.timestamps import DAY_US
from sporeprint.errors import JournalError, StorageError
from sporeprint.storage import idempotency
from sporeprint.storage.idempotency import IdempotencyStore, KeyedPrediction

KEYS = 300


@pytest.fixture
def store(tmp_path: Path) -> Iterator[IdempotencyStore]:
    with closing(IdempotencyStore.open(tmp_path / "keys" / "x.db", DAY_US)) as store:
        yield store


def put(store: IdempotencyStore, key: str, row: bytes = b"row", record: bytes = b"record", caller: str = "shop") -> KeyedPrediction:
    return asyncio.run(store.put(caller, key, row, record))


def test_the_first_prediction_of_a_key_stays(store: IdempotencyStore) -> None:
    assert store.find("shop", "k") is None
    assert put(store, "k") == KeyedPrediction(b"row", b"record", False)
    assert put(store, "k", b"another row", b"another record") == KeyedPrediction(b"row", b"record", False)
    assert store.find("shop", "k") == KeyedPrediction(b"row", b"record", False)


def test_callers_do_not_share_keys(store: IdempotencyStore) -> None:
    put(store, "order-1", record=b"a", caller="a")
    assert store.find("b", "order-1") is None
    assert put(store, "order-1", record=b"b", caller="b").record == b"b"
    assert put(store, "order-1", record=b"x", caller="a").record == b"a"


def test_a_mark_and_all_else_outlives_the_process(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with closing(IdempotencyStore.open(path, DAY_US)) as store:
        put(store, "k")
        store.mark_journaled("shop", "k")
    with closing(IdempotencyStore.open(path, DAY_US)) as store:
        assert store.find("shop", "k") == KeyedPrediction(b"row", b"record", True)
    assert {file.stat().st_mode & 0o077 for file in tmp_path.iterdir()} == {0}


def asks(path: Path, worker: int, answers: "multiprocessing.Queue[tuple[int, list[KeyedPrediction]]]") -> None:
    async def main(store: IdempotencyStore) -> list[KeyedPrediction]:
        mine = (store.put("shop", str(key), b"row of %d" % worker, b"record of %d" % worker) for key in range(KEYS))
        return list(await asyncio.gather(*mine))

    with closing(IdempotencyStore.open(path, DAY_US)) as store:
        answers.put((worker, asyncio.run(main(store))))


def test_workers_at_once_get_the_same_prediction_of_a_key(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    answers: multiprocessing.Queue[tuple[int, list[KeyedPrediction]]] = context.Queue()
    workers = [context.Process(target=asks, args=(tmp_path / "x.db", number, answers)) for number in range(2)]
    for worker in workers:
        worker.start()
    of = dict(answers.get(timeout=60) for _ in workers)
    for worker in workers:
        worker.join()
    assert of[0] == of[1]


def test_old_keys_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "EXPIRE_S", 0.0)
    with closing(IdempotencyStore.open(tmp_path / "x.db", DAY_US)) as store:
        put(store, "young")
        put(store, "old")
        with closing(sqlite3.connect(tmp_path / "x.db")) as connection:
            connection.execute("update prediction set created_us = created_us - ? where key = 'old'", (DAY_US + 1,))
            connection.commit()
        put(store, "another")
        assert store.find("shop", "old") is None
        assert store.find("shop", "young") is not None


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "x.db")) as connection:
        connection.execute("pragma user_version = 9")
    with pytest.raises(StorageError, match="holds no idempotency keys of format 1; move it away"):
        IdempotencyStore.open(tmp_path / "x.db", DAY_US)
    (tmp_path / "y.db").write_bytes(b"no database" * 1000)
    with pytest.raises(StorageError, match="if it is damaged, move it away") as raised:
        IdempotencyStore.open(tmp_path / "y.db", DAY_US)
    # While the error is held, so that no collector of garbage has closed it.
    assert raised.tb
    assert not [file for file in Path("/proc/self/fd").iterdir() if file.exists() and file.resolve().name.startswith("y.db")]


def test_what_cannot_be_written_is_an_error_that_passes(store: IdempotencyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "_INSERT", "insert into missing values (?, ?, ?, ?, ?)")
    with pytest.raises(JournalError, match="no such table: missing; see to the disk, then try again"):
        put(store, "k")
    monkeypatch.undo()
    assert put(store, "k").record == b"record"


def test_a_writer_that_failed_tries_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "BUSY_S", 0.05)
    path = tmp_path / "x.db"
    with closing(IdempotencyStore.open(path, DAY_US)) as store, closing(sqlite3.connect(path, isolation_level=None)) as other:
        put(store, "before")
        other.execute("begin exclusive")
        with pytest.raises(JournalError, match="locked"):
            put(store, "k")
        assert store.is_failing
        assert store.find("shop", "before") is not None
        other.execute("rollback")
        until(lambda: not store.is_failing, 30)
        assert put(store, "k").record == b"record"
