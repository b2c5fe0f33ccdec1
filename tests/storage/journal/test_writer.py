"""Tests of sporeprint.storage.journal.writer: many writers, one thread, bounds, and disks that fail."""

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from journal_support import fill, full_record, ids, record, write_all
from sporeprint.errors import BusyError, DataError, JournalError, JournalFullError
from sporeprint.settings import JournalSettings
from sporeprint.storage.journal.file import GROUP, JournalFile, Refusal
from sporeprint.storage.journal.writer import Journal
from warm_start import Warm


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal.open(tmp_path, "w") as opened:
        yield opened


@pytest.fixture
def held(journal: Journal) -> Iterator[sqlite3.Connection]:
    """The journal's file, held by somebody else until `rollback`."""
    with closing(sqlite3.connect(journal.path, isolation_level=None)) as tool:
        tool.execute("begin immediate")
        yield tool


def test_what_was_written_is_there_and_can_be_asked_for(journal: Journal) -> None:
    write_all(journal, [full_record(1), record(2)])
    assert journal.get("id-00000001") == full_record(1)
    assert journal.get("id-00000003") is None
    stats = journal.stats()
    assert (stats.worker, stats.depth, stats.written, stats.groups, stats.failures) == ("w", 2, 2, 1, 0)
    assert stats.age_s < 60


def test_it_is_synced_when_write_returns(tmp_path: Path, journal: Journal, strace: str) -> None:
    """Asked of the kernel: the writer's calls, seen from outside, end with a sync before the caller goes on."""
    trace = tmp_path / "trace"
    command = [strace, "-f", "-qq", "-e", "trace=fsync,fdatasync", "-o", str(trace), "-p", str(os.getpid())]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        time.sleep(0.5)
        if process.poll() is not None:
            assert os.environ.get("REQUIRE_SERVICES") != "1", process.stderr and process.stderr.read()
            pytest.skip("strace may not attach here")
        for number in range(10):
            write_all(journal, [record(number)])
            if number >= 5:
                journal.settle(number)  # which needs no sync, and must not leave the next write without one
        process.terminate()
    assert len([line for line in trace.read_text().splitlines() if "sync(" in line]) >= 10


def test_many_writers_share_a_sync(journal: Journal) -> None:
    async def writer(first: int) -> None:
        for number in range(first, first + 20):
            await journal.write(record(number))

    async def main() -> None:
        await asyncio.gather(*(writer(1000 * number) for number in range(64)))

    asyncio.run(main())
    stats = journal.stats()
    assert stats.written == 64 * 20 == stats.depth
    assert stats.groups < 64 * 20 / 8
    assert len(set(ids(journal))) == 64 * 20


def test_each_writer_finds_its_records_in_its_order(journal: Journal) -> None:
    async def writer(name: str) -> None:
        for number in range(30):
            await journal.write(record(number, prediction_id=f"{name}-{number:02d}"))

    async def main() -> None:
        await asyncio.gather(*(writer(name) for name in "abc"))

    asyncio.run(main())
    for name in "abc":
        assert [one for one in ids(journal) if one.startswith(name)] == [f"{name}-{number:02d}" for number in range(30)]


def test_more_than_a_group_at_once(journal: Journal) -> None:
    write_all(journal, [record(number) for number in range(2 * GROUP + 1)])
    assert ids(journal) == [f"id-{number:08d}" for number in range(2 * GROUP + 1)]
    assert journal.stats().groups == 3


def test_large_records_do_not_all_go_in_one_transaction(journal: Journal) -> None:
    write_all(journal, [record(number, features={"text": "x" * (3 << 20)}) for number in range(6)])
    assert journal.stats().groups == 2
    assert len(ids(journal)) == 6


def test_loops_of_several_threads_write_into_one_journal(journal: Journal) -> None:
    threads = [threading.Thread(target=write_all, args=(journal, [record(1000 * part + n) for n in range(50)])) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ids(journal)) == sorted(f"id-{1000 * part + number:08d}" for part in range(4) for number in range(50))


def test_a_record_that_cannot_be_kept_harms_nobody_else(journal: Journal) -> None:
    async def main() -> list[BaseException | None]:
        writes = (journal.write(one) for one in (record(1), record(2, probability=float("nan")), record(3)))
        return await asyncio.gather(*writes, return_exceptions=True)

    first, second, third = asyncio.run(main())
    assert (first, third) == (None, None)
    assert isinstance(second, DataError)
    assert ids(journal) == ["id-00000001", "id-00000003"]


