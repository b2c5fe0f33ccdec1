"""Tests of sporeprint.storage.engine: what the engines are set to, and what their errors say."""

import contextlib
import logging
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL, Connection, Engine, insert, select, text

from mariadb_server import ADMIN, ADMIN_PASSWORD, SMALL, MariaDB
from sporeprint.errors import ConfigError, SporeprintError, StorageError, StorageUnavailableError
from sporeprint.storage.engine import LOCK_WAIT_S, connect, reading, writing
from sporeprint.storage.oltp import migrate, tables

OUTCOME = {"prediction_id": "p", "revision": 1, "outcome": "e", "source": "lab", "observed_us": 1, "recorded_us": 1}


def pragma(engine: Engine, name: str) -> object:
    with engine.connect() as connection:
        return connection.exec_driver_sql(f"PRAGMA {name}").scalar()


def execute(connection: Connection, *statements: str) -> None:
    for statement in statements:
        connection.execute(text(statement))


def killed(connection: Connection, server: MariaDB) -> None:
    server.execute(f"KILL {connection.execute(text('SELECT CONNECTION_ID()')).scalar()}")
    connection.execute(text("SELECT 1"))


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Engine]:
    engine = connect(URL.create("sqlite", database=str(tmp_path / "below" / "x.db")))
    yield engine
    engine.dispose()


def test_sqlite_keeps_what_is_committed(sqlite: Engine) -> None:
    found = {name: pragma(sqlite, name) for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")}
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": LOCK_WAIT_S * 1000}


def test_what_is_committed_stays_when_another_process_looks_at_the_file(sqlite: Engine) -> None:
    """A connection lets go of no lock that another one of its process holds: otherwise the other process removes the log (WAL)."""
    count = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); print(c.execute('select count(*) from kept').fetchone()[0]); c.close()"

    def rows_elsewhere() -> str:
        return subprocess.run([sys.executable, "-c", count, str(sqlite.url.database)], capture_output=True, text=True, check=True).stdout

    with writing(sqlite) as connection:
        execute(connection, "create table kept (number integer)")
    with sqlite.connect() as held:
        execute(held, "select * from kept")
        with sqlite.connect() as second:
            execute(second, "select * from kept")
        assert rows_elsewhere() == "0\n"
        held.rollback()
        execute(held, "insert into kept values (1)")
        held.commit()
        assert rows_elsewhere() == "1\n"


def test_mariadb_is_strict_and_reads_what_is_committed(mariadb: MariaDB) -> None:
    engine = connect(mariadb.url(database=mariadb.create_database()))
    with engine.connect() as connection:
        found = connection.execute(
            text("SELECT @@sql_mode, @@tx_isolation, @@time_zone, @@character_set_client, @@innodb_lock_wait_timeout")
        ).one()
    engine.dispose()
    assert "STRICT_ALL_TABLES" in found[0]
    assert tuple(found)[1:] == ("READ-COMMITTED", "+00:00", "utf8mb4", LOCK_WAIT_S)


def test_a_servers_own_way_to_quote_does_not_matter(mariadb: MariaDB) -> None:
    database = mariadb.create_database()
    (before,) = mariadb.execute("SELECT @@GLOBAL.sql_mode")[0]
    mariadb.execute("SET GLOBAL sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'")
    try:
        engine = connect(mariadb.url(database=database))
        migrate.upgrade(engine)
        with writing(engine) as connection:
            connection.execute(insert(tables.outcome), [{**OUTCOME, "source": 'it\'s \\ a "lab"'}])
        with reading(engine) as connection:
            assert connection.execute(select(tables.outcome.c.source)).scalar() == 'it\'s \\ a "lab"'
        engine.dispose()
    finally:
        mariadb.execute(f"SET GLOBAL sql_mode = '{before}'")


