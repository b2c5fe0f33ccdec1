"""`sporeprint simulate-threshold`: whether the promise behind the negative verdict holds on numbers like one's own."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sporeprint.cli.command import SETTINGS, Facts, Session, command, group
from sporeprint.cli.console import Result
from sporeprint.cli.panels import TOOLS
from sporeprint.common.text_table import Table
from sporeprint.errors import UsageError

threshold_commands = group()


@command(
    threshold_commands,
    SETTINGS,
    name="simulate-threshold",
    panel=TOOLS,
    examples="sporeprint simulate-threshold --rows 4000 --copies 5\n"
    "sporeprint simulate-threshold --rows 4000 --copies 20 --correlation 0.3 --alpha 0.01 --out broken.svg",
)
def threshold(
    session: Session,
    rows: Annotated[int, typer.Option(min=1, metavar="N", help="Rows of the threshold part that may be answered negative.")] = 4000,
    copies: Annotated[int, typer.Option(min=1, metavar="N", help="Rows of one unit: copies of a row, or rows of one patient.")] = 1,
    correlation: Annotated[
        float, typer.Option(min=0, max=1, metavar="SHARE", help="Correlation of the labels of one unit; 1: copies.")
    ] = 1.0,
    alpha: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Promised share of wrong negative answers. Default: guard.alpha.")
    ] = None,
    risk: Annotated[
        float | None, typer.Option(metavar="SHARE", help="True share of wrong negative answers. Default: a little above alpha.")
    ] = None,
    runs: Annotated[int, typer.Option(min=1, metavar="N", help="Number of simulated runs.")] = 1000,
    seed: Annotated[int, typer.Option(metavar="N", help="Random seed.")] = 0,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Also draw the shares, as SVG.", show_default=False)] = None,
) -> Result:
    """Simulate how often the promise on negative answers is broken where rows repeat."""
    from sporeprint.common.files import atomic_write
    from sporeprint.reports.threshold_simulation_report import picture
    from sporeprint.safety.risk_control import RiskLevels
    from sporeprint.safety.threshold_simulation import simulate_threshold

    guard = session.settings.guard
    levels = RiskLevels(guard.alpha if alpha is None else alpha, 1.0, guard.delta)
    if not 0 < levels.alpha < 0.5:
        raise UsageError(f"--alpha: expected a number above 0 and below 0.5, got {levels.alpha:g}")
    with session.screen.steps().step("simulate") as progress:
        progress.total(runs)
        try:
            outcome = simulate_threshold(
                levels, rows=rows, copies=copies, correlation=correlation, risk=risk, runs=runs, seed=seed, advance=progress.advance
            )
        except ValueError as error:
            raise UsageError(f"--{error}") from error
    shares = tuple(
        (what, f"{broken:,} of {runs:,}", f"{broken / runs:.1%}", bar(broken / runs), f"{outcome.delta:.0%}")
        for what, broken in (("every row", outcome.broken_by_rows), ("every unit once, as etl does", outcome.broken_by_units))
    )
    title = f"Promise of {levels.alpha:.2%} at a true risk of {outcome.risk:.3%}, {rows:,} rows, {copies:,} of each unit"
    if out is not None:
        atomic_write(out, picture(outcome))
    written = () if out is None else (Table("", ("", ""), (("picture", str(out)),)),)
    values = {**asdict(outcome), "written": None if out is None else str(out)}
    return Facts(values, (Table(title, ("counted", "broken", "share", "", "allowed"), shares), *written))


def bar(share: float, width: int = 30) -> str:
    """A share as a bar of text."""
    return "█" * round(share * width)