def test_nobody_is_answered_before_it_is_on_the_disk(journal: Journal, held: sqlite3.Connection) -> None:
    async def main() -> None:
        writes = [asyncio.create_task(journal.write(record(number))) for number in range(3)]
        done, _ = await asyncio.wait(writes, timeout=0.3)
        assert done == set()
        held.execute("rollback")
        await asyncio.gather(*writes)

    asyncio.run(main())


def test_a_caller_who_goes_away_harms_nobody_else(journal: Journal, held: sqlite3.Connection) -> None:
    async def main() -> None:
        gone = asyncio.create_task(journal.write(record(1)))
        stays = asyncio.create_task(journal.write(record(2)))
        await asyncio.sleep(0.05)
        gone.cancel()
        held.execute("rollback")
        await stays
        assert gone.cancelled()

    asyncio.run(main())
    assert ids(journal) == ["id-00000001", "id-00000002"]


def test_a_loop_that_ends_while_its_callers_wait_harms_nobody_else(journal: Journal, held: sqlite3.Connection) -> None:
    async def impatient() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(journal.write(record(1)), 0.05)

    asyncio.run(impatient())
    held.execute("rollback")
    write_all(journal, [record(2)])
    assert ids(journal) == ["id-00000001", "id-00000002"]


# --- bounds ----------------------------------------------------------------------------------------------------------


def outcomes(journal: Journal, count: int) -> list[BaseException | None]:
    async def main() -> list[BaseException | None]:
        return await asyncio.gather(*(journal.write(record(number)) for number in range(count)), return_exceptions=True)

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("limits", "taken", "said"),
    [
        (JournalSettings(waiting_records=5), 5, r"5 answers \(0 MiB\) wait for the disk of .*w\.db; at most 5 .*waiting_records"),
        (JournalSettings(max_records=7), 7, r"w\.db holds 0 answers .* at most 7 .*storage\.journal\.max_records"),
    ],
)
def test_a_full_queue_is_an_error_that_passes(tmp_path: Path, limits: JournalSettings, taken: int, said: str) -> None:
    with Journal.open(tmp_path, "w", limits) as journal:
        found = outcomes(journal, 10)
        assert found[:taken] == [None] * taken
        with pytest.raises(JournalFullError, match=said) as caught:
            raise found[-1] or AssertionError
        assert caught.value.retryable
        assert caught.value.exit_code == 75
        assert (journal.stats().depth, journal.stats().turned_away) == (taken, 10 - taken)
        journal.settle(1_000)
        assert outcomes(journal, 1) == [None]


def test_the_bytes_are_bounded_too(tmp_path: Path) -> None:
    big = [record(number, features={"text": "x" * 400_000}) for number in range(4)]
    with Journal.open(tmp_path, "w", JournalSettings(max_mb=1)) as journal:
        write_all(journal, big[:2])
        with pytest.raises(JournalFullError, match=r"holds 2 answers \(0 MiB\) that the database does not have; at most .* \(1 MiB\)"):
            write_all(journal, big[2:])
        journal.settle(2)
        write_all(journal, big[2:])
    many = [record(number, features={"text": "x" * 400_000}) for number in range(20)]
    with Journal.open(tmp_path, "v", JournalSettings(waiting_mb=4)) as journal, pytest.raises(JournalFullError, match="wait for the disk"):
        write_all(journal, many)


def test_the_bound_holds_after_opening_again(tmp_path: Path) -> None:
    fill(tmp_path, "w", [record(number) for number in range(5)]).close()
    with Journal.open(tmp_path, "w", JournalSettings(max_records=5)) as journal, pytest.raises(JournalFullError, match="holds 5 answers"):
        write_all(journal, [record(9)])


# --- one writer ------------------------------------------------------------------------------------------------------


def test_a_second_journal_on_the_same_file_is_refused(tmp_path: Path, journal: Journal) -> None:
    with pytest.raises(BusyError, match=f"is held by process {os.getpid()}"):
        Journal.open(tmp_path, "w")
    write_all(journal, [record(1)])