def test_what_a_transaction_makes_goes_when_it_fails(sqlite: Engine) -> None:
    with pytest.raises(StorageError, match="syntax error"), writing(sqlite) as connection:
        execute(connection, "CREATE TABLE x (y INT)", "INSERT INTO x VALUES (1)", "nonsense")
    with pytest.raises(StorageError, match=r"no such table: x.*run: sporeprint db upgrade"), reading(sqlite) as connection:
        connection.execute(text("SELECT y FROM x"))


def test_texts_come_back_as_they_went(empty: Engine) -> None:
    migrate.upgrade(empty)
    told = ['it\'s "quoted" \\ %s :x', "🍄 ünïcode", "nul \0 inside", "x" * 1_000_000, " spaces "]
    rows = [{"test_id": "t", "at_us": 1, "actor": "a", "event": "e", "details": each} for each in told]
    with writing(empty) as connection:
        connection.execute(insert(tables.ab_event), rows)
    with reading(empty) as connection:
        assert connection.execute(select(tables.ab_event.c.details).order_by(tables.ab_event.c.seq)).scalars().all() == told


def test_a_text_that_is_too_long_is_refused_not_cut(mariadb: MariaDB) -> None:
    engine = connect(mariadb.url(database=mariadb.create_database()))
    migrate.upgrade(engine)
    with pytest.raises(StorageError, match="Data too long for column 'outcome'"), writing(engine) as connection:
        connection.execute(insert(tables.outcome), {**OUTCOME, "outcome": "e" * 65})
    engine.dispose()


# --- errors ---------------------------------------------------------------------------------------------------------------


def failing(engine: Engine, statement: str = "SELECT 1") -> SporeprintError:
    with pytest.raises(SporeprintError) as caught, reading(engine) as connection:
        connection.execute(text(statement))
    engine.dispose()
    return caught.value


def test_a_server_that_is_down_can_be_tried_again(mariadb: MariaDB) -> None:
    engine = connect(mariadb.url(database=mariadb.create_database()))
    with reading(engine) as connection:
        connection.execute(text("SELECT 1"))
    mariadb.kill()
    error = failing(engine)
    assert isinstance(error, StorageUnavailableError)
    assert error.retryable
    assert f"127.0.0.1:{mariadb.port}" in str(error)
    assert ADMIN_PASSWORD not in str(error)
    mariadb.start()
    with reading(engine) as connection:  # a pool with dead connections recovers by itself
        assert connection.execute(text("SELECT 1")).scalar() == 1
    engine.dispose()


def test_a_connection_killed_in_a_transaction_can_be_tried_again(mariadb: MariaDB) -> None:
    engine = connect(mariadb.url(database=mariadb.create_database()))
    with pytest.raises(StorageUnavailableError, match="cannot answer now"), writing(engine) as connection:
        killed(connection, mariadb)
    engine.dispose()


def test_a_server_has_as_long_to_greet_as_to_take_a_connection_and_longer_to_answer(mariadb: MariaDB) -> None:
    soon = {"connect_timeout": "1"}
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = URL.create("mysql+pymysql", "u", host="127.0.0.1", port=silent.getsockname()[1], database="x", query=soon)
        engine = connect(url, answer_s=24 * 3600)
        with pytest.raises(StorageUnavailableError, match="timed out"), reading(engine):
            pass
        engine.dispose()
    engine = connect(mariadb.url(database=mariadb.create_database()).update_query_dict(soon))
    with reading(engine) as connection:
        assert connection.execute(text("SELECT SLEEP(1.2)")).scalar() == 0
    engine.dispose()


def test_a_row_that_stays_locked_can_be_tried_again(mariadb: MariaDB) -> None:
    engine = connect(mariadb.url(database=mariadb.create_database()))
    with writing(engine) as connection:
        connection.execute(text("CREATE TABLE x (y INT PRIMARY KEY)"))
        connection.execute(text("INSERT INTO x VALUES (1)"))
    with writing(engine) as first:
        first.execute(text("DELETE FROM x"))
        with pytest.raises(StorageUnavailableError, match="Lock wait timeout"), writing(engine) as second:
            execute(second, "SET innodb_lock_wait_timeout = 1", "DELETE FROM x")
    engine.dispose()


