"""Old predictions in MariaDB: a day dropped as a partition against the same day deleted row by row, and what partitions cost the shipper.

    python benchmarks/prune.py [--rows 1000000] [--labelled 20] [--ship 60000] [--pairs 3] [--days 31] [--folder DIR]

Prune: `retention.prune` on a day of so many answers of 600 bytes, an outcome for every 20th, with the days of a service around it; then
the same rows in the table of the revision before, without partitions. Seconds, the longest time that others wait, bytes of the table's
files before and after. Shipper: a journal of so many records into both tables, in turn; ids made as the service makes them; rows per
second, and processor time of shipper and server for a row, which holds better on a busy machine. `--rows 0` leaves the prune out.
The server is one that this script starts (`innodb_flush_log_at_trx_commit=1`).
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

from journal import records
from measure import say, spread
from sporeprint.common.progress import SilentProgress
from sporeprint.common.timestamps import DAY_US, now_us
from sporeprint.settings import PruneSettings
from sporeprint.storage.engine import connect
from sporeprint.storage.journal.file import GROUP, JournalFile
from sporeprint.storage.journal.shipper import ship_once
from sporeprint.storage.oltp import day_partitions, migrate, retention
from sporeprint.storage.prediction_record import PredictionRecord

ROOT = Path(__file__).resolve().parents[1]
BEFORE, OLD_DAYS = "0010", 31
FEATURES = '{"' + '","'.join(f'feature-{place:02d}":"{"x" * 12}' for place in range(20)) + '"}'


def fresh(server: Any, days: int, *, partitioned: bool) -> tuple[Engine, str]:
    """An OLTP database, with the partitions of a service so many days old."""
    database = server.create_database()
    engine = connect(server.url(database=database), answer_s=3600)
    migrate.upgrade(engine, None if partitioned else BEFORE)
    if partitioned:
        with engine.begin() as connection:
            connection.execute(text(day_partitions.whole()))
            connection.execute(text(day_partitions.partitioned(now_us() - days * DAY_US, now_us())))
    return engine, database


def fill(engine: Engine, rows: int, labelled: int) -> None:
    """A day of answers, made by the server itself."""
    begin = (now_us() // DAY_US - OLD_DAYS) * DAY_US
    made = f"{begin} + seq * ({DAY_US} DIV {rows + 1})"
    name = f"CONCAT(LPAD(LOWER(HEX({made})), 14, '0'), LPAD(LOWER(HEX(seq)), 18, '0'))"
    said = f"{name}, {made}, 'xgboost', 2, 'p', 0.98765, 'poisonous', 0.31, 0.0123, '[]', '{FEATURES}', 850, 'worker-1', {made}"
    columns = "prediction_id, created_us, model, version, prediction, probability, verdict, novelty_p, threshold, unseen, features, "
    columns += "latency_us, worker, recorded_us"
    with engine.begin() as connection:
        for first in range(1, rows + 1, 100_000):
            numbers = f"seq_{first}_to_{min(rows, first + 99_999)}"
            connection.exec_driver_sql(f"INSERT INTO prediction ({columns}) SELECT {said} FROM {numbers}")
        connection.exec_driver_sql(
            "INSERT INTO outcome (prediction_id, revision, outcome, source, observed_us, recorded_us) "
            f"SELECT prediction_id, 1, 'p', 'lab', created_us, created_us FROM prediction WHERE seq MOD {labelled} = 0"
        )


def size_mib(server: Any, database: str) -> float:
    """Of the files of the table."""
    folder: Path = server.folder / "data" / database
    return sum(path.stat().st_size for path in folder.glob("prediction*.ibd")) / (1 << 20)


def pruned(server: Any, options: argparse.Namespace, *, partitioned: bool) -> dict[str, Any]:
    engine, database = fresh(server, options.days, partitioned=partitioned)
    fill(engine, options.rows, options.labelled)
    before, load, began = size_mib(server, database), os.getloadavg()[0], time.perf_counter()
    settings = PruneSettings()
    done = retention.prune(
        engine,
        settings,
        older_than_us=settings.min_days * DAY_US,
        now_us=now_us(),
        dry_run=False,
        progress=SilentProgress(),
        warehouse=None,
    )
    seconds = time.perf_counter() - began
    assert (done.predictions, done.outcomes) == (options.rows, options.rows // options.labelled)
    engine.dispose()
    found = {"seconds": round(seconds, 2), "rows_per_s": round(options.rows / seconds), "others_wait_s": round(done.longest_s, 3)}
    return {**found, "mib_before": round(before), "mib_after": round(size_mib(server, database)), "load": load}


def cpu_s(server: Any) -> float:
    """Processor time of this process and of the server."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return time.process_time() + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def shipped(server: Any, options: argparse.Namespace, made: list[PredictionRecord], *, partitioned: bool) -> tuple[float, float]:
    """Rows per second, from reading the journal to removing from it, and microseconds of processor time for a row."""
    engine, _ = fresh(server, options.days, partitioned=partitioned)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        file = JournalFile.open(Path(folder), "w")
        for begin in range(0, len(made), GROUP):
            file.append([(one.prediction_id, one.to_bytes()) for one in made[begin : begin + GROUP]])
        began, cpu, done = time.perf_counter(), cpu_s(server), 0
        while rows := ship_once(file, engine).rows:
            done += rows
        took, cpu = time.perf_counter() - began, cpu_s(server) - cpu
        file.close()
    engine.dispose()
    assert done == len(made)
    return len(made) / took, 1e6 * cpu / len(made)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--labelled", type=int, default=20)
    parser.add_argument("--ship", type=int, default=60_000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--days", type=int, default=31)
    parser.add_argument("--folder", type=Path, default=ROOT / "benchmarks/out")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    sys.path.insert(0, str(ROOT / "tests/helpers"))
    from mariadb_server import MariaDB

    folder = Path(tempfile.mkdtemp(prefix="mariadb-", dir=options.folder))
    server = MariaDB(folder, {"innodb-flush-log-at-trx-commit": "1", "innodb-buffer-pool-size": "1G", "innodb-log-file-size": "512M"})
    try:
        now = now_us()
        made = [
            one._replace(prediction_id=f"{now + place:014x}{place:018x}", created_us=now + place)
            for place, one in enumerate(records(options.ship))
        ]
        runs: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
        for _ in range(options.pairs):
            for partitioned in (False, True):
                runs[partitioned].append(shipped(server, options, made, partitioned=partitioned))
        pairs = list(zip(runs[True], runs[False], strict=True))
        figures = {
            "by_day_per_s": spread([rate for rate, _ in runs[True]]),
            "one_table_per_s": spread([rate for rate, _ in runs[False]]),
            "ratio": spread([by_day[0] / one_table[0] for by_day, one_table in pairs]),
            "by_day_cpu_us": spread([cpu for _, cpu in runs[True]]),
            "one_table_cpu_us": spread([cpu for _, cpu in runs[False]]),
            "cpu_ratio": spread([by_day[1] / one_table[1] for by_day, one_table in pairs]),
        }
        say("shipper", {**figures, "load": os.getloadavg()[0]})
        if not options.rows:
            return
        dropped, deleted = (pruned(server, options, partitioned=partitioned) for partitioned in (True, False))
        say(
            "prune of a day",
            {"rows": options.rows, "dropped": dropped, "deleted": deleted, "ratio": deleted["seconds"] / dropped["seconds"]},
        )
    finally:
        server.stop()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
