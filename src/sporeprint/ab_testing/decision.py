"""The verdict on a test, by the rule that was fixed before it began, and a sentence that says it to someone who knows no statistics."""

from dataclasses import dataclass
from enum import StrEnum

from sporeprint.ab_testing.analysis import Analysis, GuardrailResult, GuardrailStatus
from sporeprint.ab_testing.comparison import Comparison
from sporeprint.ab_testing.design import Design, Labels, Metric, Mode, Rule
from sporeprint.ab_testing.totals import SplitTotals
from sporeprint.common.counts import number_of

#: Below, a lower end is shown as 0.
SMALLEST_SHOWN = 1e-12


class Verdict(StrEnum):
    """What follows from an interim analysis. All but `continue` end the test; A stays unless the verdict is `b`."""

    A = "a"
    B = "b"
    EQUIVALENT = "equivalent"
    INCONCLUSIVE = "inconclusive"
    CONTINUE = "continue"
    INVALID = "invalid"


class Reason(StrEnum):
    """Why, in one word."""

    GUARDRAIL = "guardrail"
    SAMPLE_RATIO = "sample_ratio"
    NOT_IDENTIFIED = "not_identified"
    CONTRADICTION = "contradiction"
    TOO_EARLY = "too_early"
    BETTER = "better"
    GUARDRAIL_OPEN = "guardrail_open"
    NO_RELEVANT_DIFFERENCE = "no_relevant_difference"
    TIME_IS_UP = "time_is_up"
    NOT_YET_CLEAR = "not_yet_clear"


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict.

    Attributes:
        verdict: what follows.
        reason: why.
        sentence: both, in words.
    """

    verdict: Verdict
    reason: Reason
    sentence: str

    @property
    def ends(self) -> bool:
        """Whether the test is over. An invalid one is: its units cannot be mended."""
        return self.verdict is not Verdict.CONTINUE


_WHAT = {
    Metric.ACCURACY: "answers right",
    Metric.FALSE_NEGATIVE: "false negatives",
    Metric.EXPECTED_COST: "expected cost",
    Metric.UNKNOWN_SHARE: "unknown answers",
    Metric.FAILURES: "failed requests",
    Metric.LATENCY: "latency",
}


def _what(comparison: Comparison) -> str:
    """What is compared, in words."""
    return comparison.what or _WHAT[comparison.metric]


def decide(analysis: Analysis) -> Decision:
    """Apply the rule, in this order.

    1. A guardrail is broken: A, at once, whatever else.
    2. The arms do not get their shares, the labels depend on the answers, or interim analyses contradict each other: invalid.
    3. Before the least units or the least duration: continue.
    4. The gain's interval lies above the margin: B, once all guardrails that have to be shown to hold are; below minus the margin: A.
    5. It lies within the equivalence limits: equivalent.
    6. The most units or the longest duration are reached: inconclusive.
    """
    if breached := [reading for reading in analysis.guardrails if reading.status is GuardrailStatus.BREACHED]:
        return _breached(analysis, breached[0])
    return _invalid(analysis) or _too_early(analysis) or _winner(analysis) or _equivalent(analysis) or _open(analysis)


def _breached(analysis: Analysis, reading: GuardrailResult) -> Decision:
    metric = reading.guardrail.metric
    design = analysis.design
    worse = _amount(design, metric, max(-reading.running.high, 0.0))
    return Decision(
        Verdict.A,
        Reason.GUARDRAIL,
        f"Stop: B is worse than A in {_what(reading.comparison)}, by at least {worse} "
        f"(allowed: {_amount(design, metric, reading.guardrail.margin)}); A ({design.model_a}) stays.{_reports(analysis, metric)}",
    )


def _invalid(analysis: Analysis) -> Decision | None:
    design, totals = analysis.design, analysis.totals
    if analysis.srm_alarm and isinstance(totals, SplitTotals):
        got = totals.b.units / totals.units
        return Decision(
            Verdict.INVALID,
            Reason.SAMPLE_RATIO,
            f"No verdict: B got {got:.2%} of the units where {design.traffic_split:.2%} were meant for it, which is no chance. "
            "Units are lost or counted twice in one arm; find out where, and start a new test.",
        )
    labels = analysis.label_bias
    if labels is not None and labels.selective and design.metric.needs_labels:
        return Decision(
            Verdict.INVALID,
            Reason.NOT_IDENTIFIED,
            f"No verdict: which version is better is not identified. Labels depend on the answers: {labels.least:.0%} to "
            f"{labels.most:.0%} of the units have one, depending on what was answered. Label units drawn at random, "
            "or run the test in shadow mode and label disagreements of all kinds alike.",
        )
    if analysis.running.empty:
        return Decision(
            Verdict.INVALID,
            Reason.CONTRADICTION,
            "No verdict: earlier and later interim analyses exclude each other. The difference changed, outcomes were corrected, "
            "or units depend on each other.",
        )
    return None


def sentence_at_the_end(sentence: str) -> str:
    """What a decision says of a test that has ended: where it says to keep going, somebody ended it by hand."""
    so_far = sentence.removeprefix("Keep going")
    return sentence if so_far == sentence else f"Ended by hand before its rule had decided{so_far}"


def _too_early(analysis: Analysis) -> Decision | None:
    design, units = analysis.design, analysis.totals.units
    if units >= design.min_units and analysis.elapsed_s >= design.min_duration_s:
        return None
    left = [number_of(design.min_units - units, "more unit")] if units < design.min_units else []
    left += [_duration(design.min_duration_s - analysis.elapsed_s)] if analysis.elapsed_s < design.min_duration_s else []
    return Decision(Verdict.CONTINUE, Reason.TOO_EARLY, f"Keep going: its rule asks for {' and '.join(left)}.")


def _winner(analysis: Analysis) -> Decision | None:
    design, running = analysis.design, analysis.running
    metric, confidence = design.metric, f"{1 - design.alpha:.0%}"
    if running.high < -design.margin:
        by = _range(design, metric, -running.high, -running.low)
        better = f"A ({design.model_a}) is better in {_what(analysis.primary)}, by {by} ({confidence} sure)"
        return Decision(Verdict.A, Reason.BETTER, f"{better}; it stays.{_reports(analysis, metric)}")
    if not running.low > design.margin:
        return None
    by = _range(design, metric, running.low, running.high)
    better = f"B ({design.model_b}) is better in {_what(analysis.primary)}, by {by} ({confidence} sure)"
    waiting = [reading for reading in analysis.guardrails if reading.guardrail.prove and reading.status is not GuardrailStatus.HELD]
    if not waiting:
        return Decision(Verdict.B, Reason.BETTER, f"{better}; it should replace A.{_reports(analysis, metric)}")
    if _time_is_up(analysis):
        return None
    named = ", ".join(_what(reading.comparison) for reading in waiting)
    return Decision(
        Verdict.CONTINUE, Reason.GUARDRAIL_OPEN, f"Keep going: {better}, but it is not shown yet that it is no worse in {named}."
    )


def _equivalent(analysis: Analysis) -> Decision | None:
    design, running = analysis.design, analysis.running
    if not (-design.equivalence < running.low and running.high < design.equivalence):
        return None
    limit = _amount(design, design.metric, design.equivalence)
    return Decision(
        Verdict.EQUIVALENT,
        Reason.NO_RELEVANT_DIFFERENCE,
        f"No relevant difference: in {_what(analysis.primary)} the versions differ by less than {limit} ({1 - design.alpha:.0%} sure); "
        f"A ({design.model_a}) stays.",
    )


def _open(analysis: Analysis) -> Decision:
    design, running, metric = analysis.design, analysis.running, analysis.design.metric
    counted = number_of(analysis.totals.units, "request" if design.mode is Mode.SHADOW else "unit")
    if metric.needs_labels:
        counted += f" and {number_of(analysis.totals.labels, 'label')}"
    so_far = f"after {counted} nothing can be said yet"
    if running.low > -float("inf") and running.high < float("inf"):
        most_a, most_b = (_amount(design, metric, max(0.0, most)) for most in (-running.low, running.high))
        so_far = f"after {counted} A may be better by up to {most_a} or B by up to {most_b} in {_what(analysis.primary)}"
    if _time_is_up(analysis):
        return Decision(Verdict.INCONCLUSIVE, Reason.TIME_IS_UP, f"The test ends without a winner: {so_far}. A ({design.model_a}) stays.")
    return Decision(Verdict.CONTINUE, Reason.NOT_YET_CLEAR, f"Keep going: {so_far}.")


def _time_is_up(analysis: Analysis) -> bool:
    design = analysis.design
    out_of_units = design.max_units is not None and analysis.totals.units >= design.max_units
    return out_of_units or (design.max_duration_s is not None and analysis.elapsed_s >= design.max_duration_s)


def _amount(design: Design, metric: Metric, amount: float) -> str:
    if metric is Metric.LATENCY and design.rule is Rule.ERRORS_BY_ARM:
        return f"{_short(amount)} ms"
    if metric is Metric.EXPECTED_COST:
        return f"{_short(amount)} a unit"
    return f"{_short(100 * amount)} percentage points"


def _short(number: float) -> str:
    """A number with two significant digits, and without an exponent where it is large."""
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.2g}"


def _range(design: Design, metric: Metric, low: float, high: float) -> str:
    # A sign that is certain has an interval that is open at 0.
    if low < SMALLEST_SHOWN:
        return f"up to {_amount(design, metric, high)}"
    return f"{_amount(design, metric, low)} to {_amount(design, metric, high)}"


def _reports(analysis: Analysis, metric: Metric) -> str:
    """What has to be said where errors are those that somebody reported."""
    if analysis.design.labels is not Labels.REPORTS or not metric.needs_labels:
        return ""
    return " Only reported errors are counted, of all units: the true difference may be larger."


def _duration(seconds: float) -> str:
    for size, name in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.0f} seconds"
