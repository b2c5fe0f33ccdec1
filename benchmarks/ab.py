"""What the A/B tests promise, simulated and analysed after every unit: false ends, missed differences, false alarms, time taken.

    python benchmarks/ab.py [--tests 1000] [--units 20000] [--only NAME]

In this process; all of it takes about half an hour, `--tests 200` some minutes. Nothing is read and nothing but the result written. A cell
passes where what it counts is no more than alpha allows, but for one chance in 10,000. Seeds are fixed.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from scipy.stats import binom

from measure import say
from sporeprint.ab_testing.analysis import analyse
from sporeprint.ab_testing.assignment import Assignment
from sporeprint.ab_testing.decision import decide
from sporeprint.ab_testing.design import Costs, Design, Guardrail, Labels, Metric, Mode
from sporeprint.ab_testing.power import AssumedRates, decisive_trials, plan_ab_test
from sporeprint.ab_testing.simulation import SimulatedErrorRates, simulate_ab_test
from sporeprint.ab_testing.totals import ArmTotals, SplitTotals
from sporeprint.ab_testing.traffic import Latencies, Traffic

ALPHA = 0.05
SPLITS = (0.5, 0.1, 0.05, 0.01)
RATES = (0.002, 0.01, 0.05, 0.5)
LATENCIES = ("lognormal:1", "lognormal:2", "pareto:2.5", "bimodal")
#: Errors of the two versions in the power figures, and the share of requests on which both err.
UNEQUAL = AssumedRates(0.005, 0.01, 0.004)
EQUAL = AssumedRates(0.02, 0.02, 0.01)
# The alarm about the sample ratio has a level of 5 % here, so that there is something to count.
SPLIT = Design("benchmark", "a/v1", "b/v1", alpha=ALPHA, srm_alpha=ALPHA)
SHADOW = replace(SPLIT, mode=Mode.SHADOW)
#: Costs of 5 and 1; A errs in 0.5 % and 2 %, B in 1 % and 2 %.
COSTS = replace(SPLIT, metric=Metric.EXPECTED_COST, costs=Costs(5, 1, 1))
DEARER = Traffic(AssumedRates(0.025, 0.03), missed_a=0.2, missed_b=1 / 3)
#: 1 % that cost 5 each against 5 % that cost 1 each.
EQUAL_COST = Traffic(AssumedRates(0.01, 0.05), missed_a=1, missed_b=0)


def cells() -> Iterator[tuple[str, str, Design, Traffic]]:
    """(group, name, test, traffic)."""
    for latencies in LATENCIES:
        for split in SPLITS:
            traffic = Traffic(EQUAL, latencies=Latencies(latencies))
            yield "latency", f"equal, {latencies}, split {split:.0%}", replace(SPLIT, metric=Metric.LATENCY, traffic_split=split), traffic
    faster = Traffic(EQUAL, latencies=Latencies("lognormal:1", 0.8))
    yield "latency", "B 20 % faster, lognormal:1, split 50%", replace(SPLIT, metric=Metric.LATENCY), faster
    slower = Traffic(EQUAL, latencies=Latencies("lognormal:1", 1.2))
    yield "latency", "B 20 % slower, lognormal:1, split 50%", replace(SPLIT, metric=Metric.LATENCY), slower
    for requests in (1, 2, 3, 5, 10):
        yield "units", f"shadow, equal, {requests} requests a row", SHADOW, Traffic(EQUAL, requests=requests)
    yield "units", "shadow, equal, rows of Zipf 2.2", SHADOW, Traffic(EQUAL, zipf=2.2)
    yield "costs", "equal cost by other errors", COSTS, EQUAL_COST
    yield "costs", "costs 5 and 1, B dearer", COSTS, DEARER
    guarded = replace(SPLIT, guardrails=(Guardrail(Metric.FALSE_NEGATIVE, 0.0, prove=False),))
    for rate in RATES:
        for split in SPLITS:
            yield (
                "errors",
                f"equal, {rate:.1%} errors, split {split:.0%}",
                replace(SPLIT, traffic_split=split),
                Traffic(AssumedRates(rate, rate)),
            )
        yield "errors", f"equal, {rate:.1%} errors, shadow", SHADOW, Traffic(AssumedRates(rate, rate, rate / 2))
        yield "errors", f"equal, {rate:.1%} errors, guardrail", guarded, Traffic(AssumedRates(rate, rate))
    for rates in (UNEQUAL, AssumedRates(0.05, 0.06, 0.03)):
        yield "errors", f"{rates.rate_a:.1%} against {rates.rate_b:.1%}", SPLIT, Traffic(rates)
        yield "errors", f"{rates.rate_a:.1%} against {rates.rate_b:.1%}, shadow", SHADOW, Traffic(rates)
    reports = replace(SPLIT, labels=Labels.REPORTS)
    yield (
        "labels",
        "reports: all errors, 2 % of right answers, 0.5 % against 0.8 %",
        reports,
        Traffic(AssumedRates(0.005, 0.008), confirmed=0.02),
    )
    yield "labels", "reports: half of the errors, equal", reports, Traffic(EQUAL, reported=0.5, confirmed=0.02)
    yield "labels", "labels 2,000 units late, equal", SPLIT, Traffic(EQUAL, delay=2_000)


def row(name: str, found: SimulatedErrorRates) -> dict[str, object]:
    allowed = int(binom.ppf(1 - 1e-4, found.tests, ALPHA))
    shares = {"false_end": found.false_ends.value, "missed": found.missed.value, "srm_alarm": found.alarmed.value}
    passes = all(round(share * found.tests) <= allowed for share in shares.values())
    return {"cell": name, **shares, "a": found.won_a.value, "b": found.won_b.value, "median_units": found.median_units, "passes": passes}


def oracle(tests: int, units: int, seed: int) -> float:
    """Median units of Wald's test of the true rates against equal ones, which knows both: there is no faster one."""
    trials, random = decisive_trials(SPLIT, UNEQUAL), np.random.default_rng(seed)
    falls = np.log(np.array([(1 - trials.side) / (1 - trials.null), trials.side / trials.null]))
    used = np.full(tests, units)
    for test in range(tests):
        at = np.cumsum(random.geometric(trials.events, 1 + int(3 * units * trials.events)))
        reached = np.flatnonzero(np.cumsum(falls[(random.random(len(at)) < trials.side).astype(int)]) >= -np.log(ALPHA))
        if len(reached):
            used[test] = at[reached[0]]
    return float(np.median(used))


