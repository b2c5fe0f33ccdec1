"""Tests of sporeprint.storage.journal.file: what is on the disk, who may write, and what a torn end leaves."""

import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from journal_support import AWKWARD, fill, full_record, ids, record
from sporeprint.errors import BusyError, JournalError, StorageError
from sporeprint.storage.journal.file import STEP, JournalFile, Refusal, find
from sporeprint.storage.prediction_record import PredictionRecord


def test_what_was_written_is_there_in_order_after_opening_again(tmp_path: Path) -> None:
    records = [record(number) for number in (5, 3, 9, 1)]
    fill(tmp_path, "w", records).close()
    with closing(JournalFile.open(tmp_path, "w")) as file:
        assert [PredictionRecord.from_bytes(entry.body) for entry in file.read(10, 1 << 20)] == records
        assert (file.depth, file.refused) == (4, 0)


def test_awkward_text_and_a_megabyte_come_back(tmp_path: Path) -> None:
    records = [full_record(1), record(2, features={AWKWARD: AWKWARD * 20_000}), full_record(3)]
    with closing(fill(tmp_path, "w", records)) as file:
        assert [PredictionRecord.from_bytes(entry.body) for entry in file.read(10, 1 << 30)] == records


def test_reading_stops_at_the_count_and_at_the_size(tmp_path: Path) -> None:
    records = [record(number) for number in range(10)]
    size = len(records[0].to_bytes())
    with closing(fill(tmp_path, "w", records)) as file:
        assert [entry.seq for entry in file.read(3, 1 << 20)] == [1, 2, 3]
        assert len(file.read(10, size)) == 1
        assert len(file.read(10, size + 1)) == 2
        assert len(file.read(10, 1)) == 1


def test_settling_removes_step_by_step_and_nothing_else(tmp_path: Path) -> None:
    with closing(fill(tmp_path, "w", [record(number) for number in range(2 * STEP + 10)])) as file:
        assert file.settle(STEP + 5) == STEP + 1
        assert file.depth == STEP + 10
        assert file.settle(STEP + 5) is None
        assert ids(file) == [f"id-{number:08d}" for number in range(STEP + 5, 2 * STEP + 10)]
        assert file.settle(STEP + 5) is None


def test_numbers_are_never_given_twice(tmp_path: Path) -> None:
    """Else a settlement that comes late would remove what nobody shipped."""
    with closing(fill(tmp_path, "w", [record(1), record(2)])) as file:
        file.settle(2)
    with closing(fill(tmp_path, "w", [record(3)])) as file:
        assert [entry.seq for entry in file.read(10, 1 << 20)] == [3]
        file.settle(2)
        assert ids(file) == ["id-00000003"]


def test_what_is_refused_is_set_aside_and_can_be_put_back(tmp_path: Path) -> None:
    with closing(fill(tmp_path, "w", [record(number) for number in range(4)])) as file:
        file.settle(3, [Refusal(2, "too long")])
        assert (file.depth, file.refused, ids(file)) == (1, 1, ["id-00000003"])
        assert file.get("id-00000001") == record(1).to_bytes()
        assert not file.remove()
        with closing(sqlite3.connect(file.path)) as connection:
            assert connection.execute("select prediction_id, reason from refused").fetchall() == [("id-00000001", "too long")]
        assert file.requeue() == 1
        assert (file.depth, file.refused, ids(file)) == (2, 0, ["id-00000003", "id-00000001"])


def test_the_counts_are_the_same_after_opening_again(tmp_path: Path) -> None:
    with closing(fill(tmp_path, "w", [record(number) for number in range(600)])) as file:
        file.settle(200, [Refusal(7, "no")])
        before = file.depth, file.refused, file.bytes
    with closing(JournalFile.open(tmp_path, "w")) as file:
        assert (file.depth, file.refused, file.bytes) == before == (400, 1, file.bytes)
        assert 400 * len(record().to_bytes()) < file.bytes < 400 * 1000


def test_the_bytes_while_writing_are_near_those_in_the_file(tmp_path: Path) -> None:
    with closing(fill(tmp_path, "w", [record(number) for number in range(5000)])) as file:
        counted = file.bytes
    with closing(JournalFile.open(tmp_path, "w")) as file:
        assert counted == pytest.approx(file.bytes, rel=0.15)


@pytest.mark.parametrize("damage", ["x'ff00fe'", "x'1e'", "x'311f321e33'", "cast(x'ff1e1f' as text)", "''"])
def test_a_damaged_record_does_not_hide_the_others(tmp_path: Path, damage: str) -> None:
    with closing(fill(tmp_path, "w", [record(number) for number in range(3)])) as file:
        with closing(sqlite3.connect(file.path)) as connection:
            connection.execute(f"update record set body = {damage} where seq = 2")
            connection.commit()
        entries = file.read(10, 1 << 20)
        assert [entry.seq for entry in entries] == [1, 2, 3]
        assert [entries[0].body, entries[2].body] == [record(0).to_bytes(), record(2).to_bytes()]
        assert [entry.sound for entry in entries] == [True, False, True]
        assert file.get("id-00000001") is None


