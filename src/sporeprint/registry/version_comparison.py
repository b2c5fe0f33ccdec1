"""Two registered versions side by side, from what is stored of each: nothing is scored."""

from collections.abc import Mapping
from typing import Any, Literal

from sporeprint.evaluation.scorecard import LOSSES
from sporeprint.messages.model_versions import MetricComparison, ValueComparison
from sporeprint.messages.version_details import MetricEstimate, VersionPart
from sporeprint.registry.version_summary import VersionSummary
from sporeprint.safety.decision_rule import DecisionRule
from sporeprint.stats.independent_difference import independent_difference
from sporeprint.stats.intervals import Estimate

Section = Literal["parameters", "data", "guard", "answers", "libraries"]
#: Parts of what a version says of its data.
DATA = ("data_fingerprint", "data_run", "simulated", "seed")


def compare_metrics(a: VersionSummary, b: VersionSummary) -> tuple[MetricComparison, ...]:
    """Every metric of both, on each part of the test rows."""
    pairs = zip(a.parts, b.parts, strict=False)
    return tuple(_metric(one, other, name) for one, other in pairs for name in dict.fromkeys((*one.metrics, *other.metrics)))


def _metric(one: VersionPart, other: VersionPart, name: str) -> MetricComparison:
    a, b = one.metrics.get(name), other.metrics.get(name)
    before, after = _estimate(a), _estimate(b)
    difference, better = None, None
    if before is not None and after is not None:
        gain = independent_difference(before, after)
        difference = MetricEstimate(value=gain.value, low=gain.low, high=gain.high)
        better = _better(gain, is_loss=name in LOSSES)
    return MetricComparison(part=one.part, name=name, a=a, b=b, difference=difference, better=better)


def _estimate(metric: MetricEstimate | None) -> Estimate | None:
    if metric is None or metric.value is None or metric.low is None or metric.high is None:
        return None
    return Estimate(metric.value, metric.low, metric.high)


def _better(gain: Estimate, *, is_loss: bool) -> Literal["a", "b"] | None:
    """Which one is better, b where the difference is a gain for certain."""
    if gain.low <= 0 <= gain.high:
        return None
    return "b" if (gain.low > 0) != is_loss else "a"


def compare_values(a: VersionSummary, b: VersionSummary, rules: tuple[DecisionRule, DecisionRule]) -> tuple[ValueComparison, ...]:
    """Parameters, data, guard, answers and libraries.

    Args:
        a: the first.
        b: the second.
        rules: their decision rules.
    """
    first, second = rules
    sections: tuple[tuple[Section, Mapping[str, Any], Mapping[str, Any]], ...] = (
        ("parameters", flat(a.info.get("model", {})), flat(b.info.get("model", {}))),
        ("data", _data(a), _data(b)),
        ("guard", _guard(first), _guard(second)),
        ("answers", _answers(a, first), _answers(b, second)),
        ("libraries", a.info.get("libraries", {}), b.info.get("libraries", {})),
    )
    return tuple(
        ValueComparison(section=section, name=name, a=one.get(name), b=other.get(name), differs=one.get(name) != other.get(name))
        for section, one, other in sections
        for name in dict.fromkeys((*one, *other))
    )


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values that hold values, one line each: params.max_depth."""
    lines: dict[str, Any] = {}
    for name, value in values.items():
        lines |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return lines


def _data(version: VersionSummary) -> dict[str, Any]:
    rows = {f"{part.part} rows": part.verdicts.rows for part in version.parts if part.verdicts is not None}
    return {**{name.replace("_", " "): version.info.get(name) for name in DATA}, **rows}


def _guard(rule: DecisionRule) -> dict[str, Any]:
    return {
        "components": len(rule.components),
        "coverage": rule.coverage,
        "partial rows": rule.partial is not None,
        "threshold": rule.threshold.value,
        "alpha": rule.threshold.alpha,
        "confidence": round(1 - rule.threshold.delta, 12),
    }


def _answers(version: VersionSummary, rule: DecisionRule) -> dict[str, Any]:
    """What was answered on the test rows, each count with its denominator."""
    values: dict[str, Any] = {"positive from": rule.positive_from}
    for part in version.parts:
        if (counts := part.verdicts) is not None:
            values[f"{part.part}: answered"] = f"{counts.answered} of {counts.rows}"
            values[f"{part.part}: correct"] = f"{counts.correct} of {counts.answered}"
            values[f"{part.part}: false negatives"] = f"{counts.false_negatives} of {counts.positives}"
    return values
