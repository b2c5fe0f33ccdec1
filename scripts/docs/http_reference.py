"""The HTTP reference page, from the OpenAPI document that the server builds."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cli_reference import cell

from sporeprint import settings
from sporeprint.model_serving.api import document

INTRODUCTION = """# HTTP

Made from the document that a server answers at `/openapi.json`, for the mushroom table ([the document](openapi.json)). Another table
has its own columns and classes. A browser finds it at `/docs` of a running server. How to use it: [Serving](../serving.md); who
may: [Security](../security.md).
"""


def pages(config: Path) -> dict[str, str]:
    """The page as Markdown and the document as JSON, by file name."""
    found = document(settings.load_settings(config, environ={}).dataset)
    lines = [INTRODUCTION]
    for path, operations in found["paths"].items():
        for method, operation in operations.items():
            lines += [f"## {method.upper()} {path}", "", *_operation(operation, found)]
    return {"http.md": "\n".join(lines), "openapi.json": json.dumps(found, indent=1)}


def _operation(operation: dict[str, Any], found: dict[str, Any]) -> Iterator[str]:
    for key in ("summary", "description"):
        if operation.get(key):
            yield from (operation[key], "")
    parameters = operation.get("parameters", [])
    if parameters:
        yield from ("| parameter | in | |", "|---|---|---|")
        for each in parameters:
            needed = "required. " if each.get("required") else ""
            yield f"| `{each['name']}` | {each['in']} | {needed}{cell(each.get('description') or _shape(each['schema']))} |"
        yield ""
    body = operation.get("requestBody")
    if body:
        kinds = [f"`{kind}` ({_shape(content.get('schema', {}))})" for kind, content in body["content"].items()]
        yield from (f"Body: {', '.join(kinds)}", "")
    yield from ("| status | | |", "|---|---|---|")
    rows: dict[str, list[str]] = {}
    for status, answer in sorted(operation["responses"].items()):
        rows.setdefault(_answer(_resolved(answer, found)), []).append(status)
    yield from (f"| {', '.join(statuses)} | {said} |" for said, statuses in rows.items())
    yield ""


def _answer(answer: dict[str, Any]) -> str:
    kinds = [f"`{kind}` ({_shape(content.get('schema', {}))})" for kind, content in answer.get("content", {}).items()]
    return f"{cell(answer.get('description', ''))} | {cell(', '.join(kinds))}"


def _resolved(part: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """A part of the document; where it is a reference, what it refers to."""
    place = part.get("$ref", "")
    for step in place.split("/")[1:] if place else ():
        found = found[step]
    return found if place else part


def _shape(schema: dict[str, Any]) -> str:
    """A schema in a word or two."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    for several in ("oneOf", "anyOf"):
        if several in schema:
            return " or ".join(_shape(each) for each in schema[several])
    kind = schema.get("type", "anything")
    if kind == "array":
        return f"list of {_shape(schema.get('items', {}))}"
    return " or ".join(kind) if isinstance(kind, list) else str(schema.get("format") or kind)
