"""The OpenAPI document, made from the contract of the model that serves: units, allowed values, an example that runs."""

from typing import Any

from sporeprint import __version__
from sporeprint.model_serving.endpoints import openapi_schemas as openapi_answers
from sporeprint.model_serving.endpoints.openapi_schemas import NUMBER, TEXT, WHOLE, reference
from sporeprint.model_serving.http.authentication import REQUIRED_ROLES
from sporeprint.model_serving.runtime.row_parser import example
from sporeprint.schema import Column, DatasetSchema, Kind

PROBLEM = {
    "description": "A problem document (RFC 9457)",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same key gives the same answer, however often it is sent: 1 to 255 visible ASCII characters.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}
MODEL = {
    "name": "model",
    "in": "query",
    "description": "Which model answers: production, a model's name (its champion), or one version as name/v2.",
    "schema": {"type": "string", "example": "production"},
}
ID = {
    "name": "prediction_id",
    "in": "path",
    "required": True,
    "description": "As it was answered.",
    "schema": {"type": "string", "maxLength": 64},
}
FORMAT = {
    "name": "format",
    "in": "query",
    "description": "Of a body whose content type is application/octet-stream.",
    "schema": {"type": "string", "enum": ["json", "csv", "parquet"]},
}
#: Kinds of files that rows can come and go in.
FILES = ("text/csv", "application/vnd.apache.parquet")


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
        "components": {
            "schemas": _schemas(schema),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
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
    return {
        "Row": row,
        **openapi_answers.schemas(schema),
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
        "Outcomes": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["prediction_id", "outcome"],
                "additionalProperties": False,
                "properties": {
                    "prediction_id": {"type": "string", "maxLength": 64},
                    "outcome": {**TEXT, "description": "class, by code or word"},
                    "source": {**TEXT, "description": "who says so"},
                    "observed": {**TEXT, "format": "date-time", "description": "when it was seen, with its zone"},
                },
            },
        },
        "Promotion": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "version": {"type": ["integer", "string"], "description": "its version, as 2 or v2"},
                "alias": {"type": "string", "enum": ["champion", "production"]},
                "reason": {"type": "string", "minLength": 1, "maxLength": 500, "description": "why, for the history"},
            },
            "example": {"version": 2, "alias": "production"},
        },
        "AbTest": _ab_test(),
        "Conclusion": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"winner": {"type": "string", "enum": ["A", "B"], "description": "left out: what the test's rule says now"}},
            "example": {"winner": "B"},
        },
        "Document": {"type": "object", "required": ["openapi", "info", "paths"]},
        "Problem": {
            "type": "object",
            "properties": {
                "type": TEXT,
                "title": TEXT,
                "status": WHOLE,
                "detail": TEXT,
                "request_id": {**TEXT, "description": "as in the header X-Request-Id"},
            },
            "required": ["type", "title", "status", "detail"],
        },
    }


