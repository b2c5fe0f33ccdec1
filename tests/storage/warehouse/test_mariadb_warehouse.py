"""Tests of sporeprint.storage.warehouse.mariadb_warehouse: accounts, snapshots and limits of a real server."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from mariadb_server import MariaDB
from sporeprint.errors import BusyError, StorageError, StorageUnavailableError
from sporeprint.storage.warehouse import mariadb_warehouse as warehouse_mariadb
from sporeprint.storage.warehouse.mariadb_warehouse import MariaDBWarehouse
from sporeprint.storage.warehouse.sync import sync_warehouse
from warehouse_support import SCHEMA, predictions, write


@pytest.fixture
def database(mariadb: MariaDB) -> str:
    return mariadb.create_database()


@pytest.fixture
def warehouse(mariadb: MariaDB, database: str) -> Iterator[MariaDBWarehouse]:
    found = MariaDBWarehouse(mariadb.url(database=database))
    yield found
    found.close()


def test_an_account_that_only_reads_is_enough_to_ask(mariadb: MariaDB, database: str, warehouse: MariaDBWarehouse, oltp: Engine) -> None:
    write(oltp, predictions(5))
    sync_warehouse(oltp, warehouse, SCHEMA)
    user = f"report_{database}"
    mariadb.execute(f"CREATE USER {user}@'127.0.0.1' IDENTIFIED BY 'only-reads'", f"GRANT SELECT ON {database}.* TO {user}@'127.0.0.1'")
    reporter = MariaDBWarehouse(mariadb.url(user, database, password="only-reads"))
    with reporter.reading() as reader:
        assert reader.user_query("SELECT COUNT(*) FROM fact_prediction", rows=1).rows == ((5,),)
    assert reporter.get_note("prediction") == {"high": 5, "gaps": []}
    with pytest.raises(StorageError, match="refuses") as error, reporter.loading() as load:
        load.note("a", 1)
    assert "only-reads" not in str(error.value)
    reporter.close()


def test_one_that_may_do_everything_still_only_reads(mariadb: MariaDB, warehouse: MariaDBWarehouse) -> None:
    """The administrator of the tests has every right, FILE among them."""
    with warehouse.loading() as load:
        load.note("a", 1)
    mariadb.execute("CREATE TABLE scratch (a INT)", database=_name(warehouse))
    with warehouse.reading() as reader:
        for sql in (
            "SELECT 1 INTO OUTFILE '/tmp/x'",
            "SELECT LOAD_FILE('/etc/passwd')",
            "WITH a AS (SELECT 1) INSERT INTO scratch VALUES (1)",
        ):
            with pytest.raises(Exception, match=r"not allowed|syntax"):
                reader.user_query(sql, rows=1)
    assert mariadb.execute("SELECT * FROM scratch", database=_name(warehouse)) == []


def _name(warehouse: MariaDBWarehouse) -> str:
    return warehouse.shown.rpartition("/")[2]


def test_a_question_that_takes_too_long_is_ended(warehouse: MariaDBWarehouse) -> None:
    with warehouse.loading() as load:
        load.note("a", 1)
    with warehouse.reading(seconds=0.2) as reader, pytest.raises(StorageUnavailableError, match="try again"):
        reader.user_query("SELECT COUNT(*) FROM seq_1_to_1000000 a, seq_1_to_1000000 b WHERE a.seq % 7 = b.seq % 5", rows=1)


def test_only_one_loads_at_a_time(warehouse: MariaDBWarehouse, mariadb: MariaDB, monkeypatch: pytest.MonkeyPatch) -> None:
    other = MariaDBWarehouse(mariadb.url(database=_name(warehouse)))
    monkeypatch.setattr(warehouse_mariadb, "LOCK_WAIT_S", 0.1)
    with warehouse.loading(), pytest.raises(BusyError, match=r"another process has been loading into .*; try again later"), other.loading():
        pass
    with other.loading() as load:
        load.note("a", 1)
    other.close()


def test_before_the_first_sync_it_says_so(warehouse: MariaDBWarehouse) -> None:
    with pytest.raises(StorageError, match="has no tables yet; run: sporeprint warehouse sync"), warehouse.reading():
        pass


def test_the_password_is_in_no_text(warehouse: MariaDBWarehouse, mariadb: MariaDB) -> None:
    assert "admin-of-the-tests" not in f"{warehouse.shown} {warehouse!r} {vars(warehouse)}"


def test_a_server_that_is_gone_can_be_tried_again(mariadb: MariaDB, warehouse: MariaDBWarehouse) -> None:
    with warehouse.loading() as load:
        load.note("a", 1)
    mariadb.stop()
    with pytest.raises(StorageUnavailableError, match="try again"):
        warehouse.get_note("a")
    mariadb.start()
    assert warehouse.get_note("a") == 1
