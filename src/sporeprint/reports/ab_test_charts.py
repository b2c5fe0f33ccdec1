"""The course of an A/B test, drawn the same in its report and on its page."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sporeprint.ab_testing.design import Metric
from sporeprint.web.charts import Axis, Chart, Dot, Line, Point, Row, lines_chart, rows_chart
from sporeprint.web.charts.evidence import difference_chart, e_text, evidence_chart
from sporeprint.web.words import SOURCE, Words

#: Metrics that are shares, shown in percentage points.
SHARES = frozenset({Metric.ACCURACY, Metric.FALSE_NEGATIVE, Metric.UNKNOWN_SHARE, Metric.FAILURES, Metric.LATENCY})
ENGLISH = Words(SOURCE)


def charts(view: Mapping[str, Any], words: Words = ENGLISH) -> list[Chart]:
    """How sure it is, by how much B is better, and what was counted; none before there are two interim analyses.

    Args:
        view: what `ab_test_views.describe` gives.
        words: of the reader's language.
    """
    analyses = sorted(view["interim_analyses"], key=lambda each: each["at_us"])  # clocks of two workers may differ
    if len(analyses) < 2:
        return []
    drawn = [_evidence(view, analyses, words), _difference(view, analyses, words), _rates(view, words), _counted(view, analyses, words)]
    return [replace(chart, numbers=words("The numbers")) for chart in drawn if chart is not None]


def threshold_of(view: Mapping[str, Any]) -> float:
    """The e-value from which the versions of a test differ."""
    return math.exp(view["interim_analysis"]["primary"].get("log_threshold") or -math.log(view["design"]["alpha"]))


def _is_share(design: Mapping[str, Any]) -> bool:
    """Whether the metric that decides is a share; of the earlier rule, latency was a mean."""
    return design["metric"] in SHARES and not (design["metric"] == Metric.LATENCY and design["rule"] == "errors_by_arm")


def _times(analyses: Sequence[Mapping[str, Any]]) -> list[float]:
    return [each["at_us"] / 1e6 for each in analyses]


def _evidence(view: Mapping[str, Any], analyses: Sequence[Mapping[str, Any]], words: Words) -> Chart:
    threshold, last = threshold_of(view), analyses[-1]["log_e"]
    finding = words("The e-value is {e}; from {threshold} on the versions differ.", e=e_text(last), threshold=f"{threshold:,.3g}")
    points = list(zip(_times(analyses), (each["log_e"] for each in analyses), strict=True))
    return evidence_chart("evidence", words("How sure"), finding, points, threshold, reached=words("they differ"))


def _difference(view: Mapping[str, Any], analyses: Sequence[Mapping[str, Any]], words: Words) -> Chart:
    design = view["design"]
    is_share = _is_share(design)
    scale = 100.0 if is_share else 1.0
    unit = words("percentage points") if is_share else words("a unit")

    def scaled(value: float | None) -> float | None:
        return None if value is None else scale * value

    points = [
        Point(at, math.nan if each["gain"] is None else scale * each["gain"], scaled(each["low"]), scaled(each["high"]))
        for at, each in zip(_times(analyses), analyses, strict=True)
    ]
    held = words(
        "The true value lies in the band at all times at once, in at least {share} of such tests.", share=f"{1 - design['alpha']:.0%}"
    )
    title = words("Difference: by how much B is better")
    names = (words("no difference"), words("margin"), words("observed"))
    return difference_chart("difference", title, held, points, unit=unit, margin=scale * design["margin"], words=names)


def _rates(view: Mapping[str, Any], words: Words) -> Chart | None:
    """Both arms in the metric that decides; None where an arm alone is not known, as in a shadow test."""
    primary = view["interim_analysis"]["primary"]
    arms = [primary[arm] for arm in ("a", "b")]
    if not _is_share(view["design"]) or any(arm["value"] is None or arm["low"] is None or arm["high"] is None for arm in arms):
        return None
    texts = [f"{arm['value']:.1%}".replace("%", " %") for arm in arms]
    rows = [
        Row(f"{name} {view[f'model_{name.lower()}']}", dots=[Dot(arm["value"], arm["low"], arm["high"], role)], text=text)
        for name, role, arm, text in zip("AB", ("s1", "s2"), arms, texts, strict=True)
    ]
    finding = words("A has {a}, B {b}.", a=texts[0], b=texts[1])
    title = words("Both arms: {metric}", metric=primary.get("what") or primary["metric"])
    return rows_chart("rates", title, finding, rows, axis=Axis("share"), note=words("Each with its confidence sequence."))


def _counted(view: Mapping[str, Any], analyses: Sequence[Mapping[str, Any]], words: Words) -> Chart:
    """Labels are not an arm: they have a number of their own in the page, and no line here."""
    times = _times(analyses)
    arms = (("units_a", "A"), ("units_b", "B")) if view["mode"] == "split" else (("units", words("requests")),)
    lines = [Line(name, [Point(at, each[key]) for at, each in zip(times, analyses, strict=True)]) for key, name in arms]
    finding = words("{n} units with {labels} labels.", n=f"{analyses[-1]['units']:,}", labels=f"{analyses[-1]['labels']:,}")
    return lines_chart("counted", words("Units counted"), finding, lines, y=Axis(label=words("units"), from_zero=True))
