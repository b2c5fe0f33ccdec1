"""Tests of sporeprint.storage.oltp.migrate: up and down with rows in the tables, killed in between, and what is refused."""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, Inspector, MetaData, Table, event, inspect, select, text

import warm_start
from mariadb_server import MariaDB
from sporeprint.errors import StorageError, UsageError
from sporeprint.storage.engine import connect, reading, writing
from sporeprint.storage.oltp import migrate, tables

IDS = [revision.id for revision in migrate.revisions()]
#: Names of tables and columns that a revision has changed, and the present ones.
TABLES = {"ab_look": "ab_interim_analysis", "ab_progress": "checkpoint"}
COLUMNS = {
    "ab_look": {"look": "figures"},
    "ab_unit": {"other": "shadow_answer", "other_us": "shadow_latency_us", "waiting": "awaits_label"},
    "ab_total": {"other": "shadow_answer", "other_us": "shadow_latency_us", "other_us2": "shadow_latency_us2"},
}
ODD = 'it\'s "odd" \\ 🍄'


def reflected(connection: Connection) -> dict[str, Table]:
    found = MetaData()
    found.reflect(connection)
    return {name: table for name, table in found.tables.items() if name != "alembic_version"}


def fill(engine: Engine) -> dict[str, list[dict[str, Any]]]:
    """A few rows in every table that is there, as that revision has it; what they are."""
    with writing(engine) as connection:
        for table in reflected(connection).values():
            for number in (1, 2):
                connection.execute(table.insert().values({column.name: value(column, number) for column in table.columns}))
    return rows(engine)


def value(column: Any, number: int) -> Any:
    """Something for a column of any type, different by number."""
    length = getattr(column.type, "length", None)
    if column.type.python_type is str:
        return f"{number}{ODD}"[: length or None]
    if column.type.python_type is bytes:
        return bytes([number])
    return number + 0.5 if column.type.python_type is float else number


def rows(engine: Engine) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table, by the present names of tables and columns."""
    with reading(engine) as connection:
        there = {name: connection.execute(select(table)).mappings().all() for name, table in reflected(connection).items()}
    return {
        TABLES.get(name, name): [{COLUMNS.get(name, {}).get(key, key): row[key] for key in row} for row in each]
        for name, each in there.items()
    }


def test_the_history_is_what_alembic_finds() -> None:
    found = ScriptDirectory(str(migrate.MIGRATIONS)).walk_revisions()
    assert [(each.id, each.summary) for each in reversed(migrate.revisions())] == [(each.revision, each.doc.rstrip(".")) for each in found]


def only(kept: dict[str, list[dict[str, Any]]], there: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """What of some rows the tables and columns of others have."""
    return {
        name: [{key: row[key] for key in row if key in there[name][0]} for row in found] for name, found in kept.items() if name in there
    }


# --- up and down ----------------------------------------------------------------------------------------------------------


def test_migrations_and_tables_agree(empty: Engine) -> None:
    migrate.upgrade(empty)
    with empty.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, tables.metadata) == []


def shape(inspector: Inspector) -> dict[str, Any]:
    """What alembic's comparison leaves out: names of constraints, comments, collations, key columns."""
    kinds = ("get_pk_constraint", "get_unique_constraints", "get_indexes", "get_table_options")
    found: dict[str, Any] = {}
    for name in set(inspector.get_table_names()) - {"alembic_version"}:
        columns = {column["name"]: repr(sorted(column.items())) for column in map(dict, inspector.get_columns(name))}
        found[name] = columns, *(repr(sorted_by_name(getattr(inspector, kind)(name))) for kind in kinds)
    return found


def sorted_by_name(items: Any) -> Any:
    return sorted(items, key=lambda item: str(item["name"])) if isinstance(items, list) else items


