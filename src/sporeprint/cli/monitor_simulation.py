"""`sporeprint simulate-monitor`: what the monitor's promise is worth on traffic like one's own."""

from pathlib import Path
from typing import Annotated

import typer

from sporeprint.cli.command import SETTINGS, Facts, Session, command, group
from sporeprint.cli.console import Result
from sporeprint.cli.panels import TOOLS
from sporeprint.common.text_table import Table
from sporeprint.errors import UsageError

monitor_simulation_commands = group()


@command(
    monitor_simulation_commands,
    SETTINGS,
    name="simulate-monitor",
    panel=TOOLS,
    examples="sporeprint simulate-monitor --day-effect 0.05\n"
    "sporeprint simulate-monitor --rows 5000 --weekend 0.25 --out months.svg\n"
    "sporeprint simulate-monitor --shift 0.12 --days 7",
)
def simulate_monitor(
    session: Session,
    rows: Annotated[int, typer.Option(metavar="N", help="Rows a day.")] = 1000,
    reference_rows: Annotated[int, typer.Option(metavar="N", help="Rows of the reference.")] = 9160,
    features: Annotated[int, typer.Option(metavar="N", help="Numeric features.")] = 20,
    day_effect: Annotated[float, typer.Option(metavar="SD", help="How much days differ, in standard deviations of a feature.")] = 0.0,
    weekend: Annotated[float, typer.Option(metavar="SD", help="Shift of the first feature on two days of each week.")] = 0.0,
    shift: Annotated[float, typer.Option(metavar="SD", help="Lasting shift of the second feature from the first day on.")] = 0.0,
    history: Annotated[int, typer.Option(metavar="DAYS", help="Days before each month; 28 are needed to learn how days differ.")] = 56,
    requests: Annotated[int, typer.Option(metavar="N", help="How often each row of a day comes.")] = 1,
    days: Annotated[int, typer.Option(metavar="DAYS", help="Length of a month.")] = 30,
    months: Annotated[int, typer.Option(metavar="N", help="Number of simulated months.")] = 5,
    seed: Annotated[int, typer.Option(metavar="N", help="Random seed.")] = 7,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also draw the months with an alarm, as SVG.", show_default=False)
    ] = None,
) -> Result:
    """Simulate months of monitoring: how often there is a false alarm, how soon a change is found."""
    from sporeprint.common.counts import number_of
    from sporeprint.common.files import atomic_write
    from sporeprint.monitoring.simulation import SOON, WEEK, DailyTraffic, simulate_months
    from sporeprint.pipelines.monitoring import policy
    from sporeprint.reports.monitor_simulation_report import picture

    try:
        traffic = DailyTraffic(rows, reference_rows, features, day_effect, weekend, shift, history, requests)
        results = []
        for learned, step in ((False, "rows alone"), (True, "with earlier days")):
            with session.screen.steps().step(step) as progress:
                progress.total(months)
                made = simulate_months(
                    traffic, policy(session.settings), months=months, seed=seed, days=days, learned=learned, advance=progress.advance
                )
            results.append(made)
    except ValueError as error:
        raise UsageError(f"--{str(error).partition(' ')[0].replace('_', '-')} {str(error).partition(' ')[2]}") from error
    if out is not None:
        atomic_write(out, picture(results, days, None if shift else session.settings.monitoring.false_alarms))
    spans = sorted({within for within in (SOON, WEEK, days) if within <= days})
    lines = tuple(
        (
            "earlier days learnt" if made.learned else "days taken as alike",
            *(f"{made.share_within(within):.0%}" for within in spans),
            f"{sum(month.raised for month in made.months) / months:.1f}",
        )
        for made in results
    )
    heads = ("", *(f"within {number_of(within, 'day')}" for within in spans), "alarms a month")
    title = f"Months with {'an' if shift else 'a false'} alarm, of {months:,}"
    values = {"days_alike": results[0].to_dict(), "days_learned": results[1].to_dict(), "written": None if out is None else str(out)}
    written = () if out is None else (Table("", ("", ""), (("picture", str(out)),)),)
    return Facts(values, (Table(title, heads, lines), *written))
