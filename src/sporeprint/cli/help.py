"""The pages of `--help`: options and commands in panels, examples at the end, one line an entry where there is room.

By hand, because Typer's own pages need Rich (0.1 s more of 0.16 s), draw frames into pipes, and run the lines of examples together.
"""

import sys
from collections.abc import Iterable
from typing import Any

from typer.core import TyperCommand, TyperGroup

from sporeprint.cli.terminal import styled

#: Where options stand that name no panel.
OPTIONS = "Options"
#: A longer name has its text on the next line.
WIDEST = 30


class Command(TyperCommand):
    """A command whose page lists its options by panel. Its epilog holds examples, one a line, shown as they are."""

    def format_usage(self, ctx: Any, formatter: Any) -> None:
        """Write how it is called."""
        _write_usage(self, ctx, formatter)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options by panel."""
        _write_params(self, ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 -- the library's signature
        """Write the examples."""
        _write_examples(self.epilog, formatter)


class Group(TyperGroup):
    """A group of commands whose page lists them by panel."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The group's options; a flag is False by default."""
        params = super().get_params(ctx)
        for param in params:
            # None would be converted, and for that typer loads pydantic: 0.2 s before any command's help.
            if getattr(param, "is_flag", False) and param.default is None:
                param.default = False
        return params

    def format_usage(self, ctx: Any, formatter: Any) -> None:
        """Write how it is called."""
        _write_usage(self, ctx, formatter)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the commands, panel by panel, then the options."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for name, command in self.commands.items():
            if not command.hidden:
                panel = getattr(command, "rich_help_panel", None)
                line = _bold(name), command.get_short_help_str(limit=200)
                panels.setdefault(panel if isinstance(panel, str) else "Commands", []).append(line)
        width = max((len(name) for name in self.commands), default=0)
        for panel, rows in panels.items():
            _write_panel(panel, rows, width, formatter)
        _write_params(self, ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 -- the library's signature
        """Write the examples."""
        _write_examples(self.epilog, formatter)


def _write_usage(command: Any, ctx: Any, formatter: Any) -> None:
    formatter.write_usage(ctx.command_path, " ".join(command.collect_usage_pieces(ctx)), prefix=f"{_heading('Usage:')} ")


def _write_params(command: Any, ctx: Any, formatter: Any) -> None:
    panels: dict[str, list[tuple[str, str]]] = {}
    for param in command.get_params(ctx):
        if (record := param.get_help_record(ctx)) is not None:
            default = "Arguments" if param.param_type_name == "argument" else OPTIONS
            panel = getattr(param, "rich_help_panel", None)
            name, text = record
            panels.setdefault(panel if isinstance(panel, str) else default, []).append((_bold(name), text))
    width = max((len(_plain(name)) for rows in panels.values() for name, _ in rows), default=0)
    # Arguments first; what all commands share comes last, whatever the order of the parameters.
    for panel in sorted(panels, key=lambda panel: {"Arguments": 0, OPTIONS: 1}.get(panel, 2)):
        _write_panel(panel, panels[panel], width, formatter)


def _write_panel(title: str, rows: Iterable[tuple[str, str]], width: int, formatter: Any) -> None:
    """A heading and its lines; all panels of a page have their texts in one column."""
    padded = [(name + " " * (min(width, WIDEST) - len(_plain(name))), text) for name, text in rows]
    with formatter.section(_heading(title)):
        formatter.write_dl(padded, col_max=WIDEST)


def _write_examples(epilog: str | None, formatter: Any) -> None:
    if epilog:
        with formatter.section(_heading("Examples")):
            for line in epilog.splitlines():
                formatter.write(f"  {line}\n")


def _heading(text: str) -> str:
    return styled(text, "1;32", sys.stdout)


def _bold(text: str) -> str:
    return styled(text, "1;36", sys.stdout)


def _plain(text: str) -> str:
    return text.removeprefix("\x1b[1;36m").removesuffix("\x1b[0m")
