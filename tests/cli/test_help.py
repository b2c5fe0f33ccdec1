"""The pages of --help, on a small program of their own."""

from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from sporeprint.cli.help import Command, Group

runner = CliRunner()


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    monkeypatch.setenv("COLUMNS", "80")
    app = typer.Typer(cls=Group, rich_markup_mode=None, epilog="shed dry caps.csv    all of it", help="Sheds spores.")

    @app.command(cls=Command, rich_help_panel="Weather", epilog="shed dry caps.csv\nshed dry caps.csv --hours 3 [with a fan]")
    def dry(
        file: Annotated[str, typer.Argument(help="What to dry.")],
        hours: Annotated[int, typer.Option(help="How long.", rich_help_panel="Common options")] = 2,
        gently: Annotated[bool, typer.Option("--gently", help="With care.")] = False,
    ) -> None:
        """Dry what is wet."""
        typer.echo(f"{file} {hours} {gently}")

    @app.command(cls=Command, hidden=True)
    def secret() -> None:
        """Not for you."""

    @app.command(cls=Command)
    def shed() -> None:
        """Let go."""

    return app


def test_commands_stand_in_their_panels(app: typer.Typer) -> None:
    page = runner.invoke(app, ["--help"]).output
    assert "Weather:\n  dry     Dry what is wet.\n\nCommands:\n  shed    Let go.\n\nOptions:\n" in page
    assert "secret" not in page
    assert page.rstrip("\n").endswith("\n\nExamples:\n  shed dry caps.csv    all of it")


def test_options_stand_in_their_panels_and_shared_ones_last(app: typer.Typer) -> None:
    page = runner.invoke(app, ["dry", "--help"]).output
    places = [
        page.index(text) for text in ("Usage: ", "Dry what is wet", "Arguments:", "Options:", "--gently", "Common options:", "Examples:")
    ]
    assert places == sorted(places)
    assert page.index("--hours") > page.index("Common options:")


def test_examples_are_shown_line_by_line_as_they_are(app: typer.Typer) -> None:
    assert "Examples:\n  shed dry caps.csv\n  shed dry caps.csv --hours 3 [with a fan]\n" in runner.invoke(app, ["dry", "--help"]).output


def test_a_page_that_is_no_terminal_s_has_no_colour(app: typer.Typer) -> None:
    assert "\x1b" not in runner.invoke(app, ["--help"]).output


def test_a_group_s_flags_are_false_when_they_are_not_given(app: typer.Typer) -> None:
    command = typer.main.get_command(app)
    context = command.make_context("shed", ["shed"])
    assert {param.name: param.default for param in command.get_params(context)} == {
        "install_completion": False,
        "show_completion": False,
        "help": False,
    }


def test_the_commands_still_run(app: typer.Typer) -> None:
    assert runner.invoke(app, ["dry", "caps.csv", "--gently"]).output == "caps.csv 2 True\n"
