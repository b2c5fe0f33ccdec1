"""The journal and the shipper: durable answers per second, and rows per second into the OLTP database.

    python benchmarks/journal.py [--seconds 3] [--rows 60000] [--pairs 3] [--folder DIR] [--no-mariadb]

Journal: 64 callers in one event loop, each waiting for its record of 600 bytes before it writes the next. In the same run, in turn:
the same records with a sync each (the journal's own file, and a bare file), and a bare group-commit loop (64 callers, one thread,
appended bytes, one `fdatasync` a group) as the limit. Shipper: from a journal into SQLite (`synchronous=FULL`) and into a MariaDB that
this script starts (`innodb_flush_log_at_trx_commit=1`), against the bare driver's `executemany` of the same rows.
`--folder` has to be on a disk: where memory stands for one, a sync costs nothing.
"""

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, make_url

from measure import run, say, spread
from sporeprint.settings import JournalSettings
from sporeprint.storage.engine import connect
from sporeprint.storage.journal.file import GROUP, JournalFile
from sporeprint.storage.journal.shipper import Shipper, ship_once
from sporeprint.storage.journal.writer import Journal
from sporeprint.storage.oltp import tables
from sporeprint.storage.prediction_record import COLUMNS, PredictionRecord, Value, as_row

ROOT = Path(__file__).resolve().parents[1]
CALLERS, SIZE = 64, 600


def records(count: int) -> list[PredictionRecord]:
    """Answers of 600 bytes, with 20 features and ids of their own."""
    features: dict[str, Value] = {f"feature-{place:02d}": 1.5 * place if place % 7 == 0 else "x" for place in range(20)}
    fixed = ("xgboost", 2, "p", "poisonous", features, 850, "worker-1", 0.98765, 0.31, 0.0123)
    begin = 1_700_000_000_000_000
    features["feature-19"] = "x" * (1 + SIZE - len(PredictionRecord("0" * 32, begin, *fixed).to_bytes()))
    made = [PredictionRecord(f"{number:032x}", begin + number, *fixed) for number in range(count)]
    assert {len(one.to_bytes()) for one in (made[0], made[-1])} == {SIZE}
    return made


