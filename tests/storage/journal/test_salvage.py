"""Tests of sporeprint.storage.journal.salvage."""

import os
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import URL, Engine

from journal_support import fill, ids, record, stored, until
from sporeprint.settings import JournalSettings
from sporeprint.storage.engine import connect
from sporeprint.storage.journal.file import JournalFile
from sporeprint.storage.journal.salvage import damaged_journals, orphan_journals, salvage
from sporeprint.storage.journal.shipper import Shipper
from sporeprint.storage.oltp import migrate

RECORDS = 400
QUICK = JournalSettings(interval_s=0.01, max_pause_s=0.1)


@pytest.fixture
def sqlite_database(tmp_path: Path) -> Iterator[Engine]:
    engine = connect(URL.create("sqlite", database=str(tmp_path / "oltp" / "x.db")))
    migrate.upgrade(engine)
    yield engine
    engine.dispose()


def flipped(path: Path, seed: int, bits: int = 3) -> None:
    """Flip bits anywhere behind the first two pages, which say what the file is and where its tables are."""
    chance, data = random.Random(seed), bytearray(path.read_bytes())
    for _ in range(bits):
        place = chance.randrange(2 * 4096, len(data))
        data[place] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def depth(path: Path) -> int | None:
    """Records that are not shipped; None while the file cannot be read."""
    if not path.exists():
        return 0
    try:
        with closing(sqlite3.connect(path)) as connection:
            return int(connection.execute("select count(*) from record").fetchone()[0])
    except sqlite3.Error:
        return None


@pytest.mark.parametrize("seed", range(8))
def test_flipped_bits_cost_few_records_and_none_is_shipped_altered(tmp_path: Path, sqlite_database: Engine, seed: int) -> None:
    written = {one.prediction_id: one for one in map(record, range(RECORDS))}
    fill(tmp_path, "dead", list(written.values())).close()
    flipped(tmp_path / "dead.db", seed)
    with Shipper(sqlite_database, tmp_path, QUICK):
        until(lambda: depth(tmp_path / "dead.db") == 0)
    there = stored(sqlite_database)
    assert len(there) >= RECORDS * 0.8
    assert set(there) <= set(written)
    with sqlite_database.connect() as connection:
        rows = connection.exec_driver_sql("select prediction_id, features, verdict from prediction").all()
    assert all(f'"number":{int(name[3:])},' in features.replace(" ", "") and verdict == "poisonous" for name, features, verdict in rows)


def test_what_can_be_read_is_taken_out_and_the_file_is_kept(tmp_path: Path) -> None:
    fill(tmp_path, "dead", [record(number) for number in range(RECORDS)]).close()
    with closing(sqlite3.connect(tmp_path / "dead.db")) as connection:
        (root,) = connection.execute("select rootpage from sqlite_schema where name = 'record_prediction_id'").fetchone()
    data = bytearray((tmp_path / "dead.db").read_bytes())
    data[(root - 1) * 4096 : root * 4096] = os.urandom(4096)  # the index: every record is there
    (tmp_path / "dead.db").write_bytes(data)
    assert salvage(tmp_path / "dead.db") == RECORDS
    assert damaged_journals(tmp_path) == ("dead.db.damaged",)
    with closing(JournalFile.open(tmp_path, "dead")) as file:
        assert len(ids(file)) == RECORDS


@pytest.mark.parametrize(("damage", "fewest"), [("cut", RECORDS // 3), ("no header", RECORDS), ("one page too few", RECORDS * 9 // 10)])
def test_a_file_that_was_cut_or_has_no_header_gives_up_its_other_pages(
    tmp_path: Path, sqlite_database: Engine, damage: str, fewest: int
) -> None:
    fill(tmp_path, "dead", [record(number) for number in range(RECORDS)]).close()
    data = (tmp_path / "dead.db").read_bytes()
    (tmp_path / "dead.db").write_bytes(
        {"cut": data[: len(data) * 2 // 3], "no header": bytes(100) + data[100:], "one page too few": data[:-4096]}[damage]
    )
    assert salvage(tmp_path / "dead.db") >= fewest
    assert {path.name for path in tmp_path.iterdir()} >= {"dead.db", "dead.db.damaged"}
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    with Shipper(sqlite_database, tmp_path, QUICK):
        until(lambda: depth(tmp_path / "dead.db") == 0)
    assert fewest <= len(stored(sqlite_database)) <= RECORDS


def test_what_is_not_shipped_for_good_is_told_once_and_named(
    tmp_path: Path, sqlite_database: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("altered", "newer"):
        fill(tmp_path, name, [record(number) for number in range(3)]).close()
    with closing(sqlite3.connect(tmp_path / "altered.db")) as connection:
        connection.execute("update record set body = replace(body, 'poisonous', 'edible') where seq = 2")
        connection.commit()
    with closing(sqlite3.connect(tmp_path / "newer.db")) as connection:
        connection.execute("pragma user_version = 99")
    with Shipper(sqlite_database, tmp_path, QUICK) as shipper:
        until(lambda: len(stored(sqlite_database)) == 2)
        shipper._look_at = 0.0
        shipper._wake.set()
        until(lambda: shipper.stats().failures >= 2)
        assert orphan_journals(tmp_path) == {"altered.db": 1, "newer.db": 3}
    told = [message for message in caplog.messages if "altered.db" in message or "newer.db" in message]
    assert len(told) == 2
    assert any("set aside in it and not shipped: damaged: its checksum does not fit" in message for message in told)
    assert any("is not shipped" in message and "of format 2, but of 99" in message for message in told)


def test_journals_that_nobody_holds_are_named(tmp_path: Path) -> None:
    with closing(fill(tmp_path, "alive", [record(0)])):
        fill(tmp_path, "dead", [record(1), record(2)]).close()
        fill(tmp_path, "empty", []).close()
        (tmp_path / "broken.db").write_bytes(b"x" * 10_000)
        assert orphan_journals(tmp_path) == {"broken.db": None, "dead.db": 2}
