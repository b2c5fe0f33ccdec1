"""`/ui/identify`: what still fits, what to look at next, and the verdict once somebody asks for it.

The key (what fits) and the verdict are two things. The key is worked out with every change and is not stored. A verdict is a prediction: it
is asked for by a button, kept, and has an id. Step by step more is needed for the negative class than for one row alone (see `/identify`),
so the page does not ask for a verdict that the dialogue would withhold.
"""

import asyncio
import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sporeprint.errors import StorageUnavailableError
from sporeprint.inference.identification import words_of
from sporeprint.inference.prediction import Prediction
from sporeprint.inference.predictor import NOT_OBSERVED, predict_row
from sporeprint.messages.identification import IdentifyResponse
from sporeprint.messages.predictions import PredictionExplanation, StoredPrediction
from sporeprint.model_serving.endpoints import predictions
from sporeprint.model_serving.endpoints.explanation import explain_prediction
from sporeprint.model_serving.endpoints.identify import identify
from sporeprint.model_serving.endpoints.predict import RowRequest, new_id
from sporeprint.model_serving.http.problems import HttpProblemError, Problem, of
from sporeprint.model_serving.runtime.dynamic_batching import PendingRequest
from sporeprint.model_serving.runtime.keyed_predictions import digest, predict_once
from sporeprint.model_serving.runtime.loaded_model import LoadedModel
from sporeprint.model_serving.runtime.row_parser import Row
from sporeprint.model_serving.ui.page_endpoint import Page, PageRequest, PageResponse, Redirect, address
from sporeprint.schema import DatasetSchema
from sporeprint.web.form import sections
from sporeprint.web.names import label_of
from sporeprint.web.pictures import symbols

#: Parameters of the page itself begin with this; all others are columns.
OWN = "_"
ASKED, ONCE = "_asked", "_once"


@dataclass(frozen=True)
class VerdictCard:
    """A verdict as it is shown.

    Attributes:
        verdict: a class's word, or "unknown".
        role: warn (the positive class), good (the negative one) or unknown.
        model: the version that gave it.
        unknown: which kind of "unknown" it is; None for another verdict.
        reason: why it is unknown.
        look_at: columns to look at next.
        unseen: columns whose value was never seen.
        outside: columns whose number lies outside the training rows'.
        contradictions: what the row says against itself.
        explanation: why; None where nothing was stored.
        observed: fields that were observed, with column and value in words.
        columns: of the table.
        alpha: largest share of negative verdicts that are wrong, as promised.
        confidence: of that promise.
        prediction_id: under which it is kept; None: it is not.
    """

    verdict: str
    role: str
    model: str
    unknown: str | None
    reason: str | None
    look_at: tuple[str, ...]
    unseen: tuple[str, ...]
    outside: tuple[str, ...]
    contradictions: tuple[str, ...]
    explanation: PredictionExplanation | None
    observed: tuple[tuple[str, str], ...]
    columns: int
    alpha: float
    confidence: float
    prediction_id: str | None


async def show_identify(request: PageRequest) -> PageResponse:
    """The form, what fits, and the verdict that was asked for."""
    observations = _observations(request.query)
    record: StoredPrediction | None = None
    problem: Problem | None = None
    if (prediction_id := request.query.get(ASKED)) and not request.is_fragment:
        try:
            record = await predictions.prediction(prediction_id, request.service)
        except (HttpProblemError, StorageUnavailableError) as error:
            problem = of(error, request.service.root)
    return await _page(request, observations, record=record, problem=problem)


async def ask(request: PageRequest) -> PageResponse | Redirect:
    """Ask for a verdict, and keep it: however often the same form is sent, it is one prediction."""
    observations, service = _observations(request.form), request.service
    served = service.loader.current
    try:
        row = served.reader.row(observations)
        standing = await _standing(request, observations)
    except HttpProblemError as error:
        return await _page(request, observations, problem=error.problem)
    prediction = await asyncio.to_thread(predict_row, served.bundle, row)
    if standing is not None and standing.verdict != prediction.verdict == _word(served.bundle.schema, positive=False):
        return await _page(request, observations, withheld=standing)
    key = hashlib.sha256(request.form.get(ONCE, "").encode() + digest(row)).hexdigest()
    completed = await predict_once(service, request.caller.name, f"ui-{key}", PendingRequest(row, served, None, None, new_id()))
    request.scope["request_context"].answered(completed.record.model, completed.record.version, completed.record.prediction_id)
    return Redirect(address("identify", **observations, **{ASKED: completed.record.prediction_id}) + "#verdict")


