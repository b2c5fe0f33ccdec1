"""The first hour of somebody who has nothing but the README: what each first result costs, from a fresh clone.

    python benchmarks/first_hour.py [--shared FOLDER] [--json FILE]

Clones this project, and does what README.md and the guides say, in the environment that ./run_etl.sh makes. Printed for each result, as a
table: commands, minutes by the clock, seconds of processor time. FOLDER lies beside the clone as `shared`; where it holds
data/secondary_data.csv, the table is copied from there and not fetched.
"""

import argparse
import json
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROW = "cap-shape=convex cap-color=orange gill-attachment=free stem-height=17 stem-width=17 has-ring=t ring-type=grooved"
BODY = '{"cap-shape": "convex", "cap-color": "orange", "gill-attachment": "free", "stem-height": 17, "stem-width": 17}'
CURL = f"curl -s localhost:8000/predict -H 'Content-Type: application/json' -d '{BODY}'"
#: A server answers until it is stopped: here until the first answer.
SERVE = (
    "./run_api.sh & server=$!; trap 'kill $server; wait $server' EXIT; until curl -s localhost:8000/health >/dev/null; do sleep 0.2; done"
)
#: A table of one's own: what examples/another_table/make_table.py writes.
OWN = "trial/cells.csv"


@dataclass(frozen=True)
class Step:
    """What somebody does for one result.

    Attributes:
        result: what they get.
        commands: what they type.
        shown: text that has to be in what they see.
        ends: exit codes that are answers; monitor ends with 10 for an alarm.
    """

    result: str
    commands: tuple[str, ...]
    shown: str
    ends: Sequence[int] = (0,)


@dataclass(frozen=True)
class Cost:
    """What a step took."""

    result: str
    commands: int
    wall_s: float
    cpu_s: float


STEPS = (
    Step("the first report, set-up included", ("./run_etl.sh",), "in production"),
    Step("the first verdict", (". .venv/bin/activate", f"sporeprint explain {ROW}"), "poisonous"),
    Step("the first answer over HTTP", (SERVE, CURL), '"verdict"'),
    Step(
        "the first A/B verdict, on simulated requests",
        ("sporeprint ab-test simulate --rate-a 0.02 --rate-b 0.01",),
        "error rates controlled",
    ),
    Step(
        "the first drift report",
        (
            "(head -n 1 data/raw/secondary_data.csv; tail -n 5000 data/raw/secondary_data.csv) >today.csv",
            "sporeprint monitor --current today.csv",
        ),
        "ALARM",
        (0, 10, 11),
    ),
    Step(
        "the first model of a table of one's own",
        (f"sporeprint etl --source {OWN} --target diagnosis --positive malignant --workdir trial",),
        "Production",
    ),
)


def used() -> float:
    """Seconds of processor time of all programs that have ended."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def run(step: Step, folder: Path) -> Cost:
    """Do one step; its cost.

    Raises:
        SystemExit: it does not end as it should, or does not show what it should.
    """
    began, before = time.perf_counter(), used()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SPOREPRINT_")}
    script = "\n".join((*([] if step is STEPS[0] else [". .venv/bin/activate"]), *step.commands))
    done = subprocess.run(
        ["bash", "-uc", script], cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode not in step.ends or step.shown not in done.stdout:
        raise SystemExit(f"{step.result}: exit code {done.returncode}\n{done.stdout[-3000:]}")
    return Cost(step.result, len(step.commands), time.perf_counter() - began, used() - before)


def main() -> None:
    """Do all steps in a clone, and print what each took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, help="a folder with data/secondary_data.csv, in place of the network")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "sporeprint"
        if options.shared:
            (Path(place) / "shared").symlink_to(options.shared.resolve())
        subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
        costs = []
        # Not counted: whoever has a table of their own has it already.
        making = ["bash", "-c", ". .venv/bin/activate; python examples/another_table/make_table.py trial"]
        for step in STEPS:
            if step is STEPS[-1]:
                subprocess.run(making, cwd=folder, check=True)
            costs.append(run(step, folder))
            cost = costs[-1]
            print(f"| {cost.result} | {cost.commands} | {cost.wall_s / 60:.1f} | {cost.cpu_s:.0f} |", flush=True)
    total = [sum(cost.commands for cost in costs), sum(cost.wall_s for cost in costs) / 60, sum(cost.cpu_s for cost in costs)]
    print(f"| together | {total[0]} | {total[1]:.1f} | {total[2]:.0f} |")
    if options.json:
        options.json.write_text(json.dumps([asdict(cost) for cost in costs], indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
