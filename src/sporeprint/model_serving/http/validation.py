"""What pydantic finds wrong with a request, as a problem document that names the field, its value and what is allowed."""

from collections.abc import Mapping, Sequence
from typing import Any

from sporeprint.errors import expectation, nearest
from sporeprint.model_serving.http.problems import Problem, bad_parameter, not_json, not_valid

#: Most faults that one problem names.
MOST = 5


def invalid_request(errors: Sequence[Mapping[str, Any]], known: Sequence[str]) -> Problem:
    """The problem of a request that FastAPI does not understand.

    Args:
        errors: as FastAPI gives them: the first part of each place is body, query, path or header.
        known: names of the body's fields.
    """
    for error in errors:
        place, *_ = error["loc"]
        if place != "body":
            name = ".".join(map(str, error["loc"][1:]))
            return bad_parameter(f"parameter {name!r}: {_reason(error)}")
    first = errors[0]
    if first["loc"] == ("body",):
        shown = "nothing" if first["type"] == "missing" else f"got {str(first.get('input'))[:40]!r}"
        return not_json(f"expected a JSON object with some of the fields {', '.join(known)}; {shown}")
    return invalid_fields([{**error, "loc": error["loc"][1:]} for error in errors], known)


def invalid_fields(errors: Sequence[Mapping[str, Any]], known: Sequence[str]) -> Problem:
    """The problem of an object whose fields are not understood.

    Args:
        errors: as pydantic gives them.
        known: names of the fields.
    """
    sentences: dict[str, None] = {}
    within = {tuple(error["loc"][:length]) for error in errors for length in range(1, len(error["loc"]))}
    for error in [error for error in errors if tuple(error["loc"]) not in within][:MOST]:
        name = ".".join(str(part) for part in error["loc"] if not _is_branch(part))
        if error["type"] == "extra_forbidden":
            sentences[f"unknown field {name[:40]!r}{nearest(name[:40], known)}; known: {', '.join(known)}"] = None
        elif error["type"] == "missing":
            sentences[f"field {name!r} is missing"] = None
        else:
            sentences[f"field {name!r}: {_reason(error)}"] = None
    return not_valid("; ".join(sentences))


def _is_branch(part: Any) -> bool:
    """Whether a part of a place names the member of a union, and no field."""
    return isinstance(part, str) and (part in ("int", "str", "float", "bool") or part.startswith(("constrained-", "function-")))


def _reason(error: Mapping[str, Any]) -> str:
    message = expectation(error)
    return f"{message[:1].lower()}{message[1:].replace('Input ', 'input ')}; got {str(error.get('input'))[:40]!r}"