def test_a_closed_journal_takes_nothing(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, "w")
    journal.close()
    with pytest.raises(JournalError, match=r"w\.db is closed; the server is stopping"):
        write_all(journal, [record(1)])
    with pytest.raises(JournalError, match="is closed"):
        journal.settle(1)
    with pytest.raises(JournalError, match="is closed"):
        journal.get("x")


def test_closing_writes_what_waits(tmp_path: Path) -> None:
    async def main() -> None:
        journal = Journal.open(tmp_path, "w")
        tasks = [asyncio.create_task(journal.write(record(number))) for number in range(3 * GROUP)]
        await asyncio.sleep(0)
        journal.close()
        await asyncio.gather(*tasks)

    asyncio.run(main())
    with closing(JournalFile.open(tmp_path, "w")) as file:
        assert len(ids(file)) == 3 * GROUP


FORK = """
import asyncio, os, pathlib, sys, warnings
warnings.simplefilter("ignore")
from journal_support import record, write_all
from sporeprint.storage.journal.writer import Journal
journal = Journal.open(pathlib.Path(sys.argv[1]), "w")
write_all(journal, [record(1)])
if os.fork() == 0:
    try:
        write_all(journal, [record(2)])
    except Exception as error:
        print(error, flush=True)
    os._exit(0)
os.wait()
journal.close()
"""


def test_a_forked_process_does_not_wait_for_a_writer_it_does_not_have(tmp_path: Path) -> None:
    done = python(FORK, tmp_path)
    assert "belongs to process" in done.stdout
    assert "after a fork, open another one" in done.stdout


# --- disks that fail -------------------------------------------------------------------------------------------------


def test_a_failure_reaches_every_caller_and_passes(journal: Journal, held: sqlite3.Connection) -> None:
    found = outcomes(journal, 5)
    assert [type(each) for each in found] == [JournalError] * 5
    assert len({id(each) for each in found}) == 5  # an exception belongs to one caller: it collects its traceback
    held.execute("rollback")
    write_all(journal, [record(7)])
    stats = journal.stats()
    assert (stats.failures, stats.written, stats.depth) == (1, 1, 1)
    assert "database is locked" in str(stats.last_error)


def test_settling_that_fails_says_so_and_can_be_repeated(journal: Journal) -> None:
    write_all(journal, [record(1), record(2)])
    with closing(sqlite3.connect(journal.path, isolation_level=None)) as tool:
        tool.execute("begin immediate")
        with pytest.raises(JournalError, match="database is locked"):
            journal.settle(1, [Refusal(1, "no")])
    journal.settle(1, [Refusal(1, "no")])
    assert (journal.stats().depth, journal.stats().refused, journal.requeue()) == (1, 1, 1)
    assert ids(journal) == ["id-00000002", "id-00000001"]