def test_the_clock_may_go_back(tmp_path: Path) -> None:
    times = iter([1_000_000_000, 500_000_000, 2_000_000_000])
    now = [0]

    def clock() -> int:
        now[0] = next(times)
        return now[0]

    with closing(JournalFile.open(tmp_path, "w", clock=clock)) as file:
        file.append([("late", record(1, prediction_id="late").to_bytes())])
        assert file.age_s() == 0  # 500 s before it was written
        file.append([("early", record(2, prediction_id="early").to_bytes())])
        assert ids(file) == ["late", "early"]


def test_the_age_is_that_of_the_oldest(tmp_path: Path) -> None:
    now = [0]
    with closing(JournalFile.open(tmp_path, "w", clock=lambda: now[0])) as file:
        assert file.age_s() == 0
        for number in range(2):
            file.append([(str(number), record(number).to_bytes())])
            now[0] += 10_000_000
        assert file.age_s() == 20
        file.settle(1)
        assert file.age_s() == 10
        file.settle(2)
        assert file.age_s() == 0


def test_a_second_writer_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    with closing(JournalFile.open(tmp_path, "w")), pytest.raises(BusyError, match=r"w\.db is held by process \d+: one journal has one"):
        JournalFile.open(tmp_path, "w")
    JournalFile.open(tmp_path, "w").close()


OPEN = "import sys, pathlib; from sporeprint.storage.journal.file import JournalFile; JournalFile.open(pathlib.Path(sys.argv[1]), 'w')"


def test_a_writer_of_another_process_is_refused(tmp_path: Path) -> None:
    with closing(JournalFile.open(tmp_path, "w")):
        done = subprocess.run([sys.executable, "-c", OPEN, str(tmp_path)], capture_output=True, text=True, check=False)
    assert "BusyError" in done.stderr


def test_who_waits_gets_the_lock_when_it_is_free(tmp_path: Path) -> None:
    first = JournalFile.open(tmp_path, "w")
    threading.Timer(0.2, first.close).start()
    JournalFile.open(tmp_path, "w", wait_s=20).close()


def test_only_a_journal_that_is_there_and_free_can_be_adopted(tmp_path: Path) -> None:
    assert JournalFile.adopt(tmp_path / "none.db") is None
    with closing(fill(tmp_path, "w.1", [record(1)])) as file:
        assert JournalFile.adopt(file.path) is None
    adopted = JournalFile.adopt(tmp_path / "w.1.db")
    assert adopted is not None
    with closing(adopted):
        assert ids(adopted) == ["id-00000001"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w.1.db", "w.1.lock"]


def test_a_removed_journal_can_be_made_again(tmp_path: Path) -> None:
    with closing(fill(tmp_path, "w", [record()])) as file:
        file.settle(1)
        assert file.remove()
        assert list(tmp_path.iterdir()) == []
        with closing(fill(tmp_path, "w", [record(7)])) as again:  # the first still has the lock of a file that is gone
            assert ids(again) == ["id-00000007"]


def test_never_two_writers_while_journals_are_made_and_removed(tmp_path: Path) -> None:
    inside: list[int] = []
    together: list[int] = []

    def work(me: int) -> None:
        for _ in range(60):
            with closing(JournalFile.open(tmp_path, "w", wait_s=60)) as file:
                inside.append(me)
                together.append(len(inside))
                inside.remove(me)  # with the removal the next one may come, before this thread says that it has gone
                file.remove()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == [1] * 240


@pytest.mark.parametrize("worker", ["", ".hidden", "a/b", "a b", "../x", "x" * 64])
def test_a_name_that_is_no_file_name_is_refused(tmp_path: Path, worker: str) -> None:
    with pytest.raises(StorageError, match="cannot name a worker"):
        JournalFile.open(tmp_path, worker)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"cannot use the journal .*w\.db: Not a directory"):
        JournalFile.open(tmp_path / "file" / "journal", "w")


def test_a_journal_of_a_later_format_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, "w", [record()]).close()
    with closing(sqlite3.connect(tmp_path / "w.db")) as connection:
        connection.execute("pragma user_version = 3")
    with pytest.raises(StorageError, match="no journal of format 2, but of 3"):
        JournalFile.open(tmp_path, "w")
    JournalFile.open(tmp_path, "other").close()


def test_a_journal_of_format_1_is_read_and_has_checksums_from_then_on(tmp_path: Path) -> None:
    fill(tmp_path, "w", [record(0)]).close()
    with closing(sqlite3.connect(tmp_path / "w.db")) as connection:
        for table in ("record", "refused"):
            connection.execute(f"alter table {table} drop column crc")
        connection.execute("pragma user_version = 1")
    assert find(tmp_path, "id-00000000") == record(0).to_bytes()
    with closing(JournalFile.open(tmp_path, "w")) as file:
        file.append([("id-00000001", record(1).to_bytes())])
        assert [(entry.body, entry.sound) for entry in file.read(10, 1 << 20)] == [(record(n).to_bytes(), True) for n in range(2)]


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    with closing(fill(tmp_path, "w", [record()])):
        assert {path.name: path.stat().st_mode & 0o077 for path in tmp_path.glob("w.db*")} == {"w.db": 0, "w.db-wal": 0, "w.db-shm": 0}


