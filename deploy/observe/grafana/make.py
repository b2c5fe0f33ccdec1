"""Writes the Grafana dashboards in dashboards/ from the panels below.

    python deploy/observe/grafana/make.py [--check]

A panel is a title, a unit of Grafana's and Prometheus expressions with their legends. `--check` writes nothing and fails where a file differs.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "dashboards"
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH, HEIGHT = 8, 8  # of a panel, in Grafana's grid of 24 columns


@dataclass(frozen=True)
class Panel:
    """One chart or number.

    Attributes:
        title: above it.
        unit: Grafana's name of the unit: reqps, s, percentunit, short, bytes.
        queries: Prometheus expression -> legend.
        help: what it shows and what to do about it.
        number: whether it is one number instead of a line.
        red_above: a value from which on it is red; None: never.
    """

    title: str
    unit: str
    queries: dict[str, str]
    help: str
    number: bool = False
    red_above: float | None = None


def quantile(q: float, metric: str, by: str) -> str:
    """A quantile of a histogram over five minutes, by one label."""
    return f"histogram_quantile({q}, sum by (le, {by}) (rate({metric}_bucket[5m])))"


SERVING = [
    Panel(
        "Requests", "reqps", {"sum by (endpoint) (rate(sporeprint_requests_total[5m]))": "{{endpoint}}"}, "Requests a second, by endpoint."
    ),
    Panel(
        "Errors of the server",
        "percentunit",
        {
            'sum(rate(sporeprint_requests_total{status=~"5.."}[5m])) / sum(rate(sporeprint_requests_total[5m]))': "5xx",
            'sum(rate(sporeprint_requests_total{status=~"4.."}[5m])) / sum(rate(sporeprint_requests_total[5m]))': "4xx",
        },
        "Share of requests that the server failed (5xx) or refused (4xx).",
        red_above=0.01,
    ),
    Panel(
        "Latency of /predict",
        "s",
        {
            quantile(0.5, "sporeprint_request_seconds", "endpoint").replace("_bucket[", '_bucket{endpoint="predict"}['): "p50",
            quantile(0.99, "sporeprint_request_seconds", "endpoint").replace("_bucket[", '_bucket{endpoint="predict"}['): "p99",
        },
        "Time of a whole request, its sending included.",
    ),
    Panel(
        "Stages of a prediction",
        "s",
        {quantile(0.5, "sporeprint_stage_seconds", "stage"): "{{stage}}"},
        "Median time of parsing, encoding, scoring, guard and log.",
    ),
    Panel(
        "Requests in work",
        "short",
        {"sporeprint_in_flight": "in work", "sporeprint_workers": "workers"},
        "Requests that are worked on now, and processes that answer.",
    ),
    Panel(
        "Journal: predictions that the database lacks",
        "short",
        {"sporeprint_journal_depth": "in the journal", "sporeprint_journal_waiting": "not on the disk yet"},
        "Grows while the database is away; nothing is lost while there is room.",
    ),
    Panel(
        "Journal: age of the oldest",
        "s",
        {"sporeprint_journal_age_seconds": "age"},
        "How long the database has been behind.",
        red_above=300,
    ),
    Panel("Journal: size", "bytes", {"sporeprint_journal_bytes": "size"}, "Disk space of the journals."),
    Panel(
        "Failures of journal and shipper",
        "short",
        {
            "rate(sporeprint_journal_failures_total[5m])": "writes that failed",
            "rate(sporeprint_shipper_failures_total[5m])": "shipments that failed",
            "rate(sporeprint_journal_refused_total[5m])": "refused by the database",
        },
        "A second. Shipments are tried again; refused records are set aside.",
    ),
    Panel(
        "Shipped to the database",
        "reqps",
        {"rate(sporeprint_shipper_shipped_total[5m])": "predictions"},
        "Predictions a second that the database has confirmed.",
    ),
    Panel(
        "Turned away by rate limit", "reqps", {"rate(sporeprint_rate_limited_total[5m])": "429"}, "Requests whose key had made too many."
    ),
    Panel(
        "Access log: dropped",
        "short",
        {"increase(sporeprint_access_log_dropped_total[1h])": "lines"},
        "Lines that the access log lacks, in an hour.",
    ),
]
SAFETY = [
    Panel(
        "Verdicts", "reqps", {"sum by (verdict) (rate(sporeprint_answers_total[5m]))": "{{verdict}}"}, "Predictions a second, by verdict."
    ),
    Panel(
        'Share of "unknown"',
        "percentunit",
        {
            'sum(rate(sporeprint_answers_total{verdict="unknown"}[1h])) / sum(rate(sporeprint_answers_total[1h]))': "last hour",
            "sporeprint_monitor_unknown_share": "last evaluation",
        },
        "Rises when rows are unlike the training rows, or a source loses a column.",
    ),
    Panel(
        "Values never seen in training",
        "short",
        {"topk(10, sum by (feature) (increase(sporeprint_unseen_values_total[1h])))": "{{feature}}"},
        "In an hour, the ten columns with most.",
    ),
    Panel("Version in production", "short", {"sporeprint_model_info": "{{model}}/v{{version}}"}, "Workers in which each version serves."),
    Panel(
        "A version that cannot be loaded",
        "s",
        {"sporeprint_model_fault_seconds": "seconds", "sporeprint_model_fault": "1 while it lasts"},
        "How long production has been another version than the one that serves.",
        red_above=0.5,
    ),
    Panel(
        "Changes of the version that serves",
        "short",
        {"increase(sporeprint_model_swaps_total[1d])": "in a day"},
        "Promotions and rollbacks that reached the workers.",
    ),
]
AB_TESTS = [
    Panel(
        "Predictions by arm",
        "reqps",
        {"sum by (test, arm) (rate(sporeprint_ab_predictions_total[5m]))": "{{test}} {{arm}}"},
        "A second. In a shadow test arm a answers.",
    ),
    Panel(
        "Share of arm b",
        "percentunit",
        {
            'sum by (test) (increase(sporeprint_ab_predictions_total{arm="b"}[1d])) / sum by (test) (increase(sporeprint_ab_predictions_total[1d]))': "{{test}}"
        },
        "Of the predictions of a day; the test itself looks for a mismatch of units. Who leads is on the test's own page.",
    ),
    Panel(
        "Evidence",
        "short",
        {"sporeprint_ab_log_e": "{{test}}", "sporeprint_ab_mismatch_log_e": "{{test}}: mismatch of shares"},
        "Logarithm of the e-value against equal arms, and against the planned shares: 3.7 is an e-value of 40.",
    ),
    Panel(
        "Gain of arm b",
        "short",
        {"sporeprint_ab_gain": "{{test}} {{bound}}"},
        "In the unit of the test's metric, with its confidence sequence. It may be looked at at any time.",
    ),
    Panel(
        "Units and outcomes",
        "short",
        {"sporeprint_ab_units": "{{test}} units", "sporeprint_ab_labels": "{{test}} outcomes"},
        "Counted at the last evaluation.",
    ),
    Panel(
        "Latency of /predict",
        "s",
        {
            'histogram_quantile(0.99, sum by (le) (rate(sporeprint_request_seconds_bucket{endpoint="predict"}[5m])))': "p99",
        },
        "A shadow test scores each row twice.",
    ),
]
MONITORING = [
    Panel(
        "Alarms of the last evaluation",
        "short",
        {"sporeprint_monitor_alarms": "alarms"},
        "sporeprint monitor says which, and why.",
        number=True,
        red_above=0.5,
    ),
    Panel(
        "Not computed",
        "short",
        {"sporeprint_monitor_not_computed": "checks"},
        "What the last evaluation could not compute.",
        number=True,
        red_above=0.5,
    ),
    Panel(
        "Age of the last evaluation",
        "s",
        {"time() - sporeprint_monitor_evaluated_timestamp_seconds": "age"},
        "A monitor that has stopped raises no alarm.",
        number=True,
        red_above=172800,
    ),
    Panel(
        "Status",
        "short",
        {"sporeprint_monitor_status": "{{status}}", "sporeprint_monitor_readable": "readable"},
        "1 for the result of the last evaluation.",
    ),
    Panel(
        "Drift",
        "short",
        {"topk(10, sporeprint_monitor_drift_effect)": "{{column}}"},
        "Jensen-Shannon distance of the ten columns that changed most: 0 is no change, 0.83 the largest.",
    ),
    Panel(
        "Accuracy",
        "percentunit",
        {"sporeprint_monitor_accuracy_realised": "by outcomes", "sporeprint_monitor_accuracy_estimated": "expected from probabilities"},
        "Among predictions that name a class.",
    ),
    Panel(
        "Outcomes have had their time",
        "short",
        {"sporeprint_monitor_outcomes_mature": "1 if they have"},
        "0 while late outcomes may still change the accuracy.",
        number=True,
    ),
]
DASHBOARDS = {
    "serving": ("sporeprint: serving", SERVING),
    "safety": ("sporeprint: safety", SAFETY),
    "ab_tests": ("sporeprint: A/B tests", AB_TESTS),
    "monitoring": ("sporeprint: monitoring", MONITORING),
}


def dashboard(name: str) -> dict[str, Any]:
    """A dashboard as Grafana imports it."""
    title, panels = DASHBOARDS[name]
    variable = {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    return {
        "uid": f"sporeprint-{name.replace('_', '-')}",
        "title": title,
        "tags": ["sporeprint"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-24h", "to": "now"},
        "templating": {"list": [variable]},
        "panels": [_panel(number, panel) for number, panel in enumerate(panels)],
    }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.red_above is not None:
        steps.append({"color": "red", "value": panel.red_above})
    x, y = number % 3 * WIDTH, number // 3 * HEIGHT
    return {
        "id": number + 1,
        "type": "stat" if panel.number else "timeseries",
        "title": panel.title,
        "description": panel.help,
        "datasource": DATASOURCE,
        "gridPos": {"x": x, "y": y, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}}, "overrides": []},
        "targets": [
            {"refId": chr(65 + place), "expr": expression, "legendFormat": legend, "datasource": DATASOURCE}
            for place, (expression, legend) in enumerate(panel.queries.items())
        ],
    }


def main() -> int:
    """Write the files, or say which differ."""
    differ = []
    for name in DASHBOARDS:
        path, text = FOLDER / f"{name}.json", json.dumps(dashboard(name), indent=1, ensure_ascii=False) + "\n"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            differ.append(path)
            if "--check" not in sys.argv:
                path.write_text(text, encoding="utf-8")
    if differ and "--check" in sys.argv:
        print("not as deploy/observe/grafana/make.py writes them:", *differ, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