def power(tests: int) -> dict[str, object]:
    """Units that a test needs, as a multiple of the oracle's. Exact but for the oracle."""
    best = oracle(max(tests, 10_000), 60_000, seed=7)
    plain, named, other, paired = (
        plan_ab_test(design, UNEQUAL)
        for design in (
            replace(SPLIT, max_units=60_000),
            replace(SPLIT, max_units=60_000, expect="a"),
            replace(SPLIT, max_units=60_000, expect="b"),
            SHADOW,
        )
    )
    # Of a lognormal with a sigma of 1 a fifth slower, 13.58 % are slower than what a tenth of A's answers is slower than.
    slower = plan_ab_test(replace(SPLIT, metric=Metric.LATENCY, max_units=20_000), AssumedRates(0.1, 0.1358))
    times = {name: round((each.median_units or np.inf) / best, 3) for name, each in (("plain", plain), ("named", named), ("other", other))}
    return {
        "oracle_median_units": best,
        "median_units": plain.median_units,
        "times_oracle": times["plain"],
        "limit": 1.25,
        "times_oracle_direction_named": times["named"],
        "limit_direction_named": 1.12,
        "times_oracle_other_direction_named": times["other"],
        "latency_a_fifth_slower_median_units": slower.median_units,
        "latency_limit_units": 2_500,
        "units_at_80_percent": plain.units,
        "fixed_units_at_80_percent": plain.fixed_units,
        "price_at_80_percent": round(plain.price or np.inf, 3),
        "shadow_median_labels": paired.median_labels,
        "shadow_limit_labels": 15,
        "shadow_median_requests": paired.median_units,
        "shadow_labels_at_80_percent": paired.labels,
    }


def speed() -> dict[str, object]:
    """Milliseconds to analyse a test of ten million units and decide; microseconds to assign a unit."""
    test = Design(
        "large",
        "a/v1",
        "b/v1",
        latency_limit_ms=5.0,
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
    parser.add_argument("--tests", type=int, default=1_000)
    parser.add_argument("--units", type=int, default=20_000)
    parser.add_argument("--only", choices=["speed", "power", "latency", "units", "costs", "errors", "labels"], help="one part")
    given = parser.parse_args()
    if given.only in (None, "speed"):
        say("speed", speed())
    if given.only in (None, "power"):
        say("power", power(given.tests))
    rows = [
        row(name, simulate_ab_test(test, traffic, units=given.units, tests=given.tests, seed=seed))
        for seed, (group, name, test, traffic) in enumerate(cells())
        if given.only in (None, group)
    ]
    if rows:
        passed = all(each["passes"] for each in rows)
        say("cells", {"tests": given.tests, "units": given.units, "alpha": ALPHA, "pass": passed, "cells": rows})


if __name__ == "__main__":
    main()
