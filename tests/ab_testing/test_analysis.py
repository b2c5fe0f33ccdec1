import json
import math
from dataclasses import replace

import numpy as np
import pytest

from sporeprint.ab_testing.analysis import NO_EXTREMES, Analysis, Extremes, GuardrailStatus, RunningExtremes, analyse, extremes_from
from sporeprint.ab_testing.decision import Verdict, decide
from sporeprint.ab_testing.design import Costs, Design, Guardrail, Metric, Mode
from sporeprint.ab_testing.totals import ArmTotals, ShadowTotals, SplitTotals, Totals
from sporeprint.stats.confidence_sequence import Moments

DESIGN = Design("test", "a/v1", "b/v1")
GUARDED = replace(
    DESIGN,
    guardrails=(Guardrail(Metric.FALSE_NEGATIVE, 0.0, prove=False), Guardrail(Metric.UNKNOWN_SHARE, 0.05), Guardrail(Metric.LATENCY, 0.05)),
    also=(Metric.EXPECTED_COST, Metric.LATENCY),
)


def arm(units: int, errors: int, missed: int = 0, unknown: int = 0, ms: float = 2.0) -> ArmTotals:
    cells = [(1, 1, units - errors - missed - unknown), (1, 0, errors), (0, 1, missed), (2, 0, unknown)]
    slow = units // 10 if ms <= 2 else units // 2
    return ArmTotals.of(cells, latency=Moments(units, ms * units, (ms**2 + 1) * units), slow=slow)


def test_a_look_says_everything() -> None:
    found = analyse(GUARDED, SplitTotals(arm(10_000, 300), arm(10_100, 200)), 3600.0)
    assert found.running == RunningExtremes(found.primary.log_e, found.primary.gain.low, found.primary.gain.high)
    assert 0 < found.running.low < 0.0102 < found.running.high
    assert found.running.p_value < 0.002
    assert [reading.status for reading in found.guardrails] == [GuardrailStatus.OPEN, GuardrailStatus.HELD, GuardrailStatus.HELD]
    assert found.significant == frozenset()
    alike = replace(GUARDED, costs=Costs(1, 1, 1))  # of an error that costs a thousand times as much, nothing is known yet
    assert analyse(alike, found.totals, 3600.0).significant == {Metric.EXPECTED_COST}
    assert not found.srm_alarm
    assert not found.not_identified


def test_a_broken_guardrail_shows() -> None:
    found = analyse(GUARDED, SplitTotals(arm(5000, 100, missed=2), arm(5000, 10, missed=60, unknown=900, ms=9.0)), 0.0)
    assert [reading.status for reading in found.guardrails] == [GuardrailStatus.BREACHED] * 3


def test_a_guardrail_on_selective_labels_says_nothing() -> None:
    a, b = ArmTotals.of([(0, 1, 100), (1, None, 100)]), ArmTotals.of([(0, 1, 2), (1, None, 198)])
    found = analyse(replace(GUARDED, metric=Metric.LATENCY), SplitTotals(b, a), 0.0)
    assert found.not_identified
    assert found.guardrails[0].status is GuardrailStatus.OPEN