def test_what_nobody_thought_of_reaches_the_callers_and_passes(tmp_path: Path) -> None:
    times = iter([0, 1, 2])
    with Journal.open(tmp_path, "w", clock=lambda: [10, 20 // (1 - next(times)), 30][0]) as journal:
        write_all(journal, [record(0)])
        with pytest.raises(JournalError, match=r"cannot write the journal .*w\.db: ZeroDivisionError"):
            write_all(journal, [record(1)])
        write_all(journal, [record(2)])
        assert ids(journal) == ["id-00000000", "id-00000002"]


def test_an_order_that_fails_reaches_whoever_gave_it(journal: Journal) -> None:
    write_all(journal, [record(0)])
    with pytest.raises(TypeError):
        journal.settle("x")  # type: ignore[arg-type]
    write_all(journal, [record(1)])
    assert journal.stats().depth == 2


#: Fill the disk, make room, go on. `argv[2]`: how. Prints what happened.
FULL = """
import json, os, pathlib, resource, subprocess, sys
from journal_support import ids, record, write_all
from sporeprint.errors import JournalError
from sporeprint.storage.journal.writer import Journal
folder, how = pathlib.Path(sys.argv[1]), sys.argv[2]
if how == "tmpfs":
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "journal", str(folder)], check=True)
    (folder / "ballast").write_bytes(bytes(1 << 20))
else:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, resource.RLIM_INFINITY))
journal = Journal.open(folder, "w")
acknowledged, errors = [], []
for number in range(2000):
    try:
        write_all(journal, [record(number, features={"text": "x" * 5000})])
        acknowledged.append(f"id-{number:08d}")
    except JournalError as error:
        errors.append([type(error).__name__, str(error)])
        if len(errors) == 5:
            break
kept = ids(journal) == acknowledged
if how == "tmpfs":
    (folder / "ballast").unlink()
else:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
for number in range(5000, 5010):
    write_all(journal, [record(number)])
    acknowledged.append(f"id-{number:08d}")
kept = kept and ids(journal) == acknowledged
failures = journal.stats().failures
journal.close()
journal = Journal.open(folder, "w")
print(json.dumps({"kept": kept and ids(journal) == acknowledged, "count": len(acknowledged), "errors": errors, "failures": failures}))
journal.close()
"""


def python(code: str, *arguments: Any, before: tuple[str, ...] = ()) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "helpers")}
    command = [*before, sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


#: A mount that nobody else sees and that ends with the process: as root, or with a user namespace of one's own.
NAMESPACE = ("unshare", "--mount") if os.geteuid() == 0 else ("unshare", "--user", "--map-root-user", "--mount")


def _can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*NAMESPACE, "mount", "-t", "tmpfs", "x", "/mnt"], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("how", ["tmpfs", "limit"])
def test_a_full_disk_is_an_error_that_passes_and_loses_nothing(tmp_path: Path, how: str) -> None:
    if how == "tmpfs" and not _can_mount():
        pytest.skip("no right to mount a small disk here; the limit on a file's size stands for it")
    done = python(FULL, tmp_path, how, before=NAMESPACE if how == "tmpfs" else ())
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["kept"]
    assert found["count"] > 100
    assert found["failures"] == len(found["errors"]) == 5
    kind, said = found["errors"][0]
    if how == "tmpfs":
        assert (kind, said) == ("JournalFullError", f"the disk of the journal {tmp_path}/w.db is full; make room, then try again")
    else:
        assert kind == "JournalError"
        assert f"cannot write the journal {tmp_path}/w.db: disk I/O error" in said


# --- a worker that is killed -----------------------------------------------------------------------------------------

#: Forks a worker for each line it reads; the worker writes with 16 callers, and prints an id when it is acknowledged.
WORKER = """
import asyncio, os, pathlib, sys
sys.path.append(sys.argv[2])
from journal_support import record
from sporeprint.storage.journal.writer import Journal
async def caller(journal, cycle, name):
    number = 0
    while True:
        one = f"{cycle}-{name}-{number}"
        await journal.write(record(number, prediction_id=one, features={"text": "x" * 10_000}))  # a group takes a while
        os.write(1, f"{one}\\n".encode())
        number += 1
async def main(folder, cycle):
    journal = Journal.open(folder, "w", wait_s=5)
    await asyncio.gather(*(caller(journal, cycle, name) for name in range(16)))
for line in sys.stdin:
    child = os.fork()
    if not child:
        asyncio.run(main(pathlib.Path(sys.argv[1]), int(line)))
    os.write(1, f"pid {child}\\n".encode())
    os.waitpid(child, 0)
    os.write(1, b"end\\n")
"""


def test_nothing_acknowledged_is_lost_when_a_worker_is_killed_fifty_times(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WORKER, str(tmp_path), str(Path(__file__).parents[2] / "helpers")]
    acknowledged: list[str] = []
    with Warm(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for cycle in range(50):
            process.stdin.write(f"{cycle}\n")
            victim, killed_after = 0, 1 + (cycle * 37) % 101  # answers: none of the points is like another
            seen = 0
            for line in process.stdout:
                if line == "end\n":
                    break
                if line.startswith("pid "):
                    victim = int(line.split()[1])
                else:
                    assert line.endswith("\n")
                    acknowledged.append(line.strip())
                    seen += 1
                if victim and seen >= killed_after:
                    time.sleep(cycle % 2 * (cycle * 7919 % 50) / 10_000)  # 0 to 5 ms: anywhere in a group
                    os.kill(victim, signal.SIGKILL)
                    victim = 0
            assert seen >= killed_after
        process.stdin.close()
    with closing(JournalFile.open(tmp_path, "w")) as file:
        there = ids(file)
    assert len(acknowledged) > 2500
    assert set(acknowledged) - set(there) == set()
    assert len(there) == len(set(there)) < len(acknowledged) + 50 * 16
