"""The OpenAPI document, made from the contract of the model that serves: units, allowed values, an example that runs."""

from typing import Any

from sporeprint import __version__
from sporeprint.model_serving.shapes import example
from sporeprint.schema import Column, DatasetSchema, Kind
from sporeprint.verdict import words

PROBLEM = {
    "description": "A problem document (RFC 9457)",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same key gives the same answer, however often it is sent: 1 to 255 visible ASCII characters.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}
MODEL = {
    "name": "model",
    "in": "query",
    "description": "Which model answers: production, a model's name (its champion), or one version as name/v2.",
    "schema": {"type": "string", "example": "production"},
}
ID = {"name": "prediction_id", "in": "path", "required": True, "schema": {"type": "string", "maxLength": 64}}
TEXT, NUMBER, WHOLE = {"type": "string"}, {"type": "number"}, {"type": "integer"}
TEXTS = {"type": "array", "items": TEXT}
PERHAPS_NUMBER = {"type": ["number", "null"]}


def document(schema: DatasetSchema) -> dict[str, Any]:
    """The document.

    Args:
        schema: the contract of the model that serves.
    """
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "sporeprint",
            "version": __version__,
            "description": "Answers with a verdict, and with `unknown` where the model has no ground for one. "
            "Every answer is kept before it is given.",
        },
        "paths": _paths(schema),
        "components": {"schemas": _schemas(schema)},
    }


def _column(name: str, column: Column) -> dict[str, Any]:
    said = [column.description or name, f"in {column.unit}" if column.unit else ""]
    if column.kind is Kind.NUMERIC:
        limits = {"minimum": column.min, "maximum": column.max}
        return {
            "type": ["number", "null"],
            "description": ", ".join(part for part in said if part),
            **{key: value for key, value in limits.items() if value is not None},
        }
    listed = ", ".join(f"{code} = {word}" for code, word in (column.values or {}).items())
    described = f"{said[0]}; code or word: {listed}. Another value is answered with unknown." if listed else said[0]
    allowed = [*(column.values or {}), *(column.values or {}).values()]
    return {"type": ["string", "null"], "description": described, "maxLength": 256, **({"examples": allowed} if allowed else {})}


def _schemas(schema: DatasetSchema) -> dict[str, Any]:
    row = {
        "type": "object",
        "description": "One observation. A field left out, null or empty is missing. Hyphens in names may be underscores.",
        "additionalProperties": False,
        # Every name in both spellings, as both are taken.
        "properties": {
            spelling: _column(name, column)
            for name, column in schema.columns.items()
            for spelling in dict.fromkeys((name, name.replace("-", "_")))
        },
        "required": [name for name, column in schema.columns.items() if column.required],
        "example": example(schema),
    }
    classes = list(schema.target.values)
    answer = {
        "prediction_id": TEXT,
        "prediction": {"type": "string", "enum": classes, "description": "code of the likelier class"},
        "probability": {**NUMBER, "description": f"of {schema.target.values[schema.target.positive]}, calibrated"},
        "verdict": {"type": "string", "enum": list(words(schema))},
        "novelty_p": {**NUMBER, "description": "near 0 for rows unlike any training row"},
        "threshold": {**PERHAPS_NUMBER, "description": f"largest probability answered with {schema.target.values[schema.target.negative]}"},
        "model": TEXT,
        "version": WHOLE,
        "unseen": {**TEXTS, "description": "columns whose value the model has never seen"},
        "outside": {**TEXTS, "description": "columns whose number lies outside the training rows'"},
        "reason": {"type": ["string", "null"], "description": "why the verdict is unknown"},
        "simulated": {"type": "boolean", "description": "true where the model was trained on invented rows"},
    }
    return {
        "Row": row,
        "Answer": {"type": "object", "properties": answer, "required": [name for name in answer if name != "simulated"]},
        "Batch": {
            "oneOf": [
                _rows(),
                {"type": "object", "properties": {"rows": _rows()}, "required": ["rows"], "additionalProperties": False},
            ]
        },
        "Outcome": {
            "type": "object",
            "additionalProperties": False,
            "required": ["outcome"],
            "properties": {
                "outcome": {"type": "string", "enum": [*classes, *schema.target.values.values()], "description": "class, by code or word"},
                "source": {"type": "string", "minLength": 1, "maxLength": 255, "description": "who says so"},
                "observed": {"type": "string", "format": "date-time", "description": "when it was seen, with its zone"},
            },
            "example": {"outcome": schema.target.values[schema.target.positive], "source": "laboratory"},
        },
        "Problem": {
            "type": "object",
            "properties": {"type": TEXT, "title": TEXT, "status": WHOLE, "detail": TEXT},
            "required": ["type", "title", "status", "detail"],
        },
    }


