"""Alerts, evaluations and runs in a database, as a monitor and a pipeline would have written them, of any text."""

from dataclasses import replace

from sqlalchemy import Engine

from sporeprint.monitoring.alert_rules import AlertRule, Severity
from sporeprint.storage.oltp import alerts, evaluations, pipeline_runs
from sporeprint.storage.oltp.alerts import Message
from sporeprint.storage.oltp.evaluations import StoredEvaluation, stream_id_of
from sporeprint.storage.oltp.pipeline_runs import DONE, FAILED, PipelineRun, RunMetric

DAY_US = 86_400_000_000
#: 1 November 2026.
BEGIN_US = 1_793_491_200_000_000
STREAM = "xgboost/v1 against the 6,106 rows that xgboost/v1 was validated on, the newest 1,000"
COLUMNS = ("cap-shape", "gill-attachment", "stem-width", "probability", "verdict")


def column(name: str, size: float | None, *, floor: float = 0.1, is_alarm: bool = False) -> dict[str, object]:
    """A column of a summary."""
    if size is None:
        return {"column": name, "missing": None, "alarm": False, "size": None, "not_computed": "only 12 values"}
    values = {"column": name, "missing": 0.1, "alarm": is_alarm, "size": size, "floor": floor}
    return {**values, "measure": "total variation distance", "about": "values"}


def summary(number: int, columns: tuple[str, ...] = COLUMNS, text: str = "") -> dict[str, object]:
    """The summary of an evaluation: what changes grows by the day; the outcomes of the last days are not in yet."""
    sizes = [round(0.04 * number * (place + 1) / len(columns), 4) for place in range(len(columns))]
    cells = [column(name, size, is_alarm=size >= 0.5) for name, size in zip(columns, sizes, strict=True)]
    cells[0] = column(columns[0], None if number % 3 == 0 else 0.01)
    found = [f"{each['column']}: total variation distance {each['size']}" for each in cells if each["alarm"]]
    accuracy = 0.99 - 0.004 * number
    return {
        "model": "xgboost/v1",
        "current": f"the newest 1,000 answers {text}",
        "reference": f"the rows that xgboost/v1 was validated on {text}",
        "rows": 1_000,
        "simulated": False,
        "alarms": [*found, *([text] if text else [])],
        "alarm_count": len(found) + bool(text),
        "not_computed": ["cap-shape, values: only 12 values"] if number % 3 == 0 else [],
        "not_computed_count": int(number % 3 == 0),
        "columns": cells,
        "columns_left_out": 0,
        "answered": {"negative": 400 - number, "positive": 500, "unknown": 100 + number},
        "accuracy": {"value": accuracy, "low": accuracy - 0.01, "high": accuracy + 0.008},
        "expected": {"value": 0.985, "low": 0.98, "high": 0.99},
        "false_negatives": {"value": 0.0005 * number, "low": 0.0, "high": 0.001 * number},
        "promise": "open",
        "alpha": 0.001,
        "labelled": 1_000 - 20 * number,
        "mature": number < 12,
    }


def add_evaluations(engine: Engine, days: int = 14, *, columns: tuple[str, ...] = COLUMNS, text: str = "") -> None:
    """An evaluation a day, the newest with a page."""
    for number in range(1, days + 1):
        values = summary(number, columns, text)
        status = "alarm" if values["alarms"] else "not computed" if values["not_computed"] else "no alarm"
        item = StoredEvaluation(f"run-{number:03d}", stream_id_of(STREAM), STREAM, BEGIN_US + number * DAY_US, status, values)
        details = {"drift": {"columns": []}, "overlays": {}, "words": ["edible", "poisonous"]}
        evaluations.keep(engine, item, details, f"<!doctype html><title>{number}</title>".encode(), whole=5)


def raise_alert(engine: Engine, rule: str = "drift", text: str = "gill-attachment changed", *, severity: str = "warning") -> str:
    """An alert that is on, with a message that waits; its id."""
    made = alerts.update_rule(
        *(engine, AlertRule(rule, "alarms", above=0.0, severity=Severity(severity), cool_down_s=0.0), STREAM, 2.0, f"{rule}: {text}"),
        now_us=BEGIN_US + DAY_US,
        messages=lambda event: [Message("oncall", f"{event.kind.value} {text}", "body")],
        evaluation_id="run-003",
    )
    assert made is not None
    return made.alert.alert_id


def add_runs(engine: Engine, count: int = 3, text: str = "") -> None:
    """Runs that are done, and one that failed for rows that were rejected."""
    steps = [{"step": step, "wall_s": 1.5, "cpu_s": 1.25, "peak_mib": 300.0} for step in ("extract", "transform", "train")]
    by_rule = {"number:stem-width": 20, "allowed:cap-shape": 3}
    details = {
        "host": "machine",
        "release": "1",
        "steps": steps,
        "rejected": 23,
        "by_rule": by_rule,
        "max_rejected_share": 0.01,
        "missing": {"cap-shape": 0, "ring-type": 140},
        "splits": {"train": 700, "test": 300},
        "source": f"table.csv {text}",
    }
    for number in range(1, count + 1):
        began = BEGIN_US + number * DAY_US
        run = PipelineRun(
            *(f"20261101T0000{number:02d}Z-aaaa", "etl", began, began + 4_250_000, DONE, 0, 1_000, f"{number % 2:064d}"), details=details
        )
        if number == count:
            run = replace(run, status=FAILED, exit_code=4, details={**details, "error": f"23 of 1,000 rows are rejected {text}"})
        pipeline_runs.finish(engine, run, [RunMetric("xgboost", "seen", "accuracy", 0.99, 0.98, 0.995, 300)])
