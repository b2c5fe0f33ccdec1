"""The pipeline on a small Spark cluster of this machine: what it costs beside one process, and what a killed executor changes.

    python benchmarks/spark.py ingest [--rows 6001370]     transform, on the cluster and in one process: CPU, workers' peak memory, equality
    python benchmarks/spark.py kills [--points 5]          etl of 300,000 rows; an executor is killed at random points, the result compared
    python benchmarks/spark.py check [--python PATH]       what `engine check` says of a cluster that lacks something, and how soon
    python benchmarks/spark.py connect                     engine check, transform and train by a Spark Connect server

A master and two workers of 1 core each, as in tests/helpers/spark_cluster.py; `scripts/cluster_dev.sh --setup` installs PySpark. `connect`
needs what PySpark's client needs beside it (grpcio, grpcio-status, zstandard, googleapis-common-protos), in --beside FOLDER.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from measure import SPOREPRINT, run, say

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/helpers"))

from spark_cluster import SparkCluster, connect_server, executors, spark_cluster  # noqa: E402  # lies beside the tests

PYTHON = ROOT / ".venv-cluster/bin/python"
SMALL = 300_000
#: Fits of all rows in a few seconds.
QUICK = (
    "runtime.threads=1",
    "runtime.most_rows=20000",
    "models.decision_tree.params.max_depth=3",
    "models.xgboost.rounds=20",
    "evaluation.folds=2",
    "evaluation.replicates=100",
)


def table_of(rows: int, folder: Path) -> Path:
    """A simulated table of 173 species."""
    table = folder / f"simulated_{rows}_173.csv"
    if not table.exists():
        run([*SPOREPRINT, "simulate", "--rows", str(rows), "--species", "173", "--seed", "7", "--out", str(table), *config()])
    return table


def config(*changes: str) -> list[str]:
    return ["--config", str(ROOT / "config/config.yaml"), *(option for change in changes for option in ("--set", change))]


def changes_of(rows: int) -> list[str]:
    return [f"dataset.groups.block_rows={rows // 173}", "dataset.groups.names_file=null"]


def below(pid: int) -> Iterator[int]:
    """The processes that a process started, and those that they did."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            yield (child := int(path.parent.name))
            yield from below(child)


def status(pid: int, field: str) -> float:
    """A field of /proc/PID/status in MiB; 0 where the process is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith(f"{field}:")), 0.0)


def cpu_s(pid: int) -> float:
    """Processor seconds of a process, without its children."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def kind(pid: int, driver: int) -> str | None:
    """What a process is: the driver, another Python, or Java; None: it has ended."""
    if pid == driver:
        return "driver"
    try:
        program = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
    except OSError:
        return None
    return ("java" if b"java" in program else "python_workers") if program else None


def same(here: Path, there: Path) -> bool:
    """Whether two work directories have the same staged or published rows, part by part."""
    names = sorted(path.relative_to(here) for path in here.rglob("part-*.parquet"))
    return bool(names) and all(pl.read_parquet(here / name).equals(pl.read_parquet(there / name)) for name in names)


def same_fits(here: Path, there: Path) -> bool:
    """Whether the versions of two work directories were made by the same encoder and guard."""
    files = [f"models/registry/{name}/v1/{part}" for name in ("logistic_regression", "xgboost") for part in ("encoder.json", "guard.npz")]
    return all((there / file).exists() and (here / file).read_bytes() == (there / file).read_bytes() for file in files)


def watched(cluster: SparkCluster, *arguments: str) -> dict[str, float | dict[str, float]]:
    """Run a driver; processor seconds of it and of all executors, and the largest Python worker. It looks five times a second."""
    used: dict[int, float] = {}
    kinds: dict[int, str] = {}
    peak, began = 0.0, time.perf_counter()
    with cluster.driver(*arguments) as driver:
        while driver.poll() is None:
            for top in (driver.pid, *executors()):
                for pid in (top, *below(top)):
                    used[pid] = max(used.get(pid, 0.0), cpu_s(pid))
                    kinds[pid] = kind(pid, driver.pid) or kinds.get(pid, "python_workers")  # a process may become another program
                    if top != driver.pid and pid != top:
                        peak = max(peak, status(pid, "VmHWM"))
            time.sleep(0.2)
        _, errors = driver.communicate()
    if driver.returncode:
        sys.exit(errors)
    parts = {name: round(sum(used[pid] for pid in used if kinds[pid] == name), 1) for name in sorted(set(kinds.values()))}
    wall = round(time.perf_counter() - began, 1)
    return {"cpu_s": round(sum(used.values()), 1), "of_it": parts, "python_worker_mib": round(peak), "wall_s": wall}


def ingest(rows: int, folder: Path, place: Path) -> None:
    rows -= rows % 173
    table, options = table_of(rows, folder), config(*changes_of(rows), "engine.start_s=240")
    for name in ("here", "there"):
        run([*SPOREPRINT, "extract", "--source", str(table), "--workdir", str(place / name), *options])
    alone = run([*SPOREPRINT, "transform", "--workdir", str(place / "here"), *options, "--set", "runtime.threads=1"])
    with spark_cluster(PYTHON, place) as cluster:
        spark = watched(cluster, "transform", "--engine", cluster.master, "--workdir", str(place / "there"), *options)
    local = round(alone.cpu_s, 1)
    say(
        "transform on a cluster",
        {
            "rows": rows,
            "one_process_cpu_s": local,
            "spark": spark,
            "bound_cpu_s": round(1.3 * local + 20, 1),
            "equal": same(place / "here", place / "there"),
        },
    )