def test_a_wrong_password_is_refused_for_good_and_not_shown(mariadb: MariaDB) -> None:
    error = failing(connect(mariadb.url("admin", "mysql", password="sw0rdfish")))
    assert not error.retryable
    assert "refuses: Access denied for user 'admin'" in str(error)
    assert "sw0rdfish" not in str(error)


def test_an_unknown_database_is_named(mariadb: MariaDB) -> None:
    assert "Unknown database 'nowhere'" in str(failing(connect(mariadb.url(database="nowhere"))))


def test_missing_tables_name_the_command(empty: Engine) -> None:
    error = failing(empty, "SELECT seq FROM prediction")
    assert not error.retryable
    assert "run: sporeprint db upgrade" in str(error)


def test_a_locked_sqlite_file_can_be_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sporeprint.storage.engine.LOCK_WAIT_S", 0.1)
    engine = connect(URL.create("sqlite", database=str(tmp_path / "x.db")))
    pragma(engine, "user_version")
    other = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StorageUnavailableError, match="database is locked; try again"), writing(engine):
        pass
    other.close()
    with writing(engine):
        pass
    engine.dispose()


def test_two_writers_wait_for_each_other(sqlite: Engine) -> None:
    with writing(sqlite) as connection:
        connection.execute(text("CREATE TABLE x (y INT)"))
        connection.execute(text("INSERT INTO x VALUES (0)"))

    def count() -> None:
        for _ in range(20):
            with writing(sqlite) as connection:
                now: int = connection.execute(text("SELECT y FROM x")).scalar_one()
                connection.execute(text("UPDATE x SET y = :y"), {"y": now + 1})

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with reading(sqlite) as connection:
        assert connection.execute(text("SELECT y FROM x")).scalar() == 80


def test_what_is_no_sqlite_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"no database at all" * 100)
    error = failing(connect(URL.create("sqlite", database=str(tmp_path / "x.db"))))
    assert "is damaged or no SQLite file: file is not a database" in str(error)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot make the folder of .*file/x.db: File exists"):
        connect(URL.create("sqlite", database=str(tmp_path / "file" / "x.db")))


