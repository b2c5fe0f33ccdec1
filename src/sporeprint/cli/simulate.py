"""`sporeprint simulate`: a table of any size, with drift and bad rows on demand."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sporeprint.cli.command import SETTINGS, Facts, Session, command, group
from sporeprint.cli.console import Result
from sporeprint.cli.panels import TOOLS
from sporeprint.common.text_table import Table

simulation_commands = group()

_DRIFT, _SPOIL = "Drift", "Bad rows"


def _split(options: Iterable[str] | None) -> tuple[str, ...]:
    """Words of a repeatable option, which may also hold commas."""
    return tuple(word.strip() for words in options or () for word in words.split(",") if word.strip())


def _whole_number(value: str | int) -> int:
    """A whole number, also as 61_000_000, 61,000,000, 61M, 5k."""
    text = str(value).replace("_", "").replace(",", "")
    factor = {"k": 1_000, "M": 1_000_000}.get(text[-1:], 1)
    try:
        return int(text if factor == 1 else text[:-1]) * factor
    except ValueError:
        raise typer.BadParameter(f"{str(value)!r} is no whole number; write it as in 61069, 5k or 61M") from None


def _number(value: str | float) -> float:
    try:
        return float(value)
    except ValueError:
        raise typer.BadParameter(f"{value!r} is no number; write it as in 0.02") from None


@command(
    simulation_commands,
    SETTINGS,
    panel=TOOLS,
    examples="sporeprint simulate --out sample.csv\n"
    "sporeprint simulate --rows 61000000 --species 500 --out big.parquet\n"
    "sporeprint simulate --out drifted.csv --draw 1 --drift-shift 0.5 --drift-missing 0.1\n"
    "sporeprint simulate --out bad.csv --spoil 0.02 --spoil-kinds not_a_number,unknown_code",
)
def simulate(
    session: Session,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Table to write, CSV or Parquet by the name's ending.", show_default=False)],
    rows: Annotated[int, typer.Option(parser=_whole_number, metavar="N", help="Number of rows.")] = 61_069,
    species: Annotated[
        int, typer.Option(parser=_whole_number, metavar="S", help="Number of groups (species); each has one block of rows.")
    ] = 173,
    seed: Annotated[int, typer.Option(parser=_whole_number, metavar="N", help="Random seed of the species and their traits.")] = 7,
    draw: Annotated[int, typer.Option(parser=_whole_number, metavar="N", help="Random seed of the rows, within the same species.")] = 0,
    names: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the groups' names to this CSV file.")] = None,
    missing: Annotated[bool, typer.Option("--missing/--no-missing", help="Whether values may be missing.")] = True,
    drift_start: Annotated[
        float, typer.Option(parser=_number, metavar="SHARE", rich_help_panel=_DRIFT, help="Share of the rows before the drift starts.")
    ] = 0.0,
    drift_shift: Annotated[
        float,
        typer.Option(
            parser=_number, metavar="SD", rich_help_panel=_DRIFT, help="Shift of every number, in standard deviations within its species."
        ),
    ] = 0.0,
    drift_new: Annotated[
        float,
        typer.Option(parser=_number, metavar="SHARE", rich_help_panel=_DRIFT, help="Share of the rows that get a new category."),
    ] = 0.0,
    drift_undeclared: Annotated[
        bool, typer.Option("--drift-undeclared", rich_help_panel=_DRIFT, help="Use a category that the configuration does not list.")
    ] = False,
    drift_missing: Annotated[
        float,
        typer.Option(parser=_number, metavar="SHARE", rich_help_panel=_DRIFT, help="Share of values that become missing, per column."),
    ] = 0.0,
    drift_columns: Annotated[
        list[str] | None,
        typer.Option(metavar="NAMES", rich_help_panel=_DRIFT, help="Columns that drift, separated by commas. Default: all."),
    ] = None,
    spoil: Annotated[
        float,
        typer.Option(parser=_number, metavar="SHARE", rich_help_panel=_SPOIL, help="Share of rows to corrupt; a ledger lists them."),
    ] = 0.0,
    spoil_kinds: Annotated[
        list[str] | None,
        typer.Option(metavar="KINDS", rich_help_panel=_SPOIL, help="Kinds of corruption, separated by commas. Default: all."),
    ] = None,
) -> Result:
    """Simulate a table of any size, with optional drift and bad rows."""
    from sporeprint.simulation import generator
    from sporeprint.simulation.corruption import Spoil
    from sporeprint.simulation.drift import Drift

    schema = session.settings.dataset
    drift = Drift(
        start=drift_start,
        numeric_shift=drift_shift,
        new_category=drift_new,
        undeclared=drift_undeclared,
        missing=drift_missing,
        columns=_split(drift_columns),
    )
    with session.screen.steps().step("simulate") as progress:
        made = generator.simulate_table(
            schema,
            out,
            rows=rows,
            groups=species,
            seed=seed,
            draw=draw,
            drift=drift,
            spoil=Spoil(share=spoil, kinds=_split(spoil_kinds)),
            missing=missing,
            progress=progress,
        )
        if names is not None:
            generator.simulate_names(schema, names, groups=species, seed=seed)
    facts = {**asdict(made), "names": names}
    values = {key: str(value) if isinstance(value, Path) else value for key, value in facts.items()}
    shown = tuple((key.replace("_", " "), f"{value:,}" if isinstance(value, int) else str(value)) for key, value in facts.items() if value)
    return Facts({**values, "simulated": True}, (Table("Simulated: invented data", ("", ""), shown),))
