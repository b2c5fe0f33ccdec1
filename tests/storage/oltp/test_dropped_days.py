"""Tests of sporeprint.storage.oltp.dropped_days on a real MariaDB: whole days go, nothing else does, and no number is given twice."""

import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import URL, Engine, event, insert, select, text

import warm_start
from mariadb_server import MariaDB
from sporeprint.common.progress import SilentProgress
from sporeprint.common.timestamps import DAY_US
from sporeprint.settings import PruneSettings
from sporeprint.storage.engine import connect, reading, writing
from sporeprint.storage.journal.shipper import upsert
from sporeprint.storage.oltp import day_partitions, dropped_days, migrate, retention
from sporeprint.storage.oltp.prunable_rows import WarehouseProgress
from sporeprint.storage.oltp.read_progress import ReadProgress
from sporeprint.storage.oltp.retention import PruneResult
from sporeprint.storage.oltp.tables import ab_test, outcome, prediction
from sporeprint.storage.prediction_record import PredictionRecord, as_row

#: The middle of a day.
NOW = 20_787 * DAY_US + DAY_US // 2
ANSWER = {"model": "m", "version": 1, "prediction": "e", "verdict": "edible", "unseen": "[]", "features": "{}", "latency_us": 9}
TEST = {"created_us": 1, "mode": "split", "model_a": "a", "version_a": 1, "sha256_a": "0", "model_b": "b", "version_b": 2, "sha256_b": "1"}


@pytest.fixture(scope="module")
def address(_mariadb: MariaDB) -> URL:
    """A database for all tests: making its tables takes longer than most of them."""
    found = _mariadb.url(database=_mariadb.create_database())
    engine = connect(found)
    migrate.upgrade(engine)
    engine.dispose()
    return found


@pytest.fixture
def url(address: URL, mariadb: MariaDB) -> URL:
    assert mariadb.running
    return address