def _observations(fields: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in fields.items() if not name.startswith(OWN) and value.strip()}


async def _standing(request: PageRequest, observations: Mapping[str, str]) -> IdentifyResponse | None:
    """What fits; None where the model is of a version that cannot say. Raises: HttpProblemError for a field that is not understood."""
    bundle = request.service.loader.current.bundle
    if bundle.safety.partial is None or bundle.questions is None:
        return None
    return await identify(RowRequest.model_validate(observations), request.service)


async def _page(
    request: PageRequest,
    observations: dict[str, str],
    *,
    record: StoredPrediction | None = None,
    withheld: IdentifyResponse | None = None,
    problem: Problem | None = None,
) -> PageResponse:
    served = request.service.loader.current
    schema, safety = served.bundle.schema, served.bundle.safety
    standing, card = None, None
    try:
        standing = await _standing(request, observations)
        row = served.reader.row(observations)
        if record is not None and _is_same(record.features, row):
            version = await request.service.loader.get(f"{record.model}/v{record.version}")
            card = await verdict_card(version, row, record)
        elif withheld is not None:
            card = _withheld(served, row, withheld)
    except HttpProblemError as error:
        problem = error.problem
    clean = address("identify", **observations)
    values: dict[str, Any] = {
        "sections": sections(schema, symbols()),
        "observations": observations,
        "standing": standing,
        "card": card,
        "problem": problem,
        "clean": clean,
        "once": secrets.token_hex(12),
        "not_observed": NOT_OBSERVED,
        "known": len(safety.components),
        "group": "group" if schema.groups is None else schema.groups.name,
        "positive": _word(schema, positive=True),
        "negative": _word(schema, positive=False),
    }
    template = "_identify_panel.html.j2" if request.is_fragment else "identify.html.j2"
    headers = ((b"hx-replace-url", f"{request.base}{clean}".encode()),) if request.is_fragment else ()
    return PageResponse(template, values, 200 if problem is None or request.is_fragment else problem.status, headers)


async def verdict_card(served: LoadedModel, row: Row, record: StoredPrediction) -> VerdictCard:
    """A stored prediction as it is shown; why it is so is worked out now, by the version that gave it."""
    prediction = await asyncio.to_thread(predict_row, served.bundle, row)
    explanation = record.explanation or await explain_prediction(served, row)
    return _card(served, row, prediction, prediction.look_at, explanation, record)


def _withheld(served: LoadedModel, row: Row, standing: IdentifyResponse) -> VerdictCard:
    """What is shown in place of a verdict that so few fields do not carry, if they were chosen one after the other."""
    return _card(served, row, standing, tuple(each.column for each in standing.next_questions))


def _card(
    served: LoadedModel,
    row: Row,
    prediction: Prediction | IdentifyResponse,
    look_at: tuple[str, ...],
    explanation: PredictionExplanation | None = None,
    record: StoredPrediction | None = None,
) -> VerdictCard:
    schema, threshold = served.bundle.schema, served.bundle.safety.threshold
    roles = {_word(schema, positive=True): "warn", _word(schema, positive=False): "good"}
    verdict = prediction.verdict if record is None else record.verdict
    return VerdictCard(
        verdict=verdict,
        role=roles.get(verdict, "unknown"),
        model=served.ref.ref,
        unknown=prediction.unknown,
        reason=prediction.reason,
        look_at=look_at,
        unseen=tuple(prediction.unseen),
        outside=prediction.outside,
        contradictions=prediction.contradictions,
        explanation=explanation,
        observed=tuple((label_of(name), words_of(value, name, schema)) for name, value in row.items()),
        columns=len(schema.columns),
        alpha=threshold.alpha,
        confidence=1 - threshold.delta,
        prediction_id=None if record is None else record.prediction_id,
    )


def _word(schema: DatasetSchema, *, positive: bool) -> str:
    return schema.target.values[schema.target.positive if positive else schema.target.negative]


def _is_same(features: Mapping[str, Any], row: Row) -> bool:
    """Whether a kept prediction is of this row: otherwise the address was changed, and its verdict says nothing of it."""
    return {name: value for name, value in features.items() if value is not None} == {k: v for k, v in row.items() if v is not None}


IDENTIFY_PAGES: tuple[Page, ...] = (
    ("ui_identify", "GET", "/identify", show_identify),
    ("ui_ask", "POST", "/identify", ask),
)
