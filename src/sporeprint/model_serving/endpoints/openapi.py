"""The OpenAPI document: what FastAPI makes of the routes, with the columns and classes of the model that serves."""

from collections.abc import Sequence
from typing import Any

from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter
from starlette.routing import BaseRoute

from sporeprint import __version__
from sporeprint.messages.outcomes import RowOutcomeRequest
from sporeprint.messages.predictions import BatchResponse
from sporeprint.messages.problem import ProblemDocument
from sporeprint.model_serving.runtime.row_parser import example
from sporeprint.safety.verdict import verdict_words
from sporeprint.schema import Column, DatasetSchema, Kind

REFERENCE = "#/components/schemas/{model}"
#: Types that routes name by reference only.
NAMED: tuple[Any, ...] = (ProblemDocument, RowOutcomeRequest, BatchResponse)


def document(routes: Sequence[BaseRoute], schema: DatasetSchema, root_path: str = "") -> dict[str, Any]:
    """The document.

    Args:
        routes: of the application.
        schema: of the model that serves.
        root_path: path below which a gateway offers the service.
    """
    contract = get_openapi(
        title="sporeprint",
        version=__version__,
        description="Predictions with a verdict, which is `unknown` where the model has no ground for one. "
        "Every prediction is kept before it is given.",
        routes=routes,
        servers=[{"url": root_path}] if root_path else None,
    )
    for operations in contract["paths"].values():
        for operation in operations.values():
            if "HTTPValidationError" in str(operation["responses"].get("422")):  # this service has problem documents
                del operation["responses"]["422"]
    components = contract.setdefault("components", {})
    schemas = components["schemas"]
    for each in NAMED:
        adapted = TypeAdapter(each).json_schema(ref_template=REFERENCE, mode="serialization")
        schemas |= {**adapted.pop("$defs", {}), adapted["title"]: adapted}
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["RowRequest"] = _row(schema)
    _name_classes(schemas, schema)
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    return contract


def _row(schema: DatasetSchema) -> dict[str, Any]:
    return {
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


def _column(name: str, column: Column) -> dict[str, Any]:
    parts = [column.description or name, f"in {column.unit}" if column.unit else ""]
    if column.kind is Kind.DATE:
        written = f", as {column.format} or" if column.format else ", as"
        return {"type": ["string", "null"], "description": f"{parts[0]}{written} 2024-03-05 or 2024-03-05T14:30", "maxLength": 256}
    if column.is_number:
        limits = {"minimum": column.min, "maximum": column.max}
        return {
            "type": ["number", "string", "null"],
            "description": ", ".join(part for part in parts if part),
            "maxLength": 256,
            **{key: value for key, value in limits.items() if value is not None},
        }
    listed = ", ".join(f"{code} = {word}" for code, word in (column.values or {}).items())
    described = f"{parts[0]}; code or word: {listed}. With another value the verdict is unknown." if listed else parts[0]
    allowed = [*(column.values or {}), *(column.values or {}).values()]
    # A code may be a number or true: it is its text.
    types = ["string", "number", "boolean", "null"]
    return {"type": types, "description": described, "maxLength": 256, **({"examples": allowed} if allowed else {})}


def _name_classes(schemas: dict[str, Any], schema: DatasetSchema) -> None:
    """Say which classes there are, wherever a field holds one."""
    target = schema.target
    codes, verdicts, both = list(target.values), list(verdict_words(schema)), [*target.values, *target.values.values()]
    for name, field, values in (
        ("PredictResponse", "prediction", codes),
        ("PredictResponse", "verdict", verdicts),
        ("StoredPrediction", "prediction", codes),
        ("StoredPrediction", "verdict", verdicts),
        ("RowPrediction", "verdict", verdicts),
        ("OutcomeRevision", "outcome", codes),
        ("OutcomeResponse", "outcome", codes),
        ("OutcomeRequest", "outcome", both),
    ):
        schemas[name]["properties"][field]["enum"] = values
    schemas["OutcomeRequest"]["example"] = {"outcome": target.values[target.positive], "source": "laboratory"}
