"""A test as one HTML file that needs no network: who, what and when, the paths, the guardrails, the verdict and how it came about."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sporeprint.reports.page import render

WIDTH, HEIGHT = 640.0, 200.0
#: Room for what stands beside a picture.
LEFT, BOTTOM, TOP = 58.0, 24.0, 10.0
#: Points of a path: more are not seen.
MOST_POINTS = 400
#: What a test's rule is called on its page.
RULES = {
    "betting": "betting on the weighted loss",
    "errors_by_arm": "errors by arm: the rule before the present one; this test was made with it and keeps it",
}
_PERCENT = ("accuracy", "false_negative", "unknown_share", "failures", "latency")
_VERDICTS = {
    "a": "A is better.",
    "b": "B is better.",
    "equivalent": "No relevant difference.",
    "inconclusive": "No winner.",
    "invalid": "No verdict: the test is not valid.",
    "continue": "Keep going.",
}


@dataclass(frozen=True)
class Line:
    """A line of a chart.

    Attributes:
        says: what it is.
        colour: of the page's palette.
        points: as SVG wants them.
    """

    says: str
    colour: str
    points: str


@dataclass(frozen=True)
class Chart:
    """A chart over time.

    Attributes:
        title: what it shows.
        says: what to look for.
        lines: the paths.
        band: an area, as SVG wants its points; empty: none.
        marks: heights with a label each.
        first: when it begins.
        last: when it ends.
    """

    title: str
    says: str
    lines: tuple[Line, ...]
    band: str
    marks: tuple[tuple[float, str], ...]
    first: str
    last: str


def page(view: Mapping[str, Any], *, simulated: bool = False) -> str:
    """The page of a test.

    Args:
        view: what `ab_test_views.describe` gives.
        simulated: whether the models were trained on invented rows.
    """
    interim = view["interim_analysis"]
    return render(
        "ab_test.html.j2",
        simulated=simulated,
        view=view,
        interim=interim,
        head=_head(view),
        facts=facts(view),
        arms=arms(view) if interim else [],
        comparisons=comparisons(interim, view["design"]["rule"]) if interim else [],
        charts=charts(view),
        history=history(view),
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
    )


def _head(view: Mapping[str, Any]) -> str:
    interim = view["interim_analysis"]
    if interim and interim["decision"]["reason"] == "guardrail":
        return "Stopped: B broke a guardrail."
    if view["status"] == "concluded":
        return f"Concluded. {_VERDICTS.get(view['verdict'], view['verdict'])}"
    return _VERDICTS[interim["decision"]["verdict"]] if interim else "Nothing has been counted yet."


def facts(view: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was fixed before the first unit."""
    design = view["design"]
    guardrails = ", ".join(
        f"{one['metric']}: worse by at most {one['margin']:g}{', to be shown' if one['prove'] else ''}" for one in design["guardrails"]
    )
    limits = (
        f"{design['min_units']:,} to {_limit(design['max_units'])} units, "
        f"{_days(design['min_duration_s'])} to {_days(design['max_duration_s'])}"
    )
    equal = f", equivalent below {design['equivalence']:g}" if design["equivalence"] else ""
    split = "both score every request, A answers" if view["mode"] == "shadow" else f"{design['traffic_split']:.2%} of the units go to B"
    return [
        ("A, stays unless B wins", f"{view['model_a']} ({view['manifests']['a'][:12]})"),
        ("B", f"{view['model_b']} ({view['manifests']['b'][:12]})"),
        ("mode", f"{view['mode']}: {split}"),
        ("unit", str(design["unit"])),
        *([("units without a name", f"{view['unnamed_units']:,}, each row one of its own")] if view["unnamed_units"] else []),
        ("decided by", f"{design['metric']}, margin {design['margin']:g}{equal}"),
        ("rule", RULES[design["rule"]]),
        ("labels", _labels(design)),
        *([("slow", f"an answer that takes longer than {design['latency_limit_ms']:g} ms")] if design["latency_limit_ms"] else []),
        *([("expected to be better", design["expect"].upper())] if design["expect"] else []),
        ("a false end", _false_end(design)),
        ("guardrails", guardrails or "none"),
        ("limits", limits),
        ("acted on", "by the rule alone" if design["auto_conclude"] else "by a person; a broken guardrail ends it at once"),
        ("made", view["created"]),
        ("concluded", view["concluded"] or "not yet"),
    ]


def _labels(design: Mapping[str, Any]) -> str:
    if design["labels"] == "random":
        return f"of {design['label_share']:.1%} of the units, drawn at random"
    return {"all": "of all units", "reports": "only reported errors; what nobody reports is not counted"}[str(design["labels"])]


