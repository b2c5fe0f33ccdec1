import json
import math
import re
from dataclasses import replace
from typing import Any

import pytest

from sporeprint.ab_testing.design import Costs, Design, Guardrail, Metric, Mode, Rule
from sporeprint.errors import UsageError

SMALL = Design("xgboost_comparison", "xgboost/v1", "xgboost/v2")
FULL = Design(
    "full-1.2",
    "xgboost/v1",
    "decision_tree/v3",
    traffic_split=0.1,
    mode=Mode.SHADOW,
    unit="field:habitat",
    metric=Metric.EXPECTED_COST,
    direction="lower",
    alpha=0.01,
    margin=0.5,
    equivalence=2.0,
    ratio=3.0,
    guardrails=(Guardrail(Metric.LATENCY, 5.0), Guardrail(Metric.FALSE_NEGATIVE, 0.0, prove=False)),
    also=(Metric.ACCURACY,),
    costs=Costs(unknown=2.0),
    min_units=100,
    max_units=10_000,
    min_duration_s=3600.0,
    max_duration_s=86_400.0,
    auto_conclude=True,
)


def test_three_fields_are_enough() -> None:
    assert (SMALL.traffic_split, SMALL.mode, SMALL.metric, SMALL.likely_ratio) == (0.5, Mode.SPLIT, Metric.ACCURACY, 2.0)
    assert replace(SMALL, mode=Mode.SHADOW).likely_ratio == 4.0
    assert FULL.likely_ratio == FULL.ratio_of(Metric.LATENCY) == 3.0
    assert (SMALL.ratio_of(Metric.ACCURACY), SMALL.ratio_of(Metric.LATENCY)) == (2.0, 1.5)


def test_plain_words_are_taken_for_their_members() -> None:
    design = replace(SMALL, mode="shadow", metric="latency", also=("accuracy",))  # type: ignore[arg-type]  # as a caller without types does
    assert design.mode is Mode.SHADOW
    assert design.metric is Metric.LATENCY
    assert design.also[0] is Metric.ACCURACY


@pytest.mark.parametrize("design", [SMALL, FULL], ids=["small", "full"])
def test_a_design_survives_its_json(design: Design) -> None:
    assert Design.from_dict(json.loads(json.dumps(design.to_dict()))) == design


def test_what_is_left_out_has_its_default() -> None:
    assert Design.from_dict({"name": "xgboost_comparison", "model_a": "xgboost/v1", "model_b": "xgboost/v2"}) == SMALL


@pytest.mark.parametrize("split", [0, 0.0, 1, 1.0, 1.5, -0.1, math.nan, math.inf, True, "0.5", None])
def test_a_split_lies_between_0_and_1(split: Any) -> None:
    with pytest.raises(UsageError, match=r"^traffic_split is .*: the share of the units that go to model_b has to be above 0 and below 1$"):
        replace(SMALL, traffic_split=split)


@pytest.mark.parametrize("name", ["", "a/b", "🍄", "x" * 300, "a b", "-a", ".", "a\n", None])
def test_names_that_are_none(name: Any) -> None:
    with pytest.raises(UsageError, match=r"^name is .*: allowed are letters, digits, '\.', '_' and '-', 1 to 128 of them"):
        replace(SMALL, name=name)


