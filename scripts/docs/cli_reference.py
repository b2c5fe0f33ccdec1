"""The command line's reference page, from the Typer application itself."""

from collections.abc import Iterator
from typing import Any

import typer.main

from sporeprint.cli.app import app


def page() -> str:
    """The page, as Markdown."""
    command: Any = typer.main.get_command(app)
    lines = [
        "# The command line",
        "",
        "Each command as `--help` tells it. Options that several commands share stand at the end of each.",
        "",
    ]
    return "\n".join([*lines, *_commands(command, typer.Context(command, info_name="sporeprint"), 2)])


def _commands(command: Any, context: Any, depth: int) -> Iterator[str]:
    """The sections of a command and of those below it."""
    if depth > 2:
        yield from (f"{'#' * (depth - 1)} {context.command_path}", "", *_one(command, context))
    for name, below in sorted(getattr(command, "commands", {}).items()):
        if not below.hidden:
            yield from _commands(below, typer.Context(below, info_name=name, parent=context), depth + 1 if depth > 2 else 3)


def _one(command: Any, context: Any) -> Iterator[str]:
    yield from (command.help or "", "")
    if getattr(command, "commands", None):
        return
    usage = " ".join(command.collect_usage_pieces(context))
    yield from ("```text", f"{context.command_path} {usage}", "```", "")
    records = [record for record in (each.get_help_record(context) for each in command.get_params(context)) if record]
    if records:
        yield from ("| option | |", "|---|---|")
        yield from (f"| {code(name)} | {cell(text)} |" for name, text in records)
        yield ""
    if command.epilog:
        yield from ("```bash", *command.epilog.splitlines(), "```", "")


def cell(text: str) -> str:
    """Text for a table's cell."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def code(text: str) -> str:
    """Code for a table's cell: between backticks a | is no border, and a backslash would be seen."""
    return f"`{' '.join(text.split())}`"
