"""What the A/B tests promise, by simulation with a look after every unit: false winners, missed differences, false alarms, time taken.

    python benchmarks/ab.py [--tests 2000] [--units 30000] [--power-tests 10000]

In this process, about five minutes. Nothing is read and nothing but the result written. A cell passes where what it counts is no more
than alpha allows, but for one chance in 10,000.
"""

import argparse
import statistics
import time
from collections.abc import Iterator

import numpy as np
from scipy.stats import binom

from measure import say
from sporeprint.ab_testing.analysis import analyse
from sporeprint.ab_testing.assignment import Assignment
from sporeprint.ab_testing.decision import decide
from sporeprint.ab_testing.design import Design, Guardrail, Metric, Mode
from sporeprint.ab_testing.power import AssumedRates, decisive_trials, plan
from sporeprint.ab_testing.simulation import Simulation, draw, simulate
from sporeprint.ab_testing.totals import ArmTotals, SplitTotals
from sporeprint.stats import eprocess

ALPHA = 0.05
SPLITS = (0.5, 0.1, 0.05, 0.01)
RATES = (0.002, 0.01, 0.05, 0.2, 0.5)
#: Errors of the two versions in the power figures, and the share of requests on which both err.
UNEQUAL = AssumedRates(0.005, 0.01, 0.004)


def design(split: float = 0.5, mode: Mode = Mode.SPLIT) -> Design:
    # The alarm about shares has a level of 5 % here, so that there is something to count.
    return Design("benchmark", "a/v1", "b/v1", traffic_split=split, mode=mode, alpha=ALPHA, srm_alpha=ALPHA)


def cells() -> Iterator[tuple[str, Design, AssumedRates]]:
    for rate in RATES:
        for split in SPLITS:
            yield f"equal, {rate:.1%} errors, split {split:.0%}", design(split), AssumedRates(rate, rate)
        yield f"equal, {rate:.1%} errors, shadow", design(mode=Mode.SHADOW), AssumedRates(rate, rate, rate / 2)
    for truth in (UNEQUAL, AssumedRates(0.05, 0.06, 0.03), AssumedRates(0.5, 0.45, 0.3)):
        for split in SPLITS:
            yield f"{truth.rate_a:.1%} against {truth.rate_b:.1%}, split {split:.0%}", design(split), truth
        yield f"{truth.rate_a:.1%} against {truth.rate_b:.1%}, shadow", design(mode=Mode.SHADOW), truth


def row(name: str, found: Simulation) -> dict[str, object]:
    allowed = int(binom.ppf(1 - 1e-4, found.tests, ALPHA))
    shares = {"wrong_winner": found.wrong.value, "missed_at_most": found.missed.value, "share_alarm": found.alarmed.value}
    passes = all(round(share * found.tests) <= allowed for share in shares.values())
    return {"cell": name, **shares, "a": found.won_a.value, "b": found.won_b.value, "median_units": found.median_units, "passes": passes}


def oracle(test: Design, tests: int, units: int, seed: int) -> float:
    """Median units of Wald's test of the true rates against equal ones, which knows both: there is no faster one."""
    trials, found, random = decisive_trials(test, UNEQUAL), [], np.random.default_rng(seed)
    for _ in range(0, tests, 100):
        drawn = draw(test, UNEQUAL, (100, units), random)
        x = np.cumsum(drawn.in_b & drawn.decisive, axis=1, dtype=np.int64)
        n = np.cumsum(drawn.decisive, axis=1, dtype=np.int64)
        out = eprocess.log_e_simple(trials.side, x, n, trials.null) >= -np.log(ALPHA)
        found.append(np.where(out.any(axis=1), out.argmax(axis=1) + 1, units))
    return float(np.median(np.concatenate(found)))


def power(tests: int) -> dict[str, object]:
    split, shadow = design(), design(mode=Mode.SHADOW)
    in_split = simulate(split, UNEQUAL, units=60_000, tests=tests, seed=7)
    in_shadow = simulate(shadow, UNEQUAL, units=20_000, tests=tests, seed=8)
    best = oracle(split, tests, 60_000, seed=7)
    planned, paired = plan(split, UNEQUAL), plan(shadow, UNEQUAL)
    return {
        "split_median_units": in_split.median_units,
        "oracle_median_units": best,
        "split_times_oracle": round((in_split.median_units or np.inf) / best, 3),
        "limit": 1.5,
        "split_undecided": round(1 - in_split.won_a.value - in_split.won_b.value, 4),
        "planned_median_units": planned.median_units,
        "units_at_80_percent": planned.units,
        "fixed_units_at_80_percent": planned.fixed_units,
        "price_at_80_percent": round(planned.price or np.inf, 3),
        "median_over_fixed": round((planned.median_units or np.inf) / planned.fixed_units, 3),
        "shadow_median_labels": in_shadow.median_labels,
        "shadow_limit_labels": 15,
        "shadow_median_requests": in_shadow.median_units,
        "shadow_labels_at_80_percent": paired.labels,
        "shadow_fixed_labels_at_80_percent": paired.fixed_labels,
    }


def speed() -> dict[str, object]:
    """Milliseconds to analyse a test of ten million units and decide; microseconds to assign a unit."""
    test = Design(
        "large",
        "a/v1",
        "b/v1",
        metric=Metric.EXPECTED_COST,
        guardrails=tuple(Guardrail(metric, 0.01) for metric in (Metric.FALSE_NEGATIVE, Metric.UNKNOWN_SHARE, Metric.FAILURES)),
        also=(Metric.ACCURACY, Metric.LATENCY),
    )
    arm = ArmTotals.of([(0, 0, 2_400_000), (0, 1, 2_500), (1, 1, 2_500_000), (1, 0, 20_000), (2, 0, 40_000), (2, 1, 37_400)], failed=100)
    totals, took = SplitTotals(arm, arm), []
    for _ in range(20):
        began = time.process_time()
        decide(analyse(test, totals, 86_400.0))
        took.append((time.process_time() - began) * 1000)
    assignment, ids = Assignment("salt", 0.1), [f"user-{number}" for number in range(200_000)]
    began = time.process_time()
    for unit_id in ids:
        assignment.arm(unit_id)
    assign = (time.process_time() - began) / len(ids) * 1e6
    return {
        "units": totals.units,
        "analysis_ms": round(statistics.median(took), 1),
        "analysis_limit_ms": 100,
        "assign_us": round(assign, 2),
        "assign_limit_us": 2,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tests", type=int, default=2_000)
    parser.add_argument("--units", type=int, default=30_000)
    parser.add_argument("--power-tests", type=int, default=10_000)
    given = parser.parse_args()
    say("speed", speed())
    say("power", power(given.power_tests))
    rows = []
    for seed, (name, test, truth) in enumerate(cells()):
        rows.append(row(name, simulate(test, truth, units=given.units, tests=given.tests, seed=seed)))
    passed = all(each["passes"] for each in rows)
    say("cells", {"tests": given.tests, "units": given.units, "alpha": ALPHA, "pass": passed, "cells": rows})


if __name__ == "__main__":
    main()
