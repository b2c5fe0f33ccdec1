"""`sporeprint init`: a configuration for a table that nothing is known of."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from sporeprint.cli.command import CONFIG, PLACE, Session, command, group
from sporeprint.cli.console import Result
from sporeprint.cli.panels import WHOLE
from sporeprint.cli.terminal import is_terminal
from sporeprint.errors import UsageError

init_commands = group()

Target = Annotated[str | None, typer.Option(metavar="COLUMN", help="The column to predict. Left out: the likeliest one.")]
Positive = Annotated[
    str | None,
    typer.Option(metavar="VALUE[,VALUE]", help="The class that must not be missed: one or several values. Left out: the likeliest."),
]


@command(
    init_commands,
    PLACE,
    panel=WHOLE,
    examples="sporeprint init observations.csv\n"
    "sporeprint init observations.csv --target churn --positive yes\n"
    "sporeprint init https://example.org/observations.csv.gz --out config/churn.yaml\n"
    "sporeprint init sqlite:///crm.db --query 'select * from customers' --target churned",
)
def init(
    session: Session,
    file: Annotated[str, typer.Argument(metavar="FILE|URL", help="The table: a file, folder, address or database.", show_default=False)],
    target: Target = None,
    positive: Positive = None,
    query: Annotated[str | None, typer.Option(metavar="SQL", help="What to read from a database.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Where to write it. Left out: config/config.yaml.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; what cannot be known is an error.")] = False,
) -> Result:
    """Look at a table, show what it holds, and write a configuration for it that runs."""
    from sporeprint.pipelines.draft import draft_configuration, write_draft

    path = out if out is not None else session.workdir / CONFIG
    if path.exists():
        raise UsageError(f"{path} exists, and is not replaced; move it away, or name another file with --out")
    codes = split_codes(positive)
    while True:
        try:
            with session.screen.busy("look"):
                drafted = draft_configuration(file, session.workdir, target=target, positive=codes, query=query)
            break
        except UsageError as error:
            if yes or not is_terminal(session.screen.err):
                raise
            target, codes = _ask(str(error), target, codes)
    write_draft(drafted, path)
    return replace(drafted, path=path)


def split_codes(positive: str | None) -> tuple[str, ...]:
    """The values that an option names."""
    return tuple(part.strip() for part in (positive or "").split(",") if part.strip())


def _ask(question: str, target: str | None, codes: tuple[str, ...]) -> tuple[str | None, tuple[str, ...]]:
    """What a person answers where the target or the positive class cannot be known."""
    typer.echo(question, err=True)
    if "--positive" in question:
        return target, split_codes(typer.prompt("Positive class", err=True))
    return typer.prompt("Target column", err=True), codes