def test_another_database_is_refused(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "w.db")) as connection:
        connection.execute("create table t (a)")
    with pytest.raises(StorageError, match="no journal of format 2"):
        JournalFile.open(tmp_path, "w")


def test_a_damaged_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "w.db").write_bytes(b"not a database" * 1000)
    with pytest.raises(StorageError, match=r"cannot open the journal .*move it aside and keep it"):
        JournalFile.open(tmp_path, "w")
    assert (tmp_path / "w.db").read_bytes().startswith(b"not a database")


# --- the end of the file ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def torn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A journal as a power cut finds it, and the size of its log when the first group was synced and the second was not yet."""
    folder = tmp_path_factory.mktemp("torn")
    file = fill(folder / "live", "w", [record(number) for number in range(40)])
    acknowledged = (folder / "live" / "w.db-wal").stat().st_size
    file.append([(f"id-{number:08d}", record(number).to_bytes()) for number in range(40, 80)])
    (folder / "cut").mkdir()
    for name in ("w.db", "w.db-wal"):
        shutil.copy(folder / "live" / name, folder / "cut" / name)
    file.close()
    return folder / "cut", acknowledged


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.5, 0.9, 0.999, 1.0])
@pytest.mark.parametrize("how", ["cut", "zeros", "noise"])
def test_a_torn_end_loses_nothing_that_was_acknowledged(torn: tuple[Path, int], tmp_path: Path, share: float, how: str) -> None:
    cut, acknowledged = torn
    folder = Path(shutil.copytree(cut, tmp_path / "journal"))
    log = folder / "w.db-wal"
    data = log.read_bytes()
    place = acknowledged + round(share * (len(data) - acknowledged))
    rest = {"cut": b"", "zeros": b"\0" * (len(data) - place), "noise": bytes(range(1, 252)) * 2000}[how]
    log.write_bytes(data[:place] + rest)
    with closing(JournalFile.open(folder, "w")) as file:
        there = ids(file)
        assert there == [f"id-{number:08d}" for number in range(80 if share == 1 else 40)]
        file.append([("new", record(99, prediction_id="new").to_bytes())])
        assert ids(file) == [*there, "new"]


# --- looking up ------------------------------------------------------------------------------------------------------


def test_the_first_record_of_an_id_is_the_one(tmp_path: Path) -> None:
    with closing(fill(tmp_path, "w", [record(1), record(1, verdict="edible")])) as file:
        assert file.get("id-00000001") == record(1).to_bytes()
        assert file.get("unknown") is None


def test_an_answer_is_found_in_the_journal_of_another_worker(tmp_path: Path) -> None:
    with closing(fill(tmp_path, "a", [record(1)])), closing(fill(tmp_path, "b", [record(2)])):
        assert find(tmp_path, "id-00000002") == record(2).to_bytes()
        assert find(tmp_path, "id-00000003") is None
    assert find(tmp_path, "id-00000001") == record(1).to_bytes()  # nobody holds it
    assert find(tmp_path / "none", "id-00000001") is None


def test_looking_into_a_damaged_journal_says_so(tmp_path: Path) -> None:
    (tmp_path / "w.db").write_bytes(b"not a database" * 1000)
    with pytest.raises(JournalError, match=r"cannot read the journal .*w\.db"):
        find(tmp_path, "x")


# --- the file taken away, or held by a tool --------------------------------------------------------------------------


def test_a_file_that_was_taken_away_is_noticed_and_made_anew(tmp_path: Path) -> None:
    with closing(fill(tmp_path, "w", [record(1)])) as file:
        for path in tmp_path.glob("w.db*"):
            path.unlink()
        with pytest.raises(JournalError, match="was taken away while it was in use"):
            file.append([("a", record(2).to_bytes())])
        file.append([("b", record(3).to_bytes())])
        assert file.depth == 1
    with closing(JournalFile.open(tmp_path, "w")) as file:
        assert ids(file) == ["id-00000003"]


def test_a_file_that_somebody_holds_is_an_error_that_passes(tmp_path: Path) -> None:
    with closing(JournalFile.open(tmp_path, "w")) as file, closing(sqlite3.connect(file.path, isolation_level=None)) as tool:
        tool.execute("begin immediate")
        with pytest.raises(JournalError, match=r"cannot write the journal .*database is locked \(SQLITE_BUSY\)"):
            file.append([("a", record(1).to_bytes())])
        tool.execute("rollback")
        file.append([("b", record(2).to_bytes())])
        assert ids(file) == ["id-00000002"]
