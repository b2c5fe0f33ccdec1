"""The reference of the package's modules, from their docstrings, read without running them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import griffe
from cli_reference import cell

INDEX = """# Modules

What other programs call first: what `import sporeprint` names, a running service by [`client`](client.md), a version in a notebook by
[`inference`](inference.md), a run by [`pipelines`](pipelines.md) (`load_run`). Names that begin with an underscore are left out;
so are members that inherit their meaning.

| module | |
|---|---|
"""


def pages(source: Path) -> dict[str, str]:
    """A page for each module or package at the top, and one that lists them, by file name."""
    package: Any = griffe.load("sporeprint", search_paths=[source], docstring_parser="google", allow_inspection=False)
    modules = {name: each for name, each in sorted(package.modules.items()) if not name.startswith("_")}
    rows = "".join(f"| [`{name}`]({name}.md) | {cell(_first_line(each))} |\n" for name, each in modules.items())
    return {"index.md": INDEX + rows, **{f"{name}.md": "\n".join(_module(each, 1)) for name, each in modules.items()}}


def _module(module: Any, depth: int) -> Iterator[str]:
    yield from (f"{'#' * depth} {module.path.removeprefix('sporeprint.')}", "", *_docstring(module))
    for name, each in module.members.items():
        if name.startswith("_") or each.is_alias or not each.docstring:
            continue
        if each.is_class:
            yield from _class(each, depth + 1)
        elif each.is_function:
            yield from _function(each, depth + 1)
        elif each.is_attribute:
            yield from (f"**`{name}`** {_text(each)}", "")
    for name, below in sorted(module.modules.items()):
        if not name.startswith("_") and not below.is_alias:
            yield from _module(below, depth + 1)


def _class(found: Any, depth: int) -> Iterator[str]:
    bases = ", ".join(str(base) for base in found.bases)
    yield from (f"{'#' * depth} {found.name}", "", "```python", f"class {found.name}{f'({bases})' if bases else ''}", "```", "")
    yield from _docstring(found)
    for name, each in found.members.items():
        if not name.startswith("_") and not each.is_alias and each.is_function and each.docstring:
            yield from _function(each, depth + 1)


def _function(found: Any, depth: int) -> Iterator[str]:
    name = f"{found.parent.name}.{found.name}" if found.parent.is_class else found.name
    yield from (f"{'#' * min(depth, 6)} {name}", "", "```python", _signature(found), "```", "")
    yield from _docstring(found)


def _signature(found: Any) -> str:
    """How it is called; on a line for each parameter where one line is too long."""
    kinds = griffe.ParameterKind
    parts: list[str] = []
    for each in found.parameters:
        if each.kind is kinds.keyword_only and not any(part.startswith("*") for part in parts):
            parts.append("*")
        star = {kinds.var_positional: "*", kinds.var_keyword: "**"}.get(each.kind, "")
        default = "" if star or each.default is None else f" = {each.default}" if each.annotation else f"={each.default}"
        parts.append(f"{star}{each.name}{f': {each.annotation}' if each.annotation else ''}{default}")
    start, end = f"{'async ' if 'async' in found.labels else ''}def {found.name}(", f"){f' -> {found.returns}' if found.returns else ''}"
    line = start + ", ".join(parts) + end
    return line if len(line) <= 100 else f"{start}\n" + "".join(f"    {part},\n" for part in parts) + end


def _docstring(found: Any) -> Iterator[str]:
    """A docstring's sections."""
    for section in found.docstring.parsed if found.docstring else ():
        kind, value = section.kind.value, section.value
        if kind == "text":
            yield from (_escaped(value), "")
        elif kind == "examples":
            yield from (f"```python\n{text}\n```" if what.value == "examples" else _escaped(text) for what, text in value)
            yield ""
        elif kind == "admonition":
            yield from (f"**{section.title}** {_escaped(value.contents)}", "")
        elif isinstance(value, list):
            yield from (f"**{kind.capitalize()}**", "")
            for item in value:
                name = getattr(item, "name", "") or str(item.annotation or "")
                yield f"- {f'`{name}`: ' if name else ''}{_escaped(' '.join(item.description.split()))}"
            yield ""


def _first_line(found: Any) -> str:
    return str(found.docstring.value).partition("\n")[0] if found.docstring else ""


def _text(found: Any) -> str:
    return _escaped(" ".join(str(found.docstring.value).split()))


def _escaped(text: str) -> str:
    """Text in which what looks like HTML or a link is neither, outside of code."""
    parts = text.split("`")
    parts[::2] = [part.replace("<", "&lt;").replace("[", "\\[").replace("*", "\\*") for part in parts[::2]]
    return "`".join(parts)
