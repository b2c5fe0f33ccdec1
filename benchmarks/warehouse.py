"""The warehouse: what a sync takes, embedded and in MariaDB, and what the standard report takes over ten times as many answers.

    python benchmarks/warehouse.py [--predictions 1000000] [--folder DIR] [--no-mariadb] [--processes 1 2 --pairs 3]

Sync: `sporeprint warehouse sync` as a whole process, from an SQLite file with a million answers of 30 days, two versions in an A/B test,
the features of the shipped configuration, and an outcome for every twentieth; then the same command again, with nothing new. Report: the
standard questions over that, and over a warehouse with ten times the answers in the same 30 days, whose counts are made from generated
answers by the sync's own counting and loading, without the facts and features, which the report does not read.
With `--processes`: only the sync, into an empty warehouse, with so many processes (`runtime.threads`), in turn.
"""

import argparse
import json
import os
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from sqlalchemy import URL

from measure import SPOREPRINT, run, say, spread
from sporeprint import settings
from sporeprint.common.timestamps import DAY_US, HOUR_US
from sporeprint.reports import warehouse_report
from sporeprint.schema import DatasetSchema
from sporeprint.storage.warehouse import aggregation, star_schema
from sporeprint.storage.warehouse.factory import open_warehouse
from sporeprint.storage.warehouse.protocol import Warehouse

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "config/config.yaml"
BEGIN_US, DAYS = 1_767_225_600_000_000, 30
#: Answers whose counts are made and loaded at a time.
STEP = 500_000


def fill(path: Path, count: int, schema: DatasetSchema) -> None:
    """An OLTP database with so many answers."""
    run([*SPOREPRINT, "db", "upgrade", "--workdir", str(path.parent.parent), "--config", str(CONFIG)])
    raw = sqlite3.connect(path)
    raw.execute("PRAGMA synchronous = OFF")
    columns = (
        "prediction_id, created_us, model, version, prediction, probability, verdict, novelty_p, threshold, unseen, features, "
        "test_id, arm, latency_us, worker, recorded_us"
    )
    raw.executemany(f"INSERT INTO prediction ({columns}) VALUES ({', '.join('?' * 16)})", _rows(count, schema))
    raw.execute(
        "INSERT INTO outcome (prediction_id, revision, outcome, source, observed_us, recorded_us) "
        "SELECT prediction_id, 1, CASE WHEN seq % 400 = 0 THEN 'p' ELSE prediction END, 'lab', created_us, created_us FROM prediction "
        "WHERE seq % 20 < 1 + (seq % 40 < 20)"
    )
    raw.commit()
    raw.close()


def _rows(count: int, schema: DatasetSchema) -> Iterator[tuple[Any, ...]]:
    chance = random.Random(7)
    features = [json.dumps(_features(schema, chance), separators=(",", ":")) for _ in range(2000)]
    step = DAYS * DAY_US // count
    for number in range(count):
        created, share, arm = BEGIN_US + number * step, chance.random(), chance.randrange(2)
        code, verdict = ("p", "poisonous") if share > 0.5 else ("e", "edible")
        verdict = "unknown" if chance.random() < 0.02 else verdict
        name = f"{created:016x}{chance.getrandbits(64):016x}"
        said = (code, share, verdict, chance.random(), 0.5, "[]", chance.choice(features))
        yield (name, created, "xgboost", 1 + arm, *said, "t1", "ab"[arm], int(chance.lognormvariate(8, 0.5)), "w", created)


def _features(schema: DatasetSchema, chance: random.Random) -> dict[str, Any]:
    return {
        name: round(chance.gammavariate(4, 2), 2)
        if column.values is None
        else None
        if chance.random() < 0.1
        else chance.choice([*column.values])
        for name, column in schema.columns.items()
    }


def fill_counts(warehouse: Warehouse, count: int, schema: DatasetSchema) -> None:
    """The counts of so many answers of the same 30 days."""
    chance, step = np.random.default_rng(7), DAYS * DAY_US // count
    for begin in range(0, count, STEP):
        created = BEGIN_US + step * np.arange(begin, min(begin + STEP, count))
        arm, share = chance.integers(0, 2, len(created)), chance.random(len(created))
        code = np.where(share > 0.5, "p", "e")
        answers = pl.DataFrame(
            {
                "hour_us": created - created % HOUR_US,
                "model": "xgboost",
                "version": arm + 1,
                "test_id": "t1",
                "arm": np.where(arm == 0, "a", "b"),
                "prediction": code,
                "latency_us": chance.lognormal(8, 0.5, len(created)).astype(int),
                "verdict": np.where(chance.random(len(created)) < 0.02, "unknown", np.where(code == "p", "poisonous", "edible")),
            }
        )
        known = answers.filter(pl.Series(chance.random(len(created)) < 0.05)).with_columns(outcome=pl.col("prediction"))
        with warehouse.loading() as load:
            load.put(star_schema.DIM_VERDICT, aggregation.verdicts(schema))
            load.put(star_schema.DIM_CLASS, aggregation.classes(schema))
            load.put(star_schema.DIM_TIME, aggregation.hours(answers), keep=True)
            load.put(star_schema.DIM_MODEL, aggregation.models(answers), keep=True)
            load.add(star_schema.HOUR_ANSWERS, aggregation.answers(answers))
            load.add(star_schema.HOUR_LATENCY, aggregation.latency(answers))
            load.add(star_schema.HOUR_OUTCOMES, known.group_by(star_schema.HOUR_OUTCOMES.key).agg(answers=pl.len().cast(pl.Int64)))


