"""`sporeprint monitor`: whether new rows, and the answers to them, are still what they were."""

import functools
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sporeprint.cli.command import ALL, Facts, Session, command
from sporeprint.cli.console import Result
from sporeprint.common.text_table import Table
from sporeprint.errors import SporeprintError, UsageError

if TYPE_CHECKING:  # slow to import, and `--help` does not need it
    from sporeprint.monitoring.windows import WindowRequest
    from sporeprint.pipelines.monitoring import FollowUp
    from sporeprint.pipelines.monitoring_files import MonitoringRun

_WAREHOUSE = "Windows of the warehouse"


class Arm(StrEnum):
    """An arm of an A/B test."""

    A = "A"
    B = "B"


#: An option about what the service answered.
_of_answers = functools.partial(typer.Option, rich_help_panel=_WAREHOUSE, show_default=False)


def add_monitor_to(app: typer.Typer, panel: str) -> None:
    """Make `monitor` a command of the application, in one of its panels."""
    command(
        app,
        ALL,
        panel=panel,
        examples="sporeprint monitor --current today.csv\n"
        "sporeprint monitor --current today.parquet --reference january.parquet\n"
        "sporeprint monitor --last 24h --sync\n"
        "sporeprint monitor --rows 1000 --where season=w --json\n"
        "sporeprint monitor --watch --every 1h",
    )(monitor)


def monitor(
    session: Session,
    current: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|FOLDER|URL",
            help="Rows to look at, CSV or Parquet, labelled or not. Left out: what the service answered.",
            show_default=False,
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|FOLDER|URL", help="What to hold them against. Left out: the rows the model was validated on.", show_default=False
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Whose answers to look at. Left out: production, if there is one.", show_default=False),
    ] = None,
    last: Annotated[str | None, _of_answers(metavar="TIME", help="The last 24h, 7d, 90m. Left out: monitoring.every_hours.")] = None,
    begin: Annotated[str | None, _of_answers("--from", metavar="TIME", help="From a time on, with its zone: 2026-03-29T01:00Z.")] = None,
    end: Annotated[str | None, _of_answers("--to", metavar="TIME", help="Up to a time. Left out: now.")] = None,
    rows: Annotated[int | None, _of_answers(metavar="N", min=1, help="The newest N answers.")] = None,
    test: Annotated[str | None, _of_answers(metavar="NAME", help="Only answers of an A/B test, with --arm.")] = None,
    arm: Annotated[Arm | None, _of_answers(case_sensitive=False, help="Its arm, A or B.")] = None,
    where: Annotated[
        list[str] | None,
        _of_answers(metavar="COLUMN=VALUE", help="Only answers with a value, or a range of numbers 5..10. Can be given several times."),
    ] = None,
    reference_last: Annotated[
        str | None, _of_answers(metavar="TIME", help="Hold them against so much time before the window, as in 30d.")
    ] = None,
    sync: Annotated[
        bool | None, _of_answers("--sync/--no-sync", help="Bring new answers into the warehouse first. With --watch it does.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", rich_help_panel=_WAREHOUSE, help="Evaluate again and again, until it is stopped.")
    ] = False,
    every: Annotated[
        str | None, _of_answers(metavar="TIME", help="How long to wait between two. Left out: monitoring.every_hours.")
    ] = None,
    alert: Annotated[
        bool | None,
        typer.Option("--alert/--no-alert", show_default=False, help="Tell whom the rules say. Left out: of the service, not of a file."),
    ] = None,
) -> Result:
    """Tell whether rows, and the answers to them, have changed. Ends with 10 for an alarm, 11 if not all could be computed."""
    options = {"--last": last, "--from": begin, "--to": end, "--rows": rows, "--test": test, "--arm": arm, "--where": where or None}
    options |= {"--reference-last": reference_last, "--sync": sync, "--watch": watch or None, "--every": every}
    if current is not None:
        if extra := [name for name, value in options.items() if value is not None]:
            raise UsageError(f"{extra[0]} is about what the service answered, --current about a file; leave one out")
        return _file(session, current, reference, model, alert=bool(alert))
    if reference is not None:
        raise UsageError("--reference belongs to --current; against an earlier time is --reference-last 30d")
    if every is not None and not watch:
        raise UsageError("--every belongs to --watch")
    request = _request(last, begin, end, rows, test, arm, where, reference_last)
    if not watch:
        return _once(session, request, model, sync=bool(sync), alert=alert is not False)
    if begin is not None:
        raise UsageError("--from is one window; --watch needs one that goes on, --last or --rows")
    return _watched(session, request, model, every, sync=sync is not False, alert=alert is not False)


def follow_up(session: Session, *, alert: bool) -> "FollowUp":
    """What is done about every evaluation; its lines come into the output."""
    from sporeprint.pipelines import alerting
    from sporeprint.pipelines.monitoring import nothing

    if not alert:
        return nothing

    def act(action: str, reason: str) -> str:
        from sporeprint.pipelines import retraining  # loads every library there is

        return retraining.act(session.settings, session.workdir, action, reason)

    return lambda made: alerting.handle(session.settings, session.workdir, made.to_dict(), act=act)


