from dataclasses import replace

import pytest

from sporeprint.ab_testing.analysis import NO_EXTREMES, Extremes, RunningExtremes, analyse
from sporeprint.ab_testing.decision import Decision, Reason, Verdict, _amount, decide, sentence_at_the_end
from sporeprint.ab_testing.design import Design, Guardrail, Labels, Metric, Mode, Rule
from sporeprint.ab_testing.totals import ArmTotals, ShadowTotals, SplitTotals, Totals
from sporeprint.stats.confidence_sequence import Moments

DESIGN = Design("test", "xgboost/v1", "xgboost/v2", latency_limit_ms=5)


def arm(units: int, errors: int, missed: int = 0, unknown: int = 0, ms: float = 2.0) -> ArmTotals:
    cells = [(1, 1, units - errors - missed - unknown), (1, 0, errors), (0, 1, missed), (2, 0, unknown)]
    slow = units // 10 if ms <= 2 else units // 2
    return ArmTotals.of(cells, latency=Moments(units, ms * units, (ms**2 + 1) * units), slow=slow)


BETTER = SplitTotals(arm(10_000, 300), arm(10_000, 150))
WORSE = SplitTotals(arm(10_000, 150), arm(10_000, 300))
EQUAL = SplitTotals(arm(100_000, 500), arm(100_000, 500))
UNCLEAR = SplitTotals(arm(1000, 10), arm(1000, 8))


def verdict(design: Design, totals: Totals, elapsed_s: float = 1e6, extremes: Extremes = NO_EXTREMES) -> Decision:
    return decide(analyse(design, totals, elapsed_s, extremes))


def test_b_wins() -> None:
    found = verdict(DESIGN, BETTER)
    assert (found.verdict, found.reason, found.ends) == (Verdict.B, Reason.BETTER, True)
    assert found.sentence.startswith("B (xgboost/v2) is better in answers right, by ")
    assert found.sentence.endswith("percentage points (95% sure); it should replace A.")


def test_a_wins_and_stays() -> None:
    found = verdict(DESIGN, WORSE)
    assert (found.verdict, found.reason) == (Verdict.A, Reason.BETTER)
    assert found.sentence.startswith("A (xgboost/v1) is better in answers right, by ")


def test_a_margin_has_to_be_beaten() -> None:
    assert verdict(replace(DESIGN, margin=0.002), BETTER).verdict is Verdict.B
    assert verdict(replace(DESIGN, margin=0.02), BETTER).verdict is Verdict.CONTINUE
    assert verdict(replace(DESIGN, margin=0.02), WORSE).verdict is Verdict.CONTINUE


def test_no_relevant_difference() -> None:
    found = verdict(replace(DESIGN, equivalence=0.005), EQUAL)
    assert (found.verdict, found.reason) == (Verdict.EQUIVALENT, Reason.NO_RELEVANT_DIFFERENCE)
    assert found.sentence == (
        "No relevant difference: in answers right the versions differ by less than 0.5 percentage points (95% sure); A (xgboost/v1) stays."
    )
    assert verdict(DESIGN, EQUAL).verdict is Verdict.CONTINUE


def test_shadow_versions_that_agree_are_equivalent_without_a_label() -> None:
    design = replace(DESIGN, mode=Mode.SHADOW, equivalence=0.001)
    assert verdict(design, ShadowTotals.of([(0, 0, None, 50_000)])).verdict is Verdict.EQUIVALENT


def test_not_clear_yet() -> None:
    found = verdict(DESIGN, UNCLEAR)
    assert (found.verdict, found.reason, found.ends) == (Verdict.CONTINUE, Reason.NOT_YET_CLEAR, False)
    assert found.sentence.startswith("Keep going: after 2,000 units and 2,000 labels A may be better by up to ")
    nothing = verdict(DESIGN, SplitTotals()).sentence
    assert nothing == "Keep going: after 0 units and 0 labels nothing can be said yet."
    ended = "Ended by hand before its rule had decided: after 0 units and 0 labels nothing can be said yet."
    assert sentence_at_the_end(nothing) == sentence_at_the_end(ended) == ended


def test_not_before_the_least_units_and_duration() -> None:
    found = verdict(replace(DESIGN, min_units=25_000, min_duration_s=259_200.0), BETTER, elapsed_s=86_400.0)
    assert (found.verdict, found.reason) == (Verdict.CONTINUE, Reason.TOO_EARLY)
    assert found.sentence == "Keep going: its rule asks for 5,000 more units and 2.0 days."
    assert verdict(replace(DESIGN, min_units=20_000, min_duration_s=86_400.0), BETTER, elapsed_s=86_400.0).verdict is Verdict.B


@pytest.mark.parametrize("design", [replace(DESIGN, max_units=2000), replace(DESIGN, max_duration_s=1e6)], ids=["units", "duration"])
def test_time_is_up(design: Design) -> None:
    found = verdict(design, UNCLEAR)
    assert (found.verdict, found.reason, found.ends) == (Verdict.INCONCLUSIVE, Reason.TIME_IS_UP, True)
    assert found.sentence.endswith("A (xgboost/v1) stays.")
    assert verdict(design, BETTER).verdict is Verdict.B