async def callers(write: Callable[[PredictionRecord], Awaitable[None]], made: list[PredictionRecord], seconds: float) -> dict[str, float]:
    """64 callers for so many seconds: records per second, and how long one waits, milliseconds."""
    waits: list[float] = []
    began = time.perf_counter()
    following = iter(made)

    async def caller() -> None:
        for one in following:
            asked = time.perf_counter()
            if asked - began > seconds:
                return
            await write(one)
            waits.append(time.perf_counter() - asked)

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    took = time.perf_counter() - began
    waits.sort()
    return {"per_s": len(waits) / took, "median_ms": 1000 * waits[len(waits) // 2], "p99_ms": 1000 * waits[int(0.99 * len(waits))]}


def journal(folder: Path, seconds: float, _: int) -> dict[str, float]:
    made = records(int(80_000 * seconds))
    with Journal.open(folder, "w") as opened:
        return asyncio.run(callers(opened.write, made, seconds))


def until_time_is_up(write: Callable[[PredictionRecord], None], made: list[PredictionRecord], seconds: float) -> float:
    """Records per second of one writer."""
    began, done = time.perf_counter(), 0
    for one in made:
        write(one)
        done += 1
        if time.perf_counter() - began > seconds:
            break
    return done / (time.perf_counter() - began)


def one_sync_each(folder: Path, seconds: float, _: int) -> dict[str, float]:
    """The journal's file, a transaction for each record."""
    made = records(int(20_000 * seconds))
    file = JournalFile.open(folder, "w")
    rate = until_time_is_up(lambda one: file.append([(one.prediction_id, one.to_bytes())]), made, seconds)
    file.close()
    return {"per_s": rate}


def bare_sync_each(folder: Path, seconds: float, _: int) -> dict[str, float]:
    """A file to which each record is appended and synced."""
    made = records(int(20_000 * seconds))
    handle = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(one: PredictionRecord) -> None:
        os.write(handle, one.to_bytes())
        os.fdatasync(handle)

    rate = until_time_is_up(write, made, seconds)
    os.close(handle)
    return {"per_s": rate}


def bare_groups(folder: Path, seconds: float, _: int) -> dict[str, float]:
    """The limit: what 64 callers wait for is appended to a file and synced by one thread. No bounds, no errors, no reader."""
    made = records(int(80_000 * seconds))
    handle = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    waiting: list[tuple[bytes, asyncio.Future[None]]] = []
    wake = threading.Event()
    ended = False

    def finish(group: list[tuple[bytes, "asyncio.Future[None]"]]) -> None:
        for _, future in group:
            future.set_result(None)

    async def main() -> dict[str, float]:
        nonlocal ended
        loop = asyncio.get_running_loop()

        def writer() -> None:
            while not ended:
                wake.wait()
                wake.clear()
                group = waiting[:]
                del waiting[: len(group)]
                os.write(handle, b"".join(data for data, _ in group))
                os.fdatasync(handle)
                loop.call_soon_threadsafe(finish, group)

        async def write(one: PredictionRecord) -> None:
            future: asyncio.Future[None] = loop.create_future()
            if not waiting:
                loop.call_soon(wake.set)
            waiting.append((one.to_bytes(), future))
            await future

        thread = threading.Thread(target=writer)
        thread.start()
        found = await callers(write, made, seconds)
        ended = True
        wake.set()
        thread.join()
        return found

    found = asyncio.run(main())
    os.close(handle)
    return found


def engine_of(folder: Path, url: str | None) -> Engine:
    """An empty OLTP database."""
    engine = connect(make_url(url) if url else URL.create("sqlite", database=str(folder / "oltp.db")))
    tables.metadata.drop_all(engine)
    tables.metadata.create_all(engine)
    return engine


def ship(folder: Path, _: float, rows: int, url: str | None = None) -> dict[str, float]:
    """Everything from reading the journal to removing from it."""
    engine, made = engine_of(folder, url), records(rows)
    file = JournalFile.open(folder, "w")
    for begin in range(0, rows, GROUP):
        file.append([(one.prediction_id, one.to_bytes()) for one in made[begin : begin + GROUP]])
    began, shipped = time.perf_counter(), 0
    while done := ship_once(file, engine).rows:
        shipped += done
    took = time.perf_counter() - began
    assert shipped == rows
    file.close()
    engine.dispose()
    return {"per_s": rows / took}


def bare_rows(folder: Path, _: float, rows: int, url: str | None = None) -> dict[str, float]:
    """The limit: the driver's `executemany` of 2,000 rows that are there already, and a commit."""
    engine = engine_of(folder, url)
    values = [as_row(one.to_bytes(), 1) for one in records(rows)]
    placeholder = "%s" if url else "?"
    statement = f"insert into prediction ({', '.join(COLUMNS)}) values ({', '.join([placeholder] * len(COLUMNS))})"
    raw = engine.raw_connection()
    cursor = raw.cursor()
    began = time.perf_counter()
    for begin in range(0, rows, 2000):
        if not url:
            cursor.execute("begin")
        cursor.executemany(statement, values[begin : begin + 2000])
        if url:
            raw.commit()
        else:
            cursor.execute("commit")
    took = time.perf_counter() - began
    raw.close()
    engine.dispose()
    return {"per_s": rows / took}


def both(folder: Path, seconds: float, _: int) -> dict[str, float]:
    """A worker that answers as fast as it can and ships into SQLite at the same time, in one process."""
    made, engine = records(int(80_000 * seconds)), engine_of(folder, None)
    with Journal.open(folder / "journal", "w") as opened:
        shipper = Shipper(engine, folder / "journal", JournalSettings(interval_s=0.1), own=opened).start()
        found = asyncio.run(callers(opened.write, made, seconds))
        found["shipped_per_s"] = shipper.stats().shipped / seconds
        shipper.stop(60)
    return found


PARTS: dict[str, Callable[..., dict[str, float]]] = {
    "journal": journal,
    "journal, a sync each": one_sync_each,
    "bare file, a sync each": bare_sync_each,
    "bare groups": bare_groups,
    "answering and shipping": both,
    "ship": ship,
    "bare rows": bare_rows,
}


def part(name: str, options: argparse.Namespace, url: str | None = None) -> dict[str, float]:
    """One measurement, in a process of its own."""
    command = [sys.executable, __file__, "--part", name, "--seconds", str(options.seconds), "--rows", str(options.rows)]
    command += ["--folder", str(options.folder), *(["--url", url] if url else [])]
    found: dict[str, float] = json.loads(run(command).output)
    return found


def measure_part(options: argparse.Namespace) -> None:
    arguments = [options.url] if options.url else []
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        print(json.dumps(PARTS[options.part](Path(folder), options.seconds, options.rows, *arguments)))


def compare(names: list[str], options: argparse.Namespace, url: str | None = None) -> dict[str, list[dict[str, float]]]:
    """Measurements in turn: A B C A B C ..."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(options.pairs):
        for name in names:
            found[name].append(part(name, options, url))
    return found


def ratio(found: dict[str, list[dict[str, float]]], one: str, other: str) -> dict[str, float]:
    return spread([a["per_s"] / b["per_s"] for a, b in zip(found[one], found[other], strict=True)])


def rates(found: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    return {name: {key: spread([each[key] for each in times]) for key in times[0]} for name, times in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=ROOT / "benchmarks/out")
    parser.add_argument("--no-mariadb", action="store_true")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        measure_part(options)
        return
    load = os.getloadavg()[0]
    found = compare(["journal", "journal, a sync each", "bare file, a sync each", "bare groups", "answering and shipping"], options)
    against = {name: ratio(found, "journal", name) for name in ("journal, a sync each", "bare file, a sync each", "bare groups")}
    say("journal, 64 callers, 600 bytes", {"load_before": load, **rates(found), "journal_against": against})
    found = compare(["ship", "bare rows"], options)
    say("shipper into SQLite", {"rows": options.rows, **rates(found), "ratio": ratio(found, "ship", "bare rows")})
    if options.no_mariadb:
        return
    sys.path.insert(0, str(ROOT / "tests/helpers"))
    from mariadb_server import MariaDB

    folder = Path(tempfile.mkdtemp(prefix="mariadb-"))
    server = MariaDB(folder, {"innodb-flush-log-at-trx-commit": "1", "innodb-buffer-pool-size": "512M", "innodb-log-file-size": "256M"})
    try:
        url = server.url(database=server.create_database()).render_as_string(hide_password=False)
        found = compare(["ship", "bare rows"], options, url)
        say("shipper into MariaDB", {"rows": options.rows, **rates(found), "ratio": ratio(found, "ship", "bare rows")})
    finally:
        server.stop()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