def _rows() -> dict[str, Any]:
    return {"type": "array", "items": {"$ref": "#/components/schemas/Row"}}


def _body(name: str) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}}


def _answers(says: str, schema: dict[str, Any] | None = None, *problems: int, status: int = 200) -> dict[str, Any]:
    good = {"description": says, "content": {"application/json": {"schema": schema or {"type": "object"}}}}
    return {str(status): good, **{str(problem): PROBLEM for problem in (*problems, 400, 503)}}


def _operation(name: str, says: str, responses: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"operationId": name, "summary": says, "responses": responses, **more}


def _paths(schema: DatasetSchema) -> dict[str, Any]:
    answer = {"$ref": "#/components/schemas/Answer"}
    word = schema.target.values[schema.target.negative]
    explain = {"name": "explain", "in": "query", "description": "Whether reasons are wanted.", "schema": {"type": "boolean"}}
    ab_test = {"name": "ab_test", "in": "query", "description": "Name of an A/B test.", "schema": TEXT}
    unreadable = (404, 408, 413, 415, 422)
    outcome = _answers("It was said before", None, *unreadable)
    return {
        "/predict": {
            "post": _operation(
                "predict",
                f"Answer one row: {word}, {schema.target.values[schema.target.positive]} or unknown",
                _answers("The answer", answer, *unreadable),
                parameters=[MODEL, explain, ab_test, KEY],
                requestBody=_body("Row"),
            )
        },
        "/predict/batch": {
            "post": _operation(
                "predict_batch",
                "Answer many rows; a row that cannot be understood has a problem in its place",
                _answers("The answers, in the order of the rows", None, *unreadable),
                parameters=[MODEL, ab_test, KEY],
                requestBody=_body("Batch"),
            )
        },
        "/predictions/{prediction_id}": {
            "get": _operation("prediction", "An answer that was given, and its outcome", _answers("The answer", None, 404), parameters=[ID])
        },
        "/predictions/{prediction_id}/outcome": {
            "post": _operation(
                "outcome",
                "What turned out to be true; said differently, it is a correction",
                {**outcome, "201": {"description": "A further revision", "content": {"application/json": {"schema": {"type": "object"}}}}},
                parameters=[ID, KEY],
                requestBody=_body("Outcome"),
            )
        },
        "/models": {"get": _operation("models", "The registered versions", _answers("The versions"))},
        "/health": {"get": _operation("health", "Model, journal and database", _answers("Answers can be given"))},
        "/health/live": {"get": _operation("live", "Whether the process answers", _answers("It does"))},
        "/health/ready": {"get": _operation("ready", "Whether answers can be given", _answers("They can"))},
        "/metrics": {
            "get": _operation(
                "metrics",
                "For Prometheus",
                {
                    "200": {"description": "Its text format", "content": {"text/plain": {"schema": TEXT}}},
                    "400": PROBLEM,
                    "503": PROBLEM,
                },
            )
        },
        "/": {"get": _operation("index", "What this is", _answers("Where to go on"))},
    }
