"""`/ui/models`: the registered versions, one of them, two side by side, and what the aliases stood for."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from sporeprint.evaluation.scorecard import LOSSES
from sporeprint.messages.model_versions import MetricComparison, VersionResponse
from sporeprint.messages.version_details import MetricEstimate, VersionDetails
from sporeprint.model_serving.endpoints.model_versions import compare, file, version
from sporeprint.model_serving.endpoints.models import Before, history, models
from sporeprint.model_serving.http.problems import HttpProblemError, bad_parameter, not_found
from sporeprint.model_serving.ui.page_endpoint import Answer, Page, PageRequest, PageResponse, Redirect
from sporeprint.registry.version_comparison import flat
from sporeprint.storage.oltp.api_keys import Role
from sporeprint.web.charts import DotMark, DotScale, dot_scale

#: Versions of a model, and changes of aliases, on one page.
VERSIONS, CHANGES = 20, 50
#: The metric that the list shows unless another one is chosen.
USUAL_METRIC = "mcc"
_BEFORE: TypeAdapter[int | None] = TypeAdapter(Before)


async def show_models(request: PageRequest) -> PageResponse:
    """The versions, the newest first, with one metric each on a scale that all of them share."""
    name, before = request.query.get("name") or None, before_of(request.query)
    registered = await models(request.service, details=True, name=name, limit=VERSIONS, before=before)
    details = [each for model in registered.models for each in model.details or ()]
    metrics = list(dict.fromkeys(metric for each in details for part in each.parts for metric in part.metrics))
    wish = request.query.get("metric", "")
    metric = wish if wish in metrics else USUAL_METRIC
    others = [each for each in details if each.ref != registered.production and each.problem is None]
    newest = max(others, key=lambda each: (each.created or "", each.version)).ref if others else None
    values = {
        "registered": registered,
        "name": name,
        "before": before,
        "metric": metric,
        "metrics": metrics,
        "scales": {part: dot_scale(_marks(details, part, metric)) for part in ("seen", "unseen")},
        "mark": mark,
        "lower_is_better": metric in LOSSES,
        "preset": (registered.production or newest, newest),
        "elsewhere": None if any(each.ref == registered.production for each in details) else registered.production,
    }
    return PageResponse("models.html.j2", values)


def before_of(query: Mapping[str, str]) -> int | None:
    """Where a page of a list begins. Raises: HttpProblemError."""
    try:
        return _BEFORE.validate_python(query.get("before") or None)
    except ValidationError:
        raise HttpProblemError(bad_parameter(f"parameter 'before': expected a number, got {query['before'][:40]!r}")) from None


def mark(estimate: MetricEstimate | None, role: str = "main") -> DotMark:
    """An estimate as a chart draws it."""
    return DotMark(None, None, None) if estimate is None else DotMark(estimate.value, estimate.low, estimate.high, role)


def _marks(details: Sequence[VersionDetails], part: str, metric: str) -> list[DotMark]:
    return [mark(each.metrics.get(metric)) for version in details for each in version.parts if each.part == part]


async def show_version(request: PageRequest) -> PageResponse:
    """One version."""
    name, number = version_of(request.path)
    return await version_page(request, name, number)


def version_of(path: Mapping[str, str]) -> tuple[str, int]:
    """The version that an address names. Raises: HttpProblemError."""
    number = path["version"]
    if not (number.isascii() and number.isdecimal() and 0 < len(number) < 10 and int(number)):
        raise HttpProblemError(not_found(f"there is no version {number[:40]!r}"))
    return path["name"], int(number)


async def version_page(request: PageRequest, name: str, number: int, status: int = 200, **more: Any) -> PageResponse:
    """The page of a version; what was typed into one of its forms, and what came of that, stand where they were."""
    known = await version(name, number, request.service)
    metrics = dict.fromkeys(metric for part in known.parts for metric in part.metrics)
    scales = {metric: dot_scale([mark(part.metrics.get(metric)) for part in known.parts]) for metric in metrics}
    values = {
        "version": known,
        "scales": scales,
        "mark": mark,
        "parameters": flat(known.info.get("model", {})),
        "pictures": [each.name for each in known.files if each.name.endswith((".png", ".svg"))],
        "back": "",
    }
    return PageResponse("model_version.html.j2", {**values, **await promotion_values(request, known), **more}, status)


async def promotion_values(request: PageRequest, candidate: VersionDetails | VersionResponse) -> dict[str, Any]:
    """What the forms of a promotion and a rollback name: the version, and what it would replace or come after it."""
    aliases = await asyncio.to_thread(request.service.loader.registry.aliases)
    targets = {alias: candidate.name if alias == "champion" else alias for alias in ("production", "champion")}
    pins = {alias: pin.ref for alias, target in targets.items() if (pin := aliases.pins.get(target)) is not None}
    return {
        "candidate": candidate,
        "pins": pins,
        "previous": {alias: aliases.previous(target) for alias, target in targets.items() if pins.get(alias) == candidate.ref},
        "may_operate": request.may(Role.OPERATE),
        "typed": request.form,
        "checked": None,
        "problem": None,
    }


async def show_file(request: PageRequest) -> Answer:
    """A file of a version."""
    name, number = version_of(request.path)
    return await file(name, number, request.path["file"], request.service)


async def show_comparison(request: PageRequest) -> PageResponse | Redirect:
    """Two versions side by side."""
    a, b = request.query.get("a", ""), request.query.get("b", "")
    if not (a and b):
        return Redirect("models")
    return await comparison_page(request, a, b)


async def comparison_page(request: PageRequest, a: str, b: str, status: int = 200, **more: Any) -> PageResponse:
    """The page of a comparison, with the forms to promote the second version."""
    compared = await compare(request.service, a, b)
    is_all = request.query.get("all") == "1"
    better = {side: sum(each.better == side for each in compared.metrics) for side in ("a", "b")}
    values = {
        "compared": compared,
        "is_all": is_all,
        "metrics": [each for each in compared.metrics if is_all or differs(each)],
        "rows": [each for each in compared.values if is_all or each.differs],
        "better": better,
        "coverage": [_coverage(each) for each in (compared.a, compared.b)],
        "mark": mark,
        "scale": _metric_scale,
        "gain_scale": dot_scale([mark(each.difference) for each in compared.metrics], reference=0.0),
        "back": f"{compared.a.ref}",
    }
    return PageResponse("model_compare.html.j2", {**values, **await promotion_values(request, compared.b), **more}, status)


def differs(metric: MetricComparison) -> bool:
    """Whether a metric has another value in the second version."""
    return metric.difference is None or metric.difference.value != 0


def _metric_scale(metric: MetricComparison) -> DotScale:
    return dot_scale([mark(metric.a), mark(metric.b)])


def _coverage(version: VersionDetails) -> float | None:
    """Share of the rows of known groups that get a verdict; None where nobody counted."""
    counts = next((part.verdicts for part in version.parts if part.part == "seen"), None)
    return None if counts is None or not counts.rows else counts.answered / counts.rows


async def show_history(request: PageRequest) -> PageResponse:
    """What production and the champions stood for."""
    alias = request.query.get("alias") or None
    entries = await history(request.service, alias=alias, limit=CHANGES, before=before_of(request.query))
    names = await asyncio.to_thread(request.service.loader.registry.names)
    return PageResponse("model_history.html.j2", {"entries": entries, "alias": alias or "", "aliases": ("production", *names)})


MODEL_PAGES: tuple[Page, ...] = (
    ("ui_models", "GET", "/models", show_models),
    ("ui_model_history", "GET", "/models/history", show_history),
    ("ui_model_compare", "GET", "/models/compare", show_comparison),
    ("ui_model", "GET", "/models/{name}/v{version}", show_version),
    ("ui_model_file", "GET", "/models/{name}/v{version}/files/{file}", show_file),
)