def _file(session: Session, current: str, reference: str | None, model: str | None, *, alert: bool) -> "MonitoringRun":
    from sporeprint.pipelines import monitoring

    steps = session.screen.steps()
    made = monitoring.monitor(session.settings, session.workdir, current, reference=reference, model=model, steps=steps)
    return monitoring.with_follow_up(made, follow_up(session, alert=alert))


def _request(
    last: str | None,
    begin: str | None,
    end: str | None,
    rows: int | None,
    test: str | None,
    arm: Arm | None,
    where: Sequence[str] | None,
    reference_last: str | None,
) -> "WindowRequest":
    from sporeprint.monitoring.windows import WindowRequest, parse_duration, parse_instant

    return WindowRequest(
        last_us=None if last is None else parse_duration(last, "--last"),
        begin_us=None if begin is None else parse_instant(begin, "--from"),
        end_us=None if end is None else parse_instant(end, "--to"),
        rows=rows,
        reference_us=None if reference_last is None else parse_duration(reference_last, "--reference-last"),
        test=test,
        arm=None if arm is None else arm.value.lower(),
        where=tuple(where or ()),
    )


def _once(session: Session, request: "WindowRequest", model: str | None, *, sync: bool, alert: bool) -> "MonitoringRun":
    from sporeprint.pipelines import monitoring

    return monitoring.with_follow_up(_evaluated(session, request, model, sync=sync), follow_up(session, alert=alert))


def _evaluated(session: Session, request: "WindowRequest", model: str | None, *, sync: bool) -> "MonitoringRun":
    """One evaluation, after a sync. What a sync could not bring is missing: the evaluation says so."""
    from sporeprint.pipelines import window_monitoring
    from sporeprint.storage import urls
    from sporeprint.storage.warehouse.factory import open_warehouse

    failed = _bring(session) if sync else {}
    warehouse = open_warehouse(urls.olap(session.settings.storage, session.workdir))
    try:
        steps = session.screen.steps()
        return window_monitoring.evaluate(session.settings, session.workdir, warehouse, request, model=model, failed=failed, steps=steps)
    finally:
        warehouse.close()


def _bring(session: Session) -> Mapping[str, str]:
    from sporeprint.storage import urls
    from sporeprint.storage.engine import connect
    from sporeprint.storage.oltp import migrate
    from sporeprint.storage.warehouse.factory import open_warehouse
    from sporeprint.storage.warehouse.sync import sync_warehouse

    try:
        engine = connect(urls.oltp(session.settings.storage, session.workdir))
        warehouse = open_warehouse(urls.olap(session.settings.storage, session.workdir))
        try:
            migrate.prepare(engine)
            with session.screen.steps().step("sync") as progress:
                sync_warehouse(engine, warehouse, session.settings.dataset, root=session.workdir, progress=progress)
        finally:
            engine.dispose()
            warehouse.close()
    except SporeprintError as error:
        return {"sync": f"{error}; the newest answers may be missing"}
    return {}


def _watched(session: Session, request: "WindowRequest", model: str | None, every: str | None, *, sync: bool, alert: bool) -> Result:
    """Evaluate until a signal comes; then end with 0, whatever it found: people were notified."""
    from sporeprint.monitoring.windows import SECOND_US, parse_duration, requested_window
    from sporeprint.pipelines import monitoring, window_monitoring

    wait_s = session.settings.monitoring.every_hours * 3600 if every is None else parse_duration(every, "--every") / SECOND_US
    requested_window(request, 2**62, SECOND_US)  # what makes no sense is refused before anything is waited for

    def one() -> "MonitoringRun":
        try:
            return _evaluated(session, request, model, sync=sync)
        except Exception as error:  # noqa: BLE001 -- the next evaluation may be possible, and nobody would hear that this one was not
            reason = str(error) if isinstance(error, SporeprintError) else f"{type(error).__name__}: {error}"
            return window_monitoring.failed_run(session.settings, session.workdir, reason, current="what the service answered", model=model)

    with _stopped() as stop:
        made = monitoring.watch(one, lambda: not stop.wait(wait_s), follow_up=follow_up(session, alert=alert), show=session.screen.show)
    return Facts({"stopped": True, "evaluations": made}, (Table("", ("", ""), (("stopped after evaluations", f"{made:,}"),)),))


@contextmanager
def _stopped() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set. An evaluation that is being made is finished."""
    stop = threading.Event()
    before: dict[signal.Signals, Any] = {}

    def ask(_number: int, _frame: object) -> None:
        stop.set()

    handler: Callable[[int, object], None] = ask
    for number in (signal.SIGTERM, signal.SIGINT):
        before[number] = signal.signal(number, handler)
    try:
        yield stop
    finally:
        for number, old in before.items():
            signal.signal(number, old)
