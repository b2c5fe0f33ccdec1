"""How long an A/B test will take, before it is created."""

from typing import Annotated

from pydantic import ConfigDict, Field

from sporeprint.messages.ab_tests import AbTestRequest
from sporeprint.messages.base import response

Rate = Annotated[float, Field(gt=0, lt=1)]


class AbPlanRequest(AbTestRequest):
    """A test, and what is expected of its versions. What is left out of the test has the configuration's value.

    Attributes:
        rate_a: error rate of model_a that is expected.
        rate_b: error rate of model_b.
        shared: share of the requests on which both err; in shadow mode only, left out: half of the smaller rate.
        per_day: units a day, to say how many days it takes.
    """

    model_config = ConfigDict(json_schema_extra={"example": {"mode": "shadow", "rate_a": 0.02, "rate_b": 0.01, "per_day": 2000}})

    rate_a: Rate
    rate_b: Rate
    shared: Annotated[float, Field(ge=0, lt=1)] | None = None
    per_day: Annotated[float, Field(ge=0.001, le=1e12)] | None = None


@response
class PlanQuantiles:
    """How much of something a test needs until its rule has decided.

    Attributes:
        median: in half of such tests it is no more; null: more than a plan follows.
        p90: in nine of ten it is no more; null likewise.
    """

    median: float | None
    p90: float | None


@response
class FixedHorizon:
    """What a test needs that is analysed once, at its end, for the same power. No analysis may come before.

    Attributes:
        units: units.
        labels: labels.
    """

    units: int
    labels: int


@response
class AbPlanResponse:
    """How long a test will take, if its versions err as often as stated.

    Attributes:
        units: units until the rule has decided.
        labels: labels until then; in shadow mode, of disagreements alone.
        days: days until then; null without units a day.
        fixed_horizon: the same with one analysis at the end, for a power of 90 %.
        wrong: probability that the rule names the worse version.
        assumes: what the plan leaves out of the test, in words.
    """

    units: PlanQuantiles
    labels: PlanQuantiles
    days: PlanQuantiles | None
    fixed_horizon: FixedHorizon
    wrong: float
    assumes: tuple[str, ...]