def _false_end(design: Mapping[str, Any]) -> str:
    of = f"in at most {design['alpha']:.1%} of such tests, however often they are analysed"
    both = design["rule"] == "betting" or not design["guardrails"]
    return of if both else f"a false winner {of}; a false breach of a guardrail may come on top"


def _limit(value: int | None) -> str:
    return "any number of" if value is None else f"{value:,}"


def _days(seconds: float | None) -> str:
    return "any time" if seconds is None else f"{seconds / 86_400:.3g} days"


def arms(view: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Units by arm: what was answered, how many labels, failures, and the mean latency."""
    totals, answers = view["interim_analysis"]["totals"], view["answers"]
    if "a" in totals:
        rows: list[tuple[str, ...]] = []
        for arm in ("a", "b"):
            counts = totals[arm]
            units = sum(counts["answers"]) + counts["failed"]
            verdicts = "; ".join(f"{word} {count:,}" for word, count in zip(answers, counts["answers"], strict=True))
            labels = sum(map(sum, counts["labelled"]))
            rows.append(
                (
                    arm.upper(),
                    view[f"model_{arm}"],
                    f"{units:,}",
                    verdicts,
                    f"{labels:,}",
                    f"{counts['failed']:,}",
                    _mean(counts["latency"]),
                )
            )
        return rows
    pairs = [(place // 3, place % 3, units, sum(totals["labelled"][place])) for place, units in enumerate(totals["answers"])]
    return [
        (f"A {answers[a]}, B {answers[b]}", "agree" if a == b else "differ", f"{units:,}", "", f"{labels:,}", "", "")
        for a, b, units, labels in pairs
        if units
    ] + [
        (arm.upper(), view[f"model_{arm}"], "", "", "", f"{totals[f'failed_{arm}']:,}", _mean(totals[f"latency_{arm}"]))
        for arm in ("a", "b")
    ]


def _mean(moments: Mapping[str, Any]) -> str:
    return f"{moments['total'] / moments['count']:.2f} ms" if moments["count"] else ""


def _name(rule: str, comparison: Mapping[str, Any]) -> str:
    """A metric, as a page calls it; of tests of the earlier rule, latency is a mean."""
    if rule == "errors_by_arm" and comparison["metric"] == "latency":
        return "latency in ms"
    return str(comparison.get("what") or comparison["metric"])


def comparisons(interim: Mapping[str, Any], rule: str) -> list[tuple[str, ...]]:
    """Metrics with the gain of B: the one that decides, guardrails, further ones.

    Args:
        interim: an interim analysis.
        rule: of the test.
    """
    guarded = [(one["comparison"], f"guardrail, {one['status']}", one["running"]) for one in interim["guardrails"]]
    every = [(interim["primary"], "decides", interim["running"]), *guarded, *((one, "reported", None) for one in interim["also"])]
    rows: list[tuple[str, ...]] = []
    for comparison, role, running in every:
        metric, gain = comparison["metric"] if rule != "errors_by_arm" else _name(rule, comparison), comparison["gain"]
        low, high = (running["low"], running["high"]) if running else (gain["low"], gain["high"])
        e = comparison["log_e"] if running is None else running["log_e"]
        shown = (number(metric, comparison["a"]["value"]), number(metric, comparison["b"]["value"]), number(metric, gain["value"]))
        rows.append(
            (
                _name(rule, comparison),
                role,
                *shown,
                f"{number(metric, low)} to {number(metric, high)}",
                _evidence(e),
                f"{comparison['observations']:,}",
            )
        )
    return rows


def number(metric: str, value: float | None) -> str:
    """A value of a metric for people; what is not known is a hyphen."""
    if value is None:
        return "-"
    if metric in _PERCENT:
        return f"{100 * value:.3g} %"
    return f"{value:.3g} ms" if metric == "latency in ms" else f"{value:.3g}"


def _evidence(log_e: float | None) -> str:
    return "-" if log_e is None else f"{math.exp(log_e):.3g}" if log_e < 20 else f"10^{log_e / math.log(10):.0f}"


def charts(view: Mapping[str, Any]) -> list[Chart]:
    """The paths, where there are at least two analyses."""
    analyses = _thinned(view["interim_analyses"])
    if len(analyses) < 2:
        return []
    design = view["design"]
    alpha, primary = design["alpha"], view["interim_analysis"]["primary"]
    metric = _name(design["rule"], primary)
    scale = 100.0 if primary["metric"] in _PERCENT and metric != "latency in ms" else 1.0
    unit = "percentage points" if scale > 1 else "a unit"
    lows, highs, gains = ([None if each[name] is None else scale * each[name] for each in analyses] for name in ("low", "high", "gain"))
    names = (("units_a", "A", "var(--link)"), ("units_b", "B", "var(--warn)"))
    units = [(says, colour, [float(each[name]) for each in analyses]) for name, says, colour in names]
    if view["mode"] == "shadow":
        units = [("requests", "var(--link)", [float(each["units"]) for each in analyses])]
    units.append(("labels", "var(--good)", [float(each["labels"]) for each in analyses]))
    threshold = math.exp(primary.get("log_threshold") or -math.log(alpha))
    return [
        chart(analyses, "Units over time", "Each unit counts once.", units),
        chart(
            analyses,
            f"By how much B is better in {metric}, {unit}",
            f"The band holds the true value at all times at once with a probability of at least {1 - alpha:.0%}. "
            "B wins when all of it is above the margin, A when all of it is below.",
            [("observed", "var(--ink)", gains)],
            band=(lows, highs),
            marks=((0.0, "0"), *(((scale * design["margin"], "margin"),) if design["margin"] else ())),
        ),
        chart(
            analyses,
            "Evidence that the versions differ (powers of 10)",
            f"An e-value: from {threshold:.3g} on, the versions differ. It is valid at any time.",
            [("e-value", "var(--link)", [max(0.0, each["log_e"] / math.log(10)) for each in analyses])],
            marks=((math.log10(threshold), f"{threshold:.3g}"),),
        ),
    ]


def _thinned(analyses: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    if len(analyses) <= MOST_POINTS:
        return analyses
    step = (len(analyses) - 1) / (MOST_POINTS - 1)
    return [analyses[round(place * step)] for place in range(MOST_POINTS)]


def chart(
    analyses: Sequence[Mapping[str, Any]],
    title: str,
    says: str,
    lines: Sequence[tuple[str, str, Sequence[float | None]]],
    *,
    band: tuple[Sequence[float | None], Sequence[float | None]] = ((), ()),
    marks: Sequence[tuple[float, str]] = (),
) -> Chart:
    """Place lines in a picture.

    Args:
        analyses: when each point was.
        title: of the picture.
        says: below it.
        lines: what each is, its colour, its heights; None where there is no value.
        band: lower and upper ends of an area.
        marks: heights to be marked.
    """
    times = [each["at_us"] for each in analyses]
    span = (times[-1] - times[0]) or 1
    across = [LEFT + (WIDTH - LEFT) * (time - times[0]) / span for time in times]
    heights = [value for _, _, values in lines for value in values if value is not None]
    if band[0]:
        # The first intervals are as wide as everything: the later ones are what is to be seen.
        begin = len(analyses) // 4
        heights += [value for ends in band for value in ends[begin:] if value is not None]
    heights += [height for height, _ in marks]
    low, high = min(heights, default=0.0), max(heights, default=1.0)
    low, high = (low, high) if high > low else (low - 1, high + 1)

    def up(value: float) -> float:
        clipped = min(max(value, low), high)
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - clipped) / (high - low)

    def points(values: Sequence[float | None]) -> str:
        return " ".join(f"{x:.1f},{up(value):.1f}" for x, value in zip(across, values, strict=True) if value is not None)

    area = ""
    if band[0]:
        there = [(x, a, b) for x, a, b in zip(across, *band, strict=True) if a is not None and b is not None and a <= b]
        upper = [f"{x:.1f},{up(b):.1f}" for x, _, b in there]
        area = " ".join([*upper, *(f"{x:.1f},{up(a):.1f}" for x, a, _ in reversed(there))])
    ends = () if len(marks) > 1 else ((high, f"{high:,.4g}"), (low, f"{low:,.4g}"))
    placed = [(up(height), label) for height, label in (*marks, *ends)]
    apart = [place for number, place in enumerate(placed) if all(abs(place[0] - other[0]) > BOTTOM / 2 for other in placed[:number])]
    drawn = tuple(Line(name, colour, points(values)) for name, colour, values in lines)
    return Chart(title, says, drawn, area, tuple(apart), analyses[0]["at"], analyses[-1]["at"])


def history(view: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Events, and the interim analyses at which the decision changed: when, who, what, in words."""
    rows = [(event["at_us"], event["at"], event["actor"], event["event"], _event(event)) for event in view["events"]]
    before = None
    for each in view["interim_analyses"]:
        decision = each["decision"]
        now = (decision["verdict"], decision["reason"])
        if now != before:
            rows.append((each["at_us"], each["at"], "the rule", decision["verdict"], decision["sentence"]))
        before = now
    return [(at, who, what, says) for _, at, who, what, says in sorted(rows, key=lambda row: row[0])]


def _event(event: Mapping[str, Any]) -> str:
    details = event["details"]
    if "sentence" in details:
        forced = "By hand, against or without the rule. " if details.get("forced") else ""
        return f"{forced}Verdict {details['verdict']}. {details['sentence']}"
    return ", ".join(f"{name}: {value}" for name, value in details.items() if value is not None)
