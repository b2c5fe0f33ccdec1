"""What guard and verdict cost: for one row, for a batch, to fit, and to evaluate one species at a time; up to 5 million training rows.

    python benchmarks/guard.py [--rows 48000 500000 5000000]

In this process. The rows are those of the real table (data/raw/secondary_data.csv), drawn with replacement, each number moved a
little, so that no two are alike. Limits: 50 µs for one row and 3 µs a row in a batch on two cores; 15 s of CPU for the evaluation.
"""

import argparse
import os
import resource
import time
from pathlib import Path

import numpy as np
import polars as pl

from measure import say, spread
from sporeprint import settings
from sporeprint.data.coded_table import Codes
from sporeprint.data.dataset import Observations, to_rows
from sporeprint.evaluation.safety_scorecard import leave_one_group_out
from sporeprint.models.encoder import Encoder
from sporeprint.models.encoder_fit import column_transforms, fit_encoder
from sporeprint.safety.anomalies import row_anomalies, table_anomalies
from sporeprint.safety.decision_rule import fit_guard
from sporeprint.safety.novelty_guard import Guard
from sporeprint.safety.verdict import VerdictLimits, verdict

ROOT = Path(__file__).resolve().parents[1]


def table(rows: int, seed: int, config: settings.Settings) -> Observations:
    """Rows of the real table, or, of more than it has, rows like them."""
    frame = pl.read_csv(ROOT / config.source.path, separator=";")
    random, schema = np.random.default_rng(seed), config.dataset
    codes, group = Codes.of(frame, schema), np.arange(frame.height) // 353
    chosen = random.permutation(frame.height) if rows == frame.height else random.integers(0, frame.height, rows)
    y = (frame["class"] == "p").to_numpy().astype(np.int8)[chosen]
    drawn = codes.take(chosen)
    numeric = drawn.numeric
    if rows != frame.height:
        numeric = {name: values * random.normal(1, 0.01, rows) for name, values in numeric.items()}
    made = Codes(drawn.vocabulary, drawn.nominal, numeric, rows)
    return Observations(made, y, chosen, group[chosen], random.integers(0, 2**63, rows).astype(np.uint64))


LIMITS = VerdictLimits(0.05, 0.5, 0.995)


def one_row(guard: Guard, rows: Observations, encoder: Encoder, config: settings.Settings) -> dict[str, float]:
    """Microseconds of guard and verdict for each of 5,000 rows."""
    given, took = to_rows(rows.codes.take(np.arange(5_000))), []
    for row in given:
        began = time.perf_counter()
        p, component = guard.row(row)
        contradictory = bool(row_anomalies(row, encoder, config.dataset).contradictions)
        verdict(0.2, p, contradictory, bool(guard.positive[component] < 0.5), LIMITS)
        took.append((time.perf_counter() - began) * 1e6)
    return {"median": round(float(np.median(took)), 1), "p99": round(float(np.quantile(took, 0.99)), 1)}


def batch(guard: Guard, rows: Observations, encoder: Encoder, config: settings.Settings) -> dict[str, float]:
    """Microseconds a row of guard and verdict over the rows, seven times."""
    took = []
    for _ in range(7):
        began = time.perf_counter()
        novelty = guard.novelty(rows.codes)
        contradictory = table_anomalies(rows.codes, encoder, config.dataset).contradictory(len(rows.y))
        verdict(np.full(len(rows.y), 0.2), novelty.p, contradictory, guard.positive[novelty.component] < 0.5, LIMITS)
        took.append((time.perf_counter() - began) / len(rows.y) * 1e6)
    return spread(took)


def measured(rows: int, config: settings.Settings) -> dict[str, object]:
    known, calibrate, fresh = table(rows, 1, config), table(6_106, 2, config), table(61_069, 3, config)
    began = time.process_time()
    guard = fit_guard(known, calibrate, config.dataset, config.guard, seed=1)
    fit_cpu = time.process_time() - began
    encoder = fit_encoder(known.codes, known.y, column_transforms(config.transform, config.models["xgboost"], config.dataset))
    began = time.process_time()
    left_out = leave_one_group_out(guard, fresh, calibrate)
    evaluate_cpu = time.process_time() - began
    assert len(left_out.p) == 61_069
    return {
        "training_rows": rows,
        "fit_cpu_s": round(fit_cpu, 2),
        "guard_bytes": len(guard.to_bytes()),
        "one_row_us": one_row(guard, fresh, encoder, config),
        "batch_us_per_row": batch(guard, fresh, encoder, config),
        "leave_one_out_cpu_s": round(evaluate_cpu, 2),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[48_000, 500_000, 5_000_000])
    given = parser.parse_args()
    config = settings.load_settings(ROOT / "config/config.yaml", environ={})
    load = round(os.getloadavg()[0], 1)
    say(
        "guard and verdict",
        {"load": load, "limits_us": {"one_row": 50, "batch": 3}, "sizes": [measured(rows, config) for rows in given.rows]},
    )


if __name__ == "__main__":
    main()
