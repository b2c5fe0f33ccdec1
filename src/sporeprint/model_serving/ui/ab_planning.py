"""`/ui/tests/new`: a test is planned in days, and created: what is compared, what decides, how long it takes."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response
from pydantic import ValidationError

from sporeprint.errors import RegistryError, UsageError
from sporeprint.messages.ab_plans import AbPlanRequest, AbPlanResponse
from sporeprint.messages.ab_tests import AbTestFields, AbTestRequest
from sporeprint.model_serving.endpoints.ab_plans import plan_test
from sporeprint.model_serving.endpoints.ab_tests import create_test
from sporeprint.model_serving.endpoints.models import models
from sporeprint.model_serving.http.problems import HttpProblemError, Problem, not_valid, of
from sporeprint.model_serving.ui.ab_tests import of_fields, path_of
from sporeprint.model_serving.ui.page_endpoint import Page, PageRequest, PageResponse, Redirect
from sporeprint.reports.ab_test_charts import SHARES

#: Seconds that a page waits for a plan; after that it says that the plan is under way, and asks again.
PATIENCE_S = 4.0
DAY_S = 86_400
#: By how much B may err less or more, as a factor of A's error rate: value -> the error rate of B.
FACTORS = ("0.25", "0.5", "0.67", "0.8", "1.25", "1.5", "2")
MODES = ("split", "shadow")
METRICS = ("accuracy", "false_negative", "expected_cost", "unknown_share", "failures", "latency")
#: What the page shares with the API by name; the other fields of the form are worked out of these.
TEXTS = ("name", "model_a", "model_b", "mode", "unit", "metric")
#: Fields that are numbers in percent, and what they are in the API.
PERCENT = {"traffic_split": "traffic_split", "rate_a": "rate_a", "alpha": "alpha"}


@dataclass(frozen=True)
class PlanView:
    """A plan as the page shows it.

    Attributes:
        plan: units, labels and days; None: there is none yet.
        problem: why there is none.
        is_under_way: whether it is being worked out.
        factor: B's error rate as a multiple of A's.
        days: how long the test may take.
    """

    plan: AbPlanResponse | None = None
    problem: Problem | None = None
    is_under_way: bool = False
    factor: float = 0.5
    days: float = 30.0


async def show_plan(request: PageRequest) -> PageResponse:
    """The form with what the address holds, and the plan for it."""
    typed = {**_defaults(request), **request.query}
    view = await _plan(request, typed) if request.query.get("rate_a") else PlanView()
    if request.is_fragment:
        return PageResponse("_ab_plan.html.j2", {"view": view, "typed": typed})
    return await _page(request, typed, view)


async def create(request: PageRequest) -> PageResponse | Redirect:
    """Create the test; an error is shown, and nothing typed is lost."""
    typed = dict(request.form)
    try:
        body = AbTestRequest.model_validate(_fields(typed))
        test = await create_test(
            *(Request({**request.scope}), Response(), AbTestFields(), request.service, request.caller), request.scope["deadline"], body
        )
    except ValidationError as error:
        return await _page(request, typed, PlanView(), of_fields(error))
    except (HttpProblemError, UsageError, RegistryError) as error:
        return await _page(request, typed, PlanView(), of(error, request.service.root))
    return Redirect(path_of(test.name, test.test_id))


def _defaults(request: PageRequest) -> dict[str, str]:
    """What the configuration says, as a form has it."""
    settings = request.service.settings.ab_testing
    shown = {"mode": settings.mode, "metric": settings.metric, "unit": settings.unit, "factor": "0.5", "per_day": "1000"}
    guarded = settings.guardrails.get("false_negative")
    days = 30 if settings.max_duration_s is None else max(1, round(settings.max_duration_s / DAY_S))
    return {
        **shown,
        "alpha": f"{100 * settings.alpha:g}",
        "traffic_split": f"{100 * settings.traffic_split:g}",
        "margin": f"{100 * settings.margin:g}",
        "equivalence": f"{100 * settings.equivalence:g}",
        "guardrail": "" if guarded is None else f"{100 * guarded:g}",
        "days": str(days),
    }


def _number(typed: Mapping[str, str], name: str, scale: float = 1.0) -> float | None:
    """A number of the form; None: it was left empty. Raises: HttpProblemError."""
    text = typed.get(name, "").strip().replace(",", ".")
    if not text:
        return None
    try:
        return float(text) / scale
    except ValueError:
        raise HttpProblemError(not_valid(f"field {name!r}: expected a number, got {text[:40]!r}")) from None


def _fields(typed: Mapping[str, str]) -> dict[str, Any]:
    """The fields of the test, from those of the form; what was left empty has the configuration's value."""
    fields: dict[str, Any] = {name: text for name in TEXTS if (text := typed.get(name, "").strip())}
    scale = 100.0 if fields.get("metric", "accuracy") in SHARES else 1.0
    numbers = {
        "traffic_split": _number(typed, "traffic_split", 100),
        "alpha": _number(typed, "alpha", 100),
        "margin": _number(typed, "margin", scale),
        "equivalence": _number(typed, "equivalence", scale),
        "latency_limit_ms": _number(typed, "latency_limit_ms"),
        "max_duration_s": _number(typed, "days", 1 / DAY_S),
    }
    fields |= {name: value for name, value in numbers.items() if value is not None}
    if fields.get("unit") == "header" and fields.get("mode") == "shadow":
        del fields["unit"]  # left to the test: in shadow mode nobody has to keep an arm
    guardrail = _number(typed, "guardrail", 100)
    fields["guardrails"] = [] if guardrail is None else [{"metric": "false_negative", "margin": guardrail, "prove": False}]
    return fields | {name: True for name in ("auto_conclude", "default_route", "independent") if typed.get(name)}


