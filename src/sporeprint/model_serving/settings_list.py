"""Every setting with its value, its default and who says so; secrets are dots."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined, to_jsonable_python

from sporeprint.common.redaction import redacted
from sporeprint.messages.keys import SettingValue
from sporeprint.settings import Settings

HIDDEN = "•••"
#: Settings whose values are secrets, or addresses that may hold one.
SECRET = re.compile(r"(?i)^alerts\.channels\.[^.]+\.url$|(?:^|[._])(?:password|secret|token)(?:$|_(?!file|env))")


def settings_list(settings: Settings, root: Path) -> tuple[SettingValue, ...]:
    """Every setting, in the order of the file; the work directory's own name is left out."""
    folder = str(root.absolute())
    return tuple(
        SettingValue(name=name, value=_shown(name, value, folder), default=_shown(name, default, folder), origin=settings.origin_of(name))
        for name, value, default in _walk(settings, "")
    )


def _walk(model: BaseModel, before: str) -> Iterator[tuple[str, Any, Any]]:
    for name, field in type(model).model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        yield from _values(f"{before}{name}", getattr(model, name), None if default is PydanticUndefined else default)


def _values(name: str, value: Any, default: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(value, BaseModel):
        yield from _walk(value, f"{name}.")
    elif isinstance(value, Mapping) and value:
        for key, each in value.items():
            yield from _values(f"{name}.{key}", each, default.get(key) if isinstance(default, Mapping) else None)
    else:
        yield name, value, default


def _shown(name: str, value: Any, folder: str) -> Any:
    if value is not None and SECRET.search(name):
        return HIDDEN
    return _without_secrets(to_jsonable_python(value), folder)


def _without_secrets(value: Any, folder: str) -> Any:
    if isinstance(value, str):
        return redacted(value).replace(folder, ".")
    if isinstance(value, list):
        return [_without_secrets(each, folder) for each in value]
    if isinstance(value, dict):
        return {key: _without_secrets(each, folder) for key, each in value.items()}
    return value
