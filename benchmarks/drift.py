"""`sporeprint monitor` of a million rows against a million, from Parquet, report and all; beside Evidently's data drift preset.

    python benchmarks/drift.py --pairs 3
    python benchmarks/drift.py --pairs 1 --evidently /path/to/venv/bin/python     # a Python with evidently and pandas < 3
    python benchmarks/drift.py --pairs 1 --rows 61_000_000
    python benchmarks/drift.py --warehouse WORKDIR --rows 1_000_000             # a work directory with a model in production

Whole processes, in turn, CPU time and memory of each. `reading and comparing` is what the process does once everything is imported.
Evidently is timed within its own process, on the same frames: running the preset and writing its page, without importing and reading.
With --warehouse: a copy of the work directory gets so many answers of 30 days, an outcome for every twentieth, and a sync; then the last of
the 30 days, and all of them, are evaluated from the counts by hour, report, history and all, five times each in one process.
"""

import argparse
import contextlib
import json
import os
import shutil
import sqlite3
import sys
import tempfile
from pathlib import Path
from typing import Any

import measure

HERE = Path(__file__).parent
OUT = HERE / "out"
CONFIG = HERE.parent / "config" / "config.yaml"

INSIDE = """
import json, sys, time
from pathlib import Path
from sporeprint import monitor, settings
import jinja2, scipy.special
began, used = time.perf_counter(), time.process_time()
found = monitor.monitor(settings.load_settings(Path(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[4]), reference=Path(sys.argv[3]))
page = Path(sys.argv[2]) / found.written[0]
print(json.dumps({"wall_s": time.perf_counter() - began, "cpu_s": time.process_time() - used, "page_bytes": page.stat().st_size}))
"""
WAREHOUSE = """
import json, sys, time
from datetime import UTC, datetime
from pathlib import Path
from sporeprint import monitor_window, settings
from sporeprint.monitoring.windows import Asked
from sporeprint.storage import urls
from sporeprint.storage.warehouse.factory import open_warehouse
chosen, root, end, day = settings.load_settings(Path(sys.argv[1])), Path(sys.argv[2]), int(sys.argv[3]), 86_400_000_000
warehouse = open_warehouse(urls.olap(chosen.storage, root))
at = datetime.fromtimestamp(end / 1e6 + 60, UTC)
found = {}
for days in (1, 30):
    times = []
    for _ in range(6):
        began, used = time.perf_counter(), time.process_time()
        made = monitor_window.evaluate(chosen, root, warehouse, Asked(last_us=days * day), now=lambda: at)
        times.append((time.perf_counter() - began, time.process_time() - used))
    page = root / made.written[-1]
    found[f"{days} days"] = {"rows": made.evaluation.drift.rows[1], "wall_s": sorted(wall for wall, _ in times[1:]),
        "cpu_s": sorted(cpu for _, cpu in times[1:]), "page_bytes": page.stat().st_size, "not_computed": list(made.evaluation.not_computed)}
print(json.dumps(found))
"""
EVIDENTLY = """
import json, resource, sys, time
import pandas as pd
from evidently import Report
from evidently.presets import DataDriftPreset
features = json.loads(sys.argv[3])
reference, current = (pd.read_parquet(path, columns=features) for path in sys.argv[1:3])
began, used = time.perf_counter(), time.process_time()
Report([DataDriftPreset()]).run(current, reference).save_html(sys.argv[4])
print(json.dumps({"wall_s": time.perf_counter() - began, "cpu_s": time.process_time() - used}))
"""


def table(rows: int, draw: int) -> Path:
    """Invented rows in Parquet; the file is kept for the next time."""
    path = OUT / f"drift_{rows}_{draw}.parquet"
    if not path.exists():
        OUT.mkdir(exist_ok=True)
        words = ["simulate", "--config", CONFIG, "--rows", rows, "--draw", draw, "--out", path, "-q"]
        measure.run([*measure.SPOREPRINT, *map(str, words)])
    return path


def features() -> list[str]:
    from sporeprint import settings

    return list(settings.load_settings(CONFIG).dataset.columns)


def inside(run: measure.Run) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run.output.strip().splitlines()[-1])
    return found