async def _plan(request: PageRequest, typed: Mapping[str, str]) -> PlanView:
    """The plan for a form; after some seconds, that it is under way."""
    try:
        fields: dict[str, Any] = {name: value for name, value in _fields(typed).items() if name not in ("name", "model_a", "model_b")}
        rate, factor = _number(typed, "rate_a", 100), _number(typed, "factor")
        expected = {"rate_a": rate, "rate_b": None if rate is None or factor is None else rate * factor}
        shared = _number(typed, "shared", 100) if typed.get("mode") == "shadow" else None
        fields |= {**expected, "shared": shared, "per_day": _number(typed, "per_day")}
        body = AbPlanRequest.model_validate({name: value for name, value in fields.items() if value is not None})
        factor, days = factor or 0.5, (body.max_duration_s or 0) / DAY_S
        async with asyncio.timeout(PATIENCE_S):
            return PlanView(await plan_test(body, request.service), factor=factor, days=days)
    except TimeoutError:
        return PlanView(is_under_way=True)
    except ValidationError as error:
        return PlanView(problem=of_fields(error))
    except (HttpProblemError, UsageError) as error:
        problem = of(error, request.service.root)
        return PlanView(is_under_way=True) if problem.kind == "overloaded" else PlanView(problem=problem)


async def _page(request: PageRequest, typed: Mapping[str, str], view: PlanView, problem: Problem | None = None) -> PageResponse:
    registered = await models(request.service)
    refs = [ref for each in registered.models for ref in reversed(each.versions)]
    columns = [f"field:{name}" for name in request.service.settings.dataset.columns]
    values = {
        "typed": typed,
        "view": view,
        "problem": problem,
        "refs": refs,
        "serving": registered.production or registered.serving,
        "units": ["header", "prediction", *columns],
        "factors": FACTORS,
        "modes": MODES,
        "metrics": METRICS,
    }
    return PageResponse("ab_plan.html.j2", values, 200 if problem is None else problem.status)


PLAN_PAGES: tuple[Page, ...] = (
    ("ui_test_plan", "GET", "/tests/new", show_plan),
    ("ui_test_create", "POST", "/tests/new", create),
)
