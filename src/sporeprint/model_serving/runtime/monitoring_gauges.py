"""What the last evaluation of the monitor found, as gauges: read from its file whenever somebody asks."""

import json
import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric

#: A file larger than this is none that the monitor wrote.
MOST_BYTES = 16 << 20
#: Columns that have a gauge.
MOST_COLUMNS = 500
#: File beside the monitor's, with the last evaluation of the A/B tests.
AB_TESTS = "ab_tests.json"
AB_GAUGES = {
    "units": "Units counted in a running A/B test",
    "labels": "Outcomes counted in a running A/B test",
    "log_e": "Logarithm of the e-value against equal arms, the largest so far",
    "mismatch_log_e": "Logarithm of the e-value against the planned shares of units (sample ratio mismatch)",
}
STATUSES = ("no alarm", "alarm", "not computed")


def gauges(path: Path) -> Iterator[Metric]:
    """The gauges of an evaluation's JSON file; none where there is no such file. A damaged one says so and nothing else."""
    try:
        gauges_of_file = list(_of(_read(path)))
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        yield _one("readable", "1 if the last evaluation of the monitor can be read", 0)
        return
    yield _one("readable", "1 if the last evaluation of the monitor can be read", 1)
    yield from gauges_of_file


def ab_gauges(path: Path) -> Iterator[Metric]:
    """The gauges of the A/B tests that ran at their last evaluation; none where the file is missing or damaged."""
    try:
        tests = _read(path)
        for name, says in AB_GAUGES.items():
            gauge = GaugeMetricFamily(f"sporeprint_ab_{name}", says, labels=("test",))
            for test in tests:
                if (value := _number(test[name])) is not None:
                    gauge.add_metric((str(test["test"]),), value)
            yield gauge
        gain = GaugeMetricFamily("sporeprint_ab_gain", "By how much arm b is better, and the confidence sequence", labels=("test", "bound"))
        for test in tests:
            for bound in ("low", "value", "high"):
                if (value := _number(test["gain"][bound])) is not None:
                    gain.add_metric((str(test["test"]), bound), value)
        yield gain
    except (OSError, ValueError, KeyError, TypeError):
        return


def _read(path: Path) -> Any:
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{path} is too large")
    return json.loads(path.read_bytes())


def _of(raw: Mapping[str, Any]) -> Iterator[Metric]:
    yield _one("evaluated_timestamp_seconds", "When the monitor last looked", datetime.fromisoformat(raw["at"]).timestamp())
    yield _one("alarms", "Alarms of the last evaluation", len(raw["alarms"]))
    yield _one("not_computed", "What the last evaluation could not compute", len(raw["not_computed"]))
    status = GaugeMetricFamily("sporeprint_monitor_status", "1 for what the last evaluation came to", labels=("status",))
    for name in STATUSES:
        status.add_metric((name,), float(raw["status"] == name))
    yield status
    drift = GaugeMetricFamily(
        "sporeprint_monitor_drift_effect", "How much a column changed: Jensen-Shannon distance, 0 to 0.83", labels=("column",)
    )
    for column in raw["drift"]["columns"][:MOST_COLUMNS]:
        size = _number(column["effects"].get("jensen_shannon"))
        if size is not None:
            drift.add_metric((str(column["column"]),), size)
    yield drift
    real, soon, answered = raw["performance"] or {}, raw["expected"] or {}, raw.get("answered") or {}
    rows = sum(answered.values())
    for name, says, value in (
        (
            "accuracy_realised",
            "Share of right answers among those that say a class, by outcomes",
            (real.get("accuracy") or {}).get("value"),
        ),
        ("accuracy_estimated", "The same before outcomes: what probabilities promise", (soon.get("accuracy") or {}).get("value")),
        ("outcomes_mature", "1 if the outcomes that are to come have had the time to", float(bool(raw.get("mature", True)))),
        ("unknown_share", "Share of the answers that say neither class", answered["unknown"] / rows if rows else None),
    ):
        number = _number(value)
        if number is not None:
            yield _one(name, says, number)


def _one(name: str, says: str, value: float) -> Metric:
    return GaugeMetricFamily(f"sporeprint_monitor_{name}", says, value=value)


def _number(value: Any) -> float | None:
    """A number that Prometheus can draw."""
    if value is None or isinstance(value, str) or not math.isfinite(value):
        return None
    return float(value)
