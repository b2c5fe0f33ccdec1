"""`POST /ab-tests/plan`: how long a test will take, before it is created."""

from sporeprint.messages.ab_plans import AbPlanRequest, AbPlanResponse
from sporeprint.model_serving.endpoints.ab_tests import as_problem
from sporeprint.model_serving.endpoints.routing import UNREADABLE, ServiceDep, problems, router
from sporeprint.model_serving.runtime.ab_planning import assumed_rates, plan_message, planned_design
from sporeprint.pipelines.ab_test_lifecycle import FLAGS, design_of

routes = router()

EXPECTED = ("rate_a", "rate_b", "shared", "per_day")
#: A plan needs no name and no versions.
NAMELESS = {"name": "plan", "model_a": "a", "model_b": "b"}


@routes.post("/ab-tests/plan", name="ab_plan", responses=problems(*UNREADABLE))
async def plan_test(request: AbPlanRequest, service: ServiceDep) -> AbPlanResponse:
    """How many units, labels and days a test will need."""
    fields = request.model_dump(mode="json", exclude_unset=True, exclude={*EXPECTED, *FLAGS})
    design = as_problem(lambda: design_of(service.settings, {**NAMELESS, **fields}))
    question, assumes = planned_design(design)
    rates = as_problem(lambda: assumed_rates(design, request.rate_a, request.rate_b, request.shared))
    plan = await service.planner.plan(question, rates)
    return plan_message(design, plan, request.per_day, assumes)