def warehouse(workdir: Path, rows: int) -> None:
    """Evaluations from the counts of a warehouse, and how long they take."""
    from sporeprint import settings
    from sporeprint.common.timestamps import DAY_US
    from sporeprint.registry.registry import Registry
    from warehouse import BEGIN_US, DAYS, fill

    chosen = settings.load_settings(CONFIG)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(shutil.copytree(workdir, Path(folder, "work"), ignore=shutil.ignore_patterns("sporeprint.db*", "warehouse", "journal")))
        found = Registry(root / "models/registry").resolve("production")
        path = root / "data/sporeprint.db"
        fill(path, rows, chosen.dataset)
        with contextlib.closing(sqlite3.connect(path)) as raw:
            raw.execute("UPDATE prediction SET model = ?, version = ?, test_id = NULL, arm = NULL", (found.name, found.version))
            raw.commit()
        measure.run([*measure.SPOREPRINT, "warehouse", "sync", "--workdir", str(root), "--config", str(CONFIG), "-q"])
        run = measure.run([sys.executable, "-c", WAREHOUSE, str(CONFIG), str(root), str(BEGIN_US + DAYS * DAY_US)])
        word = ["monitor", "--workdir", str(root), "--config", str(CONFIG), "-q", "--rows", "100000"]
        newest = measure.run([sys.executable, "-c", "import sys; from sporeprint import cli; cli.run(sys.argv[1:])", *word])
        counts = {name: {**item, **{key: measure.spread(item[key]) for key in ("wall_s", "cpu_s")}} for name, item in inside(run).items()}
        answers = {"process, s": round(newest.wall_s, 2), "process, s of CPU": round(newest.cpu_s, 2), "peak MiB": round(newest.peak_mib)}
        said = {"answers": rows, **counts, "peak MiB": round(run.peak_mib), "the newest 100,000, one by one": answers}
        measure.say("drift, from the warehouse", {**said, "load": os.getloadavg()[0]})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--reference-rows", type=int, help="as many as --rows, if left out")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--evidently", metavar="PYTHON")
    parser.add_argument("--warehouse", type=Path, metavar="WORKDIR")
    given = parser.parse_args()
    if given.warehouse:
        warehouse(given.warehouse, given.rows)
        return
    reference, current = table(given.reference_rows or given.rows, 0), table(given.rows, 1)
    names = json.dumps(features())
    whole, ours, theirs = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        command = ["monitor", "--config", CONFIG, "--workdir", folder, "--reference", reference, "--current", current, "-q"]
        for _ in range(given.pairs):
            whole.append(measure.run([*measure.SPOREPRINT, *map(str, command)]))
            ours.append(measure.run([sys.executable, "-c", INSIDE, str(CONFIG), folder, str(reference), str(current)]))
            if given.evidently:
                page = f"{folder}/evidently.html"
                theirs.append(measure.run([given.evidently, "-c", EVIDENTLY, str(reference), str(current), names, page]))
        pages = {"evidently page, bytes": Path(folder, "evidently.html").stat().st_size} if theirs else {}
    own = [inside(run) for run in ours]
    found: dict[str, Any] = {
        "rows": given.rows,
        "reference rows": given.reference_rows or given.rows,
        "whole process, s": measure.spread([run.wall_s for run in whole]),
        "whole process, s of CPU": measure.spread([run.cpu_s for run in whole]),
        "reading and comparing, s": measure.spread([item["wall_s"] for item in own]),
        "reading and comparing, s of CPU": measure.spread([item["cpu_s"] for item in own]),
        "peak MiB": measure.spread([run.peak_mib for run in whole]),
        "page, bytes": own[0]["page_bytes"],
    }
    if theirs:
        other = [inside(run) for run in theirs]
        pairs = list(zip(own, other, strict=True))
        found |= {
            "evidently, s": measure.spread([item["wall_s"] for item in other]),
            "evidently, s of CPU": measure.spread([item["cpu_s"] for item in other]),
            "evidently, peak MiB": measure.spread([run.peak_mib for run in theirs]),
            "times as fast": measure.spread([that["wall_s"] / mine["wall_s"] for mine, that in pairs]),
            "times as fast, CPU": measure.spread([that["cpu_s"] / mine["cpu_s"] for mine, that in pairs]),
            **pages,
        }
    measure.say("drift", found | {"load": os.getloadavg()[0]})


if __name__ == "__main__":
    main()