def test_migrations_make_what_the_tables_say_to_the_letter(empty: Engine) -> None:
    tables.metadata.create_all(empty)
    said = shape(inspect(empty))
    tables.metadata.drop_all(empty)
    migrate.upgrade(empty)
    assert shape(inspect(empty)) == said


def test_a_number_is_never_given_twice(empty: Engine) -> None:
    migrate.upgrade(empty)
    with writing(empty) as connection:
        counted = [table for table in reflected(connection).values() if "seq" in table.columns]
    with_numbers = {"prediction", "batch", "outcome", "ab_event", "ab_interim_analysis", "audit", "alert_event", "alert_delivery"}
    assert {table.name for table in counted} == with_numbers
    for table in counted:
        fresh = {column.name: value(column, 1) for column in table.columns if column.name != "seq"}
        with writing(empty) as connection:
            connection.execute(table.insert().values(fresh))
            connection.execute(table.delete())
            connection.execute(table.insert().values(fresh))
            assert connection.execute(select(table.c.seq)).scalars().all() == [2]


@pytest.mark.parametrize("start", IDS[:-1])
def test_rows_of_every_earlier_revision_stay(empty: Engine, start: str) -> None:
    migrate.upgrade(empty, start)
    before = fill(empty)
    assert migrate.upgrade(empty).state == "current"
    after = rows(empty)
    assert only(after, before) == before
    new = [row[key] for name in before for row in after[name] for key in row if key not in before[name][0]]
    assert set(new) <= {None}
    assert set(after) == set(tables.metadata.tables)


@pytest.mark.parametrize("end", ["base", *IDS[:-1]])
def test_down_takes_what_came_later_and_nothing_else(empty: Engine, end: str) -> None:
    migrate.upgrade(empty)
    full = fill(empty)
    migrate.downgrade(empty, end)
    left = rows(empty)
    assert left == only(full, left)
    assert migrate.status(empty).current == (None if end == "base" else end)
    assert bool(left) == (end != "base")


def test_down_and_up_is_what_it_was(empty: Engine) -> None:
    for revision in IDS:
        migrate.upgrade(empty, revision)
        here = shape(inspect(empty))
        below = IDS[IDS.index(revision) - 1] if revision != IDS[0] else "base"
        migrate.downgrade(empty, below)
        migrate.upgrade(empty, revision)
        assert shape(inspect(empty)) == here


def test_a_second_upgrade_does_nothing(empty: Engine) -> None:
    migrate.upgrade(empty)
    seen: list[str] = []
    event.listen(empty, "before_cursor_execute", lambda *given: seen.append(given[2]))
    assert migrate.upgrade(empty).state == "current"
    assert [statement for statement in seen if statement.lstrip().upper().startswith(("CREATE", "ALTER", "DROP", "INSERT", "UPDATE"))] == []


# --- killed, and two at a time ---------------------------------------------------------------------------------------------

CHANGES = ("CREATE", "ALTER", "DROP", "INSERT", "UPDATE", "DELETE")
#: Upgrades or downgrades, and kills itself before the change of the given number.
DIES = """
import os, signal, sys
from sqlalchemy import event, make_url
from sporeprint.storage.engine import connect
from sporeprint.storage.oltp import migrate
url, what, to, last = sys.argv[1:]
engine, seen = connect(make_url(url)), []
def count(connection, cursor, statement, *rest):
    if statement.lstrip().upper().startswith(CHANGES):
        seen.append(statement)
        if len(seen) == int(last):
            os.kill(os.getpid(), signal.SIGKILL)
event.listen(engine, "before_cursor_execute", count)
getattr(migrate, what)(engine, to)
"""


def killed(url: URL, what: str, to: str, last: int) -> None:
    program = [sys.executable, "-c", DIES.replace("CHANGES", repr(CHANGES)), url.render_as_string(hide_password=False), what, to, str(last)]
    assert warm_start.run(program).returncode == -signal.SIGKILL


class CutError(Exception):
    """Nothing more goes to the database, as after a kill; in the same process, which is faster."""