def test_a_long_name_is_not_repeated_in_full() -> None:
    with pytest.raises(UsageError) as caught:
        replace(SMALL, name="x" * 100_000)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_b": "xgboost/v1"}, "model_a and model_b are both 'xgboost/v1': a test compares two different versions"),
        ({"model_a": ""}, "model_a is '': name a version, such as xgboost/v2"),
        ({"unit": "cookie"}, "unit is 'cookie'; allowed: header, prediction, field:<column>"),
        ({"direction": "lower"}, "direction is 'lower', but of accuracy higher is better; leave it out"),
        ({"alpha": 0.5}, "alpha is 0.5: the largest probability of a false winner has to be above 0 and below 0.5"),
        ({"alpha": 0}, "alpha is 0: "),
        ({"srm_alpha": 1}, "srm_alpha is 1: "),
        ({"ratio": 1.0}, "ratio is 1.0: how many times as often one arm errs as the other has to be above 1"),
        ({"margin": -0.1}, "margin is -0.1: it has to be a number, 0 or more"),
        ({"margin": math.inf}, "margin is inf: "),
        ({"margin": 0.1, "equivalence": 0.1}, "equivalence is 0.1 and margin 0.1: equivalence has to be larger, or 0"),
        ({"min_units": 1.5}, "min_units is 1.5: it has to be a whole number, 0 or more"),
        ({"min_units": 10, "max_units": 10}, "max_units is 10 and min_units is 10: the largest has to be above the least"),
        ({"min_duration_s": 60.0, "max_duration_s": 59.0}, "max_duration_s is 59.0 and min_duration_s is 60.0: "),
        ({"max_duration_s": math.nan}, "max_duration_s is nan: "),
        ({"costs": Costs(unknown=-1)}, "costs.unknown is -1: it has to be a number, 0 or more"),
        ({"costs": Costs(0, 0, 0)}, "costs.false_negative, costs.false_positive and costs.unknown are all 0: "),
        ({"guardrails": (Guardrail(Metric.LATENCY, 0.0),)}, "the guardrail latency has a margin of 0 and prove: "),
        ({"guardrails": (Guardrail(Metric.LATENCY, 1.0),) * 2}, "guardrails name latency twice: one guardrail a metric"),
        ({"guardrails": (Guardrail(Metric.LATENCY, -1.0),)}, "margin of the guardrail latency is -1.0: "),
    ],
    ids=str,
)
def test_what_is_not_allowed_says_so(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        replace(SMALL, **change)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trafic_split": 0.1}, "'trafic_split' is no field of an A/B test (did you mean 'traffic_split'?); allowed: name, model_a, "),
        ({"mode": "shaddow"}, "mode is 'shaddow' (did you mean 'shadow'?); allowed: split, shadow"),
        ({"metric": "f1"}, "metric is 'f1'; allowed: accuracy, false_negative, expected_cost, unknown_share, failures, latency"),
        ({"also": ["f1"]}, "also is 'f1'; allowed: "),
        ({"costs": {"unkown": 1}}, "'unkown' is no field of costs (did you mean 'unknown'?)"),
        ({"costs": 5}, "costs is 5: an object with some of these fields is needed: false_negative, "),
        ({"guardrails": "latency"}, "guardrails is 'latency': it has to be a list"),
        ({"guardrails": ["latency"]}, "a guardrail is 'latency': an object with some of these fields is needed: metric, margin, prove"),
        ({"unit": 5}, "unit is 5; allowed: "),
        ({"model_a": None}, "model_a is None: name a version"),
        ({"guardrails": [{"metric": "latency"}]}, "a guardrail needs margin: it was not given"),
        ({"guardrails": [{"metric": "speed", "margin": 1}]}, "metric is 'speed'; allowed: "),
    ],
    ids=str,
)
def test_json_that_is_not_allowed_says_so(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Design.from_dict({**SMALL.to_dict(), **change})
    assert str(caught.value).startswith(message)


def test_json_needs_a_name_and_two_versions() -> None:
    with pytest.raises(UsageError, match=r"^an A/B test needs name, model_b: it was not given$"):
        Design.from_dict({"model_a": "xgboost/v1"})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"labels": "random"}, "label_share is None: random labels need the share of the units that get one, above 0 and at most 1"),
        ({"labels": "random", "label_share": 0}, "label_share is 0: random labels need the share of the units that get one"),
        ({"labels": "random", "label_share": float("nan")}, "label_share is nan: "),
        ({"label_share": 0.5}, "label_share is 0.5 and labels 'all': a share belongs to random labels alone"),
        ({"labels": "some"}, "labels is 'some'; allowed: all, random, reports"),
        ({"labels": "reports", "mode": "shadow"}, "labels is 'reports' in shadow mode: nobody sees the answers of B"),
        ({"labels": "reports", "margin": 0.01}, "margin is 0.01 and labels 'reports': errors that nobody reports are not counted"),
        ({"labels": "reports", "equivalence": 0.01}, "equivalence is 0.01 and labels 'reports': "),
        (
            {"labels": "reports", "guardrails": [{"metric": "false_negative", "margin": 0.01}]},
            "the guardrail false_negative has a margin of 0.01 and labels is 'reports': ",
        ),
        ({"expect": "b", "mode": "shadow"}, "expect is 'b' in shadow mode: a direction can be named for a split alone; leave expect out"),
        ({"expect": "c"}, "expect is 'c'; allowed: a, b, or left out"),
        ({"latency_limit_ms": 0}, "latency_limit_ms is 0: a number of milliseconds above 0 is needed"),
        ({"latency_limit_ms": float("inf")}, "latency_limit_ms is inf: "),
        ({"costs": {"false_negative": -1}}, "costs.false_negative is -1: it has to be a number, 0 or more"),
        ({"costs": {"false_negative": float("nan")}}, "costs.false_negative is nan: "),
        ({"costs": {"false_negative": 0, "false_positive": 0, "unknown": 0}}, "are all 0: at least one has to be above 0"),
    ],
)
def test_labels_directions_and_limits_that_cannot_be(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        Design.from_dict({"name": "t", "model_a": "a", "model_b": "b", **fields})


def test_winner_and_guardrails_share_one_alpha() -> None:
    guardrails = (Guardrail(Metric.FALSE_NEGATIVE, 0.0, prove=False), Guardrail(Metric.FAILURES, 0.0, prove=False))
    design = Design("t", "a", "b", guardrails=guardrails)
    # A guardrail has half of its part on either side of its margin.
    assert design.winner_alpha + len(guardrails) * design.guardrail_alpha / 2 == pytest.approx(design.alpha)
    assert Design("t", "a", "b").winner_alpha == 0.05
    before = Design("t", "a", "b", guardrails=guardrails, rule=Rule.ERRORS_BY_ARM)
    assert (before.winner_alpha, before.guardrail_alpha) == (0.05, 0.025)
