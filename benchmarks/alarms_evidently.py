"""The windows of alarms.py before Evidently's data drift preset with its defaults: how often it cries wolf, and how soon it sees a change.

    /path/to/venv/bin/python benchmarks/alarms_evidently.py --months 20        # a Python with evidently and pandas < 3, without sporeprint

The same twenty features, drawn in the same way, as rows: the preset takes tables. It says which columns drifted, and of the table that it
did where at least half of them did; both are counted.
"""

import argparse
import json
import time
from typing import Any

import numpy as np
import pandas as pd
from evidently import Report
from evidently.presets import DataDriftPreset

REFERENCE, WINDOW, DAYS, NUMERIC, NOMINAL = 9_160, 1_000, 30, 8, 12


def table(rows: int, shift: float, new: float, draw: np.random.Generator) -> pd.DataFrame:
    """Rows like those that alarms.py counts; `shift` in the first number, `new` in the first name."""
    columns: dict[str, Any] = {}
    for feature in range(NUMERIC):
        values = draw.normal(size=rows) if feature % 2 == 0 else draw.lognormal(0, 0.8, size=rows)
        values = (values + (shift if feature == 0 else 0)).round(1 if feature >= NUMERIC // 2 else 3)
        columns[f"number {feature}"] = np.where(draw.random(rows) < (0.0, 0.02, 0.3, 0.0)[feature % 4], np.nan, values)
    for feature in range(NOMINAL):
        kinds = (2, 3, 5, 7, 9, 12)[feature % 6]
        shares = 0.5 ** np.arange(kinds) if feature >= NOMINAL // 2 else np.full(kinds, 1.0)
        names = np.array([f"v{number}" for number in range(kinds)], dtype=object)[draw.choice(kinds, size=rows, p=shares / shares.sum())]
        if feature == 0:
            names[draw.random(rows) < new] = "never seen"
        names[draw.random(rows) < (0.0, 0.0, 0.4, 0.9)[feature % 4]] = None
        columns[f"name {feature}"] = names
    return pd.DataFrame(columns)


def drifted(current: pd.DataFrame, reference: pd.DataFrame) -> tuple[int, bool]:
    """Columns that drifted, and whether the table did, as the preset says."""
    found = Report([DataDriftPreset()]).run(current, reference).dict()
    value = next(metric["value"] for metric in found["metrics"] if "DriftedColumnsCount" in str(metric))
    return int(value["count"]), float(value["share"]) >= 0.5


def main() -> None:
    """Draw months, and count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--months", type=int, default=20)
    given = parser.parse_args()
    began, result = time.perf_counter(), {"months": given.months}
    for name, shift, new, days in (("unchanged", 0.0, 0.0, DAYS), ("shift of 0.25 sd", 0.25, 0.0, 2), ("new value at 2 %", 0.0, 0.02, 2)):
        column_months = table_months = column_days = 0
        for month in range(given.months):
            draw = np.random.default_rng(7 + month)
            reference = table(REFERENCE, 0.0, 0.0, draw)
            days_found = [drifted(table(WINDOW, shift, new, draw), reference) for _ in range(days)]
            column_months += any(count for count, _ in days_found)
            table_months += any(whole for _, whole in days_found)
            column_days += sum(count > 0 for count, _ in days_found)
        result[f"{name}: months of {days} days with a drifted column"] = column_months
        result[f"{name}: ... with a drifted table"] = table_months
        result[f"{name}: days with a drifted column"] = column_days
    print(json.dumps({**result, "seconds": round(time.perf_counter() - began)}, indent=1))


if __name__ == "__main__":
    main()
