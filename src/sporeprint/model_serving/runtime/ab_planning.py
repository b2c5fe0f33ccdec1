"""Plans of A/B tests: up to a second of work, in a process of their own, one at a time."""

import asyncio
import functools
import math
from dataclasses import dataclass, field, replace

from sporeprint.ab_testing.design import Design, Labels, Metric, Mode
from sporeprint.ab_testing.power import SMALLEST, AssumedRates, SampleSizePlan, plan_ab_test
from sporeprint.common.child_process import ChildDiedError, run_in_child
from sporeprint.errors import UsageError
from sporeprint.messages.ab_plans import AbPlanResponse, FixedHorizon, PlanQuantiles
from sporeprint.model_serving.http.problems import HttpProblemError, overloaded

#: The share of the tests that a plan's longer number is for.
POWER = 0.9
#: Seconds that a plan may take, with the start of its process.
MOST_S = 20.0
#: Plans in memory: people ask for the same one again.
KEPT = 64
DAY_S = 86_400.0
#: More units are no different: nobody waits for them.
MOST_UNITS = 10**18

Question = tuple[Design, AssumedRates]


@dataclass
class Planner:
    """Works out plans, one at a time. Who asks for the one that is under way waits for it; who asks for another one has to wait."""

    _plans: dict[Question, SampleSizePlan] = field(default_factory=dict)
    _task: "asyncio.Task[SampleSizePlan] | None" = None
    _question: Question | None = None

    async def plan(self, design: Design, rates: AssumedRates) -> SampleSizePlan:
        """A plan for a design whose margin is 0.

        Raises:
            UsageError: the numbers allow no plan, or it would take too long.
            HttpProblemError: another plan is under way.
        """
        question = (design, rates)
        if (known := self._plans.get(question)) is not None:
            return known
        if self._task is not None and not self._task.done() and self._question != question:
            raise HttpProblemError(overloaded("another plan is still under way, and one is worked out at a time; try again soon"))
        if self._task is None or self._task.done():
            self._question, self._task = question, asyncio.create_task(asyncio.to_thread(_in_a_process, design, rates))
        plan = await asyncio.shield(self._task)  # it goes on when nobody waits any more: whoever asks again has it
        while len(self._plans) >= KEPT:
            del self._plans[next(iter(self._plans))]
        self._plans[question] = plan
        return plan


def _in_a_process(design: Design, rates: AssumedRates) -> SampleSizePlan:
    try:
        # A function of another module: the process loads that one alone, in a quarter of the time that this one takes.
        return run_in_child(functools.partial(plan_ab_test, power=POWER), design, rates, seconds=MOST_S)
    except (TimeoutError, ChildDiedError):
        raise UsageError(
            f"a plan for rate_a {rates.rate_a:g} and rate_b {rates.rate_b:g} was stopped after {MOST_S:g} s: rates that differ by more "
            "need fewer units"
        ) from None


def planned_design(design: Design) -> tuple[Design, tuple[str, ...]]:
    """The design that a plan can be made for, and what that leaves out, in words."""
    assumes = []
    if design.margin:
        assumes.append(f"a margin of 0: with {design.margin:g} it takes longer")
    if design.metric is Metric.EXPECTED_COST:
        assumes.append("all errors cost the same")
    if any(guardrail.prove for guardrail in design.guardrails):
        assumes.append("no guardrail has to be shown to hold: showing it may take longer")
    # Neither names nor limits change what a plan is worked out from; without them, more questions are the same.
    clean = replace(design, name="plan", model_a="a", model_b="b", margin=0.0, min_units=0, min_duration_s=0.0, max_duration_s=None)
    return clean, tuple(assumes)


def assumed_rates(design: Design, rate_a: float, rate_b: float, shared: float | None) -> AssumedRates:
    """The error rates that a plan assumes; in shadow mode both err together on half of what they could, by default."""
    together = min(rate_a, rate_b) / 2 if design.mode is Mode.SHADOW else 0.0
    return AssumedRates(rate_a, rate_b, together if shared is None else shared)


def plan_message(design: Design, plan: SampleSizePlan, per_day: float | None, assumes: tuple[str, ...]) -> AbPlanResponse:
    """A plan as a response: no verdict comes before the test's least units and duration, nor from units without a label."""
    share = design.label_share if design.labels is Labels.RANDOM and design.label_share and design.metric.needs_labels else 1.0

    def units(number: int | None) -> float | None:
        return None if number is None else float(min(max(math.ceil(number / max(share, SMALLEST)), design.min_units), MOST_UNITS))

    def days(number: float | None) -> float | None:
        return None if number is None or per_day is None else max(number / per_day, design.min_duration_s / DAY_S)

    needed = PlanQuantiles(median=units(plan.median_units), p90=units(plan.units))
    return AbPlanResponse(
        units=needed,
        labels=PlanQuantiles(median=plan.median_labels, p90=plan.labels),
        days=None if per_day is None else PlanQuantiles(median=days(needed.median), p90=days(needed.p90)),
        fixed_horizon=FixedHorizon(units=plan.fixed_units, labels=plan.fixed_labels),
        wrong=plan.wrong,
        assumes=assumes,
    )