AB_NAMES = "^[A-Za-z0-9][A-Za-z0-9._-]*$"
#: Fields of an A/B test that a query can say, with what they are.
AB_FIELDS: dict[str, dict[str, Any]] = {
    "name": {**TEXT, "maxLength": 128, "pattern": AB_NAMES, "description": "letters, digits, '.', '_' and '-'; never used again"},
    "model_a": {**TEXT, "description": "stays unless the other one wins: a model's name, a version or a registered path"},
    "model_b": {**TEXT, "description": "would replace it"},
    "mode": {"type": "string", "enum": ["split", "shadow"]},
    "unit": {**TEXT, "description": "what keeps its arm: header (X-Unit-Id), prediction or field:<column>"},
    "metric": {"type": "string", "enum": ["accuracy", "false_negative", "expected_cost", "unknown_share", "failures", "latency"]},
    "direction": {"type": "string", "enum": ["higher", "lower"]},
    "traffic_split": {**NUMBER, "exclusiveMinimum": 0, "exclusiveMaximum": 1, "description": "share of the units that go to model_b"},
    "alpha": {**NUMBER, "exclusiveMinimum": 0, "exclusiveMaximum": 0.5, "description": "largest probability of a false winner"},
    "margin": {**NUMBER, "minimum": 0, "description": "by how much a version has to be better to win"},
    "equivalence": {**NUMBER, "minimum": 0, "description": "versions that differ by less are equivalent"},
    "ratio": {**NUMBER, "exclusiveMinimum": 1, "description": "how many times as often one errs where the test should be fastest"},
    "srm_alpha": {**NUMBER, "exclusiveMinimum": 0, "exclusiveMaximum": 0.5},
    "min_duration_s": {**NUMBER, "minimum": 0},
    "max_duration_s": {**NUMBER, "minimum": 0},
    "min_units": {**WHOLE, "minimum": 0},
    "max_units": {**WHOLE, "minimum": 0},
    "auto_conclude": {"type": "boolean", "description": "whether the verdict is acted on without a person"},
    "independent": {"type": "boolean", "description": "whether it may run beside tests with the same unit"},
    "default_route": {"type": "boolean", "description": "whether requests that name neither a test nor a model take part"},
}
AB_NAME = {
    "name": "test_id",
    "in": "path",
    "required": True,
    "description": "Id or name of a test.",
    "schema": {"type": "string", "maxLength": 128},
}
UNIT = {
    "name": "X-Unit-Id",
    "in": "header",
    "description": "What keeps its arm in an A/B test; without it, each answer stands for itself.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}


def _ab_test() -> dict[str, Any]:
    guardrail = {
        "type": "object",
        "required": ["metric", "margin"],
        "additionalProperties": False,
        "properties": {"metric": AB_FIELDS["metric"], "margin": {**NUMBER, "minimum": 0}, "prove": {"type": "boolean"}},
    }
    more = {
        "guardrails": {"type": "array", "items": guardrail, "description": "what model_b must not be worse in"},
        "also": {"type": "array", "items": AB_FIELDS["metric"], "description": "metrics that are reported and decide nothing"},
        "costs": {"type": "object", "additionalProperties": {**NUMBER, "minimum": 0}, "description": "of wrong answers and of none"},
    }
    return {
        "type": "object",
        "additionalProperties": False,
        "description": "name, model_a and model_b are needed, here or in the query; all else has a default in the configuration.",
        "properties": {**AB_FIELDS, **more},
        "example": {"name": "first", "model_a": "xgboost/v1", "model_b": "xgboost/v2", "traffic_split": 0.5},
    }


def _described(schema: dict[str, Any]) -> str:
    """What a field is, for people."""
    return str(schema.get("description") or "As in the configuration, section ab_testing.")


def _ab_paths() -> dict[str, Any]:
    unreadable = (404, 408, 409, 413, 415, 422)
    page = [
        {"name": "limit", "in": "query", "description": "At most so many.", "schema": {**WHOLE, "minimum": 1, "maximum": 1000}},
        {"name": "before", "in": "query", "description": "What 'next' said: the page that follows.", "schema": TEXT},
    ]
    fields = [{"name": name, "in": "query", "description": _described(schema), "schema": schema} for name, schema in AB_FIELDS.items()]
    status = {"name": "status", "in": "query", "description": "Only these.", "schema": {"type": "string", "enum": ["running", "concluded"]}}
    html = {"200": {"description": "A page", "content": {"text/html": {"schema": TEXT}}}, "400": PROBLEM, "404": PROBLEM, "503": PROBLEM}
    winner = {
        "name": "winner",
        "in": "query",
        "description": "Left out: what the rule says now.",
        "schema": {"type": "string", "enum": ["A", "B"]},
    }
    return {
        "/ab-tests": {
            "get": _operation("ab_tests", "The A/B tests, the latest first", _answers("The tests", "AbTests"), parameters=[status, *page]),
            "post": _operation(
                "ab_create",
                "Compare two versions in live traffic",
                _answers("It runs", "AbTold", *unreadable, status=201),
                parameters=fields,
                requestBody={**_body("AbTest"), "required": False},
            ),
        },
        "/ab-tests/{test_id}": {
            "get": _operation("ab_test", "All that is known of a test", _answers("The test", "AbTold", 404), parameters=[AB_NAME])
        },
        "/ab-tests/{test_id}/disagreements": {
            "get": _operation(
                "ab_disagreements",
                "What a label is wanted for",
                _answers("The latest first", "AbDisagreements", 404),
                parameters=[AB_NAME, *page],
            )
        },
        "/ab-tests/{test_id}/report": {"get": _operation("ab_report", "The same as a page", html, parameters=[AB_NAME])},
        "/ab-tests/{test_id}/conclude": {
            "post": _operation(
                "ab_conclude",
                "End a test: with a winner that is named, or with what its rule says now",
                _answers("It has ended", "AbTold", *unreadable),
                parameters=[AB_NAME, winner],
                requestBody={**_body("Conclusion"), "required": False},
            )
        },
    }


def _moves() -> dict[str, Any]:
    """Operations that move what serves."""
    parameters = [
        {"name": "name", "in": "path", "required": True, "description": "Name of the model.", "schema": TEXT},
        {"name": "version", "in": "query", "description": "Its version, as 2 or v2. Needed, here or in the body.", "schema": TEXT},
        {
            "name": "alias",
            "in": "query",
            "description": "champion: of its model; production: what is served, too.",
            "schema": {"type": "string", "enum": ["champion", "production"]},
        },
        {"name": "reason", "in": "query", "description": "Why, for the history.", "schema": {**TEXT, "maxLength": 500}},
    ]
    more = {"parameters": parameters, "requestBody": {**_body("Promotion"), "required": False}}
    says = {
        "promote": ("Make a version its model's champion, or the one that is served, if it passes the gate", "It is", "Promoted"),
        "rollback": (
            "Take back that a version became its model's champion, or the one that is served: the one before it is, again",
            "It was taken back, now or before",
            "RolledBack",
        ),
    }
    return {
        f"/models/{{name}}/{name}": {"post": _operation(name, does, _answers(done, schema, 404, 408, 409, 413, 415, 422, 501), **more)}
        for name, (does, done, schema) in says.items()
    }


def _with_files(body: dict[str, Any], says: str) -> dict[str, Any]:
    """A body that may be a file instead."""
    files = {media: {"schema": {"type": "string", "format": "binary", "description": says}} for media in FILES}
    return {**body, "content": {**body["content"], **files}}


def _files_answered(answers: dict[str, Any]) -> dict[str, Any]:
    """Answers that are files where `Accept` asks for them, or the question was one."""
    files = {media: {"schema": {"type": "string", "format": "binary"}} for media in FILES}
    return {**answers, "200": {**answers["200"], "content": {**answers["200"]["content"], **files}}}


def _rows() -> dict[str, Any]:
    return {"type": "array", "items": {"$ref": "#/components/schemas/Row"}}


def _body(name: str) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}}


