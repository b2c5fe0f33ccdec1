"""`sporeprint monitor` of a million rows against a million, from Parquet, report and all; beside Evidently's data drift preset.

    python benchmarks/drift.py --pairs 3
    python benchmarks/drift.py --pairs 1 --evidently /path/to/venv/bin/python     # a Python with evidently and pandas < 3
    python benchmarks/drift.py --pairs 1 --rows 61_000_000

Whole processes, in turn, CPU time and memory of each. `reading and comparing` is what the process does once everything is imported.
Evidently is timed within its own process, on the same frames: running the preset and writing its page, without importing and reading.
"""

import argparse
import json
import os
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
found = monitor.monitor(settings.load(Path(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[4]), reference=Path(sys.argv[3]))
page = Path(sys.argv[2]) / found.written[0]
print(json.dumps({"wall_s": time.perf_counter() - began, "cpu_s": time.process_time() - used, "page_bytes": page.stat().st_size}))
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

    return list(settings.load(CONFIG).dataset.columns)


def inside(run: measure.Run) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run.output.strip().splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--reference-rows", type=int, help="as many as --rows, if left out")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--evidently", metavar="PYTHON")
    given = parser.parse_args()
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
