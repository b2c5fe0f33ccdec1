"""`sporeprint alerts`: what the monitor raised, who knows, and whether messages arrive."""

from typing import Annotated

import typer

from sporeprint.cli.command import ALL, Facts, Session, command, group, user
from sporeprint.cli.console import Result
from sporeprint.common.text_table import Table
from sporeprint.errors import UsageError

alerts = group(
    help="What sporeprint monitor raised, who knows of it, and whether messages arrive.\n\nRules and channels stand in the "
    "configuration, under alerts.",
    epilog="sporeprint alerts list\nsporeprint alerts ack a0064e5...\nsporeprint alerts test oncall",
)

_WHAT = "Alerts"


@command(alerts, ALL, name="list", panel=_WHAT, examples="sporeprint alerts list\nsporeprint alerts list --all --json")
def show_alerts(
    session: Session, over: Annotated[bool, typer.Option("--all", help="Those that are over, too, the latest first.")] = False
) -> Result:
    """List the alerts that are on, and messages that did not arrive."""
    from sporeprint.pipelines import alerting
    from sporeprint.storage.oltp.alerts import GIVEN_UP, WAITING, deliveries, list_alerts

    with alerting.opened(session.settings, session.workdir) as engine:
        listed = list_alerts(engine, over=over)
        stuck = [each for each in deliveries(engine, status=WAITING) if each.attempts]
        stuck += deliveries(engine, status=GIVEN_UP, limit=20)
    cards = [alerting.card(each) for each in listed]
    late = [
        {"alert_id": each.alert_id, "channel": each.channel, "status": each.status, "attempts": each.attempts, "error": each.last_error}
        for each in stuck
    ]
    tables = []
    if cards:
        columns = ("severity", "status", "since", "summary", "alert_id")
        tables.append(Table("Alerts", columns, tuple(tuple(str(each[name]) for name in columns) for each in cards)))
    else:
        tables.append(Table("", ("",), (("there are no alerts" if over else "no alert is on",),)))
    if late:
        columns = ("channel", "status", "attempts", "error", "alert_id")
        tables.append(Table("Messages that did not arrive", columns, tuple(tuple(str(each[name]) for name in columns) for each in late)))
    return Facts({"alerts": cards, "not_delivered": late}, tuple(tables))


@command(alerts, ALL, panel=_WHAT, examples="sporeprint alerts ack a0064e5... --note 'looking into it'\nsporeprint alerts ack --all")
def ack(
    session: Session,
    alert_id: Annotated[str | None, typer.Argument(metavar="ID", help="Of the alert.", show_default=False)] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that are on.")] = False,
    note: Annotated[str, typer.Option(metavar="TEXT", help="What others should know.")] = "",
) -> Result:
    """Say that you know: nobody is reminded of it again until it has recovered."""
    from sporeprint.pipelines import alerting
    from sporeprint.storage.oltp.alerts import acknowledge

    if (alert_id is None) != everything:
        raise UsageError("name one alert, or say --all; see: sporeprint alerts list")
    with alerting.opened(session.settings, session.workdir) as engine:
        acknowledged = acknowledge(engine, alert_id, actor=f"cli:{user()}", note=note, now_us=alerting.now_us())
    rows = tuple((each.alert_id, each.summary) for each in acknowledged) or (("", "no alert is on"),)
    return Facts({"acknowledged": [each.alert_id for each in acknowledged]}, (Table("Acknowledged", ("alert_id", "summary"), rows),))


@command(alerts, ALL, panel=_WHAT, examples="sporeprint alerts test oncall")
def test(session: Session, channel: Annotated[str, typer.Argument(metavar="CHANNEL", help="Its name.", show_default=False)]) -> Result:
    """Send a message to a channel, to see whether it arrives. Ends with 75 if it does not."""
    from sporeprint.errors import UndeliveredError
    from sporeprint.pipelines import alerting

    if error := alerting.try_channel(session.settings, session.workdir, channel):
        raise UndeliveredError(f"the channel {channel!r} did not take the message: {error}")
    return Facts({"channel": channel, "delivered": True}, (Table("", ("",), ((f"the channel {channel!r} took the message",),)),))


@command(alerts, ALL, panel=_WHAT, examples="sporeprint alerts deliver")
def deliver(session: Session) -> Result:
    """Try again what did not arrive, as far as it is due. The monitor does so too, after each evaluation."""
    from sporeprint.pipelines import alerting

    with alerting.opened(session.settings, session.workdir) as engine:
        lines = alerting.deliver(session.settings, session.workdir, engine)
    return Facts({"done": lines}, (Table("", ("",), tuple((line,) for line in lines) or (("nothing is due",),)),))
