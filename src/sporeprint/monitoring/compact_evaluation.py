"""An evaluation in a few kilobytes: what a list, a heat map and a chart over time show of it."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from sporeprint.monitoring.alarm_control import Finding
from sporeprint.monitoring.drift import ColumnDrift
from sporeprint.monitoring.evaluation import Evaluation, finite
from sporeprint.stats.intervals import Estimate

#: Most characters of a sentence, and sentences of a kind.
MOST_TEXT, MOST_LINES = 200, 10


def compact(evaluation: Evaluation, *, most_bytes: int) -> dict[str, Any]:
    """The main numbers of an evaluation, as JSON values.

    Args:
        evaluation: the evaluation.
        most_bytes: of all of it as JSON: where that is not enough, columns that matter least are left out, and counted.
    """
    columns = _columns(evaluation)
    values = _without_columns(evaluation)
    while len(json.dumps(finite({**values, "columns": columns}), ensure_ascii=False).encode()) > most_bytes:
        columns = columns[: len(columns) * 3 // 4]
    compacted: dict[str, Any] = finite({**values, "columns": columns, "columns_left_out": len(evaluation.drift.columns) - len(columns)})
    return compacted


def _without_columns(evaluation: Evaluation) -> dict[str, Any]:
    real, expected = evaluation.performance, evaluation.expected
    last = evaluation.window_history[-1] if evaluation.window_history else None
    return {
        "model": evaluation.model,
        "current": evaluation.current[:MOST_TEXT],
        "reference": evaluation.reference[:MOST_TEXT],
        "rows": evaluation.drift.rows[1],
        "simulated": evaluation.simulated,
        "window": None if last is None else {"begin_s": last.begin_s, "end_s": last.end_s},
        "alarms": _shortened(evaluation.alarms),
        "alarm_count": len(evaluation.alarms),
        "not_computed": _shortened(evaluation.not_computed),
        "not_computed_count": len(evaluation.not_computed),
        "answered": dict(zip(("negative", "positive", "unknown"), evaluation.answered, strict=False)),
        "accuracy": _estimate(None if real is None else real.accuracy),
        "expected": _estimate(None if expected is None else expected.accuracy),
        "false_negatives": _estimate(None if real is None else real.false_negatives),
        "promise": None if real is None else real.promise.value,
        "alpha": evaluation.alpha,
        "labelled": 0 if real is None else real.labelled,
        "mature": evaluation.mature,
    }


def _columns(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Each column with the check that is largest beside its floor, those that matter most first."""
    by_name = {column.column: column for column in evaluation.drift.columns}
    findings: dict[str, list[Finding]] = {}
    for finding in evaluation.judgement.findings:
        findings.setdefault(finding.column, []).append(finding)
    ranked = dict.fromkeys([*(item.column for item in evaluation.ranking), *by_name])
    return [_column(by_name[name], findings.get(name, [])) for name in ranked if name in by_name]


def _column(column: ColumnDrift, findings: Sequence[Finding]) -> dict[str, Any]:
    common = {"column": column.column, "missing": column.missing[1], "alarm": any(finding.alarm for finding in findings)}
    if not findings:
        reasons = column.not_computed or {}
        return {**common, "size": None, "not_computed": next(iter(reasons.values()), "")[:MOST_TEXT]}
    most = max(findings, key=lambda finding: (finding.alarm, _times(finding)))
    return {**common, "size": _rounded(most.check.effect), "floor": most.floor, "measure": most.check.measure, "about": most.check.question}


def _times(finding: Finding) -> float:
    """How often the floor goes into the effect."""
    if math.isnan(finding.check.effect):
        return -1.0
    return finding.check.effect / finding.floor if finding.floor > 0 else math.inf


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _estimate(estimate: Estimate | None) -> Mapping[str, float] | None:
    if estimate is None or math.isnan(estimate.value):
        return None
    return {"value": _rounded(estimate.value), "low": _rounded(estimate.low), "high": _rounded(estimate.high)}


def _shortened(lines: Sequence[str]) -> list[str]:
    return [line if len(line) <= MOST_TEXT else f"{line[: MOST_TEXT - 2]} …" for line in lines[:MOST_LINES]]