def cut(url: URL, what: str, to: str, last: int) -> int:
    """Upgrade or downgrade, cut before the change of this number. Returns: how many there were."""
    engine, seen = connect(url), []

    def count(*given: Any) -> None:
        if given[2].lstrip().upper().startswith(CHANGES):
            seen.append(given[2])
            if len(seen) == last:
                raise CutError

    event.listen(engine, "before_cursor_execute", count)
    with pytest.raises(CutError) if last else contextlib.nullcontext():
        getattr(migrate, what)(engine, to)
    engine.dispose()
    return len(seen)


@pytest.mark.parametrize(("what", "start", "end"), [("upgrade", "0001", IDS[-1]), ("downgrade", IDS[-1], "0001")])
def test_killed_anywhere_it_goes_on_from_there(empty: Engine, empty_url: URL, what: str, start: str, end: str) -> None:
    forth, back = (migrate.upgrade, migrate.downgrade) if what == "upgrade" else (migrate.downgrade, migrate.upgrade)
    migrate.upgrade(empty, start)
    before = fill(empty)["prediction"]
    cut(empty_url, what, end, 0)
    back(empty, start)
    steps = cut(empty_url, what, end, 0)  # without the rows that the first way back has taken
    assert steps > 10
    kept = rows(empty)["prediction"]
    assert [row["prediction_id"] for row in kept] == [row["prediction_id"] for row in before]
    for last in (*range(1, steps, 6), steps, -1):
        back(empty, start)
        if last > 0:
            cut(empty_url, what, end, last)
        else:
            killed(empty_url, what, end, steps // 2)
        assert forth(empty, end).current == end
        assert rows(empty)["prediction"] == kept


def test_an_upgrade_finishes_a_killed_downgrade_first(empty: Engine, empty_url: URL) -> None:
    migrate.upgrade(empty)
    whole = rows(empty)
    steps = cut(empty_url, "downgrade", "0002", 0)
    migrate.upgrade(empty)
    for last in (*range(1, steps, 5), steps):
        cut(empty_url, "downgrade", "0002", last)
        if migrate.status(empty).state != "current":  # SQLite rolls it back
            with pytest.raises(StorageError, match="run: sporeprint db upgrade"):
                migrate.check(empty)
        assert migrate.upgrade(empty).state == "current"
        assert rows(empty).keys() == whole.keys(), "no table is missing"


def test_a_downgrade_finishes_a_killed_upgrade_first(empty: Engine, empty_url: URL) -> None:
    migrate.upgrade(empty, "0004")
    steps = cut(empty_url, "upgrade", IDS[-1], 0)
    migrate.downgrade(empty, "0004")
    before = reflected_names(empty)
    for last in (*range(1, steps, 5), steps):
        cut(empty_url, "upgrade", IDS[-1], last)
        assert migrate.downgrade(empty, "0004").current == "0004"
        assert reflected_names(empty) == before


def reflected_names(engine: Engine) -> set[str]:
    return set(inspect(engine).get_table_names())


def test_a_first_upgrade_killed_in_the_middle_is_not_taken_for_another_program(empty: Engine, empty_url: URL) -> None:
    cut(empty_url, "upgrade", IDS[-1], 4)
    with pytest.raises(StorageError, match="run: sporeprint db upgrade"):
        migrate.check(empty)
    assert migrate.upgrade(empty).state == "current"


def test_two_upgrades_at_once_make_one(empty_url: URL) -> None:
    failures: list[BaseException] = []

    def run() -> None:
        engine = connect(empty_url)
        try:
            migrate.upgrade(engine)
        except BaseException as error:  # noqa: BLE001 -- it is the test's to say
            failures.append(error)
        engine.dispose()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    engine = connect(empty_url)
    migrate.check(engine)
    engine.dispose()


# --- what is refused ------------------------------------------------------------------------------------------------------


def test_an_empty_database_is_refused_with_the_command(empty: Engine) -> None:
    with pytest.raises(StorageError, match=f"has no tables yet, this version works with {IDS[-1]}; run: sporeprint db upgrade"):
        migrate.check(empty)


def test_an_older_schema_is_refused_with_the_command(empty: Engine) -> None:
    migrate.upgrade(empty, IDS[0])
    with pytest.raises(StorageError, match=f"has schema {IDS[0]}, this version works with {IDS[-1]}; run: sporeprint db upgrade"):
        migrate.check(empty)


def test_a_newer_schema_is_refused_with_the_command(empty: Engine) -> None:
    migrate.upgrade(empty)
    with writing(empty) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    says = f"has schema 9999, which this version does not know .*install the newer sporeprint, or .*run: sporeprint db downgrade {IDS[-1]}"
    for refused in (migrate.check, migrate.prepare, migrate.upgrade, lambda engine: migrate.downgrade(engine, "base")):
        with pytest.raises(StorageError, match=says):
            refused(empty)
    assert set(rows(empty)) == set(tables.metadata.tables)


def test_the_database_of_another_program_is_left_alone(empty: Engine) -> None:
    with writing(empty) as connection:
        connection.execute(text("CREATE TABLE somebody_elses (x INT)"))
    for refused in (migrate.check, migrate.prepare, migrate.upgrade, lambda engine: migrate.downgrade(engine, "base")):
        with pytest.raises(StorageError, match="holds tables of another program; give sporeprint a database of its own"):
            refused(empty)
    assert set(inspect(empty).get_table_names()) == {"somebody_elses"}


def test_unknown_revisions_are_named(empty: Engine) -> None:
    with pytest.raises(UsageError, match=r"no such revision: '002' \(did you mean '0002'\?\); there are 0001, 0002"):
        migrate.upgrade(empty, "002")
    with pytest.raises(UsageError, match=r"no such revision: 'bas' \(did you mean 'base'\?\)"):
        migrate.downgrade(empty, "bas")


def test_the_wrong_direction_is_refused(empty: Engine) -> None:
    migrate.upgrade(empty, IDS[1])
    with pytest.raises(UsageError, match=f"has schema {IDS[1]}, which is later; see: sporeprint db downgrade {IDS[0]}"):
        migrate.upgrade(empty, IDS[0])
    with pytest.raises(UsageError, match=f"has schema {IDS[1]}, which is earlier; see: sporeprint db upgrade {IDS[2]}"):
        migrate.downgrade(empty, IDS[2])


def test_status_of_a_missing_file_makes_none(tmp_path: Path) -> None:
    engine = connect(URL.create("sqlite", database=str(tmp_path / "x.db")))
    assert migrate.status(engine).state == "empty"
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Engine]:
    engine = connect(URL.create("sqlite", database=str(tmp_path / "x.db")))
    yield engine
    engine.dispose()


def test_the_embedded_database_is_ready_at_once_but_never_changed_unasked(embedded: Engine) -> None:
    migrate.prepare(embedded)
    migrate.downgrade(embedded, IDS[1])
    with pytest.raises(StorageError, match="run: sporeprint db upgrade"):
        migrate.prepare(embedded)


def test_a_server_is_never_made_ready_unasked(mariadb: MariaDB) -> None:
    engine = connect(mariadb.url(database=mariadb.create_database()))
    with pytest.raises(StorageError, match="run: sporeprint db upgrade"):
        migrate.prepare(engine)
    engine.dispose()


def test_what_a_downgrade_takes_is_listed_latest_first() -> None:
    assert [revision.id for revision in migrate.removed_by(IDS[-1], IDS[0])] == IDS[:0:-1]
    assert [revision.id for revision in migrate.removed_by(None, "base")] == []
    assert all(revision.summary for revision in migrate.removed_by(IDS[-1], "base"))
