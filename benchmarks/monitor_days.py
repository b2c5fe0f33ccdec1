"""What the monitor's promise is worth on days that differ: months with a false alarm, and how soon a change is seen.

    python benchmarks/monitor_days.py --months 60
    python benchmarks/monitor_days.py --months 60 --processes 2 --out monitor_days.json

Cells of seven days have `--months` months, others half as many. Twenty
features, 1,000 rows a day, a reference of 9,160 rows, 56 days before each month.
"days taken as alike" is the
monitor without earlier windows, which is what it does in its first four weeks.
"""

import argparse
import json
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from sporeprint.monitoring.alarm_control import AlarmPolicy
from sporeprint.monitoring.simulation import MONTH, WEEK, DailyTraffic, SimulatedMonths, simulate_months

CELLS: dict[str, tuple[DailyTraffic, int, bool]] = {
    "shift of 0.12 sd": (DailyTraffic(shift=0.12), WEEK, True),
    "days differ by 0.05 sd": (DailyTraffic(day_effect=0.05), MONTH, True),
    "weekend + 0.25 sd in one feature": (DailyTraffic(weekend=0.25), MONTH, True),
    "days differ by 0.1 sd": (DailyTraffic(day_effect=0.1), MONTH, True),
    "nothing changes": (DailyTraffic(), MONTH, True),
    "days differ by 0.03 sd": (DailyTraffic(day_effect=0.03), MONTH, True),
    "shift of 0.25 sd": (DailyTraffic(shift=0.25), WEEK, True),
    "shift of 0.25 sd, 28 earlier days": (DailyTraffic(shift=0.25, history=28), WEEK, True),
    "days taken as alike: days differ by 0.05 sd": (DailyTraffic(day_effect=0.05), MONTH, False),
}


def one(cell: str, seed: int) -> SimulatedMonths:
    traffic, days, learned = CELLS[cell]
    return simulate_months(traffic, AlarmPolicy(), months=1, seed=seed, days=days, learned=learned)


def measured(months: int, seed: int, processes: int) -> Iterator[tuple[str, dict[str, Any]]]:
    with ProcessPoolExecutor(processes) as pool:
        for cell, (traffic, days, learned) in CELLS.items():
            begun = time.perf_counter()
            each = pool.map(partial(one, cell), range(seed, seed + (months if days < MONTH else months // 2)))
            together = SimulatedMonths(traffic, learned, tuple(month for made in each for month in made.months))
            yield cell, together.to_dict() | {"seconds": round(time.perf_counter() - begun, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--months", type=int, default=60)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    result = {}
    for cell, row in measured(given.months, given.seed, given.processes):
        result[cell] = row
        print(cell, json.dumps({name: value for name, value in row.items() if name != "traffic"}), flush=True)
    if given.out:
        given.out.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
