"""What reports are made of: a test as it goes on, a warehouse with some days in it."""

from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from sporeprint.ab_testing.analysis import analyse
from sporeprint.ab_testing.decision import decide
from sporeprint.ab_testing.design import Design, Guardrail, Metric, Mode
from sporeprint.ab_testing.totals import ArmTotals, ShadowTotals, SplitTotals, Totals
from sporeprint.storage.oltp import tables
from sporeprint.storage.warehouse.parquet_warehouse import ParquetWarehouse
from sporeprint.storage.warehouse.sync import sync_warehouse
from warehouse_support import SCHEMA, outcome, predictions, write


def filled_warehouse(oltp: Engine, folder: Path) -> ParquetWarehouse:
    """200 predictions of two days, every other one with its outcome."""
    warehouse, rows = ParquetWarehouse(folder), predictions(200)
    write(oltp, rows)
    write(oltp, [outcome(row["prediction_id"], "ep"[number % 2]) for number, row in enumerate(rows[::2])], tables.outcome)
    sync_warehouse(oltp, warehouse, SCHEMA)
    return warehouse


def interim_analysis(design: Design, totals: Totals, at: int) -> dict[str, Any]:
    found = analyse(design, totals, float(at))
    decision = decide(found)
    said = {"verdict": decision.verdict.value, "reason": decision.reason.value, "sentence": decision.sentence}
    values = {**found.to_dict(), "decision": said}
    return {"at": f"t{at}", "at_us": at * 10**6, "units": totals.units, "labels": totals.labels, **values}


def path(seen: dict[str, Any]) -> dict[str, Any]:
    running = seen["running"]
    return {
        **{name: seen[name] for name in ("at", "at_us", "units", "labels", "decision")},
        **{name: running[name] for name in ("log_e", "low", "high")},
        "units_a": seen["units"] // 2,
        "units_b": seen["units"] // 2,
        "gain": seen["primary"]["gain"]["value"],
        "guardrails": [],
    }


def ab_test_view(analyses: int, mode: Mode = Mode.SPLIT, metric: Metric = Metric.ACCURACY) -> dict[str, Any]:
    """A test with so many interim analyses, as its page and its report take it."""
    guardrails = (Guardrail(Metric.FALSE_NEGATIVE, 0.01),)
    design = Design("<b>first</b>"[3:8], "m/v1", "m/v2", mode=mode, metric=metric, guardrails=guardrails, also=(Metric.LATENCY,))

    def totals(each: int) -> Totals:
        if mode is Mode.SHADOW:
            return ShadowTotals.of([(0, 1, 1, each), (1, 1, 1, 9 * each), (2, 1, None, 1)])
        return SplitTotals(ArmTotals.of([(0, 1, each), (1, 1, 9 * each)]), ArmTotals.of([(1, 1, 10 * each)]))

    seen = [interim_analysis(design, totals(10 * (each + 1)), each) for each in range(analyses)]
    return {
        "test_id": "t1",
        "name": design.name,
        "status": "running",
        "verdict": None,
        "mode": mode.value,
        "model_a": "m/v1",
        "model_b": "m/v2",
        "manifests": {"a": "a" * 64, "b": "b" * 64},
        "answers": ["edible", "poisonous", "unknown"],
        "design": design.to_dict(),
        "created": "2026-01-01",
        "concluded": None,
        "awaiting_label": 3,
        "unnamed_units": 1_500,
        "interim_analysis": seen[-1] if seen else None,
        "interim_analyses": [path(each) for each in seen],
        "events": [{"at_us": -1, "at": "t0", "actor": "<script>", "event": "created", "details": {"name": "first"}}],
    }