@pytest.fixture(autouse=True)
def few_days(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each partition takes some milliseconds to make."""
    monkeypatch.setattr(day_partitions, "AHEAD_DAYS", 3)
    monkeypatch.setattr(day_partitions, "LEAST_AHEAD_DAYS", 2)


@pytest.fixture
def engine(url: URL, few_days: None) -> Iterator[Engine]:
    """The database of a service that is 8 days old, with a partition for each of them."""
    made = connect(url)
    migrate.upgrade(made)
    with writing(made) as connection:
        for table in ("prediction", "outcome", "ab_test"):
            connection.execute(text(f"TRUNCATE TABLE {table}"))
        connection.execute(text(day_partitions.whole()))
    insert_rows(made, [8])
    with writing(made) as connection:
        first_us = day_partitions.first_time(connection)
        assert first_us == NOW - 8 * DAY_US
        connection.execute(text(day_partitions.partitioned(first_us, NOW)))
    yield made
    made.dispose()


def id_of(age: float, number: int = 0) -> str:
    """As the service makes ids."""
    return f"{day_partitions.first_id(int(NOW - age * DAY_US))}{number:018x}"


def insert_rows(
    engine: Engine, ages: list[float], *, each: int = 1, test_id: str | None = None, revisions: int = 0, first: int = 0
) -> None:
    """So many predictions of each age in days, each with so many revisions of its outcome."""
    made, known = [], []
    for age in ages:
        for number in range(first, first + each):
            row = {**ANSWER, "prediction_id": id_of(age, number), "created_us": int(NOW - age * DAY_US), "test_id": test_id}
            made.append({**row, "recorded_us": NOW, "worker": "w"})
            said = {"prediction_id": row["prediction_id"], "outcome": "e", "source": "lab", "observed_us": NOW, "recorded_us": NOW}
            known += [{**said, "revision": revision + 1} for revision in range(revisions)]
    with writing(engine) as connection:
        connection.execute(text("INSERT INTO prediction (" + ", ".join(made[0]) + ") VALUES (:" + ", :".join(made[0]) + ")"), made)
        if known:
            connection.execute(insert(outcome), known)


def ids(engine: Engine, table: Any = prediction) -> list[str]:
    with reading(engine) as connection:
        return list(connection.execute(select(table.c.prediction_id).order_by(table.c.prediction_id)).scalars())


def partitions(engine: Engine) -> list[str]:
    with reading(engine) as connection:
        return day_partitions.present(connection)


def prune(engine: Engine, *, days: float = 3, now_us: int = NOW, warehouse: WarehouseProgress | None = None) -> PruneResult:
    return retention.prune(
        engine,
        PruneSettings(batch_rows=100, min_days=1),
        older_than_us=int(days * DAY_US),
        now_us=now_us,
        dry_run=False,
        progress=SilentProgress(),
        warehouse=warehouse,
    )


def statements(engine: Engine) -> list[str]:
    """What is sent from now on."""
    seen: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *given: seen.append(given[2]))
    return seen


def test_an_existing_database_gets_a_partition_for_each_day_and_some_ahead(engine: Engine) -> None:
    named = partitions(engine)
    first, last = NOW - 8 * DAY_US, NOW + day_partitions.AHEAD_DAYS * DAY_US
    assert named[0] == day_partitions.partition_name(first)
    assert named[-3:] == [day_partitions.partition_name(last), "p_later", "p_other"]
    assert len(named) == 8 + 1 + day_partitions.AHEAD_DAYS + 2
    assert ids(engine) == [id_of(8)]


def test_whole_days_go_without_deleting_a_row_of_them(engine: Engine) -> None:
    insert_rows(engine, [7, 6, 2], each=5, revisions=2)
    seen = statements(engine)
    done = prune(engine)
    assert (done.predictions, done.outcomes, done.retained, done.unsynced) == (11, 20, 0, 0)
    assert [said for said in seen if said.startswith("DELETE FROM prediction")] == []
    assert partitions(engine)[0] == day_partitions.partition_name(NOW - 3 * DAY_US)
    assert (len(ids(engine)), len(ids(engine, outcome))) == (5, 10)
    with reading(engine) as connection:
        assert day_partitions.detached(connection) == []


def test_the_day_of_the_boundary_is_cut_to_the_microsecond(engine: Engine) -> None:
    insert_rows(engine, [3.25, 3.0, 2.9])
    done = prune(engine)
    assert done.predictions == 2
    assert ids(engine) == [id_of(3), id_of(2.9)]


def test_a_day_of_which_something_stays_is_deleted_row_by_row(engine: Engine) -> None:
    test = {**TEST, "traffic_split": 0.5, "salt": "s", "rule": "{}"}
    with writing(engine) as connection:
        connection.execute(insert(ab_test), [{**test, "test_id": name, "name": name, "status": name} for name in ("running", "concluded")])
    insert_rows(engine, [7], each=3)
    insert_rows(engine, [7], each=2, test_id="running", first=10)
    insert_rows(engine, [5], each=2, test_id="concluded")
    done = prune(engine)
    assert (done.predictions, done.retained) == (6, 2)
    assert ids(engine) == [id_of(7, 10), id_of(7, 11)]
    assert day_partitions.partition_name(NOW - 7 * DAY_US) in partitions(engine)
    assert day_partitions.partition_name(NOW - 5 * DAY_US) not in partitions(engine)


def test_what_the_warehouse_has_not_read_stays(engine: Engine) -> None:
    insert_rows(engine, [7], each=2)  # numbers 2 and 3
    insert_rows(engine, [5], each=2, revisions=1)  # 4 and 5, outcomes 1 and 2
    done = prune(engine, warehouse=WarehouseProgress(ReadProgress(2), ReadProgress(2)))
    assert (done.predictions, done.unsynced) == (2, 3)
    assert ids(engine) == [id_of(7, 1), id_of(5, 0), id_of(5, 1)]
    done = prune(engine, warehouse=WarehouseProgress(ReadProgress(5), ReadProgress(1)))
    assert (done.predictions, done.outcomes, done.unsynced) == (2, 1, 1)
    assert ids(engine) == [id_of(5, 1)]
    done = prune(engine, warehouse=WarehouseProgress(ReadProgress(5), ReadProgress(2)))
    assert (done.predictions, done.outcomes, done.unsynced) == (1, 1, 0)


def test_what_comes_into_a_day_at_the_last_moment_goes_back(engine: Engine, url: URL) -> None:
    """A prediction and an outcome that come between the look and the lock."""
    insert_rows(engine, [7], each=3, revisions=1)
    other = connect(url)

    def late(*given: Any) -> None:
        if given[2].startswith("LOCK TABLES") and not came:
            came.append(1)
            insert_rows(other, [7], first=50)
            with writing(other) as connection:
                said = {"outcome": "p", "source": "lab", "observed_us": 1, "recorded_us": 1}
                connection.execute(insert(outcome), [{**said, "prediction_id": id_of(7, 1), "revision": 2}])

    came: list[int] = []
    prune(engine, days=6, warehouse=WarehouseProgress(ReadProgress(1), ReadProgress(0)))  # the first day alone
    event.listen(engine, "before_cursor_execute", late)
    done = prune(engine, warehouse=WarehouseProgress(ReadProgress(4), ReadProgress(3)))
    other.dispose()
    assert (came, done.predictions, done.outcomes) == ([1], 2, 2)
    assert ids(engine) == [id_of(7, 1), id_of(7, 50)]
    with reading(engine) as connection:
        assert connection.execute(select(outcome.c.prediction_id, outcome.c.revision)).all() == [(id_of(7, 1), 1), (id_of(7, 1), 2)]
        assert connection.execute(select(prediction.c.seq).order_by(prediction.c.seq)).scalars().all() == [3, 5]


def test_a_number_is_never_given_twice_although_the_day_with_the_highest_is_gone(engine: Engine, mariadb: MariaDB) -> None:
    """The warehouse takes a number that it has read for a row that it knows."""
    insert_rows(engine, [2])
    insert_rows(engine, [7], each=3)  # shipped last, of a worker that slept: it has the highest numbers
    assert prune(engine).predictions == 4
    engine.dispose()
    mariadb.kill()
    mariadb.start()
    insert_rows(engine, [1])
    with reading(engine) as connection:
        assert connection.execute(select(prediction.c.seq)).scalars().all() == [2, 6]


def test_a_record_that_is_shipped_again_is_there_once(engine: Engine) -> None:
    records = [PredictionRecord(id_of(1, number), NOW - DAY_US, "m", 1, "e", "edible", {}, 9, "w") for number in range(3)]
    for at_us in (NOW, NOW + 5):
        upsert(engine, [as_row(one.to_bytes(), at_us) for one in records])
    other_day = PredictionRecord(id_of(1, 0), NOW - 5 * DAY_US, "m", 1, "e", "edible", {}, 9, "w")
    upsert(engine, [as_row(other_day.to_bytes(), NOW)])
    assert ids(engine) == [id_of(8), *(one.prediction_id for one in records)]


def test_a_row_of_no_day_is_taken_and_goes_by_its_age(engine: Engine) -> None:
    rows = {"of no time": 35.0, "z of no time": 2.0, f"{day_partitions.first_id(NOW + 99 * DAY_US)}00": 2.0}
    for name, age in rows.items():
        record = PredictionRecord(name, int(NOW - age * DAY_US), "m", 1, "e", "edible", {}, 9, "w")
        upsert(engine, [as_row(record.to_bytes(), NOW)])
    assert prune(engine).predictions == 2
    assert sorted(ids(engine)) == sorted(list(rows)[1:])


def test_the_coming_days_are_made_ahead_out_of_the_one_for_all(engine: Engine) -> None:
    later = NOW + 30 * DAY_US  # nobody has pruned for so long
    insert_rows(engine, [-28.0, -30.0], each=2)
    before = ids(engine)
    prune(engine, days=400, now_us=later)
    assert partitions(engine)[-3] == day_partitions.partition_name(later + day_partitions.AHEAD_DAYS * DAY_US)
    assert ids(engine) == before
    with reading(engine) as connection:
        for age, rows in ((-28.0, 2), (-30.0, 2), (-29.0, 0)):
            name = day_partitions.partition_name(int(NOW - age * DAY_US))
            assert connection.execute(text(f"SELECT COUNT(*) FROM prediction PARTITION ({name})")).scalar_one() == rows
    seen = statements(engine)
    prune(engine, days=400, now_us=later + DAY_US)
    assert [said for said in seen if "REORGANIZE" in said] == []


def test_without_the_right_to_lock_rows_are_deleted_one_by_one(
    engine: Engine, url: URL, mariadb: MariaDB, caplog: pytest.LogCaptureFixture
) -> None:
    insert_rows(engine, [7, 2])
    rights = "SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX"
    mariadb.execute("CREATE USER weak@'127.0.0.1' IDENTIFIED BY 'w'", f"GRANT {rights} ON {url.database}.* TO weak@'127.0.0.1'")
    weak = connect(mariadb.url("weak", url.database, password="w"))
    assert prune(weak).predictions == 2
    assert prune(weak, days=40, now_us=NOW + 30 * DAY_US).predictions == 0
    weak.dispose()
    assert "partitions for the coming days cannot be made now" in caplog.text
    assert "whole days cannot be dropped now, so their rows are deleted one by one" in caplog.text
    assert ids(engine) == [id_of(2)]


def test_a_table_in_use_is_not_waited_for_long(engine: Engine, url: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    insert_rows(engine, [7, 2])
    monkeypatch.setattr(dropped_days, "LOCK_S", 1)
    other = connect(url)
    with other.connect() as connection:
        connection.execute(text("SELECT seq FROM prediction LIMIT 1")).all()  # a backup, for one
        assert prune(engine).predictions == 2
    other.dispose()
    assert ids(engine) == [id_of(2)]


# --- killed ----------------------------------------------------------------------------------------------------------------

#: Prunes, and kills itself before the statement of the given number.
DIES = """
import os, signal, sys
from sqlalchemy import event, make_url
from sporeprint.common.progress import SilentProgress
from sporeprint.common.timestamps import DAY_US
from sporeprint.settings import PruneSettings
from sporeprint.storage.engine import connect
from sporeprint.storage.oltp import retention
url, now, days, last = sys.argv[1:]
engine, seen = connect(make_url(url)), []
def count(connection, cursor, statement, *rest):
    if not statement.lstrip().upper().startswith("SELECT"):
        seen.append(statement)
        if len(seen) == int(last):
            os.kill(os.getpid(), signal.SIGKILL)
event.listen(engine, "before_cursor_execute", count)
retention.prune(engine, PruneSettings(batch_rows=2, min_days=1), older_than_us=int(days) * DAY_US, now_us=int(now), dry_run=False,
    progress=SilentProgress(), warehouse=None)
print(len(seen))
"""


def test_killed_anywhere_the_next_run_finishes_it(engine: Engine, url: URL) -> None:
    command = [sys.executable, "-c", DIES, url.render_as_string(hide_password=False), str(NOW)]
    insert_rows(engine, [7, 6, 5, 4, 3, 2, 1, 0], each=3, revisions=1)
    with writing(engine) as connection:
        connection.execute(text("DELETE FROM prediction WHERE prediction_id = :id"), {"id": id_of(8)})
    steps = ("LOCK TABLES", "AUTO_INCREMENT", "CONVERT", "UNLOCK", "DELETE FROM outcome", "second step", "DROP TABLE")
    for last, _ in enumerate(steps, 2):
        days = 9 - last  # one more day each time
        done = warm_start.run([*command, str(days), str(last)], capture_output=True, text=True)
        assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
        prune(engine, days=days)
        assert ids(engine) == ids(engine, outcome)
        assert len(ids(engine)) == 3 * days + 3
        with reading(engine) as connection:
            assert day_partitions.detached(connection) == []


def test_a_downgrade_puts_back_what_a_killed_run_had_taken_out(engine: Engine) -> None:
    insert_rows(engine, [7], each=4)
    dropped_days._detach(engine, day_partitions.partition_name(NOW - 7 * DAY_US))
    assert ids(engine) == [id_of(8)]
    migrate.downgrade(engine, "0010")
    assert partitions(engine) == []
    assert ids(engine) == [id_of(8), *(id_of(7, number) for number in range(4))]


def test_others_ship_meanwhile_and_lose_nothing(engine: Engine, url: URL) -> None:
    insert_rows(engine, [7, 6, 5, 4], each=50)
    stop, other = threading.Event(), connect(url)
    shipped: list[str] = []

    def ship() -> None:
        while not stop.is_set():
            insert_rows(other, [0], first=len(shipped))
            shipped.append(id_of(0, len(shipped)))

    thread = threading.Thread(target=ship)
    thread.start()
    done = prune(engine)
    stop.set()
    thread.join()
    other.dispose()
    assert done.predictions == 201
    assert ids(engine) == shipped