def test_a_broken_guardrail_ends_the_test_at_once() -> None:
    design = replace(DESIGN, guardrails=(Guardrail(Metric.FALSE_NEGATIVE, 0.0, prove=False),), min_units=10**9)
    found = verdict(design, SplitTotals(arm(10_000, 300, missed=2), arm(9000, 100, missed=60)), elapsed_s=1.0)
    assert (found.verdict, found.reason) == (Verdict.A, Reason.GUARDRAIL)
    assert found.sentence.startswith("Stop: B is worse than A in false negatives, by at least ")
    assert found.sentence.endswith("(allowed: 0 percentage points); A (xgboost/v1) stays.")


def test_b_waits_for_its_guardrails() -> None:
    tight, wide = (replace(DESIGN, guardrails=(Guardrail(Metric.LATENCY, margin),)) for margin in (0.01, 1.0))
    found = verdict(tight, BETTER)
    assert (found.verdict, found.reason) == (Verdict.CONTINUE, Reason.GUARDRAIL_OPEN)
    assert found.sentence.endswith("but it is not shown yet that it is no worse in answers slower than 5 ms.")
    assert verdict(wide, BETTER).verdict is Verdict.B
    # A needs no guardrail to stay, and waiting has an end.
    assert verdict(tight, WORSE).verdict is Verdict.A
    assert verdict(replace(tight, max_units=10), BETTER).verdict is Verdict.INCONCLUSIVE


def test_lost_units_veto_the_winner() -> None:
    found = verdict(DESIGN, SplitTotals(arm(50_000, 1500), arm(45_000, 700)))
    assert (found.verdict, found.reason) == (Verdict.INVALID, Reason.SAMPLE_RATIO)
    assert verdict(replace(DESIGN, min_units=10**9), SplitTotals(arm(50_000, 1500), arm(45_000, 700))).verdict is Verdict.INVALID
    assert found.sentence.startswith("No verdict: B got 47.37% of the units where 50.00% were meant for it, which is no chance.")


def test_selective_labels_veto_the_winner() -> None:
    half = ArmTotals.of([(0, 1, 500), (1, None, 500)])
    found = verdict(DESIGN, SplitTotals(half, ArmTotals.of([(0, 0, 500), (1, None, 500)])))
    assert (found.verdict, found.reason) == (Verdict.INVALID, Reason.NOT_IDENTIFIED)
    assert "Labels depend on the answers: 0% to 100% of the units have one" in found.sentence


def test_looks_that_exclude_each_other_veto_the_winner() -> None:
    found = verdict(DESIGN, BETTER, extremes={Metric.ACCURACY: RunningExtremes(50.0, -0.03, -0.02)})
    assert (found.verdict, found.reason) == (Verdict.INVALID, Reason.CONTRADICTION)


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        (Metric.EXPECTED_COST, " a unit (95% sure)"),
        (Metric.LATENCY, "in answers slower than 5 ms, by "),
        (Metric.UNKNOWN_SHARE, " points (95%"),
    ],
)
def test_sentences_name_the_unit(metric: Metric, words: str) -> None:
    totals = SplitTotals(arm(10_000, 0, missed=400, unknown=500, ms=4.0), arm(10_000, 0, missed=10, unknown=20))
    found = verdict(replace(DESIGN, metric=metric), totals)
    assert found.verdict is Verdict.B
    assert words in found.sentence


def test_a_test_of_before_keeps_its_rule_and_its_words() -> None:
    before = replace(DESIGN, metric=Metric.LATENCY, rule=Rule.ERRORS_BY_ARM)
    found = verdict(before, SplitTotals(arm(10_000, 0, ms=4.0), arm(10_000, 0)))
    assert found.verdict is Verdict.B
    assert " ms (95% sure)" in found.sentence


def test_reported_errors_are_said_to_be_no_more_than_that() -> None:
    design = replace(DESIGN, labels=Labels.REPORTS)
    a, b = (ArmTotals.of([(1, 0, errors), (1, 1, 3), (1, None, 9_997 - errors)]) for errors in (160, 40))
    found = verdict(design, SplitTotals(a, b))
    assert found.verdict is Verdict.B
    assert "is better in reported errors a unit, by " in found.sentence
    assert found.sentence.endswith("Only reported errors are counted, of all units: the true difference may be larger.")
    # As labels of all units, the same counts would be selective.
    assert verdict(DESIGN, SplitTotals(a, b)).verdict is not Verdict.B


@pytest.mark.parametrize(
    ("amount", "shown"), [(1.5, "150 percentage points"), (0.18, "18 percentage points"), (0.00012, "0.012 percentage points")]
)
def test_amounts_have_no_exponent(amount: float, shown: str) -> None:
    assert _amount(DESIGN, Metric.ACCURACY, amount) == shown


def test_short_times_are_said_in_short_units() -> None:
    for seconds, words in [(90.0, "90 seconds"), (600.0, "10.0 minutes"), (7200.0, "2.0 hours")]:
        assert words in verdict(replace(DESIGN, min_duration_s=seconds), UNCLEAR, elapsed_s=0.0).sentence
