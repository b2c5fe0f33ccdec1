"""Tests of sporeprint.storage.oltp.batch_index, on both databases: every batch gets its row, once, and goes when it is old."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from sqlalchemy import URL, Engine, insert, select

from journal_support import until
from mariadb_server import MariaDB
from sporeprint.storage.oltp import batch_index
from sporeprint.storage.oltp.batch_file import BatchDraft, BatchInfo, BatchStore
from sporeprint.storage.oltp.batch_index import Registrar
from sporeprint.storage.oltp.tables import batch, outcome
from warehouse_support import database

BEGIN_US = 1_769_812_200_000_000
ABOUT = BatchInfo("0" * 32, BEGIN_US, "xgboost", 2, 0.01, False, 3, 1, {"edible": 2, "unknown": 1}, 900, "w", "csv", ("size",), "f" * 64)
ANSWERS = pl.DataFrame(
    {
        "size": [1.5, None, 2.0],
        "prediction": ["e", None, "e"],
        "probability": [0.1, None, 0.2],
        "verdict": ["edible", "unknown", "edible"],
        "novelty_p": [0.5, None, 0.6],
        "unseen": ["a,b", None, None],
        "outside": [None, None, None],
        "reason": [None, "no", None],
    },
    schema_overrides={"outside": pl.String},
)


@pytest.fixture(params=["sqlite", "mariadb"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "sqlite":
        found = database(URL.create("sqlite", database=str(tmp_path / "oltp.db")))
    else:
        server: MariaDB = request.getfixturevalue("mariadb")
        found = database(server.url(database=server.create_database()))
    yield found
    found.dispose()


@pytest.fixture
def store(tmp_path: Path) -> BatchStore:
    return BatchStore(tmp_path, "data/batches")


def write(store: BatchStore, number: int = 0, *, created_us: int = BEGIN_US) -> str:
    batch_id = f"{number:032x}"
    with store.part("artefact") as path:
        draft = BatchDraft(path)
        draft.write(_named(batch_id))
        draft.close(replace(ABOUT, batch_id=batch_id, created_us=created_us))
        store.publish(path, batch_id)
    return batch_id


def _named(batch_id: str) -> pl.DataFrame:
    return ANSWERS.select(pl.Series("prediction_id", [f"{batch_id}:{row}" for row in range(3)]), pl.all())


def ids(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.execute(select(batch.c.batch_id).order_by(batch.c.seq)).scalars())


def test_each_is_registered_once(engine: Engine, store: BatchStore) -> None:
    names = [write(store, number) for number in range(3)]
    assert batch_index.register(engine, store) == 3
    assert (ids(engine), store.pending()) == (names, [])
    # The answer of the database was lost: the second name is still there.
    (store.waiting / f"{names[1]}.parquet").hardlink_to(store.path(names[1]))
    assert batch_index.register(engine, store) == 0
    assert (len(ids(engine)), store.pending()) == (3, [])


def test_a_damaged_one_does_not_hold_up_the_others(engine: Engine, store: BatchStore) -> None:
    first, second = write(store, 0), write(store, 1)
    store.path(first).unlink()
    store.path(first).write_bytes(b"nothing")
    assert batch_index.register(engine, store) == 1
    assert (ids(engine), store.pending()) == ([second], [first])


def test_an_answer_is_found(store: BatchStore) -> None:
    batch_id = write(store)
    found = batch_index.find(store, f"{batch_id}:0")
    assert found is not None
    assert (found.features, found.unseen, found.probability, found.latency_us) == ({"size": 1.5}, ("a", "b"), 0.1, 300)
    for other in (f"{batch_id}:1", f"{batch_id}:3", f"{batch_id}:", batch_id, f"{'1' * 32}:0", "x"):
        assert batch_index.find(store, other) is None
    assert batch_index.there(store, [f"{batch_id}:{row}" for row in range(5)] + ["x", f"{'1' * 32}:0"]) == {
        f"{batch_id}:0",
        f"{batch_id}:2",
    }


def test_old_ones_go_with_file_and_outcomes(engine: Engine, store: BatchStore) -> None:
    old, young = write(store, 1), write(store, 2, created_us=BEGIN_US + 10)
    batch_index.register(engine, store)
    known = {"revision": 1, "outcome": "e", "source": "lab", "observed_us": 1, "recorded_us": 1}
    with engine.begin() as connection:
        connection.execute(insert(outcome), [{"prediction_id": f"{name}:{row}", **known} for name in (old, young) for row in range(3)])
    assert batch_index.forget(engine, store, before_us=BEGIN_US + 1, dry_run=True) == (1, 3)
    assert batch_index.forget(engine, store, before_us=BEGIN_US + 1) == (1, 3)
    with engine.connect() as connection:
        left = set(connection.execute(select(outcome.c.prediction_id)).scalars())
    assert (ids(engine), left) == ([young], {f"{young}:{row}" for row in range(3)})
    assert [path.name for path in store.path(young).parent.glob("*.parquet")] == [f"{young}.parquet"]


def test_the_registrar_brings_them_as_they_come(engine: Engine, store: BatchStore) -> None:
    registrar = Registrar(engine, store, 1.0).start()
    write(store, 1)
    registrar.wake()
    until(lambda: len(ids(engine)) == 1)
    write(store, 2)
    registrar.stop()  # looks once more
    assert len(ids(engine)) == 2