def report(warehouse: Warehouse) -> dict[str, Any]:
    """Seconds of the standard report, from opening the warehouse to the tables, five times."""
    seconds, answers = [], 0
    for _ in range(6):
        began = time.perf_counter()
        with warehouse.reading() as reader:
            made = warehouse_report.make_warehouse_report(reader, warehouse.shown, now_us=BEGIN_US, days=0)
        made.tables()
        seconds.append(time.perf_counter() - began)
        answers = sum(row["answers"] for row in made.results["verdicts_total"])
    return {"answers": answers, "report_s": spread(seconds[1:])}


def sync_command(workdir: Path) -> list[str]:
    return [*SPOREPRINT, "warehouse", "sync", "--workdir", str(workdir), "--config", str(CONFIG), "--json"]


def compare_processes(name: str, workdir: Path, fresh: Callable[[], None], options: argparse.Namespace) -> None:
    """Rows per second of the sync, by number of processes, in turn."""
    results: dict[int, list[dict[str, float]]] = {number: [] for number in options.processes}
    for _ in range(options.pairs):
        for number in options.processes:
            fresh()
            done = run([*sync_command(workdir), "--set", f"runtime.threads={number}"])
            seconds = json.loads(done.output)["seconds"]
            figures = {"rows_per_s": options.predictions / seconds, "cpu_s": done.cpu_s, "peak_mib": done.peak_mib}
            results[number].append({**figures, "load": os.getloadavg()[0]})
    say(f"sync by processes: {name}", {str(number): _spreads(runs) for number, runs in results.items()})


def _spreads(runs: list[dict[str, float]]) -> dict[str, Any]:
    return {figure: spread([each[figure] for each in runs]) for figure in runs[0]}


def sync(workdir: Path) -> dict[str, Any]:
    """The command twice: all of it, and nothing new."""
    command = sync_command(workdir)
    first, second = run(command), run(command)
    done, again = json.loads(first.output), json.loads(second.output)
    return {
        "predictions": done["predictions"],
        "outcomes": done["outcomes"],
        "sync_s": done["seconds"],
        "process_s": round(first.wall_s, 1),
        "cpu_s": round(first.cpu_s, 1),
        "peak_mib": round(first.peak_mib),
        "second_sync_s": again["seconds"],
        "second_process_s": round(second.wall_s, 2),
        "load": os.getloadavg()[0],
    }


def measured(name: str, workdir: Path, address: URL | Path, larger: URL | Path, count: int, schema: DatasetSchema) -> None:
    found = sync(workdir)
    warehouse = open_warehouse(address)
    found["report"] = report(warehouse)
    warehouse.close()
    warehouse = open_warehouse(larger)
    fill_counts(warehouse, 10 * count, schema)
    found["report_of_ten_times_as_many"] = report(warehouse)
    warehouse.close()
    say(f"warehouse: {name}", found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--predictions", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=ROOT / "benchmarks/out")
    parser.add_argument("--no-mariadb", action="store_true")
    parser.add_argument("--processes", type=int, nargs="+", default=[])
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    schema = settings.load_settings(CONFIG, environ={}).dataset
    workdir = options.folder / "warehouse-work"
    shutil.rmtree(workdir, ignore_errors=True)
    (workdir / "data").mkdir(parents=True)
    fill(workdir / "data/sporeprint.db", options.predictions, schema)
    if options.processes:
        compare_processes("embedded", workdir, lambda: shutil.rmtree(workdir / "data/warehouse", ignore_errors=True), options)
    else:
        measured("embedded", workdir, workdir / "data/warehouse", workdir / "larger", options.predictions, schema)
    if not options.no_mariadb:
        sys.path.insert(0, str(ROOT / "tests/helpers"))
        import mariadb_server

        with tempfile.TemporaryDirectory(prefix="mariadb-") as folder:
            large = {"innodb-buffer-pool-size": "1G", "innodb-log-file-size": "512M", "innodb-flush-log-at-trx-commit": "1"}
            server = mariadb_server.MariaDB(Path(folder), large)
            try:
                if options.processes:

                    def fresh() -> None:
                        url = server.url(database=server.create_database())
                        os.environ["SPOREPRINT_OLAP_URL"] = url.render_as_string(hide_password=False)

                    compare_processes("MariaDB", workdir, fresh, options)
                else:
                    address, larger = (server.url(database=server.create_database()) for _ in range(2))
                    os.environ["SPOREPRINT_OLAP_URL"] = address.render_as_string(hide_password=False)
                    measured("MariaDB", workdir, address, larger, options.predictions, schema)
            finally:
                server.kill()
    shutil.rmtree(workdir, ignore_errors=True)


if __name__ == "__main__":
    main()
