"""The API for people: one page, made from the OpenAPI document, that needs nothing from elsewhere."""

import functools
import shlex
from collections.abc import Mapping
from typing import Any

import orjson

from sporeprint.model_serving.runtime.row_parser import example
from sporeprint.schema import DatasetSchema

#: The page's own style is all that it may have.
POLICY = b"default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
#: Fields of a row that an example shows: enough to be understood.
SHOWN = 4


def page(document: Mapping[str, Any], schema: DatasetSchema, *, keys: bool, simulated: bool) -> str:
    """The page.

    Args:
        document: the OpenAPI document.
        schema: the contract of the model that serves.
        keys: whether requests need an API key.
        simulated: whether that model was trained on invented rows.
    """
    properties = document["components"]["schemas"]["Row"]["properties"]
    return str(
        _template().render(
            document=document,
            keys=keys,
            simulated=simulated,
            examples=examples(schema, keys=keys),
            fields={name: properties[name]["description"] for name in schema.columns},
        )
    )


def examples(schema: DatasetSchema, *, keys: bool, where: str = "localhost:8000") -> dict[str, str]:
    """A command line for each operation that takes something, by the operation's id."""
    row = example(schema)
    few = dict(list(row.items())[:SHOWN])
    outcome = {"outcome": schema.target.values[schema.target.positive], "source": "laboratory"}
    return {
        "predict": _curl(f"{where}/predict", few, keys=keys),
        "predict_batch": _curl(f"{where}/predict/batch", [few, few], keys=keys),
        "identify": _curl(f"{where}/identify", few, keys=keys),
        "outcome": _curl(f"{where}/predictions/PREDICTION_ID/outcome", outcome, keys=keys),
        "promote": _curl(f"{where}/models/xgboost/promote", {"version": 2, "alias": "production"}, keys=keys),
        "rollback": _curl(f"{where}/models/xgboost/rollback", {"version": 2, "alias": "production"}, keys=keys),
    }


def _curl(where: str, body: Any, *, keys: bool) -> str:
    key = ' \\\n  -H "Authorization: Bearer $SPOREPRINT_API_KEY"' if keys else ""
    return f"curl {where} -H 'Content-Type: application/json'{key} \\\n  -d {shlex.quote(orjson.dumps(body).decode())}"


@functools.cache
def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("sporeprint.reports")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template("api.html.j2")