def _answers(says: str, name: str, *problems: int, status: int = 200) -> dict[str, Any]:
    good = {"description": says, "content": {"application/json": {"schema": reference(name)}}}
    return {str(status): good, **{str(problem): PROBLEM for problem in (*problems, 400, 503)}}


def _or_503(answers: dict[str, Any]) -> dict[str, Any]:
    """Answers whose status says the same as their body does."""
    content = {**answers["200"]["content"], **PROBLEM["content"]}  # type: ignore[dict-item]
    return {**answers, "503": {"description": "They cannot, or a problem document (RFC 9457)", "content": content}}


#: What every endpoint that needs a role can be answered with.
REFUSED = {str(status): PROBLEM for status in (401, 403, 429)}


def _operation(name: str, says: str, responses: dict[str, Any], **more: Any) -> dict[str, Any]:
    role = REQUIRED_ROLES[name]
    if role is None:
        return {"operationId": name, "summary": says, "responses": responses, "security": [], **more}
    # Both ways to send a key; and none, where there are no keys yet.
    ways: list[dict[str, list[str]]] = [{"bearer": []}, {"header": []}, {}]
    return {"operationId": name, "summary": says, "x-role": role.value, "responses": {**responses, **REFUSED}, "security": ways, **more}


def _paths(schema: DatasetSchema) -> dict[str, Any]:
    word = schema.target.values[schema.target.negative]
    explain = {"name": "explain", "in": "query", "description": "Whether reasons are wanted.", "schema": {"type": "boolean"}}
    ab_test = {"name": "ab_test", "in": "query", "description": "Name of an A/B test.", "schema": TEXT}
    unreadable = (404, 408, 413, 415, 422)
    outcome = _answers("It was said before", "OutcomeAnswer", *unreadable)
    return {
        "/predict": {
            "post": _operation(
                "predict",
                f"Answer one row: {word}, {schema.target.values[schema.target.positive]} or unknown",
                _answers("The answer", "Answer", 501, *unreadable),
                parameters=[MODEL, explain, ab_test, UNIT, KEY],
                requestBody=_body("Row"),
            )
        },
        "/predict/batch": {
            "post": _operation(
                "predict_batch",
                "Answer many rows; a row that cannot be understood has a problem in its place",
                _files_answered(_answers("The answers, in the order of the rows", "BatchAnswer", 406, 501, *unreadable)),
                parameters=[MODEL, ab_test, FORMAT, KEY],
                requestBody=_with_files(_body("Batch"), "The columns are named as the features; others are kept."),
            )
        },
        "/identify": {
            "post": _operation(
                "identify",
                "Which known groups still fit, what to look at next, and the verdict once there may be one; nothing is stored",
                _answers("Where the identification stands", "Identification", 501, *unreadable),
                parameters=[MODEL],
                requestBody=_body("Row"),
            )
        },
        "/predictions/{prediction_id}": {
            "get": _operation(
                "prediction", "An answer that was given, and its outcome", _answers("The answer", "StoredPrediction", 404), parameters=[ID]
            )
        },
        "/predictions/{prediction_id}/outcome": {
            "post": _operation(
                "outcome",
                "What turned out to be true; said differently, it is a correction",
                {**outcome, "201": {"description": "A further revision", "content": outcome["200"]["content"]}},
                parameters=[ID, KEY],
                requestBody=_body("Outcome"),
            )
        },
        "/predictions/outcomes": {
            "post": _operation(
                "outcomes",
                "What turned out to be true of many predictions; said again it changes nothing",
                _answers("What became of each, in their order", "OutcomesAnswer", 406, *unreadable),
                parameters=[FORMAT],
                requestBody=_with_files(_body("Outcomes"), "Columns: prediction_id, outcome and, if known, source and observed."),
            )
        },
        "/models": {"get": _operation("models", "The registered versions", _answers("The versions", "Models"))},
        **_moves(),
        **_ab_paths(),
        "/health": {"get": _operation("health", "Model, journal and database", _or_503(_answers("Answers can be given", "Health")))},
        "/health/live": {"get": _operation("live", "Whether the process answers", _answers("It does", "Status"))},
        "/health/ready": {"get": _operation("ready", "Whether answers can be given", _or_503(_answers("They can", "Status")))},
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
        "/openapi.json": {"get": _operation("openapi", "This document", _answers("It", "Document"))},
        "/docs": {
            "get": _operation(
                "docs",
                "The same for people",
                {
                    "200": {"description": "A page", "content": {"text/html": {"schema": TEXT}}},
                    "400": PROBLEM,
                    "503": PROBLEM,
                },
            )
        },
        "/": {"get": _operation("index", "What this is", _answers("Where to go on", "Index"))},
    }
