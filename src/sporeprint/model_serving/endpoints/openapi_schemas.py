"""What the endpoints answer, as JSON schemas for the OpenAPI document."""

from collections.abc import Mapping
from typing import Any

from sporeprint.safety.verdict import verdict_words
from sporeprint.schema import DatasetSchema

TEXT, NUMBER, WHOLE, SWITCH = {"type": "string"}, {"type": "number"}, {"type": "integer"}, {"type": "boolean"}
PERHAPS_TEXT, PERHAPS_NUMBER = {"type": ["string", "null"]}, {"type": ["number", "null"]}
TEXTS = {"type": "array", "items": TEXT}
ARM = {"type": "string", "enum": ["a", "b"]}
TIME = {"type": "string", "format": "date-time"}
#: What is told as it was computed, and not said field by field.
OPEN = {"type": "object"}
PERHAPS_OPEN = {"type": ["object", "null"]}
WHY_UNKNOWN = {**PERHAPS_TEXT, "description": "why the verdict is unknown"}
#: Members of a test that its card has and its page has too.
CARD: Mapping[str, Any] = {
    "test_id": TEXT,
    "name": TEXT,
    "status": {"type": "string", "enum": ["running", "concluded"]},
    "verdict": {**PERHAPS_TEXT, "description": "null while it runs"},
    "mode": {"type": "string", "enum": ["split", "shadow"]},
    "model_a": TEXT,
    "model_b": TEXT,
    "traffic_split": NUMBER,
    "unit": TEXT,
    "metric": TEXT,
    "default_route": SWITCH,
    "created": TIME,
    "concluded": {**PERHAPS_TEXT, "format": "date-time"},
}


def reference(name: str) -> dict[str, str]:
    """Where the document has the schema of that name."""
    return {"$ref": f"#/components/schemas/{name}"}


def listed(name: str) -> dict[str, Any]:
    """A list of values of one schema."""
    return {"type": "array", "items": reference(name)}


def schemas(schema: DatasetSchema) -> dict[str, dict[str, Any]]:
    """The schemas by name.

    Args:
        schema: the contract of the model that serves: its classes, and what they are called.
    """
    return {**_of_predictions(schema), **_of_outcomes(schema), **_of_the_service(), **_of_tests()}


def _object(properties: Mapping[str, Any], *optional: str) -> dict[str, Any]:
    """An object whose members are all there but for those that are named."""
    return {"type": "object", "properties": dict(properties), "required": [name for name in properties if name not in optional]}


def _of_predictions(schema: DatasetSchema) -> dict[str, dict[str, Any]]:
    target = schema.target
    negative, positive = target.values[target.negative], target.values[target.positive]
    said = {
        "prediction_id": TEXT,
        "prediction": {"type": "string", "enum": list(target.values), "description": "code of the likelier class"},
        "probability": {**NUMBER, "description": f"of {positive}, calibrated"},
        "verdict": {"type": "string", "enum": list(verdict_words(schema))},
        "novelty_p": {**NUMBER, "description": "near 0 for rows unlike any training row"},
    }
    threshold = {**PERHAPS_NUMBER, "description": f"largest probability answered with {negative}"}
    by = {"model": TEXT, "version": WHOLE}
    strange = {
        "unseen": {**TEXTS, "description": "columns whose value the model has never seen"},
        "outside": {**TEXTS, "description": "columns whose number lies outside the training rows'"},
    }
    simulated = {"simulated": {**SWITCH, "description": "true where the model was trained on invented rows"}}
    part = _object({"test_id": TEXT, "name": PERHAPS_TEXT, "arm": ARM, "degraded": SWITCH}, "degraded")
    explained = {
        "reasons": {**listed("Reason"), "description": "with explain=true: the columns that moved the score most, the strongest first"},
        "unit": {**PERHAPS_TEXT, "description": "of the reasons' effects; null where the model cannot be explained"},
        "base": {**PERHAPS_NUMBER, "description": "the score before any column was looked at, in the same unit"},
        "contradictions": {**TEXTS, "description": "what the row says against itself"},
        "most_like": {**TEXT, "description": "the group of training rows that it is most like"},
        "nearest": {**PERHAPS_OPEN, "description": "the training row nearest to it"},
    }
    more = {**explained, **simulated, "ab_test": {**part, "description": "its part in an A/B test, where it has one"}}
    row = {
        "row": WHOLE,
        **said,
        **strange,
        "reason": WHY_UNKNOWN,
        "problem": {**reference("RowProblem"), "description": "nothing else then"},
    }
    stored = {
        **{name: each for name, each in said.items() if name not in ("probability", "novelty_p")},
        "probability": PERHAPS_NUMBER,
        "novelty_p": PERHAPS_NUMBER,
        "created": TIME,
        "threshold": threshold,
        **by,
        "unseen": strange["unseen"],
        "features": OPEN,
        **dict.fromkeys(("batch_id", "test_id", "arm", "unit_id"), PERHAPS_TEXT),
        "shadow": PERHAPS_OPEN,
        "outcome": {"oneOf": [reference("KeptOutcome"), {"type": "null"}]},
        "outcome_unknown": {**TEXT, "description": "why the outcome cannot be known now"},
    }
    batch = {"batch_id": TEXT, **by, "threshold": threshold, "rows": WHOLE, "problems": WHOLE, **simulated, "answers": listed("RowAnswer")}
    return {
        "Answer": _object({**said, "threshold": threshold, **by, **strange, "reason": WHY_UNKNOWN, **more}, *more),
        "Reason": _object({"column": TEXT, "effect": NUMBER, "says": TEXT}),
        "RowAnswer": _object(row, *(name for name in row if name != "row")),
        "RowProblem": _object({"type": TEXT, "title": TEXT, "status": WHOLE, "detail": TEXT}),
        "BatchAnswer": _object(batch, "simulated"),
        "StoredPrediction": _object(stored, "outcome", "outcome_unknown"),
    }


