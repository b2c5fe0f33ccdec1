"""How often the monitor cries wolf, and how soon it sees a change: months of daily windows, against one reference of a real size.

    python benchmarks/alarms.py --months 500
    python benchmarks/alarms.py --months 500 --processes 2 --out alarms.json

Twenty features that do not depend on each other, which is the worst case for false alarms: eight of numbers (normal, skewed, rounded
to a tenth, some with missing values) and twelve of names (2 to 12 values, rare ones among them). Every month draws a reference of its own
and judges thirty windows against it. Beside it: the same windows judged column by column at 5 %, as is the usual default.
"""

import argparse
import json
import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from sporeprint.monitoring.alarm_control import DAY_S, AlarmPolicy, AlarmState, judge
from sporeprint.monitoring.data_profile import ColumnProfile, NominalProfile, NumericProfile, Profile, of_numbers
from sporeprint.monitoring.drift import drift
from sporeprint.stats.histogram import Float64

REFERENCE, WINDOW, DAYS = 9_160, 1_000, 30
NUMERIC, NOMINAL = 8, 12
NAIVE = 0.05


@dataclass(frozen=True)
class Change:
    """What is different from the first day on.

    Attributes:
        shift: added to the first numeric feature, in standard deviations.
        new: share of the rows of the first nominal feature that get a value nobody has seen.
    """

    shift: float = 0.0
    new: float = 0.0


def numbers(rows: int, feature: int, shift: float, draw: np.random.Generator) -> ColumnProfile:
    values: Float64 = draw.normal(size=rows) if feature % 2 == 0 else draw.lognormal(0, 0.8, size=rows)
    values = values + shift * (1.0 if feature % 2 == 0 else 1.0392)
    values = values.round(1 if feature >= NUMERIC // 2 else 3)
    missing = draw.random(rows) < (0.0, 0.02, 0.3, 0.0)[feature % 4]
    return NumericProfile(of_numbers(values[~missing]).histogram, int(missing.sum()))


def names(rows: int, feature: int, new: float, draw: np.random.Generator) -> ColumnProfile:
    values = (2, 3, 5, 7, 9, 12)[feature % 6]
    shares = 0.5 ** np.arange(values) if feature >= NOMINAL // 2 else np.full(values, 1.0)
    missing = draw.binomial(rows, (0.0, 0.0, 0.4, 0.9)[feature % 4])
    fresh = draw.binomial(rows - missing, new) if new else 0
    counts = draw.multinomial(rows - missing - fresh, shares / shares.sum())
    found = {f"v{number}": int(count) for number, count in enumerate(counts) if count}
    return NominalProfile({**found, **({"never seen": int(fresh)} if fresh else {})}, int(missing))


def table(rows: int, change: Change, draw: np.random.Generator) -> Profile:
    columns = {f"number {i}": numbers(rows, i, change.shift if i == 0 else 0.0, draw) for i in range(NUMERIC)}
    columns |= {f"name {i}": names(rows, i, change.new if i == 0 else 0.0, draw) for i in range(NOMINAL)}
    return Profile(rows, columns)


def month(change: Change, days: int, seed: int) -> tuple[int | None, int]:
    """The first day with an alarm, if any; and days with one where every column is judged by itself."""
    draw = np.random.default_rng(seed)
    reference, state, first, naive = table(REFERENCE, Change(), draw), AlarmState(), None, 0
    for day in range(1, days + 1):
        found = drift(reference, table(WINDOW, change, draw))
        judged, state = judge(found, state, AlarmPolicy(), at_s=day * DAY_S, window=str(day))
        if judged.alarms and first is None:
            first = day
        naive += any(check.p <= NAIVE for column in found.columns for check in column.checks)
    return first, naive


def run(change: Change, days: int, months: int, seed: int, processes: int) -> list[tuple[int | None, int]]:
    with ProcessPoolExecutor(processes) as pool:
        found = pool.map(partial(month, change, days), range(seed, seed + months), chunksize=5)
        return list(track(found, description=f"{change}, {days} days", total=months, console=Console(stderr=True)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--months", type=int, default=500)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    begun = time.perf_counter()
    quiet = run(Change(), DAYS, given.months, given.seed, given.processes)
    result = {
        "months": given.months,
        "months with a false alarm": sum(first is not None for first, _ in quiet),
        "the same, each column by itself at 5 %": sum(naive > 0 for _, naive in quiet),
        "days with an alarm, each column by itself at 5 %": sum(naive for _, naive in quiet) / (DAYS * given.months),
    }
    for name, change in (("shift of 0.25 sd", Change(shift=0.25)), ("new value at 2 %", Change(new=0.02))):
        seen = run(change, 2, given.months, given.seed + 1_000_000, given.processes)
        result[f"{name}: raised on the first day"] = sum(first == 1 for first, _ in seen) / given.months
        result[f"{name}: raised within two days"] = sum(first is not None for first, _ in seen) / given.months
    result |= {"seconds": round(time.perf_counter() - begun, 1), "load": os.getloadavg()[0]}
    print(json.dumps(result, indent=1))
    if given.out:
        given.out.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
