"""What Airflow costs: `airflow dags test` of the ETL DAG over the same run by `sporeprint etl`, in turn, and told per task.

    python benchmarks/airflow.py [--times 3]

Needs .venv-airflow (scripts/airflow_dev.sh --setup) and the real table in data/raw. The limit is 60 s over the whole run.
"""

import argparse
import json
import os
import re
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from statistics import median

from measure import SPOREPRINT, Run, pairs, run, say, spread

ROOT = Path(__file__).parents[1]
AIRFLOW = ROOT / ".venv-airflow" / "bin" / "airflow"
TABLE = ROOT / "data" / "raw" / "secondary_data.csv"
LIMIT_S = 60
MARK = re.compile(r"(\S+Z) \[info +\] \[DAG TEST\] (starting|end task) task_id=(\w+) map_index=(-?\d+)")


def by_task(said: str) -> dict[str, float]:
    """Seconds of each task, and of what is around them."""
    began: dict[str, datetime] = {}
    found: dict[str, float] = {}
    for when, what, task, index in MARK.findall(said):
        name, at = task if index == "-1" else f"{task} {index}", datetime.fromisoformat(when)
        if what == "starting":
            began[name] = at
        else:
            found[name] = (at - began[name]).total_seconds()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--times", type=int, default=3)
    times = parser.parse_args().times
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {
            "AIRFLOW_HOME": f"{folder}/airflow",
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "MUSHROOM_SPOREPRINT": str(Path(sys.executable).with_name("sporeprint")),
        }
        run([str(AIRFLOW), "db", "migrate"])
        conf = json.dumps({"workdir": f"{folder}/dag", "source": str(TABLE)})
        dag = [str(AIRFLOW), "dags", "test", "mushroom_etl", "--conf", conf]
        alone = [*SPOREPRINT, "etl", f"--config={ROOT / 'config/config.yaml'}", f"--workdir={folder}/etl", f"--source={TABLE}", "--quiet"]
        found: list[tuple[Run, Run]] = pairs(lambda: run(dag), lambda: run(alone), times)
    over = [first.wall_s - second.wall_s for first, second in found]
    tasks = [by_task(first.output) for first, _ in found]
    each = {name: round(median(one[name] for one in tasks), 2) for name in tasks[0]}
    around = median(first.wall_s - sum(one.values()) for (first, _), one in zip(found, tasks, strict=True))
    say(
        "airflow",
        {
            "dag_wall_s": spread([first.wall_s for first, _ in found]),
            "dag_cpu_s": spread([first.cpu_s for first, _ in found]),
            "etl_wall_s": spread([second.wall_s for _, second in found]),
            "etl_cpu_s": spread([second.cpu_s for _, second in found]),
            "over_wall_s": spread(over),
            "over_cpu_s": spread([first.cpu_s - second.cpu_s for first, second in found]),
            "limit_s": LIMIT_S,
            "tasks_s": each,
            "around_the_tasks_s": round(around, 2),
        },
    )


if __name__ == "__main__":
    main()