def _of_outcomes(schema: DatasetSchema) -> dict[str, dict[str, Any]]:
    kept = {
        "prediction_id": TEXT,
        "outcome": {"type": "string", "enum": list(schema.target.values)},
        "revision": {**WHOLE, "minimum": 1, "description": "1 for the first; further ones are corrections"},
        "source": TEXT,
        "observed": TIME,
        "recorded": TIME,
    }
    created = {"created": {**SWITCH, "description": "whether this request made the revision"}}
    result = {"row": WHOLE, "prediction_id": TEXT, "revision": WHOLE, **created, "problem": reference("RowProblem")}
    counted = dict.fromkeys(("rows", "created", "unchanged", "problems"), WHOLE)
    return {
        "KeptOutcome": _object(kept),
        "OutcomeAnswer": _object({**kept, **created}),
        "OutcomeResult": _object(result, *(name for name in result if name != "row")),
        "OutcomesAnswer": _object({**counted, "results": listed("OutcomeResult")}),
    }


def _of_the_service() -> dict[str, dict[str, Any]]:
    model = {
        "status": {"type": "string", "enum": ["ok", "degraded"]},
        **dict.fromkeys(("model", "ref", "manifest", "engine"), TEXT),
        "version": WHOLE,
        "simulated": SWITCH,
        "problem": TEXT,
        "since": TIME,
    }
    journal = {"status": TEXT, "depth": WHOLE, "age_s": NUMBER, **dict.fromkeys(("waiting", "failures", "refused"), WHOLE)}
    health = {
        "status": {"type": "string", "enum": ["ok", "degraded", "failing"]},
        "worker": TEXT,
        "in_flight": WHOLE,
        "model": _object(model, "problem", "since"),
        "journal": _object(journal),
        "database": _object({"status": {"type": "string", "enum": ["ok", "away"]}, "shipped": WHOLE, "failures": WHOLE}),
    }
    moved = {"ref": TEXT, "alias": TEXT, "production": PERHAPS_TEXT, "reason": TEXT}
    return {
        "Models": _object({"production": PERHAPS_TEXT, "serving": TEXT, "models": listed("Model")}),
        "Model": _object({"name": TEXT, "champion": TEXT, "versions": TEXTS}),
        "Promoted": _object({**moved, "gate": {**TEXTS, "description": "what the gate said"}}),
        "RolledBack": _object({**moved, "before": {**TEXT, "description": "what was taken back"}}),
        "Health": _object(health),
        "Status": _object({"status": {"type": "string", "enum": ["live", "ready", "not ready"]}}),
        "Index": _object({**dict.fromkeys(("service", "release", "serving", "documentation", "openapi"), TEXT), "links": OPEN}),
    }


def _of_tests() -> dict[str, dict[str, Any]]:
    event = {"at": TIME, "at_us": WHOLE, "actor": TEXT, "event": TEXT, "details": OPEN}
    told = {
        **CARD,
        "design": {**OPEN, "description": "all that was fixed before the first unit"},
        "independent": SWITCH,
        "salt": TEXT,
        "manifests": _object({"a": TEXT, "b": TEXT}),
        "answers": {**TEXTS, "description": "the words of the counts' places"},
        "awaiting_label": {**WHOLE, "description": "disagreements without a label"},
        "interim_analysis": {**PERHAPS_OPEN, "description": "the last one; null: there is none yet"},
        "interim_analyses": {"type": "array", "items": OPEN, "description": "earlier ones, for the charts of the page"},
        "events": listed("AbEvent"),
    }
    row = {**dict.fromkeys(("prediction_id", "unit_id", "a", "b"), TEXT), "created": PERHAPS_TEXT, "features": PERHAPS_OPEN}
    following = {"next": {**PERHAPS_TEXT, "description": "what 'before' has to be for the page that follows; null: there is none"}}
    return {
        "AbCard": _object(CARD),
        "AbTold": _object(told),
        "AbEvent": _object(event),
        "AbTests": _object({"tests": listed("AbCard"), **following}),
        "AbDisagreement": _object(row),
        "AbDisagreements": _object({"awaiting_label": WHOLE, "disagreements": listed("AbDisagreement"), **following}),
    }