def test_extremes_are_carried_from_look_to_look() -> None:
    looks = [SplitTotals(arm(n, n // 20), arm(n, n // 40)) for n in range(200, 8000, 200)]
    extremes: Extremes = NO_EXTREMES
    low, high, log_e = -math.inf, math.inf, 0.0
    for totals in looks:
        found = analyse(GUARDED, totals, 0.0, extremes)
        extremes = found.extremes
        low, high, log_e = max(low, found.primary.gain.low), min(high, found.primary.gain.high), max(log_e, found.primary.log_e)
        assert (found.running.low, found.running.high, found.running.log_e) == (low, high, log_e)
    assert set(extremes) == {Metric.ACCURACY, *(guardrail.metric for guardrail in GUARDED.guardrails)}
    # As texts: two numbers that are none are not equal.
    assert repr(analyse(GUARDED, looks[-1], 0.0, extremes)) == repr(analyse(GUARDED, looks[-1], 0.0, dict(extremes)))
    # What did not change is as sharp as it was; without the earlier looks it is valid too, and less sharp.
    assert analyse(GUARDED, looks[0], 0.0, extremes).running == extremes[Metric.ACCURACY]


def test_after_a_restart_the_next_look_is_the_same() -> None:
    """All there is to know are the counts of a query and the extremes, as JSON."""
    cells_a, cells_b = [(0, 0, 900), (1, 1, 50), (1, 0, 50), (0, None, 7)], [(0, 0, 940), (1, 1, 50), (1, 0, 20), (2, None, 9)]
    first = analyse(GUARDED, SplitTotals(arm(500, 30), arm(500, 10)), 5.0)
    kept = json.loads(json.dumps([GUARDED.to_dict(), first.to_dict()["extremes"], cells_a, cells_b], allow_nan=False))
    again = analyse(
        Design.from_dict(kept[0]),
        SplitTotals(ArmTotals.of(map(tuple, kept[2][::-1])), ArmTotals.of(map(tuple, kept[3]))),
        9.0,
        extremes_from(kept[1]),
    )
    assert again.to_dict() == analyse(GUARDED, SplitTotals(ArmTotals.of(cells_a), ArmTotals.of(cells_b)), 9.0, first.extremes).to_dict()
    assert again.to_dict()["significant"] == sorted(again.significant)
    assert extremes_from(analyse(GUARDED, SplitTotals(), 0.0).to_dict()["extremes"])[Metric.ACCURACY] == RunningExtremes()


def test_an_undefined_look_changes_no_extreme() -> None:
    before = RunningExtremes(2.0, -0.1, 0.1)
    assert before.updated(analyse(DESIGN, SplitTotals(), 0.0).primary) == before
    assert RunningExtremes(0.0, 0.1, -0.1).empty


def test_lost_units_raise_an_alarm_and_equal_ones_none() -> None:
    assert analyse(DESIGN, SplitTotals(arm(50_000, 0), arm(47_000, 0)), 0.0).srm_alarm
    assert not analyse(DESIGN, SplitTotals(arm(50_000, 0), arm(49_900, 0)), 0.0).srm_alarm
    assert not analyse(replace(DESIGN, mode=Mode.SHADOW), ShadowTotals.of([(0, 0, None, 1000)]), 0.0).srm_alarm


def test_labels_are_looked_at_only_where_they_matter() -> None:
    totals = SplitTotals(ArmTotals.of([(0, 1, 100), (1, None, 100)]), ArmTotals.of([(0, 1, 100), (1, None, 100)]))
    assert analyse(replace(DESIGN, metric=Metric.UNKNOWN_SHARE), totals, 0.0).label_bias is None
    assert analyse(DESIGN, totals, 0.0).not_identified


def decisive_trials(seed: int, units: int, labels: str) -> tuple[np.ndarray, ...]:
    """Units of two equal versions: arm, answer, truth, when the label comes. Both call one in four poisonous mushrooms edible.

    Labels: `late` come 0 to 300 units later; `eaten`: only what B called edible and what A called poisonous has one.
    """
    draw = np.random.default_rng(seed)
    b, truth = draw.random(units) < 0.5, (draw.random(units) < 0.5).astype(int)
    answer = np.where((truth == 1) & (draw.random(units) < 0.25), 0, truth)
    due = np.arange(units) + draw.integers(0, 300, units)
    if labels == "eaten":
        due = np.where(b == (answer == 0), due, 10**9)
    return b, answer, truth, due


def totals_at(now: int, b: np.ndarray, answer: np.ndarray, truth: np.ndarray, due: np.ndarray) -> SplitTotals:
    arms = []
    for in_b in (False, True):
        of_arm = b[:now] == in_b
        known = np.where(due[:now] < now, truth[:now], 2)
        counts = np.bincount(answer[:now][of_arm] * 3 + known[of_arm], minlength=9)
        cells = [(cell // 3, None if cell % 3 == 2 else cell % 3, int(count)) for cell, count in enumerate(counts)]
        arms.append(ArmTotals.of(cells))
    return SplitTotals(*arms)


def looks(labels: str, seed: int) -> list[Analysis]:
    drawn, extremes, found = decisive_trials(seed, 1500, labels), NO_EXTREMES, []
    for now in range(100, 1501, 100):
        found.append(analyse(DESIGN, totals_at(now, *drawn), 0.0, extremes))
        extremes = found[-1].extremes
    return found


def test_late_labels_make_no_false_winners() -> None:
    verdicts = [{decide(look).verdict for look in looks("late", seed)} for seed in range(40)]
    assert sum(bool(each & {Verdict.A, Verdict.B}) for each in verdicts) <= 6
    assert sum(Verdict.INVALID in each for each in verdicts) <= 1


def test_labels_that_depend_on_the_answer_are_named_and_no_winner_is() -> None:
    """The negative control: by labels alone B, whose right answers are hardly ever labelled, errs always, and A never."""
    for seed in range(10):
        last = looks("eaten", seed)[-1]
        assert last.primary.gain.high < 0
        assert decide(last).verdict is Verdict.INVALID
        assert "not identified" in decide(last).sentence


def test_ten_million_units_are_as_quick_as_ten() -> None:
    def cost(totals: Totals) -> Analysis:
        return analyse(replace(GUARDED, costs=Costs(unknown=0.5)), totals, 0.0)

    assert math.isfinite(cost(SplitTotals(arm(5_000_000, 30_000), arm(5_000_000, 29_000))).running.low)
    assert cost(SplitTotals(arm(5, 1), arm(5, 1))).primary.gain.value == pytest.approx(0)