def kills(points: int, folder: Path, place: Path, seed: int) -> None:
    rows = SMALL - SMALL % 173
    table = table_of(rows, folder)
    options = config(*changes_of(rows), *QUICK, "engine.split_mb=1", "engine.start_s=240")
    arguments = ["etl", "--allow-simulated", "--source", str(table), *options]
    here = place / "here"
    run([*SPOREPRINT, *arguments, "--workdir", str(here)])
    draw = random.Random(seed)
    with spark_cluster(PYTHON, place) as cluster:
        code, _, errors = cluster.run(*arguments, "--engine", cluster.master, "--workdir", str(place / "whole"), timeout=None)
        if code:
            sys.exit(errors)
        took = durations_of(place / "whole")
        for number in range(points + 1):
            # In turn while rows are checked and while fits count them; how far a step is depends on the load, so it is asked for.
            before, step = (("load", "train"), ("extract", "transform"))[number % 2]
            there, wait = place / f"there{number}", draw.uniform(0, 0.8 * took[step])
            is_driver = number == points
            command = (*arguments, "--engine", cluster.master, "--workdir", str(there))
            with cluster.driver(*command) as driver:
                while driver.poll() is None and (before not in durations_of(there) or not executors()):
                    time.sleep(0.05)
                time.sleep(wait)
                done, alive = list(durations_of(there)), executors()
                if is_driver:
                    driver.kill()
                elif alive:
                    os.kill(draw.choice(alive), signal.SIGKILL)
                _, errors = driver.communicate()
            found = {"during": step, "after_s": round(wait, 1), "steps_done": done, "was_there": bool(alive)}
            if is_driver:
                found["candidates_of_it"] = (there / "models/candidates/xgboost/candidate.json").exists()
                driver.returncode, _, errors = cluster.run(*command, timeout=None)
            say(
                "the driver killed, then again" if is_driver else "an executor killed",
                {
                    **found,
                    "exit": driver.returncode,
                    "error": errors.strip()[-300:] if driver.returncode else "",
                    "equal_rows": same(here / "data/model_input", there / "data/model_input"),
                    "equal_fits": same_fits(here, there),
                },
            )


def durations_of(workdir: Path) -> dict[str, float]:
    """The steps that runs have ended, and how long each took."""
    logs = sorted((workdir / "logs").glob("*.jsonl"))
    lines = [json.loads(line) for log in logs for line in log.read_text().splitlines()]
    return {line["step"]: float(line["wall_s"]) for line in lines if "step" in line}


def check(place: Path, other: Path | None) -> None:
    (share := place / "share").mkdir()
    arguments = ["engine", "check", *config(), "--workdir", str(share)]
    lacks = {
        "a package": ({"PYSPARK_PYTHON": str(PYTHON)}, ()),
        "memory": ({}, ("--set", "engine.executor_memory=64g")),
        "nothing": ({}, ()),
    }
    if other is not None:
        lacks["this Python"] = ({"PYSPARK_PYTHON": str(other)}, ())
    for hidden in (None, share):
        (folder := place / f"cluster-{hidden is not None}").mkdir()
        with spark_cluster(PYTHON, folder, hidden=hidden) as cluster:
            for what, (environment, options) in ({"the share": ({}, ())} if hidden else lacks).items():
                began = time.perf_counter()
                code, out, errors = cluster.run(*arguments, *options, "--engine", cluster.master, timeout=300, **environment)
                seconds = round(time.perf_counter() - began, 1)
                say("engine check", {"lacks": what, "exit": code, "wall_s": seconds, "says": (errors or out).strip()[-400:]})


def connect(folder: Path, place: Path, beside: Path) -> None:
    rows = SMALL - SMALL % 173
    table = table_of(rows, folder)
    options = config(*changes_of(rows), *QUICK, "engine.split_mb=1", "engine.start_s=240")
    run([*SPOREPRINT, "etl", "--allow-simulated", "--source", str(table), *options, "--workdir", str(place / "here")])
    with spark_cluster(PYTHON, place, beside=beside) as cluster, connect_server(cluster, place) as address:
        found = {}
        for command in (["engine", "check", "--json"], ["etl", "--allow-simulated", "--source", str(table)]):
            code, out, errors = cluster.run(*command, "--engine", address, *options, "--workdir", str(place / "there"))
            found[command[0]] = {"exit": code, "says": (errors or out).strip()[-400:]}
        made = f"spark = SparkSession.builder.remote({address!r}).getOrCreate(); spark.read.csv({str(table)!r}, header=True, sep=';')"
        script = f"from pyspark.sql import SparkSession; {made}.write.saveAsTable('observations')"
        subprocess.run([sys.executable, "-c", script], env=cluster.environment, check=True, capture_output=True)
        arguments = ["extract", "--json", "--source", "spark:default.observations", "--workdir", str(place / "lake"), *options]
        code, out, errors = cluster.run(*arguments, "--engine", address)
        found["spark:default.observations"] = {"exit": code, "says": (errors or out).strip()[-400:]}
    is_equal = same(place / "here/data/model_input", place / "there/data/model_input")
    say("Spark Connect", {**found, "equal_rows": is_equal, "equal_fits": same_fits(place / "here", place / "there")})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("ingest", "kills", "check", "connect"))
    parser.add_argument("--rows", type=int, default=6_001_370)
    parser.add_argument("--points", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--beside", type=Path)
    parser.add_argument("--python", type=Path, help="of another version than this one")
    parser.add_argument("--folder", type=Path, default=ROOT / "benchmarks/out")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        place = Path(name)
        if options.what == "ingest":
            ingest(options.rows, options.folder, place)
        elif options.what == "kills":
            kills(options.points, options.folder, place, options.seed)
        elif options.what == "check":
            check(place, options.python)
        else:
            connect(options.folder, place, options.beside)


if __name__ == "__main__":
    main()
