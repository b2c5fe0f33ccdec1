"""The configuration's reference page, from the settings' own classes."""

import types
import typing
from collections.abc import Iterator
from typing import Any

from annotated_types import Ge, Gt, Le, Lt
from cli_reference import cell, code
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from sporeprint.settings import OWN_VARIABLES, Settings

INTRODUCTION = """# Configuration

Every setting, its default, what it allows. One file holds them, `config/config.yaml`. `--set split.seed=11` goes before the environment
(`SPOREPRINT_SPLIT__SEED=11`), the environment before the file, and the file before the default. A key that does not exist is an error that
names the nearest one; `sporeprint config check --show` shows what holds.

`<name>` stands for a name of your own.
"""
SIGNS = {Gt: ">", Ge: "≥", Lt: "<", Le: "≤"}


def page() -> str:
    """The page, as Markdown."""
    lines = [INTRODUCTION]
    for name, field in Settings.model_fields.items():
        model, many = next(_models(field.annotation))
        text = (field.description or model.__doc__ or "").partition("\n")[0]
        lines += [f"## {name}", "", text, "", "| key | default | |", "|---|---|---|"]
        lines += [*_rows(model, f"{name}.<name>." if many else f"{name}."), ""]
    lines += ["## Variables of the environment", "", "Beside the settings, these have a meaning of their own:", ""]
    lines += [f"- `{name}`" for name in sorted(OWN_VARIABLES)]
    return "\n".join([*lines, ""])


def _rows(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        nested = list(_models(field.annotation))
        key = f"{prefix}{field.alias or name}"
        if not nested or field.description:
            said = "; ".join(part for part in (_allowed(field), field.description or "") if part)
            yield f"| {code(key)} | {_default(field)} | {cell(said)} |"
        for below, many in nested:
            yield from _rows(below, f"{key}.<name>." if many else f"{key}.")


def _models(annotation: Any) -> Iterator[tuple[type[BaseModel], bool]]:
    """The models in a type, and whether several of them stand under names."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, False
        return
    many = typing.get_origin(annotation) is dict
    for part in typing.get_args(annotation):
        for model, more in _models(part):
            yield model, many or more


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return "(empty)"
    if field.default is PydanticUndefined:
        return "required"
    if field.default is None:
        return "(none)"
    if isinstance(field.default, BaseModel):
        return "(below)"
    if isinstance(field.default, dict | tuple | list):
        return ", ".join(f"`{each}`" for each in field.default) or "(empty)"
    text = str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
    return f"`{text}`" if text else "(empty)"


def _allowed(field: FieldInfo) -> str:
    """What values a setting may have, in words."""
    limits = [f"{SIGNS[type(each)]} {getattr(each, type(each).__name__.lower()):g}" for each in field.metadata if type(each) in SIGNS]
    return " ".join(part for part in (_type(field.annotation), " and ".join(limits)) if part)


def _type(annotation: Any) -> str:
    if typing.get_origin(annotation) is typing.Literal:
        return " or ".join(f"`{value}`" for value in typing.get_args(annotation))
    if typing.get_origin(annotation) is typing.Annotated:
        return _type(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        return " or ".join(dict.fromkeys(_type(part) for part in typing.get_args(annotation) if part is not type(None)))
    names = {
        "str": "text",
        "int": "whole number",
        "float": "number",
        "bool": "true or false",
        "dict": "mapping",
        "tuple": "list",
        "list": "list",
    }
    origin = typing.get_origin(annotation) or annotation
    return names.get(getattr(origin, "__name__", ""), "")
