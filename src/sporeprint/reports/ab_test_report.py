"""A test as one HTML file that needs no network: who, what and when, the paths, the guardrails, the verdict and how it came about."""

import math
from collections.abc import Mapping
from typing import Any

from sporeprint.ab_testing.decision import SMALLEST_SHOWN
from sporeprint.reports.ab_test_charts import ENGLISH, charts
from sporeprint.reports.page import render
from sporeprint.web.words import Words

#: What a test's rule is called on its page.
RULES = {
    "betting": "betting on the weighted loss",
    "errors_by_arm": "errors by arm: the rule before the present one; this test was made with it and keeps it",
}
_PERCENT = ("accuracy", "false_negative", "unknown_share", "failures", "latency")


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
        head=head(view),
        facts=facts(view),
        arms=arms(view) if interim else [],
        comparisons=comparisons(interim, view["design"]["rule"]) if interim else [],
        tested=e_value_of(view["design"]["rule"]),
        unknown=unknown_counts(view),
        charts=charts(view),
        history=history(view),
    )


def head(view: Mapping[str, Any], words: Words = ENGLISH) -> str:
    """What has become of a test, in a few words."""
    interim = view["interim_analysis"]
    verdicts = {
        "a": words("A is better."),
        "b": words("B is better."),
        "equivalent": words("No relevant difference."),
        "inconclusive": words("No winner."),
        "invalid": words("No verdict: the test is not valid."),
        "continue": words("Keep going."),
    }
    if interim and interim["decision"]["reason"] == "guardrail":
        return words("Stopped: B broke a guardrail.")
    if view["status"] == "concluded" and any(event["details"].get("forced") for event in view["events"]):
        ends = words("Concluded by hand, against the rule: A stays.") if view["verdict"] == "a" else ""
        return ends or words("Concluded by hand, against the rule: B wins.")
    if view["status"] == "concluded":
        return " ".join((words("Concluded."), verdicts.get(view["verdict"], view["verdict"])))
    return verdicts[interim["decision"]["verdict"]] if interim else words("Nothing has been counted yet.")


def facts(view: Mapping[str, Any], words: Words = ENGLISH) -> list[tuple[str, str]]:
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
    limit = f"an answer that takes longer than {design['latency_limit_ms'] or 0:g} ms"
    unnamed = f"{view['unnamed_units']:,}, each row one of its own"
    return [
        (words("A, stays unless B wins"), f"{view['model_a']} ({view['manifests']['a'][:12]})"),
        ("B", f"{view['model_b']} ({view['manifests']['b'][:12]})"),
        (words("mode"), f"{view['mode']}: {split}"),
        (words("unit"), str(design["unit"])),
        *([(words("units without a name"), unnamed)] if view["unnamed_units"] else []),
        (words("decided by"), f"{design['metric']}, margin {design['margin']:g}{equal}"),
        (words("rule"), RULES[design["rule"]]),
        (words("labels"), _labels(design)),
        *([(words("slow"), limit)] if design["latency_limit_ms"] else []),
        *([(words("expected to be better"), design["expect"].upper())] if design["expect"] else []),
        (words("a false end"), _false_end(design)),
        (words("guardrails"), guardrails or words("none")),
        (words("limits"), limits),
        (words("acted on"), "by the rule alone" if design["auto_conclude"] else "by a person; a broken guardrail ends it at once"),
        (words("made"), view["created"]),
        (words("concluded"), view["concluded"] or words("not yet")),
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

    The e-value of the metric that decides alone: that of a guardrail says whether the arms differ, and not whether its margin holds.

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
        e = running["log_e"] if running and role == "decides" else None
        shown = (number(metric, comparison["a"]["value"]), number(metric, comparison["b"]["value"]), number(metric, gain["value"]))
        rows.append(
            (
                _name(rule, comparison),
                role,
                *shown,
                "-" if low is None and high is None else f"{number(metric, low)} to {number(metric, high)}",
                _evidence(e),
                f"{comparison['observations']:,}",
            )
        )
    return rows


def e_value_of(rule: str) -> str:
    """What the e-value of a test speaks against."""
    if rule == "errors_by_arm":
        return 'The e-value speaks against "each kind of error is as frequent in both"; the gain beside it is another question.'
    return 'The e-value speaks against "both are equally good", a gain of 0.'


def unknown_counts(view: Mapping[str, Any]) -> list[str]:
    """What labelled answers that are unknown count as, for each metric and arm that has some."""
    interim, design = view["interim_analysis"], view["design"]
    if interim is None:
        return []
    costs = design["costs"]
    weights = {
        "accuracy": (costs["unknown_as_error"], "errors"),
        "false_negative": (costs["unknown_as_false_negative"], "false negatives"),
        "expected_cost": (costs["unknown"], "in cost"),
    }
    metrics = dict.fromkeys((design["metric"], *(one["metric"] for one in design["guardrails"])))
    return [
        f"{unknown:,} of {labelled:,} labelled answers of {arm} are unknown: they count as {unknown * weight:.4g} {what} ({weight:g} each)."
        for metric in metrics
        if metric in weights
        for weight, what in [weights[metric]]
        for arm, (unknown, labelled) in zip("AB", _unknown(interim["totals"]), strict=True)
        if unknown and weight
    ]


def _unknown(totals: Mapping[str, Any]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Of each arm, how many labelled answers are unknown, and how many there are. In a shadow test, of disagreements."""
    if "a" in totals:
        a, b = ([sum(truths) for truths in totals[arm]["labelled"]] for arm in ("a", "b"))
    else:
        pairs = [sum(truths) if place // 3 != place % 3 else 0 for place, truths in enumerate(totals["labelled"])]
        a, b = ([sum(pairs[3 * each : 3 * each + 3]) for each in range(3)], [sum(pairs[each::3]) for each in range(3)])
    return (a[-1], sum(a)), (b[-1], sum(b))


def number(metric: str, value: float | None) -> str:
    """A value of a metric for people; what is not known is a hyphen."""
    if value is None:
        return "-"
    value = 0.0 if abs(value) < SMALLEST_SHOWN else value
    if metric in _PERCENT:
        return f"{100 * value:.3g} %"
    return f"{value:.3g} ms" if metric == "latency in ms" else f"{value:.3g}"


def _evidence(log_e: float | None) -> str:
    return "-" if log_e is None else f"{math.exp(log_e):.3g}" if log_e < 20 else f"10^{log_e / math.log(10):.0f}"


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
        forced = "By hand, against the rule. " if details.get("forced") else ""
        why = f" Why: {details['why']}." if details.get("why") else ""
        return f"{forced}Verdict {details['verdict']}. {details['sentence']}{why}"
    return ", ".join(f"{name}: {value}" for name, value in details.items() if value is not None)