def test_a_pool_that_is_used_up_can_be_tried_again(mariadb: MariaDB, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sporeprint.storage.engine.CONNECT_TIMEOUT_S", 1)
    engine = connect(mariadb.url(database="mysql"), pool_size=1)
    with contextlib.ExitStack() as held:
        for _ in range(11):  # one, and ten more that a pool lends in need
            held.enter_context(engine.connect())
        with pytest.raises(StorageUnavailableError, match="all connections are in use"), reading(engine):
            pass
    engine.dispose()


# --- secrets --------------------------------------------------------------------------------------------------------------


def test_neither_password_nor_rows_stand_in_errors_and_logs(mariadb: MariaDB, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, "sqlalchemy.engine"):
        engine = connect(mariadb.url(database=mariadb.create_database()))
        migrate.upgrade(engine)
        with pytest.raises(StorageError) as caught, writing(engine) as connection:
            connection.execute(insert(tables.outcome), {**OUTCOME, "source": "a person's name", "outcome": None})
    assert "INSERT INTO outcome" in caplog.text
    assert ADMIN_PASSWORD not in caplog.text + str(caught.value) + repr(caught.value) + repr(engine) + repr(engine.url)
    assert "a person's name" not in caplog.text + str(caught.value)
    assert caught.value.__cause__ is None
    engine.dispose()


WAITS = """
import os, sys
from pathlib import Path
from sporeprint.settings import StorageSettings
from sporeprint.storage import urls
from sporeprint.storage.engine import connect
with connect(urls.oltp(StorageSettings(), Path())).connect():
    print("connected", flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads the process list as Linux has it")
def test_the_process_list_shows_no_password(mariadb: MariaDB) -> None:
    url = f"mysql+pymysql://{ADMIN}@127.0.0.1:{mariadb.port}/mysql"
    environ = {**os.environ, "SPOREPRINT_OLTP_URL": url, "SPOREPRINT_OLTP_PASSWORD": ADMIN_PASSWORD}
    with subprocess.Popen([sys.executable, "-c", WAITS], env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "connected\n"
        shown = subprocess.run(["ps", "-ww", "-o", "args", "-p", str(process.pid)], capture_output=True, text=True, check=True).stdout
        process.communicate("")
    assert "StorageSettings" in shown
    assert ADMIN_PASSWORD not in shown


# --- TLS ------------------------------------------------------------------------------------------------------------------


def make_certificates(place: Path) -> None:
    """Two authorities, and a certificate for `localhost` by the first."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    (place / "names").write_text("subjectAltName=DNS:localhost\n")
    for command in (
        ["req", "-x509", *key, "-subj", "/CN=ca", "-keyout", "ca.key", "-out", "ca.pem"],
        ["req", "-x509", *key, "-subj", "/CN=other", "-keyout", "other.key", "-out", "other.pem"],
        ["req", *key, "-subj", "/CN=server", "-keyout", "server.key", "-out", "server.csr"],
        [
            "x509",
            "-req",
            "-in",
            "server.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-extfile",
            "names",
            "-out",
            "server.pem",
        ],
    ):
        subprocess.run(["openssl", *command], check=True, capture_output=True, cwd=place)


@pytest.fixture(scope="module")
def tls(_mariadb: MariaDB) -> Iterator[MariaDB]:
    """A server with a certificate for `localhost` from its own authority, and a user who must use TLS."""
    with tempfile.TemporaryDirectory(prefix="mariadb-") as folder:
        place = Path(folder)
        make_certificates(place)
        files = {"ssl-ca": "ca.pem", "ssl-cert": "server.pem", "ssl-key": "server.key"}
        with MariaDB(place, {**SMALL, **{name: str(place / file) for name, file in files.items()}}) as server:
            server.execute("CREATE DATABASE d", "CREATE USER secure@'127.0.0.1' IDENTIFIED BY 'x' REQUIRE SSL")
            server.execute("GRANT ALL ON d.* TO secure@'127.0.0.1'")
            yield server


def cipher(server: MariaDB, host: str, **options: str) -> str:
    engine = connect(server.url("secure", "d", password="x").set(host=host).update_query_dict(options))
    try:
        with reading(engine) as connection:
            return str(connection.execute(text("SHOW STATUS LIKE 'Ssl_cipher'")).one()[1])
    finally:
        engine.dispose()


def test_tls_with_the_right_authority_and_name(tls: MariaDB) -> None:
    assert cipher(tls, "localhost", ssl_ca=str(tls.folder / "ca.pem"))


def test_tls_refuses_another_authority(tls: MariaDB) -> None:
    with pytest.raises(StorageUnavailableError, match="certificate verify failed"):
        cipher(tls, "localhost", ssl_ca=str(tls.folder / "other.pem"))


def test_tls_refuses_another_name_unless_told_not_to_look(tls: MariaDB) -> None:
    with pytest.raises(StorageUnavailableError, match="certificate verify failed"):
        cipher(tls, "127.0.0.1", ssl_ca=str(tls.folder / "ca.pem"))
    assert cipher(tls, "127.0.0.1", ssl_ca=str(tls.folder / "ca.pem"), ssl_verify_identity="false")


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("ssl_ca", "/nowhere/ca.pem", "ssl_ca names no file: /nowhere/ca.pem"),
        ("ssl_verify_identity", "maybe", "ssl_verify_identity: expected true or false, not 'maybe'"),
        ("connect_timeout", "soon", "connect_timeout: expected whole seconds, at least 1, not 'soon'"),
    ],
)
def test_options_with_wrong_values_are_refused(option: str, value: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        connect(URL.create("mysql+pymysql", "u", None, "h", 3306, "d", {option: value}))
